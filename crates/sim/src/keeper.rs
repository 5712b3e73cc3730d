//! The guard of a simulated node: the real machine, and a world that carries out what it wants.
//!
//! Kills take part of the grace, as chosen for the run, but never more: what cannot be killed in
//! time is a broken promise of the kernel, not of the guard.

use stead_core::Event;
use stead_core::planted::Fault;
use stead_guard::admission::{Guard, Input, Output, Planted};
use stead_model::order::{GuardOrder, GuardReport};
use stead_model::wire::guard::{Claim, InstanceId, MonitorId, Refusal, ThingKind};
use stead_model::{Incarnation, NodeId, Span, Time};

use crate::acts::{Act, Standing};
use crate::agenda::{Happening, MonitorStep};
use crate::checkers::quorum::Ended;
use crate::monitor::{Monitor, Readiness};
use crate::node::{Keeper, Power, Timer};
use crate::swarm::KillHabit;
use crate::world::World;

impl World {
    /// A guard starts: nothing runs; it starts a monitor and a node service.
    pub fn guard_starts(&mut self, node: NodeId) {
        let incarnation = Incarnation(self.rng.any());
        let planted =
            Planted { admit_without_check: self.planted == Some(Fault::MonitorActsAfterHardStop) };
        let guard = Guard::new(incarnation, self.plan.grace()).with_planted(planted);
        self.checkers.ack.guard_starts(node);
        let machine = self.node_mut(node);
        machine.boot += 1;
        let boot = machine.boot;
        machine.keeper = Some(Keeper {
            guard,
            timer: None,
            monitor: None,
            monitor_next: MonitorId(1),
            until: Time(0),
            woke: Time(0),
            stop_by: 0,
            lanes: [0; 2],
        });
        let soon = self.now + self.rng.wild(100_000, self.timing.heartbeat.0);
        self.agenda.put(soon, Happening::MonitorStarts { node, boot });
        let soon = self.now + self.rng.wild(100_000, self.timing.heartbeat.0);
        self.agenda.put(soon, Happening::ServiceStarts { node, boot });
    }

    /// The guard dies: everything under it is killed at once, then it is started anew.
    pub fn guard_dies(&mut self, node: NodeId) {
        if self.node(node).power != Power::On {
            return;
        }
        self.trace.milestone(self.now, || format!("{node} guard dies"));
        self.bury_service(node);
        self.orphan_flights(node);
        self.end_all_acts(node);
        self.net.close(node, &mut self.rng);
        self.guard_starts(node);
    }

    /// An order of the node service reaches the guard.
    pub fn guard_ordered(&mut self, node: NodeId, boot: u64, order: GuardOrder) {
        if self.is_boot(node, boot) {
            self.trace.line(self.now, || format!("{node} guard <- {order}"));
            self.guard_takes(node, Input::Order(order));
        }
    }

    /// The guard's deadline comes.
    pub fn guard_timer_fires(&mut self, node: NodeId, boot: u64) {
        let now = self.now;
        if !self.is_boot(node, boot) {
            return;
        }
        let Some(keeper) = self.node_mut(node).keeper.as_mut() else { return };
        if keeper.timer.is_none_or(|timer| timer.fires_at > now) {
            return;
        }
        keeper.timer = None;
        self.guard_takes(node, Input::Deadline);
    }

    /// Puts the guard's next deadline on the agenda.
    pub fn set_guard_timer(&mut self, node: NodeId) {
        let machine = self.node(node);
        let Some(keeper) = &machine.keeper else { return };
        let Some(deadline) = keeper.guard.next_deadline() else { return };
        let (boot, timer) = (machine.boot, keeper.timer);
        let due = self.due(node, deadline);
        if timer.is_some_and(|timer| timer.due <= due) {
            return;
        }
        let fires_at = due + self.lateness(node).min(self.timing.tick.0);
        if let Some(keeper) = self.node_mut(node).keeper.as_mut() {
            keeper.timer = Some(Timer { due, fires_at });
        }
        self.agenda.put(fires_at, Happening::GuardTimer { node, boot });
    }

