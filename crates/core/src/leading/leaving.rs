//! Nodes that leave in order, and come back: what the leader does about their votes, and about its
//! own leadership when it leaves itself.
//!
//! With a quorum disk a node keeps its vote: the one that stays and the disk are a majority, and
//! any node may come back first. With nodes alone it hands its vote over, so that those that stay
//! are a majority of what is left, down to one; who left is a learner until it is back and has the
//! whole log, and cannot form a cluster alone meanwhile. A node that joins is given its vote in the
//! same way.

use std::collections::BTreeMap;

use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2};
use stead_model::change::{Change, Entry};
use stead_model::config::QuorumMode;
use stead_model::{LogIndex, NodeId, VoterId};

use super::takeover::Live;
use super::{Around, cluster_time};
use crate::consensus::replica::Replica;

/// Takes or gives one vote, if one is due; the index of the entry.
pub(super) fn votes(replica: &mut Replica, around: &Around<'_>) -> Option<LogIndex> {
    let lends = around.nodes.iter().copied().find(|node| shall_lend(replica, around, *node));
    if let Some(node) = lends {
        return change_vote(replica, around, node, Change::VoteLent { node });
    }
    if let Some(index) = disk_votes_again(replica, around) {
        return Some(index);
    }
    let back =
        replica.db.lent().iter().copied().find(|node| may_vote_again(replica, around, *node));
    let node = back?;
    change_vote(replica, around, node, Change::VoteReturned { node })
}

/// A leader on a node that leaves hands leadership to a voter that stays, the quorum disk on
/// another node if no other is left, once nothing is left to run there; whether it does.
pub(super) fn pass_on(replica: &mut Replica, around: &Around<'_>) -> bool {
    let db = &replica.db;
    if !db.left().contains(&around.host) || db.owns_any(around.host) {
        return false;
    }
    let stays = |node: &NodeId| around.heard.contains(node) && !db.left().contains(node);
    let others = around.nodes.iter().filter(|node| **node != around.host && stays(node));
    let hosted = around.disk_host.filter(|host| *host != around.host && stays(host));
    let disk = replica.voters().into_iter().find(|v| v.is_disk() && hosted.is_some());
    let mut heirs = others.map(|node| VoterId::from(*node)).chain(disk);
    let heir = heirs.find(|v| replica.is_voter(*v));
    let Some(heir) = heir else { return false };
    if replica.has_all(heir) {
        replica.transfer(heir);
    }
    true
}

/// Whether the node hands its vote over before it is gone: with nodes alone, while those that
/// answer are a majority without it.
pub(crate) fn lends_vote(replica: &Replica, heard: &[NodeId], node: NodeId) -> bool {
    let voters = replica.voters();
    let rest: Vec<NodeId> = voters.iter().filter_map(|v| v.node()).filter(|n| *n != node).collect();
    let answering = rest.iter().filter(|n| heard.contains(n)).count();
    !has_disk(replica) && replica.is_voter(VoterId::from(node)) && answering > rest.len() / 2
}

/// Takes out a node that leaves for good, if one can go; the index of the entry.
///
/// It can go once it owns nothing, or is silent and known stopped (R6): what it still owns then is
/// nobody's. Those that stay must answer as a majority of what is left.
pub(super) fn evict(
    replica: &mut Replica,
    around: &Around<'_>,
    live: &BTreeMap<NodeId, Live>,
) -> Option<LogIndex> {
    let goes = replica.db.going().iter().copied().find(|n| may_go(replica, around, (*n, live)));
    let node = goes?;
    let why = format!("{node} was evicted");
    let owned = replica.db.groups().values().filter_map(|group| {
        let owned = group.ownership.as_ref().filter(|owned| owned.node == node)?;
        Some(Change::Disown { group: group.id.clone(), epoch: owned.epoch, why: why.clone() })
    });
    let changes = owned.chain([Change::NodeEvicted { node }]).collect();
    let entry = Entry { at: cluster_time(replica, around.utc), request: None, why, changes };
    let voter = VoterId::from(node);
    if !replica.is_member(voter) {
        return replica.propose(&entry).ok();
    }
    let removal = membership(voter, ConfChangeType::RemoveNode);
    replica.propose_membership(removal, &entry).ok()
}

