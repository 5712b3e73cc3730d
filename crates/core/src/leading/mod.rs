//! Leading: what a replica does while it leads, a node's own or D's.
//!
//! It grants leases, takes reports and requests, watches who is silent, and plans. It decides
//! nothing that it does not propose; what it proposes counts when it is applied.

mod advice;
mod fitting;
mod joining;
mod keys;
pub(crate) mod leaving;
mod level;
mod networks;
mod probing;
mod requests;
mod takeover;

pub use fitting::PATIENCE as FIT_PATIENCE;

use std::collections::BTreeMap;

use stead_model::change::{Change, Entry};
use stead_model::config::NodeConfig;
use stead_model::profile::{LeaseLength, Timing};
use stead_model::request::{Answer, Envelope};
use stead_model::wire::peer::{GroupReport, LeaseQuestion, PeerMessage, Report};
use stead_model::{GroupId, LogIndex, NodeId, RequestId, Time, UtcMillis};

use crate::consensus::batch::Elected;
use crate::consensus::replica::Replica;
use crate::counters::Counters;
use crate::db;
use crate::effect::Channel;
use crate::groups::{self, NodeLive, PlanInput};
use crate::lease::granter::{Granter, Lengths};
use crate::membership::Links;
use crate::planted::{Fault, Planted};

/// A leader's volatile state; it begins with an election and ends with the leadership.
#[derive(Debug)]
pub(crate) struct Leading {
    granter: Granter,
    /// Requests whose entry is proposed, with the nodes that wait for the answer.
    requests: BTreeMap<RequestId, fitting::Waiting>,
    /// Planned moves whose target looks first.
    probing: BTreeMap<RequestId, probing::Probing>,
    /// Requests whose resources the possible owners look at first.
    fitting: BTreeMap<RequestId, fitting::Fitting>,
    /// What there was to say of the last change that was asked for: not recorded twice in a row.
    said: Vec<String>,
    /// Last index proposed by the planner: the next plan waits until it is applied.
    planned: LogIndex,
    /// What there was to see when there last was nothing to do.
    idle: Option<Sight>,
    handed_over: bool,
    planted: Planted,
}

/// All that a plan depends on: while it stays the same, so does the plan.
#[derive(PartialEq, Eq, Debug)]
struct Sight {
    groups_changed: LogIndex,
    news: u64,
    nodes: BTreeMap<NodeId, takeover::Live>,
    /// Cluster time from which on it may be another one all the same.
    until: UtcMillis,
}

/// What the leader wants sent.
#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) to: NodeId,
    pub(crate) channel: Channel,
    pub(crate) message: PeerMessage,
}

/// What a leader sees around it.
pub(crate) struct Around<'a> {
    pub(crate) now: Time,
    pub(crate) utc: UtcMillis,
    pub(crate) timing: &'a Timing,
    /// The node on which this replica runs.
    pub(crate) host: NodeId,
    /// The configuration with all nodes that joined.
    pub(crate) config: &'a NodeConfig,
    /// All nodes.
    pub(crate) nodes: &'a [NodeId],
    /// Names of the nodes and of the cluster.
    pub(crate) host_names: &'a [String],
    /// For how many nodes the quorum disk was formatted, once it is read.
    pub(crate) disk_nodes_max: Option<u16>,
    /// Nodes heard now, the host included.
    pub(crate) heard: &'a [NodeId],
    /// Over which networks.
    pub(crate) links: &'a Links,
    /// The last report of each node: also of those that told it before there was this leader.
    pub(crate) reports: &'a BTreeMap<NodeId, Report>,
    /// How often a report said something new.
    pub(crate) news: u64,
    /// The node that hosts D, as far as it is heard.
    pub(crate) disk_host: Option<NodeId>,
    /// Largest database the quorum disk can hold.
    pub(crate) database_limit_bytes: u64,
    /// Set when heartbeats of the engine were sent: they are not due for an interval.
    pub(crate) beats: &'a mut bool,
    pub(crate) counters: &'a mut Counters,
    pub(crate) mail: &'a mut Vec<Mail>,
    pub(crate) notes: &'a mut Vec<Note>,
}

/// Something the leader did or saw that belongs into the event log.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) code: &'static str,
    pub(crate) text: String,
}

impl Note {
    /// A possible owner did not say whether what this entry makes could run there.
    fn unchecked(entry: &Entry, notice: &str) -> Self {
        let what = entry.changes.first().map(ToString::to_string).unwrap_or_default();
        Self { code: "owner-unchecked", text: format!("{what}: {notice}") }
    }
}

impl Leading {
    pub(crate) fn new(elected: Elected, planted: Planted) -> Self {
        Self {
            granter: Granter::new(elected, planted),
            requests: BTreeMap::new(),
            probing: BTreeMap::new(),
            fitting: BTreeMap::new(),
            said: Vec::new(),
            planned: LogIndex(0),
            idle: None,
            handed_over: false,
            planted,
        }
    }

