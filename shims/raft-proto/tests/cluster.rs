//! The published `raft` 0.7 runs on the stand-ins: election, commit, membership, snapshot, and
//! the behaviour the cluster core relies on. Every message passes through its bytes.

#![expect(clippy::unwrap_used, reason = "functions called by tests fail as the test")]

use protobuf::Message as _;
use raft::prelude::*;
use raft::storage::MemStorage;
use raft::{Error, SnapshotStatus, StateRole};
use raft_proto::parse_conf_change;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Ticks of an election timeout.
const ELECTION_TICKS: usize = 10;

/// When a replica reports its log as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durable {
    /// In `advance`, before anything that depends on it.
    AtOnce,
    /// By `on_persist_ready`, after messages of a leader have left.
    Later,
}

struct Replica {
    node: RawNode<MemStorage>,
    applied: Vec<Vec<u8>>,
    reads: Vec<ReadState>,
    snapshots: Vec<u64>,
    /// `Ready`s that carried messages, by role: (sent at once, sent after the write).
    sent: [usize; 2],
}

impl Replica {
    fn new(id: u64, voters: &[u64]) -> Self {
        let config = Config {
            id,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: 2,
            check_quorum: true,
            pre_vote: true,
            max_size_per_msg: 1 << 20,
            ..Config::default()
        };
        let store = MemStorage::new();
        store.wl().set_hardstate(HardState { term: 1, ..HardState::default() });
        store.wl().set_conf_state(ConfState::from((voters.iter().copied(), [])));
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&config, store, &logger).unwrap();
        Self { node, applied: vec![], reads: vec![], snapshots: vec![], sent: [0, 0] }
    }

    /// Timeouts must not depend on the random generator inside raft.
    fn tick(&mut self) {
        let id = usize::try_from(self.node.raft.id).unwrap();
        self.node.raft.set_randomized_election_timeout(ELECTION_TICKS + id);
        self.node.tick();
    }

    fn work(&mut self, durable: Durable) -> Vec<Message> {
        let mut out = Vec::new();
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            self.sent[0] += ready.messages().len();
            self.sent[1] += ready.persisted_messages().len();
            out.append(&mut ready.take_messages());
            self.store(&ready);
            let after_write = ready.take_persisted_messages();
            self.reads.append(&mut ready.take_read_states());
            let committed = ready.take_committed_entries();
            match durable {
                Durable::AtOnce => self.advance(ready, committed, &mut out),
                Durable::Later => self.advance_later(ready, committed),
            }
            out.extend(after_write);
        }
        out
    }

    fn store(&mut self, ready: &Ready) {
        let mut store = self.node.store().wl();
        if !ready.snapshot().is_empty() {
            self.snapshots.push(ready.snapshot().get_metadata().index);
            store.apply_snapshot(ready.snapshot().clone()).unwrap();
        }
        store.append(ready.entries()).unwrap();
        if let Some(hard_state) = ready.hs() {
            store.set_hardstate(hard_state.clone());
        }
    }

    fn advance(&mut self, ready: Ready, committed: Vec<Entry>, out: &mut Vec<Message>) {
        self.apply(committed);
        let mut light = self.node.advance(ready);
        if let Some(commit) = light.commit_index() {
            self.node.store().wl().mut_hard_state().set_commit(commit);
        }
        out.append(&mut light.take_messages());
        self.apply(light.take_committed_entries());
        self.node.advance_apply();
    }

    /// A snapshot counts as applied only once it is durable; committed entries already are.
    fn advance_later(&mut self, ready: Ready, committed: Vec<Entry>) {
        let number = ready.number();
        let snapshot_index = ready.snapshot().get_metadata().index;
        self.node.advance_append_async(ready);
        let applied = committed.last().map_or(0, |entry| entry.index);
        self.apply(committed);
        self.node.advance_apply_to(applied);
        self.node.on_persist_ready(number);
        self.node.advance_apply_to(snapshot_index);
    }

    fn apply(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            match entry.get_entry_type() {
                EntryType::EntryNormal if entry.data.is_empty() => {}
                EntryType::EntryNormal => self.applied.push(entry.data),
                EntryType::EntryConfChange => {
                    let mut change = ConfChange::default();
                    change.merge_from_bytes(&entry.data).unwrap();
                    self.change(&change);
                }
                EntryType::EntryConfChangeV2 => {
                    let mut change = ConfChangeV2::default();
                    change.merge_from_bytes(&entry.data).unwrap();
                    self.change(&change);
                }
            }
        }
    }

    fn change(&mut self, change: &impl raft_proto::ConfChangeI) {
        let state = self.node.apply_conf_change(change).unwrap();
        self.node.store().wl().set_conf_state(state);
    }

    fn voters(&self) -> Vec<u64> {
        let state = self.node.store().initial_state().unwrap().conf_state;
        assert!(state.voters_outgoing.is_empty(), "still joint: {state:?}");
        state.voters.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }
}

