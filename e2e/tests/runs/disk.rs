//! A disk of the lab, reserved for its group: it moves, and is taken over from an owner that lost
//! power, is frozen, lost its path, hangs, or lost its guard. Judged by the disk itself (who wrote
//! when, who was refused), by the lines of a scribe on it, and by the client.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use e2e::{Roles, World, other, rounds, tell, until, wait};
use stead_lab::disks::{self, Condition, Deed, Happened};
use stead_lab::scribe::{self, Line};
use stead_lab::{Station, boot_ns};
use stead_model::group::{Desired, GroupPolicy};
use stead_model::request::Request;
use stead_model::reservation::{Answer, Key, Request as DiskRequest};
use stead_model::resource::{Health, ResourceState};
use stead_model::view::SafetyLevel;
use stead_model::{NodeId, ResourceId};

const DISK: &str = "data";
const GROUP: &str = "db";
const POINT: &str = "/data";

/// A lab with a disk, and a group that writes to it.
struct Books {
    world: World,
}

impl Books {
    /// `None` where there are no lab disks.
    fn open(name: &str) -> Option<Self> {
        Self::open_with(name, &[])
    }

    /// With these properties of the disk.
    fn open_with(name: &str, properties: &[(&str, &str)]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            tell("skipped: only root has lab disks");
            return None;
        }
        let world = World::with(name, |options| options.disks = vec![DISK.into()]);
        let books = Self { world };
        books.create(properties);
        Some(books)
    }

    fn create(&self, properties: &[(&str, &str)]) {
        let world = &self.world;
        let policy = GroupPolicy { failover_threshold: 1000, ..GroupPolicy::default() };
        world.ask(&Request::CreateGroup { group: GROUP.into(), policy });
        self.desire(Desired::Offline);
        let device = format!("{}/{DISK}", disks::DEVICE_DIR);
        let mut disk = vec![("disk", device.as_str()), ("mount-point", POINT)];
        disk.extend(properties);
        let address = format!("{}/24", stead_lab::Network::Public.address(120));
        let command = format!("/run/lab/bin/stead {} {POINT}/lines", scribe::SUBCOMMAND);
        let resources = [
            ("db-disk", "physical-disk", disk),
            ("db-address", "ip-address", vec![("address", address.as_str())]),
            (
                "db-scribe",
                "generic-application",
                vec![("command", command.as_str()), ("stop-timeout", "1s")],
            ),
        ];
        for (resource, kind, given) in resources {
            let given = given.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            world.ask(&Request::CreateResource {
                group: GROUP.into(),
                resource: resource.into(),
                kind: kind.into(),
                properties: given.collect::<BTreeMap<_, _>>(),
            });
        }
        let depends_on = ["db-disk", "db-address"].map(ResourceId::from).into();
        world.ask(&Request::SetDependencies { resource: "db-scribe".into(), depends_on });
        self.desire(Desired::Online);
        world.online(GROUP, self.owner());
    }

    fn desire(&self, desired: Desired) {
        self.world.ask(&Request::SetGroupDesired { group: GROUP.into(), desired });
    }

    /// Waits until all is well and the owner writes.
    fn settled(&self) -> NodeId {
        let _ = Roles::settled(&self.world);
        let owner = self.owner();
        self.written_after(owner, 0);
        owner
    }

    /// Waits until somebody owns the group and serves it.
    fn owner(&self) -> NodeId {
        wait("an owner", || {
            let node = self.world.lab().record().node_ids().next().unwrap();
            let group = self.world.group(node, GROUP);
            let online = group.state.word() == "online";
            if online { group.owner.ok_or_else(String::new) } else { Err(format!("{group:?}")) }
        })
    }

    /// The lines as the owner reads it.
    fn lines(&self, owner: NodeId) -> Result<Vec<Line>, String> {
        let words = ["cat", &format!("{POINT}/lines")].map(str::to_owned);
        let mut command = self.world.lab().command(Station::Node(owner), &words).unwrap();
        let output = command.output().unwrap();
        if !output.status.success() {
            return Err(format!("{owner}: {}", String::from_utf8_lossy(&output.stderr)));
        }
        let text = String::from_utf8(output.stdout).unwrap();
        // The last line may be on its way.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        scribe::parse(whole)
    }

    /// Waits until the owner has written a line after a moment; when the first one was.
    fn written_after(&self, owner: NodeId, boot_ns: u64) -> u64 {
        wait(&format!("{owner} writes"), || {
            let lines = self.lines(owner)?;
            let mut later = lines.iter().filter(|l| l.boot_ns > boot_ns);
            let line = later.find(|line| line.node == u64::from(owner.0));
            line.map(|line| line.boot_ns).ok_or_else(|| format!("{:?}", lines.last()))
        })
    }

    /// No line of an owner behind the first one of the next, and one node per epoch: then no
    /// fenced owner's write is in the file.
    fn judge_lines(&self, owner: NodeId) {
        let lines = self.lines(owner).unwrap();
        assert!(!lines.is_empty());
        for pair in lines.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            assert!(a.epoch <= b.epoch, "{b:?} stands behind {a:?}");
            assert!(a.epoch != b.epoch || a.node == b.node, "one epoch on two nodes: {a:?} {b:?}");
            assert!(a.boot_ns < b.boot_ns, "{b:?} was written before {a:?}");
        }
    }

    /// Every write came from the one registered node, and from nobody else until the next one had
    /// the reservation.
    fn judge_disk(&self) -> Vec<Happened> {
        let history = disks::history(self.world.lab().record(), DISK).unwrap();
        for happened in &history {
            let alone = happened.registered == [happened.node];
            let holds = happened.holder == Some(happened.node);
            match happened.what {
                Deed::Wrote => assert!(alone && holds, "{happened}"),
                Deed::Refused => assert!(!holds, "{happened}"),
                Deed::Asked(_) => {}
            }
        }
        history
    }

    fn judge(&self, owner: NodeId) {
        self.judge_lines(owner);
        self.judge_disk();
    }
}

