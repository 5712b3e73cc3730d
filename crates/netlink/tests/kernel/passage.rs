//! Cluster addresses that pass only while somebody keeps the passage open.

use std::net::{IpAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use stead_netlink::{
    AddressSpec, NeighbourEntry, NeighbourState, Occupancy, PROBE_WAIT, Passage, Route,
    addresses_pass,
};

use crate::sandbox;
use crate::wire::{Host, LIMIT, Wire, ip};

const CLUSTER: [&str; 2] = ["10.9.0.100", "fd00:9::100"];
const LONG: Duration = Duration::from_secs(3600);

/// A wire on which host b has the cluster addresses behind a passage that is closed.
fn with_passage(name: &str, body: impl FnOnce(&Wire, Passage)) {
    sandbox::test(name, || {
        let wire = Wire::new();
        let passage = wire.b.space.run(|| {
            let route = Route::open().unwrap();
            for address in CLUSTER.map(ip) {
                route.add_address(&AddressSpec::cluster(wire.b.ifindex, address)).unwrap();
            }
            let passage = Passage::open().unwrap();
            passage.build(CLUSTER.map(ip), None).unwrap();
            passage
        });
        body(&wire, passage);
    });
}

/// Whether b's kernel says on the wire that it has the address, asked as a neighbour asks.
fn claims(wire: &Wire, address: IpAddr, wait: Duration) -> bool {
    let claim = wire.a.claim(address);
    match wire.a.space.run(|| claim.probe(wait).unwrap()) {
        Occupancy::Taken { mac } => {
            assert_eq!(mac, wire.b.mac);
            true
        }
        Occupancy::Free => false,
    }
}

/// A socket of `host` at `address`, which the other end needs no ARP and no ND to find.
fn socket(wire: &Wire, host: &Host, address: IpAddr) -> UdpSocket {
    let other = if host.mac == wire.a.mac { &wire.b } else { &wire.a };
    let known = NeighbourEntry {
        ifindex: other.ifindex,
        address,
        mac: Some(host.mac),
        state: NeighbourState::Permanent,
    };
    other.space.run(|| Route::open().unwrap().set_neighbour(&known).unwrap());
    let socket = host.space.run(|| UdpSocket::bind((address, 0)).unwrap());
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

fn tell(from: &UdpSocket, to: &UdpSocket, word: &str) {
    // What may not leave is refused to its sender.
    let _ = from.send_to(word.as_bytes(), to.local_addr().unwrap());
}

/// Tells until it is heard: an IPv6 address is local a moment after it was added.
fn reach(from: &UdpSocket, to: &UdpSocket, word: &str) {
    let begun = Instant::now();
    to.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    loop {
        tell(from, to, word);
        let mut buffer = [0; 64];
        match to.recv(&mut buffer) {
            Ok(length) => break assert_eq!(&buffer[..length], word.as_bytes(), "it was dropped"),
            Err(error) => assert!(begun.elapsed() < LIMIT, "`{word}` does not pass: {error}"),
        }
    }
    to.set_read_timeout(Some(LIMIT)).unwrap();
}

#[track_caller]
fn hear(socket: &UdpSocket) -> String {
    let mut buffer = [0; 64];
    let (length, _) = match socket.recv_from(&mut buffer) {
        Ok(got) => got,
        Err(error) => panic!("no datagram at {:?}: {error}", socket.local_addr()),
    };
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[test]
fn a_closed_passage_silences_arp_and_neighbour_discovery() {
    let name = "passage::a_closed_passage_silences_arp_and_neighbour_discovery";
    with_passage(name, |wire, mut passage| {
        for address in CLUSTER.map(ip) {
            assert!(!claims(wire, address, PROBE_WAIT), "{address}");
        }
        passage.open_for(LONG).unwrap();
        for address in CLUSTER.map(ip) {
            assert!(claims(wire, address, LIMIT), "{address}");
        }
        passage.close().unwrap();
        for address in CLUSTER.map(ip) {
            assert!(!claims(wire, address, PROBE_WAIT), "{address}");
        }
        for own in wire.b.addresses {
            assert!(claims(wire, own, LIMIT), "{own} is an ordinary address");
        }
    });
}

#[test]
fn a_closed_passage_drops_traffic_in_both_directions() {
    let name = "passage::a_closed_passage_drops_traffic_in_both_directions";
    with_passage(name, |wire, mut passage| {
        let own = wire.b.addresses;
        for (i, address) in CLUSTER.map(ip).into_iter().enumerate() {
            let client = socket(wire, &wire.a, wire.a.addresses[i]);
            let server = socket(wire, &wire.b, address);
            let ordinary = socket(wire, &wire.b, own[i]);
            tell(&client, &server, "lost");
            tell(&server, &client, "lost too");
            tell(&client, &ordinary, "an ordinary address");
            assert_eq!(hear(&ordinary), "an ordinary address");
            tell(&ordinary, &client, "hears and speaks");
            assert_eq!(hear(&client), "hears and speaks");
            passage.open_for(LONG).unwrap();
            reach(&client, &server, "passes");
            reach(&server, &client, "passes back");
            passage.close().unwrap();
        }
    });
}

/// Nobody acts: the kernel ends it, at the time or a little before.
#[test]
fn an_open_passage_closes_by_itself_in_time() {
    with_passage("passage::an_open_passage_closes_by_itself_in_time", |wire, mut passage| {
        const TIME: Duration = Duration::from_millis(400);
        let address = ip(CLUSTER[0]);
        let client = socket(wire, &wire.a, wire.a.addresses[0]);
        let server = socket(wire, &wire.b, address);
        let echo = server.try_clone().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((length, from)) = echo.recv_from(&mut buffer) {
                let _ = echo.send_to(&buffer[..length], from);
            }
        });
        client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let begun = Instant::now();
        passage.open_for(TIME).unwrap();
        let opened = Instant::now();
        let mut answered = begun;
        while begun.elapsed() < 2 * TIME {
            let asked = Instant::now();
            tell(&client, &server, "still there?");
            if client.recv(&mut [0; 64]).is_ok() {
                answered = asked;
            }
        }
        assert!(answered <= opened + TIME, "{:?}", answered - opened);
        assert!(answered > begun, "never open");
        assert!(!claims(wire, address, PROBE_WAIT));
    });
}

#[test]
fn each_opening_counts_from_now() {
    with_passage("passage::each_opening_counts_from_now", |wire, mut passage| {
        const SHORT: Duration = Duration::from_millis(100);
        let address = ip(CLUSTER[1]);
        for _ in 0..4 {
            passage.open_for(SHORT).unwrap();
            passage.open_for(LONG).unwrap();
            thread::sleep(SHORT);
            assert!(claims(wire, address, LIMIT), "a longer time replaces a shorter one");
            passage.open_for(SHORT).unwrap();
            thread::sleep(SHORT);
            assert!(!claims(wire, address, PROBE_WAIT), "a shorter time replaces a longer one");
        }
        passage.open_for(LONG).unwrap();
        passage.open_for(Duration::from_micros(999)).unwrap();
        assert!(!claims(wire, address, PROBE_WAIT), "nothing is not for ever");
    });
}

#[test]
fn addresses_come_and_go() {
    with_passage("passage::addresses_come_and_go", |wire, mut passage| {
        let listed = || {
            let mut listed = wire.b.space.run(|| Passage::open().unwrap().addresses().unwrap());
            listed.sort_unstable();
            listed
        };
        assert_eq!(listed(), CLUSTER.map(ip));
        let own = wire.b.addresses[0];
        passage.add(own).unwrap();
        passage.add(own).unwrap();
        assert_eq!(listed().len(), 3);
        assert!(!claims(wire, own, PROBE_WAIT));
        passage.remove(own).unwrap();
        passage.remove(own).unwrap();
        assert!(claims(wire, own, LIMIT));
        passage.remove(ip(CLUSTER[1])).unwrap();
        assert_eq!(listed(), [ip(CLUSTER[0])]);
        assert!(claims(wire, ip(CLUSTER[1]), LIMIT));
        passage.close().unwrap();
    });
}

/// As after `nft flush ruleset`, or where a former guard left its tables.
#[test]
fn what_somebody_removed_is_told_and_built_again() {
    let name = "passage::what_somebody_removed_is_told_and_built_again";
    with_passage(name, |wire, mut passage| {
        let address = ip(CLUSTER[0]);
        let pass = || wire.b.space.run(addresses_pass);
        assert!(!pass());
        passage.build([address], Some(LONG)).unwrap();
        assert!(pass() && claims(wire, address, LIMIT));
        passage.build([address], None).unwrap();
        assert!(!pass() && !claims(wire, address, PROBE_WAIT));
        passage.clear().unwrap();
        passage.clear().unwrap();
        assert!(pass() && claims(wire, address, LIMIT), "without tables all is ordinary");
        assert!(passage.open_for(LONG).unwrap_err().not_built());
        assert!(passage.add(address).unwrap_err().not_built());
        passage.close().unwrap();
        passage.remove(address).unwrap();
        assert_eq!(passage.addresses().unwrap(), Vec::<IpAddr>::new());
    });
}
