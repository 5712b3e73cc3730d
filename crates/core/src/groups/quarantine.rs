//! Quarantine: what becomes of a node that is lost again and again, and how far a group may be the
//! cause of that.
//!
//! A loss is counted in the entry that takes the node's groups over, once, however many they are
//! and however long some of them wait: a node that had no groups hurt nobody. One that left in
//! order, or announced its absence, is not lost. After the third loss within an hour the same entry
//! brings it into quarantine: other nodes come first, and nothing goes back to it.
//!
//! The other half: a group whose owners are lost soon after they were given it. That counts like a
//! failover of the group, so that it is left failed before it has harmed node after node.
//!
//! Not here: what quarantine means for the place of a group (`placement`, `failback`, `upkeep`).

use std::collections::BTreeSet;

use stead_model::change::Change;
use stead_model::group::{Group, Ownership};
use stead_model::upkeep::{
    LOST_SOON_S, QUARANTINE_LOSSES, QUARANTINE_S, QUARANTINE_WITHIN_S, Upkeep,
};
use stead_model::{NodeId, UtcMillis};

use super::PlanInput;

/// One in so many nodes, at most, is in quarantine; in a small cluster one.
const SHARE: usize = 5;

/// What the take-overs of a round say of the nodes that are lost.
pub(super) fn after(input: &PlanInput<'_>, changes: &[Change]) -> Vec<Change> {
    let lost: BTreeSet<NodeId> = changes.iter().filter_map(|c| newly_lost(input, c)).collect();
    let (at, upkeep) = (input.at.max(input.db.at()), input.db.upkeep());
    let mut room = (input.nodes.len() / SHARE).max(1).saturating_sub(upkeep.quarantined().len());
    let mut said = Vec::new();
    for node in lost {
        said.push(Change::NodeLost { node });
        let recent = upkeep.losses(node).iter();
        let recent =
            recent.filter(|(_, lost)| at.0.saturating_sub(lost.0) < QUARANTINE_WITHIN_S * 1_000);
        let is_in = upkeep.quarantined().contains_key(&node);
        if recent.count() + 1 >= QUARANTINE_LOSSES && room > 0 && !is_in {
            room -= 1;
            let until = UtcMillis(at.0 + QUARANTINE_S * 1_000);
            said.push(Change::Upkeep { upkeep: Upkeep::Quarantine { node, until } });
        }
    }
    said.extend(changes.iter().filter_map(|change| counted(input, change)));
    said
}

/// Counts the take-over of a group whose node was lost soon.
fn counted(input: &PlanInput<'_>, change: &Change) -> Option<Change> {
    input.taken_from(change)?;
    let group = input.db.group(change.group()?)?;
    lost_soon(input, group, group.ownership.as_ref()?)?;
    Some(Change::CountLoss { group: group.id.clone() })
}

/// The node that a change takes a group from, if that is a loss not counted before: it was given
/// the group after the last one.
fn newly_lost(input: &PlanInput<'_>, change: &Change) -> Option<NodeId> {
    let node = input.taken_from(change)?;
    let granted = input.db.trail(change.group()?)?.granted;
    let counted = input.db.upkeep().losses(node).last().is_some_and(|(entry, _)| granted <= *entry);
    (!counted && !is_expected(input, node)).then_some(node)
}

/// How many seconds after it was given a group its owner, which is lost, was seen to be: nothing
/// if that is not soon, the node had said so, or the group was to go anyway.
pub(super) fn lost_soon(input: &PlanInput<'_>, group: &Group, owned: &Ownership) -> Option<u64> {
    let granted_at = input.db.trail(&group.id)?.granted_at;
    let after_s = input.at.max(input.db.at()).0.saturating_sub(granted_at.0) / 1_000;
    let stays = owned.release.is_none() && !is_expected(input, owned.node);
    (stays && after_s < LOST_SOON_S).then_some(after_s)
}

fn is_expected(input: &PlanInput<'_>, node: NodeId) -> bool {
    input.db.left().contains(&node) || input.db.absent().contains_key(&node)
}
