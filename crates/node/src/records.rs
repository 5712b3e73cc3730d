//! The node's event log: the last records in memory for readers, all of them in a bounded file.
//!
//! Numbers go on over restarts; what the core calls a cause is made unique over restarts by
//! adding what earlier lives used.
//!
//! Not here: what is worth a record (core, guard), and how lines get into a file (`lines`).

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stead_api::contract::Events;
use stead_model::record::{Level, Record, RecordsPage, RecordsWanted};
use stead_model::{CauseId, NodeId};
use tokio::sync::watch;

use crate::clock;
use crate::inbox::Inbox;
use crate::journald::Journald;
use crate::lines::{Lines, Numbered, Place};

/// The file is put aside at this size; one earlier file is kept.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The event log of one node.
#[derive(Debug)]
pub(crate) struct Records {
    node: NodeId,
    lines: Lines<Record>,
    journal: Option<Journald>,
    /// Added to the cause numbers of this life.
    causes: u64,
    /// The last refusal told, per peer: told again only when it changes.
    refusals: Mutex<BTreeMap<NodeId, String>>,
}

impl Numbered for Record {
    fn number(&self) -> u64 {
        self.number
    }

    fn set_number(&mut self, number: u64) {
        self.number = number;
    }
}

impl Records {
    /// Goes on with the log at `path`; its writer runs until the service ends.
    pub(crate) fn open(node: NodeId, path: &Path, inbox: Arc<Inbox>) -> io::Result<Self> {
        let mut causes = 0;
        let place = Place { thread: "records", path, bytes_max: FILE_BYTES_MAX, mode: 0o644 };
        let lines = Lines::open(place, inbox, |record: &Record| causes = causes.max(record.id.0))?;
        let journal = Journald::of_stderr();
        Ok(Self { node, lines, journal, causes, refusals: Mutex::default() })
    }

    /// A log without a file.
    #[cfg(test)]
    pub(crate) fn in_memory(node: NodeId) -> Self {
        let (lines, refusals) = (Lines::in_memory(), Mutex::default());
        Self { node, lines, journal: None, causes: 0, refusals }
    }

    /// Adds a record of the core.
    pub(crate) fn write(&self, mut record: Record) {
        record.id = self.lifted(record.id);
        record.cause = record.cause.map(|cause| self.lifted(cause));
        let record = self.lines.add(record);
        if let Some(journal) = &self.journal {
            journal.tell(&record);
        }
    }

    /// A cause number of this life, made unique on the node; zero stays: it has none.
    const fn lifted(&self, id: CauseId) -> CauseId {
        if id.0 == 0 { id } else { CauseId(id.0 + self.causes) }
    }

    /// Adds a record of the executors; it has no cause number.
    pub(crate) fn note(&self, level: Level, code: &str, text: &str) {
        self.write(plain(self.node, level, code, text));
    }

    /// A peer refused our stream; told once per sentence.
    pub(crate) fn stream_refused(&self, peer: NodeId, why: &str) {
        let text = format!("{peer} refuses streams of this node: {}", plain_words(why));
        self.note_once(peer, "stream-refused", text);
    }

    /// Whoever answers at a peer's address is not that peer, or does not believe this node; told
    /// once per sentence.
    pub(crate) fn peer_not_trusted(&self, peer: NodeId, at: SocketAddr, why: &str) {
        let text = format!(
            "no stream to {peer} at {at}: {}; compare `/etc/stead/pki` of both nodes, and look who \
             uses the address",
            plain_words(why)
        );
        self.note_once(peer, "peer-not-trusted", text);
    }

    fn note_once(&self, peer: NodeId, code: &str, text: String) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = refusals.insert(peer, text.clone());
        drop(refusals);
        if earlier.as_ref() != Some(&text) {
            self.note(Level::Warning, code, &text);
        }
    }

    /// Records from number `since` on, at most `limit`.
    pub(crate) fn since(&self, since: u64, limit: usize) -> Events {
        let (records, next) = self.lines.since(since, limit);
        Events { records, next }
    }

    /// A page for another node.
    pub(crate) fn page(&self, RecordsWanted { ask, before }: RecordsWanted) -> RecordsPage {
        let kept = self.since(0, usize::MAX).records;
        let oldest = kept.first().map_or(0, |record| record.number);
        let (mut lines, mut bytes): (Vec<Vec<u8>>, usize) = (Vec::new(), 0);
        for record in kept.iter().rev().skip_while(|record| record.number >= before) {
            // What is a record is JSON.
            let Ok(mut line) = serde_json::to_vec(record) else { continue };
            line.push(b'\n');
            bytes += line.len();
            if bytes > RecordsPage::BYTES_MAX && !lines.is_empty() {
                break;
            }
            lines.push(line);
        }
        lines.reverse();
        RecordsPage { ask, oldest, lines: lines.concat() }
    }

    /// Waits until everything is in the file, but not for ever: the disk may hang.
    pub(crate) fn flush(&self, limit: Duration) {
        self.lines.flush(limit);
    }

    /// Why the file does not get the records, if it does not: readers still do.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.lines.trouble()
    }

    /// Tells the number of the last record.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.lines.watch()
    }
}

