//! Somebody else answers for a cluster address: a stranger on the client's network before a
//! planned move, and a former owner whose kernel still answers. And one that floods the nodes.

use std::process::Stdio;

use e2e::{has_ip, other, rounds, tell, until, witness};
use stead_lab::{Network, Station, boot_ns};
use stead_model::NodeId;
use stead_model::record::Record;

use crate::stage::{Place, Stage};

/// The client takes an address or gives it back, with the host's `ip`.
fn client(stage: &Stage, verb: &str) {
    let address = format!("{}/32", stage.site.address());
    let ip = ["lab", "exec", "client", "--", "ip", "address", verb, &address, "dev", "eth1"];
    let said = stage.world.stead(&ip);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
}

#[test]
fn stranger_with_the_address_stops_a_planned_move() {
    if !has_ip("a stranger could take an address") {
        return;
    }
    let stage = Stage::set("stranger");
    for round in 0..rounds() {
        let place = if round % 2 == 0 { Place::Leader } else { Place::Follower };
        let owner = place.of(stage.arrange(place));
        let (epoch, target) = (stage.epoch(owner), other(owner).to_string());
        let from_ns = boot_ns();
        client(&stage, "add");
        let said = stage.world.stead(&["group", "move", "web", "--to", &target, "--wait"]);
        client(&stage, "delete");
        assert_eq!(said.code, 1, "{}{}", said.out, said.err);
        let address = stage.site.address().to_string();
        let names = said.err.contains(&address) && said.err.contains("stranger with MAC");
        assert!(names && said.err.contains("hint:"), "{}", said.err);
        stage.world.online(&stage.site.group, owner);
        assert_eq!(stage.epoch(owner), epoch, "it was stopped");
        stage.answers(owner, boot_ns());
        let stays = witness::stays(&stage.world, &stage.site, from_ns);
        assert!(stays.iter().all(|stay| stay.node == owner), "{stays:?}");
        // With the stranger gone the same move is made, whoever else answers in the cluster.
        stage.world.place(&stage.site.group, other(owner));
    }
    witness::one_at_a_time(&stage.world, &stage.site, 0);
}

fn notices(stage: &Stage, node: NodeId) -> Vec<Record> {
    let records = stage.world.records(node).into_iter();
    let stale = |r: &Record| r.code == "resource-notice" && r.text.contains("stale owner");
    records.filter(stale).collect()
}

/// The kernel of a former owner still answers: there the address is on another interface, too,
/// where stead does not look after it.
#[test]
fn stale_owner_that_answers_is_told_and_the_address_stays() {
    if !has_ip("a former owner could keep an address") {
        return;
    }
    let stage = Stage::set("stale-owner");
    let owner = other(stage.arrange(Place::Follower).leads);
    let heir = other(owner);
    let before = notices(&stage, heir).len();
    let (name, address) = (owner.to_string(), format!("{}/32", stage.site.address()));
    let ip = ["lab", "exec", &name, "--", "ip", "address", "add", &address, "dev", "lo"];
    let said = stage.world.stead(&ip);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    stage.world.place(&stage.site.group, heir);
    until("the heir notices", || notices(&stage, heir).len() > before);
    let said = notices(&stage, heir).pop().map(|r| r.text).unwrap();
    let mac = Station::Node(owner).mac(Network::Public).to_string();
    assert!(said.contains(&mac), "{said}, and {owner} has {mac}");
    let epoch = stage.epoch(heir);
    let _ = e2e::Roles::settled(&stage.world);
    assert_eq!(stage.epoch(heir), epoch, "the address did not stay");
}

/// A stranger on the clients' network: datagrams of noise at full speed, and callers of every port
/// of a node that say half a word or nothing, some hundreds at a time.
const FLOOD: &str = r#"
    my ($seconds, @nodes) = @ARGV;
    my @doors = map { my $n = $_; map { [$n, $_] } 7410 .. 7412 } @nodes;
    my %udp = (Proto => "udp", PeerPort => 7410);
    my @udp = map { IO::Socket::INET->new(%udp, PeerAddr => $_) } @nodes;
    my $noise = join "", map { chr rand 256 } 1 .. 1400;
    my ($sent, $called, @held, $end) = (0, 0);
    for ($end = time + $seconds; time < $end;) {
        for my $udp (@udp) {
            for (1 .. 200) { $sent++ if $udp->send(substr $noise, rand 700, 1 + rand 700) }
        }
        for (@doors) {
            my %at = (PeerAddr => $_->[0], PeerPort => $_->[1], Timeout => 0.05);
            my $caller = IO::Socket::INET->new(Proto => "tcp", %at) or next;
            syswrite $caller, "\x16\x03\x01\x02\x00\x01" if ++$called % 2;
            push @held, $caller;
            shift @held if @held > 300;
        }
    }
    print "$sent $called\n";
"#;
const FLOOD_SECONDS: &str = "10";

/// Nothing changes hands and every lease holds while somebody floods both nodes, and a client that
/// belongs there is served and writes on (docs/internals/security.md).
#[test]
fn stranger_that_floods_the_nodes_changes_nothing() {
    let stage = Stage::set("flood");
    let owner = stage.arrange(Place::Leader).leads;
    let (epoch, from_ns) = (stage.epoch(owner), boot_ns());
    let nodes = [owner, other(owner)];
    let addresses = nodes.map(|node| Station::Node(node).address(Network::Public).to_string());
    let perl = ["perl", "-MIO::Socket::INET", "-e", FLOOD, FLOOD_SECONDS];
    let words = [perl.as_slice(), &addresses.each_ref().map(String::as_str)].concat();
    let mut flood = stage.world.lab().command(Station::Client, &words).unwrap();
    let flood = flood.stdout(Stdio::piped()).spawn().unwrap();
    stage.writer.wait_more(100);
    let said = flood.wait_with_output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let counts: Vec<u64> = said.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert!(counts[0] > 10_000 && counts[1] > 100, "datagrams and callers: {counts:?}");
    stage.answers(owner, boot_ns());
    assert_eq!(stage.epoch(owner), epoch, "the group moved");
    let stays = witness::stays(&stage.world, &stage.site, from_ns);
    assert!(stays.iter().all(|stay| stay.node == owner), "{stays:?}");
    for node in nodes {
        let during = stage.world.records(node).into_iter().filter(|r| r.boot_ns >= from_ns);
        let bad: Vec<_> = during.filter(|r| HARM.contains(&r.code.as_str())).collect();
        assert!(bad.is_empty(), "{node}: {bad:?}");
    }
    tell(&format!("{} datagrams and {} callers", counts[0], counts[1]));
    witness::one_at_a_time(&stage.world, &stage.site, 0);
}

/// What no stranger can bring about.
const HARM: [&str; 7] = [
    "lease-lost",
    "hard-stop",
    "elected",
    "group-granted",
    "resource-failed",
    "disk-dead",
    "node-service-died",
];
