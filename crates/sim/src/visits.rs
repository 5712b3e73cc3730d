//! Nodes that leave in order and come back, and absences that are announced: in some worlds only,
//! whose other chances are those of a world without.

use stead_core::Event;
use stead_model::order::GuardReport;
use stead_model::request::{Envelope, Request};
use stead_model::{NodeId, RequestId};

use crate::agenda::{Happening, Outside};
use crate::faults::Recovery;
use crate::node::Power;
use crate::world::{Phase, World};

/// How often nodes leave or announce an absence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Visits {
    /// Mean time between two.
    pub pause_ns: u64,
    /// Longest time a node that left stays away.
    pub away_max_ns: u64,
    /// Whether nodes leave at all: not where one stays away for good.
    pub leaves: bool,
}

/// Who asks for absences; no client of the world.
const CLIENT: u64 = 1_000;
/// Heartbeats after which the guard of a node that leaves stops everything.
const LEAVE_BEATS: u64 = 60;

impl World {
    /// A node leaves, or announces an absence, or its end; and the next one is planned.
    pub fn visit(&mut self) {
        let Some(visits) = self.plan.visits.filter(|_| self.phase == Phase::Faults) else { return };
        let next = self.now + 1 + self.rng.below(2 * visits.pause_ns);
        self.agenda.put(next, Happening::World(Outside::Visit));
        let node = NodeId(self.rng.between(1, self.plan.nodes.into()) as u16);
        match self.rng.below(3) {
            0 if visits.leaves => self.leave(node),
            0 | 1 => self.announce(node, true),
            _ => self.announce(node, false),
        }
    }

    fn announce(&mut self, node: NodeId, absent: bool) {
        self.tally.absences += 1;
        let id = RequestId { client: CLIENT, number: self.tally.absences };
        let request = Request::SetAbsence { node, absent };
        let by = NodeId(self.rng.between(1, self.plan.nodes.into()) as u16);
        let who = "a visitor".to_owned();
        self.tell(by, Event::Request(Envelope { id, who, request }));
    }

    /// The guard of a node is told to end.
    pub fn leave(&mut self, node: NodeId) {
        let machine = self.node(node);
        if machine.power != Power::On || machine.service.is_none() || !self.leaving.insert(node) {
            return;
        }
        self.trace.milestone(self.now, || format!("{node} leaves"));
        self.tell(node, Event::Guard(GuardReport::Leave));
        let until = self.now + self.timing.heartbeat.0 * LEAVE_BEATS;
        self.agenda.put(until, Happening::World(Outside::LeaveEnds(node)));
    }

    /// A core has left: its guard stops whatever is there and the machine goes off.
    pub fn has_left(&mut self, node: NodeId) {
        self.trace.milestone(self.now, || format!("{node} has left"));
        self.tally.left += 1;
        self.leaving.remove(&node);
        self.goes_off(node);
    }

    /// A node that still leaves is stopped; in a directed run, too.
    pub fn leave_ends(&mut self, node: NodeId) {
        if self.leaving.remove(&node) {
            self.goes_off(node);
        }
    }

    fn goes_off(&mut self, node: NodeId) {
        self.power_off(node);
        let Some(visits) = self.plan.visits else { return };
        let away = self.rng.wild(self.timing.tick.0, visits.away_max_ns);
        self.recoveries.push(Recovery::PowerOn(node));
        let on = Happening::World(Outside::Recover(Recovery::PowerOn(node)));
        self.agenda.put(self.now + away, on);
    }

    /// Faults end: who leaves goes off and comes back at once.
    pub fn visits_end(&mut self) {
        for node in std::mem::take(&mut self.leaving) {
            self.power_off(node);
            self.power_on(node);
        }
    }
}
