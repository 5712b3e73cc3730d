//! This node itself stood still: frozen, suspended, or too busy to run the node service.
//!
//! Whoever wakes after a while has heard nothing of the others, and takes that for their silence.
//! So the event loop looks at the clock: if it is much later than it meant to look again, that is
//! a record of its own, and what waits on the network is heard before anything is judged.

use stead_model::record::Level;
use stead_model::{Span, Time};

use crate::clock;
use crate::service::{Ending, Service};

/// Datagrams of one network that are heard at one go; a socket holds fewer.
const WAITING_MAX: usize = 4096;

/// Looks whether the event loop turns in time.
#[derive(Debug)]
pub(crate) struct Turning {
    /// A gap that others notice, too: the election timeout.
    limit: Span,
    /// When the clock was to be looked at again.
    expected: Time,
    /// Time the machine had spent suspended then.
    suspended: Span,
}

/// A gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stall {
    pub(crate) length: Span,
    /// How much of it the machine was suspended.
    pub(crate) suspended: Span,
}

impl Turning {
    pub(crate) fn new(limit: Span) -> Self {
        Self { limit, expected: clock::now(), suspended: clock::suspended() }
    }

    /// The loop looks at the clock again at that time at the latest.
    pub(crate) const fn expect(&mut self, at: Time) {
        self.expected = at;
    }

    /// The loop looks at the clock; if that is too late, how late.
    pub(crate) fn look(&mut self, now: Time, suspended: impl Fn() -> Span) -> Option<Stall> {
        let length = now.since(self.expected);
        self.expected = now;
        if length < self.limit {
            return None;
        }
        let before = std::mem::replace(&mut self.suspended, suspended());
        let suspended = Span(self.suspended.0.saturating_sub(before.0)).min(length);
        Some(Stall { length, suspended })
    }
}

impl Stall {
    fn sentence(self) -> String {
        let length = self.length;
        if self.suspended.0 >= length.0 / 2 {
            return format!("this node was suspended: it stood still for {length}");
        }
        format!(
            "this node stood still for {length}: its processes were stopped, or it is too busy; \
             it heard nothing of the others meanwhile"
        )
    }
}

impl Service {
    /// The clock was looked at: tells a stall and hears what waited.
    pub(crate) fn look_for_stall(&mut self) -> Result<(), Ending> {
        let Some(stall) = self.turning.look(clock::now(), clock::suspended) else { return Ok(()) };
        self.records.note(Level::Warning, "stalled", &stall.sentence());
        for index in 0..self.datagrams.networks() {
            for _ in 0..WAITING_MAX {
                if !self.hear_datagram(index)? {
                    break;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Span = Span::from_millis(300);

    #[test]
    fn only_a_gap_beyond_the_limit_is_a_stall_and_it_is_told_once() {
        let mut turning = Turning { limit: LIMIT, expected: Time(0), suspended: Span::ZERO };
        let awake = || Span::ZERO;
        turning.expect(Time(1_000));
        assert_eq!(turning.look(Time(500), awake), None, "woken early");
        turning.expect(Time(1_000));
        assert_eq!(turning.look(Time(1_000) + Span::from_millis(299), awake), None);
        turning.expect(Time(1_000));
        let length = Span::from_secs(5);
        let late = Time(1_000) + length;
        let stall = Stall { length, suspended: Span::ZERO };
        assert_eq!(turning.look(late, awake), Some(stall));
        assert_eq!(turning.look(late, awake), None);
        assert!(stall.sentence().contains("stood still for 5"), "{}", stall.sentence());
    }

    #[test]
    fn a_suspend_is_told_from_a_stop() {
        let mut turning =
            Turning { limit: LIMIT, expected: Time(0), suspended: Span::from_secs(100) };
        let stall = turning.look(Time(0) + Span::from_secs(5), || Span::from_millis(104_900));
        let suspended = Span::from_millis(4_900);
        assert_eq!(stall, Some(Stall { length: Span::from_secs(5), suspended }));
        assert!(stall.unwrap().sentence().contains("suspended"));
        let again = turning.look(Time(0) + Span::from_secs(9), || Span::from_millis(104_900));
        assert_eq!(again.unwrap().suspended, Span::ZERO, "that was before");
    }
}
