//! What the guard and its children (node service, monitors) say to each other.
//!
//! Each child inherits one end of a socket pair. *Nothing runs that the guard did not admit*:
//! before a monitor starts a program or adds an address it sends one [`Claim`] with how to undo
//! it. Programs are started by the guard itself, so an adopted one keeps its parent and its exit
//! status.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ids::{Epoch, GroupId, LeaseNumber, ResourceId};
use crate::order::{GuardOrder, GuardReport, GuardStatus, MonitorName};
use crate::time::Span;

/// Monitors of their own that the resources of one node may have: each is a process of a few
/// mebibytes (`docs/internals/processes.md` has the figure), so that all of them together stay
/// well below what one application takes.
pub const OWN_MONITORS_MAX: u8 = 32;

/// Real-time priority of the main thread of the node service: what the guard, whose own is higher,
/// lets it ask for.
pub const NODE_PRIORITY: i32 = 5;

/// Version of the messages in this file; both sides are the same binary, an upgrade compares.
pub const VERSION: u16 = 4;

/// Number of one admitted thing, unique in the life of a guard.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct InstanceId(pub u64);

/// Number of one life of a monitor, unique in the life of a guard.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MonitorId(pub u32);

/// For whom something shall run, and by which right.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// The group.
    pub group: GroupId,
    /// The resource.
    pub resource: ResourceId,
    /// The epoch of the ownership.
    pub epoch: Epoch,
    /// The lease of the order.
    pub lease: LeaseNumber,
}

/// What shall run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Thing {
    /// A program, started and killed by the guard.
    Program(ProgramSpec),
    /// A place in which programs are run one after the other ([`MonitorToGuard::Act`]), and where
    /// whatever they leave running stays: beside the node's own processes, in a control group. To
    /// everybody else it is a program. The text is its name, as in [`ProgramSpec::name`].
    Agent(String),
    /// An address, added by the monitor after the admission.
    Address(AddressUndo),
    /// A file system on a cluster disk, mounted by the monitor after the admission.
    Mount(MountUndo),
    /// Nothing outside the monitor; it ends with the monitor.
    Mark,
    /// A systemd service that the monitor starts after the admission. To everybody else it is a
    /// program, although PID 1 starts its processes: the guard has its control group.
    Unit(UnitUndo),
}

/// What the programs of a resource may take together, by the kernel's doing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Memory in bytes; `None`: no limit.
    pub memory_bytes: Option<u64>,
    /// Processes and threads; `None`: a share of what the kernel can have.
    pub processes: Option<u64>,
}

/// The kind of a [`Thing`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum ThingKind {
    /// A program.
    Program,
    /// An address.
    Address,
    /// A mounted file system.
    Mount,
    /// Nothing outside the monitor.
    Mark,
}

/// How a program is started and stopped.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct ProgramSpec {
    /// Program and arguments; the program is searched in PATH if it has no slash.
    pub argv: Vec<String>,
    /// The whole environment, `NAME=VALUE`.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// User to run as; `None`: the guard's own.
    pub user: Option<UserIds>,
    /// Name of the cgroup below the guard's, and of the file the output goes to.
    pub name: String,
}

/// A user as the kernel knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UserIds {
    /// User number.
    pub uid: u32,
    /// Main group number.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
}

/// How the guard takes an address away without the monitor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AddressUndo {
    /// The address and interface, for people.
    pub what: String,
    /// The address: from its admission on it passes only while the lease runs.
    pub address: IpAddr,
    /// A complete `RTM_DELADDR` request; the guard only sets its sequence number. Empty if the
    /// interface is not known: the address is taken away wherever it is.
    pub request: Vec<u8>,
}

/// How the guard takes a mounted file system away without the monitor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MountUndo {
    /// The device and where it is mounted, for people.
    pub what: String,
    /// Path of the block device that holds the file system, without links.
    pub device: String,
    /// The device's number, so that another device under that path is left alone.
    pub number: u64,
    /// Where it is mounted.
    pub point: String,
}

