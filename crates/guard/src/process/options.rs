//! How the guard is started: where its files are, what its children are, how long a stop may take.

use std::path::{Path, PathBuf};

use stead_model::Span;
use stead_model::config::{NodeConfig, WatchdogConfig};
use thiserror::Error;

/// Everything that can be chosen about a guard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuardOptions {
    /// Folder that stands for `/`; from the environment variable `STEAD_ROOT`.
    pub root: PathBuf,
    /// Command of the guard itself: what an upgrade executes.
    pub own: Vec<String>,
    /// Command of the node service.
    pub node: Vec<String>,
    /// Command of the monitor.
    pub monitor: Vec<String>,
    /// Command of the init of an application.
    pub init: Vec<String>,
    /// The stop grace `g` of the timing profile.
    pub grace: Span,
    /// The watchdog to keep quiet, if the node has one.
    pub watchdog: Option<WatchdogConfig>,
    /// What the node service needs that other programs may not have.
    pub service: NodeService,
}

/// What the guard must know of the node service to hold it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeService {
    /// Its user; from the environment variable `STEAD_NODE_USER`.
    pub user: Option<String>,
    /// The lowest port it listens on.
    pub port: u16,
    /// The quorum disk, and the lock beside it if it is a file.
    pub quorum: Option<(PathBuf, PathBuf)>,
}

/// Why the options are not usable.
#[derive(Debug, Error)]
pub enum OptionsError {
    /// There are none.
    #[error("stead guard takes no arguments, `{0}` was given")]
    Argument(String),
    /// The own program has no path.
    #[error("the path of the running program is unknown")]
    Program(#[source] std::io::Error),
    /// No configuration.
    #[error(
        "cannot read {path}: {source}\nhint: `stead cluster create` or `stead lab up` writes it"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A damaged configuration.
    #[error("{path} is no node configuration: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl GuardOptions {
    /// The options of `stead guard`: the children are this same program.
    ///
    /// # Errors
    /// An argument was given, or the configuration cannot be read.
    pub fn parse(args: &[String]) -> Result<Self, OptionsError> {
        if let Some(argument) = args.first() {
            return Err(OptionsError::Argument(argument.clone()));
        }
        let root = std::env::var_os("STEAD_ROOT").map_or_else(|| "/".into(), PathBuf::from);
        let config = read_config(&root)?;
        let grace = config.profile.timing().grace;
        let service = NodeService::of(&config);
        let program = own_program().map_err(OptionsError::Program)?;
        let command = |words: &[&str]| {
            let program = program.to_string_lossy().into_owned();
            let words = words.iter().map(ToString::to_string);
            std::iter::once(program).chain(words).collect()
        };
        let (node, monitor) = (command(&["node", "run"]), command(&["monitor"]));
        let (own, init) = (command(&["guard"]), command(&["init"]));
        Ok(Self { root, own, node, monitor, init, grace, watchdog: config.watchdog, service })
    }
}

impl NodeService {
    fn of(config: &NodeConfig) -> Self {
        let disk = config.quorum.disk.as_ref();
        Self {
            user: std::env::var("STEAD_NODE_USER").ok().filter(|name| !name.is_empty()),
            port: config.port,
            quorum: disk.map(|disk| (disk.path.clone(), disk.lock_beside(config.node))),
        }
    }
}

/// The path this program was started by, where that is a whole one: whatever lies there later is
/// what an upgrade starts. A link is not followed now.
fn own_program() -> std::io::Result<PathBuf> {
    match std::env::args_os().next().map(PathBuf::from) {
        Some(path) if path.is_absolute() => Ok(path),
        Some(_) | None => std::env::current_exe(),
    }
}

fn read_config(root: &Path) -> Result<NodeConfig, OptionsError> {
    let path = root.join("etc/stead/cluster.json");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(OptionsError::Read { path, source }),
    };
    serde_json::from_slice(&bytes).map_err(|source| OptionsError::Parse { path, source })
}
