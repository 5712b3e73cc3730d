//! A cable between two net namespaces: the node's end and a neighbour's.

use std::fs::File;
use std::net::IpAddr;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use stead_netlink::{AddressSpec, Claim, Route};

/// The node's end.
pub(crate) const NODE: &str = "node0";
/// The neighbour's end.
pub(crate) const NEIGHBOUR: &str = "other0";

/// Joins the net namespaces of two processes by a cable; the node has 10.9.0.1/24 and fd09::1/64.
pub(crate) fn build(node: u32, neighbour: u32) {
    within(node, |route| {
        let there = namespace(neighbour);
        route.add_veth(NODE, NEIGHBOUR, Some(std::os::fd::AsFd::as_fd(&there))).unwrap();
        route.set_up(NODE).unwrap();
        route.set_up("lo").unwrap();
        let link = route.link(NODE).unwrap().index;
        for (address, prefix) in [("10.9.0.1", 24), ("fd09::1", 64)] {
            let address = AddressSpec::node(link, address.parse().unwrap(), prefix);
            route.add_address(&address).unwrap();
        }
    });
    within(neighbour, |route| route.set_up(NEIGHBOUR).unwrap());
}

fn namespace(pid: u32) -> File {
    File::open(format!("/proc/{pid}/ns/net")).unwrap()
}

/// Whether a process has left the net namespace of this one.
pub(crate) fn is_elsewhere(pid: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let inode = |file: File| file.metadata().unwrap().ino();
    inode(namespace(pid)) != inode(namespace(std::process::id()))
}

/// Does something in the net namespace of a process.
pub(crate) fn within<T: Send>(pid: u32, work: impl FnOnce(&Route) -> T + Send) -> T {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let namespace = namespace(pid);
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
