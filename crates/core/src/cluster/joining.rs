//! Nodes that joined, or are no members any more: how each node learns of them.
//!
//! `cluster.json` holds those that were known when it was written; who joined later is in the
//! database. The configuration in memory, the links and the executors learn of a new one when the
//! entry is applied here, and of all of them when the log was read. A node that missed such an
//! entry cannot hear a leader that it tells of: heartbeats say how many nodes their sender knows,
//! and who knows more tells it.

use stead_model::config::{NodeConfig, NodeEntry};
use stead_model::reason::{Code, Reason};
use stead_model::token::Shown;
use stead_model::wire::peer::PeerMessage;
use stead_model::{NodeId, Time};

use super::Cluster;
use crate::db::tokens;
use crate::effect::{Channel, Effect};

impl Cluster {
    /// Learns of nodes that joined according to the log, if it tells of more than before.
    pub(super) fn meet(&mut self, now: Time) -> bool {
        let Some(own) = self.running() else { return false };
        let db = &own.replica.db;
        if db.members_changed() == self.met {
            return false;
        }
        let (changed, evicted, joined) = (db.members_changed(), db.evicted(), db.joined());
        let nodes = self.config.nodes.iter().filter(|n| n.id != self.node);
        let gone: Vec<NodeEntry> = nodes.filter(|n| evicted.contains(&n.id)).cloned().collect();
        let all: Vec<NodeEntry> = joined.values().cloned().collect();
        self.met = changed;
        self.part_from(gone);
        all.iter().for_each(|entry| self.find_elsewhere(entry));
        self.get_to_know(now, all);
        true
    }

    /// Closes the links to nodes that are no members any more.
    fn part_from(&mut self, gone: Vec<NodeEntry>) {
        for NodeEntry { id: node, name: former, .. } in gone {
            self.links.remove(node);
            self.host_names.retain(|name| *name != former);
            self.config.nodes.retain(|known| known.id != node);
            self.reporting.latest.remove(&node);
            self.sights += 1;
            self.out.push(Effect::Parted(node));
        }
    }

    /// A node is elsewhere or called otherwise, or its number is another one's by now.
    fn find_elsewhere(&mut self, entry: &NodeEntry) {
        let known = self.config.nodes.iter_mut().find(|known| known.id == entry.id);
        let Some(known) = known.filter(|known| *known != entry) else { return };
        let former = std::mem::replace(known, entry.clone());
        self.host_names.retain(|name| *name != former.name);
        self.host_names.push(entry.name.clone());
        self.links.moved(&former, entry);
        self.sights += 1;
        self.out.push(Effect::Met(vec![entry.clone()]));
    }

    /// Whether it is no member any more, as far as this node has the log.
    pub(super) fn is_evicted(&self, node: NodeId) -> bool {
        self.running().is_some_and(|own| own.replica.db.evicted().contains(&node))
    }

    /// Whether this node is no member any more, as its own log has it, or that of the quorum disk
    /// where it was looked into later than the own one ends.
    pub(super) fn is_out(&self) -> bool {
        let applied = self.running().map(|own| own.replica.db.applied());
        self.is_evicted(self.node) || self.stay.evicted_at.is_some_and(|at| applied < Some(at))
    }

    /// A node that missed its eviction is told by nobody but the quorum disk, once it hosts that.
    pub(super) fn note_eviction(&mut self) {
        let live = self.seat.as_ref().and_then(|seat| seat.live()).map(|live| &live.replica.db);
        if let Some(db) = live.filter(|db| db.evicted().contains(&self.node)) {
            self.stay.evicted_at = self.stay.evicted_at.max(Some(db.applied()));
        }
    }

    /// Opens links to those of these nodes that are not known.
    pub(super) fn get_to_know(&mut self, now: Time, nodes: Vec<NodeEntry>) {
        let mut new = Vec::new();
        for entry in nodes {
            if self.config.node_entry(entry.id).is_none() && !self.is_evicted(entry.id) {
                self.links.add(now, &entry);
                self.host_names.push(entry.name.clone());
                self.config.nodes.push(entry.clone());
                new.push(entry);
            }
        }
        if !new.is_empty() {
            self.config.nodes.sort_by_key(|entry| entry.id);
            self.out.push(Effect::Met(new));
        }
    }

    /// How many nodes there are and were, as far as this node knows: it only grows.
    pub(super) fn members_ever(&self) -> u16 {
        let evicted = self.running().map_or(0, |own| own.replica.db.evicted().len());
        u16::try_from(self.config.nodes.len() + evicted).unwrap_or(u16::MAX)
    }

    /// Whether some host may be let in: a token is good, or the host that it let in is not heard
    /// yet and may have to ask again.
    #[must_use]
    pub fn admits(&self, now: Time) -> bool {
        let Some(own) = self.running() else { return false };
        let at = self.utc_now(now).max(own.replica.db.at());
        own.replica.db.tokens().values().any(|token| {
            let waits = token.used.is_none_or(|used| !self.links.is_heard(used.node));
            at < token.until && waits
        })
    }

    /// What a host is told that shows a token: the configuration that a node which joins begins
    /// with, and which node the host is already.
    ///
    /// # Errors
    /// The token is not good, as far as this node knows.
    pub fn welcome(&self, now: Time, shown: Shown) -> Result<(NodeConfig, Option<NodeId>), Reason> {
        let Some(own) = self.running() else {
            return Err(Reason::new(Code::Conflict, "this node is reading its log")
                .hint("repeat the command in a moment"));
        };
        let db = &own.replica.db;
        let known_as = tokens::admitted(db, self.utc_now(now).max(db.at()), shown)?;
        Ok((self.config.clone(), known_as))
    }

    /// Answers a heartbeat of a node that knows fewer nodes than this one.
    pub(super) fn tell_members(&mut self, to: NodeId, known: u16) {
        if known < self.members_ever() {
            let message = PeerMessage::Members(self.config.nodes.clone());
            self.out.push(Effect::Send { to, channel: Channel::Datagram, message });
        }
    }
}
