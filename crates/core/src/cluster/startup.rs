//! Starting: the node's own log is read, then its replica is built.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use stead_journal::{
    ClusterKey, DATABASE_LIMIT_BYTES, DiskId, Identity, Medium, Opening, Plain, Recovered, Step,
};
use stead_model::config::NodeConfig;
use stead_model::record::Level;
use stead_model::{OrderId, Span, Time, UtcMillis, VoterId};

use super::causes::Causes;
use super::leaving::Stay;
use super::{Cluster, Own, OwnReplica, Reporting, Start};
use crate::consensus::keeper::{IoDesk, Keeper};
use crate::consensus::record;
use crate::consensus::replica::{Replica, Setup};
use crate::counters::Counters;
use crate::effect::{Device, Effect, Ticket};
use crate::event::IoResult;
use crate::lease::asker::Asker;
use crate::membership::Links;
use crate::planted::Fault;
use crate::quorum::{Seat, SeatConfig};
use crate::resources::{Beginning, Holdings};

/// The node's log while it is being read.
pub(super) struct Loading {
    pub(super) ticket: Ticket,
    opening: Option<Opening<Plain>>,
}

pub(super) fn start(start: Start, now: Time) -> (Cluster, Vec<Effect>) {
    let Start { config, service, guard, machine, key, seed, planted } = start;
    let timing = config.profile.timing();
    let node = config.node;
    let mut io = IoDesk::default();
    let ticket = io.read(Device::NodeLog, Identity::OFFSET, Identity::BYTES);
    let seat = config.quorum.disk.as_ref().map(|disk| {
        let config = SeatConfig {
            node,
            voter: disk.voter,
            disk: DiskId(disk.disk_id),
            key: ClusterKey::new(key),
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
        guard: guard.incarnation,
        seed,
        planted,
        utc: (UtcMillis(0), now),
        io,
        out: Vec::new(),
        links: Links::new(&config, now, silence_max(&timing)),
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
        met: 0,
        stay: Stay::new(service),
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
        let holdings = Holdings::new(Beginning { node, guard, log_end, orders_above, planted });
        self.own = Own::Running(Box::new(OwnReplica { replica, keeper, leading: None, holdings }));
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