struct Cluster {
    replicas: BTreeMap<u64, Replica>,
    cut_off: BTreeSet<u64>,
    durable: Durable,
    wire: VecDeque<Vec<u8>>,
}

impl Cluster {
    fn new(durable: Durable) -> Self {
        let voters = [1, 2, 3];
        let replicas = voters.map(|id| (id, Replica::new(id, &voters))).into();
        Self { replicas, cut_off: BTreeSet::new(), durable, wire: VecDeque::new() }
    }

    fn with_leader(durable: Durable) -> Self {
        let mut cluster = Self::new(durable);
        cluster.at(1).node.campaign().unwrap();
        cluster.settle();
        assert!(cluster.at(1).is_leader());
        cluster
    }

    fn at(&mut self, id: u64) -> &mut Replica {
        self.replicas.get_mut(&id).unwrap()
    }

    /// Works and delivers until nothing is left to do.
    fn settle(&mut self) {
        loop {
            self.collect();
            let Some(bytes) = self.wire.pop_front() else { return };
            self.deliver(&bytes);
        }
    }

    fn collect(&mut self) {
        for (id, replica) in &mut self.replicas {
            for message in replica.work(self.durable) {
                if !self.cut_off.contains(id) && !self.cut_off.contains(&message.to) {
                    self.wire.push_back(postcard::to_allocvec(&message).unwrap());
                }
            }
        }
    }

    fn deliver(&mut self, bytes: &[u8]) {
        let message: Message = postcard::from_bytes(bytes).unwrap();
        let (from, to, kind) = (message.from, message.to, message.msg_type);
        match self.at(to).node.step(message) {
            Ok(()) | Err(Error::StepPeerNotFound) => {}
            Err(error) => panic!("{kind:?} to {to}: {error}"),
        }
        if kind == MessageType::MsgSnapshot {
            self.at(from).node.report_snapshot(to, SnapshotStatus::Finish);
        }
    }

    fn tick(&mut self, count: usize) {
        for _ in 0..count {
            self.replicas.values_mut().for_each(Replica::tick);
            self.settle();
        }
    }

    fn propose(&mut self, id: u64, data: &[u8]) -> Result<(), Error> {
        let done = self.at(id).node.propose(vec![], data.to_vec());
        self.settle();
        done
    }

    fn change(&mut self, id: u64, steps: &str) {
        let change =
            ConfChangeV2 { changes: parse_conf_change(steps).unwrap(), ..ConfChangeV2::default() };
        self.at(id).node.propose_conf_change(vec![], change).unwrap();
        self.settle();
    }
}

