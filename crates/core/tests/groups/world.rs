//! A small world around the database, the planner and the owner's side: nodes with a guard and a
//! monitor each, a log that everybody gets in order but late, a leader that is never wrong about
//! the log. No time, no votes: leases are given and end when the test says so.
//!
//! Checked after every step: I-OWN (a resource runs on at most one node) and I-DEP (the order of
//! starting and stopping).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use stead_core::db::{Applied, Db};
use stead_core::groups::{Decision, NodeLive, Plan, PlanInput, decide, plan};
use stead_core::planted::Planted;
use stead_core::resources::{Beginning, Holdings, Note, Output};
use stead_model::change::{Change, Entry};
use stead_model::group::{Desired, Group, GroupPolicy};
use stead_model::order::{
    Action, Admitted, Fitness, GuardStatus, Outcome, ResourceOrder, ResourceReport,
};
use stead_model::reason::Reason;
use stead_model::request::Request;
use stead_model::resource::ResourceState;
use stead_model::usage::Usage;
use stead_model::wire::peer::Report;
use stead_model::{
    GroupId, Incarnation, LeaseNumber, LogIndex, NodeId, OrderId, RequestId, ResourceId, Span,
    Time, UtcMillis,
};

/// What comes later than this is not waited for: a resource that is tried again in an hour.
const PATIENCE: Span = Span::from_secs(1_800);

/// The whole world.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) log: Vec<Entry>,
    pub(crate) leader: Db,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) now: Time,
    pub(crate) at: UtcMillis,
    pub(crate) planted: Planted,
    requests: u64,
}

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) db: Db,
    pub(crate) log_end: LogIndex,
    pub(crate) holdings: Option<Holdings>,
    pub(crate) guard: Guard,
    /// The lease this service counts on; the guard's may be of an earlier service.
    pub(crate) lease: Option<LeaseNumber>,
    pub(crate) orders: Vec<ResourceOrder>,
    pub(crate) answers: VecDeque<ResourceReport>,
    pub(crate) reports: VecDeque<Report>,
    pub(crate) seen: Option<Report>,
    pub(crate) stopped: bool,
    pub(crate) eligible: bool,
    pub(crate) broken: BTreeSet<ResourceId>,
    pub(crate) unstoppable: BTreeSet<ResourceId>,
    /// What never answers when it is told to stop.
    pub(crate) deaf: BTreeSet<ResourceId>,
    pub(crate) notes: Vec<Note>,
    pub(crate) fences: Vec<String>,
    pub(crate) history: Vec<String>,
    report_number: u64,
}

/// The guard of a node: what it admitted, and under which lease.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    pub(crate) incarnation: u64,
    pub(crate) lease: Option<LeaseNumber>,
    pub(crate) lease_last: LeaseNumber,
    pub(crate) floor: LeaseNumber,
    pub(crate) admitted: BTreeMap<(GroupId, ResourceId), (Admitted, OrderId)>,
    /// The monitor's rule: an order older than the newest one for the resource does nothing.
    pub(crate) newest: BTreeMap<(GroupId, ResourceId), OrderId>,
}

/// What every machine has.
const MACHINE: Usage = Usage { cpu: 4_000, memory: 8 << 30 };

pub(crate) fn n(number: u16) -> NodeId {
    NodeId(number)
}

impl World {
    /// Nodes `1..=count`, all up, with a lease and a monitor.
    pub(crate) fn new(count: u16, planted: Planted) -> Self {
        let mut world = Self {
            log: Vec::new(),
            leader: Db::default(),
            nodes: BTreeMap::new(),
            now: Time(0),
            at: UtcMillis(1_000_000),
            planted,
            requests: 0,
        };
        for number in 1..=count {
            world.nodes.insert(n(number), Node::new(number));
            world.boot(n(number));
            world.lease(n(number));
        }
        world
    }

