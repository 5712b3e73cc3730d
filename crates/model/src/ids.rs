//! Names and numbers that must never be mixed up, each a newtype.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize,
            Deserialize, utoipa::ToSchema,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl $name {
            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }
    };
}

number!(
    /// A node of the cluster, 1 to 64. Printed as `n1`.
    NodeId, u16, "n"
);
number!(
    /// A voter of the consensus: a node (same number) or a quorum disk, from
    /// [`VoterId::DISK_FIRST`] on.
    VoterId, u64, "v"
);
number!(
    /// The fencing token of a group: grows with every grant of ownership (I-STOP-START).
    Epoch, u64, "e"
);
number!(
    /// The epoch of an incarnation of the quorum disk voter D (R1).
    DiskEpoch, u64, "d"
);
number!(
    /// Index of an entry in the replicated log.
    LogIndex, u64, "i"
);
number!(
    /// Raft term.
    Term, u64, "t"
);
number!(
    /// Number of a lease question and of the lease it gained: unique and growing on one node
    /// for the life of its guard, service restarts included (R7).
    LeaseNumber, u64, "l"
);
number!(
    /// Random number of one life of a process: of a guard or of a node service.
    Incarnation, u64, "x"
);
number!(
    /// A cluster network.
    NetworkId, u8, "net"
);
number!(
    /// Number of one order to the resource monitor, unique in the life of a node service.
    OrderId, u64, "o"
);
number!(
    /// Ties a record to the record that caused it (I-WHY).
    CauseId, u64, "c"
);

impl VoterId {
    /// Voter numbers of quorum disks start here; below are nodes.
    pub const DISK_FIRST: u64 = 1000;

    /// The node that votes under this number, `None` for a quorum disk.
    #[must_use]
    pub const fn node(self) -> Option<NodeId> {
        if self.0 < Self::DISK_FIRST { Some(NodeId(self.0 as u16)) } else { None }
    }

    /// Whether this is a quorum disk.
    #[must_use]
    pub const fn is_disk(self) -> bool {
        self.0 >= Self::DISK_FIRST
    }
}

impl From<NodeId> for VoterId {
    fn from(node: NodeId) -> Self {
        Self(u64::from(node.0))
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
            utoipa::ToSchema,
        )]
        #[serde(transparent)]
        #[schema(value_type = String)]
        pub struct $name(pub Arc<str>);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether the text may be a name: 1 to 63 of `a-z A-Z 0-9 . _ -`, not starting with
            /// a dot or dash.
            #[must_use]
            pub fn is_valid(text: &str) -> bool {
                let bytes = text.as_bytes();
                let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
                (1..=63).contains(&bytes.len())
                    && bytes.iter().all(allowed)
                    && !b".-".contains(&bytes[0])
            }
        }
    };
}

name!(
    /// Name of a group, unique in the cluster.
    GroupId
);
name!(
    /// Name of a resource, unique in the cluster.
    ResourceId
);
name!(
    /// Name of an alert, unique in the cluster.
    AlertId
);
name!(
    /// Name of somebody who asks nodes from other machines, unique in the cluster.
    AdminId
);

/// Identifies a request for ever: a repeated one gets the first answer.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
pub struct RequestId {
    /// Random number of the client (or of the node service that took the request).
    pub client: u64,
    /// The client's own count.
    pub number: u64,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}", self.client, self.number)
    }
}
