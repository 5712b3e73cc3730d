//! Groups and alerts declared as a whole: what a person wants of them, and what that would change.
//!
//! A declaration is the whole truth about the groups it names: a resource of such a group that it
//! does not name is deleted. Groups that it does not name stay as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::group::Desired;
use crate::ids::{AdminId, AlertId, GroupId, NodeId, ResourceId};
use crate::remote::RemoteAdmin;
use crate::room::Room;

/// Groups and resources as somebody wants them.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// The groups.
    pub groups: Vec<DeclaredGroup>,
    /// All resources of these groups, in any order.
    #[serde(default)]
    pub resources: Vec<DeclaredResource>,
    /// Alerts. Those that it does not name stay as they are.
    #[serde(default)]
    pub alerts: Vec<DeclaredAlert>,
    /// With it the declaration is the whole truth about the cluster: groups and alerts that it
    /// does not name are deleted.
    #[serde(default)]
    pub whole: Option<Whole>,
}

/// What a cluster is configured with besides groups and alerts; what it does not name is deleted.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Whole {
    /// What nodes have for groups.
    pub rooms: Vec<DeclaredRoom>,
    /// Who may ask nodes from other machines.
    pub admins: Vec<RemoteAdmin>,
}

/// The room of a node as somebody wants it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredRoom {
    /// The node.
    pub node: NodeId,
    /// All of it.
    pub room: Room,
}

/// Properties that are lists of nodes.
pub const NODE_LISTS: [&str; 2] = ["preferred-owners", "possible-owners"];

/// An alert as somebody wants it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredAlert {
    /// Its name.
    pub alert: AlertId,
    /// Its properties by name; what is absent has its default.
    pub properties: BTreeMap<String, String>,
    /// Where it is declared, for refusals: the line of a file; 0: nowhere.
    #[serde(default)]
    pub line: u32,
}

/// A group as somebody wants it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredGroup {
    /// Its name.
    pub group: GroupId,
    /// Its properties by name; what is absent has its default.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// Absent: as it is, and online if it is new.
    #[serde(default)]
    pub desired: Option<Desired>,
    /// Where it is declared, for refusals: the line of a file; 0: nowhere.
    #[serde(default)]
    pub line: u32,
}

/// A resource as somebody wants it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredResource {
    /// Its group, one of those declared.
    pub group: GroupId,
    /// Its name.
    pub resource: ResourceId,
    /// Its type, as in `ip-address`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Properties of the type and common ones by name; what is absent has its default.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// What must be online before it.
    #[serde(default)]
    pub depends_on: BTreeSet<ResourceId>,
    /// Absent: as it is, and online if it is new.
    #[serde(default)]
    pub desired: Option<Desired>,
    /// Where it is declared, for refusals: the line of a file; 0: nowhere.
    #[serde(default)]
    pub line: u32,
}

/// What a declaration would change, and what the cluster would do then.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Foreseen {
    /// What would differ in the database.
    pub differences: Vec<Difference>,
    /// What would be started, stopped and moved then, if nothing else happens.
    pub consequences: Vec<Consequence>,
    /// What else whoever asks should know, such as possible owners that could not be asked.
    pub notices: Vec<String>,
}

/// One thing that would differ.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Difference {
    /// The group; absent: it is about an alert, a node or an admin.
    pub group: Option<GroupId>,
    /// The resource; absent: it is about the group itself.
    pub resource: Option<ResourceId>,
    /// The alert, if it is about one.
    pub alert: Option<AlertId>,
    /// The node, if it is about its room.
    #[serde(default)]
    pub node: Option<NodeId>,
    /// The admin from other machines, if it is about one.
    #[serde(default)]
    pub admin: Option<AdminId>,
    /// Whether it comes, changes or goes.
    pub turn: Turn,
    /// The property, where one changes; `depends-on` and `desired` are told like properties.
    pub property: Option<String>,
    /// The value it has now.
    pub from: Option<String>,
    /// The value it would have.
    pub to: Option<String>,
}

/// Whether something comes, changes or goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Turn {
    /// It is new.
    Added,
    /// It has other values.
    Changed,
    /// It is gone.
    Removed,
}

/// Something that would be done about a group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Consequence {
    /// The group.
    pub group: GroupId,
    /// What.
    pub deed: Deed,
    /// The resources it is about, in the order they come online.
    pub resources: Vec<ResourceId>,
    /// The node where it happens; of a move, the node it goes to.
    pub node: Option<NodeId>,
    /// Of a move, the node it comes from.
    pub from: Option<NodeId>,
    /// Why, in words for people.
    pub why: String,
}

/// What is done about a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Deed {
    /// Resources come online.
    Start,
    /// Resources go offline.
    Stop,
    /// Resources go offline and come online again on the same node.
    Restart,
    /// The group goes to another node.
    Move,
    /// The group shall run and no node may take it.
    Nowhere,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.turn {
            Turn::Added => '+',
            Turn::Changed => '~',
            Turn::Removed => '-',
        };
        write!(f, "{sign} ")?;
        if let Some(alert) = &self.alert {
            write!(f, "alert {alert}")?;
        }
        if let Some(node) = self.node {
            write!(f, "node {node}")?;
        }
        if let Some(admin) = &self.admin {
            write!(f, "admin {admin}")?;
        }
        if let Some(resource) = &self.resource {
            write!(f, "resource {resource} of ")?;
        }
        if let Some(group) = &self.group {
            write!(f, "group {group}")?;
        }
        let Some(property) = &self.property else { return Ok(()) };
        let value = |value: &Option<String>| match value {
            Some(value) => format!("`{value}`"),
            None => "nothing".to_owned(),
        };
        match self.turn {
            Turn::Added => write!(f, ": {property} {}", value(&self.to)),
            Turn::Changed => {
                write!(f, ": {property} {} -> {}", value(&self.from), value(&self.to))
            }
            Turn::Removed => write!(f, ": {property} {}", value(&self.from)),
        }
    }
}

impl fmt::Display for Consequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 8;
        let mut names: Vec<&str> =
            self.resources.iter().take(NAMED).map(ResourceId::as_str).collect();
        let more = format!("and {} more", self.resources.len().saturating_sub(NAMED));
        if self.resources.len() > NAMED {
            names.push(&more);
        }
        let names = names.join(", ");
        let node = |node: Option<NodeId>| node.map_or_else(|| "nobody".into(), |n| n.to_string());
        let (group, to) = (&self.group, node(self.node));
        match self.deed {
            Deed::Start => write!(f, "start   {names} of group {group} on {to}")?,
            Deed::Stop => write!(f, "stop    {names} of group {group} on {to}")?,
            Deed::Restart => write!(f, "restart {names} of group {group} on {to}")?,
            Deed::Move => {
                write!(f, "move    group {group} from {} to {to} ({names})", node(self.from))?;
            }
            Deed::Nowhere => write!(f, "nowhere group {group} can run on no node now")?,
        }
        write!(f, ": {}", self.why)
    }
}
