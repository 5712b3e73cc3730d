//! What the checks of a host say before it becomes a node, on hosts with systemd: each trouble is
//! made, told with what to do about it, and undone; a member dies or hangs in the middle of it.

use std::time::{Duration, Instant};

use e2e::processes::{self, Role};
use e2e::{Hosts, Machine, tell, until, wall_clock};
use rustix::process::Signal;

/// Opens what [`shut`] shut.
const OPEN: &str = "nft delete table inet shut";

/// The command by which a host drops packets of one kind.
fn shut(hook: &str, what: &str) -> String {
    let chain = format!("chain one {{ type filter hook {hook} priority 0; {what} drop; }}");
    format!("nft -f - <<E\ntable inet shut {{ {chain}; }}\nE")
}

/// Whether the checks said this: the mark, the check, and a word of what is found or of what to do.
fn says(out: &str, [mark, check, word]: [&str; 3]) -> bool {
    let mark = format!("{mark:8} {check}: ");
    let lines: Vec<&str> = out.lines().collect();
    lines.windows(2).any(|pair| {
        let all = pair.concat();
        pair[0].starts_with(&mark) && all.contains(word) && all.contains("fix: ")
    })
}

/// What is wrong with the third host, how that is made and undone, and what its checks say.
fn cases() -> [(String, &'static str, [&'static str; 3]); 7] {
    let (tcp, udp) = ("eth2 tcp dport 7410", "eth1 udp dport 7410");
    let other = "touch /tmp/other; mount --bind /tmp/other /var/shared/quorum";
    let lease = "ip address change 10.90.1.3/24 dev eth1 valid_lft 3600 preferred_lft 3600";
    [
        (
            shut("input", &format!("iifname {tcp}")),
            OPEN,
            ["wrong", "ports", "does not reach 10.90.2.3:7410 (TCP)"],
        ),
        (
            shut("input", &format!("iifname {udp}")),
            OPEN,
            ["wrong", "ports", "does not reach 10.90.1.3:7410 (UDP)"],
        ),
        (
            shut("output", &format!("oifname {tcp}")),
            OPEN,
            ["wrong", "ports", "10.90.2.3 does not reach"],
        ),
        ("hostname beta".into(), "hostname gamma", ["wrong", "names", "is called `beta`, too"]),
        (
            other.into(),
            "umount /var/shared/quorum",
            ["wrong", "quorum disk", "connect the disk to this host"],
        ),
        (
            "ip link set eth2 down".into(),
            "ip link set eth2 up",
            ["doubtful", "networks", "this host has no address on"],
        ),
        (
            lease.into(),
            "ip address change 10.90.1.3/24 dev eth1 valid_lft forever preferred_lft forever",
            ["doubtful", "networks", "10.90.1.3 on eth1 is leased"],
        ),
    ]
}

/// Each is found by the checks, with what to do; a join is refused by those that are wrong.
pub(crate) fn wrongs(hosts: &Hosts, token: &str) {
    for (make, undo, told) in cases() {
        let is_wrong = told[0] == "wrong";
        hosts.all[2].must(&["sh", "-c", &make]);
        let looked = hosts.stead(2, &["cluster", "check", token]);
        let joined = is_wrong.then(|| hosts.stead(2, &["cluster", "join", token]));
        hosts.all[2].must(&["sh", "-c", undo]);
        assert!(says(&looked.out, told), "{make}: {told:?}: {}{}", looked.out, looked.err);
        assert_eq!(looked.code, i32::from(is_wrong), "{make}: {}", looked.out);
        if let Some(joined) = joined {
            assert_eq!(joined.code, 1, "{make}: {}{}", joined.out, joined.err);
            assert!(joined.err.contains("hint: "), "{make}: {}", joined.err);
        }
    }
    assert!(is_fine(&hosts.must(2, &["cluster", "check", token]).out));
}

/// Whether the checks found nothing wrong or doubtful.
pub(crate) fn is_fine(out: &str) -> bool {
    !out.is_empty() && out.lines().all(|line| line.starts_with("ok"))
}

