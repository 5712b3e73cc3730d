//! A replica: one voter or learner of the replicated log, a node's own or D's.
//!
//! The engine says in each [`Batch`] what must become durable and what may happen after that.
//! Nothing of a batch's `late` part may leave before its record is durable; the owner of the
//! replica sees to it: the node by waiting for its log, the host of D by the guard (R3).

use raft::eraftpb::{
    ConfChangeV2, ConfState, Entry as LogEntry, EntryType, HardState, Message, MessageType,
};
use raft::{RawNode, StateRole};
use stead_model::change::Entry;
use stead_model::profile::Timing;
use stead_model::program::Levels;
use stead_model::wire::peer::RaftMessage;
use stead_model::{LogIndex, Span, Term, Time, VoterId};

use super::age::{Answered, Ballot};
use super::batch::{Applied, Batch, Elected, Post};
use super::record::{
    LogRecord, RestoreError, SavedState, Unreadable, check_level, decode_entry, decode_membership,
    restore_db, snapshot,
};
use super::store::Store;
use super::ticks::{self, Ticks};
use crate::db::Db;
use crate::effect::Channel;
use crate::planted::{Fault, Planted};

/// A voter or learner.
pub(crate) struct Replica {
    id: VoterId,
    pub(super) setup: Setup,
    pub(super) raw: RawNode<Store>,
    pub(crate) db: Db,
    applied: (u64, u64),
    /// Committed entries not applied yet: behind a membership change that must wait (R10).
    waiting: Vec<LogEntry>,
    durable: Durable,
    pub(super) answered: Answered,
    /// What `answered` began with.
    unknown: Answered,
    ballot: Ballot,
    pub(super) ticks: Ticks,
    was: (StateRole, Term),
    transferred_term: Option<u64>,
    /// Leadership was handed to it.
    handed: Option<Message>,
    failed_transfer: bool,
    /// Heartbeats were asked for: those that the engine sends by its own clock come on top.
    beats: bool,
    /// When the leader of the present term was heard last.
    leader_heard: Option<Time>,
    /// What it could not read, and did not apply: it cannot go on.
    unreadable: Option<Unreadable>,
    planted: Planted,
}

/// How far the journal is.
#[derive(Clone, Copy, Debug)]
struct Durable {
    term: u64,
    commit: u64,
    outstanding: u32,
}

/// How a replica is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) id: VoterId,
    pub(crate) timing: Timing,
    pub(crate) now: Time,
    /// Until when it may have answered a leader before (R5, R6).
    pub(crate) answered: Time,
    pub(crate) seed: u64,
    /// What the program of this node can speak.
    pub(crate) levels: Levels,
    pub(crate) planted: Planted,
}

/// The replica does not lead, or cannot take a proposal now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotNow;

impl Replica {
    /// A replica over what its log held.
    pub(crate) fn new(store: Store, setup: Setup) -> Result<Self, RestoreError> {
        let (db, applied) = restore_db(&store, setup.levels)?;
        let hard = store.hard().clone();
        let ticks = Ticks::new(&setup);
        let config = ticks.config(setup.id, applied.0);
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, store, &logger)
            .map_err(|e| RestoreError::Inconsistent(e.to_string()))?;
        Ok(Self {
            id: setup.id,
            setup,
            was: (raw.raft.state, Term(hard.term)),
            raw,
            db,
            applied,
            waiting: Vec::new(),
            durable: Durable { term: hard.term, commit: hard.commit, outstanding: 0 },
            answered: Answered::unknown_until(setup.answered),
            unknown: Answered::unknown_until(setup.answered),
            ballot: Ballot::default(),
            ticks,
            transferred_term: None,
            handed: None,
            failed_transfer: false,
            beats: false,
            leader_heard: None,
            unreadable: None,
            planted: setup.planted,
        })
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    pub(crate) fn is_leader_of(&self, term: Term) -> bool {
        self.is_leader() && self.term() == term
    }

    /// Whether it leads, or a leader was heard within `limit`.
    pub(crate) fn hears_leader(&self, now: Time, limit: Span) -> bool {
        let heard = self.leader_heard.is_some_and(|at| now.since(at) < limit);
        self.is_leader() || (heard && self.raw.raft.leader_id != 0)
    }

