//! The system calls that have no safe form: clone, signals as file descriptors, priority.
//!
//! Every other file of this crate is safe code over these few functions and those of [`hand`].

#![expect(unsafe_code, reason = "system calls without a safe wrapper live here and nowhere else")]

use std::ffi::{CStr, CString};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

pub(crate) mod confine;
pub(crate) mod hand;

use confine::Confine;

/// A process about to be started.
#[derive(Debug)]
pub(crate) struct Spawn<'a> {
    /// Path of the program.
    pub(crate) program: &'a CStr,
    /// All arguments, the program's name first.
    pub(crate) argv: &'a [CString],
    /// The whole environment.
    pub(crate) env: &'a [CString],
    /// Descriptors it gets: mine, its number. All others are closed.
    pub(crate) fds: &'a [(BorrowedFd<'a>, RawFd)],
    /// Where it lives.
    pub(crate) place: Place,
    /// Limits it gets.
    pub(crate) limits: Limits,
    /// What it gives up, if it is to be confined.
    pub(crate) confine: Option<Confine<'a>>,
}

/// Limits of a process, those of its resources as `(soft, hard)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// Locked memory, bytes.
    pub(crate) memlock: (u64, u64),
    /// Open files.
    pub(crate) files: (u64, u64),
    /// `oom_score_adj`, -1000 to 1000: the higher, the sooner it is ended when memory is short.
    pub(crate) oom_score: i32,
}

/// Where a process lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Place {
    /// Beside its parent.
    Beside,
    /// In its own process group.
    OwnGroup,
    /// As PID 1 of its own PID, IPC and mount namespace.
    OwnNamespaces,
}

