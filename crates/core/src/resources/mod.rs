//! The owner's side of groups: what this node holds, where each resource is, what to order next.
//!
//! ```text
//!   Db after every apply, the lease ─► Holdings ─► orders to the monitor
//!   answers of the monitor, hard stops ─┘   └────► report to the leader, records
//! ```
//!
//! `machine` and `answers` are one resource, `holding` one group in its epoch, `orders` what to
//! order in which sequence, `outlook` what follows for each from where the others are, `told` what
//! others are told, `probes` the look before a planned move, `leftovers` what is to be removed
//! elsewhere, `gate` when orders may be given at all. Everything is a function of the last inputs:
//! an order that could not be given is found again at the next input.
//!
//! Invariants
//! - I-DEP: a resource is started after all it depends on is online and stopped when nothing that
//!   depends on it runs (A-115).
//! - I-QUORUM: no order without a lease that is newer than the last hard stop.
//! - R8: a group that was reported stopped stays stopped in this epoch.
//! - R9: a restarted service starts nothing on an epoch granted before its first lease.
//!
//! Not here: who owns a group (`groups`), the lease (`lease`), how a type works (crate `resmon`).

pub mod answers;
pub mod fitness;
pub mod gate;
pub mod holding;
pub mod leftovers;
pub mod machine;
pub mod orders;
mod outlook;
pub mod probes;
mod timers;
pub mod told;

use std::collections::{BTreeMap, BTreeSet};

use stead_model::group::Group;
use stead_model::network::{Interface, InterfaceState, Stand};
use stead_model::order::{Action, GuardStatus, Outcome, ResourceOrder, ResourceReport, Wanted};
use stead_model::record::Level;
use stead_model::resource::{Health, ResourceConfig};
use stead_model::wire::peer::{FitAnswer, GroupReport, WantedResource};
use stead_model::{Epoch, GroupId, LeaseNumber, LogIndex, NodeId, OrderId, ResourceId, Time};

pub use fitness::{Judged, Looks};
pub use gate::Gate;
pub use holding::Holding;
pub use leftovers::Leftovers;
pub use probes::{Asked, Found, Probes};
pub use told::Urgency;

use crate::db::{Db, networks, shall_run, tree};
use crate::planted::{Fault, Planted};
use holding::Ownership;
use orders::Desk;
use timers::Timers;

/// What the owner's side wants done or known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Order the monitor something.
    Order(ResourceOrder),
    /// Write a record.
    Record(Note),
    /// A resource that must leave this node cannot be stopped: stop everything, as the last
    /// resort.
    SelfFence(String),
    /// [`Holdings::report`] says something new.
    ReportChanged(Urgency),
    /// A probe is answered.
    Probed(Found),
    /// Something is to be said about resources that somebody wants.
    Judged(Judged),
}

/// A record without its number, time and cause.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// Stable code, as in `resource-online`.
    pub code: &'static str,
    /// The group.
    pub group: GroupId,
    /// The resource, if it is about one.
    pub resource: Option<ResourceId>,
    /// One sentence for people.
    pub text: String,
}

/// How a node service starts.
#[derive(Clone, Copy, Debug)]
pub struct Beginning<'a> {
    /// This node.
    pub node: NodeId,
    /// What the guard runs and which leases it knows.
    pub guard: &'a GuardStatus,
    /// The last index of the node's own log: everything that an earlier service of this node can
    /// have applied is up to there (R9).
    pub log_end: LogIndex,
    /// Numbers of orders begin above this one, and above those of every earlier service.
    pub orders_above: OrderId,
    /// Planted faults.
    pub planted: Planted,
}

/// Which groups this node holds, and where each of their resources is.
#[derive(Clone, Debug)]
pub struct Holdings {
    node: NodeId,
    planted: Planted,
    groups: BTreeMap<GroupId, Holding>,
    gate: Gate,
    order_last: OrderId,
    /// Groups granted up to this index may not be started (R9).
    old_until: LogIndex,
    /// Nor those that start in their turn: a hard stop was done since they were granted.
    stopped_until: LogIndex,
    seen: Option<LogIndex>,
    /// Groups for which something changed since they were settled.
    open: BTreeSet<GroupId>,
    /// Groups in which something waits for a newer lease, and the lease they were settled under.
    waiting: BTreeSet<GroupId>,
    settled_under: Option<LeaseNumber>,
    timers: Timers<GroupId>,
    /// Groups of which something changed since somebody asked.
    changed: BTreeSet<GroupId>,
    /// Times that a resource of a group that is held no longer was looked at.
    looked: u64,
    probes: Probes,
    looks: Looks,
    leftovers: Leftovers,
    /// This node's, as its kernel has them.
    interfaces: Vec<Interface>,
    out: Vec<Output>,
}

