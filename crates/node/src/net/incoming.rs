//! Incoming streams: listened for on every network, taken from known addresses only, and from
//! nobody who has not proved to be the node that the address belongs to.
//!
//! Whatever arrives is a value: a stream that says anything wrong ends, and nothing else does.
//! Before a caller has proved itself it can make this node keep what TLS keeps for a handshake, for
//! two seconds.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stead_core::{Arrival, Event};
use stead_model::wire::codec::{self, FrameError};
use stead_model::wire::peer::{PeerFrame, PeerMessage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::server::TlsStream;

use super::callers::Callers;
use super::hello::{Greeting, HELLO_BYTES_MAX, Hello, LENGTH_BYTES, stretch_bytes};
use super::interfaces::MACS_MAX;
use super::line::Surroundings;
use super::tls::Broken;
use super::udp::allow_absent;
use crate::inbox::{Inbox, Item};

/// A caller proves who it is and says hello within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes a stream's buffer keeps while nothing large is under way.
const BUFFER_BYTES: usize = 4096;

/// Listens at an address, which need not be on this node yet.
pub(crate) fn listen(local: SocketAddr) -> io::Result<TcpListener> {
    let socket = if local.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    allow_absent(&socket, local)?;
    socket.set_reuseaddr(true)?;
    socket.bind(local)?;
    socket.listen(64)
}

/// Takes streams on one network and feeds the core.
#[derive(Debug)]
pub(super) struct Incoming {
    around: Surroundings,
    callers: Arc<Callers>,
    inbox: Arc<Inbox>,
    end: usize,
    /// The one stream per route that is being read.
    reading: Mutex<BTreeMap<usize, AbortHandle>>,
}

/// A stream of a node that proved itself, its hello, and the bytes that came after it.
type Greeted = (TlsStream<TcpStream>, Hello, Vec<u8>);

impl Incoming {
    pub(super) fn new(
        around: Surroundings,
        callers: Arc<Callers>,
        inbox: Arc<Inbox>,
        end: usize,
    ) -> Self {
        Self { around, callers, inbox, end, reading: Mutex::default() }
    }

    /// Listens, for ever.
    pub(super) async fn run(self: Arc<Self>) -> io::Result<()> {
        let listener = listen(self.around.peers.networks[self.end].local)?;
        loop {
            let Ok((stream, from)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let from = from.ip();
            let Some(route) = self.around.peers.route_from(self.end, from) else {
                self.callers.stranger(from);
                continue;
            };
            let number = self.callers.number();
            let receive = Arc::clone(&self).receive(route, (from, number), stream);
            let task = tokio::spawn(receive);
            self.callers.wait(from, number, task.abort_handle());
        }
    }

    async fn receive(
        self: Arc<Self>,
        route: usize,
        (from, number): (IpAddr, u64),
        stream: TcpStream,
    ) {
        let greeted = tokio::time::timeout(HELLO_TIMEOUT, self.greet(route, stream)).await;
        self.callers.done(from, number);
        match greeted {
            Ok(Ok(greeted)) => self.adopt(route, greeted),
            Ok(Err(Broken::NotTrusted(why))) => self.callers.refuse(from, &why),
            // A node that dies while it calls.
            Ok(Err(Broken::Io(_))) => {}
            Err(_) => self.callers.refuse(from, "it did not prove who it is in time"),
        }
    }

    /// Lets the caller prove who it is, reads its hello and answers it.
    async fn greet(&self, route: usize, stream: TcpStream) -> Result<Greeted, Broken> {
        let peers = &self.around.peers;
        let peer = peers.routes[route].peer;
        let mut stream = self.around.tls.answer(peer, stream).await?;
        let mut buffer = Vec::with_capacity(256);
        let (hello, used) = loop {
            match codec::decode::<Hello>(&buffer) {
                Ok(Some(hello)) => break hello,
                Ok(None) if buffer.len() < HELLO_BYTES_MAX => {}
                Ok(None) => return Err(Broken::NotTrusted("its hello has no end".into())),
                Err(error) => {
                    let why = format!("{} does not understand this: {error}", peers.node);
                    return refuse(&mut stream, why).await;
                }
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(Broken::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        };
        if let Err(why) = hello.check(peers, peer) {
            return refuse(&mut stream, why).await;
        }
        buffer.drain(..used);
        fill(&mut stream, &mut buffer, LENGTH_BYTES).await?;
        let length = buffer.first_chunk().copied().unwrap_or_default();
        let Some(stretch) = stretch_bytes(length) else {
            return refuse(&mut stream, format!("what {peer} says behind its hello is too long"))
                .await;
        };
        fill(&mut stream, &mut buffer, stretch).await?;
        buffer.drain(..stretch);
        let welcome = Greeting::Welcome { incarnation: peers.incarnation };
        stream.write_all(&codec::encode(&welcome)).await?;
        stream.flush().await?;
        let macs = hello.macs.iter().copied().take(MACS_MAX).collect();
        self.inbox.push(Item::Macs(hello.from, macs));
        Ok((stream, hello, buffer))
    }

    /// Reads the stream from now on, in the place of an earlier one of this route.
    fn adopt(self: Arc<Self>, route: usize, (stream, hello, rest): Greeted) {
        let own = Arc::clone(&self);
        let task = tokio::spawn(async move {
            // A stream's end is no event: heartbeats tell what became of the peer.
            let _ = own.read(stream, &hello, rest).await;
        });
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(earlier) = reading.insert(route, task.abort_handle()) {
            earlier.abort();
        }
    }

    async fn read(
        &self,
        mut stream: TlsStream<TcpStream>,
        hello: &Hello,
        mut buffer: Vec<u8>,
    ) -> io::Result<()> {
        loop {
            let used = self.deliver(hello, &buffer).map_err(|_| io::ErrorKind::InvalidData)?;
            buffer.drain(..used);
            if buffer.is_empty() && buffer.capacity() > BUFFER_BYTES {
                buffer = Vec::with_capacity(BUFFER_BYTES);
            }
            while self.inbox.is_crowded() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Hands all complete frames to the core; gives the bytes they used.
    fn deliver(&self, hello: &Hello, bytes: &[u8]) -> Result<usize, FrameError> {
        let mut used = 0;
        while let Some((frame, length)) = codec::decode::<PeerFrame>(&bytes[used..])? {
            used += length;
            let fits = frame.cluster_id == hello.cluster_id
                && frame.from == hello.from
                && frame.to == hello.to
                && frame.incarnation == hello.incarnation;
            if !fits {
                return Err(FrameError::Payload("not of the node that said hello".into()));
            }
            let PeerFrame { from, message, .. } = frame;
            self.inbox.push(match message {
                PeerMessage::Note(note) => Item::Note(note),
                PeerMessage::RecordsWanted(wanted) => {
                    Item::Mail(from, PeerMessage::Records(self.around.records.page(wanted)))
                }
                PeerMessage::Records(page) => {
                    self.around.elsewhere.answered(from, page);
                    continue;
                }
                message => Item::Event(Event::Received { from, arrival: Arrival::Stream, message }),
            });
        }
        Ok(used)
    }
}

/// Reads until there are so many bytes.
async fn fill(
    stream: &mut TlsStream<TcpStream>,
    buffer: &mut Vec<u8>,
    bytes: usize,
) -> Result<(), Broken> {
    while buffer.len() < bytes {
        if stream.read_buf(buffer).await? == 0 {
            return Err(Broken::Io(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    Ok(())
}

/// Says why, and ends.
async fn refuse(stream: &mut TlsStream<TcpStream>, why: String) -> Result<Greeted, Broken> {
    stream.write_all(&codec::encode(&Greeting::Refused(why.clone()))).await?;
    stream.shutdown().await?;
    Err(Broken::NotTrusted(why))
}
