//! I-STOP-START: a group starts on its new owner only after it stopped on the old one, and every
//! ownership carries an increasing epoch.

use std::collections::BTreeMap;

use stead_model::wire::guard::Claim;
use stead_model::{Epoch, GroupId, NodeId};

use super::{Promise, Verdict, Violation};
use crate::acts::{Acts, Standing};

/// The checker.
#[derive(Default, Debug)]
pub struct StopStart {
    newest: BTreeMap<GroupId, (Epoch, NodeId)>,
}

impl StopStart {
    /// Judges something that begins to act on a node.
    pub fn begins(&mut self, node: NodeId, claim: &Claim, acts: &Acts) -> Verdict {
        let Claim { group, epoch, resource, .. } = claim;
        let broken = |text| Err(Violation::new(Promise::StopStart, text));
        let (newest, owner) = *self.newest.get(group).unwrap_or(&(*epoch, node));
        if *epoch < newest {
            return broken(format!("{resource} starts on {node} in {epoch} after {newest}"));
        }
        if *epoch == newest && owner != node {
            return broken(format!("{resource} starts on {node} in {epoch} of {owner}"));
        }
        self.newest.insert(group.clone(), (*epoch, node));
        let elsewhere = acts
            .iter()
            .find(|act| act.group == *group && act.node != node && act.standing == Standing::Runs);
        match elsewhere {
            Some(act) => broken(format!(
                "{resource} of {group} starts on {node} in {epoch} while {} runs on {} in {}",
                act.resource, act.node, act.epoch
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use stead_model::LeaseNumber;
    use stead_model::wire::guard::{InstanceId, ThingKind};

    use super::*;

    fn claim(resource: &str, epoch: u64) -> Claim {
        Claim {
            group: "g".into(),
            resource: resource.into(),
            epoch: Epoch(epoch),
            lease: LeaseNumber(1),
        }
    }

    #[test]
    fn i_stop_start_sees_old_epochs_and_old_owners() {
        let (mut checker, mut acts) = (StopStart::default(), Acts::default());
        assert_eq!(checker.begins(NodeId(1), &claim("a", 1), &acts), Ok(()));
        acts.begin(NodeId(1), (InstanceId(1), ThingKind::Program), &claim("a", 1), 0);
        assert!(checker.begins(NodeId(2), &claim("b", 1), &acts).is_err());
        assert!(checker.begins(NodeId(2), &claim("b", 2), &acts).is_err());
        acts.end(NodeId(1), InstanceId(1));
        assert_eq!(checker.begins(NodeId(2), &claim("b", 2), &acts), Ok(()));
        assert!(checker.begins(NodeId(1), &claim("a", 1), &acts).is_err());
    }
}
