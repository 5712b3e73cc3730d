//! What must be true of the guard, each with real processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Signal, geteuid};
use rustix::thread::CapabilitySet;
use stead_model::order::{GuardReport, GuardStatus};
use stead_model::wire::guard::{
    ExitStatus, GuardToMonitor, MonitorToGuard, NodeToGuard, ProgramSpec, Refusal, VERSION,
};
use stead_model::{LeaseNumber, Span};

use crate::world::{GRACE, World, children, eventually, now, send_signal};

pub(crate) type Story = (&'static str, fn());

macro_rules! stories {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name)),*] };
}

pub(crate) const ALL: &[Story] = stories![
    a_killed_application_is_known,
    the_stop_signal_reaches_an_application,
    a_kill_reaches_what_left_the_session,
    a_program_has_a_control_group,
    without_namespaces_a_control_group_proves_that_nothing_is_left,
    what_cannot_be_executed_says_why,
    output_is_kept,
    nothing_starts_without_a_lease,
    the_deadline_is_kept_while_the_node_service_is_stopped,
    after_a_hard_stop_only_a_newer_lease_counts,
    a_guard_that_nobody_reads_keeps_its_deadline,
    children_die_with_the_guard,
    a_program_survives_the_node_service,
    a_program_survives_the_monitor,
    a_guard_that_is_told_to_end_stops_everything,
    the_guard_works_without_privileges,
    the_node_service_can_do_no_more_than_it_needs,
    a_node_service_without_a_user_of_its_own_is_held_all_the_same,
    a_user_that_is_not_there_is_told,
    a_quorum_disk_that_is_a_device_is_used_by_its_group,
    an_upgrade_keeps_what_runs,
    an_upgrade_keeps_who_has_a_monitor_of_its_own,
    a_program_that_cannot_take_over_is_refused,
    the_deadline_is_kept_over_an_upgrade,
    a_lease_that_ends_during_an_upgrade_stops_everything_at_once,
];

const LONG: Span = Span::from_secs(600);
/// Opens the witness, then stays for ever with one child in a session of its own.
const STAY: &str = "exec 9>$ROOT/life; echo >&9; (setsid sleep 1000 &); while :; do sleep 1; done";

fn a_killed_application_is_known() {
    let mut world = World::start();
    world.lease(1, LONG);
    let (instance, init) = world.admit("web", 1, "exec sleep 1000").unwrap();
    eventually("the init started its program", || children(init).len() == 1);
    send_signal(children(init)[0], Signal::KILL);
    assert_eq!(world.exited(instance), ExitStatus::Signal(9));
    assert!(world.status().admitted.is_empty());
}

fn the_stop_signal_reaches_an_application() {
    let mut world = World::start();
    world.lease(1, LONG);
    // As PID 1 it would never see a TERM that it does not handle.
    let (plain, _) = world.admit("plain", 1, "exec sleep 1000").unwrap();
    world.started(plain);
    world.monitor.send(&MonitorToGuard::Signal { instance: plain, signal: 15 });
    assert_eq!(world.exited(plain), ExitStatus::Signal(15));

    let mut life = world.witness("life");
    let script = "trap 'exit 7' USR1; echo >$ROOT/life; while :; do sleep 0.01; done";
    let (polite, _) = world.admit("polite", 1, script).unwrap();
    life.wait_for_life();
    world.monitor.send(&MonitorToGuard::Signal { instance: polite, signal: 10 });
    assert_eq!(world.exited(polite), ExitStatus::Code(7));
}

fn a_kill_reaches_what_left_the_session() {
    let mut world = World::start();
    world.lease(1, LONG);
    let mut life = world.witness("life");
    let (instance, _) = world.admit("web", 1, &format!("trap '' TERM; {STAY}")).unwrap();
    life.wait_for_life();
    world.monitor.send(&MonitorToGuard::Kill { instance });
    assert_eq!(world.exited(instance), ExitStatus::Unknown);
    assert!(!life.lives(), "reported as ended while something of it lives");
}

