//! A log that goes on by force, and one that takes such a log over (R13).
//!
//! The forced node makes of its log, all of it, the state with which a new history begins: itself
//! and D are the voters, and the last entry, committed by nobody, tells how it came about. Whoever
//! comes back with an older history keeps nothing of its log: entries that others had agreed on
//! without the forced node may be among it, and no engine can take back what it committed. It
//! begins empty and is sent everything.

use std::collections::{BTreeMap, BTreeSet};

use raft::eraftpb::{ConfChangeType, ConfState, Entry as LogEntry, HardState};
use stead_model::change::Entry;
use stead_model::forced::{Forced, History};
use stead_model::{LogIndex, Term, Time, VoterId};

use super::record::{self, RestoreError, SavedState, decode_entry, decode_membership};
use super::replica::{Replica, Setup};
use crate::db::{Db, STEP};

/// What a log has that the log of another history does not have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Unshared {
    /// The last entry that both have.
    pub(crate) shared: LogIndex,
    /// The last entry.
    pub(crate) last: LogIndex,
    /// Those behind the shared one that are still held, a line each.
    pub(crate) lines: Vec<String>,
}

impl Unshared {
    /// How many there are, those included that are not held any more.
    pub(crate) const fn count(&self) -> u64 {
        self.last.0.saturating_sub(self.shared.0)
    }
}

impl Replica {
    pub(crate) fn history(&self) -> History {
        self.db.history()
    }

    /// Whether a voter or learner has the last change of members in its log.
    pub(crate) fn has_members(&self, voter: VoterId) -> bool {
        let changed = self.db.members_changed().0;
        self.raw.raft.prs().get(voter.0).is_some_and(|p| p.matched >= changed)
    }

    /// The last entry of each of the last terms of its log.
    pub(crate) fn ends(&self) -> Vec<(Term, LogIndex)> {
        let store = self.raw.store();
        let (base, term) = store.base();
        let mut ends = BTreeMap::from([(Term(term), LogIndex(base))]);
        for entry in store.tail(base) {
            ends.insert(Term(entry.term), LogIndex(entry.index));
        }
        let skip = ends.len().saturating_sub(TERMS_MAX);
        ends.into_iter().skip(skip).collect()
    }

    /// What it goes on with when quorum is forced: all of its log, and one entry more, which `tell`
    /// makes of the database.
    pub(crate) fn forced_state(
        &self,
        forced: &Forced,
        tell: impl FnOnce(&Db) -> Entry,
    ) -> Result<SavedState, String> {
        let saved = self.saved_state();
        let mut db = self.db.clone();
        let known = saved.conf.voters.iter().chain(&saved.conf.learners);
        let mut members: BTreeSet<u64> = known.copied().collect();
        for entry in &saved.tail {
            follow(entry, &mut members, &mut db).map_err(|e| e.to_string())?;
        }
        let (index, term) =
            saved.tail.last().map_or((saved.index, saved.term), |e| (e.index, e.term));
        let last = tell(&db);
        let data = postcard::to_allocvec(&last).map_err(|e| e.to_string())?;
        let next = saved.hard.term.max(term) + STEP;
        let last = LogEntry { index: index + 1, term: next, data, ..LogEntry::default() };
        let hard = HardState { term: next, commit: index + 1, ..HardState::default() };
        let conf = conf(forced, members);
        let db = db.within(forced).snapshot();
        Ok(SavedState { hard, index, term, conf, db, tail: vec![last] })
    }

    /// What its log has behind the last entry that it shares with a forced one.
    pub(crate) fn unshared(&self, forced: &Forced) -> Unshared {
        let theirs: BTreeMap<Term, LogIndex> = forced.ends.iter().copied().collect();
        let both = |(term, end): (Term, LogIndex)| theirs.get(&term).map(|t| end.min(*t));
        let shared = self.ends().into_iter().filter_map(both).max().unwrap_or_default();
        let store = self.raw.store();
        let lines = store.tail(shared.0.max(store.base().0)).iter().map(line).collect();
        Unshared { shared, last: self.last().1, lines }
    }

    /// The same voter with another state of its log, which is durable.
    pub(crate) fn remade(&self, state: &SavedState) -> Result<Self, RestoreError> {
        let store = record::restore(Some(&state.encode()), &[])?;
        let (now, answered): (Time, Time) = (self.ticks.last, self.answered.last());
        Self::new(store, Setup { now, answered, ..self.setup })
    }
}

/// What a voter or learner begins with that takes a forced history over: nothing.
pub(crate) fn empty_state(forced: &Forced, own: VoterId) -> SavedState {
    let hard = HardState { term: 1, ..HardState::default() };
    let db = Db::default().within(forced).snapshot();
    let conf = conf(forced, BTreeSet::from([own.0]));
    SavedState { hard, index: 0, term: 0, conf, db, tail: Vec::new() }
}

/// The voters of a forced history, and everybody else as learners.
fn conf(forced: &Forced, members: BTreeSet<u64>) -> ConfState {
    let voters: Vec<u64> = forced.voters.iter().map(|v| v.0).collect();
    let learners = members.into_iter().filter(|id| !voters.contains(id)).collect();
    ConfState { voters, learners, ..ConfState::default() }
}

/// Carries out one entry that is in the log and may not have been committed.
fn follow(
    entry: &LogEntry,
    members: &mut BTreeSet<u64>,
    db: &mut Db,
) -> Result<(), postcard::Error> {
    for change in decode_membership(entry)?.into_iter().flat_map(|change| change.changes) {
        if change.get_change_type() == ConfChangeType::RemoveNode {
            members.remove(&change.node_id);
        } else {
            members.insert(change.node_id);
        }
    }
    match decode_entry(entry)? {
        Some(agreed) => {
            db.apply(LogIndex(entry.index), &agreed);
        }
        None => db.pass(LogIndex(entry.index)),
    }
    Ok(())
}

/// An entry for an administrator who wants to make up for it.
fn line(entry: &LogEntry) -> String {
    let (index, term) = (LogIndex(entry.index), Term(entry.term));
    match decode_entry(entry) {
        Ok(Some(Entry { at, why, changes, .. })) => {
            format!("{index} {term} {}ms {why}: {changes:?}", at.0)
        }
        Ok(None) => format!("{index} {term} no change of the database"),
        Err(error) => format!("{index} {term} cannot be read: {error}"),
    }
}

/// Terms whose ends are told.
const TERMS_MAX: usize = 256;