    /// The leader this replica follows, or itself.
    pub(crate) fn leader(&self) -> Option<VoterId> {
        (self.raw.raft.leader_id != 0).then_some(VoterId(self.raw.raft.leader_id))
    }

    pub(crate) fn term(&self) -> Term {
        Term(self.raw.raft.term)
    }

    pub(crate) fn applied(&self) -> LogIndex {
        LogIndex(self.applied.0)
    }

    /// Term and index of the last entry, for comparing logs.
    pub(crate) fn last(&self) -> (Term, LogIndex) {
        let log = &self.raw.raft.raft_log;
        (Term(log.last_term()), LogIndex(log.last_index()))
    }

    pub(crate) fn commit_index(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.committed)
    }

    /// Whether everything in the log is applied, an entry of the own term among it: only then
    /// does a leader know what it may decide on.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_leader()
            && self.applied.0 == self.raw.raft.raft_log.last_index()
            && self.applied.1 == self.raw.raft.term
    }

    /// How many bytes of entries are in the log and not applied.
    pub(crate) fn tail_bytes(&self) -> u64 {
        let tail = self.raw.store().tail(self.applied.0);
        tail.iter().map(|entry| entry.data.len() as u64).sum()
    }

    pub(crate) fn has_applied_own_term(&self) -> bool {
        self.applied.1 == self.raw.raft.term
    }

    pub(crate) fn voters(&self) -> Vec<VoterId> {
        let mut ids: Vec<_> =
            self.raw.raft.prs().conf().voters().ids().iter().map(VoterId).collect();
        ids.sort_unstable();
        ids
    }

    pub(crate) fn is_voter(&self, voter: VoterId) -> bool {
        self.raw.raft.prs().conf().voters().contains(voter.0)
    }

    /// Whether it is a voter itself: a leader can lose its vote and lead on.
    pub(crate) fn has_vote(&self) -> bool {
        self.is_voter(self.id)
    }

    pub(crate) fn is_member(&self, voter: VoterId) -> bool {
        self.raw.raft.prs().get(voter.0).is_some()
    }

    /// Entries of the log that are not applied yet, proposed ones included.
    pub(crate) fn unapplied(&self) -> impl Iterator<Item = (LogIndex, Entry)> + '_ {
        let log = &self.raw.raft.raft_log;
        let fresh = log.unstable_entries();
        let offset = fresh.first().map_or(u64::MAX, |e| e.index);
        let stable = self.raw.store().tail(self.applied.0).iter();
        let stable = stable.filter(move |e| e.index < offset);
        // What cannot be read ends the replica when it is committed: before an entry of its own
        // term is, and so before it leads.
        stable.chain(fresh).filter_map(|e| Some((LogIndex(e.index), decode_entry(e).ok()??)))
    }

    pub(crate) fn tail_index(&self) -> LogIndex {
        LogIndex(self.raw.raft.raft_log.last_index())
    }

    /// Feeds the engine's clock.
    pub(crate) fn tick(&mut self, now: Time) {
        if self.is_leader() && !self.planted.has(Fault::ExLeaderNotCounted) {
            self.answered.at(now);
        }
        let due = self.ticks.due(now, self.planted.has(Fault::NoClockMargin));
        if self.is_behind() && !self.is_leader() {
            return;
        }
        for _ in 0..due {
            let timeout = self.ticks.timeout(self.id, self.raw.raft.term);
            self.raw.raft.set_randomized_election_timeout(timeout);
            if self.raw.tick() && !self.is_leader() {
                self.ticks.elections += 1;
            }
        }
    }

    /// Whether something of its log is not durable yet: then it does not campaign, because a sole
    /// voter would lead at once with entries that it may still lose (R10).
    fn is_behind(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        self.durable.outstanding > 0 || log.persisted != log.last_index()
    }

    /// When [`Replica::tick`] has something to do next.
    pub(crate) fn deadline(&self) -> Time {
        let raft = &self.raw.raft;
        let ticks = if !self.is_leader() && self.is_behind() {
            self.ticks.election
        } else if self.is_leader() {
            // Whether a quorum still answers is looked at with a heartbeat, without a wake-up.
            raft.election_timeout().saturating_sub(raft.election_elapsed) + Ticks::OF_HEARTBEAT
        } else if !raft.promotable() {
            self.ticks.election
        } else {
            let timeout = self.ticks.timeout(self.id, raft.term);
            timeout.saturating_sub(raft.election_elapsed)
        };
        self.ticks.last + self.ticks.period * (ticks.max(1) as u64)
    }

    /// Whether it follows a leader and has nothing to persist: what it has to say are answers to
    /// heartbeats, which may wait for one.
    pub(crate) fn is_calm(&self, now: Time, limit: Span) -> bool {
        self.is_recordless() && !self.is_leader() && self.hears_leader(now, limit)
    }

    /// Whether it has nothing to persist.
    pub(crate) fn is_recordless(&self) -> bool {
        let raft = &self.raw.raft;
        raft.raft_log.unstable_entries().is_empty()
            && raft.raft_log.unstable_snapshot().is_none()
            && raft.hard_state() == *self.raw.store().hard()
    }

    /// A leader's heartbeat, due at heartbeat rate; a read is one too.
    pub(crate) fn beat(&mut self) {
        self.beats = true;
        self.raw.ping();
    }

    /// Starts an election at once.
    pub(crate) fn campaign(&mut self) {
        if !self.is_behind() && self.raw.raft.promotable() {
            self.ticks.elections += 1;
            let _ = self.raw.campaign();
        }
    }

    /// Takes a message of another voter; what is not for this replica is dropped.
    pub(crate) fn step(&mut self, now: Time, message: &RaftMessage) {
        let Ok(raft) = postcard::from_bytes::<Message>(&message.bytes) else { return };
        if raft.from != message.from.0 || raft.to != self.id.0 || !self.is_sane(&raft) {
            return;
        }
        self.note_vote(&raft, message.age);
        if raft.term > self.raw.raft.term && self.planted.has(Fault::AgeClearedByTerm) {
            self.answered = Answered::unknown_until(Time(0));
        }
        if self.is_leader() && !self.planted.has(Fault::ExLeaderNotCounted) {
            self.answered.at(now);
        }
        match raft.get_msg_type() {
            MessageType::MsgTimeoutNow => {
                self.handed = Some(raft);
                self.take_over();
                return;
            }
            MessageType::MsgRequestVote => self.note_failed_transfer(&raft),
            MessageType::MsgHeartbeat | MessageType::MsgAppend | MessageType::MsgSnapshot
                if raft.term >= self.raw.raft.term =>
            {
                self.leader_heard = Some(now);
            }
            _ => {}
        }
        let _ = self.raw.step(raft);
    }

    fn note_vote(&mut self, raft: &Message, age: Option<Span>) {
        let granted = raft.get_msg_type() == MessageType::MsgRequestVoteResponse && !raft.reject;
        if granted && raft.term == self.raw.raft.term {
            self.ballot.granted(raft.term, VoterId(raft.from), age);
        }
    }

    fn note_failed_transfer(&mut self, raft: &Message) {
        if raft.context == b"CampaignTransfer".as_slice() {
            self.failed_transfer = true;
        }
    }

    /// Refuses what would panic inside the engine: peers are never trusted with that.
    fn is_sane(&self, raft: &Message) -> bool {
        let last = self.raw.raft.raft_log.last_index();
        match raft.get_msg_type() {
            MessageType::MsgHeartbeat => raft.commit <= last && raft.term > 0,
            MessageType::MsgAppend => {
                let mut next = raft.index + 1;
                raft.term > 0
                    && raft.entries.iter().all(|e| {
                        next += 1;
                        e.index == next - 1
                    })
            }
            MessageType::MsgSnapshot => raft.term > 0 && !raft.snapshot.is_empty(),
            MessageType::MsgAppendResponse
            | MessageType::MsgRequestVote
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgRequestPreVote
            | MessageType::MsgRequestPreVoteResponse
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgTimeoutNow
            | MessageType::MsgSnapStatus
            | MessageType::MsgUnreachable => raft.term > 0 || raft.from != self.id.0,
            MessageType::MsgHup
            | MessageType::MsgBeat
            | MessageType::MsgPropose
            | MessageType::MsgTransferLeader
            | MessageType::MsgCheckQuorum
            | MessageType::MsgReadIndex
            | MessageType::MsgReadIndexResp => false,
        }
    }

    /// Proposes an entry; it is the leader's last one then.
    pub(crate) fn propose(&mut self, entry: &Entry) -> Result<LogIndex, NotNow> {
        let data = self.encode(entry)?;
        self.raw.propose(Vec::new(), data).map_err(|_| NotNow)?;
        Ok(self.tail_index())
    }

    /// Proposes a membership change; one at a time (R10).
    pub(crate) fn propose_membership(
        &mut self,
        change: ConfChangeV2,
        entry: &Entry,
    ) -> Result<LogIndex, NotNow> {
        if self.raw.raft.has_pending_conf() || !self.is_settled() {
            return Err(NotNow);
        }
        let context = self.encode(entry)?;
        self.raw.propose_conf_change(context, change).map_err(|_| NotNow)?;
        Ok(self.tail_index())
    }

    fn encode(&self, entry: &Entry) -> Result<Vec<u8>, NotNow> {
        let level = self.db.level();
        let known = entry.changes.iter().all(|change| change.since() <= level);
        assert!(known, "nothing is proposed that a program at {level} cannot read: {entry:?}");
        postcard::to_allocvec(entry).map_err(|_| NotNow)
    }

    /// Asks a quorum whether this replica still leads; comes back in [`Batch::reads`]. Whether
    /// heartbeats carry the question: a single voter asks nobody, and one without a vote must not
    /// ask, for beside a single voter the engine would believe it without an answer.
    pub(crate) fn read(&mut self, context: u64) -> bool {
        if !self.has_vote() {
            return false;
        }
        let asks = self.raw.raft.prs().conf().voters().ids().len() > 1;
        self.beats |= asks;
        self.raw.read_index(context.to_le_bytes().to_vec());
        asks
    }

    /// Hands leadership to another voter.
    pub(crate) fn transfer(&mut self, to: VoterId) {
        self.raw.transfer_leader(to.0);
    }

    pub(crate) fn is_transferring(&self) -> bool {
        self.raw.raft.lead_transferee.is_some()
    }

    /// Whether a voter has the whole log.
    pub(crate) fn has_all(&self, voter: VoterId) -> bool {
        let last = self.raw.raft.raft_log.last_index();
        self.raw.raft.prs().get(voter.0).is_some_and(|p| p.matched == last)
    }

    /// Whether the engine wants something done.
    pub(crate) fn has_ready(&self) -> bool {
        self.raw.has_ready()
    }

    /// What the engine wants done, if anything.
    pub(crate) fn take(&mut self, now: Time) -> Option<Batch> {
        if !self.raw.has_ready() {
            return None;
        }
        let mut ready = self.raw.ready();
        let mut batch = Batch { number: ready.number(), ..Batch::default() };
        batch.elected = self.note_role(now);
        batch.reads =
            ready.take_read_states().iter().filter_map(|r| context(&r.request_ctx)).collect();
        batch.committed = ready.take_committed_entries();
        let hard_vote_changed = ready.must_sync() && ready.hs().is_some();
        let mut fresh = ready.take_messages();
        ticks::drop_spare_beats(&mut fresh, std::mem::take(&mut self.beats));
        let hold = hard_vote_changed && !self.planted.has(Fault::SentBeforePersisted);
        let fresh = self.wrap_all(now, fresh);
        if hold {
            batch.late = fresh;
        } else {
            batch.early = fresh;
        }
        let late = ready.take_persisted_messages();
        let (free, late) = late.into_iter().partition(|m| self.is_free(m));
        batch.early.extend(self.wrap_all(now, free));
        batch.late.extend(self.wrap_all(now, late));
        self.take_state(&mut batch, &ready);
        if batch.record.is_some() || batch.install.is_some() {
            self.durable.outstanding += 1;
        }
        self.raw.advance_append_async(ready);
        Some(batch)
    }

    /// Answers to heartbeats of a term that is durable need not wait for later entries.
    fn is_free(&self, message: &Message) -> bool {
        let beat = message.get_msg_type() == MessageType::MsgHeartbeatResponse;
        (beat && message.term == self.durable.term) || self.planted.has(Fault::SentBeforePersisted)
    }

    fn take_state(&mut self, batch: &mut Batch, ready: &raft::Ready) {
        let store = self.raw.mut_store();
        if !ready.snapshot().is_empty() {
            store.install(ready.snapshot().clone());
        }
        if let Some(hard) = ready.hs() {
            store.set_hard(hard.clone());
        }
        store.append(ready.entries());
        let mut hard = store.hard().clone();
        if self.planted.has(Fault::CommitIndexLost) {
            hard.commit = self.durable.commit;
        }
        if !ready.snapshot().is_empty() {
            let meta = ready.snapshot().get_metadata();
            batch.install = Some(SavedState {
                hard,
                index: meta.index,
                term: meta.term,
                conf: meta.get_conf_state().clone(),
                db: ready.snapshot().get_data().to_vec(),
                tail: ready.entries().clone(),
            });
        } else if ready.hs().is_some() || !ready.entries().is_empty() {
            batch.record = Some(LogRecord { hard, entries: ready.entries().clone() });
        }
    }

    fn note_role(&mut self, now: Time) -> Option<Elected> {
        let (before, role) = (self.was, self.raw.raft.state);
        let term = self.term();
        self.was = (role, term);
        let new = role == StateRole::Leader && before != (StateRole::Leader, term);
        if !new {
            return None;
        }
        let own = if self.planted.has(Fault::ExLeaderNotCounted) {
            Span(u64::MAX)
        } else {
            self.age(now)
        };
        let by_transfer = self.transferred_term == Some(term.0);
        let mut smallest_age = self.ballot.smallest(term.0, own);
        let skip_wait = (by_transfer && self.planted.has(Fault::NoWaitAfterTransfer))
            || (self.failed_transfer && self.planted.has(Fault::NoWaitAfterFailedTransfer));
        if skip_wait {
            smallest_age = Span(u64::MAX);
        }
        self.failed_transfer = false;
        Some(Elected { term, at: now, smallest_age, by_transfer })
    }

    /// Puts messages into envelopes: notes answers to a leader, and gives votes their age.
    fn wrap_all(&mut self, now: Time, messages: Vec<Message>) -> Vec<Post> {
        messages.into_iter().map(|m| self.wrap(now, &m)).collect()
    }

    fn wrap(&mut self, now: Time, message: &Message) -> Post {
        let age = match message.get_msg_type() {
            MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse => {
                self.answered.at(now);
                None
            }
            MessageType::MsgRequestVoteResponse if !message.reject => Some(self.vote_age(now)),
            MessageType::MsgSnapshot => {
                // The engine pauses a follower until it hears how the snapshot fared; its own
                // answers tell that, so the pause is lifted at once.
                self.raw.report_snapshot(message.to, raft::SnapshotStatus::Finish);
                None
            }
            _ => None,
        };
        let bytes = postcard::to_allocvec(message).expect("raft messages encode");
        let channel = match message.get_msg_type() {
            MessageType::MsgAppend | MessageType::MsgAppendResponse | MessageType::MsgSnapshot => {
                Channel::Stream
            }
            _ => Channel::Datagram,
        };
        let message = RaftMessage { from: self.id, to: VoterId(message.to), age, bytes };
        Post { message, channel }
    }

    fn vote_age(&self, now: Time) -> Span {
        let equal_term = self.was.1 == self.term();
        if equal_term && self.planted.has(Fault::AgeOnlyForHigherTerms) {
            return Span(u64::MAX);
        }
        self.age(now)
    }

    fn age(&self, now: Time) -> Span {
        if self.answered == self.unknown && self.planted.has(Fault::NoWaitAfterRestart) {
            return Span(u64::MAX);
        }
        self.answered.age(now)
    }

    /// The record or snapshot of a batch is durable.
    pub(crate) fn persisted(&mut self, batch: &Batch) {
        let hard = match (&batch.record, &batch.install) {
            (Some(record), _) => Some(&record.hard),
            (None, Some(state)) => Some(&state.hard),
            (None, None) => None,
        };
        if let Some(hard) = hard {
            self.durable.term = hard.term;
            self.durable.commit = self.durable.commit.max(hard.commit);
            self.durable.outstanding = self.durable.outstanding.saturating_sub(1);
        }
        self.raw.on_persist_ready(batch.number);
        if let Some(state) = &batch.install {
            self.installed(state);
        }
    }

    /// Campaigns when leadership was handed to it, as soon as all of its log is durable and what
    /// is committed of it is applied (R10).
    fn take_over(&mut self) {
        if self.is_behind() || self.applied.0 < self.raw.raft.raft_log.committed {
            return;
        }
        if let Some(handed) = self.handed.take().filter(|m| m.term >= self.raw.raft.term) {
            self.transferred_term = Some(handed.term + 1);
            let _ = self.raw.step(handed);
        }
    }

    fn installed(&mut self, state: &SavedState) {
        self.waiting.clear();
        if state.index <= self.applied.0 {
            return;
        }
        match Db::restore(&state.db, self.setup.levels) {
            Ok(db) => {
                self.db = db;
                self.applied = (state.index, state.term);
                self.raw.advance_apply_to(state.index);
            }
            Err(why) => self.unreadable = Some(Unreadable::snapshot(state.index, why)),
        }
    }

    /// What it could not read: to skip it would be to disagree with the others (I-AGREE).
    pub(crate) const fn unreadable(&self) -> Option<&Unreadable> {
        self.unreadable.as_ref()
    }

    /// Applies what may be applied: committed entries of released batches, in order, up to one that
    /// it cannot read. A membership change waits until a commit index that covers it is durable
    /// (R10).
    pub(crate) fn apply(&mut self, committed: Vec<LogEntry>) -> Vec<Applied> {
        self.waiting.extend(committed);
        let mut done = Vec::new();
        let ready = self.waiting.iter().take_while(|e| {
            e.get_entry_type() == EntryType::EntryNormal
                || e.index <= self.durable.commit
                || self.planted.has(Fault::CommitIndexLost)
        });
        let count = ready.count();
        let entries: Vec<_> = self.waiting.drain(..count).collect();
        for entry in entries {
            if entry.index <= self.applied.0 || self.unreadable.is_some() {
                continue;
            }
            match self.apply_one(&entry) {
                Ok(applied) => {
                    done.push(applied);
                    self.applied = (entry.index, entry.term);
                }
                Err(why) => self.unreadable = Some(why),
            }
        }
        if !done.is_empty() {
            self.raw.advance_apply_to(self.applied.0);
        }
        if done.iter().any(|applied| applied.membership) {
            // A node that just joined takes no snapshot that was made before: it is not in it.
            self.compact(&self.saved_state());
        }
        self.take_over();
        done
    }

    fn apply_one(&mut self, entry: &LogEntry) -> Result<Applied, Unreadable> {
        let index = LogIndex(entry.index);
        let bytes = |why: postcard::Error| Unreadable::entry(entry.index, &why);
        let voters = decode_membership(entry).map_err(bytes)?;
        let decoded = decode_entry(entry).map_err(bytes)?;
        check_level(entry.index, decoded.as_ref(), self.setup.levels)?;
        let membership = voters.is_some();
        if let Some(change) = voters
            && let Ok(conf) = self.raw.apply_conf_change(&change)
        {
            self.raw.mut_store().set_conf(conf);
        }
        match &decoded {
            Some(entry) => {
                self.db.apply(index, entry);
            }
            None => self.db.pass(index),
        }
        Ok(Applied { index, entry: decoded, membership })
    }

    /// The state a new log or a compacted one begins with.
    pub(crate) fn saved_state(&self) -> SavedState {
        let store = self.raw.store();
        let mut hard = store.hard().clone();
        hard.commit = hard.commit.max(self.applied.0);
        SavedState {
            hard,
            index: self.applied.0,
            term: self.applied.1,
            conf: store.conf().clone(),
            db: self.db.snapshot(),
            tail: store.tail(self.applied.0).to_vec(),
        }
    }

    /// Forgets entries in memory that a snapshot covers.
    pub(crate) fn compact(&mut self, state: &SavedState) {
        self.raw.mut_store().compact(state.snapshot(), ENTRIES_KEPT);
    }
}

/// Entries kept in memory behind a snapshot, so that a follower that lags a little is not sent
/// the whole database.
const ENTRIES_KEPT: u64 = 1_000;

fn context(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// The state every voter of a new cluster begins with.
pub(crate) fn first_state(voters: &[VoterId], learners: &[VoterId], db: &Db) -> SavedState {
    let hard = HardState { term: 1, commit: 1, ..HardState::default() };
    let conf = ConfState {
        voters: voters.iter().map(|v| v.0).collect(),
        learners: learners.iter().map(|v| v.0).collect(),
        ..ConfState::default()
    };
    let first = snapshot(1, 1, &conf, db.snapshot());
    let db = first.get_data().to_vec();
    SavedState { hard, index: 1, term: 1, conf, db, tail: Vec::new() }
}
