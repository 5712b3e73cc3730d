//! Changes: everything that may enter the replicated log.
//!
//! The log holds outcomes with reasons, never policy: replicas of different versions agree on
//! what was decided without agreeing on how (design: decide on the leader, replicate outcomes).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::config::{NetworkEntry, NodeEntry};
use crate::forced::Forced;
use crate::group::{Desired, GroupPolicy};
use crate::ids::{AlertId, Epoch, GroupId, NodeId, RequestId, ResourceId};
use crate::keys::Rotation;
use crate::profile::LeaseLength;
use crate::program::{ClusterLevel, Mark, Program};
use crate::resource::{ResourceConfig, ResourcePolicy};
use crate::room::Room;
use crate::time::UtcMillis;
use crate::token::{TokenHash, TokenUse};
use crate::upkeep::Upkeep;
use crate::usage::Usage;

/// One entry of the replicated log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Cluster time stamped by the leader; never runs backward.
    pub at: UtcMillis,
    /// The request this entry answers, if one.
    pub request: Option<RequestId>,
    /// What caused it, in words for people (I-WHY).
    pub why: String,
    /// All changes; they apply together.
    pub changes: Vec<Change>,
}

/// One change of the database.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Change {
    /// Create a group.
    CreateGroup {
        /// Its name.
        group: GroupId,
        /// Its policy.
        policy: GroupPolicy,
    },
    /// Replace the policy of a group.
    SetGroupPolicy {
        /// The group.
        group: GroupId,
        /// The new policy.
        policy: GroupPolicy,
    },
    /// Delete a group that has no resources.
    DeleteGroup {
        /// The group.
        group: GroupId,
    },
    /// What the administrator wants of a group; clears a failed mark and the failover window.
    SetGroupDesired {
        /// The group.
        group: GroupId,
        /// Wanted state.
        desired: Desired,
    },
    /// Create a resource in a group.
    CreateResource {
        /// The group.
        group: GroupId,
        /// The resource.
        resource: ResourceConfig,
    },
    /// Delete a resource on which no other depends.
    DeleteResource {
        /// The resource.
        resource: ResourceId,
    },
    /// What the administrator wants of one resource.
    SetResourceDesired {
        /// The resource.
        resource: ResourceId,
        /// Wanted state.
        desired: Desired,
    },
    /// Replace properties and policy of a resource.
    SetResource {
        /// The resource.
        resource: ResourceId,
        /// All properties.
        properties: BTreeMap<String, String>,
        /// Its policy.
        policy: ResourcePolicy,
        /// Its possible owners.
        possible_owners: Option<BTreeSet<NodeId>>,
    },
    /// Replace the dependencies of a resource.
    SetDependencies {
        /// The resource.
        resource: ResourceId,
        /// All of them.
        depends_on: BTreeSet<ResourceId>,
    },
    /// Grant a group to a node in a new epoch.
    Grant {
        /// The group.
        group: GroupId,
        /// The new owner.
        node: NodeId,
        /// The new epoch, above every earlier one of the group.
        epoch: Epoch,
        /// Why.
        why: String,
    },
    /// Order the owner to stop a group for good in this epoch and to report.
    Release {
        /// The group.
        group: GroupId,
        /// The epoch that ends.
        epoch: Epoch,
        /// Where it goes next.
        to: Option<NodeId>,
        /// Why.
        why: String,
    },
    /// Nobody owns the group any more: it is known stopped in this epoch.
    Disown {
        /// The group.
        group: GroupId,
        /// The epoch that ended.
        epoch: Epoch,
        /// Why.
        why: String,
    },
    /// A failover caused by a resource's failure, counted for the threshold.
    CountFailover {
        /// The group.
        group: GroupId,
    },
    /// The failover threshold was reached: the group stays down.
    FailGroup {
        /// The group.
        group: GroupId,
        /// Why.
        why: String,
    },
    /// Leases of the node are granted for this length from now on.
    LeaseLength {
        /// The node.
        node: NodeId,
        /// The length.
        length: LeaseLength,
    },
    /// A value of the cluster registry; `None` deletes it.
    SetKey {
        /// The key.
        key: String,
        /// The value, at most 1 MiB.
        value: Option<String>,
    },
    /// The node announces an absence (its leases become as long as that needs), or is back.
    Absence {
        /// The node.
        node: NodeId,
        /// Whether it is absent.
        absent: bool,
    },
    /// The node leaves in order: it is given no groups, and its own go elsewhere.
    NodeLeaves {
        /// The node.
        node: NodeId,
    },
    /// The node leaves for good: as with [`Change::NodeLeaves`], and it does not come back.
    NodeGoes {
        /// The node.
        node: NodeId,
    },
    /// With this entry the node is no member any more, and nothing that it says is heard.
    NodeEvicted {
        /// The node.
        node: NodeId,
    },
    /// An administrator forced quorum: a new history begins, in which the voters that were dropped
    /// have no vote, and epochs are far above all that there can have been.
    QuorumForced {
        /// How.
        forced: Box<Forced>,
    },
    /// The node is back and may be given groups again.
    NodeReturns {
        /// The node.
        node: NodeId,
    },
    /// With this entry the vote of a node that leaves ends; it gets it back when it returns.
    VoteLent {
        /// The node.
        node: NodeId,
    },
    /// With this entry the node has its vote.
    VoteReturned {
        /// The node.
        node: NodeId,
    },
    /// The failures of a group are forgotten and its failed mark ends, because an administrator
    /// said so.
    ClearFailures {
        /// The group.
        group: GroupId,
    },
    /// A group that was left failed is tried again; its failovers count on.
    Retry {
        /// The group.
        group: GroupId,
        /// Why.
        why: String,
    },
    /// Something is put aside for a while, or taken up again.
    Upkeep {
        /// What.
        upkeep: Upkeep,
    },
    /// With this entry the node is a member. It has no vote before it has the whole log.
    NodeJoined {
        /// The node.
        entry: NodeEntry,
        /// Whether it is given a vote then: not where the quorum disk votes alone.
        vote: JoinedVote,
    },
    /// With this entry a token lets one host in, and those that ran out are forgotten.
    TokenMade {
        /// The token.
        token: TokenHash,
        /// Cluster time from which on it lets nobody in.
        until: UtcMillis,
    },
    /// With this entry the token has let a host in, and lets no other one in.
    TokenUsed {
        /// The token.
        token: TokenHash,
        /// Whom.
        used: TokenUse,
    },
    /// What a node has for groups, and what it does besides.
    SetRoom {
        /// The node.
        node: NodeId,
        /// All of it.
        room: Room,
    },
    /// Set an alert, instead of one of that name.
    SetAlert {
        /// Its name.
        alert: AlertId,
        /// All of it.
        to: Alert,
    },
    /// Remove an alert.
    RemoveAlert {
        /// Its name.
        alert: AlertId,
    },
    /// The programs of a group whose demand is measured use another step than before.
    SetUsage {
        /// The group.
        group: GroupId,
        /// What they use.
        used: Usage,
    },
    /// A node was lost without having left, and the groups it had are taken over in this entry:
    /// counted for its quarantine.
    NodeLost {
        /// The node.
        node: NodeId,
    },
    /// The owner of a group was lost soon after it was given it: counted like a failover of the
    /// group's own.
    CountLoss {
        /// The group.
        group: GroupId,
    },
    /// Name, role and priority of a network of the cluster, instead of those before.
    SetNetwork {
        /// All of it.
        network: NetworkEntry,
    },
    /// A rotation of the keys begins, its new keys are made, or it is a phase further.
    Rotate {
        /// As it is from now on.
        to: Rotation,
    },
    /// A rotation ends before anybody used the new keys.
    RotationAbandoned {
        /// Its number.
        number: u64,
    },
    /// The level of the cluster, from the next entry on.
    Level {
        /// The level, one above that of before, and who raises it.
        to: Mark,
    },
    /// What a node runs, other than before.
    NodeProgram {
        /// The node.
        node: NodeId,
        /// Its program.
        program: Program,
    },
    /// Name and addresses of a node, instead of those before.
    SetNode {
        /// All of it.
        node: NodeEntry,
    },
}

