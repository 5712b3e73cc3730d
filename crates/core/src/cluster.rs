//! Cluster: owns the machines of one node and routes between them. Routing only, no rules.
//!
//! Every call takes one event, then lets the machines work until none has anything left to do
//! (`pump`). What they want of the world comes out as effects; what they want of each other is
//! delivered here at once.

mod causes;
mod forcing;
mod history;
mod inbox;
mod interfaces;
mod joining;
mod keys;
mod leaving;
mod networks;
mod pump;
mod reporting;
mod startup;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use stead_model::config::NodeConfig;
use stead_model::keys::Keys;
use stead_model::order::{GuardOrder, GuardStatus};
use stead_model::profile::Timing;
use stead_model::program::Program;
use stead_model::record::{Level, OfEntry, Record};
use stead_model::request::{Answer, Envelope};
use stead_model::usage::Usage;
use stead_model::wire::peer::{LeaseQuestion, PeerMessage, RaftMessage, Report};
use stead_model::{
    CauseId, GroupId, Incarnation, LogIndex, NodeId, RequestId, ResourceId, Time, UtcMillis,
};

use causes::Causes;

use crate::consensus::keeper::{IoDesk, Keeper};
use crate::consensus::replica::Replica;
use crate::counters::Counters;
use crate::effect::{Channel, Effect};
use crate::event::Event;
use crate::leading::{Leading, Mail};
use crate::lease::asker::Asker;
use crate::membership::{Interfaces, Links};
use crate::planted::Planted;
use crate::quorum::Seat;
use crate::resources::{Holdings, Output};

/// What a core starts with.
#[derive(Clone, Debug)]
pub struct Start {
    /// The node-local configuration.
    pub config: NodeConfig,
    /// Random number of this life of the node service.
    pub service: Incarnation,
    /// What the guard says at the start.
    pub guard: GuardStatus,
    /// What this machine has: processors and memory.
    pub machine: Usage,
    /// What this program is, and what it can speak.
    pub program: Program,
    /// The keys of the cluster.
    pub keys: Keys,
    /// Seed of everything drawn.
    pub seed: u64,
    /// Planted faults; none in the product.
    pub planted: Planted,
}

/// One node of a cluster, without the world around it.
pub struct Cluster {
    config: NodeConfig,
    /// Names of the nodes and of the cluster.
    host_names: Vec<String>,
    node: NodeId,
    timing: Timing,
    machine: Usage,
    program: Program,
    /// This node's interfaces on the networks of the cluster, as they were told last.
    interfaces: Interfaces,
    guard: Incarnation,
    seed: u64,
    planted: Planted,
    utc: (UtcMillis, Time),
    io: IoDesk,
    out: Vec<Effect>,
    links: Links,
    own: Own,
    seat: Option<Seat>,
    /// For how many nodes the quorum disk was formatted, once it is read.
    disk_nodes_max: Option<u16>,
    /// Largest database that every log of the cluster holds.
    database_limit_bytes: u64,
    asker: Asker,
    /// What the guard said at the start.
    found: GuardStatus,
    /// Words of guard and monitor that came while the log was being read.
    deferred: Vec<Event>,
    /// What the owner's side wants done.
    wanted: Vec<Output>,
    reporting: Reporting,
    requests: BTreeMap<RequestId, Asked>,
    /// Raft messages for a replica on this node.
    inbox: VecDeque<RaftMessage>,
    /// Messages of this node to itself.
    self_mail: VecDeque<PeerMessage>,
    /// The last lease question of each node that came while nobody led here, and when.
    early_questions: BTreeMap<NodeId, (Time, LeaseQuestion)>,
    heartbeat_at: Time,
    /// Heartbeats of the engine are sent, by time or with a read: the node's own go along.
    beats: bool,
    pumped_at: Time,
    records: u64,
    causes: Causes,
    counters: Counters,
    had_lease: bool,
    lost_since: Option<UtcMillis>,
    online_seen: BTreeSet<(GroupId, stead_model::Epoch)>,
    sights: u64,
    leader_seen: Option<stead_model::VoterId>,
    /// The last change of members that is known here.
    met: LogIndex,
    /// The last change of networks that this node obeys.
    obeyed: LogIndex,
    stay: leaving::Stay,
    /// Quorum is being forced here.
    forcing: Option<forcing::Forcing>,
    /// What is known of the histories of others.
    histories: history::Histories,
    keys: keys::Ring,
    halted: bool,
}

