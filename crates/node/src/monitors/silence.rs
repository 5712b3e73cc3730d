//! When a monitor that does not answer is replaced. Pure.
//!
//! A monitor's main thread only decides; it never calls a resource type and never waits. So one
//! that owes an answer is stopped, deadlocked or starved, and another one does better: what it
//! hosts runs on, and is adopted. Each time that happens the next one gets longer, for then it is
//! the node that is too busy.

use stead_model::{Span, Time};

/// A monitor is asked this often whether it works, and answers within this time.
pub(super) const PING_EVERY: Span = Span::from_secs(5);
/// One that owes an answer for this long is replaced: three questions' time. The historical
/// service waits for 300 s (`DeadlockTimeout`, B2), but there one thread makes the calls to the
/// resources, too.
pub(super) const LIMIT: Span = Span::from_secs(15);
/// The longest this becomes: the historical value.
const LIMIT_MAX: Span = Span::from_secs(300);
/// Ends of monitors are remembered for this long.
const WINDOW: Span = Span::from_secs(3_600);
/// So many ends within the window are for a person to look at.
const UNSTEADY: usize = 3;
/// Ends that are remembered.
const ENDS_MAX: usize = 16;

/// What a monitor owes, and how often it ended.
#[derive(Default, Debug)]
pub(super) struct Silence {
    /// Since when an answer is owed.
    owed: Option<Time>,
    asked_at: Time,
    /// When the guard was told last, for the answer that is owed now.
    told: Option<Time>,
    /// When it was replaced.
    replaced: Vec<Time>,
    /// When it ended, replaced or not.
    ends: Vec<Time>,
}

impl Silence {
    /// An answer is owed from now on, if none is already.
    pub(super) fn expects(&mut self, now: Time) {
        if self.owed.is_none() {
            self.owed = Some(now);
        }
    }

    /// It is asked whether it works; `false`: it need not be.
    pub(super) fn ask(&mut self, now: Time) -> bool {
        let due = self.owed.is_none() && now.since(self.asked_at) >= PING_EVERY;
        if due {
            (self.owed, self.asked_at) = (Some(now), now);
        }
        due
    }

    /// It answers: nothing is owed.
    pub(super) fn answered(&mut self, now: Time) {
        (self.owed, self.told, self.asked_at) = (None, None, now);
    }

    /// Nothing is expected of it until it comes by itself.
    pub(super) fn excused(&mut self) {
        (self.owed, self.told) = (None, None);
    }

    /// It ended.
    pub(super) fn ended(&mut self, now: Time) {
        self.excused();
        remember(&mut self.ends, now);
    }

    /// How long an answer is owed, if that is too long.
    pub(super) fn lasts(&self, now: Time) -> Option<Span> {
        let silence = now.since(self.owed?);
        (silence >= PING_EVERY).then_some(silence)
    }

    /// How long an answer is owed, if it is to be replaced now; told once for each limit.
    pub(super) fn is_over(&mut self, now: Time) -> Option<Span> {
        let owed = self.owed?;
        let limit = self.limit(now);
        if now.since(self.told.unwrap_or(owed)) < limit {
            return None;
        }
        self.told = Some(now);
        remember(&mut self.replaced, now);
        Some(now.since(owed))
    }

    fn limit(&self, now: Time) -> Span {
        let times = recent(&self.replaced, now).min(8);
        Span(LIMIT.0 << times).min(LIMIT_MAX)
    }

    /// How often it ended within the last hour, if that is for a person to look at.
    pub(super) fn is_unsteady(&self, now: Time) -> Option<usize> {
        Some(recent(&self.ends, now)).filter(|ends| *ends >= UNSTEADY)
    }
}

fn recent(all: &[Time], now: Time) -> usize {
    all.iter().filter(|at| now.since(**at) < WINDOW).count()
}

fn remember(all: &mut Vec<Time>, now: Time) {
    if all.len() == ENDS_MAX {
        all.remove(0);
    }
    all.push(now);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Time {
        Time(0) + Span::from_secs(s)
    }

    #[test]
    fn it_is_asked_once_until_it_answers() {
        let mut silence = Silence::default();
        silence.answered(at(0));
        assert!(!silence.ask(at(4)) && silence.ask(at(5)) && !silence.ask(at(50)));
        assert_eq!(silence.lasts(at(9)), None);
        assert_eq!(silence.lasts(at(10)), Some(PING_EVERY));
        silence.answered(at(11));
        assert_eq!(silence.lasts(at(15)), None);
        assert!(!silence.ask(at(15)) && silence.ask(at(16)));
    }

    /// A-092, B2 DeadlockTimeout: each replacement makes the next one wait twice as long, up to the
    /// historical limit, and an hour later all is forgotten.
    #[test]
    fn it_is_replaced_after_ever_longer_silence() {
        let mut silence = Silence::default();
        let mut now = at(100);
        for limit in [15, 30, 60, 120, 240, 300, 300] {
            silence.expects(now);
            let end = now + Span::from_secs(limit);
            assert_eq!(silence.is_over(Time(end.0 - 1)), None, "{limit}");
            assert_eq!(silence.is_over(end), Some(Span::from_secs(limit)));
            assert_eq!(silence.is_over(end), None, "it was told");
            silence.ended(end);
            now = end;
        }
        assert_eq!(silence.is_unsteady(now), Some(7));
        let later = now + WINDOW;
        assert_eq!(silence.is_unsteady(later), None);
        silence.expects(later);
        assert!(silence.is_over(later + LIMIT).is_some());
    }

    #[test]
    fn a_guard_that_did_not_hear_is_told_again() {
        let mut silence = Silence::default();
        silence.expects(at(0));
        assert!(silence.is_over(at(15)).is_some());
        assert_eq!(silence.is_over(at(44)), None);
        assert_eq!(silence.is_over(at(45)), Some(Span::from_secs(45)));
    }
}
