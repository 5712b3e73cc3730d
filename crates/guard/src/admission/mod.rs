//! What the guard decides: who may run, until when, and in which order everything is stopped.
//!
//! Pure: no clock, no IO, time comes in as an argument. The guard process and the simulator drive
//! the same machine.
//!
//! ```text
//!            Lease                       lease over, HardStop
//!   ┌──────┐ ─────────► ┌────────┐ ─────────────────────────► ┌──────────┐
//!   │ idle │            │ leased │                             │ stopping │ ──► ended (Shutdown)
//!   └──────┘ ◄───────────────────────────────────────────────── └──────────┘
//!                      all gone (with a newer lease: leased)
//! ```
//!
//! A hard stop silences the addresses, kills the monitors (a stalled one may hold an order of the
//! old lease) and all programs at once, and shuts down the file systems; addresses are taken away
//! and file systems detached when the monitors are gone, or when the grace is over. A node of
//! which something is left is *dirty*: its hard stop goes on, and no lease is used before it is
//! done.
//!
//! One monitor is always there; resources that want one of their own get it, up to a bound
//! ([`own`]). A hard stop makes no difference between them.
//!
//! *Invariants.* I-QUORUM: nothing is admitted without a lease in force at that moment. R8: a hard
//! stop that began is finished before a new lease is used, and nothing is ever admitted by the
//! right of a lease that was known when a hard stop began.
//!
//! Not here: how a program is started or killed, or an address removed (`process`).

mod answer;
pub mod own;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stead_model::order::{Admitted, GuardOrder, GuardReport, GuardStatus, OwnMonitor};
use stead_model::wire::guard::{Claim, InstanceId, MonitorId, Refusal, ThingKind};
use stead_model::{Incarnation, LeaseNumber, ResourceId, Span, Time};

use own::Own;

/// What happened to the guard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// The node service ordered something.
    Order(GuardOrder),
    /// The shared monitor was started.
    MonitorStarted(MonitorId),
    /// The own monitor of a resource was started.
    OwnMonitorStarted(MonitorId, OwnMonitor),
    /// A resource shall have a monitor of its own.
    OwnMonitorWanted(ResourceId),
    /// A resource needs its own monitor no longer.
    OwnMonitorEnded(ResourceId),
    /// A monitor said that it is ready.
    MonitorReady(MonitorId),
    /// A monitor is gone (its process was waited for).
    MonitorExited {
        /// Which.
        monitor: MonitorId,
        /// How it ended.
        why: String,
    },
    /// A monitor asks whether something may run. To be handed in directly before the thing is
    /// started or the answer is sent.
    Admit {
        /// Who asks.
        monitor: MonitorId,
        /// For whom and by which right.
        claim: Claim,
        /// The kind of thing.
        kind: ThingKind,
    },
    /// Nothing is left of an admitted thing: a program and all its children ended (or could not
    /// be started), an address was removed.
    Gone(InstanceId),
    /// The time of [`Guard::next_deadline`] came.
    Deadline,
    /// The guard itself shall end.
    Shutdown,
}

/// What the guard wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Tell the node service.
    Report(GuardReport),
    /// Answer to [`Input::Admit`]: start it now, or tell the monitor to.
    Admitted(InstanceId),
    /// Answer to [`Input::Admit`]: no.
    Refused(Refusal),
    /// Cluster addresses pass until then, and fall silent by themselves at that time. Comes
    /// before the report of the lease: a shorter one is in force when it is acknowledged.
    Pass {
        /// The end of the lease.
        until: Time,
    },
    /// Cluster addresses are silent from now on: the first step of a hard stop.
    Dark,
    /// Kill a monitor; ends with [`Input::MonitorExited`].
    KillMonitor(MonitorId),
    /// Kill a program with all its children; ends with [`Input::Gone`].
    Kill(InstanceId),
    /// Let a mounted file system take no write any more; it stays where it is.
    ShutDown(InstanceId),
    /// Take an address or a mount away; ends with [`Input::Gone`].
    Undo(InstanceId),
    /// Start the shared monitor; ends with [`Input::MonitorStarted`].
    StartMonitor,
    /// Start the own monitor of a resource, if it does not run; ends with
    /// [`Input::OwnMonitorStarted`].
    StartOwnMonitor(OwnMonitor),
    /// The own monitors of these resources are not to be started again.
    ForgetOwnMonitors(Vec<ResourceId>),
    /// The grace is over and something is left.
    Overdue {
        /// Monitors that do not die.
        monitors: Vec<MonitorId>,
        /// Things that do not end.
        things: Vec<InstanceId>,
    },
    /// The guard may end: nothing runs.
    Finished,
}

