//! Figures of one link: how many datagrams are missing of late, how long they take.
//!
//! For people; nothing is decided by them but a warning. All of them are bounded and cost nothing
//! while nothing arrives.

use stead_model::{Span, Time};

/// How many of the last datagrams are missing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Shares {
    /// The first number of the present share; 0: none was begun.
    first: u64,
    begun: Time,
    highest: u64,
    received: u64,
    /// Of the share before, if there was one.
    before: Option<u16>,
    quality: Quality,
}

/// Whether so much is missing that somebody should know.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Quality {
    /// It is not.
    #[default]
    Sound,
    /// It is.
    Lossy,
}

/// How long heartbeats take there and back.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct RoundTrips {
    last: Option<Span>,
    mean: Span,
    jitter: Span,
}

impl Shares {
    /// A datagram with this number came; gives the quality if it is another one from now on.
    pub(super) fn add(&mut self, now: Time, sequence: u64) -> Option<Quality> {
        if self.first == 0 {
            (self.first, self.highest, self.begun) = (sequence, sequence, now);
        }
        self.highest = self.highest.max(sequence);
        self.received += 1;
        // Of a burst, which overtake each other, some are still on their way.
        if self.sent() < SHARE || now.since(self.begun) < SHARE_LASTS {
            return None;
        }
        let missing = self.missing();
        let quality = match self.quality {
            Quality::Sound if missing >= LOSSY_PERMILLE => Quality::Lossy,
            Quality::Lossy if missing <= SOUND_PERMILLE => Quality::Sound,
            same => same,
        };
        let changed = (quality != self.quality).then_some(quality);
        let (first, highest) = (self.highest + 1, self.highest);
        *self = Self { first, begun: now, highest, received: 0, before: Some(missing), quality };
        changed
    }

    /// What was silent is heard again: the silence was told, and counts as no loss.
    pub(super) const fn begin_anew(&mut self) {
        self.first = 0;
        self.received = 0;
    }

    /// Of the last whole share, or of a first one that tells something already.
    pub(super) fn loss_permille(&self) -> u16 {
        match self.before {
            Some(before) => before,
            None if self.sent() >= SHARE_MIN => self.missing(),
            None => 0,
        }
    }

    const fn sent(&self) -> u64 {
        (self.highest + 1).saturating_sub(self.first)
    }

    fn missing(&self) -> u16 {
        let sent = self.sent();
        let missing = sent.saturating_sub(self.received) * 1_000;
        u16::try_from(missing.checked_div(sent).unwrap_or(0)).unwrap_or(1_000)
    }
}

impl RoundTrips {
    /// One took this long. What is longer than any link is a clock that began anew.
    pub(super) fn add(&mut self, took: Span) {
        if took > LONGEST {
            return;
        }
        match self.last.replace(took) {
            None => self.mean = took,
            Some(last) => {
                self.mean = towards(self.mean, took, 8);
                self.jitter = towards(self.jitter, Span(took.0.abs_diff(last.0)), 16);
            }
        }
    }

    /// The mean of late, microseconds.
    pub(crate) fn mean_us(&self) -> Option<u64> {
        self.last.map(|_| self.mean.0 / 1_000)
    }

    /// By how much one differs from the next (RFC 3550), microseconds.
    pub(crate) fn jitter_us(&self) -> Option<u64> {
        self.last.map(|_| self.jitter.0 / 1_000)
    }
}

/// One step of a mean that forgets.
const fn towards(mean: Span, value: Span, parts: u64) -> Span {
    Span((mean.0 * (parts - 1) + value.0) / parts)
}

/// Datagrams of one share: some ten seconds of heartbeats.
const SHARE: u64 = 128;
/// And a share lasts at least as long.
const SHARE_LASTS: Span = Span::from_secs(2);
/// A link that loses as much is told.
const LOSSY_PERMILLE: u16 = 100;
/// And when it loses no more than this again.
const SOUND_PERMILLE: u16 = 20;
/// From so many on a first share tells something.
const SHARE_MIN: u64 = 16;
/// No round trip that is believed is longer.
const LONGEST: Span = Span::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten in a second.
    fn at(sequence: u64) -> Time {
        Time(Span::from_millis(sequence * 100).0)
    }

    #[test]
    fn a_burst_that_arrives_in_disorder_is_no_loss() {
        let mut shares = Shares::default();
        let disorder = std::iter::once(1).chain((2..=400).rev());
        assert!(disorder.filter_map(|n| shares.add(Time(7), n)).next().is_none());
        assert_eq!(shares.add(at(30), 401), None);
        assert_eq!(shares.loss_permille(), 0);
    }

    #[test]
    fn the_loss_of_late_follows_what_is_missing_and_forgets_what_was() {
        let mut shares = Shares::default();
        let mut feed = |numbers: std::ops::Range<u64>, lost_of_ten: u64| {
            let told =
                numbers.filter(|n| n % 10 >= lost_of_ten).filter_map(|n| shares.add(at(n), n));
            let told: Vec<Quality> = told.collect();
            (shares.loss_permille(), told)
        };
        assert_eq!(feed(1000..1010, 0), (0, vec![]), "too few to tell");
        assert_eq!(feed(1010..2000, 0), (0, vec![]));
        let (lossy, told) = feed(2000..3000, 3);
        assert!((280..=320).contains(&lossy) && told == [Quality::Lossy], "{lossy} {told:?}");
        assert_eq!(feed(3000..4000, 0), (0, vec![Quality::Sound]));
    }

    #[test]
    fn copies_and_late_ones_are_no_loss() {
        let mut shares = Shares::default();
        for n in (1..400_u64).step_by(2) {
            assert!([n + 1, n, n].into_iter().all(|n| shares.add(at(n), n).is_none()));
        }
        assert_eq!(shares.loss_permille(), 0);
    }

    #[test]
    fn round_trips_are_smoothed_and_nonsense_is_not_believed() {
        let mut trips = RoundTrips::default();
        assert_eq!((trips.mean_us(), trips.jitter_us()), (None, None));
        trips.add(Span::from_secs(11));
        assert_eq!(trips.mean_us(), None);
        (0..100).for_each(|_| trips.add(Span::from_micros(300)));
        assert_eq!((trips.mean_us(), trips.jitter_us()), (Some(300), Some(0)));
        (0..100).for_each(|n| trips.add(Span::from_micros(if n % 2 == 0 { 200 } else { 400 })));
        let (mean, jitter) = (trips.mean_us().unwrap(), trips.jitter_us().unwrap());
        assert!((280..=320).contains(&mean) && (180..=200).contains(&jitter), "{mean} {jitter}");
    }
}
