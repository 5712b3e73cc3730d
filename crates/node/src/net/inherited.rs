//! The socket that the guard left open for this process.

#![expect(unsafe_code, reason = "an inherited descriptor is only a number")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use rustix::fs::{FileType, fstat};
use rustix::io::{FdFlags, fcntl_setfd};

/// Takes over descriptor `number`. To be called once, before anything else opens descriptors.
///
/// # Errors
/// There is no such descriptor, or it is no socket.
pub(crate) fn socket(number: RawFd) -> io::Result<UnixStream> {
    if number <= 2 {
        return Err(io::Error::other("it is one of the standard streams"));
    }
    // SAFETY: the descriptor was opened for this process before it began and nothing in it knows
    // the number but its environment; it is taken over once. If it is not open, the calls below
    // fail and the number is never used again.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    let kind = fstat(&socket).map(|s| FileType::from_raw_mode(s.st_mode));
    match kind {
        Ok(FileType::Socket) => {
            fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
            Ok(socket.into())
        }
        Ok(_) => Err(io::Error::other("it is no socket")),
        Err(error) => {
            // Not open: closing it is not ours.
            std::mem::forget(socket);
            Err(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_open_or_no_socket_is_refused() {
        assert!(socket(1).is_err());
        assert!(socket(987_654).is_err());
    }
}
