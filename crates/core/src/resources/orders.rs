//! What to order for a group now: the sequence of I-DEP, as parallel as the tree allows.
//!
//! A resource *must go down* when it shall not run, failed a check, was changed, or stands on
//! something that is not online or must go down itself. It is stopped when nothing that depends
//! on it runs, and started when all it depends on is online and nothing that depends on it still
//! runs from before. So a failed resource is restarted after its dependents are down, and they
//! follow it up again.

use stead_model::order::{Action, ResourceOrder};
use stead_model::resource::ResourceConfig;
use stead_model::resource_type::changes_running;
use stead_model::{LeaseNumber, OrderId, ResourceId, Span, Time};

use super::Output;
use super::holding::Holding;
use super::machine::{
    Call, Happened, How, Machine, State, Stop, TERMINATE_LIMIT, Then, Watch, spec,
};
use super::outlook::stands_on;
use crate::db::servers;
use crate::planted::Fault;

/// A resource that must leave the node and could not be stopped so often stops the whole node.
pub const FENCE_AFTER: u32 = 3;

/// Where orders are written.
#[derive(Debug)]
pub struct Desk<'a> {
    /// Now.
    pub now: Time,
    /// The lease under which orders are given; `None`: none may be given.
    pub lease: Option<LeaseNumber>,
    /// The last order number used.
    pub order_last: &'a mut OrderId,
    /// What comes out.
    pub out: &'a mut Vec<Output>,
}

/// What is to be done about one resource now.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    Start,
    Adopt,
    Stop(Stop),
}

/// Gives all orders that can be given now, to those resources for which something changed.
pub(super) fn give(holding: &mut Holding, desk: &mut Desk<'_>) {
    let Some(lease) = desk.lease else { return };
    let waiting = std::mem::take(&mut holding.outlook.waiting);
    holding.outlook.look.extend(waiting.iter().cloned());
    waiting.iter().for_each(|id| holding.outlook.touch(id));
    loop {
        time_out(holding, desk, lease);
        holding.mend_outlook();
        let look = std::mem::take(&mut holding.outlook.look);
        if look.is_empty() {
            break;
        }
        let mut steps: Vec<(ResourceId, Step)> = Vec::new();
        for id in look {
            let Some(machine) = holding.machines.get(&id) else { continue };
            if !machine.accepts(lease) {
                holding.outlook.waiting.insert(id);
            } else if let Some(step) = step(holding, (&id, machine), desk.now) {
                steps.push((id, step));
            }
        }
        steps.retain(|(id, step)| *step == Step::Adopt || !holding.is_left_alone(id));
        for (id, step) in steps {
            order(holding, &id, step, desk);
        }
    }
    check(holding, lease, desk.now);
}

/// Panics if an order was overlooked; see [`Holding::check_outlook`].
fn check(holding: &Holding, lease: LeaseNumber, now: Time) {
    if !holding.is_checked() {
        return;
    }
    holding.check_outlook();
    for (id, machine) in holding.machines.iter().filter(|(_, machine)| machine.accepts(lease)) {
        let step = step(holding, (id, machine), now);
        let step = step.filter(|s| *s == Step::Adopt || !holding.is_left_alone(id));
        // What is not in the database any more cannot be ordered to start.
        let step =
            step.filter(|s| matches!(s, Step::Stop(_)) || holding.resources.contains_key(id));
        assert_eq!(step, None, "resource {id} was overlooked");
        holding.check_timer(id, now);
    }
}

/// Calls that were not answered in time.
fn time_out(holding: &mut Holding, desk: &mut Desk<'_>, lease: LeaseNumber) {
    for id in holding.outlook.timers.due(desk.now) {
        // It is set again when something changes, or under a newer lease.
        holding.outlook.timers.set(&id, None);
        if !may_time_out(holding, &id) {
            continue;
        }
        let Some(machine) = holding.machines.get_mut(&id) else { continue };
        if !machine.accepts(lease) {
            holding.outlook.waiting.insert(id);
            continue;
        }
        match machine.timed_out(desk.now) {
            Happened::Nothing => drop(holding.outlook.look.insert(id)),
            Happened::TimedOut(then) => {
                let stop = Stop { how: How::AtOnce, then, stuck: 0 };
                order(holding, &id, Step::Stop(stop), desk);
            }
            happened => {
                holding.outlook.touch(&id);
                holding.happened(desk.now, &id, happened, desk.out);
            }
        }
    }
}

