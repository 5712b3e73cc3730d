//! The barrier of a lease answer (R7): the last entry, proposed or not, that takes a group from
//! the asking node or changes its lease length.
//!
//! Applied entries are remembered by the database; this is about the rest of the leader's log.
//! Who owns a group after entries that are not applied yet is counted from above: a node that
//! *may* own the group is a node it is taken from. A barrier that is too late only makes a lease
//! start later.

use std::collections::{BTreeMap, BTreeSet};

use stead_model::change::{Change, Entry};
use stead_model::{GroupId, LogIndex, NodeId};

use super::Db;

/// Entries of the log that are not applied yet, as far as barriers care.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Proposed {
    entries: BTreeMap<LogIndex, Vec<Touch>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Touch {
    Ends(GroupId),
    Grants(GroupId, NodeId),
    LeaseLength(NodeId),
}

impl Proposed {
    /// Notes an entry of the log. An entry at an index replaces all from there on.
    pub fn push(&mut self, index: LogIndex, entry: &Entry) {
        self.truncate(index);
        self.entries.insert(index, entry.changes.iter().filter_map(Touch::of).collect());
    }

    /// Forgets entries that were cut from the log: this index and all after it.
    pub fn truncate(&mut self, from: LogIndex) {
        self.entries.split_off(&from);
    }

    /// Forgets what is applied up to this index: the database remembers it.
    pub fn applied(&mut self, index: LogIndex) {
        self.entries = self.entries.split_off(&index.next());
    }

    /// Whether everything noted is applied: only then the planner may look at the database.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The index that a lease answer to the node must name (R7).
    #[must_use]
    pub fn barrier(&self, node: NodeId, db: &Db) -> LogIndex {
        let mut barrier = db.taken(node);
        let mut granted: BTreeSet<&GroupId> = BTreeSet::new();
        for (index, touches) in &self.entries {
            for touch in touches {
                let takes = match touch {
                    Touch::LeaseLength(changed) => *changed == node,
                    Touch::Grants(group, to) if *to == node => {
                        granted.insert(group);
                        false
                    }
                    Touch::Grants(group, _) | Touch::Ends(group) => {
                        granted.contains(group) || owner(db, group) == Some(node)
                    }
                };
                if takes {
                    barrier = barrier.max(*index);
                }
            }
        }
        barrier
    }
}

impl Touch {
    fn of(change: &Change) -> Option<Self> {
        match change {
            Change::Grant { group, node, .. } => Some(Self::Grants(group.clone(), *node)),
            Change::Release { group, .. }
            | Change::Disown { group, .. }
            | Change::DeleteGroup { group } => Some(Self::Ends(group.clone())),
            Change::LeaseLength { node, .. } => Some(Self::LeaseLength(*node)),
            Change::CreateGroup { .. }
            | Change::SetGroupPolicy { .. }
            | Change::SetGroupDesired { .. }
            | Change::CreateResource { .. }
            | Change::DeleteResource { .. }
            | Change::SetResourceDesired { .. }
            | Change::SetResource { .. }
            | Change::SetDependencies { .. }
            | Change::CountFailover { .. }
            | Change::CountLoss { .. }
            | Change::FailGroup { .. }
            | Change::ClearFailures { .. }
            | Change::Retry { .. }
            | Change::Upkeep { .. }
            | Change::Absence { .. }
            | Change::NodeLeaves { .. }
            | Change::NodeReturns { .. }
            | Change::NodeGoes { .. }
            | Change::NodeEvicted { .. }
            | Change::QuorumForced { .. }
            | Change::VoteLent { .. }
            | Change::VoteReturned { .. }
            | Change::NodeJoined { .. }
            | Change::TokenMade { .. }
            | Change::TokenUsed { .. }
            | Change::SetRoom { .. }
            | Change::SetUsage { .. }
            | Change::SetAlert { .. }
            | Change::RemoveAlert { .. }
            | Change::NodeLost { .. }
            | Change::SetNetwork { .. }
            | Change::SetNode { .. }
            | Change::Rotate { .. }
            | Change::Level { .. }
            | Change::NodeProgram { .. }
            | Change::RotationAbandoned { .. }
            | Change::SetKey { .. } => None,
        }
    }
}

fn owner(db: &Db, group: &GroupId) -> Option<NodeId> {
    db.group(group)?.ownership.as_ref().map(|o| o.node)
}
