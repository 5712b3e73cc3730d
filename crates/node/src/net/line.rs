//! One outgoing stream: to one peer over one network, connected ahead of need.
//!
//! ```text
//!   idle ─► dialling ─► TLS ─► greeting ─► connected ─► (broken, other life, overflow) ─► idle
//! ```
//!
//! What waits when a connection breaks is dropped: the core repeats what matters.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use stead_model::profile::Timing;
use stead_model::record::Level;
use stead_model::wire::codec;
use stead_model::wire::peer::{GroupReport, PeerFrame, PeerMessage};
use stead_model::{Incarnation, Span};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::client::TlsStream;

use super::hello::{Greeting, HELLO_BYTES_MAX, Hello, stretch};
use super::tls::{Broken, Tls};
use super::udp::allow_absent;
use super::{Peers, Reach, Route};
use crate::clock;
use crate::elsewhere::Elsewhere;
use crate::records::Records;

/// Bytes that may wait; one message of any size may wait alone.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// First and longest pause between two attempts.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);
/// A route on which heartbeats are heard and so many attempts in a row got stuck is told.
const STUCK_MAX: u32 = 3;

/// The core thread's end of a stream and its queue.
#[derive(Debug)]
pub(crate) struct Line {
    route: usize,
    waiting: Mutex<Waiting>,
    connected: AtomicBool,
    /// Something waits.
    more: Notify,
    /// Look again: the peer is back, in another life, or too much waits.
    nudge: Notify,
}

#[derive(Default, Debug)]
struct Waiting {
    messages: VecDeque<PeerMessage>,
    bytes: usize,
    overflowed: bool,
}

/// What a line needs of the rest of the service.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) peers: Arc<Peers>,
    pub(crate) reach: Arc<Reach>,
    pub(crate) records: Arc<Records>,
    pub(crate) elsewhere: Arc<Elsewhere>,
    pub(crate) timing: Timing,
    pub(crate) tls: Tls,
}

impl Line {
    pub(super) fn new(route: usize) -> Self {
        Self {
            route,
            waiting: Mutex::default(),
            connected: AtomicBool::new(false),
            more: Notify::new(),
            nudge: Notify::new(),
        }
    }

    /// Whether the peer has said welcome.
    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Index of the route.
    pub(super) const fn route(&self) -> usize {
        self.route
    }

    /// Hands over a message. Never waits: what is too much breaks the connection.
    pub(super) fn push(&self, message: PeerMessage) {
        let bytes = size(&message);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.bytes > 0 && waiting.bytes + bytes > WAITING_BYTES_MAX {
            *waiting = Waiting { overflowed: true, ..Waiting::default() };
            drop(waiting);
            self.nudge.notify_one();
            return;
        }
        waiting.bytes += bytes;
        waiting.messages.push_back(message);
        drop(waiting);
        self.more.notify_one();
    }

    /// The peer is back: do not sit out a pause, do not trust an old connection.
    pub(super) fn nudge(&self) {
        self.nudge.notify_one();
    }

    fn pop(&self) -> Option<PeerMessage> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let message = waiting.messages.pop_front()?;
        waiting.bytes -= size(&message);
        Some(message)
    }

    /// Empties the queue; whether it had overflowed.
    fn clear(&self) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *waiting).overflowed
    }

    fn has_overflowed(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).overflowed
    }

    /// Keeps the stream up, for ever.
    pub(super) async fn run(self: Arc<Self>, around: Surroundings) {
        let route = around.peers.routes[self.route];
        let mut pause = PAUSE_FIRST;
        let mut stuck = Stuck::default();
        loop {
            match connect(&around, &route).await {
                Ok((stream, life)) => {
                    pause = PAUSE_FIRST;
                    stuck.passes(&around, &route);
                    self.connected.store(true, Ordering::Relaxed);
                    self.carry(stream, life, &around).await;
                    self.connected.store(false, Ordering::Relaxed);
                    self.clear();
                }
                Err(Unconnected::Refused(why)) => {
                    around.records.stream_refused(route.peer, &why);
                    pause = PAUSE_LONGEST;
                }
                Err(Unconnected::Broken(Broken::NotTrusted(why))) => {
                    around.records.peer_not_trusted(route.peer, route.remote, &why);
                    pause = PAUSE_LONGEST;
                }
                Err(Unconnected::Stuck) => stuck.again(&around, self.route),
                // Link events are told by heartbeats.
                Err(Unconnected::Broken(Broken::Io(_))) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.nudge.notified() => {}
            }
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }

    /// Carries messages until the connection is of no use any more.
    async fn carry(&self, stream: TlsStream<TcpStream>, life: Incarnation, around: &Surroundings) {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut end = [0; 1];
        let doubted = async {
            loop {
                self.nudge.notified().await;
                if self.has_overflowed() || around.reach.is_other_life(self.route, life) {
                    return;
                }
            }
        };
        let write = async {
            loop {
                while let Some(message) = self.pop() {
                    let frame = framed(around, self.route, message);
                    if writer.write_all(&frame).await.is_err() {
                        return;
                    }
                }
                if writer.flush().await.is_err() {
                    return;
                }
                self.more.notified().await;
            }
        };
        tokio::select! {
            // The peer never writes after its greeting: whatever comes is the end.
            _ = reader.read(&mut end) => {}
            () = doubted => {}
            () = write => {}
        }
    }
}

fn framed(around: &Surroundings, route: usize, message: PeerMessage) -> Vec<u8> {
    codec::encode(&PeerFrame {
        cluster_id: around.peers.cluster_id,
        from: around.peers.node,
        to: around.peers.routes[route].peer,
        incarnation: around.peers.incarnation,
        message,
    })
}

