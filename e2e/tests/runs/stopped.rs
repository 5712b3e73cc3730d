//! Single processes of a node are stopped (SIGSTOP) and its disk is full: what cannot be healed is
//! told where a person looks, and nothing is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::processes::{self, Role};
use e2e::program::Said;
use e2e::{Roles, TWO, World, other, tell, until, wait, witness};
use rustix::process::Signal;
use stead_model::NodeId;

use crate::stage::{Place, Stage};

/// Goes on when this ends, whatever happened.
struct Stopped(u32);

impl Stopped {
    fn new(stage: &Stage, node: NodeId, role: Role<'_>) -> Self {
        let pid = processes::find(&stage.world, node, role);
        processes::signal(pid, Signal::STOP);
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // A monitor that does not answer is replaced, sooner or later.
        if processes::lives(self.0) {
            processes::signal(self.0, Signal::CONT);
        }
    }
}

/// Waits until `status` of a node needs attention because of this.
fn status_says(world: &World, node: NodeId, text: &str) -> Said {
    let node = node.to_string();
    wait(&format!("status of {node} says `{text}`"), || {
        let said = world.stead(&["--node", &node, "status"]);
        if said.out.contains(text) && said.code == 1 { Ok(said) } else { Err(said.out) }
    })
}

fn recorded(world: &World, node: NodeId, code: &str) -> bool {
    world.records(node).iter().any(|record| record.code == code)
}

#[test]
fn stopped_guard_is_told() {
    let stage = Stage::set("stopped-guard");
    let owner = other(stage.arrange(Place::Follower).leads);
    let stopped = Stopped::new(&stage, owner, Role::Guard);
    status_says(&stage.world, owner, &format!("the guard of {owner} does not answer"));
    drop(stopped);
    // It finds its lease over and stops everything: that is what it is for.
    until("told that it answers", || recorded(&stage.world, owner, "guard-answers"));
    until("healthy again", || stage.world.stead(&["status"]).code == 0);
    witness::one_at_a_time(&stage.world, &stage.site, 0);
}

#[test]
fn stopped_monitor_is_told() {
    let stage = Stage::set("stopped-monitor");
    let owner = other(stage.arrange(Place::Follower).leads);
    let epoch = stage.epoch(owner);
    let stopped = Stopped::new(&stage, owner, Role::Monitor);
    status_says(&stage.world, owner, &format!("on {owner} the resource monitor does not answer"));
    let web = stage.site.web();
    let said = stage.world.stead(&["--node", &owner.to_string(), "resource", "logs", web.as_str()]);
    assert!(said.code == 1 && said.err.contains("monitor does not answer"), "{}", said.err);
    drop(stopped);
    until("healthy again", || stage.world.stead(&["status"]).code == 0);
    assert!(recorded(&stage.world, owner, "monitor-answers"));
    assert_eq!(stage.epoch(owner), epoch, "what runs was not touched");
    witness::one_at_a_time(&stage.world, &stage.site, 0);
}

/// A disk of a few bytes in place of a node's state, until this ends.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path, mib: u32) -> Self {
        let size = format!("size={mib}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "none"]).arg(path);
        assert!(mount.status().unwrap().success(), "no tmpfs at {}", path.display());
        Self(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn full_disk_without_room_for_the_log() {
    if !rustix::process::geteuid().is_root() {
        tell("skipped: only root may mount a small disk");
        return;
    }
    let world = World::up("full-log");
    let _ = Roles::settled(&world);
    world.crash(TWO);
    let state = world.lab().record().dirs.station("node2").join("lib");
    let disk = SmallDisk::mount(&state, 1);
    let says = |what: &[&str]| {
        let _ = world.lab().start(TWO);
        let console = world.lab().console(stead_lab::Station::Node(TWO));
        wait("the node says what is wrong", || {
            let text = fs::read_to_string(&console).unwrap();
            if what.iter().all(|w| text.contains(w)) { Ok(()) } else { Err(text) }
        });
        world.crash(TWO);
    };
    // What was lost is not made anew, and a first start needs room.
    says(&["`/var/lib/stead/node.log` is missing", "hint: bring the file back"]);
    fs::write(state.with_file_name("etc").join("first-start"), b"").unwrap();
    says(&["cannot write `/var/lib/stead/node.log", "No space left", "hint: free space"]);
    drop(disk);
    world.start(TWO);
    let _ = Roles::settled(&world);
}

#[test]
fn full_disk_takes_no_records() {
    if !rustix::process::geteuid().is_root() {
        tell("skipped: only root may mount a small disk");
        return;
    }
    let stage = Stage::set("full-records");
    let world = &stage.world;
    let full = other(stage.arrange(Place::Leader).leads);
    let state = world.lab().record().dirs.station(&format!("node{}", full.0)).join("lib");
    world.crash(full);
    let kept = fs::read(state.join("node.log")).unwrap();
    let disk = SmallDisk::mount(&state, 200);
    fs::write(state.join("node.log"), &kept).unwrap();
    world.start(full);
    let _ = Roles::settled(world);
    let fill = state.join("fill");
    let rest = vec![0; 200 << 20];
    assert!(fs::write(&fill, &rest).is_err(), "the disk is larger than it should be");
    // The writer changes a key of the registry 50 times a second; a group leaves more words.
    let said = wait("status says that records are not written", || {
        let target = other(stage.world.group(full, "web").owner.unwrap_or(full));
        let _ = world.stead(&["group", "move", "web", "--to", &target.to_string(), "--wait"]);
        let said = world.stead(&["--node", &full.to_string(), "status"]);
        if said.out.contains("cannot write records") { Ok(said) } else { Err(said.out) }
    });
    assert!(said.out.contains("No space left") && said.code == 1, "{}", said.out);
    stage.writer.wait_more(20);
    fs::remove_file(&fill).unwrap();
    until("records are written again", || {
        let target = other(stage.world.group(full, "web").owner.unwrap_or(full));
        let _ = world.stead(&["group", "move", "web", "--to", &target.to_string(), "--wait"]);
        recorded(world, full, "records-written")
    });
    until("healthy again", || world.stead(&["status"]).code == 0);
    world.crash(full);
    drop(disk);
}
