//! The writing side: append, snapshot, free the ring; what waits for what.
//!
//! *Waiting is an event, never an order.* Every [`Write`] that a call hands out may be carried out
//! at once, in any order and at the same time as all others; its completion (the data is durable)
//! is reported with [`Journal::written`], which hands out what had to wait for it. So a superblock
//! is not even made before the snapshot it names is durable, and ring space is not reused before
//! the superblock that gives it up is durable. A failed write ends the journal: drop it and open
//! the area again.
//!
//! ```text
//!   create:  copy ───────► all written ─► superblock ─► ready
//!   resume:                               superblock ─► ready    (appends wait until then)
//!   snapshot: chunks ────► all written ─► superblock ─► ring space free   (appends go on)
//!   append:  blocks ─────► written ─► durable once all earlier batches are
//! ```

use std::collections::{BTreeMap, VecDeque};

use crate::area::{Area, SnapshotSlot};
use crate::batch::{self, BatchPlace};
use crate::block::{BLOCK, CONTENT};
use crate::seal::{LifeSeal, Seal};
use crate::snapshot::{self, Snapshot, SnapshotPlace};
use crate::superblock::Superblock;

/// Names one write of one [`Journal`] value; a completion that arrives for an earlier journal of
/// the same area must not be reported to a later one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct WriteId(pub u64);

/// One write to the device: `data` is whole 4 KiB blocks, `offset` is a multiple of 4096.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    pub id: WriteId,
    pub offset: u64,
    pub data: Vec<u8>,
}

/// Everything a journal holds: the newest snapshot and the records after it, in order.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Contents {
    pub snapshot: Option<Snapshot>,
    /// Sequence number and bytes; numbers are contiguous and begin behind the snapshot.
    pub records: Vec<(u64, Vec<u8>)>,
}

impl Contents {
    /// Number that the next record gets; the first one ever is 1.
    pub fn next_seq(&self) -> u64 {
        let covered = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.covers);
        covered.max(self.records.last().map_or(0, |(seq, _)| *seq)) + 1
    }
}

/// Where and how a new journal is created. The seal is used up: one epoch, one writer.
#[derive(Debug)]
pub struct Fresh {
    pub area: Area,
    pub seal: Seal,
    /// On shared media the claimed epoch, above all that were ever used in this slot; in the
    /// node's own log 1, under a disk id drawn anew.
    pub life: u64,
}

/// What an append handed out: `last_seq` is the number of its last record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Appended {
    pub last_seq: u64,
    pub writes: Vec<Write>,
}

/// What a completion led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Every record up to this number is durable; 0 before the journal is ready.
    pub durable_seq: u64,
    /// Writes that waited for this completion.
    pub writes: Vec<Write>,
}

/// Why nothing was appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AppendError {
    #[error(
        "journal: cannot append {bytes} bytes, the ring has room for {free_bytes}: \
         write a snapshot and wait for it"
    )]
    Full { bytes: u64, free_bytes: u64 },
    #[error("journal: cannot append {bytes} bytes at once, the ring holds {limit_bytes}")]
    TooLarge { bytes: u64, limit_bytes: u64 },
}

/// Why no snapshot was begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("journal: cannot begin a snapshot while another superblock switch is in progress")]
    Busy,
    #[error("journal: a snapshot of {bytes} bytes does not fit, the limit is {limit_bytes}")]
    TooLarge { bytes: u64, limit_bytes: u64 },
    #[error("journal: a snapshot cannot cover record {covers}, only {first} to {last}")]
    Uncovered { covers: u64, first: u64, last: u64 },
}

/// Why a journal cannot be created with the given contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CreateError {
    #[error("journal: a snapshot of {bytes} bytes does not fit, the limit is {limit_bytes}")]
    SnapshotTooLarge { bytes: u64, limit_bytes: u64 },
    #[error("journal: {bytes} bytes of records do not fit, the ring holds {limit_bytes}")]
    RecordsTooLarge { bytes: u64, limit_bytes: u64 },
    #[error("journal: the records given have a gap before number {seq}")]
    Gap { seq: u64 },
}

