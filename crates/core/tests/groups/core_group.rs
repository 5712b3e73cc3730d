//! The cluster's own group from both sides: made at once, moved like any other, and gone
//! only when nothing of it runs.

use std::collections::{BTreeMap, BTreeSet};

use stead_core::groups::Decision;
use stead_core::planted::Planted;
use stead_model::change::Change;
use stead_model::core_group::ClusterIp;
use stead_model::declaration::{Declaration, DeclaredGroup, DeclaredResource, Whole};
use stead_model::group::Desired;
use stead_model::request::Request;
use stead_model::upkeep::Upkeep;
use stead_model::{ResourceId, UtcMillis};

use crate::world::{World, n};

fn wanted(address: Option<&str>, name: Option<&[(&str, &str)]>) -> Request {
    let pairs = |all: &[(&str, &str)]| {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let wanted = ClusterIp { address: address.map(str::to_owned), name: name.map(pairs) };
    Request::SetClusterIp { wanted }
}

const DNS: &[(&str, &str)] = &[("zone", "example.org"), ("dns-servers", "10.1.0.53")];

fn world(nodes: u16) -> World {
    let mut world = World::new(nodes, Planted::NONE);
    world.ask(wanted(Some("10.1.0.100/24"), Some(DNS)));
    world.run();
    world
}

fn set_group(world: &mut World, name: &str, value: &str) {
    let properties = BTreeMap::from([(name.to_owned(), Some(value.to_owned()))]);
    world.ask(Request::SetGroup { group: "cluster".into(), properties });
}

fn address(world: &World) -> &str {
    &world.group_of("cluster").resources[&ResourceId::from("cluster-ip")].properties["address"]
}

#[test]
fn a106_one_request_makes_the_group_and_brings_it_online() {
    let world = world(2);
    assert_eq!(world.running("cluster-ip"), [n(1)]);
    assert_eq!(world.running("cluster-name"), [n(1)]);
    let name = &world.group_of("cluster").resources[&ResourceId::from("cluster-name")];
    assert_eq!(name.properties["host-name"], "lab", "the name of the cluster");
    assert_eq!(name.depends_on, BTreeSet::from([ResourceId::from("cluster-ip")]));
}

#[test]
fn a106_it_fails_over_moves_is_pinned_and_fails_back_like_any_other() {
    let mut world = world(3);
    set_group(&mut world, "preferred-owners", "n2,n1");
    set_group(&mut world, "failback", "immediate");
    world.run();
    assert_eq!(world.running("cluster-ip"), [n(2)], "it fails back to its first node");
    world.ask(Request::MoveGroup { group: "cluster".into(), to: Some(n(3)) });
    world.run();
    assert_eq!(world.running("cluster-name"), [n(3)]);
    world.crash(n(3));
    world.declare_stopped(n(3));
    world.run();
    assert_eq!(world.running("cluster-ip"), [n(2)]);
    let until = UtcMillis(world.at.0 + 60_000);
    let upkeep = Upkeep::Pin { group: "cluster".into(), node: n(1), until };
    world.ask(Request::Upkeep { upkeep });
    world.run_now();
    assert_eq!(world.running("cluster-ip"), [n(1)]);
}

#[test]
fn a106_asked_again_it_changes_what_differs_and_nothing_else() {
    let mut world = world(2);
    let changes = |decision| match decision {
        Decision::ProposeAll(changes) => changes,
        other => panic!("{other:?}"),
    };
    let again = world.try_ask(wanted(Some("10.1.0.100/24"), Some(DNS))).unwrap();
    assert_eq!(changes(again), []);
    let moved = changes(world.try_ask(wanted(Some("10.1.0.101/24"), None)).unwrap());
    assert!(matches!(&moved[..], [Change::SetResource { .. }]), "{moved:?}");
    world.run();
    assert_eq!(address(&world), "10.1.0.101/24");
    assert_eq!(world.running("cluster-name"), [n(1)], "the name stays");
    // Of the name, too, what is not said stays.
    world.ask(wanted(None, Some(&[("ttl", "5min")])));
    let name = &world.group_of("cluster").resources[&ResourceId::from("cluster-name")];
    assert_eq!((&*name.properties["ttl"], &*name.properties["zone"]), ("5min", "example.org"));
    assert_eq!(address(&world), "10.1.0.101/24");
}

#[test]
fn a106_the_name_alone_goes_when_it_is_offline() {
    let mut world = world(2);
    world.ask(wanted(None, Some(&[])));
    let there = |world: &World| {
        world.group_of("cluster").resources.contains_key(&ResourceId::from("cluster-name"))
    };
    world.plan();
    assert!(there(&world), "it runs still");
    world.run();
    assert!(!there(&world));
    assert_eq!(world.running("cluster-ip"), [n(1)]);
    assert_eq!(world.running("cluster-name"), []);
    world.ask(wanted(None, Some(DNS)));
    world.run();
    assert_eq!(world.running("cluster-name"), [n(1)], "and comes back");
}

/// I-OWN: an address that is free in the database is free in the world.
#[test]
fn a106_removed_it_goes_when_its_owner_gave_it_back_and_not_before() {
    let mut world = world(2);
    world.ask(Request::RemoveClusterIp);
    for _ in 0..200 {
        let stopped = world.running("cluster-ip").is_empty();
        let gone = !world.leader.groups().contains_key(&"cluster".into());
        assert!(stopped || !gone, "{}", world.trace());
        if gone {
            break;
        }
        world.run_now();
    }
    assert!(world.leader.groups().is_empty());
    let refused = world.try_ask(Request::RemoveClusterIp).unwrap_err();
    assert_eq!(refused.text, "the cluster has no IP address of its own");
    // Its epochs go on in its next life.
    world.ask(wanted(Some("10.1.0.100/24"), None));
    world.run();
    assert_eq!(world.running("cluster-ip"), [n(1)]);
}

#[test]
fn a106_removed_it_goes_also_from_an_owner_that_is_dead_or_gave_up() {
    let mut dead = world(2);
    dead.crash(n(1));
    dead.ask(Request::RemoveClusterIp);
    dead.run();
    assert!(!dead.leader.groups().is_empty(), "its lease may run still");
    dead.declare_stopped(n(1));
    dead.run();
    assert!(dead.leader.groups().is_empty());

    let mut failed = World::new(1, Planted::NONE);
    failed.node(n(1)).broken.insert("cluster-ip".into());
    failed.ask(wanted(Some("10.1.0.100/24"), None));
    failed.run();
    assert_eq!(failed.running("cluster-ip"), []);
    failed.ask(Request::RemoveClusterIp);
    failed.run();
    assert!(failed.leader.groups().is_empty(), "{}", failed.trace());
}

#[test]
fn a106_asked_for_again_while_it_goes_it_stays() {
    let mut world = world(2);
    world.ask(Request::RemoveClusterIp);
    world.plan();
    world.ask(wanted(Some("10.1.0.100/24"), None));
    world.run();
    assert_eq!(world.running("cluster-ip").len(), 1);
}

/// The group as a backup has it, with the name of another cluster.
fn backup(with_core: bool) -> Request {
    let pairs = |all: &[(&str, &str)]| {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let resource = |id: &str, kind: &str, given: &[(&str, &str)], on: &[&str]| DeclaredResource {
        group: "cluster".into(),
        resource: id.into(),
        kind: kind.into(),
        properties: pairs(given),
        depends_on: on.iter().map(|on| ResourceId::from(*on)).collect(),
        desired: None,
        line: 0,
    };
    let group = DeclaredGroup {
        group: "cluster".into(),
        properties: pairs(&[("preferred-owners", "n2")]),
        desired: Some(Desired::Online),
        line: 0,
    };
    let name = [("host-name", "former"), DNS[0], DNS[1]];
    let ip = resource("cluster-ip", "ip-address", &[("address", "10.1.0.100/24")], &[]);
    let name = resource("cluster-name", "network-name", &name, &["cluster-ip"]);
    let (groups, resources) =
        if with_core { (vec![group], vec![ip, name]) } else { (Vec::new(), Vec::new()) };
    let whole = Some(Whole::default());
    Request::Apply { wanted: Declaration { groups, resources, whole, ..Declaration::default() } }
}

#[test]
fn a106_a_backup_brings_it_back_under_the_name_that_the_cluster_has() {
    let mut world = World::new(2, Planted::NONE);
    world.ask(backup(true));
    world.run();
    assert_eq!(world.running("cluster-name"), [n(2)]);
    let name = &world.group_of("cluster").resources[&ResourceId::from("cluster-name")];
    assert_eq!(name.properties["host-name"], "lab");
    // As it was, it is not touched; without it, it goes by itself.
    match world.try_ask(backup(true)).unwrap() {
        Decision::ProposeAll(changes) => assert_eq!(changes, []),
        other => panic!("{other:?}"),
    }
    world.ask(backup(false));
    world.run();
    assert!(world.leader.groups().is_empty());
    assert_eq!(world.running("cluster-ip"), []);
}
