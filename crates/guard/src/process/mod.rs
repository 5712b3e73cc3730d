//! The guard process: one thread, one poll loop, no waiting for anybody.
//!
//! Each turn of the loop first lets the decisions ([`crate::admission`]) see the time, so a lease
//! that is over is over before anything else is looked at. It then reads what the children say.
//!
//! ```text
//!      ┌──────────── guard ────────────┐      timer (CLOCK_BOOTTIME), signals
//!      │ socket pair      socket pair  │
//!  node service          monitors      ├── init of program 1 ── program 1
//!                                      └── init of program 2 ── program 2
//! ```
//!
//! If this process dies, the kernel kills all of its children (parent-death signal).

mod carry_out;
mod cgroup;
mod child;
mod clock;
mod confine;
mod conversation;
mod hand;
mod handover;
mod limits;
mod link;
mod monitors;
mod mounts;
mod options;
mod passage;
mod privilege;
mod program;
mod undo;
mod units;
mod upgrade;
mod watchdog;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitOptions, WaitStatus, getpid, set_child_subreaper, wait};
use serde::{Deserialize, Serialize};
use stead_model::order::GuardReport;
use stead_model::wire::guard::{AddressUndo, ExitStatus, GuardToNode, InstanceId, ThingKind};
use stead_model::{Incarnation, Span, Time};

use crate::admission::{Guard, Input};
use crate::sys;
use cgroup::CgroupTree;
use child::Child;
use clock::{Timer, boot_time};
use confine::Confinement;
use handover::HandoverError;
use limits::Limiters;
use link::LinkError;
use monitors::Monitors;
use mounts::{HandEnd, Mounts};
pub use options::{GuardOptions, NodeService, OptionsError};
use passage::Addresses;
use program::{Namespaces, Program, ProgramHost, Remains};
use undo::Undoer;
use units::Units;
use upgrade::Upgrade;
use watchdog::Watchdog;

/// How long the node service may take to leave the cluster when the guard is told to end.
const LEAVE: Span = Span::from_secs(10);

/// Notices kept for the next node service; it may never come.
const LAST_WORDS_MAX: usize = 8;

/// Runs the guard until it is told to end (TERM): `stead guard`. HUP means to go on as the program
/// that is now where this one was started from.
#[must_use]
pub fn run(args: &[String]) -> ExitCode {
    let (check, args) = match args.split_first() {
        Some((first, rest)) if first == upgrade::CHECK => (true, rest),
        Some(_) | None => (false, args),
    };
    match GuardOptions::parse(args) {
        Ok(_) if check => upgrade::check(),
        Ok(options) => run_with(options),
        Err(error) => {
            say(&error.to_string());
            ExitCode::from(2)
        }
    }
}

