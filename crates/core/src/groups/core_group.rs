//! The cluster's own group: it has the cluster IP and publishes the cluster's name (A-001, A-106).
//!
//! ```text
//!   none ──cluster ip──► there: online, fails over, moved and pinned like any other
//!                          │  ▲
//!                 --remove │  │ cluster ip
//!                          ▼  │
//!                        shall be offline ──owner gave it back──► none
//! ```
//!
//! Nobody else may take it or a resource of it offline, so that it shall be offline means that it
//! is to go: no state of its own. It goes once nobody owns it, and a name alone once it is offline,
//! so that what is free in the database is free in the world (I-OWN).
//!
//! Not here: rules between groups, which never name it (`db/relations`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use stead_model::change::Change;
use stead_model::config::NodeEntry;
use stead_model::core_group::{
    CLUSTER_IP, CLUSTER_NAME, CORE_GROUP, ClusterIp, is_core, is_core_resource,
};
use stead_model::declaration::{Declaration, DeclaredResource};
use stead_model::group::{Desired, Group, GroupPolicy};
use stead_model::reason::{Code, Reason};
use stead_model::request::Request;
use stead_model::resource::{ResourceConfig, ResourcePolicy};
use stead_model::resource_type::{IP_ADDRESS, NETWORK_NAME, parse_address};
use stead_model::server::{DNS_SERVERS, NAME, is_host_name};
use stead_model::{Epoch, GroupId, NodeId, ResourceId};

use super::PlanInput;
use super::declared::Draft;
use super::requests::{Decision, deletable};
use crate::db::properties::Settings;
use crate::db::validate::{self as check, Members};
use crate::db::{Networks, tree};

/// Refuses what nobody may do to the cluster's own group (A-106).
pub(super) fn protect(request: &Request) -> Result<(), Reason> {
    match request {
        Request::CreateGroup { group, .. } => refuse(is_core(group), reserved_group),
        Request::DeleteGroup { group } => {
            refuse(is_core(group), || kept(format!("cannot delete group `{group}`")))
        }
        Request::SetGroupDesired { group, desired: Desired::Offline } => {
            refuse(is_core(group), || kept(format!("cannot take group `{group}` offline")))
        }
        Request::CreateResource { group, resource, .. } => {
            let text = || format!("cannot create resource `{resource}` in group `{group}`");
            refuse(is_core(group), || foreign(text()))?;
            refuse(is_core_resource(resource), || reserved_resource(resource))
        }
        Request::DeleteResource { resource } => {
            let text = || format!("cannot delete resource `{resource}`");
            refuse(is_core_resource(resource), || kept(text()))
        }
        Request::SetResourceDesired { resource, desired: Desired::Offline } => {
            let text = || format!("cannot take resource `{resource}` offline");
            refuse(is_core_resource(resource), || kept(text()))
        }
        Request::SetResource { resource, properties } => unnamed(resource, properties),
        Request::SetDependencies { resource, depends_on } => {
            let mut ends = std::iter::once(resource).chain(depends_on);
            let own = ends.find(|end| is_core_resource(end));
            own.map_or(Ok(()), |own| Err(foreign(format!("cannot change what depends on `{own}`"))))
        }
        Request::Apply { wanted } | Request::Foresee { wanted } => declared(wanted),
        Request::Force { request } => protect(request),
        Request::SetGroupDesired { .. }
        | Request::SetResourceDesired { .. }
        | Request::SetGroup { .. }
        | Request::MoveGroup { .. }
        | Request::FailResource { .. }
        | Request::ClearFailures { .. }
        | Request::SetKey { .. }
        | Request::SetVote { .. }
        | Request::SetAbsence { .. }
        | Request::Leave { .. }
        | Request::Return { .. }
        | Request::Upkeep { .. }
        | Request::AddNode { .. }
        | Request::MakeToken { .. }
        | Request::Evict { .. }
        | Request::SetCapacity { .. }
        | Request::MeasureCapacity { .. }
        | Request::SetLocal { .. }
        | Request::AddAlert { .. }
        | Request::RemoveAlert { .. }
        | Request::SetNetwork { .. }
        | Request::SetNode { .. }
        | Request::ForceQuorum { .. }
        | Request::RotateKeys
        | Request::AbandonKeys
        | Request::RaiseLevel { .. }
        | Request::SetClusterIp { .. }
        | Request::RemoveClusterIp => Ok(()),
    }
}

fn refuse(is_own: bool, why: impl FnOnce() -> Reason) -> Result<(), Reason> {
    if is_own { Err(why()) } else { Ok(()) }
}

