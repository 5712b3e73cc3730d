//! How available each group is, as the course states it per configuration: very high, high
//! until a failover, only while a node can take it, none.
//!
//! A pure function of a view: who may own the group, who of them is up and takes groups, and what
//! those run already. Without quorum nothing is known for certain and nothing fails over.

use std::collections::BTreeSet;

use serde::Serialize;
use stead_model::group::Desired;
use stead_model::upkeep::Upkeep;
use stead_model::view::{GroupView, NodeState, NodeView, View};
use stead_model::{GroupId, NodeId};

/// What happens to a group when its node fails now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Availability {
    /// A node that runs nothing else takes it over: after a failover it is as before.
    VeryHigh,
    /// A node takes it over beside groups of its own: until then it has a node for itself.
    HighUntilFailover,
    /// It shall run and nobody takes it over: it is restarted in place only.
    None,
    /// It shall not run.
    NotWanted,
}

impl Availability {
    /// The words people read.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::VeryHigh => "very high",
            Self::HighUntilFailover => "high until failover",
            Self::None => "none",
            Self::NotWanted => "not wanted",
        }
    }
}

/// The statement about one group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Statement {
    /// The group.
    pub group: GroupId,
    /// How available it is.
    pub availability: Availability,
    /// The nodes that may take it over now, idle ones first.
    pub spares: Vec<NodeId>,
    /// Why, one sentence.
    pub why: String,
}

/// The statements about all groups.
#[must_use]
pub fn report(view: &View) -> Vec<Statement> {
    view.groups.iter().map(|group| statement(view, group)).collect()
}

fn statement(view: &View, group: &GroupView) -> Statement {
    let is_idle = |node: &NodeId| !view.groups.iter().any(|g| g.owner == Some(*node));
    let (mut spares, busy): (Vec<NodeId>, Vec<NodeId>) = spares(view, group).partition(is_idle);
    let idle = spares.first().copied();
    spares.extend(&busy);
    let (availability, why) = if group.desired == Desired::Offline {
        (Availability::NotWanted, "it shall be offline".to_owned())
    } else if let Some(why) = nobody(view, group, &spares) {
        (Availability::None, why)
    } else if let Some(idle) = idle {
        let why = format!("{idle} runs no other group and takes it over whole");
        (Availability::VeryHigh, why)
    } else {
        let why = match spares.as_slice() {
            [only] => format!("{only} takes it over beside groups of its own"),
            several => format!("{} take it over beside groups of their own", numbers(several)),
        };
        (Availability::HighUntilFailover, why)
    };
    Statement { group: group.group.clone(), availability, spares, why }
}

/// Why nobody takes it over, if that is so.
fn nobody(view: &View, group: &GroupView, spares: &[NodeId]) -> Option<String> {
    if !view.quorum.has_quorum {
        return Some("without quorum nothing fails over".to_owned());
    }
    if let Some(why) = &group.failed {
        return Some(format!("it stays down: {why}"));
    }
    if !spares.is_empty() {
        return None;
    }
    if view.nodes.len() == 1 {
        return Some("the cluster has no other node: it is restarted in place only".to_owned());
    }
    let others: Vec<NodeId> = view
        .nodes
        .iter()
        .map(|n| n.node)
        .filter(|n| may_own(group, *n) && group.owner != Some(*n))
        .collect();
    Some(match others.as_slice() {
        [] => "no other node is a possible owner".to_owned(),
        others => format!("{} may own it, and none of them can take it now", numbers(others)),
    })
}

/// The nodes beside its owner that may take a group now.
fn spares<'a>(view: &'a View, group: &'a GroupView) -> impl Iterator<Item = NodeId> + 'a {
    let paused: BTreeSet<NodeId> = view
        .upkeep
        .iter()
        .filter_map(|upkeep| match upkeep {
            Upkeep::Pause { node, .. } => Some(*node),
            Upkeep::Resume { .. }
            | Upkeep::Pin { .. }
            | Upkeep::Unpin { .. }
            | Upkeep::Maintain { .. }
            | Upkeep::EndMaintenance { .. }
            // It comes last, but it may.
            | Upkeep::Quarantine { .. }
            | Upkeep::EndQuarantine { .. } => None,
        })
        .collect();
    let up = |node: &&NodeView| node.state == NodeState::Up && !node.left;
    view.nodes.iter().filter(up).map(|node| node.node).filter(move |node| {
        group.owner != Some(*node) && !paused.contains(node) && may_own(group, *node)
    })
}

