//! Power, boots, services: how a machine and its processes come and go.

use std::path::PathBuf;

use stead_core::format::{self, LogSizes};
use stead_core::{Cluster, Event, Start};
use stead_journal::Geometry;
use stead_model::config::{
    NetworkEntry, NetworkRole, NodeAddress, NodeConfig, NodeEntry, QuorumConfig, QuorumDisk,
};
use stead_model::order::GuardReport;
use stead_model::program::Program;
use stead_model::usage::Usage;
use stead_model::{Incarnation, LogIndex, NetworkId, NodeId, UtcMillis, VoterId};

use crate::agenda::Happening;
use crate::clock::Clock;
use crate::disks::Media;
use crate::keys;
use crate::monitor::Readiness;
use crate::net::place;
use crate::node::{Node, Power, Seen, Service, Timer};
use crate::rng::Rng;
use crate::swarm::Plan;
use crate::world::World;

/// Bytes of a snapshot slot: the databases of the simulator are small.
const SNAPSHOT_BYTES: u64 = 1 << 20;
/// Wall clock at true time zero.
/// What every machine has.
const MACHINE: Usage = Usage { cpu: 8_000, memory: 32 << 30 };
const EPOCH_MS: u64 = 1_800_000_000_000;

/// The configuration files of all nodes of a plan.
#[must_use]
pub fn configs(plan: &Plan, rng: &Rng) -> Vec<NodeConfig> {
    let mut rng = rng.fork(3);
    let networks: Vec<NetworkEntry> = (plan.clients_only.iter().zip(1..))
        .map(|(clients_only, number)| {
            let role = if *clients_only { NetworkRole::Public } else { NetworkRole::Mixed };
            NetworkEntry::new(NetworkId(number), format!("net{number}"), role)
        })
        .collect();
    let founders = plan.nodes - plan.joiners;
    let disk = plan.has_disk().then(|| QuorumDisk {
        voter: VoterId(VoterId::DISK_FIRST),
        path: PathBuf::from("/quorum"),
        disk_id: [7; 16],
    });
    let config = NodeConfig {
        cluster: "sim".into(),
        cluster_id: rng.any(),
        node: NodeId(1),
        port: 7_070,
        nodes: (1..=founders).map(|node| entry(plan, NodeId(node))).collect(),
        founders: None,
        networks,
        quorum: QuorumConfig { mode: plan.mode, disk },
        profile: plan.profile,
        watchdog: None,
    };
    let founder = |node: u16| NodeConfig { node: NodeId(node), ..config.clone() };
    // A node that joins is told of the founders; who joined before it is in the log.
    let joiner = |node: u16| {
        let mut own = founder(node);
        own.founders = Some(own.founders().collect());
        own.nodes.push(entry(plan, NodeId(node)));
        own
    };
    (1..=plan.nodes).map(|n| if n > founders { joiner(n) } else { founder(n) }).collect()
}

/// Where a node of a plan is.
#[must_use]
pub fn entry(plan: &Plan, id: NodeId) -> NodeEntry {
    let address = |network: u8| NodeAddress {
        network: NetworkId(network),
        address: place(network, id.0 as u8),
    };
    let networks = (1..).take(plan.clients_only.len());
    NodeEntry { id, name: format!("n{}", id.0), addresses: networks.map(address).collect() }
}

/// A freshly formatted quorum disk; empty if the plan has none.
///
/// # Panics
/// The sizes of the plan are impossible: a mistake in the simulator.
#[must_use]
pub fn quorum_disk(plan: &Plan, config: &NodeConfig, key: [u8; 32]) -> Media {
    if !plan.has_disk() {
        return Media::default();
    }
    let pieces =
        format::quorum_disk(config, key, geometry(plan)).expect("the disk can be formatted");
    Media::formatted(&pieces)
}

/// How the quorum disk is divided.
///
/// # Panics
/// The sizes of the plan are impossible: a mistake in the simulator.
#[must_use]
pub fn geometry(plan: &Plan) -> Geometry {
    let slots = 2 * u32::from(plan.nodes);
    let geometry = Geometry::new(slots, plan.disks.ring_bytes, SNAPSHOT_BYTES);
    geometry.expect("the plan's sizes are possible")
}

/// A machine with a freshly formatted log disk.
///
/// # Panics
/// The sizes of the plan are impossible: a mistake in the simulator.
#[must_use]
pub fn node(plan: &Plan, config: NodeConfig, key: [u8; 32]) -> Node {
    let sizes = LogSizes { ring_bytes: plan.disks.ring_bytes, snapshot_bytes: SNAPSHOT_BYTES };
    let disk = [config.node.0 as u8; 16];
    let pieces = format::node_log(&config, disk, sizes).expect("the log can be formatted");
    Node::new(config, Media::formatted(&pieces), keys::first(key))
}