fn a_program_has_a_control_group() {
    let mut world = World::start();
    if world.node_hello().0.iter().any(|code| code == "no-cgroups") {
        println!("skipped: there is no cgroup2 file system to write to");
        return;
    }
    world.lease(1, LONG);
    let (instance, init) = world.admit("web", 1, "exec sleep 1000").unwrap();
    world.started(instance);
    for pid in [init, children(init)[0]] {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let own = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
        assert!(own.contains("/stead-guard-") && own.ends_with("/web.1"), "{own}");
    }
}

/// A storm of forks, each child in a session of its own, without a PID namespace: it is frozen,
/// killed, and told as ended when the kernel says that the group is empty.
fn without_namespaces_a_control_group_proves_that_nothing_is_left() {
    const STORM: &str = "exec 9>$ROOT/life; echo >&9; \
                         while :; do (trap '' TERM; setsid sleep 1000 &); done";
    if !geteuid().is_root() {
        println!("skipped: only root may write the control groups here");
        return;
    }
    let mut world = World::start_without_namespaces();
    if world.node_hello().0.iter().any(|code| code == "no-cgroups") {
        println!("skipped: there is no cgroup2 file system to write to");
        return;
    }
    world.lease(1, LONG);
    let mut life = world.witness("life");
    let (instance, init) = world.admit("web", 1, STORM).unwrap();
    assert!(world.node_hello().0.iter().any(|code| code == "no-namespaces"));
    life.wait_for_life();
    let group = control_group(init).expect("a control group");
    let living = || fs::read_to_string(group.join("cgroup.procs")).unwrap().lines().count();
    eventually("a storm", || living() > 50);
    world.monitor.send(&MonitorToGuard::Kill { instance });
    assert_eq!(world.exited(instance), ExitStatus::Unknown);
    assert!(!life.lives(), "reported as ended while something of it lives");
    assert!(!group.exists(), "its group is not empty");
    assert!(world.status().admitted.is_empty());
}

/// The folder of a process's control group, where it is one of a guard.
fn control_group(pid: i32) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    let folder = Path::new(mount.split(' ').nth(4)?).join(own);
    own.contains("stead-guard-").then_some(folder)
}

fn what_cannot_be_executed_says_why() {
    let mut world = World::start();
    world.lease(1, LONG);
    let argv = vec!["/nowhere/httpd".to_owned()];
    let spec = ProgramSpec { argv, ..world.spec("web") };
    let (instance, _) = world.admit_spec(1, spec).unwrap();
    let ExitStatus::NotExecuted(why) = world.exited(instance) else { panic!("it was executed") };
    assert!(why.contains("/nowhere/httpd") && why.contains("No such file"), "{why}");
}

fn output_is_kept() {
    let mut world = World::start();
    world.lease(1, LONG);
    let (instance, _) = world.admit("web", 1, "echo out; echo err >&2; pwd").unwrap();
    assert_eq!(world.exited(instance), ExitStatus::Code(0));
    let log = fs::read_to_string(world.path("var/lib/stead/logs/web.log")).unwrap();
    assert!(log.ends_with("out\nerr\n/\n"), "{log}");
}

fn nothing_starts_without_a_lease() {
    let mut world = World::start();
    let life = world.witness("life");
    assert_eq!(world.admit("web", 1, STAY).unwrap_err(), Refusal::NoLease);
    drop(life);
}

/// I-QUORUM with real processes: killed after the end of the lease, within the grace.
fn the_deadline_is_kept_while_the_node_service_is_stopped() {
    let mut world = World::start();
    world.lease(1, LONG);
    let mut life = world.witness("life");
    world.admit("web", 1, STAY).unwrap();
    life.wait_for_life();
    let until = world.lease(2, Span::from_millis(300));
    world.node.signal(Signal::STOP);
    assert!(life.lives(), "stopped before the end of the lease");
    let dead = life.wait_for_death();
    assert!(dead >= until, "stopped before the end of the lease");
    assert!(dead <= until + GRACE, "stopped {} after the lease", dead.since(until));
    world.node.signal(Signal::CONT);
    world.report(|r| matches!(r, GuardReport::HardStopBegan { lease: LeaseNumber(2), .. }));
    world.report(|r| *r == GuardReport::HardStopDone { lease: LeaseNumber(2) });
}