    /// A group with resources `name: dependencies`, wanted online.
    pub(crate) fn group(&mut self, id: &str, resources: &[(&str, &[&str])]) {
        self.ask(Request::CreateGroup { group: id.into(), policy: GroupPolicy::default() });
        for (name, _) in resources {
            self.ask(Request::CreateResource {
                group: id.into(),
                resource: (*name).into(),
                kind: "dummy".into(),
                properties: BTreeMap::new(),
            });
        }
        for (name, on) in resources.iter().filter(|(_, on)| !on.is_empty()) {
            let depends_on = on.iter().map(|d| ResourceId::from(*d)).collect();
            self.ask(Request::SetDependencies { resource: (*name).into(), depends_on });
        }
        self.ask(Request::SetGroupDesired { group: id.into(), desired: Desired::Online });
    }

    /// A request that must be accepted.
    pub(crate) fn ask(&mut self, request: Request) {
        let asked = format!("{request:?}");
        self.try_ask(request).unwrap_or_else(|e| panic!("{asked} was refused: {e} {:?}", e.hint));
    }

    /// A request of an administrator.
    pub(crate) fn try_ask(&mut self, request: Request) -> Result<Decision, Reason> {
        let decision = decide(&request, &self.input(), 64 << 20)?;
        match &decision {
            Decision::Propose(change) => self.propose_request(vec![change.clone()]),
            Decision::ProposeAll(changes) if changes.is_empty() => {}
            Decision::ProposeAll(changes) => self.propose_request(changes.clone()),
            Decision::Rehearse { node, group, resource, epoch } => {
                let now = self.now;
                self.with_holdings(*node, |h| h.fail(now, (group, *epoch), resource));
            }
            Decision::Vote { .. }
            | Decision::Join { .. }
            | Decision::Readdress(..)
            | Decision::Rotate
            | Decision::Raise(_)
            | Decision::Tell { .. } => {}
        }
        Ok(decision)
    }

    fn propose_request(&mut self, changes: Vec<Change>) {
        self.requests += 1;
        let request = Some(RequestId { client: 1, number: self.requests });
        let why = format!("request {}", self.requests);
        let outcomes = self.append(Entry { at: self.at, request, why, changes });
        assert!(outcomes.iter().all(|o| *o == Applied::Done), "{outcomes:?}");
    }

    pub(crate) fn append(&mut self, entry: Entry) -> Vec<Applied> {
        self.log.push(entry);
        let index = LogIndex(self.log.len() as u64);
        self.leader.apply(index, &self.log[self.log.len() - 1])
    }