fn assert_whole_life(durable: Durable) {
    let mut cluster = Cluster::with_leader(durable);
    cluster.propose(1, b"first").unwrap();
    cluster.cut_off.insert(3);
    cluster.propose(1, b"second").unwrap();
    assert_eq!(cluster.at(3).applied, [b"first"]);

    let compact_to = cluster.at(1).node.raft.raft_log.applied;
    cluster.at(1).node.store().wl().compact(compact_to).unwrap();
    cluster.cut_off.clear();
    cluster.tick(2 * ELECTION_TICKS);
    assert!(cluster.at(1).is_leader(), "pre-vote keeps a returning node from disturbing");
    assert_eq!(cluster.at(3).snapshots, [compact_to]);
    cluster.propose(1, b"third").unwrap();
    assert_eq!(cluster.at(3).applied, [b"first".to_vec(), b"third".to_vec()]);

    cluster.replicas.insert(4, Replica::new(4, &[]));
    cluster.change(1, "v4 r2");
    cluster.tick(4);
    for id in [1, 3, 4] {
        assert_eq!(cluster.at(id).voters(), [1, 3, 4], "replica {id}");
    }
    assert_eq!(cluster.at(4).snapshots.len(), 1, "its first entries are compacted");
    cluster.propose(1, b"fourth").unwrap();
    assert_eq!(cluster.at(4).applied.last().unwrap(), b"fourth");
    assert_ne!(cluster.at(2).applied.last().unwrap(), b"fourth");
}

#[test]
fn a_cluster_lives_through_commit_snapshot_and_membership() {
    assert_whole_life(Durable::AtOnce);
}

#[test]
fn a_cluster_lives_with_writes_that_complete_later() {
    assert_whole_life(Durable::Later);
}

#[test]
fn only_a_leader_sends_before_its_write_is_durable() {
    for durable in [Durable::AtOnce, Durable::Later] {
        let mut cluster = Cluster::with_leader(durable);
        cluster.propose(1, b"x").unwrap();
        assert_eq!(cluster.at(2).sent[0], 0);
        assert!(cluster.at(2).sent[1] > 0);
        assert!(cluster.at(1).sent[0] > 0);
    }
}

#[test]
fn a_leader_counts_its_own_entry_only_when_it_is_durable() {
    let mut single = Replica::new(9, &[9]);
    single.node.campaign().unwrap();
    single.work(Durable::AtOnce);
    let committed = single.node.raft.raft_log.committed;
    single.node.propose(vec![], b"x".to_vec()).unwrap();
    let ready = single.node.ready();
    let number = ready.number();
    single.store(&ready);
    single.node.advance_append_async(ready);
    assert_eq!(single.node.raft.raft_log.committed, committed);
    single.node.on_persist_ready(number);
    assert_eq!(single.node.raft.raft_log.committed, committed + 1);
}

#[test]
fn a_read_before_the_first_commit_of_a_term_is_dropped_without_answer() {
    let mut cluster = Cluster::new(Durable::AtOnce);
    let voter = Replica::new(9, &[9]);
    cluster.replicas = [(9, voter)].into();
    let single = cluster.at(9);
    single.node.campaign().unwrap();
    assert!(single.is_leader(), "a single voter leads before any write");
    single.node.read_index(b"early".to_vec());
    assert_eq!(single.node.raft.ready_read_count() + single.node.raft.pending_read_count(), 0);
    cluster.settle();
    let single = cluster.at(9);
    single.node.read_index(b"late".to_vec());
    single.work(Durable::AtOnce);
    let committed = single.node.raft.raft_log.committed;
    assert_eq!(single.reads, [ReadState { index: committed, request_ctx: b"late".to_vec() }]);
}

#[test]
fn a_read_of_several_voters_needs_a_quorum_and_a_follower_forwards_it() {
    let mut cluster = Cluster::with_leader(Durable::AtOnce);
    cluster.at(2).node.read_index(b"from 2".to_vec());
    cluster.settle();
    assert_eq!(cluster.at(2).reads.len(), 1);
    cluster.cut_off.extend([2, 3]);
    cluster.at(1).node.read_index(b"alone".to_vec());
    cluster.settle();
    assert_eq!(cluster.at(1).reads, []);
    assert_eq!(cluster.at(1).node.raft.pending_read_count(), 1);
}

