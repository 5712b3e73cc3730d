//! A lab from outside: opened by name, asked and ordered about through its supervisor.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};
use stead_model::NodeId;
use stead_model::profile::Profile;

use crate::cabling::Station;
use crate::clock;
use crate::control::{self, Answer, ControlError, LabStatus, NodeStatus, Power, Request};
use crate::disks::{self, Condition};
use crate::fault::{CutSpec, Fault, Jitter, Swallows};
use crate::home::{Home, LabDirs};
use crate::init::{self, Enter};
use crate::ready;
use crate::record::LabRecord;
use crate::step::{Step, StepError};
use crate::supervisor;

/// A lab that was found; whether its supervisor still answers shows at the first question.
#[derive(Clone, Debug)]
pub struct Lab {
    record: LabRecord,
}

/// One line of `lab list`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LabEntry {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub state: LabState,
    /// Number of nodes, where it is known.
    pub nodes: Option<u16>,
    /// The timing profile, where it is known.
    pub profile: Option<Profile>,
}

/// Whether a lab runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabState {
    /// Its supervisor answers.
    Running,
    /// Its supervisor was killed; only directories are left. `lab down` removes them.
    Dead,
}

/// No lab was opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none of that name, or none at all.
    #[error("there is no lab{}; `stead lab up` makes one", named(.0))]
    None(Option<String>),
    /// Which one is meant?
    #[error("several labs run: {}; name one", .0.join(", "))]
    Several(Vec<String>),
    /// Its supervisor was killed.
    #[error("lab `{0}` is dead, its supervisor does not answer; `stead lab down {0}` cleans up")]
    Dead(String),
    /// Its directories cannot be read.
    #[error(transparent)]
    Step(#[from] StepError),
}

fn named(name: &Option<String>) -> String {
    name.as_ref().map_or_else(String::new, |name| format!(" `{name}`"))
}

/// A lab was not ended, or not cleanly.
#[derive(Debug, thiserror::Error)]
pub enum DownError {
    /// There is none of that name, or several and none was named.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its supervisor did not end it.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Something could not be removed.
    #[error("lab `{lab}` has ended but left something behind")]
    Left {
        /// The lab.
        lab: String,
        /// What.
        source: StepError,
    },
}

/// A node did not get into the wanted state.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The order was not taken.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// It took too long or went wrong.
    #[error("{node} is {} instead of {}{}", .power.word(), .wanted.word(), because(.trouble))]
    NotThere {
        /// The node.
        node: Station,
        /// What it is.
        power: Power,
        /// What it should be.
        wanted: Power,
        /// What went wrong.
        trouble: Option<String>,
    },
}

fn because(trouble: &Option<String>) -> String {
    trouble.as_ref().map_or_else(String::new, |trouble| format!(": {trouble}"))
}