impl Holdings {
    /// What the guard runs is taken up as running and unwatched; whether it stays is decided when
    /// the database is known.
    #[must_use]
    pub fn new(begin: Beginning<'_>) -> Self {
        let mut groups: BTreeMap<GroupId, Holding> = BTreeMap::new();
        for admitted in &begin.guard.admitted {
            let holding = groups.entry(admitted.group.clone()).or_insert_with(|| {
                Holding::new(admitted.group.clone(), admitted.epoch, begin.planted)
            });
            holding.found(admitted);
        }
        for holding in groups.values_mut() {
            holding.begin();
        }
        Self {
            node: begin.node,
            planted: begin.planted,
            open: groups.keys().cloned().collect(),
            groups,
            gate: Gate::new(begin.guard),
            order_last: begin.orders_above,
            old_until: begin.log_end,
            stopped_until: LogIndex(0),
            seen: None,
            waiting: BTreeSet::new(),
            settled_under: None,
            timers: Timers::new(),
            changed: BTreeSet::new(),
            looked: 0,
            probes: Probes::default(),
            looks: Looks::default(),
            leftovers: Leftovers::default(),
            interfaces: Vec::new(),
            out: Vec::new(),
        }
    }

    /// The database or the lease may have changed, or time has passed; cheap when nothing did.
    /// `lease` is the lease in force, `None` without one.
    pub fn sync(&mut self, now: Time, db: &Db, lease: Option<LeaseNumber>) -> Vec<Output> {
        if !self.gate.was_leased() {
            self.old_until = self.old_until.max(db.applied());
        }
        let open = self.gate.open();
        self.gate.leased(lease);
        let new_db = self.seen != Some(db.groups_changed());
        let due = self.next_deadline().is_some_and(|due| due <= now);
        if !new_db && !due && self.gate.open() == open {
            return Vec::new();
        }
        if new_db {
            self.seen = Some(db.groups_changed());
            self.take_up(db);
            self.settle_ownership(db);
            self.leftovers.sync(db, self.node);
        }
        self.settle(now)
    }

    /// The monitor said something.
    pub fn reported(&mut self, now: Time, report: ResourceReport) -> Vec<Output> {
        if matches!(report.outcome, Outcome::Free | Outcome::Taken(_)) {
            return self.probes.reported(&report).map(Output::Probed).into_iter().collect();
        }
        if let Outcome::Fitness(fitness) = &report.outcome {
            return self.looks.reported(&report, fitness).map(Output::Judged).into_iter().collect();
        }
        if matches!(report.outcome, Outcome::Forgotten(_) | Outcome::Remains(_)) {
            let note = self.leftovers.reported(report);
            return note.map(Output::Record).into_iter().collect();
        }
        let report = self.excused(report);
        if let Some(holding) = self.groups.get_mut(&report.group) {
            self.open.insert(report.group.clone());
            holding.reported(now, report, &mut self.out);
            holding.take_stopped().iter().for_each(|id| self.leftovers.went_offline(id));
        }
        self.settle(now)
    }

    /// How this node's interfaces are when it begins.
    pub(crate) fn interfaces_at_start(&mut self, interfaces: Vec<Interface>) {
        self.interfaces = interfaces;
    }

    /// This node's interfaces changed. What failed for want of one that is up now is tried again.
    pub fn interfaces_are(&mut self, now: Time, interfaces: Vec<Interface>) -> Vec<Output> {
        let was = std::mem::replace(&mut self.interfaces, interfaces);
        for (id, holding) in &mut self.groups {
            let back = |config: &ResourceConfig| {
                is_lost(config, &was) && !is_lost(config, &self.interfaces)
            };
            if holding.try_again(back) {
                self.open.insert(id.clone());
            }
        }
        self.settle(now)
    }

    /// An address whose interface is dead works nowhere on this node: no restart in place helps,
    /// and what stands on it is not stopped for it. The leader moves the group if that helps.
    fn excused(&self, report: ResourceReport) -> ResourceReport {
        let Outcome::Health(Health::Bad, text) = &report.outcome else { return report };
        let holding = self.groups.get(&report.group);
        let config = holding.and_then(|holding| holding.resources().get(&report.resource));
        if !config.is_some_and(|config| is_lost(config, &self.interfaces)) {
            return report;
        }
        ResourceReport { outcome: Outcome::Health(Health::Unknown, text.clone()), ..report }
    }

    /// The guard began to stop everything: orders under leases up to this one are refused, and
    /// nothing is ordered until it is done (R8).
    pub fn hard_stop_began(&mut self, now: Time, lease: LeaseNumber) -> Vec<Output> {
        self.gate.hard_stop_began(lease);
        self.open_all();
        self.settle(now)
    }

