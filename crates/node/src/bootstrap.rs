//! Before the first event: configuration, key, folders, the node's own log.
//!
//! Refuses with what, where and what to do. Never overwrites a log that is there, whatever is in
//! it: a voter that forgets breaks the promises it gave (I-ACK).

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, fstatfs};
use stead_core::format::{self, LogSizes};
use stead_journal::{DiskId, Identity, Medium};
use stead_model::NodeId;
use stead_model::config::{NodeConfig, QuorumDisk};
use stead_trust::{Identity as Holder, Loaded, Pki, TrustError};
use thiserror::Error;

use crate::net::inherited;
use crate::start::Settings;

/// An earlier node service of this node releases its log within this time.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);
const TMPFS: i64 = 0x0102_1994;

/// Where everything of a node is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paths {
    etc: PathBuf,
    var: PathBuf,
    run: PathBuf,
}

impl Paths {
    /// The usual places below a root: `/`, or `STEAD_ROOT` in tests.
    #[must_use]
    pub fn under(root: &Path) -> Self {
        let at = |folder: &str| root.join(folder);
        Self { etc: at("etc/stead"), var: at("var/lib/stead"), run: at("run/stead") }
    }

    /// The places that this process is meant to use.
    #[must_use]
    pub fn of_environment() -> Self {
        let root = std::env::var_os("STEAD_ROOT").unwrap_or_else(|| OsString::from("/"));
        Self::under(Path::new(&root))
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.etc.join("cluster.json")
    }

    /// The folder of what a node must know before it starts.
    pub(crate) fn etc(&self) -> &Path {
        &self.etc
    }

    /// The folder of what a node keeps.
    pub(crate) fn var(&self) -> &Path {
        &self.var
    }

    /// The folder of its sockets.
    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    /// There while this host is on its way into a cluster: what was decided and is not done.
    pub(crate) fn plan(&self) -> PathBuf {
        self.etc.join("plan.json")
    }

    /// The cluster key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.etc.join("cluster.key")
    }

    /// The certificates.
    #[must_use]
    pub fn pki(&self) -> Pki {
        Pki::below(&self.etc)
    }

    /// The node's own log.
    #[must_use]
    pub fn node_log(&self) -> PathBuf {
        self.var.join("node.log")
    }

    /// There until the node has its log, made with the configuration: without it a missing log is
    /// one that was lost.
    #[must_use]
    pub fn first_start(&self) -> PathBuf {
        self.etc.join("first-start")
    }

    /// The event log.
    #[must_use]
    pub fn records(&self) -> PathBuf {
        self.var.join("events.jsonl")
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.var.join("audit.jsonl")
    }

    /// What waits to be told by alerts.
    #[must_use]
    pub fn alerts(&self) -> PathBuf {
        self.var.join("alerts.json")
    }

    /// The folder of what applications wrote.
    pub(crate) fn outputs(&self) -> PathBuf {
        self.var.join("logs")
    }

    /// The socket of the API.
    #[must_use]
    pub fn api(&self) -> PathBuf {
        self.run.join("api.sock")
    }

    /// The folder with the sockets of the resource monitors.
    #[must_use]
    pub fn monitors(&self) -> PathBuf {
        self.run.clone()
    }

    /// The lock that keeps two processes of this node from using a quorum disk at once (R3):
    /// next to a file, in the node's own run folder for a device.
    pub(crate) fn quorum_lock(&self, disk: &QuorumDisk, node: NodeId) -> PathBuf {
        let is_device = fs::metadata(&disk.path).is_ok_and(|m| m.file_type().is_block_device());
        if is_device { self.device_lock() } else { disk.lock_beside(node) }
    }

    /// That of a device.
    pub(crate) fn device_lock(&self) -> PathBuf {
        self.run.join("quorum.lock")
    }
}