#[test]
fn disk_moves_with_its_group() {
    let Some(books) = Books::open("disk-move") else { return };
    let world = &books.world;
    for _ in 0..rounds() {
        let owner = books.settled();
        let group = world.group(owner, GROUP);
        assert_eq!(group.safety, SafetyLevel::A, "{}", group.safety_why);
        let begun_ns = boot_ns();
        world.place(GROUP, other(owner));
        let first_ns = books.written_after(other(owner), begun_ns);
        tell(&format!("{} writes {} ms later", other(owner), (first_ns - begun_ns) / 1_000_000));
        books.judge(other(owner));
    }
    let owner = books.owner();
    books.desire(Desired::Offline);
    wait("the group is offline", || {
        let state = world.group(owner, GROUP).state.word();
        if state == "offline" { Ok(()) } else { Err(state.to_owned()) }
    });
    let last = books.judge_disk().pop().unwrap();
    assert!(last.registered.is_empty() && last.holder.is_none(), "not given back: {last}");
}

#[test]
fn disk_is_taken_over_from_an_owner_without_power() {
    let Some(books) = Books::open("disk-crash") else { return };
    for _ in 0..rounds() {
        let owner = books.settled();
        let heir = other(owner);
        let crashed_ns = books.world.crash(owner);
        books.world.taken_over(GROUP, heir);
        let first_ns = books.written_after(heir, crashed_ns);
        tell(&format!("{heir} writes {} ms after the crash", (first_ns - crashed_ns) / 1_000_000));
        books.judge(heir);
        books.world.start(owner);
    }
}

#[test]
fn disk_refuses_a_frozen_owner_that_thaws() {
    let Some(books) = Books::open("disk-freeze") else { return };
    for _ in 0..rounds().div_ceil(3) {
        let owner = books.settled();
        let heir = other(owner);
        let frozen_ns = books.world.lab().freeze(owner).unwrap();
        books.world.taken_over(GROUP, heir);
        let first_ns = books.written_after(heir, frozen_ns);
        wait("5 s", || if boot_ns() >= frozen_ns + FROZEN_NS { Ok(()) } else { Err("".into()) });
        books.world.lab().thaw(owner).unwrap();
        let _ = Roles::settled(&books.world);
        tell(&format!("{heir} writes {} ms after the freeze", (first_ns - frozen_ns) / 1_000_000));
        until("the former owner has let go of the disk", || !mounted(&books.world, owner));
        books.judge(heir);
    }
}

const FROZEN_NS: u64 = 5_000_000_000;

