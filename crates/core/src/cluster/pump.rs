//! The pump: lets every machine work until none has anything left to do.

use stead_model::NodeId;
use stead_model::record::Level;
use stead_model::wire::peer::{Heartbeat, PeerMessage, RaftMessage};
use stead_model::{Span, Time, VoterId};

use super::reporting::Next;
use super::{Cluster, Own};
use crate::consensus::batch::{Applied, Batch, Elected, Post};
use crate::consensus::replica::Replica;
use crate::db::Db;
use crate::effect::{Channel, Effect};
use crate::leading::{Around, Leading, Mail};
use crate::quorum::{Released, Surroundings};

impl Cluster {
    pub(super) fn pump(&mut self, now: Time) {
        self.pumped_at = now;
        self.clocks(now);
        for _ in 0..ROUNDS_MAX {
            let worked = self.deliver(now)
                | self.pump_own(now)
                | self.force_on(now)
                | self.meet(now)
                | self.follow_networks(now)
                | self.pump_seat(now)
                | self.chase_requests(now)
                | self.note_leader(now)
                | self.pump_holdings(now)
                | self.stay_or_leave(now)
                | self.follow_keys(now)
                | self.lead(now);
            if !worked || self.halted {
                break;
            }
        }
        self.note_changes(now);
        self.say_alive_along(now);
    }

    /// What happens by time alone.
    fn clocks(&mut self, now: Time) {
        if now >= self.heartbeat_at {
            self.links.was_late(now.since(self.heartbeat_at));
        }
        let mut heard = Vec::new();
        self.links.check(now, &mut heard);
        self.note_heard(now, heard);
        if self.interfaces.settle(now) {
            self.reporting.next = Next::Now;
        }
        if let Own::Running(own) = &mut self.own
            && own.remaking.is_none()
        {
            own.replica.tick(now);
        }
        if now >= self.heartbeat_at {
            if let Own::Running(own) = &mut self.own
                && own.remaking.is_none()
            {
                own.replica.beat();
            }
            if let Some(live) = self.seat.as_mut().and_then(|s| s.live_mut()) {
                live.replica.beat();
            }
            self.beats = true;
        }
        self.ask_lease(now);
    }

    fn say_alive(&mut self, now: Time) {
        self.heartbeat_at = now + self.timing.heartbeat;
        if self.leading().is_empty() {
            // Its answers to the leader's heartbeats take its own along, if they come in time.
            self.heartbeat_at += self.timing.patience();
        }
        self.send_heartbeats(now);
    }

    /// Each node gets back what was heard of it.
    pub(super) fn send_heartbeats(&mut self, now: Time) {
        let heartbeat = self.heartbeat(now);
        let peers: Vec<_> = self.links.nodes().collect();
        for to in peers {
            self.links.beats(to);
            let heartbeat = Heartbeat { echo: self.links.echo(now, to), ..heartbeat };
            let message = PeerMessage::Heartbeat(heartbeat);
            self.out.push(Effect::Send { to, channel: Channel::Datagram, message });
        }
    }

    /// Something is being sent anyway: a heartbeat that is due soon goes with it, in the same
    /// datagram, and saves a wake-up on both sides. So does the renewal of D, which begins first:
    /// the heartbeat says so (R5).
    fn say_alive_along(&mut self, now: Time) {
        let soon = now + Span(self.timing.heartbeat.0 / 2) >= self.heartbeat_at;
        let sends = |e: &Effect| matches!(e, Effect::Send { channel: Channel::Datagram, .. });
        // A leader's heartbeats are the engine's too: they keep their own time.
        let leads = !self.leading().is_empty();
        let along = soon && !leads && self.out.iter().any(sends);
        if std::mem::take(&mut self.beats) || along {
            self.drive_seat(now, true);
            self.say_alive(now);
        }
    }

    fn heartbeat(&self, now: Time) -> Heartbeat {
        let disk = self.seat.as_ref().map(|s| s.hosting()).unwrap_or_default();
        let (leader, term) = match self.running() {
            Some(own) => (own.replica.leader(), own.replica.term()),
            None => Default::default(),
        };
        let (members, forces) = (self.members_ever(), self.forcing.is_some());
        let last = self.running().map(|own| own.replica.last()).unwrap_or_default();
        let history = self.history();
        Heartbeat { disk, leader, term, members, sent: now, echo: None, history, last, forces }
    }

