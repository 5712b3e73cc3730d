//! Faults: what can go wrong with machines, processes, networks and disks, and how it ends.
//!
//! Every fault either is a moment or begins something that a [`Recovery`] ends. Healing ends all
//! that is open. Pauses that clocks do not see (H14) are a class of their own: no ordinary run
//! has them.

use stead_model::NodeId;
use stead_model::config::QuorumMode;
use stead_model::wire::guard::InstanceId;

use crate::agenda::{Happening, Outside};
use crate::disks::{Path, SECTOR_BYTES};
use crate::monitor::Readiness;
use crate::node::Power;
use crate::rng::Rng;
use crate::swarm::Away;
use crate::world::{Phase, World};

/// Kinds of faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A machine loses power, and gets it back.
    Crash,
    /// All machines lose power at about the same time.
    CrashAll,
    /// All processes of a machine stop for a while.
    Freeze,
    /// A node service gets no time for a while.
    Stall,
    /// A node service dies.
    ServiceDies,
    /// A guard dies with all under it.
    GuardDies,
    /// A monitor dies.
    MonitorDies,
    /// A monitor is stopped for a while; every other time it is silent for so long that it is
    /// replaced.
    MonitorStops,
    /// A resource ends by itself.
    ResourceFails,
    /// One node is cut off on all networks.
    Isolate,
    /// The nodes fall into two parts.
    Split,
    /// One direction between two nodes is cut on all networks.
    OneWay,
    /// One direction or both are cut on one network.
    LinkCut,
    /// A node loses its path to the quorum disk.
    PathLoss,
    /// A node's path to the quorum disk hangs.
    PathHangs,
    /// A node's own log fails.
    LogFails,
    /// A node's disks are slow.
    SlowDisk,
    /// A machine loses power for good until the end of the faults.
    CrashLong,
    /// A node is cut off and its service gets no time for the beginning of it.
    StallAndCut,
    /// A node is cut off and its disks are slow, or those of all nodes.
    SlowAndCut,
    /// A node is cut off from all networks and from the quorum disk, and lives on.
    CutOff,
    /// A node is cut off and its service dies, or the machine loses power for a moment.
    DieAndCut,
    /// The header of a slot of the quorum disk is damaged for good.
    SlotDamaged,
    /// The host of D is cut off from everything just when it compacts its log.
    Ambush,
    /// A hypervisor pauses a machine and its clock (H14).
    Pause,
}

impl Kind {
    /// The faults of the ordinary soak. The last one has worlds of its own.
    pub const ORDINARY: [Self; 24] = [
        Self::Crash,
        Self::CrashAll,
        Self::Freeze,
        Self::Stall,
        Self::ServiceDies,
        Self::GuardDies,
        Self::MonitorDies,
        Self::MonitorStops,
        Self::ResourceFails,
        Self::Isolate,
        Self::Split,
        Self::OneWay,
        Self::LinkCut,
        Self::PathLoss,
        Self::PathHangs,
        Self::LogFails,
        Self::SlowDisk,
        Self::CrashLong,
        Self::StallAndCut,
        Self::SlowAndCut,
        Self::CutOff,
        Self::DieAndCut,
        Self::SlotDamaged,
        Self::Ambush,
    ];
}

/// How an open fault ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recovery {
    /// The machine gets power.
    PowerOn(NodeId),
    /// The machine's processes go on.
    Wake(NodeId),
    /// The monitor goes on.
    MonitorGoesOn(NodeId),
    /// The monitor has been silent for too long: it is killed, and another one started.
    MonitorReplaced(NodeId),
    /// All networks are whole again.
    Mend,
    /// The path to the quorum disk is back.
    PathBack(NodeId),
    /// The disks of the node work again.
    DisksWork(NodeId),
}

impl World {
    /// A fault by the weights of the plan strikes, and the next one is planned.
    pub fn fault_strikes(&mut self) {
        if self.phase != Phase::Faults {
            return;
        }
        let pause = self.plan.faults.pause_ns;
        let next = self.now + 1 + self.rng.below(2 * pause);
        self.agenda.put(next, Happening::World(Outside::Fault));
        let Some(kind) = self.rng.weighted(&self.plan.faults.weights) else { return };
        let node = self.aim();
        let lasts = self.lasts();
        self.fault(Kind::ORDINARY[kind], node, lasts);
    }

    fn lasts(&mut self) -> u64 {
        if let Some([least, most]) = self.plan.faults.lasts_between_ns {
            return self.rng.between(least, most);
        }
        let shortest = if self.rng.chance(250) { self.timing.tick } else { self.timing.heartbeat };
        self.rng.wild(shortest.0, self.plan.faults.lasts_max_ns)
    }

