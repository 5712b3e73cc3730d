//! A probe that is a command: its exit code says whether the resource works.
//!
//! It runs as the monitor does, outside of the resource's namespaces and control group, and is no
//! part of it: the guard admits nothing. It is killed with its process group when it takes too
//! long and when the resource is no longer probed, and by the kernel when the monitor dies, which
//! the guard sees to at the end of a lease. Nobody waits for one that was killed.

use std::io::{ErrorKind, PipeReader, Read};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use stead_model::resource_type::split_words;

use super::attempt::Seen;
use crate::host::check::{self, CheckSpec, Errors};
use crate::types::PATH;

/// Code of a command that could not find out.
const UNKNOWN: i32 = 75;
/// Enough for the line that says why.
const TAIL_BYTES: usize = 512;
/// Killed commands that the kernel holds; with so many no other is begun.
const LEFT_MAX: usize = 16;

/// Commands that were killed and have not ended yet.
static LEFT: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// A command that runs.
#[derive(Debug)]
pub(super) struct Running {
    /// Taken when it has ended or is given up.
    child: Option<Child>,
    process: OwnedFd,
    /// `None`: nobody writes to it any more.
    output: Option<PipeReader>,
    tail: Vec<u8>,
    pub(super) until: Instant,
}

impl Running {
    pub(super) fn begin(
        command: &str,
        address: Option<&IpAddr>,
        until: Instant,
    ) -> Result<Self, Seen> {
        let cannot =
            |why: &dyn std::fmt::Display| Seen::CannotTell(format!("cannot be run: {why}"));
        if left_after_reaping().len() >= LEFT_MAX {
            return Err(cannot(&"earlier ones do not end although they were killed"));
        }
        let argv = split_words(command).unwrap_or_default();
        let mut env = vec![PATH.to_owned()];
        env.extend(address.map(|address| format!("STEAD_ADDRESS={address}")));
        let spec = CheckSpec { argv: &argv, env: &env, cwd: "/", user: None };
        let (child, output) = check::spawn(&spec, Errors::Kept).map_err(|why| cannot(&why))?;
        let pid = Pid::from_child(&child);
        let watched = pidfd_open(pid, PidfdFlags::empty())
            .and_then(|process| rustix::io::ioctl_fionbio(&output, true).map(|()| process));
        match watched {
            Ok(process) => {
                let (child, output) = (Some(child), Some(output));
                Ok(Self { child, process, output, tail: Vec::new(), until })
            }
            Err(why) => {
                let _ = kill_process_group(pid, Signal::KILL);
                left().push(child);
                Err(cannot(&why))
            }
        }
    }

    /// What it waits for.
    pub(super) fn awaits(&self) -> Vec<PollFd<'_>> {
        let output = self.output.as_ref().map(AsFd::as_fd);
        let all = [Some(self.process.as_fd()), output].into_iter().flatten();
        all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect()
    }

    /// Takes what it printed; gives what was seen at its end.
    pub(super) fn step(&mut self, now: Instant) -> Option<Seen> {
        let ended = self.child.as_mut()?.try_wait();
        self.read();
        match ended {
            Ok(Some(status)) => {
                self.child = None;
                Some(judge(status, &check::last_line(&self.tail)))
            }
            Ok(None) if now >= self.until => Some(Seen::Hangs("it did not end in time".into())),
            Ok(None) => None,
            Err(why) => Some(Seen::CannotTell(format!("its end is not known: {why}"))),
        }
    }

    fn read(&mut self) {
        let Some(output) = &mut self.output else { return };
        let mut chunk = [0; 1024];
        loop {
            match output.read(&mut chunk) {
                Ok(0) => break,
                Ok(got) => {
                    self.tail.extend_from_slice(&chunk[..got]);
                    let beyond = self.tail.len().saturating_sub(TAIL_BYTES);
                    self.tail.drain(..beyond);
                }
                Err(why) if why.kind() == ErrorKind::WouldBlock => return,
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.output = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // What it started in its group goes with it.
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        if !matches!(child.try_wait(), Ok(Some(_))) {
            left().push(child);
        }
    }
}

fn left() -> MutexGuard<'static, Vec<Child>> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn left_after_reaping() -> MutexGuard<'static, Vec<Child>> {
    let mut left = left();
    left.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
    left
}

/// What an end means. One that somebody killed says nothing of the resource.
fn judge(status: ExitStatus, said: &str) -> Seen {
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    match (status.code(), status.signal()) {
        (Some(0), _) => Seen::Works,
        (Some(UNKNOWN), _) => Seen::CannotTell(format!("it does not know{said}")),
        (Some(code), _) => Seen::Fails(format!("it ended with code {code}{said}")),
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            Seen::CannotTell(format!("it was killed by signal {signal}{said}"))
        }
    }
}
