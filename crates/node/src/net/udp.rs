//! Datagrams: heartbeats, votes, lease questions; each sent once on every network with the same
//! sequence number.
//!
//! Lives on the core thread, so that nothing stands between the core and its heartbeats. What
//! arrives is hostile until it comes from a peer's address, opens with the cluster's key as that
//! peer's, is meant for this life of this node, and was not there before.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use stead_core::{Arrival, Event};
use stead_model::keys::{Keys, Print};
use stead_model::record::Level;
use stead_model::view::View;
use stead_model::wire::codec;
use stead_model::wire::peer::PeerMessage;
use stead_model::{NodeId, Time};
use stead_trust::{
    Acquaintance, Addressee, Here, Keyring, Opened, Refusal, SEALED_HEADER_BYTES, Sealer, TAG_BYTES,
};

use super::reach::{News, Reach};
use super::refused::{Refused, Why};
use super::twins::Twins;
use super::{Peers, Route};
use crate::clock;

/// Largest datagram; larger messages travel as streams.
const DATAGRAM_BYTES_MAX: usize = 60_000;
/// DSCP CS6: network control, so that switches keep heartbeats alive under load.
const TRAFFIC_CLASS: u32 = 0xc0;
/// Datagrams that are refused at one look: a flood costs no turn of the event loop for each.
const REFUSED_AT_ONE_GO: usize = 32;

/// The sockets of all networks.
#[derive(Debug)]
pub(crate) struct Datagrams {
    peers: Arc<Peers>,
    reach: Arc<Reach>,
    /// By network; `None`: it is not for nodes.
    sockets: Vec<Option<UdpSocket>>,
    keys: Keyring,
    /// The set of the key that seals.
    own: Print,
    sealer: Sealer,
    acquaintances: BTreeMap<NodeId, Acquaintance>,
    sequences: BTreeMap<NodeId, u64>,
    /// Per route.
    sent: Vec<Sent>,
    refused: Refused,
    twins: Twins,
    buffer: Vec<u8>,
}

/// What went out over one route.
#[derive(Clone, Copy, Default, Debug)]
struct Sent {
    taken: u64,
    refused: u64,
}

/// What one look at a socket gave.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A message; the route is `Some` if its stream should be tried again at once.
    Message(Event, Option<usize>),
    /// Something that is not for us, or that only the transport needed.
    Dropped,
    /// Nothing more waits.
    Empty,
}

impl Datagrams {
    /// Opens one socket per network for nodes, also where the address is not on this node yet.
    pub(crate) fn open(peers: Arc<Peers>, reach: Arc<Reach>, keys: &Keys) -> io::Result<Self> {
        let own = keys.own.print;
        let keys = ring(&peers, keys);
        let sealer = Sealer::new(&keys, peers.node, peers.incarnation);
        let mut datagrams = Self {
            acquaintances: BTreeMap::new(),
            sequences: BTreeMap::new(),
            sent: vec![Sent::default(); peers.routes.len()],
            refused: Refused::default(),
            twins: Twins::default(),
            buffer: vec![0; DATAGRAM_BYTES_MAX + 1],
            sockets: peers.networks.iter().map(|_| None).collect(),
            peers,
            reach,
            keys,
            own,
            sealer,
        };
        datagrams.open_sockets()?;
        Ok(datagrams)
    }

    /// The node has other keys than before. What it sealed stays sealed, and numbers go on: under
    /// one key each is used once.
    pub(crate) fn rekey(&mut self, keys: &Keys) {
        self.keys = ring(&self.peers, keys);
        if self.own != keys.own.print {
            self.own = keys.own.print;
            self.sealer = Sealer::new(&self.keys, self.peers.node, self.peers.incarnation);
        }
    }

    /// Nodes joined, or are no members any more, or other networks are for nodes; what stays
    /// keeps its socket and its sequence numbers. Gives the networks that are new.
    pub(crate) fn meet(&mut self, peers: Arc<Peers>) -> io::Result<Vec<usize>> {
        let before = self.peers.routes.iter().zip(&self.sent);
        let sent = |route: &Route| before.clone().find(|(r, _)| *r == route).map(|(_, sent)| *sent);
        self.sent = peers.routes.iter().map(|route| sent(route).unwrap_or_default()).collect();
        self.reach = Arc::new(self.reach.of(&self.peers.routes, &peers.routes));
        let moved =
            self.peers.networks.iter().zip(&peers.networks).map(|(was, is)| was.local != is.local);
        for (socket, _) in self.sockets.iter_mut().zip(moved).filter(|(_, moved)| *moved) {
            *socket = None;
        }
        self.peers = peers;
        self.open_sockets()
    }

