//! What an administrator should do something about, each with the command to begin with.
//!
//! A pure function of a view. What is *urgent* is not as it should be; the rest are reminders of
//! what is put aside or left undone and may be forgotten: paused nodes, pins, maintenance,
//! quarantine, a level that could be raised.

use stead_model::NodeId;
use stead_model::config::QuorumMode;
use stead_model::forced::names;
use stead_model::group::{Desired, GroupState};
use stead_model::network::InterfaceState;
use stead_model::resource::ResourceState;
use stead_model::upkeep::{Drain, Upkeep};
use stead_model::view::{AlertView, GroupView, NetworkView, NodeState, NodeView, QuorumView, View};

use crate::contract::Attention;

/// Everything that needs somebody, what is urgent first; without quorum that alone, since nothing
/// else is known for certain.
#[must_use]
pub fn list(view: &View) -> Vec<Attention> {
    if !view.quorum.has_quorum {
        let text = match &view.quorum.lacks {
            Some(lacks) => format!("no quorum: {lacks}"),
            None => "no quorum".to_owned(),
        };
        return vec![urgent(forcing(view).unwrap_or(text), "stead quorum show")];
    }
    let own = view.troubles.iter().map(|text| urgent(text.clone(), "stead event list"));
    let nodes = view.nodes.iter().flat_map(|node| of_node(view, node));
    let networks = view.networks.iter().flat_map(|network| of_network(view, network));
    let disk = of_disk(&view.quorum).into_iter().chain(of_forced(view));
    let groups = view.groups.iter().flat_map(of_group);
    let alerts = view.alerts.iter().filter_map(|alert| of_alert(view, alert));
    let upkeep = view.upkeep.iter().filter_map(|upkeep| of_upkeep(view, upkeep));
    let (keys, level) = (of_keys(view), of_level(view));
    let urgent = own.chain(nodes).chain(networks).chain(disk).chain(groups).chain(alerts);
    urgent.chain(keys).chain(upkeep).chain(level).collect()
}

fn urgent(text: String, command: impl Into<String>) -> Attention {
    Attention { urgent: true, text, command: command.into(), until: None }
}

fn name_of(view: &View, node: NodeId) -> String {
    match view.nodes.iter().find(|n| n.node == node) {
        Some(found) if !found.name.is_empty() => format!("{node} {}", found.name),
        Some(_) | None => node.to_string(),
    }
}

fn of_node(view: &View, node: &NodeView) -> Vec<Attention> {
    let name = name_of(view, node.node);
    let show = format!("stead node show {}", node.node);
    match node.state {
        NodeState::Down if node.left => vec![urgent(format!("{name} has left and is down"), show)],
        NodeState::Down => vec![urgent(format!("{name} is down"), show)],
        NodeState::Isolated if node.node == view.node => {
            vec![urgent(format!("{name} is isolated: it hears no other node"), show)]
        }
        NodeState::Isolated => {
            vec![urgent(format!("{name} is isolated: silent on all networks"), show)]
        }
        NodeState::Up => node
            .links
            .iter()
            .filter(|link| !link.up && link.role.carries_cluster())
            .map(|link| {
                urgent(format!("{name} is silent on network `{}`", link.name), show.clone())
            })
            .collect(),
    }
}

/// Interfaces that do not work; those of nodes that are silent are not known.
fn of_network<'a>(
    view: &'a View,
    network: &'a NetworkView,
) -> impl Iterator<Item = Attention> + 'a {
    network.interfaces.iter().filter_map(move |interface| {
        let what = match interface.state? {
            InterfaceState::Up => return None,
            InterfaceState::NoCarrier => "has no carrier",
            InterfaceState::Down => "is switched off",
            InterfaceState::Absent => "is gone, or has not the node's address",
        };
        let named = interface.name.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default();
        let (node, network) = (name_of(view, interface.node), &network.name);
        let text = format!("interface{named} of {node} on network `{network}` {what}");
        Some(urgent(text, format!("stead network show {network}")))
    })
}

