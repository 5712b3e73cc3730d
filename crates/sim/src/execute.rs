//! Carrying out what a core wants: shuffled, each effect after its own delay.
//!
//! What goes to the guard and to the monitor keeps its order from call to call, as on a socket;
//! everything else may overtake.

use stead_core::{Arrival, Channel, Effect, Event};
use stead_model::order::{GuardOrder, ResourceOrder};
use stead_model::program::Program;
use stead_model::wire::peer::PeerMessage;
use stead_model::{NetworkId, NodeId, Time};

use crate::agenda::{Happening, MonitorStep, Outside};
use crate::checkers::Promise;
use crate::checkers::why::Why;
use crate::clock::Instant;
use crate::keys;
use crate::net::Datagram;
use crate::node::{Timer, in_order};
use crate::telling;
use crate::world::World;

impl World {
    /// Carries out the effects of one call.
    pub fn execute(&mut self, node: NodeId, mut effects: Vec<Effect>) {
        self.rng.shuffle(&mut effects);
        for effect in effects {
            self.trace.line(self.now, || format!("{node}   -> {}", telling::effect(&effect)));
            let at = self.now + self.rng.below(self.plan.processes.effect_max_ns + 1);
            match effect {
                Effect::Send { to, channel, message } => {
                    self.send((node, to), channel, message, at);
                }
                Effect::Io(io) => self.submit(node, io, at),
                Effect::Guard(order) => self.order_guard(node, order, at),
                Effect::Resource(order) => self.order_monitor(node, order, at),
                Effect::Reply { id, answer } => {
                    let answered = Outside::Answered(id, Box::new(answer));
                    self.agenda.put(at, Happening::World(answered));
                }
                Effect::Record(record) => {
                    self.verdict(Why::recorded(&record));
                    self.trace.recorded(self.now, &record);
                }
                Effect::Met(nodes) => self.net.meets(node, &nodes),
                Effect::Parted(other) => self.net.parts(node, other),
                Effect::Networks(networks) => self.net.obey(node, &networks),
                Effect::Keys(order) => self.order_keys(node, order),
                Effect::Left => {
                    self.has_left(node);
                    return;
                }
                Effect::Halt { why } => {
                    self.halted(node, &why);
                    return;
                }
            }
        }
    }

    /// A core gave up: allowed only if its own log disk failed, or others have a program that
    /// knows a higher level.
    fn halted(&mut self, node: NodeId, why: &str) {
        self.trace.milestone(self.now, || format!("{node} service halts: {why}"));
        let place = crate::run::take_panic();
        // Somebody put a former program there, and the cluster may be at a level of this one.
        let overtaken = self.node(node).program != Program::own();
        if (!self.node(node).log_failed && !overtaken) || place.is_some() {
            let place = place.map(|place| format!(" at {place}")).unwrap_or_default();
            self.broken(
                Promise::NoPanic,
                format!("{node} halted: {}{place}", why.replace('\n', " ")),
            );
        }
        if overtaken {
            self.service_gives_up(node);
        } else {
            self.service_dies(node);
        }
    }

    fn send(
        &mut self,
        (from, to): (NodeId, NodeId),
        channel: Channel,
        message: PeerMessage,
        at: Instant,
    ) {
        if to.0 == 0 || to.0 > self.plan.nodes || to == from {
            self.broken(Promise::NoPanic, format!("{from} sends to {to}: {message}"));
            return;
        }
        match channel {
            Channel::Datagram => self.send_datagram((from, to), message, at),
            Channel::Stream => {
                let first = self.net.push((from, to), message, at, &mut self.rng);
                if let Some((at, connection)) = first {
                    self.agenda.put(at, Happening::Stream { from, to, connection });
                }
            }
        }
    }

    fn send_datagram(&mut self, (from, to): (NodeId, NodeId), message: PeerMessage, at: Instant) {
        let Some(service) = &self.node(from).service else { return };
        let (incarnation, sealed) = (service.incarnation, self.node(from).keys.own.print);
        let sequence = self.net.sequence(from, to);
        for network in 0..self.net.networks() {
            let arrivals = self.net.arrivals((network, from), at, &mut self.rng);
            if !self.net.passes(network, from, to) {
                continue;
            }
            for at in arrivals.into_iter().flatten() {
                let datagram = Box::new(Datagram {
                    from,
                    network: NetworkId(network as u8 + 1),
                    incarnation,
                    sequence,
                    sealed,
                    message: message.clone(),
                });
                self.agenda.put(at, Happening::Datagram { to, datagram });
            }
        }
    }