/// Whether a node is a possible owner of every resource that shall run.
fn may_own(group: &GroupView, node: NodeId) -> bool {
    let wanted = group.resources.iter().filter(|r| r.desired == Desired::Online);
    wanted.map(|r| &r.possible_owners).all(|owners| owners.is_empty() || owners.contains(&node))
}

fn numbers(nodes: &[NodeId]) -> String {
    let all: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    match all.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => all.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use stead_model::upkeep::Drain;
    use stead_model::view::QuorumView;

    use super::*;
    use crate::document::{example_group, example_node};

    /// Nodes that are up, and groups with their owners.
    fn cluster(nodes: u16, groups: &[(&str, u16)]) -> View {
        let group = |(name, owner): &(&str, u16)| {
            let owner = (*owner > 0).then_some(NodeId(*owner));
            GroupView { owner, ..example_group(name) }
        };
        View {
            quorum: QuorumView { has_quorum: true, ..QuorumView::default() },
            nodes: (1..=nodes).map(example_node).collect(),
            groups: groups.iter().map(group).collect(),
            ..View::default()
        }
    }

    fn said(view: &View) -> Vec<String> {
        let line = |s: &Statement| format!("{}: {}: {}", s.group, s.availability.words(), s.why);
        report(view).iter().map(line).collect()
    }

    #[test]
    fn a_159_active_passive_is_very_high() {
        let view = cluster(2, &[("accounting", 1)]);
        let expected = "accounting: very high: n2 runs no other group and takes it over whole";
        assert_eq!(said(&view), [expected]);
    }

    #[test]
    fn a_159_active_active_is_high_until_a_failover() {
        let view = cluster(2, &[("engineering", 1), ("accounting", 2)]);
        assert_eq!(
            said(&view),
            [
                "engineering: high until failover: n2 takes it over beside groups of its own",
                "accounting: high until failover: n1 takes it over beside groups of its own",
            ]
        );
        let view = cluster(3, &[("a", 1), ("b", 2), ("c", 3)]);
        let expected = "a: high until failover: n2 and n3 take it over beside groups of their own";
        assert_eq!(said(&view)[0], expected);
    }

    #[test]
    fn a_159_n_plus_1_is_very_high_as_long_as_the_spare_is_idle() {
        let mut view = cluster(4, &[("a", 1), ("b", 2), ("c", 3)]);
        assert!(report(&view).iter().all(|s| s.availability == Availability::VeryHigh));
        assert_eq!(report(&view)[0].spares, [4, 2, 3].map(NodeId), "the idle one first");
        view.groups[0].owner = Some(NodeId(4));
        view.nodes[0].state = NodeState::Down;
        let words: Vec<_> = report(&view).iter().map(|s| s.availability.words()).collect();
        assert_eq!(words, ["high until failover"; 3]);
    }

    #[test]
    fn a_159_a_single_node_has_none() {
        let expected = "web: none: the cluster has no other node: it is restarted in place only";
        assert_eq!(said(&cluster(1, &[("web", 1)])), [expected]);
    }

    #[test]
    fn a_159_what_nobody_can_take_over_now_has_none() {
        let mut view = cluster(2, &[("web", 1)]);
        view.nodes[1].state = NodeState::Down;
        let nobody = "web: none: n2 may own it, and none of them can take it now";
        assert_eq!(said(&view), [nobody]);
        view.nodes[1].state = NodeState::Up;
        view.upkeep = vec![Upkeep::Pause { node: NodeId(2), drain: Drain::No }];
        assert_eq!(said(&view), [nobody]);
        view.quorum.has_quorum = false;
        assert_eq!(said(&view), ["web: none: without quorum nothing fails over"]);
        let mut view = cluster(2, &[("web", 1)]);
        view.groups[0].failed = Some("6 failovers within 10 h".into());
        assert_eq!(said(&view), ["web: none: it stays down: 6 failovers within 10 h"]);
        view.groups[0].desired = Desired::Offline;
        assert_eq!(said(&view), ["web: not wanted: it shall be offline"]);
    }
}
