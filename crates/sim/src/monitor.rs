//! The monitor of a simulated node: a queue of orders per resource, and a question to the guard
//! before anything starts.
//!
//! It may be stopped with unread orders and go on later, die and be replaced; what the guard runs
//! survives it. Starts and stops take random times, may fail, or hang until terminated.

use std::collections::{BTreeMap, VecDeque};

use stead_model::order::ResourceOrder;
use stead_model::wire::guard::{InstanceId, MonitorId};
use stead_model::{OrderId, ResourceId};

use crate::agenda::Happening;

/// One life of a monitor.
#[derive(Debug)]
pub struct Monitor {
    /// Its number.
    pub id: MonitorId,
    /// Whether it takes orders.
    pub readiness: Readiness,
    /// What it has not read while it was stopped.
    pub parked: Vec<Happening>,
    /// Its resources.
    pub runners: BTreeMap<ResourceId, Runner>,
}

/// Whether a monitor takes orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readiness {
    /// It starts.
    Starting,
    /// It reads orders.
    Ready,
    /// It is stopped and reads nothing.
    Stopped,
}

/// One resource in a monitor.
#[derive(Clone, Default, Debug)]
pub struct Runner {
    /// Orders not begun, each with the life of the service that gave it.
    pub queue: VecDeque<(u64, ResourceOrder)>,
    /// What it does.
    pub phase: Phase,
    /// Number of the operation under way.
    pub operation: u64,
    /// The order under way.
    pub current: Option<(u64, ResourceOrder)>,
    /// The last order begun, for pushed failures.
    pub last: Option<(u64, OrderId, ResourceOrder)>,
    /// What runs of it.
    pub instance: Option<InstanceId>,
}

/// What a resource does.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Phase {
    /// Nothing is under way.
    #[default]
    Idle,
    /// The guard is asked.
    Asking,
    /// It starts.
    Starting,
    /// It is looked at, to be adopted.
    Adopting,
    /// It stops.
    Stopping,
    /// It hangs until it is terminated.
    Hanging,
}

impl Monitor {
    /// A monitor that starts.
    #[must_use]
    pub const fn new(id: MonitorId) -> Self {
        Self { id, readiness: Readiness::Starting, parked: Vec::new(), runners: BTreeMap::new() }
    }
}
