//! A cluster of node services in this process, with a guard of the test's own beside each.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

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
use stead_model::{Incarnation, LeaseNumber, LogIndex, NetworkId, NodeId, VoterId};
use stead_node::{Ending, Handle, Paths, Service, Settings};
use stead_trust::{Authority, Credentials, Loaded, Pki};
use tempfile::TempDir;

pub(crate) const WAIT: Duration = Duration::from_secs(60);
pub(crate) const KEY: [u8; 32] = [7; 32];

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
pub(crate) struct Node {
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
    pub(crate) fn start(&mut self) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let guard = guard(theirs, self.last);
        let paths = Paths::under(&self.root);
        let config = self.config.clone();
        let pki = paths.pki();
        pki.settle().unwrap();
        let Loaded { keys, credentials } = pki.load().unwrap();
        let settings = Settings { paths, config, keys, credentials, guard: ours, signals: false };
        let service = Service::start(settings).unwrap();
        let handle = service.handle();
        let service = std::thread::spawn(move || service.run());
        self.running = Some(Running { handle, service, guard });
    }

    pub(crate) fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.handle.stop();
        assert_eq!(running.service.join().unwrap(), Ending::Stopped);
        self.last = running.guard.join().unwrap();
    }

    /// A file that the node keeps beside its log.
    pub(crate) fn beside_log(&self, name: &str) -> PathBuf {
        Paths::under(&self.root).node_log().with_file_name(name)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&Paths::under(&self.root).api())
    }

    /// Its keys and certificates.
    pub(crate) fn pki(&self) -> Pki {
        Paths::under(&self.root).pki()
    }
}

/// A cluster of nodes on addresses of the loopback device.
pub(crate) struct World {
    folder: TempDir,
    pub(crate) nodes: Vec<Node>,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) authority: Authority,
}

impl World {
    pub(crate) fn new(nodes: u16, mode: QuorumMode, port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("quorum");
        let config = config(nodes, mode, (port, &disk));
        let authority = Authority::create(config.cluster_id, SystemTime::now()).unwrap();
        if config.quorum.disk.is_some() {
            write_disk(&disk, &config);
        }
        let node = |number: u16| {
            let root = folder.path().join(format!("n{number}"));
            let first = Paths::under(&root).first_start();
            std::fs::create_dir_all(first.parent().unwrap()).unwrap();
            std::fs::write(first, b"").unwrap();
            install_papers(&Paths::under(&root), &authority, number);
            let config = NodeConfig { node: NodeId(number), ..config.clone() };
            Node { root, config, running: None, last: LeaseNumber(0) }
        };
        let mut nodes: Vec<Node> = (1..=nodes).map(node).collect();
        nodes.iter_mut().for_each(Node::start);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { folder, nodes, runtime, authority }
    }

    /// Where the quorum disk is.
    pub(crate) fn disk(&self) -> PathBuf {
        self.folder.path().join("quorum")
    }

    pub(crate) fn view(&self, index: usize) -> View {
        self.runtime.block_on(self.nodes[index].client().status()).unwrap()
    }

    /// Waits until what running nodes say is as wanted.
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&[View]) -> bool) -> Vec<View> {
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

    pub(crate) fn one_leader(&self) -> VoterId {
        let views = self.until("one leader and quorum everywhere", |views| {
            let leader = views[0].quorum.leader;
            let agreed = |v: &View| v.quorum.leader == leader && v.quorum.has_quorum;
            leader.is_some() && views.iter().all(agreed)
        });
        views[0].quorum.leader.unwrap()
    }

    /// Sets a key through a node, repeating it under one identity until it is done.
    pub(crate) fn set(&self, index: usize, key: &str) -> LogIndex {
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

    pub(crate) fn applied_everywhere(&self, index: LogIndex) {
        self.until("the change on all nodes", |views| views.iter().all(|v| v.applied >= index));
    }
}

/// Gives a node the files of its keys.
fn install_papers(paths: &Paths, authority: &Authority, number: u16) {
    let issued = authority.issue(NodeId(number), SystemTime::now()).unwrap();
    paths.pki().install(authority, &issued).unwrap();
    std::fs::write(paths.key(), KEY).unwrap();
    std::fs::set_permissions(paths.key(), std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// What a node proves itself with.
pub(crate) fn credentials(authority: &Authority, number: u16) -> Credentials {
    let issued = authority.issue(NodeId(number), SystemTime::now()).unwrap();
    let known = authority.certificate_pem();
    Credentials::from_pem(known, &issued.certificate, &issued.key).unwrap()
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
    let network = |id: u8, role| NetworkEntry::new(NetworkId(id), format!("net{id}"), role);
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

/// How the quorum disk is divided.
pub(crate) fn geometry() -> Geometry {
    Geometry::plan(512 << 20, 4).unwrap()
}

fn write_disk(path: &Path, config: &NodeConfig) {
    use std::os::unix::fs::FileExt;
    let geometry = geometry();
    let file = std::fs::File::create(path).unwrap();
    file.set_len(geometry.bytes()).unwrap();
    for (offset, bytes) in format::quorum_disk(config, KEY, geometry).unwrap() {
        file.write_all_at(&bytes, offset).unwrap();
    }
}

pub(crate) fn alone() -> std::sync::MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