    pub(super) fn ask_lease(&mut self, now: Time) {
        let Some(to) = self.leader_node(now) else { return };
        let timing = &self.timing;
        let (again, repeat) = if to == self.node {
            (timing.renewal, timing.renewal)
        } else {
            (timing.renewal_elsewhere(), timing.renewal_repeat())
        };
        if let Some(question) = self.asker.ask(now, again, repeat) {
            let message = PeerMessage::LeaseQuestion(question);
            self.mail(Mail { to, channel: Channel::Datagram, message });
        }
    }

    /// The node on which the leader runs.
    pub(super) fn leader_node(&self, now: Time) -> Option<NodeId> {
        let disk = self.seat.as_ref().and_then(|s| s.live());
        let leader = disk.filter(|l| l.leading.is_some() && l.replica.is_leader());
        if leader.is_some() && self.running().is_none_or(|o| o.leading.is_none()) {
            return Some(self.node);
        }
        let own = self.running().filter(|own| own.remaking.is_none())?;
        self.host_of(now, own.replica.leader()?)
    }

    /// The node that runs a voter.
    fn host_of(&self, now: Time, voter: VoterId) -> Option<NodeId> {
        if let Some(node) = voter.node() {
            return Some(node);
        }
        let seat = self.seat.as_ref().filter(|s| s.voter() == voter)?;
        if seat.live().is_some() {
            return Some(self.node);
        }
        let host = self.links.disk_host(now, super::startup::silence_max(&self.timing))?;
        (host.voter == voter).then_some(host.node)
    }

    /// Delivers what is addressed to this node.
    fn deliver(&mut self, now: Time) -> bool {
        let mut worked = false;
        while let Some(message) = self.self_mail.pop_front() {
            worked = true;
            self.count(now, self.node, message);
        }
        while let Some(raft) = self.inbox.pop_front() {
            worked = true;
            if raft.to == VoterId::from(self.node) {
                if let Own::Running(own) = &mut self.own
                    && own.remaking.is_none()
                {
                    own.replica.step(now, &raft);
                }
            } else if let Some(seat) = &mut self.seat
                && raft.to == seat.voter()
                && let Some(live) = seat.live_mut()
            {
                live.replica.step(now, &raft);
            }
        }
        worked
    }

    fn post(&mut self, now: Time, posts: Vec<Post>) {
        for Post { message, channel } in posts {
            self.post_one(now, message, channel);
        }
    }

    fn post_one(&mut self, now: Time, message: RaftMessage, channel: Channel) {
        match self.host_of(now, message.to) {
            Some(to) if to == self.node => self.inbox.push_back(message),
            Some(to) => {
                let message = PeerMessage::Raft(message);
                self.out.push(Effect::Send { to, channel, message });
            }
            None => {}
        }
    }

    /// The node's own replica: new batches go to the keeper, durable ones are released.
    fn pump_own(&mut self, now: Time) -> bool {
        if self.running().is_some_and(|own| own.remaking.is_some()) {
            return self.remake(now);
        }
        let Own::Running(own) = &mut self.own else { return false };
        let mut worked = false;
        let mut early = Vec::new();
        if let Some(mut batch) = own.replica.take(now) {
            worked = true;
            early = std::mem::take(&mut batch.early);
            own.keeper.push(batch, &mut self.io);
        }
        let mut released = Vec::new();
        while let Some(batch) = own.keeper.released() {
            released.push(batch);
        }
        let compacted = own.keeper.compact(&mut own.replica, &mut self.io);
        if own.leading.is_some() && !own.replica.is_leader() {
            own.leading = None;
            worked = true;
        }
        self.post(now, early);
        for batch in released {
            worked = true;
            self.release_own(now, batch);
        }
        if let Err(why) = compacted {
            self.fail_own(format!("cannot write the node's log: {why}"));
        }
        worked
    }

