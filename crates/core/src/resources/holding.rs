//! One group on its owner, in its epoch: its resources, and how it stands.
//!
//! ```text
//!            database catches up          release, other owner
//!  Unknown ─────────────────────► Fresh ────────────────────────► Leaving ──all down──► Over
//!     └─────────────────────────► Old (R9) ──nothing runs─────────────────────────────►  │
//!                                   ▲ a later grant to this node: Fresh again ◄──────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};

use stead_model::group::Group;
use stead_model::order::{Admitted, ResourceReport};
use stead_model::record::Level;
use stead_model::resource::ResourceConfig;
use stead_model::wire::peer::Standing;
use stead_model::{Epoch, GroupId, LogIndex, ResourceId, Time};

use super::machine::{Happened, Machine, State};
use super::orders::{self, Desk};
use super::outlook::Outlook;
use super::told::Told;
use super::{Note, Output};
use crate::db::{shall_run, tree};
use crate::planted::{Fault, Planted};

/// What the database says about the ownership of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ownership {
    /// This node owns it, granted under the eyes of this service.
    Fresh {
        /// In this epoch.
        epoch: Epoch,
    },
    /// This node owns it, granted before this service had its first lease (R9).
    Old {
        /// In this epoch.
        epoch: Epoch,
    },
    /// This node owns it and shall stop it.
    Released {
        /// In this epoch.
        epoch: Epoch,
    },
    /// This node does not own it.
    Other {
        /// The highest epoch ever granted, as far as this node knows.
        epoch_last: Epoch,
    },
}

/// How a group is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tenure {
    /// The database of this node has not come to this epoch yet: nothing is ordered.
    Unknown,
    /// Owned; resources may be started.
    Fresh,
    /// Owned since before this service's first lease: nothing may be started (R9).
    Old,
    /// To be stopped for good in this epoch.
    Leaving,
    /// Stopped for good in this epoch (R8).
    Over,
}

/// Whether the node was told to stop everything because something of the group cannot be stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fence {
    NotAsked,
    Asked,
}

/// One group on its owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holding {
    group: GroupId,
    epoch: Epoch,
    tenure: Tenure,
    fence: Fence,
    /// Whether the database still says that this node owns the group in this epoch: then the
    /// leader has not yet acted on the report that it is stopped.
    owned: bool,
    run: bool,
    pub(super) resources: tree::Resources,
    pub(super) machines: BTreeMap<ResourceId, Machine>,
    administered: LogIndex,
    /// In maintenance: watched, and not acted upon.
    alone: BTreeSet<ResourceId>,
    /// Resources that went offline as ordered, since the last look.
    stopped: Vec<ResourceId>,
    pub(super) outlook: Outlook,
    /// What others were told, or are to be told next.
    pub(super) told: Told,
    planted: Planted,
}

impl Holding {
    /// A group of which nothing is known but its epoch.
    #[must_use]
    pub const fn new(group: GroupId, epoch: Epoch, planted: Planted) -> Self {
        Self {
            planted,
            group,
            epoch,
            tenure: Tenure::Unknown,
            fence: Fence::NotAsked,
            owned: false,
            run: false,
            resources: BTreeMap::new(),
            machines: BTreeMap::new(),
            administered: LogIndex(0),
            alone: BTreeSet::new(),
            stopped: Vec::new(),
            outlook: Outlook::new(),
            told: Told::new(epoch),
        }
    }

    /// The guard runs this since before the service started.
    pub fn found(&mut self, admitted: &Admitted) {
        self.epoch = self.epoch.max(admitted.epoch);
        self.machines.insert(admitted.resource.clone(), Machine::found_running());
        self.outlook.touch(&admitted.resource);
    }

    /// All that runs was found: there is nothing new to tell of it.
    pub(super) fn begin(&mut self) {
        self.mend_outlook();
        let _ = self.compare(Time(0));
    }

    /// The group.
    #[must_use]
    pub const fn group(&self) -> &GroupId {
        &self.group
    }

