//! The groups of the view: the database merged with what owners report.

use std::collections::{BTreeMap, BTreeSet};

use stead_model::amounts::Amounts;
use stead_model::group::{Desired, Group, GroupState};
use stead_model::resource::{Health, ResourceConfig, ResourceState};
use stead_model::view::{GroupView, ResourceView};
use stead_model::wire::peer::{GroupReport, ResourceStatus, Standing};
use stead_model::{NodeId, ResourceId, UtcMillis};

use super::explain::{against, waits_for, why};
use super::placement::Layout;
use super::plan::retry_at;
use super::{PlanInput, safety};
use crate::db::apply::within_window;
use crate::db::{Db, servers, shall_run, tree};

/// What a node last said about its groups.
#[derive(Clone, Copy, Debug)]
pub enum Answering<'a> {
    /// It answers, and this is its last report.
    Yes(&'a [GroupReport]),
    /// It does not answer: what it last said may be old.
    No(&'a [GroupReport]),
}

/// Views of all groups in a cluster of so many members. A node that is not in `nodes` never
/// reported.
#[must_use]
pub fn group_views(
    db: &Db,
    nodes: &BTreeMap<NodeId, Answering<'_>>,
    at: UtcMillis,
    members: usize,
) -> Vec<GroupView> {
    let at = at.max(db.at());
    let view = |group: &Group| {
        let mut view = group_view(group, nodes, at);
        view.failover_limit = group.policy.limit(members);
        let left_failed = group.failed.as_ref().and_then(|_| db.trail(&group.id));
        view.retry_at = left_failed.and_then(|trail| retry_at(group, trail));
        view.against = against(db, group);
        view
    };
    db.groups().values().map(view).collect()
}

/// Says of groups that shall run and do not what they wait for, as far as the node sees it whose
/// input this is.
pub fn say_what_they_wait_for(views: &mut [GroupView], input: &PlanInput<'_>) {
    let idle = |view: &GroupView| {
        let nowhere = match view.state {
            GroupState::Unknown => true,
            GroupState::Offline | GroupState::Pending => {
                view.resources.iter().all(|resource| resource.state == ResourceState::Offline)
            }
            GroupState::Online | GroupState::PartialOnline | GroupState::Failed => false,
        };
        nowhere && view.desired == Desired::Online
    };
    if !views.iter().any(idle) {
        return;
    }
    let layout = Layout::new(input);
    for view in views.iter_mut().filter(|view| idle(view)) {
        view.waits = input.db.group(&view.group).and_then(|group| waits_for(&layout, group));
    }
}

/// What groups need on each node that shall run.
#[must_use]
pub fn needed(db: &Db) -> BTreeMap<NodeId, Amounts> {
    let mut needed: BTreeMap<NodeId, Amounts> = BTreeMap::new();
    for group in db.groups().values().filter(|group| shall_run(group)) {
        let Some(owned) = &group.ownership else { continue };
        for (unit, amount) in group.demands() {
            needed.entry(owned.node).or_default().add(unit, amount);
        }
    }
    needed
}

fn group_view(group: &Group, nodes: &BTreeMap<NodeId, Answering<'_>>, at: UtcMillis) -> GroupView {
    let counted = within_window(group, at);
    let period_ms = group.policy.failover_period_s.saturating_mul(1_000);
    let owned = group.ownership.as_ref();
    let source = owned.and_then(|o| nodes.get(&o.node));
    let report = owned.and_then(|o| {
        let groups = match source? {
            Answering::Yes(groups) | Answering::No(groups) => groups,
        };
        groups.iter().find(|g| g.group == group.id && g.epoch == o.epoch)
    });
    let silent = owned.is_some() && !matches!(source, Some(Answering::Yes(_)));
    let (safety, safety_why) = safety::level(group);
    GroupView {
        group: group.id.clone(),
        state: if silent { GroupState::Unknown } else { group_state(group, report) },
        desired: group.desired,
        owner: owned.map(|o| o.node),
        epoch: owned.map_or(group.epoch_last, |o| o.epoch),
        why: why(group),
        failed: group.failed.clone().or_else(|| gave_up(report)),
        safety,
        safety_why,
        failovers: u32::try_from(counted.len()).unwrap_or(u32::MAX),
        failover_limit: 0,
        failovers_until: counted.first().map(|f| UtcMillis(f.0.saturating_add(period_ms))),
        retry_at: None,
        servers: servers::of_group(&group.resources),
        waits: None,
        against: None,
        policy: group.policy.clone(),
        resources: resources(group, report),
    }
}

fn gave_up(report: Option<&GroupReport>) -> Option<String> {
    match &report?.standing {
        Standing::GaveUp(why) => Some(why.clone()),
        Standing::Held | Standing::NeedsEpoch | Standing::Stopped => None,
    }
}

/// State of a whole group from what its owner reports of its resources in its present epoch.
#[must_use]
pub fn group_state(group: &Group, report: Option<&GroupReport>) -> GroupState {
    if group.failed.is_some() || gave_up(report).is_some() {
        return GroupState::Failed;
    }
    let wanted = if shall_run(group) { tree::wanted(&group.resources) } else { [].into() };
    let of = |id: &ResourceId| status(report, id).map(|s| s.state).unwrap_or_default();
    let states = || group.resources.keys().map(of);
    let on_its_way = |s: ResourceState| {
        matches!(s, ResourceState::OnlinePending | ResourceState::OfflinePending)
    };
    if group.ownership.is_none() {
        return GroupState::Offline;
    }
    // What failed without affecting the group is left out, with all that depends on it.
    let (wanted, out) = split(group, &wanted, &of);
    let all_wanted = wanted.iter().map(of).all(|s| s == ResourceState::Online);
    let some_online = states().any(|s| s == ResourceState::Online);
    let waits = wanted.iter().map(of).any(|s| s == ResourceState::Offline);
    if wanted.iter().map(of).any(|s| s == ResourceState::Failed) {
        GroupState::Failed
    } else if states().any(on_its_way) || waits {
        GroupState::Pending
    } else if all_wanted && !out && shall_run(group) && (some_online || group.resources.is_empty())
    {
        GroupState::Online
    } else if some_online {
        GroupState::PartialOnline
    } else {
        GroupState::Offline
    }
}

/// The wanted resources without those that failed and do not affect the group and those that depend
/// on such, and whether there are any of these.
fn split(
    group: &Group,
    wanted: &BTreeSet<ResourceId>,
    of: &dyn Fn(&ResourceId) -> ResourceState,
) -> (BTreeSet<ResourceId>, bool) {
    let mut kept = BTreeSet::new();
    for config in tree::online_order(&group.resources) {
        let alone = of(&config.id) == ResourceState::Failed && !config.policy.affects_group;
        let stands = config.depends_on.iter().all(|d| kept.contains(d));
        if wanted.contains(&config.id) && !alone && stands {
            kept.insert(config.id.clone());
        }
    }
    let out = kept.len() < wanted.len();
    (kept, out)
}

fn status<'a>(report: Option<&'a GroupReport>, id: &ResourceId) -> Option<&'a ResourceStatus> {
    let resources = &report?.resources;
    let at = resources.binary_search_by(|r| r.resource.cmp(id)).ok()?;
    Some(&resources[at])
}

/// In the order they come online; what has no place in the order comes last.
fn resources(group: &Group, report: Option<&GroupReport>) -> Vec<ResourceView> {
    let mut order: Vec<&ResourceConfig> = tree::online_order(&group.resources);
    let placed: BTreeSet<&ResourceId> = order.iter().map(|r| &r.id).collect();
    order.extend(group.resources.values().filter(|r| !placed.contains(&r.id)));
    order.into_iter().map(|r| resource_view(r, status(report, &r.id))).collect()
}

fn resource_view(config: &ResourceConfig, status: Option<&ResourceStatus>) -> ResourceView {
    ResourceView {
        resource: config.id.clone(),
        kind: config.kind.clone(),
        state: status.map(|s| s.state).unwrap_or_default(),
        desired: config.desired,
        health: status.map_or(Health::Unknown, |s| s.health),
        detail: status.and_then(|s| s.detail.clone()),
        restarts: status.map_or(0, |s| s.restarts),
        depends_on: config.depends_on.iter().cloned().collect(),
        properties: config.properties.clone(),
        policy: config.policy.clone(),
        possible_owners: config.possible_owners.iter().flatten().copied().collect(),
        used: status.and_then(|s| s.used),
    }
}
