//! The world: N cores, one agenda on true time, one seed.
//!
//! ```text
//!   agenda ─► step ─► node service: Cluster::handle(now, event) ─► effects ─► agenda
//!                └──► guard (the real machine), monitor, flights to disks, streams, clients
//! ```
//!
//! The world decides nothing that the product decides. What it adds is delay, loss and disorder:
//! the effects of one call are shuffled and each takes its own time. Every change of what acts is
//! shown to the checkers at once; the first broken promise ends the run.

use std::collections::{BTreeMap, BTreeSet};

use stead_core::Event;
use stead_core::planted::{Fault, Planted};
use stead_model::profile::Timing;
use stead_model::program::Program;
use stead_model::request::Request;
use stead_model::{NodeId, ResourceId, Time};

use crate::acts::Acts;
use crate::agenda::{Agenda, Happening, Outside, Target};
use crate::ambush::Ambush;
use crate::checkers::{Checkers, Promise, Verdict, Violation};
use crate::clients::Clients;
use crate::clock::Instant;
use crate::disks::{Flight, Media};
use crate::faults::Recovery;
use crate::forcing::Disaster;
use crate::monitor::Readiness;
use crate::net::Net;
use crate::node::{Node, Power};
use crate::rng::Rng;
use crate::script::Script;
use crate::swarm::Plan;
use crate::tally::Tally;
use crate::telling;
use crate::trace::{Detail, Trace};

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The seed of all chance.
    pub seed: u64,
    /// The kind of world.
    pub plan: Plan,
    /// The planted fault, if one.
    pub planted: Option<Fault>,
    /// How much is kept as text.
    pub detail: Detail,
    /// The script, in a directed run.
    pub script: Option<Script>,
}

/// The simulated world.
#[derive(Debug)]
pub struct World {
    /// True time.
    pub now: Instant,
    /// The kind of world.
    pub plan: Plan,
    /// Base times of the profile.
    pub timing: Timing,
    /// All chance.
    pub rng: Rng,
    /// What is going to happen.
    pub agenda: Agenda,
    /// The machines, by number.
    pub nodes: Vec<Node>,
    /// The networks.
    pub net: Net,
    /// The quorum disk.
    pub shared: Media,
    /// Reads and writes under way.
    pub flights: BTreeMap<u64, Flight>,
    /// Number of the last flight.
    pub flight_last: u64,
    /// Operations of a new service that wait until those of the old one are over.
    pub held: Vec<Flight>,
    /// The administrators.
    pub clients: Clients,
    /// What acts.
    pub acts: Acts,
    /// The promises.
    pub checkers: Checkers,
    /// The trace.
    pub trace: Trace,
    /// What happened, in numbers.
    pub tally: Tally,
    /// The first broken promise.
    pub violation: Option<Violation>,
    /// A fault that waits for its moment.
    pub ambush: Option<Ambush>,
    /// Faults that have not ended.
    pub recoveries: Vec<Recovery>,
    /// Resources whose next start hangs, by a script.
    pub hangs_next: BTreeSet<ResourceId>,
    /// Nodes that lack what a resource needs, as their monitors say when they are asked.
    pub unfit: BTreeSet<(NodeId, ResourceId)>,
    /// Interfaces of nodes on networks that do not work.
    pub dead_interfaces: BTreeSet<(NodeId, u8)>,
    /// By how much wall clocks of nodes are wrong, in milliseconds.
    pub wall_wrong_ms: BTreeMap<NodeId, i64>,
    /// Where and when a guard last killed something of a resource.
    pub killed_last: BTreeMap<ResourceId, (NodeId, Instant)>,
    /// Whether the quorum disk lost something for good.
    pub disk_damaged: bool,
    /// The node that stays away for good.
    pub away: Option<NodeId>,
    /// Nodes that leave in order.
    pub leaving: BTreeSet<NodeId>,
    /// Nodes that somebody evicts.
    pub evictions: BTreeSet<NodeId>,
    /// Chores that were asked for.
    pub chores_asked: u64,
    /// Those that were not answered.
    pub chores_open: BTreeMap<u64, Request>,
    /// All but this node are lost.
    pub disaster: Option<Disaster>,
    /// Whether the second phase began.
    pub phase: Phase,
    /// The planted fault.
    pub planted: Option<Fault>,
    /// The key of shared media.
    pub key: [u8; 32],
    /// The directed run.
    pub script: Option<Script>,
}

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Faults strike.
    Faults,
    /// All but one node are lost, and nothing else happens.
    Disaster,
    /// Everything is healed and must converge.
    Heal,
    /// The run is over.
    Over,
}

