//! The agenda: everything that is going to happen, on true time, in one heap.
//!
//! Things of the same moment happen in the order in which they were put down, so a run has one
//! history only.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use stead_core::Event;
use stead_model::order::{GuardOrder, ResourceOrder};
use stead_model::request::Answer;
use stead_model::wire::guard::{Claim, InstanceId, MonitorId, ThingKind};
use stead_model::{NodeId, RequestId, ResourceId};

use crate::clock::Instant;
use crate::disks::Flight;
use crate::faults::Recovery;
use crate::net::Datagram;

/// Something that is going to happen.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A node service's deadline comes.
    Timer {
        /// Where.
        node: NodeId,
        /// Life of the service.
        service: u64,
    },
    /// A guard's deadline comes.
    GuardTimer {
        /// Where.
        node: NodeId,
        /// Life of the guard.
        boot: u64,
    },
    /// A datagram arrives.
    Datagram {
        /// Where.
        to: NodeId,
        /// What.
        datagram: Box<Datagram>,
    },
    /// The head of a stream is due.
    Stream {
        /// Sender.
        from: NodeId,
        /// Addressee.
        to: NodeId,
        /// Which connection.
        connection: u64,
    },
    /// A read is sampled or a write lands in part, before its end.
    Interleave {
        /// The flight.
        flight: u64,
    },
    /// A read or write ends.
    Ended {
        /// The flight.
        flight: u64,
    },
    /// What a write and read has written is durable: it reads.
    ReadsOn {
        /// Where.
        node: NodeId,
        /// Life of the service.
        service: u64,
        /// The read.
        flight: Box<Flight>,
    },
    /// An event inside a node reaches its service.
    Local {
        /// Where.
        node: NodeId,
        /// Life of the service.
        service: u64,
        /// What.
        event: Box<Event>,
    },
    /// An order reaches the guard.
    GuardOrder {
        /// Where.
        node: NodeId,
        /// Life of the guard.
        boot: u64,
        /// What.
        order: Box<GuardOrder>,
    },
    /// Nothing that was admitted under an ended lease may act any more (I-QUORUM).
    GraceOver {
        /// Where.
        node: NodeId,
        /// Life of the guard.
        boot: u64,
    },
    /// A monitor's question reaches the guard, whether or not the monitor still lives.
    Asked {
        /// Where.
        node: NodeId,
        /// Life of the guard.
        boot: u64,
        /// What.
        question: Box<Question>,
    },
    /// A killed thing is gone.
    Killed {
        /// Where.
        node: NodeId,
        /// Life of the guard.
        boot: u64,
        /// Which.
        instance: InstanceId,
    },
    /// A monitor process starts.
    MonitorStarts {
        /// Where.
        node: NodeId,
        /// Life of the guard.
        boot: u64,
    },
    /// A monitor process is gone.
    MonitorExits {
        /// Where.
        node: NodeId,
        /// Life of the guard.
        boot: u64,
        /// Which.
        monitor: MonitorId,
    },
    /// A monitor comes to do something.
    Monitor {
        /// Where.
        node: NodeId,
        /// Life of the guard.
        boot: u64,
        /// Which.
        monitor: MonitorId,
        /// What.
        step: MonitorStep,
    },
    /// A node service starts.
    ServiceStarts {
        /// Where.
        node: NodeId,
        /// Life of the guard.
        boot: u64,
    },
    /// Something of the outside world: a client, a fault, the script.
    World(Outside),
}

/// What a monitor does next.
#[derive(Clone, Debug)]
pub enum MonitorStep {
    /// It says that it is ready.
    Ready,
    /// It reads an order.
    Order {
        /// Life of the service that ordered.
        service: u64,
        /// The order.
        order: Box<ResourceOrder>,
    },
    /// An operation on a resource ends.
    Done {
        /// Which resource.
        resource: ResourceId,
        /// Which operation.
        operation: u64,
    },
}

/// A monitor asks the guard whether something may run.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which monitor asks.
    pub monitor: MonitorId,
    /// For which operation on the resource.
    pub operation: u64,
    /// For whom.
    pub claim: Claim,
    /// What.
    pub kind: ThingKind,
}

/// What happens outside of the nodes.
#[derive(Clone, Debug)]
pub enum Outside {
    /// A client sends its next request or tries the last one again.
    Client(usize),
    /// An answer reaches a client.
    Answered(RequestId, Box<Answer>),
    /// A fault strikes.
    Fault,
    /// A fault ends.
    Recover(Recovery),
    /// All faults end.
    Heal,
    /// All but one node are lost.
    Disaster,
    /// Whoever forces quorum looks how far that is.
    Force,
    /// A node leaves in order, or an absence is announced.
    Visit,
    /// Something about the cluster itself is changed.
    Chore,
    /// A node that leaves has had its time.
    LeaveEnds(NodeId),
    /// The next line of a script.
    Script,
    /// The run is judged.
    Judge,
}

/// Which process of which node something happens to; a stopped one finds it later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// A node service.
    Service(NodeId),
    /// A guard.
    Guard(NodeId),
    /// A monitor.
    Monitor(NodeId),
    /// Hardware and the outside: never stops.
    World,
}

impl Happening {
    /// To whom it happens.
    #[must_use]
    pub const fn target(&self) -> Target {
        match self {
            Self::Timer { node, .. } | Self::ReadsOn { node, .. } | Self::Local { node, .. } => {
                Target::Service(*node)
            }
            Self::Datagram { to, .. } | Self::Stream { to, .. } => Target::Service(*to),
            Self::GuardTimer { node, .. }
            | Self::GuardOrder { node, .. }
            | Self::GraceOver { node, .. }
            | Self::Asked { node, .. }
            | Self::Killed { node, .. }
            | Self::MonitorStarts { node, .. }
            | Self::MonitorExits { node, .. }
            | Self::ServiceStarts { node, .. } => Target::Guard(*node),
            Self::Monitor { node, .. } => Target::Monitor(*node),
            Self::Interleave { .. } | Self::Ended { .. } | Self::World(_) => Target::World,
        }
    }
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    number: u64,
    happening: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// All that is going to happen.
#[derive(Default, Debug)]
pub struct Agenda {
    heap: BinaryHeap<Entry>,
    number: u64,
}

impl Agenda {
    /// Puts something down.
    pub fn put(&mut self, at: Instant, happening: Happening) {
        self.number += 1;
        self.heap.push(Entry { at, number: self.number, happening });
    }

    /// Takes the next thing off.
    pub fn take(&mut self) -> Option<(Instant, Happening)> {
        self.heap.pop().map(|entry| (entry.at, entry.happening))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_moments_keep_their_order() {
        let mut agenda = Agenda::default();
        for (at, client) in [(5, 0), (1, 1), (5, 2), (1, 3)] {
            agenda.put(at, Happening::World(Outside::Client(client)));
        }
        let mut order = Vec::new();
        while let Some((at, Happening::World(Outside::Client(client)))) = agenda.take() {
            order.push((at, client));
        }
        assert_eq!(order, [(1, 1), (1, 3), (5, 0), (5, 2)]);
    }
}