/// A started process.
#[derive(Debug)]
pub(crate) struct Spawned {
    /// Its number.
    pub(crate) pid: i32,
    /// Its descriptor: signals sent through it never reach another process.
    pub(crate) pidfd: OwnedFd,
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// Starts a process. It dies when the calling thread dies.
pub(crate) fn spawn(spawn: &Spawn<'_>) -> io::Result<Spawned> {
    let argv = pointers(spawn.argv);
    let env = pointers(spawn.env);
    let oom_score = spawn.limits.oom_score.to_string();
    let parent = std::process::id();
    let mut pidfd: RawFd = -1;
    let namespaces = match spawn.place {
        Place::Beside | Place::OwnGroup => 0,
        Place::OwnNamespaces => libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWNS,
    };
    let args = CloneArgs {
        flags: (libc::CLONE_PIDFD | namespaces) as u64,
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    // SAFETY: without CLONE_VM this is a fork: the child works on its own copy. The guard has one
    // thread, so no lock of the copy is held by a thread that is missing there. `args` outlives
    // the call and `pidfd` is a valid place for the descriptor.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => become_program(spawn, (&argv, &env), oom_score.as_bytes(), parent),
        pid => {
            // SAFETY: the kernel stored a new descriptor there that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Spawned { pid: pid as i32, pidfd })
        }
    }
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
}

/// The child's part of [`spawn`].
fn become_program(
    spawn: &Spawn<'_>,
    (argv, env): (&[*const libc::c_char], &[*const libc::c_char]),
    oom_score: &[u8],
    parent: u32,
) -> ! {
    // SAFETY: plain system calls on the child's own copy of memory; `argv` and `env` are arrays
    // of C strings that end with a null pointer and live in the caller's frame.
    unsafe {
        die_with_parent(spawn.place, parent);
        if spawn.place != Place::Beside {
            libc::setsid();
        }
        let score = libc::open(OOM_SCORE.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        libc::write(score, oom_score.as_ptr().cast(), oom_score.len());
        let Limits { memlock, files, oom_score: _ } = spawn.limits;
        for (which, (soft, hard)) in [(libc::RLIMIT_MEMLOCK, memlock), (libc::RLIMIT_NOFILE, files)]
        {
            let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
            libc::setrlimit(which, &raw const limit);
        }
        if spawn.place == Place::Beside {
            unblock_signals();
        } else {
            // An init reads its signals; none that comes before it does may be lost.
            block_signals();
        }
        if let Some(confine) = &spawn.confine {
            confine.enter();
            // The kernel forgets it when the user changes.
            die_with_parent(spawn.place, parent);
        }
        hand_over(spawn.fds);
        libc::execve(spawn.program.as_ptr(), argv.as_ptr(), env.as_ptr());
        libc::_exit(127)
    }
}

/// The kernel kills this process when its parent dies; if that is dead already, it ends.
fn die_with_parent(place: Place, parent: u32) {
    // SAFETY: plain system calls.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        let orphaned = place != Place::OwnNamespaces && libc::getppid() as u32 != parent;
        if orphaned {
            libc::_exit(127);
        }
    }
}

/// Of the process that looks there; see proc_pid_oom_score_adj(5).
pub(crate) const OOM_SCORE: &CStr = c"/proc/self/oom_score_adj";

fn unblock_signals() {
    // SAFETY: a signal set is plain memory that sigemptyset initialises.
    unsafe {
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

fn block_signals() {
    // SAFETY: a signal set is plain memory that sigfillset initialises.
    unsafe {
        let mut all: libc::sigset_t = mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, ptr::null_mut());
    }
}

/// Puts each descriptor at its number; first out of the way, so that none overwrites another.
fn hand_over(fds: &[(BorrowedFd<'_>, RawFd)]) {
    const OUT_OF_THE_WAY: RawFd = 100;
    let mut moved = [-1; 8];
    for (slot, (fd, _)) in moved.iter_mut().zip(fds) {
        // SAFETY: duplicates a descriptor the caller borrowed to us.
        *slot = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, OUT_OF_THE_WAY) };
    }
    for (slot, (_, number)) in moved.iter().zip(fds) {
        // SAFETY: in the child, whatever had that number is not used any more.
        unsafe { libc::dup2(*slot, *number) };
    }
}

/// Sends a signal to exactly the process behind the descriptor.
pub(crate) fn signal(pidfd: &OwnedFd, signal: i32) -> io::Result<()> {
    let none = ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open; no signal information is handed in.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
    check(result as i32)
}

/// Sends a signal to a process of this program's own children (not waited for yet) or, with a
/// negative number, to a process group.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: a plain system call.
    check(unsafe { libc::kill(pid, signal) })
}

/// Blocks these signals and gives a descriptor that reads them; `None` means all that can be.
pub(crate) fn signals(which: Option<&[i32]>) -> io::Result<OwnedFd> {
    // SAFETY: a signal set is plain memory that sigemptyset or sigfillset initialises.
    let mut set: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: `set` is a valid signal set for all these calls; signalfd gives a new descriptor.
    unsafe {
        match which {
            None => libc::sigfillset(&raw mut set),
            Some(_) => libc::sigemptyset(&raw mut set),
        };
        for signal in which.unwrap_or_default() {
            libc::sigaddset(&raw mut set, *signal);
        }
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()))?;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        let fd = libc::signalfd(-1, &raw const set, flags);
        check(fd)?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// The next signal of such a descriptor.
pub(crate) fn next_signal(fd: &OwnedFd) -> Option<i32> {
    // SAFETY: the structure is plain memory; the kernel fills it whole or returns an error.
    let mut info: libc::signalfd_siginfo = unsafe { mem::zeroed() };
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer has that size.
    let got = unsafe { libc::read(fd.as_raw_fd(), (&raw mut info).cast(), size) };
    (got == size as isize).then_some(info.ssi_signo as i32)
}

/// Gives this thread real-time priority; processes it starts do not inherit it.
pub(crate) fn real_time(priority: i32) -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: priority };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: a plain system call on the calling thread.
    check(unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) })
}

/// Does something at ordinary priority and goes back to real time, if that was held.
///
/// Waiting for a child releases its `/proc` entries; while somebody reads them the kernel tries
/// again and again, and at real-time priority the reader would never get to let go.
pub(crate) fn at_ordinary_priority<T>(act: impl FnOnce() -> T) -> T {
    let mut parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: plain system calls on the calling thread; `parameter` outlives them.
    let policy = unsafe {
        let policy = libc::sched_getscheduler(0) & !libc::SCHED_RESET_ON_FORK;
        libc::sched_getparam(0, &raw mut parameter);
        policy
    };
    if policy != libc::SCHED_FIFO {
        return act();
    }
    let ordinary = libc::sched_param { sched_priority: 0 };
    let calm = libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK;
    // SAFETY: as above. Lowering the priority is always allowed.
    unsafe { libc::sched_setscheduler(0, calm, &raw const ordinary) };
    let outcome = act();
    // What was allowed at the start is allowed again; if not, the guard goes on without.
    let _ = real_time(parameter.sched_priority);
    outcome
}

/// Gives back the pages of code that only the start needed; what is used is read again from the
/// page cache. Locked memory stays as it is.
pub(crate) fn give_back_code() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, length) in maps.lines().filter_map(code_of_file) {
        // SAFETY: the range is a mapping of code of a file, which nobody writes: its pages are
        // those of the file, before and after.
        unsafe { libc::madvise(ptr::without_provenance_mut(start), length, libc::MADV_DONTNEED) };
    }
}

