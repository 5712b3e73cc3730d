//! Processes of a node, found from this host as the descendants of its PID 1.

use std::fs;

use rustix::process::{Pid, Signal};
use stead_model::NodeId;

use crate::{World, wait};

/// What a process of a node is, by the words it was started with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role<'a> {
    /// `stead guard`
    Guard,
    /// `stead node run`
    Service,
    /// `stead monitor`
    Monitor,
    /// `stead monitor --own SLOT RESOURCE`
    OwnMonitor(&'a str),
    /// An application with this word in its command.
    Application(&'a str),
}

/// A process.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Process {
    pid: u32,
    parent: u32,
    words: Vec<String>,
}

/// The process of a node that plays a role; waits for it.
#[must_use]
pub fn find(world: &World, node: NodeId, role: Role<'_>) -> u32 {
    wait(&format!("{role:?} on {node}"), || {
        all(world, node, role).first().copied().ok_or_else(String::new)
    })
}

/// All processes of a node that play a role now.
#[must_use]
pub fn all(world: &World, node: NodeId, role: Role<'_>) -> Vec<u32> {
    below(world.pid_of(node), role)
}

/// All processes below this one that play a role now.
#[must_use]
pub fn below(ancestor: u32, role: Role<'_>) -> Vec<u32> {
    let processes = snapshot();
    let mut family = vec![ancestor];
    let mut found = Vec::new();
    while let Some(parent) = family.pop() {
        for child in processes.iter().filter(|p| p.parent == parent) {
            family.push(child.pid);
            if role.fits(&child.words) {
                found.push(child.pid);
            }
        }
    }
    found
}

/// The children of a process that have this in their command line.
#[must_use]
pub fn children(pid: u32, part: &str) -> Vec<u32> {
    let ours = |p: &Process| p.parent == pid && p.words.join(" ").contains(part);
    snapshot().into_iter().filter(ours).map(|process| process.pid).collect()
}

impl Role<'_> {
    fn fits(self, words: &[String]) -> bool {
        let word = |at: usize| words.get(at).map(String::as_str);
        match self {
            Self::Guard => word(1) == Some("guard"),
            Self::Service => (word(1), word(2)) == (Some("node"), Some("run")),
            Self::Monitor => word(1) == Some("monitor") && words.len() == 2,
            Self::OwnMonitor(resource) => {
                (word(1), word(2), word(4)) == (Some("monitor"), Some("--own"), Some(resource))
            }
            // Its init has the command among its own words.
            Self::Application(wanted) => {
                word(1) != Some("init") && words.iter().skip(1).any(|word| word == wanted)
            }
        }
    }
}

/// Sends a signal.
pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Whether the process exists and has not ended.
#[must_use]
pub fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| state(&stat) != Some("Z"))
}

fn snapshot() -> Vec<Process> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(read).collect()
}

fn read(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = words.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let words = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    // The name in parentheses may hold anything; behind it come state and parent.
    let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
    Some(Process { pid, parent, words })
}

fn state(stat: &str) -> Option<&str> {
    stat.rsplit_once(')')?.1.split_whitespace().next()
}
