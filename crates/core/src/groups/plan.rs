//! One planning round: what the leader does about every group, as changes with reasons.
//!
//! First every group is looked at by itself. Those that need a node are collected, and then get
//! their nodes together: who needs it most has the choice, and none takes a place that another
//! one was given in the same round.

use stead_model::change::Change;
use stead_model::group::{Desired, Group, Ownership};
use stead_model::group_policy::written_time;
use stead_model::network::Stand;
use stead_model::resource::ResourceState;
use stead_model::upkeep::Drain;
use stead_model::wire::peer::Standing;
use stead_model::{NodeId, UtcMillis};

use super::failback::{self, Zones};
use super::placement::{Layout, Seeker};
use super::{Plan, PlanInput, core_group, mend, order, quarantine, upkeep, usage};
use crate::db::apply::within_window;
use crate::db::{Trail, shall_run};
use crate::planted::Fault;

/// Decides about all groups.
#[must_use]
pub fn plan(input: &PlanInput<'_>) -> Plan {
    let layout = Layout::new(input);
    let (zones, changes, cases) = (Zones::default(), Vec::new(), Vec::new());
    let mut round = Round { input, layout, zones, changes, cases };
    round.end_upkeep();
    for number in 0..round.layout.groups().len() {
        let group = round.layout.group(number);
        if upkeep::is_left_alone(input, group) {
            continue;
        }
        round.changes.extend(core_group::ends(input, group));
        round.retry(group);
        round.changes.extend(usage::learn(group, round.layout.reported(number)));
        match &group.ownership {
            None => round.unowned(number),
            Some(owned) => round.owned(number, owned),
        }
    }
    round.place();
    round.changes.extend(quarantine::after(input, &round.changes));
    let why = summary(&round.changes);
    Plan { changes: round.changes, why }
}

struct Round<'a> {
    input: &'a PlanInput<'a>,
    layout: Layout<'a>,
    zones: Zones,
    changes: Vec<Change>,
    cases: Vec<Case<'a>>,
}

/// A group that needs a node.
struct Case<'a> {
    seeker: Seeker,
    cause: Cause<'a>,
}

