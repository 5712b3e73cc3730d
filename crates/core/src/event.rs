//! Event: everything that can happen to a node. The only way in.

use std::fmt;

use stead_model::keys::KeyReport;
use stead_model::network::Interface;
use stead_model::order::{GuardReport, ResourceReport};
use stead_model::request::Envelope;
use stead_model::wire::peer::PeerMessage;
use stead_model::{Incarnation, NetworkId, NodeId, UtcMillis};

use crate::effect::Ticket;

/// Everything that can happen to a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The time of [`crate::Cluster::next_deadline`] came.
    Deadline,
    /// The wall clock, told at the start and about once a minute.
    WallClock(UtcMillis),
    /// A message arrived.
    Received {
        /// From which node.
        from: NodeId,
        /// How it came.
        arrival: Arrival,
        /// What it says.
        message: PeerMessage,
    },
    /// A read or write ended.
    Io {
        /// Its ticket.
        ticket: Ticket,
        /// How it ended.
        result: IoResult,
    },
    /// The guard said something.
    Guard(GuardReport),
    /// The resource monitor said something.
    Resource(ResourceReport),
    /// An administrator asks for something.
    Request(Envelope),
    /// This node's interfaces on the networks of the cluster, all of them: told at the start and
    /// whenever one of them changed.
    Interfaces(Vec<Interface>),
    /// An order about keys was carried out, or was not.
    Keys(KeyReport),
}

/// How a message came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// As a datagram; the same one may arrive once per network, or more often.
    Datagram {
        /// Over which network.
        network: NetworkId,
        /// Life of the sending node service.
        incarnation: Incarnation,
        /// Sequence number of the frame.
        sequence: u64,
    },
    /// On a stream.
    Stream,
}

/// How a read or write ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IoResult {
    /// The bytes read; of a write and read, the write is durable, too.
    Read(Vec<u8>),
    /// The write is durable.
    Written,
    /// It ended with an error; a write may or may not have happened, but will not happen later.
    /// Executors never report a time-out: an operation that hangs is simply not answered.
    Failed(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline => f.write_str("deadline"),
            Self::WallClock(at) => write!(f, "wall clock {}", at.0),
            Self::Received { from, message, .. } => write!(f, "from {from}: {message}"),
            Self::Io { ticket, result: IoResult::Read(bytes) } => {
                write!(f, "{ticket} read {} bytes", bytes.len())
            }
            Self::Io { ticket, result: IoResult::Written } => write!(f, "{ticket} written"),
            Self::Io { ticket, result: IoResult::Failed(why) } => {
                write!(f, "{ticket} failed: {why}")
            }
            Self::Guard(report) => write!(f, "guard: {report}"),
            Self::Resource(report) => write!(f, "resource: {report}"),
            Self::Request(envelope) => write!(f, "request {}", envelope.id),
            Self::Keys(KeyReport::Has(keys)) => write!(f, "keys {}", keys.own.print),
            Self::Keys(KeyReport::Failed(why)) => write!(f, "keys failed: {why}"),
            Self::Interfaces(all) => {
                f.write_str("interfaces")?;
                all.iter().try_for_each(|i| write!(f, " {}:{}", i.network, i.state.word()))
            }
        }
    }
}
