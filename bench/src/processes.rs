//! The processes of a node as the host's `/proc` shows them: which are ours, what time they took
//! and what memory they hold.
//!
//! ```text
//!   lab-init (PID 1 of the node, the lab's) ── guard ─┬─ node run
//!                                                     ├─ monitor
//!                                                     └─ init ── application
//! ```
//!
//! Only descendants of the node's PID 1 are looked at. One that ends meanwhile is left out.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use stead_lab::{ControlError, Lab};
use stead_model::NodeId;

/// The processes of a node were not found or understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    /// The supervisor.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// It has none.
    #[error("{0} is off")]
    Off(NodeId),
    /// A file of `/proc`.
    #[error("cannot read `{path}`")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file of `/proc` without what it should hold.
    #[error("`{0}` is not as the kernel documents it")]
    Text(String),
    /// No application.
    #[error("{0} runs no application")]
    NoApplication(NodeId),
    /// It cannot be held.
    #[error("cannot open a handle of the application")]
    NoHandle(#[source] rustix::io::Errno),
    /// The signal was refused, or it was gone already.
    #[error("cannot kill the application")]
    NotKilled(#[source] rustix::io::Errno),
}

/// What a process of a node is to us.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Role {
    Guard,
    NodeService,
    Monitor,
    /// PID 1 of an application's own namespace.
    Init,
    /// The application, and whatever it started.
    Foreign,
}

impl Role {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Guard => "guard",
            Self::NodeService => "node service",
            Self::Monitor => "monitor",
            Self::Init => "init",
            Self::Foreign => "application",
        }
    }

    /// By command line.
    fn of(command_line: &[u8]) -> Self {
        let mut words = command_line.split(|byte| *byte == 0);
        let program = words.next().unwrap_or_default();
        if program != b"stead" && !program.ends_with(b"/stead") {
            return Self::Foreign;
        }
        match (words.next().unwrap_or_default(), words.next().unwrap_or_default()) {
            (b"guard", _) => Self::Guard,
            (b"node", b"run") => Self::NodeService,
            (b"monitor", _) => Self::Monitor,
            (b"init", _) => Self::Init,
            _ => Self::Foreign,
        }
    }
}

/// One process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) role: Role,
    /// What the process that started it is.
    parent: Option<Role>,
}

/// PID 1 of a node, as the host numbers it.
fn first_of(lab: &Lab, node: NodeId) -> Result<u32, ProcessError> {
    let status = lab.status()?;
    let found = status.nodes.iter().find(|found| found.node == node);
    found.and_then(|found| found.pid).ok_or(ProcessError::Off(node))
}

/// All processes below PID 1 of a node.
pub(crate) fn of_node(lab: &Lab, node: NodeId) -> Result<Vec<Process>, ProcessError> {
    let pid = first_of(lab, node)?;
    let mut all = Vec::new();
    let mut waiting = vec![(pid, None)];
    while let Some((parent, role)) = waiting.pop() {
        for pid in or_gone(children(parent))?.unwrap_or_default() {
            let line = format!("/proc/{pid}/cmdline");
            let Some(line) = or_gone(read(&line))? else { continue };
            let process = Process { pid, role: Role::of(&line), parent: role };
            waiting.push((pid, Some(process.role)));
            all.push(process);
        }
    }
    all.sort_by_key(|process| (process.role, process.pid));
    Ok(all)
}

