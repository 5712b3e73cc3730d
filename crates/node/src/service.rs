//! The event loop: wait, turn what happened into events, let the core decide, carry out.
//!
//! One thread owns the core. Whatever could make it wait lives on another thread and comes back
//! as an event.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stead_core::{Arrival, Cluster, Event};
use stead_model::order::GuardReport;
use stead_model::record::Level;
use stead_model::request::Answer;
use stead_model::wire::peer::PeerMessage;
use stead_model::{LogIndex, NodeId, RequestId, Span, Time};
use stead_trust::Pki;

use crate::admission::{self, Admission};
use crate::alerts::Alerts;
use crate::audit::Audit;
use crate::board::Board;
use crate::clock;
use crate::disk::Disks;
use crate::guard::{Guard, GuardError};
use crate::inbox::{Inbox, Item, Welcomed};
use crate::monitors::{FromMonitor, Monitors, SHARED, Slot};
use crate::net::{Datagrams, Doubles, Neighbour, Remote, Streams, Taken, Watch};
use crate::records::Records;
use crate::stall::Turning;
use crate::threads::Serving;
use crate::troubles::Trouble;
use crate::wakers::{Waker, Wakers};

/// The core is told the wall clock this often.
const WALL_CLOCK: Span = Span::from_secs(60);
/// A view that differs in nothing but counters is published at most this often.
const VIEW_PAUSE: Span = Span::from_millis(200);
/// Groups in which nothing happens are looked at again this often, for what time alone changes.
const GROUPS_PAUSE: Span = Span::from_secs(5);
/// After a view this many times what it took go to something else.
const VIEW_SHARE: u64 = 9;
/// A deadline that stays in the past is looked at no more often than this.
const DEADLINE_PAUSE: Span = Span::from_micros(100);
/// The last records are waited for this long.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// As long by a service that is told to end: the next one is waited for.
const LAST_WORDS_IN_ORDER: Duration = Duration::from_millis(50);
/// Items taken at one go before the others get their turn.
const AT_ONE_GO: usize = 64;

/// How a service ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It was told to.
    Stopped,
    /// It could not go on; the guard starts a new one.
    Failed(String),
}

/// Ends a running service from another thread.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Inbox>);

impl Handle {
    /// Ends the service in order.
    pub fn stop(&self) {
        self.0.push(Item::Stop);
    }
}

/// A node service.
#[derive(Debug)]
pub struct Service {
    pub(crate) cluster: Cluster,
    pub(crate) datagrams: Datagrams,
    pub(crate) streams: Streams,
    pub(crate) disks: Disks,
    pub(crate) guard: Guard,
    pub(crate) monitors: Monitors,
    pub(crate) records: Arc<Records>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) remote: Arc<Remote>,
    pub(crate) inbox: Arc<Inbox>,
    /// Answers that go out once the view shows what they tell.
    pub(crate) answers: Vec<(RequestId, Answer)>,
    /// Whether something happened that readers wait for.
    pub(crate) is_news: bool,
    pub(crate) board: Arc<Board>,
    pub(crate) alerts: Arc<Alerts>,
    pub(crate) admission: Admission,
    pub(crate) wakers: Wakers,
    /// What the guard said before the core began.
    pub(crate) early: Vec<GuardReport>,
    pub(crate) api_path: PathBuf,
    pub(crate) pki: Pki,
    pub(crate) pace: Pace,
    pub(crate) turning: Turning,
    pub(crate) node: NodeId,
    /// What is wrong on this node and recorded.
    pub(crate) known_troubles: BTreeSet<Trouble>,
    /// Strangers with an address of another node.
    pub(crate) doubles: Doubles,
    /// Since when no majority answers.
    pub(crate) lacks_since: Option<Time>,
    /// The thread `api`: joined when the service is dropped.
    pub(crate) serving: Serving,
    /// The thread `interfaces`, as well.
    pub(crate) watch: Watch,
}