fn of_disk(quorum: &QuorumView) -> Option<Attention> {
    let used = match quorum.mode? {
        QuorumMode::NodeAndDiskMajority | QuorumMode::DiskOnly => true,
        QuorumMode::NodeMajority => false,
    };
    let state = quorum.disk_state.as_deref().unwrap_or("its state is unknown");
    let text = format!("no node hosts the quorum disk: {state}");
    (used && quorum.disk_host.is_none()).then(|| urgent(text, "stead quorum show"))
}

/// How far a quorum that is being forced is.
fn forcing(view: &View) -> Option<String> {
    let forcing = view.quorum.forcing.as_ref()?;
    let lost = names(&forcing.lost);
    Some(match forcing.until {
        Some(until) => {
            let left = until.0.saturating_sub(view.at.0).div_ceil(1_000);
            format!("no quorum: it is being forced without {lost}, in {left} s")
        }
        None => format!("no quorum: it is being forced without {lost}, and the disk claimed first"),
    })
}

/// Quorum was forced, and not all are back.
fn of_forced(view: &View) -> Option<Attention> {
    let forced = view.quorum.forced.as_ref()?;
    let (node, missing) = (name_of(view, forced.node), names(&forced.missing));
    let text = format!("quorum was forced on {node} by {}: {missing} not back", forced.who);
    Some(urgent(text, "stead quorum show"))
}

fn of_group(group: &GroupView) -> Vec<Attention> {
    let name = &group.group;
    let mut found = Vec::new();
    if let Some(why) = &group.failed {
        let text = format!("group `{name}` stays down: {why}");
        found.push(urgent(text, format!("stead explain group {name}")));
    } else if !as_wanted(group) || group.waits.is_some() {
        let wanted = group.desired.word();
        let waits = group.waits.as_ref().map(|waits| format!(": {waits}")).unwrap_or_default();
        let text = format!("group `{name}` is {}, wanted {wanted}{waits}", group.state.word());
        found.push(urgent(text, format!("stead explain group {name}")));
    }
    if let Some(against) = &group.against {
        let text = format!("group `{name}`: {against}");
        found.push(urgent(text, format!("stead explain group {name}")));
    }
    let failed = group.resources.iter().filter(|r| r.state == ResourceState::Failed);
    found.extend(failed.map(|resource| {
        let detail = resource.detail.as_deref().unwrap_or("no reason is known");
        let text = format!("resource `{}` failed: {detail}", resource.resource);
        urgent(text, format!("stead resource logs {}", resource.resource))
    }));
    found
}

fn of_alert(view: &View, alert: &AlertView) -> Option<Attention> {
    let (name, node) = (&alert.alert, name_of(view, view.node));
    let why = alert.track.trouble()?;
    Some(urgent(
        format!("alert `{name}` does not get through from {node}: {why}"),
        format!("stead alert test {name}"),
    ))
}

/// A rotation that waits: nothing is lost by it, and no node can join.
fn of_keys(view: &View) -> Option<Attention> {
    let rotation = view.rotation.as_ref().filter(|rotation| !rotation.is_over())?;
    let awaited = rotation.awaited.iter();
    let awaited = awaited.map(|wait| format!("{} {}", name_of(view, wait.node), wait.why));
    let awaited: Vec<String> = awaited.collect();
    let text = format!(
        "the keys of the cluster are being rotated ({}): {}",
        rotation.phase.word(),
        if awaited.is_empty() { "all nodes are ready".into() } else { awaited.join(", ") }
    );
    let command = "stead cluster rotate-keys --plan".to_owned();
    Some(Attention { urgent: false, text, command, until: None })
}

/// Every node knows a later level than the cluster uses: someone may be waiting for it, or has
/// forgotten it after an upgrade. To stay is fine, too: it keeps the way back.
fn of_level(view: &View) -> Option<Attention> {
    let next = view.may_raise().ok().filter(|_| !view.nodes.is_empty())?;
    let text = format!("the cluster is at {}, and every node knows {next}", view.level);
    let command = "stead cluster level".to_owned();
    Some(Attention { urgent: false, text, command, until: None })
}