/// How the guard ends a systemd service without the monitor and without PID 1.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UnitUndo {
    /// Its name; [`crate::unit::condition`] is the file without which it does not start, which the
    /// guard makes with the admission.
    pub unit: String,
    /// Its control group, as in `/proc/PID/cgroup`. It need not be there yet.
    pub cgroup: String,
}

/// From a monitor to the guard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MonitorToGuard {
    /// The monitor is ready for orders; answered by [`GuardToMonitor::Inventory`].
    Hello {
        /// [`VERSION`] of the monitor.
        version: u16,
    },
    /// May this run? A program is started with the answer.
    Admit {
        /// Comes back with the answer.
        request: u64,
        /// For whom.
        claim: Claim,
        /// What.
        thing: Thing,
        /// What its programs may take.
        limits: Limits,
    },
    /// Send a signal to a program.
    Signal {
        /// The program.
        instance: InstanceId,
        /// Number of the signal.
        signal: i32,
    },
    /// End it at once: kill a program and all its children, take an address away, shut a file
    /// system down and detach it; ends with [`GuardToMonitor::Exited`].
    Kill {
        /// The thing.
        instance: InstanceId,
    },
    /// Run a program in an agent's place; answered by [`GuardToMonitor::Acted`].
    Act {
        /// The agent.
        instance: InstanceId,
        /// What to run.
        act: Act,
    },
    /// Kill a program in an agent's place, with its process group.
    EndAct {
        /// The agent.
        instance: InstanceId,
        /// Number of the act.
        number: u64,
    },
    /// Nothing is left of an address, mount or mark; or PID 1 says that a unit is inactive, which
    /// the guard believes if its control group is empty.
    Released {
        /// The address, mount, mark or unit.
        instance: InstanceId,
    },
    /// A mount was made. One descriptor of its root comes along: by it the guard shuts the file
    /// system down even where the mount point shows something else by then.
    Mounted {
        /// The mount.
        instance: InstanceId,
    },
    /// A mount is about to be ended by the monitor: the guard lets go of its descriptor, which
    /// would keep the file system busy. Its duty to end the mount stays.
    Unmounting {
        /// The mount.
        instance: InstanceId,
    },
}

/// From the guard to a monitor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum GuardToMonitor {
    /// All that runs, also from the time of an earlier monitor.
    Inventory(Vec<Running>),
    /// It may run; a program is being started.
    Admitted {
        /// The request.
        request: u64,
        /// Its number from now on.
        instance: InstanceId,
        /// Process number of a program's init, as the guard sees it.
        pid: Option<u32>,
    },
    /// It may not, or a program could not be started.
    Refused {
        /// The request.
        request: u64,
        /// Why.
        refusal: Refusal,
    },
    /// The application of a program was executed.
    Started {
        /// The program.
        instance: InstanceId,
    },
    /// Nothing is left of a thing that the monitor did not release itself.
    Exited {
        /// The thing.
        instance: InstanceId,
        /// How it ended.
        status: ExitStatus,
    },
    /// A program in an agent's place ended; what it left running goes on.
    Acted {
        /// The agent.
        instance: InstanceId,
        /// Which program, how it ended.
        acted: Acted,
    },
    /// Something that an act left running in an agent's place ended.
    Stirred {
        /// The agent.
        instance: InstanceId,
    },
}

/// One program that runs in an agent's place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Act {
    /// Comes back with its end.
    pub number: u64,
    /// What to run.
    pub program: ProgramSpec,
    /// Whether the end of what it leaves running is told ([`GuardToMonitor::Stirred`]).
    pub settles: bool,
}

/// How such a program ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Acted {
    /// Number of the act.
    pub number: u64,
    /// How it ended.
    pub status: ExitStatus,
    /// The end of its output.
    pub said: String,
}

/// Something admitted that still acts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Running {
    /// Its number.
    pub instance: InstanceId,
    /// For whom it was admitted.
    pub claim: Claim,
    /// Its kind.
    pub kind: ThingKind,
    /// Process number of a program's init.
    pub pid: Option<u32>,
}

