//! The monitors as processes: the shared one, and one for each resource that has its own.
//!
//! Who may have one of its own is decided in [`crate::admission`]; here they are started, spoken
//! to and waited for. One that does not answer is looked at by a short-lived process of the same
//! program, for to read what a stuck process does may take its time, and killed then.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::process::WaitStatus;
use serde::{Deserialize, Serialize};
use stead_model::order::{MonitorName, OwnMonitor};
use stead_model::wire::guard::{GuardToMonitor, MonitorId};
use stead_model::{ResourceId, Span, Time};

use super::child::{Child, ChildParcel};
use super::clock::boot_time;
use super::handover::Luggage;
use super::link::{Link, LinkError};
use super::program::c_strings;
use super::{GuardProcess, Notice, say_broken, words};
use crate::admission::Input;
use crate::sys::{self, Limits, Place, Spawn, Spawned};

/// The argument with which a monitor is told whose it is: number of its socket and resource
/// follow.
const OWN: &str = "--own";
/// The argument with which the program looks at a process and says what that does.
const DESCRIBE: &str = "--describe";
/// A kill waits this long for a look at what it kills.
const LOOK_LIMIT: Span = Span::from_secs(2);
/// What is kept of what the look says.
const SAID_BYTES_MAX: u64 = 4096;

/// All monitors.
#[derive(Debug)]
pub(super) struct Monitors {
    argv: Vec<String>,
    id_last: MonitorId,
    shared: Seat,
    own: Vec<(OwnMonitor, Seat)>,
    look: Option<Look>,
}

/// The process of a monitor, and its life: the present one, or the last.
#[derive(Debug)]
struct Seat {
    child: Child,
    id: MonitorId,
    /// Whether it is started again; if not, it is forgotten when it is dead.
    kept: bool,
    /// Why it was killed, if it did not answer.
    silent: Option<String>,
}

/// A look at a monitor that does not answer.
#[derive(Debug)]
struct Look {
    process: Spawned,
    answer: PipeReader,
    until: Time,
    at: MonitorId,
    silent: Span,
}

/// The monitors of resources on their way to the program that takes over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OwnParcel {
    own: OwnMonitor,
    id: MonitorId,
    child: ChildParcel,
}

impl Seat {
    fn new(child: Child) -> Self {
        Self { child, id: MonitorId(0), kept: true, silent: None }
    }
}

impl Monitors {
    pub(super) fn new(argv: Vec<String>) -> Self {
        let shared = Seat::new(Child::new(argv.clone()));
        Self { argv, id_last: MonitorId(0), shared, own: Vec::new(), look: None }
    }

    pub(super) fn take_over(
        argv: Vec<String>,
        shared: (MonitorId, ChildParcel),
        own: Vec<OwnParcel>,
    ) -> io::Result<Self> {
        let child = Child::take_over(argv.clone(), shared.1)?;
        let mut monitors = Self::new(argv);
        (monitors.id_last, monitors.shared) = (shared.0, Seat { id: shared.0, ..Seat::new(child) });
        for parcel in own {
            let child = Child::take_over(monitors.own_argv(&parcel.own), parcel.child)?;
            monitors.id_last = monitors.id_last.max(parcel.id);
            monitors.own.push((parcel.own, Seat { id: parcel.id, ..Seat::new(child) }));
        }
        Ok(monitors)
    }

    /// The shared monitor, with the last number of a life that it had.
    pub(super) fn hand_over(&self, luggage: &mut Luggage) -> (MonitorId, ChildParcel) {
        (self.shared.id, self.shared.child.hand_over(luggage))
    }

    pub(super) fn hand_over_own(&self, luggage: &mut Luggage) -> Vec<OwnParcel> {
        let own = self.own.iter().map(|(own, seat)| OwnParcel {
            own: own.clone(),
            id: seat.id,
            child: seat.child.hand_over(luggage),
        });
        own.collect()
    }

    fn own_argv(&self, own: &OwnMonitor) -> Vec<String> {
        let more = [OWN.to_owned(), own.slot.to_string(), own.resource.as_str().to_owned()];
        self.argv.iter().cloned().chain(more).collect()
    }

    fn seats(&self) -> impl Iterator<Item = &Seat> {
        std::iter::once(&self.shared).chain(self.own.iter().map(|(_, seat)| seat))
    }

    fn seats_mut(&mut self) -> impl Iterator<Item = &mut Seat> {
        std::iter::once(&mut self.shared).chain(self.own.iter_mut().map(|(_, seat)| seat))
    }

    fn of(&mut self, id: MonitorId) -> Option<&mut Seat> {
        self.seats_mut().find(|seat| seat.id == id && seat.child.is_up())
    }