    /// Opens what is missing and closes what is too much.
    fn open_sockets(&mut self) -> io::Result<Vec<usize>> {
        let mut opened = Vec::new();
        for (end, own) in self.peers.networks.iter().enumerate() {
            let socket = &mut self.sockets[end];
            if !own.carries {
                *socket = None;
            } else if socket.is_none() {
                *socket = Some(bound(own.local)?);
                opened.push(end);
            }
        }
        Ok(opened)
    }

    /// Who is where.
    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    /// What was heard of them.
    pub(crate) fn reach(&self) -> Arc<Reach> {
        Arc::clone(&self.reach)
    }

    /// The sockets, to wait on, with the index that [`Self::take`] wants.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let all = self.sockets.iter().enumerate();
        all.filter_map(|(end, socket)| Some((end, socket.as_ref()?.as_fd())))
    }

    /// What is to be told of datagrams that were refused, at most once in a while.
    pub(crate) fn refusals(&mut self, now: Time) -> Vec<(Level, &'static str, String)> {
        let mut records = self.refused.tell(now);
        records.extend(self.twins.tell());
        records
    }

    /// Sends a message on every network on which the peer has an address. Gives the message back
    /// if it is too large.
    ///
    /// A network that refuses is a link that is down: the peer's silence tells it to the core.
    pub(crate) fn send(
        &mut self,
        to: NodeId,
        message: PeerMessage,
    ) -> Result<(), Box<PeerMessage>> {
        let mut bytes = codec::encode_behind(SEALED_HEADER_BYTES, &message);
        if bytes.len() + TAG_BYTES > DATAGRAM_BYTES_MAX {
            return Err(Box::new(message));
        }
        let sequence = self.sequences.entry(to).or_default();
        *sequence += 1;
        let known = self.acquaintances.entry(to).or_insert_with(|| Acquaintance::new(to));
        self.sealer.seal(known.addressee(), *sequence, &mut bytes);
        let routes = self.peers.routes.iter().zip(&mut self.sent);
        for (Route { end, remote, .. }, sent) in routes.filter(|(r, _)| r.peer == to) {
            let Some(socket) = &self.sockets[*end] else { continue };
            match socket.send_to(&bytes, remote) {
                Ok(_) => sent.taken += 1,
                Err(_) => sent.refused += 1,
            }
        }
        Ok(())
    }

    /// Adds to a view what went out over each link.
    pub(crate) fn count_into(&self, view: &mut View) {
        for (route, sent) in self.peers.routes.iter().zip(&self.sent) {
            let network = self.peers.networks[route.end].network;
            let node = view.nodes.iter_mut().find(|node| node.node == route.peer);
            let links = node.into_iter().flat_map(|node| &mut node.links);
            for link in links.filter(|link| link.network == network) {
                (link.sent, link.unsent) = (sent.taken, sent.refused);
            }
        }
    }

    /// How many networks there are, for nodes or not.
    pub(crate) fn networks(&self) -> usize {
        self.sockets.len()
    }

    /// Takes the next datagram off a socket that is one of the cluster's.
    pub(crate) fn take(&mut self, end: usize) -> Taken {
        for refused in 0..REFUSED_AT_ONE_GO {
            let Some(socket) = &self.sockets[end] else { return Taken::Empty };
            match socket.recv_from(&mut self.buffer) {
                Ok((length, from)) => match self.read(end, length, from.ip()) {
                    Ok(taken) => return taken,
                    Err(why) => self.refused.count(why, from.ip()),
                },
                Err(error) if refused == 0 && error.kind() == io::ErrorKind::WouldBlock => {
                    return Taken::Empty;
                }
                // What was refused is told now, however few they were. Or an ICMP answer to
                // something we sent, told on the next call.
                Err(_) => return Taken::Dropped,
            }
        }
        Taken::Dropped
    }

    fn read(&mut self, end: usize, length: usize, from: IpAddr) -> Result<Taken, Why> {
        let route = self.peers.route_from(end, from).ok_or(Why::Stranger)?;
        if length > DATAGRAM_BYTES_MAX {
            return Err(Why::Refused(Refusal::Malformed));
        }
        let Route { peer, remote, .. } = self.peers.routes[route];
        let own = Addressee { node: self.peers.node, incarnation: self.peers.incarnation };
        let now = clock::now();
        let here = Here { keys: &self.keys, own, network: end, now };
        let known = self.acquaintances.entry(peer).or_insert_with(|| Acquaintance::new(peer));
        let opened = known.open(here, &mut self.buffer[..length]).map_err(|refusal| {
            if refusal == Refusal::Former {
                self.twins.former(peer, from, now);
            }
            Why::Refused(refusal)
        })?;
        let (incarnation, sequence, bytes) = match opened {
            Opened::Message { incarnation, sequence, bytes } => (incarnation, sequence, bytes),
            Opened::Greet(to) => {
                self.twins.ignored(peer, now);
                // A network that takes nothing is a link that is down.
                let greeting = self.sealer.greeting(to);
                let _ = self.sockets[end].as_ref().map(|socket| socket.send_to(&greeting, remote));
                return Ok(Taken::Dropped);
            }
            Opened::Greeted | Opened::Wait => return Ok(Taken::Dropped),
        };
        self.twins.heard(peer, incarnation, now);
        // Sealed by a peer and yet no message: one of another version.
        let message = codec::decode_bare::<PeerMessage>(bytes)
            .map_err(|_| Why::Refused(Refusal::Malformed))?;
        let network = self.peers.networks[end].network;
        let arrival = Arrival::Datagram { network, incarnation, sequence };
        let back = match self.reach.hear(route, now, incarnation) {
            News::Back => Some(route),
            News::None => None,
        };
        Ok(Taken::Message(Event::Received { from: peer, arrival, message }, back))
    }
}

