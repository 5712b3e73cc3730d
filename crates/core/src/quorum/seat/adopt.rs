//! The steps of claiming and adopting (R2): each completion leads to the next read or write.

use stead_journal::{
    ClusterKey, Fresh, Header, Identity, Journal, Medium as IdentityMedium, OpenError, Opened,
    Opening, Sealed, Step,
};
use stead_model::{DiskEpoch, Span, Time};

use super::{Claim, Copying, MISSES, Seat, Seen, State, Surroundings, Turn, Writing};
use crate::consensus::keeper::{IoDesk, Keeper};
use crate::consensus::record;
use crate::consensus::replica::{Replica, Setup};
use crate::effect::{Device, Ticket};
use crate::event::IoResult;
use crate::planted::{Fault, Planted};
use crate::quorum::live::Live;
use crate::quorum::table::{Medium, Table};

impl Seat {
    /// Takes the completion for which the present state waits.
    pub(super) fn step(&mut self, ticket: Ticket, result: &IoResult, turn: &mut Turn<'_>) {
        let (now, heartbeat) = (turn.now, turn.setup.timing.heartbeat);
        let bytes = if let IoResult::Read(bytes) = result { bytes.as_slice() } else { &[] };
        let state = std::mem::replace(&mut self.state, State::Watching(None));
        match state {
            State::Blank(_) => self.identified(bytes, turn),
            State::Watching(_) => {
                if let Some(table) = self.table(bytes, turn) {
                    self.watched(now, &table, heartbeat);
                    self.look_after(&table, turn.io);
                }
            }
            State::Reading(claim, _) => self.first_read(claim, bytes, turn),
            State::WritingClaim(mut claim, _) => {
                claim.answered = now;
                self.state = State::ReadingAgain(claim, self.read_table(turn.io));
            }
            State::ReadingAgain(claim, _) => self.second_read(claim, bytes, turn),
            State::Copying(mut copying) => {
                copying.opening.feed(bytes);
                self.copy(copying, turn);
            }
            State::Doubting(claim, why, _) => {
                self.judge(claim, why, bytes, turn);
            }
            State::WritingCopy(mut writing) => match writing.keeper.done(ticket, result, turn.io) {
                Ok(()) => self.copied(writing, turn.io),
                Err(why) => self.retreat(now, heartbeat, why),
            },
            State::Activating(mut writing, active) if active != ticket => {
                let _ = writing.keeper.done(ticket, result, turn.io);
                self.state = State::Activating(writing, active);
            }
            State::Activating(writing, _) => self.activated(now, *writing),
            state @ (State::Live(_) | State::Dead(_)) => self.state = state,
        }
    }

    fn identified(&mut self, bytes: &[u8], turn: &Turn<'_>) {
        let now = turn.now;
        let keys = &self.config.keys;
        let identity = keys.open(|key| Identity::decode(bytes, Some(key))).map(|(read, _)| read);
        match identity {
            Ok(Identity { disk, medium: IdentityMedium::Shared { geometry } })
                if disk == self.config.disk =>
            {
                let keys = keys.clone();
                let slots_needed = 2 * u32::from(self.config.node.0);
                if geometry.slots() < slots_needed {
                    let why = format!("it has no slot for {}", self.config.node);
                    self.die(why);
                    return;
                }
                self.medium = Some(Medium { disk, keys, geometry });
                self.unreadable = None;
                self.state = State::Watching(None);
                self.poll_at = now;
            }
            Ok(_) => self.die("it is not this cluster's quorum disk".into()),
            Err(error) => {
                let why = error.to_string();
                // It is read again and again; the same is said once.
                if self.unreadable.as_ref() != Some(&why) {
                    self.news.push(("disk-unreadable", why.clone()));
                    self.unreadable = Some(why);
                }
                self.state = State::Blank(None);
                self.poll_at = now + turn.setup.timing.election * 4;
            }
        }
    }

