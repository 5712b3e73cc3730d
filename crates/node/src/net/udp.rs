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
use stead_model::record::Level;
use stead_model::wire::codec;
use stead_model::wire::peer::PeerMessage;
use stead_model::{NodeId, Time};
use stead_trust::{
    Acquaintance, Addressee, Here, Keyring, Opened, Refusal, SEALED_HEADER_BYTES, Sealer, TAG_BYTES,
};

use super::reach::{News, Reach};
use super::refused::{Refused, Why};
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
    sockets: Vec<UdpSocket>,
    keys: Keyring,
    sealer: Sealer,
    acquaintances: BTreeMap<NodeId, Acquaintance>,
    sequences: BTreeMap<NodeId, u64>,
    refused: Refused,
    buffer: Vec<u8>,
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
    /// Opens one socket per network, also where the address is not on this node yet.
    pub(crate) fn open(peers: Arc<Peers>, reach: Arc<Reach>, key: &[u8; 32]) -> io::Result<Self> {
        let sockets =
            peers.networks.iter().map(|n| bound(n.local)).collect::<io::Result<Vec<_>>>()?;
        let keys = Keyring::new(peers.cluster_id, &[*key]);
        let sealer = Sealer::new(&keys, peers.node, peers.incarnation);
        Ok(Self {
            acquaintances: BTreeMap::new(),
            sequences: BTreeMap::new(),
            refused: Refused::default(),
            buffer: vec![0; DATAGRAM_BYTES_MAX + 1],
            peers,
            reach,
            sockets,
            keys,
            sealer,
        })
    }

    /// Nodes joined; the sockets and the sequence numbers stay.
    pub(crate) fn meet(&mut self, peers: Arc<Peers>, reach: Arc<Reach>) {
        (self.peers, self.reach) = (peers, reach);
    }

    /// Who is where, and what was heard of them.
    pub(crate) fn known(&self) -> (&Peers, &Reach) {
        (&self.peers, &self.reach)
    }

    /// The sockets, to wait on; the index is the one [`Self::take`] wants.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// What is to be told of datagrams that were refused, at most once in a while.
    pub(crate) fn refusals(&mut self, now: Time) -> Vec<(Level, &'static str, String)> {
        self.refused.tell(now)
    }

    /// Sends a message on every network on which the peer has an address. Gives the message back
    /// if it is too large.
    ///
    /// A network that refuses is a link that is down: the peer's silence tells it to the core.
    pub(crate) fn send(&mut self, to: NodeId, message: PeerMessage) -> Result<(), PeerMessage> {
        let mut bytes = codec::encode_behind(SEALED_HEADER_BYTES, &message);
        if bytes.len() + TAG_BYTES > DATAGRAM_BYTES_MAX {
            return Err(message);
        }
        let sequence = self.sequences.entry(to).or_default();
        *sequence += 1;
        let known = self.acquaintances.entry(to).or_insert_with(|| Acquaintance::new(to));
        self.sealer.seal(known.addressee(), *sequence, &mut bytes);
        for Route { end, remote, .. } in self.peers.routes.iter().filter(|r| r.peer == to) {
            let _ = self.sockets[*end].send_to(&bytes, remote);
        }
        Ok(())
    }

    /// How many networks there are.
    pub(crate) fn networks(&self) -> usize {
        self.sockets.len()
    }

    /// Takes the next datagram off a socket that is one of the cluster's.
    pub(crate) fn take(&mut self, end: usize) -> Taken {
        for _ in 0..REFUSED_AT_ONE_GO {
            match self.sockets[end].recv_from(&mut self.buffer) {
                Ok((length, from)) => match self.read(end, length, from.ip()) {
                    Ok(taken) => return taken,
                    Err(why) => self.refused.count(why, from.ip()),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Taken::Empty,
                // An ICMP answer to something we sent, told on the next call.
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
        let opened = known.open(here, &mut self.buffer[..length]).map_err(Why::Refused)?;
        let (incarnation, sequence, bytes) = match opened {
            Opened::Message { incarnation, sequence, bytes } => (incarnation, sequence, bytes),
            Opened::Greet(to) => {
                // A network that takes nothing is a link that is down.
                let _ = self.sockets[end].send_to(&self.sealer.greeting(to), remote);
                return Ok(Taken::Dropped);
            }
            Opened::Greeted | Opened::Wait => return Ok(Taken::Dropped),
        };
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
    use stead_model::profile::Profile;
    use stead_model::wire::peer::Heartbeat;
    use stead_model::{Incarnation, NetworkId, Term};

    const PORT: u16 = 17_531;

    fn node(number: u16) -> Datagrams {
        let peers = Arc::new(Peers::new(&config(number, PORT), Incarnation(u64::from(number))));
        let reach = Arc::new(Reach::new(peers.routes.len(), &Profile::Standard.timing()));
        Datagrams::open(peers, reach, &[7; 32]).unwrap()
    }

    fn heartbeat() -> PeerMessage {
        PeerMessage::Heartbeat(Heartbeat {
            disk: Default::default(),
            leader: None,
            term: Term(3),
            members: 2,
        })
    }

    fn wait(node: &mut Datagrams, end: usize) -> Taken {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::new(&node.sockets[end], PollFlags::IN)];
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
        while !matches!(wait(&mut two, 0), Taken::Empty) {}
        let told = counted(&mut two);
        assert!(told.contains("dropped: 1 from an address of no node;"), "{told}");
        let refused = "dropped: 4 damaged or not sealed, 1 in the name of another node;";
        assert!(told.contains(refused), "{told}");
    }
}
