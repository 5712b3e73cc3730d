//! A backup is restored in a cluster of several nodes, on another one than it was made on: groups
//! that were changed and deleted are as they were, those that came since are gone, and every node
//! has the same, also one that was off meanwhile.

use std::fmt::Debug;

use e2e::{ONE, Site, TWO, World, wait, witness};
use serde_json::Value;
use stead_model::NodeId;
use stead_model::config::QuorumMode;
use stead_model::group::{Desired, GroupPolicy};
use stead_model::request::Request;

const THREE: NodeId = NodeId(3);

/// `stead` on a node; it must succeed.
fn must(world: &World, node: NodeId, words: &[&str]) -> String {
    let node = node.to_string();
    let said = world.stead(&[&["--node", &node], words].concat());
    assert_eq!(said.code, 0, "{node}: {words:?}: {}{}", said.out, said.err);
    said.out
}

/// What a node would put into a backup: what an export has, and what that leaves out.
fn has(world: &World, node: NodeId) -> (String, Value) {
    let node = node.to_string();
    let status = world.stead(&["--node", &node, "--json", "status"]).out;
    let view: Value = serde_json::from_str(&status).unwrap_or_default();
    let exported = world.stead(&["--node", &node, "export"]).out;
    (exported, view["nodes"][0]["room"]["capacity"].clone())
}

/// Waits until a node has all of it.
fn all_as<T: PartialEq + Debug>(wanted: &T, look: impl Fn() -> T) {
    wait("it is as it was", || {
        let found = look();
        if found == *wanted { Ok(()) } else { Err(format!("{found:#?}, not {wanted:#?}")) }
    });
}

#[test]
fn restored_backup_is_what_all_nodes_have() {
    let world = World::with("restored", |options| {
        options.nodes = 3;
        options.quorum = Some(QuorumMode::NodeMajority);
    });
    let (web, mail) = (Site::new("web", 100), Site::new("mail", 101));
    web.create(&world, ONE);
    mail.create(&world, TWO);
    must(&world, ONE, &["node", "capacity", "n1", "cpu=4"]);
    must(&world, ONE, &["alert", "add", "ops", "--webhook", "http://10.77.2.9/"]);
    let before = has(&world, ONE);
    assert_eq!(before.1["cpu"], 4000, "{before:#?}");
    let file = world.home().join("cluster.backup");
    let file = file.to_str().unwrap();
    must(&world, ONE, &["cluster", "backup", file]);
    let (kept, gone) = (world.group(ONE, "web").epoch, world.group(ONE, "mail").epoch);
    changes(&world, &mail);
    assert_ne!(has(&world, TWO), before);

    world.crash(THREE);
    let plan = must(&world, TWO, &["cluster", "restore", file, "--plan"]);
    assert!(plan.contains("+ group mail") && plan.contains("- group late"), "{plan}");
    must(&world, TWO, &["cluster", "restore", file, "--wait"]);
    for node in [ONE, TWO] {
        all_as(&before, || has(&world, node));
    }
    world.start(THREE);
    world.cluster().wait_serving(e2e::PATIENCE).unwrap();
    all_as(&before, || has(&world, THREE));
    for group in ["web", "mail"] {
        world.cluster().wait_online(group, None, e2e::PATIENCE).unwrap();
    }
    let again = world.group(THREE, "mail");
    assert!(again.epoch > gone, "orders of the former group would count: {:?}", again.epoch);
    let stayed = world.group(THREE, "web");
    assert_eq!((stayed.owner, stayed.epoch), (Some(ONE), kept), "what was fine was moved");

    // What is restored is taken over like anything else.
    world.crash(ONE);
    wait("another node serves it", || {
        let owner = |node| world.group(node, "web").owner;
        let moved = owner(TWO) != Some(ONE) && owner(TWO) == owner(THREE);
        let online = world.group(TWO, "web").state.word() == "online";
        if moved && online { Ok(()) } else { Err(format!("on {:?}", owner(TWO))) }
    });
    for site in [&web, &mail] {
        witness::one_at_a_time(&world, site, 0);
    }
}

/// One group is deleted, another one is changed, a third one comes; and what an export leaves out.
fn changes(world: &World, mail: &Site) {
    mail.desire(world, Desired::Offline);
    wait("it is offline", || match world.group(ONE, "mail").state.word() {
        "offline" => Ok(()),
        other => Err(other.to_owned()),
    });
    for resource in [mail.web(), "mail-address".into(), mail.witness()] {
        world.ask(&Request::DeleteResource { resource });
    }
    world.ask(&Request::DeleteGroup { group: "mail".into() });
    must(world, ONE, &["group", "set", "web", "failover-threshold=7"]);
    must(world, ONE, &["node", "capacity", "n1", "cpu=2"]);
    must(world, TWO, &["alert", "remove", "ops"]);
    let policy = GroupPolicy::default();
    world.ask(&Request::CreateGroup { group: "late".into(), policy });
    let desired = Desired::Offline;
    world.ask(&Request::SetGroupDesired { group: "late".into(), desired });
}
