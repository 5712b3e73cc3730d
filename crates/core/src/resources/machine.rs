//! One resource on its owner: the state machine behind the five states.
//!
//! ```text
//!            start                    online
//!  Offline ─────────► Starting ───────────────────► Online ◄─┐ adopt (new monitor, new epoch)
//!    ▲  ▲               │  │ failed                  │  │  └─┘
//!    │  └───────────────┼──┴─────────────────────────┼──┘ failed by itself
//!    │ offline, failed  ▼ stop                       ▼ stop
//!    ├──────────────── Stopping ◄──── again ──── Stuck       could not be stopped: may still act
//!    │                   └──── not stopped ────────►┘
//!    └── Failed (beyond its policy) ◄── the holding judges a failure
//! ```
//!
//! The machine knows nothing of other resources: the holding of the group decides when to start
//! and when to stop. Every order is a call that must be answered; an answer to another call than
//! the last one says nothing (`answers`).
//!
//! Invariants: a resource that could not be stopped is never treated as stopped (I-STOP-START).

use std::collections::BTreeMap;

use stead_model::order::{Action, OnlineSpec};
use stead_model::resource::{Health, ResourceConfig, ResourceState};
use stead_model::server::VirtualServer;
use stead_model::usage::Usage;
use stead_model::{Epoch, LeaseNumber, OrderId, Span, Time};

/// How long an order to terminate may take until it counts as failed.
pub const TERMINATE_LIMIT: Span = Span::from_secs(10);
/// Pause before a resource that could not be stopped is terminated again.
pub const STUCK_PAUSE: Span = Span::from_secs(2);

/// An order that was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// Its number.
    pub order: OrderId,
    /// The lease under which it was given.
    pub lease: LeaseNumber,
    /// The epoch it was given for.
    pub epoch: Epoch,
    /// Until when it shall be answered.
    pub due: Time,
}

/// Where a resource is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// Nothing of it acts.
    Offline,
    /// It was ordered to start. Without a call the order was lost with its monitor.
    Starting(Option<Call>),
    /// It runs.
    Online(Watch),
    /// It was ordered to stop. Without a call the order must be given again.
    Stopping(Option<Call>, Stop),
    /// It could not be stopped: something of it may still act.
    Stuck {
        /// Why.
        why: String,
        /// When to try again.
        again: Time,
        /// What the stop was for.
        stop: Stop,
    },
    /// It failed beyond its policy; nothing of it acts.
    Failed(String),
}

/// Who watches a resource that runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Watch {
    /// Nobody: its monitor or node service died.
    Nobody,
    /// A monitor was asked to adopt it.
    Asked(Call),
    /// The monitor that answered this call.
    Monitor(Call),
}

/// How and why a resource is stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stop {
    /// How.
    pub how: How,
    /// What it means when it is stopped.
    pub then: Then,
    /// How often it could not be stopped so far.
    pub stuck: u32,
}

/// How a resource is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// As its type does it.
    Gracefully,
    /// At once.
    AtOnce,
}

/// What it means when a resource is stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Then {
    /// It was to be stopped.
    Rest,
    /// It had failed; its restart policy decides.
    Failure(String),
}

/// What a report or a deadline did to a resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happened {
    /// Nothing worth a word.
    Nothing,
    /// It came online.
    CameOnline,
    /// The new monitor watches it.
    Adopted,
    /// It went offline as ordered.
    WentOffline,
    /// It failed and nothing of it acts: the restart policy decides.
    Failed(String),
    /// A check says that it does not work: it is to be stopped, then its policy decides.
    Unwell(String),
    /// It could not be stopped.
    StopFailed(String),
    /// The guard refused the order.
    Refused(String),
    /// It took too long and must be stopped at once.
    TimedOut(Then),
    /// It is worth an event, without a change of state.
    Notice(String),
    /// It had failed beyond its policy and is tried again after its retry time.
    Retried(String),
}

