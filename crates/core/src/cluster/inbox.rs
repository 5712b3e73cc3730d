//! What arrives, and which machine takes it.

use stead_model::order::GuardReport;
use stead_model::reason::{Code, Reason};
use stead_model::record::Level;
use stead_model::request::{Answer, Envelope, Request};
use stead_model::wire::peer::{Heartbeat, LeaseQuestion, PeerMessage, RaftMessage};
use stead_model::{NodeId, RequestId, Span, Time, VoterId};

use super::{Asked, Cluster, Own};
use crate::consensus::replica::Replica;
use crate::effect::Channel;
use crate::event::{Arrival, Event, IoResult};
use crate::leading::{Leading, Mail};
use crate::membership::Heard;
use crate::quorum::Turn;
use crate::resources::{Holdings, Output};

impl Cluster {
    /// Takes one event; `false` if it leaves nothing to do for any machine.
    pub(super) fn take(&mut self, now: Time, event: Event) -> bool {
        match event {
            Event::Deadline => {}
            Event::WallClock(utc) => self.utc = (utc, now),
            Event::Received { from, arrival, message } => {
                let mut heard = Vec::new();
                let new = self.links.arrived(now, from, arrival, &mut heard);
                if let (Arrival::Datagram { network, .. }, Some(heartbeat)) =
                    (arrival, heartbeat(&message))
                {
                    self.links.measure(now, (from, network), heartbeat);
                }
                // A copy over another network says no more than that its link works.
                let tells = new || !heard.is_empty();
                self.note_heard(now, heard);
                if new {
                    self.message(now, from, message);
                }
                return tells;
            }
            Event::Io { ticket, result } => self.io_done(now, ticket, &result),
            Event::Guard(_) | Event::Resource(_) if self.running().is_none() => {
                self.deferred.push(event);
            }
            Event::Guard(report) => self.guard(now, report),
            Event::Resource(report) => self.with_holdings(|h| h.reported(now, report)),
            Event::Request(envelope) => self.requested(now, envelope),
            Event::Interfaces(interfaces) => self.interfaces_are(now, interfaces),
            Event::Keys(report) => self.keys_are(now, report),
        }
        true
    }

    pub(super) fn note_heard(&mut self, now: Time, heard: Vec<Heard>) {
        for heard in heard {
            self.sights += 1;
            let (level, code, text) = match heard {
                Heard::LinkUp(node, net) => {
                    (Level::Info, "link-up", format!("{node} answers on {}", self.network(net)))
                }
                Heard::LinkDown(node, net, silence) => {
                    let net = self.network(net);
                    let text = format!("nothing from {node} on {net} for {silence}");
                    (Level::Warning, "link-down", text)
                }
                Heard::LinkLossy(node, net, permille) => {
                    let (net, percent) = (self.network(net), permille / 10);
                    let text =
                        format!("{percent} % of the last datagrams of {node} on {net} are missing");
                    (Level::Warning, "link-lossy", text)
                }
                Heard::LinkSound(node, net) => {
                    let text = format!("what {node} sends on {} arrives again", self.network(net));
                    (Level::Info, "link-sound", text)
                }
                Heard::Answers(node) => (Level::Info, "answers", format!("{node} answers again")),
                Heard::Suspected(node, silence) => {
                    self.causes.about(node);
                    (Level::Warning, "suspected", format!("{node} is silent since {silence}"))
                }
            };
            self.record(now, level, code, text);
            if let Heard::LinkDown(_, network, _) = heard {
                self.note_silence(now, network);
            }
        }
    }

    pub(super) fn network(&self, id: stead_model::NetworkId) -> String {
        let entry = self.config.networks.iter().find(|n| n.id == id);
        entry.map_or_else(|| id.to_string(), |n| n.name.clone())
    }

    fn io_done(&mut self, now: Time, ticket: crate::effect::Ticket, result: &IoResult) {
        let setup = self.setup(now);
        if let Some(seat) = &mut self.seat
            && seat.owns(ticket)
        {
            let was_live = seat.live().is_some();
            let mut turn = Turn { now, setup, io: &mut self.io };
            let released = seat.done(ticket, result, &mut turn);
            let is_live = seat.live().is_some();
            if let Some(released) = released {
                self.release_disk(now, released);
            }
            if is_live && !was_live {
                self.disk_came_alive(now);
            }
            return;
        }
        if !self.put_aside(now, ticket, result) {
            self.own_io(now, ticket, result);
        }
    }