/// A batch that is in the ring, oldest first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub(crate) at: u64,
    pub(crate) life: u64,
    pub(crate) first_seq: u64,
    /// Writes of it that have not completed.
    pub(crate) writes_left: u32,
}

/// What an opened journal hands over so that writing can go on.
#[derive(Debug)]
pub(crate) struct Position {
    pub(crate) area: Area,
    pub(crate) seal: Seal,
    pub(crate) superblock: Superblock,
    pub(crate) batches: VecDeque<Placed>,
    pub(crate) head_at: u64,
    pub(crate) next_seq: u64,
}

/// What a completed write belongs to.
#[derive(Clone, Copy, Debug)]
enum Flight {
    Batch { at: u64 },
    Copy,
    Superblock,
}

/// Progress of the one superblock switch that can be under way.
#[derive(Clone, Copy, Debug)]
enum Switch {
    Idle,
    Copying { writes_left: u32, snapshot: Option<SnapshotPlace> },
    Publishing { superblock: Superblock },
}

/// The writer of one log area in one life.
#[derive(Debug)]
pub struct Journal {
    area: Area,
    seal: LifeSeal,
    mark: u32,
    life: u64,
    life_at: u64,
    /// Next write counter: the nonce on shared media. Only ever grows.
    counter: u64,
    next_write: u64,
    superblock: Superblock,
    batches: VecDeque<Placed>,
    /// How many of `batches`, from the oldest, are durable.
    batches_durable: usize,
    head_at: u64,
    next_seq: u64,
    flights: BTreeMap<WriteId, Flight>,
    switch: Switch,
    /// Appends that wait for the first superblock of this life; `None` once it is durable.
    held: Option<Vec<Write>>,
}

impl Journal {
    /// Begins a journal with `contents`, as adoption does (R2 step 4): the copy is written first,
    /// the superblock last; [`Journal::is_ready`] says when all of it is durable. Never create
    /// over the area that the contents were read from: resume there instead.
    pub fn create(fresh: Fresh, contents: &Contents) -> Result<(Self, Vec<Write>), CreateError> {
        let Fresh { area, seal, life } = fresh;
        let covers = contents.snapshot.as_ref().map_or(0, |snapshot| snapshot.covers);
        let records: Vec<&(u64, Vec<u8>)> =
            contents.records.iter().filter(|(seq, _)| *seq > covers).collect();
        check_contents(&area, contents, &records)?;
        let start_seq = records.first().map_or_else(|| contents.next_seq(), |(seq, _)| *seq);
        let superblock = Superblock {
            generation: 0,
            life,
            oldest_life: life,
            life_at: 0,
            start_at: 0,
            start_seq,
            snapshot: None,
        };
        let batches = VecDeque::new();
        let position =
            Position { area, seal, superblock, batches, head_at: 0, next_seq: start_seq };
        let mut journal = Self::at(position, life);
        let mut writes = Vec::new();
        let mut place = None;
        if let Some(snapshot) = &contents.snapshot {
            let (chosen, chunks) = journal.snapshot_writes(snapshot.covers, &snapshot.bytes);
            place = Some(chosen);
            writes.extend(chunks);
        }
        for group in groups(&area, &records) {
            writes.extend(journal.place_batch(&group, |_at| Flight::Copy));
        }
        journal.batches_durable = journal.batches.len();
        journal.switch = Switch::Copying { writes_left: writes.len() as u32, snapshot: place };
        if writes.is_empty() {
            writes.push(journal.publish(place));
        }
        Ok((journal, writes))
    }

    /// Goes on writing behind what was read, in a new life.
    pub(crate) fn resume(position: Position, life: u64) -> (Self, Vec<Write>) {
        let place = position.superblock.snapshot;
        let mut journal = Self::at(position, life);
        let write = journal.publish(place);
        (journal, vec![write])
    }

