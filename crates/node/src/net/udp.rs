//! Datagrams: heartbeats, votes, lease questions; each sent once on every network with the same
//! sequence number.
//!
//! Lives on the core thread, so that nothing stands between the core and its heartbeats. What
//! arrives is hostile until the frame, the cluster, the addressee and the sender's address fit.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use stead_core::{Arrival, Event};
use stead_model::NodeId;
use stead_model::wire::codec;
use stead_model::wire::peer::{PeerFrame, PeerMessage};

use super::reach::{News, Reach};
use super::{Peers, Route};
use crate::clock;

/// Largest frame that fits into a datagram; larger ones travel as streams.
const FRAME_BYTES_MAX: usize = 60_000;
/// DSCP CS6: network control, so that switches keep heartbeats alive under load.
const TRAFFIC_CLASS: u32 = 0xc0;

/// The sockets of all networks.
#[derive(Debug)]
pub(crate) struct Datagrams {
    peers: Arc<Peers>,
    reach: Arc<Reach>,
    sockets: Vec<UdpSocket>,
    sequences: BTreeMap<NodeId, u64>,
    buffer: Vec<u8>,
}

/// What one look at a socket gave.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A message; the route is `Some` if its stream should be tried again at once.
    Message(Event, Option<usize>),
    /// Something that is not for us.
    Dropped,
    /// Nothing more waits.
    Empty,
}

impl Datagrams {
    /// Opens one socket per network, also where the address is not on this node yet.
    pub(crate) fn open(peers: Arc<Peers>, reach: Arc<Reach>) -> io::Result<Self> {
        let sockets =
            peers.networks.iter().map(|n| bound(n.local)).collect::<io::Result<Vec<_>>>()?;
        let buffer = vec![0; FRAME_BYTES_MAX + 1];
        Ok(Self { peers, reach, sockets, sequences: BTreeMap::new(), buffer })
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

    /// Sends a message on every network on which the peer has an address. Gives the message back
    /// if it is too large.
    ///
    /// A network that refuses is a link that is down: the peer's silence tells it to the core.
    pub(crate) fn send(&mut self, to: NodeId, message: PeerMessage) -> Result<(), PeerMessage> {
        let sequence = self.sequences.entry(to).or_default();
        *sequence += 1;
        let frame = PeerFrame {
            cluster_id: self.peers.cluster_id,
            from: self.peers.node,
            to,
            incarnation: self.peers.incarnation,
            sequence: *sequence,
            message,
        };
        let bytes = codec::encode(&frame);
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(frame.message);
        }
        for Route { end, remote, .. } in self.peers.routes.iter().filter(|r| r.peer == to) {
            let _ = self.sockets[*end].send_to(&bytes, remote);
        }
        Ok(())
    }

    /// How many networks there are.
    pub(crate) fn networks(&self) -> usize {
        self.sockets.len()
    }

    /// Takes the next datagram off a socket.
    pub(crate) fn take(&mut self, end: usize) -> Taken {
        match self.sockets[end].recv_from(&mut self.buffer) {
            Ok((length, from)) => self.read(end, length, from),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Taken::Empty,
            // An ICMP answer to something we sent, told on the next call.
            Err(_) => Taken::Dropped,
        }
    }

    fn read(&self, end: usize, length: usize, from: SocketAddr) -> Taken {
        let Some(route) = self.peers.route_from(end, from.ip()) else { return Taken::Dropped };
        let bytes = &self.buffer[..length];
        let Ok(Some((frame, used))) = codec::decode::<PeerFrame>(bytes) else {
            return Taken::Dropped;
        };
        let fits = used == length
            && frame.cluster_id == self.peers.cluster_id
            && frame.to == self.peers.node
            && frame.from == self.peers.routes[route].peer;
        if !fits {
            return Taken::Dropped;
        }
        let arrival = Arrival::Datagram {
            network: self.peers.networks[end].network,
            incarnation: frame.incarnation,
            sequence: frame.sequence,
        };
        let back = match self.reach.hear(route, clock::now(), frame.incarnation) {
            News::Back => Some(route),
            News::None => None,
        };
        let event = Event::Received { from: frame.from, arrival, message: frame.message };
        Taken::Message(event, back)
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
        Datagrams::open(peers, reach).unwrap()
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

    #[test]
    fn a_message_arrives_once_per_network_and_noise_never() {
        let (mut one, mut two) = (node(1), node(2));
        let stranger = UdpSocket::bind("127.77.1.9:0").unwrap();
        let impostor = UdpSocket::bind("127.77.1.3:0").unwrap();
        let to = two.peers.networks[0].local;
        stranger.send_to(&codec::encode(&7_u32), to).unwrap();
        impostor.send_to(b"noise", to).unwrap();
        impostor.send_to(&vec![0xff; 65_000], to).unwrap();
        let mut claim = PeerFrame {
            cluster_id: 99,
            from: NodeId(1),
            to: NodeId(2),
            incarnation: Incarnation(1),
            sequence: 1,
            message: heartbeat(),
        };
        impostor.send_to(&codec::encode(&claim), to).unwrap();
        (claim.from, claim.cluster_id) = (NodeId(3), 98);
        impostor.send_to(&codec::encode(&claim), to).unwrap();
        for _ in 0..5 {
            assert!(matches!(wait(&mut two, 0), Taken::Dropped));
        }
        for sequence in 1..=2 {
            one.send(NodeId(2), heartbeat()).unwrap();
            for (end, network) in [(0, NetworkId(1)), (1, NetworkId(2))] {
                let Taken::Message(event, back) = wait(&mut two, end) else { panic!("dropped") };
                let arrival = Arrival::Datagram { network, incarnation: Incarnation(1), sequence };
                let expected = Event::Received { from: NodeId(1), arrival, message: heartbeat() };
                assert_eq!(event, expected);
                assert_eq!(back.is_some(), sequence == 1);
            }
        }
        assert!(matches!(two.take(0), Taken::Empty));
    }
}