    /// Decodes a look; without one the state is another.
    fn table(&mut self, bytes: &[u8], turn: &mut Turn<'_>) -> Option<Table> {
        let skip = self.config.planted.has(Fault::FallBackToOlderSlot);
        match Table::decode(bytes, self.medium.as_ref()?, skip) {
            Ok(table) => return Some(table),
            Err(unreadable) if self.is_of_evicted(&unreadable) => {
                let why = "a node that was evicted has written there with former keys";
                self.not_read(turn.now, turn.setup.timing.heartbeat, why);
                self.seal_for_evicted(&unreadable, turn.io);
            }
            Err(unreadable) => self.die(unreadable.why),
        }
        None
    }

    fn die(&mut self, why: String) {
        self.news.push(("disk-dead", format!("the quorum disk is dead: {why}")));
        self.state = State::Dead(why);
    }

    fn watched(&mut self, now: Time, table: &Table, heartbeat: Span) {
        if self.path_lost.take().is_some() {
            self.news.push(("disk-path-back", "this node can read the quorum disk again".into()));
        }
        let (slot, header) = table.newest();
        let Header { active, counter, .. } = header;
        if !self.renewed(Seen { slot, active, counter, first: now }, now) {
            self.misses += 1;
            if self.misses == MISSES {
                let back_off = Span(heartbeat.0 * self.draw(64) / 64);
                self.may_claim_at = self.may_claim_at.max(now + back_off);
                self.poll_at = self.poll_at.min(now + back_off);
            }
        }
        let claim = table.highest_claim();
        if claim != self.claim_seen.0 {
            self.claim_seen = (claim, now);
        }
        self.state = State::Watching(None);
    }

    /// A host that announces its renewals need not be watched on the disk: the counter that it
    /// names had been taken up when it was sent, so all that D said under it is older (R5). It is
    /// read now and then all the same: a path that was lost is not to be found out in need.
    pub(super) fn note_host(&mut self, now: Time, around: &Surroundings) {
        let (Some(host), Some(medium)) = (around.host, &self.medium) else { return };
        if !matches!(self.state, State::Watching(None)) || self.is_to_be_sealed() {
            return;
        }
        let active = host.epoch.0;
        let slot = (active % u64::from(medium.geometry.slots())) as u32;
        let seen = Seen { slot, active, counter: host.counter, first: host.heard };
        self.renewed(seen, now);
        let (heartbeat, patience) = (around.timing.heartbeat, around.timing.patience());
        let rest = if self.path_lost.is_some() { PATH_CHECK_LOST } else { PATH_CHECK };
        let next = (host.heard + heartbeat + patience).min(self.polled_at + heartbeat * rest);
        self.poll_at = self.poll_at.max(next);
    }

    /// Takes a counter that was read or announced; `false` if it is not a new one.
    fn renewed(&mut self, fresh: Seen, now: Time) -> bool {
        let newer = |s: &Seen| (s.active, s.counter) < (fresh.active, fresh.counter);
        if !self.seen.as_ref().is_none_or(newer) {
            return false;
        }
        // Whoever let D go so that another may take it has waited enough: another has.
        if self.seen.is_some() {
            self.may_claim_at = now;
            self.yielded = false;
        }
        self.seen = Some(fresh);
        self.misses = 0;
        true
    }

    fn first_read(&mut self, mut claim: Claim, bytes: &[u8], turn: &mut Turn<'_>) {
        let (now, heartbeat) = (turn.now, turn.setup.timing.heartbeat);
        let Some(table) = self.table(bytes, turn) else { return };
        let Some(medium) = &self.medium else { return };
        let own = table.header(claim.slot);
        if table.newest().0 == claim.slot && table.is_other(claim.slot) {
            // The log in it is under the other key: it goes into the other slot.
            return self.spare_slot(now, heartbeat, claim.slot);
        }
        claim.epoch = table.next_epoch(claim.slot);
        claim.header = Header {
            claim: claim.epoch,
            active: own.active,
            counter: own.counter,
            incarnation: self.config.incarnation.0,
        };
        let (newest, Header { active, .. }) = table.newest();
        claim.newest_first = (newest, active);
        if self.config.planted.has(Fault::ClaimForgetsActive) {
            claim.header.active = 0;
        }
        let place = medium.geometry.header_place(medium.disk, claim.slot);
        let header = claim.header.encode(&place, &medium.keys.seal);
        let ticket = turn.io.write(Device::QuorumDisk, place.offset, header);
        self.news.push(("disk-claimed", format!("claims the quorum disk, epoch {}", claim.epoch)));
        self.state = State::WritingClaim(claim, ticket);
    }

