//! Incoming streams: listened for on every network, taken from known addresses only.
//!
//! Whatever arrives is a value: a stream that says anything wrong ends, and nothing else does.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stead_core::{Arrival, Event};
use stead_model::wire::codec::{self, FrameError};
use stead_model::wire::peer::{PeerFrame, PeerMessage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::AbortHandle;

use super::Peers;
use super::hello::{Greeting, HELLO_BYTES_MAX, Hello};
use super::macs::MACS_MAX;
use super::udp::allow_absent;
use crate::inbox::{Inbox, Item};

/// A caller says hello within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
/// Streams that have not said hello yet, at most.
const STRANGERS_MAX: usize = 32;
/// Bytes a stream's buffer keeps while nothing large is under way.
const BUFFER_BYTES: usize = 4096;

/// Takes streams on one network and feeds the core.
#[derive(Debug)]
pub(super) struct Incoming {
    peers: Arc<Peers>,
    inbox: Arc<Inbox>,
    end: usize,
    /// The one stream per route that is being read.
    reading: Mutex<BTreeMap<usize, AbortHandle>>,
}

impl Incoming {
    pub(super) fn new(peers: Arc<Peers>, inbox: Arc<Inbox>, end: usize) -> Self {
        Self { peers, inbox, end, reading: Mutex::default() }
    }

    /// Listens, for ever.
    pub(super) async fn run(self: Arc<Self>) -> io::Result<()> {
        let listener = self.listen()?;
        let strangers = Arc::new(tokio::sync::Semaphore::new(STRANGERS_MAX));
        loop {
            let Ok((stream, from)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Some(route) = self.peers.route_from(self.end, from.ip()) else { continue };
            let Ok(permit) = Arc::clone(&strangers).try_acquire_owned() else { continue };
            let own = Arc::clone(&self);
            tokio::spawn(async move {
                let greeted = tokio::time::timeout(HELLO_TIMEOUT, own.greet(route, stream)).await;
                drop(permit);
                if let Ok(Ok((stream, hello, rest))) = greeted {
                    own.adopt(route, stream, hello, rest);
                }
            });
        }
    }

    fn listen(&self) -> io::Result<TcpListener> {
        let local = self.peers.networks[self.end].local;
        let socket = if local.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        allow_absent(&socket, local)?;
        socket.set_reuseaddr(true)?;
        socket.bind(local)?;
        socket.listen(64)
    }

    /// Reads the hello and answers it; gives the bytes that came after it.
    async fn greet(
        &self,
        route: usize,
        mut stream: TcpStream,
    ) -> io::Result<(TcpStream, Hello, Vec<u8>)> {
        let mut buffer = Vec::with_capacity(256);
        let (hello, used) = loop {
            match codec::decode::<Hello>(&buffer) {
                Ok(Some(hello)) => break hello,
                Ok(None) if buffer.len() < HELLO_BYTES_MAX => {}
                Ok(None) => return Err(io::ErrorKind::InvalidData.into()),
                Err(error) => {
                    let why = format!("{} does not understand this: {error}", self.peers.node);
                    stream.write_all(&codec::encode(&Greeting::Refused(why))).await?;
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        if let Err(why) = hello.check(&self.peers, self.peers.routes[route].peer) {
            stream.write_all(&codec::encode(&Greeting::Refused(why))).await?;
            return Err(io::ErrorKind::InvalidData.into());
        }
        let welcome = Greeting::Welcome { incarnation: self.peers.incarnation };
        stream.write_all(&codec::encode(&welcome)).await?;
        let macs = hello.macs.iter().copied().take(MACS_MAX).collect();
        self.inbox.push(Item::Macs(hello.from, macs));
        buffer.drain(..used);
        Ok((stream, hello, buffer))
    }

    /// Reads the stream from now on, in the place of an earlier one of this route.
    fn adopt(self: &Arc<Self>, route: usize, stream: TcpStream, hello: Hello, rest: Vec<u8>) {
        let own = Arc::clone(self);
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
        mut stream: TcpStream,
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
                message => Item::Event(Event::Received { from, arrival: Arrival::Stream, message }),
            });
        }
        Ok(used)
    }
}
