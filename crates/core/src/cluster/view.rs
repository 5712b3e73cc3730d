//! The view of one node, and the records that follow from what it sees change.

use std::collections::BTreeMap;

use stead_model::alert::{Alert, Track};
use stead_model::amounts::Amounts;
use stead_model::change::{Change, Entry};
use stead_model::config::NodeEntry;
use stead_model::profile::LeaseLength;
use stead_model::program::Program;
use stead_model::record::{Level, OfEntry};
use stead_model::upkeep::Upkeep;
use stead_model::view::{AlertView, GroupView, LinkView, NodeState, NodeView, QuorumView, View};
use stead_model::wire::peer::PeerMessage;
use stead_model::{AlertId, GroupId, LogIndex, NodeId, ResourceId, Time, VoterId};

use super::reporting::Next;
use super::{Cluster, Own, OwnReplica};
use crate::db::Db;
use crate::effect::Channel;
use crate::groups::{self, Answering, NodeLive, PlanInput};
use crate::leading::Mail;
use crate::quorum::Seat;
use crate::resources::{Found, Judged, Note, Output};

impl Cluster {
    /// What this node knows of the cluster, for API and command line.
    #[must_use]
    pub fn view(&self, now: Time) -> View {
        View { groups: self.group_views(now), ..self.view_without_groups(now) }
    }

    /// The same without the groups, which are most of it and change least.
    #[must_use]
    pub fn view_without_groups(&self, now: Time) -> View {
        let needed = self.running().map(|o| groups::needed(&o.replica.db)).unwrap_or_default();
        let node_view = |n: &NodeEntry| NodeView {
            needed: needed.get(&n.id).cloned().unwrap_or_default(),
            ..self.node_view(now, n)
        };
        // One that is no member any more keeps its own entry, and shows it to nobody.
        let members = self.config.nodes.iter().filter(|n| !self.is_evicted(n.id));
        View {
            cluster: self.config.cluster.clone(),
            node: self.node,
            version: self.program.version.to_string(),
            level: self.running().map(|o| o.replica.db.level()).unwrap_or_default(),
            profile: self.config.profile,
            at: self.utc_now(now),
            quorum: self.quorum_view(now),
            nodes: members.map(node_view).collect(),
            networks: self.network_views(),
            groups: Vec::new(),
            applied: self.applied(),
            troubles: Vec::new(),
            alerts: self.running().map(|o| alert_views(&o.replica.db)).unwrap_or_default(),
            admins: self.running().map(|o| o.replica.db.admins()).unwrap_or_default(),
            upkeep: self.running().map(|o| o.replica.db.upkeep().list()).unwrap_or_default(),
            rotation: self.rotation_view(),
        }
    }

    /// Grows with what this node learns of groups beside the log: other reports, nodes that fall
    /// silent or answer again.
    #[must_use]
    pub const fn sights(&self) -> u64 {
        self.sights
    }

    fn quorum_view(&self, now: Time) -> QuorumView {
        let own = self.running();
        let disk = self.seat.as_ref();
        QuorumView {
            mode: Some(self.config.quorum.mode),
            has_quorum: self.asker.lease(now).is_some(),
            lost_since: self.lost_since,
            lacks: self.lacks(now),
            leader: own.and_then(|o| o.replica.leader()),
            term: own.map(|o| o.replica.term()).unwrap_or_default(),
            voters: own.map(|o| o.replica.voters()).unwrap_or_default(),
            disk_host: self.disk_host(now),
            disk_state: disk.map(|s| s.describe()),
            database_limit_bytes: disk.map_or(0, |s| s.database_limit_bytes()),
            forced: self.forced_view(),
            forcing: self.forcing_view(now),
        }
    }

    /// The node that hosts D, as far as it is heard.
    pub(super) fn disk_host(&self, now: Time) -> Option<NodeId> {
        if self.hosts_disk() {
            return Some(self.node);
        }
        let fresh = super::startup::silence_max(&self.timing);
        self.links.disk_host(now, fresh).map(|host| host.node)
    }

    /// What is missing for a majority, in one sentence; nothing while a majority answers.
    fn lacks(&self, now: Time) -> Option<String> {
        let replica = &self.running()?.replica;
        if replica.db.evicted().contains(&self.node) {
            return Some(format!("{} is no member of the cluster any more", self.node));
        }
        let voters = replica.voters();
        let missing: Vec<String> = voters.iter().filter_map(|v| self.misses(now, *v)).collect();
        let answering = voters.len() - missing.len();
        if answering > voters.len() / 2 {
            return None;
        }
        let (all, missing) = (voters.len(), missing.join(", "));
        Some(format!("{answering} of {all} votes answer, {missing}"))
    }

