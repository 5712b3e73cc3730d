//! Watching, claiming and adopting the quorum disk (R2, R4, R5).

use std::collections::BTreeMap;

use stead_journal::{
    ClusterKey, DiskId, Fresh, Header, Identity, Journal, Medium as IdentityMedium, OpenError,
    Opened, Opening, Sealed, Step,
};
use stead_model::wire::peer::DiskHosting;
use stead_model::{DiskEpoch, Incarnation, NodeId, Span, Time, VoterId};

use super::live::{Dropped, Live, Released};
use super::table::{Medium, Table};
use crate::consensus::keeper::{IoDesk, Keeper};
use crate::consensus::record;
use crate::consensus::replica::{Replica, Setup};
use crate::effect::{Device, Ticket};
use crate::event::IoResult;
use crate::planted::{Fault, Planted};

/// This node's part in hosting the quorum disk.
pub(crate) struct Seat {
    config: SeatConfig,
    medium: Option<Medium>,
    state: State,
    /// The counter seen last in the newest slot, and when it was seen first (R5).
    seen: Option<Seen>,
    misses: u32,
    /// A claim that is not active yet, and when it was seen first.
    claim_seen: (u64, Time),
    poll_at: Time,
    may_claim_at: Time,
    lonely_since: Option<Time>,
    /// Since when the leader is another node although D is hosted here, and how often D was let
    /// go for that reason.
    elsewhere_since: Option<Time>,
    yields: u32,
    /// Let go for the leader, and nobody hosted it since.
    yielded: bool,
    free: bool,
    /// Which of the node's two slots is used next.
    turn: u32,
    /// Writes of dead incarnations that are still on their way: their slot is in doubt and not
    /// used until they have ended (R3, H16).
    late: BTreeMap<Ticket, u32>,
    draws: u64,
    claim_began: Time,
    news: Vec<(&'static str, String)>,
    claims: u64,
    adoptions: u64,
    drops: u64,
}

/// What the seat is set up with.
#[derive(Clone, Debug)]
pub(crate) struct SeatConfig {
    pub(crate) node: NodeId,
    pub(crate) voter: VoterId,
    pub(crate) disk: DiskId,
    pub(crate) key: ClusterKey,
    pub(crate) incarnation: Incarnation,
    pub(crate) seed: u64,
    pub(crate) planted: Planted,
}

/// What the seat must know of the rest of the node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings {
    pub(crate) timing: stead_model::profile::Timing,
    /// Another node announces that it hosts D.
    pub(crate) host_announced: bool,
    /// The node hears an elected leader, or is one.
    pub(crate) hears_leader: bool,
    /// Another node leads, is heard, and D is not needed for a majority.
    pub(crate) leader_elsewhere: bool,
    /// D is a voter in the configuration this node has applied.
    pub(crate) is_voter: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    slot: u32,
    active: u64,
    counter: u64,
    first: Time,
}

enum State {
    /// The identity block is not read yet.
    Blank(Option<Ticket>),
    /// Somebody else may host D; the table is polled at heartbeat rate.
    Watching(Option<Ticket>),
    /// First read of a claim.
    Reading(Claim, Ticket),
    /// The claim is being written.
    WritingClaim(Claim, Ticket),
    /// Second read.
    ReadingAgain(Claim, Ticket),
    /// The newest log is being read.
    Copying(Box<Copying>),
    /// The source could not be read: is it being replaced by a higher claim, or is D dead?
    Doubting(Claim, String, Ticket),
    /// The copy is being written.
    WritingCopy(Box<Writing>),
    /// `active` is being written.
    Activating(Box<Writing>, Ticket),
    Live(Box<Live>),
    /// A slot cannot be read: D is dead until the disk is replaced (R2).
    Dead(String),
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    slot: u32,
    epoch: u64,
    header: Header,
    /// When D may have answered a leader last (R5).
    answered: Time,
}

struct Copying {
    claim: Claim,
    source: u32,
    opening: Opening<Sealed>,
    ticket: Option<Ticket>,
}

struct Writing {
    claim: Claim,
    keeper: Keeper,
    replica: Replica,
}

