//! What happens to one resource: orders, calls to its type, time limits, reports. Pure.
//!
//! ```text
//!             Online, Adopt            returned ok
//!  ┌─────────┐ ─────────► ┌──────────┐ ─────────► ┌────────┐ ─┐ looks alive,
//!  │ offline │            │ starting │            │ online │  │ is alive
//!  └─────────┘ ◄─┐        └──────────┘            └────────┘ ◄┘
//!       ▲        │ failed, too late │   failed, Terminate │ │ Offline
//!       │        │        ┌─────────────┐ ◄───────────────┘ ▼
//!       │        └─────── │ terminating │ ◄──────────── ┌──────────┐
//!       │                 └─────────────┘  too late     │ stopping │
//!       └─────────────────────────────────────────────── └──────────┘
//! ```
//!
//! Every way to *offline* or *failed* goes through a stop that succeeded: such a report says that
//! nothing of the resource acts any more (I-STOP-START). One order at a time; one that was
//! answered is answered again, not carried out again.

mod answer;
#[cfg(test)]
mod tests;
mod transition;

use stead_model::order::{Action, OnlineSpec, Outcome, ResourceOrder, ResourceReport};
use stead_model::probe::ProbePlan;
use stead_model::resource::Health;
use stead_model::resource_type::is_told;
use stead_model::usage::Usage;
use stead_model::{Epoch, GroupId, LeaseNumber, OrderId, ResourceId, Span, Time};

/// How long a terminate may take before the resource counts as not stoppable.
pub const TERMINATE_LIMIT: Span = Span::from_secs(5);
/// How long a check may take before health is unknown, unless its interval is shorter.
pub const CHECK_LIMIT: Span = Span::from_secs(10);

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// The node service ordered something.
    Order(ResourceOrder),
    /// A call to the type returned.
    Returned {
        /// Which.
        call: CallNumber,
        /// What it said.
        result: Returned,
    },
    /// The terminate ended.
    Terminated(Result<(), String>),
    /// What the guard ran for it ended by itself; nothing of it is left.
    Ended(String),
    /// The type noticed by itself that it failed.
    Failed(String),
    /// The type has something to tell.
    Notice(String),
    /// What its programs use was measured.
    Used(Usage),
    /// What another resource of the group stands on may be at fault: look before it is time.
    Look,
    /// Its health probe says something else than before.
    Probed(Health, String),
    /// Another node service took over: it knows nothing of earlier orders.
    NewService,
    /// The same node service connected again and may have missed the last answer.
    Reconnected,
    /// The time of [`Slot::next_deadline`] came.
    Deadline,
}

/// What a call to the type said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Returned {
    /// Going online, adopting or going offline worked.
    Done,
    /// It did not.
    Failed(String),
    /// The guard refused.
    Refused(String),
    /// A check answered.
    Health(Health, String),
}

/// What shall be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Call the type; a call that still runs is left to itself.
    Call {
        /// Comes back with what it returns.
        call: CallNumber,
        /// What to call.
        verb: Verb,
    },
    /// Ask the call that runs to return early.
    Cancel,
    /// End all that the guard runs for it, whatever the type is doing.
    Terminate,
    /// A time limit passed: find out what is being done at this moment, before anything of it is
    /// ended, and hand it in as a notice.
    Capture {
        /// The call that is late.
        call: CallNumber,
    },
    /// Tell the node service.
    Report(ResourceReport),
}

/// What the type is asked to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Start it, or adopt it if it runs for that epoch.
    Online(Who, OnlineSpec),
    /// Watch what runs already.
    Adopt(Who, OnlineSpec),
    /// Stop it gracefully.
    Offline,
    /// The light check.
    LooksAlive,
    /// The thorough check.
    IsAlive,
}

/// For whom and by which right something is started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Who {
    /// The group.
    pub group: GroupId,
    /// The resource.
    pub resource: ResourceId,
    /// The epoch.
    pub epoch: Epoch,
    /// The lease of the order.
    pub lease: LeaseNumber,
}