    /// The guard has stopped everything. Groups that are still owned may be started again under
    /// a newer lease.
    pub fn hard_stop_done(&mut self, now: Time, lease: LeaseNumber) -> Vec<Output> {
        self.gate.hard_stop_done(lease);
        self.groups.values_mut().for_each(Holding::hard_stopped);
        // Looked at anew before anything is started: some groups wait for others.
        self.stopped_until = self.seen.take().unwrap_or(self.stopped_until);
        self.open_all();
        self.settle(now)
    }

    /// A monitor died: what runs goes on unwatched.
    pub fn monitor_died(&mut self, now: Time) -> Vec<Output> {
        self.gate.monitor_died();
        self.leftovers.monitor_died();
        self.groups.values_mut().for_each(Holding::monitor_died);
        self.open_all();
        self.settle(now)
    }

    /// The own monitor of a resource died: it goes on unwatched, and what it was told is told
    /// again. There is no need to wait for the next one, which comes with the next order.
    pub fn own_monitor_died(&mut self, now: Time, resource: &ResourceId) -> Vec<Output> {
        self.leftovers.own_monitor_died(resource);
        self.groups.values_mut().for_each(|holding| holding.own_monitor_died(resource));
        self.open_all();
        self.settle(now)
    }

    /// A monitor, the first or a new one, takes orders.
    pub fn monitor_ready(&mut self, now: Time) -> Vec<Output> {
        self.groups.values_mut().for_each(Holding::monitor_died);
        self.open_all();
        self.gate.monitor_ready();
        self.settle(now)
    }

    /// The time of [`Holdings::next_deadline`] came.
    pub fn deadline(&mut self, now: Time) -> Vec<Output> {
        self.settle(now)
    }

    /// Rehearses a failure of a resource, if it is online in exactly this epoch.
    pub fn fail(
        &mut self,
        now: Time,
        (group, epoch): (&GroupId, Epoch),
        resource: &ResourceId,
    ) -> Vec<Output> {
        if let Some(holding) = self.groups.get_mut(group).filter(|h| h.epoch() == epoch) {
            self.open.insert(group.clone());
            holding.rehearse(resource, &mut self.out);
        }
        self.settle(now)
    }

    /// Looks whether a stranger has what a group needs here, before it comes in a planned move.
    /// Where no order can be given now nobody is known to have it.
    pub fn probe(&mut self, asked: Asked, group: Option<&Group>) -> Vec<Output> {
        let mut out = Vec::new();
        let mut orders = BTreeSet::new();
        if let (Some(group), Some(lease)) = (group.filter(|g| shall_run(g)), self.gate.open()) {
            let wanted = tree::wanted(&group.resources);
            for config in group.resources.values().filter(|r| wanted.contains(&r.id)) {
                self.order_last = self.order_last.next();
                orders.insert(self.order_last);
                out.push(Output::Order(ResourceOrder {
                    order: self.order_last,
                    group: group.id.clone(),
                    resource: config.id.clone(),
                    epoch: group.epoch_last,
                    lease,
                    action: Action::Probe(machine::spec(config)),
                }));
            }
        }
        out.extend(self.probes.begin(asked, orders).map(Output::Probed));
        out
    }

    /// Looks whether resources that somebody wants could run here.
    pub fn fit(
        &mut self,
        asked: Asked,
        wanted: Vec<WantedResource>,
        mounts: &BTreeSet<String>,
    ) -> Vec<Output> {
        let Some(lease) = self.gate.open() else {
            let why = "no order can be given there now".to_owned();
            return vec![Output::Judged(Judged { asked, answer: FitAnswer::Unable(why) })];
        };
        let mut orders = BTreeSet::new();
        let order = |WantedResource { group, resource, spec }| {
            self.order_last = self.order_last.next();
            orders.insert(self.order_last);
            let action = Action::Fit(Box::new(Wanted { spec, mounts: mounts.clone() }));
            let (order, epoch) = (self.order_last, Epoch(0));
            Output::Order(ResourceOrder { order, group, resource, epoch, lease, action })
        };
        let out = wanted.into_iter().map(order).collect();
        self.looks.begin(asked, orders);
        out
    }