    fn at(position: Position, life: u64) -> Self {
        let Position { area, seal, superblock, mut batches, head_at, next_seq } = position;
        batches.iter_mut().for_each(|placed| placed.writes_left = 0);
        Self {
            area,
            seal: seal.life(life),
            mark: seal.mark(),
            life,
            life_at: head_at,
            counter: 0,
            next_write: 0,
            superblock,
            batches_durable: batches.len(),
            batches,
            head_at,
            next_seq,
            flights: BTreeMap::new(),
            switch: Switch::Idle,
            held: Some(Vec::new()),
        }
    }

    /// Appends records as one batch: after a power cut all of them are there or none.
    pub fn append<R: AsRef<[u8]>>(&mut self, records: &[R]) -> Result<Appended, AppendError> {
        let bytes = batch::content_bytes(records);
        let limit_bytes = self.area.batch_limit_bytes();
        if bytes > limit_bytes {
            return Err(AppendError::TooLarge { bytes, limit_bytes });
        }
        if batch::blocks(bytes) > self.blocks_free() {
            return Err(AppendError::Full { bytes, free_bytes: self.bytes_free() });
        }
        let mut writes = Vec::new();
        if !records.is_empty() {
            writes = self.place_batch(records, |at| Flight::Batch { at });
        }
        if let Some(held) = &mut self.held {
            held.append(&mut writes);
        }
        Ok(Appended { last_seq: self.next_seq - 1, writes })
    }

    /// Begins to write a snapshot that contains all records up to `covers`. Appends may go on; the
    /// ring is freed when the superblock that follows is durable.
    pub fn snapshot(&mut self, covers: u64, bytes: &[u8]) -> Result<Vec<Write>, SnapshotError> {
        match (self.switch, &self.held) {
            (Switch::Idle, None) => {}
            (Switch::Idle, Some(_)) | (Switch::Copying { .. } | Switch::Publishing { .. }, _) => {
                return Err(SnapshotError::Busy);
            }
        }
        let (len, limit_bytes) = (bytes.len() as u64, self.area.snapshot_limit_bytes());
        if len > limit_bytes {
            return Err(SnapshotError::TooLarge { bytes: len, limit_bytes });
        }
        let first = self.superblock.snapshot.map_or(0, |place| place.covers);
        let last = self.next_seq - 1;
        if !(first..=last).contains(&covers) {
            return Err(SnapshotError::Uncovered { covers, first, last });
        }
        let (place, mut writes) = self.snapshot_writes(covers, bytes);
        let snapshot = Some(place);
        self.switch = Switch::Copying { writes_left: writes.len() as u32, snapshot };
        if writes.is_empty() {
            writes.push(self.publish(snapshot));
        }
        Ok(writes)
    }

    /// Takes the completion of one write. One that this journal does not wait for changes nothing.
    pub fn written(&mut self, id: WriteId) -> Progress {
        let mut writes = Vec::new();
        match self.flights.remove(&id) {
            None => {}
            Some(Flight::Batch { at }) => self.batch_written(at),
            Some(Flight::Copy) => writes.extend(self.copy_written()),
            Some(Flight::Superblock) => writes = self.superblock_written(),
        }
        Progress { durable_seq: self.durable_seq(), writes }
    }

    /// True once the first superblock of this life is durable: the copy of an adoption counts.
    pub fn is_ready(&self) -> bool {
        self.held.is_none()
    }

    /// Every record up to this number is durable; 0 before the journal is ready.
    pub fn durable_seq(&self) -> u64 {
        if !self.is_ready() {
            return 0;
        }
        self.first_pending().map_or(self.next_seq, |placed| placed.first_seq) - 1
    }