/// Whether a node that joined votes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum JoinedVote {
    /// As soon as it has the whole log.
    WhenComplete,
    /// Never by itself: nodes are learners in this quorum mode.
    Never,
}

impl Change {
    /// The level that brought it: below that nobody proposes it. Programs of every version must be
    /// able to read a log, so nothing that is here ever changes; what is needed later comes behind.
    #[must_use]
    pub const fn since(&self) -> ClusterLevel {
        match self {
            Self::CreateGroup { .. }
            | Self::SetGroupPolicy { .. }
            | Self::DeleteGroup { .. }
            | Self::SetGroupDesired { .. }
            | Self::CreateResource { .. }
            | Self::DeleteResource { .. }
            | Self::SetResourceDesired { .. }
            | Self::SetResource { .. }
            | Self::SetDependencies { .. }
            | Self::Grant { .. }
            | Self::Release { .. }
            | Self::Disown { .. }
            | Self::CountFailover { .. }
            | Self::FailGroup { .. }
            | Self::LeaseLength { .. }
            | Self::SetKey { .. }
            | Self::Absence { .. }
            | Self::NodeLeaves { .. }
            | Self::NodeGoes { .. }
            | Self::NodeEvicted { .. }
            | Self::QuorumForced { .. }
            | Self::NodeReturns { .. }
            | Self::VoteLent { .. }
            | Self::VoteReturned { .. }
            | Self::ClearFailures { .. }
            | Self::Retry { .. }
            | Self::Upkeep { .. }
            | Self::NodeJoined { .. }
            | Self::TokenMade { .. }
            | Self::TokenUsed { .. }
            | Self::SetRoom { .. }
            | Self::SetAlert { .. }
            | Self::RemoveAlert { .. }
            | Self::SetUsage { .. }
            | Self::NodeLost { .. }
            | Self::SetNetwork { .. }
            | Self::Rotate { .. }
            | Self::RotationAbandoned { .. }
            | Self::CountLoss { .. }
            | Self::Level { .. } => ClusterLevel::FIRST,
            Self::NodeProgram { .. } | Self::SetNode { .. } => ClusterLevel::PROGRAMS,
        }
    }

