//! D alive on this node: its replica, and the guard before everything it does (R3).
//!
//! One *round* covers what was produced before it began: its record and the own header, counter
//! bumped, are written; when both are durable all headers are read; no higher claim: what the
//! round covers is released. Whatever is produced meanwhile waits for the next round.

use stead_journal::Header;
use stead_model::profile::Timing;
use stead_model::{DiskEpoch, Span, Term, Time};

use super::seat::Surroundings;
use super::table::{Medium, Table};
use crate::consensus::batch::Batch;
use crate::consensus::keeper::{IoDesk, Keeper};
use crate::consensus::record::SavedState;
use crate::consensus::replica::Replica;
use crate::effect::{Device, IoOp, Ticket};
use crate::event::IoResult;
use crate::leading::{Leading, Mail};
use crate::planted::{Fault, Planted};

/// D on its host.
pub(crate) struct Live {
    pub(crate) epoch: DiskEpoch,
    pub(crate) slot: u32,
    pub(crate) replica: Replica,
    /// Set when the election was released by the guard.
    pub(crate) leading: Option<Leading>,
    /// What the leader side wants sent; it waits for the next round.
    pub(crate) outbox: Vec<Mail>,
    keeper: Keeper,
    header: Header,
    pub(super) medium: Medium,
    /// The last look at the table, while what it shows is to be sealed anew.
    pub(super) table: Option<Table>,
    round: Option<Round>,
    hangs: bool,
    /// What its log is being replaced with (R13).
    remaking: Option<SavedState>,
    /// Why nothing can be written any more.
    cramped: Option<String>,
    /// The term and since when it is known.
    term_since: (Term, Time),
    /// When the last round began.
    began: Time,
    beat_at: Time,
    planted: Planted,
}

/// What a round covers and how far it is.
#[derive(Debug)]
struct Round {
    header_write: Option<Ticket>,
    table_read: Option<Ticket>,
    table_fine: bool,
    batch: Option<Batch>,
    has_batch: bool,
    mail: Vec<Mail>,
}

impl Round {
    /// Whether the record that it covers is durable, or it has none.
    const fn is_durable_but_header(&self) -> bool {
        self.batch.is_some() == self.has_batch
    }
}

/// What the guard let go.
#[derive(Debug, Default)]
pub(crate) struct Released {
    pub(crate) batch: Option<Batch>,
    pub(crate) mail: Vec<Mail>,
}

/// Why the incarnation is dropped.
#[derive(Debug)]
pub(crate) struct Dropped(pub(crate) String);

impl Live {
    pub(super) fn new(
        (epoch, slot): (DiskEpoch, u32),
        (replica, keeper): (Replica, Keeper),
        header: Header,
        medium: Medium,
        planted: Planted,
    ) -> Self {
        Self {
            epoch,
            slot,
            replica,
            leading: None,
            outbox: Vec::new(),
            keeper,
            header,
            medium,
            table: None,
            round: None,
            hangs: false,
            remaking: None,
            cramped: None,
            term_since: (Term(0), Time(0)),
            began: Time(0),
            beat_at: Time(0),
            planted,
        }
    }

    pub(super) fn owns(&self, ticket: Ticket) -> bool {
        let round = self.round.as_ref();
        let own = |r: &Round| r.header_write == Some(ticket) || r.table_read == Some(ticket);
        self.keeper.owns(ticket) || round.is_some_and(own)
    }

    /// Tickets that are on their way, for the doubt about the slot when this life ends.
    pub(super) fn writes_in_flight(&self) -> Vec<Ticket> {
        let header = self.round.as_ref().and_then(|r| r.header_write);
        self.keeper.tickets().chain(header).collect()
    }

    pub(crate) fn deadline(&self) -> Time {
        let tick = self.replica.deadline();
        if self.round.is_some() { tick } else { tick.min(self.beat_at) }
    }