/// Why a group needs a node.
enum Cause<'a> {
    /// Nobody owns it.
    Unowned,
    /// Its owner has stopped it.
    Stopped(&'a Ownership),
    /// The lease of its owner is over.
    Ended(&'a Ownership),
    /// Its owner leaves the cluster.
    Leaves(&'a Ownership),
    /// It failed beyond the policy of a resource.
    GaveUp(&'a Ownership, String),
    /// Its owner is drained.
    Drained(&'a Ownership, Drain),
}

impl<'a> Round<'a> {
    fn unowned(&mut self, number: usize) {
        let group = self.layout.group(number);
        if shall_run(group) && order::awaited(&self.layout, group).is_none() {
            self.seek(number, (None, None), Cause::Unowned);
        }
    }

    fn owned(&mut self, number: usize, owned: &'a Ownership) {
        let Some(live) = self.layout.owner(number) else { return };
        let hasty = self.input.planted.has(Fault::StartBeforeStop) && !live.eligible;
        let report = self.layout.reported(number);
        match report.map(|report| &report.standing) {
            Some(Standing::Stopped) => {
                let stay = owned.release.is_none().then_some(owned.node);
                self.stopped(number, (owned, stay), Cause::Stopped(owned));
            }
            _ if live.stopped || hasty => {
                self.stopped(number, (owned, None), Cause::Ended(owned));
            }
            _ if owned.release.is_some() => self.releasing(number, owned),
            _ if self.input.db.left().contains(&owned.node) => self.owner_leaves(number, owned),
            Some(Standing::Held | Standing::GaveUp(_)) if self.drained(number, owned) => {}
            Some(Standing::Held | Standing::NeedsEpoch) if self.rest(number, owned) => {}
            Some(Standing::NeedsEpoch) => self.renew(number, owned),
            Some(Standing::GaveUp(why)) => self.gave_up(number, owned, why),
            Some(Standing::Held) if self.unplugged(number, owned) => {}
            Some(Standing::Held) => self.go_home(number, owned),
            None => {}
        }
    }

    fn seek(
        &mut self,
        group: usize,
        (except, first): (Option<NodeId>, Option<NodeId>),
        cause: Cause<'a>,
    ) {
        self.cases.push(Case { seeker: Seeker { group, except, first }, cause });
    }

    /// Nothing of it runs any more: its owner said so for this epoch (R8), or the owner's lease
    /// and grace are over (R6). The release's target takes it, or for a group that shall run the
    /// owner that only was restarted, or the best. One that has to wait for another keeps its
    /// target meanwhile, unless that one gets no place.
    fn stopped(
        &mut self,
        number: usize,
        (owned, stay): (&'a Ownership, Option<NodeId>),
        cause: Cause<'a>,
    ) {
        let group = self.layout.group(number);
        let target = owned.release.as_ref().and_then(|release| release.to);
        if shall_run(group) {
            if matches!(cause, Cause::Ended(_)) && self.takes_nodes_down(group, owned) {
                return;
            }
            if order::awaited(&self.layout, group).is_none() {
                self.seek(number, (None, target.or(stay)), cause);
            } else if self.keeps_from_place(group)
                || self.input.db.left().contains(&owned.node) && cause.is_told()
            {
                // It is nobody's turn: whom it waits for may need the place, and who leaves does
                // not wait for that.
                self.disown(group, owned, because(owned, cause.known()));
            }
            return;
        }
        let target = target.filter(|to| self.layout.bar(number, *to).is_none());
        let known = cause.known();
        match (target, cause) {
            (Some(to), _) => self.grant(number, to, because(owned, known)),
            (None, Cause::Ended(_)) if owned.release.is_none() && !core_group::goes(group) => {}
            (None, _) => self.disown(group, owned, because(owned, known)),
        }
    }

    /// Whether it waits for a group that no node may take: its place may be that one's.
    fn keeps_from_place(&self, group: &Group) -> bool {
        let awaited = group.policy.rules.start_after.required.iter();
        let awaited = awaited.filter_map(|id| self.layout.find(id));
        let mut awaited = awaited.map(|number| self.layout.group(number));
        let placeless = |other: &Group| self.layout.best(&other.id, None).is_none();
        awaited.any(|other| other.ownership.is_none() && shall_run(other) && placeless(other))
    }

    /// Whether node after node was lost soon after it was given the group, up to the threshold:
    /// then it is left failed, so that it harms no further one.
    fn takes_nodes_down(&mut self, group: &Group, owned: &Ownership) -> bool {
        let after = quarantine::lost_soon(self.input, group, owned);
        let Some((failovers, after)) = self.used_up(group).zip(after) else { return false };
        let after = written_time(after);
        let cause = format!("{} was lost {after} after it was given it", owned.node);
        let why = self.leave_failed(group, failovers, &cause);
        self.disown(group, owned, why);
        true
    }

    /// How many failovers count, where no further one is allowed.
    fn used_up(&self, group: &Group) -> Option<usize> {
        let failovers = within_window(group, self.at()).len();
        (failovers >= group.policy.limit(self.input.nodes.len()) as usize).then_some(failovers)
    }

    /// Gives the reason.
    fn leave_failed(&mut self, group: &Group, failovers: usize, cause: &str) -> String {
        let why = at_the_limit(group, failovers, cause);
        self.changes.push(Change::FailGroup { group: group.id.clone(), why: why.clone() });
        why
    }

    /// It goes to the best other node; with none it is stopped in order.
    fn owner_leaves(&mut self, number: usize, owned: &'a Ownership) {
        let group = self.layout.group(number);
        if shall_run(group) {
            return self.seek(number, (Some(owned.node), None), Cause::Leaves(owned));
        }
        self.release(number, owned, (None, format!("{} leaves", owned.node)));
    }

    /// Nothing to do until the owner is known stopped (I-STOP-START).
    fn releasing(&mut self, number: usize, owned: &Ownership) {
        let to = owned.release.as_ref().and_then(|r| r.to);
        if let Some(to) = to.filter(|_| self.input.planted.has(Fault::StartBeforeStop)) {
            self.grant(number, to, because(owned, "nobody was asked".to_owned()));
        }
    }

    /// The owner's service was restarted and may start nothing on the old epoch (R9). What runs
    /// goes on; what does not waits for its turn.
    fn renew(&mut self, number: usize, owned: &Ownership) {
        let group = self.layout.group(number);
        if !shall_run(group) || !self.input.is_eligible(owned.node) {
            return;
        }
        let down =
            |state: ResourceState| matches!(state, ResourceState::Offline | ResourceState::Failed);
        let report = self.layout.reported(number);
        let runs = report.is_some_and(|r| r.resources.iter().any(|r| !down(r.state)));
        if !runs && order::awaited(&self.layout, group).is_some() {
            return;
        }
        let why = format!("the node service of {} was restarted", owned.node);
        self.grant(number, owned.node, why);
    }

    /// A resource failed beyond its restart policy: another node, up to the threshold.
    fn gave_up(&mut self, number: usize, owned: &'a Ownership, cause: &str) {
        let group = self.layout.group(number);
        if !shall_run(group) {
            return;
        }
        let Some(failovers) = self.used_up(group) else {
            let cause = Cause::GaveUp(owned, cause.to_owned());
            return self.seek(number, (Some(owned.node), None), cause);
        };
        if self.layout.best(&group.id, Some(owned.node)).is_some() {
            let why = self.leave_failed(group, failovers, cause);
            self.release(number, owned, (None, why));
        }
    }

    /// Whether its owner's interface is dead for one of its addresses: as if that had failed there
    /// and could not be restarted. Where no other node works it stays as it is.
    fn unplugged(&mut self, number: usize, owned: &'a Ownership) -> bool {
        let owner = self.layout.number(owned.node);
        let lost = owner.and_then(|owner| self.layout.lost(number, owner));
        let Some(lost) = lost.filter(|lost| lost.stand == Stand::Dead) else { return false };
        let cause = format!("address `{}` is lost: {}", lost.resource, lost.interface);
        self.gave_up(number, owned, &cause);
        true
    }

    /// Whether its node is drained: then it goes elsewhere, or offline, if that was asked for.
    fn drained(&mut self, number: usize, owned: &'a Ownership) -> bool {
        let drain = self.input.db.upkeep().paused(owned.node);
        let drain = drain.filter(|drain| *drain != Drain::No);
        let Some(drain) = drain.filter(|_| shall_run(self.layout.group(number))) else {
            return false;
        };
        self.seek(number, (Some(owned.node), None), Cause::Drained(owned, drain));
        true
    }

    /// A group that shall be offline and has required rules is given back, so that it is placed
    /// anew, and in its turn, when it shall be online again; and so is the cluster's own, which
    /// then goes. Whether it is.
    fn rest(&mut self, number: usize, owned: &Ownership) -> bool {
        let group = self.layout.group(number);
        if shall_run(group) {
            return false;
        }
        let rules = &group.policy.rules;
        let ruled = !rules.start_after.is_empty() || !rules.demand_required.is_empty();
        let goes = core_group::goes(group);
        let rests = ruled || goes || self.layout.is_bound(number);
        if rests {
            let why = match goes {
                true => "the cluster shall have no IP address of its own",
                false => "it shall be offline, and is placed anew when it shall be online",
            };
            self.release(number, owned, (None, why.to_owned()));
        }
        rests
    }

    /// It goes where its required rules want it, to the node it is pinned to, or fails back.
    fn go_home(&mut self, number: usize, owned: &Ownership) {
        let group = self.layout.group(number);
        if let Some((to, why)) = mend::target(&self.layout, number, owned) {
            return self.release(number, owned, (Some(to), why));
        }
        if self.input.db.upkeep().pin(&group.id).is_none() {
            return self.fail_back(number, owned);
        }
        let to = upkeep::pinned_elsewhere(&self.layout, (number, owned));
        if let Some(to) = to.filter(|_| shall_run(group)) {
            self.release(number, owned, (Some(to), format!("it is pinned to {to}")));
        }
    }

    fn release(&mut self, number: usize, owned: &Ownership, (to, why): (Option<NodeId>, String)) {
        if let Some(to) = to {
            self.layout.send(number, to);
        }
        let (group, epoch) = (self.layout.group(number).id.clone(), owned.epoch);
        self.changes.push(Change::Release { group, epoch, to, why });
    }

    /// What was put aside for a time that is over.
    fn end_upkeep(&mut self) {
        let over = self.input.db.upkeep().over(self.at()).into_iter();
        self.changes.extend(over.map(|upkeep| Change::Upkeep { upkeep }));
    }

    /// A preferred owner is available again, and the policy allows to go back to it.
    fn fail_back(&mut self, number: usize, owned: &Ownership) {
        let report = self.layout.reported(number);
        let Some(report) = report.filter(|_| shall_run(self.layout.group(number))) else { return };
        let found = failback::target(&self.layout, (number, owned), report, &mut self.zones);
        if let Some((to, why)) = found {
            self.release(number, owned, (Some(to), why));
        }
    }

    /// A group that was left failed is tried again after its time. Its failovers count on, so
    /// that it is left failed at once when that does not help either.
    fn retry(&mut self, group: &Group) {
        if group.failed.is_none() {
            return;
        }
        let Some(trail) = self.input.db.trail(&group.id) else { return };
        if retry_at(group, trail).is_some_and(|retry| self.at() >= retry) {
            let why = format!("{} passed", written_time(group.policy.retry_after_s));
            self.changes.push(Change::Retry { group: group.id.clone(), why });
        }
    }

    /// Gives their nodes to all that need one, those of the higher priority first.
    fn place(&mut self) {
        let mut cases = std::mem::take(&mut self.cases);
        let priority = |case: &Case<'_>| self.layout.group(case.seeker.group).policy.rules.priority;
        cases.sort_by_key(|case| std::cmp::Reverse(priority(case)));
        let seekers: Vec<Seeker> = cases.iter().map(|case| case.seeker).collect();
        let given = self.layout.assign(&seekers);
        for (case, to) in cases.into_iter().zip(given) {
            self.settle(case, to);
        }
    }

    /// What becomes of a group that got a node, or none.
    fn settle(&mut self, Case { seeker, cause }: Case<'a>, to: Option<NodeId>) {
        let (number, group) = (seeker.group, self.layout.group(seeker.group));
        let known = cause.known();
        match (cause, to) {
            (Cause::Unowned, Some(to)) => self.grant(number, to, self.chosen(seeker, to, known)),
            (Cause::Stopped(owned) | Cause::Ended(owned), Some(to)) => {
                let why = because(owned, known);
                self.grant(number, to, self.chosen(seeker, to, why));
            }
            (Cause::Stopped(owned), None) => self.disown(group, owned, because(owned, known)),
            // It waits: who is known stopped has nothing to give back.
            (Cause::Unowned | Cause::Ended(_), None) => {}
            (Cause::Leaves(owned), to) => self.release(number, owned, (to, known)),
            (Cause::GaveUp(..), None) | (Cause::Drained(_, Drain::No | Drain::Yes), None) => {}
            (Cause::GaveUp(owned, _), Some(to)) => {
                self.changes.push(Change::CountFailover { group: group.id.clone() });
                self.release(number, owned, (Some(to), known));
            }
            (Cause::Drained(owned, _), Some(to)) => self.release(number, owned, (Some(to), known)),
            (Cause::Drained(owned, Drain::ForceOffline), None) => {
                let why = format!("{known} and no other node may take it");
                self.release(number, owned, (None, why));
            }
        }
    }

    /// The reason with why it is this node, where needs and rules had a say.
    fn chosen(&self, seeker: Seeker, to: NodeId, why: String) -> String {
        match self.layout.chosen(seeker.group, to).filter(|_| seeker.first != Some(to)) {
            Some(chosen) => format!("{why}; {chosen}"),
            None => why,
        }
    }

    fn at(&self) -> UtcMillis {
        self.input.at.max(self.input.db.at())
    }

    fn grant(&mut self, number: usize, node: NodeId, why: String) {
        self.layout.send(number, node);
        let group = self.layout.group(number);
        let epoch = group.epoch_last.next();
        self.changes.push(Change::Grant { group: group.id.clone(), node, epoch, why });
    }

    fn disown(&mut self, group: &Group, owned: &Ownership, why: String) {
        let epoch = owned.epoch;
        self.changes.push(Change::Disown { group: group.id.clone(), epoch, why });
    }
}

impl Cause<'_> {
    /// Whether its owner itself said that nothing of it runs.
    const fn is_told(&self) -> bool {
        matches!(self, Self::Stopped(_))
    }

    /// What is known, in words for the reason.
    fn known(&self) -> String {
        match self {
            Self::Unowned => "nobody owned it and it shall be online".to_owned(),
            Self::Stopped(owned) => format!("{} reported it stopped", owned.node),
            Self::Ended(owned) => format!("lease of {} ended", owned.node),
            Self::Leaves(owned) => format!("{} leaves", owned.node),
            Self::GaveUp(owned, cause) => format!("it failed on {}: {cause}", owned.node),
            Self::Drained(owned, _) => format!("{} is drained", owned.node),
        }
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
