//! `ip-address` on a cable of its own.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::process::Command;

use rustix::process::{Signal, geteuid};
use stead_model::Span;
use stead_model::order::{Action, OnlineSpec, Outcome};
use stead_model::wire::monitor::NodeToMonitor;
use stead_netlink::Mac;

use crate::Story;
use crate::wire::{self, NEIGHBOUR, NODE, claim_as_neighbour, is_elsewhere, within};
use crate::world::{Leash, PATIENCE, World, eventually, send_signal, spec};

pub(crate) const ALL: &[Story] = &[
    ("an_address_comes_and_goes", an_address_comes_and_goes),
    ("an_ipv6_address_comes_and_goes", an_ipv6_address_comes_and_goes),
    ("an_address_is_announced_four_times", an_address_is_announced_four_times),
    ("an_address_is_announced_again", an_address_is_announced_again),
    ("an_address_needs_a_home", an_address_needs_a_home),
    ("a_hard_stop_removes_an_address", a_hard_stop_removes_an_address),
    ("an_address_is_adopted", an_address_is_adopted),
    ("a_conflict_is_judged_by_the_mac", a_conflict_is_judged_by_the_mac),
    ("a_first_start_asks_the_wire", a_first_start_asks_the_wire),
    ("a_probe_tells_a_stranger_from_the_owner", a_probe_tells_a_stranger_from_the_owner),
    ("an_owner_that_only_answers_is_noticed", an_owner_that_only_answers_is_noticed),
];

const ADDRESS: &str = "10.9.0.50";

/// A node and its neighbour at the other end of a cable.
pub(crate) struct Cabled {
    world: World,
    neighbour: Leash,
}

