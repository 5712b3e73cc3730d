//! Orders from the core to the resource monitor and to the guard, and what they report back.
//!
//! These types cross the seam (effects and events of the core) and the process boundary (wire
//! frames of monitor and guard) unchanged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, GroupId, Incarnation, LeaseNumber, OrderId, ResourceId};
use crate::resource::Health;
use crate::server::VirtualServer;
use crate::time::Time;
use crate::usage::Usage;

/// An order to bring one resource online, take it offline, and so on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ResourceOrder {
    /// Number of the order; the report repeats it.
    pub order: OrderId,
    /// The group.
    pub group: GroupId,
    /// The resource.
    pub resource: ResourceId,
    /// The epoch under which the group is owned.
    pub epoch: Epoch,
    /// The lease under which the order was given; the guard refuses what acts under an older
    /// one than the last hard stop.
    pub lease: LeaseNumber,
    /// What to do.
    pub action: Action,
}

/// What the monitor shall do with a resource.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Action {
    /// Start it, or adopt it if the guard says it runs.
    Online(OnlineSpec),
    /// Stop it gracefully, then by the ladder.
    Offline,
    /// Stop it at once.
    Terminate,
    /// Look at a resource that the guard runs since before the monitor or service started.
    Adopt(OnlineSpec),
    /// Look whether a stranger has what the resource would need here. It starts nothing, and the
    /// resource may run elsewhere; answered by [`Outcome::Free`] or [`Outcome::Taken`].
    Probe(OnlineSpec),
    /// Look whether the resource could run here, before it is made so. It starts nothing and
    /// touches no resource of that name; answered by [`Outcome::Fitness`].
    Fit(Box<Wanted>),
    /// Take away what the resource left elsewhere when it went for good, its name in DNS for one.
    /// It does not run; answered by [`Outcome::Forgotten`] or [`Outcome::Remains`].
    Forget(OnlineSpec),
}

/// A resource as somebody wants it, to be judged by a possible owner.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// What it would be.
    pub spec: OnlineSpec,
    /// Where disks of the cluster are mounted, some by now and some later: what lies below is no
    /// matter of this node.
    pub mounts: BTreeSet<String>,
}

/// Whether a resource could run on a node, as far as that node can tell.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fitness {
    /// Nothing speaks against it.
    Fit,
    /// It could not: a sentence for each thing that is missing, with the property that names it.
    Unfit(Vec<String>),
    /// That could not be found out: one sentence why.
    Unsure(String),
    /// It could, and its type wants more time for something than is given.
    Advised(Vec<Advice>),
}

/// A time that the type of a resource wants at least.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Advice {
    /// The property that gives it, as in `pending-timeout`.
    pub property: String,
    /// What it is wanted for, as in `start`.
    pub action: String,
    /// How much is given, milliseconds.
    pub given_ms: u64,
    /// How much is wanted, milliseconds.
    pub wanted_ms: u64,
}

impl Fitness {
    /// Unfit if something is missing.
    #[must_use]
    pub fn lacking(missing: Vec<String>) -> Self {
        if missing.is_empty() { Self::Fit } else { Self::Unfit(missing) }
    }
}

/// All the monitor needs to run a resource.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OnlineSpec {
    /// The resource type.
    pub kind: String,
    /// Its properties.
    pub properties: BTreeMap<String, String>,
    /// Interval of the light check, milliseconds.
    pub looks_alive_ms: u64,
    /// Interval of the thorough check, milliseconds.
    pub is_alive_ms: u64,
    /// How long the transition may take, milliseconds.
    pub pending_timeout_ms: u64,
    /// The virtual server that it stands on or, for a network name and an address, is part of.
    pub server: VirtualServer,
    /// An administrator has just put it in service: a type that can looks whether a stranger has
    /// what it needs. Never in a failover.
    pub first: bool,
    /// Whether it gets a monitor of its own when it is started next.
    pub separate: bool,
}

/// What the monitor says of a resource.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ResourceReport {
    /// The order it answers; a pushed failure repeats the last order's number.
    pub order: OrderId,
    /// The group.
    pub group: GroupId,
    /// The resource.
    pub resource: ResourceId,
    /// The epoch of the order.
    pub epoch: Epoch,
    /// What happened.
    pub outcome: Outcome,
}

/// What happened to a resource.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// It is online now.
    Online,
    /// It is offline now: nothing of it acts any more.
    Offline,
    /// It could not be started, or stopped by itself; nothing of it acts any more.
    Failed(String),
    /// It could not be stopped: something of it may still act.
    StopFailed(String),
    /// The guard refused: the lease of the order is over.
    Refused(String),
    /// A check answered.
    Health(Health, String),
    /// Something worth an event, without a change of state.
    Notice(String),
    /// A probe: no stranger has what the resource needs, as far as this node can tell.
    Free,
    /// A probe: a stranger has it; one sentence that names it.
    Taken(String),
    /// Whether it could run here.
    Fitness(Fitness),
    /// Nothing is left elsewhere; what was taken away, empty if there was nothing.
    Forgotten(String),
    /// Something is left elsewhere; what, and why.
    Remains(String),
    /// What its programs use, when that is another step than was told before.
    Used(Usage),
}

