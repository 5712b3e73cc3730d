//! What an administrator may ask of the database: each request becomes one change, or a refusal
//! that says what failed, because of what, and what to do.
//!
//! Checked against the applied database. A request that was overtaken by another one is skipped
//! when it is applied and answered as refused then ([`super::Applied`]); one request is one
//! change, so it takes effect whole or not at all.
//!
//! Not here: requests that look at live nodes (`groups::requests`).

use std::collections::{BTreeMap, BTreeSet};

use stead_model::amounts::Amounts;
use stead_model::change::Change;
use stead_model::group::{Desired, Group, GroupPolicy};
use stead_model::reason::{Code, Reason};
use stead_model::resource::{ResourceConfig, ResourcePolicy};
use stead_model::resource_type::{BUILTIN, NETWORK_NAME, ResourceType, builtin};
use stead_model::room::{LOCAL_MAX, Room};
use stead_model::{Epoch, GroupId, NodeId, ResourceId};

use super::networks::{Networks, address};
use super::properties::{self, Settings};
use super::{Db, disks, relations, servers, size, tree, units};

/// The group of that name.
///
/// # Errors
/// If there is none.
pub fn group<'a>(db: &'a Db, id: &GroupId) -> Result<&'a Group, Reason> {
    db.group(id).ok_or_else(|| {
        Reason::new(Code::NotFound, format!("there is no group `{id}`"))
            .hint("`group list` shows all groups")
    })
}

/// The resource of that name and its group.
///
/// # Errors
/// If there is none.
pub fn resource<'a>(
    db: &'a Db,
    id: &ResourceId,
) -> Result<(&'a Group, &'a ResourceConfig), Reason> {
    db.resource(id).ok_or_else(|| {
        Reason::new(Code::NotFound, format!("there is no resource `{id}`"))
            .hint("`resource list` shows all resources")
    })
}

/// Creates a group; it starts offline.
pub(crate) fn create_group(
    db: &Db,
    id: &GroupId,
    policy: &GroupPolicy,
    nodes: &[NodeId],
) -> Result<Change, Reason> {
    check_name("a group", id.as_str())?;
    if db.group(id).is_some() {
        return Err(Reason::new(Code::Exists, format!("group `{id}` exists already"))
            .hint("choose another name, or delete that one first: `stead group delete`"));
    }
    properties::check_group_policy(policy, nodes)?;
    Ok(Change::CreateGroup { group: id.clone(), policy: policy.clone() })
}

pub(crate) fn set_group(
    db: &Db,
    id: &GroupId,
    settings: &Settings,
    nodes: &[NodeId],
) -> Result<Change, Reason> {
    let mut policy = group(db, id)?.policy.clone();
    properties::set_group(&mut policy, settings, nodes)?;
    Ok(Change::SetGroupPolicy { group: id.clone(), policy })
}

pub(crate) fn delete_group(db: &Db, id: &GroupId) -> Result<Change, Reason> {
    let group = group(db, id)?;
    if let Some(resource) = group.resources.keys().next() {
        let count = group.resources.len();
        return Err(Reason::new(Code::Conflict, format!("cannot delete group `{id}`"))
            .because(format!("it still has {count} resource(s), `{resource}` among them"))
            .hint(format!("delete them first: `resource delete {resource}`")));
    }
    relations::check_unnamed(db, id)?;
    Ok(Change::DeleteGroup { group: id.clone() })
}

pub(crate) fn set_group_desired(db: &Db, id: &GroupId, desired: Desired) -> Result<Change, Reason> {
    let group = group(db, id)?;
    if desired == Desired::Online {
        let wanted = tree::wanted(&group.resources);
        servers::check_online(&group.resources, &wanted.iter().collect::<Vec<_>>())?;
    }
    Ok(Change::SetGroupDesired { group: id.clone(), desired })
}