    pub(crate) fn input(&self) -> PlanInput<'_> {
        PlanInput {
            db: &self.leader,
            at: self.at,
            nodes: self.nodes.iter().map(|(id, node)| (*id, self.live(*id, node))).collect(),
            cluster: "lab",
            entries: &[],
            host_names: &[],
            networks: &[],
            planted: self.planted,
        }
    }

    /// What the leader makes of a node: none that leaves is given anything.
    fn live<'a>(&self, id: NodeId, node: &'a Node) -> NodeLive<'a> {
        let eligible = node.eligible && !self.leader.left().contains(&id);
        NodeLive { eligible, stopped: node.stopped, report: node.seen.as_ref() }
    }

    /// One planning round, appended and applied on the leader.
    pub(crate) fn plan(&mut self) -> Plan {
        let plan = plan(&self.input());
        if !plan.is_empty() {
            let (why, changes) = (plan.why.clone(), plan.changes.clone());
            let outcomes = self.append(Entry { at: self.at, request: None, why, changes });
            assert!(outcomes.iter().all(|o| *o == Applied::Done), "{outcomes:?} of {plan:?}");
        }
        plan
    }

    /// The node applies the next entry of the log.
    pub(crate) fn apply_one(&mut self, id: NodeId) -> bool {
        let node = self.nodes.get_mut(&id).unwrap();
        let next = node.db.applied().next();
        let Some(entry) = self.log.get(next.0 as usize - 1) else { return false };
        node.db.apply(next, entry);
        node.log_end = node.log_end.max(next);
        self.sync(id);
        true
    }

    pub(crate) fn apply_until(&mut self, id: NodeId, index: LogIndex) {
        while self.nodes[&id].db.applied() < index {
            assert!(self.apply_one(id));
        }
    }

    pub(crate) fn sync(&mut self, id: NodeId) {
        let now = self.now;
        let node = self.node(id);
        let (db, lease) = (std::mem::take(&mut node.db), node.lease);
        self.with_holdings(id, |h| h.sync(now, &db, lease));
        self.node(id).db = db;
    }

    /// The leader grants a lease; it counts when the node has applied the barrier (R7).
    pub(crate) fn lease(&mut self, id: NodeId) {
        let barrier = self.leader.taken(id);
        let node = self.node(id);
        node.stopped = false;
        node.eligible = true;
        self.apply_until(id, barrier);
        let node = self.node(id);
        node.guard.lease_last = node.guard.lease_last.next();
        node.guard.lease = Some(node.guard.lease_last);
        node.lease = node.guard.lease;
        self.sync(id);
    }

    /// The lease of the node ends: its guard stops everything.
    pub(crate) fn expire(&mut self, id: NodeId) {
        let now = self.now;
        let node = self.node(id);
        node.guard.hard_stop();
        node.lease = None;
        let lease = node.guard.floor;
        node.eligible = false;
        self.sync(id);
        self.with_holdings(id, |h| h.hard_stop_began(now, lease));
        self.node(id).orders.clear();
        self.with_holdings(id, |h| h.hard_stop_done(now, lease));
        self.with_holdings(id, |h| h.monitor_ready(now));
    }

    /// The leader's time for this node is over (R6).
    pub(crate) fn declare_stopped(&mut self, id: NodeId) {
        let node = self.node(id);
        assert!(node.guard.lease.is_none(), "the leader waits for the end of the lease");
        node.stopped = true;
        node.eligible = false;
    }

    /// Power cut.
    pub(crate) fn crash(&mut self, id: NodeId) {
        let node = self.node(id);
        node.guard.hard_stop();
        node.guard.incarnation += 1;
        node.guard.lease_last = LeaseNumber(0);
        node.guard.newest.clear();
        node.guard.floor = LeaseNumber(0);
        node.holdings = None;
        node.lease = None;
        node.eligible = false;
        node.orders.clear();
        node.answers.clear();
    }

    /// The node service starts, on whatever the guard runs, with a log whose commit index may be
    /// `forgotten` entries old.
    pub(crate) fn start_service(&mut self, id: NodeId, forgotten: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        let applied = node.db.applied().0.saturating_sub(forgotten);
        node.db = Db::default();
        for (index, entry) in self.log.iter().take(applied as usize).enumerate() {
            node.db.apply(LogIndex(index as u64 + 1), entry);
        }
        let status = node.guard.status();
        // Orders of the earlier service are refused: their leases end with it.
        node.guard.floor = node.guard.lease_last;
        node.lease = None;
        node.answers.clear();
        node.holdings = Some(Holdings::new(Beginning {
            node: id,
            guard: &status,
            log_end: node.log_end,
            orders_above: OrderId(status.lease_last.0 << 20),
            planted: self.planted,
        }));
        let now = self.now;
        self.with_holdings(id, |h| h.monitor_ready(now));
        self.sync(id);
    }

    pub(crate) fn boot(&mut self, id: NodeId) {
        self.start_service(id, 0);
    }

    /// The monitor carries out one of its orders and answers.
    pub(crate) fn carry_out(&mut self, id: NodeId, which: usize) {
        let node = self.node(id);
        let order = node.orders.remove(which);
        if node.deaf.contains(&order.resource)
            && matches!(order.action, Action::Offline | Action::Terminate)
        {
            node.history.push(format!("{order} -> (nothing)"));
            return;
        }
        let outcome = node.guard.carry_out(&order, &node.broken, &node.unstoppable);
        node.history.push(format!("{order} -> {outcome:?}"));
        let ResourceOrder { order, group, resource, epoch, .. } = order;
        node.answers.push_back(ResourceReport { order, group, resource, epoch, outcome });
        self.check_own();
    }

    /// The service hears the next answer of its monitor.
    pub(crate) fn hear(&mut self, id: NodeId) {
        let now = self.now;
        let node = self.node(id);
        if let Some(report) = node.answers.pop_front() {
            self.with_holdings(id, |h| h.reported(now, report));
        }
    }

    /// Something that runs ends by itself.
    pub(crate) fn die(&mut self, id: NodeId, resource: &str) {
        let node = self.node(id);
        let key = node.guard.admitted.keys().find(|(_, r)| r.as_str() == resource).cloned();
        let (admitted, order) = node.guard.admitted.remove(&key.unwrap()).unwrap();
        let Admitted { group, resource, epoch } = admitted;
        let outcome = Outcome::Failed("it was killed".into());
        node.answers.push_back(ResourceReport { order, group, resource, epoch, outcome });
    }

    /// Its monitor measured what the programs of a resource use.
    pub(crate) fn uses(&mut self, id: NodeId, resource: &str, used: Usage) {
        let node = self.node(id);
        let held = node.guard.admitted.values().find(|(a, _)| a.resource.as_str() == resource);
        let (Admitted { group, resource, epoch }, order) = held.unwrap().clone();
        let outcome = Outcome::Used(used);
        node.answers.push_back(ResourceReport { order, group, resource, epoch, outcome });
    }

    pub(crate) fn monitor_dies(&mut self, id: NodeId) {
        let now = self.now;
        let node = self.node(id);
        node.orders.clear();
        node.answers.clear();
        self.with_holdings(id, |h| h.monitor_died(now));
        self.with_holdings(id, |h| h.monitor_ready(now));
    }

    /// The leader gets the next report of the node.
    pub(crate) fn deliver_report(&mut self, id: NodeId) {
        let node = self.node(id);
        if let Some(report) = node.reports.pop_front() {
            node.seen = Some(report);
        }
    }

    pub(crate) fn pass_time(&mut self, span: Span) {
        self.now += span;
        self.at.0 += span.as_millis();
        for id in self.ids() {
            let now = self.now;
            let due = self.nodes[&id].holdings.as_ref().and_then(Holdings::next_deadline);
            if due.is_some_and(|due| due <= now) {
                self.with_holdings(id, |h| h.deadline(now));
                let next = self.nodes[&id].holdings.as_ref().and_then(Holdings::next_deadline);
                assert!(next.is_none_or(|next| next > now), "{id} would spin at {now}");
            }
        }
    }

    /// Everything that is under way happens, in order, until nothing is left to do or, for
    /// now, to wait for.
    pub(crate) fn run(&mut self) {
        for _ in 0..10_000 {
            if self.run_once() {
                continue;
            }
            let due = |node: &Node| node.holdings.as_ref().and_then(Holdings::next_deadline);
            let soon = |due: &Time| due.since(self.now) < PATIENCE;
            match self.nodes.values().filter_map(due).min().filter(soon) {
                Some(due) => self.pass_time(due.since(self.now)),
                None => return,
            }
        }
        panic!("the world does not come to rest: {:#?}", self.log.iter().rev().take(6));
    }

    /// Everything that is under way happens, in no time.
    pub(crate) fn run_now(&mut self) {
        for _ in 0..10_000 {
            if !self.run_once() {
                return;
            }
        }
        panic!("the world does not come to rest: {:#?}", self.log.iter().rev().take(6));
    }

    fn run_once(&mut self) -> bool {
        let mut busy = !self.plan().is_empty();
        for id in self
            .ids()
            .into_iter()
            .filter(|id| self.nodes[id].holdings.is_some())
            .collect::<Vec<_>>()
        {
            busy |= self.catch_up(id);
            while !self.nodes[&id].reports.is_empty() {
                self.deliver_report(id);
                busy = true;
            }
        }
        busy
    }

    /// The node applies all entries, its monitor carries out all orders.
    pub(crate) fn catch_up(&mut self, id: NodeId) -> bool {
        let mut busy = false;
        while self.nodes[&id].holdings.is_some() {
            if self.apply_one(id) {
            } else if !self.nodes[&id].orders.is_empty() {
                self.carry_out(id, 0);
            } else if !self.nodes[&id].answers.is_empty() {
                self.hear(id);
            } else {
                return busy;
            }
            busy = true;
        }
        busy
    }

    pub(crate) fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).unwrap()
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    pub(crate) fn with_holdings(
        &mut self,
        id: NodeId,
        f: impl FnOnce(&mut Holdings) -> Vec<Output>,
    ) {
        let now = self.now;
        let node = self.node(id);
        let Some(holdings) = node.holdings.as_mut() else { return };
        let outputs = f(holdings);
        for output in outputs {
            match output {
                Output::Order(order) => {
                    check_order(holdings, &order);
                    node.orders.push(order);
                }
                Output::Record(note) => node.notes.push(note),
                Output::SelfFence(why) => node.fences.push(why),
                Output::Probed(_) | Output::Judged(_) => {}
                Output::ReportChanged(_) => {
                    node.report_number += 1;
                    node.reports.push_back(Report {
                        node: id,
                        guard: Incarnation(node.guard.incarnation),
                        number: node.report_number,
                        groups: holdings.report(now),
                        machine: MACHINE,
                        interfaces: Vec::new(),
                        seals: Default::default(),
                        program: Default::default(),
                    });
                }
            }
        }
    }

    /// Where a resource runs, by the guards.
    pub(crate) fn running(&self, resource: &str) -> Vec<NodeId> {
        let runs = |node: &Node| node.guard.admitted.keys().any(|(_, r)| r.as_str() == resource);
        self.nodes.iter().filter(|(_, node)| runs(node)).map(|(id, _)| *id).collect()
    }

    pub(crate) fn owner(&self, group: &str) -> Option<NodeId> {
        self.group_of(group).ownership.as_ref().map(|o| o.node)
    }

    pub(crate) fn group_of(&self, group: &str) -> &Group {
        self.leader.group(&group.into()).unwrap()
    }

    /// What happened, for a person who looks for the reason.
    pub(crate) fn trace(&self) -> String {
        let entries = self.log.iter().enumerate().map(|(i, e)| format!("i{} {}", i + 1, e.why));
        let mut lines: Vec<String> = entries.collect();
        for (id, node) in &self.nodes {
            lines.push(format!("{id}: {:?} runs {:?}", node.guard.lease, node.guard.admitted));
            lines.extend(node.history.iter().map(|line| format!("  {line}")));
        }
        lines.join("\n")
    }

    pub(crate) fn check_own(&self) {
        let mut seen: BTreeMap<&ResourceId, NodeId> = BTreeMap::new();
        for (id, node) in &self.nodes {
            for (_, resource) in node.guard.admitted.keys() {
                if let Some(other) = seen.insert(resource, *id) {
                    panic!("I-OWN: {resource} runs on {other} and {id}\n{}", self.trace());
                }
            }
        }
    }
}

