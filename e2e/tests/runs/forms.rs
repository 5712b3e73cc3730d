//! From the installed package to a failover, on hosts with systemd that know nothing of each other
//! at most four commands and no configuration file; then a third host, and who is refused.

use std::fs;
use std::time::{Duration, Instant};

use e2e::hosts::QUORUM;
use e2e::{Hosts, Machine, tell, until, wait};
use serde_json::Value;

use crate::preflight;

/// The address of the group.
const ADDRESS: &str = "10.90.1.50";
const COMMANDS_MAX: usize = 4;
const SERVICE: &str = "[group]\nname = \"web\"\n\
    [[resource]]\nname = \"address\"\ntype = \"ip-address\"\naddress = \"10.90.1.50/24\"\n";

/// What a person types, counted.
struct Person<'a> {
    hosts: &'a Hosts,
    typed: usize,
}

impl Person<'_> {
    fn types(&mut self, host: usize, words: &[&str]) -> String {
        self.typed += 1;
        let said = self.hosts.must(host, words);
        tell(&format!(
            "host {}$ stead {}\n{}",
            host + 1,
            words[..2].join(" "),
            said.err.trim_end()
        ));
        said.out.trim().to_owned()
    }

    /// `stead apply -`, with what it reads.
    fn declares(&mut self, host: usize, text: &str) {
        self.typed += 1;
        self.hosts.declares(host, text);
    }
}

#[test]
fn from_an_installed_package_to_a_failover_in_four_commands_and_no_file() {
    if let Some(why) = Machine::lacks() {
        tell(&format!("SKIPPED: no machine with systemd: {why}"));
        return;
    }
    let mut hosts = Hosts::up(&["alpha", "beta", "gamma"]);
    hosts.share(QUORUM, 512 << 20);
    let mut person = Person { hosts: &hosts, typed: 0 };
    person.types(0, &["cluster", "create", "office", "--quorum-disk", QUORUM]);
    let token = person.types(0, &["cluster", "token"]);
    person.types(1, &["cluster", "join", &token]);
    person.declares(1, SERVICE);
    assert!(person.typed <= COMMANDS_MAX, "{} commands", person.typed);
    hosts.all_vote(0, 2);
    until("the address is somewhere", || hosts.has(0, ADDRESS) || hosts.has(1, ADDRESS));
    let owner = usize::from(!hosts.has(0, ADDRESS));
    refusals(&hosts, &token);
    joins_third(&hosts, 1 - owner);
    let owner = reboots(&mut hosts, owner);
    hosts.all[owner].kill();
    until("another host has the address", || owner_but(&hosts, owner).is_some());
}

/// The host other than this one that has the address.
fn owner_but(hosts: &Hosts, host: usize) -> Option<usize> {
    (0..hosts.all.len()).filter(|other| *other != host).find(|other| hosts.has(*other, ADDRESS))
}

/// The owner reboots: its groups go first, nobody has to find out that it is away, and it is back
/// by itself. Gives who owns the group then.
fn reboots(hosts: &mut Hosts, owner: usize) -> usize {
    assert_eq!(hosts.all[owner].run(&["systemctl", "reboot"]).code, 0);
    hosts.all[owner].wait_off();
    let next = owner_but(hosts, owner).expect("the address was given away before the host went");
    let records = hosts.must(next, &["--json", "event", "list", "--last", "100"]).out;
    let records: Value = serde_json::from_str(&records).unwrap();
    let records = records["records"].as_array().unwrap();
    let last = |code: &str| records.iter().rfind(|r| r["code"] == code).expect(code);
    let granted = last("group-granted");
    assert!(granted["text"].as_str().unwrap().contains("reported it stopped"), "{granted}");
    assert_eq!(granted["cause"], last("node-leaves")["id"], "{records:?}");
    hosts.boot(owner);
    hosts.all_vote(owner, 3);
    assert!(hosts.has(next, ADDRESS) && !hosts.has(owner, ADDRESS), "it came back, and stays");
    next
}

/// A token that was used, is of another cluster, or no token at all: a sentence, and nothing done.
fn refusals(hosts: &Hosts, used: &str) {
    let (secret, rest) = used.split_once('-').unwrap();
    let foreign = format!("{secret}-{}{}", "0".repeat(64), &rest[64..]);
    let cases = [
        (used.to_owned(), "it was used: it let n2 in"),
        (foreign, "is no member of the cluster of this token"),
        (used[..40].to_owned(), "it is no join token, or not all of it"),
    ];
    // One that is good keeps the door open.
    let _good = hosts.must(0, &["cluster", "token", "--expires", "5"]);
    for (token, why) in cases {
        let said = hosts.stead(2, &["cluster", "join", &token]);
        assert_eq!(said.code, 1, "{}{}", said.out, said.err);
        assert!(said.err.contains(why), "{}", said.err);
        assert!(!hosts.all[2].path("etc/stead/plan.json").exists());
    }
}

