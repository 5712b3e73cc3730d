//! Groups and resources.

use std::collections::BTreeMap;

use stead_api::contract::ResourceEntry;
use stead_model::NodeId;
use stead_model::group_policy::written_time;
use stead_model::resource::Health;
use stead_model::server::VirtualServer;
use stead_model::usage::Usage;
use stead_model::view::{GroupView, ResourceView, View};

use super::{Table, facts, moment};

/// All groups.
pub(crate) fn groups(groups: &[GroupView]) -> String {
    let header = ["GROUP", "SERVER", "STATE", "WANTED", "OWNER", "EPOCH", "SAFETY", "WHY"];
    let mut table = Table::new(&header);
    for group in groups {
        let names = group.servers.iter().filter_map(|server| server.name.clone());
        table.row(vec![
            group.group.to_string(),
            listed(&names.collect::<Vec<_>>()),
            group.state.word().into(),
            group.desired.word().into(),
            node(group.owner),
            group.epoch.to_string(),
            format!("{:?}", group.safety),
            group.why.clone(),
        ]);
    }
    table.text_or("no groups")
}

/// One group with its policy and resources.
pub(crate) fn group(group: &GroupView) -> String {
    let mut lines = vec![
        ("group", group.group.to_string()),
        ("state", format!("{}, wanted {}", group.state.word(), group.desired.word())),
        ("owner", node(group.owner)),
        ("epoch", group.epoch.to_string()),
        ("why", group.why.clone()),
    ];
    lines.extend(servers(&group.servers));
    lines.extend(group.failed.clone().map(|why| ("failed", why)));
    lines.extend([
        ("safety", format!("{:?}, {}", group.safety, group.safety_why)),
        ("failovers", failovers(group)),
    ]);
    lines.extend(group.waits.clone().map(|waits| ("waits", waits)));
    lines.extend(group.against.clone().map(|against| ("rule", against)));
    lines.extend(group.retry_at.map(|at| ("tried again", moment::to_second(at))));
    lines.extend(group.policy.properties());
    let mut text = facts(&lines);
    if !group.resources.is_empty() {
        text.push('\n');
        text.push_str(&members(&group.resources));
    }
    text
}

/// The virtual servers of a group, a line each.
pub(super) fn servers(servers: &[VirtualServer]) -> impl Iterator<Item = (&'static str, String)> {
    servers.iter().map(|server| ("virtual server", server.to_string()))
}

/// How many failovers count, how many it takes, and when the oldest is forgotten.
fn failovers(group: &GroupView) -> String {
    let period = written_time(group.policy.failover_period_s);
    let mut text = format!("{} of {} in {period}", group.failovers, group.failover_limit);
    if let Some(until) = group.failovers_until {
        text.push_str(&format!(", the oldest counts until {}", moment::to_second(until)));
    }
    text
}

fn members(resources: &[ResourceView]) -> String {
    let mut table = Table::new(&["RESOURCE", "TYPE", "STATE", "HEALTH", "DEPENDS ON", "DETAIL"]);
    for resource in resources {
        let depends: Vec<_> = resource.depends_on.iter().map(ToString::to_string).collect();
        table.row(vec![
            resource.resource.to_string(),
            resource.kind.clone(),
            resource.state.word().into(),
            health(resource.health).into(),
            listed(&depends),
            resource.detail.clone().unwrap_or_default(),
        ]);
    }
    table.text()
}

/// All resources of all groups.
pub(crate) fn resources(view: &View) -> String {
    let header = ["RESOURCE", "GROUP", "TYPE", "STATE", "WANTED", "OWNER", "HEALTH", "DETAIL"];
    let mut table = Table::new(&header);
    for group in &view.groups {
        for resource in &group.resources {
            table.row(vec![
                resource.resource.to_string(),
                group.group.to_string(),
                resource.kind.clone(),
                resource.state.word().into(),
                resource.desired.word().into(),
                node(group.owner),
                health(resource.health).into(),
                resource.detail.clone().unwrap_or_default(),
            ]);
        }
    }
    table.text_or("no resources")
}

/// One resource with its properties and policy.
pub(crate) fn resource(entry: &ResourceEntry) -> String {
    let resource = &entry.resource;
    let policy = &resource.policy;
    let depends: Vec<_> = resource.depends_on.iter().map(ToString::to_string).collect();
    let mut lines = vec![
        ("resource", resource.resource.to_string()),
        ("group", entry.group.to_string()),
        ("type", resource.kind.clone()),
        ("state", format!("{}, wanted {}", resource.state.word(), resource.desired.word())),
        ("owner", node(entry.owner)),
        ("health", health(resource.health).into()),
        ("restarts", format!("{} in {}", resource.restarts, written_time(policy.restart_period_s))),
    ];
    lines.extend(resource.detail.clone().map(|detail| ("detail", detail)));
    let used = resource.used.filter(|used| *used != Usage::default());
    lines.extend(used.map(|used| ("uses", used.to_string())));
    lines.push(("depends on", listed(&depends)));
    let mut text = facts(&lines);
    text.push('\n');
    text.push_str(&properties(resource));
    text
}

fn properties(resource: &ResourceView) -> String {
    let policy = &resource.policy;
    let owners: Vec<_> = resource.possible_owners.iter().map(NodeId::to_string).collect();
    let owners = if owners.is_empty() { "all".into() } else { owners.join(",") };
    let mut all: BTreeMap<&str, String> = BTreeMap::from([
        ("restart-action", policy.restart_action.word().to_owned()),
        ("affects-group", policy.affects_group.to_string()),
        ("retry-after", written_time(policy.retry_after_s)),
        ("restart-threshold", policy.restart_threshold.to_string()),
        ("restart-period", format!("{}s", policy.restart_period_s)),
        ("pending-timeout", format!("{}ms", policy.pending_timeout_ms)),
        ("looks-alive", format!("{}ms", policy.looks_alive_ms)),
        ("is-alive", format!("{}ms", policy.is_alive_ms)),
        ("separate-monitor", policy.separate_monitor.to_string()),
        ("possible-owners", owners),
    ]);
    all.extend(resource.properties.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let mut table = Table::new(&["PROPERTY", "VALUE"]);
    for (name, value) in all {
        table.row(vec![name.into(), value]);
    }
    table.text()
}

const fn health(health: Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Good => "good",
        Health::Bad => "bad",
    }
}

fn node(owner: Option<NodeId>) -> String {
    owner.map_or_else(|| "-".to_owned(), |node| node.to_string())
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}