/// A record of the executors, made now; it has no number yet.
pub(crate) fn plain(node: NodeId, level: Level, code: &str, text: &str) -> Record {
    Record {
        number: 0,
        at: clock::utc(),
        boot_ns: clock::now().0,
        node,
        level,
        code: code.into(),
        group: None,
        resource: None,
        text: text.into(),
        id: CauseId(0),
        cause: None,
        entry: None,
    }
}

/// What another node said, fit for a record.
fn plain_words(why: &str) -> String {
    why.chars().take(300).filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use super::*;
    use crate::lines::{KEPT, earlier};

    const WAIT: Duration = Duration::from_secs(20);

    fn record(id: u64, cause: Option<u64>, text: &str) -> Record {
        Record {
            number: 0,
            at: stead_model::UtcMillis(0),
            boot_ns: 0,
            node: NodeId(1),
            level: Level::Info,
            code: "test".into(),
            group: None,
            resource: None,
            text: text.into(),
            id: CauseId(id),
            cause: cause.map(CauseId),
            entry: None,
        }
    }

    fn open(path: &Path) -> Records {
        Records::open(NodeId(1), path, Arc::new(Inbox::new().unwrap())).unwrap()
    }

    #[test]
    fn numbers_and_causes_go_on_over_restarts_and_cut_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let first = open(&path);
        first.write(record(1, None, "a"));
        first.write(record(2, Some(1), "b"));
        first.flush(WAIT);
        drop(first);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"number\":3,\"at").unwrap();
        let second = open(&path);
        second.write(record(1, None, "c"));
        second.write(record(2, Some(1), "d"));
        second.flush(WAIT);
        let told = open(&path).since(0, 10);
        let seen: Vec<_> =
            told.records.iter().map(|r| (r.number, r.id.0, r.cause.map(|c| c.0))).collect();
        assert_eq!(seen, [(1, 1, None), (2, 2, Some(1)), (3, 3, None), (4, 4, Some(3))]);
        assert_eq!(told.next, 5);
    }

    #[test]
    fn the_file_and_the_memory_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let records = open(&path);
        let text = "x".repeat(2000);
        for id in 1..=2000 {
            records.write(record(id, None, &text));
        }
        records.flush(WAIT);
        for path in [earlier(&path), path] {
            assert!(std::fs::metadata(path).unwrap().len() <= FILE_BYTES_MAX);
        }
        let told = records.since(0, usize::MAX);
        assert_eq!((told.records.len(), told.records[0].number), (KEPT, 2000 - KEPT as u64 + 1));
        assert_eq!(records.since(1999, 1).next, 2000);
        assert_eq!(records.since(2001, 9).records, []);
    }

    #[test]
    fn a_file_that_takes_nothing_is_a_trouble_until_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        std::fs::create_dir(&path).unwrap();
        let records = open(&path);
        records.write(record(1, None, "a"));
        records.flush(WAIT);
        let why = records.trouble().unwrap();
        assert!(why.contains("cannot write records to") && why.contains("events.jsonl"), "{why}");
        assert_eq!(records.since(0, 9).records.len(), 1, "readers still see it");
        std::fs::remove_dir(&path).unwrap();
        records.write(record(2, None, "b"));
        records.flush(WAIT);
        assert_eq!(records.trouble(), None);
    }

    #[test]
    fn a_refusal_is_told_once_per_sentence() {
        let records = Records::in_memory(NodeId(1));
        for why in ["old", "old", "older", "older"] {
            records.stream_refused(NodeId(2), why);
        }
        assert_eq!(records.since(0, 9).records.len(), 2);
    }
}