    fn guard(&mut self, now: Time, report: GuardReport) {
        match report {
            GuardReport::LeaseSet { number, .. } => self.asker.set(number),
            GuardReport::HardStopBegan { lease, why } => {
                self.asker.stop_began(now);
                self.counters.hard_stops += 1;
                self.with_holdings(|h| h.hard_stop_began(now, lease));
                self.record(now, Level::Error, "hard-stop", format!("the guard stops all: {why}"));
            }
            GuardReport::HardStopDone { lease } => {
                self.asker.stop_done(now);
                self.with_holdings(|h| h.hard_stop_done(now, lease));
                self.record(now, Level::Warning, "hard-stop-done", "nothing runs here".into());
            }
            GuardReport::MonitorDied { why } => {
                self.with_holdings(|h| h.monitor_died(now));
                let text = format!("the resource monitor died: {why}");
                self.record(now, Level::Warning, "monitor-died", text);
            }
            GuardReport::MonitorReady => self.with_holdings(|h| h.monitor_ready(now)),
            GuardReport::Leave => self.told_to_leave(now),
            GuardReport::OwnMonitorDied { resource, why } => {
                self.with_holdings(|h| h.own_monitor_died(now, &resource));
                let text = format!("the monitor of resource `{resource}` died: {why}");
                self.record(now, Level::Warning, "monitor-died", text);
            }
            // Orders for it wait where they are carried out, and are answered there.
            GuardReport::OwnMonitorReady(_) | GuardReport::OwnMonitorRefused { .. } => {}
        }
    }

    /// Lets the owner's side take something; what it wants done waits for the pump.
    pub(super) fn with_holdings(&mut self, act: impl FnOnce(&mut Holdings) -> Vec<Output>) {
        if let Own::Running(own) = &mut self.own {
            let outputs = act(&mut own.holdings);
            self.wanted.extend(outputs);
        }
    }

    /// A message of another node, or of this one to itself.
    pub(super) fn message(&mut self, now: Time, from: NodeId, message: PeerMessage) {
        match message {
            PeerMessage::Bundle(messages) => {
                for message in messages {
                    if !matches!(message, PeerMessage::Bundle(_)) {
                        self.message(now, from, message);
                    }
                }
            }
            PeerMessage::Within { history, message } => {
                self.message_within(now, (from, history), *message);
            }
            message => self.message_within(now, (from, 0), message),
        }
    }

    /// A message of a node that has the same history, or one that counts in all.
    pub(super) fn count(&mut self, now: Time, from: NodeId, message: PeerMessage) {
        match message {
            PeerMessage::Heartbeat(heartbeat) => {
                self.histories.heard(from, &heartbeat);
                self.await_history(now, from);
                self.tell_history(now, from);
                self.links.announced(now, from, heartbeat.disk);
                self.tell_members(from, heartbeat.members);
            }
            PeerMessage::Members(nodes) => self.get_to_know(now, nodes),
            PeerMessage::Raft(raft) => self.raft(now, from, raft),
            PeerMessage::LeaseQuestion(question) => {
                if question.node != from {
                    return;
                }
                if !self.question(now, question) {
                    self.early_questions.insert(from, (now, question));
                } else if from != self.node {
                    // One round answers both: the own question goes along.
                    self.ask_along(now, Span(self.timing.renewal.0 / 2));
                }
            }
            PeerMessage::LeaseAnswer(answer) => self.asker.answer(now, answer),
            PeerMessage::Report(report) => {
                if report.node == from {
                    self.reported(now, &report);
                }
            }
            PeerMessage::ReportSeen { number } => {
                self.reporting.seen = self.reporting.seen.max(number);
            }
            PeerMessage::Forward(envelope) => self.forwarded(now, from, &envelope),
            PeerMessage::ForwardAnswer { id, answer } => self.answered(now, id, answer),
            PeerMessage::FailResource { group, resource, epoch } => {
                self.with_holdings(|h| h.fail(now, (&group, epoch), &resource));
            }
            PeerMessage::Probe { id, group } => {
                if let Own::Running(own) = &mut self.own {
                    let asked = crate::resources::Asked { by: from, request: id };
                    let group = own.replica.db.group(&group);
                    self.wanted.extend(own.holdings.probe(asked, group));
                }
            }
            PeerMessage::FitQuestion { id, wanted, mounts } => {
                let asked = crate::resources::Asked { by: from, request: id };
                self.with_holdings(|h| h.fit(asked, wanted, &mounts));
            }
            PeerMessage::FitAnswer { id, answer } => {
                self.with_leader(now, |leading, _, around| {
                    leading.fitted(from, (id, answer), around);
                });
            }
            PeerMessage::Forced(forced) => self.take_over_history(now, &forced),
            PeerMessage::KeysWanted { print } => self.hand_keys_on(from, print),
            PeerMessage::NewKeys(new) => self.take_keys(new),
            // Executors hand notes from monitor to monitor, and records to readers; the others are
            // looked into before.
            PeerMessage::Note(_)
            | PeerMessage::RecordsWanted(_)
            | PeerMessage::Records(_)
            | PeerMessage::Bundle(_)
            | PeerMessage::Within { .. } => {}
            PeerMessage::ProbeAnswer { id, taken } => {
                self.with_leader(now, |leading, _, around| {
                    leading.probed(from, (id, taken), around);
                });
            }
        }
    }

    /// For the engine. What the leader's engine says comes to all nodes at one time: a question
    /// that is due soon is asked now, so that one round answers those of all of them.
    fn raft(&mut self, now: Time, from: NodeId, raft: RaftMessage) {
        let honest = raft.from.is_disk() || raft.from == VoterId::from(from);
        if !honest {
            return;
        }
        self.inbox.push_back(raft);
        if from != self.node && self.leader_node(now) == Some(from) {
            self.ask_along(now, Span(self.timing.renewal.0 / 4));
        }
    }