/// Why the service does not start.
#[derive(Debug, Error)]
pub enum BootstrapError {
    /// A file or folder cannot be used.
    #[error("cannot {verb} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The configuration is no configuration.
    #[error("`{}` is no node configuration: {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Where it ends to be one.
        source: serde_json::Error,
    },
    /// The configuration contradicts itself.
    #[error("`{}` cannot be right: {what}", path.display())]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Others may read the key.
    #[error("cluster key `{}` has mode {mode:o}: not only its owner may use it", path.display())]
    KeyMode {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The key has the wrong length.
    #[error("the cluster key `{}` has {bytes} bytes instead of 32", path.display())]
    KeySize {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The certificate is that of another node.
    #[error("`{}` belongs to {}, this is {}", path.display(), holder(*found), holder(*expected))]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: Holder,
        /// Whose it should be.
        expected: Holder,
    },
    /// Another process has the log.
    #[error("another node service of this node uses `{}`", path.display())]
    LogBusy {
        /// The log.
        path: PathBuf,
    },
    /// The log was lost.
    #[error("`{}` is missing, and this is not the first start of the node", path.display())]
    LogMissing {
        /// The log.
        path: PathBuf,
    },
    /// The log cannot be one.
    #[error("`{}` is no log of a node: {what}", path.display())]
    LogForeign {
        /// The log.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The log cannot be formatted.
    #[error("cannot format the node's log")]
    Format(#[from] format::FormatError),
    /// There is no guard.
    #[error("there is no guard: {what}")]
    NoGuard {
        /// What is wrong with its socket.
        what: String,
    },
}

impl BootstrapError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io { verb: "read", path, .. } if path.ends_with("cluster.json") => {
                "`stead lab up` or `stead cluster create` makes the configuration".into()
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free space there; nothing is lost".into()
            }
            Self::Io { .. } | Self::Format(_) => return None,
            Self::Config { .. } | Self::Contradiction { .. } => {
                "compare it with the file of another node of the cluster".into()
            }
            Self::KeyMode { path, .. } => format!("chmod 0600 {}", path.display()),
            Self::Trust(error) => return error.hint(),
            Self::Certificate { .. } => {
                "bring the right file back, or remove the node from the cluster and join it anew"
                    .into()
            }
            Self::KeySize { .. } => "copy the key of another node of the cluster".into(),
            Self::LogBusy { .. } => {
                "only the guard starts node services; `systemctl status stead` shows it".into()
            }
            Self::LogMissing { .. } => {
                "bring the file back (is its file system mounted?), or remove the node from the \
                 cluster and join it anew; never start a voter with an empty log"
                    .into()
            }
            Self::LogForeign { .. } => {
                "it is left as it is: bring the right file back, or remove the node from the \
                 cluster and join it anew; never start a voter with an empty log"
                    .into()
            }
            Self::NoGuard { .. } => "start `stead guard`, it starts the node service".into(),
        })
    }
}

/// Everything the service needs of this machine, from its usual places.
pub(crate) fn settings() -> Result<Settings, BootstrapError> {
    let guard = inherited_guard().map_err(|what| BootstrapError::NoGuard { what })?;
    let paths = Paths::of_environment();
    let config = read_config(&paths.config())?;
    read_key(&paths.key())?;
    let Loaded { keys, credentials } = read_keys(&paths.pki(), &config)?;
    Ok(Settings { paths, config, keys, credentials, guard, signals: true })
}

/// What a rotation left undone is done first.
fn read_keys(pki: &Pki, config: &NodeConfig) -> Result<Loaded, BootstrapError> {
    pki.settle()?;
    let expected = Holder { cluster_id: config.cluster_id, node: config.node };
    let found = pki.credentials()?.identity();
    if found == expected {
        return Ok(pki.load()?);
    }
    Err(BootstrapError::Certificate { path: pki.node_file(), found, expected })
}

fn holder(identity: Holder) -> String {
    format!("{} of cluster {:x}", identity.node, identity.cluster_id)
}

fn inherited_guard() -> Result<std::os::unix::net::UnixStream, String> {
    let name = "STEAD_GUARD_FD";
    let value = std::env::var(name).map_err(|_| format!("{name} is not set"))?;
    let number = value.parse().map_err(|_| format!("{name} is `{value}`, no number"))?;
    inherited::socket(number).map_err(|error| format!("{name} is {number}: {error}"))
}

/// Reads the configuration.
pub(crate) fn read_config(path: &Path) -> Result<NodeConfig, BootstrapError> {
    let text = fs::read(path).map_err(failed("read", path))?;
    let config: NodeConfig = serde_json::from_slice(&text)
        .map_err(|source| BootstrapError::Config { path: path.to_owned(), source })?;
    match contradiction(&config) {
        None => Ok(config),
        Some(what) => Err(BootstrapError::Contradiction { path: path.to_owned(), what }),
    }
}

fn contradiction(config: &NodeConfig) -> Option<String> {
    let own = config.node;
    let Some(entry) = config.node_entry(own) else {
        return Some(format!("this node, {own}, is not among its nodes"));
    };
    if let Some(strange) = config.nodes.iter().find(|n| !(1..=64).contains(&n.id.0)) {
        return Some(format!("node number {} is not among 1 to 64", strange.id.0));
    }
    if config.port == 0 {
        return Some("the port is 0".into());
    }
    let usable = |n: &&stead_model::config::NetworkEntry| n.role.carries_cluster();
    let reached =
        |n: &stead_model::config::NetworkEntry| entry.addresses.iter().any(|a| a.network == n.id);
    if config.nodes.len() > 1 && !config.networks.iter().filter(usable).any(reached) {
        return Some(format!("{own} has no address on a network that carries cluster traffic"));
    }
    if config.first_voters().is_empty() {
        return Some("the quorum mode leaves no voter".into());
    }
    None
}