    fn second_read(&mut self, mut claim: Claim, bytes: &[u8], turn: &mut Turn<'_>) {
        let (now, heartbeat) = (turn.now, turn.setup.timing.heartbeat);
        let Some(table) = self.table(bytes, turn) else { return };
        let lost = table.highest_claim() > claim.epoch || table.header(claim.slot) != claim.header;
        let first_only = self.config.planted.has(Fault::NoSecondRead);
        if lost && !first_only {
            self.retreat(now, heartbeat, "another node claimed higher".into());
            self.watched(now, &table, heartbeat);
            return;
        }
        let (mut source, mut header) = table.newest();
        if first_only {
            (source, header.active) = claim.newest_first;
        }
        if let Some(seen) = self.seen
            && (seen.slot, seen.active) == (source, header.active)
            && seen.counter >= header.counter
        {
            claim.answered = seen.first;
        }
        let Some(medium) = &self.medium else { return };
        let (own, other) = (Some(medium.keys.seal.clone()), medium.keys.other().cloned());
        let is_other = table.is_other(source) && other.is_some();
        let (key, untried) = if is_other { (other, own) } else { (own, other) };
        let Some(key) = key else { return };
        let opening = self.opening(medium, (source, header.active), key);
        let active = header.active;
        let copying = Copying { claim, source, active, opening, untried, is_other, ticket: None };
        self.copy(Box::new(copying), turn);
    }

    fn opening(
        &self,
        medium: &Medium,
        (source, active): (u32, u64),
        key: ClusterKey,
    ) -> Opening<Sealed> {
        let seal = Sealed { key, disk: medium.disk, slot: source };
        let opening = Opening::live(medium.geometry.area(source), seal, active);
        opening.with_planted(journal_planted(self.config.planted))
    }

    /// The source does not open with the key of its header: its log may be under the other one.
    fn try_other_key(&mut self, mut copying: Box<Copying>, turn: &mut Turn<'_>) {
        let (Some(medium), Some(key)) = (&self.medium, copying.untried.take()) else { return };
        let (source, active) = (copying.source, copying.active);
        copying.opening = self.opening(medium, (source, active), key);
        copying.is_other = !copying.is_other;
        self.copy(copying, turn);
    }

    fn copy(&mut self, mut copying: Box<Copying>, turn: &mut Turn<'_>) {
        match copying.opening.step() {
            Step::Read { offset, len } => {
                copying.ticket = Some(turn.io.read(Device::QuorumDisk, offset, len));
                self.state = State::Copying(copying);
            }
            Step::Done(opened) => {
                let Copying { claim, source, is_other, .. } = *copying;
                if is_other && source == claim.slot {
                    let (now, heartbeat) = (turn.now, turn.setup.timing.heartbeat);
                    return self.spare_slot(now, heartbeat, source);
                }
                if let Err(why) = self.write_copy(claim, source, *opened, turn) {
                    self.doubt_source(claim, why, turn.io);
                }
            }
            Step::Failed(OpenError::KeepsChanging { .. }) => {
                let why = "its log is still being written".to_owned();
                self.retreat(turn.now, turn.setup.timing.heartbeat, why);
            }
            Step::Failed(_) if copying.untried.is_some() => self.try_other_key(copying, turn),
            Step::Failed(error) => self.doubt_source(copying.claim, error.to_string(), turn.io),
        }
    }

    /// The source cannot be read. If it is being replaced by a newer incarnation the next look
    /// at the table shows a higher claim; otherwise D is dead (R2).
    fn doubt_source(&mut self, claim: Claim, why: String, io: &mut IoDesk) {
        self.state = State::Doubting(claim, why, self.read_table(io));
    }

