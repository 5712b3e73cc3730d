//! One node with a database, a lease and a monitor that answers when told to.

use std::collections::{BTreeMap, BTreeSet};

use stead_core::db::{Applied, Db};
use stead_core::planted::Planted;
use stead_core::resources::{Asked, Beginning, Found, Holdings, Note, Output};
use stead_model::change::{Change, Entry};
use stead_model::group::{Desired, GroupPolicy};
use stead_model::network::{Interface, InterfaceState, Port, Subnet};
use stead_model::order::{
    Action, Admitted, Fitness, GuardStatus, Outcome, ResourceOrder, ResourceReport,
};
use stead_model::resource::{ResourceConfig, ResourcePolicy, ResourceState};
use stead_model::wire::peer::{GroupReport, Standing};
use stead_model::{
    Epoch, GroupId, Incarnation, LeaseNumber, LogIndex, NetworkId, NodeId, OrderId, RequestId,
    ResourceId, Span, Time, UtcMillis,
};

pub(crate) const ME: NodeId = NodeId(1);
pub(crate) const GROUP: &str = "web";

/// One node and its group `web`.
#[derive(Clone, Debug)]
pub(crate) struct Bench {
    pub(crate) db: Db,
    pub(crate) holdings: Holdings,
    pub(crate) now: Time,
    pub(crate) lease: Option<LeaseNumber>,
    pub(crate) orders: Vec<ResourceOrder>,
    pub(crate) notes: Vec<Note>,
    pub(crate) fences: usize,
    pub(crate) found: Vec<Found>,
}

pub(crate) fn config(id: &str, on: &[&str]) -> ResourceConfig {
    ResourceConfig {
        id: id.into(),
        kind: "dummy".to_owned(),
        properties: BTreeMap::new(),
        depends_on: on.iter().map(|d| ResourceId::from(*d)).collect(),
        possible_owners: None,
        desired: Desired::Online,
        policy: ResourcePolicy::default(),
        new_in: Epoch(0),
    }
}

pub(crate) fn guard(admitted: &[(&str, u64)], lease_last: u64) -> GuardStatus {
    let admitted = admitted.iter().map(|(resource, epoch)| Admitted {
        group: GROUP.into(),
        resource: (*resource).into(),
        epoch: Epoch(*epoch),
    });
    GuardStatus {
        incarnation: Incarnation(1),
        lease: None,
        lease_last: LeaseNumber(lease_last),
        stopping: false,
        admitted: admitted.collect(),
        own_monitors: Vec::new(),
    }
}

impl Bench {
    /// A node that started with an empty log and has a lease, and a group that is granted to it
    /// in epoch 1.
    pub(crate) fn new(resources: Vec<ResourceConfig>) -> Self {
        let mut bench = Self::starting(Db::default(), &guard(&[], 0));
        bench.monitor_ready();
        bench.lease(1);
        bench.apply(define(resources));
        bench.grant(1);
        bench
    }

    /// A service that starts on a node whose guard and log were there before.
    pub(crate) fn starting(db: Db, status: &GuardStatus) -> Self {
        let log_end = db.applied();
        let planted = Planted::NONE;
        let orders_above = OrderId(status.lease_last.0 << 20);
        let begin = Beginning { node: ME, guard: status, log_end, orders_above, planted };
        Self {
            db,
            holdings: Holdings::new(begin),
            now: Time(1),
            lease: None,
            orders: Vec::new(),
            notes: Vec::new(),
            fences: 0,
            found: Vec::new(),
        }
    }

    pub(crate) fn apply(&mut self, changes: Vec<Change>) {
        let entry = Entry { at: UtcMillis(0), request: None, why: String::new(), changes };
        let outcomes = self.db.apply(self.db.applied().next(), &entry);
        assert!(outcomes.iter().all(|o| *o == Applied::Done), "{outcomes:?}");
        self.sync();
    }

    pub(crate) fn sync(&mut self) {
        let outputs = self.holdings.sync(self.now, &self.db, self.lease);
        self.take(outputs);
    }

    pub(crate) fn grant(&mut self, epoch: u64) {
        self.grant_to(ME, epoch);
    }