/// The node's own replica.
enum Own {
    /// Its log is being read.
    Loading(Box<startup::Loading>),
    /// It runs.
    Running(Box<OwnReplica>),
    /// It cannot: the service ends.
    Failed,
}

/// The node's own voter or learner.
struct OwnReplica {
    replica: Replica,
    keeper: Keeper,
    leading: Option<Leading>,
    holdings: Holdings,
    /// Its log is being replaced: nothing else happens with it.
    remaking: Option<history::Remaking>,
}

/// What this node tells others of its groups.
#[derive(Debug, Default)]
struct Reporting {
    number: u64,
    seen: u64,
    /// What the next report is to be, if one is to be sent.
    next: reporting::Next,
    send_at: Time,
    /// When the present burst of reports is over, and how many it had.
    burst: (Time, u32),
    /// The last report of every node, this one included: for the view, and for a leader here.
    latest: BTreeMap<NodeId, Report>,
    /// How often one said something new.
    news: u64,
}

/// A request of a client of this node on its way.
#[derive(Debug)]
struct Asked {
    envelope: Envelope,
    since: Time,
    retry_at: Time,
}

impl Cluster {
    /// Begins: the node's log is read first, everything else follows from events.
    #[must_use]
    pub fn start(start: Start, now: Time) -> (Self, Vec<Effect>) {
        startup::start(start, now)
    }