/// R8: what a stalled monitor asks for by the right of the old lease never starts.
fn after_a_hard_stop_only_a_newer_lease_counts() {
    let mut world = World::start();
    world.lease(5, Span::from_millis(50));
    world.report(|r| *r == GuardReport::HardStopDone { lease: LeaseNumber(5) });
    world.monitor.wait_for_death();
    world.monitor.reborn();
    world.monitor_hello();
    world.lease(6, LONG);
    let old = world.admit("web", 5, "exec sleep 1000").unwrap_err();
    assert_eq!(old, Refusal::LeaseOver { stopped: LeaseNumber(5) });
    world.admit("web", 6, "exec sleep 1000").unwrap();
}

/// Its messages go into a pipe that is full.
fn a_guard_that_nobody_reads_keeps_its_deadline() {
    let mut world = World::start_mute();
    world.lease(1, LONG);
    let mut life = world.witness("life");
    world.admit("web", 1, STAY).unwrap();
    life.wait_for_life();
    // Each death of the node service is a message.
    for _ in 0..3 {
        world.node.signal(Signal::KILL);
        world.node.reborn();
        world.node_hello();
    }
    let until = world.lease(2, Span::from_millis(100));
    assert!(life.wait_for_death() <= until + GRACE);
}

fn children_die_with_the_guard() {
    let mut world = World::start();
    world.lease(1, LONG);
    let mut life = world.witness("life");
    world.admit("web", 1, STAY).unwrap();
    life.wait_for_life();
    if world.node_hello().0.iter().any(|code| code == "no-namespaces") {
        println!("skipped: without namespaces what left its session is for systemd to kill");
        return;
    }
    world.guard.kill();
    life.wait_for_death();
    world.node.wait_for_death();
    world.monitor.wait_for_death();
}

fn a_program_survives_the_node_service() {
    let mut world = World::start();
    world.lease(1, LONG);
    let mut life = world.witness("life");
    world.admit("web", 1, STAY).unwrap();
    life.wait_for_life();
    world.node.signal(Signal::KILL);
    world.node.reborn();
    let (_, status) = world.node_hello();
    assert_eq!(status.admitted.len(), 1);
    assert_eq!(status.lease_last, LeaseNumber(1));
    assert!(life.lives());
    // An order of the dead one that is read only now (R9).
    let old = world.admit("other", 1, "exec sleep 1000").unwrap_err();
    assert_eq!(old, Refusal::FormerService { last: LeaseNumber(1) });
    world.lease(2, LONG);
    world.admit("other", 2, "exec sleep 1000").unwrap();
}

fn a_program_survives_the_monitor() {
    let mut world = World::start();
    world.lease(1, LONG);
    let mut life = world.witness("life");
    let (instance, pid) = world.admit("web", 1, STAY).unwrap();
    life.wait_for_life();
    world.monitor.signal(Signal::KILL);
    world.report(|r| matches!(r, GuardReport::MonitorDied { .. }));
    world.monitor.reborn();
    let inventory = world.monitor_hello();
    assert_eq!(inventory.len(), 1);
    assert_eq!((inventory[0].instance, inventory[0].pid), (instance, Some(pid.cast_unsigned())));
    world.report(|r| *r == GuardReport::MonitorReady);
    assert!(life.lives());
    // It kept its parent, so its end and exit status are still known.
    world.monitor.send(&MonitorToGuard::Kill { instance });
    assert_eq!(world.exited(instance), ExitStatus::Unknown);
}

fn a_guard_that_is_told_to_end_stops_everything() {
    let mut world = World::start();
    world.lease(1, LONG);
    let mut life = world.witness("life");
    world.admit("web", 1, STAY).unwrap();
    life.wait_for_life();
    let asked = now();
    send_signal(world.guard.id().cast_signed(), Signal::TERM);
    world.report(|r| *r == GuardReport::Leave);
    assert!(life.lives(), "stopped before the node has left");
    world.node.signal(Signal::TERM);
    assert!(world.guard.wait().success());
    assert!(!life.lives(), "the guard ended and something lives");
    assert!(now().since(asked) < GRACE, "it waited for a node service that had left");
}

