//! Real node services on the loopback device: real sockets, real logs, the real API. Only the
//! guard is the test's own: it speaks the guard's frames and runs nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use stead_api::{Client, ClientError};
use stead_core::format;
use stead_journal::Geometry;
use stead_model::config::{
    NetworkEntry, NetworkRole, NodeAddress, NodeConfig, NodeEntry, QuorumConfig, QuorumDisk,
    QuorumMode,
};
use stead_model::order::{GuardOrder, GuardReport, GuardStatus};
use stead_model::profile::Profile;
use stead_model::reason::Code;
use stead_model::request::Request;
use stead_model::view::View;
use stead_model::wire::codec;
use stead_model::wire::guard::{GuardToNode, NodeToGuard};
use stead_model::{Incarnation, LeaseNumber, LogIndex, NetworkId, NodeId, RequestId, VoterId};
use stead_node::{Ending, Handle, Paths, Service, Settings};
use tempfile::TempDir;

const WAIT: Duration = Duration::from_secs(60);
const KEY: [u8; 32] = [7; 32];

/// Tests share the machine's processor: one cluster at a time keeps real time real.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The guard of the test: keeps the lease, tells what it was told, runs nothing.
fn guard(mut socket: UnixStream, last: LeaseNumber) -> JoinHandle<LeaseNumber> {
    std::thread::spawn(move || {
        let mut status = GuardStatus {
            incarnation: Incarnation(1),
            lease: None,
            lease_last: last,
            stopping: false,
            admitted: Vec::new(),
            own_monitors: Vec::new(),
        };
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            while let Some((message, used)) = codec::decode::<NodeToGuard>(&bytes).unwrap() {
                bytes.drain(..used);
                let answers = answers(message, &mut status);
                let frames: Vec<u8> = answers.iter().flat_map(codec::encode).collect();
                // The service may have ended; the next read tells.
                let _ = socket.write_all(&frames);
            }
            match socket.read(&mut piece) {
                Ok(n) if n > 0 => bytes.extend_from_slice(&piece[..n]),
                Ok(_) | Err(_) => return status.lease_last,
            }
        }
    })
}

fn answers(message: NodeToGuard, status: &mut GuardStatus) -> Vec<GuardToNode> {
    match message {
        NodeToGuard::Hello { .. } | NodeToGuard::Status => {
            vec![GuardToNode::Status(status.clone())]
        }
        NodeToGuard::Order(GuardOrder::Lease { number, until }) => {
            status.lease = Some((number, until));
            status.lease_last = status.lease_last.max(number);
            vec![GuardToNode::Report(GuardReport::LeaseSet { number, until })]
        }
        NodeToGuard::Order(GuardOrder::HardStop { why }) => {
            let lease = status.lease_last;
            let began = GuardReport::HardStopBegan { lease, why };
            let done = GuardReport::HardStopDone { lease };
            vec![GuardToNode::Report(began), GuardToNode::Report(done)]
        }
        // There are no monitors.
        NodeToGuard::OwnMonitor(_)
        | NodeToGuard::EndOwnMonitor(_)
        | NodeToGuard::Replace { .. } => Vec::new(),
    }
}

/// One node with its folders and, while it runs, its service.
struct Node {
    root: PathBuf,
    config: NodeConfig,
    running: Option<Running>,
    last: LeaseNumber,
}

struct Running {
    handle: Handle,
    service: JoinHandle<Ending>,
    guard: JoinHandle<LeaseNumber>,
}

impl Node {
    fn start(&mut self) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let guard = guard(theirs, self.last);
        let paths = Paths::under(&self.root);
        let config = self.config.clone();
        let settings = Settings { paths, config, key: KEY, guard: ours, signals: false };
        let service = Service::start(settings).unwrap();
        let handle = service.handle();
        let service = std::thread::spawn(move || service.run());
        self.running = Some(Running { handle, service, guard });
    }

    fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.handle.stop();
        assert_eq!(running.service.join().unwrap(), Ending::Stopped);
        self.last = running.guard.join().unwrap();
    }

    fn client(&self) -> Client {
        Client::new(&Paths::under(&self.root).api())
    }
}