/// Says what a node has for groups.
pub(crate) fn set_capacity(db: &Db, node: NodeId, capacity: &Amounts) -> Change {
    let present = db.rooms().get(&node).cloned().unwrap_or_default();
    Change::SetRoom { node, room: Room { capacity: capacity.clone(), ..present } }
}

/// Lists a service of a node's own, or with `None` lists it no more.
pub(crate) fn set_local(
    db: &Db,
    node: NodeId,
    (service, needs): (&str, Option<&Amounts>),
) -> Result<Change, Reason> {
    check_name("a service", service)?;
    let mut room = db.rooms().get(&node).cloned().unwrap_or_default();
    match needs {
        Some(needs) => drop(room.local.insert(service.to_owned(), needs.clone())),
        None if room.local.remove(service).is_none() => {
            return Err(Reason::new(
                Code::NotFound,
                format!("{node} lists no service `{service}`"),
            )
            .hint(format!("`node show {node}` shows those that it lists")));
        }
        None => {}
    }
    set_room(node, &room)
        .map_err(|why| Reason { text: format!("cannot list service `{service}`"), ..why })
}

/// Says all of what a node has and does besides.
pub(crate) fn set_room(node: NodeId, room: &Room) -> Result<Change, Reason> {
    room.local.keys().try_for_each(|service| check_name("a service", service))?;
    if room.local.len() > LOCAL_MAX {
        return Err(Reason::new(Code::TooMuch, format!("{node} cannot list its services"))
            .because(format!("a node lists at most {LOCAL_MAX}")));
    }
    Ok(Change::SetRoom { node, room: room.clone() })
}

pub(crate) fn clear_failures(db: &Db, id: &GroupId) -> Result<Change, Reason> {
    group(db, id)?;
    Ok(Change::ClearFailures { group: id.clone() })
}

/// Who is in the cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Members<'a> {
    pub(crate) nodes: &'a [NodeId],
    /// Names of the nodes and of the cluster.
    pub(crate) host_names: &'a [String],
    /// The networks, and what the nodes tell of them.
    pub(crate) networks: &'a Networks<'a>,
}

/// A resource that is created.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewResource<'a> {
    pub(crate) group: &'a GroupId,
    pub(crate) id: &'a ResourceId,
    pub(crate) kind: &'a str,
    pub(crate) properties: &'a BTreeMap<String, String>,
}

/// Creates a resource. In a group that is online it stays offline until it is brought online, so
/// that its dependencies can be set first.
pub(crate) fn create_resource(
    db: &Db,
    new: NewResource<'_>,
    members: Members<'_>,
) -> Result<Change, Reason> {
    let group = group(db, new.group)?;
    check_name("a resource", new.id.as_str())?;
    if let Some((home, _)) = db.resource(new.id) {
        return Err(Reason::new(Code::Exists, format!("resource `{}` exists already", new.id))
            .because(format!("it is in group `{}`; names are unique in the cluster", home.id)));
    }
    let resource = ResourceConfig {
        id: new.id.clone(),
        kind: new.kind.to_owned(),
        properties: BTreeMap::new(),
        depends_on: BTreeSet::new(),
        possible_owners: None,
        desired: match group.desired {
            Desired::Online => Desired::Offline,
            Desired::Offline => Desired::Online,
        },
        policy: ResourcePolicy::default(),
        new_in: Epoch(0),
    };
    let settings: Settings =
        new.properties.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
    let resource = complete(db, (new.group, resource), &settings, members)?;
    Ok(Change::CreateResource { group: new.group.clone(), resource })
}

pub(crate) fn set_resource(
    db: &Db,
    id: &ResourceId,
    settings: &Settings,
    members: Members<'_>,
) -> Result<Change, Reason> {
    let (group, present) = resource(db, id)?;
    let mut resource = present.clone();
    let kind = resource_type(&resource.kind)?;
    properties::set_resource(&mut resource, kind, settings, members.nodes)?;
    judge(db, &group.id, &resource, members)?;
    Ok(Change::SetResource {
        resource: id.clone(),
        properties: resource.properties,
        policy: resource.policy,
        possible_owners: resource.possible_owners,
    })
}