    /// What a voter is that does not answer.
    fn misses(&self, now: Time, voter: VoterId) -> Option<String> {
        if let Some(node) = voter.node() {
            let answers = node == self.node || self.links.is_heard(node);
            return (!answers).then(|| format!("{node} is silent"));
        }
        let fresh = super::startup::silence_max(&self.timing);
        let seat = self.seat.as_ref();
        let hosted = self.hosts_disk();
        if hosted || self.links.disk_host(now, fresh).is_some() {
            return None;
        }
        let state = seat.map_or_else(|| "unknown here".into(), Seat::describe);
        Some(format!("no node hosts the quorum disk ({state})"))
    }

    fn node_view(&self, now: Time, entry: &NodeEntry) -> NodeView {
        let id = entry.id;
        let own = self.running();
        let link = |l: &crate::membership::LinkState| {
            let network = self.config.networks.iter().find(|n| n.id == l.network)?;
            Some(LinkView {
                network: l.network,
                name: network.name.clone(),
                role: network.role,
                up: l.up,
                received: l.received,
                lost: l.lost,
                loss_permille: l.loss_permille,
                round_trip_us: l.round_trips.mean_us(),
                jitter_us: l.round_trips.jitter_us(),
                sent: 0,
                unsent: 0,
            })
        };
        NodeView {
            node: id,
            name: entry.name.clone(),
            addresses: entry.addresses.clone(),
            state: self.node_state(now, id),
            votes: own.is_some_and(|o| o.replica.is_voter(VoterId::from(id))),
            heard_at: self.links.heard_at(id).map(|at| self.utc_at(now, at)),
            lease_longer: own.is_some_and(|o| o.replica.db.lease_length(id) > LeaseLength::Short),
            absent: own.is_some_and(|o| o.replica.db.absent().contains_key(&id)),
            left: own.is_some_and(|o| o.replica.db.left().contains(&id)),
            links: self.links.states(id).iter().filter_map(link).collect(),
            room: own.and_then(|o| o.replica.db.rooms().get(&id).cloned()).unwrap_or_default(),
            needed: Amounts::default(),
            program: self.program_of(id),
        }
    }

    fn node_state(&self, now: Time, id: NodeId) -> NodeState {
        let has_lease = self.asker.lease(now).is_some();
        if id == self.node {
            let alone =
                self.config.nodes.len() > 1 && !self.links.nodes().any(|n| self.links.is_heard(n));
            return if alone && !has_lease { NodeState::Isolated } else { NodeState::Up };
        }
        if self.links.is_heard(id) {
            return NodeState::Up;
        }
        let db = self.running().map(|own| &own.replica.db);
        // One that left in order is off by its own will: nothing of it runs.
        let left = db.is_some_and(|db| db.left().contains(&id));
        let length = db.map(|db| db.lease_length(id)).unwrap_or_default();
        let wait = self.timing.wait(self.timing.length(length));
        let may_run = self.links.heard_at(id).is_some_and(|heard| now.since(heard) <= wait);
        let cut_off = self.links.is_suspected(id) && !left;
        if cut_off && (may_run || !has_lease) { NodeState::Isolated } else { NodeState::Down }
    }

    fn program_of(&self, node: NodeId) -> Option<Program> {
        let told = self.reporting.latest.get(&node).map(|report| report.program);
        let known = || self.running().and_then(|own| own.replica.db.programs().get(&node).copied());
        told.or_else(|| (node == self.node).then_some(self.program)).or_else(known)
    }

    /// The groups of the view. They change with what is applied, with [`Cluster::sights`], and
    /// slowly by time alone: failures leave their window.
    #[must_use]
    pub fn group_views(&self, now: Time) -> Vec<GroupView> {
        let at = self.utc_now(now);
        let Some(own) = self.running() else { return Vec::new() };
        let mine = own.holdings.report(now);
        let mut nodes = BTreeMap::from([(self.node, Answering::Yes(&mine[..]))]);
        for (&node, report) in self.reporting.latest.iter().filter(|(n, _)| **n != self.node) {
            let groups = report.groups.as_slice();
            let answers = self.links.is_heard(node);
            nodes
                .insert(node, if answers { Answering::Yes(groups) } else { Answering::No(groups) });
        }
        let db = &own.replica.db;
        let mut views = groups::group_views(db, &nodes, at, self.config.nodes.len());
        groups::say_what_they_wait_for(&mut views, &self.seen(now, db));
        views
    }

