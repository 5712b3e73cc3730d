//! The age of a vote (R6): how long ago the voter last answered a leader, or led itself.
//!
//! A leader of a new term must know how long an earlier leader may have been able to confirm
//! leases. Whoever answers a leader helps to confirm; so every vote says when its voter last did
//! that, on the voter's own clock. No safety hangs on vote withholding, CheckQuorum or PreVote.

use std::collections::BTreeMap;

use stead_model::{Span, Time, VoterId};

/// When this voter last answered a leader or led itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Answered(Time);

impl Answered {
    /// A voter that knows nothing about earlier answers: it may have answered until `start`.
    pub(crate) const fn unknown_until(start: Time) -> Self {
        Self(start)
    }

    /// It answers a leader, or leads, at `now`.
    pub(crate) fn at(&mut self, now: Time) {
        self.0 = self.0.max(now);
    }

    /// When it last did.
    pub(crate) const fn last(self) -> Time {
        self.0
    }

    pub(crate) const fn age(self, now: Time) -> Span {
        now.since(self.0)
    }
}

/// The ages of the votes granted to a candidate in one term.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Ballot {
    term: u64,
    ages: BTreeMap<VoterId, Span>,
}

impl Ballot {
    /// A granted vote; votes of another term start a new ballot.
    pub(crate) fn granted(&mut self, term: u64, voter: VoterId, age: Option<Span>) {
        if self.term != term {
            *self = Self { term, ages: BTreeMap::new() };
        }
        let age = age.unwrap_or(Span::ZERO);
        self.ages.entry(voter).and_modify(|a| *a = (*a).min(age)).or_insert(age);
    }

    /// The smallest age among the votes of `term` and the candidate's own.
    pub(crate) fn smallest(&self, term: u64, own: Span) -> Span {
        let votes = self.ages.values().copied().filter(|_| self.term == term);
        votes.fold(own, Span::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_age_counts_as_zero() {
        let mut ballot = Ballot::default();
        ballot.granted(3, VoterId(1), Some(Span::from_millis(700)));
        assert_eq!(ballot.smallest(3, Span::from_secs(9)), Span::from_millis(700));
        ballot.granted(3, VoterId(2), None);
        assert_eq!(ballot.smallest(3, Span::from_secs(9)), Span::ZERO);
    }

    #[test]
    fn votes_of_an_older_term_do_not_count() {
        let mut ballot = Ballot::default();
        ballot.granted(3, VoterId(1), None);
        ballot.granted(4, VoterId(2), Some(Span::from_millis(5)));
        assert_eq!(ballot.smallest(4, Span::from_millis(8)), Span::from_millis(5));
        assert_eq!(ballot.smallest(5, Span::from_millis(8)), Span::from_millis(8));
    }

    #[test]
    fn answering_never_makes_older() {
        let mut answered = Answered::unknown_until(Time(100));
        answered.at(Time(50));
        assert_eq!(answered.age(Time(150)), Span(50));
    }
}