    /// Others ask now: the own question goes along if it is due within `soon`.
    fn ask_along(&mut self, now: Time, soon: Span) {
        self.asker.hurry_if_soon(now, soon);
        self.ask_lease(now);
    }

    /// Lets the leader on this node, if there is one, do something.
    pub(super) fn with_leader(
        &mut self,
        now: Time,
        act: impl FnOnce(&mut Leading, &mut Replica, &mut crate::leading::Around<'_>),
    ) -> bool {
        let own_term = self.running().filter(|o| o.leading.is_some()).map(|o| o.replica.term());
        let disk = self.seat.as_ref().and_then(|s| s.live()).filter(|l| l.leading.is_some());
        let disk_term = disk.map(|l| l.replica.term());
        if own_term.is_none() && disk_term.is_none() {
            return false;
        }
        if own_term >= disk_term { self.with_own(now, act) } else { self.with_disk(now, act) }
    }

    fn question(&mut self, now: Time, question: LeaseQuestion) -> bool {
        self.with_leader(now, |leading, replica, around| {
            leading.question(replica, question, around);
        })
    }

    /// Who is elected is known to the others, and asked, before its election is durable here. An
    /// older question is repeated by whoever asked it.
    pub(super) fn take_early_questions(&mut self, now: Time) {
        for (_, (arrived, question)) in std::mem::take(&mut self.early_questions) {
            if now.since(arrived) < self.timing.renewal {
                self.question(now, question);
            }
        }
    }

    fn forwarded(&mut self, now: Time, from: NodeId, envelope: &Envelope) {
        let led = self.with_leader(now, |leading, replica, around| {
            leading.request(replica, from, envelope, around);
        });
        if !led {
            let message = PeerMessage::ForwardAnswer { id: envelope.id, answer: None };
            self.mail(Mail { to: from, channel: Channel::Stream, message });
        }
    }

    fn answered(&mut self, now: Time, id: RequestId, answer: Option<Answer>) {
        match answer {
            Some(answer) => self.reply(id, answer),
            None => {
                if let Some(asked) = self.requests.get_mut(&id) {
                    asked.retry_at = now + self.timing.heartbeat;
                }
            }
        }
    }

    pub(super) fn requested(&mut self, now: Time, envelope: Envelope) {
        if let Request::ForceQuorum { node, lost } = &envelope.request {
            let answer = self.force_quorum(now, &envelope.who, (*node, lost));
            self.out.push(crate::effect::Effect::Reply { id: envelope.id, answer });
            return;
        }
        if self.requests.len() >= REQUESTS_MAX {
            let reason = Reason::new(Code::TooMuch, "too many requests are waiting")
                .hint("try again when the cluster has answered some");
            let id = envelope.id;
            self.out.push(crate::effect::Effect::Reply { id, answer: Answer::Refused(reason) });
            return;
        }
        let asked = Asked { since: now, retry_at: now, envelope };
        self.requests.insert(asked.envelope.id, asked);
    }

    /// Sends waiting requests to the leader, again and again until they are answered or too old.
    pub(super) fn chase_requests(&mut self, now: Time) -> bool {
        let due: Vec<_> =
            self.requests.values().filter(|a| now >= a.retry_at).map(|a| a.envelope.id).collect();
        let leader = self.leader_node(now);
        for id in &due {
            let Some(asked) = self.requests.get_mut(id) else { continue };
            if now.since(asked.since) >= REQUEST_PATIENCE {
                let reason = self.why_unanswered(now);
                self.reply(*id, Answer::Refused(reason));
                continue;
            }
            asked.retry_at = now + self.timing.heartbeat * 5;
            let message = PeerMessage::Forward(Box::new(asked.envelope.clone()));
            match leader {
                Some(to) => self.mail(Mail { to, channel: Channel::Stream, message }),
                // Nobody to send it to: a leader that becomes known wakes it.
                None => asked.retry_at = asked.since + REQUEST_PATIENCE,
            }
        }
        !due.is_empty()
    }

    fn why_unanswered(&self, now: Time) -> Reason {
        if self.asker.lease(now).is_none() {
            return Reason::new(Code::NoQuorum, "the change was not made")
                .because(format!("{} has no quorum", self.node))
                .hint("see `stead status` for the nodes that are missing");
        }
        Reason::new(Code::Timeout, "the change was not confirmed in time")
            .because("the cluster did not agree on it")
            .hint("repeat the request with the same id: it may have taken effect")
    }
}

/// The heartbeat in a datagram, if there is one.
fn heartbeat(message: &PeerMessage) -> Option<&Heartbeat> {
    let parts = if let PeerMessage::Bundle(parts) = message { &parts[..] } else { &[] };
    let mut all = std::iter::once(message).chain(parts);
    all.find_map(|part| if let PeerMessage::Heartbeat(h) = part { Some(h) } else { None })
}

/// Requests of clients that one node keeps waiting.
const REQUESTS_MAX: usize = 4_096;
/// After this a request is given up.
const REQUEST_PATIENCE: Span = Span::from_secs(10);