/// Start and length of a mapping if it is code of a file that cannot be written: a line of
/// `/proc/self/maps` as in proc_pid_maps(5).
fn code_of_file(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let is_code = words.next()? == "r-xp";
    let is_file = words.nth(3)?.starts_with('/');
    let number = |hex| usize::from_str_radix(hex, 16).ok();
    let (start, end) = (number(start)?, number(end)?);
    (is_code && is_file).then_some((start, end.checked_sub(start)?))
}

/// What a program's own process does directly before it is executed: its user, and that it dies
/// with its init. For `pre_exec`: no allocation.
pub(crate) fn settle_program(uid_gid: Option<(u32, u32)>, groups: &[u32]) -> io::Result<()> {
    // SAFETY: plain system calls; `groups` lives in the caller's frame.
    unsafe {
        if let Some((uid, gid)) = uid_gid {
            check(libc::setgroups(groups.len(), groups.as_ptr()))?;
            check(libc::setgid(gid))?;
            check(libc::setuid(uid))?;
        }
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
    }
    unblock_signals();
    Ok(())
}

/// The same for a program in an agent's place, which leads a process group of its own.
pub(crate) fn settle_act(uid_gid: Option<(u32, u32)>, groups: &[u32]) -> io::Result<()> {
    // SAFETY: a plain system call.
    check(unsafe { libc::setpgid(0, 0) })?;
    settle_program(uid_gid, groups)
}

/// Runs `settle` in the child between fork and exec.
pub(crate) fn before_exec(
    command: &mut std::process::Command,
    settle: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    use std::os::unix::process::CommandExt;
    // SAFETY: the init has one thread, so the child's copy of memory is whole; `settle` makes
    // system calls only.
    unsafe { command.pre_exec(settle) };
}

/// Takes over a descriptor that the parent process handed over by number.
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: asks about a number, whatever it is.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and by the contract with the parent it is ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether a descriptor of this process stays open when it executes another program.
pub(crate) fn stays_open(number: RawFd, stays: bool) -> io::Result<()> {
    let flags = if stays { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: a plain system call about a number; whoever owns the descriptor keeps it.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, flags) })
}

/// Replaces the program of this process; returns only if that failed. Signals that are blocked
/// stay blocked, and what is pending stays pending.
pub(crate) fn execute(program: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both are arrays of C strings that end with a null pointer and outlive the call. The
    // process has one thread, so nobody else's work is cut off.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// From now on this process has a host name of its own.
pub(crate) fn own_host_name() -> io::Result<()> {
    unshare(UnshareFlags::NEWUTS)
}

/// From now on this process has mounts of its own, in the same groups as before.
pub(crate) fn own_mounts() -> io::Result<()> {
    unshare(UnshareFlags::NEWNS)
}

fn unshare(what: UnshareFlags) -> io::Result<()> {
    // SAFETY: host name and mounts are no descriptors and no memory: nothing of ours is shared or
    // closed by this. An init has one thread.
    Ok(unsafe { rustix::thread::unshare_unsafe(what) }?)
}

/// Sets the timeout of a watchdog; gives the one that it took, in seconds.
pub(crate) fn set_watchdog_timeout(device: BorrowedFd<'_>, seconds: u32) -> io::Result<u32> {
    /// `WDIOC_SETTIMEOUT`: `_IOWR('W', 6, int)`.
    const SET_TIMEOUT: libc::Ioctl = 0xc004_5706_u32 as libc::Ioctl;
    let mut taken = i32::try_from(seconds).map_err(io::Error::other)?;
    // SAFETY: the call reads and writes one int, which lives longer.
    check(unsafe { libc::ioctl(device.as_raw_fd(), SET_TIMEOUT, &raw mut taken) })?;
    u32::try_from(taken).map_err(io::Error::other)
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_is_given_back() {
        let line = "55d0c0a00000-55d0c0a02000 r-xp 00001000 fe:00 1234 /usr/bin/stead (deleted)";
        assert_eq!(code_of_file(line), Some((0x55d0_c0a0_0000, 0x2000)));
        assert_eq!(code_of_file(&line.replace("r-xp", "r--p")), None);
        assert_eq!(code_of_file(&line.replace("r-xp", "rwxp")), None);
        assert_eq!(code_of_file("7ffd0-7ffd1 r-xp 00000000 00:00 0 [vdso]"), None);
        assert_eq!(code_of_file("7ffd0-7ffd1 r-xp 00000000 00:00 0"), None);
        assert_eq!(code_of_file(""), None);
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap();
            text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        // Other threads read their code again meanwhile.
        let gives_back = |_| {
            let before = resident();
            give_back_code();
            resident() < before
        };
        assert!((0..1000).any(gives_back));
    }
}
