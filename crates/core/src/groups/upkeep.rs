//! Upkeep on the leader: what may be asked, and what becomes of groups meanwhile.
//!
//! * A paused node is given no groups; drained, its own go elsewhere, and what can run nowhere else
//!   stays, or with force goes offline until a node may take it.
//! * A pin puts its node before all others, and forbids nothing: when that node is lost the group
//!   goes elsewhere, and comes back.
//! * A group in maintenance is left where and as it is, also when its node is lost.
//! * A node in quarantine comes last, and nothing that runs elsewhere goes to it; see `quarantine`.

use stead_model::change::Change;
use stead_model::group::{Group, Ownership};
use stead_model::reason::{Code, Reason};
use stead_model::upkeep::{Drain, UPKEEP_S_MAX, Upkeep};
use stead_model::{GroupId, NodeId, UtcMillis};

use super::placement::{Layout, Seeker, excluding, failures};
use super::{PlanInput, mend};
use crate::db::shall_run;
use crate::db::validate as check;

/// Judges what an administrator asks for.
pub(super) fn decide(input: &PlanInput<'_>, upkeep: &Upkeep) -> Result<Change, Reason> {
    match upkeep {
        Upkeep::Pause { node, drain } => pause(input, *node, *drain)?,
        Upkeep::Resume { node } => {
            known(input, *node)?;
            let upkeep = input.db.upkeep();
            if upkeep.paused(*node).is_none() && !upkeep.quarantined().contains_key(node) {
                return Err(Reason::new(Code::Conflict, format!("cannot resume {node}"))
                    .because("it is neither paused nor in quarantine"));
            }
        }
        Upkeep::Quarantine { node, .. } | Upkeep::EndQuarantine { node } => {
            return Err(Reason::new(Code::Invalid, format!("cannot change quarantine of {node}"))
                .because("only the cluster itself decides about that")
                .hint(format!(
                    "`node pause {node}` keeps groups away from it, `node resume {node}` ends both"
                )));
        }
        Upkeep::Pin { group, node, until } => {
            let home = check::group(input.db, group)?;
            known(input, *node)?;
            in_time(input, *until, &format!("cannot pin group `{group}`"))?;
            if let Some(resource) = excluding(home, *node) {
                let text = format!("cannot pin group `{group}` to {node}");
                return Err(Reason::new(Code::Conflict, text)
                    .because(format!("{node} is not a possible owner of resource `{resource}`"))
                    .hint("pin it to a possible owner, or change `possible-owners`"));
            }
        }
        Upkeep::Unpin { group } => {
            check::group(input.db, group)?;
            if input.db.upkeep().pin(group).is_none() {
                return Err(Reason::new(Code::Conflict, format!("cannot unpin group `{group}`"))
                    .because("it is not pinned"));
            }
        }
        Upkeep::Maintain { group, resource, until } => {
            check::group(input.db, group)?;
            in_time(input, *until, &format!("cannot put group `{group}` in maintenance"))?;
            if let Some(resource) = resource {
                check::resource(input.db, resource)?;
            }
        }
        Upkeep::EndMaintenance { group, resource } => {
            check::group(input.db, group)?;
            let same = |standing: &Upkeep| match standing {
                Upkeep::Maintain { group: g, resource: r, .. } => g == group && r == resource,
                Upkeep::Pause { .. }
                | Upkeep::Resume { .. }
                | Upkeep::Pin { .. }
                | Upkeep::Unpin { .. }
                | Upkeep::EndMaintenance { .. }
                | Upkeep::Quarantine { .. }
                | Upkeep::EndQuarantine { .. } => false,
            };
            if !input.db.upkeep().list().iter().any(same) {
                let what = match resource {
                    Some(resource) => format!("resource `{resource}`"),
                    None => format!("group `{group}`"),
                };
                return Err(Reason::new(
                    Code::Conflict,
                    format!("cannot end maintenance of {what}"),
                )
                .because("it is not in maintenance"));
            }
        }
    }
    Ok(Change::Upkeep { upkeep: upkeep.clone() })
}

