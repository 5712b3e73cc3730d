//! Two hosts on one bridge, each in a net namespace of its own, the bridge in a third.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use stead_netlink::{
    AddressSpec, Claim, DuplicateCheck, Event, IfIndex, Mac, Monitor, Occupancy, Route,
};

use crate::sandbox::Space;

/// Waits are for something that comes in milliseconds; only a failing test waits this long.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

pub(crate) struct Host {
    pub(crate) space: Space,
    pub(crate) ifindex: IfIndex,
    pub(crate) mac: Mac,
    /// IPv4 and IPv6.
    pub(crate) addresses: [IpAddr; 2],
}

pub(crate) struct Wire {
    pub(crate) switch: Space,
    pub(crate) a: Host,
    pub(crate) b: Host,
}

/// Where the hosts are plugged in.
pub(crate) const PORT_A: &str = "port-a";
pub(crate) const PORT_B: &str = "port-b";

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl Wire {
    pub(crate) fn new() -> Self {
        let switch = Space::new();
        switch.run(|| {
            let route = Route::open().unwrap();
            route.add_bridge("br0").unwrap();
            route.set_up("br0").unwrap();
        });
        let a = Host::plugged(&switch, PORT_A, 1);
        let b = Host::plugged(&switch, PORT_B, 2);
        let wire = Self { switch, a, b };
        wire.await_forwarding();
        wire
    }

    /// The kernel switches a bridge port to forwarding from a work queue.
    fn await_forwarding(&self) {
        let question = self.a.claim(self.b.addresses[0]);
        let start = Instant::now();
        let step = Duration::from_millis(20);
        while self.a.space.run(|| question.probe(step).unwrap()) == Occupancy::Free {
            assert!(start.elapsed() < LIMIT, "the bridge does not forward");
        }
    }
}

impl Host {
    fn plugged(switch: &Space, port: &str, number: u8) -> Self {
        let space = Space::new();
        let mac = Mac([2, 0, 0, 0, 0, number]);
        let addresses = [ip(&format!("10.9.0.{number}")), ip(&format!("fd00:9::{number}"))];
        switch.run(|| {
            let route = Route::open().unwrap();
            route.add_veth(port, "eth0", Some(space.fd())).unwrap();
            let bridge = route.link("br0").unwrap().index;
            route.set_master(port, Some(bridge)).unwrap();
            route.set_up(port).unwrap();
        });
        let ifindex = space.run(|| {
            let route = Route::open().unwrap();
            route.set_mac("eth0", mac).unwrap();
            route.set_up("eth0").unwrap();
            let index = route.link("eth0").unwrap().index;
            for (address, bits) in addresses.into_iter().zip([24, 64]) {
                let spec = AddressSpec::node(index, address, bits);
                let spec = AddressSpec { duplicates: DuplicateCheck::Skipped, ..spec };
                route.add_address(&spec).unwrap();
            }
            index
        });
        Self { space, ifindex, mac, addresses }
    }

    pub(crate) fn claim(&self, address: IpAddr) -> Claim {
        Claim { address, ifindex: self.ifindex, mac: self.mac }
    }
}

/// The first event that fits.
pub(crate) fn await_event(monitor: &Monitor, fits: impl Fn(&Event) -> bool) -> Event {
    let start = Instant::now();
    let mut seen = Vec::new();
    while start.elapsed() < LIMIT {
        match monitor.next(LIMIT).unwrap() {
            Some(event) if fits(&event) => return event,
            Some(event) => seen.push(event),
            None => {}
        }
    }
    panic!("the awaited event did not come; seen: {seen:#?}");
}
