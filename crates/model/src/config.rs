//! What a node must know before it can talk to anybody: its own identity and the first voters.
//!
//! Written by `cluster create`, `cluster join` or the lab as `cluster.json`; everything that can
//! change at run time lives in the replicated database instead.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ids::{NetworkId, NodeId, VoterId};
use crate::profile::Profile;
use crate::rules::Priority;

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

impl fmt::Display for NodeEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at: Vec<_> = self.addresses.iter().map(|at| at.address.to_string()).collect();
        write!(f, "{} is {} at {}", self.id, self.name, at.join(", "))
    }
}

/// The address on a network, of those of a node.
#[must_use]
pub fn address_on(addresses: &[NodeAddress], network: NetworkId) -> Option<IpAddr> {
    addresses.iter().find(|own| own.network == network).map(|own| own.address)
}

/// What a node is called and where it is from now on; what is left out stays as it is.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeWish {
    /// Its host name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its addresses on these networks.
    #[serde(default)]
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
    /// Streams go over the usable network with the highest one; over the first of several.
    #[serde(default)]
    pub priority: Priority,
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
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Private, Self::Public, Self::Mixed];

    /// The role of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }

    /// The role in one word, the one of the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Public => "public",
            Self::Mixed => "mixed",
        }
    }

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

impl NetworkEntry {
    /// One with the priority that all have at first.
    pub fn new(id: NetworkId, name: impl Into<String>, role: NetworkRole) -> Self {
        Self { id, name: name.into(), role, priority: Priority::default() }
    }
}

impl fmt::Display for NetworkEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, role, priority, .. } = self;
        write!(f, "`{name}` ({}, priority {})", role.word(), priority.text())
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

impl QuorumDisk {
    /// The lock of a node beside a disk that is a file: no two processes of it use it at once.
    #[must_use]
    pub fn lock_beside(&self, node: NodeId) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".lock.{}", node.0));
        name.into()
    }
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
    pub fn founders(&self) -> impl Iterator<Item = NodeId> {
        let all = || self.nodes.iter().map(|node| node.id).collect();
        // Some of them may be no members any more.
        self.founders.clone().unwrap_or_else(all).into_iter()
    }

    /// The entry of a node.
    #[must_use]
    pub fn node_entry(&self, node: NodeId) -> Option<&NodeEntry> {
        self.nodes.iter().find(|n| n.id == node)
    }
}