/// I-DEP, at the moment of the order: what it depends on is online before a resource is started,
/// what depends on it is down before it is stopped.
fn check_order(holdings: &Holdings, order: &ResourceOrder) {
    // What a resource left elsewhere is removed when its group is gone, too.
    if let Action::Forget(_) = order.action {
        return;
    }
    let holding = &holdings.groups()[&order.group];
    let online = |id: &ResourceId| holding.machines().get(id).is_some_and(|m| m.is_online());
    match &order.action {
        Action::Online(_) => {
            let config = &holding.resources()[&order.resource];
            let all = config.depends_on.iter().all(online);
            assert!(all, "I-DEP: {order} before all it depends on");
        }
        Action::Offline | Action::Terminate => {
            let stands = |id: &ResourceId| {
                let config = holding.resources().get(id);
                config.is_some_and(|c| c.depends_on.contains(&order.resource))
            };
            let mut above = holding.machines().iter().filter(|(id, m)| stands(id) && !m.is_down());
            assert!(above.next().is_none(), "I-DEP: {order} before what depends on it is down");
        }
        Action::Adopt(_) => assert!(online(&order.resource)),
        Action::Probe(_) | Action::Fit(_) | Action::Forget(_) => {}
    }
}

impl Node {
    fn new(number: u16) -> Self {
        let guard = Guard { incarnation: u64::from(number) * 1_000, ..Guard::default() };
        Self {
            db: Db::default(),
            log_end: LogIndex(0),
            holdings: None,
            guard,
            lease: None,
            orders: Vec::new(),
            answers: VecDeque::new(),
            reports: VecDeque::new(),
            seen: None,
            stopped: false,
            eligible: false,
            broken: BTreeSet::new(),
            unstoppable: BTreeSet::new(),
            deaf: BTreeSet::new(),
            notes: Vec::new(),
            fences: Vec::new(),
            history: Vec::new(),
            report_number: 0,
        }
    }

