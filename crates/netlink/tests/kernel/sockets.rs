//! Connections that end with their address.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};

use stead_netlink::{AddressSpec, Destroyed, Route, destroy_sockets};

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
