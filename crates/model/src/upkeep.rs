//! Upkeep: what is put aside for a while, as things of their own that are seen and end: nodes that
//! are paused, groups that are pinned, groups and resources in maintenance, as administrators asked
//! for it; nodes in quarantine, as the cluster decided.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{GroupId, NodeId, ResourceId};
use crate::time::UtcMillis;

/// Longest time for which something is pinned or in maintenance, in seconds: 31 days.
pub const UPKEEP_S_MAX: u64 = 31 * 24 * 3_600;

/// That many losses of a node within [`QUARANTINE_WITHIN_S`] bring it into quarantine.
pub const QUARANTINE_LOSSES: usize = 3;

/// How long a loss counts, in seconds.
pub const QUARANTINE_WITHIN_S: u64 = 3_600;

/// How long a quarantine lasts, in seconds.
pub const QUARANTINE_S: u64 = 2 * 3_600;

/// A node that is lost within this time after it was given a group may be lost because of the
/// group, in seconds: that counts like a failover of the group. Long enough for what starts to do
/// its harm, shorter than a node takes to come back and be lost for another reason.
pub const LOST_SOON_S: u64 = 120;

/// Something that is put aside, or taken up again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Upkeep {
    /// A node is given no groups any more.
    Pause {
        /// The node.
        node: NodeId,
        /// What becomes of the groups it has.
        drain: Drain,
    },
    /// A node that was paused or in quarantine may be given groups again.
    Resume {
        /// The node.
        node: NodeId,
    },
    /// A group belongs on a node before all others.
    Pin {
        /// The group.
        group: GroupId,
        /// The node.
        node: NodeId,
        /// When it ends by itself, cluster time.
        until: UtcMillis,
    },
    /// A pin ends.
    Unpin {
        /// The group.
        group: GroupId,
    },
    /// A group, or one of its resources with all that stands on it, is watched and not acted upon.
    Maintain {
        /// The group.
        group: GroupId,
        /// The resource; absent: all of the group.
        resource: Option<ResourceId>,
        /// When it ends by itself, cluster time.
        until: UtcMillis,
    },
    /// Maintenance ends.
    EndMaintenance {
        /// The group.
        group: GroupId,
        /// The resource; absent: that of all of the group.
        resource: Option<ResourceId>,
    },
    /// A node that was lost again and again is given no groups that another one may take. The
    /// cluster alone decides this.
    Quarantine {
        /// The node.
        node: NodeId,
        /// When it ends by itself, cluster time.
        until: UtcMillis,
    },
    /// A quarantine ends.
    EndQuarantine {
        /// The node.
        node: NodeId,
    },
}

/// What becomes of the groups of a node that is paused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Drain {
    /// They stay.
    No,
    /// They go to other nodes; what can run nowhere else stays.
    Yes,
    /// They go to other nodes; what can run nowhere else goes offline until a node may take it.
    ForceOffline,
}

impl Upkeep {
    /// The group it is about.
    #[must_use]
    pub const fn group(&self) -> Option<&GroupId> {
        match self {
            Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Quarantine { .. }
            | Self::EndQuarantine { .. } => None,
            Self::Pin { group, .. }
            | Self::Unpin { group }
            | Self::Maintain { group, .. }
            | Self::EndMaintenance { group, .. } => Some(group),
        }
    }

    /// When it ends by itself.
    #[must_use]
    pub const fn until(&self) -> Option<UtcMillis> {
        match self {
            Self::Pin { until, .. }
            | Self::Maintain { until, .. }
            | Self::Quarantine { until, .. } => Some(*until),
            Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Unpin { .. }
            | Self::EndMaintenance { .. }
            | Self::EndQuarantine { .. } => None,
        }
    }
}

impl fmt::Display for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pause { node, drain: Drain::No } => write!(f, "{node} is paused"),
            Self::Pause { node, drain: Drain::Yes } => write!(f, "{node} is paused and drained"),
            Self::Pause { node, drain: Drain::ForceOffline } => {
                write!(f, "{node} is paused and drained, by taking groups offline if need be")
            }
            Self::Resume { node } => write!(f, "{node} may be given groups again"),
            Self::Pin { group, node, .. } => write!(f, "group {group} is pinned to {node}"),
            Self::Unpin { group } => write!(f, "group {group} is pinned no more"),
            Self::Maintain { group, resource: None, .. } => {
                write!(f, "group {group} is in maintenance")
            }
            Self::Maintain { group, resource: Some(resource), .. } => {
                write!(f, "resource {resource} of group {group} is in maintenance")
            }
            Self::EndMaintenance { group, resource: None } => {
                write!(f, "maintenance of group {group} is over")
            }
            Self::EndMaintenance { group, resource: Some(resource) } => {
                write!(f, "maintenance of resource {resource} of group {group} is over")
            }
            Self::Quarantine { node, .. } => write!(
                f,
                "{node} is in quarantine: it was lost {QUARANTINE_LOSSES} times within an hour"
            ),
            Self::EndQuarantine { node } => write!(f, "quarantine of {node} is over"),
        }
    }
}
