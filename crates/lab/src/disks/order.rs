//! What the supervisor of a lab and its disk server say to each other, and what people see of it.

use serde::{Deserialize, Serialize};
use stead_model::NodeId;

use super::condition::Condition;
use super::reservation::Keys;

/// From the supervisor; each is answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum DiskOrder {
    /// Answer for a fresh path of a node; the kernel's descriptor for it comes along.
    Serve {
        node: NodeId,
        disk: String,
    },
    /// The life is over, or shall be: whatever comes over its paths fails.
    End(NodeId),
    Set {
        node: NodeId,
        disk: String,
        condition: Condition,
    },
    /// The node hangs, or goes on.
    Stall {
        node: NodeId,
        stalled: bool,
    },
    Status,
}

/// From the server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum DiskAnswer {
    Done,
    Status(Vec<DiskStatus>),
    Refused(String),
}

/// A disk as a node gets it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct DiskDevice {
    pub(crate) disk: String,
    /// Number of the loop device on this host.
    pub(crate) number: u32,
}

/// State of one disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DiskStatus {
    /// Its name; the nodes see it as `/dev/stead/NAME`.
    pub disk: String,
    /// Its size, bytes.
    pub size_bytes: u64,
    /// Registrations and reservation.
    pub reservations: Keys,
    /// The way of every node to it.
    pub paths: Vec<PathStatus>,
}

/// State of one node's path to a disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PathStatus {
    /// The node.
    pub node: NodeId,
    /// What is wrong with it.
    pub condition: Condition,
    /// Number of the loop device of this host that is the node's; `None` while the node is off.
    pub loop_device: Option<u32>,
    /// Requests that are kept: delayed or hung.
    pub kept_requests: usize,
}
