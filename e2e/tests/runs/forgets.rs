//! What a host keeps of a cluster that it is in no more: nothing, however it went. Its group has a
//! disk that is reserved, an address, and a program that takes its time to end there. The commands
//! are killed and repeated, the node loses its service, the host is installed anew.

use std::fs;

use e2e::hosts::QUORUM;
use e2e::processes::{self, Role};
use e2e::{Hosts, Machine, SharedDisk, tell, until};
use rustix::process::Signal;
use stead_model::NodeId;

/// The address of the group.
const ADDRESS: &str = "10.90.1.50";
const POINT: &str = "/srv/books";
/// On the second host the program ignores that it is asked to end: its group takes this long to go.
const GROUP: &str = r#"
[group]
name = "books"

[[resource]]
name = "disk"
type = "physical-disk"
disk = "/dev/stead/data"
mount-point = "/srv/books"

[[resource]]
name = "address"
type = "ip-address"
address = "10.90.1.50/24"

[[resource]]
name = "keeper"
type = "generic-application"
depends-on = ["disk", "address"]
command = """/bin/sh -c 'test $(uname -n) = beta && trap "" TERM; \
    echo $STEAD_EPOCH >>/srv/books/epochs; exec sleep 100000'"""
stop-timeout = "10s"
"#;
/// Stopping the node takes longer than killing who has it stopped.
const SLOW: &str = "[Service]\nExecStopPost=/bin/sleep 2\n";
/// Where a command that nobody waits for says what it does.
const SAID: &str = "var/tmp/said";

/// Two hosts and their disk. Fields end in this order.
struct Books {
    hosts: Hosts,
    disk: SharedDisk,
}

/// A host as the disk calls it.
fn number(host: usize) -> NodeId {
    NodeId(u16::try_from(host + 1).unwrap())
}

/// The node that a host was let in as, by what `join` told.
fn let_in_as(told: &str) -> String {
    let (_, node) = told.split_once(" let this host in as ").expect(told);
    node.lines().next().unwrap().to_owned()
}

impl Books {
    /// A cluster of the first host, with the group.
    fn open() -> Self {
        let hosts = Hosts::up(&["alpha", "beta"]);
        // Room for eight nodes: none gets the number of a former one.
        hosts.share(QUORUM, 1 << 30);
        hosts.all[1].write("etc/systemd/system/stead.service.d/slow.conf", SLOW);
        hosts.all[1].must(&["systemctl", "daemon-reload"]);
        let books = Self { hosts, disk: SharedDisk::new("data") };
        for host in 0..books.hosts.all.len() {
            books.connect(host);
        }
        books.hosts.must(0, &["cluster", "create", "office", "--quorum-disk", QUORUM]);
        books.hosts.declares(0, GROUP);
        assert!(books.serves(0), "{:?}", books.disk.registered());
        books
    }

    fn connect(&self, host: usize) {
        self.disk.connect(&self.hosts.all[host], number(host).0);
    }

    fn mounted(&self, host: usize) -> bool {
        let table = self.hosts.all[host].must(&["cat", "/proc/self/mounts"]);
        table.lines().any(|line| line.split(' ').nth(1) == Some(POINT))
    }

    /// Whether a host has the address and the disk, and the disk is its alone.
    fn serves(&self, host: usize) -> bool {
        let alone = (vec![number(host)], Some(number(host)));
        self.hosts.has(host, ADDRESS) && self.mounted(host) && self.disk.registered() == alone
    }

    /// How often the program began, as the disk has it.
    fn epochs(&self, host: usize) -> usize {
        self.hosts.all[host].must(&["cat", "/srv/books/epochs"]).lines().count()
    }

    /// The second host joins and gets the group; as which node.
    fn joins(&self) -> String {
        let node = let_in_as(&self.hosts.joins(1));
        self.gets_the_group();
        node
    }

    fn gets_the_group(&self) {
        self.hosts.all_vote(0, 2);
        self.hosts.all_vote(1, 2);
        let began = self.epochs(0);
        self.hosts.must(0, &["group", "move", "books", "--to", "beta", "--wait"]);
        assert!(self.serves(1) && !self.mounted(0), "{:?}", self.disk.registered());
        until("the program runs with what was written", || self.epochs(1) == began + 1);
    }

    /// Somebody types a command and does not wait for it; its process.
    fn begins(&self, host: usize, words: &str) -> String {
        let script = format!("rm -f /{SAID}; stead {words} >/{SAID} 2>&1 & echo $!");
        self.hosts.all[host].must(&["sh", "-c", &script]).trim().to_owned()
    }

    /// The second host begins to leave: when this returns its group is on its way.
    fn begins_to_leave(&self) -> String {
        let leave = self.begins(1, "cluster leave");
        let said = self.hosts.all[1].path(SAID);
        until("the cluster was told", || {
            fs::read_to_string(&said).is_ok_and(|text| text.contains("leaves for good"))
        });
        assert!(self.mounted(1), "the group is gone already");
        leave
    }

    /// Kills a command; whether it had not ended by itself.
    fn kills(&self, host: usize, command: &str) -> bool {
        self.hosts.all[host].run(&["sh", "-c", &format!("kill -KILL {command}")]).code == 0
    }

    fn is_alone(&self) -> bool {
        self.hosts.status(0)["nodes"].as_array().is_some_and(|nodes| nodes.len() == 1)
    }

