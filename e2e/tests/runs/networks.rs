//! Networks that are ill and not dead: nothing moves, and what is wrong is told.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use e2e::processes::{self, Role};
use e2e::{World, has_ip, other, tell, until, wait};
use rustix::process::Signal;
use stead_api::contract::LinkEntry;
use stead_lab::{CutSpec, Direction, Fault, Jitter, Network, Station, Swallows, boot_ns};
use stead_model::request::Request;
use stead_model::{LogIndex, NodeId};

use crate::stage::{Place, Stage, failed};

/// A path whose MTU is smaller than its ends believe, and nobody says so: heartbeats pass.
const MTU: Swallows = Swallows::Above(1400);
/// The longest time that a frame takes each way, milliseconds. A link is silent after 350 ms; a
/// client waits for 250 ms, and an answer takes two round trips.
const LATE: [(Network, u16); 2] = [(Network::Private, 90), (Network::Public, 30)];
/// Several elections would have their time.
const QUIET_NS: u64 = 2_000_000_000;
/// How often a link goes and comes.
const FLAPS: usize = 4;
/// What does not fit into small packets.
const LARGE_BYTES: usize = 512 << 10;

#[test]
fn networks_streams_leave_the_one_on_which_large_packets_vanish() {
    let stage = Stage::set("mtu");
    let owner = owner(&stage);
    let epoch = stage.epoch(owner);
    fault(&stage, MTU, Some(Network::Private));
    large_change(&stage, "one");
    let told = |node: NodeId| {
        let records = stage.world.records(node);
        records.into_iter().find(|r| r.code == "streams-stuck").map(|r| r.text)
    };
    let why = wait("one of them tells that streams get stuck", || {
        let told = [owner, other(owner)].into_iter().find_map(told);
        told.ok_or_else(|| "nobody does".to_owned())
    });
    assert!(why.contains("network `private`") && why.contains("MTU"), "{why}");
    let view = stage.world.view(owner);
    let links = view.nodes.iter().flat_map(|node| &node.links);
    assert!(links.clone().all(|link| link.up), "heartbeats pass: {links:?}");
    assert_eq!(stage.epoch(owner), epoch, "the group moved");
    stage.world.heal();
    until("streams pass again", || {
        let passes = |node| stage.world.records(node).iter().any(|r| r.code == "streams-pass");
        [owner, other(owner)].into_iter().any(passes)
    });
    large_change(&stage, "two");
}

/// three of ten frames between the nodes are lost on both networks. Both nodes keep their
/// leases, the one that does not lead by asking again where no answer comes (R7).
#[test]
fn networks_loss_moves_nothing_and_is_told() {
    let stage = Stage::set("loss");
    let owner = owner(&stage);
    let epoch = stage.epoch(owner);
    fault(&stage, Swallows::Percent(30), None);
    until("lossy links are told", || {
        let lossy = |node| stage.world.records(node).iter().any(|r| r.code == "link-lossy");
        lossy(owner) && lossy(other(owner))
    });
    stage.writer.wait_more(10);
    assert_eq!(stage.epoch(owner), epoch, "the group moved");
    stage.world.assert_unharmed(&[owner, other(owner)], 0, &[]);
    stage.world.heal();
    until("links are sound again", || {
        let view = stage.world.view(owner);
        view.nodes.iter().flat_map(|node| &node.links).all(|link| link.loss_permille < 20)
    });
}

/// A-076, scenario `network/jitter`: every frame from and to the owner takes a time of its own, so
/// that heartbeats, and what clients ask, overtake each other.
#[test]
fn networks_jitter_moves_nothing_and_shows() {
    let stage = Stage::set("jitter");
    let owner = owner(&stage);
    let nodes = [owner, other(owner)];
    let (epoch, begun_ns) = (stage.epoch(owner), boot_ns());
    let all = || nodes.map(|node| figures(&stage, node)).concat();
    let before = all();
    for (network, up_to_ms) in LATE {
        let jitter = Jitter { station: Station::Node(owner), network: Some(network), up_to_ms };
        stage.world.lab().jitter(jitter).unwrap();
    }
    let made_ns = boot_ns();
    let shown = wait("both nodes see jitter on both networks", || {
        let shown = all();
        let made = shown.len() == 4 && shown.iter().all(|figures| figures.show(1..=6));
        if made { Ok(shown) } else { Err(format!("{shown:?}")) }
    });
    stage.writer.wait_more(20);
    large_change(&stage, "meanwhile");
    let mended_ns = boot_ns();
    stage.world.heal();
    tell(&format!("{before:?}, then {shown:?}"));
    until("heartbeats come in time again", || all().iter().all(|figures| figures.show(0..=0)));
    assert_eq!(stage.epoch(owner), epoch, "the group moved");
    let nor = ["link-down", "link-lossy", "suspected", "elected"];
    stage.world.assert_unharmed(&nodes, begun_ns, &nor);
    // A frame may be lost while a cable is changed.
    let missed = failed(&stage.prober.attempts(), made_ns).into_iter();
    let missed: Vec<_> = missed.filter(|attempt| attempt.done_ns < mended_ns).collect();
    assert!(missed.is_empty(), "{} answers missed: {:?}", missed.len(), missed.first());
}