    /// A node in a role that hurts, or any.
    fn aim(&mut self) -> NodeId {
        let any = NodeId(self.rng.between(1, self.plan.nodes.into()) as u16);
        let [leader, host, owner] = self.plan.faults.aimed;
        let rest = 1000 - leader - host - owner;
        let service = |n: NodeId| self.node(n).service.as_ref();
        let mut nodes = self.node_ids();
        let found = match Rng::weighted(&mut self.rng.clone(), &[leader, host, owner, rest]) {
            Some(0) => nodes.find(|n| service(*n).is_some_and(|s| !s.seen.leading.is_empty())),
            Some(1) => nodes.find(|n| service(*n).is_some_and(|s| s.seen.hosts)),
            Some(2) => nodes.find(|n| self.acts.of(*n).next().is_some()),
            _ => None,
        };
        self.rng.any();
        found.unwrap_or(any)
    }

    /// One fault on (or around) a node.
    pub fn fault(&mut self, kind: Kind, node: NodeId, lasts: u64) {
        self.trace.line(self.now, || format!("fault {kind:?} {node} for {} ms", lasts / 1_000_000));
        let open = match kind {
            Kind::Crash => {
                self.power_off(node);
                Some(Recovery::PowerOn(node))
            }
            Kind::CrashLong => {
                self.power_off(node);
                self.recoveries.push(Recovery::PowerOn(node));
                return;
            }
            Kind::CrashAll => return self.crash_all(lasts),
            Kind::Freeze | Kind::Stall | Kind::Pause => {
                let how = match kind {
                    Kind::Stall => Power::ServiceStalled,
                    Kind::Pause => Power::Paused,
                    _ => Power::Frozen,
                };
                self.stop_processes(node, how);
                Some(Recovery::Wake(node))
            }
            Kind::ServiceDies => {
                self.if_running(node, Self::service_dies);
                None
            }
            Kind::GuardDies => {
                self.guard_dies(node);
                None
            }
            Kind::MonitorDies => {
                self.monitor_dies(node);
                None
            }
            Kind::MonitorStops => self.monitor_stalls(node, lasts),
            Kind::ResourceFails => {
                self.some_resource_fails(node);
                None
            }
            Kind::Ambush => return self.lie_in_wait(node),
            Kind::StallAndCut | Kind::SlowAndCut | Kind::CutOff | Kind::DieAndCut => {
                self.fault_behind_cut(kind, node, lasts);
                self.cut(Kind::Isolate, node);
                Some(Recovery::Mend)
            }
            Kind::SlotDamaged => {
                self.damage_slot(node);
                None
            }
            Kind::Isolate | Kind::Split | Kind::OneWay | Kind::LinkCut => {
                self.cut(kind, node);
                Some(Recovery::Mend)
            }
            Kind::PathLoss | Kind::PathHangs => {
                let path = if kind == Kind::PathLoss { Path::Broken } else { Path::Hung };
                self.set_path(node, path);
                Some(Recovery::PathBack(node))
            }
            Kind::LogFails => {
                self.node_mut(node).log_failing = 500;
                Some(Recovery::DisksWork(node))
            }
            Kind::SlowDisk => {
                let times = self.rng.wild(2, 60);
                self.node_mut(node).disk_slow = times;
                Some(Recovery::DisksWork(node))
            }
        };
        if let Some(open) = open {
            self.recover_later(open, lasts);
        }
    }

    /// What goes wrong on a node while it is cut off as well.
    fn fault_behind_cut(&mut self, kind: Kind, node: NodeId, lasts: u64) {
        match kind {
            Kind::StallAndCut => {
                self.stop_processes(node, Power::ServiceStalled);
                // As long as the others need to act, in half of the cases: it wakes just then.
                let beat = self.timing.heartbeat.0;
                let stalled = if self.rng.chance(500) {
                    self.rng.between(beat * 2, beat * 10)
                } else {
                    self.rng.wild(beat, lasts)
                };
                self.recover_later(Recovery::Wake(node), stalled);
            }
            Kind::SlowAndCut => {
                let whole_array = self.rng.chance(500);
                for slow in self.node_ids().filter(|n| whole_array || *n == node) {
                    self.node_mut(slow).disk_slow = self.rng.wild(2, 60);
                    self.recover_later(Recovery::DisksWork(slow), lasts);
                }
            }
            Kind::CutOff => {
                let path = if self.rng.chance(500) { Path::Broken } else { Path::Hung };
                self.set_path(node, path);
                self.recover_later(Recovery::PathBack(node), lasts);
            }
            Kind::DieAndCut => {
                if self.rng.chance(500) {
                    self.if_running(node, Self::service_dies);
                } else {
                    self.power_off(node);
                    let off = self.rng.wild(1_000_000, self.timing.heartbeat.0);
                    self.recover_later(Recovery::PowerOn(node), off);
                }
            }
            _ => {}
        }
    }