    /// The first host serves alone, and nothing is left on the second one.
    fn has_left(&self) {
        self.hosts.assert_gone(1, ADDRESS);
        assert!(!self.mounted(1));
        until("the first host serves", || self.serves(0));
        until("one node is left", || self.is_alone());
        self.hosts.all_vote(0, 1);
    }
}

#[test]
fn nothing_stays_on_a_host_that_goes_however_often_that_is_interrupted() {
    if let Some(why) = Machine::lacks().or_else(SharedDisk::lacks) {
        tell(&format!("SKIPPED: no machines that share a disk: {why}"));
        return;
    }
    let mut books = Books::open();
    books.joins();
    killed_twice(&books);
    books.joins();
    without_service(&books);
    books.joins();
    evicted(&books);
    let node = books.joins();
    installed_anew(&mut books, &node);
    // Nobody interrupts the last one, and the end of the cluster.
    books.hosts.must(1, &["cluster", "leave"]);
    books.has_left();
    books.hosts.must(0, &["cluster", "destroy", "office"]);
    books.hosts.assert_gone(0, ADDRESS);
    assert!(!books.mounted(0));
    assert_eq!(books.disk.registered(), (Vec::new(), None), "a reservation is left");
}

/// Leaving is killed while the group is on its way, and again while the node is stopped.
fn killed_twice(books: &Books) {
    let hosts = &books.hosts;
    let first = books.begins_to_leave();
    assert!(books.kills(1, &first));
    let second = books.begins_to_leave();
    let plan = hosts.all[1].path("etc/stead/plan.json");
    until("the node is being removed", || plan.exists());
    assert!(books.kills(1, &second) && plan.exists());
    let joined = hosts.stead(1, &["cluster", "join", "no-token"]);
    let why = "cluster `office` is being destroyed on this host";
    assert!(joined.code == 1 && joined.err.contains(why), "{}{}", joined.out, joined.err);
    hosts.must(1, &["cluster", "leave"]);
    books.has_left();
}

/// The node loses its service while it leaves, and nobody waits for the command any more: it goes
/// all the same. Typed again later, the command ends here, or says how that is done.
fn without_service(books: &Books) {
    let hosts = &books.hosts;
    let leave = books.begins_to_leave();
    processes::signal(hosts.all[1].find(Role::Service), Signal::KILL);
    // It may have ended by itself: nobody answered.
    let _ = books.kills(1, &leave);
    until("the first host serves", || books.serves(0));
    until("one node is left", || books.is_alone());
    let again = hosts.stead(1, &["cluster", "leave"]);
    if again.code != 0 {
        // Nobody told the node that it is no member any more.
        let hint = "on another node does not show this one any more: `stead cluster leave --force`";
        assert!(again.err.contains(hint), "{}{}", again.out, again.err);
        hosts.must(1, &["cluster", "leave", "--force"]);
    }
    books.has_left();
}

/// Whoever has a node evicted is killed; the next one waits for the same end, and the one after
/// that comes too late. Then what is left on the host is cleared.
fn evicted(books: &Books) {
    let hosts = &books.hosts;
    let evict = books.begins(0, "node evict beta");
    until("it leaves for good", || {
        let view = hosts.status(0);
        let mut nodes = view["nodes"].as_array().into_iter().flatten();
        nodes.any(|node| node["name"] == "beta" && node["left"] == true)
    });
    assert!(books.kills(0, &evict), "it ended before the node was gone");
    let again = hosts.must(0, &["node", "evict", "beta"]).out;
    assert!(again.contains("is no member any more"), "{again}");
    let late = hosts.stead(0, &["node", "evict", "beta"]);
    assert!(late.code == 1 && late.err.contains("there is no node `beta`"), "{}", late.err);
    hosts.must(1, &["cluster", "leave", "--force"]);
    books.has_left();
}

/// A host loses its disk while it is a member: the other one takes the group over. Installed anew
/// it is told what it was, by its name and by its addresses, and comes back as another node.
fn installed_anew(books: &mut Books, node: &str) {
    books.hosts.all[1].kill();
    until("the first host took it over", || books.serves(0));
    for folder in ["etc/stead", "var/lib/stead"] {
        fs::remove_dir_all(books.hosts.all[1].path(folder)).unwrap();
    }
    books.hosts.boot(1);
    books.connect(1);
    let hosts = &books.hosts;
    let token = hosts.token(0);
    let evict = format!("stead node evict {node}");
    let refused = |why: &str, hint: &str| {
        let said = hosts.stead(1, &["cluster", "join", &token]);
        let fits = said.code == 1 && said.err.contains(why) && said.err.contains(hint);
        assert!(fits, "{}{}", said.out, said.err);
    };
    refused(&format!("{node} is called `beta`, too"), &evict);
    hosts.all[1].must(&["hostname", "gamma"]);
    refused(&format!("{node} has the address 10.90.1.2"), "stead node evict");
    hosts.all[1].must(&["hostname", "beta"]);
    assert!(books.serves(0) && !books.mounted(1));
    hosts.must(0, &["node", "evict", node]);
    let told = hosts.must(1, &["cluster", "join", &token]).err;
    assert_ne!(let_in_as(&told), node, "{told}");
    books.gets_the_group();
}
