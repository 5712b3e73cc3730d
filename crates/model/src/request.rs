//! Requests of administrators: what may be asked of the cluster, and the answer.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::amounts::Amounts;
use crate::config::NodeAddress;
use crate::declaration::{Declaration, Foreseen};
use crate::group::{Desired, GroupPolicy};
use crate::ids::{AlertId, GroupId, LogIndex, NodeId, RequestId, ResourceId};
use crate::reason::Reason;
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