    /// Number of the last record that was appended, durable or not; 0 if none ever was.
    pub fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }

    /// Last record that the snapshot in use contains, 0 without one.
    pub fn snapshot_covers(&self) -> u64 {
        self.superblock.snapshot.map_or(0, |place| place.covers)
    }

    /// True when half of the ring is used and a snapshot can be begun.
    pub fn needs_snapshot(&self) -> bool {
        let idle = matches!(self.switch, Switch::Idle);
        idle && self.is_ready() && self.blocks_free() * 2 <= self.area.ring_blocks()
    }

    /// What one append may hold now: the sum of record lengths plus 4 bytes for each.
    pub fn bytes_free(&self) -> u64 {
        self.blocks_free() * CONTENT as u64
    }

    pub fn area(&self) -> &Area {
        &self.area
    }

    /// Epoch on shared media, number of openings in the node's own log.
    pub fn life(&self) -> u64 {
        self.life
    }

    fn blocks_free(&self) -> u64 {
        let tail_at = self.batches.front().map_or(self.head_at, |placed| placed.at);
        self.area.ring_blocks() - (self.head_at - tail_at)
    }

    fn first_pending(&self) -> Option<&Placed> {
        self.batches.get(self.batches_durable)
    }

    fn durable_at(&self) -> u64 {
        self.first_pending().map_or(self.head_at, |placed| placed.at)
    }

    fn place_batch<R: AsRef<[u8]>>(
        &mut self,
        records: &[R],
        flight: impl Fn(u64) -> Flight,
    ) -> Vec<Write> {
        let (at, life, first_seq) = (self.head_at, self.life, self.next_seq);
        let place = BatchPlace { at, life, durable: self.durable_at(), first_seq };
        let seal = (&self.seal, self.mark);
        let mut front = batch::encode(&place, records, seal, &mut self.counter);
        let ring_blocks = self.area.ring_blocks();
        let until_wrap = (ring_blocks - at % ring_blocks) as usize * BLOCK;
        let blocks = (front.len() / BLOCK) as u64;
        let back = front.split_off(front.len().min(until_wrap));
        self.head_at += blocks;
        self.next_seq += records.len() as u64;
        let mut writes = vec![self.write(self.area.ring_offset(at), front, flight(at))];
        if !back.is_empty() {
            writes.push(self.write(self.area.ring_offset(0), back, flight(at)));
        }
        let writes_left = writes.len() as u32;
        self.batches.push_back(Placed { at, life, first_seq, writes_left });
        writes
    }

    fn snapshot_writes(&mut self, covers: u64, bytes: &[u8]) -> (SnapshotPlace, Vec<Write>) {
        let place = SnapshotPlace {
            slot: self.superblock.snapshot.map_or(SnapshotSlot::First, |old| old.slot.other()),
            life: self.life,
            id: self.superblock.generation + 1,
            covers,
            len: bytes.len() as u64,
        };
        let mut offset = self.area.snapshot_offset(place.slot);
        let device = snapshot::encode(&place, bytes, &self.seal, &mut self.counter);
        let mut writes = Vec::new();
        for part in device.chunks(SNAPSHOT_WRITE_BYTES) {
            writes.push(self.write(offset, part.to_vec(), Flight::Copy));
            offset += part.len() as u64;
        }
        (place, writes)
    }

    /// Makes the superblock that puts `snapshot` in force and gives up the ring before it.
    fn publish(&mut self, snapshot: Option<SnapshotPlace>) -> Write {
        let covers = snapshot.map_or(0, |place| place.covers);
        let start = self.first_needed(covers);
        let placed = self.batches.get(start);
        let superblock = Superblock {
            generation: self.superblock.generation + 1,
            life: self.life,
            oldest_life: placed.map_or(self.life, |placed| placed.life),
            life_at: self.life_at,
            start_at: placed.map_or(self.head_at, |placed| placed.at),
            start_seq: placed.map_or(self.next_seq, |placed| placed.first_seq),
            snapshot,
        };
        self.switch = Switch::Publishing { superblock };
        let block = superblock.encode(&self.area, self.counter, (&self.seal, self.mark));
        self.counter += 1;
        let offset = self.area.superblock_offset(superblock.generation);
        self.write(offset, block, Flight::Superblock)
    }

    /// Index of the first batch that is not wholly covered, or whose write may still be under way
    /// (its place must not be given to another write).
    fn first_needed(&self, covers: u64) -> usize {
        let end_seq = |index: usize| {
            self.batches.get(index + 1).map_or(self.next_seq, |following| following.first_seq)
        };
        let mut index = 0;
        while index < self.batches_durable && end_seq(index) <= covers + 1 {
            index += 1;
        }
        index
    }

    fn batch_written(&mut self, at: u64) {
        if let Ok(index) = self.batches.binary_search_by_key(&at, |placed| placed.at) {
            self.batches[index].writes_left -= 1;
        }
        while self.first_pending().is_some_and(|placed| placed.writes_left == 0) {
            self.batches_durable += 1;
        }
    }

    fn copy_written(&mut self) -> Option<Write> {
        match &mut self.switch {
            Switch::Copying { writes_left, snapshot } => {
                *writes_left -= 1;
                let (done, snapshot) = (*writes_left == 0, *snapshot);
                done.then(|| self.publish(snapshot))
            }
            Switch::Idle | Switch::Publishing { .. } => None,
        }
    }

    fn superblock_written(&mut self) -> Vec<Write> {
        match self.switch {
            Switch::Publishing { superblock } => {
                self.superblock = superblock;
                while self.batches.front().is_some_and(|placed| placed.at < superblock.start_at) {
                    self.batches.pop_front();
                    self.batches_durable -= 1;
                }
                self.switch = Switch::Idle;
            }
            Switch::Idle | Switch::Copying { .. } => {}
        }
        self.held.take().unwrap_or_default()
    }

    fn write(&mut self, offset: u64, data: Vec<u8>, flight: Flight) -> Write {
        let id = WriteId(self.next_write);
        self.next_write += 1;
        self.flights.insert(id, flight);
        Write { id, offset, data }
    }
}

