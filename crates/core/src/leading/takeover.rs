//! Who is known stopped, who may be given groups, how long leases are, who hands leadership over.
//!
//! *Electing is not taking over*: a silent node's groups are given away only when its lease is
//! known to be over, however soon a new leader was elected (R6).

use std::collections::{BTreeMap, BTreeSet};

use stead_model::change::Change;
use stead_model::profile::{ABSENCE, LeaseLength, Timing};
use stead_model::{NodeId, Time, VoterId};

use super::{Around, Leading, Note, lengths};
use crate::consensus::replica::Replica;
use crate::lease::granter::Granter;

/// What the leader knows of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Live {
    pub(crate) eligible: bool,
    pub(crate) stopped: bool,
}

/// Whether no majority exists without D: then leases have the longer length.
pub(super) fn wants_longer(replica: &Replica, heard: &[NodeId]) -> bool {
    let voters = replica.voters();
    let heard_voters = voters.iter().filter_map(|v| v.node()).filter(|n| heard.contains(n));
    voters.iter().any(|v| v.is_disk()) && heard_voters.count() <= voters.len() / 2
}

/// What every node is to the planner.
pub(super) fn live_nodes(
    leading: &Leading,
    replica: &Replica,
    around: &Around<'_>,
) -> BTreeMap<NodeId, Live> {
    let fresh = around.timing.renewal * 3;
    let live = |&node: &NodeId| {
        let stopped_at = stopped_at(leading, replica, around.timing, node);
        let stopped = around.now >= stopped_at;
        let asks = leading.granter.last_asked(node).is_some_and(|t| around.now.since(t) <= fresh);
        let heard = around.heard.contains(&node);
        let stays = !replica.db.left().contains(&node);
        (node, Live { eligible: heard && asks && stays, stopped: stopped && !asks })
    };
    around.nodes.iter().map(live).collect()
}

fn stopped_at(leading: &Leading, replica: &Replica, timing: &Timing, node: NodeId) -> Time {
    let length = lengths(replica, node, true).wait;
    leading.granter.stopped_at(node, timing.length(length), timing)
}

/// All nodes that own a group, each once.
fn owners(replica: &Replica) -> BTreeSet<NodeId> {
    let owned = replica.db.groups().values().filter_map(|g| g.ownership.as_ref());
    owned.map(|o| o.node).collect()
}

/// When the next owner that is silent will be known stopped.
pub(super) fn next(
    leading: &Leading,
    replica: &Replica,
    timing: &Timing,
    now: Time,
) -> Option<Time> {
    let times = owners(replica).into_iter().map(|n| stopped_at(leading, replica, timing, n));
    times.filter(|t| *t > now).min()
}

/// The length that leases of a node shall have.
pub(super) fn wanted_length(replica: &Replica, node: NodeId, wants_longer: bool) -> LeaseLength {
    if replica.db.absent().contains_key(&node) {
        LeaseLength::Absence
    } else if wants_longer {
        LeaseLength::Longer
    } else {
        LeaseLength::Short
    }
}

/// Changes of lease lengths: longer before the first longer answer, short after the node's guard
/// has taken a shorter one.
pub(super) fn lease_lengths(
    granter: &Granter,
    replica: &Replica,
    around: &Around<'_>,
    changes: &mut Vec<Change>,
) {
    let at = super::cluster_time(replica, around.utc);
    let over =
        replica.db.absent().iter().filter(|(_, since)| at.0 >= since.0 + ABSENCE.as_millis());
    changes.extend(over.map(|(&node, _)| Change::Absence { node, absent: false }));
    let wants = wants_longer(replica, around.heard);
    let asks = |node: &NodeId| {
        let fresh = around.timing.renewal * 3;
        let asked = granter.last_asked(*node);
        // Never for a node that has fallen silent: its longer lease would only be waited for.
        around.heard.contains(node) && asked.is_some_and(|t| around.now.since(t) <= fresh)
    };
    for &node in around.nodes.iter().filter(|n| asks(n)) {
        let (is, length) = (replica.db.lease_length(node), wanted_length(replica, node, wants));
        if length > is || (length < is && granter.took_at_most(node, length)) {
            changes.push(Change::LeaseLength { node, length });
        }
    }
}

/// A leader that has lost its vote confirms nothing (R7): a voter leads on.
pub(super) fn resign(replica: &mut Replica, around: &Around<'_>) {
    let heard = |v: &VoterId| v.node().is_none_or(|node| around.heard.contains(&node));
    let next = replica.voters().into_iter().find(|v| heard(v) && replica.has_all(*v));
    if let Some(next) = next {
        replica.transfer(next);
    }
}

/// D hands leadership to its host once the host has the whole log (R11: only after the take-overs
/// it is already entitled to, which the caller has just planned). Where the host has no vote
/// another node gets it, and hosts D then: D leads only while it has to.
pub(super) fn hand_over(leading: &mut Leading, replica: &mut Replica, around: &mut Around<'_>) {
    if !replica.leader().is_some_and(VoterId::is_disk) {
        return;
    }
    let others = around.heard.iter().copied().filter(|node| !replica.db.left().contains(node));
    let votes = |node: &NodeId| replica.is_voter(VoterId::from(*node));
    let Some(heir) = [around.host].into_iter().chain(others).find(votes) else { return };
    if !replica.has_all(VoterId::from(heir)) {
        return;
    }
    if entitled_soon(leading, replica, around) {
        return;
    }
    if !leading.handed_over {
        leading.handed_over = true;
        around.counters.handovers += 1;
        let whom = if heir == around.host { "its host " } else { "" };
        let text = format!("the quorum disk hands leadership to {whom}{heir}");
        around.notes.push(Note { code: "handed-over", text });
    }
    replica.transfer(VoterId::from(heir));
}

/// Whether a take-over becomes possible within the time a new leader would have to wait: D then
/// carries it out first (R11).
fn entitled_soon(leading: &Leading, replica: &Replica, around: &Around<'_>) -> bool {
    let silent = owners(replica).into_iter().filter(|node| !around.heard.contains(node));
    let mut times = silent.map(|n| stopped_at(leading, replica, around.timing, n));
    times.any(|t| t <= around.now + around.timing.wait(around.timing.lease))
}
