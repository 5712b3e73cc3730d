//! Why a group is where it is, and why not elsewhere: the answer to `explain group`.

use serde::Serialize;
use stead_model::group::{Desired, Group};
use stead_model::wire::peer::Standing;
use stead_model::{Epoch, GroupId, NodeId};

use super::placement::{Candidate, Fit, Layout};
use super::{PlanInput, failback, order, plan, upkeep};
use crate::db::{Db, shall_run};

/// The explanation of a group's place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Explanation {
    /// The group.
    pub group: GroupId,
    /// Its owner.
    pub owner: Option<NodeId>,
    /// Epoch of the ownership, the last one if there is no owner.
    pub epoch: Epoch,
    /// Why it is where it is.
    pub why: String,
    /// Whether a leader says so; another node says what it sees itself.
    pub decides: bool,
    /// What is awaited or will be done next, one sentence each.
    pub next: Vec<String>,
    /// All nodes as places for it, the best first.
    pub nodes: Vec<Candidate>,
}

/// Explains a group as the leader sees it; `None` if there is no such group.
#[must_use]
pub fn explain(input: &PlanInput<'_>, id: &GroupId) -> Option<Explanation> {
    let group = input.db.group(id)?;
    let planned = plan(input).changes.into_iter();
    let planned = planned.filter(|c| c.group() == Some(&group.id)).map(|c| c.to_string());
    let mut told = see(input, id)?;
    told.next.extend(planned);
    Some(Explanation { decides: true, ..told })
}

/// Explains a group as a node sees it that does not lead: it plans nothing.
#[must_use]
pub fn see(input: &PlanInput<'_>, id: &GroupId) -> Option<Explanation> {
    let group = input.db.group(id)?;
    let owned = group.ownership.as_ref();
    let layout = Layout::new(input);
    let sentences = [
        awaited(input, group),
        waits_for(&layout, group),
        against(input.db, group),
        failback::hindrance(input, group),
    ];
    Some(Explanation {
        group: id.clone(),
        owner: owned.map(|o| o.node),
        epoch: owned.map_or(group.epoch_last, |o| o.epoch),
        why: why(group),
        decides: false,
        next: sentences.into_iter().flatten().collect(),
        nodes: layout.candidates(id),
    })
}

/// Why a group is where it is, in one sentence.
#[must_use]
pub fn why(group: &Group) -> String {
    if let Some(failed) = &group.failed {
        return format!("it stays down: {failed}");
    }
    match (&group.ownership, group.desired) {
        (Some(owned), _) => format!("{} owns it because {}", owned.node, owned.why),
        (None, Desired::Offline) => "nobody owns it: it shall be offline".to_owned(),
        (None, Desired::Online) => "nobody owns it: no node may take it now".to_owned(),
    }
}

/// What a group waits for that shall run and is not there: another group, or a node.
pub(super) fn waits_for(layout: &Layout<'_>, group: &Group) -> Option<String> {
    const NAMED: usize = 4;
    if !shall_run(group) || upkeep::is_left_alone(layout.input(), group) {
        return None;
    }
    let number = layout.find(&group.id)?;
    let (at, to) = layout.places(number);
    let needs_epoch = layout.reported(number).is_some_and(|r| r.standing == Standing::NeedsEpoch);
    if at.is_some() && (!needs_epoch || to.is_some()) {
        return None;
    }
    if let Some(order) = order::awaited(layout, group) {
        return Some(order);
    }
    let places = layout.candidates(&group.id);
    if at.is_some() || places.iter().any(|place| place.fit == Fit::Possible) {
        return None;
    }
    let shown = places.iter().take(NAMED).map(|place| format!("{}: {}", place.node, place.why));
    let mut shown: Vec<String> = shown.collect();
    if places.len() > NAMED {
        shown.push(format!("and {} more nodes", places.len() - NAMED));
    }
    Some(format!("no node may take it now: {}", shown.join("; ")))
}

/// Which required rule a group runs against, in one sentence.
pub(super) fn against(db: &Db, group: &Group) -> Option<String> {
    let rules = &group.policy.rules;
    if rules.anti_affinity.required.is_empty() && rules.affinity.required.is_empty() {
        return None;
    }
    let at = |group: &Group| {
        let owned = group.ownership.as_ref().filter(|owned| owned.release.is_none());
        owned.filter(|_| shall_run(group)).map(|owned| owned.node)
    };
    let own = at(group)?;
    let of = |id: &GroupId| db.group(id).and_then(at);
    let beside = rules.anti_affinity.required.iter().find(|id| of(id) == Some(own));
    let apart = rules.affinity.required.iter().find(|id| of(id).is_some_and(|at| at != own));
    let until = "until a node may take it";
    beside
        .map(|id| format!("it runs beside `{id}` against its required anti-affinity, {until}"))
        .or_else(|| {
            apart.map(|id| {
                format!("it runs apart from `{id}` against its required affinity, {until}")
            })
        })
}

fn awaited(input: &PlanInput<'_>, group: &Group) -> Option<String> {
    if upkeep::is_left_alone(input, group) {
        return Some(
            "it is in maintenance: it is watched, and nothing is done about it".to_owned(),
        );
    }
    let owned = group.ownership.as_ref()?;
    let node = owned.node;
    if input.nodes.get(&node).is_some_and(|live| live.stopped) {
        return None;
    }
    let report = input.reported(node, &group.id, owned.epoch);
    match (report.map(|report| &report.standing), &owned.release) {
        (Some(Standing::Stopped), _) => Some(format!("{node} has stopped it")),
        (_, Some(release)) => Some(format!("{node} is to stop it, because {}", release.why)),
        (Some(Standing::GaveUp(why)), None) => Some(format!("{node} gave up: {why}")),
        (Some(Standing::NeedsEpoch), None) => Some(format!("{node} needs a new epoch")),
        (Some(Standing::Held) | None, None) => None,
    }
}
