//! Links to the other nodes: one per node and network that carries cluster traffic.

use std::collections::BTreeMap;

use stead_model::config::{NodeConfig, NodeEntry};
use stead_model::wire::peer::DiskHosting;
use stead_model::{DiskEpoch, Incarnation, NetworkId, NodeId, Span, Time, VoterId};

use super::sequence::Window;
use crate::event::Arrival;

/// All links of this node.
#[derive(Debug)]
pub(crate) struct Links {
    peers: BTreeMap<NodeId, Peer>,
    /// Networks that carry cluster traffic.
    carries: Vec<NetworkId>,
    silence_max: Span,
}

/// One other node.
#[derive(Debug)]
struct Peer {
    links: BTreeMap<NetworkId, Link>,
    window: Window,
    suspected: bool,
    disk: DiskHosting,
    /// When the last heartbeat came that said so.
    disk_heard: Time,
}

#[derive(Debug, Default)]
struct Link {
    heard: Option<Time>,
    up: bool,
    life: Incarnation,
    first_sequence: u64,
    highest_sequence: u64,
    received: u64,
}

/// Another node that announces to host the quorum disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DiskHost {
    pub(crate) epoch: DiskEpoch,
    /// The renewal that had begun last when it said so.
    pub(crate) counter: u64,
    pub(crate) node: NodeId,
    pub(crate) voter: VoterId,
    /// When it said so last.
    pub(crate) heard: Time,
}

/// What a link looks like from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LinkState {
    pub(crate) network: NetworkId,
    pub(crate) up: bool,
    pub(crate) received: u64,
    pub(crate) lost: u64,
}

/// What changed about who is heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    LinkUp(NodeId, NetworkId),
    LinkDown(NodeId, NetworkId),
    Answers(NodeId),
    /// Silent on all links since that long.
    Suspected(NodeId, Span),
}

impl Links {
    /// Nobody has been heard yet, and nobody is suspected before `silence_max` has passed.
    pub(crate) fn new(config: &NodeConfig, now: Time, silence_max: Span) -> Self {
        let carries: Vec<_> =
            config.networks.iter().filter(|n| n.role.carries_cluster()).map(|n| n.id).collect();
        let mut links = Self { peers: BTreeMap::new(), carries, silence_max };
        config.nodes.iter().filter(|n| n.id != config.node).for_each(|n| links.add(now, n));
        links
    }

    /// A node joined: it has not been heard yet.
    pub(crate) fn add(&mut self, now: Time, node: &NodeEntry) {
        let own = node.addresses.iter().map(|a| a.network).filter(|n| self.carries.contains(n));
        let peer = Peer {
            links: own.map(|n| (n, Link::default())).collect(),
            window: Window::default(),
            suspected: false,
            disk: DiskHosting::No,
            disk_heard: now,
        };
        self.peers.insert(node.id, peer);
    }

    /// Notes that something arrived; `true` if it is not a copy of what came before.
    pub(crate) fn arrived(
        &mut self,
        now: Time,
        from: NodeId,
        arrival: Arrival,
        out: &mut Vec<Heard>,
    ) -> bool {
        let Some(peer) = self.peers.get_mut(&from) else { return false };
        let Arrival::Datagram { network, incarnation, sequence } = arrival else { return true };
        if let Some(link) = peer.links.get_mut(&network) {
            link.hear(now, incarnation, sequence);
            if !link.up {
                link.up = true;
                out.push(Heard::LinkUp(from, network));
            }
        }
        if peer.suspected {
            peer.suspected = false;
            out.push(Heard::Answers(from));
        }
        peer.window.is_new(incarnation, sequence)
    }

    /// Finds silent links and nodes.
    pub(crate) fn check(&mut self, now: Time, out: &mut Vec<Heard>) {
        for (&node, peer) in &mut self.peers {
            let mut shortest = None;
            for (&network, link) in &mut peer.links {
                let Some(heard) = link.heard else { continue };
                let silence = now.since(heard);
                shortest = Some(shortest.map_or(silence, |s: Span| s.min(silence)));
                if link.up && silence > self.silence_max {
                    link.up = false;
                    out.push(Heard::LinkDown(node, network));
                }
            }
            if let Some(silence) = shortest
                && silence > self.silence_max
                && !peer.suspected
            {
                peer.suspected = true;
                out.push(Heard::Suspected(node, silence));
            }
        }
    }

    /// When [`Links::check`] may find something.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let links = self.peers.values().flat_map(|p| p.links.values());
        let heard = links.filter(|l| l.up).filter_map(|l| l.heard);
        heard.map(|h| h + self.silence_max + Span(1)).min()
    }

    /// Whether the node has been heard and is not silent now.
    pub(crate) fn is_heard(&self, node: NodeId) -> bool {
        let up = |p: &Peer| !p.suspected && p.links.values().any(|l| l.heard.is_some());
        self.peers.get(&node).is_some_and(up)
    }

    /// Whether every other node was heard within `span`.
    pub(crate) fn all_heard(&self, now: Time, span: Span) -> bool {
        let last = |p: &Peer| p.links.values().filter_map(|l| l.heard).max();
        self.peers.values().all(|p| last(p).is_some_and(|at| now.since(at) < span))
    }

    pub(crate) fn is_suspected(&self, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(|p| p.suspected)
    }

    /// Notes what a node announced about the quorum disk.
    pub(crate) fn announced(&mut self, now: Time, from: NodeId, disk: DiskHosting) {
        if let Some(peer) = self.peers.get_mut(&from) {
            (peer.disk, peer.disk_heard) = (disk, now);
        }
    }

    /// The node that announces to host the quorum disk in the highest epoch, if it was heard
    /// within `fresh`.
    pub(crate) fn disk_host(&self, now: Time, fresh: Span) -> Option<DiskHost> {
        let hosts = self.peers.iter().filter_map(|(&node, peer)| match peer.disk {
            DiskHosting::Hosts { voter, epoch, counter } if now.since(peer.disk_heard) <= fresh => {
                Some(DiskHost { epoch, counter, node, voter, heard: peer.disk_heard })
            }
            DiskHosting::Hosts { .. } | DiskHosting::No | DiskHosting::Free => None,
        });
        hosts.max_by_key(|host| (host.epoch, host.node))
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.peers.keys().copied()
    }

    pub(crate) fn states(&self, node: NodeId) -> Vec<LinkState> {
        let Some(peer) = self.peers.get(&node) else { return Vec::new() };
        let state = |(&network, link): (&NetworkId, &Link)| LinkState {
            network,
            up: link.up,
            received: link.received,
            lost: link.lost(),
        };
        peer.links.iter().map(state).collect()
    }
}

impl Link {
    fn hear(&mut self, now: Time, life: Incarnation, sequence: u64) {
        self.heard = Some(now);
        self.received += 1;
        if self.life != life {
            self.life = life;
            (self.first_sequence, self.highest_sequence) = (sequence, sequence);
            self.received = 1;
        }
        self.highest_sequence = self.highest_sequence.max(sequence);
    }

    const fn lost(&self) -> u64 {
        let sent = (self.highest_sequence + 1).saturating_sub(self.first_sequence);
        sent.saturating_sub(self.received)
    }
}