impl World {
    /// A machine gets power: clock from near zero, a new guard, which starts everything else.
    pub fn power_on(&mut self, node: NodeId) {
        if self.node(node).is_on() {
            return;
        }
        self.trace.milestone(self.now, || format!("{node} boots"));
        // What was sent to it while it was off is lost.
        self.net.close(node, &mut self.rng);
        let local = self.rng.wild(1_000_000, 60_000_000_000);
        let rate = self.plan.rates_ppm[usize::from(node.0) - 1];
        let clock = Clock::new(self.now, local, rate);
        let machine = self.node_mut(node);
        machine.power = Power::On;
        machine.clock = clock;
        self.guard_starts(node);
    }

    /// Power loss: nothing is said and nothing is flushed.
    pub fn power_off(&mut self, node: NodeId) {
        if !self.node(node).is_on() {
            return;
        }
        self.trace.milestone(self.now, || format!("{node} loses power"));
        self.tally.crashes += 1;
        self.bury_service(node);
        self.tear_flights(node);
        let machine = self.node_mut(node);
        machine.power = Power::Off;
        machine.keeper = None;
        machine.parked.clear();
        self.end_all_acts(node);
        self.net.close(node, &mut self.rng);
    }

    /// A machine's processes stop (`Frozen`), or a hypervisor pauses it and its clock (`Paused`).
    pub fn stop_processes(&mut self, node: NodeId, how: Power) {
        if self.node(node).power != Power::On {
            return;
        }
        self.trace.milestone(self.now, || format!("{node} {how:?}").to_lowercase());
        let now = self.now;
        let machine = self.node_mut(node);
        machine.power = how;
        if how == Power::Paused {
            machine.clock.stop(now);
        }
        if !how.guard_runs() {
            self.acts_sleep(node);
        }
    }

    /// The machine's processes go on and find everything that happened meanwhile.
    pub fn wake_processes(&mut self, node: NodeId) {
        let now = self.now;
        let machine = self.node_mut(node);
        if !machine.is_on() || machine.power == Power::On {
            return;
        }
        let was = machine.power;
        machine.clock.go_on(now);
        machine.power = Power::On;
        let parked = std::mem::take(&mut machine.parked);
        self.trace.milestone(now, || format!("{node} goes on"));
        if !was.guard_runs() {
            self.acts_wake(node, was);
        }
        self.unpark(node, parked);
    }

    /// What a process missed comes in its order, before everything newer; its timers come first
    /// or last.
    pub fn unpark(&mut self, node: NodeId, parked: Vec<Happening>) {
        let machine = self.node_mut(node);
        if let Some(service) = machine.service.as_mut() {
            service.timer = None;
        }
        let pending = machine.keeper.as_mut().and_then(|keeper| keeper.timer.take());
        if self.rng.chance(500) {
            self.timers_fire_now(node);
        }
        let missed =
            |h: &Happening| !matches!(h, Happening::Timer { .. } | Happening::GuardTimer { .. });
        for happening in parked.into_iter().filter(missed) {
            self.agenda.put(self.now, happening);
        }
        self.set_timer(node);
        self.set_guard_timer(node);
        // The guard need not have stood still: what it is about to wake for it wakes for.
        let pending = pending.filter(|timer| timer.fires_at > self.now);
        if let (Some(pending), Some(keeper)) = (pending, self.node_mut(node).keeper.as_mut())
            && keeper.timer.is_some_and(|timer| pending.fires_at < timer.fires_at)
        {
            keeper.timer = Some(pending);
        }
    }

    fn timers_fire_now(&mut self, node: NodeId) {
        let (due, fires_at) = (self.now, self.now);
        let machine = self.node_mut(node);
        let boot = machine.boot;
        let life = machine.service.as_mut().map(|service| {
            service.timer = Some(Timer { due, fires_at });
            service.life
        });
        if let Some(keeper) = machine.keeper.as_mut() {
            keeper.timer = Some(Timer { due, fires_at });
        }
        self.agenda.put(fires_at, Happening::GuardTimer { node, boot });
        if let Some(service) = life {
            self.agenda.put(fires_at, Happening::Timer { node, service });
        }
    }

