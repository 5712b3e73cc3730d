//! One probe under way: a connection or a command, never waited for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, getpeername,
    getsockname, recv, send, socket_with, sockopt,
};
use stead_model::probe::Probe;

use super::command::Running;

/// What a probe saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// It is answered as it should.
    Works,
    /// It is not.
    Fails(String),
    /// Nothing came in time.
    Hangs(String),
    /// It could not be made.
    CannotTell(String),
}

/// A probe under way.
#[derive(Debug)]
pub(super) enum Attempt {
    Connection(Connection),
    Command(Running),
}

impl Attempt {
    /// Begins a probe.
    pub(super) fn begin(what: &Probe, until: Instant) -> Result<Self, Seen> {
        let connect = |host: &Option<IpAddr>, port: u16, path: Option<&str>| {
            Connection::begin((*host, port), path, until).map(Self::Connection)
        };
        match what {
            Probe::Tcp { host, port } => connect(host, *port, None),
            Probe::Http { host, port, path } => connect(host, *port, Some(path)),
            Probe::Command { command, address } => {
                Running::begin(command, address.as_ref(), until).map(Self::Command)
            }
        }
    }

    /// When it hangs.
    pub(super) const fn until(&self) -> Instant {
        match self {
            Self::Connection(connection) => connection.until,
            Self::Command(running) => running.until,
        }
    }

    /// What it waits for.
    pub(super) fn awaits(&self) -> Vec<PollFd<'_>> {
        match self {
            Self::Connection(connection) => vec![connection.awaits()],
            Self::Command(running) => running.awaits(),
        }
    }

    /// Goes on as far as it can; gives what was seen at its end.
    pub(super) fn step(&mut self, now: Instant) -> Option<Seen> {
        match self {
            Self::Connection(connection) => connection.step(now),
            Self::Command(running) => running.step(now),
        }
    }
}

/// A connection that is made and asked something.
#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    until: Instant,
    stage: Stage,
    /// What is asked when the connection stands; nothing for a mere connection.
    question: Vec<u8>,
}

#[derive(Debug)]
enum Stage {
    Connecting,
    Asking { sent: usize },
    Hearing(Vec<u8>),
}

/// A status line is shorter; more than this is no answer of a web server.
const ANSWER_BYTES_MAX: usize = 512;

impl Connection {
    fn begin(
        (host, port): (Option<IpAddr>, u16),
        path: Option<&str>,
        until: Instant,
    ) -> Result<Self, Seen> {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let address = SocketAddr::new(host.unwrap_or(here), port);
        let question = path.map(|path| question(path, address)).unwrap_or_default();
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, None)
            .map_err(|why| Seen::CannotTell(format!("no socket: {why}")))?;
        match connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(why) => return Err(not_connected(why)),
        }
        Ok(Self { socket, until, stage: Stage::Connecting, question })
    }

    fn awaits(&self) -> PollFd<'_> {
        let flags = match self.stage {
            Stage::Connecting | Stage::Asking { .. } => PollFlags::OUT,
            Stage::Hearing(_) => PollFlags::IN,
        };
        PollFd::new(&self.socket, flags)
    }

    fn step(&mut self, now: Instant) -> Option<Seen> {
        while self.is_ready() {
            if let Some(seen) = self.go_on() {
                return Some(seen);
            }
        }
        (now >= self.until).then(|| {
            let what = match self.stage {
                Stage::Connecting => "it took no connection in time",
                Stage::Asking { .. } => "it took the connection and read nothing in time",
                Stage::Hearing(_) => "it took the connection and did not answer in time",
            };
            Seen::Hangs(what.to_owned())
        })
    }

    fn is_ready(&self) -> bool {
        let mut fds = [self.awaits()];
        let nothing = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&nothing)).is_ok_and(|ready| ready > 0)
    }

    fn go_on(&mut self) -> Option<Seen> {
        match &mut self.stage {
            Stage::Connecting => match sockopt::socket_error(&self.socket) {
                Ok(Ok(())) if is_its_own_peer(&self.socket) => Some(refused()),
                Ok(Ok(())) if self.question.is_empty() => Some(Seen::Works),
                Ok(Ok(())) => {
                    self.stage = Stage::Asking { sent: 0 };
                    None
                }
                Ok(Err(why)) | Err(why) => Some(not_connected(why)),
            },
            Stage::Asking { sent } => {
                match send(&self.socket, &self.question[*sent..], SendFlags::NOSIGNAL) {
                    Ok(more) => *sent += more,
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(why) => return Some(Seen::Fails(format!("it hung up: {why}"))),
                }
                if *sent == self.question.len() {
                    self.stage = Stage::Hearing(Vec::new());
                }
                None
            }
            Stage::Hearing(heard) => {
                let mut chunk = [0; ANSWER_BYTES_MAX];
                match recv(&self.socket, &mut chunk, RecvFlags::empty()) {
                    Ok((_, 0)) => return Some(judge(heard)),
                    Ok((_, got)) => heard.extend_from_slice(&chunk[..got]),
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(why) => return Some(Seen::Fails(format!("it hung up: {why}"))),
                }
                let enough = heard.contains(&b'\n') || heard.len() >= ANSWER_BYTES_MAX;
                enough.then(|| judge(heard))
            }
        }
    }
}

/// Whether a connection to this node was given the very port it is to reach, and so met itself:
/// TCP allows it where nobody listens.
pub(super) fn is_its_own_peer(socket: &OwnedFd) -> bool {
    let ends = (getsockname(socket), getpeername(socket));
    matches!(ends, (Ok(here), Ok(Some(there))) if here == there)
}

fn question(path: &str, address: SocketAddr) -> Vec<u8> {
    let lines = ["User-Agent: stead", "Accept: */*", "Connection: close", "", ""].join("\r\n");
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{lines}").into_bytes()
}

fn refused() -> Seen {
    Seen::Fails("connection refused".to_owned())
}

/// Whoever answers decides about a connection; without an answer nothing is known.
fn not_connected(why: Errno) -> Seen {
    match why {
        Errno::CONNREFUSED => refused(),
        Errno::CONNRESET | Errno::CONNABORTED => Seen::Fails("connection reset".to_owned()),
        Errno::TIMEDOUT => Seen::Hangs("it took no connection in time".to_owned()),
        why => Seen::CannotTell(format!("no connection can be made: {why}")),
    }
}

/// What a status line means.
fn judge(heard: &[u8]) -> Seen {
    let line = heard.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line: String =
        String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).take(80).collect();
    if line.is_empty() {
        return Seen::Fails("it closed the connection without an answer".to_owned());
    }
    let status = line.strip_prefix("HTTP/").and_then(|rest| rest.split_once(' '));
    match status.map(|(_, status)| status) {
        Some(status) if status.starts_with(['2', '3']) => Seen::Works,
        Some(status) => Seen::Fails(format!("it answered `{status}`")),
        None => Seen::Fails(format!("it answered `{line}`, which is no HTTP")),
    }
}
