//! Requests of administrators: what may be asked of the cluster, and the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::amounts::Amounts;
use crate::config::{NetworkRole, NodeAddress, NodeWish};
use crate::core_group::ClusterIp;
use crate::declaration::{Declaration, Foreseen};
use crate::forced;
use crate::group::{Desired, GroupPolicy};
use crate::ids::{AlertId, GroupId, LogIndex, NodeId, RequestId, ResourceId, VoterId};
use crate::program::ClusterLevel;
use crate::reason::Reason;
use crate::rules::Priority;
use crate::token::{Shown, TokenHash};
use crate::upkeep::Upkeep;

/// A request with the identity under which it may be repeated.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// A repeated request with the same id gets the first answer.
    pub id: RequestId,
    /// Who asks, for the records.
    pub who: String,
    /// What is asked.
    pub request: Request,
}

/// What may be asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Create a group.
    CreateGroup {
        /// Its name.
        group: GroupId,
        /// Its policy.
        policy: GroupPolicy,
    },
    /// Change properties of a group, those of the table `GROUP`; `None` resets to the default.
    SetGroup {
        /// The group.
        group: GroupId,
        /// New values by property name.
        properties: BTreeMap<String, Option<String>>,
    },
    /// Delete a group without resources.
    DeleteGroup {
        /// The group.
        group: GroupId,
    },
    /// Bring a group online or offline.
    SetGroupDesired {
        /// The group.
        group: GroupId,
        /// Wanted state.
        desired: Desired,
    },
    /// Move a group to another node; `None`: the planner chooses.
    MoveGroup {
        /// The group.
        group: GroupId,
        /// The target.
        to: Option<NodeId>,
    },
    /// Create a resource.
    CreateResource {
        /// The group.
        group: GroupId,
        /// The resource.
        resource: ResourceId,
        /// Its type.
        kind: String,
        /// Properties of the type and common ones (`restart-threshold`, ...), by name.
        properties: BTreeMap<String, String>,
    },
    /// Delete a resource.
    DeleteResource {
        /// The resource.
        resource: ResourceId,
    },
    /// Bring one resource online or offline.
    SetResourceDesired {
        /// The resource.
        resource: ResourceId,
        /// Wanted state.
        desired: Desired,
    },
    /// Change properties of a resource; `None` resets to the default.
    SetResource {
        /// The resource.
        resource: ResourceId,
        /// New values by property name.
        properties: BTreeMap<String, Option<String>>,
    },
    /// Replace the dependencies of a resource.
    SetDependencies {
        /// The resource.
        resource: ResourceId,
        /// All of them.
        depends_on: BTreeSet<ResourceId>,
    },
    /// Rehearse a failure of a resource.
    FailResource {
        /// The resource.
        resource: ResourceId,
    },
    /// A value of the cluster registry; `None` deletes it.
    SetKey {
        /// The key.
        key: String,
        /// The value.
        value: Option<String>,
    },
    /// Give a node a vote or make it a learner.
    SetVote {
        /// The node.
        node: NodeId,
        /// Whether it votes.
        votes: bool,
    },
    /// Announce an absence of a node, or end it.
    SetAbsence {
        /// The node.
        node: NodeId,
        /// Whether it is absent.
        absent: bool,
    },
    /// A node leaves in order; asked by the node itself.
    Leave {
        /// The node.
        node: NodeId,
    },
    /// Make a node no member any more: its groups go elsewhere, then its vote is taken.
    Evict {
        /// The node.
        node: NodeId,
    },
    /// Go on without the voters that are missing. Decided by the node that is asked, alone.
    ForceQuorum {
        /// The node that shall go on.
        node: NodeId,
        /// The voters that the administrator says are off, or cut off, and stay so: all that are
        /// silent, and the quorum disk where it is lost, too.
        lost: BTreeSet<VoterId>,
    },
    /// A node that had left is back; asked by the node itself.
    Return {
        /// The node.
        node: NodeId,
    },
    /// Forget the failures of a group and its resources, and try again what was given up.
    ClearFailures {
        /// The group.
        group: GroupId,
    },
    /// Make groups as they are declared, all of them or nothing.
    Apply {
        /// The groups.
        wanted: Declaration,
    },
    /// Say what [`Request::Apply`] would change and cause; nothing changes.
    Foresee {
        /// The groups.
        wanted: Declaration,
    },
    /// Put something aside for a while, or take it up again.
    Upkeep {
        /// What.
        upkeep: Upkeep,
    },
    /// Do it although a possible owner lacks something that a resource needs there: no
    /// owner is asked.
    Force {
        /// What.
        request: Box<Self>,
    },
    /// Make a node a member that was not one.
    AddNode {
        /// Its number; `None`: the one above all that there are.
        number: Option<NodeId>,
        /// Its host name.
        name: String,
        /// Its address on each network.
        addresses: Vec<NodeAddress>,
        /// The token that its host showed, if nobody vouches for it who is in the cluster.
        token: Option<Shown>,
    },
    /// Make a token that lets one host become a node.
    MakeToken {
        /// The hash of its secret.
        token: TokenHash,
        /// How long it is good for.
        minutes: u32,
    },
    /// Say what a node has for groups, instead of what was said before.
    SetCapacity {
        /// The node.
        node: NodeId,
        /// What it has; nothing: it is not limited.
        capacity: Amounts,
    },
    /// List a service of a node's own, which the cluster does not look after.
    SetLocal {
        /// The node.
        node: NodeId,
        /// Name of the service.
        service: String,
        /// What it needs; `None`: it is listed no more.
        needs: Option<Amounts>,
    },
    /// Add an alert.
    AddAlert {
        /// Its name.
        alert: AlertId,
        /// Its properties by name.
        properties: BTreeMap<String, String>,
    },
    /// Remove an alert.
    RemoveAlert {
        /// Its name.
        alert: AlertId,
    },
    /// Say that a node has for groups what its machine has now: processors and memory. What was
    /// said of other units stays.
    MeasureCapacity {
        /// The node.
        node: NodeId,
    },
    /// Change what a network of the cluster is called, what may use it and how much it is
    /// preferred; `None` leaves that as it is.
    SetNetwork {
        /// Its present name.
        network: String,
        /// Its name from now on.
        name: Option<String>,
        /// What may use it from now on.
        role: Option<NetworkRole>,
        /// Its priority for streams from now on.
        priority: Option<Priority>,
    },
    /// Have new keys follow those of the cluster, without a stop.
    RotateKeys,
    /// Go back to the keys of before, while nobody uses the new ones.
    AbandonKeys,
    /// Give the cluster an IP address of its own, or change it: the cluster makes the group that
    /// has it.
    SetClusterIp {
        /// What is wanted.
        wanted: ClusterIp,
    },
    /// End the group that has the cluster IP.
    RemoveClusterIp,
    /// Raise the level of the cluster, which every node's program must know. There is no way back.
    RaiseLevel {
        /// To which, one above the present one.
        to: ClusterLevel,
    },
    /// Change what a node is called and where it is; what is not named stays as it is.
    SetNode {
        /// The node.
        node: NodeId,
        /// All that changes.
        wish: NodeWish,
    },
}