/// When what was done last, and is due next.
#[derive(Default, Debug)]
pub(crate) struct Pace {
    wall_clock_at: Time,
    /// The core's deadline is not looked at before this.
    deadline_from: Time,
    published_at: Time,
    /// What the published groups show, and since when.
    shown: (LogIndex, u64),
    shown_at: Time,
    /// The next view is not made before this, unless somebody waits for it.
    view_from: Time,
    /// Readers wait for a view since news came.
    view_waits: bool,
}

impl Service {
    /// Ends the service from another thread.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.inbox))
    }

    /// Runs until told to stop or until it cannot go on.
    #[must_use]
    pub fn run(mut self) -> Ending {
        let ending = self.turns().err().unwrap_or(Ending::Stopped);
        let patience = match &ending {
            Ending::Stopped => LAST_WORDS_IN_ORDER,
            Ending::Failed(why) => {
                self.records.note(Level::Error, "service-failed", why);
                LAST_WORDS
            }
        };
        // Gone or not: nobody answers there any more.
        let _ = std::fs::remove_file(&self.api_path);
        self.records.flush(patience);
        self.audit.flush(patience);
        ending
    }

    fn turns(&mut self) -> Result<(), Ending> {
        for report in std::mem::take(&mut self.early) {
            self.guard_said(report)?;
        }
        let mut woken = Vec::new();
        loop {
            self.look_for_stall()?;
            let core = self.due()?;
            self.publish();
            let at = self.next_deadline(core);
            self.wakers.arm(Some(at)).map_err(failed("set the timer"))?;
            self.turning.expect(at);
            self.wakers.wait(&mut woken).map_err(failed("wait"))?;
            self.look_for_stall()?;
            for waker in &woken {
                match waker {
                    Waker::Timer => {}
                    Waker::Guard => self.hear_guard()?,
                    Waker::Inbox => self.take_items()?,
                    Waker::Monitor(slot) => self.hear_monitor(*slot)?,
                    // One at a time: to ask whether there is more costs as much as to wait for it.
                    Waker::Network(index) => drop(self.hear_datagram(*index)?),
                }
            }
        }
    }

    fn next_deadline(&self, core: Option<Time>) -> Time {
        let core = core.map(|at| at.max(self.pace.deadline_from));
        let monitor = self.monitors.next_deadline();
        let others = monitor.into_iter().chain(core).min();
        let view = self.pace.view_waits.then_some(self.pace.view_from);
        let others = others.into_iter().chain(view).min();
        others.map_or(self.pace.wall_clock_at, |at| at.min(self.pace.wall_clock_at))
    }

    /// Everything whose time has come; gives the core's next deadline.
    fn due(&mut self) -> Result<Option<Time>, Ending> {
        let now = clock::now();
        let mut core = self.cluster.next_deadline();
        if core.is_some_and(|at| at <= now) {
            self.pace.deadline_from = now + DEADLINE_PAUSE;
            self.happen(Event::Deadline)?;
            core = self.cluster.next_deadline();
        }
        if self.pace.wall_clock_at <= now {
            self.pace.wall_clock_at = now + WALL_CLOCK;
            self.happen(Event::WallClock(clock::utc()))?;
            self.tell_refused();
            core = self.cluster.next_deadline();
        }
        for slot in self.monitors.due(now) {
            let Some(link) = self.monitors.link(slot) else { continue };
            self.wakers.add(link, Waker::Monitor(slot)).map_err(failed("wait for a monitor"))?;
        }
        for message in self.monitors.for_guard() {
            self.guard.tell(&message).map_err(lost)?;
            self.want_guard_room()?;
        }
        Ok(core)
    }

    fn hear_guard(&mut self) -> Result<(), Ending> {
        let waited = self.guard.has_unsent();
        self.guard.flush().map_err(lost)?;
        while let Some(report) = self.guard.report(&self.records).map_err(lost)? {
            self.guard_said(report)?;
        }
        if waited { self.want_guard_room() } else { Ok(()) }
    }

    /// The core hears "ready" when the monitor can be given orders, not before.
    fn guard_said(&mut self, report: GuardReport) -> Result<(), Ending> {
        let now = clock::now();
        match &report {
            GuardReport::MonitorReady => {
                self.monitors.is_ready();
                return Ok(());
            }
            GuardReport::OwnMonitorReady(own) => {
                self.monitors.own_is_ready(own.clone());
                return Ok(());
            }
            GuardReport::OwnMonitorRefused { resource, why } => {
                for report in self.monitors.own_is_refused(resource, why) {
                    self.happen(Event::Resource(report))?;
                }
                return Ok(());
            }
            GuardReport::MonitorDied { .. } => self.monitors.has_died(now),
            GuardReport::OwnMonitorDied { resource, .. } => {
                self.monitors.own_has_died(resource, now);
            }
            GuardReport::HardStopBegan { .. } => self.monitors.are_killed(now),
            GuardReport::HardStopDone { .. } => self.monitors.may_come_back(),
            GuardReport::LeaseSet { .. } | GuardReport::Leave => {}
        }
        self.happen(Event::Guard(report))
    }

    fn hear_monitor(&mut self, slot: Slot) -> Result<(), Ending> {
        let now = clock::now();
        self.monitors.flush(slot, now);
        loop {
            match self.monitors.receive(slot, now) {
                FromMonitor::Ready => self.happen(Event::Guard(GuardReport::MonitorReady))?,
                FromMonitor::Report(report) => self.happen(Event::Resource(report))?,
                FromMonitor::Note(note) => self.streams.send_to_all(&PeerMessage::Note(note)),
                FromMonitor::Nothing => break,
            }
        }
        self.want_monitor_room(slot)
    }

    /// Hears the next datagram of a network; `false`: there was none.
    pub(crate) fn hear_datagram(&mut self, index: usize) -> Result<bool, Ending> {
        match self.datagrams.take(index) {
            Taken::Message(event, back) => {
                if let Some(route) = back {
                    self.streams.nudge(route);
                }
                self.happen(event)?;
                Ok(true)
            }
            Taken::Dropped => {
                self.tell_refused();
                Ok(true)
            }
            Taken::Empty => Ok(false),
        }
    }

    fn tell_refused(&mut self) {
        for (level, code, text) in self.datagrams.refusals(clock::now()) {
            self.records.note(level, code, &text);
        }
    }

    fn take_items(&mut self) -> Result<(), Ending> {
        for item in self.inbox.take(AT_ONE_GO) {
            match item {
                Item::Event(event) => self.happen(event)?,
                Item::Mail(to, message) => self.streams.send(to, message),
                Item::Logs(wish) => {
                    self.monitors.logs(wish, clock::now());
                    self.want_monitor_room(SHARED)?;
                }
                Item::Question(wish) => {
                    let slot = self.monitors.question(wish, clock::now());
                    self.want_monitor_room(slot)?;
                }
                Item::Neighbour(neighbour) => self.neighbour(neighbour),
                Item::Macs(node, macs) => {
                    self.doubles.told(self.datagrams.peers().addresses_of(node));
                    self.monitors.macs(node, macs, clock::now());
                    self.want_room_of_all_monitors()?;
                }
                Item::Note(note) => {
                    self.monitors.note(note, clock::now());
                    self.want_room_of_all_monitors()?;
                }
                Item::Explain(wish) => {
                    // Who asked may have gone.
                    let _ = wish.answer.send(self.cluster.explain(clock::now(), &wish.group));
                }
                Item::Welcome(wish) => {
                    let welcome = self.cluster.welcome(clock::now(), wish.shown);
                    let welcome = welcome.map(|(config, known_as)| {
                        let db = self.cluster.db();
                        let mark = db.map(stead_core::db::Db::mark).unwrap_or_default();
                        let disks = db.map(admission::disks).unwrap_or_default();
                        Welcomed { config, known_as, mark, disks }
                    });
                    // Who asked may have gone.
                    let _ = wish.answer.send(welcome);
                }
                Item::Keys(done) => self.keys_are(*done)?,
                Item::Stop => return Err(Ending::Stopped),
                Item::Fatal(why) => return Err(Ending::Failed(why)),
            }
        }
        Ok(())
    }

    fn neighbour(&mut self, neighbour: Neighbour) {
        let told = self.monitors.macs_of(neighbour.node);
        if let Some(text) = self.doubles.seen(neighbour, told, clock::now()) {
            self.records.note(Level::Warning, "address-twice", &text);
        }
    }

    pub(crate) fn happen(&mut self, event: Event) -> Result<(), Ending> {
        self.is_news |= is_news(&event);
        let now = clock::now();
        let effects = self.cluster.handle(now, event);
        self.execute(now, effects)
    }

    pub(crate) fn want_guard_room(&self) -> Result<(), Ending> {
        let wanted = self.guard.has_unsent();
        let result = self.wakers.want_room(&self.guard, Waker::Guard, wanted);
        result.map_err(failed("wait for the guard"))
    }

    pub(crate) fn want_monitor_room(&self, slot: Slot) -> Result<(), Ending> {
        let Some(link) = self.monitors.link(slot) else { return Ok(()) };
        let wanted = self.monitors.has_unsent(slot);
        let result = self.wakers.want_room(link, Waker::Monitor(slot), wanted);
        result.map_err(failed("wait for a monitor"))
    }

    fn want_room_of_all_monitors(&self) -> Result<(), Ending> {
        self.monitors.slots().try_for_each(|slot| self.want_monitor_room(slot))
    }

    /// Publishes the view, then tells the answers: who was told sees what was told. What changes
    /// within a moment comes in one view, so that views take a small part of the time whatever
    /// they cost.
    fn publish(&mut self) {
        let now = clock::now();
        let shown = (self.cluster.applied(), self.cluster.sights());
        let other = shown != self.pace.shown;
        let wanted = self.is_news || other;
        let held_back = now < self.pace.view_from && self.answers.is_empty();
        self.pace.view_waits = wanted && held_back;
        if (wanted && !held_back) || now.since(self.pace.published_at) >= VIEW_PAUSE {
            let old = other || now.since(self.pace.shown_at) >= GROUPS_PAUSE;
            let groups = old.then(|| self.cluster.group_views(now));
            if old {
                (self.pace.shown, self.pace.shown_at) = (shown, now);
            }
            let mut view = self.cluster.view_without_groups(now);
            view.troubles = self.troubles(&view, now);
            self.datagrams.count_into(&mut view);
            self.alerts.look(&mut view, (&mut self.serving, &self.inbox));
            self.remote.look(&view, groups.as_deref());
            self.board.publish(view, groups);
            let serving = (&mut self.serving, &self.board);
            self.admission.look((&self.cluster, now), serving);
            self.is_news = false;
            self.pace.published_at = now;
            let done = clock::now();
            self.pace.view_from = done + done.since(now) * VIEW_SHARE;
            self.pace.view_waits = false;
        }
        for (id, answer) in self.answers.drain(..) {
            self.board.answer(id, &answer);
        }
    }
}

/// Whether readers wait for what an event may change; the rest is heartbeats.
const fn is_news(event: &Event) -> bool {
    match event {
        Event::Deadline | Event::WallClock(_) | Event::Io { .. } => false,
        Event::Received { arrival, .. } => matches!(arrival, Arrival::Stream),
        Event::Guard(GuardReport::LeaseSet { .. }) => false,
        Event::Guard(_)
        | Event::Resource(_)
        | Event::Request(_)
        | Event::Interfaces(_)
        | Event::Keys(_) => true,
    }
}

pub(crate) fn lost(error: GuardError) -> Ending {
    Ending::Failed(error.to_string())
}

pub(crate) fn failed(what: &'static str) -> impl FnOnce(io::Error) -> Ending {
    move |error| Ending::Failed(format!("cannot {what}: {error}"))
}
