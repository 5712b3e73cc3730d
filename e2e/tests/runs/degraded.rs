//! What is left of a cluster goes on as far as its votes allow, and says what is missing.

use e2e::program::Said;
use e2e::{Roles, World, other, rounds, tell, until, wait, witness};
use stead_lab::boot_ns;
use stead_lab::disks::{Condition, QUORUM};
use stead_model::NodeId;

use crate::stage::{Place, Stage, failed};

/// The quorum disk is a disk of the lab, whose paths can fail, only for root.
fn has_disk_paths() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        tell("skipped: the quorum disk of an ordinary user's lab is a plain file without paths");
    }
    root
}

fn set_path(world: &World, node: NodeId, condition: Condition) {
    world.lab().set_disk(node, QUORUM, condition).unwrap();
}

/// Waits until a node's own status says something.
fn status_says(world: &World, node: NodeId, text: &str) -> Said {
    let node = node.to_string();
    wait(&format!("status of {node} says `{text}`"), || {
        let said = world.stead(&["--node", &node, "status"]);
        if said.out.contains(text) { Ok(said) } else { Err(said.out) }
    })
}

#[test]
fn last_node_outlives_a_hanging_disk() {
    if !has_disk_paths() {
        return;
    }
    let stage = Stage::set("hanging-disk");
    for round in 0..rounds().div_ceil(3) {
        let place = if round % 2 == 0 { Place::Leader } else { Place::Follower };
        let owner = place.of(stage.arrange(place));
        let dead = other(owner);
        stage.world.crash(dead);
        until("the survivor has longer leases", || {
            let view = stage.world.view(owner);
            view.nodes.iter().any(|node| node.node == owner && node.lease_longer)
        });
        // The entry is there; a lease of that length follows with the next renewals.
        stage.writer.wait_more(50);
        let epoch = stage.epoch(owner);
        let from_ns = boot_ns();
        set_path(&stage.world, owner, Condition::Hanging);
        status_says(&stage.world, owner, "unless a majority answers before");
        std::thread::sleep(std::time::Duration::from_nanos(
            (from_ns + 5_000_000_000).saturating_sub(boot_ns()),
        ));
        set_path(&stage.world, owner, Condition::Healthy);
        let healed_ns = boot_ns();
        stage.writer.wait_more(20);
        let back_ms = (boot_ns() - healed_ns) / 1_000_000;
        assert_eq!(stage.epoch(owner), epoch, "the group was stopped");
        let missed = failed(&stage.prober.attempts(), from_ns);
        assert!(missed.is_empty(), "{} missed: {:?}", missed.len(), missed.first());
        tell(&format!("{owner} alone: changes went on {back_ms} ms after the path was back"));
        stage.world.start(dead);
    }
    witness::one_at_a_time(&stage.world, &stage.site, 0);
}

#[test]
fn without_the_disk_both_nodes_go_on_and_one_stops() {
    if !has_disk_paths() {
        return;
    }
    let stage = Stage::set("disk-gone");
    let owner = Place::Leader.of(stage.arrange(Place::Leader));
    let epoch = stage.epoch(owner);
    let from_ns = boot_ns();
    for node in [owner, other(owner)] {
        set_path(&stage.world, node, Condition::Failing);
    }
    let said = status_says(&stage.world, owner, "no node hosts the quorum disk");
    assert_eq!(said.code, 1);
    stage.writer.wait_more(50);
    let missed = failed(&stage.prober.attempts(), from_ns);
    assert!(missed.is_empty(), "{} missed: {:?}", missed.len(), missed.first());
    assert_eq!(stage.epoch(owner), epoch, "the group moved");
    let dead = other(owner);
    stage.world.crash(dead);
    let said = status_says(&stage.world, owner, &format!("1 of 3 votes answer, {dead} is silent"));
    assert!(said.out.contains("no node hosts the quorum disk"), "{}", said.out);
    let lost = wait("the record of the end", || {
        let records = stage.world.records(owner);
        let found = records.into_iter().find(|record| record.code == "lease-lost");
        found.ok_or_else(|| "there is none".into())
    });
    assert!(lost.text.contains("1 of 3 votes answer"), "{}", lost.text);
    tell(&lost.text);
    until("the survivor stopped everything", || {
        stage.world.records(owner).iter().any(|record| record.code == "hard-stop-done")
    });
    stage.world.start(dead);
    for node in [owner, dead] {
        set_path(&stage.world, node, Condition::Healthy);
    }
    let _ = Roles::settled(&stage.world);
    witness::one_at_a_time(&stage.world, &stage.site, 0);
}