    /// Hands an input to the guard and carries out what it wants.
    pub fn guard_takes(&mut self, node: NodeId, input: Input) {
        let local = self.local(node);
        let Some(keeper) = self.node_mut(node).keeper.as_mut() else { return };
        let outputs = keeper.guard.handle(local, input);
        self.carry_out(node, outputs);
        self.set_guard_timer(node);
    }

    fn carry_out(&mut self, node: NodeId, outputs: Vec<Output>) {
        let boot = self.node(node).boot;
        for output in outputs {
            match output {
                Output::Report(report) => self.guard_reports(node, report),
                Output::KillMonitor(monitor) => {
                    let at = self.now + self.kill_time(60);
                    self.agenda.put(at, Happening::MonitorExits { node, boot, monitor });
                }
                Output::Kill(instance) => {
                    let at = self.now + self.kill_time(100);
                    self.agenda.put(at, Happening::Killed { node, boot, instance });
                }
                Output::Undo(instance) => {
                    let at = self.now + self.kill_time(39);
                    self.agenda.put(at, Happening::Killed { node, boot, instance });
                }
                // No simulated resource has a monitor of its own.
                Output::StartOwnMonitor(_) | Output::ForgetOwnMonitors(_) => {}
                Output::StartMonitor => {
                    let at = self.now + self.rng.wild(100_000, self.timing.heartbeat.0);
                    self.agenda.put(at, Happening::MonitorStarts { node, boot });
                }
                Output::Overdue { .. } => {
                    self.trace.milestone(self.now, || format!("{node} guard is overdue"));
                }
                // What a frozen owner's kernel answers is no act of the simulated world.
                Output::Pass { .. } | Output::Dark => {}
                // Nothing is mounted here.
                Output::ShutDown(_) => {}
                Output::Admitted(_) | Output::Refused(_) | Output::Finished => {}
            }
        }
    }

    /// A part of the grace, on the node's clock or less.
    fn kill_time(&mut self, percent: u64) -> u64 {
        let ppm_reserve = self.plan.grace().0 / 900;
        let most = (self.plan.grace().0 - ppm_reserve) * percent / 100;
        match self.plan.processes.kill {
            KillHabit::Quick => self.rng.below(most / 50 + 1),
            KillHabit::Any => self.rng.below(most + 1),
            KillHabit::Last => most,
        }
    }

    fn guard_reports(&mut self, node: NodeId, report: GuardReport) {
        match &report {
            GuardReport::LeaseSet { until, .. } => self.lease_is_set(node, *until),
            GuardReport::HardStopBegan { .. } => {
                self.trace.milestone(self.now, || format!("{node} hard stop begins"));
            }
            GuardReport::HardStopDone { .. } => {
                self.trace.milestone(self.now, || format!("{node} hard stop is done"));
                self.tally.hard_stops += 1;
            }
            GuardReport::MonitorDied { .. } | GuardReport::MonitorReady | GuardReport::Leave => {}
            GuardReport::OwnMonitorDied { .. }
            | GuardReport::OwnMonitorReady(_)
            | GuardReport::OwnMonitorRefused { .. } => {}
        }
        self.tell(node, Event::Guard(report));
    }

    /// A lease came into force: when it and the grace are over, nothing may act (I-QUORUM).
    fn lease_is_set(&mut self, node: NodeId, until: Time) {
        let slack = self.grace_and_rounding();
        let at = self.due(node, until + slack);
        let machine = self.node_mut(node);
        let boot = machine.boot;
        let Some(keeper) = machine.keeper.as_mut() else { return };
        let first = keeper.until == Time(0);
        keeper.until = until;
        if first {
            self.trace.milestone(self.now, || format!("{node} has a lease"));
        }
        self.agenda.put(at, Happening::GraceOver { node, boot });
    }

