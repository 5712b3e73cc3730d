//! `lab up`: directories, configuration, supervisor, and the wait until the cluster serves.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::rand::GetRandomFlags;
use stead_model::NodeId;
use stead_model::config::QuorumMode;
use stead_model::profile::Profile;
use stead_trust::{Authority, Pki};

use crate::cabling::{NODES_MAX, Station};
use crate::cluster::{Cluster, ClusterError};
use crate::cluster_file;
use crate::control::Power;
use crate::disks;
use crate::home::{self, Home};
use crate::lab::{self, Lab, NodeError};
use crate::ready;
use crate::record::{LabRecord, NodeCommand};
use crate::step::{Step, StepError};
use crate::supervisor::{self, FirstWord};

/// What `lab up` is asked for.
#[derive(Clone, Debug)]
pub struct UpOptions {
    /// Name of the lab, see [`home::is_valid_name`].
    pub name: String,
    /// Number of nodes, 1 to [`NODES_MAX`]. Default 2.
    pub nodes: u16,
    /// How many of the nodes, the last ones, join later: they run and wait. Default 0.
    pub spares: u16,
    /// How quorum is formed; `None`: the disk for an even number of nodes, else the nodes alone.
    pub quorum: Option<QuorumMode>,
    /// The timing profile.
    pub profile: Profile,
    /// What PID 1 of every node starts.
    pub node_command: NodeCommand,
    /// The program that runs supervisor and machines: it must lead the hidden subcommands to this
    /// crate. `None`: the running one.
    pub program: Option<PathBuf>,
    /// Names of data disks that all nodes share, see [`disks::is_valid_name`]; only root has them.
    pub disks: Vec<String>,
    /// Variables in the environment of every node's command and all that it starts.
    pub environment: BTreeMap<String, String>,
    /// Where labs live.
    pub home: Home,
}

impl UpOptions {
    /// Two nodes with the defaults.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            nodes: 2,
            spares: 0,
            quorum: None,
            profile: Profile::default(),
            node_command: NodeCommand::Guard,
            program: None,
            disks: Vec::new(),
            environment: BTreeMap::new(),
            home: Home::of_user(),
        }
    }
}

/// A lab was not made; nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// The name cannot be used.
    #[error("`{0}` cannot name a lab: use 1 to 20 of `a-z`, `0-9` and `-`, a letter first")]
    Name(String),
    /// Too few or too many nodes.
    #[error("a lab cannot have {0} nodes: use 1 to {NODES_MAX}")]
    Nodes(u16),
    /// Nobody is left to form the cluster.
    #[error("{spares} of {nodes} nodes cannot join later: at least one forms the cluster")]
    Spares {
        /// How many join later.
        spares: u16,
        /// Of how many.
        nodes: u16,
    },
    /// The name of a disk cannot be used.
    #[error("`{0}` cannot name a disk: use 1 to 15 of `a-z`, `0-9` and `-`, a letter first, once")]
    Disk(String),
    /// The name is taken.
    #[error("there is a lab `{0}` already; `stead lab down {0}` ends it")]
    Taken(String),
    /// Something on this host failed.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The supervisor gave up.
    #[error("cannot make the machines of lab `{lab}`: {why}")]
    Supervisor {
        /// The lab.
        lab: String,
        /// Its words.
        why: String,
    },
    /// A machine did not boot.
    #[error("lab `{lab}` does not boot; its last words: {console}")]
    Node {
        /// The lab.
        lab: String,
        /// The end of the node's console.
        console: String,
        /// What it is instead.
        source: NodeError,
    },
    /// The machines run but the cluster does not.
    #[error("the cluster in lab `{lab}` does not serve; last words of node1: {console}")]
    NotServing {
        /// The lab.
        lab: String,
        /// The end of the first node's console.
        console: String,
        /// How far it came.
        source: ClusterError,
    },
}

/// Makes a lab and waits until its cluster serves; `progress` gets a line per step.
pub fn up(options: &UpOptions, progress: &mut dyn FnMut(&str)) -> Result<Lab, UpError> {
    let record = record(options)?;
    let dirs = record.dirs.clone();
    if dirs.exists() {
        return Err(UpError::Taken(record.name));
    }
    options.home.create()?;
    dirs.create()?;
    let made = make(&record, progress);
    if made.is_err() {
        // The first error tells more than what may go wrong with the rest.
        let _ = lab::down(&options.home, Some(&options.name));
    }
    made
}

fn record(options: &UpOptions) -> Result<LabRecord, UpError> {
    if !home::is_valid_name(&options.name) {
        return Err(UpError::Name(options.name.clone()));
    }
    if !(1..=NODES_MAX).contains(&options.nodes) {
        return Err(UpError::Nodes(options.nodes));
    }
    if options.spares >= options.nodes {
        return Err(UpError::Spares { spares: options.spares, nodes: options.nodes });
    }
    for (index, disk) in options.disks.iter().enumerate() {
        if !disks::is_valid_name(disk) || options.disks[..index].contains(disk) {
            return Err(UpError::Disk(disk.clone()));
        }
    }
    let program = match &options.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().step("find", "the running program")?,
    };
    let quorum = options.quorum.unwrap_or_else(|| cluster_file::default_quorum(options.nodes));
    Ok(LabRecord {
        name: options.name.clone(),
        nodes: options.nodes,
        spares: options.spares,
        quorum,
        quorum_served: quorum != QuorumMode::NodeMajority && disks::possible(),
        profile: options.profile,
        program,
        node_command: options.node_command.clone(),
        disks: options.disks.clone(),
        environment: options.environment.clone(),
        dirs: options.home.lab(&options.name),
        version: env!("CARGO_PKG_VERSION").into(),
        cluster_id: u64::from_ne_bytes(random()?),
    })
}