fn may_go(
    replica: &Replica,
    around: &Around<'_>,
    (node, live): (NodeId, &BTreeMap<NodeId, Live>),
) -> bool {
    let voter = VoterId::from(node);
    // What it hosts or leads it hands on first (`pass_on`, `cluster/leaving`).
    let holds = around.host == node || around.disk_host == Some(node);
    if holds || replica.leader() == Some(voter) {
        return false;
    }
    let heard = around.heard.contains(&node);
    let stopped = !heard && live.get(&node).is_some_and(|live| live.stopped);
    let told = !heard || replica.has_all(voter);
    let rest: Vec<VoterId> = replica.voters().into_iter().filter(|v| *v != voter).collect();
    let answers = |v: &&VoterId| match v.node() {
        Some(node) => around.heard.contains(&node),
        None => around.disk_host.is_some(),
    };
    let majority = rest.iter().filter(answers).count() > rest.len() / 2;
    majority && told && (stopped || !replica.db.owns_any(node))
}

fn has_disk(replica: &Replica) -> bool {
    replica.voters().iter().any(|v| v.is_disk())
}

fn shall_lend(replica: &Replica, around: &Around<'_>, node: NodeId) -> bool {
    let db = &replica.db;
    db.left().contains(&node)
        && !db.lent().contains(&node)
        && !db.owns_any(node)
        && replica.leader() != Some(VoterId::from(node))
        && lends_vote(replica, around.heard, node)
}

fn may_vote_again(replica: &Replica, around: &Around<'_>, node: NodeId) -> bool {
    let voter = VoterId::from(node);
    let there = around.heard.contains(&node) && replica.has_all(voter);
    !replica.db.left().contains(&node) && (there || replica.is_voter(voter))
}

/// D has no vote after quorum was forced without it. It gets it back when it is hosted and has the
/// whole log.
fn disk_votes_again(replica: &mut Replica, around: &Around<'_>) -> Option<LogIndex> {
    let quorum = &around.config.quorum;
    let disk = quorum.disk.as_ref().filter(|_| quorum.mode == QuorumMode::NodeAndDiskMajority)?;
    let back = replica.is_member(disk.voter)
        && !replica.is_voter(disk.voter)
        && replica.has_all(disk.voter)
        && around.disk_host.is_some();
    if !back {
        return None;
    }
    let at = cluster_time(replica, around.utc);
    let why = "the quorum disk has its vote".to_owned();
    let entry = Entry { at, request: None, why, changes: Vec::new() };
    replica.propose_membership(membership(disk.voter, ConfChangeType::AddNode), &entry).ok()
}

fn change_vote(
    replica: &mut Replica,
    around: &Around<'_>,
    node: NodeId,
    change: Change,
) -> Option<LogIndex> {
    let voter = VoterId::from(node);
    let gives = matches!(change, Change::VoteReturned { .. });
    let at = cluster_time(replica, around.utc);
    let entry = Entry { at, request: None, why: change.to_string(), changes: vec![change] };
    if replica.is_voter(voter) == gives {
        // An administrator did it meanwhile.
        return replica.propose(&entry).ok();
    }
    let kind = if gives { ConfChangeType::AddNode } else { ConfChangeType::AddLearnerNode };
    replica.propose_membership(membership(voter, kind), &entry).ok()
}

/// What the engine is told of one voter or learner.
pub(super) fn membership(voter: VoterId, kind: ConfChangeType) -> ConfChangeV2 {
    let mut single = ConfChangeSingle::default();
    single.set_change_type(kind);
    single.node_id = voter.0;
    ConfChangeV2 { changes: vec![single], ..ConfChangeV2::default() }
}