#[test]
fn disk_path_that_fails_moves_the_group() {
    let Some(books) = Books::open("disk-path") else { return };
    for _ in 0..rounds() {
        let owner = books.settled();
        let heir = other(owner);
        let failed_ns = books.world.lab().set_disk(owner, DISK, Condition::Failing).unwrap();
        books.world.taken_over(GROUP, heir);
        let first_ns = books.written_after(heir, failed_ns);
        tell(&format!("{heir} writes {} ms after the loss", (first_ns - failed_ns) / 1_000_000));
        books.judge(heir);
        books.world.lab().set_disk(owner, DISK, Condition::Healthy).unwrap();
        until("the former owner has let go of the disk", || !mounted(&books.world, owner));
    }
}

#[test]
fn disk_goes_with_its_guard() {
    let mut left = rounds();
    while left > 0 {
        let Some(books) = Books::open("disk-guard") else { return };
        let here = left.min(GUARDS_PER_LAB);
        (0..here).for_each(|_| kill_the_owners_guard(&books));
        left -= here;
    }
}

/// A fifth end within 10 s is one too many for PID 1 of a node, as it is for systemd.
const GUARDS_PER_LAB: usize = 4;

fn kill_the_owners_guard(books: &Books) {
    let owner = books.settled();
    let epoch = books.world.group(owner, GROUP).epoch;
    let guard = e2e::processes::find(&books.world, owner, e2e::processes::Role::Guard);
    let killed_ns = boot_ns();
    e2e::processes::signal(guard, rustix::process::Signal::KILL);
    let heir = wait("the group is online in a new epoch", || {
        let group = books.world.group(other(owner), GROUP);
        let online = group.state.word() == "online" && group.epoch > epoch;
        if online { group.owner.ok_or_else(String::new) } else { Err(format!("{group:?}")) }
    });
    let first_ns = books.written_after(heir, killed_ns);
    let ms = (first_ns - killed_ns) / 1_000_000;
    tell(&format!("{heir} writes {ms} ms after the guard of {owner} was killed"));
    books.judge(heir);
    let gone = || heir == owner || !mounted(&books.world, owner);
    until("nothing is mounted where it does not run", gone);
}

#[test]
fn disk_that_hangs_moves_the_group_and_leaves_a_dirty_node() {
    let given = [("hang-limit", "2s"), ("looks-alive", "500ms")];
    let Some(books) = Books::open_with("disk-hang", &given) else { return };
    let world = &books.world;
    for _ in 0..rounds().div_ceil(5) {
        let owner = books.settled();
        let heir = other(owner);
        let hung_ns = world.lab().set_disk(owner, DISK, Condition::Hanging).unwrap();
        // After three stops in vain the node gives the group up, and must stop altogether.
        for code in ["resource-stop-failed", "self-fence"] {
            wait(&format!("the record {code}"), || {
                let records = world.records(owner);
                let found = records.iter().find(|r| r.code == code && r.boot_ns > hung_ns);
                found.map(|_| ()).ok_or_else(|| format!("{:?}", records.last()))
            });
        }
        world.taken_over(GROUP, heir);
        let first_ns = books.written_after(heir, hung_ns);
        tell(&format!("{heir} writes {} ms after the disk hung", (first_ns - hung_ns) / 1_000_000));
        books.judge(heir);
        // What the former owner cannot let go of keeps it from asking for a lease, and it says so.
        let told = wait("the former owner is dirty, or clean", || {
            let view = world.cluster().view(owner).map_err(|error| error.to_string())?;
            if view.quorum.has_quorum && !mounted(world, owner) {
                return Ok(String::from("it could let go"));
            }
            let dirty = view.troubles.iter().find(|trouble| trouble.contains("is dirty"));
            dirty.cloned().ok_or_else(|| format!("{:?}", view.troubles))
        });
        tell(&told);
        world.lab().set_disk(owner, DISK, Condition::Healthy).unwrap();
        let _ = Roles::settled(world);
        until("nothing is mounted on the former owner", || !mounted(world, owner));
        books.judge(books.settled());
    }
}

