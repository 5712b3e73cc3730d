//! Upgrade under running resources: the guard executes the new program in its own place, and
//! then replaces monitors and node service, one after the other.
//!
//! ```text
//!  SIGHUP ─► checking ─────► due ──────────► exec │ monitor ──────► node ──────► (none)
//!            the new program  the lease is not    │ killed, the     told to end,
//!            reads the state  about to end        │ next is ready   started again
//! ```
//!
//! Nothing ends with that: the process number stays, so children keep their parent, and the
//! descriptors stay open ([`super::handover`]). The deadline is looked at directly before the exec
//! and first of all after it; in between, a few milliseconds, nobody looks. A program that cannot
//! be executed or does not know the state is told before anything happened, and the old one goes
//! on. Should the new one fail after all, the process ends and everything under it with it.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitCode;

use rustix::process::WaitStatus;
use stead_model::wire::guard::MonitorId;
use stead_model::{Span, Time};

use super::cgroup::CgroupTree;
use super::child::{Child, environment};
use super::clock::{Timer, boot_time};
use super::confine::Confinement;
use super::handover::{self, Handover, HandoverError, LeavingParcel, Luggage};
use super::limits::Limiters;
use super::monitors::Monitors;
use super::mounts::Mounts;
use super::passage::Addresses;
use super::program::{Program, ProgramHost, Remains, c_strings};
use super::undo::Undoer;
use super::units::Units;
use super::{Ending, GuardOptions, GuardProcess, Leaving, Notice, words};
use crate::sys::{self, Limits, Place, Spawn, Spawned};

/// The argument with which a program is asked whether it could take over.
pub(super) const CHECK: &str = "--check-state";
/// How the answer of a program that could begins; it goes on with its version.
const READY: &str = "ready to take over: stead ";
/// How long the program may take to answer, how long a moment may be waited for, and how long
/// monitor and node service may take.
const STEP_LIMIT: Span = Span::from_secs(10);
/// A lease that ends earlier is no time to look away.
const CALM: Span = Span::from_millis(50);
/// Where a program that is asked finds the state.
const STATE_FD: i32 = 3;
/// What is kept of the answer.
const ANSWER_BYTES_MAX: u64 = 4096;

/// How far an upgrade is. Each step has a time at which it is given up.
#[derive(Debug)]
pub(super) enum Upgrade {
    /// None is under way.
    None,
    /// The new program looks whether it could take over.
    Checking(Check),
    /// It could: it does as soon as the lease is not about to end.
    Due(Time),
    /// This program took over; the monitor is being replaced.
    Monitor(Time),
    /// The node service is being replaced.
    Node(Time),
}

/// A program that was asked.
#[derive(Debug)]
pub(super) struct Check {
    process: Spawned,
    answer: PipeReader,
    until: Time,
}

impl Upgrade {
    /// When something is to be done.
    pub(super) const fn next(&self) -> Option<Time> {
        match self {
            Self::None => None,
            Self::Checking(Check { until, .. })
            | Self::Due(until)
            | Self::Monitor(until)
            | Self::Node(until) => Some(*until),
        }
    }

    /// Whether this is the process of a program that was asked.
    pub(super) const fn is_check(&self, pid: i32) -> bool {
        matches!(self, Self::Checking(check) if check.process.pid == pid)
    }
}

impl GuardProcess {
    /// Begins an upgrade to the program that is now where this one was started from.
    pub(super) fn begin_upgrade(&mut self) {
        match self.upgrade {
            Upgrade::None => {}
            Upgrade::Checking(_) | Upgrade::Due(_) | Upgrade::Monitor(_) | Upgrade::Node(_) => {
                return;
            }
        }
        if self.ending != Ending::No {
            return;
        }
        match self.ask_successor() {
            Ok(check) => self.upgrade = Upgrade::Checking(check),
            Err(why) => self.refuse_upgrade(&why.to_string()),
        }
    }

    fn ask_successor(&self) -> io::Result<Check> {
        let (state, _) = self.pack()?;
        let (answer, theirs) = io::pipe()?;
        rustix::io::ioctl_fionbio(&answer, true)?;
        let mut argv = self.own.clone();
        argv.push(CHECK.into());
        let argv = c_strings(&argv)?;
        let null = File::open("/dev/null")?;
        let fds = [
            (null.as_fd(), 0),
            (theirs.as_fd(), 1),
            (theirs.as_fd(), 2),
            (state.as_fd(), STATE_FD),
        ];
        let process = sys::spawn(&Spawn {
            program: &argv[0],
            argv: &argv,
            env: &environment(handover::VARIABLE, STATE_FD)?,
            fds: &fds,
            place: Place::Beside,
            limits: self.host.privilege.programs,
            confine: None,
        })?;
        Ok(Check { process, answer, until: boot_time() + STEP_LIMIT })
    }

