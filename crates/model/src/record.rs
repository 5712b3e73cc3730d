//! Records: what a node did and saw, each with its cause (I-WHY). Kept on the node, not in the log.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{CauseId, GroupId, LogIndex, NodeId, ResourceId};
use crate::time::UtcMillis;

/// One record of the event log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Record {
    /// Number on this node, growing by one.
    pub number: u64,
    /// Wall clock.
    pub at: UtcMillis,
    /// The node's boot clock in nanoseconds, for measuring.
    pub boot_ns: u64,
    /// The node that wrote it.
    pub node: NodeId,
    /// How much it matters.
    pub level: Level,
    /// Stable code, as in `lease-lost`.
    pub code: String,
    /// The group it is about.
    pub group: Option<GroupId>,
    /// The resource it is about.
    pub resource: Option<ResourceId>,
    /// One sentence for people.
    pub text: String,
    /// The record's own cause number.
    pub id: CauseId,
    /// The record that caused it, on this node.
    pub cause: Option<CauseId>,
    /// The change of the database that it tells of: every node writes such a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<OfEntry>,
}

/// A change of the database, as records of all nodes name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OfEntry {
    /// The entry of the log.
    pub index: LogIndex,
    /// Which of its changes, from 0 on.
    pub change: u32,
    /// Cluster time of the entry.
    pub at: UtcMillis,
    /// Whether this node led when it applied it: then what it names as cause is what it decided by.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decided: bool,
}

/// A node asks another one for its records, page by page, the last ones first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecordsWanted {
    /// Which question this is, among those of the node that asks.
    pub ask: u64,
    /// Records below this number are wanted.
    pub before: u64,
}

/// The answer: as many of the last records below that number as fit into one page.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecordsPage {
    /// The question.
    pub ask: u64,
    /// Number of the oldest record that is still kept for readers.
    pub oldest: u64,
    /// One [`Record`] as JSON per line, in the order of their numbers: a reader leaves out what a
    /// later version adds to them.
    pub lines: Vec<u8>,
}

impl RecordsPage {
    /// A page is not longer, unless it is a single record.
    pub const BYTES_MAX: usize = 256 << 10;
}

/// How much a record matters.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As wanted.
    Info,
    /// Somebody should look.
    Warning,
    /// Something does not run that should.
    Error,
}

impl Level {
    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.node, self.code, self.text)
    }
}
