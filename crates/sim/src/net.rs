//! The networks between the nodes: datagrams that get lost, late, doubled and out of order, and
//! streams that are ordered, fail as a whole and take what is in flight with them.
//!
//! A cut is per network and direction. A stream stalls while no network carries it both ways and
//! breaks when that lasts; a message that was under way is then gone, and nobody tells.

use std::collections::VecDeque;

use std::net::{IpAddr, Ipv4Addr};

use stead_model::config::{NetworkEntry, NodeEntry, address_on};
use stead_model::keys::Print;
use stead_model::wire::peer::PeerMessage;
use stead_model::{Incarnation, NetworkId, NodeId};

use crate::clock::Instant;
use crate::rng::Rng;

/// How the networks of a run behave.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Shortest delay, nanoseconds.
    pub delay_min_ns: u64,
    /// Longest ordinary delay.
    pub delay_max_ns: u64,
    /// Datagrams lost, per mille.
    pub loss: u64,
    /// Datagrams doubled, per mille.
    pub duplicates: u64,
    /// Datagrams and streams held up, per mille.
    pub stragglers: u64,
    /// Longest time a straggler is held up.
    pub straggle_max_ns: u64,
    /// Streams that break with a message, per mille.
    pub breaks: u64,
    /// How long a stream without a network stalls before it breaks.
    pub stall_max_ns: u64,
}

/// A message on a stream.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// Earliest arrival.
    pub at: Instant,
    /// The message.
    pub message: PeerMessage,
}

/// One direction of a stream between two nodes.
#[derive(Clone, Default, Debug)]
pub struct Stream {
    /// Grows when the stream breaks.
    pub connection: u64,
    /// What is under way, in order.
    pub queue: VecDeque<Parcel>,
}

/// All networks.
#[derive(Clone, Debug)]
pub struct Net {
    nodes: usize,
    networks: usize,
    /// Cut, by network, sender, addressee.
    cut: Vec<bool>,
    /// Networks that carry no cluster traffic as a node knows them, by network, node.
    unused: Vec<bool>,
    /// Where only small packets pass, by network, node.
    narrow: Vec<bool>,
    /// Where a node thinks that another one is, or it itself, by network, node, other.
    places: Vec<Option<IpAddr>>,
    streams: Vec<Stream>,
    sequence: Vec<u64>,
    /// How it behaves now.
    pub weather: Weather,
}

/// A datagram on its way over one network.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Sender.
    pub from: NodeId,
    /// Network.
    pub network: NetworkId,
    /// Life of the sender's service.
    pub incarnation: Incarnation,
    /// Sequence number.
    pub sequence: u64,
    /// What it is sealed with.
    pub sealed: Print,
    /// The message.
    pub message: PeerMessage,
}

const fn index(node: NodeId) -> usize {
    node.0 as usize - 1
}

/// The address on a network with which a node of a world begins.
#[must_use]
pub const fn place(network: u8, node: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, network, 0, node))
}

impl Net {
    /// Networks without cuts.
    #[must_use]
    pub fn new(nodes: usize, clients_only: Vec<bool>, weather: Weather) -> Self {
        let networks = clients_only.len();
        let unused = clients_only.iter().flat_map(|unused| vec![*unused; nodes]);
        let all = (0..networks).flat_map(|n| (0..nodes * nodes).map(move |pair| (n, pair % nodes)));
        let places = all.map(|(n, about)| Some(place(n as u8 + 1, about as u8 + 1)));
        Self {
            nodes,
            networks,
            cut: vec![false; networks * nodes * nodes],
            unused: unused.collect(),
            narrow: vec![false; networks * nodes],
            places: places.collect(),
            streams: vec![Stream::default(); nodes * nodes],
            sequence: vec![0; nodes * nodes],
            weather,
        }
    }

    const fn pair(&self, from: NodeId, to: NodeId) -> usize {
        index(from) * self.nodes + index(to)
    }

    /// Whether the network lets messages through from one node to the other.
    #[must_use]
    pub fn passes(&self, network: usize, from: NodeId, to: NodeId) -> bool {
        !self.cut[network * self.nodes * self.nodes + self.pair(from, to)]
    }