/// The answer to a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The change is committed at this index (I-ACK).
    Done {
        /// The index.
        index: LogIndex,
    },
    /// It was refused; nothing changed.
    Refused(Reason),
    /// What would be changed and caused; nothing changed.
    Foreseen(Foreseen),
    /// As [`Answer::Done`], and whoever asked should know something.
    Noted {
        /// The index.
        index: LogIndex,
        /// Sentences.
        notices: Vec<String>,
    },
}

impl Request {
    /// Whether it only asks, and changes nothing.
    #[must_use]
    pub fn is_question(&self) -> bool {
        match self {
            Self::Force { request } => request.is_question(),
            other => matches!(other, Self::Foresee { .. }),
        }
    }

    /// What is asked, in a line. Values are left out: some are secrets, and some are long.
    fn told(&self) -> String {
        match self {
            Self::CreateGroup { group, .. } => format!("create group `{group}`"),
            Self::SetGroup { group, properties } => {
                format!("set {} of group `{group}`", names(properties.keys()))
            }
            Self::DeleteGroup { group } => format!("delete group `{group}`"),
            Self::SetGroupDesired { group, desired } => {
                format!("bring group `{group}` {}", desired.word())
            }
            Self::MoveGroup { group, to: Some(to) } => format!("move group `{group}` to {to}"),
            Self::MoveGroup { group, to: None } => format!("move group `{group}`"),
            Self::CreateResource { group, resource, kind, .. } => {
                format!("create resource `{resource}` ({}) in group `{group}`", names([kind]))
            }
            Self::DeleteResource { resource } => format!("delete resource `{resource}`"),
            Self::SetResourceDesired { resource, desired } => {
                format!("bring resource `{resource}` {}", desired.word())
            }
            Self::SetResource { resource, properties } => {
                format!("set {} of resource `{resource}`", names(properties.keys()))
            }
            Self::SetDependencies { resource, depends_on } => {
                format!("have resource `{resource}` depend on {}", names(depends_on))
            }
            Self::FailResource { resource } => format!("rehearse a failure of `{resource}`"),
            Self::SetKey { key, value: Some(_) } => format!("set registry key {}", names([key])),
            Self::SetKey { key, value: None } => format!("delete registry key {}", names([key])),
            Self::SetVote { node, votes: true } => format!("give {node} a vote"),
            Self::SetVote { node, votes: false } => format!("take the vote of {node}"),
            Self::SetAbsence { node, absent: true } => format!("announce an absence of {node}"),
            Self::SetAbsence { node, absent: false } => format!("end the absence of {node}"),
            Self::Leave { node } => format!("have {node} leave"),
            Self::Return { node } => format!("have {node} return"),
            Self::ClearFailures { group } => format!("clear the failures of group `{group}`"),
            Self::Apply { wanted } => format!("apply a declaration of {}", declared(wanted)),
            Self::Foresee { wanted } => format!("plan a declaration of {}", declared(wanted)),
            Self::Upkeep { upkeep } => format!("from now on {upkeep}"),
            Self::Force { request } => format!("{request}, forced"),
            Self::AddNode { name, .. } => format!("add node {}", names([name])),
            Self::Evict { node } => format!("evict {node}"),
            Self::ForceQuorum { node, lost } => {
                format!("force quorum on {node} without {}", forced::names(lost))
            }
            Self::MakeToken { token, minutes } => {
                format!("make join token {token} for {minutes} minutes")
            }
            Self::SetCapacity { node, .. } => format!("set the capacity of {node}"),
            Self::MeasureCapacity { node } => format!("measure the capacity of {node}"),
            Self::SetLocal { node, service, .. } => {
                format!("set local service {} of {node}", names([service]))
            }
            Self::AddAlert { alert, .. } => format!("add alert `{alert}`"),
            Self::SetClusterIp { .. } => "set the cluster IP".to_owned(),
            Self::RemoveClusterIp => "remove the cluster IP".to_owned(),
            Self::RemoveAlert { alert } => format!("remove alert `{alert}`"),
            Self::SetNetwork { network, .. } => format!("change network {}", names([network])),
            Self::SetNode { node, .. } => format!("change {node}"),
            Self::RotateKeys => "rotate the keys of the cluster".into(),
            Self::AbandonKeys => "abandon the rotation of the keys".into(),
            Self::RaiseLevel { to } => format!("raise the cluster to {to}"),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told())
    }
}