/// Faults that the simulator plants; without the feature `planted` there are none.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Planted {
    /// Whatever a monitor asks for is admitted: a monitor acts after the hard stop.
    #[cfg(feature = "planted")]
    pub admit_without_check: bool,
}

impl Planted {
    #[cfg(feature = "planted")]
    const fn admits_without_check(self) -> bool {
        self.admit_without_check
    }

    #[cfg(not(feature = "planted"))]
    const fn admits_without_check(self) -> bool {
        let Self {} = self;
        false
    }
}

/// The guard's decisions. Its fields are part of what a guard hands over at an upgrade.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Guard {
    incarnation: Incarnation,
    grace: Span,
    #[serde(skip)]
    planted: Planted,
    state: State,
    /// The highest lease number heard of.
    lease_last: LeaseNumber,
    /// The highest lease number known when the last hard stop began.
    stopped: Option<LeaseNumber>,
    /// The highest lease number known when the present node service began: what an earlier one
    /// ordered is refused, however late a monitor reads it (R9).
    served: Option<LeaseNumber>,
    monitors: BTreeSet<MonitorId>,
    #[serde(default)]
    own: Own,
    things: BTreeMap<InstanceId, Held>,
    instance_next: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum State {
    Idle,
    Leased(Lease),
    Stopping { grace: Grace, then: Then, addresses: Addresses },
    Ended,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Lease {
    number: LeaseNumber,
    until: Time,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Grace {
    Until(Time),
    Over,
}

/// What follows a hard stop.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Then {
    /// The guard ends.
    End,
    /// Monitors are started, and the newer lease that came meanwhile is used.
    GoOn(Option<Lease>),
}

/// Whether a hard stop has come to the addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Addresses {
    Wait,
    Ordered,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Held {
    claim: Claim,
    kind: ThingKind,
}

impl Guard {
    /// A guard that starts: no lease, nothing runs.
    ///
    /// `grace` is the time after the end of a lease within which everything must be stopped.
    #[must_use]
    pub const fn new(incarnation: Incarnation, grace: Span) -> Self {
        Self {
            incarnation,
            grace,
            planted: Planted {
                #[cfg(feature = "planted")]
                admit_without_check: false,
            },
            state: State::Idle,
            lease_last: LeaseNumber(0),
            stopped: None,
            served: None,
            monitors: BTreeSet::new(),
            own: Own::new(),
            things: BTreeMap::new(),
            instance_next: 1,
        }
    }

    /// The same guard with planted faults.
    #[must_use]
    pub const fn with_planted(mut self, planted: Planted) -> Self {
        self.planted = planted;
        self
    }

    /// The same guard, which found things that its predecessor left: it begins with a hard stop,
    /// so that nobody takes its life for a proof that they are gone. The things are numbered from
    /// 1 on. Programs among them are killed by the caller.
    #[must_use]
    pub fn with_left(
        mut self,
        now: Time,
        things: impl IntoIterator<Item = (Claim, ThingKind)>,
    ) -> Self {
        for (claim, kind) in things {
            let instance = InstanceId(self.instance_next);
            self.instance_next += 1;
            self.things.insert(instance, Held { claim, kind });
        }
        if !self.things.is_empty() {
            let grace = Grace::Until(now + self.grace);
            let (then, addresses) = (Then::GoOn(None), Addresses::Wait);
            self.state = State::Stopping { grace, then, addresses };
            self.stopped = Some(self.lease_last);
        }
        self
    }

    /// Takes one input; never fails. Inputs about things that are unknown (any more) do nothing.
    pub fn handle(&mut self, now: Time, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.expire(now, &mut out);
        match input {
            Input::Order(GuardOrder::Lease { number, until }) => {
                self.lease_ordered(now, Lease { number, until }, &mut out);
            }
            Input::Order(GuardOrder::HardStop { why }) => {
                self.begin_stop(now, Then::GoOn(None), why, &mut out);
            }
            Input::MonitorStarted(monitor) => self.monitor_started(monitor, &mut out),
            Input::OwnMonitorStarted(monitor, own) => {
                self.own.started(monitor, own);
                self.monitor_started(monitor, &mut out);
            }
            Input::OwnMonitorWanted(resource) => self.own_monitor_wanted(resource, &mut out),
            Input::OwnMonitorEnded(resource) => self.own_monitor_ended(resource, &mut out),
            Input::MonitorReady(monitor) => self.monitor_ready(monitor, &mut out),
            Input::MonitorExited { monitor, why } => self.monitor_exited(monitor, why, &mut out),
            Input::Admit { monitor, claim, kind } => out.push(self.admit(monitor, claim, kind)),
            Input::Gone(instance) => drop(self.things.remove(&instance)),
            Input::Deadline => {}
            Input::Shutdown => {
                self.begin_stop(now, Then::End, "the guard was told to end".into(), &mut out);
            }
        }
        self.expire(now, &mut out);
        self.advance(now, &mut out);
        out
    }

    /// When [`Input::Deadline`] must be handed in at the latest.
    #[must_use]
    pub const fn next_deadline(&self) -> Option<Time> {
        match &self.state {
            State::Leased(lease) => Some(lease.until),
            State::Stopping { grace: Grace::Until(at), .. } => Some(*at),
            State::Stopping { grace: Grace::Over, .. } | State::Idle | State::Ended => None,
        }
    }

    /// A node service begins: what it finds. Orders of an earlier one are refused from now on.
    pub fn begin_service(&mut self) -> GuardStatus {
        self.served = Some(self.lease_last);
        self.status()
    }

    /// What runs under which lease.
    #[must_use]
    pub fn status(&self) -> GuardStatus {
        let lease = match &self.state {
            State::Leased(lease) => Some((lease.number, lease.until)),
            State::Idle | State::Stopping { .. } | State::Ended => None,
        };
        let admitted = self.things.values().map(|held| Admitted {
            group: held.claim.group.clone(),
            resource: held.claim.resource.clone(),
            epoch: held.claim.epoch,
        });
        GuardStatus {
            incarnation: self.incarnation,
            lease,
            lease_last: self.lease_last,
            stopping: self.is_stopping(),
            admitted: admitted.collect(),
            own_monitors: self.own.all(),
        }
    }

    /// Whether a hard stop is under way (or was the last thing this guard did).
    #[must_use]
    pub const fn is_stopping(&self) -> bool {
        matches!(self.state, State::Stopping { .. } | State::Ended)
    }

    /// Whether something is left of a hard stop whose grace is over.
    #[must_use]
    pub const fn is_overdue(&self) -> bool {
        matches!(self.state, State::Stopping { grace: Grace::Over, .. })
    }

    /// All that was admitted and is not gone.
    pub fn things(&self) -> impl Iterator<Item = (InstanceId, &Claim, ThingKind)> {
        self.things.iter().map(|(id, held)| (*id, &held.claim, held.kind))
    }

    /// For whom something was admitted that is not gone.
    #[must_use]
    pub fn claim(&self, instance: InstanceId) -> Option<&Claim> {
        self.things.get(&instance).map(|held| &held.claim)
    }

    /// Ends a lease whose time is over.
    fn expire(&mut self, now: Time, out: &mut Vec<Output>) {
        if let State::Leased(Lease { number, until }) = self.state
            && until <= now
        {
            let why = format!("lease {number} ended and was not renewed");
            self.begin_stop(now, Then::GoOn(None), why, out);
        }
    }

    fn lease_ordered(&mut self, now: Time, lease: Lease, out: &mut Vec<Output>) {
        if self.stopped.is_some_and(|stopped| lease.number <= stopped) {
            return;
        }
        let held = match &mut self.state {
            State::Idle => None,
            State::Leased(held) => Some(*held),
            State::Stopping { then: Then::GoOn(newer), .. } => *newer,
            State::Stopping { then: Then::End, .. } | State::Ended => return,
        };
        let lease = match held {
            Some(held) if lease.number < held.number => return,
            Some(held) if lease.number == held.number => {
                Lease { until: lease.until.min(held.until), ..lease }
            }
            Some(_) | None => lease,
        };
        self.lease_last = self.lease_last.max(lease.number);
        match &mut self.state {
            State::Stopping { then, .. } => *then = Then::GoOn(Some(lease)),
            State::Idle if lease.until <= now => {}
            State::Idle | State::Leased(_) => self.use_lease(lease, out),
            State::Ended => {}
        }
    }

    fn use_lease(&mut self, lease: Lease, out: &mut Vec<Output>) {
        self.state = State::Leased(lease);
        let Lease { number, until } = lease;
        out.push(Output::Pass { until });
        out.push(Output::Report(GuardReport::LeaseSet { number, until }));
    }

    /// Begins a hard stop, or takes a newer lease back from one that is under way.
    fn begin_stop(&mut self, now: Time, then: Then, why: String, out: &mut Vec<Output>) {
        let lease = self.lease_last;
        match &mut self.state {
            State::Ended => return,
            State::Stopping { then: Then::End, .. } => return,
            State::Stopping { then: old, .. } => {
                *old = then;
                if self.stopped == Some(lease) {
                    return;
                }
            }
            State::Idle | State::Leased(_) => {
                let grace = Grace::Until(now + self.grace);
                self.state = State::Stopping { grace, then, addresses: Addresses::Wait };
                out.push(Output::Dark);
                out.extend(self.monitors.iter().copied().map(Output::KillMonitor));
                let programs = self.of_kind(ThingKind::Program);
                out.extend(programs.into_iter().map(Output::Kill));
                let mounts = self.of_kind(ThingKind::Mount);
                out.extend(mounts.into_iter().map(Output::ShutDown));
            }
        }
        self.stopped = Some(lease);
        out.push(Output::Report(GuardReport::HardStopBegan { lease, why }));
    }

    /// Takes a hard stop as far as it can go.
    fn advance(&mut self, now: Time, out: &mut Vec<Output>) {
        let State::Stopping { grace, then, addresses } = &mut self.state else { return };
        let then = *then;
        let overdue = matches!(grace, Grace::Until(at) if *at <= now);
        if overdue {
            *grace = Grace::Over;
        }
        let order_addresses = *addresses == Addresses::Wait
            && (self.monitors.is_empty() || matches!(grace, Grace::Over));
        if order_addresses {
            *addresses = Addresses::Ordered;
            self.things.retain(|_, held| held.kind != ThingKind::Mark);
            out.extend(self.of_kind(ThingKind::Address).into_iter().map(Output::Undo));
            out.extend(self.of_kind(ThingKind::Mount).into_iter().map(Output::Undo));
        }
        if self.monitors.is_empty() && self.things.is_empty() {
            self.finish_stop(now, then, out);
        } else if overdue {
            let monitors = self.monitors.iter().copied().collect();
            out.push(Output::Overdue { monitors, things: self.things.keys().copied().collect() });
        }
    }

    fn finish_stop(&mut self, now: Time, then: Then, out: &mut Vec<Output>) {
        let lease = self.stopped.unwrap_or_default();
        out.push(Output::Report(GuardReport::HardStopDone { lease }));
        match then {
            Then::End => {
                self.state = State::Ended;
                out.push(Output::Finished);
            }
            Then::GoOn(newer) => {
                self.state = State::Idle;
                self.forget_own_monitors(out);
                out.push(Output::StartMonitor);
                if let Some(newer) = newer.filter(|lease| now < lease.until) {
                    self.use_lease(newer, out);
                }
            }
        }
    }

    fn monitor_started(&mut self, monitor: MonitorId, out: &mut Vec<Output>) {
        self.monitors.insert(monitor);
        if self.is_stopping() {
            out.push(Output::KillMonitor(monitor));
        }
    }

    fn of_kind(&self, kind: ThingKind) -> Vec<InstanceId> {
        let things = self.things.iter().filter(|(_, held)| held.kind == kind);
        things.map(|(id, _)| *id).collect()
    }
}
