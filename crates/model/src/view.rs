//! The view: an immutable snapshot of what one node knows, the read model of API, CLI and console.
//!
//! Field names and values are the stable `--json` contract.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::alert::Track;
use crate::amounts::Amounts;
use crate::config::{NetworkRole, NodeAddress, QuorumMode};
use crate::core_group::{CLUSTER_IP, is_core};
use crate::group::{Desired, GroupPolicy, GroupState};
use crate::ids::{AlertId, Epoch, GroupId, LogIndex, NetworkId, NodeId, ResourceId, Term, VoterId};
use crate::keys::Phase;
use crate::network::{InterfaceState, Subnet};
use crate::profile::Profile;
use crate::program::{Asked, ClusterLevel, Program, raise};
use crate::reason::Reason;
use crate::remote::RemoteAdmin;
use crate::resource::{Health, ResourcePolicy, ResourceState};
use crate::resource_type::parse_address;
use crate::room::Room;
use crate::rules::Priority;
use crate::server::VirtualServer;
use crate::time::UtcMillis;
use crate::upkeep::Upkeep;
use crate::usage::Usage;

/// What one node knows of the cluster.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct View {
    /// Name of the cluster.
    pub cluster: String,
    /// The node whose view this is.
    pub node: NodeId,
    /// Version of stead on this node.
    pub version: String,
    /// The level of the cluster: what the programs of all its nodes use.
    #[serde(default)]
    pub level: ClusterLevel,
    /// The timing profile.
    pub profile: Profile,
    /// Wall clock of the node when the view was made.
    pub at: UtcMillis,
    /// Quorum as this node sees it.
    pub quorum: QuorumView,
    /// All nodes.
    pub nodes: Vec<NodeView>,
    /// All networks.
    #[serde(default)]
    pub networks: Vec<NetworkView>,
    /// All groups; states are as last known when there is no quorum.
    pub groups: Vec<GroupView>,
    /// Index of the last applied entry.
    pub applied: LogIndex,
    /// What is wrong on this node itself, one sentence each: a guard or a monitor that does not
    /// answer, a disk that is full.
    #[serde(default)]
    pub troubles: Vec<String>,
    /// What is paused, pinned and in maintenance.
    #[serde(default)]
    pub upkeep: Vec<Upkeep>,
    /// Who is told of which records, and how that goes on this node.
    #[serde(default)]
    pub alerts: Vec<AlertView>,
    /// Who may ask nodes from other machines.
    #[serde(default)]
    pub admins: Vec<RemoteAdmin>,
    /// The last rotation of the keys, unless it was abandoned.
    #[serde(default)]
    pub rotation: Option<RotationView>,
}

/// A rotation of the keys, as one node sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RotationView {
    /// Counts rotations, abandoned ones too.
    pub number: u64,
    /// How far it is.
    pub phase: Phase,
    /// The node that makes the new keys.
    pub maker: NodeId,
    /// The nodes that are waited for; none in the last phase: the rotation is over.
    pub awaited: Vec<AwaitedView>,
}

impl RotationView {
    /// Whether every node believes the new keys only.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Ended && self.awaited.is_empty()
    }
}

/// A node that is waited for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AwaitedView {
    /// The node.
    pub node: NodeId,
    /// Why.
    pub why: String,
}

impl View {
    /// The cluster's own group, with the cluster IP, if there is one.
    #[must_use]
    pub fn core_group(&self) -> Option<&GroupView> {
        self.groups.iter().find(|group| is_core(&group.group))
    }

    /// The next level, if the cluster can be raised to that.
    ///
    /// # Errors
    /// Names the nodes that keep it from that.
    pub fn may_raise(&self) -> Result<ClusterLevel, Reason> {
        let next = self.level.next();
        let asked = self.nodes.iter().map(|node| Asked {
            node: node.node,
            heard: node.state == NodeState::Up,
            program: node.program,
        });
        raise(self.level, next, asked).map(|()| next)
    }
}

/// The cluster IP, which one of these groups has, if there is one.
#[must_use]
pub fn cluster_ip(groups: &[GroupView]) -> Option<IpAddr> {
    let own = groups.iter().find(|group| is_core(&group.group))?;
    let ip = own.resources.iter().find(|resource| resource.resource.as_str() == CLUSTER_IP)?;
    parse_address(ip.properties.get("address")?).map(|(address, _)| address)
}

