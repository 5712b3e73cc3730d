//! Groups and alerts as they are, as a declaration: applied again it changes nothing.

use std::collections::BTreeMap;

use stead_model::core_group::{CORE_GROUP, is_core};
use stead_model::declaration::{Declaration, DeclaredAlert, DeclaredGroup, DeclaredResource};
use stead_model::group::Desired;
use stead_model::reason::{Code, Reason};
use stead_model::resource_type::builtin;
use stead_model::view::{AlertView, GroupView, ResourceView, View};

/// All groups and alerts but the cluster's own, or the groups named. Properties that have their
/// defaults are left out.
///
/// # Errors
/// One of the names is no group's, or the cluster's own.
pub fn declaration(view: &View, names: &[String]) -> Result<Declaration, Reason> {
    if names.iter().any(|name| name == CORE_GROUP) {
        let text = format!("group `{CORE_GROUP}` cannot be exported");
        return Err(Reason::new(Code::Conflict, text)
            .because("it is the cluster's own, and no declaration can have it")
            .hint("`stead cluster ip` shows it; `stead cluster backup` keeps it"));
    }
    let exists = |name: &&String| !view.groups.iter().any(|g| g.group.as_str() == name.as_str());
    if let Some(name) = names.iter().find(exists) {
        let text = format!("there is no group `{}`", name.escape_debug());
        return Err(Reason::new(Code::NotFound, text).hint("`stead group list` shows all groups"));
    }
    let named = |g: &&GroupView| match names {
        [] => !is_core(&g.group),
        names => names.iter().any(|name| g.group.as_str() == name),
    };
    let alerts = view.alerts.iter().filter(|_| names.is_empty());
    let mut declaration =
        Declaration { alerts: alerts.map(of_alert).collect(), ..Declaration::default() };
    view.groups.iter().filter(named).for_each(|group| add(&mut declaration, group));
    Ok(declaration)
}

/// All of a cluster's groups and alerts, its own group among them, unless it is to go.
pub(crate) fn whole(view: &View) -> Declaration {
    let mut declaration = Declaration {
        alerts: view.alerts.iter().map(of_alert).collect(),
        ..Declaration::default()
    };
    let goes = |g: &&GroupView| is_core(&g.group) && g.desired == Desired::Offline;
    let stays = view.groups.iter().filter(|group| !goes(group));
    stays.for_each(|group| add(&mut declaration, group));
    declaration
}

fn add(declaration: &mut Declaration, seen: &GroupView) {
    declaration.groups.push(DeclaredGroup {
        group: seen.group.clone(),
        properties: seen.policy.settings(),
        desired: Some(seen.desired),
        line: 0,
    });
    let goes = |r: &&ResourceView| is_core(&seen.group) && r.desired == Desired::Offline;
    let stays = seen.resources.iter().filter(|resource| !goes(resource));
    declaration.resources.extend(stays.map(|resource| of_resource(seen, resource)));
}

fn of_alert(seen: &AlertView) -> DeclaredAlert {
    DeclaredAlert { alert: seen.alert.clone(), properties: seen.properties.clone(), line: 0 }
}

fn of_resource(group: &GroupView, seen: &ResourceView) -> DeclaredResource {
    let default = |name: &str| {
        let kind = builtin(&seen.kind)?;
        kind.properties.iter().find(|p| p.name == name)?.default
    };
    let own = seen.properties.iter();
    let own = own.filter(|(name, value)| default(name) != Some(value.as_str()));
    let mut properties: BTreeMap<String, String> =
        own.map(|(name, value)| (name.clone(), value.clone())).collect();
    let policy = seen.policy.settings().into_iter();
    properties.extend(policy.map(|(name, value)| (name.to_owned(), value)));
    let owners: Vec<String> = seen.possible_owners.iter().map(ToString::to_string).collect();
    if !owners.is_empty() {
        properties.insert("possible-owners".to_owned(), owners.join(","));
    }
    DeclaredResource {
        group: group.group.clone(),
        resource: seen.resource.clone(),
        kind: seen.kind.clone(),
        properties,
        depends_on: seen.depends_on.iter().cloned().collect(),
        desired: (seen.desired == Desired::Offline).then_some(Desired::Offline),
        line: 0,
    }
}