impl Seat {
    pub(crate) fn new(config: SeatConfig, now: Time) -> Self {
        Self {
            config,
            medium: None,
            state: State::Blank(None),
            seen: None,
            misses: 0,
            claim_seen: (0, now),
            poll_at: now,
            may_claim_at: now,
            lonely_since: None,
            elsewhere_since: None,
            yields: 0,
            yielded: false,
            free: false,
            turn: 0,
            late: BTreeMap::new(),
            draws: 0,
            claim_began: now,
            news: Vec::new(),
            claims: 0,
            adoptions: 0,
            drops: 0,
        }
    }

    pub(crate) const fn voter(&self) -> VoterId {
        self.config.voter
    }

    pub(crate) fn live(&self) -> Option<&Live> {
        if let State::Live(live) = &self.state { Some(live) } else { None }
    }

    pub(crate) fn live_mut(&mut self) -> Option<&mut Live> {
        if let State::Live(live) = &mut self.state { Some(live) } else { None }
    }

    /// What heartbeats say of it.
    pub(crate) fn hosting(&self) -> DiskHosting {
        match &self.state {
            State::Live(live) if live.is_renewing() => {
                DiskHosting::Hosts { voter: self.config.voter, epoch: live.epoch }
            }
            _ if self.free => DiskHosting::Free,
            _ => DiskHosting::No,
        }
    }

    /// For people.
    pub(crate) fn describe(&self) -> String {
        match &self.state {
            State::Blank(_) => "not read yet".into(),
            State::Watching(_) if self.free => "let go: no leader was heard".into(),
            State::Watching(_) => "watched".into(),
            State::Reading(..) | State::WritingClaim(..) | State::ReadingAgain(..) => {
                "being claimed".into()
            }
            State::Copying(_)
            | State::Doubting(..)
            | State::WritingCopy(_)
            | State::Activating(..) => "being adopted".into(),
            State::Live(live) => format!("hosted here, epoch {}", live.epoch.0),
            State::Dead(why) => format!("dead: {why}"),
        }
    }

    /// Largest database the disk can hold, bytes; 0 while it is not known.
    pub(crate) fn database_limit_bytes(&self) -> u64 {
        self.medium.as_ref().map_or(0, |m| m.geometry.database_limit_bytes())
    }