    /// The stop grace and one tick for rounding (R6).
    fn grace_and_rounding(&self) -> Span {
        self.plan.grace() + self.timing.tick + Span(1)
    }

    /// Judges I-QUORUM when lease and grace should be over.
    pub fn grace_is_over(&mut self, node: NodeId, boot: u64) {
        if !self.is_boot(node, boot) {
            return;
        }
        let (grace, now) = (self.grace_and_rounding(), self.local(node));
        let Some(keeper) = &self.node(node).keeper else { return };
        let until = keeper.until.max(keeper.woke);
        if now < until + grace {
            let at = self.due(node, until + grace);
            self.agenda.put(at, Happening::GraceOver { node, boot });
            return;
        }
        let verdict = self.checkers.quorum.judge(Ended { node, until, grace, now }, &self.acts);
        self.verdict(verdict);
    }

    /// A monitor asks whether something may run; if it may, it acts from this moment on.
    pub fn admit(
        &mut self,
        node: NodeId,
        monitor: MonitorId,
        claim: Claim,
        kind: ThingKind,
    ) -> Result<InstanceId, Refusal> {
        let local = self.local(node);
        let Some(keeper) = self.node_mut(node).keeper.as_mut() else {
            return Err(Refusal::UnknownMonitor);
        };
        let input = Input::Admit { monitor, claim: claim.clone(), kind };
        let outputs = keeper.guard.handle(local, input);
        let answer = outputs.iter().find_map(|output| match output {
            Output::Admitted(instance) => Some(Ok(*instance)),
            Output::Refused(refusal) => Some(Err(refusal.clone())),
            Output::Report(_)
            | Output::Pass { .. }
            | Output::Dark
            | Output::KillMonitor(_)
            | Output::Kill(_)
            | Output::ShutDown(_)
            | Output::Undo(_)
            | Output::StartMonitor
            | Output::StartOwnMonitor(_)
            | Output::ForgetOwnMonitors(_)
            | Output::Overdue { .. }
            | Output::Finished => None,
        });
        if let Some(Ok(instance)) = answer {
            self.act_begins(node, (instance, kind), &claim);
        }
        self.carry_out(node, outputs);
        self.set_guard_timer(node);
        answer.unwrap_or(Err(Refusal::UnknownMonitor))
    }

    fn act_begins(&mut self, node: NodeId, thing: (InstanceId, ThingKind), claim: &Claim) {
        self.trace
            .milestone(self.now, || format!("{node} {} acts, {}", claim.resource, claim.epoch));
        self.trace.mix(claim.epoch.0 ^ (u64::from(node.0) << 40));
        self.tally.starts += 1;
        if let Some((killed_on, at)) = self.killed_last.remove(&claim.resource)
            && killed_on != node
        {
            let gap = self.now - at;
            self.tally.takeovers_alive += 1;
            self.tally.takeovers_close += u64::from(gap < self.timing.tick.0 * 4);
            let permille = gap * 1_000 / self.timing.tick.0;
            self.tally.came_close(permille);
        }
        let verdict = self.checkers.stop_start.begins(node, claim, &self.acts);
        self.acts.begin(node, thing, claim, self.now);
        let own = self.checkers.own.judge(&self.acts);
        let apart = self.checkers.apart.judge(&self.acts);
        self.verdict(own);
        self.verdict(apart);
        self.verdict(verdict);
        let verdict = self.checkers.dep.begins(node, &claim.resource, &self.acts);
        self.verdict(verdict);
        if let Some(service) = &self.node(node).service {
            let applied = service.cluster.applied();
            let verdict = self.checkers.ack.runs(node, applied);
            self.verdict(verdict);
        }
    }

    /// Nothing of a thing is left, whoever stopped it.
    pub fn act_ends(&mut self, node: NodeId, instance: InstanceId) {
        if let Some(act) = self.acts.end(node, instance) {
            self.ended(&act);
        }
        self.guard_takes(node, Input::Gone(instance));
    }

