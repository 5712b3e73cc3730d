//! The birth of a machine: one clone into fresh namespaces, so that its PID 1 is the supervisor's
//! own child and nothing stands between them.
#![expect(unsafe_code, reason = "clone3 and what its child may do before exec")]

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use rustix::process::Pid;

use crate::init::LINE_FD;

/// A new PID 1.
#[derive(Debug)]
pub(crate) struct Newborn {
    /// As this host counts.
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
}

/// Descriptors of the newborn.
#[derive(Debug)]
pub(crate) struct Inheritance<'a> {
    /// Its standard input.
    pub(crate) null: &'a File,
    /// Its standard output and error.
    pub(crate) log: &'a File,
    /// Its line to the supervisor.
    pub(crate) line: &'a OwnedFd,
}

/// Starts this very program with the arguments in fresh network, mount, host name, IPC and PID
/// namespaces. It dies with the calling *thread*, which therefore must be one that stays.
pub(crate) fn machine(arguments: &[&OsStr], fds: &Inheritance<'_>) -> io::Result<Newborn> {
    let words: Vec<CString> =
        arguments.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<_, _>>()?;
    let ended = std::iter::once(std::ptr::null());
    let argv: Vec<*const libc::c_char> = words.iter().map(|w| w.as_ptr()).chain(ended).collect();
    let moves = [
        (fds.null.as_raw_fd(), 0),
        (fds.log.as_raw_fd(), 1),
        (fds.log.as_raw_fd(), 2),
        (fds.line.as_raw_fd(), LINE_FD),
    ];
    let mut pidfd: RawFd = -1;
    let spaces = libc::CLONE_NEWNET
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWPID;
    let flags = u64::from((spaces | libc::CLONE_PIDFD).cast_unsigned());
    // SAFETY: all fields are numbers, for which zero means "not used".
    let mut order: libc::clone_args = unsafe { std::mem::zeroed() };
    order.flags = flags;
    order.pidfd = (&raw mut pidfd).addr() as u64;
    order.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    // SAFETY: `order` outlives the call and its size is given. Without CLONE_VM the child has its
    // own copy of the memory; other threads do not exist in it, so it must not take locks or
    // allocate:
    // `become_machine` does neither.
    let pid =
        unsafe { libc::syscall(libc::SYS_clone3, &raw mut order, size_of::<libc::clone_args>()) };
    match pid {
        0 => become_machine(&moves, &argv),
        1.. => {
            // SAFETY: the kernel stored a new descriptor that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            Ok(Newborn { pid: pid.ok_or(io::ErrorKind::InvalidData)?, pidfd })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// The child's way from clone to exec: system calls only.
fn become_machine(moves: &[(RawFd, RawFd)], argv: &[*const libc::c_char]) -> ! {
    // SAFETY: the pointers are valid, `argv` ends with null, and none of the calls allocates or
    // takes a lock. On failure the child ends at once and its parent sees that.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::setsid();
        for (from, to) in moves {
            let moved = if from == to {
                libc::fcntl(*from, libc::F_SETFD, 0)
            } else {
                libc::dup2(*from, *to)
            };
            if moved < 0 {
                libc::_exit(126);
            }
        }
        let environment = [std::ptr::null::<libc::c_char>()];
        libc::execve(c"/proc/self/exe".as_ptr(), argv.as_ptr(), environment.as_ptr());
        libc::_exit(127)
    }
}
