//! Somebody outside the cluster is told when the owner of a group dies.

use std::fs;
use std::time::Duration;

use e2e::processes::{self, Role};
use e2e::{ONE, PATIENCE, Roles, Site, TWO, World, other, wait};
use serde_json::Value;
use stead_lab::client::{Call, Client};
use stead_lab::{Network, Station, boot_ns};
use stead_model::NodeId;

const PORT: u16 = 8090;

/// Whether a node service has a thread for alerts.
fn has_thread(world: &World, node: NodeId) -> bool {
    let pid = processes::find(world, node, Role::Service);
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
    tasks.map_while(Result::ok).filter_map(name).any(|name| name.trim() == "alerts")
}

fn must(world: &World, words: &[&str]) {
    let said = world.stead(words);
    assert_eq!(said.code, 0, "{words:?}: {}{}", said.out, said.err);
}

/// Two alerts: one calls the client's web server, one runs a command on the nodes.
fn add(world: &World) {
    let hook = format!("{}:{PORT}/stead", Station::Client.address(Network::Public));
    let said = world.stead(&["alert", "add", "ops", "--webhook", &format!("https://{hook}")]);
    assert!(said.code == 1 && said.err.contains("no TLS"), "{}", said.err);
    let hook = format!("http://{hook}");
    let codes = ["--code", "group-granted", "--group", "web"];
    must(world, &[&["alert", "add", "ops", "--webhook", &hook], &codes[..]].concat());
    let script = "cat >> /var/lib/stead/told; ls -l /proc/self/fd > /var/lib/stead/fds";
    let command = format!("/bin/sh -c '{script}'");
    let codes = ["--code", "suspected", "--code", "group-*"];
    must(world, &[&["alert", "add", "file", "--command", &command], &codes[..]].concat());
}

/// The lines that the command wrote on a node.
fn told(world: &World, node: NodeId) -> Vec<Value> {
    let text = fs::read_to_string(world.lab().state_dir(node).join("told")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The next call about the cluster, not a test.
fn next(hook: &Client<Call>) -> Call {
    let end_ns = boot_ns() + PATIENCE.as_nanos() as u64;
    loop {
        let left = Duration::from_nanos(end_ns.saturating_sub(boot_ns()));
        let call = hook.next(left).expect("the web server is called");
        if call.body["code"] != "alert-test" {
            return call;
        }
    }
}

/// The owner leads, so that the record is of the next leader, who was none when it happened.
#[test]
fn alerts_tell_of_a_failover() {
    let world = World::up("alerts");
    let site = Site::new("web", 100);
    let owner = Roles::settled(&world).leads;
    site.create(&world, owner);
    assert!(![ONE, TWO].iter().any(|node| has_thread(&world, *node)), "no alerts, no thread");
    let hook = Client::serve(world.lab(), PORT).unwrap();
    add(&world);
    let stays = other(owner);
    for node in [owner, stays] {
        wait("the web server can be called", || {
            let said = world.stead(&["--node", &node.to_string(), "alert", "test", "ops"]);
            if said.code == 0 { Ok(()) } else { Err(said.err) }
        });
        assert!(has_thread(&world, node));
    }
    let at_ns = world.crash(owner);
    let call = next(&hook);
    let value = |name: &str| call.body[name].as_str().unwrap_or_default().to_owned();
    assert_eq!((value("code").as_str(), value("group").as_str()), ("group-granted", "web"));
    assert_eq!(
        (call.body["node"].as_u64(), value("cluster")),
        (Some(stays.0.into()), "alerts".into())
    );
    assert!(value("text").contains(&format!("owner {stays}")), "{}", call.body);
    e2e::tell(&format!("told after {} ms", (call.at_ns - at_ns) / 1_000_000));
    world.taken_over(&site.group, stays);
    for code in ["suspected", "group-granted", "group-online"] {
        wait(&format!("the command is told of {code}"), || {
            let told = told(&world, stays);
            let found = told.iter().any(|told| told["code"] == code);
            if found { Ok(()) } else { Err(format!("{told:?}")) }
        });
    }
    let fds = fs::read_to_string(world.lab().state_dir(stays).join("fds")).unwrap();
    for ours in ["socket:", "anon_inode:", "node.log", "events.jsonl"] {
        assert!(!fds.contains(ours), "something of the node service is open there: {fds}");
    }
    // The node that comes back tells nothing of what it learns late.
    world.start(owner);
    let back = Roles::settled(&world);
    world.online(&site.group, back.leads);
    let again: Vec<Call> = hook.so_far();
    let same = again.iter().filter(|again| again.body["key"] == call.body["key"]);
    assert_eq!(same.count(), 0, "told twice: {again:?}");
}
