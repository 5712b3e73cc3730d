//! Hosts that have IPv6 addresses alone: from the installed package to a failover.

use e2e::hosts::QUORUM;
use e2e::{Hosts, Machine, tell, until};

use crate::preflight::is_fine;

/// The address of the group.
const ADDRESS: &str = "fd90:1::50";
const SERVICE: &str = "[group]\nname = \"web\"\n\
    [[resource]]\nname = \"address\"\ntype = \"ip-address\"\naddress = \"fd90:1::50/64\"\n";

#[test]
fn hosts_with_ipv6_alone_form_a_cluster_and_fail_over() {
    if let Some(why) = Machine::lacks() {
        tell(&format!("SKIPPED: no machine with systemd: {why}"));
        return;
    }
    let mut hosts = Hosts::up(&["alpha", "beta"]);
    hosts.share(QUORUM, 512 << 20);
    (0..2).for_each(|host| readdress(&hosts, host));
    let made = hosts.must(0, &["cluster", "create", "office", "--quorum-disk", QUORUM]).err;
    assert!(made.contains("fd90:1::1") && made.contains("fd90:2::1"), "{made}");
    let token = hosts.token(0);
    let looked = hosts.must(1, &["cluster", "check", &token]).out;
    assert!(is_fine(&looked), "{looked}");
    assert!(looked.contains("reaches [fd90:2::2]:7410 (UDP)"), "{looked}");
    hosts.must(1, &["cluster", "join", &token]);
    hosts.all_vote(0, 2);
    hosts.declares(1, SERVICE);
    until("the address is somewhere", || hosts.has(0, ADDRESS) || hosts.has(1, ADDRESS));
    let owner = usize::from(!hosts.has(0, ADDRESS));
    hosts.all[owner].kill();
    until("the other host has the address", || hosts.has(1 - owner, ADDRESS));
    // It is back by itself, and a member like the other.
    hosts.boot(owner);
    readdress(&hosts, owner);
    hosts.all_vote(owner, 2);
    assert!(hosts.has(1 - owner, ADDRESS) && !hosts.has(owner, ADDRESS), "it came back, and stays");
}

/// Takes the host's IPv4 addresses away and gives it others.
fn readdress(hosts: &Hosts, host: usize) {
    let machine = &hosts.all[host];
    for network in 1..=2 {
        let device = format!("eth{network}");
        let address = format!("fd90:{network}::{}/64", host + 1);
        machine.must(&["ip", "-4", "address", "flush", "dev", &device]);
        machine.must(&["ip", "address", "add", &address, "dev", &device, "nodad"]);
    }
}