/// One resource on its owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Machine {
    /// Where it is.
    pub state: State,
    /// What its checks say.
    pub health: Health,
    /// Why it is where it is, if that needs a reason.
    pub detail: Option<String>,
    /// A failure seen while it still runs: it is stopped after its dependents.
    pub failing: Option<String>,
    /// What it was started with; `None` until it is started or adopted by this service.
    pub running: Option<ResourceConfig>,
    /// The virtual server that it was told last that it stands on.
    pub server: VirtualServer,
    /// The properties with which it was online here last: a restart in place is no first start.
    pub served: Option<BTreeMap<String, String>>,
    /// Restarts in place within the window.
    pub restarts: Vec<Time>,
    /// When it is tried again after it failed beyond its policy.
    pub retry: Option<Time>,
    /// Orders under this lease were refused: only a newer one counts.
    pub refused: Option<LeaseNumber>,
    /// What its programs use, once its monitor measured that.
    pub used: Option<Usage>,
}

impl Machine {
    /// A resource of which nothing acts.
    #[must_use]
    pub const fn offline() -> Self {
        Self {
            state: State::Offline,
            health: Health::Unknown,
            detail: None,
            failing: None,
            running: None,
            server: VirtualServer { name: None, domain: None, addresses: Vec::new() },
            served: None,
            restarts: Vec::new(),
            retry: None,
            refused: None,
            used: None,
        }
    }

    /// A resource that the guard runs since before this service started.
    #[must_use]
    pub fn found_running() -> Self {
        Self { state: State::Online(Watch::Nobody), ..Self::offline() }
    }

    /// The state people see.
    #[must_use]
    pub const fn visible(&self) -> ResourceState {
        match &self.state {
            State::Offline => ResourceState::Offline,
            State::Starting(_) => ResourceState::OnlinePending,
            State::Online(_) => ResourceState::Online,
            State::Stopping(..) | State::Stuck { .. } => ResourceState::OfflinePending,
            State::Failed(_) => ResourceState::Failed,
        }
    }

    /// Whether nothing of it acts.
    #[must_use]
    pub const fn is_down(&self) -> bool {
        match &self.state {
            State::Offline | State::Failed(_) => true,
            State::Starting(_) | State::Online(_) | State::Stopping(..) | State::Stuck { .. } => {
                false
            }
        }
    }

    /// Whether it serves.
    #[must_use]
    pub const fn is_online(&self) -> bool {
        matches!(&self.state, State::Online(_))
    }

    /// Whether it serves and a monitor said so to this service: others may be started on it.
    #[must_use]
    pub const fn is_watched(&self) -> bool {
        matches!(&self.state, State::Online(Watch::Monitor(_)))
    }

    /// Whether orders may be given under the lease.
    #[must_use]
    pub fn accepts(&self, lease: LeaseNumber) -> bool {
        self.refused.is_none_or(|refused| lease > refused)
    }

    /// The call that waits for its answer, or that watches.
    #[must_use]
    pub const fn call(&self) -> Option<&Call> {
        match &self.state {
            State::Starting(call) | State::Stopping(call, _) => call.as_ref(),
            State::Online(Watch::Asked(call) | Watch::Monitor(call)) => Some(call),
            State::Offline | State::Online(Watch::Nobody) | State::Stuck { .. } => None,
            State::Failed(_) => None,
        }
    }

    /// When it must be looked at again.
    #[must_use]
    pub fn due(&self) -> Option<Time> {
        match &self.state {
            State::Starting(call) | State::Stopping(call, _) => call.as_ref().map(|c| c.due),
            State::Online(Watch::Asked(call)) => Some(call.due),
            State::Stuck { again, .. } => Some(*again),
            State::Failed(_) => self.retry,
            State::Offline | State::Online(_) => None,
        }
    }