    /// Why a group is where it is and why not elsewhere: as the leader decides where it runs here,
    /// else as this node sees it. `None`: there is no such group, or the log is being read.
    pub fn explain(&mut self, now: Time, group: &GroupId) -> Option<groups::Explanation> {
        let mut explanation = None;
        self.with_leader(now, |leading, replica, around| {
            explanation = leading.explain(replica, around, group);
        });
        explanation.or_else(|| self.see(now, group))
    }

    fn see(&self, now: Time, group: &GroupId) -> Option<groups::Explanation> {
        let db = &self.running()?.replica.db;
        groups::see(&self.seen(now, db), group)
    }

    /// The database with what this node sees of all nodes.
    fn seen<'a>(&'a self, now: Time, db: &'a Db) -> PlanInput<'a> {
        let nodes = self.config.nodes.iter().map(|entry| {
            let own = entry.id == self.node && self.asker.lease(now).is_some();
            let left = db.left().contains(&entry.id);
            let eligible = (own || self.links.is_heard(entry.id)) && !left;
            let stopped = !eligible && entry.id != self.node;
            let report = self.reporting.latest.get(&entry.id);
            (entry.id, NodeLive { eligible, stopped, report })
        });
        let (at, nodes) = (self.utc_now(now).max(db.at()), nodes.collect());
        PlanInput {
            db,
            at,
            nodes,
            cluster: &self.config.cluster,
            entries: &self.config.nodes,
            host_names: &self.host_names,
            networks: &self.config.networks,
            planted: self.planted,
        }
    }

    /// The owner's side: what the database and the lease mean for what runs here.
    pub(super) fn pump_holdings(&mut self, now: Time) -> bool {
        let applied = self.applied();
        if let Some(order) = self.asker.settle(now, applied) {
            self.counters.leases += 1;
            self.out.push(crate::effect::Effect::Guard(order));
        }
        let lease = self.asker.lease(now).map(|l| l.number);
        let Own::Running(own) = &mut self.own else { return false };
        let OwnReplica { replica, holdings, .. } = &mut **own;
        let mut outputs = std::mem::take(&mut self.wanted);
        outputs.extend(holdings.sync(now, &replica.db, lease));
        let worked = !outputs.is_empty();
        for output in outputs {
            self.holding_output(now, output);
        }
        self.send_report(now) | worked
    }

    fn holding_output(&mut self, now: Time, output: Output) {
        match output {
            Output::Order(order) => self.out.push(crate::effect::Effect::Resource(order)),
            Output::ReportChanged(urgency) => {
                self.sights += 1;
                self.reporting.next.raise(urgency);
            }
            Output::Record(note) => {
                let Note { level, code, group, resource, text } = note;
                self.record_about(now, (level, code), text, (Some(group), resource));
            }
            Output::Probed(Found { asked, taken }) => {
                let message = PeerMessage::ProbeAnswer { id: asked.request, taken };
                self.mail(Mail { to: asked.by, channel: Channel::Stream, message });
            }
            Output::Judged(Judged { asked, answer }) => {
                let message = PeerMessage::FitAnswer { id: asked.request, answer };
                self.mail(Mail { to: asked.by, channel: Channel::Stream, message });
            }
            Output::SelfFence(why) => {
                let order = stead_model::order::GuardOrder::HardStop { why: why.clone() };
                self.out.push(crate::effect::Effect::Guard(order));
                self.record(now, Level::Error, "self-fence", why);
            }
        }
    }

