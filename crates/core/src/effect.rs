//! Effect: everything a node can ask for. The only way out.
//!
//! *Waiting is an event, never an order*: the effects of one call may run in any order, in
//! parallel, or be lost with the node. What must come after something else is emitted when that
//! something's completion event arrived.

use std::fmt;

use stead_model::config::{NetworkEntry, NodeEntry};
use stead_model::keys::KeyOrder;
use stead_model::order::{GuardOrder, ResourceOrder};
use stead_model::record::Record;
use stead_model::request::Answer;
use stead_model::wire::peer::PeerMessage;
use stead_model::{NodeId, RequestId};

/// Everything a node can ask for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Send a message to another node.
    Send {
        /// To which node.
        to: NodeId,
        /// How.
        channel: Channel,
        /// What.
        message: PeerMessage,
    },
    /// Read or write the node's log or the quorum disk; ends with `Event::Io`.
    Io(Io),
    /// Order the guard something.
    Guard(GuardOrder),
    /// Order the resource monitor something.
    Resource(ResourceOrder),
    /// Answer an administrator.
    Reply {
        /// The request.
        id: RequestId,
        /// The answer.
        answer: Answer,
    },
    /// Write a record into the event log of the node.
    Record(Record),
    /// The node cannot go on (own invariant broken, log unreadable): end the service with this
    /// last line. The guard stops everything at the end of the lease, a new service may start.
    Halt {
        /// Why.
        why: String,
    },
    /// These nodes became members, or are elsewhere, since the configuration was written: where
    /// they are; this one may be among them. Said at the start of a service too, for all of before.
    Met(Vec<NodeEntry>),
    /// This node is no member any more: what it says is not heard.
    Parted(NodeId),
    /// What may use the networks of the cluster from now on, and in which order streams prefer
    /// them: all of them, in the order of their numbers.
    Networks(Vec<NetworkEntry>),
    /// The node has left the cluster in order, as the guard asked: end the service.
    Left,
    /// Do something with the keys of the node; ends with `Event::Keys`.
    Keys(KeyOrder),
}

/// How a message travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    /// Small and perishable: one datagram on every usable network.
    Datagram,
    /// Large or ordered: a stream over the best network.
    Stream,
}

/// One read or write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Io {
    /// Comes back with the completion.
    pub ticket: Ticket,
    /// Where.
    pub device: Device,
    /// What.
    pub op: IoOp,
}

/// What can be read and written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Device {
    /// The node's own log.
    NodeLog,
    /// The shared quorum disk.
    QuorumDisk,
    /// A file of its own, beside the node's log, for the administrator: what this node gave up for
    /// the history of that generation. Written whole.
    Aside(u32),
}

/// A read, a durable write, or one after the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IoOp {
    /// Read `length` bytes at `offset`; short only at the end of the device.
    Read {
        /// Where.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// Write; `Written` comes when the bytes are durable (FUA or O_DSYNC).
    Write {
        /// Where.
        offset: u64,
        /// The bytes.
        data: Vec<u8>,
    },
    /// Write as above; when the bytes are durable and not before, read as above. `Read` comes
    /// with what was there then; `Failed` says nothing about which of the two it was.
    WriteThenRead {
        /// Where to write.
        offset: u64,
        /// The bytes to write.
        data: Vec<u8>,
        /// Where to read.
        read_offset: u64,
        /// How many bytes to read.
        read_length: u64,
    },
}

/// Number of a read or write, unique in the life of a core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ticket(pub u64);

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "io{}", self.0)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { to, message, .. } => write!(f, "to {to}: {message}"),
            Self::Io(Io { ticket, device, op }) => match op {
                IoOp::Read { offset, length } => {
                    write!(f, "{ticket} read {device:?} {length}@{offset}")
                }
                IoOp::Write { offset, data } => {
                    write!(f, "{ticket} write {device:?} {}@{offset}", data.len())
                }
                IoOp::WriteThenRead { offset, data, read_offset, read_length } => {
                    let length = data.len();
                    write!(f, "{ticket} write {device:?} {length}@{offset}, ")?;
                    write!(f, "then read {read_length}@{read_offset}")
                }
            },
            Self::Guard(order) => write!(f, "guard: {order}"),
            Self::Resource(order) => write!(f, "resource: {order}"),
            Self::Reply { id, answer } => write!(f, "reply {id}: {answer:?}"),
            Self::Record(record) => write!(f, "record: {record}"),
            Self::Halt { why } => write!(f, "halt: {why}"),
            Self::Met(nodes) => {
                f.write_str("met")?;
                nodes.iter().try_for_each(|node| write!(f, " {} ({})", node.id, node.name))
            }
            Self::Parted(node) => write!(f, "parted from {node}"),
            Self::Networks(all) => {
                f.write_str("networks")?;
                all.iter().try_for_each(|network| write!(f, " {network}"))
            }
            Self::Left => f.write_str("left"),
            Self::Keys(order) => write!(f, "keys: {order}"),
        }
    }
}