    fn judge(&mut self, claim: Claim, why: String, bytes: &[u8], turn: &mut Turn<'_>) {
        let Some(table) = self.table(bytes, turn) else { return };
        if table.highest_claim() > claim.epoch {
            self.retreat(
                turn.now,
                turn.setup.timing.heartbeat,
                "another node claimed higher".into(),
            );
        } else {
            self.die(why);
        }
    }

    fn write_copy(
        &mut self,
        claim: Claim,
        source: u32,
        opened: Opened<Sealed>,
        turn: &mut Turn<'_>,
    ) -> Result<(), String> {
        let Some(medium) = &self.medium else { return Ok(()) };
        let saved = opened.contents.snapshot.as_ref().map(|s| s.bytes.clone());
        let records: Vec<_> = opened.contents.records.iter().map(|(_, r)| r.clone()).collect();
        let store = record::restore(saved.as_deref(), &records).map_err(|e| e.to_string())?;
        let mut setup = Setup { id: self.config.voter, answered: claim.answered, ..turn.setup };
        if self.config.planted.has(Fault::HostChangeClaimsAge) {
            setup.answered = Time(0);
        }
        let replica = Replica::new(store, setup).map_err(|e| e.to_string())?;
        let (journal, writes) = if source == claim.slot {
            let resumed = opened.resume_as(claim.epoch).map_err(|e| e.to_string())?;
            (resumed.journal, resumed.writes)
        } else {
            let area = medium.geometry.area(claim.slot);
            let key = medium.keys.seal.clone();
            let seal = Sealed { key, disk: medium.disk, slot: claim.slot };
            let fresh = Fresh { area, seal: seal.into(), life: claim.epoch };
            Journal::create(fresh, &opened.contents).map_err(|e| e.to_string())?
        };
        let keeper = Keeper::new(Device::QuorumDisk, journal, writes, turn.io);
        let writing = Box::new(Writing { claim, keeper, replica });
        if self.config.planted.has(Fault::ActiveBeforeCopy) {
            self.activate(writing, turn.io);
        } else {
            self.state = State::WritingCopy(writing);
        }
        Ok(())
    }

    fn copied(&mut self, writing: Box<Writing>, io: &mut IoDesk) {
        if writing.keeper.is_ready() {
            self.activate(writing, io);
        } else {
            self.state = State::WritingCopy(writing);
        }
    }

    fn activate(&mut self, mut writing: Box<Writing>, io: &mut IoDesk) {
        let Some(medium) = &self.medium else { return };
        let claim = &mut writing.claim;
        claim.header.active = claim.epoch;
        let place = medium.geometry.header_place(medium.disk, claim.slot);
        let header = claim.header.encode(&place, &medium.keys.seal);
        let ticket = io.write(Device::QuorumDisk, place.offset, header);
        self.state = State::Activating(writing, ticket);
    }

    fn activated(&mut self, now: Time, writing: Writing) {
        let Writing { claim, keeper, replica } = writing;
        let Some(medium) = self.medium.clone() else { return };
        self.adoptions += 1;
        self.turn = 1 - claim.slot % 2;
        self.misses = 0;
        self.lonely_since = None;
        let took = now.since(self.claim_began);
        let text = format!("hosts the quorum disk, epoch {}, after {took}", claim.epoch);
        self.news.push(("disk-hosted", text));
        let place = (DiskEpoch(claim.epoch), claim.slot);
        let live = Live::new(place, (replica, keeper), claim.header, medium, self.config.planted);
        self.state = State::Live(Box::new(live));
    }
}

/// Heartbeats between two looks at a disk that another node hosts: 5 s in `standard`.
const PATH_CHECK: u64 = 50;
/// The same while it cannot be read: 1 s in `standard`.
const PATH_CHECK_LOST: u64 = 10;

#[cfg(feature = "planted")]
fn journal_planted(planted: Planted) -> stead_journal::Planted {
    stead_journal::Planted {
        accept_torn_superblock: planted.has(Fault::TornSuperblockAccepted),
        skip_reread: planted.has(Fault::AdoptWithoutReread),
    }
}

#[cfg(not(feature = "planted"))]
fn journal_planted(_planted: Planted) -> stead_journal::Planted {
    stead_journal::Planted::default()
}
