//! Who is a member, as the log left it: nodes that joined, that leave for good, and that are none
//! any more.
//!
//! The number of a node that was evicted is given to another one only when no other is left.

use stead_model::change::JoinedVote;
use stead_model::config::NodeEntry;
use stead_model::{LogIndex, NodeId};

use super::Db;

impl Db {
    /// Gives the entry that it had before.
    pub(super) fn join(
        &mut self,
        index: LogIndex,
        entry: &NodeEntry,
        vote: JoinedVote,
    ) -> Option<NodeEntry> {
        if vote == JoinedVote::WhenComplete {
            self.lent.insert(entry.id);
        }
        self.evicted.remove(&entry.id);
        self.set_node(index, entry)
    }

    /// A member is called otherwise, or is elsewhere: like a number that is another node's by now.
    /// Gives the entry that it had before.
    pub(super) fn set_node(&mut self, index: LogIndex, node: &NodeEntry) -> Option<NodeEntry> {
        self.members_changed = index;
        self.joined.insert(node.id, node.clone())
    }

    /// Whether that is new.
    pub(super) fn go(&mut self, node: NodeId) -> bool {
        self.left.insert(node);
        self.going.insert(node)
    }

    /// Forgets all that was known of the node; gives where it was, if it had joined.
    pub(super) fn evict(&mut self, index: LogIndex, node: NodeId) -> Option<NodeEntry> {
        for nodes in [&mut self.left, &mut self.going, &mut self.lent] {
            nodes.remove(&node);
        }
        self.lease_lengths.remove(&node);
        self.absent.remove(&node);
        self.rooms.remove(&node);
        self.programs.remove(&node);
        self.upkeep.forget_node(node);
        // Whoever has this number next was let in by another token.
        self.tokens.retain(|_, token| token.used.is_none_or(|used| used.node != node));
        for trail in self.trails.values_mut() {
            for failed in trail.failed_on.iter_mut().filter(|failed| **failed == Some(node)) {
                *failed = None;
            }
            trail.put_on = trail.put_on.filter(|put| *put != node);
        }
        for group in self.groups.values_mut() {
            group.policy.preferred_owners.retain(|owner| *owner != node);
            for resource in group.resources.values_mut() {
                if let Some(owners) = &mut resource.possible_owners {
                    owners.remove(&node);
                }
            }
        }
        self.evicted.insert(node);
        self.members_changed = index;
        self.joined.remove(&node)
    }
}
