//! The replicated log in memory, as the raft engine reads it.
//!
//! Everything here is also in a journal (or on its way there); the engine never waits for a
//! device. A store begins with a snapshot and holds the entries after it.

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

/// The log of one replica.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    hard: HardState,
    conf: ConfState,
    /// Index and term of the entry before the first one held.
    base: (u64, u64),
    entries: Vec<Entry>,
    /// What a lagging follower is sent: the last snapshot the owner of the store made.
    snapshot: Snapshot,
}

impl Store {
    /// A store that begins with `snapshot`.
    pub(crate) fn new(snapshot: Snapshot, hard: HardState) -> Self {
        let meta = snapshot.get_metadata();
        let base = (meta.index, meta.term);
        let conf = meta.get_conf_state().clone();
        Self { hard, conf, base, entries: Vec::new(), snapshot }
    }

    /// Appends entries, replacing what conflicts.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        let fresh = entries.iter().filter(|e| e.index > self.base.0).cloned();
        let keep = first.index.saturating_sub(self.base.0 + 1) as usize;
        self.entries.truncate(keep);
        self.entries.extend(fresh);
    }

    pub(crate) fn set_hard(&mut self, hard: HardState) {
        self.hard = hard;
    }

    pub(crate) const fn hard(&self) -> &HardState {
        &self.hard
    }

    pub(crate) fn set_conf(&mut self, conf: ConfState) {
        self.conf = conf;
    }

    pub(crate) const fn conf(&self) -> &ConfState {
        &self.conf
    }

    /// Replaces everything by a snapshot received from the leader.
    pub(crate) fn install(&mut self, snapshot: Snapshot) {
        let meta = snapshot.get_metadata();
        self.base = (meta.index, meta.term);
        self.conf = meta.get_conf_state().clone();
        self.hard.commit = self.hard.commit.max(meta.index);
        self.entries.clear();
        self.snapshot = snapshot;
    }

    /// Takes a newer own snapshot and forgets entries, but for `keep` of them that spare a
    /// lagging follower the snapshot.
    pub(crate) fn compact(&mut self, snapshot: Snapshot, keep: u64) {
        let upto = snapshot.get_metadata().index.saturating_sub(keep);
        if upto > self.base.0
            && let Ok(term) = self.term(upto)
        {
            self.entries.drain(..(upto - self.base.0) as usize);
            self.base = (upto, term);
        }
        self.snapshot = snapshot;
    }

    /// The entries after `index`.
    pub(crate) fn tail(&self, index: u64) -> &[Entry] {
        let skip = index.saturating_sub(self.base.0) as usize;
        self.entries.get(skip..).unwrap_or_default()
    }

    /// Index and term of the entry before the first one held.
    pub(crate) const fn base(&self) -> (u64, u64) {
        self.base
    }

    pub(crate) fn last(&self) -> (u64, u64) {
        self.entries.last().map_or(self.base, |e| (e.index, e.term))
    }
}

impl Storage for Store {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard.clone(), self.conf.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base.0 {
            return Err(StorageError::Compacted.into());
        }
        let (from, to) = ((low - self.base.0 - 1) as usize, (high - self.base.0 - 1) as usize);
        let Some(range) = self.entries.get(from..to) else {
            return Err(StorageError::Unavailable.into());
        };
        let limit = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0;
        let fits = range.iter().take_while(|e| {
            let first = bytes == 0;
            bytes += e.data.len() as u64 + 32;
            first || bytes <= limit
        });
        Ok(fits.cloned().collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base.0 {
            return Ok(self.base.1);
        }
        if index < self.base.0 {
            return Err(StorageError::Compacted.into());
        }
        let at = (index - self.base.0 - 1) as usize;
        self.entries.get(at).map(|e| e.term).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last().0)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        if self.snapshot.get_metadata().index < request_index {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        Ok(self.snapshot.clone())
    }
}