    /// Whether the stream has a network that passes both ways.
    #[must_use]
    pub fn connected(&self, from: NodeId, to: NodeId) -> bool {
        let wide = |n: usize, node: NodeId| !self.narrow[n * self.nodes + index(node)];
        let takes = |n: usize, node: NodeId| self.uses(n, node) && wide(n, node);
        let used = |n: &usize| takes(*n, from) && takes(*n, to);
        let mut used = (0..self.networks).filter(used);
        used.any(|n| {
            self.finds(n, from, to) && self.passes(n, from, to) && self.passes(n, to, from)
        })
    }

    /// Whether two nodes take each other for who they are on a network: what goes to another
    /// address reaches nobody, and what comes from another one is nobody's.
    #[must_use]
    pub fn finds(&self, network: usize, a: NodeId, b: NodeId) -> bool {
        let at =
            |node, about| self.places[network * self.nodes * self.nodes + self.pair(node, about)];
        let agree =
            |about, other| at(about, about).is_some_and(|own| at(other, about) == Some(own));
        agree(a, b) && agree(b, a)
    }

    /// A node knows where these are.
    pub fn meets(&mut self, node: NodeId, others: &[NodeEntry]) {
        let nodes = self.nodes;
        for other in others.iter().filter(|other| usize::from(other.id.0) <= nodes) {
            self.places_of(node, other.id, |network| address_on(&other.addresses, network));
        }
    }

    /// A node knows nobody's place any more but those of these.
    pub fn meets_only(&mut self, node: NodeId, others: &[NodeEntry]) {
        (1..=self.nodes as u16).for_each(|other| self.parts(node, NodeId(other)));
        self.meets(node, others);
    }

    /// A node knows no more of another one.
    pub fn parts(&mut self, node: NodeId, other: NodeId) {
        self.places_of(node, other, |_| None);
    }

    fn places_of(
        &mut self,
        node: NodeId,
        other: NodeId,
        place: impl Fn(NetworkId) -> Option<IpAddr>,
    ) {
        let pair = self.pair(node, other);
        for network in 0..self.networks {
            let at = network * self.nodes * self.nodes + pair;
            self.places[at] = place(NetworkId(network as u8 + 1));
        }
    }

    /// Whether a node speaks and listens to others on a network.
    #[must_use]
    pub fn uses(&self, network: usize, node: NodeId) -> bool {
        !self.unused[network * self.nodes + index(node)]
    }

    /// A node knows what may use the networks.
    pub fn obey(&mut self, node: NodeId, networks: &[NetworkEntry]) {
        for (network, entry) in networks.iter().enumerate() {
            self.unused[network * self.nodes + index(node)] = !entry.role.carries_cluster();
        }
    }

    /// Cuts (or mends) one direction of a network.
    pub fn set_cut(&mut self, network: usize, (from, to): (NodeId, NodeId), cut: bool) {
        let at = network * self.nodes * self.nodes + self.pair(from, to);
        self.cut[at] = cut;
    }

    /// From now on only small packets pass on a network of a node.
    pub fn narrow(&mut self, network: usize, node: NodeId) {
        self.narrow[network * self.nodes + index(node)] = true;
    }

    /// Mends everything.
    pub fn mend(&mut self) {
        self.cut.fill(false);
        self.narrow.fill(false);
    }

    /// How many networks there are.
    #[must_use]
    pub const fn networks(&self) -> usize {
        self.networks
    }

    /// The next sequence number from one node to another.
    pub fn sequence(&mut self, from: NodeId, to: NodeId) -> u64 {
        let at = self.pair(from, to);
        self.sequence[at] += 1;
        self.sequence[at]
    }

    /// When copies of a datagram that a node sends at `now` arrive over one network.
    pub fn arrivals(
        &self,
        (network, from): (usize, NodeId),
        now: Instant,
        rng: &mut Rng,
    ) -> [Option<Instant>; 2] {
        if !self.uses(network, from) || rng.chance(self.weather.loss) {
            return [None; 2];
        }
        let copy = rng.chance(self.weather.duplicates).then(|| now + self.delay(rng));
        [Some(now + self.delay(rng)), copy]
    }

    /// A delay as the weather has it.
    pub fn delay(&self, rng: &mut Rng) -> u64 {
        let Weather { delay_min_ns, delay_max_ns, stragglers, straggle_max_ns, .. } = self.weather;
        let delay = rng.between(delay_min_ns, delay_max_ns);
        if rng.chance(stragglers) { delay + rng.wild(1_000_000, straggle_max_ns) } else { delay }
    }

