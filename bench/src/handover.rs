//! What the client saw of a move or a restart, from the list of its attempts.
//!
//! The demo leaves out interruptions below the client's own noise; here they are the figure, so
//! every gap counts.

use stead_lab::Station;
use stead_lab::prober::{Attempt, Outcome};

/// Milliseconds from the last good answer of anybody else to the first good answer of `to` to a
/// question asked after the moment; `None` as long as one of the two is missing.
pub(crate) fn outage_ms(attempts: &[Attempt], moment_ns: u64, to: Station) -> Option<f64> {
    let by_new = |attempt: &&Attempt| attempt.from == Some(to) && attempt.sent_ns > moment_ns;
    let first_ns = good(attempts).filter(by_new).map(|attempt| attempt.done_ns).min()?;
    let by_old = |attempt: &&Attempt| {
        attempt.from.is_some_and(|from| from != to) && attempt.done_ns < first_ns
    };
    let last_ns = good(attempts).filter(by_old).map(|attempt| attempt.done_ns).max()?;
    Some((first_ns - last_ns) as f64 / 1e6)
}

/// Milliseconds from the moment to the end of the longest time without good answers that ended
/// after it; `None` as long as no answer came after it.
pub(crate) fn back_after_ms(attempts: &[Attempt], moment_ns: u64) -> Option<f64> {
    let mut ends: Vec<u64> = good(attempts).map(|attempt| attempt.done_ns).collect();
    ends.sort_unstable();
    let gaps = ends.windows(2).map(|pair| (pair[1] - pair[0], pair[1]));
    let (_, back_ns) = gaps.filter(|(_, end_ns)| *end_ns > moment_ns).max()?;
    Some((back_ns - moment_ns) as f64 / 1e6)
}

/// When the first good answer came, on CLOCK_BOOTTIME.
pub(crate) fn first_good_ns(attempts: &[Attempt]) -> Option<u64> {
    good(attempts).map(|attempt| attempt.done_ns).min()
}

fn good(attempts: &[Attempt]) -> impl Iterator<Item = &Attempt> {
    attempts.iter().filter(|attempt| attempt.result == Outcome::Good)
}

#[cfg(test)]
mod tests {
    use stead_model::NodeId;

    use super::*;

    const MS: u64 = 1_000_000;

    fn answer(done_ms: u64, node: u16) -> Attempt {
        let from = Some(Station::Node(NodeId(node)));
        Attempt { sent_ns: (done_ms - 1) * MS, done_ns: done_ms * MS, result: Outcome::Good, from }
    }

    fn refused(done_ms: u64, node: u16) -> Attempt {
        Attempt { result: Outcome::Refused, ..answer(done_ms, node) }
    }

    #[test]
    fn a_move_counts_from_the_last_answer_of_the_old_owner() {
        let two = Station::Node(NodeId(2));
        let before = [answer(90, 2), answer(100, 1), answer(105, 1), refused(110, 1)];
        assert_eq!(outage_ms(&before, 102 * MS, two), None);
        let mut all = before.to_vec();
        all.extend([refused(112, 2), answer(117, 2), answer(122, 2)]);
        assert_eq!(outage_ms(&all, 102 * MS, two), Some(12.0));
    }

    #[test]
    fn a_restart_counts_from_the_kill_to_the_end_of_the_longest_gap() {
        let kill_ns = 201 * MS;
        let before = [answer(100, 1), answer(195, 1), answer(200, 1)];
        assert_eq!(back_after_ms(&before, kill_ns), None);
        let mut all = before.to_vec();
        // An answer under way at the kill arrives; a hiccup of 9 ms follows later.
        all.extend([answer(202, 1), refused(207, 1), answer(217, 1), answer(226, 1)]);
        assert_eq!(back_after_ms(&all, kill_ns), Some(16.0));
    }
}
