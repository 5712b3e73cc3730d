//! One planning round: what the leader does about every group, as changes with reasons.

use stead_model::change::Change;
use stead_model::group::{Desired, Group, Ownership};
use stead_model::group_policy::written_time;
use stead_model::wire::peer::Standing;
use stead_model::{NodeId, UtcMillis};

use super::failback::{self, Zones};
use super::placement::{Load, best};
use super::{Plan, PlanInput, upkeep};
use crate::db::apply::within_window;
use crate::db::{Trail, shall_run};
use crate::planted::Fault;

/// Decides about all groups.
#[must_use]
pub fn plan(input: &PlanInput<'_>) -> Plan {
    let (load, zones) = (input.db.owned_counts(), Zones::default());
    let mut round = Round { input, load, zones, changes: Vec::new() };
    round.end_upkeep();
    for group in input.db.groups().values() {
        if upkeep::is_left_alone(input, group) {
            continue;
        }
        round.retry(group);
        match &group.ownership {
            None => round.unowned(group),
            Some(owned) => round.owned(group, owned),
        }
    }
    let why = summary(&round.changes);
    Plan { changes: round.changes, why }
}

struct Round<'a> {
    input: &'a PlanInput<'a>,
    load: Load,
    zones: Zones,
    changes: Vec<Change>,
}

impl Round<'_> {
    fn unowned(&mut self, group: &Group) {
        if shall_run(group)
            && let Some(node) = best(self.input, group, &self.load, None)
        {
            self.grant(group, node, "nobody owned it and it shall be online".to_owned());
        }
    }

    fn owned(&mut self, group: &Group, owned: &Ownership) {
        let Some(live) = self.input.nodes.get(&owned.node) else { return };
        let hasty = self.input.planted.has(Fault::StartBeforeStop) && !live.eligible;
        match self.input.standing(owned.node, &group.id, owned.epoch) {
            Some(Standing::Stopped) => self.reported_stopped(group, owned),
            _ if live.stopped || hasty => self.owner_stopped(group, owned),
            _ if owned.release.is_some() => self.releasing(group, owned),
            _ if self.input.db.left().contains(&owned.node) => self.owner_leaves(group, owned),
            Some(Standing::Held | Standing::GaveUp(_)) if self.drained(group, owned) => {}
            Some(Standing::NeedsEpoch) => self.renew(group, owned),
            Some(Standing::GaveUp(why)) => self.gave_up(group, owned, why),
            Some(Standing::Held) => self.go_home(group, owned),
            None => {}
        }
    }

    /// The owner said so for this epoch: final (R8).
    fn reported_stopped(&mut self, group: &Group, owned: &Ownership) {
        let said = format!("{} reported it stopped", owned.node);
        match self.next_owner(group, owned, Some(owned.node)) {
            Some(node) => self.grant(group, node, because(owned, said)),
            None => self.disown(group, owned, because(owned, said)),
        }
    }

    /// The owner's lease and grace are over (R6). With nobody to take it, the group waits.
    fn owner_stopped(&mut self, group: &Group, owned: &Ownership) {
        let ended = format!("lease of {} ended", owned.node);
        let leaves = owned.release.is_some();
        match self.next_owner(group, owned, None) {
            Some(node) => self.grant(group, node, because(owned, ended)),
            None if leaves && !shall_run(group) => {
                self.disown(group, owned, because(owned, ended));
            }
            None => {}
        }
    }

    /// The release's target while it is available; else, for a group that shall run, the present
    /// owner if it only was restarted (`stay`), else the best.
    fn next_owner(&self, group: &Group, owned: &Ownership, stay: Option<NodeId>) -> Option<NodeId> {
        let target = owned.release.as_ref().and_then(|r| r.to);
        if let Some(to) = target.filter(|to| self.may_own(group, *to)) {
            return Some(to);
        }
        if !shall_run(group) {
            return None;
        }
        let stay = stay.filter(|node| owned.release.is_none() && self.may_own(group, *node));
        stay.or_else(|| best(self.input, group, &self.load, None))
    }

    fn may_own(&self, group: &Group, node: NodeId) -> bool {
        self.input.is_eligible(node) && super::placement::excluding(group, node).is_none()
    }

    /// It goes to the best other node; with none it is stopped in order.
    fn owner_leaves(&mut self, group: &Group, owned: &Ownership) {
        let to = Some(owned.node);
        let to = if shall_run(group) { best(self.input, group, &self.load, to) } else { None };
        let (group, epoch) = (group.id.clone(), owned.epoch);
        let why = format!("{} leaves", owned.node);
        self.changes.push(Change::Release { group, epoch, to, why });
    }

    /// Nothing to do until the owner is known stopped (I-STOP-START).
    fn releasing(&mut self, group: &Group, owned: &Ownership) {
        let to = owned.release.as_ref().and_then(|r| r.to);
        if let Some(to) = to.filter(|_| self.input.planted.has(Fault::StartBeforeStop)) {
            self.grant(group, to, because(owned, "nobody was asked".to_owned()));
        }
    }

    /// The owner's service was restarted and may start nothing on the old epoch (R9).
    fn renew(&mut self, group: &Group, owned: &Ownership) {
        if shall_run(group) && self.input.is_eligible(owned.node) {
            let why = format!("the node service of {} was restarted", owned.node);
            self.grant(group, owned.node, why);
        }
    }

    /// A resource failed beyond its restart policy: another node, up to the threshold.
    fn gave_up(&mut self, group: &Group, owned: &Ownership, cause: &str) {
        if !shall_run(group) {
            return;
        }
        let Some(to) = best(self.input, group, &self.load, Some(owned.node)) else { return };
        let (id, epoch) = (group.id.clone(), owned.epoch);
        let failovers = within_window(group, self.at()).len();
        if failovers >= group.policy.limit(self.input.nodes.len()) as usize {
            let why = at_the_limit(group, failovers, cause);
            self.changes.push(Change::FailGroup { group: id.clone(), why: why.clone() });
            self.changes.push(Change::Release { group: id, epoch, to: None, why });
        } else {
            let why = format!("it failed on {}: {cause}", owned.node);
            self.changes.push(Change::CountFailover { group: id.clone() });
            self.changes.push(Change::Release { group: id, epoch, to: Some(to), why });
        }
    }

    /// Its node is drained, and it can go elsewhere or must go offline; whether it was released.
    fn drained(&mut self, group: &Group, owned: &Ownership) -> bool {
        let Some((to, why)) = upkeep::drained(self.input, (group, owned), &self.load) else {
            return false;
        };
        if let Some(to) = to {
            *self.load.entry(to).or_insert(0) += 1;
        }
        self.release(group, owned, (to, why));
        true
    }

    /// It goes to the node it is pinned to, or fails back.
    fn go_home(&mut self, group: &Group, owned: &Ownership) {
        if self.input.db.upkeep().pin(&group.id).is_none() {
            return self.fail_back(group, owned);
        }
        let to = upkeep::pinned_elsewhere(self.input, (group, owned));
        if let Some(to) = to.filter(|_| shall_run(group)) {
            self.release(group, owned, (Some(to), format!("it is pinned to {to}")));
        }
    }

    fn release(&mut self, group: &Group, owned: &Ownership, (to, why): (Option<NodeId>, String)) {
        let (group, epoch) = (group.id.clone(), owned.epoch);
        self.changes.push(Change::Release { group, epoch, to, why });
    }

    /// What was put aside for a time that is over.
    fn end_upkeep(&mut self) {
        let over = self.input.db.upkeep().over(self.at()).into_iter();
        self.changes.extend(over.map(|upkeep| Change::Upkeep { upkeep }));
    }

    /// A preferred owner is available again, and the policy allows to go back to it.
    fn fail_back(&mut self, group: &Group, owned: &Ownership) {
        let report = self.input.reported(owned.node, &group.id, owned.epoch);
        let Some(report) = report.filter(|_| shall_run(group)) else { return };
        let found = failback::target(self.input, (group, owned), report, &mut self.zones);
        if let Some((to, why)) = found {
            let (group, epoch) = (group.id.clone(), owned.epoch);
            self.changes.push(Change::Release { group, epoch, to: Some(to), why });
        }
    }

    /// A group that was left failed is tried again after its time. Its failovers count on, so
    /// that it is left failed at once when that does not help either.
    fn retry(&mut self, group: &Group) {
        let Some(trail) = self.input.db.trail(&group.id) else { return };
        if retry_at(group, trail).is_some_and(|retry| self.at() >= retry) {
            let why = format!("{} passed", written_time(group.policy.retry_after_s));
            self.changes.push(Change::Retry { group: group.id.clone(), why });
        }
    }

    fn at(&self) -> UtcMillis {
        self.input.at.max(self.input.db.at())
    }

    fn grant(&mut self, group: &Group, node: NodeId, why: String) {
        *self.load.entry(node).or_insert(0) += 1;
        let epoch = group.epoch_last.next();
        self.changes.push(Change::Grant { group: group.id.clone(), node, epoch, why });
    }

    fn disown(&mut self, group: &Group, owned: &Ownership, why: String) {
        let epoch = owned.epoch;
        self.changes.push(Change::Disown { group: group.id.clone(), epoch, why });
    }
}