/// A drain that would leave a group without a node is refused, unless it is forced.
fn pause(input: &PlanInput<'_>, node: NodeId, drain: Drain) -> Result<(), Reason> {
    known(input, node)?;
    let stuck = if drain == Drain::Yes { stuck(input, node) } else { Vec::new() };
    if stuck.is_empty() {
        return Ok(());
    }
    Err(Reason::new(Code::Conflict, format!("cannot drain {node}"))
        .because(format!("no other node may take {} now", stuck.join(", ")))
        .hint(format!(
            "`explain group` says why; `node drain {node} --force-offline` takes what can run \
             nowhere else offline, `node pause {node}` leaves it running"
        )))
}

/// Groups on a node that no other one may take now, or that are left alone, as `web`.
pub(super) fn stuck(input: &PlanInput<'_>, node: NodeId) -> Vec<String> {
    let mut layout = Layout::new(input);
    let here = |group: &Group| {
        shall_run(group) && group.ownership.as_ref().is_some_and(|o| o.node == node)
    };
    let groups = layout.groups().iter().enumerate().filter(|(_, group)| here(group));
    let (alone, leave): (Vec<usize>, Vec<usize>) = groups
        .map(|(number, _)| number)
        .partition(|number| input.db.upkeep().maintains(&layout.group(*number).id));
    let seeker = |group: &usize| Seeker { group: *group, except: Some(node), first: None };
    let seekers: Vec<Seeker> = leave.iter().map(seeker).collect();
    let given = layout.assign(&seekers);
    let nowhere = leave.into_iter().zip(given).filter(|(_, to)| to.is_none());
    let mut stuck: Vec<usize> = nowhere.map(|(number, _)| number).chain(alone).collect();
    stuck.sort_unstable();
    stuck.into_iter().map(|number| format!("`{}`", layout.group(number).id)).collect()
}

fn known(input: &PlanInput<'_>, node: NodeId) -> Result<(), Reason> {
    if input.nodes.contains_key(&node) {
        return Ok(());
    }
    Err(Reason::new(Code::NotFound, format!("{node} is not in the cluster"))
        .hint("`node list` shows all nodes"))
}

fn in_time(input: &PlanInput<'_>, until: UtcMillis, refused: &str) -> Result<(), Reason> {
    let at = input.at.max(input.db.at());
    if until > at && until.0 - at.0 <= UPKEEP_S_MAX * 1_000 {
        return Ok(());
    }
    Err(Reason::new(Code::Invalid, refused)
        .because("it must end within 31 days, and not in the past")
        .hint("say for how long, as in `--for 2h`"))
}

/// Whether the planner leaves a group as it is: in maintenance, unless its owner is told to stop
/// it or leaves the cluster.
pub(super) fn is_left_alone(input: &PlanInput<'_>, group: &Group) -> bool {
    let goes_on = group
        .ownership
        .as_ref()
        .is_some_and(|owned| owned.release.is_some() || input.db.left().contains(&owned.node));
    input.db.upkeep().maintains(&group.id) && !goes_on
}

/// Refuses to move a group against its upkeep.
pub(super) fn may_move(
    input: &PlanInput<'_>,
    id: &GroupId,
    to: Option<NodeId>,
) -> Result<(), Reason> {
    let refused = || Reason::new(Code::Conflict, format!("cannot move group `{id}`"));
    let upkeep = input.db.upkeep();
    if upkeep.maintains(id) {
        return Err(refused()
            .because("it is in maintenance")
            .hint(format!("end that first: `group maintain {id} --end`")));
    }
    match upkeep.pin(id).filter(|node| to.is_some_and(|to| to != *node)) {
        None => Ok(()),
        Some(node) => Err(refused()
            .because(format!("it is pinned to {node}"))
            .hint(format!("end that first: `group unpin {id}`"))),
    }
}

/// The node that a group is pinned to and not on, if it may go there now.
pub(super) fn pinned_elsewhere(
    layout: &Layout<'_>,
    (number, owned): (usize, &Ownership),
) -> Option<NodeId> {
    let (input, group) = (layout.input(), layout.group(number));
    let upkeep = input.db.upkeep();
    let node = upkeep.pin(&group.id).filter(|node| *node != owned.node)?;
    let fits = layout.bar(number, node).is_none() && failures(input, group, node).is_none();
    let calm = !upkeep.quarantined().contains_key(&node);
    (fits && calm && mend::may_lead(layout, number, (owned.node, node))).then_some(node)
}