    pub(crate) fn state(&self, group: &str, resource: &str) -> ResourceState {
        let holdings = self.holdings.as_ref().unwrap();
        let holding = holdings.groups().get(&group.into());
        holding
            .and_then(|h| h.machines().get(&resource.into()))
            .map(|m| m.visible())
            .unwrap_or_default()
    }

    pub(crate) fn codes(&self) -> Vec<&'static str> {
        self.notes.iter().map(|note| note.code).collect()
    }
}

impl Guard {
    fn hard_stop(&mut self) {
        self.floor = self.lease_last;
        self.lease = None;
        self.admitted.clear();
    }

    fn status(&self) -> GuardStatus {
        GuardStatus {
            incarnation: Incarnation(self.incarnation),
            lease: None,
            lease_last: self.lease_last,
            stopping: false,
            admitted: self.admitted.values().map(|(admitted, _)| admitted.clone()).collect(),
            own_monitors: Vec::new(),
        }
    }

    fn carry_out(
        &mut self,
        order: &ResourceOrder,
        broken: &BTreeSet<ResourceId>,
        unstoppable: &BTreeSet<ResourceId>,
    ) -> Outcome {
        let ResourceOrder { order: number, group, resource, epoch, lease, action } = order;
        let key = (group.clone(), resource.clone());
        if *lease <= self.floor || self.lease.is_none() {
            return Outcome::Refused("the lease of the order is over".into());
        }
        let admitted = Admitted { group: group.clone(), resource: resource.clone(), epoch: *epoch };
        match action {
            Action::Online(_) if broken.contains(resource) => {
                Outcome::Failed("it cannot start here".into())
            }
            Action::Online(_) => {
                self.admitted.insert(key, (admitted, *number));
                Outcome::Online
            }
            Action::Adopt(_) => match self.admitted.get_mut(&key) {
                Some(runs) => {
                    *runs = (admitted, *number);
                    Outcome::Online
                }
                None => Outcome::Failed("it does not run".into()),
            },
            Action::Offline | Action::Terminate if unstoppable.contains(resource) => {
                Outcome::StopFailed("it hangs in the kernel".into())
            }
            Action::Offline | Action::Terminate => {
                self.admitted.remove(&key);
                Outcome::Offline
            }
            Action::Probe(_) => Outcome::Free,
            Action::Fit(_) => Outcome::Fitness(Fitness::Fit),
            Action::Forget(_) => Outcome::Forgotten(String::new()),
        }
    }
}