/// How a program ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ExitStatus {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It could not be executed.
    NotExecuted(String),
    /// Its init was killed and could not tell.
    Unknown,
    /// The kernel killed it, or some of it, because memory was short.
    OutOfMemory {
        /// Processes that were killed.
        kills: u64,
        /// The limit that it had.
        limit_bytes: Option<u64>,
    },
}

/// Why the guard does not admit something.
#[derive(Clone, PartialEq, Eq, Debug, Error, Serialize, Deserialize)]
pub enum Refusal {
    /// No lease is in force.
    #[error("the node holds no lease")]
    NoLease,
    /// The order is from before a hard stop.
    #[error("a hard stop began after lease {stopped}; the order is of an older one")]
    LeaseOver {
        /// The last lease before the hard stop.
        stopped: LeaseNumber,
    },
    /// The order is from before the present node service began.
    #[error("the node service was restarted after lease {last}; the order is of the former one")]
    FormerService {
        /// The last lease before the restart.
        last: LeaseNumber,
    },
    /// A hard stop is under way.
    #[error("a hard stop is under way")]
    Stopping,
    /// The resource still acts for another epoch.
    #[error("it still runs for {epoch}")]
    OtherEpoch {
        /// That epoch.
        epoch: Epoch,
    },
    /// It runs for this epoch already.
    #[error("it runs already, as instance {}", .instance.0)]
    AlreadyAdmitted {
        /// Its number.
        instance: InstanceId,
    },
    /// The monitor that asks was killed or never known.
    #[error("the monitor that asks is not in service")]
    UnknownMonitor,
    /// It was admitted, but the program could not be started.
    #[error("the program could not be started: {0}")]
    NotStarted(String),
}

/// From the node service to the guard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NodeToGuard {
    /// A node service started; answered by all [`GuardToNode::Notice`]s so far and a
    /// [`GuardToNode::Status`].
    Hello {
        /// [`VERSION`] of the node service.
        version: u16,
    },
    /// An order.
    Order(GuardOrder),
    /// Asks for a [`GuardToNode::Status`].
    Status,
    /// A resource shall have a monitor of its own that lives; answered by
    /// [`GuardReport::OwnMonitorReady`] or [`GuardReport::OwnMonitorRefused`].
    OwnMonitor(ResourceId),
    /// A resource needs its own monitor no longer: nothing of it runs.
    EndOwnMonitor(ResourceId),
    /// A monitor does not answer: look at what it does, then kill it. What it hosts runs on.
    Replace {
        /// Which.
        monitor: MonitorName,
        /// For how long it has not answered.
        silent: Span,
    },
}

/// From the guard to the node service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum GuardToNode {
    /// Something happened.
    Report(GuardReport),
    /// What runs under which lease.
    Status(GuardStatus),
    /// Something people should know, as a record.
    Notice {
        /// Whether somebody should look (else it is only good to know).
        warning: bool,
        /// Stable code, as in `memory-not-locked`.
        code: String,
        /// One sentence.
        text: String,
    },
}

impl Thing {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ThingKind {
        match self {
            Self::Program(_) | Self::Agent(_) | Self::Unit(_) => ThingKind::Program,
            Self::Address(_) => ThingKind::Address,
            Self::Mount(_) => ThingKind::Mount,
            Self::Mark => ThingKind::Mark,
        }
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thing{}", self.0)
    }
}

impl fmt::Display for MonitorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "monitor{}", self.0)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, resource, epoch, lease } = self;
        write!(f, "{group}/{resource} {epoch} {lease}")
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with code {code}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
            Self::NotExecuted(why) => write!(f, "could not be executed: {why}"),
            Self::Unknown => f.write_str("was killed"),
            Self::OutOfMemory { kills, limit_bytes } => {
                let limit = limit_bytes.map(|bytes| format!(" (memory-limit {} MiB)", bytes >> 20));
                let limit = limit.unwrap_or_default();
                write!(f, "was killed by the kernel: out of memory{limit}, {kills} processes")
            }
        }
    }
}