    fn release_own(&mut self, now: Time, mut batch: Batch) {
        let Own::Running(own) = &mut self.own else { return };
        own.replica.persisted(&batch);
        let committed = std::mem::take(&mut batch.committed);
        let applied = own.replica.apply(committed);
        if let Some(unreadable) = own.replica.unreadable() {
            let why = unreadable.to_string();
            return self.fail_own(why);
        }
        let elected = batch.elected.filter(|e| own.replica.is_leader_of(e.term));
        if let Some(elected) = elected {
            own.leading = Some(Leading::new(elected, self.planted));
            self.note_elected(now, elected, VoterId::from(self.node));
        }
        let late = std::mem::take(&mut batch.late);
        self.post(now, late);
        self.confirm_reads(now, &batch.reads, false);
        self.note_applied(now, &applied, false);
    }

    /// D, where it is hosted here.
    fn pump_seat(&mut self, now: Time) -> bool {
        self.drive_seat(now, false)
    }

    /// `along`: a sign of life is being sent now.
    fn drive_seat(&mut self, now: Time, along: bool) -> bool {
        if self.seat.is_none() || !matches!(self.own, Own::Running(_)) {
            return false;
        }
        if !self.align_disk(now) {
            return false;
        }
        self.note_eviction();
        let around = Surroundings { along, ..self.surroundings(now) };
        let Some(seat) = &mut self.seat else { return false };
        if let Some(live) = seat.live_mut()
            && live.leading.is_some()
            && !live.replica.is_leader()
        {
            live.leading = None;
        }
        let released = seat.act(now, &around, &mut self.io);
        self.database_limit_bytes = seat.database_limit_bytes();
        self.disk_nodes_max = seat.nodes_max();
        let news = seat.take_news();
        let worked = released.is_some();
        if let Some(released) = released {
            self.release_disk(now, released);
        }
        for (code, text) in news {
            let level = match code {
                "disk-dead" => Level::Error,
                "disk-path-lost" | "disk-unreadable" => Level::Warning,
                _ => Level::Info,
            };
            self.record(now, level, code, text);
        }
        worked
    }

    fn surroundings(&self, now: Time) -> Surroundings {
        let fresh = super::startup::silence_max(&self.timing);
        let voter = self.seat.as_ref().map(|s| s.voter()).unwrap_or_default();
        let own = self.running();
        let live = self.seat.as_ref().and_then(|s| s.live());
        let limit = self.timing.election * 2;
        let hears = own.is_some_and(|o| o.replica.hears_leader(now, limit))
            || live.is_some_and(|l| l.replica.hears_leader(now, limit));
        let leader = own.and_then(|o| o.replica.leader()).and_then(VoterId::node);
        let elsewhere = leader.is_some_and(|n| n != self.node && self.links.is_heard(n));
        let voters = own.map(|o| o.replica.voters()).unwrap_or_default();
        let heard = voters.iter().filter_map(|v| v.node());
        let heard = heard.filter(|n| *n == self.node || self.links.is_heard(*n)).count();
        let bits = |all, node: NodeId| all | 1 << (node.0 - 1);
        let db = own.map(|own| &own.replica.db);
        let rotated = |db: &Db| db.rotations() > 0;
        Surroundings {
            timing: self.timing,
            along: false,
            all_heard: self.links.all_heard(now, self.timing.heartbeat + self.timing.heartbeat),
            leader_elsewhere: elsewhere && hears && heard > voters.len() / 2,
            host: self.links.disk_host(now, fresh),
            hears_leader: hears,
            may_host: !self.histories.disk_is_foreign()
                && own.is_some_and(|o| {
                    o.replica.is_member(voter) && o.replica.is_member(VoterId::from(self.node))
                }),
            forces: self.forces_disk(),
            members: self.config.nodes.iter().map(|node| node.id).fold(0, bits),
            evicted: db.map_or(0, |db| db.evicted().iter().copied().fold(0, bits)),
            may_seal: db.is_some_and(rotated) && self.asker.lease(now).is_some(),
            leaves: self.is_leaving() || self.is_out(),
        }
    }

