//! What others were told of a group, to see what changed since without a look at everything.

use std::collections::BTreeMap;

use stead_model::wire::peer::{GroupReport, ResourceStatus, Standing};
use stead_model::{Epoch, ResourceId, Span, Time};

use super::holding::Holding;
use super::machine::Machine;

/// How soon others must know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Urgency {
    /// Only resources changed: the next report can take several of them.
    Resources,
    /// The leader decides by it.
    Standing,
}

/// What others know of a group once they have the next report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Told {
    epoch: Epoch,
    /// Nothing, as long as nobody knows of the group.
    standing: Option<Standing>,
    /// Whether as many resources were online as shall be: groups may wait for that.
    online: bool,
    resources: BTreeMap<ResourceId, ResourceStatus>,
}

impl Told {
    /// Nobody knows of it.
    pub(super) const fn new(epoch: Epoch) -> Self {
        Self { epoch, standing: None, online: false, resources: BTreeMap::new() }
    }
}

impl Holding {
    /// Looks what changed since this was asked last; how soon others must know, if anything did.
    pub(super) fn compare(&mut self, now: Time) -> Option<Urgency> {
        let mut urgency = None;
        let (epoch, standing, online) =
            (self.epoch(), Some(self.standing()), self.outlook.may_be_online());
        let told = &mut self.told;
        if (epoch, &standing, online) != (told.epoch, &told.standing, told.online) {
            (told.epoch, told.standing, told.online) = (epoch, standing, online);
            urgency = Some(Urgency::Standing);
        }
        for id in std::mem::take(&mut self.outlook.untold) {
            let status = self.machines.get(&id).map(|machine| self.status(now, &id, machine));
            if status.as_ref() == self.told.resources.get(&id) {
                continue;
            }
            urgency = urgency.max(Some(Urgency::Resources));
            match status {
                Some(status) => drop(self.told.resources.insert(id, status)),
                None => drop(self.told.resources.remove(&id)),
            }
        }
        if self.is_checked() {
            let told = self.told.resources.iter().map(|(id, told)| (id, told.state, told.health));
            let are = self.machines.iter().map(|(id, m)| (id, m.visible(), m.health));
            assert!(told.eq(are), "group {}: a change was not told", self.group());
        }
        urgency
    }

    /// The group as others are told.
    #[must_use]
    pub fn report(&self, now: Time) -> GroupReport {
        let status = |(id, machine): (&ResourceId, &Machine)| self.status(now, id, machine);
        GroupReport {
            group: self.group().clone(),
            epoch: self.epoch(),
            standing: self.standing(),
            resources: self.machines.iter().map(status).collect(),
        }
    }

    fn status(&self, now: Time, id: &ResourceId, machine: &Machine) -> ResourceStatus {
        let policy = self.resources.get(id).map(|config| &config.policy);
        let period = Span::from_secs(policy.map_or(0, |policy| policy.restart_period_s));
        ResourceStatus {
            restarts: machine.restarts_within(now, period),
            resource: id.clone(),
            state: machine.visible(),
            health: machine.health,
            detail: machine.detail.clone(),
            used: machine.used,
        }
    }
}
