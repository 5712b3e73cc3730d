//! Operations of a monitor on one resource: online, adopt, offline, terminate, and failures.
//!
//! ```text
//!   Online ─► Asking ─► (guard admits: it acts) ─► Starting ─► reported online
//!                 └───► refused                        └─────► failed, gone
//!   Offline ─► Stopping ─► gone ─► reported offline        Terminate cuts in anywhere
//! ```

use stead_core::Event;
use stead_model::order::{Action, Fitness, OnlineSpec, Outcome, ResourceOrder, ResourceReport};
use stead_model::resource_type::{NETWORK_NAME, PHYSICAL_DISK};
use stead_model::wire::guard::{Claim, InstanceId, MonitorId, Refusal, ThingKind};
use stead_model::{NodeId, ResourceId};

use crate::agenda::{Happening, MonitorStep, Question};
use crate::monitor::{Monitor, Phase, Readiness, Runner};
use crate::world::World;

/// One life of a monitor: node, life of the guard, number.
pub type Address = (NodeId, u64, MonitorId);

impl World {
    fn monitor(&mut self, (node, _, id): Address) -> Option<&mut Monitor> {
        let keeper = self.node_mut(node).keeper.as_mut()?;
        keeper.monitor.as_mut().filter(|monitor| monitor.id == id)
    }

    fn runner(&mut self, address: Address, resource: &ResourceId) -> Option<&mut Runner> {
        let runners = &mut self.monitor(address)?.runners;
        if !runners.contains_key(resource) {
            runners.insert(resource.clone(), Runner::default());
        }
        runners.get_mut(resource)
    }

    /// A monitor comes to do something.
    pub fn monitor_steps(&mut self, address: Address, step: MonitorStep) {
        let (node, boot, id) = address;
        if !self.is_boot(node, boot) {
            return;
        }
        match step {
            MonitorStep::Ready => {
                if let Some(monitor) = self.monitor(address) {
                    monitor.readiness = Readiness::Ready;
                    let ready = stead_guard::admission::Input::MonitorReady(id);
                    self.guard_takes(node, ready);
                }
            }
            MonitorStep::Order { service, order } => self.order_read(address, service, *order),
            MonitorStep::Done { resource, operation } => {
                self.operation_ends(address, &resource, operation);
            }
        }
    }

    fn order_read(&mut self, address: Address, service: u64, order: ResourceOrder) {
        let ready = self.monitor(address).is_some_and(|m| m.readiness == Readiness::Ready);
        if !ready {
            return;
        }
        self.trace.line(self.now, || format!("{} monitor <- {order}", address.0));
        if let Some(outcome) = self.looked(address.0, &order) {
            self.report(address.0, service, &order, outcome);
            return;
        }
        let resource = order.resource.clone();
        let terminate = matches!(order.action, Action::Terminate);
        let Some(runner) = self.runner(address, &resource) else { return };
        if terminate {
            runner.queue.clear();
            runner.current = None;
            runner.operation += 1;
            // The guard answers in the order in which it is asked: a stop comes behind a question.
            if runner.phase != Phase::Asking {
                runner.phase = Phase::Idle;
            }
        }
        runner.queue.push_back((service, order));
        self.begin_next(address, &resource);
    }

    /// What a look finds, which touches no resource and is answered at once.
    fn looked(&self, node: NodeId, order: &ResourceOrder) -> Option<Outcome> {
        match &order.action {
            Action::Probe(_) => Some(Outcome::Free),
            Action::Fit(_) => {
                Some(Outcome::Fitness(match self.unfit.contains(&(node, order.resource.clone())) {
                    true => Fitness::Unfit(vec!["it lacks what it needs".into()]),
                    false => Fitness::Fit,
                }))
            }
            Action::Forget(_) => Some(Outcome::Forgotten(String::new())),
            Action::Online(_) | Action::Offline | Action::Terminate | Action::Adopt(_) => None,
        }
    }