/// What stands is a reminder; a group that a drain has left behind shows as its state.
fn of_upkeep(view: &View, upkeep: &Upkeep) -> Option<Attention> {
    let (text, command) = match upkeep {
        Upkeep::Pause { node, drain } => {
            let drained = match drain {
                Drain::No => "",
                Drain::Yes | Drain::ForceOffline => " and drained",
            };
            let text =
                format!("{} is paused{drained}: it is given no groups", name_of(view, *node));
            (text, format!("stead node resume {node}"))
        }
        Upkeep::Pin { group, node, .. } => {
            (format!("group `{group}` is pinned to {node}"), format!("stead group unpin {group}"))
        }
        Upkeep::Maintain { group, resource: None, .. } => (
            format!("group `{group}` is in maintenance: nothing is done about it"),
            format!("stead group maintain {group} --end"),
        ),
        Upkeep::Maintain { resource: Some(resource), .. } => (
            format!("resource `{resource}` is in maintenance: nothing is done about it"),
            format!("stead resource maintain {resource} --end"),
        ),
        Upkeep::Quarantine { node, .. } => {
            let text = format!(
                "{} is in quarantine: it was lost again and again, and is given no groups that \
                 another node may take",
                name_of(view, *node)
            );
            (text, format!("stead node resume {node}"))
        }
        Upkeep::Resume { .. }
        | Upkeep::Unpin { .. }
        | Upkeep::EndMaintenance { .. }
        | Upkeep::EndQuarantine { .. } => return None,
    };
    Some(Attention { urgent: false, text, command, until: upkeep.until() })
}

/// A group is as wanted when all of its resources that shall run do, and no other does.
fn as_wanted(group: &GroupView) -> bool {
    let empty = group.resources.is_empty();
    match (group.desired, group.state) {
        (Desired::Online, GroupState::Online) | (Desired::Offline, GroupState::Offline) => true,
        // Nothing in it shall run.
        (Desired::Online, GroupState::Offline | GroupState::PartialOnline) => {
            empty
                || group.resources.iter().all(|resource| match resource.desired {
                    Desired::Online => resource.state == ResourceState::Online,
                    Desired::Offline => resource.state == ResourceState::Offline,
                })
        }
        (Desired::Online, GroupState::Pending | GroupState::Failed | GroupState::Unknown)
        | (
            Desired::Offline,
            GroupState::Online
            | GroupState::PartialOnline
            | GroupState::Pending
            | GroupState::Failed
            | GroupState::Unknown,
        ) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::example_node;
    use stead_model::program::{Levels, Program};

    fn node(number: u16, program: Option<Program>) -> NodeView {
        NodeView { name: String::new(), program, ..example_node(number) }
    }

    #[test]
    fn a_level_that_every_node_knows_is_a_reminder_until_it_is_raised() {
        let quorum = QuorumView { has_quorum: true, ..QuorumView::default() };
        let nodes = [1, 2].map(|number| node(number, Some(Program::own()))).to_vec();
        let mut view = View { quorum, nodes, ..View::default() };
        let all = list(&view);
        let [reminder] = &all[..] else { panic!("{all:?}") };
        assert_eq!(reminder.text, "the cluster is at level 1, and every node knows level 2");
        assert!(!reminder.urgent && reminder.command == "stead cluster level", "{reminder:?}");
        view.nodes[1].program = None;
        assert!(list(&view).is_empty(), "a node did not tell");
        view.nodes[1] = node(2, Some(Program::own()));
        view.level = Levels::OWN.highest;
        assert!(list(&view).is_empty(), "it is raised");
        let nobody = View { nodes: Vec::new(), ..view };
        assert!(list(&nobody).is_empty(), "the log is being read");
    }
}