/// What the kernel refuses is told, and the kill still works.
fn the_guard_works_without_privileges() {
    const NOBODY: u32 = 65534;
    if geteuid().is_root() && only_user_of_its_namespace() {
        println!("skipped: root of a user namespace has no other user to be");
        return;
    }
    let mut world = if geteuid().is_root() { World::start_as(NOBODY) } else { World::start() };
    world.lease(1, LONG);
    let mut life = world.witness("life");
    let (instance, _) = world.admit("web", 1, STAY).unwrap();
    life.wait_for_life();
    let (codes, _) = world.node_hello();
    assert!(codes.iter().any(|code| code == "no-namespaces"), "{codes:?}");
    assert!(codes.iter().any(|code| code.starts_with("memory-")), "{codes:?}");
    assert!(codes.iter().any(|code| code.ends_with("real-time")), "{codes:?}");
    // In words that say what follows from it.
    for (code, what) in [("memory-not-locked", "memory is short"), ("not-real-time", "busy node")] {
        if codes.iter().any(|told| told == code) {
            world.node.send(&NodeToGuard::Hello { version: VERSION });
            let text = world.notice(code);
            assert!(text.contains("it may be late") && text.contains(what), "{text}");
        }
    }
    world.monitor.send(&MonitorToGuard::Kill { instance });
    assert_eq!(world.exited(instance), ExitStatus::Unknown);
    assert!(!life.lives(), "reported as ended while something of it lives");
}

fn held(world: &World) -> BTreeMap<String, String> {
    let status = world.node.status();
    // Where the limits cannot be lifted it keeps what real-time priority and locked memory need.
    let needed = CapabilitySet::SYS_NICE | CapabilitySet::IPC_LOCK;
    for set in ["CapEff", "CapPrm", "CapBnd", "CapAmb"] {
        let has = u64::from_str_radix(&status[set], 16).unwrap();
        assert_eq!(has & !needed.bits(), 0, "{set}: {status:?}");
    }
    assert_eq!((status["NoNewPrivs"].as_str(), status["Seccomp"].as_str()), ("1", "2"));
    assert_eq!(world.monitor.status()["NoNewPrivs"], "0", "monitors are not held");
    status
}

fn the_node_service_can_do_no_more_than_it_needs() {
    const NOBODY: &str = "65534";
    if !geteuid().is_root() || only_user_of_its_namespace() {
        println!("skipped: only root can be somebody else");
        return;
    }
    let mut world = World::start_confined(Some("nobody"));
    let status = held(&world);
    let ids = [NOBODY; 4].join("\t");
    assert_eq!((&status["Uid"], &status["Gid"]), (&ids, &ids));
    let probed = fs::read_to_string(world.path("var/lib/stead/probed")).unwrap();
    assert_eq!(
        probed,
        "starts programs, reads its keys, replaces its certificates, writes the quorum disk"
    );
    world.node.send(&NodeToGuard::Hello { version: VERSION });
    let text = world.notice("node-service-confined");
    assert!(text.contains("`nobody` (uid 65534)"), "{text}");
    // It still goes with its guard, although the kernel forgets that with the user.
    world.node.signal(Signal::STOP);
    world.guard.kill();
    world.node.wait_for_death();
}

fn a_node_service_without_a_user_of_its_own_is_held_all_the_same() {
    let world = World::start_confined(None);
    held(&world);
    let probed = fs::read_to_string(world.path("var/lib/stead/probed")).unwrap();
    assert!(!probed.contains("namespace") && !probed.contains("mounts"), "{probed}");
    assert!(
        probed.ends_with("reads its keys, replaces its certificates, writes the quorum disk"),
        "{probed}"
    );
    assert!(fs::read_to_string("/proc/self/status").unwrap().contains("NoNewPrivs:\t0"));
}

fn a_user_that_is_not_there_is_told() {
    let mut world = World::start_confined(Some("no-such-user"));
    world.node.send(&NodeToGuard::Hello { version: VERSION });
    let text = world.notice("node-service-unconfined");
    let why =
        if geteuid().is_root() { "no user `no-such-user`" } else { "only a guard that is root" };
    assert!(text.contains(why), "{text}");
    held(&world);
}