/// Address and name are changed where they are checked and told as such.
fn unnamed(resource: &ResourceId, properties: &Settings) -> Result<(), Reason> {
    let fixed = ["address", NAME].into_iter().find(|fixed| properties.contains_key(*fixed));
    let Some(fixed) = fixed.filter(|_| is_core_resource(resource)) else { return Ok(()) };
    let why = match fixed {
        NAME => "it is the name of the cluster, which stays",
        _ => "it is the cluster IP",
    };
    let text = format!("cannot set property `{fixed}` of resource `{resource}`");
    Err(Reason::new(Code::Conflict, text)
        .because(why)
        .hint("`stead cluster ip ADDRESS` changes the cluster IP"))
}

/// A declaration of groups is about those of people. One of the whole cluster may have its own
/// group, and has it as the cluster made it.
fn declared(wanted: &Declaration) -> Result<(), Reason> {
    let group = wanted.groups.iter().find(|g| is_core(&g.group));
    let mut own = wanted.resources.iter().filter(|r| is_core(&r.group));
    let stray =
        wanted.resources.iter().find(|r| is_core_resource(&r.resource) != is_core(&r.group));
    if wanted.whole.is_none() {
        return match (group, own.next(), stray) {
            (None, None, None) => Ok(()),
            (None, None, Some(stray)) => Err(reserved_resource(&stray.resource)),
            (Some(_), ..) | (_, Some(_), _) => Err(reserved_group()),
        };
    }
    let is_right = |resource: &DeclaredResource| {
        let on: Vec<&str> = resource.depends_on.iter().map(ResourceId::as_str).collect();
        let has = (resource.resource.as_str(), resource.kind.as_str(), &on[..]);
        let right = has == (CLUSTER_IP, IP_ADDRESS, &[])
            || has == (CLUSTER_NAME, NETWORK_NAME, &[CLUSTER_IP]);
        right && resource.desired != Some(Desired::Offline)
    };
    let wrong = own.find(|resource| !is_right(resource)).or(stray);
    let has_ip = wanted.resources.iter().any(|r| r.resource.as_str() == CLUSTER_IP);
    let stands = group.is_none_or(|group| group.desired != Some(Desired::Offline) && has_ip);
    if wrong.is_none() && stands {
        return Ok(());
    }
    let what = wrong.map_or_else(|| "it".to_owned(), |wrong| format!("`{}`", wrong.resource));
    Err(Reason::new(Code::Invalid, format!("group `{CORE_GROUP}` cannot be as it is declared"))
        .because(format!("{what} is not as the cluster makes its own group"))
        .hint("leave the group out, and use `stead cluster ip`"))
}

/// Gives the cluster its IP, or changes what there is of it.
pub(super) fn set(
    wanted: &ClusterIp,
    input: &PlanInput<'_>,
    limit_bytes: u64,
) -> Result<Decision, Reason> {
    let nodes: Vec<NodeId> = input.nodes.keys().copied().collect();
    let networks = input.networks();
    let draft = Draft { db: input.db.clone(), changes: Vec::new() };
    let mut making = Making { input, nodes, networks, draft };
    making.group()?;
    making.address(wanted.address.as_deref())?;
    match &wanted.name {
        None => {}
        Some(published) if published.is_empty() => making.no_name()?,
        Some(published) => making.name(published)?,
    }
    making.online()?;
    making.draft.check_size(input.db, limit_bytes)?;
    Ok(Decision::ProposeAll(making.draft.changes))
}

/// Ends the group: it shall be offline, and goes when it is.
pub(super) fn remove(input: &PlanInput<'_>) -> Result<Decision, Reason> {
    let group = input.db.group(&own()).ok_or_else(|| {
        Reason::new(Code::NotFound, "the cluster has no IP address of its own")
            .hint("`stead cluster ip ADDRESS` gives it one")
    })?;
    Ok(Decision::ProposeAll(match group.desired {
        Desired::Online => vec![offline()],
        Desired::Offline => Vec::new(),
    }))
}

/// Whether the group is to go.
pub(super) fn goes(group: &Group) -> bool {
    is_core(&group.id) && group.desired == Desired::Offline
}

/// What of the group may go now and is to.
pub(super) fn ends(input: &PlanInput<'_>, group: &Group) -> Vec<Change> {
    if goes(group) && group.ownership.is_none() {
        let order = tree::online_order(&group.resources).into_iter().rev();
        let resources = order.map(|r| Change::DeleteResource { resource: r.id.clone() });
        return resources.chain([Change::DeleteGroup { group: own() }]).collect();
    }
    let name = group.resources.get(&name_id()).filter(|_| is_core(&group.id));
    let ended = name.filter(|name| name.desired == Desired::Offline);
    let free = ended.filter(|name| deletable(input, &name.id).is_ok());
    free.map(|name| Change::DeleteResource { resource: name.id.clone() }).into_iter().collect()
}

