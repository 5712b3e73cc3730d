//! One end of a socket pair to a child: frames in and out, never waiting for the child.
//!
//! A stopped child must not stop the guard: what it does not read is kept, up to a bound, and a
//! child beyond the bound is treated as broken. Descriptors that come along are kept in their
//! order.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stead_model::wire::codec::{self, FrameError};

use super::handover::{Kept, Luggage};

/// Largest amount kept for a child that does not read, and largest frame accepted from one.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// Most descriptors kept for messages that have not been read.
const DESCRIPTORS_MAX: usize = 64;

/// Why a link cannot be used any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// The child closed it or died.
    #[error("it closed its connection")]
    Closed,
    /// The child sent no frame of ours.
    #[error("it sent what is no frame")]
    Frame(#[from] FrameError),
    /// The child does not read, or sends without end.
    #[error("more than {} MiB are waiting", KEPT_BYTES_MAX >> 20)]
    Full,
    /// The socket failed.
    #[error("its connection failed")]
    Io(#[source] io::Error),
}

/// A link to a child.
#[derive(Debug)]
pub(super) struct Link {
    socket: UnixStream,
    received: Vec<u8>,
    to_send: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

/// A link on its way to the program that takes over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LinkParcel {
    socket: Kept,
    received: Vec<u8>,
    to_send: Vec<u8>,
    #[serde(default)]
    descriptors: Vec<Kept>,
}

impl Link {
    pub(super) fn hand_over(&self, luggage: &mut Luggage) -> LinkParcel {
        LinkParcel {
            socket: luggage.keep(&self.socket),
            received: self.received.clone(),
            to_send: self.to_send.clone(),
            descriptors: self.descriptors.iter().map(|fd| luggage.keep(fd)).collect(),
        }
    }

    pub(super) fn take_over(parcel: LinkParcel) -> io::Result<Self> {
        let LinkParcel { socket, received, to_send, descriptors } = parcel;
        let descriptors = descriptors.into_iter().map(Kept::take).collect::<io::Result<_>>()?;
        Ok(Self { socket: UnixStream::from(socket.take()?), received, to_send, descriptors })
    }

    /// A link and the end for the child.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (socket, child) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        let (received, to_send, descriptors) = (Vec::new(), Vec::new(), VecDeque::new());
        Ok((Self { socket, received, to_send, descriptors }, child.into()))
    }

    /// Sends a message, now or when the child reads.
    pub(super) fn send<M: Serialize>(&mut self, message: &M) -> Result<(), LinkError> {
        self.to_send.extend(codec::encode(message));
        self.flush()?;
        if self.to_send.len() > KEPT_BYTES_MAX { Err(LinkError::Full) } else { Ok(()) }
    }

    /// Whether something waits until the child reads.
    pub(super) fn wants_to_send(&self) -> bool {
        !self.to_send.is_empty()
    }

    /// Sends what waits, as far as the child takes it.
    pub(super) fn flush(&mut self) -> Result<(), LinkError> {
        while !self.to_send.is_empty() {
            match self.socket.write(&self.to_send) {
                Ok(0) => return Err(LinkError::Closed),
                Ok(sent) => drop(self.to_send.drain(..sent)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Err(LinkError::Closed),
                Err(e) => return Err(LinkError::Io(e)),
            }
        }
        Ok(())
    }

    /// Reads what is there. `Closed` comes only after all messages were taken by [`Self::next`].
    pub(super) fn fill(&mut self) -> Result<(), LinkError> {
        let mut chunk = [0; 8192];
        match self.read(&mut chunk) {
            Ok(0) => Err(LinkError::Closed),
            Ok(got) if self.received.len() + got > KEPT_BYTES_MAX => Err(LinkError::Full),
            Ok(_) if self.descriptors.len() > DESCRIPTORS_MAX => Err(LinkError::Full),
            Ok(got) => {
                self.received.extend_from_slice(&chunk[..got]);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Err(LinkError::Closed),
            Err(e) => Err(LinkError::Io(e)),
        }
    }

    /// Reads once, with the descriptors that come along.
    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let mut into = [IoSliceMut::new(chunk)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = recvmsg(&self.socket, &mut into, &mut beside, flags)?.bytes;
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        Ok(got)
    }

    /// The next descriptor received, in the order of the messages they came with.
    pub(super) fn descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }

    /// The next whole message received.
    pub(super) fn next<M: DeserializeOwned>(&mut self) -> Result<Option<M>, LinkError> {
        let Some((message, used)) = codec::decode(&self.received)? else { return Ok(None) };
        self.received.drain(..used);
        Ok(Some(message))
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