/// When a group that was left failed is tried again.
pub(super) fn retry_at(group: &Group, trail: &Trail) -> Option<UtcMillis> {
    let after_ms = group.policy.retry_after_s.saturating_mul(1_000);
    let waits = group.failed.is_some() && group.desired == Desired::Online && after_ms > 0;
    waits.then(|| UtcMillis(trail.failed_at.0.saturating_add(after_ms)))
}

/// What A16 decides at the limit, said whole: all of the group goes offline and stays failed.
fn at_the_limit(group: &Group, failovers: usize, cause: &str) -> String {
    let policy = &group.policy;
    let (preset, period) = (policy.failover_preset.word(), written_time(policy.failover_period_s));
    let next = match policy.retry_after_s {
        0 => "an administrator acts".to_owned(),
        after => format!("it is tried again in {}", written_time(after)),
    };
    format!(
        "{failovers} failovers within {period} ({preset}) did not help: {cause}; all of the group \
         stays offline until {next}"
    )
}

/// The reason of the release, if there was one, before how the stop became known.
fn because(owned: &Ownership, known: String) -> String {
    match &owned.release {
        Some(release) => format!("{}; {known}", release.why),
        None => known,
    }
}

/// One sentence for the entry: the first changes, and how many more.
fn summary(changes: &[Change]) -> String {
    const NAMED: usize = 3;
    let named: Vec<String> = changes.iter().take(NAMED).map(ToString::to_string).collect();
    let mut text = named.join("; ");
    if changes.len() > NAMED {
        text.push_str(&format!("; and {} more", changes.len() - NAMED));
    }
    text
}
