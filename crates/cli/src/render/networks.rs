//! Networks, the interfaces on them, and the links over them.

use stead_api::contract::LinkEntry;
use stead_model::config::NetworkRole;
use stead_model::network::InterfaceState;
use stead_model::view::{InterfaceView, LinkView, NetworkView, NodeView, View};

use super::{Table, facts};
use crate::reach::name_of;

/// All networks.
pub(crate) fn networks(all: &[NetworkView]) -> String {
    let mut table = Table::new(&["NETWORK", "SUBNET", "ROLE", "PRIORITY", "INTERFACES"]);
    for network in all {
        table.row(vec![
            network.name.clone(),
            subnets(network),
            network.role.word().into(),
            network.priority.text(),
            summary(&network.interfaces),
        ]);
    }
    table.text_or("no networks")
}

/// One network with the interface of every node on it.
pub(crate) fn network(view: &View, network: &NetworkView) -> String {
    let mut text = facts(&[
        ("network", network.name.clone()),
        ("subnet", subnets(network)),
        ("role", format!("{}: {}", network.role.word(), purpose(network.role))),
        ("priority", network.priority.text()),
    ]);
    if network.interfaces.is_empty() {
        return text;
    }
    let seen = format!("LINK FROM {}", view.node.to_string().to_uppercase());
    let mut table = Table::new(&["NODE", "INTERFACE", "ADDRESS", "STATE", &seen]);
    for interface in &network.interfaces {
        let of_node = |n: &&NodeView| n.node == interface.node;
        let links = view.nodes.iter().filter(of_node).flat_map(|node| &node.links);
        let link = links.filter(|link| link.network == network.id).map(up).next();
        table.row(vec![
            name_of(view, interface.node),
            interface.name.clone().unwrap_or_else(|| "unknown".into()),
            interface.address.to_string(),
            interface.state.map_or("unknown", InterfaceState::word).into(),
            link.unwrap_or("-").into(),
        ]);
    }
    text.push('\n');
    text.push_str(&table.text());
    text
}

/// Links with their figures.
pub(crate) fn links(view: &View, all: &[LinkEntry]) -> String {
    let mut table = Table::new(&[
        "NETWORK",
        "TO",
        "STATE",
        "LOSS",
        "ROUND TRIP",
        "JITTER",
        "RECEIVED",
        "LOST",
        "SENT",
        "UNSENT",
    ]);
    for LinkEntry { to, link, .. } in all {
        table.row(vec![
            link.name.clone(),
            name_of(view, *to),
            up(link).into(),
            format!("{}.{} %", link.loss_permille / 10, link.loss_permille % 10),
            link.round_trip_us.map_or_else(|| "-".into(), millis),
            link.jitter_us.map_or_else(|| "-".into(), millis),
            link.received.to_string(),
            link.lost.to_string(),
            link.sent.to_string(),
            link.unsent.to_string(),
        ]);
    }
    table.text_or("no links: there is no other node")
}

fn millis(us: u64) -> String {
    format!("{}.{:02} ms", us / 1_000, us % 1_000 / 10)
}

fn subnets(network: &NetworkView) -> String {
    let all: Vec<String> = network.subnets.iter().map(ToString::to_string).collect();
    if all.is_empty() { "unknown".into() } else { all.join(", ") }
}

/// How many are up, and those that are not.
fn summary(interfaces: &[InterfaceView]) -> String {
    let is_up = |one: &&InterfaceView| one.state == Some(InterfaceState::Up);
    let mut text =
        format!("{} of {} up", interfaces.iter().filter(is_up).count(), interfaces.len());
    for one in interfaces.iter().filter(|one| !is_up(one)) {
        let state = one.state.map_or("unknown", InterfaceState::word);
        text.push_str(&format!(", {} {state}", one.node));
    }
    text
}

pub(super) const fn up(link: &LinkView) -> &'static str {
    if link.up { "up" } else { "silent" }
}

const fn purpose(role: NetworkRole) -> &'static str {
    match role {
        NetworkRole::Private => "the nodes alone",
        NetworkRole::Public => "clients alone",
        NetworkRole::Mixed => "the nodes and clients",
    }
}
