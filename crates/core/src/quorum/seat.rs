//! Watching, claiming and adopting the quorum disk (R2, R4, R5).

mod adopt;
mod rekey;

use std::collections::BTreeMap;

use stead_journal::{
    ClusterKey, DATABASE_LIMIT_BYTES_MIN, DiskId, Header, Identity, Opening, Sealed,
};
use stead_model::keys::Print;
use stead_model::wire::peer::DiskHosting;
use stead_model::{Incarnation, NodeId, Span, Time, VoterId};

use super::live::{Dropped, Live, Released};
use super::table::{Medium, SeatKeys};
use crate::consensus::keeper::{IoDesk, Keeper};
use crate::consensus::replica::{Replica, Setup};
use crate::effect::{Device, Ticket};
use crate::event::IoResult;
use crate::membership::DiskHost;
use crate::planted::{Fault, Planted};
use rekey::Reseal;

/// This node's part in hosting the quorum disk.
pub(crate) struct Seat {
    config: SeatConfig,
    medium: Option<Medium>,
    state: State,
    /// The highest counter of the newest slot that was read or announced, and when first (R5).
    seen: Option<Seen>,
    misses: u32,
    /// A claim that is not active yet, and when it was seen first.
    claim_seen: (u64, Time),
    poll_at: Time,
    polled_at: Time,
    /// Why the table could not be read last, as it was said.
    path_lost: Option<String>,
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
    /// Why the identity block cannot be read, as it was said.
    unreadable: Option<String>,
    news: Vec<(&'static str, String)>,
    /// The set under which all of the disk was seen.
    sealed: Option<Print>,
    /// A header or the identity block that is being sealed anew, and those after it.
    reseal: Option<Reseal>,
    /// What is hosted or claimed here is under keys that others follow.
    rekeys: bool,
    /// The nodes of the cluster, bit by bit, and those that were evicted.
    members: u64,
    evicted: u64,
    may_seal: bool,
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
    pub(crate) keys: SeatKeys,
    pub(crate) incarnation: Incarnation,
    pub(crate) seed: u64,
    pub(crate) planted: Planted,
}

/// What a completion is taken with.
pub(crate) struct Turn<'a> {
    pub(crate) now: Time,
    /// How replicas of this node are set up.
    pub(crate) setup: Setup,
    pub(crate) io: &'a mut IoDesk,
}

/// What the seat must know of the rest of the node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings {
    pub(crate) timing: stead_model::profile::Timing,
    /// A sign of life is being sent now: a renewal that is due soon goes along.
    pub(crate) along: bool,
    /// Every other node was heard just now: D is waited for by nobody.
    pub(crate) all_heard: bool,
    /// Another node announces that it hosts D.
    pub(crate) host: Option<DiskHost>,
    /// The node hears an elected leader, or is one.
    pub(crate) hears_leader: bool,
    /// Another node leads, is heard, and D is not needed for a majority.
    pub(crate) leader_elsewhere: bool,
    /// D is a voter, and this node a member, in the configuration that it has applied.
    pub(crate) may_host: bool,
    /// Quorum is being forced on this node: D is claimed and held, whoever leads (R13).
    pub(crate) forces: bool,
    /// The nodes of the cluster: bit n is set for node n + 1.
    pub(crate) members: u64,
    /// Those that were evicted.
    pub(crate) evicted: u64,
    /// This node has quorum, and keys were rotated: it may seal the headers of evicted nodes anew.
    pub(crate) may_seal: bool,
    /// This node leaves the cluster in order, and another can host D; or it is no member any more.
    pub(crate) leaves: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    slot: u32,
    active: u64,
    counter: u64,
    first: Time,
}

/// Renewals that a host misses before another node claims D.
const MISSES: u32 = 3;

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

