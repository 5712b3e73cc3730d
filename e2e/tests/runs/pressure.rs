//! Both nodes at their limits at once: processors, forks and memory; and both with a full disk.
//! The group stays where it is and no lease is lost (D6): what is slow is not dead.
//!
//! `STEAD_PRESSURE_MINUTES=60` for an hour of each; by default a minute.

use std::cell::Cell;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use e2e::processes::{self, Role};
use e2e::{ONE, Roles, TWO, World, Writer, tell, wait};
use rustix::mount::{UnmountFlags, unmount};
use stead_lab::cluster::Cluster;
use stead_lab::demo::{self, GROUP, WebServer};
use stead_lab::{Station, boot_ns};
use stead_model::NodeId;
use stead_model::profile::Profile;

use crate::user;

#[test]
fn d6_busy_nodes_keep_their_groups() {
    // It ends after the nodes.
    let mut memory = Vec::new();
    let world = World::up("busy");
    stays(&world, &busy(&world, &mut memory), hold);
}

#[test]
fn d6_busy_nodes_keep_their_groups_in_profile_fast() {
    if !rustix::process::geteuid().is_root() {
        tell("skipped: profile fast wants real-time priority, which an ordinary user has not");
        return;
    }
    let mut memory = Vec::new();
    let world = World::with("busy-fast", |options| options.profile = Profile::Fast);
    stays(&world, &busy(&world, &mut memory), hold);
}

#[test]
fn d6_busy_nodes_of_an_ordinary_user_keep_their_groups() {
    user::runs(&["--exact", "pressure::d6_busy_nodes_keep_their_groups"]);
}

#[test]
fn d6_full_disks_stop_nothing() {
    if !rustix::process::geteuid().is_root() {
        tell("skipped: an ordinary user cannot mount a small file system to fill");
        return;
    }
    let disk = SmallDisk::mount();
    let world = World::within(tempfile::tempdir_in(disk.path()).unwrap(), "full", |_| {});
    online(&world);
    let writer = Writer::start(&world);
    stays(&world, &[], |look| {
        let full = disk.fill();
        hold(look);
        // Logs have had their room since the nodes were made: what is asked for is decided.
        writer.wait_more(50);
        let more = fs::write(disk.path().join("more"), [1; 1 << 16]);
        assert!(more.is_err(), "the disk is not full");
        fs::remove_file(full).unwrap();
    });
    let owner = world.group(ONE, GROUP).owner.unwrap();
    world.crash(owner);
    let heir = e2e::other(owner);
    world.taken_over(GROUP, heir);
    writer.served_by(&world, heir);
}

/// What watches over a node.
fn ours(world: &World, node: NodeId) -> Vec<(Role<'static>, u32)> {
    let roles = [Role::Guard, Role::Service, Role::Monitor];
    let of = |role| processes::all(world, node, role).into_iter().map(move |pid| (role, pid));
    roles.into_iter().flat_map(of).collect()
}

/// The group and its leases outlive what is done to both nodes.
fn stays(world: &World, hogs: &[Hog], under_pressure: impl FnOnce(&dyn Fn())) {
    let owner = world.group(ONE, GROUP).owner.unwrap();
    let before = world.group(owner, GROUP);
    let from_ns = boot_ns();
    let looked = Cell::new(from_ns);
    let look = || {
        let now_ns = boot_ns();
        world.assert_unharmed(&[ONE, TWO], looked.replace(now_ns), &LOST);
    };
    under_pressure(&look);
    let to_ns = boot_ns();
    let ended: Vec<&Hog> = hogs.iter().filter(|hog| !processes::lives(hog.shell)).collect();
    assert!(ended.is_empty(), "the nodes were not as busy as they should: {ended:?}");
    let after = world.group(owner, GROUP);
    assert_eq!((after.owner, after.epoch), (before.owner, before.epoch), "the group moved");
    look();
    for node in [ONE, TWO] {
        let during = world.records(node).into_iter();
        let during = during.filter(|r| (from_ns..to_ns).contains(&r.boot_ns));
        let mut codes: Vec<String> = during.map(|record| record.code).collect();
        codes.sort_unstable();
        codes.dedup();
        tell(&format!("{} s, {node} told: {codes:?}", (to_ns - from_ns) / 1_000_000_000));
    }
}

/// What tells that a group or a process was taken for dead.
const LOST: [&str; 3] = ["group-granted", "resource-failed", "node-service-died"];

/// A minute, or as long as was asked for; looks at what the nodes told while they still have it.
fn hold(look: &dyn Fn()) {
    let asked = std::env::var("STEAD_PRESSURE_MINUTES").ok();
    let minutes: u32 = asked.map_or(1, |text| text.parse().unwrap());
    for _ in 0..minutes * (60 / LOOK_S) {
        std::thread::sleep(Duration::from_secs(LOOK_S.into()));
        look();
    }
}

/// Seconds between looks; a divisor of a minute.
const LOOK_S: u32 = 5;

/// A program in a node that takes what it gets; it ends with the node.
#[derive(Debug)]
struct Hog {
    #[expect(dead_code, reason = "it tells which one")]
    what: &'static str,
    #[expect(dead_code, reason = "it tells where")]
    node: NodeId,
    way: Child,
    shell: u32,
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.way.kill();
        let _ = self.way.wait();
    }
}

