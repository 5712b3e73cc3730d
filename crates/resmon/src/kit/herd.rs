//! The processes of a program under test: all below this one, which adopts those that lose their
//! parent.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid,
};

/// A killed process that is not gone by then waits in the kernel.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Has the kernel hand over whoever loses its parent.
pub(super) fn adopt_all() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Everyone that lives below a process.
pub(super) fn below(root: i32) -> Vec<i32> {
    let all = processes();
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let children = all.iter().filter(|one| one.parent == found[next]);
        let children: Vec<i32> = children.map(|one| one.pid).collect();
        found.extend(children);
        next += 1;
    }
    let lives = |pid: &i32| all.iter().any(|one| one.pid == *pid && one.state != 'Z');
    found.into_iter().skip(1).filter(lives).collect()
}

/// Everyone that lives below this process, but one.
pub(super) fn all_but(pid: i32) -> Vec<i32> {
    let own = getpid().as_raw_nonzero().get();
    below(own).into_iter().filter(|other| *other != pid).collect()
}

/// Sends a signal to one.
pub(super) fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended.
        let _ = kill_process(pid, signal);
    }
}

/// Kills all that is left, as the guard would, and waits until nothing is.
pub(super) fn sweep() {
    let end = Instant::now() + KILL_LIMIT;
    loop {
        let left = all_but(0);
        left.iter().for_each(|pid| signal(*pid, Signal::KILL));
        let own = getpid().as_raw_nonzero().get();
        for zombie in processes().iter().filter(|one| one.parent == own && one.state == 'Z') {
            let _ = Pid::from_raw(zombie.pid).map(|pid| waitpid(Some(pid), WaitOptions::NOHANG));
        }
        if left.is_empty() || Instant::now() >= end {
            return;
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// How often it is looked for what comes by itself.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(5);

struct Process {
    pid: i32,
    parent: i32,
    state: char,
}

fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(process).collect()
}

fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    let state = words.next()?.chars().next()?;
    Some(Process { pid, parent: words.next()?.parse().ok()?, state })
}
