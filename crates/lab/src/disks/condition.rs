//! The pure state of a path: what becomes of each request of one node to one disk.
//!
//! ```text
//!            arrives
//!   request ─────────► healthy: now · slow: after the delay · hanging: held · failing: EIO
//!                      gone: EIO, for ever
//! ```
//!
//! A held or delayed request is judged when its time has come, not when it arrived: a write that
//! was overtaken by a preemption is refused.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What is wrong with a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Nothing.
    #[default]
    Healthy,
    /// Every request fails with EIO.
    Failing,
    /// Every request takes longer.
    Slow {
        /// By so many milliseconds.
        delay_ms: u64,
    },
    /// No request is answered until it is healed; they are kept.
    Hanging,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy => f.write_str("healthy"),
            Self::Failing => f.write_str("fails"),
            Self::Slow { delay_ms } => write!(f, "slow by {delay_ms} ms"),
            Self::Hanging => f.write_str("hangs"),
        }
    }
}

/// What to do with a request that arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    Now,
    Kept,
    Fails,
}

/// The state of one path in one life of its node; `R` is a request.
#[derive(Debug)]
pub(super) struct PathState<R> {
    condition: Condition,
    /// Its node hangs, and with it whatever is wrong.
    stalled: bool,
    /// The node's life is over.
    gone: bool,
    kept: Vec<(Instant, R)>,
}

/// A healthy one.
impl<R> Default for PathState<R> {
    fn default() -> Self {
        Self { condition: Condition::Healthy, stalled: false, gone: false, kept: Vec::new() }
    }
}

impl<R> PathState<R> {
    /// What is wrong with it now; `None` when the life is over.
    pub(super) fn condition(&self) -> Option<Condition> {
        (!self.gone).then_some(self.acts())
    }

    fn acts(&self) -> Condition {
        if self.stalled { Condition::Hanging } else { self.condition }
    }

    /// Holds everything while the node hangs, and lets go of it when it goes on.
    pub(super) fn stall(&mut self, stalled: bool) {
        self.stalled = stalled;
    }

    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Takes a request in; gives it back when it is not kept.
    pub(super) fn arrive(&mut self, now: Instant, request: R) -> (Arrival, Option<R>) {
        if self.gone {
            return (Arrival::Fails, Some(request));
        }
        match self.acts() {
            Condition::Healthy if self.kept.is_empty() => (Arrival::Now, Some(request)),
            // Those before it are on their way out.
            Condition::Healthy => self.keep(now, request),
            Condition::Failing => (Arrival::Fails, Some(request)),
            Condition::Slow { delay_ms } => {
                self.keep(now + Duration::from_millis(delay_ms), request)
            }
            Condition::Hanging => self.keep(now, request),
        }
    }

    fn keep(&mut self, due: Instant, request: R) -> (Arrival, Option<R>) {
        self.kept.push((due, request));
        (Arrival::Kept, None)
    }