/// Whether a call may be given up: what is terminated then must have nothing on it that runs
/// (I-DEP). What stands on it is given up first.
pub(super) fn may_time_out(holding: &Holding, id: &ResourceId) -> bool {
    match holding.machines.get(id).map(|m| &m.state) {
        Some(State::Starting(_) | State::Stopping(..) | State::Stuck { .. }) => {
            is_free(holding, id)
        }
        Some(State::Offline | State::Online(_) | State::Failed(_)) => true,
        None => false,
    }
}

/// Whether a resource shall not stay online, those below it judged already. One that runs and one
/// that does not are judged alike: one that must go down is not started either.
pub(super) fn must_go_down(holding: &Holding, id: &ResourceId) -> bool {
    let outlook = &holding.outlook;
    let (Some(config), Some(machine)) = (holding.resources.get(id), holding.machines.get(id))
    else {
        return true;
    };
    let online = |d: &ResourceId| holding.machines.get(d).is_some_and(Machine::is_online);
    let stands = || counted(holding, config).all(|d| online(d) && !outlook.down.contains(d));
    let sound = || machine.failing.is_none() && !is_changed(machine, config);
    !(outlook.has_place(id) && outlook.wanted.contains(id) && stands() && sound())
}

/// What a resource stands on: all it depends on.
fn counted<'a>(
    holding: &Holding,
    config: &'a ResourceConfig,
) -> impl Iterator<Item = &'a ResourceId> {
    let count = if holding.has_planted(Fault::DependenciesIgnored) {
        0
    } else if holding.has_planted(Fault::OneDependencyCounts) {
        1
    } else {
        usize::MAX
    };
    config.depends_on.iter().take(count)
}

/// Whether it runs with other properties than the database has now.
fn is_changed(machine: &Machine, config: &ResourceConfig) -> bool {
    machine.running.as_ref().is_some_and(|running| restarts(running, config))
}

/// Whether a resource that runs with the one has to be restarted for the other.
pub(crate) fn restarts(running: &ResourceConfig, config: &ResourceConfig) -> bool {
    running.kind != config.kind || !own(running).eq(own(config))
}

/// The properties that a resource runs with; others may be changed while it does.
fn own(config: &ResourceConfig) -> impl Iterator<Item = (&String, &String)> {
    config.properties.iter().filter(|(name, _)| !changes_running(&config.kind, name))
}

/// Whether nothing runs that depends on it by what the database has now, and nothing is on its way
/// down that was started on it: what stays online without it is not waited for.
fn is_free(holding: &Holding, id: &ResourceId) -> bool {
    if holding.has_planted(Fault::StoppedBeforeDependents) {
        return true;
    }
    holding.outlook.above(id).all(|other| {
        let Some(machine) = holding.machines.get(other).filter(|machine| !machine.is_down()) else {
            return true;
        };
        let stays = machine.is_online() && !holding.outlook.down.contains(other);
        let waits = stands_on(holding.resources.get(other), id)
            || (stands_on(machine.running.as_ref(), id) && !stays);
        !waits
    })
}

/// Whether a resource would be started now, if the epoch allowed it (R9).
pub(super) fn is_startable(holding: &Holding, id: &ResourceId) -> bool {
    let offline = holding.machines.get(id).is_some_and(|machine| machine.state == State::Offline);
    offline && !holding.outlook.down.contains(id) && is_free(holding, id)
}

/// Whether a monitor says of all it depends on that it is online: what is being adopted may turn
/// out to be gone.
fn stands_firm(holding: &Holding, id: &ResourceId) -> bool {
    let watched = |d: &ResourceId| holding.machines.get(d).is_some_and(Machine::is_watched);
    holding.resources.get(id).is_some_and(|config| counted(holding, config).all(watched))
}

