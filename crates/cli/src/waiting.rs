//! `--wait`: follows what was asked until it is so, showing the steps and what is awaited.
//!
//! Bounded: a wait ends when the slowest allowed course of events would be over.

use std::time::{Duration, Instant};

use stead_model::core_group::is_core;
use stead_model::group::{Desired, GroupState};
use stead_model::reason::{Code, Reason};
use stead_model::resource::ResourceState;
use stead_model::view::{GroupView, ResourceView, View};
use stead_model::{Epoch, GroupId, LogIndex, NodeId, ResourceId};

use crate::failure::Failure;
use crate::place::Place;
use crate::reach::{Reached, name_of, reach};
use crate::screen;

/// What is waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Goal {
    /// The group is online or offline.
    Group { group: GroupId, desired: Desired },
    /// The group has a new owner and runs there as it ran before.
    Moved { group: GroupId, to: Option<NodeId>, epoch: Epoch },
    /// The resource is online or offline.
    Resource { resource: ResourceId, desired: Desired },
}

/// How far it is.
enum Progress {
    Reached,
    /// Awaited, in words.
    Awaits(String),
    /// It looks as if it went wrong.
    Wrong(String),
}

/// Waits for a goal. The change that leads to it was committed as entry `index`.
pub(crate) async fn wait(
    place: &Place,
    reached: Reached,
    goal: &Goal,
    index: LogIndex,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let limit = limit(&reached.view);
    screen::talk(&format!("waiting, at most {} s, until {}", limit.as_secs(), goal.words()));
    let mut told = String::new();
    let mut wrong_since = None;
    let mut asked = Some(reached);
    loop {
        let now = match &asked {
            Some(asked) => progress(&asked.view, goal, index),
            None => Progress::Awaits("a node that answers".into()),
        };
        let text = match &now {
            Progress::Reached => {
                let seconds = begun.elapsed().as_secs_f64();
                screen::talk(&format!("{} after {seconds:.1} s", goal.words()));
                return Ok(());
            }
            Progress::Awaits(text) | Progress::Wrong(text) => text.clone(),
        };
        if text != told {
            screen::talk(&format!("  {text}"));
            told.clone_from(&text);
        }
        wrong_since = match now {
            Progress::Wrong(_) => Some(wrong_since.unwrap_or_else(Instant::now)),
            Progress::Reached | Progress::Awaits(_) => None,
        };
        let settled = wrong_since.is_some_and(|since: Instant| since.elapsed() >= SETTLED);
        if settled || begun.elapsed() >= limit {
            return Err(given_up(goal, &told, (!settled).then_some(limit)));
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
        asked = look_again(place, asked).await;
    }
}

/// Asks the same node again; when it does not answer any more, another one.
async fn look_again(place: &Place, asked: Option<Reached>) -> Option<Reached> {
    if let Some(Reached { client, .. }) = asked
        && let Ok(Ok(view)) = tokio::time::timeout(PATIENCE, client.status()).await
        && view.quorum.has_quorum
    {
        return Some(Reached { client, view });
    }
    reach(place, None).await.ok()
}

fn given_up(goal: &Goal, told: &str, limit: Option<Duration>) -> Failure {
    let cause = match limit {
        Some(limit) => format!("after {} s: {told}", limit.as_secs()),
        None => told.to_owned(),
    };
    let name = match goal {
        Goal::Group { group, .. } | Goal::Moved { group, .. } => {
            format!("`stead explain group {group}` shows why")
        }
        Goal::Resource { resource, .. } => format!("`stead resource logs {resource}` may show why"),
    };
    let reason = Reason::new(Code::Conflict, format!("cannot see that {}", goal.words()));
    Failure::refused("wait", reason.because(cause).hint(name))
}

impl Goal {
    fn words(&self) -> String {
        match self {
            Self::Group { group, desired } => format!("group `{group}` is {}", desired.word()),
            Self::Moved { group, to: Some(to), .. } => format!("group `{group}` is on {to}"),
            Self::Moved { group, to: None, .. } => format!("group `{group}` is on another node"),
            Self::Resource { resource, desired } => {
                format!("resource `{resource}` is {}", desired.word())
            }
        }
    }
}

fn progress(view: &View, goal: &Goal, index: LogIndex) -> Progress {
    let node = name_of(view, view.node);
    if !view.quorum.has_quorum {
        return Progress::Awaits(format!("{node} has no quorum"));
    }
    if view.applied < index {
        return Progress::Awaits(format!("{node} has not applied entry {index} yet"));
    }
    match goal {
        Goal::Group { group, desired } => match find(view, group) {
            Some(group) => of_group(group, *desired),
            // The cluster's own group is only taken offline to go.
            None if is_core(group) && *desired == Desired::Offline => Progress::Reached,
            None => Progress::Wrong("the group was deleted".into()),
        },
        Goal::Moved { group, to, epoch } => match find(view, group) {
            Some(group) => of_move(group, *to, *epoch),
            None => Progress::Wrong("the group was deleted".into()),
        },
        Goal::Resource { resource, desired } => of_resource(view, resource, *desired),
    }
}

fn find<'a>(view: &'a View, id: &GroupId) -> Option<&'a GroupView> {
    view.groups.iter().find(|group| group.group == *id)
}