    /// The guard starts a node service.
    pub fn service_starts(&mut self, node: NodeId, boot: u64) {
        if !self.is_boot(node, boot) || self.node(node).service.is_some() {
            return;
        }
        let (local, planted) = (self.local(node), self.planted_set());
        let (incarnation, seed) = (Incarnation(self.rng.any()), self.rng.any());
        let machine = self.node_mut(node);
        let Some(keeper) = &mut machine.keeper else { return };
        let guard = keeper.guard.begin_service();
        let within_lease = guard.lease.is_some();
        let running: Vec<_> = guard.admitted.iter().map(|a| a.resource.clone()).collect();
        let (config, keys, program) =
            (machine.config.clone(), machine.keys.clone(), machine.program);
        let ready = keeper.monitor.as_ref().is_some_and(|m| m.readiness != Readiness::Starting);
        machine.service_last += 1;
        let life = machine.service_last;
        machine.log_failed = false;
        self.net.obey(node, &config.networks);
        self.net.meets_only(node, &config.nodes);
        let (service, machine) = (incarnation, MACHINE);
        let start = Start { config, service, guard, machine, program, keys, seed, planted };
        let (cluster, effects) = Cluster::start(start, local);
        self.node_mut(node).service = Some(Service {
            cluster: Box::new(cluster),
            life,
            incarnation,
            timer: None,
            lanes: [0; 2],
            seen: Seen::default(),
            applied_before: LogIndex(0),
        });
        self.tally.services += 1;
        self.tally.services_within_lease += u64::from(within_lease);
        self.trace.milestone(self.now, || format!("{node} service starts"));
        self.checkers.dep.service_starts(node, running.iter());
        self.checkers.ack.service_starts(node);
        self.look_into(node);
        self.execute(node, effects);
        self.set_timer(node);
        self.tell(node, Event::WallClock(self.wall_clock(node)));
        self.tell_interfaces(node);
        if ready {
            self.tell(node, Event::Guard(GuardReport::MonitorReady));
        }
    }

    /// Wall clock of a node: policy only, so one for all, unless a script sets it wrong.
    #[must_use]
    pub fn wall_clock(&self, node: NodeId) -> UtcMillis {
        let wrong = self.wall_wrong_ms.get(&node).copied().unwrap_or_default();
        UtcMillis((EPOCH_MS + self.now / 1_000_000).saturating_add_signed(wrong))
    }

    /// Somebody sets the wall clock of a node, and its service notices.
    pub fn set_clock(&mut self, node: NodeId, by_ms: i64) {
        *self.wall_wrong_ms.entry(node).or_default() += by_ms;
        self.trace.milestone(self.now, || format!("{node} wall clock set by {} s", by_ms / 1_000));
        self.tell(node, Event::WallClock(self.wall_clock(node)));
    }

    /// Something inside a node reaches its service a moment later.
    pub fn tell(&mut self, node: NodeId, event: Event) {
        let at = self.now + self.rng.below(self.plan.processes.effect_max_ns + 1);
        let machine = self.node_mut(node);
        let Some(service) = machine.service.as_ref().map(|s| s.life) else { return };
        let lane = match &event {
            Event::Guard(_) => machine.keeper.as_mut().map(|k| &mut k.lanes[1]),
            Event::Resource(_)
            | Event::Deadline
            | Event::WallClock(_)
            | Event::Received { .. }
            | Event::Io { .. }
            | Event::Interfaces(_)
            | Event::Keys(_)
            | Event::Request(_) => machine.service.as_mut().map(|s| &mut s.lanes[1]),
        };
        let at = lane.map_or(at, |lane| crate::node::in_order(lane, at));
        self.agenda.put(at, Happening::Local { node, service, event: Box::new(event) });
    }

    /// A node service dies; its guard and what that runs stay, and a new one is started soon.
    pub fn service_dies(&mut self, node: NodeId) {
        if self.node(node).service.is_some() {
            self.service_ends(node);
            let soon = self.rng.wild(500_000, self.timing.election.0);
            self.service_follows(node, soon);
        }
    }

    /// A node service ends because its program cannot go on: the guard takes its time.
    pub fn service_gives_up(&mut self, node: NodeId) {
        self.service_ends(node);
        self.service_follows(node, GUARD_PAUSE_NS);
    }

    fn service_ends(&mut self, node: NodeId) {
        self.trace.milestone(self.now, || format!("{node} service dies"));
        self.bury_service(node);
        self.orphan_flights(node);
        self.net.close(node, &mut self.rng);
    }

    fn service_follows(&mut self, node: NodeId, pause_ns: u64) {
        let boot = self.node(node).boot;
        self.agenda.put(self.now + pause_ns, Happening::ServiceStarts { node, boot });
    }

    /// Another program takes the place of the node service's.
    pub fn install(&mut self, node: NodeId, program: Program) {
        self.trace.milestone(self.now, || format!("{node} gets {program}"));
        self.node_mut(node).program = program;
        self.service_dies(node);
    }

    /// Takes a service away and keeps its counts.
    pub fn bury_service(&mut self, node: NodeId) {
        if let Some(service) = self.node_mut(node).service.take() {
            self.tally.bury(&service.cluster.counters());
        }
    }
}

/// After this the guard starts a node service anew that ends again and again.
const GUARD_PAUSE_NS: u64 = 1_000_000_000;