    /// A lease question arrived; its barrier is the log as it stands now (R7).
    pub(crate) fn question(
        &mut self,
        replica: &Replica,
        question: LeaseQuestion,
        around: &Around<'_>,
    ) {
        if replica.db.evicted().contains(&question.node) {
            return;
        }
        let barrier = if self.planted.has(Fault::BarrierIsCommitIndex) {
            replica.commit_index()
        } else {
            // A node without a lease has missed changes: it gets all of them before it runs
            // anything. Later the narrow barrier is enough.
            match question.in_force {
                None => replica.tail_index(),
                Some(_) => barrier(replica, question.node),
            }
        };
        self.granter.question(around.now, question, barrier, around.timing);
    }

    /// Starts a round of lease answers if one is due.
    pub(crate) fn start_round(&mut self, replica: &mut Replica, around: &mut Around<'_>) {
        // Before an entry of the own term is committed the engine drops reads.
        if !replica.has_applied_own_term() {
            return;
        }
        if let Some(context) = self.granter.next_round(around.now, around.timing) {
            if self.planted.has(Fault::NoQuorumConfirmation) {
                self.confirmed(replica, context, around);
            } else {
                *around.beats |= replica.read(context);
            }
        }
    }

    /// A quorum confirmed a round.
    pub(crate) fn confirmed(&mut self, replica: &Replica, context: u64, around: &mut Around<'_>) {
        let timing = *around.timing;
        let wants = takeover::wants_longer(replica, around.heard);
        let lengths = |node| lengths(replica, node, wants);
        let answers = self.granter.confirmed(around.now, context, lengths, &timing);
        for (to, answer) in answers {
            let message = PeerMessage::LeaseAnswer(answer);
            around.mail.push(Mail { to, channel: Channel::Datagram, message });
        }
    }

    /// A node told what it runs; it need not repeat it.
    pub(crate) fn report(&mut self, replica: &Replica, report: &Report, around: &mut Around<'_>) {
        let stale = |g: &&GroupReport| replica.db.epoch_last(&g.group) != g.epoch;
        around.counters.stale_reports += report.groups.iter().filter(stale).count() as u64;
        let message = PeerMessage::ReportSeen { number: report.number };
        around.mail.push(Mail { to: report.node, channel: Channel::Stream, message });
    }

    /// When [`Leading::act`] has something to do by time alone.
    pub(crate) fn deadline(&self, replica: &Replica, timing: &Timing, now: Time) -> Option<Time> {
        let answers = replica.has_applied_own_term();
        let round = self.granter.deadline(timing).filter(|_| answers);
        let takeover = takeover::next(self, replica, timing, now);
        let probed = self.probing.values().map(|p| p.until).min();
        let fitted = self.fitting.values().map(|f| f.until).min();
        round.into_iter().chain(takeover).chain(probed).chain(fitted).min()
    }

    /// Everything a leader does of its own accord: plan, change lease lengths, hand over.
    pub(crate) fn act(&mut self, replica: &mut Replica, around: &mut Around<'_>) {
        self.start_round(replica, around);
        if !replica.has_vote() {
            if !replica.is_transferring() {
                takeover::resign(replica, around);
            }
            return;
        }
        if !replica.is_settled() || replica.is_transferring() || replica.applied() < self.planned {
            return;
        }
        self.move_on(replica, around);
        if !replica.is_settled() {
            return;
        }
        self.fit_on(replica, around);
        if !replica.is_settled() {
            return;
        }
        let groups::Plan { mut changes, why } = self.plan_if_new(replica, around);
        takeover::lease_lengths(&self.granter, replica, around, &mut changes);
        if !changes.is_empty() {
            let why = if why.is_empty() { "lease lengths".to_owned() } else { why };
            let at = cluster_time(replica, around.utc);
            let entry = Entry { at, request: None, why, changes };
            if let Ok(index) = replica.propose(&entry) {
                self.planned = index;
            }
            return;
        }
        if let Some(index) = leaving::votes(replica, around) {
            self.planned = index;
            return;
        }
        if let Some(index) = level::note_programs(replica, around) {
            self.planned = index;
            return;
        }
        if let Some(index) = keys::go_on(replica, around) {
            self.planned = index;
            return;
        }
        let live = takeover::live_nodes(self, replica, around);
        if let Some(index) = leaving::evict(replica, around, &live) {
            self.planned = index;
            return;
        }
        if !leaving::pass_on(replica, around) {
            takeover::hand_over(self, replica, around);
        }
    }

