//! Groups and alerts as they are, as a declaration: applied again it changes nothing.

use std::collections::BTreeMap;

use stead_model::declaration::{Declaration, DeclaredAlert, DeclaredGroup, DeclaredResource};
use stead_model::group::Desired;
use stead_model::reason::{Code, Reason};
use stead_model::resource_type::builtin;
use stead_model::view::{AlertView, GroupView, ResourceView, View};

/// All groups and alerts, or the groups named. Properties that have their defaults are left out.
///
/// # Errors
/// One of the names is no group's.
pub fn declaration(view: &View, names: &[String]) -> Result<Declaration, Reason> {
    let exists = |name: &&String| !view.groups.iter().any(|g| g.group.as_str() == name.as_str());
    if let Some(name) = names.iter().find(exists) {
        let text = format!("there is no group `{}`", name.escape_debug());
        return Err(Reason::new(Code::NotFound, text).hint("`stead group list` shows all groups"));
    }
    let named =
        |g: &&GroupView| names.is_empty() || names.iter().any(|name| g.group.as_str() == name);
    let mut declaration = Declaration::default();
    let alerts = view.alerts.iter().filter(|_| names.is_empty());
    declaration.alerts = alerts.map(of_alert).collect();
    for seen in view.groups.iter().filter(named) {
        declaration.groups.push(DeclaredGroup {
            group: seen.group.clone(),
            properties: seen.policy.settings(),
            desired: Some(seen.desired),
            line: 0,
        });
        let resources = seen.resources.iter().map(|resource| of_resource(seen, resource));
        declaration.resources.extend(resources);
    }
    Ok(declaration)
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
