//! Resources: the smallest managed things.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::group::Desired;
use crate::ids::{Epoch, NodeId, ResourceId};
use crate::resource_type::written_ms;

/// The five states of a resource.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceState {
    /// It does not run.
    #[default]
    Offline,
    /// It is being started.
    OnlinePending,
    /// It runs and serves.
    Online,
    /// It is being stopped.
    OfflinePending,
    /// It could not be started, or stopped by itself, beyond its restart policy.
    Failed,
}

impl ResourceState {
    /// The word people read.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::OnlinePending => "online pending",
            Self::Online => "online",
            Self::OfflinePending => "offline pending",
            Self::Failed => "failed",
        }
    }
}

/// Health is three-valued: a check that hung or could not run is not a failure.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// No check has answered yet, or the last one could not tell.
    #[default]
    Unknown,
    /// The last check said it works.
    Good,
    /// The last check said it does not.
    Bad,
}

/// What becomes of a resource that failed (B2).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RestartAction {
    /// It is restarted in place, up to its threshold.
    #[default]
    Restart,
    /// It is not restarted in place.
    None,
}

impl RestartAction {
    /// The word people read and write.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::None => "none",
        }
    }
}

/// Policy of a resource, with the defaults of the field (B2).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ResourcePolicy {
    /// Restarts in place within the period before the group is failed over. Default 3 (B2).
    pub restart_threshold: u32,
    /// Sliding window of the restart threshold in seconds. Default 900 (B2).
    pub restart_period_s: u64,
    /// How long going online or offline may take, in milliseconds. Default 180 000 (B2).
    pub pending_timeout_ms: u64,
    /// Interval of the light check in milliseconds. Default 5 000 (B2).
    pub looks_alive_ms: u64,
    /// Interval of the thorough check in milliseconds. Default 60 000 (B2).
    pub is_alive_ms: u64,
    /// What becomes of it when it fails. Default: it is restarted (B2).
    #[serde(default)]
    pub restart_action: RestartAction,
    /// Whether its failure beyond the restarts moves its group. If not, it stays failed and what
    /// depends on it offline, and the rest of the group runs on (A-091, A16). Default: it does.
    #[serde(default = "affects")]
    pub affects_group: bool,
    /// Beyond its restarts, and with no other node to go to, it is tried again after this time, in
    /// seconds; 0: never. Default 3600 (B2).
    #[serde(default)]
    pub retry_after_s: u64,
    /// Whether it is hosted by a resource monitor of its own, from its next start on. Default: it
    /// shares the node's (`SeparateMonitor`, B2).
    #[serde(default)]
    pub separate_monitor: bool,
}

const fn affects() -> bool {
    true
}

impl ResourcePolicy {
    /// Restarts in place within the period, before it counts as failed.
    #[must_use]
    pub const fn restarts(&self) -> u32 {
        match self.restart_action {
            RestartAction::Restart => self.restart_threshold,
            RestartAction::None => 0,
        }
    }
}

impl Default for ResourcePolicy {
    fn default() -> Self {
        Self {
            restart_threshold: 3,
            restart_period_s: 900,
            pending_timeout_ms: 180_000,
            looks_alive_ms: 5_000,
            is_alive_ms: 60_000,
            restart_action: RestartAction::Restart,
            affects_group: true,
            retry_after_s: 3_600,
            separate_monitor: false,
        }
    }
}

impl ResourcePolicy {
    /// The common properties with their values as they are written.
    #[must_use]
    pub fn properties(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("restart-threshold", self.restart_threshold.to_string()),
            ("restart-period", written_ms(self.restart_period_s.saturating_mul(1_000))),
            ("pending-timeout", written_ms(self.pending_timeout_ms)),
            ("looks-alive", written_ms(self.looks_alive_ms)),
            ("is-alive", written_ms(self.is_alive_ms)),
            ("restart-action", self.restart_action.word().to_owned()),
            ("affects-group", self.affects_group.to_string()),
            ("separate-monitor", self.separate_monitor.to_string()),
            ("retry-after", written_ms(self.retry_after_s.saturating_mul(1_000))),
        ])
    }

    /// The common properties that make this policy of the default one.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<&'static str, String> {
        let default = Self::default().properties();
        let all = self.properties().into_iter();
        all.filter(|(name, value)| default.get(name) != Some(value)).collect()
    }
}

/// A resource as the replicated database holds it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ResourceConfig {
    /// Its name, unique in the cluster.
    pub id: ResourceId,
    /// Name of its type, as in `ip-address`.
    pub kind: String,
    /// Properties of the type, validated against its table.
    pub properties: BTreeMap<String, String>,
    /// Resources of the same group that must be online before it.
    pub depends_on: BTreeSet<ResourceId>,
    /// Nodes that may own it; `None` means all.
    pub possible_owners: Option<BTreeSet<NodeId>>,
    /// What the administrator wants.
    pub desired: Desired,
    /// Its policy.
    pub policy: ResourcePolicy,
    /// Epoch of its group in which an administrator put it in service last: made it, gave it
    /// other properties or switched it on. A start in this epoch is no failover.
    pub new_in: Epoch,
}