    /// The machine died, or its guard: nothing is left of anything.
    pub fn end_all_acts(&mut self, node: NodeId) {
        let gone = self.acts.end_node(node);
        gone.iter().for_each(|act| self.ended(act));
        self.checkers.dep.stopped(node);
    }

    fn ended(&mut self, act: &Act) {
        let Act { node, resource, epoch, .. } = act;
        self.trace.milestone(self.now, || format!("{node} {resource} gone, {epoch}"));
    }

    /// Nothing of a stopped machine runs an instruction.
    pub fn acts_sleep(&mut self, node: NodeId) {
        self.acts.set_standing(node, Standing::Dormant);
    }

    /// A machine wakes: what its lease no longer covers is one of the stated holes until the
    /// guard has killed it.
    pub fn acts_wake(&mut self, node: NodeId, was: Power) {
        let now = self.local(node);
        let machine = self.node_mut(node);
        let Some(keeper) = machine.keeper.as_mut() else { return };
        keeper.woke = now;
        let over = keeper.until <= now || keeper.guard.is_stopping();
        let standing = match was {
            Power::Paused => Standing::ClockStopped,
            Power::Off | Power::On | Power::Frozen | Power::ServiceStalled if over => {
                Standing::Woke
            }
            Power::Off | Power::On | Power::Frozen | Power::ServiceStalled => Standing::Runs,
        };
        self.acts.set_standing(node, standing);
        let own = self.checkers.own.judge(&self.acts);
        self.verdict(own);
    }

    /// A killed or undone thing is gone.
    pub fn killed(&mut self, node: NodeId, boot: u64, instance: InstanceId) {
        if !self.is_boot(node, boot) {
            return;
        }
        let resource = self.acts.find(node, instance).map(|act| act.resource.clone());
        self.act_ends(node, instance);
        if let Some(resource) = &resource {
            self.killed_last.insert(resource.clone(), (node, self.now));
        }
        if let Some(resource) = resource {
            self.exit_is_seen(node, &resource, instance);
        }
    }

    /// A monitor process starts.
    pub fn monitor_starts(&mut self, node: NodeId, boot: u64) {
        if !self.is_boot(node, boot) {
            return;
        }
        let ready_in = self.rng.wild(50_000, self.timing.heartbeat.0);
        let Some(keeper) = self.node_mut(node).keeper.as_mut() else { return };
        if keeper.monitor.is_some() {
            return;
        }
        let monitor = keeper.monitor_next;
        keeper.monitor_next = MonitorId(monitor.0 + 1);
        keeper.monitor = Some(Monitor::new(monitor));
        self.guard_takes(node, Input::MonitorStarted(monitor));
        let step = MonitorStep::Ready;
        self.agenda.put(self.now + ready_in, Happening::Monitor { node, boot, monitor, step });
    }

    /// A monitor process is gone: what was only a mark in it ends, the rest runs on.
    pub fn monitor_exits(&mut self, node: NodeId, boot: u64, monitor: MonitorId) {
        if !self.is_boot(node, boot) {
            return;
        }
        let Some(keeper) = self.node_mut(node).keeper.as_mut() else { return };
        if keeper.monitor.as_ref().is_some_and(|m| m.id == monitor) {
            keeper.monitor = None;
        }
        let marks: Vec<InstanceId> = (self.acts.of(node))
            .filter(|act| act.kind == ThingKind::Mark)
            .map(|act| act.instance)
            .collect();
        for instance in marks {
            self.act_ends(node, instance);
        }
        let why = "killed".to_owned();
        self.guard_takes(node, Input::MonitorExited { monitor, why });
    }

    /// Whether the monitor takes orders now.
    #[must_use]
    pub fn monitor_is_ready(&self, node: NodeId) -> bool {
        let monitor = self.node(node).keeper.as_ref().and_then(|k| k.monitor.as_ref());
        monitor.is_some_and(|m| m.readiness == Readiness::Ready)
    }
}