/// The key that seals, and the one that opens besides.
fn ring(peers: &Peers, keys: &Keys) -> Keyring {
    let other = keys.other.as_ref().set().map(|key| key.bytes);
    let all: Vec<_> = std::iter::once(keys.own.bytes).chain(other).collect();
    Keyring::new(peers.cluster_id, &all)
}

fn bound(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    allow_absent(&socket, local)?;
    match local {
        SocketAddr::V4(_) => socket.set_tos_v4(TRAFFIC_CLASS)?,
        SocketAddr::V6(_) => rustix::net::sockopt::set_ipv6_tclass(&socket, TRAFFIC_CLASS)?,
    }
    socket.set_nonblocking(true)?;
    socket.bind(&local.into())?;
    Ok(socket.into())
}

/// Lets a socket be bound to an address that is not on this node yet.
pub(super) fn allow_absent(socket: impl AsFd, local: SocketAddr) -> io::Result<()> {
    match local {
        SocketAddr::V4(_) => rustix::net::sockopt::set_ip_freebind(socket, true)?,
        SocketAddr::V6(_) => rustix::net::sockopt::set_ipv6_freebind(socket, true)?,
    }
    Ok(())
}

/// Whether an address is on this node now.
pub(crate) fn is_here(local: SocketAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(local.ip(), 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::peers::tests::config;
    use stead_model::keys::Key;
    use stead_model::profile::Profile;
    use stead_model::wire::peer::Heartbeat;
    use stead_model::{Incarnation, NetworkId, Term};

    const PORT: u16 = 17_531;

    fn node(number: u16) -> Datagrams {
        let peers = Arc::new(Peers::new(&config(number, PORT), Incarnation(u64::from(number))));
        let reach = Arc::new(Reach::new(peers.routes.len(), &Profile::Standard.timing()));
        let key = Key { print: Print([7; 32]), bytes: [7; 32] };
        Datagrams::open(peers, reach, &Keys::only(key)).unwrap()
    }

    fn heartbeat() -> PeerMessage {
        PeerMessage::Heartbeat(Heartbeat {
            disk: Default::default(),
            leader: None,
            term: Term(3),
            members: 2,
            sent: Time(0),
            echo: None,
            history: Default::default(),
            last: Default::default(),
            forces: false,
        })
    }

    fn wait(node: &mut Datagrams, end: usize) -> Taken {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::new(node.sockets[end].as_ref().unwrap(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 20, tv_nsec: 0 })).unwrap();
        node.take(end)
    }

    fn counted(node: &mut Datagrams) -> String {
        let told = node.refusals(clock::now());
        told.into_iter().map(|(_, _, text)| text).collect::<Vec<_>>().join(" | ")
    }

    /// Sends to and fro until both know each other, as heartbeats do.
    fn acquaint(one: &mut Datagrams, two: &mut Datagrams) {
        let rounds = 20;
        for _ in 0..rounds {
            one.send(NodeId(2), heartbeat()).unwrap();
            two.send(NodeId(1), heartbeat()).unwrap();
            let mut heard = 0;
            for end in 0..2 {
                heard += u32::from(matches!(wait(one, end), Taken::Message(..)));
                heard += u32::from(matches!(wait(two, end), Taken::Message(..)));
            }
            if heard == 4 {
                // Greetings may still be there: the loopback device keeps nothing on its way.
                for (node, end) in [(&mut *one, 0), (&mut *two, 0)] {
                    while !matches!(node.take(end), Taken::Empty) {}
                    while !matches!(node.take(end + 1), Taken::Empty) {}
                }
                return;
            }
        }
        panic!("they do not know each other after {rounds} heartbeats");
    }

    #[test]
    fn a_message_arrives_once_per_network_when_both_lives_are_known() {
        let (mut one, mut two) = (node(1), node(2));
        acquaint(&mut one, &mut two);
        let before = one.sequences[&NodeId(2)];
        for sequence in before + 1..=before + 2 {
            one.send(NodeId(2), heartbeat()).unwrap();
            for (end, network) in [(0, NetworkId(1)), (1, NetworkId(2))] {
                let Taken::Message(event, back) = wait(&mut two, end) else { panic!("dropped") };
                let arrival = Arrival::Datagram { network, incarnation: Incarnation(1), sequence };
                let expected = Event::Received { from: NodeId(1), arrival, message: heartbeat() };
                assert_eq!((event, back), (expected, None));
            }
        }
        assert!(matches!(two.take(0), Taken::Empty));
        assert_eq!(counted(&mut two), "");
    }

    #[test]
    fn a_former_node_is_a_stranger_and_the_counts_of_others_stay_theirs() {
        let (mut one, mut two) = (node(1), node(2));
        acquaint(&mut one, &mut two);
        let third = |of: &Datagrams| {
            let routes = of.peers.routes.iter().zip(&of.sent);
            let sent = routes.filter(|(route, _)| route.peer == NodeId(3));
            sent.map(|(_, sent)| sent.taken + sent.refused).collect::<Vec<_>>()
        };
        two.send(NodeId(3), heartbeat()).unwrap();
        assert_eq!(third(&two), [1, 1]);
        let peers = Arc::new(two.peers.as_ref().clone().without(NodeId(1)));
        assert!(two.meet(peers).unwrap().is_empty(), "no network is new");
        assert_eq!(third(&two), [1, 1]);
        one.send(NodeId(2), heartbeat()).unwrap();
        for end in 0..2 {
            assert!(matches!(wait(&mut two, end), Taken::Dropped), "it is to be told");
        }
        let told = counted(&mut two);
        assert!(told.contains("from an address of no node"), "{told}");
    }

    #[test]
    fn noise_strangers_and_frames_in_clear_are_counted_and_never_heard() {
        let mut two = node(2);
        let stranger = UdpSocket::bind("127.77.1.9:0").unwrap();
        let impostor = UdpSocket::bind("127.77.1.3:0").unwrap();
        let to = two.peers.networks[0].local;
        stranger.send_to(&codec::encode(&7_u32), to).unwrap();
        impostor.send_to(b"noise", to).unwrap();
        impostor.send_to(&[], to).unwrap();
        impostor.send_to(&vec![0xff; 65_000], to).unwrap();
        impostor.send_to(&codec::encode(&heartbeat()), to).unwrap();
        // In the name of node 1, from the address of node 3.
        let keys = Keyring::new(99, &[[7; 32]]);
        let sealer = Sealer::new(&keys, NodeId(1), Incarnation(1));
        let addressee = Addressee { node: NodeId(2), incarnation: Incarnation(2) };
        let mut claim = codec::encode_behind(SEALED_HEADER_BYTES, &heartbeat());
        sealer.seal(addressee, 1, &mut claim);
        impostor.send_to(&claim, to).unwrap();
        assert!(matches!(wait(&mut two, 0), Taken::Dropped), "few as they are, they are told");
        assert!(matches!(two.take(0), Taken::Empty));
        let told = counted(&mut two);
        assert!(told.contains("dropped: 1 from an address of no node;"), "{told}");
        let refused = "dropped: 4 damaged or not sealed, 1 in the name of another node;";
        assert!(told.contains(refused), "{told}");
    }
}