/// About what a message weighs in memory.
fn size(message: &PeerMessage) -> usize {
    match message {
        PeerMessage::Raft(raft) => raft.bytes.len() + 64,
        PeerMessage::Report(report) => weigh(&report.groups),
        PeerMessage::Forward(_) => 4096,
        PeerMessage::Bundle(messages) => messages.iter().map(size).sum(),
        PeerMessage::Members(nodes) => nodes.len() * 256 + 64,
        PeerMessage::Within { message, .. } => size(message),
        PeerMessage::Forced(forced) => forced.ends.len() * 16 + 1024,
        PeerMessage::Note(note) => note.bytes.len() + 256,
        PeerMessage::FitQuestion { wanted, .. } => wanted.len() * 1024 + 256,
        PeerMessage::FitAnswer { .. } => 1024,
        PeerMessage::NewKeys(_) => 4096,
        PeerMessage::Records(page) => page.lines.len() + 64,
        PeerMessage::Heartbeat(_)
        | PeerMessage::LeaseQuestion(_)
        | PeerMessage::LeaseAnswer(_)
        | PeerMessage::ReportSeen { .. }
        | PeerMessage::KeysWanted { .. }
        | PeerMessage::RecordsWanted(_)
        | PeerMessage::ForwardAnswer { .. }
        | PeerMessage::FailResource { .. }
        | PeerMessage::Probe { .. }
        | PeerMessage::ProbeAnswer { .. } => 256,
    }
}

fn weigh(groups: &[GroupReport]) -> usize {
    groups.iter().map(|group| group.resources.len() * 96 + 256).sum::<usize>() + 64
}

/// Attempts in a row that got through to the peer and no further.
#[derive(Default)]
struct Stuck {
    times: u32,
    told: bool,
}

impl Stuck {
    /// Small packets pass, or there would be no connection and no heartbeats: it is told once what
    /// that looks like.
    fn again(&mut self, around: &Surroundings, route: usize) {
        self.times += 1;
        let heard = around.reach.is_heard(route, clock::now());
        if self.times >= STUCK_MAX && heard && !std::mem::replace(&mut self.told, true) {
            let Route { peer, end, remote } = around.peers.routes[route];
            let text = format!(
                "streams to {peer} at {remote} get stuck on network `{}`, and heartbeats arrive: \
                 large packets seem to be lost there. Streams use other networks, if there are; \
                 compare the MTU of all interfaces and switches",
                around.peers.networks[end].name
            );
            around.records.note(Level::Warning, "streams-stuck", &text);
        }
    }

    fn passes(&mut self, around: &Surroundings, route: &Route) {
        if std::mem::take(self).told {
            let name = &around.peers.networks[route.end].name;
            let text = format!("streams to {} pass on network `{name}` again", route.peer);
            around.records.note(Level::Info, "streams-pass", &text);
        }
    }
}

/// Why there is no connection.
enum Unconnected {
    Broken(Broken),
    Refused(String),
    /// The peer's kernel took the connection, and what was said over it went nowhere.
    Stuck,
}

impl From<Broken> for Unconnected {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<io::Error> for Unconnected {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.into())
    }
}

/// Silence of a connection after which it is given up.
fn patience(timing: &Timing) -> Span {
    (timing.election * 2).max(Span::from_millis(400))
}

async fn connect(
    around: &Surroundings,
    route: &Route,
) -> Result<(TlsStream<TcpStream>, Incarnation), Unconnected> {
    let limit = Duration::from_millis(patience(&around.timing).as_millis());
    let until = Instant::now() + limit;
    let stream = match timeout_at(until, dial(around, route)).await {
        Ok(stream) => stream?,
        Err(_) => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    };
    match timeout_at(until, greet(around, route, stream)).await {
        // The kernel gives a connection up after the same time without an acknowledgement.
        Ok(Err(Unconnected::Broken(Broken::Io(error))))
            if error.kind() == io::ErrorKind::TimedOut =>
        {
            Err(Unconnected::Stuck)
        }
        Ok(result) => result,
        Err(_) => Err(Unconnected::Stuck),
    }
}

async fn dial(around: &Surroundings, route: &Route) -> io::Result<TcpStream> {
    let local = around.peers.networks[route.end].local;
    let socket = if local.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    allow_absent(&socket, local)?;
    socket.set_nodelay(true)?;
    let patience_ms = patience(&around.timing).as_millis() as u32;
    rustix::net::sockopt::set_tcp_user_timeout(&socket, patience_ms).map_err(io::Error::from)?;
    socket.bind(SocketAddr::new(local.ip(), 0))?;
    socket.connect(route.remote).await
}

async fn greet(
    around: &Surroundings,
    route: &Route,
    stream: TcpStream,
) -> Result<(TlsStream<TcpStream>, Incarnation), Unconnected> {
    let segment_bytes = SockRef::from(&stream).tcp_mss()? as usize;
    let mut stream = around.tls.call(route.peer, route.remote, stream).await?;
    let mut hello = codec::encode(&Hello::new(&around.peers, route.peer));
    hello.append(&mut stretch(segment_bytes));
    stream.write_all(&hello).await?;
    stream.flush().await?;
    match read_greeting(&mut stream).await? {
        Greeting::Welcome { incarnation } => Ok((stream, incarnation)),
        Greeting::Refused(why) => Err(Unconnected::Refused(why)),
    }
}

async fn read_greeting(stream: &mut TlsStream<TcpStream>) -> io::Result<Greeting> {
    let mut buffer = Vec::with_capacity(256);
    loop {
        match codec::decode::<Greeting>(&buffer) {
            Ok(Some((greeting, _))) => return Ok(greeting),
            Ok(None) if buffer.len() < HELLO_BYTES_MAX => {}
            Ok(None) | Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