    /// The program that was asked ended.
    pub(super) fn checked(&mut self, status: WaitStatus) {
        let Upgrade::Checking(check) = std::mem::replace(&mut self.upgrade, Upgrade::None) else {
            return;
        };
        let mut answer = Vec::new();
        // Whatever came until it ended; a pipe that is still held open gives no more.
        let _ = check.answer.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let answer = answer.trim();
        if status.exit_status() == Some(0) && answer.starts_with(READY) {
            self.upgrade = Upgrade::Due(boot_time() + STEP_LIMIT);
        } else {
            let said = if answer.is_empty() { "no word" } else { answer };
            self.refuse_upgrade(&format!("`{}` {}: {said}", self.own[0], words(status)));
        }
    }

    /// Takes an upgrade as far as it can go.
    pub(super) fn go_on_with_upgrade(&mut self) {
        let now = boot_time();
        match &self.upgrade {
            Upgrade::None => {}
            Upgrade::Checking(check) if check.until <= now => {
                // Its death is an event like any other's and finds nobody who waits for it.
                drop(sys::signal(&check.process.pidfd, libc::SIGKILL));
                self.upgrade = Upgrade::None;
                self.refuse_upgrade(&format!("`{}` does not answer", self.own[0]));
            }
            Upgrade::Due(until) => {
                let late = *until <= now;
                if self.ending != Ending::No {
                    self.upgrade = Upgrade::None;
                } else if self.is_calm(now) {
                    self.upgrade = Upgrade::None;
                    let why = self.become_successor();
                    self.refuse_upgrade(&why.to_string());
                } else if late {
                    self.upgrade = Upgrade::None;
                    self.refuse_upgrade("everything is being stopped");
                }
            }
            Upgrade::Monitor(until) if *until <= now => self.replace_node(),
            Upgrade::Node(until) if *until <= now => {
                self.upgrade = Upgrade::None;
                self.node.signal(libc::SIGKILL);
            }
            Upgrade::Checking(_) | Upgrade::Monitor(_) | Upgrade::Node(_) => {}
        }
    }

    fn is_calm(&self, now: Time) -> bool {
        let far = self.guard.next_deadline().is_none_or(|at| at.since(now) >= CALM);
        far && !self.guard.is_stopping()
    }

    fn refuse_upgrade(&mut self, why: &str) {
        let text = format!("the upgrade was refused, the running program goes on: {why}");
        self.notice_now(&Notice::warning("upgrade-refused", text));
    }

    /// Executes the new program in place of this one; comes back only if that failed.
    fn become_successor(&mut self) -> io::Error {
        let packed = self.pack().and_then(|(state, luggage)| {
            let argv = c_strings(&self.own)?;
            let env = environment(handover::VARIABLE, state.as_raw_fd())?;
            luggage.stays_open(true)?;
            sys::stays_open(state.as_raw_fd(), true)?;
            Ok((state, luggage, argv, env))
        });
        let (_state, luggage, argv, env): (File, Luggage, Vec<CString>, Vec<CString>) = match packed
        {
            Ok(packed) => packed,
            Err(why) => return why,
        };
        let why = sys::execute(&argv[0], &argv, &env);
        // Own descriptors, open: this cannot fail.
        drop(luggage.stays_open(false));
        why
    }

    /// All that a successor needs, and the descriptors it finds open.
    fn pack(&self) -> io::Result<(File, Luggage)> {
        let mut luggage = Luggage::default();
        let keep = &mut luggage;
        let programs = self.programs.iter();
        let leaving = self.leaving.iter().map(|left| LeavingParcel {
            instance: left.instance,
            status: left.status.clone(),
            remains: left.remains.hand_over(keep),
        });
        let leaving = leaving.collect();
        let (monitor_id, monitor) = self.monitors.hand_over(keep);
        let handover = Handover {
            process: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            left_at: boot_time(),
            guard: self.guard.clone(),
            monitor_id,
            node: self.node.hand_over(keep),
            monitor,
            own_monitors: self.monitors.hand_over_own(keep),
            programs: programs.map(|(id, program)| (*id, program.hand_over(keep))).collect(),
            leaving,
            addresses: self.addresses.clone(),
            mounts: self.mounts.hand_over(keep),
            units: self.units.hand_over(keep),
            undo_again: self.undo_again.clone(),
            notices: self.notices.clone(),
            cgroups: self.host.cgroups.as_ref().map(|tree| tree.hand_over(keep)),
            limiters: self.host.limiters.hand_over(keep),
            namespaces: self.host.namespaces.clone(),
            memlock: self.host.privilege.programs.memlock,
            files: Some(self.host.privilege.programs.files),
            oom_score: self.host.privilege.programs.oom_score,
            watchdog: self.watchdog.as_ref().map(|watchdog| watchdog.hand_over(keep)),
        };
        Ok((handover.write()?, luggage))
    }

