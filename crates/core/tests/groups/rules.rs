//! The six dependency rules, one story each; the trees of up to four resources are in
//! `tests/resources/exhaustive.rs`, the random stories in `swarm`.

use std::collections::BTreeSet;

use stead_core::planted::Planted;
use stead_model::request::Request;
use stead_model::{NodeId, ResourceId};

use crate::world::{World, n};

/// The example of the course: a file share on a name on an address, and a disk under all.
const SHARE: &[(&str, &[&str])] =
    &[("disk", &[]), ("ip", &["disk"]), ("name", &["ip"]), ("share", &["name", "disk"])];

fn world() -> World {
    let mut world = World::new(2, Planted::NONE);
    world.group("files", SHARE);
    world.group("other", &[("spool", &[])]);
    world.run();
    world
}

fn depend(resource: &str, on: &[&str]) -> Request {
    let depends_on: BTreeSet<ResourceId> = on.iter().map(|d| (*d).into()).collect();
    Request::SetDependencies { resource: resource.into(), depends_on }
}

/// In which sequence the orders of a node were carried out.
fn sequence(world: &World, node: NodeId, verb: &str) -> Vec<String> {
    let history = world.nodes[&node].history.iter();
    let words = history.map(|line| line.split(' ').collect::<Vec<_>>());
    let files = words.filter(|w| w[1] == verb && w[2].starts_with("files/"));
    files.map(|w| w[2].replace("files/", "")).collect()
}

#[test]
fn rule_1_a_tree_lies_wholly_in_one_group() {
    let mut world = world();
    let reason = world.try_ask(depend("share", &["spool"])).unwrap_err();
    assert!(reason.to_string().contains("a tree of dependencies lies wholly in one group"));
}

#[test]
fn rule_2_a_resource_may_depend_on_any_number_in_its_group() {
    let mut world = world();
    world.ask(depend("share", &["name", "disk", "ip"]));
    world.run();
    assert_eq!(world.running("share").len(), 1);
}

#[test]
fn rule_3_all_of_a_tree_are_online_on_the_same_node() {
    let mut world = world();
    for to in [2, 1] {
        world.ask(Request::MoveGroup { group: "files".into(), to: Some(n(to)) });
        world.run();
        for (resource, _) in SHARE {
            assert_eq!(world.running(resource), [n(to)]);
        }
    }
}

#[test]
fn rule_4_a_resource_is_online_on_one_node_only() {
    let mut world = world();
    world.ask(Request::MoveGroup { group: "files".into(), to: Some(n(2)) });
    // The new owner hurries, the old one takes its time; every step is checked for I-OWN.
    for _ in 0..20 {
        world.plan();
        world.catch_up(n(2));
        assert!(world.running("share").len() <= 1);
        world.apply_one(n(1));
        if !world.nodes[&n(1)].orders.is_empty() {
            world.carry_out(n(1), 0);
        }
        world.hear(n(1));
        world.deliver_report(n(1));
    }
    assert_eq!(world.running("share"), [n(2)]);
}

#[test]
fn rule_5_a_resource_comes_online_after_all_it_depends_on() {
    let world = world();
    assert_eq!(sequence(&world, n(1), "online"), ["disk", "ip", "name", "share"]);
}

#[test]
fn rule_6_a_resource_goes_offline_before_any_it_depends_on() {
    let mut world = world();
    world.ask(Request::MoveGroup { group: "files".into(), to: Some(n(2)) });
    world.run();
    assert_eq!(sequence(&world, n(1), "offline"), ["share", "name", "ip", "disk"]);
}
