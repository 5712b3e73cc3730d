//! Somebody who reaches the cluster networks, even from the machine of a node, and has no secret:
//! nothing changes hands, quorum and leases hold, and it is told (issue 5; D1, D16).
//!
//! The same for whoever can write to the quorum disk: what is tampered with there is `tampered`.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Protocol, Socket, Type};
use stead_api::contract::Events;
use stead_model::config::QuorumMode;
use stead_model::record::Record;
use stead_model::view::View;
use stead_model::{Incarnation, NodeId};
use stead_trust::{
    Addressee, Authority, Credentials, Keyring, NODE_PROTOCOL, SEALED_HEADER_BYTES, Sealer,
    pinned_client,
};

use crate::world::{KEY, WAIT, World, alone, credentials};

/// Connections of a flood.
const FLOOD: usize = 15_000;
/// Connections that an attacker holds open at once.
const HELD: usize = 300;
/// What no record may say while somebody attacks.
const HARM: [&str; 5] = ["suspected", "lease-lost", "link-down", "elected", "majority-silent"];

pub(crate) fn address(network: u8, host: u16) -> String {
    format!("127.78.{network}.{host}")
}

/// What went over the network, as somebody with a tap sees it.
struct Tap(Socket);

impl Tap {
    /// `None` for who may not.
    fn open() -> Option<Self> {
        const IPV4: u16 = 0x0800;
        let protocol = Protocol::from(i32::from(IPV4.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol)).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Some(Self(socket))
    }

    /// The next datagrams from one node to another.
    fn record(&mut self, from: u16, to: u16, port: u16, count: usize) -> Vec<Vec<u8>> {
        let until = Instant::now() + WAIT;
        let mut recorded = Vec::new();
        let mut packet = vec![0; 65_536];
        while recorded.len() < count {
            assert!(Instant::now() < until, "only {} datagrams came by", recorded.len());
            let Ok(length) = self.0.read(&mut packet) else { continue };
            let packet = &packet[..length];
            let udp = usize::from(packet[0] & 15) * 4;
            let fits = packet[9] == 17
                && packet[12..16] == [127, 78, 1, from as u8]
                && packet[16..20] == [127, 78, 1, to as u8]
                && packet[udp + 2..udp + 4] == port.to_be_bytes();
            if fits {
                recorded.push(packet[udp + 8..].to_vec());
            }
        }
        recorded
    }
}

/// Sends datagrams from a node's address.
pub(crate) fn shoot(from: u16, to: (u16, u16), datagrams: &[Vec<u8>]) {
    let (node, port) = to;
    let socket = UdpSocket::bind((address(1, from).as_str(), 0)).unwrap();
    for datagram in datagrams {
        let _ = socket.send_to(datagram, (address(1, node).as_str(), port));
    }
}

/// Damage of every kind to what was recorded.
fn damaged(recorded: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut all = vec![vec![0xff; 65_000], Vec::new(), b"STD\x01\x01\x01".to_vec()];
    for (number, datagram) in recorded.iter().enumerate() {
        let mut bit = datagram.clone();
        let at = number * 7 % bit.len();
        bit[at] ^= 1;
        // A number that was not there yet, so that only the seal can tell.
        let mut later = datagram.clone();
        later[30] ^= 0x40;
        all.extend([bit, later, datagram[..datagram.len() - 1].to_vec()]);
    }
    // Sealed with the key of another cluster, and in the name of another node.
    for (key, from) in [([8; 32], 1), (KEY, 3)] {
        let keys = Keyring::new(1, &[key]);
        let sealer = Sealer::new(&keys, NodeId(from), Incarnation(5));
        let mut bytes = vec![0; SEALED_HEADER_BYTES + 20];
        let to = Addressee { node: NodeId(2), incarnation: Incarnation(5) };
        sealer.seal(to, 1, &mut bytes);
        all.push(bytes);
    }
    all
}

