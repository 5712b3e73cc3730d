//! Probes before a planned move, on its target: does a stranger have what the group needs here?
//!
//! The leader asks before it tells the owner to stop, so that nothing is stopped in vain. It waits
//! for a short time only: a probe that is never answered is forgotten here when others come, and
//! where no order can be given the answer is at once that nobody is known to have it. Nothing is
//! started, so no lease and no epoch is at stake.

use std::collections::{BTreeSet, VecDeque};

use stead_model::order::{Outcome, ResourceReport};
use stead_model::{NodeId, OrderId, RequestId};

/// Probes under way at most; the oldest is forgotten.
const PROBES_MAX: usize = 16;

/// The probes under way on this node.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Probes(VecDeque<Probe>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Probe {
    asked: Asked,
    /// Orders without an answer.
    orders: BTreeSet<OrderId>,
}

/// Who asked, and for which request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// The leader's node.
    pub by: NodeId,
    /// The request for the move.
    pub request: RequestId,
}

/// What a probe found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Whom to tell.
    pub asked: Asked,
    /// Who has what; `None`: nobody, as far as this node can tell.
    pub taken: Option<String>,
}

impl Probes {
    /// These orders were given for a probe; without any there is nothing to wait for.
    pub fn begin(&mut self, asked: Asked, orders: BTreeSet<OrderId>) -> Option<Found> {
        if orders.is_empty() {
            return Some(Found { asked, taken: None });
        }
        self.0.push_back(Probe { asked, orders });
        if self.0.len() > PROBES_MAX {
            self.0.pop_front();
        }
        None
    }

    /// The monitor answered an order. One that is taken answers for all.
    pub fn reported(&mut self, report: &ResourceReport) -> Option<Found> {
        let at = self.0.iter().position(|p| p.orders.contains(&report.order))?;
        let probe = &mut self.0[at];
        let taken = match &report.outcome {
            Outcome::Taken(why) => Some(format!("resource `{}`: {why}", report.resource)),
            Outcome::Free
            | Outcome::Online
            | Outcome::Offline
            | Outcome::Failed(_)
            | Outcome::StopFailed(_)
            | Outcome::Refused(_)
            | Outcome::Forgotten(_)
            | Outcome::Remains(_) => None,
            Outcome::Health(..) | Outcome::Notice(_) => return None,
            Outcome::Fitness(_) | Outcome::Used(_) => return None,
        };
        probe.orders.remove(&report.order);
        if taken.is_none() && !probe.orders.is_empty() {
            return None;
        }
        let asked = probe.asked;
        self.0.remove(at);
        Some(Found { asked, taken })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::Epoch;

    fn asked(request: u64) -> Asked {
        let request = RequestId { client: 1, number: request };
        Asked { by: NodeId(1), request }
    }

    fn report(order: u64, outcome: Outcome) -> ResourceReport {
        let (order, epoch) = (OrderId(order), Epoch(1));
        ResourceReport { order, group: "web".into(), resource: "ip".into(), epoch, outcome }
    }

    fn orders(numbers: &[u64]) -> BTreeSet<OrderId> {
        numbers.iter().map(|n| OrderId(*n)).collect()
    }

    #[test]
    fn it_is_free_when_all_are_and_taken_when_one_is() {
        let mut probes = Probes::default();
        assert_eq!(probes.begin(asked(1), orders(&[1, 2])), None);
        assert_eq!(probes.begin(asked(2), orders(&[3, 4])), None);
        assert_eq!(probes.reported(&report(1, Outcome::Free)), None);
        let free = Found { asked: asked(1), taken: None };
        assert_eq!(probes.reported(&report(2, Outcome::Free)), Some(free));
        let found = probes.reported(&report(4, Outcome::Taken("a stranger".into())));
        let taken = Some("resource `ip`: a stranger".to_owned());
        assert_eq!(found, Some(Found { asked: asked(2), taken }));
        assert_eq!(probes.reported(&report(3, Outcome::Free)), None, "it was answered");
        assert_eq!(probes, Probes::default());
    }

    #[test]
    fn nothing_to_look_at_is_free_and_what_is_never_answered_is_forgotten() {
        let mut probes = Probes::default();
        let free = Found { asked: asked(1), taken: None };
        assert_eq!(probes.begin(asked(1), orders(&[])), Some(free));
        for number in 1..=PROBES_MAX as u64 + 1 {
            assert_eq!(probes.begin(asked(number), orders(&[number])), None);
        }
        assert_eq!(probes.reported(&report(1, Outcome::Free)), None, "the oldest is forgotten");
        assert!(probes.reported(&report(2, Outcome::Free)).is_some());
    }
}