/// A resource that is new with its properties, judged.
pub(crate) fn complete(
    db: &Db,
    (group, mut resource): (&GroupId, ResourceConfig),
    settings: &Settings,
    members: Members<'_>,
) -> Result<ResourceConfig, Reason> {
    let kind = resource_type(&resource.kind)?;
    properties::set_resource(&mut resource, kind, settings, members.nodes)?;
    judge(db, group, &resource, members)?;
    Ok(resource)
}

/// What a resource has that others have, or may not have there.
fn judge(
    db: &Db,
    group: &GroupId,
    resource: &ResourceConfig,
    members: Members<'_>,
) -> Result<(), Reason> {
    check_address(db, resource)?;
    members.networks.check(resource)?;
    disks::check(db, group, resource)?;
    units::check(db, resource)?;
    servers::check(db, resource, members.host_names)
}

pub(crate) fn delete_resource(db: &Db, id: &ResourceId) -> Result<Change, Reason> {
    let (group, _) = resource(db, id)?;
    if let Some(by) = tree::dependents(&group.resources, id).next() {
        return Err(Reason::new(Code::Conflict, format!("cannot delete resource `{id}`"))
            .because(format!("resource `{}` depends on it", by.id))
            .hint(format!("`resource undepend {} --on {id}` first", by.id)));
    }
    Ok(Change::DeleteResource { resource: id.clone() })
}

pub(crate) fn set_resource_desired(
    db: &Db,
    id: &ResourceId,
    desired: Desired,
) -> Result<Change, Reason> {
    let (group, resource) = resource(db, id)?;
    if desired == Desired::Online {
        let refused =
            || Reason::new(Code::Conflict, format!("cannot bring resource `{id}` online"));
        if group.desired == Desired::Offline {
            return Err(refused()
                .because(format!("its group `{}` shall be offline", group.id))
                .hint(format!("bring the group online: `group online {}`", group.id)));
        }
        let wanted = tree::wanted(&group.resources);
        if let Some(below) = resource.depends_on.iter().find(|d| !wanted.contains(*d)) {
            return Err(refused()
                .because(format!("it depends on `{below}`, which shall be offline"))
                .hint(format!("bring that online first: `resource online {below}`")));
        }
    }
    if desired == Desired::Online {
        servers::check_online(&group.resources, &[id])?;
    }
    Ok(Change::SetResourceDesired { resource: id.clone(), desired })
}

/// Dependencies stay within the group and form a tree.
pub(crate) fn set_dependencies(
    db: &Db,
    id: &ResourceId,
    on: &BTreeSet<ResourceId>,
) -> Result<Change, Reason> {
    let (group, present) = resource(db, id)?;
    let refused = || Reason::new(Code::Invalid, format!("cannot make `{id}` depend on others so"));
    for below in on {
        let (home, _) = resource(db, below)?;
        if home.id != group.id {
            return Err(refused()
                .because(format!(
                    "`{below}` is in group `{}`, `{id}` in group `{}`: a tree of dependencies lies \
                     wholly in one group",
                    home.id, group.id
                ))
                .hint(format!("create such a resource in group `{}`", group.id)));
        }
    }
    let changed = || {
        let mut resources = group.resources.clone();
        let resource = ResourceConfig { depends_on: on.clone(), ..present.clone() };
        resources.insert(id.clone(), resource);
        resources
    };
    if !tree::may_stand_on(&group.resources, id, on) {
        let way = tree::circle(&changed()).unwrap_or_default();
        let way: Vec<String> = way.iter().map(|id| format!("`{id}`")).collect();
        return Err(refused()
            .because(format!("the dependencies would go in a circle: {}", way.join(" on ")))
            .hint(format!("`group tree {}` shows what depends on what", group.id)));
    }
    if present.kind == NETWORK_NAME {
        servers::check_dependencies(&changed(), id)?;
    }
    Ok(Change::SetDependencies { resource: id.clone(), depends_on: on.clone() })
}