    /// When the round under way began.
    pub(super) fn round_began(&self) -> Option<Time> {
        self.round.as_ref().map(|_| self.began)
    }

    /// Number of the last round that has begun.
    pub(super) fn counter(&self) -> u64 {
        self.header.counter
    }

    /// Replaces its log: until that is durable and guarded nothing else is said by it.
    pub(crate) fn remake(&mut self, state: SavedState) {
        self.leading = None;
        self.outbox.clear();
        self.remaking = Some(state);
    }

    /// Whether its log is being replaced.
    pub(crate) const fn is_being_remade(&self) -> bool {
        self.remaking.is_some()
    }

    /// Whether the host may announce itself: a round that hangs renews nothing.
    pub(super) fn is_renewing(&self) -> bool {
        !self.hangs
    }

    /// Begins a round if there is something to guard or a renewal is due.
    pub(super) fn begin(
        &mut self,
        now: Time,
        around: &Surroundings,
        io: &mut IoDesk,
    ) -> Option<Released> {
        if self.remaking.is_none()
            && let Some(unguarded) = self.unguarded(now)
        {
            return Some(unguarded);
        }
        let timing = &around.timing;
        let heartbeat = timing.heartbeat;
        if self.round.is_some() {
            self.hangs = now.since(self.began) > heartbeat * 4;
            return None;
        }
        self.hangs = false;
        let calm = self.is_calm(now, timing);
        let pace = if calm && around.all_heard { heartbeat * 2 } else { heartbeat };
        self.beat_at = self.began + pace + timing.patience();
        // Renewals go along with heartbeats; without one a renewal waits a little longer.
        let along = around.along && self.began + pace <= now + Span(heartbeat.0 / 2);
        let due = along || now >= self.beat_at || self.remaking.is_some();
        if !due && calm {
            return None;
        }
        let batch = match &self.remaking {
            Some(state) => Some(Batch { install: Some(state.clone()), ..Batch::default() }),
            None => self.replica.take(now),
        };
        if batch.is_none() && self.outbox.is_empty() && !due {
            return None;
        }
        self.compact(io);
        self.began = now;
        self.beat_at = now + pace + timing.patience();
        let mut round = Round {
            header_write: None,
            table_read: None,
            table_fine: false,
            batch: None,
            has_batch: batch.is_some(),
            mail: std::mem::take(&mut self.outbox),
        };
        if let Some(batch) = batch {
            self.keeper.push(batch, io);
            self.compact(io);
        }
        if round.has_batch {
            round.batch = self.keeper.released();
        }
        self.renew(&mut round, io);
        self.round = Some(round);
        // A round that has just begun is not over: its header is being written.
        self.advance(io).ok().flatten()
    }

    /// Writes the own header with the next counter. With nothing else to become durable it is
    /// all that the look at the table waits for.
    fn renew(&mut self, round: &mut Round, io: &mut IoDesk) {
        self.header.counter += 1;
        let place = self.medium.geometry.header_place(self.medium.disk, self.slot);
        let data = self.header.encode(&place, &self.medium.keys.seal);
        let offset = place.offset;
        let early = self.planted.has(Fault::GuardReadsBeforeWrite);
        let apart = early || self.planted.has(Fault::NoGuard);
        let op = if round.is_durable_but_header() && !apart {
            let (read_offset, read_length) = self.medium.look();
            IoOp::WriteThenRead { offset, data, read_offset, read_length }
        } else {
            IoOp::Write { offset, data }
        };
        round.header_write = Some(io.submit(Device::QuorumDisk, op));
        if early {
            round.table_read = Some(self.read_table(io));
        }
    }

    /// What leaves without a guard: nothing, unless a fault is planted.
    fn unguarded(&mut self, now: Time) -> Option<Released> {
        let may = self.planted.has(Fault::UnguardedRecordless)
            && self.round.as_ref().is_none_or(|r| !r.has_batch)
            && self.replica.is_recordless();
        let batch = if may { self.replica.take(now) } else { None };
        batch.map(|batch| Released { batch: Some(batch), mail: std::mem::take(&mut self.outbox) })
    }

