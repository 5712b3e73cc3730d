//! An order to the disk server on its line, with a descriptor where one belongs to it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use super::order::DiskOrder;
use crate::init::order::Line;

/// Sends an order and a descriptor.
pub(super) fn send(line: &Line, order: &DiskOrder, device: BorrowedFd<'_>) -> io::Result<()> {
    let bytes = serde_json::to_vec(order)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let devices = [device];
    control.push(SendAncillaryMessage::ScmRights(&devices));
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::net::sendmsg(line.as_fd(), &[IoSlice::new(&bytes)], &mut control, flags)?;
    Ok(())
}

/// The next order that is there already; an error when the other end is gone.
pub(super) fn receive(line: &Line) -> io::Result<Option<(DiskOrder, Option<OwnedFd>)>> {
    let mut bytes = vec![0; ORDER_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let into = &mut [IoSliceMut::new(&mut bytes)];
    let length = match rustix::net::recvmsg(line.as_fd(), into, &mut control, flags) {
        Ok(message) if message.bytes == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(message) => message.bytes,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let device = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    Ok(Some((serde_json::from_slice(&bytes[..length])?, device)))
}

const ORDER_BYTES_MAX: usize = 4096;