impl Deref for Cabled {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Cabled {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

/// A world with a cable; `None`, and said so, where it cannot be made.
pub(crate) fn world() -> Option<Cabled> {
    if !geteuid().is_root() {
        println!("skipped: a net namespace that a test can enter needs root");
        return None;
    }
    let elsewhere = |program: std::path::PathBuf| {
        let mut command = Command::new("unshare");
        command.arg("--net").arg(program);
        command
    };
    let world = World::start_by(elsewhere(std::env::current_exe().unwrap()));
    let neighbour = Leash(elsewhere("sleep".into()).arg("1000").spawn().unwrap());
    eventually("the neighbour is elsewhere", || is_elsewhere(neighbour.id()));
    wire::build(world.guard.id(), neighbour.id());
    Some(Cabled { world, neighbour })
}

fn online() -> Action {
    Action::Online(spec("ip-address", &[("address", "10.9.0.50/24")]))
}

fn address() -> IpAddr {
    ADDRESS.parse().unwrap()
}

/// Prefix length of the address, if the node has it.
pub(crate) fn on_node(world: &Cabled) -> Option<u8> {
    within(world.guard.id(), |route| {
        let all = route.addresses().unwrap();
        all.iter().find(|a| a.address == address()).map(|a| a.prefix_len)
    })
}

fn an_address_comes_and_goes() {
    let Some(mut world) = world() else { return };
    assert_eq!(world.ask("vip", online()), Outcome::Online);
    assert_eq!(on_node(&world), Some(32));
    assert_eq!(world.ask("vip", Action::Offline), Outcome::Offline);
    assert_eq!(on_node(&world), None);
    assert!(world.status().admitted.is_empty());
}

fn an_ipv6_address_comes_and_goes() {
    let Some(mut world) = world() else { return };
    let virtual_one: IpAddr = "fd09::50".parse().unwrap();
    let guard = world.guard.id();
    let find = || {
        within(guard, |route| {
            route.addresses().unwrap().into_iter().find(|a| a.address == virtual_one)
        })
    };
    let online = Action::Online(spec("ip-address", &[("address", "fd09::50/64")]));
    assert_eq!(world.ask("vip6", online), Outcome::Online);
    let entry = find().unwrap();
    assert_eq!((entry.prefix_len, entry.deprecated, entry.tentative), (128, true, false));
    assert_eq!(world.ask("vip6", Action::Offline), Outcome::Offline);
    assert_eq!(find(), None);
}

/// At once, and after 50, 200 and 1000 ms; each time as ARP question and as ARP answer.
fn an_address_is_announced_four_times() {
    const FRAMES: usize = 4 * 2;
    let Some(mut world) = world() else { return };
    let neighbour = world.neighbour.id();
    let node = within(world.guard.id(), |route| route.link(NODE).unwrap().mac);
    let order = std::thread::scope(|scope| {
        let (ready, listening) = std::sync::mpsc::channel();
        let heard = scope.spawn(move || {
            within(neighbour, |route| {
                let link = route.link(NEIGHBOUR).unwrap();
                let (ifindex, mac) = (link.index, link.mac.unwrap());
                let own = stead_netlink::Claim { address: address(), ifindex, mac };
                let watch = stead_netlink::ConflictWatch::open(own).unwrap();
                ready.send(()).unwrap();
                let frames = (0..FRAMES).map(|_| watch.next(PATIENCE).unwrap());
                frames.filter(|mac| *mac == node).count()
            })
        });
        listening.recv().unwrap();
        let order = world.order("vip", online());
        assert_eq!(heard.join().unwrap(), FRAMES);
        order
    });
    assert_eq!(world.answer(order), Outcome::Online);
}

fn an_address_is_announced_again() {
    let Some(mut world) = world() else { return };
    let neighbour = world.neighbour.id();
    let node = within(world.guard.id(), |route| route.link(NODE).unwrap().mac);
    assert_eq!(world.ask("vip", online()), Outcome::Online);
    // All that are due by themselves within the minute, and as many again.
    std::thread::scope(|scope| {
        let (ready, listening) = std::sync::mpsc::channel();
        let heard = scope.spawn(move || {
            within(neighbour, |route| {
                let link = route.link(NEIGHBOUR).unwrap();
                let (ifindex, mac) = (link.index, link.mac.unwrap());
                let own = stead_netlink::Claim { address: address(), ifindex, mac };
                let watch = stead_netlink::ConflictWatch::open(own).unwrap();
                ready.send(()).unwrap();
                let frames = (0..4 * 2).map(|_| watch.next(PATIENCE).unwrap());
                frames.filter(|mac| *mac == node).count()
            })
        });
        listening.recv().unwrap();
        // What the node service says when a node answers again.
        world.send(&NodeToMonitor::ClusterMacs(vec![[2; 6]]));
        assert_eq!(heard.join().unwrap(), 4 * 2);
    });
}

fn an_address_needs_a_home() {
    let Some(mut world) = world() else { return };
    let lost = Action::Online(spec("ip-address", &[("address", "192.0.2.7/24")]));
    let Outcome::Failed(why) = world.ask("vip", lost) else { panic!("it started") };
    assert!(why.contains("192.0.2.7/24") && why.contains("10.9.0.1/24"), "{why}");
}

/// The guard takes it away, with the monitor killed.
fn a_hard_stop_removes_an_address() {
    let Some(mut world) = world() else { return };
    assert_eq!(world.ask("vip", online()), Outcome::Online);
    world.renew(Span::from_millis(50));
    eventually("the address is gone", || on_node(&world).is_none());
    eventually("the guard knows", || world.status().admitted.is_empty());
}

fn an_address_is_adopted() {
    let Some(mut world) = world() else { return };
    assert_eq!(world.ask("vip", online()), Outcome::Online);
    send_signal(world.monitor_pid(), Signal::KILL);
    world.next_monitor();
    world.hello(1);
    assert_eq!(on_node(&world), Some(32));
    assert_eq!(world.ask("vip", online()), Outcome::Online);
    assert_eq!(world.ask("vip", Action::Terminate), Outcome::Offline);
    assert_eq!(on_node(&world), None);
}

fn a_conflict_is_judged_by_the_mac() {
    let Some(mut world) = world() else { return };
    let neighbour = world.neighbour.id();
    let mac = within(neighbour, |route| route.link(NEIGHBOUR).unwrap().mac.unwrap());
    // A node of the cluster: the address stays.
    world.send(&NodeToMonitor::ClusterMacs(vec![mac.0]));
    let order = world.order("vip", online());
    assert_eq!(world.answer(order), Outcome::Online);
    within(neighbour, |route| claim_as_neighbour(route, address()));
    loop {
        if let Outcome::Notice(text) = world.report().outcome {
            assert_eq!(text, format!("stale owner {mac} still answers"));
            break;
        }
    }
    assert_eq!(on_node(&world), Some(32));

    // A stranger (to a monitor that was told of no nodes): it fails, and is gone.
    send_signal(world.monitor_pid(), Signal::KILL);
    world.next_monitor();
    world.hello(1);
    let order = world.order("vip", online());
    assert_eq!(world.answer(order), Outcome::Online);
    within(neighbour, |route| claim_as_neighbour(route, address()));
    let Outcome::Failed(why) = world.answer(order) else { panic!("it did not fail") };
    assert!(why.contains(&mac.to_string()), "{why}");
    assert_eq!(on_node(&world), None);
}

/// The neighbour takes the address; its kernel answers ARP for it.
fn take_as_neighbour(world: &Cabled) -> Mac {
    within(world.neighbour.id(), |route| {
        let link = route.link(NEIGHBOUR).unwrap();
        let spec = stead_netlink::AddressSpec::node(link.index, address(), 32);
        route.add_address(&spec).unwrap();
        link.mac.unwrap()
    })
}

/// A first start probes, whatever its epoch; a stranger that has the address is named. A failover
/// asks nobody.
fn a_first_start_asks_the_wire() {
    let Some(mut world) = world() else { return };
    let first = || {
        let spec = spec("ip-address", &[("address", "10.9.0.50/24")]);
        Action::Online(OnlineSpec { first: true, ..spec })
    };
    assert_eq!(world.ask("vip", first()), Outcome::Online);
    assert_eq!(world.ask("vip", Action::Offline), Outcome::Offline);
    let mac = take_as_neighbour(&world);
    let Outcome::Failed(why) = world.ask("vip", first()) else { panic!("it started") };
    assert_eq!(why, format!("{ADDRESS} is in use by a stranger with MAC {mac}"));
    world.epoch = 1;
    assert_eq!(world.ask("vip", online()), Outcome::Online);
}

/// Before a planned move: the owner that is to leave answers too, and nothing is started.
fn a_probe_tells_a_stranger_from_the_owner() {
    let Some(mut world) = world() else { return };
    let probe = || Action::Probe(spec("ip-address", &[("address", "10.9.0.50/24")]));
    assert_eq!(world.ask("vip", probe()), Outcome::Free);
    assert_eq!(world.ask("other", Action::Probe(spec("dummy", &[]))), Outcome::Free);
    let mac = take_as_neighbour(&world);
    let taken = format!("{ADDRESS} is in use by a stranger with MAC {mac}");
    assert_eq!(world.ask("vip", probe()), Outcome::Taken(taken));
    world.send(&NodeToMonitor::ClusterMacs(vec![mac.0]));
    assert_eq!(world.ask("vip", probe()), Outcome::Free);
    assert_eq!(on_node(&world), None);
    assert!(world.status().admitted.is_empty());
}

/// A stale owner whose kernel still answers, without a word of its own: the address stays, and
/// somebody is told.
fn an_owner_that_only_answers_is_noticed() {
    let Some(mut world) = world() else { return };
    let mac = take_as_neighbour(&world);
    world.send(&NodeToMonitor::ClusterMacs(vec![mac.0]));
    let order = world.order("vip", online());
    assert_eq!(world.answer(order), Outcome::Online);
    loop {
        if let Outcome::Notice(text) = world.report().outcome {
            assert_eq!(text, format!("stale owner {mac} still answers"));
            break;
        }
    }
    assert_eq!(on_node(&world), Some(32));
}