fn make(record: &LabRecord, progress: &mut dyn FnMut(&str)) -> Result<Lab, UpError> {
    record.write()?;
    provision(record)?;
    progress(&format!(
        "lab {}: {} nodes, profile {}",
        record.name,
        record.nodes,
        record.profile.name()
    ));
    start_supervisor(record)?;
    let lab = Lab::new(record.clone());
    for node in record.node_ids() {
        lab.wait_power(node, Power::On, BOOT_LIMIT).map_err(|source| UpError::Node {
            lab: record.name.clone(),
            console: last_words(&lab, node),
            source,
        })?;
    }
    progress("machines have booted");
    if record.node_command == NodeCommand::Guard {
        Cluster::of(&lab).wait_serving(SERVE_LIMIT).map_err(|why| UpError::NotServing {
            lab: record.name.clone(),
            console: last_words(&lab, NodeId(1)),
            source: why,
        })?;
        progress("all nodes have quorum");
    }
    Ok(lab)
}

/// The directories of all stations, and on the nodes' disks what a cluster is born with.
fn provision(record: &LabRecord) -> Result<(), StepError> {
    let disk_id = random()?;
    let key: [u8; 32] = random()?;
    let now = SystemTime::now();
    let authority = Authority::create(record.cluster_id, now);
    let authority = authority.step("make", "the authority of the cluster")?;
    for station in record.stations() {
        let dir = record.dirs.station(&station.name());
        for part in ["root", "log", "etc", "lib", "witness", "www", "disks"] {
            let part = dir.join(part);
            fs::create_dir_all(&part).step("make the directory", part.display())?;
        }
        let Station::Node(node) = station else { continue };
        let etc = dir.join("etc");
        let config = cluster_file::config(record, disk_id, node);
        let path = cluster_file::config_file(&etc);
        let text = serde_json::to_vec_pretty(&config).step("encode", path.display())?;
        fs::write(&path, text).step("write", path.display())?;
        write_secret(&etc.join("cluster.key"), &key)?;
        let issued = authority.issue(node, now).step("make", "the certificate of a node")?;
        let pki = Pki::below(&etc);
        pki.install(&authority, &issued).step("write", pki.node_file().display())?;
        let first = cluster_file::first_start_file(&etc);
        fs::write(&first, b"").step("write", first.display())?;
    }
    if record.quorum == QuorumMode::NodeMajority {
        return Ok(());
    }
    let disk = record.dirs.quorum_disk();
    let dir = record.dirs.state.join("quorum");
    fs::create_dir_all(&dir).step("make the directory", dir.display())?;
    let config = cluster_file::config(record, disk_id, NodeId(1));
    cluster_file::format_quorum_disk(&config, record.nodes, &key, &disk)
}

fn write_secret(path: &Path, secret: &[u8]) -> Result<(), StepError> {
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened.and_then(|mut file| file.write_all(secret)).step("write", path.display())
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], StepError> {
    let mut bytes = [0; N];
    let got = rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty());
    got.step("get random bytes from", "the kernel")?;
    Ok(bytes)
}

/// Starts the supervisor in the background and waits for its first word.
fn start_supervisor(record: &LabRecord) -> Result<(), UpError> {
    let log = record.dirs.log();
    let log_file = File::create(&log).step("write", log.display())?;
    let mut child = Command::new(&record.program)
        .arg(supervisor::SUBCOMMAND)
        .arg(&record.dirs.runtime)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file)
        .spawn()
        .step("start", record.program.display())?;
    let word = first_word(&mut child);
    // The lab outlives whoever made it; while this process lives, it collects the supervisor.
    thread::spawn(move || drop(child.wait()));
    let why = match word {
        Ok(FirstWord::Ready) => return Ok(()),
        Ok(FirstWord::Failed(why)) => why,
        Err(error) => {
            let log = fs::read_to_string(&log).unwrap_or_default();
            format!("the supervisor ended without a word ({error}); its log: {}", log.trim())
        }
    };
    Err(UpError::Supervisor { lab: record.name.clone(), why })
}

fn first_word(child: &mut Child) -> std::io::Result<FirstWord> {
    let Some(pipe) = child.stdout.take() else {
        return Err(std::io::ErrorKind::BrokenPipe.into());
    };
    if !ready::one(&pipe, BOOT_LIMIT)? {
        child.kill()?;
        return Err(std::io::ErrorKind::TimedOut.into());
    }
    let mut line = String::new();
    BufReader::new(pipe).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// The end of what a node printed, for an error message.
pub(crate) fn last_words(lab: &Lab, node: NodeId) -> String {
    let text = fs::read(lab.console(Station::Node(node))).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().take(CONSOLE_LINES).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

const CONSOLE_LINES: usize = 5;
const BOOT_LIMIT: Duration = Duration::from_secs(30);
const SERVE_LIMIT: Duration = Duration::from_secs(60);
