//! Cluster addresses beside the node's own: never a source, never deleted along, undone by bytes.

use std::net::IpAddr;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use stead_netlink::{
    AddressEntry, AddressSpec, DuplicateCheck, IfIndex, Route, RouteSpec, encode_delete_address,
};

use crate::sandbox::{self, Space};
use crate::wire::ip;

const CLUSTER_V4: &str = "10.9.0.100";
const CLUSTER_V6: &str = "fd00:9::100";
const NODE_V4: &str = "10.9.0.1";
const NODE_V6: &str = "fd00:9::1";

/// A namespace with an interface that has a carrier.
fn with_interface(name: &str, body: impl FnOnce(&Route, IfIndex) + Send) {
    sandbox::test(name, || {
        Space::new().run(|| {
            let route = Route::open().unwrap();
            route.add_veth("a", "b", None).unwrap();
            route.set_up("a").unwrap();
            route.set_up("b").unwrap();
            let index = route.link("a").unwrap().index;
            body(&route, index);
        });
    });
}

fn entry(route: &Route, address: &str) -> Option<AddressEntry> {
    route.addresses().unwrap().into_iter().find(|entry| entry.address == ip(address))
}

fn source(route: &Route, destination: &str) -> Option<IpAddr> {
    route.route_get(ip(destination)).unwrap().prefsrc
}

fn node_address(index: IfIndex, address: &str, prefix_len: u8) -> AddressSpec {
    // Tests must not wait for duplicate address detection.
    let duplicates = DuplicateCheck::Skipped;
    AddressSpec { duplicates, ..AddressSpec::node(index, ip(address), prefix_len) }
}

#[test]
fn a_cluster_address_added_first_is_never_the_source() {
    with_interface(
        "addresses::a_cluster_address_added_first_is_never_the_source",
        |route, index| {
            for address in [CLUSTER_V4, CLUSTER_V6] {
                route.add_address(&AddressSpec::cluster(index, ip(address))).unwrap();
            }
            route.add_address(&node_address(index, NODE_V4, 24)).unwrap();
            route.add_address(&node_address(index, NODE_V6, 64)).unwrap();
            for (gateway, far, near) in
                [("10.9.0.254", "8.8.8.8", "10.9.0.7"), ("fd00:9::fe", "2001:db8::1", "fd00:9::7")]
            {
                let node = if ip(far).is_ipv4() { ip(NODE_V4) } else { ip(NODE_V6) };
                let default = RouteSpec { oif: Some(index), ..RouteSpec::default_via(ip(gateway)) };
                route.add_route(&default).unwrap();
                assert_eq!(source(route, far), Some(node), "through the gateway");
                assert_eq!(source(route, near), Some(node), "in the node's own network");
                route.delete_route(&default).unwrap();
                let unspecified = RouteSpec::default_via(ip(gateway)).destination;
                route.add_route(&RouteSpec::on_link(unspecified, 0, index)).unwrap();
                assert_eq!(source(route, far), Some(node), "a default route without gateway");
            }
        },
    );
}

#[test]
fn the_nodes_address_goes_without_the_cluster_address() {
    with_interface(
        "addresses::the_nodes_address_goes_without_the_cluster_address",
        |route, index| {
            for (cluster, node, bits) in [(CLUSTER_V4, NODE_V4, 24), (CLUSTER_V6, NODE_V6, 64)] {
                let cluster_spec = AddressSpec::cluster(index, ip(cluster));
                let node_spec = node_address(index, node, bits);
                for _ in 0..2 {
                    route.add_address(&node_spec).unwrap();
                    route.add_address(&cluster_spec).unwrap();
                    assert!(route.add_address(&cluster_spec).unwrap_err().already_exists());
                    route.delete_address(&node_spec).unwrap();
                    let kept = entry(route, cluster).expect("the cluster address stays");
                    assert!(!kept.secondary && kept.without_prefix_route, "{kept:?}");
                    route.add_address(&node_spec).unwrap();
                    route.delete_address(&cluster_spec).unwrap();
                    let own = entry(route, node).expect("the node's address stays");
                    assert!(!own.secondary, "{own:?}");
                    assert_eq!(entry(route, cluster), None);
                    route.delete_address(&node_spec).unwrap();
                }
            }
        },
    );
}

#[test]
fn a_cluster_address_has_the_planned_form() {
    with_interface("addresses::a_cluster_address_has_the_planned_form", |route, index| {
        let before = route.routes().unwrap();
        for address in [CLUSTER_V4, CLUSTER_V6] {
            route.add_address(&AddressSpec::cluster(index, ip(address))).unwrap();
        }
        let v4 = entry(route, CLUSTER_V4).unwrap();
        assert_eq!((v4.prefix_len, v4.without_prefix_route, v4.host_scope), (32, true, true));
        let v6 = entry(route, CLUSTER_V6).unwrap();
        assert_eq!((v6.prefix_len, v6.without_prefix_route, v6.deprecated), (128, true, true));
        assert!(!v6.tentative, "no duplicate address detection in the failover path");
        assert!(!v4.leased && !v6.leased, "they stay until they are deleted");
        let own = |route: &stead_netlink::RouteEntry| route.table == stead_netlink::TABLE_MAIN;
        let ours = |routes: Vec<_>| {
            let added = |route: &stead_netlink::RouteEntry| {
                let target = route.destination;
                own(route) && (target == Some(ip(CLUSTER_V4)) || target == Some(ip(CLUSTER_V6)))
            };
            routes.into_iter().filter(added).count()
        };
        assert_eq!(ours(before), 0);
        assert_eq!(ours(route.routes().unwrap()), 0, "no route besides the local table");
        let absent = AddressSpec::cluster(index, ip("10.9.0.101"));
        let error = route.delete_address(&absent).unwrap_err();
        assert!(error.not_found());
        assert_eq!(
            error.to_string(),
            format!("cannot delete address 10.9.0.101/32 on interface {index}")
        );
    });
}

#[test]
fn ready_made_bytes_delete_the_address() {
    with_interface("addresses::ready_made_bytes_delete_the_address", |route, index| {
        for address in [CLUSTER_V4, CLUSTER_V6] {
            let spec = AddressSpec::cluster(index, ip(address));
            let undo = encode_delete_address(&spec);
            route.add_address(&spec).unwrap();
            assert_eq!(send_raw(&undo), 0);
            assert_eq!(entry(route, address), None);
            assert_eq!(send_raw(&undo), -libc::EADDRNOTAVAIL);
        }
        let spec = AddressSpec::cluster(index, ip(CLUSTER_V4));
        route.delete_link("a").unwrap();
        assert_eq!(send_raw(&encode_delete_address(&spec)), -libc::ENODEV);
    });
}

/// Sends bytes on a plain socket, as the guard does; gives the code of the answer.
fn send_raw(request: &[u8]) -> i32 {
    let socket = Socket::new(NETLINK_ROUTE).unwrap();
    socket.send_to(request, &SocketAddr::new(0, 0), 0).unwrap();
    let (answer, _) = socket.recv_from_full().unwrap();
    i32::from_ne_bytes(answer[16..20].try_into().unwrap())
}