fn a_quorum_disk_that_is_a_device_is_used_by_its_group() {
    if !geteuid().is_root() || only_user_of_its_namespace() {
        println!("skipped: only root makes devices and can be somebody else");
        return;
    }
    let world = World::start_with_device("nobody", 12_345);
    let status = held(&world);
    assert!(status["Uid"].starts_with("65534\t"), "{status:?}");
    let groups: Vec<&str> = status["Groups"].split_whitespace().collect();
    assert!(groups.contains(&"12345") && !groups.contains(&"0"), "{groups:?}");
    // A device that only root may write: then it stays root, with the files that root needs.
    let mut world = World::start_with_device("nobody", 0);
    let status = held(&world);
    assert!(status["Uid"].starts_with("0\t"), "{status:?}");
    let probed = fs::read_to_string(world.path("var/lib/stead/probed")).unwrap();
    assert!(probed.contains("reads its keys"), "{probed}");
    world.node.send(&NodeToGuard::Hello { version: VERSION });
    let text = world.notice("node-service-unconfined");
    assert!(text.contains("has no group other than root's"), "{text}");
}

/// Whether this is root of a namespace that has no other user.
fn only_user_of_its_namespace() -> bool {
    !fs::read_to_string("/proc/self/uid_map").unwrap().contains("4294967295")
}

fn inode(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap())
}

fn copy_itself(to: &Path) {
    fs::copy(std::env::current_exe().unwrap(), to).unwrap();
}

/// Waits until the new guard has replaced both services; gives what the last one was told first.
fn upgrade(world: &mut World) -> (Vec<String>, GuardStatus) {
    send_signal(world.guard.id().cast_signed(), Signal::HUP);
    world.monitor.wait_for_death();
    world.monitor.reborn();
    world.monitor_hello();
    world.node.wait_for_death();
    world.node.reborn();
    world.node_hello()
}

fn an_upgrade_keeps_what_runs() {
    let mut world = World::start_from_copy();
    world.lease(1, LONG);
    let mut life = world.witness("life");
    let (long, _) = world.admit("web", 1, STAY).unwrap();
    life.wait_for_life();
    let _go = world.witness("go");
    let (short, _) = world.admit("short", 1, "read x <$ROOT/go; exit 5").unwrap();
    let exe = PathBuf::from(format!("/proc/{}/exe", world.guard.id()));
    let (before, former) = (world.status(), inode(&exe));
    world.replace_program(copy_itself);
    let (codes, after) = upgrade(&mut world);
    assert!(codes.iter().any(|code| code == "upgraded"), "{codes:?}");
    assert_eq!((after.incarnation, after.lease), (before.incarnation, before.lease));
    assert_eq!(after.admitted, before.admitted);
    assert!(inode(&exe) != former && inode(&exe) == inode(&world.program()), "the same program");
    // Exit status, signals and the kill: all of the former guard's children are this one's.
    fs::write(world.path("go"), "x\n").unwrap();
    assert_eq!(world.exited(short), ExitStatus::Code(5));
    assert!(life.lives());
    world.monitor.send(&MonitorToGuard::Kill { instance: long });
    assert_eq!(world.exited(long), ExitStatus::Unknown);
    assert!(!life.lives(), "reported as ended while something of it lives");
    // And once more, under what the second one started.
    world.lease(2, LONG);
    let (instance, _) = world.admit("again", 2, "exec sleep 1000").unwrap();
    world.started(instance);
    let (codes, status) = upgrade(&mut world);
    assert!(codes.iter().any(|code| code == "upgraded"), "{codes:?}");
    assert_eq!(status.admitted.len(), 1);
}

