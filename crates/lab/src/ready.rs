//! Waiting for descriptors to become readable, never without a limit.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

/// Waits until one of the descriptors can be read or has ended, or the time is over; says of each
/// whether it can.
pub(crate) fn any(fds: &[BorrowedFd<'_>], limit: Duration) -> io::Result<Vec<bool>> {
    let end = Instant::now() + limit;
    let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect())
}

/// Waits for one descriptor; `false` when the time was over first.
pub(crate) fn one(fd: impl AsFd, limit: Duration) -> io::Result<bool> {
    Ok(any(&[fd.as_fd()], limit)?[0])
}
