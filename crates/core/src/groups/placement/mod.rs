//! Placement: on which nodes a group may run, the best first, each with the reason.
//!
//! ```text
//!  barred ── not a possible owner, down, paused, a required rule ──► never, however good it is
//!  rank   ── in quarantine, pinned, failed lately, room, kept apart, kept together, preferred,
//!            balance, number
//! ```
//!
//! A required rule bars a node; a preferred one only ranks it, so that it never keeps a group
//! down. Room comes before the preferred order (A-148): a designated survivor that is full serves
//! nobody. Among nodes that are equal up to there the one that would be filled least is taken,
//! then the one that owns fewest groups, so that the groups of a dead node spread over all that
//! are left (A-018, A-105).
//!
//! Reading order: `wants` (what groups need and how they are tied; `names`), `layout` (where
//! everything is and what is left), `judge` (one group, one node), `assign` (several groups at
//! once), `exchange` (when there is too little), `level`. Not here: when a group is placed
//! (`plan`), what moves a group that runs (`mend`, `failback`, `upkeep`).

mod assign;
mod exchange;
mod judge;
mod layout;
mod level;
mod names;
mod wants;

use serde::Serialize;
use stead_model::NodeId;
use stead_model::group::Group;

use super::PlanInput;
use crate::db::apply::within_window;

pub(super) use assign::Seeker;
pub use layout::Layout;
pub(super) use wants::Tie;

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
    /// A required rule of a group keeps it away now.
    Barred,
    /// The node may own it, but is not available now.
    Unavailable,
    /// The node is not a possible owner.
    Excluded,
}

/// Whether every resource of the group may run on the node; the first that may not.
#[must_use]
pub fn excluding(group: &Group, node: NodeId) -> Option<&stead_model::ResourceId> {
    let excluding = |owners: &std::collections::BTreeSet<NodeId>| !owners.contains(&node);
    let resource =
        group.resources.values().find(|r| r.possible_owners.as_ref().is_some_and(excluding));
    resource.map(|r| &r.id)
}

/// Position of the group's latest failure on the node that still counts, the oldest being 0.
pub(super) fn failures(input: &PlanInput<'_>, group: &Group, node: NodeId) -> Option<usize> {
    if group.failovers.is_empty() {
        return None;
    }
    let failed_on = &input.db.trail(&group.id)?.failed_on;
    let counted = within_window(group, input.at.max(input.db.at())).len();
    let gone = failed_on.len().saturating_sub(counted);
    failed_on[gone..].iter().rposition(|n| *n == Some(node))
}
