//! What a node must know before it can talk to anybody: its own identity and the first voters.
//!
//! Written by `cluster create`, `cluster join` or the lab as `cluster.json`; everything that can
//! change at run time lives in the replicated database instead.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ids::{NetworkId, NodeId, VoterId};
use crate::profile::Profile;

/// The node-local configuration file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeConfig {
    /// Name of the cluster.
    pub cluster: String,
    /// Random number of the cluster; messages of another cluster are dropped.
    pub cluster_id: u64,
    /// This node.
    pub node: NodeId,
    /// UDP and TCP port of the cluster transport, the same on all nodes.
    pub port: u16,
    /// All nodes known when the file was written. Those that joined later are in the database.
    pub nodes: Vec<NodeEntry>,
    /// The nodes that the cluster was formed with, in the file of a node that joined it later:
    /// its log begins as theirs did. `None`: all of `nodes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub founders: Option<BTreeSet<NodeId>>,
    /// All cluster networks.
    pub networks: Vec<NetworkEntry>,
    /// How quorum is formed.
    pub quorum: QuorumConfig,
    /// The timing profile the cluster starts with.
    pub profile: Profile,
    /// The watchdog of this node, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<WatchdogConfig>,
}

/// The watchdog that resets the node when its guard stands still or cannot stop everything.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WatchdogConfig {
    /// Its device, as in `/dev/watchdog`.
    pub device: PathBuf,
    /// Seconds from the guard's last sign of life to the reset; 5 by default, as sbd has it.
    #[serde(default = "default_watchdog_timeout_s")]
    pub timeout_s: u32,
}

const fn default_watchdog_timeout_s() -> u32 {
    5
}

/// One node of the configuration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeEntry {
    /// Its number.
    pub id: NodeId,
    /// Its host name.
    pub name: String,
    /// Its address on each network.
    pub addresses: Vec<NodeAddress>,
}

/// A node's address on one network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeAddress {
    /// The network.
    pub network: NetworkId,
    /// The address.
    #[schema(value_type = String)]
    pub address: IpAddr,
}

/// One cluster network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NetworkEntry {
    /// Its number.
    pub id: NetworkId,
    /// Its name, as in `private`.
    pub name: String,
    /// What may use it.
    pub role: NetworkRole,
}

/// What may use a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NetworkRole {
    /// Cluster traffic only.
    Private,
    /// Clients only.
    Public,
    /// Both.
    Mixed,
}

impl NetworkRole {
    /// Whether heartbeats and streams of the cluster may use the network.
    #[must_use]
    pub const fn carries_cluster(self) -> bool {
        matches!(self, Self::Private | Self::Mixed)
    }

    /// Whether virtual addresses may live on the network.
    #[must_use]
    pub const fn carries_clients(self) -> bool {
        matches!(self, Self::Public | Self::Mixed)
    }
}

/// The quorum modes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QuorumMode {
    /// Voting nodes and the quorum disk.
    NodeAndDiskMajority,
    /// Voting nodes.
    NodeMajority,
    /// The quorum disk alone; nodes are learners.
    DiskOnly,
}

/// The quorum a cluster is formed with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QuorumConfig {
    /// The mode.
    pub mode: QuorumMode,
    /// The quorum disk; required unless the mode is node majority.
    pub disk: Option<QuorumDisk>,
}

/// Where the quorum disk is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QuorumDisk {
    /// Voter number of this disk; a replaced disk is a new voter.
    pub voter: VoterId,
    /// File or block device on this node.
    pub path: PathBuf,
    /// Random identity written at formatting.
    pub disk_id: [u8; 16],
}

impl NodeConfig {
    /// The voters the cluster is formed with (nodes that are not among them are learners).
    #[must_use]
    pub fn first_voters(&self) -> Vec<VoterId> {
        let disk = self.quorum.disk.as_ref().map(|d| d.voter);
        let nodes = self.founders().map(VoterId::from);
        match self.quorum.mode {
            QuorumMode::NodeAndDiskMajority => nodes.chain(disk).collect(),
            QuorumMode::NodeMajority => nodes.collect(),
            QuorumMode::DiskOnly => disk.into_iter().collect(),
        }
    }

    /// The nodes that the cluster was formed with.
    pub fn founders(&self) -> impl Iterator<Item = NodeId> + '_ {
        let founded = |node: &NodeId| self.founders.as_ref().is_none_or(|all| all.contains(node));
        self.nodes.iter().map(|n| n.id).filter(founded)
    }

    /// The entry of a node.
    #[must_use]
    pub fn node_entry(&self, node: NodeId) -> Option<&NodeEntry> {
        self.nodes.iter().find(|n| n.id == node)
    }
}