    fn begin_next(&mut self, address: Address, resource: &ResourceId) {
        let Some(runner) = self.runner(address, resource) else { return };
        if runner.phase != Phase::Idle {
            return;
        }
        let Some((service, order)) = runner.queue.pop_front() else { return };
        runner.operation += 1;
        let operation = runner.operation;
        runner.current = Some((service, order.clone()));
        runner.last = Some((service, order.order, order.clone()));
        let running = self.runs(address.0, resource);
        let done = MonitorStep::Done { resource: resource.clone(), operation };
        let habits = self.plan.processes;
        let little = habits.effect_max_ns;
        let (phase, most) = match (&order.action, running) {
            (Action::Online(_) | Action::Adopt(_), Some(_)) => (Phase::Adopting, little),
            (Action::Online(spec), None) => {
                self.ask(address, operation, (spec, &order));
                (Phase::Asking, 0)
            }
            (Action::Adopt(_), None) => (Phase::Adopting, little),
            (Action::Offline, Some(_)) if self.rng.chance(habits.hangs) => (Phase::Hanging, 0),
            (Action::Offline, Some(_)) => (Phase::Stopping, habits.stop_max_ns),
            (Action::Terminate, _) | (Action::Offline, None) => (Phase::Stopping, little),
            // Answered when it was read.
            (Action::Probe(_) | Action::Fit(_) | Action::Forget(_), _) => (Phase::Idle, 0),
        };
        self.go_on(address, (phase, done), most);
        if let Some(runner) = self.runner(address, resource) {
            runner.phase = phase;
        }
    }

    /// The monitor's question to the guard is on its way; it arrives whatever becomes of the
    /// monitor.
    fn ask(
        &mut self,
        (node, boot, monitor): Address,
        operation: u64,
        (spec, order): (&OnlineSpec, &ResourceOrder),
    ) {
        let claim = Claim {
            group: order.group.clone(),
            resource: order.resource.clone(),
            epoch: order.epoch,
            lease: order.lease,
        };
        let question = Box::new(Question { monitor, operation, claim, kind: kind(spec) });
        let at = self.now + self.rng.wild(1_000, self.plan.processes.ask_max_ns);
        self.agenda.put(at, Happening::Asked { node, boot, question });
    }

    fn go_on(&mut self, address: Address, (phase, step): (Phase, MonitorStep), most: u64) {
        if matches!(phase, Phase::Hanging | Phase::Asking) {
            return;
        }
        let (node, boot, monitor) = address;
        let at = self.now + self.rng.wild(1_000, most);
        self.agenda.put(at, Happening::Monitor { node, boot, monitor, step });
    }

    /// What the guard holds of a resource.
    fn runs(&self, node: NodeId, resource: &ResourceId) -> Option<InstanceId> {
        let keeper = self.node(node).keeper.as_ref()?;
        let thing = keeper.guard.things().find(|(_, claim, _)| claim.resource == *resource)?;
        Some(thing.0)
    }

    fn current(
        &mut self,
        address: Address,
        resource: &ResourceId,
        operation: u64,
    ) -> Option<(u64, ResourceOrder)> {
        let runner = self.runner(address, resource)?;
        if runner.operation == operation { runner.current.clone() } else { None }
    }

    /// The guard answers a question, and its monitor goes on with the answer if it still lives.
    pub fn guard_is_asked(&mut self, node: NodeId, boot: u64, question: Question) {
        if !self.is_boot(node, boot) {
            return;
        }
        let Question { monitor, operation, claim, kind } = question;
        let (address, resource) = ((node, boot, monitor), claim.resource.clone());
        let admitted = self.admit(node, monitor, claim, kind);
        let habits = self.plan.processes;
        let hangs =
            admitted.is_ok() && (self.rng.chance(habits.hangs) | self.hangs_next.remove(&resource));
        let phase = match &admitted {
            Ok(_) if hangs => Phase::Hanging,
            Ok(_) => Phase::Starting,
            Err(_) => Phase::Idle,
        };
        let Some((service, _)) = self.current(address, &resource, operation) else {
            self.answered_too_late(address, &resource, admitted.ok());
            return;
        };
        let done = MonitorStep::Done { resource: resource.clone(), operation };
        if let Some(runner) = self.runner(address, &resource) {
            runner.phase = phase;
            runner.instance = admitted.as_ref().ok().copied();
        }
        match admitted {
            Ok(_) => self.go_on(address, (phase, done), habits.start_max_ns),
            Err(refusal) => {
                self.refused(node, &refusal);
                self.finish(address, &resource, Outcome::Refused(refusal.to_string()), service);
            }
        }
    }

    /// Terminated meanwhile: a living monitor stops what it no longer wants.
    fn answered_too_late(
        &mut self,
        address: Address,
        resource: &ResourceId,
        admitted: Option<InstanceId>,
    ) {
        if self.monitor(address).is_none() {
            return;
        }
        if let Some(instance) = admitted {
            self.act_ends(address.0, instance);
        }
        if let Some(runner) = self.runner(address, resource) {
            runner.phase = Phase::Idle;
        }
        self.begin_next(address, resource);
    }