fn of_group(group: &GroupView, desired: Desired) -> Progress {
    let text = steps(group);
    match (desired, group.state) {
        (Desired::Online, GroupState::Online) | (Desired::Offline, GroupState::Offline) => {
            Progress::Reached
        }
        (_, GroupState::Failed) => Progress::Wrong(text),
        // A group without resources that shall run is never more than offline.
        (Desired::Online, GroupState::Offline) if at_rest(group) => Progress::Reached,
        (
            _,
            GroupState::Online
            | GroupState::Offline
            | GroupState::PartialOnline
            | GroupState::Pending
            | GroupState::Unknown,
        ) => Progress::Awaits(text),
    }
}

fn at_rest(group: &GroupView) -> bool {
    group.owner.is_some() && group.resources.iter().all(|r| r.desired == Desired::Offline)
}

fn of_move(group: &GroupView, to: Option<NodeId>, before: Epoch) -> Progress {
    let text = steps(group);
    let settled = match group.desired {
        Desired::Online => group.state == GroupState::Online || at_rest(group),
        Desired::Offline => group.state == GroupState::Offline,
    };
    let arrived = group.epoch > before && group.owner.is_some();
    if group.state == GroupState::Failed {
        return Progress::Wrong(text);
    }
    match (arrived && settled, to) {
        (true, Some(to)) if group.owner != Some(to) => Progress::Wrong(text),
        (true, Some(_) | None) => Progress::Reached,
        (false, _) => Progress::Awaits(text),
    }
}

fn of_resource(view: &View, id: &ResourceId, desired: Desired) -> Progress {
    let all = view.groups.iter().flat_map(|group| &group.resources);
    let Some(resource) = all.into_iter().find(|resource| resource.resource == *id) else {
        return Progress::Wrong("the resource was deleted".into());
    };
    let detail = resource.detail.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    let text = format!("resource `{id}` is {}{detail}", resource.state.word());
    match (desired, resource.state) {
        (Desired::Online, ResourceState::Online) | (Desired::Offline, ResourceState::Offline) => {
            Progress::Reached
        }
        (_, ResourceState::Failed) => Progress::Wrong(text),
        (
            _,
            ResourceState::Online
            | ResourceState::Offline
            | ResourceState::OnlinePending
            | ResourceState::OfflinePending,
        ) => Progress::Awaits(text),
    }
}

/// A group with those of its resources that are not where they shall be.
fn steps(group: &GroupView) -> String {
    let owner = group.owner.map_or_else(|| "nobody".to_owned(), |node| node.to_string());
    let state = group.state.word();
    let mut text = format!("group `{}` is {state}, owned by {owner}", group.group);
    let elsewhere = group.resources.iter().filter(|resource| match resource.state {
        ResourceState::Online => !shall_run(group, resource),
        ResourceState::Offline => shall_run(group, resource),
        ResourceState::OnlinePending | ResourceState::OfflinePending | ResourceState::Failed => {
            true
        }
    });
    for resource in elsewhere {
        let detail = resource.detail.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        text.push_str(&format!(", `{}` {}{detail}", resource.resource, resource.state.word()));
    }
    if let Some(why) = &group.failed {
        text.push_str(&format!(", stays down: {why}"));
    }
    text
}

fn shall_run(group: &GroupView, resource: &ResourceView) -> bool {
    match (group.desired, resource.desired) {
        (Desired::Online, Desired::Online) => true,
        (Desired::Offline, Desired::Online | Desired::Offline)
        | (Desired::Online, Desired::Offline) => false,
    }
}

/// Every resource may take its pending timeout once to stop and once to start, and before that a
/// lost owner may have to be waited for.
fn limit(view: &View) -> Duration {
    let resources = view.groups.iter().flat_map(|group| &group.resources);
    let pending: u64 = resources.map(|resource| resource.policy.pending_timeout_ms).sum();
    let timing = view.profile.timing();
    let lost = timing.wait(timing.lease_long) + timing.election * 10;
    Duration::from_millis((2 * pending).saturating_add(lost.as_millis()).min(LIMIT_MS_MAX))
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(3);
/// What looks wrong may be a report of before the change; after this it is believed.
const SETTLED: Duration = Duration::from_secs(2);
const LIMIT_MS_MAX: u64 = 3_600_000;
