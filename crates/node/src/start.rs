//! Starting a node service: everything is opened, greeted and wired before the first event.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use stead_core::{Cluster, Planted, Start};
use stead_model::config::NodeConfig;
use stead_model::keys::Keys;
use stead_model::profile::Profile;
use stead_model::program::Program;
use stead_model::record::Level;
use stead_model::{Incarnation, NodeId};
use stead_trust::Credentials;
use thiserror::Error;

use crate::admission::Admission;
use crate::alerts::Alerts;
use crate::audit::Audit;
use crate::board::{Board, Sources};
use crate::bootstrap::{self, BootstrapError, Paths};
use crate::disk::{BlockDev, Caching, DeviceError, Disks, OwnLog, QuorumPlace};
use crate::elsewhere::Elsewhere;
use crate::guard::{Guard, GuardError};
use crate::inbox::{Inbox, Item};
use crate::machine;
use crate::monitors::Monitors;
use crate::net::priority::{self, Priority};
use crate::net::{
    Callers, Datagrams, Door, Doubles, Peers, Reach, Remote, Streams, Surroundings, Tls, Watch,
    interfaces, is_here,
};
use crate::records::Records;
use crate::service::{Ending, Pace, Service};
use crate::stall::Turning;
use crate::standing::Standing;
use crate::threads::Serving;
use crate::wakers::{Waker, Wakers};
use crate::{clock, threads};

/// What a node service starts with.
#[derive(Debug)]
pub struct Settings {
    /// Where everything of the node is.
    pub paths: Paths,
    /// Its configuration.
    pub config: NodeConfig,
    /// The keys of the cluster.
    pub keys: Keys,
    /// What the node proves itself with.
    pub credentials: Credentials,
    /// The socket to the guard.
    pub guard: UnixStream,
    /// Whether SIGTERM ends the service in order and the process may be given real-time priority.
    pub signals: bool,
}

/// Why the service does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration, the key or the log is refused.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The guard cannot be talked to.
    #[error("{0}")]
    Guard(String),
    /// The log cannot be opened.
    #[error("{0}")]
    Device(String),
    /// The socket of the API cannot be made.
    #[error(transparent)]
    Api(#[from] stead_api::server::BindError),
    /// The system refuses something.
    #[error("the system refuses {what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl StartError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Bootstrap(error) => error.hint(),
            Self::Guard(_) | Self::Device(_) | Self::Api(_) | Self::System { .. } => None,
        }
    }
}

impl From<GuardError> for StartError {
    fn from(error: GuardError) -> Self {
        Self::Guard(error.to_string())
    }
}

impl From<DeviceError> for StartError {
    fn from(error: DeviceError) -> Self {
        Self::Device(error.to_string())
    }
}

impl Service {
    /// Starts everything but the loop.
    ///
    /// # Errors
    /// Something is missing or refused; nothing was changed but a missing log made.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let Settings { paths, config, keys, credentials, guard, signals } = settings;
        let tls = Tls::new(&credentials).map_err(BootstrapError::from)?;
        let door = credentials.admission_server().map_err(BootstrapError::from)?;
        bootstrap::make_folders(&paths)?;
        let inbox = Arc::new(Inbox::new().map_err(system("a wake-up descriptor"))?);
        let (records, audit) = logs(&paths, config.node, &inbox).map_err(system("a thread"))?;
        let remote = Remote::new(&config, &credentials, Arc::clone(&records));
        let remote = remote.map_err(BootstrapError::from)?;
        let (guard, status, early) = Guard::greet(guard, &records)?;
        let disks = disks(&paths, &config, &inbox)?;
        let priority = if signals { priority::claim() } else { Priority::not_asked() };
        let service = Incarnation(random());
        let surroundings = (Arc::clone(&records), Arc::clone(&inbox));
        let (datagrams, streams) = transport(&config, (service, &keys, tls), surroundings.clone())?;
        note_start(&records, &config, (&priority, signals));
        let (node, machine, program) = (config.node, machine::size(), Program::own());
        let turning = Turning::new(config.profile.timing().election);
        let (seed, planted, now) = (random(), Planted::default(), clock::now());
        let mut monitors = Monitors::new(paths.monitors(), service, &status, now);
        monitors.macs(node, interfaces::macs(), now);
        let name = config.cluster.clone();
        let alerts = Arc::new(Alerts::new(paths.alerts(), name, node, Arc::clone(&records)));
        let (peers, records_too) = (Arc::new(datagrams.peers().clone()), Arc::clone(&records));
        let own = (paths.clone(), records_too, Arc::clone(&inbox));
        let admission = Admission::new(door, Arc::clone(&peers), own);
        let watch = Watch::start(peers, surroundings).map_err(system("a thread"))?;
        let start = Start { config, service, guard: status, machine, program, keys, seed, planted };
        let (cluster, effects) = Cluster::start(start, now);
        let sources = Sources {
            records: Arc::clone(&records),
            audit: Arc::clone(&audit),
            inbox: Arc::clone(&inbox),
            alerts: Arc::clone(&alerts),
            elsewhere: streams.elsewhere(),
        };
        let board = Board::new(cluster.view(now), sources, priority.to_string(), random());
        let mut service = Self {
            cluster,
            datagrams,
            streams,
            disks,
            guard,
            monitors,
            records,
            audit,
            remote,
            inbox,
            answers: Vec::new(),
            is_news: true,
            board: Arc::new(board),
            alerts,
            admission,
            wakers: Wakers::new().map_err(system("a timer"))?,
            early,
            api_path: paths.api(),
            pki: paths.pki(),
            pace: Pace::default(),
            turning,
            node,
            known_troubles: BTreeSet::new(),
            doubles: Doubles::default(),
            lacks_since: None,
            serving: Serving::new(),
            watch,
        };
        service.watch().map_err(system("waiting"))?;
        service.open_api(signals)?;
        service.execute(now, effects).map_err(ended)?;
        Ok(service)
    }

    fn watch(&self) -> io::Result<()> {
        self.wakers.add(&self.guard, Waker::Guard)?;
        self.wakers.add(&*self.inbox, Waker::Inbox)?;
        for (index, socket) in self.datagrams.sockets() {
            self.wakers.add(socket, Waker::Network(index))?;
        }
        Ok(())
    }

    fn open_api(&mut self, signals: bool) -> Result<(), StartError> {
        let runtime = threads::runtime().map_err(system("a runtime"))?;
        let listener = {
            let _inside = runtime.enter();
            stead_api::bind(&self.api_path)?
        };
        let (board, stop) = (Arc::clone(&self.board), Arc::clone(&self.inbox));
        let door = Door::new(Arc::new(Callers::of_askers(Arc::clone(&self.records))));
        let remote = Arc::clone(&self.remote).run(Arc::clone(&self.board) as _);
        let serve = async move {
            let identify = |stream: &_| door.identify(stream);
            tokio::select! {
                () = stead_api::serve(listener, board, identify) => {}
                () = remote => {}
                () = threads::told_to_stop(signals) => {
                    stop.push(Item::Stop);
                    std::future::pending().await
                }
            }
        };
        let surroundings = (Arc::clone(&self.inbox), runtime);
        self.serving.start("api", surroundings, serve).map_err(system("a thread"))
    }
}