/// An alert, as one node carries it out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AlertView {
    /// Its name.
    pub alert: AlertId,
    /// Its properties by name.
    pub properties: BTreeMap<String, String>,
    /// How it went on this node.
    pub track: Track,
}

/// Quorum as one node sees it.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QuorumView {
    /// The mode the cluster was formed with.
    pub mode: Option<QuorumMode>,
    /// Whether this node has quorum: it holds a lease.
    pub has_quorum: bool,
    /// Since when not, wall clock.
    pub lost_since: Option<UtcMillis>,
    /// What is missing for a majority, in one sentence; nothing while a majority answers.
    #[serde(default)]
    pub lacks: Option<String>,
    /// The voter that leads, as far as this node knows.
    pub leader: Option<VoterId>,
    /// Current term.
    pub term: Term,
    /// All voters.
    pub voters: Vec<VoterId>,
    /// The node that hosts the quorum disk, if known.
    pub disk_host: Option<NodeId>,
    /// State of the quorum disk as this node sees it, for people.
    pub disk_state: Option<String>,
    /// Largest database the quorum disk can hold, bytes.
    pub database_limit_bytes: u64,
    /// Quorum was forced, and voters that were dropped then are not back.
    #[serde(default)]
    pub forced: Option<ForcedView>,
    /// Quorum is being forced on this node.
    #[serde(default)]
    pub forcing: Option<ForcingView>,
}

/// A forced quorum.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ForcedView {
    /// How often it was forced in the life of the cluster.
    pub generation: u32,
    /// The node on which it was forced.
    pub node: NodeId,
    /// Who asked for it.
    pub who: String,
    /// When.
    pub at: UtcMillis,
    /// Voters that have not their votes back.
    pub missing: Vec<VoterId>,
}

/// A quorum that is being forced.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ForcingView {
    /// When the node goes on, wall clock; nothing: the quorum disk has to be claimed first.
    pub until: Option<UtcMillis>,
    /// The voters it goes on without.
    pub lost: Vec<VoterId>,
}

/// A node as another (or itself) sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeView {
    /// The node.
    pub node: NodeId,
    /// Its host name.
    pub name: String,
    /// Its address on each network.
    #[serde(default)]
    pub addresses: Vec<NodeAddress>,
    /// Its state.
    pub state: NodeState,
    /// Whether it votes.
    pub votes: bool,
    /// When it was heard last by the viewing node, wall clock; nothing: not since its service
    /// started, or it is the viewing node itself.
    #[serde(default)]
    pub heard_at: Option<UtcMillis>,
    /// Whether its leases are granted for the longer length.
    pub lease_longer: bool,
    /// Whether it announced an absence: its leases are long, and so is a take-over from it.
    #[serde(default)]
    pub absent: bool,
    /// Whether it leaves, or left, in order.
    #[serde(default)]
    pub left: bool,
    /// Its links from the viewing node.
    pub links: Vec<LinkView>,
    /// What it has for groups, and services of its own that are not highly available.
    #[serde(default)]
    pub room: Room,
    /// What the groups need that it owns and that shall run.
    #[serde(default)]
    pub needed: Amounts,
    /// What it runs, as it told last; nothing: it was not heard yet.
    #[serde(default)]
    pub program: Option<Program>,
}

/// State of a node.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It answers.
    Up,
    /// It is silent on all links and may be cut off. Its lease may run still: its groups are given
    /// away when that is over, and not before (R6). Also one that itself hears nobody and has no
    /// lease, and all whom it does not hear: either may be cut off.
    Isolated,
    /// It is silent on all links for longer than a lease may run, or never was heard, and the
    /// cluster goes on without it.
    Down,
}