    /// Puts a message on a stream; the moment and connection to look at it, if it is the first.
    pub fn push(
        &mut self,
        (from, to): (NodeId, NodeId),
        message: PeerMessage,
        now: Instant,
        rng: &mut Rng,
    ) -> Option<(Instant, u64)> {
        let breaks = rng.chance(self.weather.breaks);
        let mut at = now + self.delay(rng);
        let pair = self.pair(from, to);
        let stream = &mut self.streams[pair];
        if breaks {
            stream.connection += 1;
            stream.queue.clear();
        }
        at = at.max(stream.queue.back().map_or(0, |last| last.at + 1));
        stream.queue.push_back(Parcel { at, message });
        (stream.queue.len() == 1).then_some((at, stream.connection))
    }

    /// Looks at the head of a stream: the message that arrives now, and when to look again.
    pub fn pull(
        &mut self,
        (from, to): (NodeId, NodeId),
        connection: u64,
        now: Instant,
    ) -> (Option<PeerMessage>, Option<Instant>) {
        let connected = self.connected(from, to);
        let stall_max_ns = self.weather.stall_max_ns;
        let pair = self.pair(from, to);
        let stream = &mut self.streams[pair];
        if stream.connection != connection {
            return (None, None);
        }
        if !connected {
            if (stream.queue.front()).is_some_and(|head| now < head.at + stall_max_ns) {
                return (None, Some(now + stall_max_ns / 8 + 1));
            }
            stream.connection += 1;
            stream.queue.clear();
            return (None, None);
        }
        let head = stream.queue.pop_front();
        (head.map(|parcel| parcel.message), stream.queue.front().map(|next| next.at.max(now)))
    }

    /// The node's ends of all streams close: what it sent may partly still arrive, what was on
    /// its way to it is lost.
    pub fn close(&mut self, node: NodeId, rng: &mut Rng) {
        for other in (1..=self.nodes as u16).map(NodeId).filter(|other| *other != node) {
            let incoming = self.pair(other, node);
            self.streams[incoming].connection += 1;
            self.streams[incoming].queue.clear();
            let outgoing = self.pair(node, other);
            let stream = &mut self.streams[outgoing];
            let keep = rng.below(stream.queue.len() as u64 + 1) as usize;
            stream.queue.truncate(keep);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Weather = Weather {
        delay_min_ns: 10,
        delay_max_ns: 1_000,
        loss: 0,
        duplicates: 0,
        stragglers: 0,
        straggle_max_ns: 0,
        breaks: 0,
        stall_max_ns: 10_000,
    };
    const PAIR: (NodeId, NodeId) = (NodeId(1), NodeId(2));

    fn seen(number: u64) -> PeerMessage {
        PeerMessage::ReportSeen { number }
    }

    #[test]
    fn a_stream_keeps_its_order() {
        let (mut net, mut rng) = (Net::new(2, vec![false], CALM), Rng::new(5));
        let first = net.push(PAIR, seen(0), 0, &mut rng).unwrap();
        for number in 1..50 {
            assert_eq!(net.push(PAIR, seen(number), number, &mut rng), None);
        }
        let (mut at, connection) = first;
        for number in 0..50 {
            let (message, next) = net.pull(PAIR, connection, at);
            assert_eq!(message, Some(seen(number)));
            at = next.unwrap_or(at);
        }
    }

    #[test]
    fn a_cut_stalls_a_stream_and_then_breaks_it() {
        let (mut net, mut rng) = (Net::new(2, vec![false, true], CALM), Rng::new(5));
        let (at, connection) = net.push(PAIR, seen(1), 0, &mut rng).unwrap();
        net.set_cut(0, (NodeId(2), NodeId(1)), true);
        let (message, again) = net.pull(PAIR, connection, at);
        assert!(message.is_none() && again.is_some());
        assert_eq!(net.pull(PAIR, connection, at + 10_000), (None, None));
        net.mend();
        let (at, next) = net.push(PAIR, seen(2), 20_000, &mut rng).unwrap();
        assert!(next > connection);
        assert_eq!(net.pull(PAIR, next, at), (Some(seen(2)), None));
    }
}
