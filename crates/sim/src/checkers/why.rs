//! I-WHY: every automatic action is recorded with its cause.

use std::collections::BTreeMap;

use stead_model::group::Group;
use stead_model::record::Record;
use stead_model::{Epoch, GroupId, NodeId};

use super::{Promise, Verdict, Violation};

/// The checker.
#[derive(Default, Debug)]
pub struct Why {
    granted: BTreeMap<GroupId, Epoch>,
}

impl Why {
    /// A group is owned in an epoch, for a reason.
    pub fn owned(
        &mut self,
        group: &GroupId,
        (owner, epoch): (NodeId, Epoch),
        why: &str,
    ) -> Verdict {
        if self.granted.get(group) == Some(&epoch) {
            return Ok(());
        }
        self.granted.insert(group.clone(), epoch);
        if why.trim().is_empty() {
            let text = format!("{group} went to {owner} in {epoch} without a cause");
            return Err(Violation::new(Promise::Why, text));
        }
        Ok(())
    }

    /// What a node has applied says who owns what.
    pub fn all_owned(&mut self, groups: &BTreeMap<GroupId, Group>) -> Verdict {
        groups.values().try_for_each(|group| match &group.ownership {
            Some(o) => self.owned(&group.id, (o.node, o.epoch), &o.why),
            None => Ok(()),
        })
    }

    /// A node wrote a record.
    pub fn recorded(record: &Record) -> Verdict {
        if record.code.is_empty() || record.text.trim().is_empty() {
            let text = format!("{} wrote an empty record", record.node);
            return Err(Violation::new(Promise::Why, text));
        }
        Ok(())
    }
}
