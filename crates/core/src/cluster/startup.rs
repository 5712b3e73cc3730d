//! Starting: the node's own log is read, then its replica is built.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use stead_journal::{
    DATABASE_LIMIT_BYTES, DiskId, Identity, Medium, Opening, Plain, Recovered, Step,
};
use stead_model::config::NodeConfig;
use stead_model::record::Level;
use stead_model::{LogIndex, OrderId, Span, Time, UtcMillis, VoterId};

use super::causes::Causes;
use super::history::Histories;
use super::keys::{Ring, seat_keys};
use super::leaving::Stay;
use super::{Cluster, Own, OwnReplica, Reporting, Start};
use crate::consensus::keeper::{IoDesk, Keeper};
use crate::consensus::record;
use crate::consensus::replica::{Replica, Setup};
use crate::counters::Counters;
use crate::effect::{Device, Effect, Ticket};
use crate::event::IoResult;
use crate::lease::asker::Asker;
use crate::membership::{Interfaces, Links};
use crate::planted::Fault;
use crate::quorum::{Seat, SeatConfig};
use crate::resources::{Beginning, Holdings};

/// The node's log while it is being read.
pub(super) struct Loading {
    pub(super) ticket: Ticket,
    opening: Option<Opening<Plain>>,
}

pub(super) fn start(start: Start, now: Time) -> (Cluster, Vec<Effect>) {
    let Start { config, service, guard, machine, program, keys, seed, planted } = start;
    // Whatever becomes of them: a node that joins begins as they did.
    let founders = Some(config.founders().collect());
    let config = NodeConfig { founders, ..config };
    let timing = config.profile.timing();
    let node = config.node;
    let mut io = IoDesk::default();
    let ticket = io.read(Device::NodeLog, Identity::OFFSET, Identity::BYTES);
    let seat = config.quorum.disk.as_ref().map(|disk| {
        let config = SeatConfig {
            node,
            voter: disk.voter,
            disk: DiskId(disk.disk_id),
            keys: seat_keys(&keys),
            incarnation: service,
            seed: seed ^ 0x5ea7,
            planted,
        };
        Seat::new(config, now)
    });
    let mut cluster = Cluster {
        node,
        timing,
        machine,
        program,
        guard: guard.incarnation,
        seed,
        planted,
        utc: (UtcMillis(0), now),
        io,
        out: Vec::new(),
        links: Links::new(&config, now, silence_max(&timing)),
        interfaces: Interfaces::new(silence_max(&timing)),
        own: Own::Loading(Box::new(Loading { ticket, opening: None })),
        database_limit_bytes: seat
            .as_ref()
            .map_or(DATABASE_LIMIT_BYTES, Seat::database_limit_bytes),
        seat,
        disk_nodes_max: None,
        asker: Asker::new((node, service), &guard, planted),
        found: guard,
        deferred: Vec::new(),
        wanted: Vec::new(),
        // Reports of a later service of the same boot are above those of an earlier one.
        reporting: Reporting { number: now.0, seen: now.0, ..Reporting::default() },
        requests: BTreeMap::new(),
        inbox: VecDeque::new(),
        self_mail: VecDeque::new(),
        early_questions: BTreeMap::new(),
        heartbeat_at: now,
        beats: false,
        pumped_at: now,
        records: 0,
        causes: Causes::default(),
        counters: Counters::default(),
        had_lease: false,
        lost_since: None,
        online_seen: BTreeSet::new(),
        sights: 0,
        leader_seen: None,
        met: LogIndex(0),
        obeyed: LogIndex(0),
        stay: Stay::new(service),
        forcing: None,
        histories: Histories::default(),
        keys: Ring::new(keys),
        halted: false,
        host_names: host_names(&config),
        config,
    };
    let effects = cluster.effects();
    (cluster, effects)
}

/// Silence of a link after which it counts as dead: three heartbeats and a bit.
pub(super) fn silence_max(timing: &stead_model::profile::Timing) -> Span {
    timing.heartbeat * 3 + Span(timing.heartbeat.0 / 2)
}

/// Names that no virtual server may have: another machine answers to them.
fn host_names(config: &NodeConfig) -> Vec<String> {
    let nodes = config.nodes.iter().map(|node| node.name.clone());
    nodes.chain([config.cluster.clone()]).collect()
}

