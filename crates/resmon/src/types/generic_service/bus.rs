//! One connection to systemd: over the socket that `systemctl` uses as root, where PID 1 answers
//! itself.
//!
//! No message bus is in between, so a bus that is stopped or hangs takes nothing away. What PID 1
//! has to tell of its units comes over the same connection without being asked for. Every wait has
//! an end: PID 1 may hang, too, or execute itself anew, which closes the connection.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use thiserror::Error;

use super::bytes::{self, Message, Method, PREFIX_BYTES, Value};

/// The socket, below the folder that stands for `/`.
const SOCKET: &str = "run/systemd/private";
/// Kinds of messages.
const ANSWER: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;
/// Signals that nobody took are dropped beyond this number, the oldest first.
const SIGNALS_MAX: usize = 256;

/// A connection.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    serial: u32,
    received: Vec<u8>,
    signals: VecDeque<Message>,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum BusError {
    /// There is no systemd.
    #[error("systemd does not run this node: {0}")]
    NoSystemd(#[source] io::Error),
    /// It does not answer.
    #[error("systemd does not answer")]
    Silent,
    /// The connection broke.
    #[error("systemd closed the connection: {0}")]
    Broken(#[from] io::Error),
    /// It says something that is no D-Bus.
    #[error("systemd says what is not understood")]
    Garbage,
    /// It refuses.
    #[error("systemd refuses: {text}")]
    Refused {
        /// Name of the error, as in `org.freedesktop.systemd1.NoSuchUnit`.
        name: String,
        /// Its text.
        text: String,
    },
}

impl From<rustix::io::Errno> for BusError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Broken(errno.into())
    }
}

impl Bus {
    /// Connects to the PID 1 of the node whose files are below `root`.
    pub(super) fn connect(root: &Path, until: Instant) -> Result<Self, BusError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let address = SocketAddrUnix::new(root.join(SOCKET))?;
        connect(&socket, &address).map_err(|errno| match errno {
            // Its queue of connections is full.
            rustix::io::Errno::AGAIN => BusError::Silent,
            errno => BusError::NoSystemd(errno.into()),
        })?;
        let stream = UnixStream::from(socket);
        let mut bus = Self { stream, serial: 0, received: Vec::new(), signals: VecDeque::new() };
        bus.authenticate(until)?;
        Ok(bus)
    }

    /// Says who we are, as the kernel tells as well. All of it goes out at once: a message that
    /// arrives together with `BEGIN` lies with systemd (252) until another one comes.
    fn authenticate(&mut self, until: Instant) -> Result<(), BusError> {
        let uid = rustix::process::geteuid().as_raw().to_string();
        let uid: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
        self.send(format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n").as_bytes(), until)?;
        while !self.received.ends_with(b"\r\n") {
            self.receive(until)?;
        }
        if !self.received.starts_with(b"OK ") {
            return Err(BusError::Garbage);
        }
        self.received.clear();
        Ok(())
    }

    /// Calls a method; gives what it answers.
    pub(super) fn call(
        &mut self,
        method: &Method<'_>,
        until: Instant,
    ) -> Result<Vec<Value>, BusError> {
        self.serial += 1;
        self.send(&bytes::call(self.serial, method), until)?;
        loop {
            let message = self.next_message(until)?;
            match message.kind {
                ANSWER if message.answers == self.serial => return Ok(message.body),
                ERROR if message.answers == self.serial => {
                    let text = message.body.first().map(Value::text).unwrap_or_default();
                    return Err(BusError::Refused { name: message.error, text: text.into() });
                }
                SIGNAL => {
                    self.signals.push_back(message);
                    if self.signals.len() > SIGNALS_MAX {
                        self.signals.pop_front();
                    }
                }
                // The answer to a call that was given up.
                _ => {}
            }
        }
    }

    /// The next signal that is here already or comes by then; `None`: none came.
    pub(super) fn signal(&mut self, until: Instant) -> Result<Option<Message>, BusError> {
        if let Some(signal) = self.signals.pop_front() {
            return Ok(Some(signal));
        }
        loop {
            match self.next_message(until) {
                Ok(message) if message.kind == SIGNAL => return Ok(Some(message)),
                Ok(_) => {}
                Err(BusError::Silent) => return Ok(None),
                Err(why) => return Err(why),
            }
        }
    }

    /// Readable when something came.
    pub(super) fn poll_for(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    fn next_message(&mut self, until: Instant) -> Result<Message, BusError> {
        loop {
            if self.received.len() >= PREFIX_BYTES {
                let length = bytes::length(&self.received)?;
                if self.received.len() >= length {
                    let message = bytes::message(&self.received[..length])?;
                    self.received.drain(..length);
                    return Ok(message);
                }
            }
            self.receive(until)?;
        }
    }

    fn receive(&mut self, until: Instant) -> Result<(), BusError> {
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(BusError::Broken(ErrorKind::UnexpectedEof.into())),
                Ok(got) => {
                    self.received.extend_from_slice(&chunk[..got]);
                    return Ok(());
                }
                Err(why) => self.wait_out(why, PollFlags::IN, until)?,
            }
        }
    }

    fn send(&mut self, mut bytes: &[u8], until: Instant) -> Result<(), BusError> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(why) => self.wait_out(why, PollFlags::OUT, until)?,
            }
        }
        Ok(())
    }

    /// Waits, if waiting helps against that error.
    fn wait_out(&self, why: io::Error, flag: PollFlags, until: Instant) -> Result<(), BusError> {
        match why.kind() {
            ErrorKind::Interrupted => return Ok(()),
            ErrorKind::WouldBlock => {}
            _ => return Err(why.into()),
        }
        let left = until.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(&self.stream, flag)];
        match poll(&mut fds, Some(&timespec(left))) {
            Ok(0) => Err(BusError::Silent),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// A length of time for the kernel.
pub(super) fn timespec(length: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(length.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: length.subsec_nanos().into(),
    }
}