/// Splits a copy into batches small enough for the ring to be freed in steps; in one batch if the
/// loss at the ends of many would not fit.
fn groups<'a>(area: &Area, records: &[&'a (u64, Vec<u8>)]) -> Vec<Vec<&'a [u8]>> {
    let mut groups: Vec<Vec<&[u8]>> = Vec::new();
    let mut room = 0;
    for record in records {
        let need = record.1.len() + 4;
        if need > room {
            groups.push(Vec::new());
            room = COPY_BATCH_BYTES.max(need);
        }
        room -= need;
        if let Some(group) = groups.last_mut() {
            group.push(&record.1);
        }
    }
    let blocks: u64 = groups.iter().map(|group| batch::blocks(batch::content_bytes(group))).sum();
    if blocks <= area.ring_blocks() { groups } else { vec![groups.into_iter().flatten().collect()] }
}

fn check_contents(
    area: &Area,
    contents: &Contents,
    records: &[&(u64, Vec<u8>)],
) -> Result<(), CreateError> {
    if let Some(snapshot) = &contents.snapshot {
        let (bytes, limit_bytes) = (snapshot.bytes.len() as u64, area.snapshot_limit_bytes());
        if bytes > limit_bytes {
            return Err(CreateError::SnapshotTooLarge { bytes, limit_bytes });
        }
        if let Some((seq, _)) = records.first().filter(|(seq, _)| *seq != snapshot.covers + 1) {
            return Err(CreateError::Gap { seq: *seq });
        }
    }
    if let Some(pair) = records.windows(2).find(|pair| pair[0].0 + 1 != pair[1].0) {
        return Err(CreateError::Gap { seq: pair[1].0 });
    }
    let bytes = records.iter().map(|record| record.1.len() as u64 + 4).sum();
    let limit_bytes = area.batch_limit_bytes();
    if bytes > limit_bytes {
        return Err(CreateError::RecordsTooLarge { bytes, limit_bytes });
    }
    Ok(())
}

/// A snapshot goes out in writes of this size.
const SNAPSHOT_WRITE_BYTES: usize = 256 << 10;
/// A copied log is cut into batches of about this size.
const COPY_BATCH_BYTES: usize = 16 * CONTENT;
