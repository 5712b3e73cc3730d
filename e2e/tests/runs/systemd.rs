//! `generic-service` with a real systemd as PID 1: a machine that is a cluster of one, with the
//! unit file of the package, and its reboot (A-162, A-168, A-171, I-OWN).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

use e2e::processes::{self, Role};
use e2e::program::{self, Said};
use e2e::{Machine, ONE, tell, until, wait};
use rustix::process::Signal;
use serde_json::Value;
use stead_model::NetworkId;
use stead_model::config::{NetworkEntry, NetworkRole, NodeAddress, NodeConfig, NodeEntry};
use stead_model::config::{QuorumConfig, QuorumMode};
use stead_model::profile::Profile;
use stead_trust::{Authority, Pki};

const UNIT: &str = "web.service";
const GROUP: &str = "/system.slice/web.service";
/// A service that wants systemd to restart it at once, and tells who was there when it started.
const SERVICE: &str = "[Service]\n\
    ExecStartPre=/bin/sh -c 'systemctl is-active stead >>/var/starts; true'\n\
    ExecStart=/bin/sleep 100000\n\
    ExecStop=/bin/sh -c 'echo web >>/var/stops'\n\
    Restart=always\nRestartSec=0\n\
    [Install]\nWantedBy=multi-user.target\n";

/// A machine with stead as its package installs it.
struct Node(Machine);

impl Node {
    /// `None` where this user or machine cannot run it, which is told.
    fn up() -> Option<Self> {
        if let Some(why) = Machine::lacks() {
            tell(&format!("SKIPPED: no machine with systemd: {why}"));
            return None;
        }
        let begun = Instant::now();
        let mut machine = Machine::new();
        install(&machine);
        machine.boot();
        let node = Self(machine);
        node.serves();
        tell(&format!("booted and serving after {:?}", begun.elapsed()));
        Some(node)
    }

    fn stead(&self, words: &[&str]) -> Said {
        self.0.run(&[&["/opt/stead"], words].concat())
    }

    fn must(&self, words: &[&str]) {
        let said = self.stead(words);
        assert_eq!(said.code, 0, "{words:?}: {}{}", said.out, said.err);
    }

    fn serves(&self) {
        wait("the cluster has quorum", || {
            let said = self.stead(&["quorum", "show"]);
            if said.code == 0 { Ok(()) } else { Err(said.out + &said.err) }
        });
    }

    /// A group with one unit, online wanted.
    fn create(&self, group: &str, unit: &str, more: &[&str]) {
        self.must(&["group", "create", group]);
        let unit = format!("unit={unit}");
        let words = ["resource", "create", group, "--type", "generic-service", "--group", group];
        self.must(&[&words[..], &[unit.as_str()], more].concat());
        self.must(&["group", "online", group]);
    }

    /// The only resource of a group.
    fn resource(&self, group: &str) -> Value {
        let said = self.stead(&["--json", "group", "show", group]);
        let view: Value = serde_json::from_str(&said.out).unwrap_or_default();
        view["resources"][0].clone()
    }

    fn waits_for(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        wait(what, || {
            let seen = self.resource("g");
            if holds(&seen) { Ok(seen) } else { Err(seen.to_string()) }
        })
    }

    /// Waits until it is online as another process than before.
    fn online_again(&self, before: u32) -> u32 {
        wait("the service is online as a new process", || {
            let seen = self.resource("g");
            let pid = self.0.processes_of(GROUP).first().copied();
            let new = pid.filter(|pid| *pid != before && seen["state"] == "online");
            new.ok_or_else(|| format!("{pid:?}, before {before}: {seen}"))
        })
    }

    fn online(&self) -> u32 {
        self.online_again(0)
    }

    fn records(&self) -> String {
        self.stead(&["event", "list", "--last", "500"]).out
    }

    fn waits_for_record(&self, part: &str) {
        wait(&format!("a record says `{part}`"), || {
            let records = self.records();
            if records.contains(part) { Ok(()) } else { Err(records) }
        });
    }
}

