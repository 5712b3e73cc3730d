//! Groups that run against a required rule, because it was set later or because a group moved
//! that they belong to: what is done about it.
//!
//! A rule decides where a group starts. One that runs against it moves as soon as another node
//! may take it, and runs on until then: a changed setting stops no service. Of two groups the
//! weaker one moves: of the lower priority, else the one that was placed earlier, so that those
//! that belong together follow the one that was moved.

use stead_model::NodeId;
use stead_model::group::Ownership;

use super::placement::{Layout, Tie, failures};

/// Where a group goes that runs against a required rule, and why.
pub(super) fn target(
    layout: &Layout<'_>,
    number: usize,
    owned: &Ownership,
) -> Option<(NodeId, String)> {
    if !layout.runs(number) || !layout.is_bound(number) {
        return None;
    }
    layout.ties(number).find_map(|(other, tie)| match tie {
        _ if !layout.runs(other) => None,
        Tie::NearRequired => follow(layout, (number, other), owned),
        Tie::AwayRequired => part(layout, (number, other), owned),
        Tie::Near | Tie::Away => None,
    })
}

/// To the node of a group that it only runs beside.
fn follow(
    layout: &Layout<'_>,
    (number, other): (usize, usize),
    owned: &Ownership,
) -> Option<(NodeId, String)> {
    let (at, to) = layout.places(other);
    let there = to.or(at).filter(|there| *there != owned.node)?;
    let fits = |group: usize, node: NodeId| {
        layout.bar(group, node).is_none()
            && failures(layout.input(), layout.group(group), node).is_none()
    };
    let goes = to.is_some() || is_weaker(layout, number, other) || !fits(other, owned.node);
    let name = &layout.group(other).id;
    let why = format!("it belongs beside group `{name}`, which is on {there}");
    (goes && fits(number, there)).then_some((there, why))
}

/// Away from a group that it must not run beside.
fn part(
    layout: &Layout<'_>,
    (number, other): (usize, usize),
    owned: &Ownership,
) -> Option<(NodeId, String)> {
    let (at, to) = layout.places(other);
    if to.or(at) != Some(owned.node) {
        return None;
    }
    let best = |group: usize| layout.best(&layout.group(group).id, Some(owned.node));
    let goes = is_weaker(layout, number, other) || best(other).is_none();
    let name = &layout.group(other).id;
    let why = format!("it must not run beside group `{name}`");
    best(number).filter(|_| goes).map(|to| (to, why))
}

/// Whether the first of two groups is the one to move.
fn is_weaker(layout: &Layout<'_>, number: usize, other: usize) -> bool {
    let strength = |number: usize| {
        let group = layout.group(number);
        let granted = layout.input().db.trail(&group.id).map(|trail| trail.granted);
        (group.policy.rules.priority, granted, std::cmp::Reverse(&group.id))
    };
    strength(number) < strength(other)
}

/// Whether a group may take those along to a node that only run beside it: none of them is pinned
/// elsewhere or would go back by itself, and none is left alone.
pub(super) fn may_lead(layout: &Layout<'_>, number: usize, (from, to): (NodeId, NodeId)) -> bool {
    let upkeep = layout.input().db.upkeep();
    layout.company(number).into_iter().filter(|member| layout.places(*member).0 == Some(from)).all(
        |member| {
            let group = layout.group(member);
            let position = |node| group.policy.preferred_owners.iter().position(|n| *n == node);
            let least = group.policy.preferred_owners.len();
            let prefers = |node| position(node).unwrap_or(least);
            upkeep.pin(&group.id).is_none_or(|pinned| pinned == to)
                && !upkeep.maintains(&group.id)
                && prefers(to) <= prefers(from)
        },
    )
}
