//! The children that serve the node: node service and monitors. Started, watched, restarted.
//!
//! A child that lived a while is restarted at once; one that dies again and again is restarted
//! after a growing pause of at most a second.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use serde::{Deserialize, Serialize};
use stead_model::{Span, Time};

use super::handover::{self, Kept, Luggage};
use super::link::{Link, LinkError, LinkParcel};
use super::program::c_strings;
use crate::sys::confine::Confine;
use crate::sys::{self, Limits, Place, Spawn, Spawned};

/// Number of the descriptor a child speaks to the guard on.
pub(crate) const GUARD_FD: i32 = 3;

/// A child that lived this long starts again at once.
const LIVED: Span = Span::from_secs(1);
const PAUSE_FIRST: Span = Span::from_millis(10);
const PAUSE_MAX: Span = Span::from_secs(1);

/// A child process and when to start it again.
#[derive(Debug)]
pub(super) struct Child {
    argv: Vec<String>,
    state: ChildState,
    pause: Span,
    /// Whether its next death is the guard's doing and lengthens no pause.
    blameless: bool,
}

/// Whether the child runs.
#[derive(Debug)]
pub(super) enum ChildState {
    /// It is not wanted (yet).
    Down,
    /// It is started at that time.
    StartAt(Time),
    /// It runs.
    Up(Running),
}

/// A running child.
#[derive(Debug)]
pub(super) struct Running {
    process: Spawned,
    /// `None` when it failed; the child is being killed.
    link: Option<Link>,
    since: Time,
}

/// A child on its way to the program that takes over.
#[derive(Default, Debug, Serialize, Deserialize)]
pub(super) struct ChildParcel {
    state: StateParcel,
    pause: Span,
    blameless: bool,
}

#[derive(Default, Debug, Serialize, Deserialize)]
enum StateParcel {
    #[default]
    Down,
    StartAt(Time),
    Up {
        process: ProcessParcel,
        link: Option<LinkParcel>,
        since: Time,
    },
}

/// A process on its way to the program that takes over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ProcessParcel {
    pid: i32,
    pidfd: Kept,
}

impl ProcessParcel {
    pub(super) fn pack(process: &Spawned, luggage: &mut Luggage) -> Self {
        Self { pid: process.pid, pidfd: luggage.keep(&process.pidfd) }
    }

    pub(super) fn unpack(self) -> io::Result<Spawned> {
        Ok(Spawned { pid: self.pid, pidfd: self.pidfd.take()? })
    }
}

impl Child {
    pub(super) fn hand_over(&self, luggage: &mut Luggage) -> ChildParcel {
        let state = match &self.state {
            ChildState::Down => StateParcel::Down,
            ChildState::StartAt(at) => StateParcel::StartAt(*at),
            ChildState::Up(Running { process, link, since }) => StateParcel::Up {
                process: ProcessParcel::pack(process, luggage),
                link: link.as_ref().map(|link| link.hand_over(luggage)),
                since: *since,
            },
        };
        ChildParcel { state, pause: self.pause, blameless: self.blameless }
    }

    pub(super) fn take_over(argv: Vec<String>, parcel: ChildParcel) -> io::Result<Self> {
        let ChildParcel { state, pause, blameless } = parcel;
        let state = match state {
            StateParcel::Down => ChildState::Down,
            StateParcel::StartAt(at) => ChildState::StartAt(at),
            StateParcel::Up { process, link, since } => ChildState::Up(Running {
                process: process.unpack()?,
                link: link.map(Link::take_over).transpose()?,
                since,
            }),
        };
        Ok(Self { argv, state, pause, blameless })
    }

    pub(super) fn new(argv: Vec<String>) -> Self {
        Self { argv, state: ChildState::Down, pause: Span::ZERO, blameless: false }
    }

    /// It shall run: start it as soon as the pause after its last death is over.
    pub(super) fn want(&mut self, now: Time) {
        if matches!(self.state, ChildState::Down) {
            self.state = ChildState::StartAt(now + self.pause);
        }
    }

    /// It shall not be started (a running one stays).
    pub(super) fn unwant(&mut self) {
        if matches!(self.state, ChildState::StartAt(_)) {
            self.state = ChildState::Down;
        }
    }

    /// When it is to be started.
    pub(super) const fn start_at(&self) -> Option<Time> {
        match self.state {
            ChildState::StartAt(at) => Some(at),
            ChildState::Down | ChildState::Up(_) => None,
        }
    }

    /// Starts it if its time has come; tells whether it did.
    pub(super) fn start_if_due(
        &mut self,
        now: Time,
        limits: Limits,
        confine: Option<Confine<'_>>,
    ) -> io::Result<bool> {
        if self.start_at().is_none_or(|at| now < at) {
            return Ok(false);
        }
        match launch(&self.argv, limits, confine) {
            Ok((process, link)) => {
                self.state = ChildState::Up(Running { process, link: Some(link), since: now });
                Ok(true)
            }
            Err(e) => {
                self.lengthen_pause();
                self.state = ChildState::StartAt(now + self.pause);
                Err(e)
            }
        }
    }