    /// A datagram arrives; a cut that came while it was under way swallows it.
    pub fn datagram_arrives(&mut self, to: NodeId, datagram: Datagram) {
        let Datagram { from, network, incarnation, sequence, sealed, message } = datagram;
        let way = usize::from(network.0) - 1;
        let believed = keys::believes(&self.node(to).keys, sealed);
        let found = self.net.finds(way, from, to);
        if !believed || !found || !self.net.passes(way, from, to) || !self.net.uses(way, to) {
            return;
        }
        let arrival = Arrival::Datagram { network, incarnation, sequence };
        self.call(to, Event::Received { from, arrival, message });
    }

    /// The head of a stream is looked at.
    pub fn stream_moves(&mut self, (from, to): (NodeId, NodeId), connection: u64) {
        let (message, again) = self.net.pull((from, to), connection, self.now);
        if let Some(at) = again {
            self.agenda.put(at, Happening::Stream { from, to, connection });
        }
        if let Some(message) = message {
            self.call(to, Event::Received { from, arrival: Arrival::Stream, message });
        }
    }

    fn order_guard(&mut self, node: NodeId, order: GuardOrder, at: Instant) {
        let machine = self.node_mut(node);
        let boot = machine.boot;
        let Some(keeper) = machine.keeper.as_mut() else { return };
        let at = in_order(&mut keeper.lanes[0], at);
        let order = Box::new(order);
        self.agenda.put(at, Happening::GuardOrder { node, boot, order });
    }

    fn order_monitor(&mut self, node: NodeId, order: ResourceOrder, at: Instant) {
        let service = self.node(node).service.as_ref();
        let applied = service.map(|s| s.applied_before).unwrap_or_default();
        let who = (node, applied);
        let verdict = self.checkers.dep.ordered(who, &order.resource, &order.action);
        self.verdict(verdict);
        let machine = self.node_mut(node);
        let boot = machine.boot;
        let (Some(keeper), Some(service)) = (machine.keeper.as_ref(), machine.service.as_mut())
        else {
            return;
        };
        let Some(monitor) = keeper.monitor.as_ref().map(|m| m.id) else { return };
        let at = in_order(&mut service.lanes[0], at);
        let step = MonitorStep::Order { service: service.life, order: Box::new(order) };
        self.agenda.put(at, Happening::Monitor { node, boot, monitor, step });
    }

    /// A service's deadline comes.
    pub fn timer_fires(&mut self, node: NodeId, life: u64) {
        if !self.is_service(node, life) {
            return;
        }
        let now = self.now;
        let local = self.local(node);
        let Some(service) = self.node_mut(node).service.as_mut() else { return };
        if service.timer.is_none_or(|timer| timer.fires_at > now) {
            return;
        }
        service.timer = None;
        if service.cluster.next_deadline().is_some_and(|deadline| deadline <= local) {
            self.call(node, Event::Deadline);
        } else {
            self.set_timer(node);
        }
    }

    /// Puts the next deadline of a core on the agenda.
    pub fn set_timer(&mut self, node: NodeId) {
        let Some(service) = &self.node(node).service else { return };
        let Some(deadline) = service.cluster.next_deadline() else { return };
        let (life, timer) = (service.life, service.timer);
        let due = self.due(node, deadline);
        if timer.is_some_and(|timer| timer.due <= due) {
            return;
        }
        let fires_at = due + self.lateness(node);
        if let Some(service) = self.node_mut(node).service.as_mut() {
            service.timer = Some(Timer { due, fires_at });
        }
        self.agenda.put(fires_at, Happening::Timer { node, service: life });
    }

    /// How late a process of the node wakes for a deadline.
    pub fn lateness(&mut self, node: NodeId) -> u64 {
        let habits = self.plan.processes;
        let is_of = |bits: u64| bits.checked_shr(node.0.into()).is_some_and(|bits| bits & 1 == 1);
        let [never, always] = habits.wakes.map(is_of);
        match (never, always) {
            (true, _) => 0,
            (false, true) => habits.wake_max_ns,
            (false, false) => self.rng.below(habits.wake_max_ns + 1),
        }
    }

    /// The true moment of a deadline on a node's clock, not in the past.
    #[must_use]
    pub fn due(&self, node: NodeId, deadline: Time) -> Instant {
        self.node(node).clock.when(deadline).max(self.now)
    }
}