    /// The epoch under which it is held.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How it is held.
    #[must_use]
    pub const fn tenure(&self) -> Tenure {
        self.tenure
    }

    /// Its resources as the database has them.
    #[must_use]
    pub const fn resources(&self) -> &tree::Resources {
        &self.resources
    }

    /// Its resources on this node.
    #[must_use]
    pub const fn machines(&self) -> &BTreeMap<ResourceId, Machine> {
        &self.machines
    }

    /// Whether nothing of it acts.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.machines.values().all(Machine::is_down)
    }

    /// Whether it need not be held, or reported, any longer.
    #[must_use]
    pub fn is_let_go(&self) -> bool {
        match self.tenure {
            Tenure::Over => !self.owned,
            Tenure::Unknown | Tenure::Fresh | Tenure::Old | Tenure::Leaving => false,
        }
    }

    /// Whether resources may be started in this epoch (R9).
    #[must_use]
    pub const fn may_start(&self) -> bool {
        match self.tenure {
            Tenure::Fresh => true,
            Tenure::Old => self.planted.has(Fault::RestartStartsOldEpoch),
            Tenure::Unknown | Tenure::Leaving | Tenure::Over => false,
        }
    }

    /// Whether a fault is planted.
    pub(super) const fn has_planted(&self, fault: Fault) -> bool {
        self.planted.has(fault)
    }

    /// Takes over what the database says.
    pub fn sync(&mut self, group: Option<&Group>, is: Ownership, administered: LogIndex) {
        let was = (self.run, self.tenure, self.epoch, self.administered);
        self.run = group.is_some_and(shall_run);
        let same = group.map_or(self.resources.is_empty(), |g| g.resources == self.resources);
        if !same {
            self.resources = group.map(|g| g.resources.clone()).unwrap_or_default();
            self.turn_over();
        }
        self.owned = false;
        match is {
            Ownership::Fresh { epoch } => self.owned_in(epoch, Tenure::Fresh),
            Ownership::Old { epoch } => self.owned_in(epoch, Tenure::Old),
            Ownership::Released { epoch } => self.owned_in(epoch, Tenure::Leaving),
            Ownership::Other { epoch_last } if epoch_last >= self.epoch => self.leave(),
            Ownership::Other { .. } => {}
        }
        if administered > self.administered {
            self.administered = administered;
            self.machines.values_mut().for_each(Machine::forgive);
        }
        if same && was == (self.run, self.tenure, self.epoch, self.administered) {
            return;
        }
        for id in self.resources.keys() {
            self.machines.entry(id.clone()).or_insert_with(Machine::offline);
        }
        self.renew_outlook();
    }

    /// What a resource was started on counts until it stopped, also when it depends on that no
    /// more; but not where the tree was turned over meanwhile: then nothing could ever be stopped,
    /// each waiting for another. There the database alone says what goes down first.
    fn turn_over(&mut self) {
        let own = |id: &ResourceId| self.resources.get(id).map(|config| &config.depends_on);
        let mut before = Vec::new();
        for (id, machine) in &self.machines {
            let stood_on = machine.running.iter().flat_map(|running| &running.depends_on);
            let gone = stood_on.filter(|on| !own(id).is_some_and(|now| now.contains(*on)));
            before.extend(gone.map(|on| (id.clone(), on.clone())));
        }
        let mut kept = BTreeSet::new();
        for (id, on) in before {
            if !tree::leads_to(&self.resources, &kept, (&on, &id)) {
                kept.insert((id, on));
            } else if let Some(machine) = self.machines.get_mut(&id)
                && let Some(running) = &mut machine.running
            {
                running.depends_on.remove(&on);
            }
        }
    }

    /// From now on nothing is done about these resources, unless the group must leave.
    pub fn leave_alone(&mut self, resources: BTreeSet<ResourceId>) {
        if self.alone != resources {
            self.alone = resources;
            self.touch_all();
        }
    }

    /// Whether a resource is watched and not acted upon.
    pub(super) fn is_left_alone(&self, id: &ResourceId) -> bool {
        match self.tenure {
            Tenure::Unknown | Tenure::Fresh | Tenure::Old => self.alone.contains(id),
            Tenure::Leaving | Tenure::Over => false,
        }
    }

    fn owned_in(&mut self, epoch: Epoch, tenure: Tenure) {
        if epoch < self.epoch {
            return;
        }
        self.owned = true;
        if epoch > self.epoch {
            self.epoch = epoch;
            if self.is_down() {
                self.machines.clear();
            }
            self.tenure = tenure;
            return;
        }
        match self.tenure {
            Tenure::Unknown | Tenure::Fresh | Tenure::Old => self.tenure = tenure,
            Tenure::Leaving | Tenure::Over => {}
        }
    }

    fn leave(&mut self) {
        match self.tenure {
            Tenure::Unknown | Tenure::Fresh | Tenure::Old => self.tenure = Tenure::Leaving,
            Tenure::Leaving | Tenure::Over => {}
        }
    }

    /// Which resources shall be online here.
    #[must_use]
    pub const fn wanted(&self) -> &BTreeSet<ResourceId> {
        &self.outlook.wanted
    }

    pub(super) fn wants(&self) -> BTreeSet<ResourceId> {
        match self.tenure {
            Tenure::Fresh | Tenure::Old if self.run => tree::wanted(&self.resources),
            Tenure::Fresh | Tenure::Old => BTreeSet::new(),
            Tenure::Unknown | Tenure::Leaving | Tenure::Over => BTreeSet::new(),
        }
    }

    /// The monitor said something about a resource.
    pub fn reported(&mut self, now: Time, report: ResourceReport, out: &mut Vec<Output>) {
        let Some(machine) = self.machines.get_mut(&report.resource) else { return };
        let answers = |c: &super::machine::Call| c.order == report.order && c.epoch == report.epoch;
        if machine.call().is_some_and(answers) {
            let happened = machine.reported(now, report.outcome);
            self.outlook.touch(&report.resource);
            self.happened(now, &report.resource, happened, out);
        }
    }

    /// Acts on what happened to a resource. A failure is judged by the restart policy only while
    /// the resource shall run here.
    pub(super) fn happened(
        &mut self,
        now: Time,
        id: &ResourceId,
        happened: Happened,
        out: &mut Vec<Output>,
    ) {
        let (level, code, text) = match happened {
            Happened::Nothing | Happened::TimedOut(_) => return,
            Happened::CameOnline => {
                if let Some(machine) = self.machines.get_mut(id) {
                    machine.served = machine.running.as_ref().map(|r| r.properties.clone());
                }
                (Level::Info, "resource-online", "it is online".to_owned())
            }
            Happened::Adopted => {
                (Level::Info, "resource-adopted", "it runs and is watched again".to_owned())
            }
            Happened::WentOffline => {
                self.stopped.push(id.clone());
                (Level::Info, "resource-offline", "it is offline".to_owned())
            }
            Happened::Failed(why) => self.judge(now, id, &why),
            Happened::Unwell(why) => (Level::Warning, "resource-unwell", why),
            Happened::StopFailed(why) => (Level::Error, "resource-stop-failed", why),
            Happened::Refused(why) => (Level::Warning, "order-refused", why),
            Happened::Notice(text) => (Level::Info, "resource-notice", text),
            Happened::Retried(text) => (Level::Warning, "resource-retried", text),
        };
        out.push(self.note(level, code, (id, text)));
    }

    /// Which resources went offline as ordered, since the last call.
    pub(super) fn take_stopped(&mut self) -> Vec<ResourceId> {
        std::mem::take(&mut self.stopped)
    }

    fn judge(&mut self, now: Time, id: &ResourceId, why: &str) -> (Level, &'static str, String) {
        let wanted = self.wanted().contains(id);
        let alone = self.is_left_alone(id);
        let parts = self.resources.get(id).zip(self.machines.get_mut(id));
        let Some((config, machine)) = parts.filter(|_| wanted) else {
            return (Level::Info, "resource-offline", format!("it is offline: {why}"));
        };
        if alone {
            machine.detail = Some(format!("{why}; in maintenance nothing is done about it"));
            let text = format!("{why}; it is in maintenance: nothing is done about it");
            return (Level::Warning, "resource-failed", text);
        }
        let of = config.policy.restarts();
        let affects = config.policy.affects_group;
        match machine.judge(now, config, why) {
            Some(n) => (
                Level::Warning,
                "resource-failed",
                format!("{why}; it is restarted in place, {n} of {of}"),
            ),
            None => {
                let tried = format!("{why}; {of} restarts in place within the period did not help");
                let rest = if affects { "" } else { "; it does not affect the rest of the group" };
                (Level::Error, "resource-gave-up", format!("{tried}{rest}"))
            }
        }
    }

    /// The last resort, only if safety needs it: the group must leave and cannot be stopped.
    fn fence_if_stuck(&mut self, out: &mut Vec<Output>) {
        if self.tenure != Tenure::Leaving || self.fence == Fence::Asked {
            return;
        }
        let mut hopeless = self.outlook.hopeless.iter();
        let stuck = hopeless.find_map(|id| Some((id, cannot_stop(self.machines.get(id)?)?)));
        let Some((id, why)) = stuck else { return };
        let text = format!("resource {id} of group {} must leave this node and {why}", self.group);
        self.fence = Fence::Asked;
        out.push(Output::SelfFence(text));
    }

    /// Tries again what failed and is `back`; whether there was any.
    pub(super) fn try_again(&mut self, back: impl Fn(&ResourceConfig) -> bool) -> bool {
        let mut any = false;
        for (id, machine) in &mut self.machines {
            let failed = matches!(machine.state, State::Failed(_));
            if failed && self.resources.get(id).is_some_and(&back) {
                machine.try_again();
                self.outlook.touch(id);
                any = true;
            }
        }
        any
    }

    /// Rehearses a failure of a resource that is online.
    pub fn rehearse(&mut self, id: &ResourceId, out: &mut Vec<Output>) {
        if !self.wanted().contains(id) {
            return;
        }
        let Some(machine) = self.machines.get_mut(id).filter(|m| m.is_online()) else { return };
        machine.failing = Some("an administrator rehearses a failure".to_owned());
        self.outlook.touch(id);
        let text = "an administrator rehearses a failure".to_owned();
        out.push(self.note(Level::Info, "resource-rehearsal", (id, text)));
    }

    /// The guard has stopped everything.
    pub fn hard_stopped(&mut self) {
        self.fence = Fence::NotAsked;
        self.machines.values_mut().for_each(Machine::hard_stopped);
        self.touch_all();
    }

    /// The monitor died.
    pub fn monitor_died(&mut self) {
        self.machines.values_mut().for_each(Machine::monitor_died);
        self.touch_all();
    }

    /// The own monitor of a resource died.
    pub fn own_monitor_died(&mut self, resource: &ResourceId) {
        if let Some(machine) = self.machines.get_mut(resource) {
            machine.own_monitor_died();
            self.outlook.touch(resource);
        }
    }

    /// When something must be looked at again, if orders may be given then.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        match self.tenure {
            Tenure::Unknown => None,
            Tenure::Fresh | Tenure::Old | Tenure::Leaving | Tenure::Over => {
                self.outlook.timers.next()
            }
        }
    }

    /// Whether as many resources are online as shall be: a group with fewer is not online.
    #[must_use]
    pub fn may_be_online(&self) -> bool {
        self.outlook.may_be_online()
    }

    /// Whether something waits for a newer lease.
    pub(super) fn waits_for_lease(&self) -> bool {
        !self.outlook.waiting.is_empty()
    }

    /// How many times a resource was looked at for orders.
    pub(super) const fn looks(&self) -> u64 {
        self.outlook.looks
    }

    /// Orders what can be ordered, and notices when the group is stopped for good.
    pub fn settle(&mut self, desk: &mut Desk<'_>) {
        self.mend_outlook();
        if self.tenure != Tenure::Unknown && desk.lease.is_some() {
            orders::give(self, desk);
        }
        self.fence_if_stuck(desk.out);
        self.forget_the_gone();
        if self.ends() {
            self.tenure = Tenure::Over;
            self.renew_outlook();
            self.mend_outlook();
            let text = format!("group {} is stopped on this node in {}", self.group, self.epoch);
            let (level, code) = (Level::Info, "group-stopped");
            let group = self.group.clone();
            desk.out.push(Output::Record(Note { level, code, group, resource: None, text }));
        }
    }

    /// What is not in the database any more and does not act is no longer of interest.
    fn forget_the_gone(&mut self) {
        let is_gone = |id: &&ResourceId| {
            let down = self.machines.get(*id).is_some_and(Machine::is_down);
            down && !self.resources.contains_key(*id)
        };
        let gone: Vec<ResourceId> = self.outlook.untold.iter().filter(is_gone).cloned().collect();
        for id in &gone {
            self.machines.remove(id);
            self.outlook.touch(id);
        }
        self.mend_outlook();
    }

    /// Whether the group is stopped for good now.
    fn ends(&self) -> bool {
        match self.tenure {
            Tenure::Leaving => self.outlook.is_down(),
            Tenure::Old => self.is_given_up() && !self.may_start(),
            Tenure::Unknown | Tenure::Fresh | Tenure::Over => false,
        }
    }

    /// On an old epoch: nothing runs, and something would have to be started (R9).
    fn is_given_up(&self) -> bool {
        self.outlook.is_down() && !self.wanted().is_empty() && self.failure().is_none()
    }

    /// The first resource that shall run and failed beyond its policy, or cannot be stopped to be
    /// started again.
    fn failure(&self) -> Option<String> {
        let affects = |id: &&ResourceId| {
            self.resources.get(*id).is_none_or(|config| config.policy.affects_group)
        };
        let hopeless = self.outlook.hopeless.intersection(self.wanted());
        hopeless.into_iter().filter(affects).find_map(|id| match &self.machines.get(id)?.state {
            State::Failed(why) => Some(format!("resource {id}: {why}")),
            State::Offline | State::Starting(_) | State::Online(_) => None,
            State::Stopping(..) | State::Stuck { .. } => {
                let why = cannot_stop(self.machines.get(id)?)?;
                Some(format!("resource {id} {why}"))
            }
        })
    }

    /// How the group stands, for the leader.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.tenure {
            Tenure::Over => Standing::Stopped,
            Tenure::Unknown | Tenure::Leaving => Standing::Held,
            Tenure::Old if self.is_given_up() => Standing::Stopped,
            Tenure::Old if !self.outlook.startable.is_empty() => Standing::NeedsEpoch,
            Tenure::Fresh | Tenure::Old => match self.failure() {
                Some(why) => Standing::GaveUp(why),
                None => Standing::Held,
            },
        }
    }

    fn note(&self, level: Level, code: &'static str, (id, text): (&ResourceId, String)) -> Output {
        let text = format!("resource {id} of group {}: {text}", self.group);
        let (group, resource) = (self.group.clone(), Some(id.clone()));
        Output::Record(Note { level, code, group, resource, text })
    }
}

/// Why a resource could not be stopped, after so many tries that nothing gentle is left.
pub(super) fn cannot_stop(machine: &Machine) -> Option<&str> {
    match &machine.state {
        State::Stuck { stop, .. } | State::Stopping(_, stop) => {
            let why = machine.detail.as_deref().unwrap_or("could not be stopped");
            (stop.stuck >= orders::FENCE_AFTER).then_some(why)
        }
        State::Offline | State::Starting(_) | State::Online(_) | State::Failed(_) => None,
    }
}
