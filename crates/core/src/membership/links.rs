//! Links to the other nodes: one per node and network that carries cluster traffic.

use std::collections::BTreeMap;

use stead_model::config::{NodeConfig, NodeEntry, address_on};
use stead_model::wire::peer::{DiskHosting, Echo, Heartbeat};
use stead_model::{DiskEpoch, Incarnation, NetworkId, NodeId, Span, Time, VoterId};

use super::figures::{Quality, RoundTrips, Shares};
use super::lately::{Both, Came, Silence, Stretches};
use super::sequence::Window;
use crate::event::Arrival;

/// All links of this node.
#[derive(Debug)]
pub(crate) struct Links {
    peers: BTreeMap<NodeId, Peer>,
    /// Networks that carry cluster traffic.
    carries: Vec<NetworkId>,
    silence_max: Span,
    stretches: Stretches,
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
    /// The network whose heartbeat was sent back last.
    echoed: NetworkId,
    /// Heartbeats that went to it lately.
    sent: Both<u64>,
}

#[derive(Debug, Default)]
struct Link {
    heard: Option<Time>,
    up: bool,
    life: Incarnation,
    first_sequence: u64,
    highest_sequence: u64,
    received: u64,
    shares: Shares,
    came: Both<Came>,
    round_trips: RoundTrips,
    /// The last heartbeat that was not sent back: the sender's clock, and when it came.
    to_echo: Option<(Time, Time)>,
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
    pub(crate) loss_permille: u16,
    pub(crate) round_trips: RoundTrips,
}

/// What changed about who is heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Heard {
    LinkUp(NodeId, NetworkId),
    LinkDown(NodeId, NetworkId, Silence),
    /// So many in a thousand of the last ones are missing.
    LinkLossy(NodeId, NetworkId, u16),
    LinkSound(NodeId, NetworkId),
    Answers(NodeId),
    /// Silent on all links.
    Suspected(NodeId, Silence),
}

impl Links {
    /// Nobody has been heard yet, and nobody is suspected before `silence_max` has passed.
    pub(crate) fn new(config: &NodeConfig, now: Time, silence_max: Span) -> Self {
        let (peers, stretches) = (BTreeMap::new(), Stretches::new(now));
        let mut links = Self { peers, carries: carriers(config), silence_max, stretches };
        config.nodes.iter().filter(|n| n.id != config.node).for_each(|n| links.add(now, n));
        links
    }

    /// From now on these networks carry cluster traffic: links over others end, new ones begin.
    pub(crate) fn carry(&mut self, config: &NodeConfig) {
        self.carries = carriers(config);
        for node in &config.nodes {
            let Some(peer) = self.peers.get_mut(&node.id) else { continue };
            peer.links.retain(|network, _| self.carries.contains(network));
            for own in node.addresses.iter().filter(|own| self.carries.contains(&own.network)) {
                peer.links.entry(own.network).or_default();
            }
        }
    }