    /// Takes one event. Never blocks and never panics: a panic inside is a bug that stops
    /// everything on this node through the guard and ends the service.
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Effect> {
        if self.halted {
            return Vec::new();
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            if self.take(now, event) {
                self.pump(now);
            }
        }));
        if let Err(panic) = outcome {
            self.halt_after(&panic);
        }
        self.effects()
    }

    fn effects(&mut self) -> Vec<Effect> {
        let out = std::mem::take(&mut self.out);
        let mut effects = bundle(history::within(self.history(), out));
        effects.append(&mut self.io.out);
        effects
    }

    fn halt_after(&mut self, panic: &Box<dyn std::any::Any + Send>) {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let why = format!("bug in the core: {}", text.unwrap_or("no message"));
        self.halted = true;
        self.out.push(Effect::Guard(GuardOrder::HardStop { why: why.clone() }));
        self.out.push(Effect::Halt { why });
    }

    /// When `handle(now, Event::Deadline)` wants to be called next, at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        if self.halted { None } else { self.deadline() }
    }

    /// Index of the last applied entry.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.running().map_or(LogIndex(0), |own| own.replica.applied())
    }

    /// Hash over everything applied: equal index, equal digest (I-AGREE).
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.running().map_or(0, |own| own.replica.db.digest())
    }

    /// The database as this node has applied it, once its log is read.
    #[must_use]
    pub fn db(&self) -> Option<&crate::db::Db> {
        self.running().map(|own| &own.replica.db)
    }

    /// The history of the log of this node (R13).
    #[must_use]
    pub fn history(&self) -> stead_model::forced::History {
        self.running().map(|own| own.replica.history()).unwrap_or_default()
    }

    /// The leader this node knows, and the term.
    #[must_use]
    pub fn leader(&self) -> Option<(stead_model::VoterId, stead_model::Term)> {
        let own = self.running()?;
        Some((own.replica.leader()?, own.replica.term()))
    }

    /// Replicas of this node that lead now, with their terms: for the checker of one leader per
    /// term.
    #[must_use]
    pub fn leading(&self) -> Vec<(stead_model::VoterId, stead_model::Term)> {
        let own = self.running().filter(|o| o.leading.is_some() && o.replica.is_leader());
        let own = own.map(|o| (stead_model::VoterId::from(self.node), o.replica.term()));
        let seat = self.seat.as_ref().and_then(Seat::live);
        let live = seat.filter(|l| l.leading.is_some() && l.replica.is_leader());
        let voter = self.seat.as_ref().map(Seat::voter).unwrap_or_default();
        own.into_iter().chain(live.map(|l| (voter, l.replica.term()))).collect()
    }

    /// Whether this node hosts the quorum disk now.
    #[must_use]
    pub fn hosts_disk(&self) -> bool {
        self.seat.as_ref().is_some_and(|s| s.live().is_some())
    }

    /// When the lease of this node ends, if it holds one.
    #[must_use]
    pub fn lease_end(&self, now: Time) -> Option<Time> {
        self.asker.lease(now).map(|lease| lease.until)
    }

    /// What this core went through.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut counters = self.counters;
        if let Some(seat) = &self.seat {
            (counters.claims, counters.adoptions, counters.disk_drops) = seat.counts();
        }
        counters
    }

    fn running(&self) -> Option<&OwnReplica> {
        if let Own::Running(own) = &self.own { Some(own) } else { None }
    }

    fn utc_now(&self, now: Time) -> UtcMillis {
        UtcMillis(self.utc.0.0 + now.since(self.utc.1).as_millis())
    }

    /// The wall clock at an earlier moment.
    fn utc_at(&self, now: Time, at: Time) -> UtcMillis {
        UtcMillis(self.utc_now(now).0.saturating_sub(now.since(at).as_millis()))
    }

    fn mail(&mut self, mail: Mail) {
        let Mail { to, channel, message } = mail;
        if to == self.node {
            self.self_mail.push_back(message);
        } else {
            self.out.push(Effect::Send { to, channel, message });
        }
    }

    fn record(&mut self, now: Time, level: Level, code: &str, text: String) {
        self.record_about(now, (level, code), text, (None, None));
    }

    fn record_about(
        &mut self,
        now: Time,
        (level, code): (Level, &str),
        text: String,
        (group, resource): (Option<GroupId>, Option<ResourceId>),
    ) {
        self.record_of(now, (level, code), text, (group, resource, None));
    }

    fn record_of(
        &mut self,
        now: Time,
        (level, code): (Level, &str),
        text: String,
        (group, resource, entry): (Option<GroupId>, Option<ResourceId>, Option<OfEntry>),
    ) {
        self.records += 1;
        let id = CauseId(self.records);
        let cause = self.causes.chain((code, self.node), group.as_ref(), id);
        let record = Record {
            number: self.records,
            at: self.utc_now(now),
            boot_ns: now.0,
            node: self.node,
            level,
            code: code.to_owned(),
            group,
            resource,
            text,
            id,
            cause,
            entry,
        };
        self.out.push(Effect::Record(record));
    }

    fn reply(&mut self, id: RequestId, answer: Answer) {
        if self.requests.remove(&id).is_some() {
            self.out.push(Effect::Reply { id, answer });
        }
    }

    fn broadcast(&mut self, channel: Channel, message: &PeerMessage) {
        let peers: Vec<_> = self.links.nodes().collect();
        for to in peers {
            let message = message.clone();
            self.out.push(Effect::Send { to, channel, message });
        }
    }
}

/// Puts the datagrams to one node into one.
fn bundle(effects: Vec<Effect>) -> Vec<Effect> {
    let mut rest = Vec::with_capacity(effects.len());
    let mut bundles: BTreeMap<NodeId, Vec<PeerMessage>> = BTreeMap::new();
    for effect in effects {
        match effect {
            Effect::Send { to, channel: Channel::Datagram, message } => {
                bundles.entry(to).or_default().push(message);
            }
            other => rest.push(other),
        }
    }
    for (to, mut messages) in bundles {
        while !messages.is_empty() {
            let later = messages.split_off(messages.len().min(BUNDLE_MAX));
            let message = match <[PeerMessage; 1]>::try_from(messages) {
                Ok([single]) => single,
                Err(messages) => PeerMessage::Bundle(messages),
            };
            rest.push(Effect::Send { to, channel: Channel::Datagram, message });
            messages = later;
        }
    }
    rest
}

/// Messages of one datagram: all of them are small, together they fit any network.
const BUNDLE_MAX: usize = 8;

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("node", &self.node)
            .field("applied", &self.applied())
            .finish()
    }
}
