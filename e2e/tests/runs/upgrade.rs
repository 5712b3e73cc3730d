//! All of stead is replaced by another file of the program, node by node, under a running group: no
//! client notices, nothing moves, nothing is restarted but stead.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use e2e::processes::{self, Role};
use e2e::{World, other, rounds, tell, until, wait, witness};
use rustix::process::Signal;
use stead_lab::boot_ns;
use stead_model::NodeId;

use crate::stage::{Place, Stage, failed};

const APPLICATIONS: [Role<'static>; 2] =
    [Role::Application("demo-web"), Role::Application("lab-stamp")];
const SERVICES: [Role<'static>; 3] = [Role::Guard, Role::Service, Role::Monitor];

#[test]
fn upgraded_nodes_are_not_noticed() {
    let stage = Stage::set("upgrade");
    for round in 0..rounds().div_ceil(2).max(2) {
        let place = if round % 2 == 0 { Place::Leader } else { Place::Follower };
        let owner = place.of(stage.arrange(place));
        // The owner last: it is upgraded while the other one runs the new program already.
        for node in [other(owner), owner] {
            upgrade(&stage, owner, node, round);
        }
    }
    witness::one_at_a_time(&stage.world, &stage.site, 0);
}

fn upgrade(stage: &Stage, owner: NodeId, node: NodeId, round: usize) {
    let world = &stage.world;
    let epoch = stage.epoch(owner);
    let before = APPLICATIONS.map(|role| processes::find(world, owner, role));
    let guard = processes::find(world, node, Role::Guard);
    let (name, program) = (format!("stead-{round}"), e2e::program::path());
    let from_ns = boot_ns();
    let program = replace(world, node, (&name, program));
    becomes(world, node, program);
    let took_ms = (boot_ns() - from_ns) / 1_000_000;
    stage.writer.wait_more(10);
    stage.adopted(owner);
    let text = wait("the upgrade is told", || upgraded(world, node, from_ns));
    assert_eq!(processes::find(world, node, Role::Guard), guard, "the guard is another process");
    let after = APPLICATIONS.map(|role| processes::find(world, owner, role));
    assert_eq!(before, after, "applications were restarted");
    assert_eq!(stage.epoch(owner), epoch, "the group moved");
    let missed = failed(&stage.prober.attempts(), from_ns);
    assert!(missed.is_empty(), "{} answers missed: {:?}", missed.len(), missed.first());
    tell(&format!("{node}, owner {owner}: {took_ms} ms; {text}"));
}

fn upgraded(world: &World, node: NodeId, from_ns: u64) -> Result<String, String> {
    let records = world.cluster().records(node, 0).map_err(|error| error.to_string())?;
    let mut found = records.into_iter().filter(|r| r.code == "upgraded" && r.boot_ns >= from_ns);
    found.next().map(|record| record.text).ok_or_else(|| "no record of it".into())
}

/// Waits until all of stead on a node is the program with that inode.
pub(crate) fn becomes(world: &World, node: NodeId, program: u64) {
    wait("all of stead is the new program", || {
        let old = SERVICES.into_iter().find(|role| {
            let found = processes::all(world, node, *role);
            found.len() != 1 || inode(&format!("/proc/{}/exe", found[0])) != Some(program)
        });
        old.map_or(Ok(()), |role| Err(format!("{role:?} is not")))
    });
}

/// A copy of a program lies where the node's own was, and the guard is told; gives its inode.
pub(crate) fn replace(world: &World, node: NodeId, (name, program): (&str, &Path)) -> u64 {
    let guard = processes::find(world, node, Role::Guard);
    let program = put(world, node, (name, program));
    processes::signal(guard, Signal::HUP);
    program
}

fn put(world: &World, node: NodeId, (name, program): (&str, &Path)) -> u64 {
    let new = world.lab().witness_dir(node).join(name);
    fs::copy(program, &new).unwrap();
    let inside = format!("/var/lib/stead-witness/{name}");
    let words = ["lab", "exec", &node.to_string(), "--", "mount", "--bind", &inside];
    let words = [&words[..], &["/run/lab/bin/stead"]].concat();
    let said = world.stead(&words);
    assert_eq!(said.code, 0, "{}", said.err);
    inode(&new.to_string_lossy()).unwrap()
}

fn inode(path: &str) -> Option<u64> {
    fs::metadata(path).ok().map(|found| found.ino())
}

#[test]
fn refused_upgrade_changes_nothing() {
    let stage = Stage::set("upgrade-refused");
    let owner = Place::Leader.of(stage.arrange(Place::Leader));
    let broken = stage.world.lab().witness_dir(owner).join("broken");
    fs::write(&broken, "no program").unwrap();
    let words = ["lab", "exec", &owner.to_string(), "--", "mount", "--bind"];
    let words = [&words[..], &["/var/lib/stead-witness/broken", "/run/lab/bin/stead"]].concat();
    assert_eq!(stage.world.stead(&words).code, 0);
    let before = SERVICES.map(|role| processes::find(&stage.world, owner, role));
    let from_ns = boot_ns();
    processes::signal(before[0], Signal::HUP);
    until("told that it was refused", || {
        stage.world.records(owner).iter().any(|record| record.code == "upgrade-refused")
    });
    let after = SERVICES.map(|role| processes::find(&stage.world, owner, role));
    assert_eq!(before, after);
    let missed = failed(&stage.prober.attempts(), from_ns);
    assert!(missed.is_empty(), "{} answers missed: {:?}", missed.len(), missed.first());
}
