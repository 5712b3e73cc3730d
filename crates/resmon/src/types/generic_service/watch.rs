//! Watches a unit that is online: what systemd says of it without being asked, and what the kernel
//! says of its control group.
//!
//! The thread lives as long as the resource is online. A systemd that executes itself anew closes
//! the connection: the thread connects again, and until then health is unknown. That the last
//! process died is the kernel's word and needs no systemd.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use stead_model::mount_table;
use stead_model::resource::Health;

use super::bus::{BusError, timespec};
use super::systemd::{State, Systemd};
use crate::monitor::STACK_BYTES;
use crate::resource_type::{Checked, Push};

/// How long it waits before it tries to connect again.
const PAUSE: Duration = Duration::from_millis(500);
/// At most so many signals are taken in one turn.
const SIGNALS_MAX: usize = 1000;

/// What is watched.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    /// The folder that stands for `/`.
    pub(super) root: PathBuf,
    /// The unit.
    pub(super) name: String,
}

/// Watches until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    end: Arc<OwnedFd>,
    seen: Arc<Mutex<Checked>>,
}

impl Watch {
    /// Begins.
    ///
    /// # Errors
    /// There is no thread or no descriptor for it.
    pub(super) fn start(watched: Watched, push: Push) -> io::Result<Self> {
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let seen = Arc::new(Mutex::new((Health::Unknown, "it was not looked at yet".into())));
        let watch = Self { end: Arc::clone(&end), seen: Arc::clone(&seen) };
        thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            let mut watcher = Watcher { watched, end, seen, push };
            watcher.run();
        })?;
        Ok(watch)
    }

    /// What was seen last.
    pub(super) fn seen(&self) -> Checked {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A counter that is full wakes as well.
        let _ = rustix::io::write(&self.end, &1_u64.to_ne_bytes());
    }
}

/// Whether the watch goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    GoOn,
    Over,
}

struct Watcher {
    watched: Watched,
    end: Arc<OwnedFd>,
    seen: Arc<Mutex<Checked>>,
    push: Push,
}

impl Watcher {
    fn run(&mut self) {
        let mut group = None;
        loop {
            let connected = Systemd::of(&self.watched.root, &self.watched.name);
            let why = match connected.and_then(|mut systemd| {
                if group.is_none() {
                    group = events_of(&mut systemd)?;
                }
                self.listen(&mut systemd, &mut group)
            }) {
                Ok(()) => return,
                Err(why) => why,
            };
            self.note(Health::Unknown, why.to_string());
            if self.pause(&mut group) == Next::Over {
                return;
            }
        }
    }

    /// Watches over one connection until the watch is over.
    fn listen(&self, systemd: &mut Systemd, group: &mut Option<File>) -> Result<(), BusError> {
        loop {
            let gone = is_gone(group);
            if self.judge(systemd)? == Next::Over {
                return Ok(());
            }
            if gone {
                *group = None;
            }
            while !is_gone(group) && !is_meant(systemd)? {
                if self.wait(systemd, group.as_ref())? == Next::Over {
                    return Ok(());
                }
            }
        }
    }

    /// Waits until systemd or the kernel says something.
    fn wait(&self, systemd: &Systemd, group: Option<&File>) -> Result<Next, BusError> {
        let mut fds = vec![
            PollFd::new(&self.end, PollFlags::IN),
            PollFd::from_borrowed_fd(systemd.line().poll_for(), PollFlags::IN),
        ];
        fds.extend(group.map(|group| PollFd::from_borrowed_fd(group.as_fd(), PollFlags::PRI)));
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(if fds[0].revents().is_empty() { Next::GoOn } else { Next::Over })
    }

    /// Asks for the state; a unit that ended has failed.
    fn judge(&self, systemd: &mut Systemd) -> Result<Next, BusError> {
        match systemd.state()? {
            State::Active => self.note(Health::Good, String::new()),
            State::Changing(how) => self.note(Health::Unknown, format!("it is {how}")),
            State::Ended(how) => {
                self.note(Health::Bad, how.clone());
                self.push.failed(how);
                return Ok(Next::Over);
            }
        }
        Ok(Next::GoOn)
    }

    /// Waits a moment for systemd; the kernel may tell meanwhile that the last process died.
    fn pause(&self, group: &mut Option<File>) -> Next {
        let end = Instant::now() + PAUSE;
        loop {
            if is_gone(group) {
                let how = "no process of it is left, and systemd does not answer";
                self.note(Health::Bad, how.into());
                self.push.failed(how);
                return Next::Over;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::GoOn;
            }
            let mut fds = vec![PollFd::new(&self.end, PollFlags::IN)];
            fds.extend(group.as_ref().map(|g| PollFd::from_borrowed_fd(g.as_fd(), PollFlags::PRI)));
            // What fails only means to look earlier.
            let _ = poll(&mut fds, Some(&timespec(left)));
            if !fds[0].revents().is_empty() {
                return Next::Over;
            }
        }
    }

    fn note(&self, health: Health, why: String) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = seen.0 != health;
        *seen = (health, why);
        drop(seen);
        if changed {
            self.push.look();
        }
    }
}

/// What the kernel says of the unit's control group; one without processes may have none.
fn events_of(systemd: &mut Systemd) -> Result<Option<File>, BusError> {
    let folder = folder_of(&systemd.control_group()?);
    Ok(folder.and_then(|folder| File::open(folder.join("cgroup.events")).ok()))
}

/// Where a control group is a folder.
pub(super) fn folder_of(group: &str) -> Option<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    mount_table::control_group(&table, group)
}

/// Whether a control group that had processes has none any more.
fn is_gone(group: &mut Option<File>) -> bool {
    let Some(file) = group else { return false };
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    read.is_err() || text.lines().any(|line| line == "populated 0")
}

/// Takes all signals that are there; tells whether one is about the unit.
fn is_meant(systemd: &mut Systemd) -> Result<bool, BusError> {
    let path = systemd.path().to_owned();
    let mut meant = false;
    for _ in 0..SIGNALS_MAX {
        let Some(signal) = systemd.bus().signal(Instant::now())? else { break };
        meant |= signal.path == path;
    }
    Ok(meant)
}

/// The processes in a control group.
pub(super) fn members(group: &Path) -> Vec<i32> {
    let list = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    list.lines().filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether nothing lives in a control group, or there is none.
pub(super) fn is_empty(group: &Path) -> bool {
    match std::fs::read_to_string(group.join("cgroup.events")) {
        Ok(text) => text.lines().any(|line| line == "populated 0"),
        Err(why) => {
            why.kind() == io::ErrorKind::NotFound || why.raw_os_error() == Some(libc::ENODEV)
        }
    }
}
