//! Disks: what a power cut loses, who may write, and paths that fail, hang and are slow.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use stead_lab::disks::{Condition, PathStatus, QUORUM};
use stead_lab::{Lab, LabState, Missing, Power, Station, UpError};
use stead_model::NodeId;

use crate::Case;
use crate::world::{self, ONE, PATIENCE, Probe, TWO, World, until};

pub(crate) const CASES: &[Case] = &[
    ("disk_is_shared_and_fresh_in_every_life", disk_is_shared_and_fresh_in_every_life),
    ("disk_loses_unsynced_writes_by_a_crash", disk_loses_unsynced_writes_by_a_crash),
    ("disk_mounted_twice_is_noticed", disk_mounted_twice_is_noticed),
    ("disk_obeys_reservations", disk_obeys_reservations),
    ("disk_preemption_aborts_what_hangs", disk_preemption_aborts_what_hangs),
    ("disk_hangs_is_slow_and_fails", disk_hangs_is_slow_and_fails),
    ("disk_of_a_killed_lab_is_detached", disk_of_a_killed_lab_is_detached),
    ("disk_of_the_quorum_has_paths_too", disk_of_the_quorum_has_paths_too),
    ("disk_names_are_checked", disk_names_are_checked),
];

const DATA: &str = "data";
const PLACE: &str = "/run/data";
const EIO: i32 = 5;
const RESERVATION_CONFLICT: i32 = 52;

/// What a disk test begins with; `None` where there are no lab disks, which `lab up` tells.
fn lab(world: &World, name: &str) -> Option<Lab> {
    let devices = ["/dev/fuse", "/dev/loop-control"];
    let root = rustix::process::geteuid().is_root();
    if let (true, Some(device)) = (root, devices.iter().find(|path| !Path::new(path).exists())) {
        println!("  not tried: this machine has no {device}");
        return None;
    }
    let mut options = world.options(name);
    options.disks = vec![DATA.into()];
    let lab = world.up_with(&options);
    if root {
        return Some(lab);
    }
    let status = lab.status().unwrap();
    assert!(status.missing.contains(&Missing::MountedDisks) && status.disks.is_empty());
    assert!(lab.set_disk(ONE, DATA, Condition::Failing).is_err());
    None
}

fn disk(lab: &Lab, node: NodeId, words: &[&str]) -> Output {
    let all: Vec<&str> = ["disk"].iter().chain(words).copied().collect();
    lab.run(Station::Node(node), &all)
}