    /// Number of its process, if it runs.
    pub(super) const fn pid(&self) -> Option<i32> {
        match &self.state {
            ChildState::Up(running) => Some(running.process.pid),
            ChildState::Down | ChildState::StartAt(_) => None,
        }
    }

    /// Whether this is its process.
    pub(super) fn is(&self, pid: i32) -> bool {
        matches!(&self.state, ChildState::Up(running) if running.process.pid == pid)
    }

    /// It was waited for.
    pub(super) fn died(&mut self, now: Time) {
        let ChildState::Up(running) = &self.state else { return };
        if std::mem::take(&mut self.blameless) || now.since(running.since) >= LIVED {
            self.pause = Span::ZERO;
        } else {
            self.lengthen_pause();
        }
        self.state = ChildState::Down;
    }

    /// What to wait for: its connection, and whether something waits to be sent on it.
    pub(super) fn poll_for(&self) -> Option<(BorrowedFd<'_>, bool)> {
        match &self.state {
            ChildState::Up(Running { link: Some(link), .. }) => {
                Some((link.as_fd(), link.wants_to_send()))
            }
            ChildState::Up(_) | ChildState::Down | ChildState::StartAt(_) => None,
        }
    }

    /// Whether it runs.
    pub(super) const fn is_up(&self) -> bool {
        matches!(self.state, ChildState::Up(_))
    }

    /// Sends it a signal, if it runs.
    pub(super) fn signal(&self, signal: i32) {
        if let ChildState::Up(running) = &self.state {
            // Fails only when it died already; that is noticed by its own event.
            drop(sys::signal(&running.process.pidfd, signal));
        }
    }

    /// Tells it to end in order, if it runs; it is to be started again.
    pub(super) fn end_in_order(&mut self) {
        self.blameless = self.is_up();
        self.signal(libc::SIGTERM);
    }

    /// Kills it, if it runs, for no fault of its own; it is not started before it is wanted.
    pub(super) fn kill(&mut self) {
        self.unwant();
        self.blameless = self.is_up();
        self.signal(libc::SIGKILL);
    }

    /// Does something with its link, if it has one. A child that cannot be spoken to is killed;
    /// its death is an event of its own.
    pub(super) fn speak<T>(
        &mut self,
        speak: impl FnOnce(&mut Link) -> Result<T, LinkError>,
    ) -> Result<Option<T>, LinkError> {
        let ChildState::Up(running) = &mut self.state else { return Ok(None) };
        let Some(link) = &mut running.link else { return Ok(None) };
        let result = speak(link);
        if result.is_err() {
            running.link = None;
            self.signal(libc::SIGKILL);
        }
        result.map(Some)
    }

    /// The first restart after a life is immediate, the next ones wait ever longer.
    fn lengthen_pause(&mut self) {
        self.pause = if self.pause == Span::ZERO {
            PAUSE_FIRST
        } else {
            (self.pause + self.pause).min(PAUSE_MAX)
        };
    }
}

fn launch(
    argv: &[String],
    limits: Limits,
    confine: Option<Confine<'_>>,
) -> io::Result<(Spawned, Link)> {
    let (link, theirs) = Link::pair()?;
    let argv = c_strings(argv)?;
    let program = argv.first().ok_or_else(|| io::Error::other("no command"))?;
    let env = environment(GUARD_VARIABLE, GUARD_FD)?;
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let fds =
        [(stdin.as_fd(), 0), (stdout.as_fd(), 1), (stderr.as_fd(), 2), (theirs.as_fd(), GUARD_FD)];
    let process = sys::spawn(&Spawn {
        program,
        argv: &argv,
        env: &env,
        fds: &fds,
        place: Place::Beside,
        limits,
        confine,
    })?;
    Ok((process, link))
}

/// The guard's own environment and the number of a descriptor.
pub(super) fn environment(name: &str, number: i32) -> io::Result<Vec<CString>> {
    let own = std::env::vars().filter(|(name, _)| !DESCRIPTORS.contains(&name.as_str()));
    let mut all: Vec<String> = own.map(|(name, value)| format!("{name}={value}")).collect();
    all.push(format!("{name}={number}"));
    c_strings(&all)
}

/// The variable with the number of a child's descriptor to the guard.
const GUARD_VARIABLE: &str = "STEAD_GUARD_FD";
/// Variables about one process, of no meaning for another.
const DESCRIPTORS: [&str; 2] = [GUARD_VARIABLE, handover::VARIABLE];