/// Reads the cluster key.
pub(crate) fn read_key(path: &Path) -> Result<[u8; 32], BootstrapError> {
    let mode = fs::metadata(path).map_err(failed("read", path))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(BootstrapError::KeyMode { path: path.to_owned(), mode });
    }
    let bytes = fs::read(path).map_err(failed("read", path))?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| BootstrapError::KeySize { path: path.to_owned(), bytes: length })
}

/// Makes the folders of a node.
pub(crate) fn make_folders(paths: &Paths) -> Result<(), BootstrapError> {
    for path in [&paths.var, &paths.run] {
        DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(failed("make", path))?;
    }
    Ok(())
}

/// The node's own log, locked for the life of this process. At the first start of the node it is
/// made; one that is missing later was lost, and with it votes and entries that others count on.
pub(crate) fn open_log(paths: &Paths, config: &NodeConfig) -> Result<File, BootstrapError> {
    let (path, first) = (&paths.node_log(), &paths.first_start());
    let is_first = first.try_exists().map_err(failed("look for", first))?;
    if !path.try_exists().map_err(failed("look for", path))? {
        if !is_first {
            return Err(BootstrapError::LogMissing { path: path.clone() });
        }
        make_log(path, config)?;
    }
    if is_first {
        fs::remove_file(first).map_err(failed("remove", first))?;
        sync_folder(first)?;
    }
    let file =
        OpenOptions::new().read(true).write(true).open(path).map_err(failed("open", path))?;
    let until = Instant::now() + LOG_TIMEOUT;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() > until {
            return Err(BootstrapError::LogBusy { path: path.to_owned() });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    check_log(path, &file)?;
    Ok(file)
}

/// Refuses what cannot be a log at all; the core judges the rest.
fn check_log(path: &Path, file: &File) -> Result<(), BootstrapError> {
    let foreign = |what: String| BootstrapError::LogForeign { path: path.to_owned(), what };
    let mut block = vec![0; Identity::BYTES as usize];
    file.read_exact_at(&mut block, Identity::OFFSET)
        .map_err(|_| foreign("it is too short".into()))?;
    let identity = Identity::decode(&block, None).map_err(|error| foreign(error.to_string()))?;
    let Medium::NodeLog { area } = identity.medium else {
        return Err(foreign("it is formatted as a quorum disk".into()));
    };
    let bytes = file.metadata().map_err(failed("read", path))?.len();
    if bytes < area.end() {
        return Err(foreign(format!("it has {bytes} bytes of {}: it was cut", area.end())));
    }
    Ok(())
}

/// Makes a log beside its place, complete and durable, and moves it there.
fn make_log(path: &Path, config: &NodeConfig) -> Result<(), BootstrapError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let sizes = LogSizes::default();
    let mut disk = [0; 16];
    rustix::rand::getrandom(&mut disk, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| failed("draw a number for", path)(e.into()))?;
    let pieces = format::node_log(config, disk, sizes)?;
    write_log(&new, &pieces, &sizes).map_err(failed("write", &new))?;
    fs::rename(&new, path).map_err(failed("make", path))?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> Result<(), BootstrapError> {
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    File::open(folder).and_then(|f| f.sync_all()).map_err(failed("sync", folder))
}

fn write_log(path: &Path, pieces: &[format::Piece], sizes: &LogSizes) -> io::Result<()> {
    let identity = Identity::node_log(DiskId([0; 16]), sizes.ring_bytes, sizes.snapshot_bytes)
        .map_err(io::Error::other)?;
    let Medium::NodeLog { area } = identity.medium else {
        return Err(io::Error::other("the identity of a node log says something else"));
    };
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // In memory the size would be taken from everybody at once; on a disk it is had for good.
    if fstatfs(&file)?.f_type == TMPFS {
        file.set_len(area.end())?;
    } else {
        fallocate(&file, FallocateFlags::empty(), 0, area.end())?;
    }
    // Blocks that were written once need no metadata when they are written again.
    let zeros = vec![0; 1 << 20];
    let mut left = area.end() - 2 * sizes.snapshot_bytes;
    while left > 0 {
        let piece = left.min(zeros.len() as u64);
        file.write_all(&zeros[..piece as usize])?;
        left -= piece;
    }
    for (offset, bytes) in pieces {
        file.write_all_at(bytes, *offset)?;
    }
    file.sync_all()
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BootstrapError {
    move |source| BootstrapError::Io { verb, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::peers_config as config;

    fn text(error: BootstrapError) -> String {
        format!("{error} | {}", error.hint().unwrap_or_default())
    }

    /// A node that was never started.
    fn new_node(root: &Path) -> Paths {
        let paths = Paths::under(root);
        fs::create_dir_all(&paths.var).unwrap();
        fs::create_dir_all(&paths.etc).unwrap();
        fs::write(paths.first_start(), b"").unwrap();
        paths
    }

    #[test]
    fn a_log_is_made_once_and_never_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let paths = new_node(folder.path());
        let (path, config) = (paths.node_log(), config(1, 1));
        let log = open_log(&paths, &config).unwrap();
        let first = fs::read(&path).unwrap();
        drop(log);
        drop(open_log(&paths, &config).unwrap());
        assert!(fs::read(&path).unwrap() == first, "the log was written again");
        assert!(!paths.var.join("node.log.new").exists());
        fs::remove_file(&path).unwrap();
        let told = text(open_log(&paths, &config).unwrap_err());
        assert!(told.contains("is missing") && told.contains("never start a voter"), "{told}");
        assert!(!path.exists(), "a lost log was made anew");
    }

    #[test]
    fn a_foreign_or_cut_log_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let paths = new_node(folder.path());
        let path = paths.node_log();
        for (bytes, what) in [(0, "too short"), (8192, "is no log")] {
            fs::write(&path, vec![7; bytes]).unwrap();
            let told = text(open_log(&paths, &config(1, 1)).unwrap_err());
            assert!(told.contains(what) && told.contains("never start a voter"), "{told}");
            assert_eq!(fs::read(&path).unwrap(), vec![7; bytes]);
        }
        fs::remove_file(&path).unwrap();
        fs::write(paths.first_start(), b"").unwrap();
        drop(open_log(&paths, &config(1, 1)).unwrap());
        OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 20).unwrap();
        let told = text(open_log(&paths, &config(1, 1)).unwrap_err());
        assert!(told.contains("it was cut"), "{told}");
    }

    #[test]
    fn a_key_that_others_can_read_or_of_another_length_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.key");
        assert!(text(read_key(&path).unwrap_err()).contains("cannot read"));
        fs::write(&path, [1; 32]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(text(read_key(&path).unwrap_err()).contains("chmod 0600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_key(&path).unwrap(), [1; 32]);
        fs::write(&path, [1; 31]).unwrap();
        assert!(text(read_key(&path).unwrap_err()).contains("31 bytes instead of 32"));
    }

    #[test]
    fn the_certificate_of_another_node_is_refused() {
        use stead_trust::Authority;
        let folder = tempfile::tempdir().unwrap();
        let pki = Paths::under(folder.path()).pki();
        let told = text(read_keys(&pki, &config(1, 1)).unwrap_err());
        assert!(told.contains("cannot read") && told.contains("cluster create"), "{told}");
        let now = std::time::SystemTime::now();
        let authority = Authority::create(99, now).unwrap();
        pki.install(&authority, &authority.issue(NodeId(2), now).unwrap()).unwrap();
        let told = text(read_keys(&pki, &config(1, 1)).unwrap_err());
        assert!(told.contains("belongs to n2 of cluster 63, this is n1 of cluster 63"), "{told}");
        let key = pki.cluster_key_file();
        fs::write(&key, [7; 32]).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_keys(&pki, &config(2, 1)).unwrap().keys.own.bytes, [7; 32]);
    }

    #[test]
    fn a_configuration_that_contradicts_itself_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.json");
        let told = text(read_config(&path).unwrap_err());
        assert!(told.contains("cannot read") && told.contains("lab up"), "{told}");
        fs::write(&path, b"{\"cluster\": 1}").unwrap();
        assert!(text(read_config(&path).unwrap_err()).contains("is no node configuration"));
        let mut wrong = config(1, 1);
        wrong.node = NodeId(9);
        fs::write(&path, serde_json::to_vec(&wrong).unwrap()).unwrap();
        assert!(text(read_config(&path).unwrap_err()).contains("n9, is not among its nodes"));
        wrong.node = NodeId(1);
        wrong.nodes[0].addresses.clear();
        fs::write(&path, serde_json::to_vec(&wrong).unwrap()).unwrap();
        assert!(text(read_config(&path).unwrap_err()).contains("n1 has no address"));
        fs::write(&path, serde_json::to_vec(&config(1, 1)).unwrap()).unwrap();
        assert_eq!(read_config(&path).unwrap(), config(1, 1));
    }
}