    /// It was ordered to start.
    pub fn started(&mut self, call: Call, config: ResourceConfig, server: VirtualServer) -> Action {
        let first = call.epoch <= config.new_in && self.served.as_ref() != Some(&config.properties);
        self.server = server.clone();
        let action = Action::Online(OnlineSpec { first, server, ..spec(&config) });
        self.state = State::Starting(Some(call));
        self.health = Health::Unknown;
        self.failing = None;
        self.running = Some(config);
        action
    }

    /// A monitor was asked to watch it, in the call's epoch.
    pub fn adopted(&mut self, call: Call, config: ResourceConfig, server: VirtualServer) -> Action {
        self.server = server.clone();
        let action = Action::Adopt(OnlineSpec { server, ..spec(&config) });
        self.state = State::Online(Watch::Asked(call));
        self.health = Health::Unknown;
        self.running = Some(config);
        action
    }

    /// It was ordered to stop.
    pub fn stopped(&mut self, call: Call, stop: Stop) -> Action {
        let action = match stop.how {
            How::Gracefully => Action::Offline,
            How::AtOnce => Action::Terminate,
        };
        self.state = State::Stopping(Some(call), stop);
        action
    }

    /// Its monitor died: what it was told is lost, what runs goes on.
    pub fn monitor_died(&mut self) {
        self.health = Health::Unknown;
        match &mut self.state {
            State::Starting(call) | State::Stopping(call, _) => *call = None,
            State::Online(watch) => *watch = Watch::Nobody,
            State::Offline | State::Stuck { .. } | State::Failed(_) => {}
        }
    }

    /// Its own monitor died, which hosts nothing else: what died with a start counts as a start
    /// that failed, and a stop goes on with what needs no type. What runs goes on.
    pub fn own_monitor_died(&mut self) {
        let stop = match &self.state {
            State::Starting(Some(_)) => {
                let why = "its monitor died while it was being started".to_owned();
                Some(Stop { how: How::AtOnce, then: Then::Failure(why), stuck: 0 })
            }
            State::Stopping(Some(_), stop) => Some(Stop { how: How::AtOnce, ..stop.clone() }),
            State::Starting(None) | State::Stopping(None, _) | State::Offline => None,
            State::Online(_) | State::Stuck { .. } | State::Failed(_) => None,
        };
        self.monitor_died();
        if let Some(stop) = stop {
            self.state = State::Stopping(None, stop);
        }
    }

    /// The guard has stopped everything.
    pub fn hard_stopped(&mut self) {
        let failed = matches!(self.state, State::Failed(_));
        if !failed {
            self.state = State::Offline;
            self.detail = None;
        }
        self.health = Health::Unknown;
        self.failing = None;
        self.running = None;
    }

    /// Forgets failures: an administrator acted, or the group has a new life here.
    pub fn forgive(&mut self) {
        self.restarts.clear();
        self.try_again();
    }

    /// It may be started again although it failed beyond its policy.
    pub fn try_again(&mut self) {
        self.retry = None;
        if let State::Failed(_) = self.state {
            self.state = State::Offline;
            self.detail = None;
        }
    }

    /// Restarts in place within the period.
    #[must_use]
    pub fn restarts_within(&self, now: Time, period: Span) -> u32 {
        let recent = self.restarts.iter().filter(|at| now.since(**at) < period).count();
        u32::try_from(recent).unwrap_or(u32::MAX)
    }
}

/// What the monitor needs to run a resource, but for the virtual server that it stands on.
#[must_use]
pub fn spec(config: &ResourceConfig) -> OnlineSpec {
    OnlineSpec {
        kind: config.kind.clone(),
        properties: config.properties.clone(),
        looks_alive_ms: config.policy.looks_alive_ms,
        is_alive_ms: config.policy.is_alive_ms,
        pending_timeout_ms: config.policy.pending_timeout_ms,
        server: VirtualServer::default(),
        first: false,
        separate: config.policy.separate_monitor,
    }
}