    /// Whether what D has to say may wait for its next renewal: it only answers heartbeats of a
    /// leader that has led for the length of a lease. Right after an election its answers
    /// confirm the leases that are about to end.
    fn is_calm(&mut self, now: Time, timing: &Timing) -> bool {
        let term = self.replica.term();
        if self.term_since.0 != term {
            self.term_since = (term, now);
        }
        now.since(self.term_since.1) >= timing.lease
            && self.outbox.is_empty()
            && self.replica.is_calm(now, timing.election)
    }

    fn compact(&mut self, io: &mut IoDesk) {
        if let Err(why) = self.keeper.compact(&mut self.replica, io) {
            self.cramped = Some(why);
        }
    }

    fn read_table(&self, io: &mut IoDesk) -> Ticket {
        let (offset, length) = self.medium.look();
        io.read(Device::QuorumDisk, offset, length)
    }

    /// Takes a completion of this life.
    pub(super) fn done(
        &mut self,
        ticket: Ticket,
        result: &IoResult,
        io: &mut IoDesk,
    ) -> Result<Option<Released>, Dropped> {
        if let Some(why) = self.cramped.take() {
            return Err(Dropped(why));
        }
        if self.keeper.owns(ticket) {
            self.keeper.done(ticket, result, io).map_err(Dropped)?;
            self.compact(io);
            return self.advance(io);
        }
        let Some(round) = &mut self.round else { return Ok(None) };
        match result {
            IoResult::Failed(why) => return Err(Dropped(why.clone())),
            IoResult::Written => round.header_write = None,
            IoResult::Read(bytes) => {
                if round.header_write == Some(ticket) {
                    round.header_write = None;
                }
                let skip = self.planted.has(Fault::FallBackToOlderSlot);
                let table = Table::decode(bytes, &self.medium, skip);
                let table = table.map_err(|unreadable| Dropped(unreadable.why))?;
                self.check(&table)?;
                self.table = self.medium.keys.follow_others().then_some(table);
                if let Some(round) = &mut self.round {
                    round.table_read = None;
                    round.table_fine = true;
                }
            }
        }
        self.advance(io)
    }

    /// The guard's look at all headers.
    fn check(&self, table: &Table) -> Result<(), Dropped> {
        if table.highest_claim() > self.header.claim {
            let claim = table.highest_claim();
            return Err(Dropped(format!("another node claimed the quorum disk (epoch {claim})")));
        }
        let own = table.header(self.slot);
        let early = self.planted.has(Fault::GuardReadsBeforeWrite);
        if own != self.header && !early {
            return Err(Dropped("the own slot header is not what was written".into()));
        }
        Ok(())
    }

    fn advance(&mut self, io: &mut IoDesk) -> Result<Option<Released>, Dropped> {
        let Some(round) = self.round.as_mut() else { return Ok(None) };
        if round.has_batch && round.batch.is_none() {
            round.batch = self.keeper.released();
        }
        if round.header_write.is_some() || !round.is_durable_but_header() {
            return Ok(None);
        }
        if !round.table_fine && round.table_read.is_none() && !self.planted.has(Fault::NoGuard) {
            let (offset, length) = self.medium.look();
            round.table_read = Some(io.read(Device::QuorumDisk, offset, length));
        }
        if round.table_read.is_some() {
            return Ok(None);
        }
        let Some(Round { batch, mail, .. }) = self.round.take() else { return Ok(None) };
        let remade = batch.as_ref().and_then(|b| b.install.as_ref()) == self.remaking.as_ref();
        if let Some(state) = self.remaking.take_if(|_| remade) {
            self.replica = self.replica.remade(&state).map_err(|e| Dropped(e.to_string()))?;
            return Ok(Some(Released::default()));
        }
        Ok(Some(Released { batch, mail }))
    }
}