/// A cluster of nodes on addresses of the loopback device.
struct World {
    _folder: TempDir,
    nodes: Vec<Node>,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new(nodes: u16, mode: QuorumMode, port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("quorum");
        let config = config(nodes, mode, (port, &disk));
        if config.quorum.disk.is_some() {
            write_disk(&disk, &config);
        }
        let node = |number: u16| {
            let root = folder.path().join(format!("n{number}"));
            let first = Paths::under(&root).first_start();
            std::fs::create_dir_all(first.parent().unwrap()).unwrap();
            std::fs::write(first, b"").unwrap();
            let config = NodeConfig { node: NodeId(number), ..config.clone() };
            Node { root, config, running: None, last: LeaseNumber(0) }
        };
        let mut nodes: Vec<Node> = (1..=nodes).map(node).collect();
        nodes.iter_mut().for_each(Node::start);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { _folder: folder, nodes, runtime }
    }

    fn view(&self, index: usize) -> View {
        self.runtime.block_on(self.nodes[index].client().status()).unwrap()
    }

    /// Waits until what running nodes say is as wanted.
    fn until(&self, what: &str, wanted: impl Fn(&[View]) -> bool) -> Vec<View> {
        let end = Instant::now() + WAIT;
        loop {
            let running = (0..self.nodes.len()).filter(|n| self.nodes[*n].running.is_some());
            let views: Vec<View> = running.map(|n| self.view(n)).collect();
            if wanted(&views) {
                return views;
            }
            assert!(Instant::now() < end, "never saw {what}: {views:#?}");
        }
    }

    fn one_leader(&self) -> VoterId {
        let views = self.until("one leader and quorum everywhere", |views| {
            let leader = views[0].quorum.leader;
            let agreed = |v: &View| v.quorum.leader == leader && v.quorum.has_quorum;
            leader.is_some() && views.iter().all(agreed)
        });
        views[0].quorum.leader.unwrap()
    }

