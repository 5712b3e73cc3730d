//! Outages as the client saw them: from the last good answer to the first good answer.

use serde::{Deserialize, Serialize};

use super::{Attempt, Outcome};
use crate::cabling::Station;

/// A time without good answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outage {
    /// The last good answer before it, CLOCK_BOOTTIME nanoseconds.
    pub last_good_ns: u64,
    /// The first good answer after it, CLOCK_BOOTTIME nanoseconds.
    pub first_good_ns: u64,
    /// Who gave the last answer.
    pub before: Option<Station>,
    /// Who gave the first answer.
    pub after: Option<Station>,
}

impl Outage {
    /// Its length in milliseconds.
    #[must_use]
    pub fn ms(&self) -> f64 {
        (self.first_good_ns - self.last_good_ns) as f64 / 1e6
    }
}

/// Shorter times between two good answers are the scheduler's, not the cluster's: the client asks
/// every 5 ms.
pub const GAP_NS: u64 = 25_000_000;

/// The longest outage that ended after the moment; `None` when answers came all the time.
pub(super) fn longest_after(attempts: &[Attempt], moment_ns: u64) -> Option<Outage> {
    let mut good: Vec<&Attempt> = attempts.iter().filter(|a| a.result == Outcome::Good).collect();
    good.sort_unstable_by_key(|attempt| attempt.done_ns);
    let outage = |pair: &[&Attempt]| Outage {
        last_good_ns: pair[0].done_ns,
        first_good_ns: pair[1].done_ns,
        before: pair[0].from,
        after: pair[1].from,
    };
    let ended_after = good.windows(2).map(outage).filter(|o| o.first_good_ns > moment_ns);
    let long = ended_after.filter(|o| o.first_good_ns - o.last_good_ns > GAP_NS);
    long.max_by_key(|o| o.first_good_ns - o.last_good_ns)
}

#[cfg(test)]
mod tests {
    use stead_model::NodeId;

    use super::*;

    const MS: u64 = 1_000_000;

    fn attempt(done_ms: u64, result: Outcome, node: u16) -> Attempt {
        let from = Some(Station::Node(NodeId(node)));
        Attempt { sent_ns: done_ms * MS - MS, done_ns: done_ms * MS, result, from }
    }

    #[test]
    fn an_outage_lasts_from_good_answer_to_good_answer() {
        let attempts = [
            attempt(100, Outcome::Good, 1),
            attempt(300, Outcome::Good, 1),
            attempt(305, Outcome::Good, 1),
            attempt(560, Outcome::Timeout, 1),
            attempt(800, Outcome::Refused, 2),
            attempt(905, Outcome::Good, 2),
            attempt(910, Outcome::Good, 2),
        ];
        let outage = longest_after(&attempts, 306 * MS).unwrap();
        assert!((outage.ms() - 600.0).abs() < 1e-9);
        assert_eq!(outage.before, Some(Station::Node(NodeId(1))));
        assert_eq!(outage.after, Some(Station::Node(NodeId(2))));
        assert_eq!(longest_after(&attempts, 905 * MS), None);
    }
}
