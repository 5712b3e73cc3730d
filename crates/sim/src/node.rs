//! One simulated machine: power, clock, guard, monitor, node service, its own log disk.

use stead_core::Cluster;
use stead_guard::admission::Guard;
use stead_model::config::NodeConfig;
use stead_model::forced::History;
use stead_model::keys::Keys;
use stead_model::program::Program;
use stead_model::wire::guard::MonitorId;
use stead_model::{Incarnation, LogIndex, NodeId, Term, Time, VoterId};

use crate::agenda::Happening;
use crate::clock::{Clock, Instant};
use crate::disks::{Media, Path};
use crate::monitor::Monitor;

/// A machine and everything that runs on it.
#[derive(Debug)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// Its configuration file.
    pub config: NodeConfig,
    /// Whether it has power.
    pub power: Power,
    /// Number of the present life of its guard.
    pub boot: u64,
    /// Its boot clock.
    pub clock: Clock,
    /// The guard, while there is power.
    pub keeper: Option<Keeper>,
    /// The node service, while it runs.
    pub service: Option<Service>,
    /// Number of the last node service.
    pub service_last: u64,
    /// What it has on its own log disk.
    pub log: Media,
    /// What it put aside when it gave its log up.
    pub aside: Media,
    /// Per mille of operations on its own log that fail now.
    pub log_failing: u64,
    /// How many times slower its disks are now.
    pub disk_slow: u64,
    /// Its path to the quorum disk.
    pub path: Path,
    /// What happened to a process while it was stopped.
    pub parked: Vec<Happening>,
    /// Whether an operation on its log failed in the life of this service.
    pub log_failed: bool,
    /// Its keys of the cluster.
    pub keys: Keys,
    /// What its next node service is.
    pub program: Program,
}

/// Whether the machine works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Power {
    /// It has no power.
    Off,
    /// It works.
    On,
    /// Its processes are stopped, its clock and kernel go on.
    Frozen,
    /// A hypervisor paused it: its clock stands still (H14).
    Paused,
    /// Only its node service is stopped.
    ServiceStalled,
}

impl Power {
    /// Whether the guard gets any time.
    #[must_use]
    pub const fn guard_runs(self) -> bool {
        matches!(self, Self::On | Self::ServiceStalled)
    }
}

/// The guard and what it knows.
#[derive(Debug)]
pub struct Keeper {
    /// The real machine.
    pub guard: Guard,
    /// Its next deadline on the agenda.
    pub timer: Option<Timer>,
    /// The monitor, while one runs.
    pub monitor: Option<Monitor>,
    /// Number of the next monitor.
    pub monitor_next: MonitorId,
    /// End of the last lease it was ordered to use.
    pub until: Time,
    /// When the node last woke from a freeze.
    pub woke: Time,
    /// True time of the last hard stop's deadline for everything.
    pub stop_by: Instant,
    /// Earliest next delivery from the service to the guard, and from the guard to the service.
    pub lanes: [Instant; 2],
}

/// A deadline on the agenda: processes wake a little late.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timer {
    /// True moment of the deadline.
    pub due: Instant,
    /// When the process wakes for it.
    pub fires_at: Instant,
}

/// A node service.
#[derive(Debug)]
pub struct Service {
    /// The core.
    pub cluster: Box<Cluster>,
    /// Number of this life.
    pub life: u64,
    /// Random number of this life.
    pub incarnation: Incarnation,
    /// Its next deadline on the agenda.
    pub timer: Option<Timer>,
    /// Earliest next delivery from the service to the monitor, and from the monitor to the
    /// service.
    pub lanes: [Instant; 2],
    /// What was last seen of the core.
    pub seen: Seen,
    /// How far it had applied before the call whose effects are carried out.
    pub applied_before: LogIndex,
}

/// What the checkers last saw of a core.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Seen {
    /// The history of its log.
    pub history: History,
    /// How far it has applied.
    pub applied: LogIndex,
    /// Which of its replicas lead, in which term.
    pub leading: Vec<(VoterId, Term)>,
    /// Whether it hosts D.
    pub hosts: bool,
}

impl Node {
    /// A machine without power, with a formatted log disk.
    #[must_use]
    pub fn new(config: NodeConfig, log: Media, keys: Keys) -> Self {
        Self {
            id: config.node,
            config,
            power: Power::Off,
            boot: 0,
            clock: Clock::new(0, 0, 0),
            keeper: None,
            service: None,
            service_last: 0,
            log,
            aside: Media::default(),
            log_failing: 0,
            disk_slow: 1,
            path: Path::Up,
            parked: Vec::new(),
            log_failed: false,
            keys,
            program: Program::own(),
        }
    }

    /// Whether the machine has power.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.power != Power::Off
    }
}

/// Reserves the next moment of an ordered lane at or after `at`.
pub fn in_order(lane: &mut Instant, at: Instant) -> Instant {
    *lane = at.max(*lane + 1);
    *lane
}
