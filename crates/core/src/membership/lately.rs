//! What came and went in the last seconds. The record of a silence says it, so that nobody has to
//! guess who was slow: the network, the other node, or this one.

use std::fmt;

use stead_model::{Span, Time};

/// A figure of the present stretch of time, and the same of the one before.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Both<T> {
    earlier: T,
    present: T,
}

/// The stretches of time in which all is counted, and how late this node was in them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stretches {
    begun: Both<Time>,
    own_late: Both<Span>,
}

/// What came over a link.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Came {
    received: u64,
    /// Between those that came, by their numbers.
    missing: u64,
    /// Came late, with nothing missing before it.
    late: u64,
}

/// A silence, and what came and went in the last seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Silence {
    lasts: Span,
    /// How long ago counting began.
    within: Span,
    came: Came,
    /// Heartbeats that went to the node.
    sent: u64,
    /// By how much the latest of these was late.
    own_late: Span,
}

impl<T: Default> Both<T> {
    /// A new stretch begins.
    pub(super) fn turn(&mut self) {
        self.earlier = std::mem::take(&mut self.present);
    }
}

impl Both<u64> {
    pub(super) fn count(&mut self) {
        self.present += 1;
    }
}

impl Both<Came> {
    /// A datagram with this number came. `last`: the highest number before it, and whether that
    /// came too long ago; nothing: it is the first one after a silence or of a life.
    pub(super) fn add(&mut self, sequence: u64, last: Option<(u64, bool)>) {
        self.present.received += 1;
        let Some((highest, waited)) = last else { return };
        match sequence.checked_sub(highest) {
            // It was overtaken, and is not missing any more.
            None => {
                let missing = [&mut self.present.missing, &mut self.earlier.missing];
                if let Some(missing) = missing.into_iter().find(|missing| **missing > 0) {
                    *missing -= 1;
                }
            }
            // A copy.
            Some(0) => {}
            Some(1) => self.present.late += u64::from(waited),
            Some(further) => {
                self.present.missing = self.present.missing.saturating_add(further - 1);
            }
        }
    }
}

impl Stretches {
    pub(super) fn new(now: Time) -> Self {
        Self { begun: Both { earlier: now, present: now }, own_late: Both::default() }
    }

    /// Whether a new one begins: then everything that is counted turns, too.
    pub(super) fn turn(&mut self, now: Time) -> bool {
        let is_over = now.since(self.begun.present) >= STRETCH;
        if is_over {
            self.begun.turn();
            self.begun.present = now;
            self.own_late.turn();
        }
        is_over
    }

    /// A heartbeat of this node goes out so long after it was due.
    pub(super) fn was_late(&mut self, by: Span) {
        self.own_late.present = self.own_late.present.max(by);
    }

    /// A silence that lasts so long, after what was sent, and came over these links.
    pub(super) fn silence<'a>(
        &self,
        (now, lasts): (Time, Span),
        sent: Both<u64>,
        came: impl Iterator<Item = &'a Both<Came>>,
    ) -> Silence {
        let mut sum = Came::default();
        for came in came.flat_map(|both| [both.earlier, both.present]) {
            sum.received += came.received;
            sum.missing = sum.missing.saturating_add(came.missing);
            sum.late += came.late;
        }
        Silence {
            lasts,
            within: now.since(self.begun.earlier),
            came: sum,
            sent: sent.earlier + sent.present,
            own_late: self.own_late.earlier.max(self.own_late.present),
        }
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lasts, within, came: Came { received, missing, late }, sent, own_late } = self;
        let tenths = within.as_millis() / 100;
        let own_ms = own_late.0.div_ceil(Span::from_millis(1).0);
        write!(
            f,
            "{lasts}; in the last {}.{} s {received} datagrams came from there ({missing} missing, \
             {late} late), and {sent} heartbeats went there (at most {own_ms} ms late)",
            tenths / 10,
            tenths % 10
        )
    }
}

/// A figure counts for one to two of these.
const STRETCH: Span = Span::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_overtaken_is_not_missing_and_a_copy_is_nothing() {
        let mut came = Both::<Came>::default();
        came.add(1, None);
        came.add(4, Some((1, true)));
        assert_eq!(came.present, Came { received: 2, missing: 2, late: 0 });
        came.add(3, Some((4, false)));
        came.add(4, Some((4, true)));
        assert_eq!(came.present, Came { received: 4, missing: 1, late: 0 });
        came.turn();
        came.add(2, Some((4, false)));
        assert_eq!(came.earlier, Came { received: 4, missing: 0, late: 0 });
        came.add(5, Some((4, true)));
        assert_eq!(came.present, Came { received: 2, missing: 0, late: 1 });
        came.add(u64::MAX, Some((5, true)));
        came.add(u64::MAX, Some((0, true)));
        assert_eq!(came.present, Came { received: 4, missing: u64::MAX, late: 1 });
    }

    #[test]
    fn figures_count_for_two_stretches_and_are_forgotten_then() {
        let second = |n| Time(Span::from_secs(n).0);
        let mut stretches = Stretches::new(second(0));
        let mut sent = Both::<u64>::default();
        stretches.was_late(Span::from_millis(700));
        stretches.was_late(Span::from_micros(1));
        sent.count();
        let told = |stretches: &Stretches, sent, at| {
            let silence = stretches.silence((at, Span::from_millis(350)), sent, std::iter::empty());
            (silence.within, silence.sent, silence.own_late)
        };
        let whole = (Span::from_secs(4), 1, Span::from_millis(700));
        assert_eq!(told(&stretches, sent, second(4)), whole);
        for (at, turns) in [(4, false), (5, true), (9, false)] {
            assert_eq!(stretches.turn(second(at)), turns, "{at}");
        }
        sent.turn();
        sent.count();
        let both = (Span::from_secs(9), 2, Span::from_millis(700));
        assert_eq!(told(&stretches, sent, second(9)), both);
        assert!(stretches.turn(second(11)));
        sent.turn();
        let later = (Span::from_secs(7), 1, Span::ZERO);
        assert_eq!(told(&stretches, sent, second(12)), later);
    }
}