/// What a whole cluster is declared without: the change that has it go.
pub(super) fn undeclared(group: &Group) -> Option<Change> {
    (group.desired == Desired::Online).then(offline)
}

/// The group on its way into the database.
struct Making<'a> {
    input: &'a PlanInput<'a>,
    nodes: Vec<NodeId>,
    networks: Networks<'a>,
    draft: Draft,
}

impl Making<'_> {
    fn group(&mut self) -> Result<(), Reason> {
        match self.draft.db.group(&own()) {
            Some(_) => Ok(()),
            None => {
                let policy = GroupPolicy::default();
                self.draft.push(Change::CreateGroup { group: own(), policy })
            }
        }
    }

    fn address(&mut self, wanted: Option<&str>) -> Result<(), Reason> {
        let id = ResourceId::from(CLUSTER_IP);
        let there = self.draft.db.resource(&id).is_some();
        let address = match wanted {
            Some(text) => self.read(text)?,
            None if there => return Ok(()),
            None => {
                return Err(Reason::new(Code::Invalid, "the cluster has no IP address of its own")
                    .because("no address is given")
                    .hint("`stead cluster ip ADDRESS` gives it one"));
            }
        };
        let settings = Settings::from([("address".to_owned(), Some(address))]);
        self.put(&id, (IP_ADDRESS, &[]), &settings)
    }

    /// The address with its prefix length.
    fn read(&self, text: &str) -> Result<String, Reason> {
        let wrong = || {
            Reason::new(
                Code::Invalid,
                format!("`{}` cannot be the cluster IP", text.escape_debug()),
            )
        };
        let alone: Option<IpAddr> = text.parse().ok();
        let full = match alone {
            Some(address) => format!("{address}/{}", self.prefix(address, wrong())?),
            None => text.to_owned(),
        };
        let (address, _) = parse_address(&full).ok_or_else(|| {
            wrong()
                .because("it is no address that clients could use")
                .hint("an address is as in `10.1.0.100`, `10.1.0.100/24` or `fd00::100/64`")
        })?;
        let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if address.is_loopback() || link_local {
            return Err(wrong()
                .because("it does not leave the host or its link")
                .hint("choose a free address of a network that clients reach"));
        }
        let has = |node: &&NodeEntry| node.addresses.iter().any(|own| own.address == address);
        match self.input.entries.iter().find(has) {
            None => Ok(full),
            Some(node) => Err(Reason::new(Code::Conflict, wrong().text)
                .because(format!("it is the address of {} `{}`", node.id, node.name))
                .hint("choose a free address of the same network: it moves between nodes")),
        }
    }

    fn prefix(&self, address: IpAddr, wrong: Reason) -> Result<u8, Reason> {
        self.networks.prefix(address).ok_or_else(|| {
            let known = self.networks.described();
            let why = known.map_or_else(
                || "no node has told yet which networks it is in".to_owned(),
                |known| format!("it is in none of the cluster's networks: {known}"),
            );
            wrong.because(why).hint(format!("give its prefix length, too, as in `{address}/24`"))
        })
    }

    /// The name of the cluster, published as is said; what is not said stays.
    fn name(&mut self, published: &BTreeMap<String, String>) -> Result<(), Reason> {
        let cluster = self.input.cluster;
        let refused =
            |code| Reason::new(code, format!("cannot publish the name of cluster `{cluster}`"));
        if published.contains_key(NAME) {
            return Err(refused(Code::Invalid)
                .because(format!("`{NAME}` is the name of the cluster, which stays"))
                .hint(format!("leave `{NAME}` out")));
        }
        let id = name_id();
        let there = self.draft.db.resource(&id).map(|(_, present)| present.clone());
        let had = there.iter().any(|present| present.properties.contains_key(DNS_SERVERS));
        if !had && !published.contains_key(DNS_SERVERS) {
            return Err(refused(Code::Invalid)
                .because(format!("`{DNS_SERVERS}` is missing: nobody would know the name"))
                .hint("say which server takes updates of which zone: `--dns-servers`, `--zone`"));
        }
        if !is_host_name(cluster) {
            return Err(refused(Code::Conflict)
                .because("it is no host name: up to 63 letters, digits and inner hyphens")
                .hint("the cluster IP works without a name"));
        }
        let given = published.iter().map(|(name, value)| (name.clone(), Some(value.clone())));
        let mut settings: Settings = given.collect();
        settings.insert(NAME.to_owned(), Some(cluster.to_owned()));
        self.put(&id, (NETWORK_NAME, &[CLUSTER_IP]), &settings)?;
        match there.filter(|present| present.desired == Desired::Offline) {
            None => Ok(()),
            Some(_) => {
                let desired = Desired::Online;
                self.draft.push(Change::SetResourceDesired { resource: id, desired })
            }
        }
    }

    /// The name is published no more: it goes at once where it does not run, else when it is
    /// offline.
    fn no_name(&mut self) -> Result<(), Reason> {
        self.draft.let_go(&name_id(), self.input)
    }

    fn online(&mut self) -> Result<(), Reason> {
        let group = check::group(&self.draft.db, &own())?;
        match group.desired {
            Desired::Online => Ok(()),
            Desired::Offline => {
                let desired = Desired::Online;
                self.draft.push(Change::SetGroupDesired { group: own(), desired })
            }
        }
    }

    /// Makes a resource, or gives it what it does not have yet.
    fn put(
        &mut self,
        id: &ResourceId,
        (kind, on): (&str, &[&str]),
        settings: &Settings,
    ) -> Result<(), Reason> {
        let host_names = self.input.host_names;
        let members = Members { nodes: &self.nodes, host_names, networks: &self.networks };
        let db = &self.draft.db;
        let Some((_, present)) = db.resource(id) else {
            let resource = ResourceConfig {
                id: id.clone(),
                kind: kind.to_owned(),
                properties: BTreeMap::new(),
                depends_on: on.iter().map(|on| ResourceId::from(*on)).collect::<BTreeSet<_>>(),
                possible_owners: None,
                desired: Desired::Online,
                policy: ResourcePolicy::default(),
                new_in: Epoch(0),
            };
            let resource = check::complete(db, (&own(), resource), settings, members)?;
            return self.draft.push(Change::CreateResource { group: own(), resource });
        };
        let change = check::set_resource(db, id, settings, members)?;
        match &change {
            Change::SetResource { properties, .. } if *properties == present.properties => Ok(()),
            _ => self.draft.push(change),
        }
    }
}

