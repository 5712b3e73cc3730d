//! Nodes that joined: how each node learns of them.
//!
//! `cluster.json` holds those that were known when it was written; who joined later is in the
//! database. The configuration in memory, the links and the executors learn of a new one when the
//! entry is applied here, and of all of them when the log was read. A node that missed such an
//! entry cannot hear a leader that it tells of: heartbeats say how many nodes their sender knows,
//! and who knows more tells it.

use stead_model::config::NodeEntry;
use stead_model::wire::peer::PeerMessage;
use stead_model::{NodeId, Time};

use super::Cluster;
use crate::effect::{Channel, Effect};

impl Cluster {
    /// Learns of nodes that joined according to the log, if it tells of more than before.
    pub(super) fn meet(&mut self, now: Time) -> bool {
        let Some(own) = self.running() else { return false };
        let joined = own.replica.db.joined();
        if joined.len() == self.met {
            return false;
        }
        let all = joined.values().cloned().collect();
        self.met = joined.len();
        self.get_to_know(now, all);
        true
    }

    /// Opens links to those of these nodes that are not known.
    pub(super) fn get_to_know(&mut self, now: Time, nodes: Vec<NodeEntry>) {
        let mut new = Vec::new();
        for entry in nodes {
            if self.config.node_entry(entry.id).is_none() {
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

    /// Answers a heartbeat of a node that knows fewer nodes than this one.
    pub(super) fn tell_members(&mut self, to: NodeId, known: u16) {
        if usize::from(known) < self.config.nodes.len() {
            let message = PeerMessage::Members(self.config.nodes.clone());
            self.out.push(Effect::Send { to, channel: Channel::Datagram, message });
        }
    }
}
