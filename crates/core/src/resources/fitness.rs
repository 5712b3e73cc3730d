//! Looks of a possible owner at resources that somebody wants: could they run here?
//!
//! The leader asks before it commits them, so that what is missing is told to whoever asked and
//! not found out by a failover. It waits for a short time only: a look that never ends is
//! forgotten here when others come. Nothing is started, so no lease and no epoch is at stake.

use std::collections::{BTreeSet, VecDeque};

use stead_model::OrderId;
use stead_model::order::{Fitness, ResourceReport};
use stead_model::wire::peer::FitAnswer;

use super::Asked;

/// Questions under way at most; the oldest is forgotten.
const QUESTIONS_MAX: usize = 16;

/// The questions under way on this node.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Looks(VecDeque<Look>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Look {
    asked: Asked,
    /// Orders without an answer.
    orders: BTreeSet<OrderId>,
}

/// What is to be said about a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// Whom to tell.
    pub asked: Asked,
    /// What.
    pub answer: FitAnswer,
}

impl Looks {
    /// These orders were given for a question.
    pub fn begin(&mut self, asked: Asked, orders: BTreeSet<OrderId>) {
        self.0.push_back(Look { asked, orders });
        if self.0.len() > QUESTIONS_MAX {
            self.0.pop_front();
        }
    }

    /// The monitor looked at one. What does not fit is told at once, the rest when all is done.
    pub fn reported(&mut self, report: &ResourceReport, fitness: &Fitness) -> Option<Judged> {
        let at = self.0.iter().position(|look| look.orders.contains(&report.order))?;
        let look = &mut self.0[at];
        look.orders.remove(&report.order);
        let (asked, left) = (look.asked, look.orders.len());
        if left == 0 {
            self.0.remove(at);
        }
        let misfit = match fitness {
            Fitness::Fit if left > 0 => return None,
            Fitness::Fit => None,
            Fitness::Unfit(_) | Fitness::Unsure(_) | Fitness::Advised(_) => {
                Some((report.resource.clone(), fitness.clone()))
            }
        };
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        Some(Judged { asked, answer: FitAnswer::Looked { misfit, left } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::order::Outcome;
    use stead_model::{Epoch, NodeId, RequestId};

    fn asked(number: u64) -> Asked {
        Asked { by: NodeId(1), request: RequestId { client: 1, number } }
    }

    fn say(looks: &mut Looks, order: u64, fitness: Fitness) -> Option<Judged> {
        let (order, epoch) = (OrderId(order), Epoch(0));
        let (group, resource) = ("web".into(), "app".into());
        let outcome = Outcome::Fitness(fitness.clone());
        looks.reported(&ResourceReport { order, group, resource, epoch, outcome }, &fitness)
    }

    fn orders(numbers: &[u64]) -> BTreeSet<OrderId> {
        numbers.iter().map(|n| OrderId(*n)).collect()
    }

    #[test]
    fn a_misfit_is_told_at_once_and_the_end_in_any_case() {
        let mut looks = Looks::default();
        looks.begin(asked(1), orders(&[1, 2, 3]));
        assert_eq!(say(&mut looks, 1, Fitness::Fit), None);
        let unfit = Fitness::Unfit(vec!["no program".into()]);
        let misfit = Some(("app".into(), unfit.clone()));
        let answer = FitAnswer::Looked { misfit, left: 1 };
        assert_eq!(say(&mut looks, 2, unfit), Some(Judged { asked: asked(1), answer }));
        let answer = FitAnswer::Looked { misfit: None, left: 0 };
        assert_eq!(say(&mut looks, 3, Fitness::Fit), Some(Judged { asked: asked(1), answer }));
        assert_eq!(looks, Looks::default());
    }

    #[test]
    fn what_is_never_answered_is_forgotten_when_others_come() {
        let mut looks = Looks::default();
        for number in 1..=QUESTIONS_MAX as u64 + 1 {
            looks.begin(asked(number), orders(&[number]));
        }
        assert_eq!(say(&mut looks, 1, Fitness::Fit), None);
        assert!(say(&mut looks, 2, Fitness::Fit).is_some());
    }
}
