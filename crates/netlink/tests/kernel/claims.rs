//! Announcements, probes and conflicts between two hosts on one bridge.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use stead_netlink::{
    AddressSpec, ConflictWatch, Event, Mac, Monitor, NeighbourEntry, NeighbourState, Occupancy,
    PROBE_WAIT, Route,
};

use crate::sandbox;
use crate::wire::{LIMIT, Wire, await_event, ip};

const CLUSTER: [&str; 2] = ["10.9.0.100", "fd00:9::100"];

#[test]
fn an_announcement_replaces_the_old_owner_at_the_neighbours() {
    sandbox::test("claims::an_announcement_replaces_the_old_owner_at_the_neighbours", || {
        let wire = Wire::new();
        for address in CLUSTER.map(ip) {
            // What the neighbour remembers is fresh, as right after a crash.
            let old = NeighbourEntry {
                ifindex: wire.b.ifindex,
                address,
                mac: Some(Mac([2, 0, 0, 0, 0, 0xee])),
                state: NeighbourState::Reachable,
            };
            let monitor = wire.b.space.run(|| {
                Route::open().unwrap().set_neighbour(&old).unwrap();
                Monitor::open().unwrap()
            });
            wire.a.space.run(|| wire.a.claim(address).announce().unwrap());
            let ours =
                |entry: &NeighbourEntry| entry.address == address && entry.mac == Some(wire.a.mac);
            await_event(&monitor, |e| matches!(e, Event::NeighbourChanged(n) if ours(n)));
        }
    });
}

#[test]
fn a_probe_finds_the_owner_of_a_cluster_address() {
    sandbox::test("claims::a_probe_finds_the_owner_of_a_cluster_address", || {
        let wire = Wire::new();
        for address in CLUSTER.map(ip) {
            assert_eq!(probe(&wire, address, PROBE_WAIT), Occupancy::Free);
            let spec = AddressSpec::cluster(wire.b.ifindex, address);
            wire.b.space.run(|| Route::open().unwrap().add_address(&spec).unwrap());
            assert_eq!(probe(&wire, address, LIMIT), Occupancy::Taken { mac: wire.b.mac });
            wire.b.space.run(|| Route::open().unwrap().delete_address(&spec).unwrap());
            let start = Instant::now();
            assert_eq!(probe(&wire, address, PROBE_WAIT), Occupancy::Free);
            let took = start.elapsed();
            assert!(took >= PROBE_WAIT && took < PROBE_WAIT + LIMIT, "{took:?}");
        }
    });
}

fn probe(wire: &Wire, address: IpAddr, wait: Duration) -> Occupancy {
    wire.a.space.run(|| wire.a.claim(address).probe(wait).unwrap())
}

#[test]
fn a_watch_sees_foreign_claims_and_only_these() {
    sandbox::test("claims::a_watch_sees_foreign_claims_and_only_these", || {
        let wire = Wire::new();
        for address in CLUSTER.map(ip) {
            let open = || ConflictWatch::open(wire.a.claim(address)).unwrap();
            let watch = wire.a.space.run(open);
            wire.a.space.run(|| wire.a.claim(address).announce().unwrap());
            wire.b.space.run(|| {
                let other = if address.is_ipv4() { "10.9.0.101" } else { "fd00:9::101" };
                wire.b.claim(ip(other)).announce().unwrap();
                // A question is no claim.
                wire.b.claim(address).probe(Duration::from_millis(2)).unwrap();
            });
            assert_eq!(watch.next(Duration::ZERO).unwrap(), None);
            wire.b.space.run(|| wire.b.claim(address).announce().unwrap());
            let forms = if address.is_ipv4() { 2 } else { 1 };
            for _ in 0..forms {
                assert_eq!(watch.next(LIMIT).unwrap(), Some(wire.b.mac));
            }
            assert_eq!(watch.next(Duration::ZERO).unwrap(), None);
        }
    });
}

#[test]
fn an_interface_that_is_gone_is_named() {
    sandbox::test("claims::an_interface_that_is_gone_is_named", || {
        let wire = Wire::new();
        let claim = wire.a.claim(ip(CLUSTER[0]));
        wire.a.space.run(|| {
            let route = Route::open().unwrap();
            route.set_down("eth0").unwrap();
            assert_eq!(claim.announce().unwrap_err().errno(), Some(libc::ENETDOWN));
            route.delete_link("eth0").unwrap();
            let error = claim.announce().unwrap_err();
            assert_eq!(error.errno(), Some(libc::ENODEV));
            let ifindex = claim.ifindex;
            let said = format!("cannot announce 10.9.0.100 on interface {ifindex}");
            assert_eq!(error.to_string(), said);
        });
    });
}