/// Nothing, if the process ended meanwhile.
pub(crate) fn or_gone<T>(found: Result<T, ProcessError>) -> Result<Option<T>, ProcessError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(ProcessError::Read { source, .. })
            if source.kind() == io::ErrorKind::NotFound
                || source.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) =>
        {
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

/// A handle of the application on a node: what an init of ours started.
pub(crate) fn application(lab: &Lab, node: NodeId) -> Result<OwnedFd, ProcessError> {
    let started = |process: &&Process| process.parent == Some(Role::Init);
    let all = of_node(lab, node)?;
    let pid = all.iter().find(started).and_then(|found| i32::try_from(found.pid).ok());
    let pid = pid.and_then(Pid::from_raw).ok_or(ProcessError::NoApplication(node))?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(ProcessError::NoHandle)
}

/// What all threads of a process started.
fn children(pid: u32) -> Result<Vec<u32>, ProcessError> {
    let dir = format!("/proc/{pid}/task");
    let tasks = fs::read_dir(&dir).map_err(|source| ProcessError::Read { path: dir, source })?;
    let mut all = Vec::new();
    for task in tasks.flatten() {
        let path = task.path().join("children").display().to_string();
        let Some(text) = or_gone(read(&path))? else { continue };
        let text = String::from_utf8_lossy(&text).into_owned();
        let pids: Result<Vec<u32>, _> = text.split_whitespace().map(str::parse).collect();
        all.extend(pids.map_err(|_| ProcessError::Text(path))?);
    }
    Ok(all)
}

fn read(path: &str) -> Result<Vec<u8>, ProcessError> {
    let found = fs::read(Path::new(path));
    found.map_err(|source| ProcessError::Read { path: path.to_owned(), source })
}

/// Processor seconds of a process.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Times {
    /// Its own.
    pub(crate) own: f64,
    /// Those of its children that ended and were waited for, and of theirs.
    pub(crate) waited_for: f64,
}

impl Times {
    /// Of a running process.
    pub(crate) fn read(pid: u32) -> Result<Self, ProcessError> {
        let path = format!("/proc/{pid}/stat");
        let text = String::from_utf8_lossy(&read(&path)?).into_owned();
        let [utime, stime, cutime, cstime] =
            numbers(&text, [14, 15, 16, 17]).ok_or(ProcessError::Text(path))?;
        let seconds = |ticks: u64| ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        Ok(Self { own: seconds(utime + stime), waited_for: seconds(cutime + cstime) })
    }
}

/// The time a process has taken, and which life of its number it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Spent {
    /// User and system time of all its threads, in ticks of the kernel.
    pub(crate) ticks: u64,
    /// When it was started, in ticks since boot.
    pub(crate) started: u64,
}

impl Spent {
    /// Of a running process.
    pub(crate) fn read(pid: u32) -> Result<Self, ProcessError> {
        let path = format!("/proc/{pid}/stat");
        let text = String::from_utf8_lossy(&read(&path)?).into_owned();
        Self::parse(&text).ok_or(ProcessError::Text(path))
    }

    /// The name in parentheses may hold anything, parentheses and blanks included.
    fn parse(stat: &str) -> Option<Self> {
        let [utime, stime, started] = numbers(stat, [14, 15, 22])?;
        Some(Self { ticks: utime + stime, started })
    }
}

/// Fields of proc_pid_stat(5) by number: utime is 14, stime 15, cutime 16, cstime 17, starttime 22.
fn numbers<const N: usize>(stat: &str, which: [usize; N]) -> Option<[u64; N]> {
    let (_, fields) = stat.rsplit_once(')')?;
    // The first behind the name is number 3.
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let mut found = [0; N];
    for (place, field) in found.iter_mut().zip(which) {
        *place = fields.get(field - 3)?.parse().ok()?;
    }
    Some(found)
}

/// What a node has sent since it was switched on, over all interfaces but its loopback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl Sent {
    /// By a running node.
    pub(crate) fn by(lab: &Lab, node: NodeId) -> Result<Self, ProcessError> {
        let path = format!("/proc/{}/net/dev", first_of(lab, node)?);
        let text = String::from_utf8_lossy(&read(&path)?).into_owned();
        Self::parse(&text).ok_or(ProcessError::Text(path))
    }

    /// Two lines of heading, then `NAME:` with eight numbers of what was received, bytes first, and
    /// eight of what was sent.
    fn parse(dev: &str) -> Option<Self> {
        let mut sent = Self { packets: 0, bytes: 0 };
        for line in dev.lines().skip(2) {
            let (name, numbers) = line.split_once(':')?;
            let numbers: Vec<u64> =
                numbers.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
            let (bytes, packets) = (numbers.get(8)?, numbers.get(9)?);
            if name.trim() != "lo" {
                sent.bytes += bytes;
                sent.packets += packets;
            }
        }
        Some(sent)
    }
}