    pub(crate) fn grant_to(&mut self, node: NodeId, epoch: u64) {
        let (group, epoch) = (GroupId::from(GROUP), Epoch(epoch));
        self.apply(vec![Change::Grant { group, node, epoch, why: String::new() }]);
    }

    pub(crate) fn release(&mut self, epoch: u64) {
        let (group, epoch) = (GroupId::from(GROUP), Epoch(epoch));
        self.apply(vec![Change::Release { group, epoch, to: None, why: String::new() }]);
    }

    pub(crate) fn desire(&mut self, desired: Desired) {
        self.apply(vec![Change::SetGroupDesired { group: GROUP.into(), desired }]);
    }

    pub(crate) fn desire_resource(&mut self, resource: &str, desired: Desired) {
        self.apply(vec![Change::SetResourceDesired { resource: resource.into(), desired }]);
    }

    pub(crate) fn lease(&mut self, number: u64) {
        self.lease = Some(LeaseNumber(number));
        self.sync();
    }

    pub(crate) fn monitor_ready(&mut self) {
        let outputs = self.holdings.monitor_ready(self.now);
        self.take(outputs);
    }

    /// The kernel says how the interface of 10.2.0.0/24 is.
    pub(crate) fn interface(&mut self, state: InterfaceState) {
        let subnet = Subnet::of([10, 2, 0, 0].into(), 24);
        let port = Some(Port { name: "eth2".into(), subnet });
        let interface = Interface { network: NetworkId(2), port, state };
        let outputs = self.holdings.interfaces_are(self.now, vec![interface]);
        self.take(outputs);
    }

    pub(crate) fn monitor_died(&mut self) {
        self.orders.clear();
        let outputs = self.holdings.monitor_died(self.now);
        self.take(outputs);
    }

    /// The own monitor of a resource dies, with what it was told.
    pub(crate) fn own_monitor_died(&mut self, resource: &str) {
        self.orders.retain(|order| order.resource.as_str() != resource);
        let outputs = self.holdings.own_monitor_died(self.now, &resource.into());
        self.take(outputs);
    }

    pub(crate) fn hard_stop(&mut self) {
        let lease = self.lease.take().unwrap_or_default();
        self.sync();
        let outputs = self.holdings.hard_stop_began(self.now, lease);
        self.take(outputs);
        self.orders.clear();
        let outputs = self.holdings.hard_stop_done(self.now, lease);
        self.take(outputs);
        self.monitor_ready();
    }

    pub(crate) fn fail(&mut self, resource: &str, epoch: u64) {
        let (group, resource) = (GroupId::from(GROUP), resource.into());
        let outputs = self.holdings.fail(self.now, (&group, Epoch(epoch)), &resource);
        self.take(outputs);
    }

    /// Time passes up to the next deadline of the node.
    pub(crate) fn next_deadline(&mut self) -> Span {
        let due = self.holdings.next_deadline().expect("a deadline");
        let span = due.since(self.now);
        self.pass(span);
        span
    }

    pub(crate) fn pass(&mut self, span: Span) {
        self.now += span;
        let outputs = self.holdings.deadline(self.now);
        self.take(outputs);
    }

    /// The leader asks to look before a planned move to this node.
    pub(crate) fn probe(&mut self, request: u64) -> Asked {
        let request = RequestId { client: 7, number: request };
        let asked = Asked { by: NodeId(9), request };
        let outputs = self.holdings.probe(asked, self.db.group(&GROUP.into()));
        self.take(outputs);
        asked
    }

    /// Whether the waiting order to start a resource says that it is its first start.
    pub(crate) fn is_first(&self, resource: &str) -> bool {
        let order = self.orders.iter().find(|o| o.resource.as_str() == resource);
        match &order.expect("an order").action {
            Action::Online(spec) => spec.first,
            other => panic!("{other:?}"),
        }
    }

    /// Answers an order.
    pub(crate) fn answer(&mut self, order: &ResourceOrder, outcome: Outcome) {
        let ResourceOrder { order, group, resource, epoch, .. } = order.clone();
        let report = ResourceReport { order, group, resource, epoch, outcome };
        let outputs = self.holdings.reported(self.now, report);
        self.take(outputs);
    }

