//! The Debian package, with a real dpkg and a real systemd as PID 1: installed, upgraded under a
//! running group, removed, purged (A-200, I-OWN).

use std::fs;
use std::time::Instant;

use e2e::processes::{self, Role};
use e2e::{Machine, packages, tell, until, wait};
use serde_json::Value;

/// What stands in the way of no other group: a long number of seconds.
const APP: &str = "100000";
/// The address of the group, on an interface that the test makes.
const ADDRESS: &str = "10.9.0.50";
/// What must be there before a node starts, and stay until it has stopped.
const BEFORE: [&str; 9] = [
    "network-online.target",
    "network.target",
    "remote-fs.target",
    "local-fs.target",
    "dbus.service",
    "iscsid.service",
    "open-iscsi.service",
    "multipathd.service",
    "lvm2-monitor.service",
];

#[test]
fn a_package_is_installed_upgraded_under_a_running_group_and_leaves_nothing() {
    if let Some(why) = Machine::lacks() {
        tell(&format!("SKIPPED: no machine with systemd: {why}"));
        return;
    }
    let begun = Instant::now();
    let mut machine = Machine::new();
    machine.boot();
    install(&machine);
    ordered(&machine);
    let pid = serve(&machine);
    held(&machine);
    bundled(&machine);
    upgrade(&machine, pid);
    held(&machine);
    stop_and_start(&machine, pid);
    remove(&machine, &packages().files);
    tell(&format!("all of it after {:?}", begun.elapsed()));
}

/// A node without a cluster is enabled and not started, and nothing is wrong.
fn install(machine: &Machine) {
    packages().install(machine, 1);
    let version = machine.must(&["stead", "--version"]);
    let packed = machine.must(&["dpkg-query", "-W", "-f", "${Version}", "stead"]);
    assert_eq!(format!("stead {}\n", packed.strip_suffix("-1").unwrap()), version);
    assert_eq!(machine.must(&["systemctl", "is-enabled", "stead"]).trim(), "enabled");
    assert_eq!(machine.property("stead", "ActiveState"), "inactive");
    assert_eq!(machine.property("stead", "ConditionResult"), "no");
    assert_eq!(machine.must(&["systemctl", "is-system-running"]).trim(), "running");
    machine.must(&["test", "-f", "/usr/share/man/man1/stead-group-move.1.gz"]);
    machine.must(&["test", "-f", "/usr/share/bash-completion/completions/stead"]);
}

/// The order is systemd's, as it read it: what is started before is stopped after.
fn ordered(machine: &Machine) {
    // An application that runs out of memory does not end the node (systemd's default would).
    assert_eq!(machine.property("stead", "OOMPolicy"), "continue");
    let after = machine.property("stead", "After");
    let after: Vec<&str> = after.split_whitespace().collect();
    for unit in BEFORE {
        assert!(after.contains(&unit), "not ordered after {unit}: {after:?}");
    }
    let listed = machine.must(&["systemctl", "list-dependencies", "--after", "--plain", "stead"]);
    assert!(listed.contains("network-online.target"), "{listed}");
    let wanted = machine.property("stead", "Wants");
    assert_eq!(wanted, "network-online.target", "what is not there must not be started for it");
}

/// One group with an address and a program; gives the process of the program.
fn serve(machine: &Machine) -> u32 {
    for words in [
        "ip link add outside type veth peer name inside",
        "ip address add 10.9.0.1/24 dev outside",
        "ip link set outside up",
        "ip link set inside up",
        // Package installed, cluster made: no configuration file, and nothing else to type (A-200).
        "stead cluster create office --address 10.9.0.1",
    ] {
        machine.must(&words.split(' ').collect::<Vec<_>>());
    }
    has_quorum(machine);
    let command = format!("command=/bin/sleep {APP}");
    let address = format!("address={ADDRESS}/24");
    let create = ["stead", "resource", "create"];
    machine.must(&["stead", "group", "create", "g"]);
    let ip = ["ip", "--type", "ip-address", "--group", "g", &address];
    machine.must(&[&create[..], &ip].concat());
    let app = ["app", "--type", "generic-application", "--group", "g", &command];
    machine.must(&[&create[..], &app].concat());
    machine.must(&["stead", "group", "online", "g", "--wait"]);
    assert!(machine.has_address(ADDRESS));
    machine.find(Role::Application(APP))
}

/// The node service has a user of its own and no privileges; it has them from the start. Guard and
/// monitors keep the mount namespace of the host, for applications see what is mounted there.
fn held(machine: &Machine) {
    let mounts = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap();
    for role in [Role::Guard, Role::Monitor] {
        assert_eq!(mounts(machine.find(role)), mounts(machine.init()), "{role:?}");
    }
    let user = machine.must(&["id", "-u", "stead"]);
    let pid = machine.find(Role::Service);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for line in [&format!("Uid:\t{0}\t{0}\t{0}\t{0}", user.trim()), "NoNewPrivs:\t1", "Seccomp:\t2"]
    {
        assert!(status.contains(line), "no {line:?} in {status}");
    }
    let bounds = status.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    // SYS_NICE and IPC_LOCK, where systemd may lift no limits.
    assert_eq!(u64::from_str_radix(bounds, 16).unwrap() & !(1 << 23 | 1 << 14), 0, "{status}");
    let records = machine.must(&["stead", "event", "list", "--last", "500"]);
    let started = format!("uid {}, no needless privileges", user.trim());
    for told in ["real-time priority 5, memory locked", "node-service-confined", &started] {
        assert!(records.contains(told), "no {told:?} in {records}");
    }
    assert!(!records.contains("node-service-unconfined"), "{records}");
    // The journal has them with fields.
    let journal = ["journalctl", "-t", "stead", "STEAD_CODE=service-started", "-o", "cat"];
    assert!(machine.must(&journal).contains(&started), "the journal has no such record");
}