/// Number of a call, unique in the life of a slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct CallNumber(pub u64);

/// One resource.
#[derive(Clone, Debug)]
pub struct Slot {
    resource: ResourceId,
    group: GroupId,
    /// Epoch of the order it follows, or of what the guard runs.
    epoch: Epoch,
    /// Lease of that order.
    lease: LeaseNumber,
    /// The order that is answered next; `None` if its node service is gone.
    order: Option<OrderId>,
    state: State,
    /// An order that waits for the end of what is under way.
    queued: Option<ResourceOrder>,
    /// The last answer, given again to a repeated order.
    answer: Option<ResourceReport>,
    call_last: CallNumber,
    phase: Phase,
}

/// The part of its intervals by which a resource's checks come earlier at first, so that those of
/// a thousand resources that came online together are spread evenly; 0 to 65535 of 65536.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Phase(pub u16);

#[derive(Clone, Debug)]
enum State {
    Offline,
    /// The guard runs it since an earlier monitor.
    Unwatched,
    Starting {
        call: CallNumber,
        until: Time,
        spec: OnlineSpec,
    },
    Online(Watch),
    Stopping {
        call: CallNumber,
        until: Time,
    },
    Terminating {
        until: Time,
        then: Outcome,
    },
    /// It could not be terminated.
    Stuck {
        then: Outcome,
    },
}

/// The checks of a resource that is online.
#[derive(Clone, Debug)]
struct Watch {
    looks_every: Span,
    is_every: Span,
    pending: Span,
    looks_at: Time,
    is_at: Time,
    phase: Phase,
    check: Check,
    /// What the checks said last.
    checked: Option<Finding>,
    /// The health probe attached to it, and what it said last.
    probe: Option<ProbePlan>,
    probed: Option<Finding>,
    told: Health,
    /// The step of what its programs use that was told last.
    used: Option<Usage>,
}

/// What a check or a probe says, with a detail for people.
type Finding = (Health, String);

#[derive(Clone, Debug)]
enum Check {
    None,
    Running {
        call: CallNumber,
        since: Time,
        unknown_at: Time,
    },
    /// It has not returned in time; health is unknown until it does.
    Late {
        call: CallNumber,
    },
}

impl Slot {
    /// A resource that does not run.
    #[must_use]
    pub const fn new(group: GroupId, resource: ResourceId) -> Self {
        Self {
            resource,
            group,
            epoch: Epoch(0),
            lease: LeaseNumber(0),
            order: None,
            state: State::Offline,
            queued: None,
            answer: None,
            call_last: CallNumber(0),
            phase: Phase(0),
        }
    }

    /// A resource that the guard runs since before this monitor started.
    #[must_use]
    pub fn running(group: GroupId, resource: ResourceId, epoch: Epoch) -> Self {
        Self { epoch, state: State::Unwatched, ..Self::new(group, resource) }
    }

