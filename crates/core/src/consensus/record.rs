//! What a replica keeps in its journal: records of one Ready each, and snapshots.
//!
//! A record holds the hard state (commit index included) and the entries of one Ready together,
//! so that neither is ever kept without the other (R10).

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::store::Store;

/// One journal record.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct LogRecord {
    pub(crate) hard: HardState,
    pub(crate) entries: Vec<Entry>,
}

/// The content of a journal snapshot: everything a replica needs but later records.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct SavedState {
    pub(crate) hard: HardState,
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) conf: ConfState,
    /// The database at `index`.
    pub(crate) db: Vec<u8>,
    /// Entries after `index`.
    pub(crate) tail: Vec<Entry>,
}

/// Why saved bytes are no replica.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RestoreError {
    /// No snapshot: the log was never formatted.
    #[error("the log holds no snapshot: it was not formatted for this cluster")]
    NoSnapshot,
    /// Something does not decode.
    #[error("{what} of the log does not decode: {why}")]
    Decode {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// It decodes but makes no sense to the engine.
    #[error("the log is not consistent: {0}")]
    Inconsistent(String),
}

impl SavedState {
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("own state encodes")
    }

    /// The raft snapshot that this state begins with.
    pub(crate) fn snapshot(&self) -> Snapshot {
        snapshot(self.index, self.term, &self.conf, self.db.clone())
    }
}

impl LogRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("own record encodes")
    }
}

/// A raft snapshot of the database.
pub(crate) fn snapshot(index: u64, term: u64, conf: &ConfState, db: Vec<u8>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.mut_metadata().index = index;
    snapshot.mut_metadata().term = term;
    *snapshot.mut_metadata().mut_conf_state() = conf.clone();
    snapshot.data = db;
    snapshot
}

/// Rebuilds the store from what a journal gave back.
pub(crate) fn restore(saved: Option<&[u8]>, records: &[Vec<u8>]) -> Result<Store, RestoreError> {
    let saved = saved.ok_or(RestoreError::NoSnapshot)?;
    let state: SavedState = decode("the snapshot", saved)?;
    let mut store = Store::new(state.snapshot(), state.hard);
    store.append(&state.tail);
    for (number, bytes) in records.iter().enumerate() {
        let record: LogRecord = decode(&format!("record {number}"), bytes)?;
        store.append(&record.entries);
        store.set_hard(record.hard);
    }
    // A record made before the snapshot but written after it may know an older commit index.
    let mut hard = store.hard().clone();
    hard.commit = hard.commit.max(state.index);
    let (last, _) = store.last();
    if hard.commit > last {
        let why = format!("commit index {} is behind the last entry {last}", hard.commit);
        return Err(RestoreError::Inconsistent(why));
    }
    store.set_hard(hard);
    Ok(store)
}

fn decode<T: for<'a> Deserialize<'a>>(what: &str, bytes: &[u8]) -> Result<T, RestoreError> {
    postcard::from_bytes(bytes)
        .map_err(|e| RestoreError::Decode { what: what.into(), why: e.to_string() })
}
