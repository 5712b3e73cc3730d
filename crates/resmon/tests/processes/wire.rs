//! A cable in a net namespace of its own: the node's end and a neighbour's.

use std::fs::File;
use std::net::IpAddr;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use stead_netlink::{AddressSpec, Claim, Route};

/// The node's end.
pub(crate) const NODE: &str = "node0";
/// The neighbour's end.
pub(crate) const NEIGHBOUR: &str = "other0";

/// Builds the cable in the net namespace of this process; the node has 10.9.0.1/24 and fd09::1/64.
pub(crate) fn build() {
    let route = Route::open().unwrap();
    route.add_veth(NODE, NEIGHBOUR, None).unwrap();
    for end in [NODE, NEIGHBOUR, "lo"] {
        route.set_up(end).unwrap();
    }
    let node = route.link(NODE).unwrap().index;
    for (address, prefix) in [("10.9.0.1", 24), ("fd09::1", 64)] {
        let address = AddressSpec::node(node, address.parse().unwrap(), prefix);
        route.add_address(&address).unwrap();
    }
}

/// Does something in the net namespace of a process.
pub(crate) fn within<T: Send>(pid: u32, work: impl FnOnce(&Route) -> T + Send) -> T {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let namespace = File::open(format!("/proc/{pid}/ns/net")).unwrap();
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), network).unwrap();
            work(&Route::open().unwrap())
        });
        inside.join().unwrap()
    })
}

/// The neighbour says that an address is its own.
pub(crate) fn claim_as_neighbour(route: &Route, address: IpAddr) -> stead_netlink::Mac {
    let link = route.link(NEIGHBOUR).unwrap();
    let mac = link.mac.unwrap();
    Claim { address, ifindex: link.index, mac }.announce().unwrap();
    mac
}
