//! What the node service and a resource monitor say to each other over `monitor.sock`; over
//! `monitor-SLOT.sock`, if it hosts one resource only.
//!
//! The node service connects and says hello with its incarnation; order numbers are unique within
//! one, so a new incarnation makes the monitor forget the answers it gave to the old one.

use serde::{Deserialize, Serialize};

use crate::ids::{Incarnation, ResourceId};
use crate::note::Note;
use crate::order::{ResourceOrder, ResourceReport};

/// Version of the messages in this file.
pub const VERSION: u16 = 3;

/// Name of the socket in `/run/stead` on which a monitor listens: of one that hosts one resource
/// only, with its slot.
#[must_use]
pub fn socket_name(slot: Option<u8>) -> String {
    slot.map_or_else(|| "monitor.sock".to_owned(), |slot| format!("monitor-{slot}.sock"))
}

/// From the node service to the monitor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NodeToMonitor {
    /// First message of a connection; answered by [`MonitorToNode::Hello`].
    Hello {
        /// [`VERSION`] of the node service.
        version: u16,
        /// Its life.
        service: Incarnation,
    },
    /// An order. One with a number that was answered already is answered again, not carried out
    /// again.
    Order(ResourceOrder),
    /// Which MAC addresses belong to nodes of the cluster, for judging address conflicts. Said
    /// again when a node answers again on a network: what was announced meanwhile may have
    /// reached nobody.
    ClusterMacs(Vec<[u8; 6]>),
    /// Asks whether it still works; answered at once by [`MonitorToNode::Pong`].
    Ping,
    /// Asks for the last output of a resource's program; answered by [`MonitorToNode::Logs`].
    Logs {
        /// Comes back with the answer.
        request: u64,
        /// The resource.
        resource: ResourceId,
        /// At most this many bytes from the end.
        bytes_max: u32,
    },
    /// A note of another node's monitor.
    Note(Note),
    /// Asks for something that the programs of external types say; answered by
    /// [`MonitorToNode::Logs`].
    Ask {
        /// Comes back with the answer.
        request: u64,
        /// What.
        question: Question,
    },
}

/// What may be asked of the programs of external types and agents.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Question {
    /// What types are installed here: a list of `external::Installed` as JSON. Agents are named and
    /// not asked: there may be hundreds.
    Types,
    /// Something of a type's own, of a resource that is online here: its answer as it is.
    Control {
        /// The resource.
        resource: ResourceId,
        /// One of the codes of its type.
        code: String,
        /// What goes with it.
        text: String,
    },
    /// What an OCF agent that is installed here says of itself: an `external::Installed` as JSON.
    Agent {
        /// The type, as in `ocf:heartbeat:nginx`.
        kind: String,
    },
}

/// From the monitor to the node service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MonitorToNode {
    /// Answer to the hello.
    Hello {
        /// [`VERSION`] of the monitor.
        version: u16,
    },
    /// A resource reports.
    Report(ResourceReport),
    /// It works.
    Pong,
    /// The output or the answer that was asked for.
    Logs {
        /// The request.
        request: u64,
        /// The bytes, whole lines where possible, or why there are none.
        output: Result<Vec<u8>, String>,
    },
    /// A note for the monitors of all other nodes.
    Note(Note),
}
