//! I-QUORUM: from the end of its lease plus the stop grace on, a node runs no cluster resource.
//!
//! Judged on the node's own clock, at the moment when lease and grace of the last order to the
//! guard are over; the moment a frozen node wakes counts as the end of a lease that ended
//! meanwhile.

use stead_model::{NodeId, Span, Time};

use super::{Promise, Verdict, Violation};
use crate::acts::Acts;

/// The lease in force on one node, as its guard knows it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Quorum {
    /// Judgements passed.
    pub judged: u64,
}

/// What is known of a lease when it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// The node.
    pub node: NodeId,
    /// End of the last lease, on the node's clock.
    pub until: Time,
    /// The stop grace and what the rounding of timers costs.
    pub grace: Span,
    /// The node's clock.
    pub now: Time,
}

impl Quorum {
    /// Judges a node; does nothing as long as its lease and grace are not over.
    pub fn judge(&mut self, ended: Ended, acts: &Acts) -> Verdict {
        let Ended { node, until, grace, now } = ended;
        if now < until + grace {
            return Ok(());
        }
        self.judged += 1;
        let Some(act) = acts.of(node).find(|act| act.standing.acts()) else { return Ok(()) };
        let text = format!(
            "{} acts on {node} at {now}, lease and grace were over at {}",
            act.resource,
            until + grace
        );
        Err(Violation::new(Promise::Quorum, text))
    }
}
