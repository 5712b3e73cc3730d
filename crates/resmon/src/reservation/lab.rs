//! Reservations of a lab disk: one line of JSON each way over the socket beside its device.
//!
//! The socket shares the fate of the path: a request waits while the path hangs, and a connection
//! that ends without an answer is a path that fails.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use stead_model::reservation::{Answer, Key, Keys, Request};

use super::{ReservationError, Reservations};

/// Folder of the devices of lab disks.
const DEVICE_DIR: &str = "dev/stead";
/// Folder of their sockets: `NAME.sock`.
const SOCKET_DIR: &str = "run/stead-disks";
/// An answer is far shorter.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// One path to a lab disk.
#[derive(Debug)]
pub(crate) struct LabDisk {
    socket: PathBuf,
}

impl LabDisk {
    /// The lab disk behind a device, if it is one.
    pub(crate) fn behind(root: &Path, device: &Path) -> Option<Self> {
        let name = device.strip_prefix(Path::new("/").join(DEVICE_DIR)).ok()?;
        let socket = root.join(SOCKET_DIR).join(format!("{}.sock", name.to_str()?));
        socket.exists().then_some(Self { socket })
    }

    fn ask(&self, request: Request) -> Result<Answer, ReservationError> {
        let asked = || -> std::io::Result<Answer> {
            let mut stream = UnixStream::connect(&self.socket)?;
            let mut line = serde_json::to_vec(&request)?;
            line.push(b'\n');
            stream.write_all(&line)?;
            let mut answer = String::new();
            BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut answer)?;
            if answer.is_empty() {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            Ok(serde_json::from_str(&answer)?)
        };
        asked().map_err(|why| ReservationError::Path(why.to_string()))
    }

    fn order(&self, request: Request) -> Result<(), ReservationError> {
        match self.ask(request)? {
            Answer::Done => Ok(()),
            Answer::Conflict => Err(ReservationError::Conflict),
            other @ (Answer::Keys(_) | Answer::Invalid { .. }) => Err(unexpected(&other)),
        }
    }
}

impl Reservations for LabDisk {
    fn register(&self, key: Key) -> Result<(), ReservationError> {
        self.order(Request::Register { key })
    }

    fn unregister(&self) -> Result<(), ReservationError> {
        self.order(Request::Unregister)
    }

    fn reserve(&self, key: Key) -> Result<(), ReservationError> {
        self.order(Request::Reserve { key })
    }

    fn release(&self, key: Key) -> Result<(), ReservationError> {
        self.order(Request::Release { key })
    }

    fn preempt_and_abort(&self, key: Key, victim: Key) -> Result<(), ReservationError> {
        self.order(Request::PreemptAndAbort { key, victim })
    }

    fn keys(&self) -> Result<Keys, ReservationError> {
        match self.ask(Request::ReadKeys)? {
            Answer::Keys(keys) => Ok(keys),
            other @ (Answer::Done | Answer::Conflict | Answer::Invalid { .. }) => {
                Err(unexpected(&other))
            }
        }
    }
}

fn unexpected(answer: &Answer) -> ReservationError {
    ReservationError::Path(format!("it said {answer:?}"))
}