/// The memory a process holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Memory {
    /// Resident, shared pages counted in full.
    pub(crate) rss_kib: u64,
    /// Resident, shared pages divided among those who share them.
    pub(crate) pss_kib: u64,
}

impl Memory {
    /// Of a running process.
    pub(crate) fn read(pid: u32) -> Result<Self, ProcessError> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = String::from_utf8_lossy(&read(&path)?).into_owned();
        Self::parse(&text).ok_or(ProcessError::Text(path))
    }

    fn parse(rollup: &str) -> Option<Self> {
        let kib = |name: &str| {
            let mut lines = rollup.lines().filter_map(|line| line.strip_prefix(name));
            lines.next()?.trim().strip_suffix("kB")?.trim().parse().ok()
        };
        Some(Self { rss_kib: kib("Rss:")?, pss_kib: kib("Pss:")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_is_on_the_command_line() {
        let role = |line: &str| Role::of(line.replace(' ', "\0").as_bytes());
        assert_eq!(role("/run/lab/bin/stead guard "), Role::Guard);
        assert_eq!(role("/run/lab/bin/stead node run "), Role::NodeService);
        assert_eq!(role("stead monitor "), Role::Monitor);
        assert_eq!(role("/run/lab/bin/stead init "), Role::Init);
        assert_eq!(role("/run/lab/bin/stead demo-web "), Role::Foreign);
        assert_eq!(role("/usr/bin/busybox httpd -f "), Role::Foreign);
        assert_eq!(role("/usr/bin/instead guard "), Role::Foreign);
        assert_eq!(role(""), Role::Foreign);
    }

    #[test]
    fn times_stand_behind_a_name_that_may_hold_anything() {
        let stat = "29593 (a) b (c) S 29591 29587 29587 0 -1 4194560 4617 5 6 7 11 31 8 9 -6 0 6 0 \
                    561675 81072128 1647 18446744073709551615 1 2 3";
        assert_eq!(Spent::parse(stat), Some(Spent { ticks: 42, started: 561_675 }));
        assert_eq!(Spent::parse("29593 (stead) S 29591 29587"), None);
        assert_eq!(Spent::parse("29593"), None);
    }

    #[test]
    fn memory_is_summed_up_by_the_kernel() {
        let rollup = "55cc9ebdf000-7ffd0e1b5000 ---p 00000000 00:00 0    [rollup]\n\
                      Rss:                1760 kB\nPss:                 262 kB\n\
                      Pss_Dirty:           116 kB\nSwapPss:               0 kB\n";
        assert_eq!(Memory::parse(rollup), Some(Memory { rss_kib: 1760, pss_kib: 262 }));
        assert_eq!(Memory::parse("Rss:                1760 kB\n"), None);
        assert_eq!(Memory::parse(""), None);
    }

    #[test]
    fn what_was_sent_is_summed_up_without_the_loopback() {
        let dev = "Inter-|   Receive                            |  Transmit\n \
                   face |bytes packets errs drop fifo frame compressed multicast|bytes packets\n\
                   lo: 900 9 0 0 0 0 0 0 900 9 0 0 0 0 0 0\n\
                   eth0: 1 2 0 0 0 0 0 0 300 4 0 0 0 0 0 0\n\
                   eth1: 5 6 0 0 0 0 0 0 70 8 0 0 0 0 0 0\n";
        assert_eq!(Sent::parse(dev), Some(Sent { packets: 12, bytes: 370 }));
        assert_eq!(Sent::parse("a\nb\nlo: 1 2 3\n"), None);
    }

    #[test]
    fn the_running_program_is_understood() {
        let pid = std::process::id();
        let (spent, memory) = (Spent::read(pid).unwrap(), Memory::read(pid).unwrap());
        assert!(spent.started > 0);
        assert!(memory.rss_kib >= memory.pss_kib && memory.pss_kib > 0);
    }
}
