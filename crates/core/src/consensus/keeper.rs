//! The keeper: brings a replica's batches into a journal, in order, and says when they are durable.
//!
//! ```text
//!   push(batch) ──► record appended ──► durable ──┐
//!              └──► snapshot begun ───► switched ─┴─► released, oldest first
//! ```
//!
//! Not here: what a released batch may do (the node lets it go at once, the host of D after the
//! guard, R3).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use stead_journal::{AppendError, Journal, Write, WriteId};

use super::batch::Batch;
use super::record::SavedState;
use super::replica::Replica;
use crate::effect::{Device, Effect, Io, IoOp, Ticket};
use crate::event::IoResult;

/// Hands out tickets for reads and writes; every one is unique in the life of a core.
#[derive(Debug, Default)]
pub(crate) struct IoDesk {
    next: u64,
    pub(crate) out: Vec<Effect>,
}

impl IoDesk {
    pub(crate) fn submit(&mut self, device: Device, op: IoOp) -> Ticket {
        self.next += 1;
        let ticket = Ticket(self.next);
        self.out.push(Effect::Io(Io { ticket, device, op }));
        ticket
    }

    pub(crate) fn read(&mut self, device: Device, offset: u64, length: u64) -> Ticket {
        self.submit(device, IoOp::Read { offset, length })
    }

    pub(crate) fn write(&mut self, device: Device, offset: u64, data: Vec<u8>) -> Ticket {
        self.submit(device, IoOp::Write { offset, data })
    }
}

/// Brings batches into a journal.
#[derive(Debug)]
pub(crate) struct Keeper {
    device: Device,
    journal: Journal,
    flights: BTreeMap<Ticket, WriteId>,
    /// Writes of the snapshot under way, the superblock among them.
    snapshot_flights: BTreeSet<WriteId>,
    queue: VecDeque<Kept>,
    /// A record does not fit into what is free of the ring.
    crowded: bool,
}

#[derive(Debug)]
struct Kept {
    batch: Batch,
    stage: Stage,
}

/// How far a batch is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Nothing of it is under way.
    Queued,
    /// Its record is appended under this number.
    Appended(u64),
    /// A snapshot that holds it is being written.
    Installing,
    /// It is durable, or has nothing to persist.
    Durable,
}

impl Keeper {
    /// Over a journal that was just created or resumed, with the writes that belong to that.
    pub(crate) fn new(
        device: Device,
        journal: Journal,
        writes: Vec<Write>,
        io: &mut IoDesk,
    ) -> Self {
        let mut keeper = Self {
            device,
            journal,
            flights: BTreeMap::new(),
            snapshot_flights: BTreeSet::new(),
            queue: VecDeque::new(),
            crowded: false,
        };
        keeper.issue(writes, io);
        keeper
    }

    fn issue(&mut self, writes: Vec<Write>, io: &mut IoDesk) {
        for write in writes {
            let ticket = io.write(self.device, write.offset, write.data);
            self.flights.insert(ticket, write.id);
        }
    }

    /// Whether everything of the creation is durable.
    pub(crate) fn is_ready(&self) -> bool {
        self.journal.is_ready()
    }