    /// The waiting order for a resource.
    pub(crate) fn order(&mut self, resource: &str) -> ResourceOrder {
        let at = self.orders.iter().position(|o| o.resource.as_str() == resource);
        self.orders.remove(at.unwrap_or_else(|| panic!("no order for {resource}")))
    }

    /// Answers the waiting order for a resource.
    pub(crate) fn answers(&mut self, resource: &str, outcome: Outcome) {
        let order = self.order(resource);
        self.answer(&order, outcome);
    }

    /// All waiting orders are carried out, and what follows from them.
    pub(crate) fn run(&mut self) {
        while !self.orders.is_empty() {
            let order = self.orders.remove(0);
            self.answer(&order, done(&order.action));
        }
    }

    /// The waiting orders, as in `online ip`.
    pub(crate) fn waiting(&self) -> Vec<String> {
        let words = self.orders.iter().map(|o| format!("{} {}", verb(&o.action), o.resource));
        words.collect()
    }

    pub(crate) fn state(&self, resource: &str) -> ResourceState {
        let report = self.report();
        let status = report.resources.iter().find(|r| r.resource.as_str() == resource);
        status.map(|r| r.state).unwrap_or_default()
    }

    pub(crate) fn online(&self) -> BTreeSet<String> {
        let report = self.holdings.report(self.now);
        let all = report.iter().flat_map(|g| &g.resources);
        let online = all.filter(|r| r.state == ResourceState::Online);
        online.map(|r| r.resource.to_string()).collect()
    }

    pub(crate) fn report(&self) -> GroupReport {
        self.holdings.report(self.now).into_iter().find(|g| g.group.as_str() == GROUP).unwrap()
    }

    pub(crate) fn standing(&self) -> Standing {
        self.report().standing
    }

    pub(crate) fn codes(&self) -> Vec<&'static str> {
        self.notes.iter().map(|note| note.code).collect()
    }

    fn take(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Order(order) => self.orders.push(order),
                Output::Record(note) => self.notes.push(note),
                Output::SelfFence(_) => self.fences += 1,
                Output::Probed(found) => self.found.push(found),
                Output::ReportChanged(_) | Output::Judged(_) => {}
            }
        }
    }
}

/// The group, its resources, and that it shall be online.
pub(crate) fn define(resources: Vec<ResourceConfig>) -> Vec<Change> {
    let group = || GroupId::from(GROUP);
    let create = |resource| Change::CreateResource { group: group(), resource };
    let mut changes = vec![Change::CreateGroup { group: group(), policy: GroupPolicy::default() }];
    changes.extend(resources.into_iter().map(create));
    changes.push(Change::SetGroupDesired { group: group(), desired: Desired::Online });
    changes
}

/// A database in which the group is owned by this node in epoch 1.
pub(crate) fn database(resources: Vec<ResourceConfig>) -> Db {
    let mut db = Db::default();
    let mut changes = define(resources);
    let (group, why) = (GroupId::from(GROUP), String::new());
    changes.push(Change::Grant { group, node: ME, epoch: Epoch(1), why });
    let entry = Entry { at: UtcMillis(0), request: None, why: String::new(), changes };
    db.apply(LogIndex(1), &entry);
    db
}

pub(crate) fn verb(action: &Action) -> &'static str {
    match action {
        Action::Online(_) => "online",
        Action::Offline => "offline",
        Action::Terminate => "terminate",
        Action::Adopt(_) => "adopt",
        Action::Probe(_) => "probe",
        Action::Fit(_) => "fit",
        Action::Forget(_) => "forget",
    }
}

pub(crate) fn done(action: &Action) -> Outcome {
    match action {
        Action::Online(_) | Action::Adopt(_) => Outcome::Online,
        Action::Offline | Action::Terminate => Outcome::Offline,
        Action::Probe(_) => Outcome::Free,
        Action::Fit(_) => Outcome::Fitness(Fitness::Fit),
        Action::Forget(_) => Outcome::Forgotten(String::new()),
    }
}

pub(crate) fn broke() -> Outcome {
    Outcome::Failed("it broke".into())
}
