//! Virtual servers: a name belongs to one resource, stands on an address of its group, and is what
//! all that stands on the name sees as its host name.

use std::collections::BTreeSet;

use stead_model::ResourceId;
use stead_model::core_group::is_core_resource;
use stead_model::group::Desired;
use stead_model::reason::{Code, Reason};
use stead_model::resource::ResourceConfig;
use stead_model::resource_type::{IP_ADDRESS, NETWORK_NAME, TSIG_KEY, parse_address};
use stead_model::server::{DNS_SERVERS, NAME, VirtualServer, ZONE};

use super::Db;
use super::tree::Resources;

/// The virtual server that a resource is part of or stands on, directly or through others.
pub(crate) fn of(resources: &Resources, id: &ResourceId) -> VirtualServer {
    let mut server = VirtualServer::default();
    for below in below(resources, id) {
        match below.kind.as_str() {
            NETWORK_NAME => {
                server.name = below.properties.get(NAME).cloned();
                server.domain = below.properties.get(ZONE).cloned();
            }
            IP_ADDRESS => {
                let value = below.properties.get("address").and_then(|text| parse_address(text));
                server.addresses.extend(value.map(|(address, _)| address));
            }
            _ => {}
        }
    }
    server
}

/// The virtual servers of a group, in the order of the resources' names.
pub(crate) fn of_group(resources: &Resources) -> Vec<VirtualServer> {
    let names = resources.values().filter(|config| config.kind == NETWORK_NAME);
    names.map(|config| of(resources, &config.id)).collect()
}

/// A resource and all that it stands on, in the order of their names.
fn below<'a>(
    resources: &'a Resources,
    id: &ResourceId,
) -> impl Iterator<Item = &'a ResourceConfig> + use<'a> {
    let mut found = BTreeSet::new();
    let mut open = vec![id.clone()];
    while let Some(next) = open.pop() {
        if let Some(config) = resources.get(&next)
            && found.insert(next)
        {
            open.extend(config.depends_on.iter().cloned());
        }
    }
    found.into_iter().filter_map(|id| resources.get(&id))
}

/// The resource that publishes the name of a host, whatever its domain.
pub(crate) fn named<'a>(db: &'a Db, host: &str) -> Option<&'a ResourceConfig> {
    let label = host.split('.').next().unwrap_or(host);
    let has = |resource: &&ResourceConfig| {
        let name = resource.properties.get(NAME).filter(|_| resource.kind == NETWORK_NAME);
        name.is_some_and(|name| name.eq_ignore_ascii_case(label))
    };
    db.groups().values().flat_map(|group| group.resources.values()).find(has)
}

/// Refuses a name that another resource, a node or the cluster has, and properties that say nothing
/// alone.
pub(super) fn check(
    db: &Db,
    resource: &ResourceConfig,
    host_names: &[String],
) -> Result<(), Reason> {
    if resource.kind != NETWORK_NAME {
        return Ok(());
    }
    let Some(name) = resource.properties.get(NAME) else { return Ok(()) };
    let label =
        |host: &String| host.split('.').next().is_some_and(|l| l.eq_ignore_ascii_case(name));
    // The name of the cluster is for the cluster's own group, and for no other.
    let others = !is_core_resource(&resource.id);
    if let Some(host) = host_names.iter().find(|host| others && label(host)) {
        let text = format!("resource `{}` cannot have host name `{name}`", resource.id);
        return Err(Reason::new(Code::Conflict, text)
            .because(format!("a node or the cluster is called `{host}`"))
            .hint("a virtual server needs a name of its own; choose another `host-name`"));
    }
    let same = |other: &&ResourceConfig| {
        let theirs = other.properties.get(NAME).filter(|_| other.kind == NETWORK_NAME);
        other.id != resource.id && theirs.is_some_and(|theirs| theirs.eq_ignore_ascii_case(name))
    };
    for group in db.groups().values() {
        if let Some(other) = group.resources.values().find(same) {
            let text = format!("resource `{}` cannot have host name `{name}`", resource.id);
            let has = format!("resource `{}` of group `{}` has it", other.id, group.id);
            return Err(Reason::new(Code::Conflict, text)
                .because(has)
                .hint("a name is one virtual server; choose another `host-name`"));
        }
    }
    let given = |name: &str| resource.properties.contains_key(name);
    for (name, needs) in [(DNS_SERVERS, ZONE), (TSIG_KEY, DNS_SERVERS)] {
        if given(name) && !given(needs) {
            let text = format!("property `{needs}` of resource `{}` is missing", resource.id);
            return Err(Reason::new(Code::Invalid, text)
                .because(format!("`{name}` has no meaning without it")));
        }
    }
    Ok(())
}

/// Refuses to bring a network name online that has no address to stand on, and one of two
/// under the same resource: what is on both could see only one.
pub(super) fn check_online(resources: &Resources, ids: &[&ResourceId]) -> Result<(), Reason> {
    for id in ids {
        let kinds = |kind: &'static str| below(resources, id).filter(move |c| c.kind == kind);
        let is_name = resources.get(*id).is_some_and(|config| config.kind == NETWORK_NAME);
        if is_name && kinds(IP_ADDRESS).next().is_none() {
            return Err(no_address(id, format!("cannot bring network name `{id}` online")));
        }
        let mut names = kinds(NETWORK_NAME);
        if let (Some(one), Some(two)) = (names.next(), names.next()) {
            let text = format!("cannot bring resource `{id}` online");
            return Err(Reason::new(Code::Conflict, text)
                .because(format!("it stands on the network names `{}` and `{}`", one.id, two.id))
                .hint("`resource undepend` one of them: it can see only one host name"));
        }
    }
    Ok(())
}

/// Refuses to take the last address away from under a network name that is in service.
pub(super) fn check_dependencies(resources: &Resources, id: &ResourceId) -> Result<(), Reason> {
    let in_service = |config: &&ResourceConfig| config.desired == Desired::Online;
    let Some(config) = resources.get(id).filter(in_service) else { return Ok(()) };
    let address = below(resources, id).any(|below| below.kind == IP_ADDRESS);
    if config.kind != NETWORK_NAME || address {
        return Ok(());
    }
    Err(no_address(id, format!("network name `{id}` cannot be without an address")))
}

fn no_address(id: &ResourceId, text: String) -> Reason {
    Reason::new(Code::Invalid, text)
        .because("it depends on no `ip-address` of its group: a virtual server is name and address")
        .hint(format!("`resource depend {id} --on ADDRESS`"))
}
