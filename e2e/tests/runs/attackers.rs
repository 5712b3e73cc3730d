//! Somebody who belongs nowhere floods the nodes, or has come further: onto the machine of a node,
//! where it taps, replays and forges; to the quorum disk, where it writes; to the socket of a node.
//! Nothing changes hands and leases hold (docs/internals/security.md).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Child, Stdio};

use e2e::{other, tell, until, witness};
use stead_lab::{Network, Station, boot_ns};
use stead_model::NodeId;

use crate::stage::{Place, Stage};

/// Tells of the group and its nodes what must not have changed.
struct Peace {
    owner: NodeId,
    epoch: u64,
    from_ns: u64,
}

impl Peace {
    fn of(stage: &Stage, place: Place) -> Self {
        let owner = place.of(stage.arrange(place));
        Self { owner, epoch: stage.epoch(owner), from_ns: boot_ns() }
    }

    /// The owner, and the other node.
    fn nodes(&self) -> [NodeId; 2] {
        [self.owner, other(self.owner)]
    }

    /// The group stayed, its clients were and are served, and no record tells of harm or one of
    /// these others.
    fn holds(&self, stage: &Stage, nor: &[&str]) {
        stage.writer.wait_more(50);
        stage.answers(self.owner, boot_ns());
        assert_eq!(stage.epoch(self.owner), self.epoch, "the group moved");
        let stays = witness::stays(&stage.world, &stage.site, self.from_ns);
        assert!(stays.iter().all(|stay| stay.node == self.owner), "{stays:?}");
        stage.world.assert_unharmed(&self.nodes(), self.from_ns, &[&HARM, nor].concat());
        witness::one_at_a_time(&stage.world, &stage.site, 0);
    }

    /// Waits until a node told something since, with this word.
    fn told(&self, stage: &Stage, node: NodeId, [code, word]: [&str; 2]) {
        until(&format!("{node} tells {code}: {word}"), || {
            let records = stage.world.records(node).into_iter();
            let mut since = records.filter(|r| r.boot_ns >= self.from_ns);
            since.any(|r| r.code == code && r.text.contains(word))
        });
    }
}

/// Where a node is reached by whoever is on the clients' network.
fn address(node: NodeId) -> String {
    Station::Node(node).address(Network::Public).to_string()
}

/// A stranger on the clients' network: datagrams of noise at full speed, and callers of every port
/// of a node that say half a word or nothing, some hundreds at a time.
const FLOOD: &str = r#"
    my ($seconds, @nodes) = @ARGV;
    my @doors = map { my $n = $_; map { [$n, $_] } 7410 .. 7412 } @nodes;
    my %udp = (Proto => "udp", PeerPort => 7410);
    my @udp = map { IO::Socket::INET->new(%udp, PeerAddr => $_) } @nodes;
    my $noise = join "", map { chr rand 256 } 1 .. 1400;
    my ($sent, $called, $end) = (0, 0);
    for ($end = time + $seconds; time < $end;) {
        for my $udp (@udp) {
            for (1 .. 200) { $sent++ if $udp->send(substr $noise, rand 700, 1 + rand 700) }
        }
        for (@doors) {
            my %at = (PeerAddr => $_->[0], PeerPort => $_->[1], Timeout => 0.05);
            my $caller = IO::Socket::INET->new(Proto => "tcp", %at) or next;
            hold($caller, "\x16\x03\x01\x02\x00\x01", ++$called);
        }
    }
    print "$sent $called\n";
"#;

#[test]
fn attacker_that_floods_the_nodes_changes_nothing() {
    let stage = Stage::set("flood");
    let peace = Peace::of(&stage, Place::Leader);
    let nodes = peace.nodes().map(address);
    let flood = perl(&stage, Station::Client, FLOOD, &["10", &nodes[0], &nodes[1]]);
    stage.writer.wait_more(100);
    let counts = counts(flood);
    assert!(counts[0] > 10_000 && counts[1] > 100, "datagrams and callers: {counts:?}");
    peace.holds(&stage, &["disk-dead"]);
    tell(&format!("datagrams and callers: {counts:?}"));
}

/// On the machine of a node: takes down what its service says to another one, and says it again, as
/// it was and with damage of every kind.
const REPLAY: &str = r#"
    my ($seconds, $own, $peer) = @ARGV;
    alarm $seconds + 20;
    socket my $tap, 17, 2, unpack "S", pack "n", 3 or die "no tap: $!";
    my @heard;
    while (@heard < 200) {
        defined recv $tap, my $packet, 65536, 0 or die "the tap: $!";
        next if length $packet < 28 || ord(substr $packet, 9, 1) != 17;
        my $udp = 4 * (15 & ord $packet);
        my ($from, $to) = map { inet_ntoa substr $packet, $_, 4 } 12, 16;
        my $port = unpack "n", substr $packet, $udp + 2, 2;
        push @heard, substr $packet, $udp + 8 if "$from $to $port" eq "$own $peer 7410";
    }
    my %at = (LocalAddr => $own, PeerAddr => $peer, PeerPort => 7410);
    my $way = IO::Socket::INET->new(Proto => "udp", %at) or die "no way: $!";
    my ($sent, $end);
    for ($end = time + $seconds; time < $end;) {
        for my $was (@heard) {
            my @all = ($was) x 6;
            vec($all[1], rand 8 * length $was, 1) ^= 1;
            substr $all[2], -1 - rand 20, 20, "";
            substr $all[3], 8, 2, pack "v", 3;
            substr $all[4], 28, 8, pack "Q<", 1 + unpack "Q<", substr $was, 28, 8;
            substr $all[5], 12, 8, pack "Q<", rand 1 << 52;
            for (@all) { $sent++ if $way->send($_) }
            select undef, undef, undef, 0.001;
        }
    }
    print "$sent\n";