/// A command was not run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// Where is it to run?
    #[error(transparent)]
    Control(#[from] ControlError),
    /// There are no processes to go to.
    #[error("{0} is off")]
    Off(Station),
    /// It could not be started.
    #[error(transparent)]
    Step(#[from] StepError),
}

/// All labs of this user, sorted by name, dead ones included.
pub fn list(home: &Home) -> Result<Vec<LabEntry>, StepError> {
    let entry = |name: String| {
        let dirs = home.lab(&name);
        let record = LabRecord::read(&dirs).ok();
        let state = if dirs.alive() { LabState::Running } else { LabState::Dead };
        let (nodes, profile) = (record.as_ref().map(|r| r.nodes), record.map(|r| r.profile));
        LabEntry { name, state, nodes, profile }
    };
    Ok(home.names()?.into_iter().map(entry).collect())
}

/// Opens a lab that runs: the named one, or the only one.
pub fn open(home: &Home, name: Option<&str>) -> Result<Lab, OpenError> {
    let name = match name {
        Some(name) => name.to_owned(),
        None => only_running(home)?,
    };
    let dirs = home.lab(&name);
    if !dirs.exists() {
        return Err(OpenError::None(Some(name)));
    }
    if !dirs.alive() {
        return Err(OpenError::Dead(name));
    }
    Ok(Lab { record: LabRecord::read(&dirs)? })
}

fn only_running(home: &Home) -> Result<String, OpenError> {
    let running = list(home)?.into_iter().filter(|lab| lab.state == LabState::Running);
    let mut names: Vec<String> = running.map(|lab| lab.name).collect();
    match (names.pop(), names.is_empty()) {
        (None, _) => Err(OpenError::None(None)),
        (Some(name), true) => Ok(name),
        (Some(name), false) => {
            names.push(name);
            Err(OpenError::Several(names))
        }
    }
}

/// Ends a lab and removes every trace of it, also of a dead one: the named one, or the only one
/// there is.
pub fn down(home: &Home, name: Option<&str>) -> Result<String, DownError> {
    let name = match name {
        Some(name) => name.to_owned(),
        None => only_one(home)?,
    };
    let dirs = home.lab(&name);
    if !dirs.exists() {
        return Err(OpenError::None(Some(name)).into());
    }
    if dirs.alive() {
        end(&dirs, &name)?;
    }
    let cleaned = supervisor::remove_cgroups_left_by(&name, &dirs)
        .and_then(|()| disks::remove_left_by(&dirs))
        .and_then(|()| dirs.remove());
    cleaned.map_err(|source| DownError::Left { lab: name.clone(), source })?;
    Ok(name)
}

fn only_one(home: &Home) -> Result<String, OpenError> {
    let mut names = home.names()?;
    match (names.pop(), names.is_empty()) {
        (None, _) => Err(OpenError::None(None)),
        (Some(name), true) => Ok(name),
        (Some(name), false) => {
            names.push(name);
            Err(OpenError::Several(names))
        }
    }
}

/// Orders the supervisor to end everything and waits for its own end.
fn end(dirs: &LabDirs, lab: &str) -> Result<(), ControlError> {
    let pid = match ask(dirs, lab, &Request::Status)? {
        Answer::Status(status) => status.supervisor_pid,
        Answer::Done { .. } | Answer::Port(_) | Answer::Refused(_) => 0,
    };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = pid.and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
    match ask(dirs, lab, &Request::Down)? {
        Answer::Refused(why) => return Err(ControlError::Refused(why)),
        Answer::Done { .. } | Answer::Port(_) | Answer::Status(_) => {}
    }
    let ended = process.map_or(Ok(true), |process| ready::one(&process, END_LIMIT));
    match ended {
        Ok(true) => Ok(()),
        Ok(false) => Err(ControlError::Refused("the supervisor does not end".into())),
        Err(source) => Err(ControlError::Unreachable { lab: lab.into(), source }),
    }
}

fn ask(dirs: &LabDirs, lab: &str, request: &Request) -> Result<Answer, ControlError> {
    control::ask(&dirs.control(), request)
        .map_err(|source| ControlError::Unreachable { lab: lab.into(), source })
}

impl Lab {
    pub(crate) fn new(record: LabRecord) -> Self {
        Self { record }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// What it is made of.
    #[must_use]
    pub fn record(&self) -> &LabRecord {
        &self.record
    }

    /// Its state.
    pub fn status(&self) -> Result<LabStatus, ControlError> {
        match self.ask(&Request::Status)? {
            Answer::Status(status) => Ok(status),
            Answer::Done { .. } | Answer::Port(_) | Answer::Refused(_) => Err(self.unexpected()),
        }
    }

    /// Power cut: ports down, then every process of the node killed; nothing is said, nothing is
    /// flushed. Returns CLOCK_BOOTTIME in nanoseconds when it was begun.
    ///
    /// Its paths to the lab's disks end first: what it wrote there and did not sync is lost. Its
    /// own directories, and the quorum disk where it is a plain file, belong to the host's kernel:
    /// I/O already submitted may still land.
    pub fn crash(&self, node: NodeId) -> Result<u64, ControlError> {
        self.order(&Request::Crash(node))
    }

    /// Power on: a new life with the disks of the last one. Returns when its guard was started.
    pub fn start(&self, node: NodeId) -> Result<u64, NodeError> {
        let begun = self.order(&Request::Start(node))?;
        self.wait_power(node, Power::On, BOOT_LIMIT)?;
        Ok(begun)
    }

    /// Clean shutdown: PID 1 of the node ends the guard with SIGTERM and then itself. Returns when
    /// the machine is off.
    pub fn stop(&self, node: NodeId) -> Result<u64, NodeError> {
        let begun = self.order(&Request::Stop(node))?;
        self.wait_power(node, Power::Off, STOP_LIMIT)?;
        Ok(begun)
    }

    /// Stops all processes of the node, guard included. Its kernel goes on: it answers ARP and
    /// ICMP and completes TCP handshakes.
    pub fn freeze(&self, node: NodeId) -> Result<u64, ControlError> {
        self.order(&Request::Freeze(node))
    }

    /// Ends `freeze` or `hang`.
    pub fn thaw(&self, node: NodeId) -> Result<u64, ControlError> {
        self.order(&Request::Thaw(node))
    }

    /// As `freeze`, and nothing gets in or out of its ports. Frames are dropped, not kept: whoever
    /// sent them repeats them after the thaw (TCP) or does not (heartbeats).
    pub fn hang(&self, node: NodeId) -> Result<u64, ControlError> {
        self.order(&Request::Hang(node))
    }

    /// Cuts cables until [`Self::heal`].
    pub fn cut(&self, cut: CutSpec) -> Result<u64, ControlError> {
        self.fault(Fault { cut, swallows: Swallows::All })
    }

    /// Makes cables swallow some of what goes over them until [`Self::heal`].
    pub fn fault(&self, fault: Fault) -> Result<u64, ControlError> {
        self.order(&Request::Cut(fault))
    }

    /// Makes every frame on cables take a time of its own until [`Self::heal`].
    pub fn jitter(&self, jitter: Jitter) -> Result<u64, ControlError> {
        self.order(&Request::Jitter(jitter))
    }

    /// Mends all cables that are cut or slow.
    pub fn heal(&self) -> Result<u64, ControlError> {
        self.order(&Request::Heal)
    }

    /// Makes a node's path to a disk fail, slow or hang, or healthy again. It stays so over the
    /// lives of the node.
    pub fn set_disk(
        &self,
        node: NodeId,
        disk: &str,
        condition: Condition,
    ) -> Result<u64, ControlError> {
        self.order(&Request::SetDisk { node, disk: disk.to_owned(), condition })
    }

    /// A port of this host's loopback that leads to an address of the public network; the same
    /// target gets the same port. Open until the lab goes down.
    pub fn open_port(&self, target: SocketAddr) -> Result<SocketAddr, ControlError> {
        match self.ask(&Request::OpenPort(target))? {
            Answer::Port(local) => Ok(local),
            Answer::Done { .. } | Answer::Status(_) | Answer::Refused(_) => Err(self.unexpected()),
        }
    }

    /// Runs a command in a machine with the terminal of this process; its exit code as a shell
    /// would give it.
    pub fn exec(&self, station: Station, command: &[OsString]) -> Result<i32, ExecError> {
        let mut way = self.command(station, command)?;
        let status = way.status().step("run", way.get_program().display())?;
        Ok(status.code().unwrap_or(1))
    }

    /// A command that will run in a machine: to be given its standard streams and started.
    pub fn command<S: AsRef<OsStr>>(
        &self,
        station: Station,
        command: &[S],
    ) -> Result<Command, ExecError> {
        let status = self.status()?;
        let (pid, cgroup) = match station {
            Station::Client => (status.client_pid, None),
            Station::Node(node) => {
                let found = node_of(&status, node).ok_or(ExecError::Off(station))?;
                (found.pid, found.cgroup.clone())
            }
        };
        let pid = pid.ok_or(ExecError::Off(station))?;
        let words = command.iter().map(|word| word.as_ref().to_owned()).collect();
        let enter = Enter { pid, cgroup, command: words };
        let mut way = Command::new(&self.record.program);
        way.arg(init::SUBCOMMAND).arg("enter").args(enter.arguments());
        Ok(way)
    }

    /// The API socket of a node, as this host reaches it while the node has this life.
    pub fn api_socket(&self, node: NodeId) -> Result<PathBuf, ExecError> {
        let off = || ExecError::Off(Station::Node(node));
        let pid = node_of(&self.status()?, node).and_then(|node| node.pid).ok_or_else(off)?;
        Ok(PathBuf::from(format!("/proc/{pid}/root{API_SOCKET}")))
    }

    /// A directory of the host that the node sees as `/var/lib/stead-witness`: applications leave
    /// there what they saw, outside of stead.
    #[must_use]
    pub fn witness_dir(&self, node: NodeId) -> PathBuf {
        self.record.dirs.station(&Station::Node(node).name()).join("witness")
    }

    /// What a node keeps: its `/var/lib/stead`.
    #[must_use]
    pub fn state_dir(&self, node: NodeId) -> PathBuf {
        self.record.dirs.station(&Station::Node(node).name()).join("lib")
    }

    /// What the processes of a machine printed.
    #[must_use]
    pub fn console(&self, station: Station) -> PathBuf {
        self.record.dirs.station(&station.name()).join("log").join("console.log")
    }

    /// Waits until a node's machine is in a state.
    pub fn wait_power(
        &self,
        node: NodeId,
        wanted: Power,
        limit: Duration,
    ) -> Result<(), NodeError> {
        let mut last = None;
        let settled = clock::wait_for(limit, || {
            let found = match self.status() {
                Ok(status) => node_of(&status, node).cloned()?,
                Err(error) => return Some(Err(error)),
            };
            // From these it gets nowhere by itself.
            let stuck = matches!(found.power, Power::Off | Power::Failed);
            let over = found.power == wanted || stuck;
            last = Some(found);
            over.then_some(Ok(()))
        });
        settled.unwrap_or(Ok(()))?;
        let power = last.as_ref().map_or(Power::Off, |found| found.power);
        if power == wanted {
            return Ok(());
        }
        let trouble = last.and_then(|found| found.trouble);
        Err(NodeError::NotThere { node: Station::Node(node), power, wanted, trouble })
    }

    fn order(&self, request: &Request) -> Result<u64, ControlError> {
        match self.ask(request)? {
            Answer::Done { boot_ns } => Ok(boot_ns),
            Answer::Status(_) | Answer::Port(_) | Answer::Refused(_) => Err(self.unexpected()),
        }
    }

    fn ask(&self, request: &Request) -> Result<Answer, ControlError> {
        match ask(&self.record.dirs, &self.record.name, request)? {
            Answer::Refused(why) => Err(ControlError::Refused(why)),
            answer => Ok(answer),
        }
    }

    fn unexpected(&self) -> ControlError {
        ControlError::Unexpected { lab: self.record.name.clone() }
    }
}

fn node_of(status: &LabStatus, node: NodeId) -> Option<&NodeStatus> {
    status.nodes.iter().find(|found| found.node == node)
}

/// Where the node service listens, in its machine.
const API_SOCKET: &str = "/run/stead/api.sock";

const BOOT_LIMIT: Duration = Duration::from_secs(15);
const STOP_LIMIT: Duration = Duration::from_secs(40);
const END_LIMIT: Duration = Duration::from_secs(15);
