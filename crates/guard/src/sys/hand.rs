//! A hand of the guard: a short-lived copy of it that makes the system calls which may wait for a
//! device. A device that never answers costs a hand, never the guard. A warden is a hand that waits
//! for the death of the guard.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::{CloneArgs, Spawned};

/// Number of the last descriptor there may be.
const FD_LAST: libc::c_uint = libc::c_uint::MAX;

/// What the death of the guard means to a hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GuardDeath {
    /// It dies, too.
    Follow,
    /// It is what it waits for.
    Outlive,
}

/// Starts a hand that keeps only these descriptors (and standard error), acts and ends with the
/// code it gives. What `act` owns is owned by the hand; the guard's copies of it are closed when
/// this returns.
pub(crate) fn fork(
    keep: &[RawFd],
    death: GuardDeath,
    act: impl FnOnce() -> u8,
) -> io::Result<Spawned> {
    let mut numbers = [keep, &[0, 1, 2]].concat();
    numbers.sort_unstable();
    let parent = std::process::id();
    let mut pidfd: RawFd = -1;
    let args = CloneArgs {
        flags: libc::CLONE_PIDFD as u64,
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    // SAFETY: without CLONE_VM this is a fork: the child works on its own copy. The guard has one
    // thread, so the copy is whole and no lock of it is held by a thread that is missing there.
    // `args` outlives the call and `pidfd` is a valid place for the descriptor.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            settle(parent, &numbers, death);
            let code = act();
            // SAFETY: ends this process at once; nothing of the guard's copy is dropped or flushed.
            unsafe { libc::_exit(code.into()) }
        }
        pid => {
            // SAFETY: the kernel stored a new descriptor there that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Spawned { pid: pid as i32, pidfd })
        }
    }
}

/// The hand holds no connection of the guard open. `keep` is sorted.
fn settle(parent: u32, keep: &[RawFd], death: GuardDeath) {
    // SAFETY: plain system calls; the descriptors that are closed are this process's own copies
    // and nothing here uses them any more.
    unsafe {
        if death == GuardDeath::Follow {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            if libc::getppid() as u32 != parent {
                libc::_exit(127);
            }
        }
        for pair in keep.windows(2) {
            if pair[0] + 1 < pair[1] {
                let (first, last) = (pair[0] + 1, pair[1] - 1);
                libc::syscall(libc::SYS_close_range, first, last, 0);
            }
        }
        if let Some(last) = keep.last() {
            libc::syscall(libc::SYS_close_range, last + 1, FD_LAST, 0);
        }
    }
}

/// Lets the file system of this file take no write any more, without writing its log. The same
/// request for ext4, xfs and f2fs.
pub(crate) fn shut_down_file_system(root: BorrowedFd<'_>) -> io::Result<()> {
    const FS_IOC_SHUTDOWN: libc::Ioctl = 0x8004_587d;
    const NO_LOG_FLUSH: u32 = 2;
    // SAFETY: the request reads one number, which outlives the call.
    let done =
        unsafe { libc::ioctl(root.as_raw_fd(), FS_IOC_SHUTDOWN, ptr::from_ref(&NO_LOG_FLUSH)) };
    super::check(done)
}