impl Cluster {
    /// How replicas of this node are set up.
    pub(super) fn setup(&self, now: Time) -> Setup {
        let answered = if self.planted.has(Fault::RestartClaimsAge) { Time(0) } else { now };
        Setup {
            id: VoterId::from(self.node),
            timing: self.timing,
            now,
            answered,
            seed: self.seed,
            levels: self.program.levels,
            planted: self.planted,
        }
    }

    /// A completion while the log is being read, or of a write of the running log.
    pub(super) fn own_io(&mut self, now: Time, ticket: Ticket, result: &IoResult) {
        match &mut self.own {
            Own::Loading(loading) if loading.ticket == ticket => {
                let IoResult::Read(bytes) = result else {
                    self.fail_own(format!("cannot read the node's log: {result:?}"));
                    return;
                };
                self.load(now, bytes);
            }
            Own::Running(own) => {
                if let Err(why) = own.keeper.done(ticket, result, &mut self.io) {
                    self.fail_own(format!("cannot write the node's log: {why}"));
                }
            }
            Own::Loading(_) | Own::Failed => {}
        }
    }

    pub(super) fn fail_own(&mut self, why: String) {
        self.own = Own::Failed;
        self.halted = true;
        self.out.push(Effect::Halt { why });
    }

    fn load(&mut self, now: Time, bytes: &[u8]) {
        let Own::Loading(loading) = &mut self.own else { return };
        match &mut loading.opening {
            Some(opening) => opening.feed(bytes),
            None => match Identity::decode(bytes, None) {
                Ok(Identity { disk, medium: Medium::NodeLog { area } }) => {
                    let planted = journal_planted(self.planted);
                    let opening = Opening::quiet(area, Plain { disk }).with_planted(planted);
                    loading.opening = Some(opening);
                }
                Ok(_) => return self.fail_own("the node's log is a quorum disk".into()),
                Err(error) => return self.fail_own(format!("cannot use the node's log: {error}")),
            },
        }
        let Some(opening) = &mut loading.opening else { return };
        match opening.step() {
            Step::Read { offset, len } => {
                loading.ticket = self.io.read(Device::NodeLog, offset, len);
            }
            Step::Failed(error) => self.fail_own(format!("cannot use the node's log: {error}")),
            Step::Done(opened) => {
                let torn = |r: &&Recovered| matches!(r, Recovered::TornTail { .. });
                self.counters.torn_tails += opened.recovered.iter().filter(torn).count() as u64;
                if let Err(why) = self.run(now, *opened) {
                    self.fail_own(format!("cannot use the node's log: {why}"));
                }
            }
        }
    }

    fn run(&mut self, now: Time, opened: stead_journal::Opened<Plain>) -> Result<(), String> {
        let resumed = opened.resume();
        let saved = resumed.contents.snapshot.map(|s| s.bytes);
        let records: Vec<_> = resumed.contents.records.into_iter().map(|(_, r)| r).collect();
        let store = record::restore(saved.as_deref(), &records).map_err(|e| e.to_string())?;
        let replica = Replica::new(store, self.setup(now)).map_err(|e| e.to_string())?;
        let keeper = Keeper::new(Device::NodeLog, resumed.journal, resumed.writes, &mut self.io);
        let text = format!("started with {} applied", replica.applied());
        let (node, guard, planted) = (self.node, &self.found, self.planted);
        let log_end = replica.last().1;
        // The boot clock is above the one at which every earlier service of this boot began.
        let orders_above = OrderId(now.0);
        let begin = Beginning { node, guard, log_end, orders_above, planted };
        let mut holdings = Holdings::new(begin);
        holdings.interfaces_at_start(self.interfaces.seen());
        self.own = Own::Running(Box::new(OwnReplica {
            replica,
            keeper,
            leading: None,
            holdings,
            remaking: None,
        }));
        self.record(now, Level::Info, "started", text);
        for event in std::mem::take(&mut self.deferred) {
            self.take(now, event);
        }
        Ok(())
    }
}

#[cfg(feature = "planted")]
fn journal_planted(planted: crate::Planted) -> stead_journal::Planted {
    stead_journal::Planted {
        accept_torn_superblock: planted.has(Fault::TornSuperblockAccepted),
        skip_reread: false,
    }
}