fn logs(paths: &Paths, node: NodeId, inbox: &Arc<Inbox>) -> io::Result<(Arc<Records>, Arc<Audit>)> {
    let records = Records::open(node, &paths.records(), Arc::clone(inbox))?;
    let audit = Audit::open(node, &paths.audit(), Arc::clone(inbox))?;
    Ok((Arc::new(records), Arc::new(audit)))
}

fn disks(paths: &Paths, config: &NodeConfig, inbox: &Arc<Inbox>) -> Result<Disks, StartError> {
    let locked = bootstrap::open_log(paths, config)?;
    let device = BlockDev::open(&paths.node_log(), Caching::Own)?;
    let folder = paths.var().to_owned();
    let quorum = config.quorum.disk.as_ref().map(|disk| QuorumPlace {
        path: disk.path.clone(),
        lock: paths.quorum_lock(disk, config.node),
    });
    Disks::start(OwnLog { folder, device, locked }, quorum, Arc::clone(inbox))
        .map_err(system("a thread"))
}

fn transport(
    config: &NodeConfig,
    (service, keys, tls): (Incarnation, &Keys, Tls),
    (records, inbox): (Arc<Records>, Arc<Inbox>),
) -> Result<(Datagrams, Streams), StartError> {
    let peers = Peers::new(config, service);
    for (_, own) in peers.ends().filter(|(_, own)| !is_here(own.local)) {
        let text = format!(
            "address {} of network `{}` is not on this node: its links stay down until it is",
            own.local.ip(),
            own.name
        );
        crate::say(&format!("warning: {text}"));
        records.note(Level::Warning, "network-missing", &text);
    }
    let timing = config.profile.timing();
    let peers = Arc::new(peers);
    let reach = Arc::new(Reach::new(peers.routes.len(), &timing));
    let datagrams = Datagrams::open(Arc::clone(&peers), Arc::clone(&reach), keys)
        .map_err(system("a socket for heartbeats"))?;
    let elsewhere = Arc::new(Elsewhere::new(random(), Arc::clone(&inbox)));
    let around = Surroundings { peers, reach, records, elsewhere, timing, tls };
    let streams = Streams::start(around, inbox).map_err(system("a thread"))?;
    Ok((datagrams, streams))
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::System { what, source }
}

/// `is_own`: the process is the service's alone.
fn note_start(records: &Records, config: &NodeConfig, (priority, is_own): (&Priority, bool)) {
    let standing = Standing::own();
    let is_slow = config.profile == Profile::Fast && !priority.is_full();
    let is_strong = is_own && !standing.is_held();
    let level = if is_slow || is_strong { Level::Warning } else { Level::Info };
    let text = format!("node service of {} started: {priority}; {standing}", config.node);
    records.note(level, "service-started", &text);
}

/// A random number; numbers of this kind tell lives and clients apart.
fn random() -> u64 {
    let mut bytes = [0; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(8) => u64::from_le_bytes(bytes).max(1),
        Ok(_) | Err(_) => clock::now().0 ^ u64::from(std::process::id()) << 48,
    }
}

fn ended(ending: Ending) -> StartError {
    match ending {
        Ending::Stopped => StartError::Guard("stopped before it began".into()),
        Ending::Failed(why) => StartError::Guard(why),
    }
}
