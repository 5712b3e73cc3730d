//! What a person sees when something is wrong: what, where, and what to do; and nothing is lost.

use std::fs;
use std::os::unix::fs::FileExt;

use e2e::{ONE, Roles, TWO, World, Writer, other, program, until, wait};
use stead_lab::{CutSpec, Network, Station};
use stead_model::NodeId;

use crate::stage::{Place, Stage};

#[test]
fn upkeep_exit_codes() {
    let world = World::up("codes");
    let _ = Roles::settled(&world);
    let healthy = world.stead(&["status"]);
    assert_eq!(healthy.code, 0, "{}{}", healthy.out, healthy.err);
    let refused = world.stead(&["group", "show", "nope"]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(refused.err.contains("`nope`"), "{}", refused.err);
    for words in [&["frobnicate"][..], &["group"], &["lab", "crash"], &["status", "--colour"]] {
        let wrong = world.stead(words);
        assert_eq!(wrong.code, 2, "{words:?}: {}", wrong.err);
        assert!(!wrong.err.is_empty() && wrong.out.is_empty(), "{words:?}: {wrong:?}");
    }
    let nowhere = program::stead(world.home(), &["--lab", "nowhere", "status"]);
    assert_eq!(nowhere.code, 3, "{}", nowhere.err);
    assert!(nowhere.err.contains("nowhere"), "{}", nowhere.err);
    for node in [ONE, TWO] {
        world.crash(node);
    }
    let off = world.stead(&["status"]);
    assert_eq!(off.code, 3, "{}", off.err);
    assert!(off.err.contains("hint:"), "{}", off.err);
}

#[test]
fn upkeep_status_of_a_minority() {
    let stage = Stage::set("minority");
    let loser = other(stage.arrange(Place::Leader).leads);
    let winner = other(loser);
    stage.world.split(winner, loser);
    until("the loser has no quorum", || !stage.world.view(loser).quorum.has_quorum);
    let node = loser.to_string();
    let said = stage.world.stead(&["--node", &node, "status"]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let told = said.out.contains("no quorum since") && said.out.contains("last known");
    assert!(told && said.out.contains("web"), "{}", said.out);
    // Whoever is not named finds the side that works.
    let said = stage.world.stead(&["--json", "status"]);
    let view: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(view["quorum"]["has_quorum"], true, "{}", said.out);
    let written = stage.world.stead(&["--node", &node, "group", "offline", "web"]);
    assert_eq!(written.code, 1, "a minority took a change: {}", written.err);
    stage.world.heal();
}

#[test]
fn upkeep_one_network_is_missing() {
    let stage = Stage::set("one-network");
    let owner = stage.arrange(Place::Follower).leads;
    let epoch = stage.epoch(owner);
    let station = Station::Node(owner);
    let cut = CutSpec::Station { station, network: Some(Network::Private) };
    stage.world.lab().cut(cut).unwrap();
    let said = wait("status names the network", || {
        let said = stage.world.stead(&["status"]);
        let told = said.out.contains("silent on network `private`");
        if told && said.code == 1 { Ok(said) } else { Err(said.out) }
    });
    assert!(said.out.contains("needs attention"), "{}", said.out);
    stage.writer.wait_more(50);
    assert_eq!(stage.epoch(owner), epoch, "one dead link of two is no failover");
    stage.world.heal();
    until("healthy again", || stage.world.stead(&["status"]).code == 0);
}

#[test]
fn upkeep_damaged_node_log() {
    let world = World::up("damaged");
    let writer = Writer::start(&world);
    writer.wait_more(50);
    world.lab().stop(TWO).unwrap();
    let path = world.lab().record().dirs.station("node2").join("lib/node.log");
    damage(&path);
    let before = fs::read(&path).unwrap();
    start_in_vain(&world, TWO);
    complaint(&world, TWO, &["error: `/var/lib/stead/node.log`", "damaged", "hint: "]);
    assert!(fs::read(&path).unwrap() == before, "the damaged log was touched");
    writer.wait_more(20);
    writer.served_by(&world, ONE);
}

#[test]
fn upkeep_foreign_quorum_disk() {
    let (world, stranger) = (World::up("own"), World::up("stranger"));
    for node in [ONE, TWO] {
        world.lab().stop(node).unwrap();
        stranger.lab().stop(node).unwrap();
    }
    let disk = world.lab().record().dirs.quorum_disk();
    let theirs = fs::read(stranger.lab().record().dirs.quorum_disk()).unwrap();
    fs::write(&disk, &theirs).unwrap();
    for node in [ONE, TWO] {
        world.start(node);
    }
    // Two nodes of three voters are enough; the third is named.
    let said = wait("status names the foreign disk", || {
        let said = world.stead(&["status"]);
        let told = said.out.contains("quorum disk: unreadable") && said.code == 1;
        if told { Ok(said) } else { Err(said.out) }
    });
    let whose = "this disk belongs to another cluster";
    assert!(said.out.contains(whose), "{}", said.out);
    assert!(said.out.contains("needs attention"), "{}", said.out);
    assert!(fs::read(&disk).unwrap() == theirs, "a foreign disk was written to");
}

/// Flips bits all over a log behind its first block.
fn damage(path: &std::path::Path) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let mut block = [0; 4096];
    for offset in (0..length).step_by(4096) {
        file.read_exact_at(&mut block, offset).unwrap();
        if block.iter().all(|byte| *byte == 0) {
            continue;
        }
        block.iter_mut().step_by(64).for_each(|byte| *byte ^= 0x5a);
        file.write_all_at(&block, offset).unwrap();
    }
}

/// Powers a node whose service cannot start; PID 1 may give up on it.
fn start_in_vain(world: &World, node: NodeId) {
    let _ = world.lab().start(node);
}

/// Waits until the console of a node tells all of it.
fn complaint(world: &World, node: NodeId, parts: &[&str]) {
    let path = world.lab().console(Station::Node(node));
    wait(&format!("{node} complains: {parts:?}"), || {
        let text = fs::read_to_string(&path).unwrap();
        if parts.iter().all(|part| text.contains(part)) { Ok(()) } else { Err(text) }
    });
}