    pub fn recover_later(&mut self, recovery: Recovery, lasts: u64) {
        self.recoveries.push(recovery);
        self.agenda.put(self.now + lasts, Happening::World(Outside::Recover(recovery)));
    }

    fn if_running(&mut self, node: NodeId, act: fn(&mut Self, NodeId)) {
        if self.node(node).power == Power::On {
            act(self, node);
        }
    }

    fn crash_all(&mut self, lasts: u64) {
        for node in self.node_ids() {
            self.power_off(node);
            let lasts = 1 + self.rng.below(lasts);
            self.recover_later(Recovery::PowerOn(node), lasts);
        }
    }

    fn monitor_dies(&mut self, node: NodeId) {
        if self.node(node).power != Power::On {
            return;
        }
        let boot = self.node(node).boot;
        let monitor = self.node(node).keeper.as_ref().and_then(|k| k.monitor.as_ref());
        if let Some(id) = monitor.map(|m| m.id) {
            self.trace.milestone(self.now, || format!("{node} monitor dies"));
            self.monitor_exits(node, boot, id);
        }
    }

    /// Stops a monitor that is ready.
    pub fn monitor_stops(&mut self, node: NodeId) -> Option<Recovery> {
        let keeper = self.node_mut(node).keeper.as_mut()?;
        let monitor = keeper.monitor.as_mut().filter(|m| m.readiness == Readiness::Ready)?;
        monitor.readiness = Readiness::Stopped;
        self.trace.milestone(self.now, || format!("{node} monitor stopped"));
        Some(Recovery::MonitorGoesOn(node))
    }

    /// Stops a monitor for a while, or until it is replaced. Which of both is no chance of its
    /// own: the seeds of the mutants shall keep their meaning.
    fn monitor_stalls(&mut self, node: NodeId, lasts: u64) -> Option<Recovery> {
        let goes_on = self.monitor_stops(node)?;
        Some(if lasts.is_multiple_of(2) { goes_on } else { Recovery::MonitorReplaced(node) })
    }

    /// A monitor goes silent for good, and is replaced when node service and guard have noticed.
    pub fn monitor_goes_silent(&mut self, node: NodeId) {
        /// It is asked every 5 s, and has 15 s to answer (`node/monitors/silence`).
        const SILENCE_NS: u64 = 20_000_000_000;
        if self.monitor_stops(node).is_some() {
            self.recover_later(Recovery::MonitorReplaced(node), SILENCE_NS);
        }
    }

    /// A machine whose processes stand still replaces nothing; the monitor goes on with them.
    fn monitor_is_replaced(&mut self, node: NodeId) {
        if self.node(node).power != Power::On {
            return self.monitor_goes_on(node);
        }
        let boot = self.node(node).boot;
        let monitor = self.node(node).keeper.as_ref().and_then(|k| k.monitor.as_ref());
        let silent = monitor.filter(|m| m.readiness == Readiness::Stopped).map(|m| m.id);
        if let Some(id) = silent {
            self.trace.milestone(self.now, || format!("{node} silent monitor is replaced"));
            self.tally.monitors_replaced += 1;
            self.monitor_exits(node, boot, id);
        }
    }

    fn monitor_goes_on(&mut self, node: NodeId) {
        let Some(keeper) = self.node_mut(node).keeper.as_mut() else { return };
        let stopped = keeper.monitor.as_mut().filter(|m| m.readiness == Readiness::Stopped);
        let Some(monitor) = stopped else { return };
        monitor.readiness = Readiness::Ready;
        let parked = std::mem::take(&mut monitor.parked);
        self.trace.milestone(self.now, || format!("{node} monitor goes on"));
        self.unpark(node, parked);
        self.exits_are_read(node);
    }

    fn some_resource_fails(&mut self, node: NodeId) {
        if self.node(node).power != Power::On {
            return;
        }
        let running: Vec<InstanceId> = self.acts.of(node).map(|act| act.instance).collect();
        if !running.is_empty() {
            let instance = *self.rng.pick(&running);
            self.resource_fails(node, instance);
        }
    }

    /// Damages the header of one of a node's slots. D is dead then (R2), so such a run is judged
    /// for safety only.
    fn damage_slot(&mut self, node: NodeId) {
        if self.plan.mode == QuorumMode::NodeMajority {
            return;
        }
        self.disk_damaged = true;
        let slot = 2 * (u64::from(node.0) - 1) + self.rng.below(2);
        self.shared.damage((1 + slot) * 4096, SECTOR_BYTES, &mut self.rng);
        self.trace.milestone(self.now, || format!("slot {slot} of the quorum disk is damaged"));
    }

