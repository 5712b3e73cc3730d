//! The made-up clusters the screens are taken from, by name.

use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use stead_model::alert::Track;
use stead_model::amounts::Amounts;
use stead_model::config::{NetworkRole, QuorumMode};
use stead_model::group::{Desired, GroupState};
use stead_model::keys::Phase;
use stead_model::network::{InterfaceState, Subnet};
use stead_model::program::{ClusterLevel, Levels, Program, Version};
use stead_model::resource::{Health, ResourcePolicy, ResourceState};
use stead_model::room::Room;
use stead_model::rules::Priority;
use stead_model::server::VirtualServer;
use stead_model::upkeep::{Drain, Upkeep};
use stead_model::view::{
    AlertView, AwaitedView, InterfaceView, LinkView, NetworkView, NodeState, NodeView, QuorumView,
    ResourceView, RotationView, View,
};
use stead_model::{Epoch, GroupId, LogIndex, NetworkId, NodeId, Term, UtcMillis, VoterId};
use tempfile::TempDir;

use super::{FakeNode, Served};

/// 2026-11-20 11:22:21 UTC.
const NOON: UtcMillis = UtcMillis(1_795_173_741_000);

/// A folder with everything a command line can find, and nothing else.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) nodes: Vec<Arc<FakeNode>>,
    folder: TempDir,
    doors: Vec<PathBuf>,
    held: Vec<UnixListener>,
    served: Option<Served>,
}

impl World {
    /// The world of that name.
    pub(crate) fn named(name: &str) -> Self {
        let mut world = Self::empty();
        match name {
            "nothing" => {}
            "healthy" => world.serve(&[(1, healthy(1)), (2, healthy(2))]),
            "this-machine" => world.serve_here(healthy(1)),
            "minority" => world.serve(&[(1, minority(1))]),
            "one-of-two" => world.serve(&[(1, minority(1)), (2, healthy(2))]),
            "taken-over" => {
                world.serve(&[(1, healthy(1))]);
                world.nodes[0].take_over();
            }
            "two-minorities" => world.serve(&[(1, minority(1)), (2, minority(2))]),
            "trouble" => world.serve(&[(1, trouble())]),
            "set-aside" => world.serve(&[(1, set_aside())]),
            "virtual-server" => world.serve(&[(1, virtual_server())]),
            "administered" => world.serve(&[(1, administered())]),
            "alerting" => world.serve(&[(1, alerting())]),
            "ruled" => world.serve(&[(1, ruled())]),
            "rotating" => world.serve(&[(1, rotating())]),
            "empty" => world.serve(&[(1, without_groups())]),
            "frozen-first" => {
                world.freeze(1);
                world.serve(&[(2, healthy(2))]);
            }
            "two-labs" => {
                world.pretend_lab("east");
                world.pretend_lab("west");
            }
            other => panic!("there is no world `{other}`"),
        }
        world
    }

    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for part in ["host/run/stead", "labs/run", "labs/state"] {
            std::fs::create_dir_all(folder.path().join(part)).unwrap();
        }
        let (nodes, doors, held) = (Vec::new(), Vec::new(), Vec::new());
        Self { nodes, folder, doors, held, served: None }
    }

    fn serve(&mut self, views: &[(u16, View)]) {
        let nodes: Vec<_> =
            views.iter().map(|(number, view)| (*number, FakeNode::new(view.clone()))).collect();
        self.served = Some(Served::start(self.folder.path(), &nodes));
        for (number, node) in nodes {
            node.write("node-down", "node2 is down: its lease is over", None);
            node.write("group-granted", "group web: owner n1, e3", Some(1));
            self.doors.push(self.folder.path().join(format!("n{number}.sock")));
            self.nodes.push(node);
        }
    }

    fn serve_here(&mut self, view: View) {
        self.serve(&[(1, view)]);
        let here = self.folder.path().join("host/run/stead/api.sock");
        std::os::unix::fs::symlink(self.doors.remove(0), here).unwrap();
    }

    /// A node whose kernel takes connections and whose processes do not run.
    fn freeze(&mut self, number: u16) {
        let path = self.folder.path().join(format!("n{number}.sock"));
        self.held.push(UnixListener::bind(&path).unwrap());
        self.doors.push(path);
    }

    /// A lab as far as it can be seen without asking it.
    fn pretend_lab(&mut self, name: &str) {
        let dir = self.folder.path().join("labs/run").join(name);
        std::fs::create_dir_all(&dir).unwrap();
        self.held.push(UnixListener::bind(dir.join("control.sock")).unwrap());
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The program, ready to be run in this world with these words.
    pub(crate) fn stead(&self, words: &[String]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stead"));
        command.args(words).env_clear().current_dir(self.folder()).stdin(Stdio::null());
        command.env("STEAD_ROOT", self.folder().join("host"));
        command.env("STEAD_LAB_HOME", self.folder().join("labs"));
        if !self.doors.is_empty() {
            command.env("STEAD_API", std::env::join_paths(&self.doors).unwrap());
        }
        command
    }
}