/// What a declaration is about.
fn declared(wanted: &Declaration) -> String {
    let groups = wanted.groups.iter().map(|group| &group.group);
    let alerts = wanted.alerts.iter().map(|alert| &alert.alert);
    let named = names(groups.map(ToString::to_string).chain(alerts.map(ToString::to_string)));
    match wanted.whole {
        None => named,
        Some(_) => format!("the whole cluster: {named}"),
    }
}

/// Names for people: the first ones, each at most so long, control characters escaped.
fn names(all: impl IntoIterator<Item = impl fmt::Display>) -> String {
    const FIRST: usize = 8;
    const CHARS_MAX: usize = 64;
    let mut all = all.into_iter();
    let first = all.by_ref().take(FIRST).map(|name| {
        let name: String = name.to_string().chars().take(CHARS_MAX).collect();
        format!("`{}`", name.escape_debug())
    });
    let first = first.collect::<Vec<_>>().join(", ");
    match (first.is_empty(), all.count()) {
        (true, _) => "nothing".to_owned(),
        (false, 0) => first,
        (false, more) => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_told_in_a_line_without_values() {
        let hunter = || Some("hunter2".to_owned());
        let properties = BTreeMap::from([("env".to_owned(), hunter()), ("user".into(), None)]);
        let set = Request::SetResource { resource: "db".into(), properties };
        let forced = Request::Force { request: Box::new(set) };
        assert_eq!(forced.to_string(), "set `env`, `user` of resource `db`, forced");
        let key = Request::SetKey { key: format!("a\n{}", "x".repeat(99)), value: hunter() };
        assert_eq!(key.to_string(), format!("set registry key `a\\n{}`", "x".repeat(62)));
        let many: BTreeSet<ResourceId> =
            (0..20).map(|n| format!("r{n:02}").as_str().into()).collect();
        let depends = Request::SetDependencies { resource: "a".into(), depends_on: many };
        assert!(depends.to_string().ends_with("`r07` and 12 more"), "{depends}");
    }

    #[test]
    fn only_a_plan_is_a_question() {
        let wanted = Declaration::default();
        let plan = Request::Foresee { wanted: wanted.clone() };
        assert!(Request::Force { request: Box::new(plan) }.is_question());
        assert!(!Request::Apply { wanted }.is_question());
    }
}