    pub fn cut(&mut self, kind: Kind, node: NodeId) {
        let nodes: Vec<NodeId> = self.node_ids().collect();
        let side = self.rng.any();
        let other = *self.rng.pick(&nodes);
        let one_network = self.rng.below(self.net.networks() as u64) as usize;
        let both_ways = self.rng.chance(500);
        let alone = |a: NodeId, b: NodeId| (a == node) != (b == node);
        let apart = |a: NodeId, b: NodeId| (side >> a.0 & 1) != (side >> b.0 & 1);
        let towards = |a: NodeId, b: NodeId| a == node && b == other;
        for network in 0..self.net.networks() {
            for (a, b) in nodes.iter().flat_map(|a| nodes.iter().map(move |b| (*a, *b))) {
                let cut = match kind {
                    Kind::Isolate => alone(a, b),
                    Kind::Split => apart(a, b),
                    Kind::OneWay => towards(a, b),
                    _ => network == one_network && (towards(a, b) || (both_ways && towards(b, a))),
                };
                if cut && a != b {
                    self.net.set_cut(network, (a, b), true);
                }
            }
        }
        self.trace.milestone(self.now, || format!("networks cut: {kind:?} {node}"));
    }

    /// Changes a node's path to the quorum disk.
    pub fn set_path(&mut self, node: NodeId, path: Path) {
        self.node_mut(node).path = path;
        self.trace.milestone(self.now, || format!("{node} path to the quorum disk {path:?}"));
    }

    /// A fault ends.
    pub fn recover(&mut self, recovery: Recovery) {
        if let Some(at) = self.recoveries.iter().position(|open| *open == recovery) {
            self.recoveries.remove(at);
        }
        match recovery {
            Recovery::PowerOn(node) => self.power_on(node),
            Recovery::Wake(node) => self.wake_processes(node),
            Recovery::MonitorGoesOn(node) => self.monitor_goes_on(node),
            Recovery::MonitorReplaced(node) => self.monitor_is_replaced(node),
            Recovery::Mend => {
                self.trace.milestone(self.now, || "networks mended".into());
                self.net.mend();
            }
            Recovery::PathBack(node) => {
                if self.node(node).path != Path::Up {
                    self.set_path(node, Path::Up);
                }
            }
            Recovery::DisksWork(node) => {
                let machine = self.node_mut(node);
                (machine.log_failing, machine.disk_slow) = (0, 1);
            }
        }
    }

    /// All faults end, also the small ones of every day; what follows must converge.
    pub fn heal(&mut self) {
        if !matches!(self.phase, Phase::Faults | Phase::Disaster) {
            return;
        }
        self.trace.milestone(self.now, || "heal".into());
        self.undo_disaster();
        self.phase = Phase::Heal;
        self.ambush = None;
        for recovery in std::mem::take(&mut self.recoveries) {
            self.recover(recovery);
        }
        self.visits_end();
        self.chores_end();
        self.plan.disks.failing = 0;
        self.plan.disks.slow.fill(1);
        self.plan.processes.start_fails = 0;
        self.plan.processes.hangs = 0;
        let weather = &mut self.net.weather;
        (weather.loss, weather.duplicates, weather.stragglers, weather.breaks) = (0, 0, 0, 0);
        self.end_slow_flights();
        self.leave_one_away();
        self.begin_judging();
    }

    fn undo_disaster(&mut self) {
        if self.phase != Phase::Disaster {
            return;
        }
        self.recover(Recovery::Mend);
        for node in self.node_ids() {
            self.recover(Recovery::PathBack(node));
            self.power_on(node);
        }
    }

    /// What slow and hanging disks still have to do ends with the faults.
    fn end_slow_flights(&mut self) {
        for flight in self.flights.keys().copied() {
            self.agenda.put(self.now + 1_000_000, Happening::Ended { flight });
        }
    }

    /// One node stays away for good, the host of D more often than not.
    fn leave_one_away(&mut self) {
        if self.plan.away == Away::None {
            return;
        }
        let hosts =
            |n: &NodeId| self.node(*n).service.as_ref().is_some_and(|s| s.cluster.hosts_disk());
        let host = self.node_ids().find(hosts);
        let any = NodeId(self.rng.between(1, self.plan.nodes.into()) as u16);
        let node = host.filter(|_| self.rng.chance(600)).unwrap_or(any);
        self.away = Some(node);
        match self.plan.away {
            Away::None => {}
            Away::Isolated => self.cut(Kind::Isolate, node),
            Away::Dead => self.power_off(node),
        }
    }
}