    /// An entry was applied: grants become records with their causes (I-WHY).
    pub(super) fn note_entry(&mut self, now: Time, (index, entry): (LogIndex, &Entry)) {
        let decided = !self.leading().is_empty();
        for (number, change) in (0..).zip(&entry.changes) {
            let code = match change {
                Change::Grant { .. } => "group-granted",
                Change::Release { .. } => "group-released",
                Change::Disown { .. } => "group-disowned",
                Change::FailGroup { .. } => "group-failed",
                Change::Retry { .. } => "group-retried",
                Change::ClearFailures { .. } => "failures-cleared",
                Change::LeaseLength { .. } => {
                    self.counters.lease_length_changes += 1;
                    "lease-length"
                }
                // The record of the take-over beside it says it.
                Change::CountLoss { .. } | Change::SetKey { .. } => continue,
                Change::Absence { .. } => "absence",
                Change::NodeLeaves { .. } => "node-leaves",
                Change::NodeGoes { .. } => "node-goes",
                Change::NodeEvicted { .. } => "node-evicted",
                Change::QuorumForced { .. } => "quorum-forced",
                Change::NodeReturns { .. } => "node-returns",
                Change::VoteLent { .. } => "vote-lent",
                Change::VoteReturned { .. } => "vote-returned",
                Change::NodeJoined { .. } => "node-joined",
                Change::TokenMade { .. } => "token-made",
                Change::TokenUsed { .. } => "token-used",
                Change::Upkeep { upkeep: Upkeep::Quarantine { .. } } => "quarantine",
                Change::Upkeep { .. } => "upkeep",
                Change::SetRoom { .. } => "node-room",
                Change::SetUsage { .. } => "group-usage",
                Change::NodeLost { .. } => "node-lost",
                Change::SetNetwork { .. } => "network-changed",
                Change::SetNode { .. } => "node-changed",
                Change::Rotate { .. } | Change::RotationAbandoned { .. } => "keys-rotation",
                Change::Level { .. } => "level-raised",
                Change::NodeProgram { .. } => "node-program",
                Change::SetAlert { .. } | Change::RemoveAlert { .. } => "alert-changed",
                Change::CreateGroup { .. }
                | Change::SetGroupPolicy { .. }
                | Change::DeleteGroup { .. }
                | Change::SetGroupDesired { .. }
                | Change::CreateResource { .. }
                | Change::DeleteResource { .. }
                | Change::SetResourceDesired { .. }
                | Change::SetResource { .. }
                | Change::SetDependencies { .. }
                | Change::CountFailover { .. } => "changed",
            };
            let level = match code {
                "group-failed" => Level::Error,
                "quarantine" | "quorum-forced" => Level::Warning,
                _ => Level::Info,
            };
            let text = format!("{change} ({})", entry.why);
            let of = Some(OfEntry { index, change: number, at: entry.at, decided });
            let (group, resource) = self.about(change);
            if let Change::Grant { node, .. }
            | Change::NodeLeaves { node }
            | Change::NodeReturns { node }
            | Change::NodeGoes { node }
            | Change::NodeLost { node }
            | Change::Upkeep { upkeep: Upkeep::Quarantine { node, .. } } = change
            {
                self.causes.about(*node);
            }
            self.record_of(now, (level, code), text, (group, resource, of));
        }
    }

    /// The group and resource that a change is about, as far as they are still there.
    fn about(&self, change: &Change) -> (Option<GroupId>, Option<ResourceId>) {
        let home = |id: &ResourceId| {
            let found = self.running().and_then(|own| own.replica.db.resource(id));
            found.map(|(group, _)| group.id.clone())
        };
        match change {
            Change::SetResourceDesired { resource, .. }
            | Change::SetResource { resource, .. }
            | Change::SetDependencies { resource, .. } => (home(resource), Some(resource.clone())),
            Change::DeleteResource { resource } => (None, Some(resource.clone())),
            Change::CreateResource { group, resource } => {
                (Some(group.clone()), Some(resource.id.clone()))
            }
            other => (other.group().cloned(), None),
        }
    }

    /// Records of what has changed since the last pump.
    pub(super) fn note_changes(&mut self, now: Time) {
        let has = self.asker.lease(now).is_some();
        if has != self.had_lease {
            self.had_lease = has;
            self.sights += 1;
            self.lost_since = if has { None } else { Some(self.utc_now(now)) };
            if has {
                self.record(now, Level::Info, "quorum", "this node has quorum".into());
            } else {
                let why = self.lacks(now);
                let why = why.as_deref().unwrap_or("no quorum confirmed the leader in time");
                self.record(now, Level::Error, "lease-lost", format!("the lease ended: {why}"));
            }
        }
        if self.lost_since.is_none() && !has {
            self.lost_since = Some(self.utc_now(now));
        }
        self.note_online(now);
    }

    /// A leader becomes known: it is asked for a lease and told what runs here, at once.
    pub(super) fn note_leader(&mut self, now: Time) -> bool {
        let known = self.leader_node(now).is_some();
        let leader = self.running().filter(|_| known).and_then(|o| o.replica.leader());
        if leader == self.leader_seen {
            return false;
        }
        self.leader_seen = leader;
        if leader.is_some() {
            self.asker.hurry(now);
            self.reporting.next = Next::Now;
            self.requests.values_mut().for_each(|asked| asked.retry_at = now);
            self.ask_lease(now);
            self.send_report(now);
        }
        leader.is_some()
    }
}

/// How they go the node service adds.
fn alert_views(db: &Db) -> Vec<AlertView> {
    let view = |(id, alert): (&AlertId, &Alert)| AlertView {
        alert: id.clone(),
        properties: alert.properties(),
        track: Track::default(),
    };
    db.alerts().iter().map(view).collect()
}
