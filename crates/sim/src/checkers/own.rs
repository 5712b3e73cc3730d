//! I-OWN: a resource acts on at most one node at a time, in true time.
//!
//! Two stated holes of the safety levels B and C are counted apart, never ignored: a frozen owner
//! that wakes after the end of its lease, and a clock that stood still (H14).

use super::{Promise, Verdict, Violation};
use crate::acts::{Act, Acts};

/// The checker.
#[derive(Default, Debug)]
pub struct Own {
    /// Overlaps with something that woke after the end of its lease, until its guard killed it.
    pub holes_frozen: u64,
    /// Overlaps with something whose clock stood still.
    pub holes_clock: u64,
}

impl Own {
    /// Judges everything that acts, after something began or woke.
    pub fn judge(&mut self, acts: &Acts) -> Verdict {
        let all: Vec<&Act> = acts.iter().filter(|a| a.standing.acts()).collect();
        for (at, one) in all.iter().enumerate() {
            let twin = all[at + 1..].iter().find(|a| a.resource == one.resource);
            if let Some(other) = twin.filter(|other| other.node != one.node) {
                self.overlap(one, other)?;
            }
        }
        Ok(())
    }

    fn overlap(&mut self, one: &Act, other: &Act) -> Verdict {
        use crate::acts::Standing::{ClockStopped, Dormant, Runs, Woke};
        match (one.standing, other.standing) {
            (ClockStopped, _) | (_, ClockStopped) => self.holes_clock += 1,
            (Woke, _) | (_, Woke) => self.holes_frozen += 1,
            (Runs | Dormant, Runs | Dormant) => {
                let text = format!(
                    "{} acts on {} ({}) and on {} ({})",
                    one.resource, one.node, one.epoch, other.node, other.epoch
                );
                return Err(Violation::new(Promise::Own, text));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use stead_model::wire::guard::{Claim, InstanceId, ThingKind};
    use stead_model::{Epoch, LeaseNumber, NodeId};

    use super::*;
    use crate::acts::Standing;

    fn twice() -> Acts {
        let mut acts = Acts::default();
        for node in [1, 2] {
            let claim = Claim {
                group: "g".into(),
                resource: "r".into(),
                epoch: Epoch(u64::from(node)),
                lease: LeaseNumber(1),
            };
            acts.begin(NodeId(node), (InstanceId(1), ThingKind::Program), &claim, 0);
        }
        acts
    }

    #[test]
    fn i_own_sees_two_nodes_and_counts_the_holes_apart() {
        let mut own = Own::default();
        let mut acts = twice();
        let violation = own.judge(&acts).unwrap_err();
        assert_eq!(violation.text, "r acts on n1 (e1) and on n2 (e2)");
        acts.set_standing(NodeId(1), Standing::Dormant);
        assert_eq!(own.judge(&acts), Ok(()));
        acts.set_standing(NodeId(1), Standing::Woke);
        assert_eq!((own.judge(&acts), own.holes_frozen), (Ok(()), 1));
        acts.set_standing(NodeId(1), Standing::ClockStopped);
        assert_eq!((own.judge(&acts), own.holes_clock), (Ok(()), 1));
    }
}