    /// The same, with its checks at times of its own.
    #[must_use]
    pub fn in_phase(self, phase: Phase) -> Self {
        Self { phase, ..self }
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Time, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Order(order) => self.ordered(now, order, &mut out),
            Input::Returned { call, result } => self.returned(now, call, result, &mut out),
            Input::Terminated(result) => self.terminated(now, result, &mut out),
            Input::Ended(how) => self.ended(now, how, &mut out),
            Input::Failed(why) => self.failed(now, why, &mut out),
            Input::Look => self.look_soon(now),
            Input::Probed(health, detail) => self.probed(health, detail, &mut out),
            Input::Notice(text) => self.report(Outcome::Notice(text), &mut out),
            Input::Used(used) => self.used(used, &mut out),
            Input::NewService => {
                (self.order, self.queued, self.answer) = (None, None, None);
            }
            Input::Reconnected => out.extend(self.answer.clone().map(Output::Report)),
            Input::Deadline => self.late(now, &mut out),
        }
        out
    }

    /// When [`Input::Deadline`] must be handed in.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        match &self.state {
            State::Starting { until, .. }
            | State::Stopping { until, .. }
            | State::Terminating { until, .. } => Some(*until),
            State::Online(watch) => Some(watch.next()),
            State::Offline | State::Unwatched | State::Stuck { .. } => None,
        }
    }

    /// The health probe that shall be made now.
    #[must_use]
    pub const fn probe(&self) -> Option<&ProbePlan> {
        match &self.state {
            State::Online(watch) => watch.probe.as_ref(),
            State::Offline
            | State::Unwatched
            | State::Starting { .. }
            | State::Stopping { .. }
            | State::Terminating { .. }
            | State::Stuck { .. } => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn resource(&self) -> &ResourceId {
        &self.resource
    }

    /// Its group.
    #[must_use]
    pub const fn group(&self) -> &GroupId {
        &self.group
    }

    /// For whom and by which right it acts now.
    #[must_use]
    pub fn who(&self) -> Who {
        let (group, resource) = (self.group.clone(), self.resource.clone());
        Who { group, resource, epoch: self.epoch, lease: self.lease }
    }

    /// Whether it does not run and nothing is under way.
    #[must_use]
    pub const fn is_offline(&self) -> bool {
        matches!(self.state, State::Offline)
    }
}

impl Phase {
    /// The one of a name: the same wherever it runs, and any other name likely has another.
    #[must_use]
    pub fn of(resource: &ResourceId) -> Self {
        // FNV-1a.
        let hash = resource.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // Its high bits depend on all of the name.
        Self((hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u16)
    }

    /// The first time after `now`, of those that are `every` apart.
    fn first(self, now: Time, every: Span) -> Time {
        if every == Span(u64::MAX) {
            return now + every;
        }
        let earlier = (u128::from(every.0) * u128::from(self.0)) >> 16;
        now + Span(every.0 - earlier as u64)
    }
}

impl Watch {
    fn new(now: Time, spec: &OnlineSpec, phase: Phase) -> Self {
        let looks_every = match is_told(&spec.kind) {
            true => Span(u64::MAX),
            false => Span::from_millis(spec.looks_alive_ms),
        };
        let is_every = Span::from_millis(spec.is_alive_ms);
        Self {
            looks_every,
            is_every,
            pending: Span::from_millis(spec.pending_timeout_ms),
            looks_at: phase.first(now, looks_every),
            is_at: phase.first(now, is_every),
            phase,
            check: Check::None,
            checked: None,
            probe: ProbePlan::of(&spec.properties).map(|p| p.at(spec.server.addresses.first())),
            probed: None,
            told: Health::Unknown,
            used: None,
        }
    }

    /// Whoever orders it again may not know what was found, and may want other intervals or
    /// another probe.
    fn ordered_again(&mut self, now: Time, spec: &OnlineSpec) {
        let new = Self::new(now, spec, self.phase);
        if self.probe != new.probe {
            (self.probe, self.probed) = (new.probe, None);
        }
        if (self.looks_every, self.is_every) != (new.looks_every, new.is_every) {
            (self.looks_every, self.is_every) = (new.looks_every, new.is_every);
            (self.looks_at, self.is_at) = (new.looks_at, new.is_at);
        }
        self.pending = new.pending;
        (self.told, self.used) = (Health::Unknown, None);
    }

    /// When a check begins or is late. One that is late holds the next ones back.
    fn next(&self) -> Time {
        match self.check {
            Check::None => self.looks_at.min(self.is_at),
            Check::Running { unknown_at, .. } => unknown_at,
            Check::Late { .. } => Time(u64::MAX),
        }
    }
}

/// Whether an action starts something.
const fn starts(action: &Action) -> bool {
    matches!(action, Action::Online(_) | Action::Adopt(_))
}