#[test]
fn what_is_weak_is_told_and_a_member_that_dies_or_hangs_keeps_nobody_waiting() {
    if let Some(why) = Machine::lacks() {
        tell(&format!("SKIPPED: no machine with systemd: {why}"));
        return;
    }
    let hosts = Hosts::up(&["alpha", "beta"]);
    let alone = hosts.must(1, &["cluster", "check"]).out;
    assert!(is_fine(&alone), "{alone}");
    let one = hosts.must(1, &["cluster", "check", "--address", "10.90.1.2"]).out;
    assert!(says(&one, ["doubtful", "networks", "eth1 alone would carry the cluster"]), "{one}");
    let highest = hosts.stead(1, &["cluster", "check", "--port", "65535"]);
    assert_eq!(highest.code, 1, "{}{}", highest.out, highest.err);
    let made = hosts.must(0, &["cluster", "create", "office"]).err;
    assert!(!made.contains("doubtful"), "{made}");
    let token = hosts.token(0);
    skewed(&hosts, &token);
    lacks_disk(&hosts, &token);
    dies(&hosts, &token);
    hangs(&hosts, &token);
    let joined = hosts.must(1, &["cluster", "join", &token]).err;
    assert!(joined.contains("this host is n2 of cluster `office`"), "{joined}");
}

/// The clock of the host is an hour ahead of the member's, or behind.
fn skewed(hosts: &Hosts, token: &str) {
    for (ahead_s, word) in [(3600, "s ahead of n1's"), (-3600, "s behind n1's")] {
        let check = ["stead", "cluster", "check", token];
        let looked = wall_clock::skewed(&hosts.all[1], ahead_s, &check);
        assert_eq!(looked.code, 0, "{}{}", looked.out, looked.err);
        assert!(says(&looked.out, ["doubtful", "clocks", word]), "{word}: {}", looked.out);
    }
}

/// A group has a disk that the host has not, and then has.
fn lacks_disk(hosts: &Hosts, token: &str) {
    hosts.must(0, &["group", "create", "data"]);
    let resource = ["resource", "create", "store", "--type", "physical-disk", "--group", "data"];
    let given = ["disk=/dev/stead-store", "mount-point=/srv/store", "--force"];
    hosts.must(0, &[&resource[..], &given[..]].concat());
    let looked = hosts.must(1, &["cluster", "check", token]).out;
    let word = "group `data` cannot run here: its disk `/dev/stead-store` cannot be opened";
    assert!(says(&looked, ["doubtful", "disks", word]), "{looked}");
    hosts.all[1].must(&["mknod", "/dev/stead-store", "b", "7", "0"]);
    let looked = hosts.must(1, &["cluster", "check", token]).out;
    assert!(is_fine(&looked) && looked.contains("ok       disks: 1 of 1"), "{looked}");
}

/// The node service of the member is killed while it tries to reach the host.
fn dies(hosts: &Hosts, token: &str) {
    let (alpha, beta) = (&hosts.all[0], &hosts.all[1]);
    // What it sends gets lost: it tries for two seconds.
    beta.must(&["sh", "-c", &shut("input", "udp dport 7410")]);
    let service = alpha.find(Role::Service);
    let said = std::thread::scope(|scope| {
        let looking = scope.spawn(|| hosts.stead(1, &["cluster", "check", token]));
        until("the host listens", || beta.must(&["ss", "-lun"]).contains(":7410"));
        processes::signal(service, Signal::KILL);
        looking.join().unwrap()
    });
    beta.must(&["sh", "-c", OPEN]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let told = "the connection to the member broke: it ended in the middle";
    assert!(said.err.contains(told), "{}", said.err);
    assert!(said.err.contains("hint: repeat the command"), "{}", said.err);
    until("the next service lets hosts in", || {
        hosts.stead(1, &["cluster", "check", token]).code == 0
    });
}

/// The node service of the member, the only one, hangs.
fn hangs(hosts: &Hosts, token: &str) {
    let service = hosts.all[0].find(Role::Service);
    processes::signal(service, Signal::STOP);
    let begun = Instant::now();
    for command in ["check", "join"] {
        let said = hosts.stead(1, &["cluster", command, token]);
        assert_eq!(said.code, 1, "{command}: {}{}", said.out, said.err);
        assert!(said.err.contains("no member of the cluster answers"), "{}", said.err);
        for address in ["10.90.1.1", "10.90.2.1"] {
            let told = format!("{address}:7412: it does not answer within 5 s");
            assert!(said.err.contains(&told), "{command}: {}", said.err);
        }
        assert!(said.err.contains("hint: "), "{command}: {}", said.err);
        assert!(!hosts.all[1].path("etc/stead/plan.json").exists());
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(40), "two commands took {took:?}");
    processes::signal(service, Signal::CONT);
    until("the member has quorum again", || hosts.status(0)["quorum"]["has_quorum"] == true);
}