    /// Networks on which a node is heard now.
    pub(crate) fn heard_on(&self, node: NodeId) -> impl Iterator<Item = NetworkId> + '_ {
        let links = self.peers.get(&node).into_iter().flat_map(|peer| &peer.links);
        links.filter(|(_, link)| link.up).map(|(network, _)| *network)
    }

    /// If nobody is heard on a network: who is on it and heard elsewhere.
    pub(crate) fn silent_on(&self, network: NetworkId) -> Vec<NodeId> {
        let on_it = || self.peers.iter().filter(|(_, peer)| peer.links.contains_key(&network));
        if on_it().any(|(_, peer)| peer.links[&network].up) {
            return Vec::new();
        }
        let heard = |peer: &Peer| peer.links.values().any(|link| link.up);
        on_it().filter(|(_, peer)| heard(peer)).map(|(node, _)| *node).collect()
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
            echoed: NetworkId::default(),
            sent: Both::default(),
        };
        self.peers.insert(node.id, peer);
    }

    /// A node is elsewhere: where its address is another one it has not been heard yet.
    pub(crate) fn moved(&mut self, former: &NodeEntry, node: &NodeEntry) {
        let Some(peer) = self.peers.get_mut(&node.id) else { return };
        for (network, link) in &mut peer.links {
            let at = |entry: &NodeEntry| address_on(&entry.addresses, *network);
            if at(former) != at(node) {
                *link = Link::default();
                peer.sent = Both::default();
            }
        }
    }

    /// A node is no member any more.
    pub(crate) fn remove(&mut self, node: NodeId) {
        self.peers.remove(&node);
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
            if !link.up {
                link.shares.begin_anew();
            }
            let quality = link.hear(now, (incarnation, sequence), self.silence_max);
            out.extend(quality.map(|quality| match quality {
                Quality::Lossy => Heard::LinkLossy(from, network, link.shares.loss_permille()),
                Quality::Sound => Heard::LinkSound(from, network),
            }));
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

    /// Takes the figures out of a heartbeat, whether or not it came over another network before.
    pub(crate) fn measure(
        &mut self,
        now: Time,
        (from, network): (NodeId, NetworkId),
        heartbeat: &Heartbeat,
    ) {
        let peer = self.peers.get_mut(&from);
        let Some(link) = peer.and_then(|p| p.links.get_mut(&network)) else { return };
        link.to_echo = Some((heartbeat.sent, now));
        if let Some(echo) = heartbeat.echo.filter(|echo| echo.network == network) {
            link.round_trips.add(now.since(echo.sent).saturating_sub(echo.held));
        }
    }

    /// A heartbeat goes to a node.
    pub(crate) fn beats(&mut self, to: NodeId) {
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.sent.count();
        }
    }

    /// The heartbeats that go out now are so late: this node was slow itself.
    pub(crate) fn was_late(&mut self, by: Span) {
        self.stretches.was_late(by);
    }

    /// What is sent back to a node with the next heartbeat: of each network in its turn.
    pub(crate) fn echo(&mut self, now: Time, to: NodeId) -> Option<Echo> {
        let peer = self.peers.get_mut(&to)?;
        let waits =
            |(network, link): (&NetworkId, &Link)| link.to_echo.is_some().then_some(*network);
        let last = peer.echoed;
        let next = peer.links.iter().filter(|(n, _)| **n > last).find_map(waits);
        let network = next.or_else(|| peer.links.iter().find_map(waits))?;
        peer.echoed = network;
        let (sent, heard) = peer.links.get_mut(&network)?.to_echo.take()?;
        Some(Echo { network, sent, held: now.since(heard) })
    }

    /// Finds silent links and nodes.
    pub(crate) fn check(&mut self, now: Time, out: &mut Vec<Heard>) {
        if self.stretches.turn(now) {
            for peer in self.peers.values_mut() {
                peer.sent.turn();
                peer.links.values_mut().for_each(|link| link.came.turn());
            }
        }
        for (&node, peer) in &mut self.peers {
            let mut shortest = None;
            for (&network, link) in &mut peer.links {
                let Some(heard) = link.heard else { continue };
                let silence = now.since(heard);
                shortest = Some(shortest.map_or(silence, |s: Span| s.min(silence)));
                if link.up && silence > self.silence_max {
                    link.up = false;
                    let came = std::iter::once(&link.came);
                    let silence = self.stretches.silence((now, silence), peer.sent, came);
                    out.push(Heard::LinkDown(node, network, silence));
                }
            }
            if let Some(silence) = shortest
                && silence > self.silence_max
                && !peer.suspected
            {
                peer.suspected = true;
                let came = peer.links.values().map(|link| &link.came);
                let silence = self.stretches.silence((now, silence), peer.sent, came);
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

    /// When the node was heard last.
    pub(crate) fn heard_at(&self, node: NodeId) -> Option<Time> {
        self.peers.get(&node)?.links.values().filter_map(|l| l.heard).max()
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
            loss_permille: if link.up { link.shares.loss_permille() } else { 1_000 },
            round_trips: link.round_trips,
        };
        peer.links.iter().map(state).collect()
    }
}

fn carriers(config: &NodeConfig) -> Vec<NetworkId> {
    config.networks.iter().filter(|n| n.role.carries_cluster()).map(|n| n.id).collect()
}

impl Link {
    fn hear(
        &mut self,
        now: Time,
        (life, sequence): (Incarnation, u64),
        silence_max: Span,
    ) -> Option<Quality> {
        let goes_on = self.up && self.life == life;
        let last = self.heard.replace(now).filter(|_| goes_on);
        // Half of the silence that counts: nearly two heartbeats.
        let waited = |at| now.since(at) > Span(silence_max.0 / 2);
        self.came.add(sequence, last.map(|at| (self.highest_sequence, waited(at))));
        self.received += 1;
        if self.life != life {
            self.life = life;
            (self.first_sequence, self.highest_sequence) = (sequence, sequence);
            self.received = 1;
            self.shares = Shares::default();
        }
        self.highest_sequence = self.highest_sequence.max(sequence);
        self.shares.add(now, sequence)
    }

    const fn lost(&self) -> u64 {
        let sent = (self.highest_sequence + 1).saturating_sub(self.first_sequence);
        sent.saturating_sub(self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::config::{NetworkEntry, NetworkRole, NodeAddress, QuorumConfig, QuorumMode};
    use stead_model::profile::Profile;
    use stead_model::rules::Priority;

    const PEER: NodeId = NodeId(2);

    /// Two nodes on two networks, as the first one sees them.
    fn links() -> Links {
        let networks = [1, 2].map(|net| NetworkEntry {
            id: NetworkId(net),
            name: format!("net{net}"),
            role: NetworkRole::Mixed,
            priority: Priority::default(),
        });
        let node = |id: u8| NodeEntry {
            id: NodeId(id.into()),
            name: format!("node{id}"),
            addresses: networks
                .iter()
                .map(|n| NodeAddress { network: n.id, address: [10, 77, n.id.0, id].into() })
                .collect(),
        };
        let config = NodeConfig {
            cluster: "test".into(),
            cluster_id: 1,
            node: NodeId(1),
            port: 1,
            nodes: [1, 2].map(node).into(),
            founders: None,
            networks: networks.to_vec(),
            quorum: QuorumConfig { mode: QuorumMode::NodeMajority, disk: None },
            profile: Profile::Standard,
            watchdog: None,
        };
        Links::new(&config, Time(0), Span::from_millis(350))
    }

    const fn at(ms: u64) -> Time {
        Time(Span::from_millis(ms).0)
    }

    #[test]
    fn a_silence_says_what_came_and_went_before_it() {
        let mut links = links();
        let mut heard = Vec::new();
        for n in 1..=40 {
            links.beats(PEER);
            // One that comes late on both networks, and two that are lost on one of them.
            let came = at(n * 100 + if n == 20 { 90 } else { 0 });
            for network in [1, 2].map(NetworkId) {
                let lost = network == NetworkId(2) && (n == 30 || n == 31);
                let arrival =
                    Arrival::Datagram { network, incarnation: Incarnation(7), sequence: 500 + n };
                if !lost {
                    links.arrived(came, PEER, arrival, &mut heard);
                }
            }
        }
        links.was_late(Span::from_micros(3_100));
        links.check(at(4_350), &mut heard);
        assert_eq!(heard, [1, 2].map(|net| Heard::LinkUp(PEER, NetworkId(net))));
        heard.clear();
        links.check(at(4_351), &mut heard);
        let told = heard.iter().map(|heard| match heard {
            Heard::LinkDown(PEER, network, silence) => format!("{network} {silence}"),
            Heard::Suspected(PEER, silence) => format!("all {silence}"),
            other => panic!("{other:?}"),
        });
        let expected = [("net1", (40, 0, 1)), ("net2", (38, 2, 1)), ("all", (78, 2, 2))];
        let expected = expected.map(|(of, (received, missing, late))| {
            format!(
                "{of} 351.000 ms; in the last 4.3 s {received} datagrams came from there \
                 ({missing} missing, {late} late), and 40 heartbeats went there (at most 4 ms late)"
            )
        });
        assert_eq!(told.collect::<Vec<_>>(), expected);
        // A silence is told once, and what it lost is not told again as missing.
        let later =
            Arrival::Datagram { network: NetworkId(1), incarnation: Incarnation(7), sequence: 600 };
        links.arrived(at(4_400), PEER, later, &mut heard);
        heard.clear();
        links.check(at(4_751), &mut heard);
        let told = heard.iter().find_map(|heard| match heard {
            Heard::LinkDown(PEER, NetworkId(1), silence) => Some(silence.to_string()),
            _ => None,
        });
        let told = told.unwrap();
        assert!(told.contains("41 datagrams came from there (0 missing, 1 late)"), "{told}");
    }
}