    fn named(&mut self, name: &MonitorName) -> Option<&mut Seat> {
        match name {
            MonitorName::Shared => Some(&mut self.shared),
            MonitorName::Own(resource) => {
                let mut own = self.own.iter_mut();
                own.find(|(own, seat)| own.resource == *resource && seat.kept).map(|(_, seat)| seat)
            }
        }
    }

    /// The shared monitor shall run.
    pub(super) fn want_shared(&mut self) {
        self.shared.child.want(boot_time());
    }

    /// The own monitor of a resource shall run.
    pub(super) fn want_own(&mut self, own: OwnMonitor) {
        if self.named(&MonitorName::Own(own.resource.clone())).is_none() {
            let child = Child::new(self.own_argv(&own));
            self.own.push((own.clone(), Seat::new(child)));
        }
        if let Some(seat) = self.named(&MonitorName::Own(own.resource)) {
            seat.child.want(boot_time());
        }
    }

    /// The own monitors of these resources are not started again.
    pub(super) fn forget(&mut self, resources: &[ResourceId]) {
        for (own, seat) in &mut self.own {
            if resources.contains(&own.resource) {
                seat.kept = false;
                seat.child.unwant();
            }
        }
        self.bury();
    }

    fn bury(&mut self) {
        self.own.retain(|(_, seat)| seat.kept || seat.child.is_up());
    }

    /// Kills one, for no fault of its own.
    pub(super) fn kill(&mut self, id: MonitorId) {
        if let Some(seat) = self.of(id) {
            seat.child.kill();
        }
    }

    /// Kills all, for no fault of their own: they run an old program.
    pub(super) fn kill_all(&mut self) {
        self.seats_mut().filter(|seat| seat.child.is_up()).for_each(|seat| seat.child.kill());
    }

    /// When one is to be started, or a look takes too long.
    pub(super) fn next(&self) -> Option<Time> {
        let starts = self.seats().filter_map(|seat| seat.child.start_at());
        starts.chain(self.look.as_ref().map(|look| look.until)).min()
    }

    /// What to wait for.
    pub(super) fn poll_for(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        self.seats().filter_map(|seat| seat.child.poll_for())
    }

    /// Whether this is the process of one of them, or of a look at one.
    pub(super) fn is(&self, pid: i32) -> bool {
        let looks = self.look.as_ref().is_some_and(|look| look.process.pid == pid);
        looks || self.seats().any(|seat| seat.child.is(pid))
    }

    /// The lives that can be heard.
    fn living(&self) -> Vec<MonitorId> {
        self.seats().filter(|seat| seat.child.is_up()).map(|seat| seat.id).collect()
    }

    /// Starts those whose time has come; tells the new lives, and what could not be started.
    fn start_due(&mut self, limits: Limits) -> (Vec<Input>, Vec<io::Error>) {
        let (now, mut last) = (boot_time(), self.id_last);
        let (mut started, mut failed) = (Vec::new(), Vec::new());
        let own = self.own.iter_mut().map(|(own, seat)| (Some(own.clone()), seat));
        for (own, seat) in std::iter::once((None, &mut self.shared)).chain(own) {
            match seat.child.start_if_due(now, limits, None) {
                Ok(false) => {}
                Ok(true) => {
                    last = MonitorId(last.0 + 1);
                    seat.id = last;
                    started.push(match own {
                        None => Input::MonitorStarted(last),
                        Some(own) => Input::OwnMonitorStarted(last, own),
                    });
                }
                Err(why) => failed.push(why),
            }
        }
        self.id_last = last;
        (started, failed)
    }

    /// Does something with the link of one; see [`Child::speak`].
    pub(super) fn speak<T>(
        &mut self,
        id: MonitorId,
        speak: impl FnOnce(&mut Link) -> Result<T, LinkError>,
    ) -> Result<Option<T>, LinkError> {
        self.of(id).map_or(Ok(None), |seat| seat.child.speak(speak))
    }

    pub(super) fn child(&mut self, id: MonitorId) -> Option<&mut Child> {
        self.of(id).map(|seat| &mut seat.child)
    }

    /// The monitor that hosts a resource, if it runs.
    pub(super) fn host_of(&self, resource: &ResourceId) -> MonitorId {
        let mut own = self.own.iter();
        let own = own.find(|(own, seat)| own.resource == *resource && seat.kept);
        own.map_or(self.shared.id, |(_, seat)| seat.id)
    }

    /// The resource whose own monitor this is.
    pub(super) fn only_for(&self, id: MonitorId) -> Option<&ResourceId> {
        let mut own = self.own.iter();
        own.find(|(_, seat)| seat.id == id).map(|(own, _)| &own.resource)
    }

    /// Whether this life is that of the shared one.
    pub(super) fn is_shared(&self, id: MonitorId) -> bool {
        self.shared.id == id
    }
}