    /// What the planner looks at.
    fn input<'a>(&'a self, replica: &'a Replica, around: &Around<'a>) -> PlanInput<'a> {
        let live = takeover::live_nodes(self, replica, around);
        let nodes = live.into_iter().map(|(node, live)| {
            let report = around.reports.get(&node);
            (node, NodeLive { eligible: live.eligible, stopped: live.stopped, report })
        });
        let at = cluster_time(replica, around.utc);
        PlanInput {
            db: &replica.db,
            at,
            nodes: nodes.collect(),
            cluster: &around.config.cluster,
            entries: &around.config.nodes,
            host_names: around.host_names,
            networks: &around.config.networks,
            planted: self.planted,
        }
    }

    /// Planning looks at every group: that is done when there is something new to see.
    fn plan_if_new(&mut self, replica: &Replica, around: &mut Around<'_>) -> groups::Plan {
        let sight = Sight {
            groups_changed: replica.db.groups_changed(),
            news: around.news,
            nodes: takeover::live_nodes(self, replica, around),
            until: self.idle.as_ref().map_or(UtcMillis(0), |idle| idle.until),
        };
        if self.idle.as_ref() == Some(&sight) && cluster_time(replica, around.utc) < sight.until {
            return groups::Plan::default();
        }
        let plan = self.plan(replica, around);
        let until = || groups::next_look(&self.input(replica, around));
        self.idle = plan.is_empty().then(|| Sight { until: until(), ..sight });
        plan
    }

    fn plan(&self, replica: &Replica, around: &mut Around<'_>) -> groups::Plan {
        let input = self.input(replica, around);
        let plan = groups::plan(&input);
        let taken = plan.changes.iter().filter_map(|change| input.taken_from(change));
        around.counters.takeovers += taken.count() as u64;
        plan
    }

    /// Why a group is where it is, as this leader sees it.
    pub(crate) fn explain(
        &self,
        replica: &Replica,
        around: &Around<'_>,
        group: &GroupId,
    ) -> Option<groups::Explanation> {
        groups::explain(&self.input(replica, around), group)
    }

    /// A request reached the leader.
    pub(crate) fn request(
        &mut self,
        replica: &mut Replica,
        from: NodeId,
        envelope: &Envelope,
        around: &mut Around<'_>,
    ) {
        let id = envelope.id;
        let answer = match self.propose(replica, from, envelope, around) {
            requests::Taken::Waits => return,
            requests::Taken::Answered(answer) => Some(answer),
            requests::Taken::NotNow => None,
        };
        send_answer(around, from, id, answer);
    }

    /// An entry was applied: whoever asked for it is answered (I-ACK).
    pub(crate) fn applied(&mut self, entry: &Entry, replica: &Replica, around: &mut Around<'_>) {
        let Some(id) = entry.request else { return };
        let Some(fitting::Waiting { askers, notices }) = self.requests.remove(&id) else { return };
        let said = std::mem::replace(&mut self.said, notices.clone());
        let answer = match replica.db.answer(id) {
            Some(Answer::Done { index }) if !notices.is_empty() => {
                let new = notices.iter().filter(|notice| !said.contains(notice));
                around.notes.extend(new.map(|notice| Note::unchecked(entry, notice)));
                Some(Answer::Noted { index, notices })
            }
            answer => answer,
        };
        for to in askers {
            send_answer(around, to, id, answer.clone());
        }
    }
}

fn send_answer(around: &mut Around<'_>, to: NodeId, id: RequestId, answer: Option<Answer>) {
    let message = PeerMessage::ForwardAnswer { id, answer };
    around.mail.push(Mail { to, channel: Channel::Stream, message });
}

/// Cluster time: the leader's wall clock, never behind what is applied.
fn cluster_time(replica: &Replica, utc: UtcMillis) -> UtcMillis {
    utc.max(replica.db.at())
}

/// The index of the last entry, proposed or not, that takes a group from the node or changes its
/// lease length (R7).
fn barrier(replica: &Replica, node: NodeId) -> LogIndex {
    let mut proposed = db::Proposed::default();
    replica.unapplied().for_each(|(index, entry)| proposed.push(index, &entry));
    proposed.barrier(node, &replica.db)
}

/// Lease lengths of a node, as the log has them.
fn lengths(replica: &Replica, node: NodeId, wants_longer: bool) -> Lengths {
    let mut lengths = Lengths { answer: replica.db.lease_length(node), wait: LeaseLength::Short };
    lengths.wait = lengths.answer;
    for (_, entry) in replica.unapplied() {
        for change in &entry.changes {
            if let Change::LeaseLength { node: changed, length } = change
                && *changed == node
            {
                // What is being taken back is granted no more, what is to come not yet.
                lengths.answer = lengths.answer.min(*length);
                lengths.wait = lengths.wait.max(*length);
            }
        }
    }
    lengths.answer = lengths.answer.min(takeover::wanted_length(replica, node, wants_longer));
    lengths
}
