//! Placement: on which nodes a group may run, the best first, each with the reason.
//!
//! Possible owners are the nodes on which every resource of the group may run. Among them: nodes
//! where it did not fail lately come first, then the preferred order, then the node that
//! owns fewest groups, then the lowest number.

use std::collections::BTreeMap;

use serde::Serialize;
use stead_model::NodeId;
use stead_model::group::Group;

use super::PlanInput;
use crate::db::apply::within_window;

/// A node as a place for a group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// Whether the group may go there now.
    pub fit: Fit,
    /// Why, in words for people.
    pub why: String,
}

/// Whether a group may go to a node now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// It may.
    Possible,
    /// The node may own it, but is not available now.
    Unavailable,
    /// The node is not a possible owner.
    Excluded,
}

/// How many groups each node owns, grants of the present round included.
pub type Load = BTreeMap<NodeId, usize>;

/// All nodes as places for a group, the best first.
#[must_use]
pub fn candidates(input: &PlanInput<'_>, group: &Group, load: &Load) -> Vec<Candidate> {
    let mut ranked: Vec<_> = input
        .nodes
        .keys()
        .map(|node| {
            let candidate = judge(input, group, *node, load);
            (candidate.fit, rank(input, group, *node, load), candidate)
        })
        .collect();
    ranked.sort_by_key(|r| (r.0, r.1));
    ranked.into_iter().map(|(_, _, candidate)| candidate).collect()
}

/// The best node that is not `except`.
#[must_use]
pub fn best(
    input: &PlanInput<'_>,
    group: &Group,
    load: &Load,
    except: Option<NodeId>,
) -> Option<NodeId> {
    let all = candidates(input, group, load);
    let mut fitting = all.iter().filter(|c| c.fit == Fit::Possible).map(|c| c.node);
    fitting.find(|node| Some(*node) != except)
}

/// Whether every resource of the group may run on the node; the first that may not.
#[must_use]
pub fn excluding(group: &Group, node: NodeId) -> Option<&stead_model::ResourceId> {
    let excluding = |owners: &std::collections::BTreeSet<NodeId>| !owners.contains(&node);
    let resource =
        group.resources.values().find(|r| r.possible_owners.as_ref().is_some_and(excluding));
    resource.map(|r| &r.id)
}

/// Smaller is better.
type Rank = (bool, usize, usize, usize, NodeId);

fn rank(input: &PlanInput<'_>, group: &Group, node: NodeId, load: &Load) -> Rank {
    let failed = failures(input, group, node).map_or(0, |last| last + 1);
    let preferred = &group.policy.preferred_owners;
    let preference = preferred.iter().position(|n| *n == node).unwrap_or(preferred.len());
    let elsewhere = input.db.upkeep().pin(&group.id).is_some_and(|pinned| pinned != node);
    (elsewhere, failed, preference, load.get(&node).copied().unwrap_or(0), node)
}

/// Position of the group's latest failure on the node that still counts, the oldest being 0.
pub(super) fn failures(input: &PlanInput<'_>, group: &Group, node: NodeId) -> Option<usize> {
    let failed_on = &input.db.trail(&group.id)?.failed_on;
    let counted = within_window(group, input.at.max(input.db.at())).len();
    let gone = failed_on.len().saturating_sub(counted);
    failed_on[gone..].iter().rposition(|n| *n == node)
}

fn judge(input: &PlanInput<'_>, group: &Group, node: NodeId, load: &Load) -> Candidate {
    let (fit, why) = if let Some(resource) = excluding(group, node) {
        (Fit::Excluded, format!("`{node}` is not a possible owner of resource `{resource}`"))
    } else if !input.is_eligible(node) {
        (Fit::Unavailable, format!("{node} is not up or may not be given groups"))
    } else if input.db.upkeep().paused(node).is_some() {
        (Fit::Unavailable, format!("{node} is paused: it is given no groups"))
    } else {
        (Fit::Possible, describe(input, group, node, load))
    };
    Candidate { node, fit, why }
}

fn describe(input: &PlanInput<'_>, group: &Group, node: NodeId, load: &Load) -> String {
    let preference = group.policy.preferred_owners.iter().position(|n| *n == node);
    let mut words = match preference {
        Some(at) => format!("preferred owner number {}", at + 1),
        None => "possible owner".to_owned(),
    };
    words.push_str(&match load.get(&node).copied().unwrap_or(0) {
        0 => ", owns no group".to_owned(),
        1 => ", owns 1 group".to_owned(),
        more => format!(", owns {more} groups"),
    });
    if failures(input, group, node).is_some() {
        words.push_str(", the group failed there lately");
    }
    if input.db.upkeep().pin(&group.id) == Some(node) {
        words.push_str(", the group is pinned to it");
    }
    words
}