fn link(network: u8, name: &str, role: NetworkRole, up: bool) -> LinkView {
    LinkView {
        network: NetworkId(network),
        name: name.into(),
        role,
        up,
        received: 2_095,
        lost: u64::from(!up) * 7,
        loss_permille: if up { 4 } else { 1_000 },
        round_trip_us: Some(312),
        jitter_us: Some(48),
        sent: 2_110,
        unsent: u64::from(!up) * 15,
    }
}

fn node(number: u16, state: NodeState, seen_from: u16) -> NodeView {
    let up = state == NodeState::Up;
    let links = vec![
        link(1, "private", NetworkRole::Private, up),
        link(2, "public", NetworkRole::Mixed, up),
    ];
    NodeView {
        node: NodeId(number),
        name: format!("node{number}"),
        addresses: Vec::new(),
        state,
        votes: true,
        heard_at: None,
        lease_longer: state == NodeState::Down,
        absent: false,
        left: false,
        links: if number == seen_from { Vec::new() } else { links },
        room: Room::default(),
        needed: Amounts::default(),
        program: up.then(|| program(number)),
    }
}

/// The second node has got a later one.
fn program(number: u16) -> Program {
    let (minor, highest) = if number == 2 { (2, 2) } else { (1, 1) };
    let (lowest, highest) = (ClusterLevel::FIRST, ClusterLevel(highest));
    Program { version: Version([0, minor, 0]), levels: Levels { lowest, highest } }
}

/// A network with an interface of each of three nodes; the third one told nothing yet.
fn network(id: u8, name: &str, role: NetworkRole) -> NetworkView {
    let states = [Some(InterfaceState::Up), Some(InterfaceState::Up), None];
    let interface = |(number, state): (u16, Option<InterfaceState>)| InterfaceView {
        node: NodeId(number),
        address: [10, 77, id, number as u8].into(),
        name: state.map(|_| format!("eth{id}")),
        state,
    };
    NetworkView {
        id: NetworkId(id),
        name: name.into(),
        role,
        priority: Priority::default(),
        subnets: vec![Subnet::of([10, 77, id, 0].into(), 24)],
        interfaces: (1..).zip(states).map(interface).collect(),
    }
}

fn resource(name: &str, kind: &str, properties: &[(&str, &str)]) -> ResourceView {
    let properties: BTreeMap<_, _> =
        properties.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    ResourceView {
        resource: name.into(),
        kind: kind.into(),
        state: ResourceState::Online,
        desired: Desired::Online,
        health: Health::Good,
        detail: None,
        restarts: 0,
        depends_on: Vec::new(),
        properties,
        policy: ResourcePolicy::default(),
        possible_owners: Vec::new(),
        used: None,
    }
}

