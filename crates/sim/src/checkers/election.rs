//! Election safety: one leader per term, whoever counts the votes.

use std::collections::BTreeMap;

use stead_model::{Term, VoterId};

use super::{Promise, Verdict, Violation};

/// The checker.
#[derive(Default, Debug)]
pub struct Election {
    leaders: BTreeMap<(u64, Term), VoterId>,
}

impl Election {
    /// A voter leads in a term of a history.
    pub fn leads(&mut self, (history, term): (u64, Term), voter: VoterId) -> Verdict {
        let first = *self.leaders.entry((history, term)).or_insert(voter);
        if first == voter {
            return Ok(());
        }
        let text = format!("{voter} and {first} both lead in {term}");
        Err(Violation::new(Promise::Election, text))
    }

    /// How many terms had a leader.
    #[must_use]
    pub fn terms(&self) -> usize {
        self.leaders.len()
    }
}
