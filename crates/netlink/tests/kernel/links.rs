//! Links, bridges, routes, neighbours and the monitor.

use std::time::Duration;

use stead_netlink::{
    AddressSpec, Event, Mac, Monitor, NeighbourEntry, NeighbourState, Route, RouteSpec, TABLE_MAIN,
};

use crate::sandbox::{self, Space};
use crate::wire::await_event;

#[test]
fn a_veth_pair_spans_two_namespaces() {
    sandbox::test("links::a_veth_pair_spans_two_namespaces", || {
        let (here, there) = (Space::new(), Space::new());
        here.run(|| {
            let route = Route::open().unwrap();
            route.add_veth("left", "right", Some(there.fd())).unwrap();
            let again = route.add_veth("left", "right", None).unwrap_err();
            assert!(again.already_exists(), "{again:?}");
            assert_eq!(again.to_string(), "cannot add veth pair `left`, `right`");
            let mac: Mac = "02:00:00:00:00:07".parse().unwrap();
            route.set_mac("left", mac).unwrap();
            route.set_up("left").unwrap();
            let left = route.link("left").unwrap();
            assert_eq!((left.mac, left.up, left.carrier), (Some(mac), true, false));
            assert_eq!(left.kind.as_deref(), Some("veth"));
        });
        there.run(|| Route::open().unwrap().set_up("right").unwrap());
        here.run(|| {
            let route = Route::open().unwrap();
            assert!(route.link("left").unwrap().carrier);
            route.set_down("left").unwrap();
            assert!(!route.link("left").unwrap().up);
            route.delete_link("left").unwrap();
            assert!(route.link("left").unwrap_err().not_found());
        });
        there.run(|| {
            let names: Vec<_> =
                Route::open().unwrap().links().unwrap().into_iter().map(|l| l.name).collect();
            assert_eq!(names, ["lo"], "the peer goes with its pair");
        });
    });
}

#[test]
fn a_bridge_gains_renames_moves_and_loses_ports() {
    sandbox::test("links::a_bridge_gains_renames_moves_and_loses_ports", || {
        let (here, there) = (Space::new(), Space::new());
        here.run(|| {
            let route = Route::open().unwrap();
            route.add_bridge("br0").unwrap();
            route.set_bridge_ageing("br0", Duration::from_secs(7)).unwrap();
            let read = |what: &str| std::fs::read_to_string(format!("/sys/class/net/br0/{what}"));
            // The sysfs of another namespace may be mounted; then the bridge is not to be seen.
            if let Ok(ageing) = read("bridge/ageing_time") {
                assert_eq!(ageing.trim(), "700");
            }
            let bridge = route.link("br0").unwrap();
            assert_eq!(bridge.kind.as_deref(), Some("bridge"));
            route.add_veth("p", "q", None).unwrap();
            route.set_master("p", Some(bridge.index)).unwrap();
            assert_eq!(route.link("p").unwrap().master, Some(bridge.index));
            route.rename("p", "port").unwrap();
            route.set_master("port", None).unwrap();
            assert_eq!(route.link("port").unwrap().master, None);
            route.move_to_netns("q", there.fd()).unwrap();
            assert!(route.link("q").unwrap_err().not_found());
            let wrong = route.set_up("nothing").unwrap_err();
            assert!(wrong.not_found(), "{wrong:?}");
            assert_eq!(wrong.to_string(), "cannot switch on interface `nothing`");
        });
        there.run(|| assert!(!Route::open().unwrap().link("q").unwrap().up));
    });
}

#[test]
fn routes_and_neighbours_are_listed_as_set() {
    sandbox::test("links::routes_and_neighbours_are_listed_as_set", || {
        Space::new().run(|| {
            let route = Route::open().unwrap();
            route.add_veth("a", "b", None).unwrap();
            route.set_up("a").unwrap();
            route.set_up("b").unwrap();
            let index = route.link("a").unwrap().index;
            let own = "10.9.0.1".parse().unwrap();
            route.add_address(&AddressSpec::node(index, own, 24)).unwrap();
            let spec = RouteSpec::default_via("10.9.0.254".parse().unwrap());
            route.add_route(&spec).unwrap();
            assert!(route.add_route(&spec).unwrap_err().already_exists());
            let main: Vec<_> =
                route.routes().unwrap().into_iter().filter(|r| r.table == TABLE_MAIN).collect();
            let default = main.iter().find(|r| r.prefix_len == 0 && !r.ipv6).unwrap();
            assert_eq!((default.gateway, default.oif), (spec.gateway, Some(index)));
            let choice = route.route_get("8.8.8.8".parse().unwrap()).unwrap();
            assert_eq!((choice.oif, choice.prefsrc), (Some(index), Some(own)));
            route.delete_route(&spec).unwrap();
            let gone = route.route_get("8.8.8.8".parse().unwrap()).unwrap_err();
            assert_eq!(gone.errno(), Some(libc::ENETUNREACH));

            let neighbour = NeighbourEntry {
                ifindex: index,
                address: "10.9.0.9".parse().unwrap(),
                mac: Some("02:00:00:00:00:09".parse().unwrap()),
                state: NeighbourState::Stale,
            };
            let kept = NeighbourEntry {
                address: "10.9.0.8".parse().unwrap(),
                state: NeighbourState::Permanent,
                ..neighbour.clone()
            };
            route.set_neighbour(&neighbour).unwrap();
            route.set_neighbour(&kept).unwrap();
            assert!(route.neighbours().unwrap().contains(&neighbour));
            route.flush_neighbours(index).unwrap();
            let left = route.neighbours().unwrap();
            assert!(!left.iter().any(|n| n.address == neighbour.address), "{left:?}");
            assert!(left.contains(&kept), "{left:?}");
        });
    });
}

#[test]
fn the_monitor_tells_what_changes() {
    sandbox::test("links::the_monitor_tells_what_changes", || {
        Space::new().run(|| {
            let route = Route::open().unwrap();
            let monitor = Monitor::open().unwrap();
            assert_eq!(monitor.next(Duration::ZERO).unwrap(), None);
            route.add_veth("a", "b", None).unwrap();
            route.add_bridge("br0").unwrap();
            let bridge = route.link("br0").unwrap().index;
            await_event(&monitor, |e| matches!(e, Event::LinkChanged(l) if l.name == "a"));
            route.set_up("a").unwrap();
            route.set_up("b").unwrap();
            await_event(
                &monitor,
                |e| matches!(e, Event::LinkChanged(l) if l.name == "a" && l.carrier),
            );
            let index = route.link("a").unwrap().index;
            let spec = AddressSpec::cluster(index, "10.9.0.1".parse().unwrap());
            route.add_address(&spec).unwrap();
            await_event(
                &monitor,
                |e| matches!(e, Event::AddressChanged(a) if a.address == spec.address),
            );
            route.delete_address(&spec).unwrap();
            await_event(
                &monitor,
                |e| matches!(e, Event::AddressRemoved(a) if a.address == spec.address),
            );
            // Leaving a bridge is no removal of the link.
            route.set_master("a", Some(bridge)).unwrap();
            route.set_master("a", None).unwrap();
            route.delete_link("b").unwrap();
            let removed = await_event(&monitor, |event| matches!(event, Event::LinkRemoved(_)));
            let Event::LinkRemoved(link) = removed else { panic!("{removed:?}") };
            assert_eq!((link.name.as_str(), link.master), ("b", None));
        });
    });
}