    /// D was adopted here: the replica with the better log campaigns at once if nobody leads.
    pub(super) fn disk_came_alive(&mut self, now: Time) {
        // Said at once, so that nobody else claims it meanwhile (R4).
        self.send_heartbeats(now);
        let aligned = self.disk_is_aligned();
        let Own::Running(own) = &mut self.own else { return };
        let Some(live) = self.seat.as_mut().and_then(|s| s.live_mut()) else { return };
        if !aligned || own.remaking.is_some() {
            return;
        }
        if own.replica.hears_leader(now, self.timing.election) {
            return;
        }
        let own_votes = own.replica.is_voter(VoterId::from(self.node));
        if own_votes && own.replica.last() >= live.replica.last() {
            own.replica.campaign();
        } else {
            live.replica.campaign();
        }
    }

    /// Carries out what the guard of D let go (R3).
    pub(super) fn release_disk(&mut self, now: Time, released: Released) {
        // What D said in an older history is not heard any more.
        if !self.disk_is_aligned() {
            return;
        }
        let Released { batch, mail } = released;
        for mail in mail {
            self.mail(mail);
        }
        let Some(mut batch) = batch else { return };
        let Some(live) = self.seat.as_mut().and_then(|s| s.live_mut()) else { return };
        live.replica.persisted(&batch);
        let applied = live.replica.apply(std::mem::take(&mut batch.committed));
        if let Some(unreadable) = live.replica.unreadable() {
            let why = unreadable.to_string();
            return self.fail_own(why);
        }
        let elected = batch.elected.filter(|e| live.replica.is_leader_of(e.term));
        if let Some(elected) = elected {
            live.leading = Some(Leading::new(elected, self.planted));
            self.counters.terms_led_by_disk += 1;
            let voter = self.seat.as_ref().map(|s| s.voter()).unwrap_or_default();
            self.note_elected(now, elected, voter);
        }
        let early = std::mem::take(&mut batch.early);
        self.post(now, early);
        let late = std::mem::take(&mut batch.late);
        self.post(now, late);
        self.confirm_reads(now, &batch.reads, true);
        self.note_applied(now, &applied, true);
    }

    fn note_elected(&mut self, now: Time, elected: Elected, voter: VoterId) {
        if elected.by_transfer {
            self.counters.elections_by_transfer += 1;
        } else {
            self.counters.elections_by_timeout += 1;
        }
        let how = if elected.by_transfer { "by transfer" } else { "by election" };
        let text = format!("{voter} leads term {} {how}", elected.term.0);
        self.record(now, Level::Info, "elected", text);
        self.take_early_questions(now);
    }

    fn confirm_reads(&mut self, now: Time, reads: &[u64], disk: bool) {
        for &context in reads {
            self.with_replica(now, disk, |leading, replica, around| {
                leading.confirmed(replica, context, around);
            });
        }
    }

    fn note_applied(&mut self, now: Time, applied: &[Applied], disk: bool) {
        for done in applied {
            if !disk && done.membership {
                self.counters.membership_changes += 1;
            }
            let Some(entry) = &done.entry else { continue };
            self.with_replica(now, disk, |leading, replica, around| {
                leading.applied(entry, replica, around);
            });
            if !disk {
                self.note_entry(now, (done.index, entry));
            }
        }
    }