#[test]
fn disk_stays_when_monitor_or_service_die_and_when_stead_is_upgraded() {
    use e2e::processes::Role;
    use rustix::process::Signal;
    let Some(books) = Books::open("disk-adopted") else { return };
    let blows =
        [(Role::Monitor, Signal::KILL), (Role::Service, Signal::KILL), (Role::Guard, Signal::HUP)];
    for (role, signal) in blows {
        let owner = books.settled();
        let epoch = books.world.group(owner, GROUP).epoch;
        let monitor = e2e::processes::find(&books.world, owner, Role::Monitor);
        let victim = e2e::processes::find(&books.world, owner, role);
        let killed_ns = boot_ns();
        e2e::processes::signal(victim, signal);
        if role != Role::Service {
            until("another monitor", || {
                let found = e2e::processes::all(&books.world, owner, Role::Monitor);
                found.first().is_some_and(|pid| *pid != monitor)
            });
        }
        wait("all is adopted and checked", || {
            let group = books.world.cluster().view(owner).map_err(|error| error.to_string())?;
            let group = group.groups.into_iter().find(|g| g.group.as_str() == GROUP);
            let resources = group.map(|group| group.resources).unwrap_or_default();
            let good = |r: &stead_model::view::ResourceView| {
                r.health == Health::Good && r.state == ResourceState::Online
            };
            let all = !resources.is_empty() && resources.iter().all(good);
            if all { Ok(()) } else { Err(format!("{resources:?}")) }
        });
        books.written_after(owner, boot_ns());
        assert_eq!(books.world.group(owner, GROUP).epoch, epoch, "it moved");
        let lines = books.lines(owner).unwrap();
        let later: Vec<_> = lines.iter().filter(|line| line.boot_ns > killed_ns).collect();
        let gap = later.windows(2).map(|pair| pair[1].boot_ns - pair[0].boot_ns).max().unwrap();
        tell(&format!("{role:?}: the writer paused for at most {} ms", gap / 1_000_000));
        books.judge(owner);
    }
    // What was handed on serves: the disk can be let go of, by a move and by a hard stop.
    let owner = books.settled();
    books.world.place(GROUP, other(owner));
    books.world.place(GROUP, owner);
    books.judge(books.settled());
    let frozen_ns = books.world.lab().freeze(owner).unwrap();
    books.world.taken_over(GROUP, other(owner));
    books.world.lab().thaw(owner).unwrap();
    books.written_after(other(owner), frozen_ns);
    until("the former owner has let go of the disk", || !mounted(&books.world, owner));
    books.judge(books.settled());
}

#[test]
fn disk_of_a_stranger_is_left_alone() {
    let Some(books) = Books::open("disk-stranger") else { return };
    let world = &books.world;
    let owner = books.settled();
    books.desire(Desired::Offline);
    wait("the group is offline", || {
        let state = world.group(owner, GROUP).state.word();
        if state == "offline" { Ok(()) } else { Err(state.to_owned()) }
    });
    // A host outside the cluster takes the disk.
    let stranger = Key(0xbad);
    for request in [DiskRequest::Register { key: stranger }, DiskRequest::Reserve { key: stranger }]
    {
        assert_eq!(ask_disk(world, owner, request), Answer::Done);
    }
    books.desire(Desired::Online);
    let why = wait("the group has failed", || {
        let group = world.group(owner, GROUP);
        group.failed.ok_or_else(|| format!("{:?}", group.state))
    });
    assert!(why.contains("db-disk") && why.contains("cannot be reserved"), "{why}");
    assert!(why.contains("key 0x0000000000000bad is registered on it"), "{why}");
    let last = disks::history(world.lab().record(), DISK).unwrap().pop().unwrap();
    assert_eq!(last.what, Deed::Asked(DiskRequest::Reserve { key: stranger }), "{last}");
}

/// Asks the disk over a node's path, as any program there could.
fn ask_disk(world: &World, node: NodeId, request: DiskRequest) -> Answer {
    let root = format!("/proc/{}/root", world.pid_of(node));
    let socket = format!("{root}{}/{DISK}.sock", disks::SOCKET_DIR);
    let mut stream = UnixStream::connect(socket).unwrap();
    let line = serde_json::to_string(&request).unwrap();
    writeln!(stream, "{line}").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

/// Whether the disk is mounted on a node.
fn mounted(world: &World, node: NodeId) -> bool {
    let pid = world.pid_of(node);
    let table = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    table.lines().any(|line| line.split(' ').nth(4) == Some(POINT))
}
