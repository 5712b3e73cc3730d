//! I-PLACE: groups that must not run beside each other never act on one node.
//!
//! Declared by administrators before the groups first run. What only still acts because of one of
//! the stated holes of I-OWN is left to that.

use std::collections::BTreeSet;

use stead_model::GroupId;
use stead_model::request::Request;

use super::{Promise, Verdict, Violation};
use crate::acts::{Act, Acts};

/// The checker.
#[derive(Default, Debug)]
pub struct Apart {
    pairs: BTreeSet<(GroupId, GroupId)>,
}

impl Apart {
    /// A request was acknowledged.
    pub fn declared(&mut self, request: &Request) {
        let (group, named) = match request {
            Request::CreateGroup { group, policy } => {
                (group, policy.rules.anti_affinity.required.clone())
            }
            Request::SetGroup { group, properties } => {
                let text = properties.get("anti-affinity-required").cloned().flatten();
                (group, text.and_then(|t| stead_model::rules::groups(&t)).unwrap_or_default())
            }
            _ => return,
        };
        self.pairs.extend(named.into_iter().map(|other| (group.clone(), other)));
    }

    /// Judges everything that acts, after something began.
    pub fn judge(&self, acts: &Acts) -> Verdict {
        if self.pairs.is_empty() {
            return Ok(());
        }
        let sound = |act: &&Act| act.standing.acts() && !act.standing.is_hole();
        let all: Vec<&Act> = acts.iter().filter(sound).collect();
        for one in &all {
            let barred = |other: &&&Act| {
                let pair = (one.group.clone(), other.group.clone());
                other.node == one.node && self.pairs.contains(&pair)
            };
            if let Some(other) = all.iter().find(barred) {
                let text = format!("{} acts beside {} on {}", one.group, other.group, one.node);
                return Err(Violation::new(Promise::Place, text));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use stead_model::group::GroupPolicy;
    use stead_model::wire::guard::{Claim, InstanceId, ThingKind};
    use stead_model::{Epoch, LeaseNumber, NodeId};

    use super::*;

    #[test]
    fn i_place_sees_two_groups_on_one_node_that_must_not_be() {
        let mut policy = GroupPolicy::default();
        policy.rules.anti_affinity.required.insert("a".into());
        let mut apart = Apart::default();
        apart.declared(&Request::CreateGroup { group: "b".into(), policy });
        let mut acts = Acts::default();
        for (number, (group, node)) in (1..).zip([("a", 1), ("b", 2), ("c", 1)]) {
            let claim = Claim {
                group: group.into(),
                resource: format!("{group}r").as_str().into(),
                epoch: Epoch(1),
                lease: LeaseNumber(1),
            };
            acts.begin(NodeId(node), (InstanceId(number), ThingKind::Program), &claim, 0);
        }
        assert_eq!(apart.judge(&acts), Ok(()));
        let claim = Claim {
            group: "b".into(),
            resource: "bs".into(),
            epoch: Epoch(1),
            lease: LeaseNumber(1),
        };
        acts.begin(NodeId(1), (InstanceId(9), ThingKind::Program), &claim, 0);
        assert_eq!(apart.judge(&acts).unwrap_err().text, "b acts beside a on n1");
    }
}
