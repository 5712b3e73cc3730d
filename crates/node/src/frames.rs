//! A Unix stream that carries frames without ever making the core thread wait.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use serde::Serialize;
use serde::de::DeserializeOwned;
use stead_model::wire::codec::{self, FrameError};
use thiserror::Error;

/// More than this unsent means that the other side hangs.
const UNSENT_BYTES_MAX: usize = 16 << 20;

/// Why a connection is of no use any more.
#[derive(Debug, Error)]
pub(crate) enum LinkError {
    #[error("the other side ended the connection")]
    Ended,
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("what came is no message: {0}")]
    Frame(#[from] FrameError),
    #[error("the other side takes nothing: {UNSENT_BYTES_MAX} bytes are unsent")]
    Stuck,
}

/// The stream with what is not sent and not read yet.
#[derive(Debug)]
pub(crate) struct FrameLink {
    stream: UnixStream,
    unsent: Vec<u8>,
    unread: Vec<u8>,
}

impl FrameLink {
    /// Takes over a connected stream.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, unsent: Vec::new(), unread: Vec::new() })
    }

    /// Sends a message, or keeps it until the other side takes more.
    pub(crate) fn send(&mut self, message: &impl Serialize) -> Result<(), LinkError> {
        self.unsent.extend(codec::encode(message));
        self.flush()
    }

    /// Sends what was kept.
    pub(crate) fn flush(&mut self) -> Result<(), LinkError> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match self.stream.write(&self.unsent[sent..]) {
                Ok(0) => return Err(LinkError::Ended),
                Ok(n) => sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.unsent.drain(..sent);
        if self.unsent.len() > UNSENT_BYTES_MAX { Err(LinkError::Stuck) } else { Ok(()) }
    }

    /// Whether something waits for the other side to take more.
    pub(crate) const fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Reads what has come; the next complete message, if one.
    pub(crate) fn receive<M: DeserializeOwned>(&mut self) -> Result<Option<M>, LinkError> {
        if let Some(message) = self.decoded()? {
            return Ok(Some(message));
        }
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(LinkError::Ended),
                Ok(n) => self.unread.extend_from_slice(&piece[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(message) = self.decoded()? {
                return Ok(Some(message));
            }
        }
    }

    fn decoded<M: DeserializeOwned>(&mut self) -> Result<Option<M>, LinkError> {
        let Some((message, used)) = codec::decode::<M>(&self.unread)? else { return Ok(None) };
        self.unread.drain(..used);
        Ok(Some(message))
    }
}

impl AsFd for FrameLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_larger_than_the_socket_arrive_whole_and_nobody_waits() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut a, mut b) = (FrameLink::new(a).unwrap(), FrameLink::new(b).unwrap());
        let large = vec![7_u8; 2 << 20];
        a.send(&large).unwrap();
        a.send(&vec![8_u8]).unwrap();
        assert!(a.has_unsent());
        let mut got: Vec<Vec<u8>> = Vec::new();
        while got.len() < 2 {
            got.extend(b.receive().unwrap());
            a.flush().unwrap();
        }
        assert_eq!(got, [large, vec![8]]);
        assert!(!a.has_unsent());
        drop(a);
        assert!(matches!(b.receive::<u8>(), Err(LinkError::Ended)));
    }

    #[test]
    fn noise_ends_the_connection_as_a_value() {
        let (mut a, b) = UnixStream::pair().unwrap();
        a.write_all(b"certainly not a frame").unwrap();
        let mut b = FrameLink::new(b).unwrap();
        assert!(matches!(b.receive::<u8>(), Err(LinkError::Frame(FrameError::Magic(_)))));
    }
}