pub(crate) fn records(world: &World, index: usize) -> Vec<Record> {
    let client = world.nodes[index].client();
    let path = "/v1/events?since=0&limit=1000";
    let events: Events = world.runtime.block_on(client.get(path)).unwrap();
    events.records
}

/// What nodes said before an attack.
pub(crate) struct Peace {
    views: Vec<View>,
    told: Vec<u64>,
}

impl Peace {
    pub(crate) fn of(world: &World) -> Self {
        world.one_leader();
        let views = world.until("all links up", |views| {
            let up = |view: &View| view.nodes.iter().flat_map(|n| &n.links).all(|link| link.up);
            views.iter().all(up)
        });
        let last = |index| records(world, index).last().map_or(0, |record| record.number);
        Self { told: (0..views.len()).map(last).collect(), views }
    }

    /// The same leader in the same term, a lease on every node, and no record of harm.
    pub(crate) fn holds(&self, world: &World, during: &str) {
        let index = world.set(0, during);
        world.applied_everywhere(index);
        for (index, before) in self.views.iter().enumerate() {
            let now = world.view(index);
            let quorum = (now.quorum.leader, now.quorum.term, now.quorum.has_quorum);
            let expected = (before.quorum.leader, before.quorum.term, true);
            assert_eq!(quorum, expected, "n{} after {during}", index + 1);
            let harm = records(world, index).into_iter();
            let harm: Vec<Record> = harm
                .filter(|r| r.number > self.told[index] && HARM.contains(&r.code.as_str()))
                .collect();
            assert!(harm.is_empty(), "n{} after {during}: {harm:#?}", index + 1);
        }
    }
}

pub(crate) fn told(world: &World, index: usize, code: &str) -> String {
    let until = Instant::now() + WAIT;
    loop {
        let told = records(world, index).into_iter().rfind(|record| record.code == code);
        if let Some(record) = told {
            return record.text;
        }
        assert!(Instant::now() < until, "n{} never told {code}", index + 1);
    }
}

#[test]
fn forged_and_replayed_datagrams_change_nothing_and_a_dead_node_stays_dead() {
    let _alone = alone();
    const PORT: u16 = 17_606;
    let Some(mut tap) = Tap::open() else {
        println!("SKIPPED: only root sees what goes over a network");
        return;
    };
    let mut world = World::new(3, QuorumMode::NodeMajority, PORT);
    let peace = Peace::of(&world);
    let recorded = tap.record(1, 2, PORT, 50);
    shoot(9, (2, PORT), &recorded);
    for _ in 0..20 {
        shoot(1, (2, PORT), &recorded);
        shoot(3, (2, PORT), &recorded);
        shoot(1, (2, PORT), &damaged(&recorded));
    }
    peace.holds(&world, "forged and replayed datagrams");
    let why = told(&world, 1, "datagrams-refused");
    assert!(why.contains("127.78.1.1") || why.contains("127.78.1.3"), "{why}");
    told(&world, 1, "datagrams-dropped");

    // Somebody repeats what node 1 said, for ever, also to a service that never heard it live.
    let recorded = tap.record(1, 2, PORT, 200);
    world.nodes[0].stop();
    let before = records(&world, 1).last().map_or(0, |record| record.number);
    world.nodes[1].stop();
    world.nodes[1].start();
    let until = Instant::now() + WAIT;
    let is_absent = |view: &View| {
        let links = view.nodes.iter().filter(|n| n.node == NodeId(1)).flat_map(|n| &n.links);
        links.map(|link| link.up).all(|up| !up) && view.quorum.has_quorum
    };
    let mut absent = 0;
    while absent < 10 {
        assert!(Instant::now() < until, "a dead node is kept alive: {:#?}", world.view(1));
        shoot(1, (2, PORT), &recorded);
        absent = if is_absent(&world.view(1)) { absent + 1 } else { 0 };
    }
    let seen = records(&world, 1).into_iter().filter(|record| record.number > before);
    let seen: Vec<String> = seen.map(|record| record.text).collect();
    assert!(!seen.iter().any(|text| text.starts_with("n1 answers")), "it was heard: {seen:#?}");
    assert!(seen.iter().any(|text| text.starts_with("n3 answers")), "nobody was: {seen:#?}");
    world.nodes[0].start();
    let index = world.set(0, "after");
    world.applied_everywhere(index);
}

