//! The engine's clock: ticks fed from event timestamps, and election timeouts from the seed.
//!
//! A tick is a tenth of a heartbeat, fed when an event or deadline needs it. Nothing about leases
//! is ever computed from tick counts (R6).

use std::collections::BTreeSet;

use raft::Config;
use raft::eraftpb::{Message, MessageType};
use stead_model::{Span, Time, VoterId};

use super::replica::Setup;

/// The engine's clock, fed from event timestamps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks {
    pub(super) last: Time,
    pub(super) period: Span,
    /// Ticks of one election timeout: after a stall at most this many are made up at once.
    pub(super) election: usize,
    /// Longest drawn timeout, exclusive.
    pub(super) longest: usize,
    seed: u64,
    pub(super) elections: u64,
}

impl Ticks {
    /// Ticks of one heartbeat.
    pub(super) const OF_HEARTBEAT: usize = 10;

    pub(super) fn new(setup: &Setup) -> Self {
        let period = Span(setup.timing.heartbeat.0 / Self::OF_HEARTBEAT as u64);
        let mut election = (setup.timing.election.0 / period.0) as usize;
        if setup.id.is_disk() {
            election += election / 2;
        }
        let longest = election + (election / 5).max(2);
        Self { last: setup.now, period, election, longest, seed: setup.seed, elections: 0 }
    }

    /// Ticks that are due at `now`; after a stall at most one election timeout at once.
    pub(super) fn due(&mut self, now: Time, burst: bool) -> usize {
        let due = (now.since(self.last).0 / self.period.0) as usize;
        if due > self.election && !burst {
            self.last = now;
            return self.election;
        }
        self.last += self.period * due as u64;
        due.min(100 * self.election)
    }

    /// How the engine is set up for a voter that has applied the log up to `applied`.
    pub(super) fn config(&self, id: VoterId, applied: u64) -> Config {
        Config {
            id: id.0,
            election_tick: self.election,
            // The owner of the replica beats by itself: see `Replica::beat`.
            heartbeat_tick: self.election - 1,
            min_election_tick: self.election,
            max_election_tick: self.longest,
            applied,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            ..Config::new(id.0)
        }
    }

    /// The timeout drawn for this voter, term and attempt, in `[E, 1.2 E)`.
    pub(super) fn timeout(&self, id: VoterId, term: u64) -> usize {
        let mut x = self.seed ^ id.0.rotate_left(17) ^ term.rotate_left(34);
        x = (x ^ self.elections).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        self.election + ((x >> 33) as usize) % (self.longest - self.election)
    }
}

/// Drops the heartbeats that nobody asked for (the engine beats by its own ticks, too, beside the
/// owner of the replica), and all but the last of one moment to the same voter: a read's context
/// goes with every heartbeat until it is confirmed.
pub(super) fn drop_spare_beats(messages: &mut Vec<Message>, wanted: bool) {
    let is_beat = |m: &Message| m.get_msg_type() == MessageType::MsgHeartbeat;
    let mut beaten = BTreeSet::new();
    let mut kept: Vec<Message> = std::mem::take(messages);
    kept.reverse();
    kept.retain(|m| !is_beat(m) || (wanted && beaten.insert(m.to)));
    kept.reverse();
    *messages = kept;
}