impl World {
    /// A world in which all nodes are about to get power.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let Setup { seed, plan, planted, detail, script } = setup;
        let rng = Rng::new(seed).fork(2);
        let key = [0x5a; 32];
        let configs = crate::machine::configs(&plan, &rng);
        let shared = crate::machine::quorum_disk(&plan, &configs[0], key);
        let program = script.as_ref().map_or_else(Program::own, |script| script.program);
        let node = |config| Node { program, ..crate::machine::node(&plan, config, key) };
        let nodes = configs.into_iter().map(node).collect();
        let mut world = Self {
            now: 0,
            timing: plan.timing(),
            agenda: Agenda::default(),
            nodes,
            net: Net::new(usize::from(plan.nodes), plan.clients_only.clone(), plan.weather),
            shared,
            flights: BTreeMap::new(),
            flight_last: 0,
            held: Vec::new(),
            clients: Clients::new(&plan, &rng),
            acts: Acts::default(),
            checkers: Checkers::default(),
            trace: Trace::new(detail),
            tally: Tally::default(),
            violation: None,
            ambush: None,
            recoveries: Vec::new(),
            away: None,
            leaving: BTreeSet::new(),
            disk_damaged: false,
            hangs_next: BTreeSet::new(),
            unfit: BTreeSet::new(),
            dead_interfaces: BTreeSet::new(),
            wall_wrong_ms: BTreeMap::new(),
            killed_last: BTreeMap::new(),
            evictions: BTreeSet::new(),
            chores_asked: 0,
            chores_open: BTreeMap::new(),
            disaster: None,
            phase: Phase::Faults,
            planted,
            key,
            script,
            rng,
            plan,
        };
        world.set_out();
        world
    }

    fn set_out(&mut self) {
        for node in self.node_ids() {
            self.power_on(node);
        }
        self.clients_set_out();
        if self.script.is_some() {
            self.agenda.put(0, Happening::World(Outside::Script));
            return;
        }
        if self.plan.faults.pause_ns > 0 {
            self.agenda.put(self.timing.heartbeat.0, Happening::World(Outside::Fault));
        }
        let end = if self.plan.forces.is_some() { Outside::Disaster } else { Outside::Heal };
        self.agenda.put(self.plan.heal_at, Happening::World(end));
        if let Some(visits) = self.plan.visits {
            self.agenda.put(visits.pause_ns, Happening::World(Outside::Visit));
        }
        self.chores_set_out();
    }

    /// All nodes.
    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.plan.nodes).map(NodeId)
    }

    /// A node.
    #[must_use]
    pub fn node(&self, node: NodeId) -> &Node {
        &self.nodes[usize::from(node.0) - 1]
    }

    /// A node.
    pub fn node_mut(&mut self, node: NodeId) -> &mut Node {
        &mut self.nodes[usize::from(node.0) - 1]
    }

    /// What a node's clock shows.
    #[must_use]
    pub fn local(&self, node: NodeId) -> Time {
        self.node(node).clock.show(self.now)
    }

    /// The faults planted in the cores.
    #[must_use]
    pub fn planted_set(&self) -> Planted {
        self.planted.map_or(Planted::NONE, Planted::only)
    }

    /// Lets the next thing happen; false when the run is over.
    pub fn step(&mut self) -> bool {
        if self.phase == Phase::Over || self.violation.is_some() {
            return false;
        }
        let Some((at, happening)) = self.agenda.take() else { return false };
        self.now = self.now.max(at);
        if let Some(happening) = self.park(happening) {
            self.tally.steps += 1;
            self.happen(happening);
        }
        true
    }

    /// Puts aside what happens to a stopped process, drops what happens to a machine without
    /// power.
    fn park(&mut self, happening: Happening) -> Option<Happening> {
        let (node, runs) = match happening.target() {
            Target::World => return Some(happening),
            Target::Service(node) => (node, self.node(node).power == Power::On),
            Target::Guard(node) | Target::Monitor(node) => {
                (node, self.node(node).power.guard_runs())
            }
        };
        let is_monitor = matches!(happening.target(), Target::Monitor(_));
        let machine = self.node_mut(node);
        if !machine.is_on() {
            return None;
        }
        if !runs {
            machine.parked.push(happening);
            return None;
        }
        let monitor = machine.keeper.as_mut().and_then(|k| k.monitor.as_mut());
        if let Some(monitor) = monitor.filter(|m| is_monitor && m.readiness == Readiness::Stopped) {
            monitor.parked.push(happening);
            return None;
        }
        Some(happening)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Timer { node, service } => self.timer_fires(node, service),
            Happening::GuardTimer { node, boot } => self.guard_timer_fires(node, boot),
            Happening::Datagram { to, datagram } => self.datagram_arrives(to, *datagram),
            Happening::Stream { from, to, connection } => {
                self.stream_moves((from, to), connection);
            }
            Happening::Interleave { flight } => self.flight_interleaves(flight),
            Happening::Ended { flight } => self.flight_ends(flight),
            Happening::ReadsOn { flight, .. } => self.flight_goes_on(*flight),
            Happening::Local { node, service, event } => {
                if self.is_service(node, service) {
                    self.call(node, *event);
                }
            }
            Happening::GuardOrder { node, boot, order } => {
                self.guard_ordered(node, boot, *order);
            }
            Happening::GraceOver { node, boot } => self.grace_is_over(node, boot),
            Happening::Asked { node, boot, question } => self.guard_is_asked(node, boot, *question),
            Happening::Killed { node, boot, instance } => self.killed(node, boot, instance),
            Happening::MonitorStarts { node, boot } => self.monitor_starts(node, boot),
            Happening::MonitorExits { node, boot, monitor } => {
                self.monitor_exits(node, boot, monitor);
            }
            Happening::Monitor { node, boot, monitor, step } => {
                self.monitor_steps((node, boot, monitor), step);
            }
            Happening::ServiceStarts { node, boot } => self.service_starts(node, boot),
            Happening::World(outside) => self.outside(outside),
        }
    }

    fn outside(&mut self, outside: Outside) {
        match outside {
            Outside::Client(client) => self.client_acts(client),
            Outside::Answered(id, answer) => self.client_is_answered(id, *answer),
            Outside::Fault => self.fault_strikes(),
            // What is lost then stays lost.
            Outside::Recover(_) if self.phase == Phase::Disaster => {}
            Outside::Recover(recovery) => self.recover(recovery),
            Outside::Disaster => self.disaster(),
            Outside::Force => self.force_goes_on(),
            Outside::Heal => self.heal(),
            Outside::Visit => self.visit(),
            Outside::Chore => self.chore(),
            Outside::LeaveEnds(node) => self.leave_ends(node),
            Outside::Script => self.script_goes_on(),
            Outside::Judge => self.judge(),
        }
    }

    /// Remembers the first broken promise.
    pub fn verdict(&mut self, verdict: Verdict) {
        if let Err(violation) = verdict
            && self.violation.is_none()
        {
            self.trace.milestone(self.now, || format!("BROKEN {violation}"));
            self.violation = Some(violation);
        }
    }

    /// A promise that is not kept by a checker of its own.
    pub fn broken(&mut self, promise: Promise, text: String) {
        self.verdict(Err(Violation::new(promise, text)));
    }

    /// Whether this life of the service still runs.
    #[must_use]
    pub fn is_service(&self, node: NodeId, life: u64) -> bool {
        self.node(node).service.as_ref().is_some_and(|service| service.life == life)
    }

    /// Whether this life of the guard still runs.
    #[must_use]
    pub fn is_boot(&self, node: NodeId, boot: u64) -> bool {
        let node = self.node(node);
        node.boot == boot && node.keeper.is_some()
    }

    /// Hands an event to a core and carries out what it wants.
    pub fn call(&mut self, node: NodeId, event: Event) {
        let local = self.local(node);
        let now = self.now;
        let machine = &mut self.nodes[usize::from(node.0) - 1];
        let Some(service) = machine.service.as_mut() else { return };
        self.trace.line(now, || format!("{node} {local} <- {}", telling::event(&event)));
        let told = self.checkers.told(node, &event);
        let effects = service.cluster.handle(local, event);
        self.trace.mix(now ^ (u64::from(node.0) << 56) ^ ((effects.len() as u64) << 48));
        self.verdict(told);
        self.look_into(node);
        self.execute(node, effects);
        self.set_timer(node);
    }
}