/// One link to a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LinkView {
    /// The network.
    pub network: NetworkId,
    /// The network's name.
    pub name: String,
    /// The network's role.
    pub role: NetworkRole,
    /// Whether heartbeats arrive.
    pub up: bool,
    /// Datagrams received, heartbeats among them, since one of the two node services started.
    pub received: u64,
    /// Gaps in the sequence.
    pub lost: u64,
    /// Of the last ones that were sent so many in a thousand are missing; all while it is silent.
    #[serde(default)]
    pub loss_permille: u16,
    /// How long a heartbeat takes there and back, of late; `None`: none came back yet.
    #[serde(default)]
    pub round_trip_us: Option<u64>,
    /// By how much that differs from one to the next.
    #[serde(default)]
    pub jitter_us: Option<u64>,
    /// Datagrams sent since the node service started.
    #[serde(default)]
    pub sent: u64,
    /// Datagrams that this node's kernel did not take.
    #[serde(default)]
    pub unsent: u64,
}

/// A network, with the interface of every node on it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NetworkView {
    /// Its number.
    pub id: NetworkId,
    /// Its name.
    pub name: String,
    /// What may use it.
    pub role: NetworkRole,
    /// Streams between nodes go over the usable network with the highest one.
    #[serde(default)]
    #[schema(value_type = u16)]
    pub priority: Priority,
    /// Its subnets, as the nodes say: one, unless they are set up differently.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub subnets: Vec<Subnet>,
    /// The interface of every node that has an address on it.
    #[serde(default)]
    pub interfaces: Vec<InterfaceView>,
}

/// A node's interface on a network.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InterfaceView {
    /// The node.
    pub node: NodeId,
    /// The node's address.
    #[schema(value_type = String)]
    pub address: IpAddr,
    /// Name of the interface, once the node has told it.
    pub name: Option<String>,
    /// Its state; `None`: the node is silent, or has told nothing yet.
    pub state: Option<InterfaceState>,
}

/// A group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GroupView {
    /// Its name.
    pub group: GroupId,
    /// Its state.
    pub state: GroupState,
    /// What the administrator wants.
    pub desired: Desired,
    /// The owner.
    pub owner: Option<NodeId>,
    /// Epoch of the ownership.
    pub epoch: Epoch,
    /// Why it is where it is.
    pub why: String,
    /// Why it failed, if it did.
    pub failed: Option<String>,
    /// Safety level: A, B or C.
    pub safety: SafetyLevel,
    /// Why it is that level, one sentence.
    #[serde(default)]
    pub safety_why: String,
    /// Failovers counted within the period.
    pub failovers: u32,
    /// How many of them it takes until it is left failed.
    #[serde(default)]
    pub failover_limit: u32,
    /// When the oldest of them is forgotten, cluster time.
    #[serde(default)]
    pub failovers_until: Option<UtcMillis>,
    /// When it is tried again, if it was left failed.
    #[serde(default)]
    pub retry_at: Option<UtcMillis>,
    /// The virtual servers that it is: its network names with the addresses that they stand on.
    #[serde(default)]
    pub servers: Vec<VirtualServer>,
    /// What it waits for that shall run and does not: another group, or a node that may take it.
    #[serde(default)]
    pub waits: Option<String>,
    /// The required rule that it runs against, if one.
    #[serde(default)]
    pub against: Option<String>,
    /// Its policy.
    pub policy: GroupPolicy,
    /// Its resources, in the order they come online.
    pub resources: Vec<ResourceView>,
}

/// How a stale owner is kept from doing harm.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, utoipa::ToSchema,
)]
pub enum SafetyLevel {
    /// A device refuses its writes, or its power-off is confirmed.
    A,
    /// Lease and hardware watchdog.
    B,
    /// Lease and guard: trusts the old node's kernel to run and its clock not to stop.
    C,
}

/// A resource.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ResourceView {
    /// Its name.
    pub resource: ResourceId,
    /// Its type.
    pub kind: String,
    /// Its state.
    pub state: ResourceState,
    /// What the administrator wants.
    pub desired: Desired,
    /// What its checks say.
    pub health: Health,
    /// Why it is in this state, if that needs a reason.
    pub detail: Option<String>,
    /// Restarts in place within the period, in its group's present ownership.
    #[serde(default)]
    pub restarts: u32,
    /// What must be online before it.
    pub depends_on: Vec<ResourceId>,
    /// Its properties.
    pub properties: BTreeMap<String, String>,
    /// Its policy.
    pub policy: ResourcePolicy,
    /// Nodes that may own it; empty means all.
    pub possible_owners: Vec<NodeId>,
    /// What its programs use, once that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Usage>,
}