/// What each node has more than one of, and the command of it.
const HOGS: [(&str, usize, &str); 3] = [
    ("spins", 5, "while :; do :; done"),
    ("forks", 2, "while :; do /bin/true & /bin/true & /bin/true & wait; done"),
    ("reclaims memory", 2, "while :; do cat /var/lib/stead-witness/big >/dev/null; done"),
];

/// Writes more than fits into little memory, and leaves nothing of it there: what is read of it
/// drives out what was read before, and whatever else is not held.
const BIG: &str = "cd /var/lib/stead-witness && dd if=/dev/zero of=big bs=1M count=400 conv=fsync \
                   && dd of=big oflag=nocache conv=notrunc,fdatasync count=0";

/// The group of the demo online, and both nodes as busy as can be.
fn busy(world: &World, memory: &mut Vec<LittleMemory>) -> Vec<Hog> {
    online(world);
    let mut hogs = Vec::new();
    for node in [ONE, TWO] {
        let mut write = world.lab().command(Station::Node(node), &["/bin/sh", "-c", BIG]).unwrap();
        assert!(write.stderr(Stdio::null()).status().unwrap().success(), "{BIG}");
        let little = LittleMemory::of(world, node);
        for (what, number, command) in HOGS {
            for _ in 0..number {
                let hog = hog(world, node, (what, command));
                little.holds(hog.shell);
                hogs.push(hog);
            }
        }
        ours(world, node).into_iter().for_each(|(_, pid)| little.holds(pid));
        memory.push(little);
    }
    hogs
}

fn hog(world: &World, node: NodeId, (what, command): (&'static str, &str)) -> Hog {
    let mark = format!("{command} # hog");
    let mut way = world.lab().command(Station::Node(node), &["/bin/sh", "-c", &mark]).unwrap();
    let way = way.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let way = way.spawn().unwrap();
    let role = Role::Application(&mark);
    let shell = wait("a hog", || {
        processes::below(way.id(), role).first().copied().ok_or_else(|| mark.clone())
    });
    Hog { what, node, way, shell }
}

fn online(world: &World) {
    let _ = Roles::settled(world);
    demo::create_group(world.lab(), &Cluster::of(world.lab()), &WebServer::find()).unwrap();
    let limit = e2e::PATIENCE;
    world.cluster().wait_online(GROUP, None, limit).unwrap();
}

/// The memory that stead and the hogs of a node have together.
struct LittleMemory(Option<PathBuf>);

impl LittleMemory {
    /// Little more than it takes; what is written fills it again and again.
    const BYTES: u64 = 160 << 20;

    /// By the memory controller where this host has it as a hierarchy of its own; by the node's
    /// control group where that has it.
    fn of(world: &World, node: NodeId) -> Self {
        let status = world.lab().status().unwrap();
        let group = status.nodes.into_iter().find(|n| n.node == node).and_then(|n| n.cgroup);
        let own = Path::new("/sys/fs/cgroup/memory");
        let of_group = group.filter(|group| group.join("memory.max").exists());
        let (dir, limit) = match of_group {
            Some(group) => (group, "memory.max"),
            None if own.join("memory.limit_in_bytes").exists() => {
                let dir = own.join(format!("stead-e2e-{}-{node}", std::process::id()));
                let _ = fs::create_dir(&dir);
                (dir, "memory.limit_in_bytes")
            }
            None => (PathBuf::new(), ""),
        };
        match fs::write(dir.join(limit), Self::BYTES.to_string()) {
            Ok(()) => Self(Some(dir)),
            Err(why) => {
                tell(&format!("the memory of {node} is not limited: {why}"));
                Self(None)
            }
        }
    }

    fn holds(&self, pid: u32) {
        let Some(dir) = &self.0 else { return };
        let procs = fs::OpenOptions::new().write(true).open(dir.join("cgroup.procs"));
        procs.and_then(|mut procs| write!(procs, "{pid}")).unwrap();
    }
}

impl Drop for LittleMemory {
    /// The node's own control group ends with the lab; what was made here when its last process
    /// is gone.
    fn drop(&mut self) {
        let Some(dir) = self.0.as_ref().filter(|dir| dir.exists()) else { return };
        wait("an empty control group", || fs::remove_dir(dir).map_err(|why| why.to_string()));
    }
}

/// A file system that can be filled without harm to this host, of the kind that hosts have: one
/// that keeps the room that a log was given.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Two logs and a quorum disk, and some room.
    const BYTES: u64 = 1 << 30;

    fn mount() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (image, place) = (dir.path().join("image"), dir.path().join("disk"));
        fs::File::create(&image).unwrap().set_len(Self::BYTES).unwrap();
        fs::create_dir(&place).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image));
        run(Command::new("mount").args(["-o", "loop"]).args([&image, &place]));
        Self(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("disk")
    }

    /// Not one byte is left; names the file that has them.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("full");
        let mut file = fs::File::create(&path).unwrap();
        let bytes = vec![1; 1 << 20];
        let mut size = bytes.len();
        while size > 0 {
            // What fits less and less goes in ever smaller pieces.
            match file.write(&bytes[..size]) {
                Ok(written) if written > 0 => {}
                Ok(_) | Err(_) => size /= 2,
            }
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}
