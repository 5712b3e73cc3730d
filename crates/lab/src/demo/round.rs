//! One round: everything healthy, the wanted roles, power cut, takeover, power on.

use std::collections::BTreeMap;
use std::time::Duration;

use stead_model::config::QuorumMode;
use stead_model::record::Record;
use stead_model::request::Request;
use stead_model::view::{NodeView, View};
use stead_model::{GroupId, NodeId, VoterId};

use super::{DemoError, DemoRun, GROUP, Victim};
use crate::cabling::Station;
use crate::clock;
use crate::cluster::{Cluster, ClusterError};
use crate::lab::Lab;
use crate::prober::{Outcome, Prober};

/// One round in a lab where the group is online.
#[derive(Debug)]
pub(super) struct Round<'a> {
    pub(super) lab: &'a Lab,
    pub(super) cluster: &'a Cluster<'a>,
    pub(super) prober: &'a Prober,
    pub(super) number: u32,
}

/// Who is what before the power cut.
#[derive(Clone, Debug)]
struct Roles {
    leader: Option<VoterId>,
    /// The node that leads, or hosts the disk that does.
    leads: NodeId,
    disk_host: Option<NodeId>,
    owner: Option<NodeId>,
}

impl Round<'_> {
    /// Runs it and brings the victim back.
    pub(super) fn run(
        &self,
        victim: Victim,
        progress: &mut dyn FnMut(&str),
    ) -> Result<DemoRun, DemoError> {
        let roles = self.prepare(victim, progress)?;
        let crashed = match victim {
            Victim::Owner | Victim::Follower => roles.owner.unwrap_or(roles.leads),
            Victim::Leader => roles.leads,
        };
        let last = self.last_records(crashed)?;
        progress(&format!("run {}: power cut of {crashed}", self.number));
        let cut_ns = self.lab.crash(crashed)?;
        let run = self.measure(&roles, crashed, cut_ns, &last);
        self.lab.start(crashed)?;
        run
    }

    /// Waits for health and brings the group where the victim's role wants it.
    fn prepare(&self, victim: Victim, progress: &mut dyn FnMut(&str)) -> Result<Roles, DemoError> {
        self.wait_healthy()?;
        if let Err(unsettled) = self.wait_leader_hosts() {
            progress(&format!("run {}: {unsettled}", self.number));
        }
        let roles = self.roles()?;
        let others = self.lab.record().node_ids().filter(|node| *node != roles.leads);
        let wanted = match victim {
            Victim::Owner => Some(roles.leads),
            Victim::Leader | Victim::Follower => {
                let (hosting, idle): (Vec<_>, Vec<_>) =
                    others.partition(|node| Some(*node) == roles.disk_host);
                idle.into_iter().chain(hosting).next()
            }
        };
        if let Some(to) = wanted.filter(|to| roles.owner != Some(*to)) {
            let group = GroupId::from(GROUP);
            self.cluster.request(&Request::MoveGroup { group, to: Some(to) })?;
            self.cluster.wait_online(GROUP, Some(to), HEALTH_LIMIT)?;
        }
        let owner = wanted.or(roles.owner).map(Station::Node);
        self.wait_good(clock::boot_ns(), owner, "before")?;
        self.wait_healthy()?;
        self.roles()
    }

    /// All nodes up and with quorum, leases short, the group online, everybody of one mind about
    /// the leader.
    fn wait_healthy(&self) -> Result<(), DemoError> {
        self.cluster.wait_serving(HEALTH_LIMIT)?;
        self.cluster.wait_online(GROUP, None, HEALTH_LIMIT)?;
        self.cluster.wait(HEALTH_LIMIT, "no settled cluster", || {
            let mut leader = None;
            for node in self.lab.record().node_ids() {
                let view = self.cluster.view(node).map_err(|error| error.to_string())?;
                if let Some(NodeView { node, .. }) = view.nodes.iter().find(|n| n.lease_longer) {
                    return Err(format!("leases of {node} are still long"));
                }
                let led = view.quorum.leader;
                if led.is_none() || *leader.get_or_insert(led) != led {
                    return Err("the nodes do not agree who leads".into());
                }
            }
            Ok(())
        })?;
        Ok(())
    }

    /// The leader prefers to host the quorum disk, but not at once; a round without it is another
    /// story, which the report shows.
    fn wait_leader_hosts(&self) -> Result<(), ClusterError> {
        if self.lab.record().quorum == QuorumMode::NodeMajority {
            return Ok(());
        }
        self.cluster.wait(SETTLE_LIMIT, "the leader does not host the quorum disk", || {
            let roles = self.roles().map_err(|error| error.to_string())?;
            if roles.disk_host == Some(roles.leads) {
                return Ok(());
            }
            let host = roles.disk_host.map_or_else(|| "nobody".into(), |node| node.to_string());
            Err(format!("{host} hosts it, {} leads", roles.leads))
        })
    }

    fn roles(&self) -> Result<Roles, DemoError> {
        let first = self.lab.record().node_ids().next().ok_or(DemoError::OneNode)?;
        let View { quorum, groups, .. } = self.cluster.view(first)?;
        let leads = quorum.leader.and_then(|leader| leader.node().or(quorum.disk_host));
        let group = groups.into_iter().find(|group| group.group.as_str() == GROUP);
        Ok(Roles {
            leader: quorum.leader,
            leads: leads.ok_or(DemoError::NoLeader)?,
            disk_host: quorum.disk_host,
            owner: group.and_then(|group| group.owner),
        })
    }

    /// Number of the last record of every node that will survive.
    fn last_records(&self, crashed: NodeId) -> Result<BTreeMap<NodeId, u64>, DemoError> {
        let survivors = self.lab.record().node_ids().filter(|node| *node != crashed);
        let last = |node| -> Result<(NodeId, u64), DemoError> {
            let records = self.cluster.records(node, 0)?;
            Ok((node, records.last().map_or(0, |record| record.number)))
        };
        survivors.map(last).collect()
    }

    fn measure(
        &self,
        roles: &Roles,
        crashed: NodeId,
        cut_ns: u64,
        last: &BTreeMap<NodeId, u64>,
    ) -> Result<DemoRun, DemoError> {
        let moves = roles.owner == Some(crashed);
        let after_ns = if moves { cut_ns } else { cut_ns + self.takeover_ns() };
        let back = self.wait_back(crashed, after_ns)?;
        let records = self.records_of_takeover(last, cut_ns, moves)?;
        let since = |record: Option<&Record>| {
            record.map(|record| (record.boot_ns.saturating_sub(cut_ns)) as f64 / 1e6)
        };
        let about_group = |record: &&&Record, code: &str| {
            record.code == code && record.group.as_ref().is_some_and(|g| g.as_str() == GROUP)
        };
        let granted = records.iter().filter(|r| about_group(&r, "group-granted"));
        let decided = granted.min_by_key(|record| record.boot_ns);
        let online = records.iter().find(|r| about_group(&r, "group-online"));
        // Whoever decided, or whoever noticed first when there was nothing to decide.
        let victim = format!("{crashed} ");
        let suspected = records.iter().filter(|record| {
            let by = decided.is_none_or(|decided| decided.node == record.node);
            record.code == "suspected" && record.text.starts_with(&victim) && by
        });
        let attempts = self.prober.attempts();
        let attempts: Vec<_> = attempts.iter().filter(|a| a.sent_ns >= cut_ns).collect();
        let failed = attempts.iter().filter(|a| a.result != Outcome::Good).count();
        Ok(DemoRun {
            run: self.number,
            crashed,
            leader: roles.leader,
            disk_host: roles.disk_host,
            owner_before: roles.owner,
            owner_after: back,
            outage_ms: self.prober.outage_after(cut_ns).map_or(0.0, |outage| outage.ms()),
            detect_ms: since(suspected.min_by_key(|record| record.boot_ns)),
            decide_ms: since(decided),
            online_ms: since(online),
            attempts_failed: failed as u64,
            attempts: attempts.len() as u64,
        })
    }

    /// Waits for a good answer of somebody who has power; who it was.
    fn wait_back(&self, crashed: NodeId, after_ns: u64) -> Result<Option<NodeId>, DemoError> {
        let limit = BACK_LIMIT;
        let dark = Station::Node(crashed);
        let answered = clock::wait_for(limit, || {
            let good = self.prober.wait_good(after_ns, None, Duration::ZERO)?;
            good.from.filter(|station| *station != dark)
        });
        match answered {
            Some(Station::Node(node)) => Ok(Some(node)),
            Some(Station::Client) => Ok(None),
            None => {
                let (run, victim) = (self.number, crashed.to_string());
                Err(DemoError::NotBack { run, victim, limit })
            }
        }
    }

    fn wait_good(&self, after_ns: u64, by: Option<Station>, victim: &str) -> Result<(), DemoError> {
        let limit = BACK_LIMIT;
        let (run, victim) = (self.number, victim.to_owned());
        let answered = self.prober.wait_good(after_ns, by, limit);
        answered.map(|_| ()).ok_or(DemoError::NotBack { run, victim, limit })
    }

    /// The records of all survivors after the power cut. Where the group moves they are complete
    /// when somebody wrote that it is online.
    fn records_of_takeover(
        &self,
        last: &BTreeMap<NodeId, u64>,
        cut_ns: u64,
        moves: bool,
    ) -> Result<Vec<Record>, DemoError> {
        let mut all = Vec::new();
        let limit = RECORDS_LIMIT;
        let complete = self.cluster.wait(limit, "no record that the group is online", || {
            all.clear();
            for (node, number) in last {
                let records = self.cluster.records(*node, *number);
                let records = records.map_err(|error| error.to_string())?;
                all.extend(records.into_iter().filter(|record| record.boot_ns >= cut_ns));
            }
            let online = all.iter().any(|record| record.code == "group-online");
            if online || !moves { Ok(()) } else { Err("only others".into()) }
        });
        complete?;
        Ok(all)
    }

    /// After this a takeover would have shown, if there were one.
    fn takeover_ns(&self) -> u64 {
        let timing = self.lab.record().profile.timing();
        2 * timing.wait(timing.lease).0
    }
}

const HEALTH_LIMIT: Duration = Duration::from_secs(120);
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
const BACK_LIMIT: Duration = Duration::from_secs(120);
const RECORDS_LIMIT: Duration = Duration::from_secs(10);
