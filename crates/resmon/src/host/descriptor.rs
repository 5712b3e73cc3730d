//! The descriptor that the guard hands over to the monitor.

#![expect(unsafe_code, reason = "a descriptor is inherited by number")]

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use rustix::io::{FdFlags, fcntl_setfd};

/// Takes over the connection to the guard, named by the environment variable `STEAD_GUARD_FD`.
///
/// # Errors
/// The variable is missing, or names no open descriptor: the monitor was not started by a guard.
pub fn guard_connection() -> io::Result<UnixStream> {
    let number = std::env::var("STEAD_GUARD_FD").ok().and_then(|n| n.parse::<RawFd>().ok());
    let number = number.filter(|n| *n > 2).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "the monitor is started by the guard only")
    })?;
    // SAFETY: borrowed only to ask whether it is open; the kernel refuses a number that is not.
    fcntl_setfd(unsafe { BorrowedFd::borrow_raw(number) }, FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and the guard hands it to this process alone; it is taken once, at start.
    Ok(UnixStream::from(unsafe { OwnedFd::from_raw_fd(number) }))
}