impl Draft {
    /// Deletes a resource of the cluster's own group where it does not run; else it shall be
    /// offline, and goes when it is.
    pub(super) fn let_go(&mut self, id: &ResourceId, input: &PlanInput<'_>) -> Result<(), Reason> {
        let Some((_, present)) = self.db.resource(id) else { return Ok(()) };
        let runs = input.db.resource(id).is_some() && deletable(input, id).is_err();
        match (runs, present.desired) {
            (true, Desired::Offline) => Ok(()),
            (true, Desired::Online) => {
                let desired = Desired::Offline;
                self.push(Change::SetResourceDesired { resource: id.clone(), desired })
            }
            (false, _) => self.push(check::delete_resource(&self.db, id)?),
        }
    }
}

fn own() -> GroupId {
    CORE_GROUP.into()
}

fn name_id() -> ResourceId {
    CLUSTER_NAME.into()
}

fn offline() -> Change {
    Change::SetGroupDesired { group: own(), desired: Desired::Offline }
}

fn reserved_group() -> Reason {
    Reason::new(Code::Conflict, format!("no group can be called `{CORE_GROUP}`"))
        .because("that is the cluster's own group, with the cluster IP, which the cluster makes")
        .hint("choose another name; `stead cluster ip ADDRESS` gives the cluster an IP address")
}

fn reserved_resource(resource: &ResourceId) -> Reason {
    Reason::new(Code::Conflict, format!("no resource can be called `{resource}`"))
        .because(format!("that is one of the cluster's own group `{CORE_GROUP}`"))
        .hint("choose another name; `stead cluster ip ADDRESS` gives the cluster an IP address")
}

/// The cluster is administered through it.
fn kept(text: String) -> Reason {
    Reason::new(Code::Conflict, text)
        .because(format!(
            "group `{CORE_GROUP}` is the cluster's own: the cluster is administered through it"
        ))
        .hint(format!(
            "`stead group move {CORE_GROUP}` has another node take it; `stead cluster ip --remove` \
             ends it"
        ))
}

/// Nothing of anybody else is in it or hangs on it.
fn foreign(text: String) -> Reason {
    Reason::new(Code::Conflict, text)
        .because(format!(
            "group `{CORE_GROUP}` is the cluster's own: nothing else is in it or depends on it"
        ))
        .hint("make a group with an address of its own: `stead group create`")
}