/// The third host is interrupted after it was let in, and goes on as the same node; whoever makes
/// its token.
fn joins_third(hosts: &Hosts, host: usize) {
    let token = hosts.token(host);
    let looked = hosts.must(2, &["cluster", "check", &token]).out;
    for check in ["versions", "clocks", "names", "networks", "quorum disk", "ports"] {
        assert!(looked.contains(&format!("ok       {check}: ")), "{check}: {looked}");
    }
    assert!(!looked.contains("wrong"), "{looked}");
    preflight::wrongs(hosts, &token);
    // Its certificates cannot be written: it was let in, and is not complete.
    let in_the_way = hosts.all[2].path("etc/stead/pki");
    fs::create_dir_all(in_the_way.parent().unwrap()).unwrap();
    fs::write(&in_the_way, "").unwrap();
    let said = hosts.stead(2, &["cluster", "join", &token]);
    assert!(said.code == 1 && said.err.contains("let this host in as n3"), "{}", said.err);
    fs::remove_file(&in_the_way).unwrap();
    let again = hosts.must(2, &["cluster", "join", &token]).err;
    assert!(again.contains("this host is n3 already"), "{again}");
    hosts.all_vote(2, 3);
    let config = fs::read_to_string(hosts.all[2].path("etc/stead/cluster.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    let names: Vec<_> = config["nodes"].as_array().unwrap().iter().map(|n| &n["name"]).collect();
    assert_eq!(names, ["alpha", "beta", "gamma"], "it knows who joined before it");
    assert_eq!(config["founders"], serde_json::json!([1]));
}

#[test]
fn a_node_leaves_for_good_joins_anew_and_a_dead_one_is_evicted() {
    if let Some(why) = Machine::lacks() {
        tell(&format!("SKIPPED: no machine with systemd: {why}"));
        return;
    }
    let mut hosts = Hosts::up(&["alpha", "beta"]);
    hosts.share(QUORUM, 512 << 20);
    hosts.must(0, &["cluster", "create", "office", "--quorum-disk", QUORUM]);
    hosts.joins(1);
    hosts.all_vote(0, 2);
    let made = Instant::now();
    let short = hosts.must(0, &["cluster", "token", "--expires", "1"]).out.trim().to_owned();
    hosts.declares(0, SERVICE);
    rests(&hosts);
    hosts.must(0, &["group", "move", "web", "--to", "n2", "--wait"]);
    until("beta has the address", || hosts.has(1, ADDRESS));
    // It leaves: its group goes to the other one, and nothing of the cluster stays on it.
    hosts.must(1, &["cluster", "leave"]);
    until("alpha has the address", || hosts.has(0, ADDRESS));
    hosts.assert_gone(1, ADDRESS);
    hosts.all_vote(0, 1);
    until("one node is left", || hosts.status(0)["nodes"].as_array().unwrap().len() == 1);
    // It comes back as another node.
    let told = hosts.joins(1);
    assert!(told.contains("let this host in as n3"), "{told}");
    hosts.all_vote(0, 2);
    hosts.all_vote(1, 2);
    // Dead, it is evicted; switched on again it is not heard, and serves nothing.
    hosts.all[1].kill();
    let evicted = hosts.must(0, &["node", "evict", "beta"]).out;
    assert!(evicted.contains("n3 is no member any more"), "{evicted}");
    hosts.boot(1);
    wait("it is told as dropped", || {
        let records = hosts.must(0, &["event", "list", "--last", "100"]).out;
        if records.contains("from an address of no node") { Ok(()) } else { Err(records) }
    });
    let view = hosts.status(1);
    assert!(view["quorum"]["has_quorum"] != true, "{view}");
    assert!(hosts.has(0, ADDRESS) && !hosts.has(1, ADDRESS));
    assert_eq!(hosts.status(0)["nodes"].as_array().unwrap().len(), 1);
    // What is left of it goes, and it joins again.
    hosts.must(1, &["cluster", "leave", "--force"]);
    // A token whose time is over lets nobody in, also while the door is open for another one.
    let _good = hosts.token(0);
    std::thread::sleep(Duration::from_secs(62).saturating_sub(made.elapsed()));
    let said = hosts.stead(1, &["cluster", "join", &short]);
    assert!(said.code == 1 && said.err.contains("it ran out"), "{}{}", said.out, said.err);
    hosts.joins(1);
    hosts.all_vote(0, 2);
    // Switched off in order its groups go first.
    hosts.must(0, &["group", "move", "web", "--to", "beta", "--wait"]);
    assert_eq!(hosts.all[1].run(&["systemctl", "poweroff"]).code, 0);
    hosts.all[1].wait_off();
    assert!(hosts.has(0, ADDRESS), "the address was given away before the host went");
}

/// Nodes are drained, paused, stopped and started, and given groups again, by what a person types.
fn rests(hosts: &Hosts) {
    let goes = |to: usize| until("it has the address", || hosts.has(to, ADDRESS));
    let owner = usize::from(!hosts.has(0, ADDRESS));
    let (other, names) = (1 - owner, ["alpha", "beta"]);
    hosts.must(other, &["node", "drain", names[owner]]);
    goes(other);
    let paused = |host: usize| hosts.stead(host, &["attention"]).out.contains("is paused");
    assert!(paused(owner) && paused(other));
    // It is given nothing: the group stays down with the only node that may have it.
    hosts.must(other, &["node", "stop"]);
    until("nobody has the address", || !hosts.has(0, ADDRESS) && !hosts.has(1, ADDRESS));
    let again = hosts.stead(other, &["node", "list"]);
    assert_ne!(again.code, 0, "{}", again.out);
    hosts.must(owner, &["node", "resume", names[owner]]);
    goes(owner);
    assert!(!paused(owner));
    hosts.must(other, &["node", "start"]);
    hosts.all_vote(other, 2);
    assert!(hosts.has(owner, ADDRESS) && !hosts.has(other, ADDRESS), "it came back, and stays");
    hosts.must(other, &["node", "pause", names[other]]);
    hosts.must(other, &["node", "resume", names[other]]);
    assert!(!paused(owner));
}

/// A backup is all that it takes when the cluster is gone with its log.
#[test]
fn a_cluster_that_was_lost_is_restored_from_its_backup() {
    const FILE: &str = "/var/tmp/office.backup";
    if let Some(why) = Machine::lacks() {
        tell(&format!("SKIPPED: no machine with systemd: {why}"));
        return;
    }
    let hosts = Hosts::up(&["alpha"]);
    hosts.must(0, &["cluster", "create", "office"]);
    hosts.all[0].must(&["mkdir", "-p", "/var/tmp"]);
    hosts.declares(0, SERVICE);
    hosts.must(0, &["alert", "add", "ops", "--webhook", "http://10.90.1.9/"]);
    hosts.must(0, &["node", "capacity", "alpha", "cpu=4"]);
    let admin = ["admin", "add", "ops", "--role", "viewer", "--out", "/var/tmp/ops.pem"];
    hosts.must(0, &admin);
    let declared = hosts.must(0, &["export"]).out;
    hosts.must(0, &["cluster", "backup", FILE]);
    let again = hosts.stead(0, &["cluster", "backup", FILE]);
    assert!(again.code == 1 && again.err.contains("exists"), "{}", again.err);
    let text = fs::read_to_string(hosts.all[0].path(FILE)).unwrap();
    assert!(!text.contains("PRIVATE") && !text.contains("BEGIN"), "{text}");
    // On the running cluster: what was changed since is as it was.
    hosts.must(0, &["group", "set", "web", "failover-threshold=7"]);
    let plan = hosts.must(0, &["cluster", "restore", FILE, "--plan"]).out;
    assert!(plan.contains("~ group web: failover-threshold `7` -> "), "{plan}");
    hosts.must(0, &["cluster", "restore", FILE]);
    assert_eq!(hosts.must(0, &["export"]).out, declared);
    // Everything is lost.
    hosts.must(0, &["cluster", "destroy", "office"]);
    assert!(!hosts.has(0, ADDRESS));
    hosts.must(0, &["cluster", "create", "branch"]);
    let other = hosts.stead(0, &["cluster", "restore", FILE]);
    assert!(other.code == 1 && other.err.contains("`--from office`"), "{}", other.err);
    let cut = "head -c 600 /var/tmp/office.backup > /var/tmp/cut.backup";
    hosts.all[0].must(&["sh", "-c", cut]);
    let damaged =
        hosts.stead(0, &["cluster", "restore", "/var/tmp/cut.backup", "--from", "office"]);
    assert!(damaged.code == 1 && damaged.err.contains("checksum is wrong"), "{}", damaged.err);
    hosts.must(0, &["cluster", "restore", FILE, "--from", "office", "--wait"]);
    until("the group runs", || hosts.has(0, ADDRESS));
    assert_eq!(hosts.must(0, &["export"]).out, declared);
    let view = hosts.status(0);
    assert_eq!(view["nodes"][0]["room"]["capacity"]["cpu"], 4000, "{view}");
    assert_eq!(view["admins"][0]["admin"], "ops", "{view}");
}