"#;
const SECONDS: &str = "5";

/// What scripts have in common: some hundreds of connections are held, and half a word is said over
/// every other one.
const HOLD: &str = r#"
    $SIG{PIPE} = "IGNORE";
    my @held;
    sub hold {
        my ($way, $word, $number) = @_;
        syswrite $way, $word if $number % 2;
        push @held, $way;
        shift @held if @held > 300;
    }
"#;

/// Starts a script on a machine.
fn perl(stage: &Stage, on: Station, script: &str, words: &[&str]) -> Child {
    let perl = ["perl", "-MIO::Socket", "-we", HOLD, "-e", script];
    let mut way = stage.world.lab().command(on, &[&perl, words].concat()).unwrap();
    way.stdout(Stdio::piped()).spawn().unwrap()
}

/// The numbers that a script printed.
fn counts(script: Child) -> Vec<u64> {
    let said = script.wait_with_output().unwrap();
    assert!(said.status.success(), "{said:?}");
    let text = String::from_utf8(said.stdout).unwrap();
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

#[test]
fn attackers_on_both_nodes_replay_and_forge_and_nothing_changes() {
    let stage = Stage::set("replay");
    for place in [Place::Leader, Place::Follower] {
        let peace = Peace::of(&stage, place);
        let scripts = peace.nodes().map(|node| {
            let words = [SECONDS, &address(node), &address(other(node))];
            perl(&stage, Station::Node(node), REPLAY, &words)
        });
        stage.writer.wait_more(100);
        let sent = scripts.map(|script| counts(script)[0]);
        assert!(sent.iter().all(|sent| *sent > 1000), "{sent:?}");
        if place == Place::Leader {
            // Told at once, then once a minute; what was sent first is as it had been. Looked for
            // now: a node keeps a thousand records, and the writer's are many.
            let told = ["datagrams-refused", "replayed"];
            peace.nodes().iter().for_each(|node| peace.told(&stage, *node, told));
        }
        peace.holds(&stage, &["disk-dead"]);
        tell(&format!("{sent:?} datagrams"));
    }
}

/// A block of the quorum disk: the header of a slot of a node that there is not.
const HEADER: u64 = 4096 * 8;

#[test]
fn attackers_with_the_quorum_disk_change_nothing() {
    let stage = Stage::set("tampered");
    let path = stage.world.lab().record().dirs.quorum_disk();
    let disk = File::options().read(true).write(true).open(path).unwrap();
    let flip = || {
        let mut byte = [0];
        disk.read_exact_at(&mut byte, HEADER + 100).unwrap();
        disk.write_all_at(&[byte[0] ^ 1], HEADER + 100).unwrap();
        disk.sync_all().unwrap();
    };
    let peace = Peace::of(&stage, Place::Leader);
    flip();
    for node in peace.nodes() {
        peace.told(&stage, node, ["disk-dead", "the quorum disk is dead"]);
    }
    peace.holds(&stage, &[]);
    let status = stage.world.stead(&["status"]).out;
    assert!(status.contains("damaged"), "{status}");
}

/// A user of the machine who may nothing: holds as many connections to the socket as it gets.
const SOCKET: &str = r#"
    my ($seconds) = @ARGV;
    $( = $) = "65534 65534";
    $< = $> = 65534;
    die "still root" if $> != 65534;
    my ($called, $end) = (0);
    for ($end = time + $seconds; time < $end; select undef, undef, undef, 0.001) {
        my $way = IO::Socket::UNIX->new(Peer => "/run/stead/api.sock") or next;
        hold($way, "GET /v1/status HTTP/1.1\r\nX: ", ++$called);
    }
    print "$called\n";
"#;

#[test]
fn attackers_at_the_socket_keep_no_administrator_out() {
    if !rustix::process::geteuid().is_root() {
        tell("skipped: in the lab of an ordinary user there is no other user");
        return;
    }
    let stage = Stage::set("socket");
    let peace = Peace::of(&stage, Place::Leader);
    let on = |node| perl(&stage, Station::Node(node), SOCKET, &[SECONDS]);
    let scripts = peace.nodes().map(on);
    // Whoever may is served meanwhile: the writer, and a person.
    for _ in 0..20 {
        stage.writer.wait_more(20);
        let said = stage.world.stead(&["status"]);
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    }
    let called = scripts.map(|script| counts(script)[0]);
    assert!(called.iter().all(|called| *called > 500), "{called:?}");
    peace.holds(&stage, &["disk-dead"]);
    tell(&format!("{called:?} callers"));
}

/// What no attacker can bring about.
const HARM: [&str; 4] = ["elected", "group-granted", "resource-failed", "node-service-died"];