    /// Whether no batch waits in it.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn owns(&self, ticket: Ticket) -> bool {
        self.flights.contains_key(&ticket)
    }

    pub(crate) fn tickets(&self) -> impl Iterator<Item = Ticket> + '_ {
        self.flights.keys().copied()
    }

    /// Whether a snapshot should be written and can be begun.
    fn wants_snapshot(&self) -> bool {
        let crowded = self.crowded && self.journal.is_ready();
        // While the leader's state is on its way into the log the replica has no whole state.
        let installs = self.queue.iter().any(|kept| kept.batch.install.is_some());
        let idle = self.snapshot_flights.is_empty() && !installs;
        idle && (crowded || self.journal.needs_snapshot())
    }

    pub(crate) fn push(&mut self, batch: Batch, io: &mut IoDesk) {
        self.queue.push_back(Kept { batch, stage: Stage::Queued });
        self.advance(io);
    }

    /// Compacts the log if that is due and possible. An error: what is to be written fits neither
    /// into the ring nor into a snapshot, so nothing ever will be again.
    pub(crate) fn compact(&mut self, replica: &mut Replica, io: &mut IoDesk) -> Result<(), String> {
        if !self.wants_snapshot() {
            return Ok(());
        }
        let state = replica.saved_state();
        match self.snapshot(&state, io) {
            Ok(()) => replica.compact(&state),
            Err(why) if self.crowded => return Err(why),
            // There is room in the ring, and more of the log will be applied.
            Err(_too_large_yet) => {}
        }
        Ok(())
    }

    /// Writes the replica's whole state, so that the ring can be reused. All that was taken from
    /// the replica is in it: records that did not fit need not be appended any more.
    fn snapshot(&mut self, state: &SavedState, io: &mut IoDesk) -> Result<(), String> {
        self.write_snapshot(state, io)?;
        if std::mem::take(&mut self.crowded) {
            let queued = self.queue.iter_mut().filter(|kept| kept.stage == Stage::Queued);
            queued.filter(|k| k.batch.install.is_none()).for_each(|k| k.stage = Stage::Installing);
        }
        Ok(())
    }

    fn write_snapshot(&mut self, state: &SavedState, io: &mut IoDesk) -> Result<(), String> {
        let covers = self.journal.last_seq();
        let writes = self.journal.snapshot(covers, &state.encode()).map_err(|e| e.to_string())?;
        self.snapshot_flights = writes.iter().map(|w| w.id).collect();
        self.issue(writes, io);
        Ok(())
    }

    /// Takes a completion; an error means that the journal cannot be trusted any more.
    pub(crate) fn done(
        &mut self,
        ticket: Ticket,
        result: &IoResult,
        io: &mut IoDesk,
    ) -> Result<(), String> {
        let Some(id) = self.flights.remove(&ticket) else { return Ok(()) };
        match result {
            IoResult::Written => {}
            IoResult::Failed(why) => return Err(why.clone()),
            IoResult::Read(_) => return Err("a write was answered as a read".into()),
        }
        let progress = self.journal.written(id);
        if self.snapshot_flights.remove(&id) {
            self.snapshot_flights.extend(progress.writes.iter().map(|w| w.id));
        }
        self.issue(progress.writes, io);
        self.advance(io);
        Ok(())
    }

    fn advance(&mut self, io: &mut IoDesk) {
        let durable = self.journal.durable_seq();
        let snapshot_done = self.snapshot_flights.is_empty();
        for at in 0..self.queue.len() {
            match self.queue[at].stage {
                Stage::Appended(seq) if seq <= durable => self.queue[at].stage = Stage::Durable,
                Stage::Installing if snapshot_done => self.queue[at].stage = Stage::Durable,
                Stage::Appended(_) | Stage::Durable => {}
                Stage::Installing => return,
                Stage::Queued => {
                    if !self.begin(at, io) {
                        return;
                    }
                }
            }
        }
    }

    /// Begins a queued batch; `false`: it and what follows must wait.
    fn begin(&mut self, at: usize, io: &mut IoDesk) -> bool {
        let batch = &self.queue[at].batch;
        if let Some(state) = &batch.install {
            let earlier = self.queue.iter().take(at).all(|k| k.stage == Stage::Durable);
            let state = state.clone();
            if !earlier || !self.snapshot_flights.is_empty() {
                return false;
            }
            if self.write_snapshot(&state, io).is_err() {
                return false;
            }
            self.queue[at].stage = Stage::Installing;
            // A record after it makes no sense to a reader before it is durable.
            return self.snapshot_flights.is_empty() && self.settle(at);
        }
        let Some(record) = &batch.record else {
            self.queue[at].stage = Stage::Durable;
            return true;
        };
        match self.journal.append(&[record.encode()]) {
            Ok(appended) => {
                self.issue(appended.writes, io);
                self.queue[at].stage = Stage::Appended(appended.last_seq);
                self.crowded = false;
                true
            }
            Err(AppendError::Full { .. } | AppendError::TooLarge { .. }) => {
                self.crowded = true;
                false
            }
        }
    }

    fn settle(&mut self, at: usize) -> bool {
        self.queue[at].stage = Stage::Durable;
        true
    }

    /// The oldest batch, once it is durable.
    pub(crate) fn released(&mut self) -> Option<Batch> {
        let durable = self.queue.front()?.stage == Stage::Durable;
        if durable { self.queue.pop_front().map(|k| k.batch) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use stead_journal::{Area, Contents, DiskId, Fresh, Plain};

    use super::*;
    use crate::consensus::record::LogRecord;
    use crate::consensus::replica::first_state;
    use crate::db::Db;

    fn keeper(io: &mut IoDesk) -> Keeper {
        let area = Area::new(0, 4 * 4096, 16 * 4096).unwrap();
        let fresh = Fresh { area, seal: Plain { disk: DiskId([1; 16]) }.into(), life: 1 };
        let (journal, writes) = Journal::create(fresh, &Contents::default()).unwrap();
        let mut keeper = Keeper::new(Device::NodeLog, journal, writes, io);
        write_all(&mut keeper, io);
        assert!(keeper.is_ready());
        keeper
    }

    fn write_all(keeper: &mut Keeper, io: &mut IoDesk) {
        for _ in 0..100 {
            let tickets: Vec<Ticket> = keeper.tickets().collect();
            tickets.iter().for_each(|t| keeper.done(*t, &IoResult::Written, io).unwrap());
        }
    }

    fn batch(number: u64, bytes: usize) -> Batch {
        let entry =
            raft::eraftpb::Entry { index: number, data: vec![7; bytes], ..Default::default() };
        let record = LogRecord { hard: Default::default(), entries: vec![entry] };
        Batch { number, record: Some(record), ..Batch::default() }
    }

    #[test]
    fn nothing_is_appended_while_the_leaders_state_is_installed() {
        let mut io = IoDesk::default();
        let mut keeper = keeper(&mut io);
        let install = Some(first_state(&[], &[], &Db::default()));
        keeper.push(Batch { number: 1, install, ..Batch::default() }, &mut io);
        let installing = keeper.tickets().count();
        keeper.push(batch(2, 10), &mut io);
        assert_eq!(keeper.tickets().count(), installing, "a record before its base");
        write_all(&mut keeper, &mut io);
        let numbers: Vec<u64> =
            std::iter::from_fn(|| keeper.released()).map(|b| b.number).collect();
        assert_eq!(numbers, [1, 2]);
    }

    #[test]
    fn a_record_that_does_not_fit_is_kept_in_a_snapshot() {
        let mut io = IoDesk::default();
        let mut keeper = keeper(&mut io);
        keeper.push(batch(1, 40 * 1024), &mut io);
        keeper.push(batch(2, 10), &mut io);
        write_all(&mut keeper, &mut io);
        assert!(keeper.released().is_none(), "a record larger than the ring became durable");
        assert!(keeper.wants_snapshot());
        let state = first_state(&[], &[], &Db::default());
        keeper.snapshot(&state, &mut io).unwrap();
        assert!(keeper.released().is_none(), "released before the snapshot is durable");
        write_all(&mut keeper, &mut io);
        let numbers: Vec<u64> =
            std::iter::from_fn(|| keeper.released()).map(|b| b.number).collect();
        assert_eq!(numbers, [1, 2]);
        assert!(!keeper.wants_snapshot(), "one snapshot is enough");
    }
}
