//! The boot clock of one simulated node: an own rate within ±ρ, an own zero, and pauses.
//!
//! True time is the simulator's own count of nanoseconds; no node ever sees it. A pause that the
//! clock does not see is the hypervisor's (H14); a frozen node's clock goes on.

use stead_model::Time;

/// True time of the simulated world, in nanoseconds.
pub type Instant = u64;

/// CLOCK_BOOTTIME of one life of a machine.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    anchor: Instant,
    anchor_local: u64,
    rate_ppm: i64,
    stopped: bool,
}

impl Clock {
    /// A clock that shows `local` at the true moment `now` and runs `rate_ppm` parts per million
    /// too fast.
    #[must_use]
    pub const fn new(now: Instant, local: u64, rate_ppm: i64) -> Self {
        Self { anchor: now, anchor_local: local, rate_ppm, stopped: false }
    }

    /// What the clock shows.
    #[must_use]
    pub const fn show(&self, now: Instant) -> Time {
        if self.stopped {
            return Time(self.anchor_local);
        }
        let passed = now.saturating_sub(self.anchor);
        let skew = passed as i128 * self.rate_ppm as i128 / 1_000_000;
        Time((self.anchor_local as i128 + passed as i128 + skew) as u64)
    }

    /// The first true moment at which the clock shows at least `local`.
    #[must_use]
    pub const fn when(&self, local: Time) -> Instant {
        let ahead = local.0.saturating_sub(self.anchor_local) as i128;
        let rate = 1_000_000 + self.rate_ppm as i128;
        let mut at = self.anchor + ((ahead * 1_000_000 + rate - 1) / rate) as u64;
        while self.show(at).0 < local.0 && !self.stopped {
            at += 1;
        }
        at
    }

    /// Stops the clock (H14).
    pub const fn stop(&mut self, now: Instant) {
        self.anchor_local = self.show(now).0;
        self.anchor = now;
        self.stopped = true;
    }

    /// Lets it run on from where it stood.
    pub const fn go_on(&mut self, now: Instant) {
        if self.stopped {
            self.anchor = now;
            self.stopped = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_met_and_not_early_at_every_rate() {
        for ppm in [-1_000, -37, 0, 412, 1_000] {
            let clock = Clock::new(5_000, 77, ppm);
            for local in [78, 1_000_077, 3_000_000_001, 86_400_000_000_000] {
                let at = clock.when(Time(local));
                assert!(clock.show(at) >= Time(local), "{ppm} {local}: late");
                assert!(clock.show(at - 2) < Time(local), "{ppm} {local}: early");
            }
        }
    }

    #[test]
    fn a_stopped_clock_loses_the_pause() {
        let mut clock = Clock::new(0, 0, 0);
        clock.stop(100);
        assert_eq!(clock.show(5_000), Time(100));
        clock.go_on(5_000);
        assert_eq!(clock.show(5_007), Time(107));
    }
}
