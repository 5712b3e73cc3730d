//! The cluster IP: whoever administers the cluster from another machine asks one
//! address, whichever node has it, and goes on when that node dies. On hosts with systemd, from
//! `cluster create` to `cluster destroy`.

use std::fs;

use e2e::hosts::QUORUM;
use e2e::program::Said;
use e2e::{Hosts, Machine, tell, until, wait};
use serde_json::Value;

const ADDRESS: &str = "10.90.1.100";
const FILE: &str = "/var/ops.pem";
/// The host that is no node: somebody sits there who administers.
const ELSEWHERE: usize = 2;

/// What is typed there about the cluster at an address.
fn asks(hosts: &Hosts, address: &str, words: &[&str]) -> Said {
    let at = ["--host", address, "--identity", FILE];
    hosts.stead(ELSEWHERE, &[&at, words].concat())
}

/// Waits until the cluster's own group is online in the eyes of who answers at an address, on the
/// very node that answers; its number.
fn answers(hosts: &Hosts, address: &str) -> u64 {
    wait(&format!("the owner answers at {address}"), || {
        let said = asks(hosts, address, &["--json", "status"]);
        let view: Value = serde_json::from_str(&said.out).map_err(|_| said.err.clone())?;
        let groups = view["groups"].as_array().cloned().unwrap_or_default();
        let own = groups.into_iter().find(|group| group["group"] == "cluster");
        let own = own.ok_or_else(|| format!("no such group: {view}"))?;
        let (node, owner) = (&view["node"], &own["owner"]);
        match node.as_u64().filter(|_| node == owner && own["state"] == "online") {
            Some(node) => Ok(node),
            None => Err(format!("{node} answers: {own}")),
        }
    })
}

/// A cluster of the first two hosts, made with its address, and a file for the third host.
fn made() -> Hosts {
    let hosts = Hosts::up(&["alpha", "beta", "gamma"]);
    hosts.share(QUORUM, 512 << 20);
    let create = ["cluster", "create", "office", "--quorum-disk", QUORUM];
    let taken = hosts.stead(0, &[&create[..], &["--cluster-ip", "10.90.1.1"]].concat());
    assert!(taken.code == 1 && taken.err.contains("this host has it"), "{}", taken.err);
    hosts.must(0, &[&create[..], &["--cluster-ip", ADDRESS]].concat());
    assert!(hosts.has(0, ADDRESS), "it is online when the cluster is made");
    let again = hosts.must(0, &[&create[..], &["--cluster-ip", ADDRESS]].concat()).err;
    assert!(again.contains("is made already"), "{again}");
    hosts.joins(1);
    hosts.must(0, &["admin", "add", "ops", "--role", "operator", "--out", FILE]);
    fs::copy(hosts.all[0].path(FILE), hosts.all[ELSEWHERE].path(FILE)).unwrap();
    hosts
}

#[test]
fn a001_the_cluster_is_asked_at_one_address_whichever_node_has_it() {
    if let Some(why) = Machine::lacks() {
        tell(&format!("SKIPPED: no machine with systemd: {why}"));
        return;
    }
    let mut hosts = made();
    assert_eq!(answers(&hosts, ADDRESS), 1);
    until("both nodes vote", || {
        let said = asks(&hosts, ADDRESS, &["--json", "node", "list"]);
        let nodes: Value = serde_json::from_str(&said.out).unwrap_or_default();
        let fine = |n: &&Value| n["votes"] == true && n["state"] == "up";
        nodes.as_array().is_some_and(|all| all.iter().filter(fine).count() == 2)
    });
    // A move takes the address away from under the very command that asked for it.
    let moved = asks(&hosts, ADDRESS, &["group", "move", "cluster", "--to", "n2", "--wait"]);
    assert_eq!(moved.code, 0, "{}", moved.err);
    assert_eq!(answers(&hosts, ADDRESS), 2);
    let offline = asks(&hosts, ADDRESS, &["group", "offline", "cluster"]);
    assert!(offline.code == 1 && offline.err.contains("is the cluster's own"), "{}", offline.err);
    // Its owner dies: the same address is answered by the other node.
    hosts.all[1].kill();
    assert_eq!(answers(&hosts, ADDRESS), 1);
    removed_and_changed(&hosts);
    // The other node is dead and goes; nothing of the last one is left either.
    hosts.must(0, &["node", "evict", "n2"]);
    hosts.must(0, &["cluster", "destroy", "office"]);
    assert!(!hosts.has(0, "fd90::100"));
    assert!(!hosts.all[0].path("etc/stead/cluster.json").exists());
}

/// The address goes, another one comes, and one of the other family.
fn removed_and_changed(hosts: &Hosts) {
    hosts.must(0, &["cluster", "ip", "--remove", "--wait"]);
    assert!(!hosts.has(0, ADDRESS));
    let none = asks(hosts, ADDRESS, &["status"]);
    assert_eq!(none.code, 3, "{}{}", none.out, none.err);
    hosts.must(0, &["cluster", "ip", "10.90.1.101", "--wait"]);
    assert_eq!(answers(hosts, "10.90.1.101"), 1);
    for (host, address) in [(0, "fd90::1/64"), (ELSEWHERE, "fd90::3/64")] {
        hosts.all[host].must(&["ip", "address", "add", address, "dev", "eth1", "nodad"]);
    }
    hosts.must(0, &["cluster", "ip", "fd90::100/64", "--wait"]);
    assert_eq!(answers(hosts, "fd90::100"), 1);
    assert!(!hosts.has(0, "10.90.1.101"));
}
