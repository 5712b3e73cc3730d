//! When orders may be given at all: under a lease that is newer than the last hard stop and than
//! every lease of an earlier service, while no hard stop is under way and a monitor is there.

use stead_model::LeaseNumber;
use stead_model::order::GuardStatus;

/// Whether and under which lease orders may be given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gate {
    /// Orders are given only under leases above this one.
    floor: LeaseNumber,
    lease: Option<LeaseNumber>,
    guard: Guard,
    monitor: Monitor,
    leased: Leased,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Guard {
    Admits,
    StopsEverything,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Monitor {
    Ready,
    Absent,
}

/// Whether this service has ever had a lease of its own (R9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leased {
    Never,
    Once,
}

impl Gate {
    /// The gate of a service that starts: closed.
    #[must_use]
    pub const fn new(guard: &GuardStatus) -> Self {
        let admits = if guard.stopping { Guard::StopsEverything } else { Guard::Admits };
        Self {
            floor: guard.lease_last,
            lease: None,
            guard: admits,
            monitor: Monitor::Absent,
            leased: Leased::Never,
        }
    }

    /// The lease under which orders may be given now.
    #[must_use]
    pub fn open(&self) -> Option<LeaseNumber> {
        match (self.guard, self.monitor) {
            (Guard::Admits, Monitor::Ready) => self.lease.filter(|lease| *lease > self.floor),
            (Guard::StopsEverything, _) | (_, Monitor::Absent) => None,
        }
    }

    /// Whether this service ever had a lease of its own.
    #[must_use]
    pub const fn was_leased(&self) -> bool {
        matches!(self.leased, Leased::Once)
    }

    /// The lease in force changed.
    pub fn leased(&mut self, lease: Option<LeaseNumber>) {
        self.lease = lease;
        if lease.is_some_and(|lease| lease > self.floor) {
            self.leased = Leased::Once;
        }
    }

    /// The guard stops everything, the monitor first: orders under leases up to this one are
    /// refused, and a new monitor comes when it is done.
    pub fn hard_stop_began(&mut self, lease: LeaseNumber) {
        self.floor = self.floor.max(lease);
        self.guard = Guard::StopsEverything;
        self.monitor = Monitor::Absent;
    }

    /// The guard has stopped everything.
    pub fn hard_stop_done(&mut self, lease: LeaseNumber) {
        self.floor = self.floor.max(lease);
        self.guard = Guard::Admits;
    }

    /// A monitor died.
    pub fn monitor_died(&mut self) {
        self.monitor = Monitor::Absent;
    }

    /// A monitor takes orders.
    pub fn monitor_ready(&mut self) {
        self.monitor = Monitor::Ready;
    }
}