    /// Sets a key through a node, repeating it under one identity until it is done.
    fn set(&self, index: usize, key: &str) -> LogIndex {
        let client = self.nodes[index].client();
        let id = client.next_request_id();
        let request = Request::SetKey { key: key.into(), value: Some("v".into()) };
        let end = Instant::now() + WAIT;
        loop {
            match self.runtime.block_on(client.request_as(id, &request)) {
                Ok(done) => return done.index,
                Err(ClientError::Refused(reason))
                    if matches!(reason.code, Code::NoQuorum | Code::Timeout)
                        && Instant::now() < end => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn applied_everywhere(&self, index: LogIndex) {
        self.until("the change on all nodes", |views| views.iter().all(|v| v.applied >= index));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.nodes.iter_mut().for_each(Node::stop);
    }
}

fn config(nodes: u16, mode: QuorumMode, (port, disk): (u16, &Path)) -> NodeConfig {
    let address = |network: u8, node: u16| NodeAddress {
        network: NetworkId(network),
        address: IpAddr::from([127, 78, network, node as u8]),
    };
    let entry = |node: u16| NodeEntry {
        id: NodeId(node),
        name: format!("node{node}"),
        addresses: vec![address(1, node), address(2, node)],
    };
    let network = |id: u8, role| NetworkEntry { id: NetworkId(id), name: format!("net{id}"), role };
    let disk =
        QuorumDisk { voter: VoterId(VoterId::DISK_FIRST), path: disk.to_owned(), disk_id: [9; 16] };
    NodeConfig {
        cluster: "loop".into(),
        cluster_id: u64::from(port),
        node: NodeId(1),
        port,
        nodes: (1..=nodes).map(entry).collect(),
        founders: None,
        networks: vec![network(1, NetworkRole::Private), network(2, NetworkRole::Mixed)],
        quorum: QuorumConfig { mode, disk: (mode != QuorumMode::NodeMajority).then_some(disk) },
        profile: Profile::Standard,
        watchdog: None,
    }
}

fn write_disk(path: &Path, config: &NodeConfig) {
    use std::os::unix::fs::FileExt;
    let geometry = Geometry::plan(512 << 20, 4).unwrap();
    let file = std::fs::File::create(path).unwrap();
    file.set_len(geometry.bytes()).unwrap();
    for (offset, bytes) in format::quorum_disk(config, KEY, geometry).unwrap() {
        file.write_all_at(&bytes, offset).unwrap();
    }
}

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn three_nodes_elect_one_leader_and_apply_a_change() {
    let _alone = alone();
    let mut world = World::new(3, QuorumMode::NodeMajority, 17_601);
    let leader = world.one_leader();
    let index = world.set(0, "first");
    world.applied_everywhere(index);
    let view = world.view(0);
    for node in view.nodes.iter().filter(|n| n.node != NodeId(1)) {
        assert!(node.links.iter().all(|l| l.up), "{:?}", node.links);
    }

    let dead = usize::from(leader.node().unwrap().0) - 1;
    world.nodes[dead].stop();
    let other = (dead + 1) % 3;
    let index = world.set(other, "second");
    world.applied_everywhere(index);
    assert_ne!(world.one_leader(), leader);

    world.nodes[dead].start();
    world.applied_everywhere(index);
    world.one_leader();
}

#[test]
fn two_nodes_and_a_disk_go_on_when_one_is_gone_and_the_other_catches_up() {
    let _alone = alone();
    let mut world = World::new(2, QuorumMode::NodeAndDiskMajority, 17_602);
    world.one_leader();
    let index = world.set(0, "both");
    world.applied_everywhere(index);
    world.until("a host of the disk", |views| views.iter().all(|v| v.quorum.disk_host.is_some()));
    world.nodes[0].stop();
    let index = world.set(1, "alone");
    world.nodes[0].start();
    world.applied_everywhere(index);
    world.one_leader();
}

#[test]
fn a_minority_refuses_and_says_so() {
    let _alone = alone();
    let mut world = World::new(3, QuorumMode::NodeMajority, 17_603);
    world.one_leader();
    world.nodes[1].stop();
    world.nodes[2].stop();
    world.until("no quorum", |views| !views[0].quorum.has_quorum);
    assert!(world.view(0).quorum.lost_since.is_some());
    let client = world.nodes[0].client();
    let request = Request::SetKey { key: "k".into(), value: None };
    match world.runtime.block_on(client.request(&request)) {
        Err(ClientError::Refused(reason)) => {
            assert!(matches!(reason.code, Code::NoQuorum | Code::Timeout), "{reason:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_repeated_request_gets_the_first_answer() {
    let _alone = alone();
    let world = World::new(3, QuorumMode::NodeMajority, 17_604);
    world.one_leader();
    let request = Request::SetKey { key: "k".into(), value: Some("v".into()) };
    let id = RequestId { client: 42, number: 1 };
    let ask = |node: usize| {
        let client = world.nodes[node].client();
        world.runtime.block_on(client.request_as(id, &request)).unwrap().index
    };
    let first = ask(0);
    assert_eq!([ask(0), ask(1), ask(2)], [first; 3]);
}

#[test]
fn records_are_followed_and_explained_over_a_restart() {
    let _alone = alone();
    let mut world = World::new(1, QuorumMode::NodeMajority, 17_605);
    world.one_leader();
    let follow = |world: &World, since: u64| {
        let client = world.nodes[0].client();
        world.runtime.block_on(async {
            let mut follow = client.follow(since).await.unwrap();
            follow.next().await.unwrap().unwrap()
        })
    };
    let first = follow(&world, 0);
    assert_eq!((first.number, first.code.as_str()), (1, "service-started"));
    let client = world.nodes[0].client();
    let told = world.runtime.block_on(client.explain_timeouts()).unwrap();
    assert!(told.priority.starts_with("no real-time priority"), "{}", told.priority);
    world.nodes[0].stop();
    assert!(matches!(
        world.runtime.block_on(client.status()),
        Err(ClientError::Unreachable { .. })
    ));
    world.nodes[0].start();
    let again = follow(&world, 2);
    assert!(again.number >= 2 && again.boot_ns >= first.boot_ns);
}