fn healthy(seen_from: u16) -> View {
    let mut web = stead_api::document::example_group("web");
    web.epoch = Epoch(3);
    web.why = "n1 owns it because n2 was down".into();
    let address = resource("ip", "ip-address", &[("address", "10.77.2.100/24")]);
    let mut program = resource("httpd", "generic-application", &[("command", "httpd -f")]);
    program.depends_on = vec!["ip".into()];
    program.possible_owners = vec![NodeId(1), NodeId(2)];
    web.resources = vec![address, program];
    View {
        cluster: "demo".into(),
        node: NodeId(seen_from),
        version: "0.1.0".into(),
        at: NOON,
        troubles: Vec::new(),
        quorum: QuorumView {
            mode: Some(QuorumMode::NodeAndDiskMajority),
            has_quorum: true,
            lost_since: None,
            lacks: None,
            leader: Some(VoterId(2)),
            term: Term(5),
            voters: vec![VoterId(1), VoterId(2), VoterId(VoterId::DISK_FIRST)],
            disk_host: Some(NodeId(2)),
            disk_state: Some("serving".into()),
            database_limit_bytes: 16 << 20,
            forced: None,
            forcing: None,
        },
        nodes: (1..=3).map(|number| node(number, NodeState::Up, seen_from)).collect(),
        networks: vec![
            network(1, "private", NetworkRole::Private),
            network(2, "public", NetworkRole::Mixed),
        ],
        groups: vec![web],
        applied: LogIndex(13),
        ..View::default()
    }
}

/// A virtual server as in the textbook, beside a group that is none.
fn virtual_server() -> View {
    let mut view = healthy(1);
    let mut files = stead_api::document::example_group("files");
    let address = resource("files-address", "ip-address", &[("address", "10.0.0.25/24")]);
    let given = [("host-name", "VirtualServer"), ("zone", "nwtraders.example")];
    let mut name = resource("files-name", "network-name", &given);
    name.depends_on = vec!["files-address".into()];
    files.resources = vec![address, name];
    files.servers = vec![VirtualServer {
        name: Some("VirtualServer".into()),
        domain: Some("nwtraders.example".into()),
        addresses: vec!["10.0.0.25".parse().unwrap()],
    }];
    view.groups.insert(0, files);
    view
}

/// A cluster with an IP address and a name of its own.
fn administered() -> View {
    let mut view = healthy(1);
    let mut own = stead_api::document::example_group("cluster");
    own.owner = Some(NodeId(2));
    let address = resource("cluster-ip", "ip-address", &[("address", "10.77.2.10/24")]);
    let given = [("host-name", "demo"), ("zone", "example.org"), ("dns-servers", "10.77.2.53")];
    let mut name = resource("cluster-name", "network-name", &given);
    name.depends_on = vec!["cluster-ip".into()];
    own.resources = vec![address, name];
    own.servers = vec![VirtualServer {
        name: Some("demo".into()),
        domain: Some("example.org".into()),
        addresses: vec!["10.77.2.10".parse().unwrap()],
    }];
    view.groups.insert(0, own);
    view
}

/// A group whose resources need each other criss-cross, and all kinds of upkeep.
fn set_aside() -> View {
    let mut view = healthy(1);
    let group = || GroupId::from("web");
    let until = UtcMillis(NOON.0 + 7_200_000);
    view.upkeep = vec![
        Upkeep::Pause { node: NodeId(3), drain: Drain::Yes },
        Upkeep::Quarantine { node: NodeId(2), until },
        Upkeep::Pin { group: group(), node: NodeId(1), until },
        Upkeep::Maintain { group: group(), resource: Some("ip".into()), until },
    ];
    let mut disk = resource("data", "physical-disk", &[("disk", "/dev/lun")]);
    disk.depends_on = vec!["ip".into()];
    let web = &mut view.groups[0];
    web.resources.insert(1, disk);
    web.resources[2].depends_on = vec!["data".into(), "ip".into()];
    web.resources.push(resource("mailer", "dummy", &[]));
    view
}