/// An order to the guard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum GuardOrder {
    /// The lease runs until then (CLOCK_BOOTTIME); then everything is stopped.
    Lease {
        /// Its number: the number of the question that gained it.
        number: LeaseNumber,
        /// Its end.
        until: Time,
    },
    /// Stop everything now.
    HardStop {
        /// Why.
        why: String,
    },
}

/// What the guard says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum GuardReport {
    /// The deadline was moved.
    LeaseSet {
        /// The lease.
        number: LeaseNumber,
        /// Its end.
        until: Time,
    },
    /// A hard stop began: orders under leases up to this number are refused from now on.
    HardStopBegan {
        /// The last lease before it.
        lease: LeaseNumber,
        /// Why.
        why: String,
    },
    /// The hard stop is finished: nothing runs.
    HardStopDone {
        /// The last lease before it.
        lease: LeaseNumber,
    },
    /// A monitor died; its resources still run and are unwatched until a new one adopts them.
    MonitorDied {
        /// How it ended.
        why: String,
    },
    /// A monitor (the first or a new one) is ready for orders.
    MonitorReady,
    /// The guard was told to end: the node shall leave the cluster in order. What is not done
    /// soon is cut short by a hard stop.
    Leave,
    /// A resource's own monitor died; what it hosted still runs and is unwatched. Another one is
    /// started when somebody asks for it.
    OwnMonitorDied {
        /// The resource.
        resource: ResourceId,
        /// How it ended.
        why: String,
    },
    /// A resource's own monitor, the first or a new one, is ready for orders.
    OwnMonitorReady(OwnMonitor),
    /// A resource gets no monitor of its own.
    OwnMonitorRefused {
        /// The resource.
        resource: ResourceId,
        /// Why, with what to do about it.
        why: String,
    },
}

/// A monitor that hosts one resource only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct OwnMonitor {
    /// The resource.
    pub resource: ResourceId,
    /// Number of its socket, from 1; freed with the monitor.
    pub slot: u8,
}

/// Which monitor of a node is meant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum MonitorName {
    /// The one that hosts every resource without a monitor of its own.
    Shared,
    /// The own one of this resource.
    Own(ResourceId),
}

impl fmt::Display for MonitorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared => f.write_str("the resource monitor"),
            Self::Own(resource) => write!(f, "the monitor of resource `{resource}`"),
        }
    }
}

/// What the guard tells a node service that starts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GuardStatus {
    /// This life of the guard. A new one means that nothing of an earlier one runs (R6).
    pub incarnation: Incarnation,
    /// The lease in force, if one.
    pub lease: Option<(LeaseNumber, Time)>,
    /// The highest lease number the guard has ever heard of; question numbers go on above it.
    pub lease_last: LeaseNumber,
    /// Whether a hard stop is under way.
    pub stopping: bool,
    /// What runs.
    pub admitted: Vec<Admitted>,
    /// Resources that are hosted by a monitor of their own, whether or not it lives now.
    pub own_monitors: Vec<OwnMonitor>,
}

/// Something that the guard admitted and that still acts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Admitted {
    /// The group.
    pub group: GroupId,
    /// The resource.
    pub resource: ResourceId,
    /// The epoch it was admitted for.
    pub epoch: Epoch,
}

impl fmt::Display for ResourceOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match &self.action {
            Action::Online(_) => "online",
            Action::Offline => "offline",
            Action::Terminate => "terminate",
            Action::Adopt(_) => "adopt",
            Action::Probe(_) => "probe",
            Action::Fit(_) => "fit",
            Action::Forget(_) => "forget",
        };
        let Self { order, group, resource, epoch, lease, .. } = self;
        write!(f, "{order} {verb} {group}/{resource} {epoch} {lease}")
    }
}

impl fmt::Display for ResourceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { order, group, resource, epoch, outcome } = self;
        write!(f, "{order} {group}/{resource} {epoch} {outcome:?}")
    }
}

impl fmt::Display for GuardOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease { number, until } => write!(f, "lease {number} until {until}"),
            Self::HardStop { why } => write!(f, "hard stop: {why}"),
        }
    }
}

impl fmt::Display for GuardReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeaseSet { number, until } => write!(f, "lease {number} set until {until}"),
            Self::HardStopBegan { lease, why } => write!(f, "hard stop after {lease}: {why}"),
            Self::HardStopDone { lease } => write!(f, "hard stop after {lease} done"),
            Self::MonitorDied { why } => write!(f, "monitor died: {why}"),
            Self::MonitorReady => write!(f, "monitor ready"),
            Self::Leave => write!(f, "the node shall leave"),
            Self::OwnMonitorDied { resource, why } => {
                write!(f, "monitor of {resource} died: {why}")
            }
            Self::OwnMonitorReady(own) => write!(f, "monitor of {} ready", own.resource),
            Self::OwnMonitorRefused { resource, why } => {
                write!(f, "no monitor for {resource}: {why}")
            }
        }
    }
}
