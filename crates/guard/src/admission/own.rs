//! Monitors that host one resource only: who has one, and how many there may be.
//!
//! A resource keeps its seat, with the number of its socket, from the moment somebody asks for it
//! until it is ended or a hard stop is done; the process in it may die and be started again
//! meanwhile. Which resource wants one is the node service's business.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stead_model::ResourceId;
use stead_model::order::{GuardReport, OwnMonitor};
use stead_model::wire::guard::{MonitorId, OWN_MONITORS_MAX};

use super::{Guard, Output};

/// All seats, and the lives of monitors in them.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub struct Own {
    seats: BTreeMap<ResourceId, u8>,
    lives: BTreeMap<MonitorId, Life>,
}

/// One life of an own monitor.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Life {
    Starting(ResourceId),
    Ready(ResourceId),
    /// Its seat is gone: nobody waits for its end.
    Ending,
}

/// Whose monitor lived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Whose {
    /// The shared one.
    All,
    /// The own one of this resource.
    Resource(ResourceId),
    /// Of nobody any more.
    Nobody,
}

impl Own {
    pub(super) const fn new() -> Self {
        Self { seats: BTreeMap::new(), lives: BTreeMap::new() }
    }

    /// All resources that have a seat.
    #[must_use]
    pub fn all(&self) -> Vec<OwnMonitor> {
        let seats = self.seats.iter();
        seats
            .map(|(resource, slot)| OwnMonitor { resource: resource.clone(), slot: *slot })
            .collect()
    }

    /// Whether a resource has a seat.
    #[must_use]
    pub fn has(&self, resource: &ResourceId) -> bool {
        self.seats.contains_key(resource)
    }

    /// Whether a monitor may ask for something: one that lost its seat may not.
    pub(super) fn is_in_service(&self, monitor: MonitorId) -> bool {
        !matches!(self.lives.get(&monitor), Some(Life::Ending))
    }

    pub(super) fn started(&mut self, monitor: MonitorId, own: OwnMonitor) {
        let life = match self.seats.get(&own.resource) {
            Some(slot) if *slot == own.slot => Life::Starting(own.resource),
            Some(_) | None => Life::Ending,
        };
        self.lives.insert(monitor, life);
    }

    fn ready(&mut self, monitor: MonitorId) -> Whose {
        let whose = self.whose(monitor);
        if let Whose::Resource(resource) = &whose {
            self.lives.insert(monitor, Life::Ready(resource.clone()));
        }
        whose
    }

    fn exited(&mut self, monitor: MonitorId) -> Whose {
        let whose = self.whose(monitor);
        self.lives.remove(&monitor);
        whose
    }

    fn whose(&self, monitor: MonitorId) -> Whose {
        match self.lives.get(&monitor) {
            None => Whose::All,
            Some(Life::Starting(resource) | Life::Ready(resource)) => {
                Whose::Resource(resource.clone())
            }
            Some(Life::Ending) => Whose::Nobody,
        }
    }

    /// The seat of a resource, a new one if it has none; `None` if all are taken.
    fn seat(&mut self, resource: &ResourceId) -> Option<OwnMonitor> {
        let taken = |slot: &u8| self.seats.values().any(|other| other == slot);
        let known = self.seats.get(resource).copied();
        let slot = known.or_else(|| (1..=OWN_MONITORS_MAX).find(|slot| !taken(slot)))?;
        self.seats.insert(resource.clone(), slot);
        Some(OwnMonitor { resource: resource.clone(), slot })
    }

    fn life_of(&self, wanted: &ResourceId) -> Option<(MonitorId, &Life)> {
        let mut lives = self.lives.iter().map(|(id, life)| (*id, life));
        lives.find(|(_, life)| match life {
            Life::Starting(resource) | Life::Ready(resource) => resource == wanted,
            Life::Ending => false,
        })
    }
}

impl Guard {
    /// Who has a monitor of its own.
    #[must_use]
    pub const fn own_monitors(&self) -> &Own {
        &self.own
    }

    /// While everything is being stopped there is nothing to host.
    pub(super) fn own_monitor_wanted(&mut self, resource: ResourceId, out: &mut Vec<Output>) {
        if self.is_stopping() {
            return;
        }
        let Some(own) = self.own.seat(&resource) else {
            let why = format!(
                "{OWN_MONITORS_MAX} resources of this node have a monitor of their own already; \
                 set `separate-monitor=false` for some of them"
            );
            out.push(Output::Report(GuardReport::OwnMonitorRefused { resource, why }));
            return;
        };
        match self.own.life_of(&resource) {
            Some((_, Life::Ready(_))) => {
                out.push(Output::Report(GuardReport::OwnMonitorReady(own)));
            }
            Some((_, Life::Starting(_) | Life::Ending)) => {}
            None => out.push(Output::StartOwnMonitor(own)),
        }
    }

    pub(super) fn own_monitor_ended(&mut self, resource: ResourceId, out: &mut Vec<Output>) {
        if self.own.seats.remove(&resource).is_none() {
            return;
        }
        if let Some((monitor, _)) = self.own.life_of(&resource) {
            self.own.lives.insert(monitor, Life::Ending);
            out.push(Output::KillMonitor(monitor));
        }
        out.push(Output::ForgetOwnMonitors(vec![resource]));
    }

    /// A hard stop is done: nothing is hosted any more.
    pub(super) fn forget_own_monitors(&mut self, out: &mut Vec<Output>) {
        let own = std::mem::take(&mut self.own);
        if !own.seats.is_empty() {
            out.push(Output::ForgetOwnMonitors(own.seats.into_keys().collect()));
        }
    }

    pub(super) fn monitor_ready(&mut self, monitor: MonitorId, out: &mut Vec<Output>) {
        if !self.monitors.contains(&monitor) || self.is_stopping() {
            return;
        }
        match self.own.ready(monitor) {
            Whose::All => out.push(Output::Report(GuardReport::MonitorReady)),
            Whose::Resource(resource) => {
                let own = self.own.seat(&resource).map(GuardReport::OwnMonitorReady);
                out.extend(own.map(Output::Report));
            }
            Whose::Nobody => {}
        }
    }

    pub(super) fn monitor_exited(
        &mut self,
        monitor: MonitorId,
        why: String,
        out: &mut Vec<Output>,
    ) {
        let whose = self.own.exited(monitor);
        if !self.monitors.remove(&monitor) || self.is_stopping() {
            return;
        }
        match whose {
            Whose::All => {
                out.push(Output::Report(GuardReport::MonitorDied { why }));
                out.push(Output::StartMonitor);
            }
            Whose::Resource(resource) => {
                out.push(Output::Report(GuardReport::OwnMonitorDied { resource, why }));
            }
            Whose::Nobody => {}
        }
    }
}