fn step(holding: &Holding, (id, machine): (&ResourceId, &Machine), now: Time) -> Option<Step> {
    let down = holding.outlook.down.contains(id);
    let must_stop = || down && is_free(holding, id);
    match &machine.state {
        State::Offline => {
            let may = holding.may_start() && stands_firm(holding, id);
            (may && is_startable(holding, id)).then_some(Step::Start)
        }
        // A start is waited for: a stop could overtake it.
        State::Starting(Some(_)) => None,
        State::Starting(None) if must_stop() => Some(Step::Stop(stop(machine))),
        State::Starting(None) => (!down && stands_firm(holding, id)).then_some(Step::Start),
        State::Online(_) if must_stop() => Some(Step::Stop(stop(machine))),
        State::Online(watch) => {
            let adopt = !down && needs_adoption(holding, (id, machine), watch);
            adopt.then_some(Step::Adopt)
        }
        // What was made to depend on it meanwhile goes down first.
        State::Stopping(None, stop) => is_free(holding, id).then(|| Step::Stop(stop.clone())),
        State::Stopping(Some(_), _) | State::Failed(_) => None,
        State::Stuck { again, stop, .. } => {
            let again = now >= *again && is_free(holding, id);
            again.then(|| Step::Stop(stop.clone()))
        }
    }
}

/// A resource that failed a check is stopped at once and judged; any other one is stopped as its
/// type does it.
fn stop(machine: &Machine) -> Stop {
    match &machine.failing {
        Some(why) => Stop { how: How::AtOnce, then: Then::Failure(why.clone()), stuck: 0 },
        None => Stop { how: How::Gracefully, then: Then::Rest, stuck: 0 },
    }
}

/// A resource that nobody watches, or that is watched under an older epoch, other intervals, or as
/// part of another virtual server.
fn needs_adoption(
    holding: &Holding,
    (id, machine): (&ResourceId, &Machine),
    watch: &Watch,
) -> bool {
    match watch {
        Watch::Nobody => true,
        Watch::Asked(call) | Watch::Monitor(call) => {
            let intervals = |r: &ResourceConfig| {
                holding.resources.get(id).is_some_and(|config| spec(config) != spec(r))
            };
            call.epoch != holding.epoch()
                || machine.running.as_ref().is_some_and(intervals)
                || machine.server != servers::of(&holding.resources, id)
        }
    }
}

fn order(holding: &mut Holding, id: &ResourceId, step: Step, desk: &mut Desk<'_>) {
    let Some(lease) = desk.lease else { return };
    let (group, epoch) = (holding.group().clone(), holding.epoch());
    let config = holding.resources.get(id).cloned();
    let server = servers::of(&holding.resources, id);
    let Some(machine) = holding.machines.get_mut(id) else { return };
    holding.outlook.touch(id);
    *desk.order_last = desk.order_last.next();
    let order = *desk.order_last;
    let due = desk.now + limit(&step, config.as_ref().or(machine.running.as_ref()));
    let call = Call { order, lease, epoch, due };
    let action: Action = match (step, config) {
        (Step::Start, Some(config)) => machine.started(call, config, server),
        (Step::Adopt, Some(config)) => machine.adopted(call, config, server),
        (Step::Stop(stop), _) => machine.stopped(call, stop),
        (Step::Start | Step::Adopt, None) => return,
    };
    let resource = id.clone();
    desk.out.push(Output::Order(ResourceOrder { order, group, resource, epoch, lease, action }));
}

fn limit(step: &Step, config: Option<&ResourceConfig>) -> Span {
    let pending = config.map(|c| c.policy.clone()).unwrap_or_default().pending_timeout_ms;
    match step {
        Step::Stop(Stop { how: How::AtOnce, .. }) => TERMINATE_LIMIT,
        Step::Start | Step::Adopt | Step::Stop(Stop { how: How::Gracefully, .. }) => {
            Span::from_millis(pending)
        }
    }
}
