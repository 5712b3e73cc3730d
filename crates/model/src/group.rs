//! Groups: the unit of failover.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::group_policy::{Failback, FailbackWindow, FailoverPreset, GroupPolicy};
use crate::ids::{Epoch, GroupId, NodeId, ResourceId};
use crate::resource::ResourceConfig;
use crate::time::UtcMillis;
use crate::usage::Usage;

/// What the administrator wants of a group or resource.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    /// It shall run.
    #[default]
    Online,
    /// It shall not run.
    Offline,
}

impl Desired {
    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
        }
    }
}

/// A group as the replicated database holds it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub id: GroupId,
    /// Its policy.
    pub policy: GroupPolicy,
    /// What the administrator wants.
    pub desired: Desired,
    /// Who may run it now; `None` while nobody may.
    pub ownership: Option<Ownership>,
    /// The highest epoch ever granted.
    pub epoch_last: Epoch,
    /// Set when the failover threshold was reached: the group stays down until somebody acts.
    pub failed: Option<String>,
    /// Cluster times of the failovers that count for the threshold.
    pub failovers: Vec<UtcMillis>,
    /// Its resources.
    pub resources: BTreeMap<ResourceId, ResourceConfig>,
    /// What its programs were last seen to use, if its demand is measured.
    pub used: Option<Usage>,
}

impl Group {
    /// What it needs of each unit, whatever the strength: what is declared, and of what is not,
    /// what was measured if that was asked for.
    pub fn demands(&self) -> impl Iterator<Item = (&str, u64)> {
        self.policy.rules.demands().chain(self.measured())
    }

    /// What it needs by what was measured.
    pub fn measured(&self) -> impl Iterator<Item = (&str, u64)> {
        let rules = &self.policy.rules;
        let used = self.used.filter(|_| rules.measured);
        let units = used.into_iter().flat_map(|used| used.units());
        units.filter(|(unit, _)| !rules.declares(unit))
    }
}

/// The grant of a group to a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ownership {
    /// The owner.
    pub node: NodeId,
    /// The epoch of this grant.
    pub epoch: Epoch,
    /// Why it was granted.
    pub why: String,
    /// Set when the owner shall stop and report: the node it goes to, if one is chosen.
    pub release: Option<Release>,
}

/// An order to the owner to stop the group for good in this epoch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Release {
    /// Where the group goes next; `None`: the planner chooses when it is stopped.
    pub to: Option<NodeId>,
    /// Why.
    pub why: String,
}

/// State of a whole group, merged from its resources.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GroupState {
    /// All resources that shall run are online.
    Online,
    /// No resource runs.
    Offline,
    /// Some resources are online.
    PartialOnline,
    /// At least one resource is on its way.
    Pending,
    /// A resource failed beyond its policy, or the failover threshold was reached.
    Failed,
    /// The owner does not answer; nothing newer is known.
    Unknown,
}

impl GroupState {
    /// The word people read.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::PartialOnline => "partial online",
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}