impl State {
    /// Whether D is being claimed: from the first read until the claim is active or given up.
    const fn is_claiming(&self) -> bool {
        match self {
            Self::Reading(..)
            | Self::WritingClaim(..)
            | Self::ReadingAgain(..)
            | Self::Copying(_)
            | Self::Doubting(..)
            | Self::WritingCopy(_)
            | Self::Activating(..) => true,
            Self::Blank(_) | Self::Watching(_) | Self::Live(_) | Self::Dead(_) => false,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    slot: u32,
    epoch: u64,
    header: Header,
    /// When D may have answered a leader last (R5).
    answered: Time,
    /// Newest slot of the first read and its epoch: only a planted fault goes by it.
    newest_first: (u32, u64),
}

struct Copying {
    claim: Claim,
    source: u32,
    active: u64,
    opening: Opening<Sealed>,
    /// The key that was not tried yet.
    untried: Option<ClusterKey>,
    /// Whether the key that is tried is the other one.
    is_other: bool,
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
            polled_at: now,
            path_lost: None,
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
            unreadable: None,
            news: Vec::new(),
            sealed: None,
            reseal: None,
            rekeys: false,
            members: 0,
            evicted: 0,
            may_seal: false,
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
                let (voter, epoch) = (self.config.voter, live.epoch);
                DiskHosting::Hosts { voter, epoch, counter: live.counter() }
            }
            _ if self.free => DiskHosting::Free,
            _ => DiskHosting::No,
        }
    }

    /// For people.
    pub(crate) fn describe(&self) -> String {
        match &self.state {
            State::Blank(_) => match &self.unreadable {
                Some(why) => format!("unreadable: {why}"),
                None => "not read yet".into(),
            },
            State::Watching(_) => match &self.path_lost {
                Some(why) => format!("cannot be read: {why}"),
                None if self.free => "let go".into(),
                None => "watched".into(),
            },
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

    /// Largest database the disk can hold, bytes; while it was not read, what every disk can.
    pub(crate) fn database_limit_bytes(&self) -> u64 {
        let medium = self.medium.as_ref();
        medium.map_or(DATABASE_LIMIT_BYTES_MIN, |m| m.geometry.database_limit_bytes())
    }

    /// For how many nodes the disk was formatted, once it is read.
    pub(crate) fn nodes_max(&self) -> Option<u16> {
        let slots = self.medium.as_ref()?.geometry.slots();
        Some(u16::try_from(slots / 2).unwrap_or(u16::MAX))
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
        (self.members, self.evicted) = (around.members, around.evicted);
        self.may_seal = around.may_seal;
        self.take_new_keys(now, around);
        self.note_host(now, around);
        self.note_loneliness(now, around);
        self.note_hang(now, around);
        self.yield_to_leader(now, around);
        self.leave(now, around);
        match &mut self.state {
            State::Blank(ticket @ None) if now >= self.poll_at => {
                *ticket = Some(io.read(Device::QuorumDisk, Identity::OFFSET, Identity::BYTES));
            }
            State::Watching(None) if now >= self.poll_at => {
                self.poll_at = now + around.timing.heartbeat;
                self.polled_at = now;
                let ticket = self.read_table(io);
                if self.wants_claim(now, around) {
                    self.begin_claim(now, ticket);
                } else {
                    self.state = State::Watching(Some(ticket));
                }
            }
            State::Live(live) => {
                live.replica.tick(now);
                let released = live.begin(now, around, io);
                if let Some(table) = live.table.take() {
                    self.look_after(&table, io);
                }
                return released;
            }
            _ => {}
        }
        None
    }

    fn read_table(&self, io: &mut IoDesk) -> Ticket {
        let (offset, length) = self.medium.as_ref().map(Medium::look).unwrap_or_default();
        io.read(Device::QuorumDisk, offset, length)
    }

    /// A holder whose side hears no leader lets D go, so that it can walk to the side that can
    /// win with it (R4, H17).
    fn note_loneliness(&mut self, now: Time, around: &Surroundings) {
        if around.hears_leader || around.forces {
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

    /// A node that leaves lets D go, unless D leads and can hand that over first.
    fn leave(&mut self, now: Time, around: &Surroundings) {
        let State::Live(live) = &self.state else { return };
        let leads = live.replica.is_leader() && live.replica.voters().len() > 1;
        if around.leaves && !leads {
            self.drop_live(now, "this node leaves the cluster".into());
            self.free = true;
        }
    }

    /// An incarnation whose I/O hangs is given up; its writes stay in doubt until they end.
    fn note_hang(&mut self, now: Time, around: &Surroundings) {
        let heartbeat = around.timing.heartbeat;
        let hangs = |since: Time, beats: u64| now.since(since) > heartbeat * beats;
        let patience = Span(around.timing.lease_long.0 / 4);
        match &self.state {
            State::Live(live) if live.round_began().is_some_and(|at| now.since(at) > patience) => {
                self.drop_live(now, "the quorum disk does not answer".into());
            }
            claiming if claiming.is_claiming() && hangs(self.claim_began, 40) => {
                self.retreat(now, heartbeat, "the quorum disk does not answer".into());
            }
            State::Watching(Some(_)) if hangs(self.poll_at, 40) => {
                self.not_read(now, heartbeat, "it does not answer");
            }
            _ => {}
        }
    }

    fn wants_claim(&self, now: Time, around: &Surroundings) -> bool {
        let heartbeat = around.timing.heartbeat;
        let (claim, since) = self.claim_seen;
        let newest = self.seen.map_or(0, |s| s.active);
        let adopting = claim > newest && now.since(since) < heartbeat * 20;
        around.may_host
            && !around.leaves
            && around.host.is_none()
            && self.misses >= MISSES
            && (now >= self.may_claim_at || around.forces)
            && !adopting
            && self.usable_slot().is_some()
    }

    /// The slot for the next incarnation: never one in doubt, and the two take turns.
    fn usable_slot(&self) -> Option<u32> {
        let base = 2 * (u32::from(self.config.node.0) - 1);
        if self.config.planted.has(Fault::SlotReusedTooEarly) {
            return Some(base);
        }
        let late = |turn: u32| {
            let resealed = self.reseal.as_ref().is_some_and(|reseal| reseal.holds(base + turn));
            resealed || self.late.values().any(|slot| *slot == base + turn)
        };
        let free = |turn: &u32| !late(*turn);
        [self.turn, 1 - self.turn].into_iter().find(free).map(|turn| base + turn)
    }

    fn begin_claim(&mut self, now: Time, ticket: Ticket) {
        let Some(slot) = self.usable_slot() else { return };
        self.claims += 1;
        self.claim_began = now;
        self.free = false;
        self.yielded = false;
        let claim = Claim {
            slot,
            epoch: 0,
            header: Header::default(),
            answered: now,
            newest_first: (0, 0),
        };
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
        own || self.late.contains_key(&ticket) || self.is_resealed_by(ticket)
    }

    /// Takes a completion; what D may let go comes back.
    pub(crate) fn done(
        &mut self,
        ticket: Ticket,
        result: &IoResult,
        turn: &mut Turn<'_>,
    ) -> Option<Released> {
        let (now, heartbeat) = (turn.now, turn.setup.timing.heartbeat);
        if self.late.remove(&ticket).is_some() {
            return None;
        }
        if self.is_resealed_by(ticket) {
            self.resealed(result, turn.io);
            return None;
        }
        if let State::Live(live) = &mut self.state {
            return match live.done(ticket, result, turn.io) {
                Ok(released) => released,
                Err(Dropped(why)) => {
                    self.drop_live(now, why);
                    self.late.remove(&ticket);
                    None
                }
            };
        }
        if let IoResult::Failed(why) = result {
            if matches!(self.state, State::Watching(_)) {
                self.not_read(now, heartbeat, why);
            } else {
                self.retreat(now, heartbeat, why.clone());
                self.late.remove(&ticket);
            }
            return None;
        }
        self.step(ticket, result, turn);
        None
    }

    /// The way to the disk is lost while another node hosts D, or nobody: said once.
    fn not_read(&mut self, now: Time, heartbeat: Span, why: &str) {
        if self.path_lost.is_none() {
            let text = format!("this node cannot read the quorum disk: {why}");
            self.news.push(("disk-path-lost", text));
        }
        self.path_lost = Some(why.to_owned());
        self.misses = 0;
        self.poll_at = now + heartbeat;
        self.state = State::Watching(None);
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

    /// D belongs to another history than this node.
    pub(crate) fn part(&mut self, now: Time, why: String) {
        if matches!(self.state, State::Live(_)) {
            self.drop_live(now, why);
        }
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