/// What a package and `cluster create` leave on the disk.
fn install(machine: &Machine) {
    machine.write("opt/.keep", "");
    fs::copy(program::path(), machine.path("opt/stead")).unwrap();
    let config = NodeConfig {
        cluster: "one".into(),
        cluster_id: 7,
        node: ONE,
        port: 7410,
        nodes: vec![NodeEntry {
            id: ONE,
            name: "one".into(),
            addresses: vec![NodeAddress { network: NetworkId(1), address: [127, 0, 0, 1].into() }],
        }],
        founders: None,
        networks: vec![NetworkEntry::new(NetworkId(1), "private", NetworkRole::Mixed)],
        quorum: QuorumConfig { mode: QuorumMode::NodeMajority, disk: None },
        profile: Profile::Standard,
        watchdog: None,
    };
    machine.write("etc/stead/cluster.json", &serde_json::to_string(&config).unwrap());
    machine.write("etc/stead/first-start", "");
    let key = machine.path("etc/stead/cluster.key");
    fs::write(&key, [7; 32]).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let now = SystemTime::now();
    let authority = Authority::create(config.cluster_id, now).unwrap();
    let pki = Pki::below(&machine.path("etc/stead"));
    pki.install(&authority, &authority.issue(ONE, now).unwrap()).unwrap();
    let unit = include_str!("../../../packaging/systemd/stead.service");
    machine
        .write("etc/systemd/system/stead.service", &unit.replace("/usr/bin/stead", "/opt/stead"));
    machine.write(
        "etc/systemd/system/stead.service.d/test.conf",
        "[Service]\nStandardError=append:/var/log/stead.log\n\
         ExecStopPost=/bin/sh -c 'echo stead >>/var/stops'\n",
    );
    let wants = machine.path("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants).unwrap();
    std::os::unix::fs::symlink("../stead.service", wants.join("stead.service")).unwrap();
    machine.write("etc/systemd/system/web.service", SERVICE);
}

/// what dies is restarted by the policy of the cluster, and by nobody else.
#[test]
fn a_service_fails_and_is_adopted_as_other_types() {
    let Some(node) = Node::up() else { return };
    let machine = &node.0;
    machine.must(&["systemctl", "start", UNIT]);
    let stranger = machine.processes_of(GROUP)[0];
    node.create("g", UNIT, &["restart-threshold=100"]);
    let pid = node.online_again(stranger);
    node.waits_for_record("it ran already, and was not started by stead");
    assert_eq!(machine.property(UNIT, "Restart"), "no");
    assert_eq!(machine.property(UNIT, "NRestarts"), "0");

    let killed = Instant::now();
    processes::signal(pid, Signal::KILL);
    let pid = node.online_again(pid);
    tell(&format!("killed and online again after {:?}", killed.elapsed()));
    node.waits_for_record("its main process was ended by signal 9");

    machine.must(&["systemctl", "stop", UNIT]);
    let pid = node.online_again(pid);

    // Nothing moves when what looks after it dies, or systemd executes itself anew (D20).
    processes::signal(machine.find(Role::Monitor), Signal::KILL);
    node.waits_for_record("monitor-died");
    node.waits_for("adopted, and known to be well", |seen| seen["health"] == "good");
    processes::signal(machine.find(Role::Service), Signal::KILL);
    node.waits_for_record("node-service-died");
    node.serves();
    node.waits_for("adopted, and known to be well", |seen| seen["health"] == "good");
    machine.must(&["systemctl", "daemon-reexec"]);
    node.waits_for("still well", |seen| seen["health"] == "good");
    assert_eq!(machine.processes_of(GROUP), [pid], "it was restarted");
    machine.must(&["systemctl", "reload", "stead"]);
    node.waits_for_record("the guard was upgraded");
    node.serves();
    node.waits_for("well under the next guard", |seen| seen["health"] == "good");
    assert_eq!(machine.processes_of(GROUP), [pid], "it was restarted");

    node.must(&["group", "offline", "g", "--wait"]);
    assert!(!processes::lives(pid));
    assert_eq!(machine.property(UNIT, "DropInPaths"), "");
    machine.must(&["systemctl", "start", UNIT]);
    machine.must(&["systemctl", "stop", UNIT]);
}

/// a unit that is not there, or that systemd would start by itself, is refused with the fix.
#[test]
fn what_is_not_the_clusters_alone_is_refused() {
    let Some(node) = Node::up() else { return };
    let machine = &node.0;
    let not_made = |group: &str, unit: &str, text: &str| {
        node.must(&["group", "create", group]);
        let unit = format!("unit={unit}");
        let words = ["resource", "create", group, "--type", "generic-service", "--group", group];
        let said = node.stead(&[&words[..], &[unit.as_str()]].concat());
        assert!(said.code == 1 && said.err.contains(text), "{unit}: {}{}", said.out, said.err);
    };
    let refused = |group: &str, unit: &str, text: &str| {
        node.create(group, unit, &["restart-action=none"]);
        wait(&format!("{unit} is refused"), || {
            let seen = node.resource(group);
            let said = seen["detail"].as_str().unwrap_or_default();
            if said.contains(text) { Ok(()) } else { Err(seen.to_string()) }
        });
    };
    not_made("missing", "missing.service", "unit `missing.service` is not installed on this node");
    machine.must(&["systemctl", "enable", UNIT]);
    not_made("enabled", UNIT, "`systemctl disable --now web.service` on every node");
    machine.write(
        "etc/systemd/system/early.service",
        "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/true\n",
    );
    not_made("early", "early.service", "is not started and stopped like a service");
    machine.write("etc/systemd/system/called.service", SERVICE);
    machine.write("etc/systemd/system/called.socket", "[Socket]\nListenStream=/run/called\n");
    machine.must(&["systemctl", "start", "called.socket"]);
    not_made("called", "called.service", "is started by called.socket, too");
    machine
        .write("etc/systemd/system/once.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n");
    refused(
        "once",
        "once.service",
        "it does not run: it is inactive; `systemctl status once.service`",
    );
    machine.write("etc/systemd/system/other.service", SERVICE);
    machine.write("etc/systemd/system/other.service.d/zzz.conf", "[Service]\nRestart=always\n");
    refused("other", "other.service", "another drop-in of `other.service` undoes stead's");
    assert_eq!(machine.property(UNIT, "ActiveState"), "inactive");
}

/// I-OWN, I-QUORUM: at the end of the lease nothing of it runs and nothing can, with systemd hung,
/// the node service hung, and the guard dead.
#[test]
fn a_service_ends_with_the_lease_without_systemd() {
    let Some(node) = Node::up() else { return };
    let machine = &node.0;
    node.create("g", UNIT, &["restart-threshold=100"]);
    let pid = node.online();
    let service = machine.find(Role::Service);
    machine.signal_init(Signal::STOP);
    processes::signal(service, Signal::STOP);
    until("the service is dead", || !processes::lives(pid));
    let group = machine.control_group(GROUP);
    let frozen = || fs::read_to_string(group.join("cgroup.freeze")).unwrap_or_default();
    until("its control group is frozen", || frozen().trim() == "1");
    // As PID 1 does with a start that passed its condition before.
    let mark = machine.path("var/ran");
    let late = format!("echo $$ >{}/cgroup.procs; touch {}", group.display(), mark.display());
    let late = Command::new("/bin/sh").args(["-c", &late]).stdin(Stdio::null()).spawn();
    let mut late = late.unwrap();
    until("what comes late is killed", || late.try_wait().unwrap().is_some());
    assert!(!mark.exists(), "it ran");
    machine.signal_init(Signal::CONT);
    processes::signal(service, Signal::CONT);
    let pid = node.online_again(pid);

    // A start that waits in PID 1 finds no condition; nobody else may start it.
    machine.signal_init(Signal::STOP);
    processes::signal(machine.find(Role::Guard), Signal::KILL);
    until("the warden killed it", || !processes::lives(pid));
    machine.signal_init(Signal::CONT);
    node.serves();
    node.online_again(pid);
}

/// The shutdown of the node: stead first, then nothing of the unit is left, and after the boot it
/// is stead that starts it.
#[test]
fn a_reboot_ends_and_begins_with_stead() {
    let Some(mut node) = Node::up() else { return };
    node.create("g", UNIT, &[]);
    let pid = node.online();
    let begun = Instant::now();
    node.0.must(&["systemctl", "stop", "stead"]);
    tell(&format!("stopped after {:?}", begun.elapsed()));
    assert!(!processes::lives(pid) && node.0.processes_of(GROUP).is_empty());
    assert_eq!(node.0.property(UNIT, "ActiveState"), "inactive");
    node.0.must(&["systemctl", "start", "stead"]);
    node.serves();
    let pid = node.online_again(pid);
    assert!(node.0.run(&["systemctl", "reboot"]).code >= 0);
    node.0.wait_off();
    assert!(!processes::lives(pid));
    node.0.boot();
    node.serves();
    node.online_again(pid);
    let starts = fs::read_to_string(node.0.path("var/starts")).unwrap();
    assert_eq!(starts, "active\nactive\nactive\n", "somebody else started it");
    let stops = fs::read_to_string(node.0.path("var/stops")).unwrap();
    assert_eq!(stops, "web\nstead\nweb\nstead\n", "it was killed, or left to systemd");
}