    /// The next kept request whose time has come.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<R> {
        if self.acts() == Condition::Hanging {
            return None;
        }
        let index = self.kept.iter().position(|(due, _)| *due <= now)?;
        Some(self.kept.remove(index).1)
    }

    /// When [`Self::next_due`] has something next.
    pub(super) fn wakes(&self) -> Option<Instant> {
        match self.acts() {
            Condition::Hanging => None,
            Condition::Healthy | Condition::Failing | Condition::Slow { .. } => {
                self.kept.iter().map(|(due, _)| *due).min()
            }
        }
    }

    /// Changes the condition. Healing lets go of all that is kept; a path that begins to fail
    /// fails that as well: those are returned.
    pub(super) fn set(&mut self, condition: Condition, now: Instant) -> Vec<R> {
        self.condition = condition;
        match condition {
            Condition::Healthy => {
                for (due, _) in &mut self.kept {
                    *due = (*due).min(now);
                }
                Vec::new()
            }
            Condition::Failing => self.abort(),
            Condition::Slow { .. } | Condition::Hanging => Vec::new(),
        }
    }

    /// Returns all that is kept, to be failed; the path stays.
    pub(super) fn abort(&mut self) -> Vec<R> {
        self.kept.drain(..).map(|(_, request)| request).collect()
    }

    /// Ends the path: from now on everything fails. Returns all that is kept, to be failed.
    pub(super) fn end(&mut self) -> Vec<R> {
        self.gone = true;
        self.abort()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Condition = Condition::Slow { delay_ms: 50 };

    fn path(condition: Condition) -> (PathState<u32>, Instant) {
        let (mut path, now) = (PathState::default(), Instant::now());
        path.set(condition, now);
        (path, now)
    }

    #[test]
    fn a_healthy_path_does_it_now_and_a_failing_one_never() {
        let (mut healthy, now) = path(Condition::Healthy);
        assert_eq!(healthy.arrive(now, 1), (Arrival::Now, Some(1)));
        let (mut failing, now) = path(Condition::Failing);
        assert_eq!(failing.arrive(now, 1), (Arrival::Fails, Some(1)));
        failing.set(Condition::Healthy, now);
        assert_eq!(failing.arrive(now, 2), (Arrival::Now, Some(2)));
    }

    #[test]
    fn a_slow_path_delays_each_by_the_same_time() {
        let (mut slow, now) = path(SLOW);
        let later = now + Duration::from_millis(20);
        assert_eq!(slow.arrive(now, 1), (Arrival::Kept, None));
        assert_eq!(slow.arrive(later, 2), (Arrival::Kept, None));
        let due = now + Duration::from_millis(50);
        assert_eq!(slow.wakes(), Some(due));
        assert_eq!(slow.next_due(due - Duration::from_millis(1)), None);
        assert_eq!((slow.next_due(due), slow.next_due(due)), (Some(1), None));
        assert_eq!(slow.next_due(later + Duration::from_millis(50)), Some(2));
    }

    #[test]
    fn a_hanging_path_keeps_all_in_order_until_it_is_healed() {
        let (mut hanging, now) = path(Condition::Hanging);
        for request in 1..=3 {
            assert_eq!(hanging.arrive(now, request), (Arrival::Kept, None));
        }
        let later = now + Duration::from_secs(60);
        assert_eq!((hanging.wakes(), hanging.next_due(later)), (None, None));
        assert!(hanging.set(Condition::Healthy, later).is_empty());
        assert_eq!(hanging.arrive(later, 4), (Arrival::Kept, None), "it would overtake");
        let released: Vec<u32> = std::iter::from_fn(|| hanging.next_due(later)).collect();
        assert_eq!(released, [1, 2, 3, 4]);
    }

    #[test]
    fn a_stalled_path_keeps_all_and_is_what_it_was_when_it_goes_on() {
        let (mut path, now) = path(SLOW);
        path.stall(true);
        assert_eq!(path.condition(), Some(Condition::Hanging));
        path.arrive(now, 1);
        let later = now + Duration::from_secs(1);
        assert_eq!((path.wakes(), path.next_due(later)), (None, None));
        path.stall(false);
        assert_eq!((path.condition(), path.next_due(later)), (Some(SLOW), Some(1)));
    }

    #[test]
    fn failing_and_aborting_give_back_what_is_kept() {
        let (mut path, now) = path(Condition::Hanging);
        path.arrive(now, 1);
        assert_eq!(path.abort(), [1]);
        path.arrive(now, 2);
        assert_eq!(path.kept(), 1);
        assert_eq!(path.set(Condition::Failing, now), [2]);
    }

    #[test]
    fn an_ended_path_fails_for_ever() {
        let (mut path, now) = path(SLOW);
        path.arrive(now, 1);
        assert_eq!(path.end(), [1]);
        path.set(Condition::Healthy, now);
        assert_eq!(path.arrive(now, 2), (Arrival::Fails, Some(2)));
    }
}
