//! Networks that are ill and not dead: nothing moves, and what is wrong is told.

use std::net::IpAddr;

use e2e::processes::{self, Role};
use e2e::{has_ip, other, until, wait};
use rustix::process::Signal;
use stead_lab::{CutSpec, Direction, Fault, Network, Station, Swallows};
use stead_model::request::Request;
use stead_model::{LogIndex, NodeId};

use crate::stage::{Place, Stage};

/// A path whose MTU is smaller than its ends believe, and nobody says so: heartbeats pass.
const MTU: Swallows = Swallows::Above(1400);
/// What does not fit into small packets.
const LARGE_BYTES: usize = 512 << 10;

#[test]
fn networks_streams_leave_the_one_on_which_large_packets_vanish() {
    let stage = Stage::set("mtu");
    let owner = stage.arrange(Place::Follower).leads;
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

/// three of ten frames between the nodes are lost on both networks.
#[test]
fn networks_loss_moves_nothing_and_is_told() {
    let stage = Stage::set("loss");
    let owner = stage.arrange(Place::Follower).leads;
    let epoch = stage.epoch(owner);
    fault(&stage, Swallows::Percent(30), None);
    until("lossy links are told", || {
        let lossy = |node| stage.world.records(node).iter().any(|r| r.code == "link-lossy");
        lossy(owner) && lossy(other(owner))
    });
    stage.writer.wait_more(10);
    assert_eq!(stage.epoch(owner), epoch, "the group moved");
    let lost = |node| stage.world.records(node).iter().any(|r| r.code == "lease-lost");
    assert!(!lost(owner), "{owner} lost its lease");
    stage.world.heal();
    until("links are sound again", || {
        let view = stage.world.view(owner);
        view.nodes.iter().flat_map(|node| &node.links).all(|link| link.loss_permille < 20)
    });
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
    let owner = stage.arrange(Place::Follower).leads;
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
    let lost = |node| stage.world.records(node).iter().any(|r| r.code == "lease-lost");
    assert!(!lost(owner) && !lost(other(owner)), "a lease was lost");
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
    let owner = stage.arrange(Place::Follower).leads;
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
    let lost = |node| stage.world.records(node).iter().any(|r| r.code == "lease-lost");
    assert!(!lost(owner) && !lost(other(owner)), "a lease was lost");
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
