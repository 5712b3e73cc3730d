//! What is paused, pinned, in maintenance and in quarantine, as the log left it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stead_model::group::Group;
use stead_model::upkeep::{Drain, QUARANTINE_LOSSES, Upkeep};
use stead_model::{GroupId, LogIndex, NodeId, ResourceId, UtcMillis};

use super::{Db, Skip, tree};

/// All upkeep that stands.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Standing {
    paused: BTreeMap<NodeId, Drain>,
    pins: BTreeMap<GroupId, (NodeId, UtcMillis)>,
    groups: BTreeMap<GroupId, UtcMillis>,
    resources: BTreeMap<ResourceId, (GroupId, UtcMillis)>,
    quarantined: BTreeMap<NodeId, UtcMillis>,
    /// The last losses of each node, oldest first.
    losses: BTreeMap<NodeId, Vec<(LogIndex, UtcMillis)>>,
}

impl Standing {
    /// Whether a node is paused, and what becomes of the groups it has.
    #[must_use]
    pub fn paused(&self, node: NodeId) -> Option<Drain> {
        self.paused.get(&node).copied()
    }

    /// Nodes in quarantine, and until when.
    #[must_use]
    pub fn quarantined(&self) -> &BTreeMap<NodeId, UtcMillis> {
        &self.quarantined
    }

    /// The last losses of a node, oldest first: the entry that took its groups over, and when.
    #[must_use]
    pub fn losses(&self, node: NodeId) -> &[(LogIndex, UtcMillis)] {
        self.losses.get(&node).map_or(&[], Vec::as_slice)
    }

    /// The node that a group is pinned to.
    #[must_use]
    pub fn pin(&self, group: &GroupId) -> Option<NodeId> {
        self.pins.get(group).map(|(node, _)| *node)
    }

    /// Whether all of a group is in maintenance.
    #[must_use]
    pub fn maintains(&self, group: &GroupId) -> bool {
        self.groups.contains_key(group)
    }

    /// The resources of a group that are watched and not acted upon: those in maintenance, and
    /// all that stands on them.
    #[must_use]
    pub fn left_alone(&self, group: &Group) -> BTreeSet<ResourceId> {
        if self.maintains(&group.id) {
            return group.resources.keys().cloned().collect();
        }
        let mut alone = BTreeSet::new();
        if self.resources.values().all(|(home, _)| *home != group.id) {
            return alone;
        }
        for resource in tree::online_order(&group.resources) {
            let stands = resource.depends_on.iter().any(|below| alone.contains(below));
            if stands || self.resources.contains_key(&resource.id) {
                alone.insert(resource.id.clone());
            }
        }
        alone
    }

    /// All of it, as it was asked for.
    #[must_use]
    pub fn list(&self) -> Vec<Upkeep> {
        let paused = self.paused.iter();
        let paused = paused.map(|(node, drain)| Upkeep::Pause { node: *node, drain: *drain });
        let pins = self.pins.iter().map(|(group, (node, until))| Upkeep::Pin {
            group: group.clone(),
            node: *node,
            until: *until,
        });
        let groups = self.groups.iter().map(|(group, until)| Upkeep::Maintain {
            group: group.clone(),
            resource: None,
            until: *until,
        });
        let resources = self.resources.iter().map(|(id, (group, until))| Upkeep::Maintain {
            group: group.clone(),
            resource: Some(id.clone()),
            until: *until,
        });
        let quarantined = self.quarantined.iter();
        let quarantined =
            quarantined.map(|(node, until)| Upkeep::Quarantine { node: *node, until: *until });
        paused.chain(quarantined).chain(pins).chain(groups).chain(resources).collect()
    }

    /// What ends the upkeep whose time is over at this cluster time.
    #[must_use]
    pub fn over(&self, at: UtcMillis) -> Vec<Upkeep> {
        let ends = |upkeep: Upkeep| match upkeep {
            Upkeep::Pin { group, until, .. } if at >= until => Some(Upkeep::Unpin { group }),
            Upkeep::Maintain { group, resource, until } if at >= until => {
                Some(Upkeep::EndMaintenance { group, resource })
            }
            Upkeep::Quarantine { node, until } if at >= until => {
                Some(Upkeep::EndQuarantine { node })
            }
            Upkeep::Pause { .. }
            | Upkeep::Resume { .. }
            | Upkeep::Pin { .. }
            | Upkeep::Unpin { .. }
            | Upkeep::Maintain { .. }
            | Upkeep::EndMaintenance { .. }
            | Upkeep::Quarantine { .. }
            | Upkeep::EndQuarantine { .. } => None,
        };
        self.list().into_iter().filter_map(ends).collect()
    }

    /// A deleted group is pinned no more.
    pub(super) fn forget_group(&mut self, group: &GroupId) {
        self.pins.remove(group);
        self.groups.remove(group);
    }

    /// A node that is no member is not paused, and nothing is pinned to it.
    pub(super) fn forget_node(&mut self, node: NodeId) {
        self.resume(node);
        self.pins.retain(|_, (to, _)| *to != node);
    }

    /// Counts a loss; how many are remembered now.
    pub(super) fn count_loss(&mut self, node: NodeId, loss: (LogIndex, UtcMillis)) -> usize {
        let losses = self.losses.entry(node).or_default();
        losses.push(loss);
        losses.drain(..losses.len().saturating_sub(QUARANTINE_LOSSES));
        losses.len()
    }

    fn resume(&mut self, node: NodeId) {
        self.paused.remove(&node);
        self.end_quarantine(node);
    }

    /// The losses that led to it count no more.
    fn end_quarantine(&mut self, node: NodeId) {
        self.quarantined.remove(&node);
        self.losses.remove(&node);
    }

    /// A deleted resource is in maintenance no more.
    pub(super) fn forget_resource(&mut self, resource: &ResourceId) {
        self.resources.remove(resource);
    }
}

impl Db {
    /// What is paused, pinned, in maintenance and in quarantine.
    #[must_use]
    pub fn upkeep(&self) -> &Standing {
        &self.upkeep
    }

    pub(super) fn change_upkeep(&mut self, upkeep: &Upkeep) -> Result<(), Skip> {
        if let Some(group) = upkeep.group().filter(|group| !self.groups.contains_key(*group)) {
            return Err(Skip::NoGroup(group.clone()));
        }
        let standing = &mut self.upkeep;
        match upkeep {
            Upkeep::Pause { node, drain } => drop(standing.paused.insert(*node, *drain)),
            Upkeep::Resume { node } => standing.resume(*node),
            Upkeep::Pin { group, node, until } => {
                standing.pins.insert(group.clone(), (*node, *until));
            }
            Upkeep::Unpin { group } => drop(standing.pins.remove(group)),
            Upkeep::Maintain { group, resource: None, until } => {
                standing.groups.insert(group.clone(), *until);
            }
            Upkeep::Maintain { group, resource: Some(id), until } => {
                if self.homes.get(id) != Some(group) {
                    return Err(Skip::NoResource(id.clone()));
                }
                self.upkeep.resources.insert(id.clone(), (group.clone(), *until));
            }
            Upkeep::EndMaintenance { group, resource: None } => {
                standing.groups.remove(group);
            }
            Upkeep::EndMaintenance { resource: Some(id), .. } => {
                standing.resources.remove(id);
            }
            Upkeep::Quarantine { node, until } => {
                standing.quarantined.insert(*node, *until);
            }
            Upkeep::EndQuarantine { node } => standing.end_quarantine(*node),
        }
        Ok(())
    }
}
