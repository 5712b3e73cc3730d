//! What a replica keeps in its journal: records of one Ready each, and snapshots.
//!
//! A record holds the hard state (commit index included) and the entries of one Ready together,
//! so that neither is ever kept without the other (R10).

use raft::eraftpb::{ConfChangeV2, ConfState, Entry, EntryType, HardState, Snapshot};
use serde::{Deserialize, Serialize};
use stead_model::change::Entry as Agreed;
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

/// Something that the cluster agreed on and this program cannot read: one of another version wrote
/// it.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error(
    "stead {version}, the program of this node, cannot read {what} {index} that the cluster \
     agreed on ({why}): upgrade stead on this node to the version of the other nodes",
    version = env!("CARGO_PKG_VERSION")
)]
pub(crate) struct Unreadable {
    what: &'static str,
    index: u64,
    why: String,
}

impl Unreadable {
    pub(crate) fn new(what: &'static str, index: u64, why: impl ToString) -> Self {
        Self { what, index, why: why.to_string() }
    }
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

/// The membership change of an entry, if it is one; an empty one leaves a joint configuration.
pub(crate) fn decode_membership(entry: &Entry) -> Result<Option<ConfChangeV2>, postcard::Error> {
    match entry.get_entry_type() {
        EntryType::EntryNormal => Ok(None),
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2
            if entry.get_data().is_empty() =>
        {
            Ok(Some(ConfChangeV2::default()))
        }
        // Never written by any version.
        EntryType::EntryConfChange => Err(postcard::Error::DeserializeBadEnum),
        EntryType::EntryConfChangeV2 => postcard::from_bytes(entry.get_data()).map(Some),
    }
}

/// The change an entry carries: in its data, or beside a membership change.
pub(crate) fn decode_entry(entry: &Entry) -> Result<Option<Agreed>, postcard::Error> {
    let bytes = match entry.get_entry_type() {
        EntryType::EntryNormal => entry.get_data(),
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => entry.get_context(),
    };
    if bytes.is_empty() { Ok(None) } else { postcard::from_bytes(bytes).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::replica::{Replica, Setup, first_state};
    use crate::db::Db;
    use crate::planted::Planted;
    use stead_model::profile::Profile;
    use stead_model::{LogIndex, Time, VoterId};

    /// A sole voter whose log holds these entries behind the first state, all of them committed.
    fn replica(entries: Vec<Entry>) -> Replica {
        let saved = first_state(&[VoterId(1)], &[], &Db::default()).encode();
        let commit = 1 + entries.len() as u64;
        let hard = HardState { term: 1, commit, ..HardState::default() };
        let record = LogRecord { hard, entries }.encode();
        let setup = Setup {
            id: VoterId(1),
            timing: Profile::Standard.timing(),
            now: Time(1),
            answered: Time(1),
            seed: 1,
            planted: Planted::default(),
        };
        Replica::new(restore(Some(&saved), &[record]).unwrap(), setup).unwrap()
    }

    fn entry(index: u64, data: Vec<u8>) -> Entry {
        Entry { index, term: 1, data, ..Entry::default() }
    }

    fn good(index: u64) -> Entry {
        let agreed = Agreed {
            at: stead_model::UtcMillis(1),
            request: None,
            why: "a test".into(),
            changes: Vec::new(),
        };
        entry(index, postcard::to_allocvec(&agreed).unwrap())
    }

    /// Applies all that is committed; gives what was applied.
    fn applied(replica: &mut Replica) -> Vec<u64> {
        let mut all = Vec::new();
        while let Some(batch) = replica.take(Time(1)) {
            replica.persisted(&batch);
            all.extend(replica.apply(batch.committed).into_iter().map(|done| done.index.0));
        }
        all
    }

    #[test]
    fn what_another_version_wrote_is_never_skipped_and_nothing_behind_it_is_applied() {
        let mut sound = replica(vec![good(2), good(3)]);
        assert_eq!(applied(&mut sound), [2, 3]);
        assert_eq!(sound.unreadable(), None);

        let unknown = vec![0xff; 8];
        let voters =
            Entry { entry_type: EntryType::EntryConfChangeV2, ..entry(3, unknown.clone()) };
        for strange in [entry(3, unknown), voters] {
            let mut replica = replica(vec![good(2), strange, good(4)]);
            assert_eq!(applied(&mut replica), [2]);
            assert_eq!((replica.applied(), replica.db.applied()), (LogIndex(2), LogIndex(2)));
            let why = replica.unreadable().unwrap().to_string();
            let (own, hint) = (env!("CARGO_PKG_VERSION"), "upgrade stead on this node");
            assert!(why.starts_with(&format!("stead {own}, the program of this node,")), "{why}");
            assert!(why.contains("cannot read the entry 3") && why.contains(hint), "{why}");
            let digest = replica.db.digest();
            assert!(replica.apply(vec![good(5)]).is_empty(), "it went on behind what it skipped");
            assert_eq!(replica.db.digest(), digest);
        }
    }

    #[test]
    fn a_database_of_another_version_is_not_taken_for_an_older_one() {
        let mut replica = replica(vec![good(2)]);
        assert_eq!(applied(&mut replica), [2]);
        let mut db = Db::default().snapshot();
        db[0] = 9;
        let state = SavedState { index: 7, db, ..first_state(&[VoterId(1)], &[], &Db::default()) };
        let batch = crate::consensus::batch::Batch { install: Some(state), ..Default::default() };
        replica.persisted(&batch);
        let why = replica.unreadable().unwrap().to_string();
        assert!(why.contains("cannot read the snapshot 7") && why.contains("version 9"), "{why}");
        assert!(replica.apply(vec![good(8)]).is_empty());
        assert_eq!(replica.applied(), LogIndex(2));
    }
}