    /// Goes on where the former program stopped.
    pub(super) fn take_over(options: GuardOptions, state: File) -> Result<Self, HandoverError> {
        let from = Handover::read(state)?;
        if from.process != std::process::id() {
            return Err(HandoverError::Foreign(from.process));
        }
        let (signals, log_folder) = Self::surroundings(&options)?;
        let mut notices = from.notices;
        notices.retain(|told| !super::privilege::tells(told) && !super::confine::tells(told));
        let mut privilege = super::privilege::take(&mut notices);
        let files = from.files.unwrap_or(privilege.programs.files);
        privilege.programs = Limits { memlock: from.memlock, files, oom_score: from.oom_score };
        let confinement =
            Confinement::prepare(&options.root, &options.service, privilege.services, &mut notices);
        let passage = Addresses::take_over(&from.guard, &from.addresses, &mut notices);
        let mounts = Mounts::take_over(&options.root, from.mounts)?;
        let units = Units::take_over(&options.root, from.units)?;
        let watchdog =
            super::watchdog::begin(options.watchdog.as_ref(), from.watchdog, &mut notices);
        let leaving = from.leaving.into_iter().map(|left| {
            let remains = Remains::take_over(left.remains)?;
            Ok(Leaving { instance: left.instance, status: left.status, remains })
        });
        let programs = from.programs.into_iter();
        let programs = programs.map(|(id, program)| Ok((id, Program::take_over(program)?)));
        let mut process = Self {
            guard: from.guard,
            timer: Timer::new()?,
            signals,
            undoer: Undoer::open(),
            host: ProgramHost {
                init_argv: options.init,
                log_folder,
                cgroups: from.cgroups.map(CgroupTree::take_over).transpose()?,
                limiters: Limiters::take_over(from.limiters)?,
                namespaces: from.namespaces,
                privilege,
            },
            node: Child::take_over(options.node, from.node)?,
            confinement,
            monitors: Monitors::take_over(
                options.monitor,
                (from.monitor_id, from.monitor),
                from.own_monitors,
            )?,
            programs: programs.collect::<io::Result<_>>()?,
            spoke: Vec::new(),
            leaving: leaving.collect::<io::Result<_>>()?,
            addresses: from.addresses,
            passage,
            mounts,
            units,
            undo_again: from.undo_again,
            notices,
            last_words: Vec::new(),
            dirty: None,
            ending: Ending::No,
            own: options.own,
            upgrade: Upgrade::None,
            watchdog,
        };
        process.have_taken_over(&from.version, from.left_at);
        Ok(process)
    }

    /// First the time, then all the rest.
    fn have_taken_over(&mut self, former: &str, left_at: Time) {
        let away = boot_time().since(left_at);
        self.feed(crate::admission::Input::Deadline);
        let text = format!(
            "the guard was upgraded from {former} to {} under {} things that run; it did not look \
             for {} µs",
            env!("CARGO_PKG_VERSION"),
            self.guard.things().count(),
            away.0 / 1000
        );
        self.notice_next(Notice::info("upgraded", text));
        self.upgrade = Upgrade::Monitor(boot_time() + STEP_LIMIT);
        self.monitors.kill_all();
    }

    /// A monitor is ready: if an upgrade waits for the shared one, it goes on.
    pub(super) fn monitor_is_new(&mut self, id: MonitorId) {
        if self.monitors_are_replaced() && self.monitors.is_shared(id) {
            self.replace_node();
        }
    }

    /// Whether a monitor that ends now was killed to be replaced.
    pub(super) const fn monitors_are_replaced(&self) -> bool {
        match self.upgrade {
            Upgrade::Monitor(_) => true,
            Upgrade::None | Upgrade::Checking(_) | Upgrade::Due(_) | Upgrade::Node(_) => false,
        }
    }

    /// The node service ended: if an upgrade waits for that, it is done.
    pub(super) fn node_is_gone(&mut self) {
        if matches!(self.upgrade, Upgrade::Node(_)) {
            self.upgrade = Upgrade::None;
        }
    }

    fn replace_node(&mut self) {
        self.upgrade = Upgrade::None;
        if self.node.is_up() {
            self.upgrade = Upgrade::Node(boot_time() + STEP_LIMIT);
            self.node.end_in_order();
        }
    }
}

/// Tells whether this program could take over from the guard that asks: `stead guard
/// --check-state`.
pub(super) fn check() -> ExitCode {
    let state = handover::inherited().map_err(HandoverError::from).and_then(|state| {
        state.ok_or_else(|| HandoverError::Damaged(format!("{} is not set", handover::VARIABLE)))
    });
    match state.and_then(Handover::read) {
        Ok(_) => {
            // If nobody reads it, nobody asked.
            drop(writeln!(io::stdout(), "{READY}{}", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
        Err(why) => {
            super::say(&why.to_string());
            ExitCode::FAILURE
        }
    }
}
