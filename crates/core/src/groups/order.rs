//! Start order between groups: what a group waits for before it is granted.
//!
//! It is about starting, and nothing else: a group that runs goes on when one that it starts
//! after goes away, and no order of stopping follows from it. A *preferred* order waits only for
//! a group that is on its way; one that shall be offline, failed, or has no node is not waited
//! for. A *required* order waits for whatever time it takes.

use stead_model::GroupId;
use stead_model::group::{Group, GroupState};
use stead_model::wire::peer::Standing;

use super::placement::Layout;
use super::{upkeep, view};
use crate::db::shall_run;

/// What a group waits for before it starts, in one sentence.
pub(super) fn awaited(layout: &Layout<'_>, group: &Group) -> Option<String> {
    let order = &group.policy.rules.start_after;
    let found = |id: &GroupId| layout.find(id);
    let required = order.required.iter().filter_map(|id| Some((id, found(id)?)));
    let mut required = required.filter(|(_, other)| !is_online(layout, *other));
    if let Some((id, _)) = required.next() {
        return Some(format!("it only starts when group `{id}` is online"));
    }
    let preferred = order.preferred.iter().filter_map(|id| Some((id, found(id)?)));
    let mut preferred =
        preferred.filter(|(_, other)| !is_online(layout, *other) && is_on_its_way(layout, *other));
    preferred.next().map(|(id, _)| format!("it starts after group `{id}`, which is on its way"))
}

/// Whether everything that shall run of a group does, as its owner reports it.
fn is_online(layout: &Layout<'_>, number: usize) -> bool {
    let group = layout.group(number);
    let report = layout.reported(number);
    let held = report.is_some_and(|report| report.standing == Standing::Held);
    let stays = group.ownership.as_ref().is_some_and(|owned| owned.release.is_none());
    let at = layout.places(number).0.is_some();
    shall_run(group) && held && stays && at && is_up(view::group_state(group, report))
}

const fn is_up(state: GroupState) -> bool {
    match state {
        GroupState::Online | GroupState::PartialOnline => true,
        GroupState::Offline | GroupState::Pending | GroupState::Failed | GroupState::Unknown => {
            false
        }
    }
}

/// Whether a group that is not online will be, as far as can be seen.
fn is_on_its_way(layout: &Layout<'_>, number: usize) -> bool {
    let group = layout.group(number);
    if !shall_run(group) || upkeep::is_left_alone(layout.input(), group) {
        return false;
    }
    let standing = layout.reported(number).map(|report| &report.standing);
    match (layout.places(number), standing) {
        ((Some(_), None), Some(Standing::GaveUp(_))) => false,
        ((Some(_), None), Some(Standing::Held)) => {
            view::group_state(group, layout.reported(number)) == GroupState::Pending
        }
        ((Some(_), _), _) => true,
        // It waits for others first, perhaps with the target of a release: required ones may
        // never come.
        ((None, _), _) => {
            let order = &group.policy.rules.start_after;
            let blocked = |id| layout.find(id).is_some_and(|other| !may_come(layout, other));
            layout.best(&group.id, None).is_some() && !order.required.iter().any(blocked)
        }
    }
}

fn may_come(layout: &Layout<'_>, number: usize) -> bool {
    is_online(layout, number) || is_on_its_way(layout, number)
}