    /// What happened since the last call: record codes and texts.
    pub(crate) fn take_news(&mut self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.news)
    }

    /// Claims begun, adoptions completed, incarnations dropped.
    pub(crate) const fn counts(&self) -> (u64, u64, u64) {
        (self.claims, self.adoptions, self.drops)
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::Blank(None) | State::Watching(None) => Some(self.poll_at),
            State::Live(live) => {
                let lonely = self.lonely_since.unwrap_or(Time(u64::MAX));
                Some(live.deadline().min(lonely + Span::from_secs(3600)))
            }
            State::Blank(Some(_))
            | State::Watching(Some(_))
            | State::Reading(..)
            | State::WritingClaim(..)
            | State::ReadingAgain(..)
            | State::Copying(_)
            | State::Doubting(..)
            | State::WritingCopy(_)
            | State::Activating(..)
            | State::Dead(_) => None,
        }
    }

    /// Does what time and surroundings ask for; what D may let go comes back.
    pub(crate) fn act(
        &mut self,
        now: Time,
        around: &Surroundings,
        io: &mut IoDesk,
    ) -> Option<Released> {
        self.note_loneliness(now, around);
        self.note_hang(now, around);
        self.yield_to_leader(now, around);
        match &mut self.state {
            State::Blank(ticket @ None) if now >= self.poll_at => {
                *ticket = Some(io.read(Device::QuorumDisk, Identity::OFFSET, Identity::BYTES));
            }
            State::Watching(None) if now >= self.poll_at => {
                self.poll_at = now + around.timing.heartbeat;
                let ticket = self.read_table(io);
                if self.wants_claim(now, around) {
                    self.begin_claim(now, ticket);
                } else {
                    self.state = State::Watching(Some(ticket));
                }
            }
            State::Live(live) => {
                live.replica.tick(now);
                return live.begin(now, around.timing.heartbeat, io);
            }
            _ => {}
        }
        None
    }

    fn read_table(&self, io: &mut IoDesk) -> Ticket {
        let (offset, length) =
            self.medium.as_ref().map(|m| m.geometry.header_table()).unwrap_or_default();
        io.read(Device::QuorumDisk, offset, length)
    }

    /// A holder whose side hears no leader lets D go, so that it can walk to the side that can
    /// win with it (R4, H17).
    fn note_loneliness(&mut self, now: Time, around: &Surroundings) {
        if around.hears_leader {
            self.lonely_since = None;
            return;
        }
        let since = *self.lonely_since.get_or_insert(now);
        let patience = around.timing.election * 2;
        let lonely = now.since(since) >= patience;
        if let State::Live(live) = &self.state
            && lonely
            && !live.replica.is_leader()
            && !self.config.planted.has(Fault::HolderNeverLetsGo)
        {
            let periods = 2 + self.draw(3);
            self.drop_live(now, "no leader was heard for two election timeouts".into());
            self.free = true;
            self.may_claim_at = now + patience * periods;
            self.lonely_since = Some(now);
        }
    }

    /// D goes to the node that leads: one failure domain, no extra way for its answers. Only
    /// where it is not needed at the moment, and ever more rarely if the leader does not take it.
    fn yield_to_leader(&mut self, now: Time, around: &Surroundings) {
        if self.yielded && !around.leader_elsewhere {
            // Whom it was let go for is gone itself.
            self.yielded = false;
            self.may_claim_at = now;
        }
        let State::Live(live) = &self.state else { return };
        if !around.leader_elsewhere || live.replica.is_leader() {
            self.elsewhere_since = None;
            return;
        }
        let since = *self.elsewhere_since.get_or_insert(now);
        let patience = around.timing.heartbeat * (20 << self.yields.min(8));
        if now.since(since) >= patience {
            self.yields += 1;
            self.elsewhere_since = None;
            self.drop_live(now, "the leader is on another node and may host it".into());
            self.may_claim_at = now + around.timing.heartbeat * 20;
            self.yielded = true;
        }
    }

    /// An incarnation whose I/O hangs is given up; its writes stay in doubt until they end.
    fn note_hang(&mut self, now: Time, around: &Surroundings) {
        let heartbeat = around.timing.heartbeat;
        let hangs = |since: Time, beats: u64| now.since(since) > heartbeat * beats;
        let patience = Span(around.timing.lease_long.0 / 4);
        match &self.state {
            State::Live(live)
                if live.round_began().is_some_and(|at| now.since(at) > patience) =>
            {
                self.drop_live(now, "the quorum disk does not answer".into());
            }
            State::Reading(..)
            | State::WritingClaim(..)
            | State::ReadingAgain(..)
            | State::Copying(_)
            | State::Doubting(..)
            | State::WritingCopy(_)
            | State::Activating(..)
                if hangs(self.claim_began, 40) =>
            {
                self.retreat(now, heartbeat, "the quorum disk does not answer".into());
            }
            State::Watching(Some(_)) if hangs(self.poll_at, 40) => {
                self.state = State::Watching(None);
            }
            _ => {}
        }
    }

    fn wants_claim(&self, now: Time, around: &Surroundings) -> bool {
        let heartbeat = around.timing.heartbeat;
        let (claim, since) = self.claim_seen;
        let newest = self.seen.map_or(0, |s| s.active);
        let adopting = claim > newest && now.since(since) < heartbeat * 20;
        around.is_voter
            && !around.host_announced
            && self.misses >= 3
            && now >= self.may_claim_at
            && !adopting
            && self.usable_slot().is_some()
    }

    /// The slot for the next incarnation: never one in doubt, and the two take turns.
    fn usable_slot(&self) -> Option<u32> {
        let base = 2 * (u32::from(self.config.node.0) - 1);
        if self.config.planted.has(Fault::SlotReusedTooEarly) {
            return Some(base);
        }
        let late = |turn: u32| self.late.values().any(|slot| *slot == base + turn);
        let free = |turn: &u32| !late(*turn);
        [self.turn, 1 - self.turn].into_iter().find(free).map(|turn| base + turn)
    }

    fn begin_claim(&mut self, now: Time, ticket: Ticket) {
        let Some(slot) = self.usable_slot() else { return };
        self.claims += 1;
        self.claim_began = now;
        self.free = false;
        self.yielded = false;
        let claim = Claim { slot, epoch: 0, header: Header::default(), answered: now };
        self.state = State::Reading(claim, ticket);
    }

    pub(crate) fn owns(&self, ticket: Ticket) -> bool {
        let own = match &self.state {
            State::Blank(t) | State::Watching(t) => *t == Some(ticket),
            State::Reading(_, t)
            | State::WritingClaim(_, t)
            | State::ReadingAgain(_, t)
            | State::Doubting(_, _, t) => *t == ticket,
            State::Copying(copying) => copying.ticket == Some(ticket),
            State::WritingCopy(writing) => writing.keeper.owns(ticket),
            State::Activating(writing, t) => *t == ticket || writing.keeper.owns(ticket),
            State::Live(live) => live.owns(ticket),
            State::Dead(_) => false,
        };
        own || self.late.contains_key(&ticket)
    }

    /// Takes a completion; what D may let go comes back.
    pub(crate) fn done(
        &mut self,
        now: Time,
        ticket: Ticket,
        result: &IoResult,
        setup: Setup,
        io: &mut IoDesk,
    ) -> Option<Released> {
        if self.late.remove(&ticket).is_some() {
            return None;
        }
        if let State::Live(live) = &mut self.state {
            return match live.done(ticket, result, io) {
                Ok(released) => released,
                Err(Dropped(why)) => {
                    self.drop_live(now, why);
                    self.late.remove(&ticket);
                    None
                }
            };
        }
        if let IoResult::Failed(why) = result {
            self.retreat(now, setup.timing.heartbeat, why.clone());
            self.late.remove(&ticket);
            return None;
        }
        self.step(now, ticket, result, setup, io);
        None
    }

    fn step(
        &mut self,
        now: Time,
        ticket: Ticket,
        result: &IoResult,
        setup: Setup,
        io: &mut IoDesk,
    ) {
        let bytes = if let IoResult::Read(bytes) = result { bytes.as_slice() } else { &[] };
        let state = std::mem::replace(&mut self.state, State::Watching(None));
        match state {
            State::Blank(_) => self.identified(now, bytes, setup),
            State::Watching(_) => {
                if let Some(table) = self.table(bytes) {
                    self.watched(now, &table, setup.timing.heartbeat);
                }
            }
            State::Reading(claim, _) => self.first_read(claim, bytes, io),
            State::WritingClaim(mut claim, _) => {
                claim.answered = now;
                self.state = State::ReadingAgain(claim, self.read_table(io));
            }
            State::ReadingAgain(claim, _) => self.second_read(now, claim, bytes, setup, io),
            State::Copying(mut copying) => {
                copying.opening.feed(bytes);
                self.copy(now, copying, setup, io);
            }
            State::Doubting(claim, why, _) => {
                self.judge(now, claim, why, bytes, setup.timing.heartbeat);
            }
            State::WritingCopy(mut writing) => match writing.keeper.done(ticket, result, io) {
                Ok(()) => self.copied(writing, io),
                Err(why) => self.retreat(now, setup.timing.heartbeat, why),
            },
            State::Activating(mut writing, active) if active != ticket => {
                let _ = writing.keeper.done(ticket, result, io);
                self.state = State::Activating(writing, active);
            }
            State::Activating(writing, _) => self.activated(now, *writing, setup),
            state @ (State::Live(_) | State::Dead(_)) => self.state = state,
        }
    }

    fn identified(&mut self, now: Time, bytes: &[u8], setup: Setup) {
        let identity = Identity::decode(bytes, Some(&self.config.key));
        match identity {
            Ok(Identity { disk, medium: IdentityMedium::Shared { geometry } })
                if disk == self.config.disk =>
            {
                let key = self.config.key.clone();
                let slots_needed = 2 * u32::from(self.config.node.0);
                if geometry.slots() < slots_needed {
                    let why = format!("it has no slot for {}", self.config.node);
                    self.die(why);
                    return;
                }
                self.medium = Some(Medium { disk, key, geometry });
                self.state = State::Watching(None);
                self.poll_at = now;
            }
            Ok(_) => self.die("it is not this cluster's quorum disk".into()),
            Err(error) => {
                self.news.push(("disk-unreadable", error.to_string()));
                self.state = State::Blank(None);
                self.poll_at = now + setup.timing.election * 4;
            }
        }
    }

    fn table(&mut self, bytes: &[u8]) -> Option<Table> {
        let skip = self.config.planted.has(Fault::FallBackToOlderSlot);
        let table = Table::decode(bytes, self.medium.as_ref()?, skip);
        match table {
            Ok(table) => Some(table),
            Err(why) => {
                self.die(why);
                None
            }
        }
    }

    fn die(&mut self, why: String) {
        self.news.push(("disk-dead", format!("the quorum disk is dead: {why}")));
        self.state = State::Dead(why);
    }

    fn watched(&mut self, now: Time, table: &Table, heartbeat: Span) {
        let (slot, header) = table.newest();
        let Header { active, counter, .. } = header;
        let same = |s: &Seen| (s.slot, s.active, s.counter) == (slot, active, counter);
        if self.seen.as_ref().is_some_and(same) {
            self.misses += 1;
            if self.misses == 3 {
                let back_off = Span(heartbeat.0 * self.draw(64) / 64);
                self.may_claim_at = self.may_claim_at.max(now + back_off);
                self.poll_at = self.poll_at.min(now + back_off);
            }
        } else {
            // Whoever let D go so that another may take it has waited enough: another has.
            if self.seen.is_some() {
                self.may_claim_at = now;
                self.yielded = false;
            }
            self.seen = Some(Seen { slot, active, counter, first: now });
            self.misses = 0;
        }
        let claim = table.highest_claim();
        if claim != self.claim_seen.0 {
            self.claim_seen = (claim, now);
        }
        self.state = State::Watching(None);
    }

    fn first_read(&mut self, mut claim: Claim, bytes: &[u8], io: &mut IoDesk) {
        let Some(table) = self.table(bytes) else { return };
        let Some(medium) = &self.medium else { return };
        let own = table.header(claim.slot);
        claim.epoch = table.next_epoch(claim.slot);
        claim.header = Header {
            claim: claim.epoch,
            active: own.active,
            counter: own.counter,
            incarnation: self.config.incarnation.0,
        };
        if self.config.planted.has(Fault::ClaimForgetsActive) {
            claim.header.active = 0;
        }
        let place = medium.geometry.header_place(medium.disk, claim.slot);
        let header = claim.header.encode(&place, &medium.key);
        let ticket = io.write(Device::QuorumDisk, place.offset, header);
        self.news.push(("disk-claimed", format!("claims the quorum disk, epoch {}", claim.epoch)));
        self.state = State::WritingClaim(claim, ticket);
    }

    fn second_read(
        &mut self,
        now: Time,
        mut claim: Claim,
        bytes: &[u8],
        setup: Setup,
        io: &mut IoDesk,
    ) {
        let Some(table) = self.table(bytes) else { return };
        let lost = table.highest_claim() > claim.epoch || table.header(claim.slot) != claim.header;
        if lost && !self.config.planted.has(Fault::NoSecondRead) {
            self.retreat(now, setup.timing.heartbeat, "another node claimed higher".into());
            self.watched(now, &table, setup.timing.heartbeat);
            return;
        }
        let (source, header) = table.newest();
        if let Some(seen) = self.seen
            && (seen.slot, seen.active, seen.counter) == (source, header.active, header.counter)
        {
            claim.answered = seen.first;
        }
        let Some(medium) = &self.medium else { return };
        let seal = Sealed { key: medium.key.clone(), disk: medium.disk, slot: source };
        let opening = Opening::live(medium.geometry.area(source), seal, header.active);
        let opening = opening.with_planted(journal_planted(self.config.planted));
        let copying = Copying { claim, source, opening, ticket: None };
        self.copy(now, Box::new(copying), setup, io);
    }

    fn copy(&mut self, now: Time, mut copying: Box<Copying>, setup: Setup, io: &mut IoDesk) {
        match copying.opening.step() {
            Step::Read { offset, len } => {
                copying.ticket = Some(io.read(Device::QuorumDisk, offset, len));
                self.state = State::Copying(copying);
            }
            Step::Done(opened) => {
                let Copying { claim, source, .. } = *copying;
                if let Err(why) = self.write_copy(claim, source, *opened, setup, io) {
                    self.doubt_source(claim, why, io);
                }
            }
            Step::Failed(OpenError::KeepsChanging { .. }) => {
                let why = "its log is still being written".to_owned();
                self.retreat(now, setup.timing.heartbeat, why);
            }
            Step::Failed(error) => self.doubt_source(copying.claim, error.to_string(), io),
        }
    }

    /// The source cannot be read. If it is being replaced by a newer incarnation the next look
    /// at the table shows a higher claim; otherwise D is dead (R2).
    fn doubt_source(&mut self, claim: Claim, why: String, io: &mut IoDesk) {
        self.state = State::Doubting(claim, why, self.read_table(io));
    }

    fn judge(&mut self, now: Time, claim: Claim, why: String, bytes: &[u8], heartbeat: Span) {
        let Some(table) = self.table(bytes) else { return };
        if table.highest_claim() > claim.epoch {
            self.retreat(now, heartbeat, "another node claimed higher".into());
        } else {
            self.die(why);
        }
    }

    fn write_copy(
        &mut self,
        claim: Claim,
        source: u32,
        opened: Opened<Sealed>,
        setup: Setup,
        io: &mut IoDesk,
    ) -> Result<(), String> {
        let Some(medium) = &self.medium else { return Ok(()) };
        let saved = opened.contents.snapshot.as_ref().map(|s| s.bytes.clone());
        let records: Vec<_> = opened.contents.records.iter().map(|(_, r)| r.clone()).collect();
        let store = record::restore(saved.as_deref(), &records).map_err(|e| e.to_string())?;
        let mut setup = Setup { id: self.config.voter, answered: claim.answered, ..setup };
        if self.config.planted.has(Fault::HostChangeClaimsAge) {
            setup.answered = Time(0);
        }
        let replica = Replica::new(store, setup).map_err(|e| e.to_string())?;
        let (journal, writes) = if source == claim.slot {
            let resumed = opened.resume_as(claim.epoch).map_err(|e| e.to_string())?;
            (resumed.journal, resumed.writes)
        } else {
            let area = medium.geometry.area(claim.slot);
            let seal = Sealed { key: medium.key.clone(), disk: medium.disk, slot: claim.slot };
            let fresh = Fresh { area, seal: seal.into(), life: claim.epoch };
            Journal::create(fresh, &opened.contents).map_err(|e| e.to_string())?
        };
        let keeper = Keeper::new(Device::QuorumDisk, journal, writes, io);
        let writing = Box::new(Writing { claim, keeper, replica });
        if self.config.planted.has(Fault::ActiveBeforeCopy) {
            self.activate(writing, io);
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
        let header = claim.header.encode(&place, &medium.key);
        let ticket = io.write(Device::QuorumDisk, place.offset, header);
        self.state = State::Activating(writing, ticket);
    }

    fn activated(&mut self, now: Time, writing: Writing, _setup: Setup) {
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

    /// Back to watching after a failed claim or adoption.
    fn retreat(&mut self, now: Time, heartbeat: Span, why: String) {
        self.news.push(("disk-claim-failed", format!("does not host the quorum disk: {why}")));
        self.abandon();
        let back_off = heartbeat * (2 + self.draw(4));
        self.may_claim_at = now + back_off;
        self.misses = 0;
        self.poll_at = now + heartbeat;
        let known = self.medium.is_some();
        self.state = if known { State::Watching(None) } else { State::Blank(None) };
    }

    fn drop_live(&mut self, now: Time, why: String) {
        self.drops += 1;
        self.news.push(("disk-dropped", format!("no longer hosts the quorum disk: {why}")));
        self.abandon();
        self.seen = None;
        self.misses = 0;
        self.poll_at = now;
        self.state = State::Watching(None);
    }

    /// Remembers the writes of this incarnation that are still on their way.
    fn abandon(&mut self) {
        let (slot, tickets) = match &self.state {
            State::Live(live) => (live.slot, live.writes_in_flight()),
            State::WritingClaim(claim, ticket) => (claim.slot, vec![*ticket]),
            State::WritingCopy(w) => (w.claim.slot, w.keeper.tickets().collect()),
            State::Activating(w, ticket) => {
                (w.claim.slot, w.keeper.tickets().chain([*ticket]).collect())
            }
            State::Blank(_)
            | State::Watching(_)
            | State::Reading(..)
            | State::ReadingAgain(..)
            | State::Copying(_)
            | State::Doubting(..)
            | State::Dead(_) => return,
        };
        self.turn = 1 - slot % 2;
        self.late.extend(tickets.into_iter().map(|t| (t, slot)));
    }

    /// The next random number below `below`, from the seed.
    fn draw(&mut self, below: u64) -> u64 {
        self.draws += 1;
        let mut x = self.config.seed ^ self.draws.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % below
    }
}

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
