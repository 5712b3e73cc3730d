//! Signals as something to read: PID 1 gets no signal it has no handler for, and handlers of others
//! may interrupt anything.
#![expect(unsafe_code, reason = "no safe wrapper for signal masks and signalfd")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Signals of this process, to be read instead of handled.
#[derive(Debug)]
pub(crate) struct Signals(OwnedFd);

/// A signal that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Signal {
    /// A child ended.
    Child,
    /// Shut down.
    Stop,
}

impl Signals {
    /// Blocks SIGCHLD, SIGTERM and SIGINT for this thread and all threads and programs it starts,
    /// see [`unblocked`].
    pub(crate) fn open() -> io::Result<Self> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initialises the set before the other calls read it, and the
        // returned descriptor is new and owned by nobody else.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT] {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            let blocked =
                libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
            if blocked != 0 {
                return Err(io::Error::from_raw_os_error(blocked));
            }
            let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// The next signal that is there already.
    pub(crate) fn next(&self) -> io::Result<Option<Signal>> {
        let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(&self.0, &mut info) {
            Ok(_) => {}
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
        // `ssi_signo` is the first field.
        let [a, b, c, d, ..] = info;
        let child = u32::from_ne_bytes([a, b, c, d]) == libc::SIGCHLD.unsigned_abs();
        Ok(Some(if child { Signal::Child } else { Signal::Stop }))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The program shall get signals like any other, although they are blocked here.
pub(crate) fn unblocked(command: &mut Command) -> &mut Command {
    let unblock = || {
        let mut none = MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initialises the set before it is read.
        let done = unsafe {
            libc::sigemptyset(none.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut())
        };
        if done == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(done)) }
    };
    // SAFETY: `unblock` is two calls that neither allocate nor take a lock.
    unsafe { command.pre_exec(unblock) }
}

/// Sends a signal to every process of the PID namespace but PID 1, at once.
pub(crate) fn signal_all(signal: libc::c_int) {
    // SAFETY: takes two numbers; the caller is PID 1, so only its namespace is reached. That nobody
    // was there to be signalled (ESRCH) is as good as success.
    unsafe { libc::kill(-1, signal) };
}