/// Runs the guard with these options; goes on for another one, if this process was one before.
#[must_use]
pub fn run_with(options: GuardOptions) -> ExitCode {
    let begun = match handover::inherited() {
        Ok(None) => GuardProcess::start(options).map_err(HandoverError::from),
        Ok(Some(state)) => GuardProcess::take_over(options, state),
        Err(why) => Err(why.into()),
    };
    match begun {
        Ok(mut process) => {
            process.serve();
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("the guard could not start: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Tells whether this program could take over from a guard that asks with its state.
#[must_use]
pub fn check_state() -> ExitCode {
    upgrade::check()
}

/// Something people should know; told to each node service that starts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Notice {
    warning: bool,
    code: String,
    text: String,
}

/// The guard and all it holds.
#[derive(Debug)]
struct GuardProcess {
    guard: Guard,
    timer: Timer,
    signals: OwnedFd,
    undoer: io::Result<Undoer>,
    host: ProgramHost,
    node: Child,
    confinement: Confinement,
    monitors: Monitors,
    programs: BTreeMap<InstanceId, Program>,
    /// Agents' places whose inits had something to say at the last look.
    spoke: Vec<InstanceId>,
    /// Programs without namespaces whose init ended, until all they left behind is dead.
    leaving: Vec<Leaving>,
    addresses: BTreeMap<InstanceId, AddressUndo>,
    passage: Addresses,
    mounts: Mounts,
    units: Units,
    undo_again: BTreeSet<InstanceId>,
    notices: Vec<Notice>,
    /// What the next node service is told once.
    last_words: Vec<Notice>,
    /// What is left although the stop grace is over.
    dirty: Option<Notice>,
    ending: Ending,
    /// Command of the guard itself.
    own: Vec<String>,
    upgrade: Upgrade,
    watchdog: Option<Watchdog>,
}

/// A program whose init ended.
#[derive(Debug)]
struct Leaving {
    instance: InstanceId,
    status: ExitStatus,
    remains: Remains,
}

/// Whether the guard ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    No,
    /// The node service leaves the cluster; at that time it has had its chance.
    NodeLeaves(Time),
    /// Everything is being stopped.
    Stopping,
    /// Nothing runs.
    Finished,
}

impl GuardProcess {
    fn start(options: GuardOptions) -> io::Result<Self> {
        let (signals, log_folder) = Self::surroundings(&options)?;
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let incarnation = Incarnation(u64::from_ne_bytes(random));
        let mut notices = Vec::new();
        let privilege = privilege::take(&mut notices);
        let confinement =
            Confinement::prepare(&options.root, &options.service, privilege.services, &mut notices);
        let passage = Addresses::start(&mut notices);
        let watchdog = watchdog::begin(options.watchdog.as_ref(), None, &mut notices);
        let cgroups = CgroupTree::make(incarnation)
            .inspect_err(|why| notices.push(Notice::no_cgroups(why)))
            .ok();
        let name = format!("{:016x}", incarnation.0);
        let limiters = Limiters::make(&name, cgroups.as_ref().map(CgroupTree::folder));
        if let Some(lacking) = limiters.lacks() {
            notices.push(Notice::no_limits(&lacking));
        }
        let mounts = Mounts::left_in(&options.root);
        let left = mounts.claims().into_iter().map(|claim| (claim, ThingKind::Mount));
        let left: Vec<_> = left.collect();
        let units = Units::left_in(&options.root, left.len() as u64 + 1);
        let running = units.claims().into_iter().map(|claim| (claim, ThingKind::Program));
        let left = left.into_iter().chain(running);
        let guard = Guard::new(incarnation, options.grace);
        let mut process = Self {
            guard: guard.with_left(boot_time(), left),
            timer: Timer::new()?,
            signals,
            undoer: Undoer::open(),
            host: ProgramHost {
                init_argv: options.init,
                log_folder,
                cgroups,
                limiters,
                namespaces: Namespaces::Used,
                privilege,
            },
            node: Child::new(options.node),
            confinement,
            monitors: Monitors::new(options.monitor),
            programs: BTreeMap::new(),
            spoke: Vec::new(),
            leaving: Vec::new(),
            addresses: BTreeMap::new(),
            passage,
            mounts,
            undo_again: units.instances().collect(),
            units,
            notices: Vec::new(),
            last_words: Vec::new(),
            dirty: None,
            ending: Ending::No,
            own: options.own,
            upgrade: Upgrade::None,
            watchdog,
        };
        notices.into_iter().for_each(|notice| process.notice(notice));
        process.node.want(boot_time());
        // Otherwise it is started when what the predecessor left is gone.
        if !process.guard.is_stopping() {
            process.monitors.want_shared();
        }
        Ok(process)
    }

    /// What a guard needs however it begins: its signals and the folder of the output files.
    fn surroundings(options: &GuardOptions) -> io::Result<(OwnedFd, PathBuf)> {
        let which = [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP];
        let signals = sys::signals(Some(&which))?;
        set_child_subreaper(Some(getpid()))?;
        let log_folder = options.root.join("var/lib/stead/logs");
        std::fs::create_dir_all(&log_folder)?;
        Ok((signals, log_folder))
    }

    fn serve(&mut self) {
        sys::give_back_code();
        while self.ending != Ending::Finished {
            self.feed(Input::Deadline);
            self.start_children();
            self.undo_what_failed();
            self.leave_in_time();
            self.go_on_with_upgrade();
            self.show_life();
            self.wait();
            self.look_for_suspend();
            let late = self.lateness();
            self.feed(Input::Deadline);
            self.tell_lateness(late);
            let died = self.take_signals();
            self.hear_programs();
            // Asking the kernel costs more than all the rest of a turn.
            if died || !self.leaving.is_empty() {
                self.reap();
            }
            self.look_at_units();
            self.hear_monitors();
            self.hear_node();
        }
        self.node.signal(libc::SIGKILL);
        self.passage.end();
        self.rest();
    }

    /// How long a deadline is over, if that is too long: the guard stood still.
    fn lateness(&self) -> Option<Span> {
        /// The shortest stop grace: within it everything can still be stopped in time.
        const LATE: Span = Span::from_millis(50);
        let late = boot_time().since(self.guard.next_deadline()?);
        (late >= LATE).then_some(late)
    }

    fn tell_lateness(&mut self, late: Option<Span>) {
        if let Some(late) = late {
            let text = format!(
                "the guard looked {late} late: it was stopped, or this node is too busy; what it \
                 was to stop may have run on for so long"
            );
            self.notice_now(&Notice::warning("guard-stalled", text));
        }
    }

    /// Waits until a child speaks, a signal comes, or a time comes.
    fn wait(&mut self) {
        let undo = (!self.undo_again.is_empty()).then(|| boot_time() + Span::from_millis(5));
        let leave = match self.ending {
            Ending::NodeLeaves(until) => Some(until),
            Ending::No | Ending::Stopping | Ending::Finished => None,
        };
        let times = [
            self.guard.next_deadline(),
            self.node.start_at(),
            self.monitors.next(),
            undo,
            leave,
            self.upgrade.next(),
            self.next_sign(),
        ];
        self.timer.set(times.into_iter().flatten().min());
        let mut fds = vec![
            PollFd::new(&self.timer, PollFlags::IN),
            PollFd::new(&self.signals, PollFlags::IN),
        ];
        for (fd, wants_to_send) in self.node.poll_for().into_iter().chain(self.monitors.poll_for())
        {
            let send = if wants_to_send { PollFlags::OUT } else { PollFlags::empty() };
            fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN | send));
        }
        let first = fds.len();
        let programs = self.programs.iter();
        let speaking = programs.filter_map(|(id, program)| Some((*id, program.poll_for()?)));
        let (ids, speaking): (Vec<_>, Vec<_>) = speaking.unzip();
        fds.extend(speaking.into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let leaving = self.leaving.iter().filter_map(|left| left.remains.poll_for());
        let changing = leaving.chain(self.units.poll_for());
        fds.extend(changing.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::PRI)));
        // An interrupted or failed wait only means to look earlier.
        let _ = poll(&mut fds, None);
        let spoke = ids.iter().zip(&fds[first..]).filter(|(_, fd)| !fd.revents().is_empty());
        let spoke = spoke.map(|(id, _)| *id).collect();
        if !fds[0].revents().is_empty() {
            self.timer.clear();
        }
        drop(fds);
        self.spoke = spoke;
    }

    fn start_children(&mut self) {
        let (limits, confine) = (self.host.privilege.services, self.confinement.of_child());
        if let Err(why) = self.node.start_if_due(boot_time(), limits, Some(confine)) {
            self.notice(Notice::warning("node-not-started", format!("node service: {why}")));
        }
        self.start_monitors();
    }

    /// Whether a child died since last time.
    fn take_signals(&mut self) -> bool {
        let mut died = false;
        while let Some(signal) = sys::next_signal(&self.signals) {
            match signal {
                libc::SIGCHLD => died = true,
                libc::SIGHUP => self.begin_upgrade(),
                _ => self.told_to_end(),
            }
        }
        died
    }

    /// The guard is told to end; told again, it does not wait for the node service.
    fn told_to_end(&mut self) {
        match self.ending {
            Ending::No if self.node.is_up() => {
                self.ending = Ending::NodeLeaves(boot_time() + LEAVE);
                self.tell_node(&GuardToNode::Report(GuardReport::Leave));
            }
            Ending::No | Ending::NodeLeaves(_) => self.stop_everything(),
            Ending::Stopping | Ending::Finished => {}
        }
    }

    fn leave_in_time(&mut self) {
        match self.ending {
            Ending::NodeLeaves(until) if until <= boot_time() => self.stop_everything(),
            Ending::No | Ending::NodeLeaves(_) | Ending::Stopping | Ending::Finished => {}
        }
    }

    fn stop_everything(&mut self) {
        self.ending = Ending::Stopping;
        self.node.unwant();
        self.feed(Input::Shutdown);
    }

    /// Waits for every child that ended, adopted orphans included.
    fn reap(&mut self) {
        let next = || sys::at_ordinary_priority(|| wait(WaitOptions::NOHANG));
        while let Ok(Some((pid, status))) = next() {
            self.reaped(pid.as_raw_nonzero().get(), status);
        }
        self.see_off();
    }

    /// Tells of programs of which nothing is left any more.
    fn see_off(&mut self) {
        if self.leaving.is_empty() {
            return;
        }
        let orphans = self.kill_orphans();
        let all = std::mem::take(&mut self.leaving).into_iter();
        let (gone, left) = all.partition(|left| left.remains.are_gone(orphans));
        self.leaving = left;
        for Leaving { instance, status, .. } in gone {
            self.gone(instance, status);
        }
    }

    /// Kills what dead inits left behind; tells how many there were. The guard is the subreaper
    /// of all it started and every living init that of its program, so a child that is neither
    /// service nor init is left over. The death of each is an event that leads here again.
    fn kill_orphans(&self) -> usize {
        let own = getpid().as_raw_nonzero();
        // Without this file of the kernel (CONFIG_PROC_CHILDREN) none is found.
        let list = std::fs::read_to_string(format!("/proc/self/task/{own}/children"));
        let list = list.unwrap_or_default();
        let children = list.split_whitespace().filter_map(|pid| pid.parse().ok());
        let left = children.filter(|pid: &i32| {
            let serves = self.node.is(*pid) || self.monitors.is(*pid) || self.mounts.is_hand(*pid);
            let serves = serves || self.units.is_warden(*pid) || self.upgrade.is_check(*pid);
            !serves && self.instance_of(*pid).is_none()
        });
        // None of them was waited for, so the number is still theirs.
        left.map(|pid| drop(sys::kill(pid, libc::SIGKILL))).count()
    }

    fn reaped(&mut self, pid: i32, status: WaitStatus) {
        let now = boot_time();
        if self.monitors.is(pid) {
            self.monitor_reaped(pid, status);
        } else if self.node.is(pid) {
            self.node.died(now);
            self.node_is_gone();
            match self.ending {
                Ending::No => {
                    self.notice_next(node_ended(status));
                    self.node.want(now);
                }
                Ending::NodeLeaves(_) => self.stop_everything(),
                Ending::Stopping | Ending::Finished => {}
            }
        } else if let Some(instance) = self.instance_of(pid) {
            self.program_ended(instance);
        } else if self.upgrade.is_check(pid) {
            self.checked(status);
        } else {
            match self.mounts.hand_ended(pid, status.exit_status()) {
                Some(HandEnd::Gone(instance)) => {
                    self.mounts.forget(instance);
                    self.gone(instance, ExitStatus::Unknown);
                }
                Some(HandEnd::Failed(instance)) => drop(self.undo_again.insert(instance)),
                None => self.units.replace_warden(pid),
            }
        }
    }

    /// Tells of units of which nothing is left any more.
    fn look_at_units(&mut self) {
        for instance in self.units.look() {
            self.undo_again.remove(&instance);
            self.gone(instance, ExitStatus::Unknown);
        }
    }

    fn instance_of(&self, pid: i32) -> Option<InstanceId> {
        self.programs.iter().find(|(_, p)| p.pid() == pid).map(|(instance, _)| *instance)
    }

    fn program_ended(&mut self, instance: InstanceId) {
        let Some(program) = self.programs.remove(&instance) else { return };
        let (status, remains) = program.ended();
        match remains {
            Remains::Nothing => self.gone(instance, status),
            remains @ (Remains::InGroup(_) | Remains::Orphans) => {
                self.leaving.push(Leaving { instance, status, remains });
            }
        }
    }

    /// Keeps a notice for every node service to come, and tells the one that runs.
    fn notice(&mut self, notice: Notice) {
        if !self.notices.contains(&notice) {
            self.notice_now(&notice);
            self.notices.push(notice);
        }
    }

    /// Keeps a notice for the next node service only.
    fn notice_next(&mut self, notice: Notice) {
        say(&notice.text);
        self.last_words.truncate(LAST_WORDS_MAX - 1);
        self.last_words.push(notice);
    }

    fn notice_now(&mut self, notice: &Notice) {
        say(&notice.text);
        self.tell_node(&notice.message());
    }

    fn tell_node(&mut self, message: &GuardToNode) {
        say_broken("node service", self.node.speak(|link| link.send(message)).err());
    }
}