#[cfg(not(feature = "planted"))]
fn journal_planted(_planted: crate::Planted) -> stead_journal::Planted {
    stead_journal::Planted::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::record::LogRecord;
    use crate::consensus::replica::first_state;
    use crate::db::Db;
    use crate::effect::{Io, IoOp};
    use crate::event::Event;
    use crate::planted::Planted;
    use stead_journal::{Contents, Fresh, Journal, Snapshot};
    use stead_model::config::{NodeEntry, QuorumConfig, QuorumMode};
    use stead_model::keys::{Key, Keys, Print};
    use stead_model::order::GuardStatus;
    use stead_model::profile::Profile;
    use stead_model::program::Program;
    use stead_model::usage::Usage;
    use stead_model::{Incarnation, LeaseNumber, NodeId};

    const BYTES: u64 = 16 * 4096;

    /// The log of a sole voter in which an entry is committed that no version knows.
    fn log() -> Vec<u8> {
        let disk = DiskId([1; 16]);
        let identity = Identity::node_log(disk, BYTES, BYTES).unwrap();
        let Medium::NodeLog { area } = identity.medium else { panic!("no node log") };
        let state = first_state(&[VoterId(1)], &[], &Db::default());
        let hard = raft::eraftpb::HardState { term: 1, commit: 2, ..Default::default() };
        let data = vec![0xff; 8];
        let entry = raft::eraftpb::Entry { index: 2, term: 1, data, ..Default::default() };
        let records = vec![(1, LogRecord { hard, entries: vec![entry] }.encode())];
        let snapshot = Some(Snapshot { covers: 0, bytes: state.encode() });
        let fresh = Fresh { area, seal: Plain { disk }.into(), life: 1 };
        let (mut journal, mut writes) =
            Journal::create(fresh, &Contents { snapshot, records }).unwrap();
        let mut log = vec![0; area.end() as usize];
        let mut put = |offset: u64, data: &[u8]| {
            log[offset as usize..][..data.len()].copy_from_slice(data);
        };
        put(Identity::OFFSET, &identity.encode(None));
        while let Some(write) = writes.pop() {
            put(write.offset, &write.data);
            writes.extend(journal.written(write.id).writes);
        }
        log
    }

    fn begin() -> (Cluster, Vec<Effect>) {
        let entry = NodeEntry { id: NodeId(1), name: "one".into(), addresses: Vec::new() };
        let config = NodeConfig {
            cluster: "test".into(),
            cluster_id: 1,
            node: NodeId(1),
            port: 1,
            nodes: vec![entry],
            founders: None,
            networks: Vec::new(),
            quorum: QuorumConfig { mode: QuorumMode::NodeMajority, disk: None },
            profile: Profile::Standard,
            watchdog: None,
        };
        let guard = GuardStatus {
            incarnation: Incarnation(1),
            lease: None,
            lease_last: LeaseNumber(0),
            stopping: false,
            admitted: Vec::new(),
            own_monitors: Vec::new(),
        };
        let (service, machine) = (Incarnation(1), Usage::default());
        let (seed, planted) = (1, Planted::default());
        let keys = Keys::only(Key { print: Print([0; 32]), bytes: [1; 32] });
        let program = Program::own();
        let start = Start { config, service, guard, machine, program, keys, seed, planted };
        Cluster::start(start, Time(1))
    }

    #[test]
    fn a_node_that_cannot_read_what_was_agreed_on_ends_with_what_to_do() {
        let log = log();
        let (mut cluster, mut effects) = begin();
        for turn in 0..100 {
            let mut next = Vec::new();
            for effect in std::mem::take(&mut effects) {
                if let Effect::Halt { why } = &effect {
                    assert!(why.contains("cannot read the entry 2"), "{why}");
                    assert!(why.contains("upgrade stead on this node"), "{why}");
                    assert!(cluster.handle(Time(9), Event::Deadline).is_empty());
                    return;
                }
                let Effect::Io(Io { ticket, op, .. }) = effect else { continue };
                let result = match op {
                    IoOp::Read { offset, length } => {
                        let end = (offset + length).min(log.len() as u64);
                        IoResult::Read(log[offset as usize..end as usize].to_vec())
                    }
                    IoOp::Write { .. } => IoResult::Written,
                    IoOp::WriteThenRead { .. } => panic!("there is no quorum disk"),
                };
                next.extend(cluster.handle(Time(turn + 2), Event::Io { ticket, result }));
            }
            effects = next;
        }
        panic!("it went on with {} applied", cluster.applied());
    }
}
