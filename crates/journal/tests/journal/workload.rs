//! A writer with a known history, and the judge of what a later opening may show.

use std::collections::{BTreeMap, BTreeSet};

use stead_journal::{Contents, Fresh, Journal, Write, WriteId};

use crate::disk::{Dice, Disk, own_seal, small_area};

/// All that was ever promised or tried.
#[derive(Clone, Default)]
pub(crate) struct History {
    pub(crate) records: BTreeMap<u64, Vec<u8>>,
    /// A snapshot may be taken again up to the same record, by another writer after a crash.
    pub(crate) snapshots: BTreeMap<u64, Vec<Vec<u8>>>,
    /// Numbers at which the log may end: the last record of each append.
    pub(crate) ends: BTreeSet<u64>,
    pub(crate) acknowledged: u64,
}

impl History {
    /// Says what is wrong with `contents`, if anything.
    pub(crate) fn judge(&self, contents: &Contents) -> Result<(), String> {
        let covers = contents.snapshot.as_ref().map_or(0, |snapshot| snapshot.covers);
        if let Some(snapshot) = &contents.snapshot
            && !self.snapshots.get(&covers).is_some_and(|tried| tried.contains(&snapshot.bytes))
        {
            return Err(format!("snapshot up to {covers} is not the one that was written"));
        }
        for (expected, (seq, record)) in (covers + 1..).zip(&contents.records) {
            if *seq != expected {
                return Err(format!("record {seq} stands where {expected} should"));
            }
            if self.records.get(seq) != Some(record) {
                return Err(format!("record {seq} is altered"));
            }
        }
        let last = contents.next_seq() - 1;
        if last < self.acknowledged {
            return Err(format!("ends at {last}, {} was acknowledged", self.acknowledged));
        }
        if last > 0 && !self.ends.contains(&last) {
            return Err(format!("ends at {last} within an append"));
        }
        Ok(())
    }

    /// Continues from what was found: everything that is not in `contents` never happened.
    pub(crate) fn forget_after(&mut self, contents: &Contents) {
        let next = contents.next_seq();
        self.records.split_off(&next);
        self.ends.split_off(&next);
        self.snapshots.split_off(&next);
        self.acknowledged = next - 1;
    }
}

/// A journal with its writes in flight.
pub(crate) struct Writer {
    pub(crate) journal: Journal,
    pub(crate) flying: Vec<Write>,
    pub(crate) history: History,
    /// Makes the content of records differ between writers.
    pub(crate) salt: u8,
}

impl Writer {
    pub(crate) fn create(fresh: Fresh, contents: &Contents, history: History) -> Self {
        let (journal, flying) = Journal::create(fresh, contents).expect("contents that fit");
        Self { journal, flying, history, salt: 0 }
    }

    /// A new own log in a small area, ready.
    pub(crate) fn own(disk: &mut Disk) -> Self {
        let fresh = Fresh { area: small_area(), seal: own_seal().into(), life: 1 };
        let mut writer = Self::create(fresh, &Contents::default(), History::default());
        writer.settle(disk);
        assert!(writer.journal.is_ready());
        writer
    }

    /// Appends records of the given sizes if there is room.
    pub(crate) fn append(&mut self, sizes: &[usize]) -> bool {
        let first = self.journal.last_seq() + 1;
        let salt = self.salt;
        let content = |seq: u64, len: usize| -> Vec<u8> {
            (0..len).map(|i| (seq as u8).wrapping_mul(31) ^ (i / 3) as u8 ^ salt).collect()
        };
        let records: Vec<Vec<u8>> =
            (first..).zip(sizes).map(|(seq, len)| content(seq, *len)).collect();
        let Ok(appended) = self.journal.append(&records) else { return false };
        assert_eq!(appended.last_seq, first + sizes.len() as u64 - 1);
        self.history.records.extend((first..).zip(records));
        self.history.ends.insert(appended.last_seq);
        self.flying.extend(appended.writes);
        true
    }

    /// Begins a snapshot of everything up to `covers`, if it can.
    pub(crate) fn snapshot(&mut self, covers: u64) -> bool {
        let bytes: Vec<u8> =
            (0..covers % 7 * 900).map(|i| (i / 5) as u8 ^ covers as u8 ^ self.salt).collect();
        let Ok(writes) = self.journal.snapshot(covers, &bytes) else { return false };
        self.history.snapshots.entry(covers).or_default().push(bytes);
        self.history.ends.insert(covers);
        self.flying.extend(writes);
        true
    }

    /// Completes the write at `index` of those in flight.
    pub(crate) fn complete(&mut self, index: usize, disk: &mut Disk) {
        let write = self.flying.remove(index);
        disk.write(&write);
        self.completed(write.id);
    }

    pub(crate) fn completed(&mut self, id: WriteId) {
        let progress = self.journal.written(id);
        assert!(progress.durable_seq <= self.journal.last_seq());
        self.history.acknowledged = self.history.acknowledged.max(progress.durable_seq);
        self.flying.extend(progress.writes);
    }

    pub(crate) fn settle(&mut self, disk: &mut Disk) {
        while !self.flying.is_empty() {
            self.complete(0, disk);
        }
    }
}

/// One moment at which power may fail.
pub(crate) struct Moment {
    /// What was completed.
    pub(crate) disk: Disk,
    /// What may have landed, wholly, partly or not.
    pub(crate) flying: Vec<Write>,
    pub(crate) history: History,
}

/// A run with short and long records, batches, wraps and snapshots, several writes in flight, and
/// every moment of it.
pub(crate) fn moments(seed: u64, appends: usize) -> Vec<Moment> {
    let mut dice = Dice(seed);
    let mut disk = Disk::for_area(&small_area());
    let mut writer = Writer::own(&mut disk);
    let mut moments = Vec::new();
    for number in 0..appends {
        let sizes: &[usize] = match number % 11 {
            3 => &[9000],
            5 => &[100, 0, 250],
            8 => &[4500, 300],
            _short => &[180 + number],
        };
        while !writer.append(sizes) {
            advance(&mut writer, &mut disk, &mut dice, &mut moments);
        }
        if writer.journal.needs_snapshot() {
            let behind = dice.roll(3).min(writer.journal.last_seq());
            writer.snapshot(writer.journal.last_seq() - behind);
        }
        while writer.flying.len() as u64 > dice.roll(4) {
            advance(&mut writer, &mut disk, &mut dice, &mut moments);
        }
    }
    while !writer.flying.is_empty() {
        advance(&mut writer, &mut disk, &mut dice, &mut moments);
    }
    moments.push(Moment { disk, flying: Vec::new(), history: writer.history });
    moments
}

fn advance(writer: &mut Writer, disk: &mut Disk, dice: &mut Dice, moments: &mut Vec<Moment>) {
    if writer.flying.is_empty() {
        // The ring is full and nothing is under way: only a snapshot of all helps.
        assert!(writer.snapshot(writer.journal.last_seq()));
        return;
    }
    let (flying, history) = (writer.flying.clone(), writer.history.clone());
    moments.push(Moment { disk: disk.clone(), flying, history });
    let index = dice.roll(writer.flying.len() as u64) as usize;
    writer.complete(index, disk);
}