/// The support bundle of a node that runs has what it says of itself, and no secret.
fn bundled(machine: &Machine) {
    let create = ["stead", "resource", "create", "quiet", "--type", "generic-application"];
    let secret = ["--group", "h", "command=/bin/true", "env=PASSWORD=not-for-helpers"];
    machine.must(&["stead", "group", "create", "h"]);
    machine.must(&[create.as_slice(), &secret].concat());
    machine.must(&["stead", "support-bundle", "-o", "/tmp/bundle.tar.gz"]);
    machine.must(&["sh", "-c", "mkdir /tmp/bundle && tar xf /tmp/bundle.tar.gz -C /tmp/bundle"]);
    let shown = |what: &str| {
        let all = machine.must(&["sh", "-c", &format!("cat $(find /tmp/bundle -name {what})")]);
        serde_json::from_str::<Value>(&all).unwrap()
    };
    assert_eq!(shown("view.json")["quorum"]["has_quorum"], true);
    assert!(shown("attention.json").is_array());
    let names = machine.must(&["grep", "-rl", "quiet", "/tmp/bundle"]);
    assert!(names.contains("view.json"), "{names}");
    for secret in ["not-for-helpers", "PRIVATE KEY"] {
        let found = machine.run(&["grep", "-rl", secret, "/tmp/bundle"]);
        assert_eq!((found.code, found.out.as_str()), (1, ""), "{secret}: {}", found.out);
    }
    machine.must(&["stead", "resource", "delete", "quiet"]);
    machine.must(&["stead", "group", "delete", "h"]);
}

fn has_quorum(machine: &Machine) {
    wait("the cluster has quorum", || {
        let said = machine.run(&["stead", "quorum", "show"]);
        if said.code == 0 { Ok(()) } else { Err(said.out + &said.err) }
    });
}

/// The guard goes on as the new program; what runs does not notice (D20).
fn upgrade(machine: &Machine, pid: u32) {
    let guard = machine.property("stead", "MainPID");
    packages().install(machine, 2);
    wait("the guard was upgraded", || {
        let said = machine.run(&["stead", "event", "list", "--last", "500"]);
        if said.out.contains("the guard was upgraded") { Ok(()) } else { Err(said.out + &said.err) }
    });
    has_quorum(machine);
    wait("the group is online", || {
        let said = machine.run(&["stead", "--json", "group", "show", "g"]).out;
        let view: Value = serde_json::from_str(&said).unwrap_or_default();
        if view["state"] == "online" { Ok(()) } else { Err(said) }
    });
    assert_eq!(machine.property("stead", "MainPID"), guard);
    assert_eq!(machine.find(Role::Application(APP)), pid, "it was restarted");
    assert!(machine.has_address(ADDRESS));
    // The one that runs is the one that lies there: no image that was deleted.
    let image = machine.must(&["readlink", &format!("/proc/{guard}/exe")]);
    assert_eq!(image.trim(), "/usr/bin/stead");
}

/// Groups stop in order before the node does, and come back with it.
fn stop_and_start(machine: &Machine, pid: u32) {
    machine.must(&["systemctl", "stop", "stead"]);
    assert!(!processes::lives(pid) && !machine.has_address(ADDRESS));
    assert_eq!(machine.property("stead", "Result"), "success");
    machine.must(&["systemctl", "start", "stead"]);
    has_quorum(machine);
    let records = machine.must(&["stead", "event", "list", "--last", "500"]);
    assert!(records.contains("node-leaves"), "it did not leave in order:\n{records}");
    until("the address is back", || machine.has_address(ADDRESS));
}

/// Removed: all that acts is gone, what the node is stays. Purged: that is gone, too.
fn remove(machine: &Machine, files: &[String]) {
    let pid = machine.find(Role::Application(APP));
    machine.must(&["dpkg", "-r", "stead"]);
    assert!(!processes::lives(pid) && !machine.has_address(ADDRESS));
    let gone =
        |path: &str| assert_ne!(machine.run(&["test", "-e", path]).code, 0, "{path} is left");
    for path in ["/run/stead", "/sys/fs/cgroup/system.slice/stead.service"] {
        gone(path);
    }
    let mounts = machine.must(&["cat", "/proc/self/mounts"]);
    assert!(!mounts.contains("stead"), "{mounts}");
    assert_eq!(machine.must(&["nft", "list", "ruleset"]), "", "rules are left");
    for kept in ["/etc/stead/cluster.json", "/etc/stead/cluster.key", "/var/lib/stead/node.log"] {
        machine.must(&["test", "-f", kept]);
    }
    machine.must(&["dpkg", "-P", "stead"]);
    for file in files {
        gone(&format!("/{file}"));
    }
    gone("/etc/stead/cluster.key");
    gone("/etc/stead");
    gone("/var/lib/stead");
    let accounts = machine.must(&["cat", "/etc/passwd", "/etc/group"]);
    assert!(!accounts.contains("stead"), "{accounts}");
    let left = "find /etc /var/lib/systemd /usr/share/doc/stead -name '*stead*' 2>/dev/null; true";
    assert_eq!(machine.must(&["sh", "-c", left]), "", "files are left");
    assert_ne!(machine.run(&["dpkg-query", "-W", "stead"]).code, 0);
    assert_eq!(machine.must(&["systemctl", "is-system-running"]).trim(), "running");
}