    fn refused(&mut self, node: NodeId, refusal: &Refusal) {
        self.tally.refusals += 1;
        self.trace.line(self.now, || format!("{node} guard refuses: {refusal}"));
    }

    fn operation_ends(&mut self, address: Address, resource: &ResourceId, operation: u64) {
        let Some((service, order)) = self.current(address, resource, operation) else { return };
        let node = address.0;
        let running = self.runs(node, resource);
        let outcome = match (&order.action, running) {
            (Action::Online(_), Some(instance))
                if self.rng.chance(self.plan.processes.start_fails) =>
            {
                self.act_ends(node, instance);
                Outcome::Failed("it failed to start".into())
            }
            (Action::Online(_) | Action::Adopt(_), Some(_)) => Outcome::Online,
            (Action::Online(_) | Action::Adopt(_), None) => Outcome::Failed("it is gone".into()),
            (Action::Offline | Action::Terminate, Some(instance)) => {
                self.act_ends(node, instance);
                Outcome::Offline
            }
            (Action::Offline | Action::Terminate, None) => Outcome::Offline,
            // Answered when it was read.
            (Action::Probe(_) | Action::Fit(_) | Action::Forget(_), _) => Outcome::Free,
        };
        if let Some(runner) = self.runner(address, resource) {
            runner.instance = if outcome == Outcome::Online { running } else { None };
        }
        self.finish(address, resource, outcome, service);
    }

    fn finish(&mut self, address: Address, resource: &ResourceId, outcome: Outcome, service: u64) {
        let Some(runner) = self.runner(address, resource) else { return };
        runner.phase = Phase::Idle;
        if let Some((_, order)) = runner.current.take() {
            self.report(address.0, service, &order, outcome);
        }
        self.begin_next(address, resource);
    }

    fn report(&mut self, node: NodeId, service: u64, order: &ResourceOrder, outcome: Outcome) {
        if !self.is_service(node, service) {
            return;
        }
        if outcome == Outcome::Online {
            let resource = &order.resource;
            self.trace.milestone(self.now, || format!("{node} {resource} online"));
        }
        let report = ResourceReport {
            order: order.order,
            group: order.group.clone(),
            resource: order.resource.clone(),
            epoch: order.epoch,
            outcome,
        };
        self.tell(node, Event::Resource(report));
    }

    /// A resource stops by itself; its monitor tells the service, if it watches it.
    pub fn resource_fails(&mut self, node: NodeId, instance: InstanceId) {
        let Some(act) = self.acts.find(node, instance) else { return };
        let resource = act.resource.clone();
        self.trace.milestone(self.now, || format!("{node} {resource} fails"));
        self.act_ends(node, instance);
        self.exit_is_seen(node, &resource, instance);
    }

    /// A monitor that was stopped goes on and reads which of what it watches has ended meanwhile.
    pub fn exits_are_read(&mut self, node: NodeId) {
        let Some(keeper) = &self.node(node).keeper else { return };
        let Some(monitor) = &keeper.monitor else { return };
        let held: Vec<InstanceId> = keeper.guard.things().map(|(instance, ..)| instance).collect();
        let watched = monitor.runners.iter().filter_map(|(r, of)| Some((r.clone(), of.instance?)));
        let ended = watched.filter(|(_, instance)| !held.contains(instance));
        for (resource, instance) in ended.collect::<Vec<_>>() {
            self.exit_is_seen(node, &resource, instance);
        }
    }

    /// A monitor sees that something it watches is gone, whoever killed it.
    pub fn exit_is_seen(&mut self, node: NodeId, resource: &ResourceId, instance: InstanceId) {
        let boot = self.node(node).boot;
        let monitor = self.node(node).keeper.as_ref().and_then(|k| k.monitor.as_ref());
        let Some(monitor) = monitor.filter(|m| m.readiness == Readiness::Ready) else { return };
        let address = (node, boot, monitor.id);
        let Some(runner) = self.runner(address, resource) else { return };
        if runner.phase != Phase::Idle || runner.instance != Some(instance) {
            return;
        }
        runner.instance = None;
        if let Some((service, _, order)) = runner.last.clone() {
            self.report(node, service, &order, Outcome::Failed("it ended by itself".into()));
        }
    }
}

fn kind(spec: &OnlineSpec) -> ThingKind {
    match spec.kind.as_str() {
        "ip-address" => ThingKind::Address,
        "dummy" | NETWORK_NAME => ThingKind::Mark,
        PHYSICAL_DISK => ThingKind::Mount,
        _ => ThingKind::Program,
    }
}
