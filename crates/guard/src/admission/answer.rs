//! The answer to a monitor that asks whether something may run.

use stead_model::wire::guard::{Claim, InstanceId, MonitorId, Refusal, ThingKind};

use super::{Guard, Held, Output, State};

impl Guard {
    /// Admits or refuses. The caller has ended a lease whose time is over.
    pub(super) fn admit(&mut self, monitor: MonitorId, claim: Claim, kind: ThingKind) -> Output {
        if !self.planted.admits_without_check()
            && let Some(refusal) = self.refusal(monitor, &claim, kind)
        {
            return Output::Refused(refusal);
        }
        let instance = InstanceId(self.instance_next);
        self.instance_next += 1;
        self.things.insert(instance, Held { claim, kind });
        Output::Admitted(instance)
    }

    fn refusal(&self, monitor: MonitorId, claim: &Claim, kind: ThingKind) -> Option<Refusal> {
        if !self.monitors.contains(&monitor) || !self.own.is_in_service(monitor) {
            return Some(Refusal::UnknownMonitor);
        }
        if let Some(stopped) = self.stopped.filter(|stopped| claim.lease <= *stopped) {
            return Some(Refusal::LeaseOver { stopped });
        }
        if let Some(last) = self.served.filter(|last| claim.lease <= *last) {
            return Some(Refusal::FormerService { last });
        }
        match self.state {
            State::Idle => Some(Refusal::NoLease),
            State::Stopping { .. } | State::Ended => Some(Refusal::Stopping),
            State::Leased(_) => self.conflict(claim, kind),
        }
    }

    /// What already runs of the same resource. In one epoch it may have one thing of each kind: an
    /// agent's programs, and the address or the mount that they make.
    fn conflict(&self, claim: &Claim, kind: ThingKind) -> Option<Refusal> {
        let same = |held: &Held| {
            let beside = held.claim.epoch == claim.epoch && held.kind != kind;
            held.claim.resource == claim.resource && !beside
        };
        let (instance, held) = self.things.iter().find(|(_, held)| same(held))?;
        Some(match held.claim.epoch {
            epoch if epoch == claim.epoch => Refusal::AlreadyAdmitted { instance: *instance },
            epoch => Refusal::OtherEpoch { epoch },
        })
    }
}