/// What a node tells of a link.
#[derive(Clone, Debug)]
struct Figures {
    network: String,
    trip_us: u64,
    jitter_us: u64,
}

impl Figures {
    /// Whether round trip and jitter are so many sixths of what a frame takes at most each way.
    fn show(&self, sixths: RangeInclusive<u64>) -> bool {
        let late = LATE.iter().find(|(network, _)| network.name() == self.network).unwrap();
        let sixth_us = u64::from(late.1) * 1000 / 6;
        sixths.contains(&(self.jitter_us / sixth_us)) && self.trip_us / sixth_us >= *sixths.start()
    }
}

/// The links of a node, as the command tells them.
fn figures(stage: &Stage, node: NodeId) -> Vec<Figures> {
    let node = node.to_string();
    let said = stage.world.stead(&["network", "stats", "--node", &node, "--json"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let links: Vec<LinkEntry> = serde_json::from_str(&said.out).unwrap();
    let figures = |LinkEntry { link, .. }: LinkEntry| {
        let (trip_us, jitter_us) = (link.round_trip_us?, link.jitter_us?);
        Some(Figures { network: link.name, trip_us, jitter_us })
    };
    links.into_iter().filter_map(figures).collect()
}

/// A-076, scenario `network/one-way`: the owner no longer reaches the leader, nor the leader the
/// third node, while all answers pass. The leader is confirmed by nobody and stops; one election
/// follows and no more, when the leader gave up: hardly before the lease of the owner ends.
#[test]
fn networks_one_way_loss_ends_with_one_election() {
    let stage = Stage::on(World::with("one-way", |options| options.nodes = 3));
    let leads = stage.arrange(Place::Follower).leads;
    let owner = other(leads);
    let nodes = [1, 2, 3].map(NodeId);
    let third = *nodes.iter().find(|node| ![leads, owner].contains(node)).unwrap();
    let epoch = stage.epoch(owner);
    let begun_ns = boot_ns();
    for (from, to) in [(owner, leads), (leads, third)] {
        let (from, to) = (Station::Node(from), Station::Node(to));
        let cut = CutSpec::Pair { from, to, direction: Direction::OneWay, network: None };
        stage.world.lab().cut(cut).unwrap();
    }
    let told = |node: NodeId, code: &str| {
        let records = stage.world.records(node).into_iter();
        records.filter(|r| r.boot_ns >= begun_ns && r.code == code).count()
    };
    until("the leader loses its lease", || told(leads, "lease-lost") == 1);
    let end_ns = boot_ns() + QUIET_NS;
    until("2 s are over", || boot_ns() >= end_ns);
    stage.writer.wait_more(1);
    let elected = |node| told(node, "elected");
    assert_eq!(nodes.map(elected).iter().sum::<usize>(), 1, "elections");
    assert_eq!(stage.epoch(owner), epoch, "the group moved");
    stage.world.heal();
    let roles = e2e::Roles::settled(&stage.world);
    stage.writer.wait_more(20);
    assert_eq!(nodes.map(elected).iter().sum::<usize>(), 1, "elections");
    assert_ne!(roles.leads, leads, "whoever heard nobody leads");
    assert_eq!(stage.epoch(owner), epoch, "the group moved");
    let held = told(owner, "lease-lost") == 0;
    tell(&format!("the owner kept its lease until the election: {held}"));
}

/// A-076, scenario `network/flapping`: one of two networks of the owner comes and goes.
#[test]
fn networks_flapping_link_is_told_each_time_and_moves_nothing() {
    let stage = Stage::set("flapping");
    let owner = owner(&stage);
    let epoch = stage.epoch(owner);
    let begun_ns = boot_ns();
    let told = |node: NodeId, code: &str| {
        let records = stage.world.records(node).into_iter();
        let ours = records.filter(|r| r.boot_ns >= begun_ns && r.code == code);
        ours.map(|record| record.text).collect::<Vec<_>>()
    };
    let station = Station::Node(owner);
    let cut = CutSpec::Station { station, network: Some(Network::Private) };
    for time in 1..=FLAPS {
        stage.world.lab().cut(cut).unwrap();
        let both = |code: &str| [owner, other(owner)].map(|node| told(node, code).len());
        until("both nodes tell that the link is down", || both("link-down") == [time; 2]);
        large_change(&stage, &format!("cut {time}"));
        stage.world.heal();
        until("both nodes tell that it is up", || both("link-up") == [time; 2]);
    }
    stage.writer.wait_more(10);
    for node in [owner, other(owner)] {
        let downs = told(node, "link-down");
        let private = |text: &String| text.contains(Network::Private.name());
        assert!(downs.len() == FLAPS && downs.iter().all(private), "{node}: {downs:?}");
    }
    stage.world.assert_unharmed(&[owner, other(owner)], begun_ns, &["suspected", "elected"]);
    assert_eq!(stage.epoch(owner), epoch, "the group moved");
    let missed = failed(&stage.prober.attempts(), begun_ns);
    assert!(missed.is_empty(), "{} answers missed: {:?}", missed.len(), missed.first());
}

/// The group is on the node that does not lead: who that is.
fn owner(stage: &Stage) -> NodeId {
    Place::Follower.of(stage.arrange(Place::Follower))
}

/// Between the nodes; clients reach both as ever.
fn fault(stage: &Stage, swallows: Swallows, network: Option<Network>) {
    let [from, to] = [1, 2].map(|node| Station::Node(NodeId(node)));
    let cut = CutSpec::Pair { from, to, direction: Direction::BothWays, network };
    stage.world.lab().fault(Fault { cut, swallows }).unwrap();
}

/// A change that only a stream carries reaches both nodes.
fn large_change(stage: &Stage, key: &str) {
    let value = Some("v".repeat(LARGE_BYTES));
    stage.world.ask(&Request::SetKey { key: key.to_owned(), value });
    let applied = |node| stage.world.view(NodeId(node)).applied;
    let index: LogIndex = applied(1).max(applied(2));
    until("both have the change", || applied(1) >= index && applied(2) >= index);
}

/// The client's machine has an address of a node, and speaks from there to the other one: whose
/// kernel asks who has that address learns where it is by that.
fn speaks_as(stage: &Stage, (address, to): (IpAddr, IpAddr)) {
    let script = format!(
        "ip address replace {address}/32 dev eth1; \
         ip route replace {to}/32 dev eth1 src {address}; \
         ip neigh flush dev eth1; echo > /dev/udp/{to}/9"
    );
    let said = stage.world.stead(&["lab", "exec", "client", "--", "bash", "-c", &script]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
}

/// Another machine has the address of the node that owns the group: frames for it go astray on one
/// of two networks.
#[test]
fn networks_an_address_that_two_machines_have_is_told_and_moves_nothing() {
    if !has_ip("a stranger could take an address") {
        return;
    }
    let stage = Stage::set("double");
    let owner = owner(&stage);
    let epoch = stage.epoch(owner);
    let view = stage.world.view(owner);
    let public = view.networks.iter().find(|n| n.name == "public").unwrap().id;
    let address = |node| {
        let node = view.nodes.iter().find(|n| n.node == node).unwrap();
        node.addresses.iter().find(|a| a.network == public).unwrap().address
    };
    let told = wait("the other node says who answers", || {
        speaks_as(&stage, (address(owner), address(other(owner))));
        let records = stage.world.records(other(owner));
        let told = records.into_iter().find(|r| r.code == "address-twice").map(|r| r.text);
        told.ok_or_else(|| "nobody does".to_owned())
    });
    let mac = Station::Client.mac(Network::Public).to_string();
    assert!(told.contains(&address(owner).to_string()) && told.contains(&mac), "{told}");
    assert_eq!(stage.epoch(owner), epoch, "the group moved");
    stage.world.assert_unharmed(&[owner, other(owner)], 0, &[]);
    large_change(&stage, "meanwhile");
}

/// A node gets other addresses, first on one network, then on the other, and another name. Each is
/// beside the former one on its interface when the command is given.
#[test]
fn networks_a_node_gets_other_addresses_and_nothing_moves() {
    if !has_ip("a node could be given an address") {
        return;
    }
    let stage = Stage::set("readdress");
    let owner = owner(&stage);
    let epoch = stage.epoch(owner);
    let name = owner.to_string();
    let raised = stage.world.stead(&["cluster", "level", "--raise"]);
    assert_eq!(raised.code, 0, "{}{}", raised.out, raised.err);
    for (network, subnet, interface) in [("private", 1, "eth0"), ("public", 2, "eth1")] {
        let address = format!("10.77.{subnet}.77");
        let held = format!("{address}/24");
        let ip = ["lab", "exec", &name, "--", "ip", "address", "add", &held, "dev", interface];
        let said = stage.world.stead(&ip);
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        let at = format!("{network}={address}");
        let said = stage.world.stead(&["node", "set", &name, "--address", &at]);
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        hear_each_other(&stage);
    }
    let said = stage.world.stead(&["node", "set", &name, "--name", "delta"]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert_eq!(stage.epoch(owner), epoch, "the group moved");
    stage.world.assert_unharmed(&[owner, other(owner)], 0, &[]);
    // Both find each other again by what their logs say.
    for node in [owner, other(owner)] {
        processes::signal(processes::find(&stage.world, node, Role::Service), Signal::KILL);
        hear_each_other(&stage);
    }
    let said = stage.world.stead(&["node", "list"]);
    assert!(said.out.contains("delta"), "{}", said.out);
    large_change(&stage, "afterwards");
}

/// Waits until both nodes hear each other on both networks.
fn hear_each_other(stage: &Stage) {
    until("all links are up", || {
        [1, 2].into_iter().all(|node| {
            let Ok(view) = stage.world.cluster().view(NodeId(node)) else { return false };
            let links = view.nodes.iter().flat_map(|node| &node.links);
            links.clone().count() == 2 && links.into_iter().all(|link| link.up)
        })
    });
}