    /// When [`Holdings::deadline`] wants to be called; `None` while nothing could be done then.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.gate.open()?;
        self.timers.next()
    }

    /// What this node tells others of its groups now.
    #[must_use]
    pub fn report(&self, now: Time) -> Vec<GroupReport> {
        self.groups.values().map(|holding| holding.report(now)).collect()
    }

    /// The groups of which something changed since this was asked.
    pub fn take_changed(&mut self) -> BTreeSet<GroupId> {
        std::mem::take(&mut self.changed)
    }

    /// How many times a resource was looked at for orders: grows with what happens, not with what
    /// is held.
    #[must_use]
    pub fn looks(&self) -> u64 {
        self.groups.values().map(Holding::looks).sum::<u64>() + self.looked
    }

    /// The groups held, by name.
    #[must_use]
    pub fn groups(&self) -> &BTreeMap<GroupId, Holding> {
        &self.groups
    }

    /// Whether nothing of any group acts on this node, as far as it knows.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.groups.values().all(Holding::is_down)
    }

    /// Groups that the database gives to this node and that are not held yet.
    fn take_up(&mut self, db: &Db) {
        for group in db.groups().values() {
            let mine = group.ownership.as_ref().filter(|o| o.node == self.node);
            if let Some(owned) = mine.filter(|_| !self.groups.contains_key(&group.id)) {
                let holding = Holding::new(group.id.clone(), owned.epoch, self.planted);
                self.groups.insert(group.id.clone(), holding);
            }
        }
    }

    fn settle_ownership(&mut self, db: &Db) {
        let forgets = self.planted.has(Fault::RestartStartsOldEpoch);
        for holding in self.groups.values_mut() {
            let group = db.group(holding.group());
            let trail = db.trail(holding.group()).cloned().unwrap_or_default();
            let in_turn = group.is_some_and(|g| !g.policy.rules.start_after.is_empty());
            let until = if in_turn { self.stopped_until } else { LogIndex(0) };
            let old = trail.granted <= self.old_until.max(until);
            let own = group.and_then(|g| g.ownership.as_ref()).filter(|o| o.node == self.node);
            let ownership = match own {
                None => Ownership::Other { epoch_last: db.epoch_last(holding.group()) },
                Some(o) if o.release.is_some() && !(old && forgets) => {
                    Ownership::Released { epoch: o.epoch }
                }
                Some(o) if old => Ownership::Old { epoch: o.epoch },
                Some(o) => Ownership::Fresh { epoch: o.epoch },
            };
            holding.sync(group, ownership, trail.administered);
            holding.leave_alone(group.map(|g| db.upkeep().left_alone(g)).unwrap_or_default());
        }
        self.open_all();
    }

    fn open_all(&mut self) {
        self.open.extend(self.groups.keys().cloned());
    }

    /// Orders all that can be ordered now and tells what changed.
    fn settle(&mut self, now: Time) -> Vec<Output> {
        let lease = self.gate.open();
        if let Some(lease) = lease {
            // Before what starts: the last order about a name counts.
            self.leftovers.give(lease, &mut self.order_last, &mut self.out);
        }
        match (self.settled_under, lease) {
            (Some(was), Some(is)) if was == is => {}
            (Some(_), Some(_)) => self.open.append(&mut self.waiting),
            (None, Some(_)) | (Some(_), None) => self.open_all(),
            (None, None) => {}
        }
        self.settled_under = lease;
        if lease.is_some() {
            self.open.append(&mut self.timers.due(now));
        }
        let mut urgency = None;
        for id in std::mem::take(&mut self.open) {
            urgency = urgency.max(self.settle_group(now, &id));
        }
        self.out.extend(urgency.map(Output::ReportChanged));
        std::mem::take(&mut self.out)
    }

    /// One group; how soon others must know of what changed in it.
    fn settle_group(&mut self, now: Time, id: &GroupId) -> Option<Urgency> {
        let lease = self.gate.open();
        let holding = self.groups.get_mut(id)?;
        let (order_last, out) = (&mut self.order_last, &mut self.out);
        holding.settle(&mut Desk { now, lease, order_last, out });
        self.timers.set(id, holding.next_deadline());
        if holding.waits_for_lease() {
            self.waiting.insert(id.clone());
        } else {
            self.waiting.remove(id);
        }
        if holding.is_let_go() {
            self.looked += holding.looks();
            self.groups.remove(id);
            self.timers.set(id, None);
            self.waiting.remove(id);
            return Some(Urgency::Standing);
        }
        let urgency = holding.compare(now);
        if urgency.is_some() {
            self.changed.insert(id.clone());
        }
        urgency
    }
}

/// Whether a resource is an address whose interface does not work.
fn is_lost(config: &ResourceConfig, interfaces: &[Interface]) -> bool {
    let stand = |interface: &Interface| match interface.state {
        InterfaceState::Up => Stand::Works,
        InterfaceState::NoCarrier | InterfaceState::Down | InterfaceState::Absent => Stand::Dead,
    };
    networks::lost_on(config, interfaces.iter().map(|i| (i, stand(i)))).is_some()
}
