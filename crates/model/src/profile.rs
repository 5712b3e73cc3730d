//! Timing profiles: every timeout of the cluster is derived from one of them.
//!
//! The letters are those of the lease rules: `E` election timeout, `L` lease length, `g` stop
//! grace, `m` margin for clock rates and rounding (R6).

use serde::{Deserialize, Serialize};

use crate::time::Span;

/// The named timing profiles an administrator chooses from.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Debug,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Outages of a quarter second; needs real-time priority.
    Fast,
    /// The default.
    #[default]
    Standard,
    /// For slow storage and busy machines.
    Relaxed,
}

/// All base times of a profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Interval of heartbeats on every network.
    pub heartbeat: Span,
    /// `E`: an election starts after this much silence of the leader.
    pub election: Span,
    /// Interval of lease questions.
    pub renewal: Span,
    /// `L`: length of a lease, from the sending of its question.
    pub lease: Span,
    /// `g`: within this after the end of a lease everything is stopped.
    pub grace: Span,
    /// Length of a lease while no majority exists without the quorum disk.
    pub lease_long: Span,
    /// The unit to which timers are rounded up.
    pub tick: Span,
}

impl Profile {
    /// The times of this profile.
    #[must_use]
    pub const fn timing(self) -> Timing {
        let ms = Span::from_millis;
        match self {
            Self::Fast => Timing {
                heartbeat: ms(20),
                election: ms(60),
                renewal: ms(40),
                lease: ms(200),
                grace: ms(50),
                lease_long: ms(2_000),
                tick: ms(1),
            },
            Self::Standard => Timing {
                heartbeat: ms(100),
                election: ms(300),
                renewal: ms(200),
                lease: ms(800),
                grace: ms(200),
                lease_long: ms(10_000),
                tick: ms(5),
            },
            Self::Relaxed => Timing {
                heartbeat: ms(500),
                election: ms(2_000),
                renewal: ms(1_000),
                lease: ms(5_000),
                grace: ms(1_000),
                lease_long: ms(60_000),
                tick: ms(5),
            },
        }
    }

    /// The profile's name as typed by people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Standard => "standard",
            Self::Relaxed => "relaxed",
        }
    }

    /// The profile of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Fast, Self::Standard, Self::Relaxed].into_iter().find(|p| p.name() == name)
    }
}

/// How long the leases of a node are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Serialize, Deserialize)]
pub enum LeaseLength {
    /// The ordinary length of the profile.
    #[default]
    Short,
    /// The longer one of the profile, while the quorum disk is needed for a majority.
    Longer,
    /// That of an announced absence, at least as long as the longer one.
    Absence,
}

/// Length of a lease in an announced absence: a guest is moved, a machine pauses.
pub const ABSENCE: Span = Span::from_secs(30);

/// Bound on how much the rates of two nodes' clocks differ, in parts per million (R6: 0.1 %).
pub const CLOCK_RATE_PPM: u64 = 1_000;

impl Timing {
    /// A lease of that length.
    #[must_use]
    pub const fn length(&self, length: LeaseLength) -> Span {
        match length {
            LeaseLength::Short => self.lease,
            LeaseLength::Longer => self.lease_long,
            LeaseLength::Absence if self.lease_long.0 > ABSENCE.0 => self.lease_long,
            LeaseLength::Absence => ABSENCE,
        }
    }

    /// How much longer than a heartbeat something waits that goes along with another's heartbeat:
    /// long enough for that one to come first, short beside the silence that means anything.
    #[must_use]
    pub const fn patience(&self) -> Span {
        Span(self.heartbeat.0 / 8)
    }

    /// Interval of the questions to another node: a little shorter than a renewal, so that they
    /// come before the leader's own question and heartbeat are due and one round serves all.
    #[must_use]
    pub const fn renewal_elsewhere(&self) -> Span {
        Span(self.renewal.0 - self.renewal.0 / 32)
    }

    /// How long a leader waits for the questions of others before it asks who follows it, where all
    /// have leases: long enough for what comes at one time, nothing beside a renewal.
    #[must_use]
    pub const fn gathering(&self) -> Span {
        Span(self.heartbeat.0 / 16)
    }

    /// After this time a question to another node that got no answer is asked again: four times as
    /// often as without loss, so that a lease outlasts networks that lose every third frame.
    #[must_use]
    pub const fn renewal_repeat(&self) -> Span {
        Span(self.renewal.0 / 4)
    }

    /// `m` for a lease of length `lease`: `2ρ/(1-ρ)·(L+g)` plus two timer ticks (R6).
    #[must_use]
    pub const fn margin(&self, lease: Span) -> Span {
        let base = lease.0 + self.grace.0;
        Span(base * 2 * CLOCK_RATE_PPM / (1_000_000 - CLOCK_RATE_PPM) + 2 * self.tick.0 + 1)
    }

    /// `L + g + m`: from the arrival of a node's last question until it is known stopped.
    #[must_use]
    pub const fn wait(&self, lease: Span) -> Span {
        Span(lease.0 + self.grace.0 + self.margin(lease).0)
    }

    /// Whether survivors of a leader elect and renew before their own leases end:
    /// `max(1.2·E, 4 heartbeats + back-off + claim and adopt)
    /// + election round + gathering + renewal < L`,
    /// where `storage` is the measured time of a claim and adopt and `round` of an election.
    #[must_use]
    pub fn elects_within_lease(&self, storage: Span, round: Span) -> bool {
        let raft = Span(self.election.0 * 12 / 10);
        let disk = self.heartbeat * 4 + self.heartbeat + storage;
        raft.max(disk) + round + self.gathering() + self.renewal < self.lease
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_elects_within_its_lease() {
        for profile in [Profile::Fast, Profile::Standard, Profile::Relaxed] {
            let t = profile.timing();
            let storage = Span(t.heartbeat.0 / 4);
            assert!(t.elects_within_lease(storage, t.tick), "{profile:?}");
            assert!(!t.elects_within_lease(t.lease, t.tick), "{profile:?} accepts any storage");
        }
    }

    #[test]
    fn margin_covers_the_rate_bound() {
        let t = Profile::Standard.timing();
        assert!(t.margin(t.lease) >= Span::from_micros(12_002));
        assert_eq!(t.wait(t.lease), t.lease + t.grace + t.margin(t.lease));
    }
}