fn dial(from: &str, to: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from: SocketAddr = format!("{from}:0").parse().unwrap();
    // Somebody else may have the address and all its ports: then there is one connection less.
    let _ = socket.bind(&from.into());
    let _ = socket.set_nonblocking(true);
    let _ = socket.connect(&to.into());
    socket
}

/// Opens connections from addresses of nodes and of strangers, and holds many of them open.
fn flood(to: SocketAddr) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut held: VecDeque<Socket> = VecDeque::new();
        for number in 0..FLOOD {
            let from = [address(1, 1), address(1, 3), address(1, 9)];
            let socket = dial(&from[number % 3], to);
            let _ = (&socket).write_all(&[0x16, 3, 1, 2, 0, 1]);
            held.push_back(socket);
            if held.len() > HELD {
                held.pop_front();
            }
        }
    })
}

/// Tries to be heard as node 1.
pub(crate) fn knock(to: SocketAddr, client: Arc<ClientConfig>, bytes: &[u8]) -> Vec<u8> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&format!("{}:0", address(1, 1)).parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    let name = ServerName::try_from("node.invalid").unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(client, name).unwrap(), stream);
    let _ = stream.write_all(bytes);
    let _ = stream.flush();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn strangers_slow_callers_and_fifteen_thousand_connections_change_nothing() {
    let _alone = alone();
    const PORT: u16 = 17_607;
    let mut world = World::new(3, QuorumMode::NodeMajority, PORT);
    let peace = Peace::of(&world);
    let to: SocketAddr = format!("{}:{PORT}", address(1, 2)).parse().unwrap();
    let forged = Authority::create(u64::from(PORT), SystemTime::now()).unwrap();
    let issued = forged.issue(NodeId(1), SystemTime::now()).unwrap();
    let known = world.authority.certificate_pem();
    let forged = Credentials::from_pem(known, &issued.certificate, &issued.key).unwrap();
    let mut bare = ClientConfig::clone(&pinned_client(world.authority.fingerprint()).unwrap());
    bare.alpn_protocols = vec![NODE_PROTOCOL.to_vec()];
    let other = credentials(&world.authority, 3);
    for client in [forged.client().unwrap(), Arc::new(bare), other.client().unwrap()] {
        assert_eq!(knock(to, client, &vec![0xff; 1 << 20]), b"", "it was answered");
    }
    // Even who proves to be node 1 cannot make it keep more than a hello.
    let own = credentials(&world.authority, 1).client().unwrap();
    let mut huge = b"STD\x01\x01\0\0\0\0\0\0\x04\0\0\0\0".to_vec();
    huge.resize(1 << 20, 0);
    assert_eq!(knock(to, own, &huge), b"", "a hello of 64 MiB was answered");
    peace.holds(&world, "callers that are not who they claim to be");
    let why = told(&world, 1, "callers-refused");
    assert!(why.contains("from 127.78.1.1: "), "{why}");

    let flood = flood(to);
    while !flood.is_finished() {
        peace.holds(&world, "a flood of connections");
    }
    flood.join().unwrap();
    peace.holds(&world, "a flood of connections");
    told(&world, 1, "callers-dropped");

    // Those that hold their connections open do not keep a node out that comes back.
    let slow: Vec<Socket> = (0..HELD).map(|_| dial(&address(1, 3), to)).collect();
    world.nodes[2].stop();
    world.nodes[2].start();
    let index = world.set(0, "back");
    world.applied_everywhere(index);
    drop(slow);
}