    /// Lets the own replica's or D's leader do something.
    pub(super) fn with_replica(
        &mut self,
        now: Time,
        disk: bool,
        act: impl FnOnce(&mut Leading, &mut Replica, &mut Around<'_>),
    ) -> bool {
        if disk { self.with_disk(now, act) } else { self.with_own(now, act) }
    }

    pub(super) fn with_own(
        &mut self,
        now: Time,
        act: impl FnOnce(&mut Leading, &mut Replica, &mut Around<'_>),
    ) -> bool {
        let mut own = match std::mem::replace(&mut self.own, Own::Failed) {
            Own::Running(own) => own,
            other @ (Own::Loading(_) | Own::Failed) => {
                self.own = other;
                return false;
            }
        };
        let mut mail = Vec::new();
        let seen = (now, self.disk_host(now), self.members_in(&own.replica));
        let led = match &mut own.leading {
            Some(leading) => {
                self.around(seen, &mut mail, |around| act(leading, &mut own.replica, around));
                true
            }
            None => false,
        };
        self.own = Own::Running(own);
        for mail in mail {
            self.mail(mail);
        }
        led
    }

    pub(super) fn with_disk(
        &mut self,
        now: Time,
        act: impl FnOnce(&mut Leading, &mut Replica, &mut Around<'_>),
    ) -> bool {
        let Some(mut seat) = self.seat.take() else { return false };
        let mut mail = Vec::new();
        let mut led = false;
        if let Some(live) = seat.live_mut()
            && let Some(leading) = &mut live.leading
        {
            let seen = (now, Some(self.node), self.members_in(&live.replica));
            self.around(seen, &mut mail, |around| act(leading, &mut live.replica, around));
            live.outbox.append(&mut mail);
            led = true;
        }
        self.seat = Some(seat);
        led
    }

    /// The nodes that a leading replica decides about. The log of the quorum disk may be ahead of
    /// that of its host: who is evicted there is no node to give anything to.
    fn members_in(&self, leads: &Replica) -> Vec<NodeId> {
        let nodes = self.config.nodes.iter().map(|node| node.id);
        nodes.filter(|node| !leads.db.evicted().contains(node)).collect()
    }

    fn around(
        &mut self,
        (now, disk_host, nodes): (Time, Option<NodeId>, Vec<NodeId>),
        mail: &mut Vec<Mail>,
        act: impl FnOnce(&mut Around<'_>),
    ) {
        let heard: Vec<_> =
            nodes.iter().copied().filter(|n| *n == self.node || self.links.is_heard(*n)).collect();
        let mut notes = Vec::new();
        let mut beats = false;
        let utc = self.utc_now(now);
        let mut around = Around {
            now,
            utc,
            timing: &self.timing,
            host: self.node,
            config: &self.config,
            nodes: &nodes,
            host_names: &self.host_names,
            disk_nodes_max: self.disk_nodes_max,
            heard: &heard,
            links: &self.links,
            reports: &self.reporting.latest,
            news: self.reporting.news,
            disk_host,
            database_limit_bytes: self.database_limit_bytes,
            beats: &mut beats,
            counters: &mut self.counters,
            mail,
            notes: &mut notes,
        };
        act(&mut around);
        self.beats |= beats;
        for note in notes {
            self.record(now, Level::Info, note.code, note.text);
        }
    }

    /// Lets leaders on this node act.
    fn lead(&mut self, now: Time) -> bool {
        // Also what only the engine knows of yet: a read, a transfer.
        let left = |r: &Replica| (r.tail_index(), r.has_ready());
        let tails = |s: &Self| {
            let own = s.running().map(|o| left(&o.replica));
            let disk = s.seat.as_ref().and_then(|s| s.live()).map(|l| left(&l.replica));
            (own, disk, s.self_mail.len(), s.out.len())
        };
        let before = tails(self);
        self.with_own(now, |leading, replica, around| leading.act(replica, around));
        self.with_disk(now, |leading, replica, around| leading.act(replica, around));
        tails(self) != before
    }

    /// Everything that wants to be called again by time alone.
    pub(super) fn deadline(&self) -> Option<Time> {
        let mut times = Vec::with_capacity(16);
        times.push(self.heartbeat_at);
        times.extend(self.links.deadline());
        times.extend(self.interfaces.deadline());
        times.extend(self.asker.end().filter(|end| *end > self.pumped_at));
        times.extend(self.requests.values().map(|a| a.retry_at).min());
        times.extend(self.reporting.deadline());
        times.extend(self.forcing_deadline());
        times.extend(self.keys.deadline());
        let now = self.pumped_at;
        if let Some(own) = self.running() {
            times.push(own.replica.deadline());
            times.extend(own.holdings.next_deadline());
            if self.leader_node(now).is_some() {
                times.push(self.asker.deadline());
            }
            if let Some(leading) = &own.leading {
                times.extend(leading.deadline(&own.replica, &self.timing, now));
            }
        }
        if let Some(seat) = self.seat.as_ref().filter(|_| self.running().is_some()) {
            times.extend(seat.deadline());
            if let Some(live) = seat.live()
                && let Some(leading) = &live.leading
            {
                times.extend(leading.deadline(&live.replica, &self.timing, now));
            }
        }
        // What could be done at `now` was done: a time that has passed waits for something else.
        times.into_iter().min().map(|t| t.max(now + self.timing.tick))
    }
}

/// Rounds of one pump; a machine that still has work then goes on at the next event.
const ROUNDS_MAX: usize = 200;