/// A group waits for room, another runs beside one that it must not run beside.
fn ruled() -> View {
    let amounts = |text: &str| Amounts::parse(text).unwrap();
    let mut view = healthy(1);
    view.nodes[1].room.capacity = amounts("cpu=16,memory=64G,licence=2");
    view.nodes[1].room.local.insert("dns".into(), amounts("memory=512M"));
    view.nodes[1].needed = amounts("cpu=3.5,memory=12G,licence=2");
    let web = &mut view.groups[0];
    let rules = [("anti-affinity-required", "db"), ("priority", "high")];
    let rules = rules.map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
    web.policy.set_all(&rules.into()).unwrap();
    web.against = Some(
        "it runs beside `db` against its required anti-affinity, until a node may take it".into(),
    );
    let mut crm = stead_api::document::example_group("crm");
    (crm.state, crm.owner) = (GroupState::Offline, None);
    crm.why = "nobody owns it: no node may take it now".into();
    crm.waits = Some(
        "no node may take it now: n1: not enough memory: it needs 8G, 2G is left; n2: \
         required anti-affinity with `db`, which is there"
            .into(),
    );
    let rules = [("demand-required", "memory=8G"), ("start-after", "db")];
    let rules = rules.map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
    crm.policy.set_all(&rules.into()).unwrap();
    view.groups.push(crm);
    view
}

/// Two alerts, one of which fails.
fn alerting() -> View {
    let mut view = healthy(1);
    let alert = |name: &str, given: &[(&str, &str)], track: Track| AlertView {
        alert: name.into(),
        properties: given.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        track,
    };
    let ops = [
        ("webhook", "http://10.0.0.9:8080/stead"),
        ("level", "info"),
        ("codes", "group-granted,group-failed"),
        ("timeout", "10s"),
    ];
    let pager = [
        ("command", "/usr/local/bin/page --team web"),
        ("level", "error"),
        ("groups", "web"),
        ("timeout", "5s"),
    ];
    let well = Track { last_success: Some(NOON), ..Track::default() };
    let failing = Track {
        last_success: Some(UtcMillis(NOON.0 - 60_000)),
        last_failure: Some(NOON),
        why: Some("`/usr/local/bin/page` ended with exit status: 1: no such team".into()),
        waiting: 3,
        dropped: 0,
    };
    view.alerts = vec![alert("ops", &ops, well), alert("pager", &pager, failing)];
    view
}

/// New keys follow, and n3 has not got them.
fn rotating() -> View {
    let mut view = healthy(1);
    view.nodes[2] = node(3, NodeState::Down, 1);
    let why = "it is silent".to_owned();
    let awaited = vec![AwaitedView { node: NodeId(3), why }];
    view.rotation =
        Some(RotationView { number: 4, phase: Phase::Known, maker: NodeId(1), awaited });
    view
}

fn minority(seen_from: u16) -> View {
    let mut view = healthy(seen_from);
    view.quorum.has_quorum = false;
    view.quorum.lost_since = Some(NOON);
    view.quorum.lacks = Some(
        "1 of 3 votes answer, n2 is silent, no node hosts the quorum disk (cannot \
         be read: I/O error)"
            .into(),
    );
    view.quorum.leader = None;
    view.quorum.disk_host = None;
    view.quorum.disk_state = None;
    view.nodes = (1..=3).map(|number| node(number, NodeState::Isolated, seen_from)).collect();
    view.groups[0].state = GroupState::Unknown;
    view
}

fn trouble() -> View {
    let mut view = healthy(1);
    view.nodes[1] = node(2, NodeState::Down, 1);
    view.nodes[2].links[0].up = false;
    let cable = &mut view.networks[1].interfaces[2];
    (cable.name, cable.state) = (Some("eth2".into()), Some(InterfaceState::NoCarrier));
    view.quorum.disk_host = None;
    view.quorum.disk_state = Some("`disk` is empty: it is not formatted".into());
    view.troubles = vec!["the guard of n1 does not answer".into()];
    let web = &mut view.groups[0];
    web.state = GroupState::Failed;
    web.failed = Some("6 failovers within 10 h".into());
    web.resources[1].state = ResourceState::Failed;
    web.resources[1].health = Health::Bad;
    web.resources[1].detail = Some("`httpd` ended with exit code 1".into());
    view
}

fn without_groups() -> View {
    let mut view = healthy(1);
    view.groups.clear();
    view
}