    /// The node a group is taken from by this change, given the present owner (R7: the barrier).
    #[must_use]
    pub fn group(&self) -> Option<&GroupId> {
        match self {
            Self::CreateGroup { group, .. }
            | Self::SetGroupPolicy { group, .. }
            | Self::DeleteGroup { group }
            | Self::SetGroupDesired { group, .. }
            | Self::CreateResource { group, .. }
            | Self::Grant { group, .. }
            | Self::Release { group, .. }
            | Self::Disown { group, .. }
            | Self::CountFailover { group }
            | Self::CountLoss { group }
            | Self::FailGroup { group, .. }
            | Self::ClearFailures { group }
            | Self::SetUsage { group, .. }
            | Self::Retry { group, .. } => Some(group),
            Self::Upkeep { upkeep } => upkeep.group(),
            Self::DeleteResource { .. }
            | Self::SetResourceDesired { .. }
            | Self::SetResource { .. }
            | Self::SetDependencies { .. }
            | Self::LeaseLength { .. }
            | Self::Absence { .. }
            | Self::NodeLeaves { .. }
            | Self::NodeReturns { .. }
            | Self::NodeGoes { .. }
            | Self::NodeEvicted { .. }
            | Self::QuorumForced { .. }
            | Self::VoteLent { .. }
            | Self::VoteReturned { .. }
            | Self::NodeJoined { .. }
            | Self::TokenMade { .. }
            | Self::TokenUsed { .. }
            | Self::SetRoom { .. }
            | Self::SetAlert { .. }
            | Self::RemoveAlert { .. }
            | Self::NodeLost { .. }
            | Self::SetNetwork { .. }
            | Self::SetNode { .. }
            | Self::Rotate { .. }
            | Self::RotationAbandoned { .. }
            | Self::Level { .. }
            | Self::NodeProgram { .. }
            | Self::SetKey { .. } => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateGroup { group, .. } => write!(f, "create group {group}"),
            Self::SetGroupPolicy { group, .. } => write!(f, "policy of group {group}"),
            Self::DeleteGroup { group } => write!(f, "delete group {group}"),
            Self::SetGroupDesired { group, desired } => write!(f, "group {group} {desired:?}"),
            Self::CreateResource { group, resource } => {
                write!(f, "create resource {} ({}) in {group}", resource.id, resource.kind)
            }
            Self::DeleteResource { resource } => write!(f, "delete resource {resource}"),
            Self::SetResourceDesired { resource, desired } => {
                write!(f, "resource {resource} {desired:?}")
            }
            Self::SetResource { resource, .. } => write!(f, "properties of resource {resource}"),
            Self::SetDependencies { resource, .. } => write!(f, "dependencies of {resource}"),
            Self::Grant { group, node, epoch, why } => {
                write!(f, "group {group}: owner {node}, {epoch}, because {why}")
            }
            Self::Release { group, epoch, to, why } => match to {
                Some(to) => write!(f, "group {group}: release {epoch} to {to}, because {why}"),
                None => write!(f, "group {group}: release {epoch}, because {why}"),
            },
            Self::Disown { group, epoch, why } => {
                write!(f, "group {group}: no owner after {epoch}, because {why}")
            }
            Self::CountFailover { group } => write!(f, "group {group}: failover counted"),
            Self::CountLoss { group } => {
                write!(f, "group {group}: failover counted, its node was lost soon")
            }
            Self::FailGroup { group, why } => write!(f, "group {group} failed, because {why}"),
            Self::ClearFailures { group } => write!(f, "group {group}: failures forgotten"),
            Self::Retry { group, why } => write!(f, "group {group} is tried again, because {why}"),
            Self::Upkeep { upkeep } => write!(f, "{upkeep}"),
            Self::SetRoom { node, room } => {
                write!(f, "{node} has {}", or_nothing(room.capacity.to_string()))?;
                room.local.iter().try_for_each(|(name, needs)| {
                    write!(f, "; its own {name} needs {}", or_nothing(needs.to_string()))
                })
            }
            Self::LeaseLength { node, length } => write!(f, "{node}: {}", leases(*length)),
            Self::Absence { node, absent: true } => write!(f, "{node} announces an absence"),
            Self::Absence { node, absent: false } => write!(f, "{node}: the absence is over"),
            Self::NodeLeaves { node } => write!(f, "{node} leaves"),
            Self::NodeGoes { node } => write!(f, "{node} leaves for good"),
            Self::NodeEvicted { node } => write!(f, "{node} is no member any more"),
            Self::QuorumForced { forced } => write!(f, "{forced}"),
            Self::NodeReturns { node } => write!(f, "{node} is back"),
            Self::VoteLent { node } => write!(f, "{node} hands its vote over"),
            Self::VoteReturned { node } => write!(f, "{node} has its vote"),
            Self::NodeJoined { entry, .. } => write!(f, "{} ({}) joins", entry.id, entry.name),
            Self::TokenMade { token, .. } => write!(f, "join token {token} is made"),
            Self::TokenUsed { token, used } => {
                write!(f, "join token {token} is used up by {}", used.node)
            }
            Self::SetAlert { alert, to } => write!(f, "alert {alert}: {}", to.call),
            Self::RemoveAlert { alert } => write!(f, "remove alert {alert}"),
            Self::SetUsage { group, used } => write!(f, "group {group} uses {used}"),
            Self::NodeLost { node } => write!(f, "{node} was lost"),
            Self::SetNetwork { network } => write!(f, "network {} is {network}", network.id.0),
            Self::SetNode { node } => write!(f, "{node}"),
            Self::Rotate { to } => write!(f, "{to}"),
            Self::RotationAbandoned { number } => {
                write!(f, "rotation {number} of the keys is abandoned")
            }
            Self::Level { to } => write!(f, "the cluster is at {to}"),
            Self::NodeProgram { node, program } => write!(f, "{node} runs {program}"),
            Self::SetKey { key, value: Some(_) } => write!(f, "set key {key}"),
            Self::SetKey { key, value: None } => write!(f, "delete key {key}"),
        }
    }
}

const fn leases(length: LeaseLength) -> &'static str {
    match length {
        LeaseLength::Short => "short leases",
        LeaseLength::Longer => "longer leases",
        LeaseLength::Absence => "leases for an announced absence",
    }
}

fn or_nothing(text: String) -> String {
    if text.is_empty() { "nothing declared".to_owned() } else { text }
}
