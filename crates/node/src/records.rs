//! The node's event log: the last records in memory for readers, all of them in a bounded file.
//!
//! The file is written by a thread of its own: a disk that hangs delays no heartbeat and no
//! reader. Numbers go on over restarts; what the core calls a cause is made unique over restarts
//! by adding what earlier lives used.
//!
//! Not here: what is worth a record (core, guard).

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stead_api::contract::Events;
use stead_model::record::{Level, Record};
use stead_model::{CauseId, NodeId};
use tokio::sync::watch;

use crate::inbox::Inbox;
use crate::{clock, threads};

/// Records kept in memory for readers.
const KEPT: usize = 1024;
/// The file is put aside at this size; one earlier file is kept.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The event log of one node.
#[derive(Debug)]
pub(crate) struct Records {
    node: NodeId,
    kept: Mutex<Kept>,
    last: watch::Sender<u64>,
    file: Option<Sender<Order>>,
    /// Why the file does not get the records, if it does not.
    trouble: Arc<Mutex<Option<String>>>,
}

/// What the writer is told.
#[derive(Debug)]
enum Order {
    Append(Arc<Record>),
    /// Tell when everything before this is written.
    Flush(Sender<()>),
}

#[derive(Default, Debug)]
struct Kept {
    records: VecDeque<Arc<Record>>,
    number: u64,
    /// Added to the cause numbers of this life.
    causes: u64,
    /// The last refusal told, per peer: told again only when it changes.
    refusals: BTreeMap<NodeId, String>,
}

impl Records {
    /// Goes on with the log at `path`; its writer runs until the service ends.
    pub(crate) fn open(node: NodeId, path: &Path, inbox: Arc<Inbox>) -> io::Result<Self> {
        let mut kept = Kept::default();
        for path in [earlier(path), path.to_owned()] {
            if let Ok(file) = File::open(path) {
                kept.read(file);
            }
        }
        let (file, orders) = channel();
        let path = path.to_owned();
        let records = Self::new(node, kept, Some(file));
        let writer = Writer::new(path, Arc::clone(&records.trouble));
        threads::start("records", inbox, move || writer.run(&orders))?;
        Ok(records)
    }

    /// A log without a file.
    #[cfg(test)]
    pub(crate) fn in_memory(node: NodeId) -> Self {
        Self::new(node, Kept::default(), None)
    }

    fn new(node: NodeId, kept: Kept, file: Option<Sender<Order>>) -> Self {
        let last = watch::Sender::new(kept.number);
        Self { node, kept: Mutex::new(kept), last, file, trouble: Arc::default() }
    }

    /// Adds a record of the core.
    pub(crate) fn write(&self, mut record: Record) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        record.id = kept.lifted(record.id);
        record.cause = record.cause.map(|cause| kept.lifted(cause));
        kept.number += 1;
        record.number = kept.number;
        let number = record.number;
        let record = Arc::new(record);
        if kept.records.len() == KEPT {
            kept.records.pop_front();
        }
        kept.records.push_back(Arc::clone(&record));
        drop(kept);
        if let Some(file) = &self.file {
            // The writer ends only with the service.
            let _ = file.send(Order::Append(record));
        }
        self.last.send_replace(number);
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
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = kept.refusals.insert(peer, text.clone());
        drop(kept);
        if earlier.as_ref() != Some(&text) {
            self.note(Level::Warning, code, &text);
        }
    }

    /// Records from number `since` on, at most `limit`.
    pub(crate) fn since(&self, since: u64, limit: usize) -> Events {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let from = kept.records.partition_point(|r| r.number < since);
        let records: Vec<Record> =
            kept.records.iter().skip(from).take(limit).map(|r| Record::clone(r)).collect();
        let next = records.last().map_or_else(|| since.max(kept.number + 1), |r| r.number + 1);
        Events { records, next }
    }

    /// Waits until everything is in the file, but not for ever: the disk may hang.
    pub(crate) fn flush(&self, limit: Duration) {
        let (written, is_written) = channel();
        if let Some(file) = &self.file
            && file.send(Order::Flush(written)).is_ok()
        {
            let _ = is_written.recv_timeout(limit);
        }
    }

    /// Why the file does not get the records, if it does not: readers still do.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the number of the last record.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }
}

impl Kept {
    /// A cause number of this life, made unique on the node; zero stays: it has none.
    fn lifted(&self, id: CauseId) -> CauseId {
        if id.0 == 0 { id } else { CauseId(id.0 + self.causes) }
    }

    /// Takes what an earlier life wrote; a line that a crash cut is left out.
    fn read(&mut self, file: File) {
        for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
            let Ok(record) = serde_json::from_slice::<Record>(&line) else { continue };
            self.number = self.number.max(record.number);
            self.causes = self.causes.max(record.id.0);
            if self.records.len() == KEPT {
                self.records.pop_front();
            }
            self.records.push_back(Arc::new(record));
        }
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

fn earlier(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Appends to the file. What cannot be written is told once on stderr and left out.
struct Writer {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    trouble: Arc<Mutex<Option<String>>>,
}

impl Writer {
    const fn new(path: PathBuf, trouble: Arc<Mutex<Option<String>>>) -> Self {
        Self { path, file: None, bytes: 0, trouble }
    }

    fn run(mut self, orders: &Receiver<Order>) {
        while let Ok(order) = orders.recv() {
            let record = match order {
                Order::Append(record) => record,
                Order::Flush(written) => {
                    // Who waits may have given up.
                    let _ = written.send(());
                    continue;
                }
            };
            let result = self.append(&record);
            let path = self.path.display();
            let why = result.err().map(|e| format!("cannot write records to `{path}`: {e}"));
            if why.is_some() {
                self.file = None;
            }
            let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            if let (None, Some(why)) = (&*trouble, &why) {
                crate::say(&format!("warning: {why}"));
            }
            *trouble = why;
        }
    }

    fn append(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        if self.bytes + line.len() as u64 > FILE_BYTES_MAX {
            self.file = None;
            std::fs::rename(&self.path, earlier(&self.path))?;
        }
        if self.file.is_none() {
            let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            self.bytes = file.metadata()?.len();
            if self.bytes > 0 {
                // An earlier life may have been cut in the middle of a line.
                file.write_all(b"\n")?;
                self.bytes += 1;
            }
            self.file = Some(file);
        }
        if let Some(file) = &mut self.file {
            file.write_all(&line)?;
            self.bytes += line.len() as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