impl GuardProcess {
    pub(super) fn start_monitors(&mut self) {
        let (started, failed) = self.monitors.start_due(self.host.privilege.services);
        for why in failed {
            self.notice(Notice::warning("monitor-not-started", format!("monitor: {why}")));
        }
        started.into_iter().for_each(|input| self.feed(input));
        if self.monitors.look.as_ref().is_some_and(|look| look.until <= boot_time()) {
            self.looked(None);
        }
    }

    /// A monitor that died, or a look at one that ended.
    pub(super) fn monitor_reaped(&mut self, pid: i32, status: WaitStatus) {
        if self.monitors.look.as_ref().is_some_and(|look| look.process.pid == pid) {
            return self.looked(Some(status));
        }
        let found = self.monitors.seats_mut().find(|seat| seat.child.is(pid));
        let Some(seat) = found else { return };
        seat.child.died(boot_time());
        let (monitor, silent) = (seat.id, seat.silent.take());
        self.monitors.bury();
        let why = match silent {
            Some(why) => why,
            None if self.monitors_are_replaced() => "was replaced after an upgrade".into(),
            None => words(status),
        };
        self.feed(Input::MonitorExited { monitor, why });
    }

    /// Takes all whole messages of the monitors.
    pub(super) fn hear_monitors(&mut self) {
        for id in self.monitors.living() {
            let Some(child) = self.monitors.child(id) else { continue };
            let (messages, broken) = super::conversation::hear(child);
            for message in messages {
                self.monitor_said(id, message);
            }
            say_broken("monitor", broken);
        }
    }

    pub(super) fn tell_monitor(&mut self, id: MonitorId, message: &GuardToMonitor) {
        let sent = self.monitors.speak(id, |link| link.send(message));
        say_broken("monitor", sent.err());
    }

    /// Tells the monitor that hosts a resource.
    pub(super) fn tell_host(&mut self, resource: &ResourceId, message: &GuardToMonitor) {
        self.tell_monitor(self.monitors.host_of(resource), message);
    }

    /// A monitor does not answer, says the node service: it is looked at, and killed then.
    pub(super) fn replace_monitor(&mut self, name: &MonitorName, silent: Span) {
        let Some(seat) = self.monitors.named(name).filter(|seat| seat.child.is_up()) else {
            return;
        };
        let (at, pid) = (seat.id, seat.child.pid());
        let looking = self.monitors.look.as_ref().map(|look| look.at);
        if looking == Some(at) {
            return;
        }
        match pid.filter(|_| looking.is_none()).map(|pid| self.look_at(pid)) {
            Some(Ok((process, answer))) => {
                let until = boot_time() + LOOK_LIMIT;
                self.monitors.look = Some(Look { process, answer, until, at, silent });
            }
            Some(Err(_)) | None => self.kill_silent(at, silent, "it was not looked at"),
        }
    }

    fn look_at(&self, pid: i32) -> io::Result<(Spawned, PipeReader)> {
        let (answer, theirs) = io::pipe()?;
        rustix::io::ioctl_fionbio(&answer, true)?;
        let mut argv = self.monitors.argv.clone();
        argv.extend([DESCRIBE.to_owned(), pid.to_string()]);
        let argv = c_strings(&argv)?;
        let null = std::fs::File::open("/dev/null")?;
        let fds = [(null.as_fd(), 0), (theirs.as_fd(), 1), (theirs.as_fd(), 2)];
        let process = sys::spawn(&Spawn {
            program: &argv[0],
            argv: &argv,
            env: &[],
            fds: &fds,
            place: Place::Beside,
            limits: self.host.privilege.programs,
            confine: None,
        })?;
        Ok((process, answer))
    }

    /// The look is over; without a status it takes too long.
    fn looked(&mut self, status: Option<WaitStatus>) {
        let Some(look) = self.monitors.look.take() else { return };
        let mut said = Vec::new();
        if status.is_none() {
            // It was started by this process and not waited for; its death finds nobody.
            drop(sys::signal(&look.process.pidfd, libc::SIGKILL));
        }
        // Whatever came until now: the pipe does not wait.
        let _ = look.answer.take(SAID_BYTES_MAX).read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        let does = match said.trim() {
            "" => "what it did could not be seen",
            does => does,
        };
        self.kill_silent(look.at, look.silent, does);
    }

    fn kill_silent(&mut self, id: MonitorId, silent: Span, does: &str) {
        let name = match self.monitors.only_for(id) {
            Some(resource) => MonitorName::Own(resource.clone()),
            None => MonitorName::Shared,
        };
        let Some(seat) = self.monitors.of(id) else { return };
        seat.silent = Some(format!("did not answer for {silent} and was killed"));
        seat.child.signal(libc::SIGKILL);
        let text = format!(
            "{name} did not answer for {silent} and is replaced; what it hosts runs on. What it \
             did then: {does}"
        );
        self.notice_now(&Notice::warning("monitor-replaced", text));
    }
}
