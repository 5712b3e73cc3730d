//! What a replica keeps in its journal: records of one Ready each, and snapshots.
//!
//! A record holds the hard state (commit index included) and the entries of one Ready together,
//! so that neither is ever kept without the other (R10).

use raft::eraftpb::{ConfChangeV2, ConfState, Entry, EntryType, HardState, Snapshot};
use serde::{Deserialize, Serialize};
use stead_model::change::{Change, Entry as Agreed};
use stead_model::program::Levels;
use thiserror::Error;

use super::store::Store;
use crate::db::{self, Db};

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
    /// It was written at a level, or in a format, that this program does not know.
    #[error("{0}")]
    Apart(String),
    /// It decodes but makes no sense to the engine.
    #[error("the log is not consistent: {0}")]
    Inconsistent(String),
}

/// Something that the cluster agreed on and this program cannot read: one of another version wrote
/// it.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub(crate) enum Unreadable {
    /// Bytes that are nothing to it.
    #[error(
        "stead {version}, the program of this node, cannot read {what} {index} that the cluster \
         agreed on ({why}): upgrade stead on this node to the version of the other nodes",
        version = env!("CARGO_PKG_VERSION")
    )]
    Bytes { what: &'static str, index: u64, why: String },
    /// The cluster is at a level that this program does not know.
    #[error("it cannot go on with entry {index}: {why}")]
    Level { index: u64, why: String },
}

impl Unreadable {
    pub(crate) fn snapshot(index: u64, why: db::snapshot::RestoreError) -> Self {
        match why {
            db::snapshot::RestoreError::Level(why) => Self::Level { index, why },
            other => Self::Bytes { what: "the snapshot", index, why: other.to_string() },
        }
    }

    pub(crate) fn entry(index: u64, why: &postcard::Error) -> Self {
        Self::Bytes { what: "the entry", index, why: why.to_string() }
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

/// The database that a store begins with, and up to which index and term it goes.
pub(crate) fn restore_db(store: &Store, levels: Levels) -> Result<(Db, (u64, u64)), RestoreError> {
    let first = raft::Storage::snapshot(store, 0, 0);
    let first = first.map_err(|e| RestoreError::Inconsistent(e.to_string()))?;
    let meta = first.get_metadata();
    let db = Db::restore(first.get_data(), levels).map_err(|e| match e {
        db::snapshot::RestoreError::Level(why) => RestoreError::Apart(why),
        other => RestoreError::Decode { what: "the database".into(), why: other.to_string() },
    })?;
    Ok((db, (meta.index, meta.term)))
}

/// A raise to a level that this program does not know is not applied: what follows it may be
/// anything.
pub(crate) fn check_level(
    index: u64,
    entry: Option<&Agreed>,
    levels: Levels,
) -> Result<(), Unreadable> {
    let changes = entry.map(|entry| &entry.changes[..]).unwrap_or_default();
    let mut raised = changes.iter().filter_map(|change| match change {
        Change::Level { to } => Some(*to),
        _ => None,
    });
    raised
        .try_for_each(|to| db::snapshot::check(to, levels))
        .map_err(|why| Unreadable::Level { index, why })
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
    use crate::planted::Planted;
    use stead_model::profile::Profile;
    use stead_model::program::{ClusterLevel, Mark, Version};
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
            levels: Levels::OWN,
            planted: Planted::default(),
        };
        Replica::new(restore(Some(&saved), &[record]).unwrap(), setup).unwrap()
    }

    const LATER: Mark = Mark { level: ClusterLevel(3), by: Version([7, 8, 9]) };

    fn entry(index: u64, data: Vec<u8>) -> Entry {
        Entry { index, term: 1, data, ..Entry::default() }
    }

    fn good(index: u64) -> Entry {
        of(index, Vec::new())
    }

    fn of(index: u64, changes: Vec<Change>) -> Entry {
        let at = stead_model::UtcMillis(1);
        let agreed = Agreed { at, request: None, why: "a test".into(), changes };
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

    /// Other versions read it: what is new takes a new level.
    #[test]
    fn what_a_log_holds_keeps_its_bytes() {
        let hex = |bytes: Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let hard = HardState { term: 2, vote: 3, commit: 4 };
        let voters = EntryType::EntryConfChangeV2;
        let entry = Entry { entry_type: voters, context: vec![6], ..entry(5, vec![7]) };
        let record = LogRecord { hard: hard.clone(), entries: vec![entry.clone()] };
        assert_eq!(hex(record.encode()), "020304010201050107010600");
        let conf = ConfState { voters: vec![8], learners: vec![9], ..ConfState::default() };
        let tail = vec![entry];
        let state = SavedState { hard, index: 10, term: 11, conf, db: vec![12], tail };
        assert_eq!(hex(state.encode()), "0203040a0b01080109000000010c010201050107010600");
    }

    #[test]
    fn a_level_that_the_program_does_not_know_is_where_it_ends_with_both_versions() {
        let mut old = replica(vec![good(2), of(3, vec![Change::Level { to: LATER }]), good(4)]);
        assert_eq!(applied(&mut old), [2]);
        let wanted = format!(
            "it cannot go on with entry 3: this node runs stead {} (levels 1 to 2), the cluster \
             is at level 3 of stead 7.8.9: upgrade this node to 7.8.9 or later",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(old.unreadable().unwrap().to_string(), wanted);
        assert_eq!(old.db.mark(), Mark::default());
        assert!(old.apply(vec![good(5)]).is_empty());

        // So is a snapshot, of which nothing behind the mark is looked at.
        let mut db = Db::default().snapshot();
        db.splice(1.., [3, 7, 8, 9, 0xff, 0xff]);
        let first = first_state(&[VoterId(1)], &[], &Db::default());
        let state = SavedState { index: 7, db, ..first };
        let mut old = replica(vec![good(2)]);
        assert_eq!(applied(&mut old), [2]);
        let install = Some(state.clone());
        old.persisted(&crate::consensus::batch::Batch { install, ..Default::default() });
        let why = old.unreadable().unwrap().to_string();
        assert!(why.starts_with("it cannot go on with entry 7: this node runs"), "{why}");
        let store = restore(Some(&state.encode()), &[]).unwrap();
        let why = restore_db(&store, Levels::OWN).unwrap_err().to_string();
        assert!(why.starts_with("this node runs") && why.contains("of stead 7.8.9"), "{why}");
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
        assert!(why.contains("cannot read the snapshot 7") && why.contains("format 9"), "{why}");
        assert!(replica.apply(vec![good(8)]).is_empty());
        assert_eq!(replica.applied(), LogIndex(2));
    }
}