/// Does it and says what it printed.
fn did(lab: &Lab, node: NodeId, words: &[&str]) -> String {
    let output = disk(lab, node, words);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{node}: {words:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The error number it ends with.
fn fails(lab: &Lab, node: NodeId, words: &[&str]) -> i32 {
    disk(lab, node, words).status.code().unwrap()
}

fn ask(lab: &Lab, node: NodeId, question: &str) -> String {
    did(lab, node, &["ask", DATA, question]).trim().to_owned()
}

const DONE: &str = r#"{"answer":"done"}"#;
const CONFLICT: &str = r#"{"answer":"conflict"}"#;

/// Begins a write past all caches.
fn begin_write(lab: &Lab, node: NodeId, text: &str) -> Child {
    let words = ["stead", crate::stand_in::SUBCOMMAND, "disk", "write", DATA, text];
    let mut way = lab.command(Station::Node(node), &words).unwrap();
    way.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn path(lab: &Lab, node: NodeId) -> PathStatus {
    let status = lab.status().unwrap();
    status.disks[0].paths.iter().find(|path| path.node == node).unwrap().clone()
}

/// Waits for the end of a write; its exit code.
fn ended(write: &mut Child) -> i32 {
    let mut code = None;
    until("the write ends", || {
        code = write.try_wait().unwrap();
        code.is_some()
    });
    code.unwrap().code().unwrap()
}

/// Loop devices of this host that are in use.
fn loops() -> BTreeSet<std::ffi::OsString> {
    let devices = fs::read_dir("/sys/block").unwrap().flatten();
    devices.filter(|entry| entry.path().join("loop").exists()).map(|e| e.file_name()).collect()
}

fn disk_is_shared_and_fresh_in_every_life(world: &World) {
    let Some(lab) = lab(world, "shared") else { return };
    let first = path(&lab, ONE).loop_device.unwrap();
    assert_ne!(first, path(&lab, TWO).loop_device.unwrap(), "one device for two nodes");
    did(&lab, ONE, &["mount", DATA, PLACE]);
    did(&lab, ONE, &["put", "/run/data/file", "from node1"]);
    did(&lab, ONE, &["umount", PLACE]);
    did(&lab, TWO, &["mount", DATA, PLACE]);
    assert_eq!(did(&lab, TWO, &["get", "/run/data/file"]), "from node1");
    did(&lab, TWO, &["put", "/run/data/file", "from node2"]);
    // A clean shutdown unmounts.
    lab.stop(TWO).unwrap();
    assert_eq!(path(&lab, TWO).loop_device, None);
    did(&lab, ONE, &["mount", DATA, PLACE]);
    assert_eq!(did(&lab, ONE, &["get", "/run/data/file"]), "from node2");
    lab.start(TWO).unwrap();
    assert!(path(&lab, TWO).loop_device.is_some());
    let mut times: Vec<u64> = did(&lab, TWO, &["write-times", DATA, "500"])
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    times.sort_unstable();
    let [median, p99] = [times[times.len() / 2], times[times.len() * 99 / 100]];
    println!("  4 KiB past all caches: median {median} us, p99 {p99} us");
}

fn disk_loses_unsynced_writes_by_a_crash(world: &World) {
    let Some(lab) = lab(world, "lost") else { return };
    // A mere kill is no power cut: the kernel unmounts and writes all that is left.
    did(&lab, TWO, &["mount", DATA, PLACE]);
    did(&lab, TWO, &["put", "/run/data/killed", "unsynced"]);
    kill(lab.pid(TWO));
    lab.wait_power(TWO, Power::Off, PATIENCE).unwrap();
    did(&lab, ONE, &["mount", DATA, PLACE]);
    assert_eq!(did(&lab, ONE, &["get", "/run/data/killed"]), "unsynced");

    did(&lab, ONE, &["put-synced", "/run/data/synced", "kept"]);
    did(&lab, ONE, &["put", "/run/data/unsynced", "lost"]);
    assert_eq!(did(&lab, ONE, &["get", "/run/data/unsynced"]), "lost");
    let before = loops();
    lab.crash(ONE).unwrap();
    lab.start(TWO).unwrap();
    did(&lab, TWO, &["mount", DATA, PLACE]);
    assert_eq!(did(&lab, TWO, &["get", "/run/data/synced"]), "kept");
    assert_ne!(fails(&lab, TWO, &["get", "/run/data/unsynced"]), 0, "it survived");
    until("the device of node1 is gone", || loops().len() <= before.len());

    // A new life has a path that works.
    did(&lab, TWO, &["umount", PLACE]);
    lab.start(ONE).unwrap();
    did(&lab, ONE, &["mount", DATA, PLACE]);
    assert_eq!(did(&lab, ONE, &["get", "/run/data/synced"]), "kept");
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

fn disk_mounted_twice_is_noticed(world: &World) {
    let Some(lab) = lab(world, "twice") else { return };
    did(&lab, ONE, &["mount", DATA, PLACE]);
    did(&lab, TWO, &["mount", DATA, PLACE]);
    did(&lab, ONE, &["put-synced", "/run/data/one", "from node1"]);
    // A shared superblock would show it.
    assert_ne!(fails(&lab, TWO, &["get", "/run/data/one"]), 0, "node2 has no cache of its own");
    did(&lab, TWO, &["put-synced", "/run/data/two", "from node2"]);
    did(&lab, ONE, &["umount", PLACE]);
    did(&lab, TWO, &["umount", PLACE]);
    did(&lab, ONE, &["mount", DATA, PLACE]);
    let whole = |file: &str, text: &str| {
        let got = disk(&lab, ONE, &["get", file]);
        got.status.success() && got.stdout == text.as_bytes()
    };
    let (one, two) = (whole("/run/data/one", "from node1"), whole("/run/data/two", "from node2"));
    assert!(!(one && two), "two nodes wrote at once and nothing was damaged");
}

fn disk_obeys_reservations(world: &World) {
    let Some(lab) = lab(world, "reserved") else { return };
    did(&lab, TWO, &["write", DATA, "free for all"]);
    assert_eq!(did(&lab, ONE, &["read", DATA]), "free for all");
    assert_eq!(ask(&lab, ONE, r#"{"op":"reserve","key":1}"#), CONFLICT);
    assert_eq!(ask(&lab, ONE, r#"{"op":"register","key":1}"#), DONE);
    assert_eq!(ask(&lab, ONE, r#"{"op":"reserve","key":1}"#), DONE);
    did(&lab, ONE, &["write", DATA, "the owner's"]);
    assert_eq!(fails(&lab, TWO, &["write", DATA, "a stranger's"]), RESERVATION_CONFLICT);
    assert_eq!(did(&lab, TWO, &["read", DATA]), "the owner's");
    // It outlives the owner.
    lab.crash(ONE).unwrap();
    assert_eq!(fails(&lab, TWO, &["write", DATA, "a stranger's"]), RESERVATION_CONFLICT);
    assert_eq!(ask(&lab, TWO, r#"{"op":"register","key":2}"#), DONE);
    assert_eq!(ask(&lab, TWO, r#"{"op":"preempt-and-abort","key":2,"victim":1}"#), DONE);
    let keys = r#"{"answer":"keys","generation":3,"keys":[2],"holder":2}"#;
    assert_eq!(ask(&lab, TWO, r#"{"op":"read-keys"}"#), keys);
    lab.start(ONE).unwrap();
    assert_eq!(fails(&lab, ONE, &["write", DATA, "the old owner's"]), RESERVATION_CONFLICT);
    assert_eq!(did(&lab, ONE, &["read", DATA]), "the owner's");
    assert!(ask(&lab, ONE, r#"{"op":"format"}"#).contains("invalid"));
    assert_eq!(ask(&lab, TWO, r#"{"op":"clear","key":2}"#), DONE);
    did(&lab, ONE, &["write", DATA, "free again"]);
}

fn disk_preemption_aborts_what_hangs(world: &World) {
    let Some(lab) = lab(world, "aborted") else { return };
    did(&lab, ONE, &["write", DATA, "before"]);
    for (node, key) in [(ONE, 1), (TWO, 2)] {
        assert_eq!(ask(&lab, node, &format!(r#"{{"op":"register","key":{key}}}"#)), DONE);
    }
    assert_eq!(ask(&lab, ONE, r#"{"op":"reserve","key":1}"#), DONE);
    lab.set_disk(ONE, DATA, Condition::Hanging).unwrap();
    let mut write = begin_write(&lab, ONE, "too late");
    until("the write hangs", || path(&lab, ONE).kept_requests == 1);
    assert_eq!(ask(&lab, TWO, r#"{"op":"preempt-and-abort","key":2,"victim":1}"#), DONE);
    assert_eq!(ended(&mut write), EIO);
    let mut write = begin_write(&lab, ONE, "still too late");
    until("the write hangs", || path(&lab, ONE).kept_requests == 1);
    lab.set_disk(ONE, DATA, Condition::Healthy).unwrap();
    assert_eq!(ended(&mut write), RESERVATION_CONFLICT);
    assert_eq!(did(&lab, TWO, &["read", DATA]), "before");
}

fn disk_hangs_is_slow_and_fails(world: &World) {
    let Some(lab) = lab(world, "faults") else { return };
    did(&lab, ONE, &["write", DATA, "before"]);
    lab.set_disk(ONE, DATA, Condition::Hanging).unwrap();
    let mut write = begin_write(&lab, ONE, "held");
    until("the write hangs", || path(&lab, ONE).kept_requests == 1);
    assert_eq!(did(&lab, TWO, &["read", DATA]), "before", "node2's path has no fault");
    assert!(write.try_wait().unwrap().is_none());
    lab.set_disk(ONE, DATA, Condition::Healthy).unwrap();
    assert_eq!(ended(&mut write), 0);
    assert_eq!(did(&lab, TWO, &["read", DATA]), "held");

    lab.set_disk(ONE, DATA, Condition::Slow { delay_ms: 300 }).unwrap();
    let begun = Instant::now();
    did(&lab, ONE, &["write", DATA, "slow"]);
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());

    lab.set_disk(ONE, DATA, Condition::Failing).unwrap();
    assert_eq!(fails(&lab, ONE, &["write", DATA, "failed"]), EIO);
    assert_eq!(fails(&lab, ONE, &["read", DATA]), EIO);
    assert_eq!(did(&lab, TWO, &["read", DATA]), "slow");

    // A fault is one of the path, not of the life; power off does not wait for a hung disk.
    lab.set_disk(ONE, DATA, Condition::Hanging).unwrap();
    let mut write = begin_write(&lab, ONE, "never");
    until("the write hangs", || path(&lab, ONE).kept_requests == 1);
    lab.crash(ONE).unwrap();
    write.wait().unwrap();
    lab.start(ONE).unwrap();
    assert_eq!(path(&lab, ONE).condition, Condition::Hanging);
    lab.set_disk(ONE, DATA, Condition::Healthy).unwrap();
    assert_eq!(did(&lab, ONE, &["read", DATA]), "slow");
    let unknown = lab.set_disk(ONE, "other", Condition::Healthy).unwrap_err().to_string();
    assert!(unknown.contains("no such disk"), "{unknown}");
    assert!(lab.set_disk(NodeId(3), DATA, Condition::Healthy).is_err());
}

fn disk_of_a_killed_lab_is_detached(world: &World) {
    let Some(lab) = lab(world, "left") else { return };
    did(&lab, ONE, &["mount", DATA, PLACE]);
    did(&lab, ONE, &["put", "/run/data/file", "text"]);
    let numbers = [ONE, TWO].map(|node| path(&lab, node).loop_device.unwrap());
    let spaces = world::namespaces(lab.pid(ONE));
    kill(lab.status().unwrap().supervisor_pid);
    until("its machines are gone", || world::processes_in(&spaces).is_empty());
    until("its supervisor is gone", || {
        stead_lab::list(&world.home()).unwrap()[0].state == LabState::Dead
    });
    world.down("left");
    // Others on this host may take the numbers at once: the backing file tells.
    let ours = |number: &u32| {
        let file = format!("/sys/block/loop{number}/loop/backing_file");
        fs::read_to_string(file).is_ok_and(|name| name.contains("node"))
    };
    until("its devices are gone", || !numbers.iter().any(ours));
}

fn disk_of_the_quorum_has_paths_too(world: &World) {
    let lab = world.up("quorum");
    let disks: Vec<_> = lab.status().unwrap().disks.into_iter().map(|disk| disk.disk).collect();
    if !lab.record().quorum_served {
        assert!(disks.is_empty() && lab.set_disk(ONE, QUORUM, Condition::Failing).is_err());
        return;
    }
    assert_eq!(disks, [QUORUM]);
    did(&lab, ONE, &["write", QUORUM, "from node1"]);
    assert_eq!(did(&lab, TWO, &["read", QUORUM]), "from node1");
    lab.set_disk(TWO, QUORUM, Condition::Failing).unwrap();
    assert_eq!(fails(&lab, TWO, &["read", QUORUM]), EIO);
    assert_eq!(did(&lab, ONE, &["read", QUORUM]), "from node1");
}

fn disk_names_are_checked(world: &World) {
    for names in [&["data", "data"][..], &["a/b"], &["quorum"], &["sixteen-long-abc"]] {
        let mut options = world.options("names");
        options.disks = names.iter().map(|name| (*name).to_owned()).collect();
        assert!(matches!(stead_lab::up(&options, &mut |_| {}), Err(UpError::Disk(_))));
    }
}