impl Notice {
    fn info(code: &str, text: impl Into<String>) -> Self {
        Self { warning: false, code: code.into(), text: text.into() }
    }

    fn warning(code: &str, text: impl Into<String>) -> Self {
        Self { warning: true, code: code.into(), text: text.into() }
    }

    fn no_cgroups(why: &io::Error) -> Self {
        let text = format!("no control groups ({why}): PID namespaces are the kill switch");
        Self::info("no-cgroups", text)
    }

    fn no_limits(lacking: &str) -> Self {
        let text = format!(
            "no control groups hold the {lacking} of resources: one that takes all of it hurts the \
             whole node"
        );
        Self::info("no-limits", text)
    }

    fn message(&self) -> GuardToNode {
        let Self { warning, code, text } = self.clone();
        GuardToNode::Notice { warning, code, text }
    }
}

/// The node service ended though nobody told the guard to end.
fn node_ended(status: WaitStatus) -> Notice {
    let text = format!("the node service {} and is started again", words(status));
    if status.exit_status() == Some(0) {
        Notice::info("node-service-restarted", text)
    } else {
        Notice::warning("node-service-died", text)
    }
}

/// How a process ended, for people.
fn words(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// A child that closed its connection is dying by itself, which is told with its death.
fn say_broken(child: &str, why: Option<LinkError>) {
    match why {
        None | Some(LinkError::Closed) => {}
        Some(why) => say(&format!("the {child} is killed: {why}")),
    }
}

/// One line for the journal of the unit. It is dropped when nobody reads there: a full pipe must
/// not hold the guard up.
fn say(text: &str) {
    /// What a pipe that is ready takes without waiting.
    const LINE_BYTES_MAX: usize = 4096;
    let stderr = io::stderr();
    let mut ready = [PollFd::new(&stderr, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let line = format!("stead guard: {text}\n");
    if matches!(poll(&mut ready, Some(&at_once)), Ok(1)) {
        let bytes = &line.as_bytes()[..line.len().min(LINE_BYTES_MAX)];
        drop(io::stderr().write_all(bytes));
    }
}