/// all monitors run the new program then, and none is taken for the shared one.
fn an_upgrade_keeps_who_has_a_monitor_of_its_own() {
    let mut world = World::start_from_copy();
    world.lease(1, LONG);
    let mut own = world.own_monitor("web");
    own.send(&MonitorToGuard::Hello { version: VERSION });
    world.report(|r| matches!(r, GuardReport::OwnMonitorReady(own) if own.slot == 1));
    let (instance, _) = world.admit("web", 1, "exec sleep 1000").unwrap();
    let before = world.status();
    assert_eq!(before.own_monitors.len(), 1);
    world.replace_program(copy_itself);
    let (codes, after) = upgrade(&mut world);
    assert!(codes.iter().any(|code| code == "upgraded"), "{codes:?}");
    assert_eq!((after.own_monitors, after.admitted), (before.own_monitors, before.admitted));
    own.wait_for_death();
    world.node.send(&NodeToGuard::OwnMonitor("web".into()));
    own.reborn();
    own.send(&MonitorToGuard::Hello { version: VERSION });
    let GuardToMonitor::Inventory(found) = own.next() else { panic!("no inventory") };
    assert_eq!(found.iter().map(|r| r.instance).collect::<Vec<_>>(), [instance]);
    world.report(|r| matches!(r, GuardReport::OwnMonitorReady(own) if own.slot == 1));
    // What ends is told to the monitor that hosts it.
    own.send(&MonitorToGuard::Kill { instance });
    let told = own.next::<GuardToMonitor>();
    assert!(
        matches!(told, GuardToMonitor::Exited { instance: i, .. } if i == instance),
        "{told:?}"
    );
}

fn a_program_that_cannot_take_over_is_refused() {
    let mut world = World::start_from_copy();
    world.lease(1, LONG);
    let (instance, _) = world.admit("web", 1, "exec sleep 1000").unwrap();
    let broken = [
        ("code 127", 0o755, "\x7fELF"),
        ("code 127", 0o644, "no permission"),
        ("no word", 0o755, "#!/bin/sh\nexit 0\n"),
        ("not of my time", 0o755, "#!/bin/sh\necho not of my time\nexit 1\n"),
    ];
    for (why, mode, text) in broken {
        world.replace_program(|path| {
            fs::write(path, text).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            fs::set_permissions(path, mode).unwrap();
        });
        send_signal(world.guard.id().cast_signed(), Signal::HUP);
        let text = world.notice("upgrade-refused");
        assert!(text.contains(why), "{text}");
    }
    assert_eq!(world.status().admitted.len(), 1);
    world.monitor.send(&MonitorToGuard::Signal { instance, signal: 15 });
    assert_eq!(world.exited(instance), ExitStatus::Signal(15));
    world.replace_program(copy_itself);
    let (codes, _) = upgrade(&mut world);
    assert!(codes.iter().any(|code| code == "upgraded"), "{codes:?}");
}

/// Whenever within the upgrade the lease ends.
fn the_deadline_is_kept_over_an_upgrade() {
    for ms in [20, 40, 60, 80, 120] {
        let mut world = World::start_from_copy();
        world.lease(1, LONG);
        let mut life = world.witness("life");
        world.admit("web", 1, STAY).unwrap();
        life.wait_for_life();
        let until = world.lease(2, Span::from_millis(ms));
        world.node.signal(Signal::STOP);
        send_signal(world.guard.id().cast_signed(), Signal::HUP);
        let dead = life.wait_for_death();
        assert!(dead >= until, "stopped before the end of the lease");
        assert!(dead <= until + GRACE, "stopped {} after the lease", dead.since(until));
        world.node.signal(Signal::CONT);
    }
}

/// The new program sleeps over the end of the lease before it looks for the first time.
fn a_lease_that_ends_during_an_upgrade_stops_everything_at_once() {
    const PAUSE: u64 = 1500;
    let mut world = World::start_from_copy();
    fs::write(world.path("pause-ms"), PAUSE.to_string()).unwrap();
    world.lease(1, LONG);
    let mut life = world.witness("life");
    world.admit("web", 1, STAY).unwrap();
    life.wait_for_life();
    world.replace_program(copy_itself);
    let until = world.lease(2, Span::from_secs(1));
    send_signal(world.guard.id().cast_signed(), Signal::HUP);
    let dead = life.wait_for_death();
    assert!(dead >= until, "stopped before the end of the lease");
    let late = dead.since(until);
    assert!(late < Span::from_millis(PAUSE) + GRACE, "stopped {late} after the lease");
    world.monitor.wait_for_death();
    world.monitor.reborn();
    world.monitor_hello();
    world.node.wait_for_death();
    world.node.reborn();
    let (_, status) = world.node_hello();
    assert!(status.admitted.is_empty() && status.lease.is_none(), "{status:?}");
    assert_eq!(status.lease_last, LeaseNumber(2));
}