pub(crate) fn set_key(key: &str, value: Option<&str>) -> Result<Change, Reason> {
    let printable = !key.is_empty() && !key.chars().any(char::is_control);
    if !printable || key.len() > size::KEY_BYTES_MAX {
        return Err(Reason::new(
            Code::Invalid,
            format!("`{}` cannot be a key", key.escape_debug()),
        )
        .because(format!(
            "a key has 1 to {} bytes without control characters",
            size::KEY_BYTES_MAX
        )));
    }
    if value.is_some_and(|v| v.len() > size::VALUE_BYTES_MAX) {
        return Err(Reason::new(Code::TooMuch, format!("the value of key `{key}` is too long"))
            .because(format!("a value has at most {} bytes", size::VALUE_BYTES_MAX)));
    }
    Ok(Change::SetKey { key: key.to_owned(), value: value.map(str::to_owned) })
}

/// Refuses what would make the database larger than it may be; what frees space always passes.
///
/// # Errors
/// Says how large it is and how large it may be.
pub fn check_size(db: &Db, change: &Change, limit_bytes: u64) -> Result<(), Reason> {
    let limit = limit_bytes.min(size::DATABASE_BYTES_MAX);
    let growth = size::of_change(change);
    if growth == 0 || db.size_bytes() + growth <= limit {
        return Ok(());
    }
    Err(Reason::new(Code::TooMuch, "the cluster database is full")
        .because(format!(
            "it has {} bytes, this adds up to {growth}, the limit is {limit}",
            db.size_bytes()
        ))
        .hint("delete keys, resources or groups that are not needed any more"))
}

/// Refuses what would bring a network name online without an address.
pub(crate) fn stands_on_address(group: &Group, id: &ResourceId) -> Result<(), Reason> {
    servers::check_online(&group.resources, &[id])
}

pub(super) fn check_name(what: &str, name: &str) -> Result<(), Reason> {
    if GroupId::is_valid(name) {
        return Ok(());
    }
    Err(Reason::new(
        Code::Invalid,
        format!("`{}` cannot be the name of {what}", name.escape_debug()),
    )
    .because("a name has 1 to 63 of `a-z A-Z 0-9 . _ -` and starts with none of `.` and `-`"))
}

fn resource_type(name: &str) -> Result<&'static ResourceType, Reason> {
    builtin(name).ok_or_else(|| {
        let known: Vec<&str> = BUILTIN.iter().map(|t| t.name).collect();
        Reason::new(Code::NotFound, format!("there is no resource type `{name}`"))
            .hint(format!("known are {}", known.join(", ")))
    })
}

/// One virtual address belongs to one resource: two groups would bring it up on two nodes.
fn check_address(db: &Db, resource: &ResourceConfig) -> Result<(), Reason> {
    let Some(own) = address(resource) else { return Ok(()) };
    let mut all = db.groups().values().flat_map(|g| g.resources.values());
    match all.find(|other| other.id != resource.id && address(other) == Some(own)) {
        None => Ok(()),
        Some(other) => Err(Reason::new(
            Code::Conflict,
            format!("resource `{}` cannot have address {own}", resource.id),
        )
        .because(format!("resource `{}` has it", other.id))),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A dummy resource that depends on others.
    pub(crate) fn resource(id: &str, on: &[&str]) -> ResourceConfig {
        ResourceConfig {
            id: id.into(),
            kind: "dummy".to_owned(),
            properties: BTreeMap::new(),
            depends_on: on.iter().map(|d| ResourceId::from(*d)).collect(),
            possible_owners: None,
            desired: Desired::Online,
            policy: ResourcePolicy::default(),
            new_in: Epoch(0),
        }
    }
}