#[test]
fn a_leader_without_quorum_steps_down_within_two_election_timeouts() {
    let mut cluster = Cluster::with_leader(Durable::AtOnce);
    cluster.at(1).node.read_index(b"lost".to_vec());
    cluster.cut_off.extend([2, 3]);
    let term = cluster.at(1).node.raft.term;
    cluster.tick(ELECTION_TICKS);
    assert!(cluster.at(1).is_leader(), "answers of the last period still count");
    cluster.tick(ELECTION_TICKS);
    let raft = &cluster.at(1).node.raft;
    assert_ne!(raft.state, StateRole::Leader);
    assert_eq!((raft.term, raft.leader_id), (term, 0));
    assert_eq!(raft.pending_read_count(), 0, "waiting reads are forgotten, not answered");
}

#[test]
fn the_lead_moves_on_request() {
    let mut cluster = Cluster::with_leader(Durable::AtOnce);
    cluster.at(1).node.transfer_leader(2);
    assert_eq!(cluster.at(1).node.raft.lead_transferee, Some(2));
    cluster.settle();
    assert!(cluster.at(2).is_leader());
    assert_eq!(cluster.at(1).node.raft.lead_transferee, None);
}

#[test]
fn a_transfer_that_hangs_refuses_proposals_for_one_election_timeout() {
    let mut cluster = Cluster::with_leader(Durable::AtOnce);
    cluster.cut_off.insert(3);
    cluster.at(1).node.transfer_leader(3);
    assert_eq!(cluster.propose(1, b"x"), Err(Error::ProposalDropped));
    cluster.tick(ELECTION_TICKS - 1);
    assert_eq!(cluster.at(1).node.raft.lead_transferee, Some(3));
    cluster.tick(1);
    assert_eq!(cluster.at(1).node.raft.lead_transferee, None);
    assert_eq!(cluster.propose(1, b"x"), Ok(()));
}

/// Why the cluster core hands the lead over before it removes the leader.
#[test]
fn a_leader_that_removed_itself_goes_on_leading() {
    let mut cluster = Cluster::with_leader(Durable::AtOnce);
    cluster.change(1, "r1");
    cluster.tick(4 * ELECTION_TICKS);
    assert!(cluster.at(1).is_leader());
    assert_eq!(cluster.at(2).voters(), [2, 3]);
    assert_eq!(cluster.propose(1, b"x"), Err(Error::ProposalDropped));
}

/// As above: an acknowledgement that commits an entry after the removal stops the process.
#[test]
#[should_panic(expected = "called `Option::unwrap()` on a `None` value")]
fn a_leader_that_removed_itself_panics_on_its_next_commit() {
    let mut cluster = Cluster::with_leader(Durable::AtOnce);
    let changes = parse_conf_change("r1").unwrap();
    let change = ConfChangeV2 { changes, ..ConfChangeV2::default() };
    cluster.at(1).node.propose_conf_change(vec![], change).unwrap();
    cluster.at(1).node.propose(vec![], b"behind the removal".to_vec()).unwrap();
    cluster.settle();
}

/// Why messages wait whenever a `Ready` raises the term: after a crash here the same term would be
/// led again with other entries, and the learner could not tell.
#[test]
fn a_single_voter_offers_messages_of_a_term_that_is_not_yet_durable() {
    let mut single = Replica::new(9, &[9]);
    let add = ConfChangeV2 { changes: parse_conf_change("l8").unwrap(), ..Default::default() };
    single.node.campaign().unwrap();
    single.node.propose_conf_change(vec![], add).unwrap();
    single.work(Durable::AtOnce);
    let term = single.node.raft.term;
    single.node.raft.become_follower(term, 0);
    single.work(Durable::AtOnce);
    single.node.campaign().unwrap();
    let ready = single.node.ready();
    assert_eq!(ready.hs().unwrap().term, term + 1);
    assert!(ready.must_sync());
    let kinds: Vec<_> = ready.messages().iter().map(|m| (m.msg_type, m.to, m.term)).collect();
    assert_eq!(kinds, [(MessageType::MsgAppend, 8, term + 1)]);
}
