//! Connections that end with their address.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use stead_netlink::{AddressSpec, Connection, Destroyed, Listing, Route, Tickler, destroy_sockets};

use crate::sandbox;
use crate::wire::{LIMIT, Wire, ip};

const CLUSTER: [&str; 2] = ["10.9.0.100", "fd00:9::100"];

/// A wire on which host b has the cluster addresses.
fn with_cluster_addresses(name: &str, body: impl FnOnce(&Wire)) {
    sandbox::test(name, || {
        let wire = Wire::new();
        wire.b.space.run(|| {
            let route = Route::open().unwrap();
            for address in CLUSTER.map(ip) {
                route.add_address(&AddressSpec::cluster(wire.b.ifindex, address)).unwrap();
            }
        });
        body(&wire);
    });
}

/// Ends b's connections on the address; `None` on a kernel that cannot.
fn destroyed(wire: &Wire, address: IpAddr) -> Option<(usize, usize)> {
    match wire.b.space.run(|| destroy_sockets(address).unwrap()) {
        Destroyed::Sockets { tcp, udp } => Some((tcp, udp)),
        Destroyed::Unsupported => None,
    }
}

/// Connects a to b's listener at `address`; gives both ends, client first.
fn connection(wire: &Wire, listener: &TcpListener, address: IpAddr) -> (TcpStream, TcpStream) {
    let port = listener.local_addr().unwrap().port();
    let client = wire.a.space.run(|| TcpStream::connect((address, port)).unwrap());
    let (server, _) = listener.accept().unwrap();
    for end in [&client, &server] {
        end.set_read_timeout(Some(LIMIT)).unwrap();
    }
    (client, server)
}

#[test]
fn an_established_connection_ends_and_the_listener_stays() {
    let name = "sockets::an_established_connection_ends_and_the_listener_stays";
    with_cluster_addresses(name, |wire| {
        // The last serves IPv4 from an IPv6 socket.
        let cases = [("10.9.0.100", "10.9.0.100"), ("fd00:9::100", "::"), ("10.9.0.100", "::")];
        for (address, bound) in cases.map(|(address, bound)| (ip(address), ip(bound))) {
            let listener = wire.b.space.run(|| TcpListener::bind((bound, 0)).unwrap());
            let (mut client, mut server) = connection(wire, &listener, address);
            let own = if address.is_ipv4() { wire.b.addresses[0] } else { wire.b.addresses[1] };
            if destroyed(wire, own) == Some((0, 0)) {
                client.write_all(b"still there").unwrap();
                let mut word = [0; 11];
                server.read_exact(&mut word).unwrap();
            }
            let Some(ended) = destroyed(wire, address) else { return };
            assert_eq!(ended, (1, 0));
            let error = server.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
            let error = client.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the peer is told");
            assert_eq!(destroyed(wire, address), Some((0, 0)));
            connection(wire, &listener, address);
            destroyed(wire, address);
        }
    });
}

#[test]
fn a_connected_udp_socket_ends() {
    with_cluster_addresses("sockets::a_connected_udp_socket_ends", |wire| {
        for (address, peer) in CLUSTER.map(ip).into_iter().zip(wire.a.addresses) {
            let socket = wire.b.space.run(|| {
                let socket = UdpSocket::bind((address, 0)).unwrap();
                socket.connect((peer, 9)).unwrap();
                socket
            });
            socket.set_read_timeout(Some(LIMIT)).unwrap();
            let Some(ended) = destroyed(wire, address) else { return };
            assert_eq!(ended, (0, 1));
            let error = socket.recv(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        }
    });
}

/// The server's node is gone without a word, and another has its address: the client that waits
/// is told, and so is one that is connected to an application which serves there by now.
#[test]
fn a_tickled_client_learns_that_its_server_is_gone() {
    let name = "sockets::a_tickled_client_learns_that_its_server_is_gone";
    with_cluster_addresses(name, |wire| {
        for (address, bound) in [("10.9.0.100", "10.9.0.100"), ("fd00:9::100", "::")] {
            let (address, bound) = (ip(address), ip(bound));
            let listener = wire.b.space.run(|| TcpListener::bind((bound, 0)).unwrap());
            let port = listener.local_addr().unwrap().port();
            let (mut client, server) = connection(wire, &listener, address);
            let listed = wire.b.space.run(|| Listing::open().unwrap().established(address));
            let known = Connection { port, client: client.local_addr().unwrap() };
            assert_eq!(listed.unwrap(), [known]);
            let tickle = || {
                wire.b.space.run(|| {
                    let tickler = Tickler::open().unwrap();
                    tickler.tickle((address, port).into(), known.client).unwrap();
                });
            };
            // Tickled, a living connection goes on.
            tickle();
            (&server).write_all(b"still there").unwrap();
            let mut word = [0; 11];
            client.read_exact(&mut word).unwrap();
            crash(wire, address, server);
            // Each connection answers two in a second at most.
            client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let begun = Instant::now();
            let error = loop {
                tickle();
                match client.read(&mut [0]) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    other => break other.unwrap_err(),
                }
                assert!(begun.elapsed() < LIMIT, "it waits on");
            };
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            connection(wire, &listener, address);
            destroyed(wire, address);
        }
    });
}

/// Ends a connection so that its peer hears nothing of it.
fn crash(wire: &Wire, address: IpAddr, server: TcpStream) {
    use stead_netlink::Passage;
    wire.b.space.run(|| Passage::open().unwrap().build([address], None).unwrap());
    server.set_nonblocking(true).unwrap();
    drop(server);
    destroyed(wire, address);
    wire.b.space.run(|| Passage::open().unwrap().clear().unwrap());
}

#[test]
fn only_established_connections_of_the_address_are_listed() {
    let name = "sockets::only_established_connections_of_the_address_are_listed";
    with_cluster_addresses(name, |wire| {
        // The last serves IPv4 from an IPv6 socket.
        let cases = [("10.9.0.100", "0.0.0.0"), ("fd00:9::100", "::"), ("10.9.0.100", "::")];
        for (address, bound) in cases.map(|(address, bound)| (ip(address), ip(bound))) {
            let listener = wire.b.space.run(|| TcpListener::bind((bound, 0)).unwrap());
            let own = if address.is_ipv4() { wire.b.addresses[0] } else { wire.b.addresses[1] };
            let other = connection(wire, &listener, own);
            let mut ends: Vec<_> = (0..3).map(|_| connection(wire, &listener, address)).collect();
            let listed = || {
                let listing = wire.b.space.run(|| Listing::open().unwrap());
                let mut listed = listing.established(address).unwrap();
                listed.sort_unstable();
                listed
            };
            let port = listener.local_addr().unwrap().port();
            let expected = |ends: &[(TcpStream, TcpStream)]| {
                let clients = ends.iter().map(|(client, _)| client.local_addr().unwrap());
                let mut all: Vec<_> = clients.map(|client| Connection { port, client }).collect();
                all.sort_unstable();
                all
            };
            assert_eq!(listed(), expected(&ends));
            drop(ends.remove(1));
            assert_eq!(listed(), expected(&ends));
            drop((ends, other));
        }
    });
}
