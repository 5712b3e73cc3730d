//! What is said over the control socket of a lab: one request and one answer per connection, each
//! a line of JSON. Both ends are the same program of the same user; the socket's directory keeps
//! everybody else out.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stead_model::NodeId;
use stead_model::config::QuorumMode;
use stead_model::profile::Profile;

use crate::disks::{Condition, DiskStatus};
use crate::fault::{Fault, Jitter};
use crate::missing::Missing;

/// What the supervisor is asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Status,
    /// Power cut.
    Crash(NodeId),
    /// Power on.
    Start(NodeId),
    /// Clean shutdown; answered when the node's PID 1 has been told.
    Stop(NodeId),
    Freeze(NodeId),
    Thaw(NodeId),
    Hang(NodeId),
    Cut(Fault),
    Jitter(Jitter),
    Heal,
    /// What is wrong with a node's path to a disk.
    SetDisk {
        node: NodeId,
        disk: String,
        condition: Condition,
    },
    /// A port on this host's loopback that leads to this address in the public network.
    OpenPort(SocketAddr),
    /// Power cut for all; the supervisor ends after the answer.
    Down,
}

/// What the supervisor answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Status(LabStatus),
    /// Done; the clock when it was begun.
    Done {
        boot_ns: u64,
    },
    Port(SocketAddr),
    Refused(String),
}

/// State of a whole lab.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LabStatus {
    /// Its name.
    pub name: String,
    /// Process that owns it.
    pub supervisor_pid: u32,
    /// How quorum is formed.
    pub quorum: QuorumMode,
    /// The timing profile it started with.
    pub profile: Profile,
    /// Version of the program that made it.
    pub version: String,
    /// The nodes.
    pub nodes: Vec<NodeStatus>,
    /// PID 1 of the client, as this host counts.
    pub client_pid: Option<u32>,
    /// Cables that are cut or slow, in words.
    pub cuts: Vec<String>,
    /// Ports of this host's loopback that lead into the public network.
    pub ports: Vec<OpenPort>,
    /// What the lab goes without.
    pub missing: Vec<Missing>,
    /// Its disks with a path per node.
    #[serde(default)]
    pub disks: Vec<DiskStatus>,
}

/// State of one node's machine; what the cluster thinks of it is another matter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node.
    pub node: NodeId,
    /// Its host name.
    pub name: String,
    /// Whether it is on.
    pub power: Power,
    /// PID 1 of the node, as this host counts.
    pub pid: Option<u32>,
    /// How often it was switched on.
    pub boots: u32,
    /// How often its guard was restarted since then.
    pub guard_restarts: u32,
    /// What went wrong last, if anything.
    pub trouble: Option<String>,
    /// Its cgroup on this host.
    pub cgroup: Option<PathBuf>,
}

/// Whether a machine is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    /// No process of it exists.
    Off,
    /// It makes its mounts and addresses.
    Booting,
    /// Its guard runs.
    On,
    /// It shuts down cleanly.
    Stopping,
    /// All its processes are stopped; its kernel still answers for it.
    Frozen,
    /// All its processes are stopped and nothing gets in or out.
    Hung,
    /// Its guard ended too often; PID 1 is left.
    Failed,
}

/// A port of this host that leads into the public network of a lab.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpenPort {
    /// On this host's loopback.
    pub local: SocketAddr,
    /// In the public network.
    pub target: SocketAddr,
}

/// The supervisor did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It is not there.
    #[error("the supervisor of lab `{lab}` does not answer")]
    Unreachable {
        /// The lab.
        lab: String,
        /// Why.
        source: io::Error,
    },
    /// It said no.
    #[error("{0}")]
    Refused(String),
    /// It answers something else; two versions are at work.
    #[error("the supervisor of lab `{lab}` gave an unexpected answer; it is another version")]
    Unexpected {
        /// The lab.
        lab: String,
    },
}

/// Asks the supervisor and waits for its answer.
pub(crate) fn ask(socket: &Path, request: &Request) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(QUESTION_LIMIT))?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    send(&mut stream, request)?;
    receive(&stream)
}

pub(crate) fn send(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line)
}

pub(crate) fn receive<T: DeserializeOwned>(stream: &UnixStream) -> io::Result<T> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}

/// How long a request may take to arrive whole; the supervisor serves one at a time.
pub(crate) const QUESTION_LIMIT: Duration = Duration::from_secs(2);

/// The supervisor waits for the kernel only: at most for the end of every node, one after another.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

const LINE_BYTES_MAX: u64 = 1 << 20;
