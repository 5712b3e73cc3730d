//! Random groups, and what may happen to them in any order: crashes, lost leases, restarted
//! services and monitors, resources that die, do not start or cannot be stopped, moves, changed
//! trees, time that passes while something is pending.

use std::cell::Cell;
use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRng, TestRunner};
use stead_core::planted::Planted;
use stead_model::group::Desired;
use stead_model::order::{Action, Outcome, ResourceOrder};
use stead_model::request::Request;
use stead_model::{NodeId, OrderId, ResourceId, Span};

use crate::world::{World, n};

/// The group that is looked at.
pub(crate) const GROUP: &str = "tree";
/// A second one, so that nodes are not empty otherwise.
pub(crate) const OTHER: &str = "other";
const NODES: usize = 3;

/// What a group looks like: resource `i` depends on those before it whose bits are set.
pub(crate) type Shape = Vec<u16>;

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Plan,
    Apply(usize),
    CarryOut(usize, Index),
    Hear(usize),
    Report(usize),
    Settles(usize),
    Leads,
    Pass(u32),
    Dies(Index),
    Unwell(Index),
    StartFails(usize, Index),
    StopFails(usize, Index),
    AllWorks(usize),
    MonitorDies(usize),
    ServiceRestarts(usize, u64),
    LeaseEnds(usize),
    LeaseBegins(usize),
    Crash(usize),
    KnownStopped(usize),
    Move(usize),
    GroupWanted(bool),
    Wanted(Index, bool),
    Depend(Index, u16),
}

/// A story: the groups, and what happens to them.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    shape: Shape,
    begins: Begins,
    deeds: Vec<Deed>,
}

/// How far the group is when a story begins.
#[derive(Clone, Copy, Debug)]
enum Begins {
    /// It was just made.
    New,
    /// All of it is online.
    Online,
}

/// Shapes of up to `most` resources.
pub(crate) fn shapes(most: usize) -> impl Strategy<Value = Shape> {
    prop::collection::vec(few(), 1..=most).prop_map(|mut bits| {
        for (i, bits) in bits.iter_mut().enumerate() {
            *bits &= (1_u16 << i).wrapping_sub(1);
        }
        bits
    })
}

/// Some of sixteen, less than half of them.
fn few() -> impl Strategy<Value = u16> {
    (any::<u16>(), any::<u16>()).prop_map(|(some, others)| some & others)
}

fn deed() -> impl Strategy<Value = Deed> {
    let node = || 0..NODES;
    let at = any::<Index>;
    prop_oneof![
        4 => Just(Deed::Plan),
        8 => node().prop_map(Deed::Apply),
        16 => (node(), at()).prop_map(|(node, which)| Deed::CarryOut(node, which)),
        16 => node().prop_map(Deed::Hear),
        4 => node().prop_map(Deed::Report),
        30 => node().prop_map(Deed::Settles),
        20 => Just(Deed::Leads),
        3 => (0_u32..19).prop_map(|bits| Deed::Pass(1 << bits)),
        10 => at().prop_map(Deed::Dies),
        6 => at().prop_map(Deed::Unwell),
        1 => (node(), at()).prop_map(|(node, which)| Deed::StartFails(node, which)),
        1 => (node(), at()).prop_map(|(node, which)| Deed::StopFails(node, which)),
        6 => node().prop_map(Deed::AllWorks),
        1 => node().prop_map(Deed::MonitorDies),
        1 => (node(), 0_u64..4).prop_map(|(node, lost)| Deed::ServiceRestarts(node, lost)),
        1 => node().prop_map(Deed::LeaseEnds),
        8 => node().prop_map(Deed::LeaseBegins),
        1 => node().prop_map(Deed::Crash),
        3 => node().prop_map(Deed::KnownStopped),
        10 => node().prop_map(Deed::Move),
        1 => prop::bool::weighted(0.85).prop_map(Deed::GroupWanted),
        4 => (at(), prop::bool::weighted(0.85)).prop_map(|(which, on)| Deed::Wanted(which, on)),
        2 => (at(), few()).prop_map(|(which, bits)| Deed::Depend(which, bits)),
    ]
}

pub(crate) fn stories() -> impl Strategy<Value = Story> {
    let begins = prop_oneof![1 => Just(Begins::New), 3 => Just(Begins::Online)];
    (shapes(9), begins, prop::collection::vec(deed(), 100..400))
        .prop_map(|(shape, begins, deeds)| Story { shape, begins, deeds })
}

/// Runs a property over the same cases each time, so that a failure is there again.
pub(crate) fn always<S: Strategy>(
    cases: u32,
    strategy: &S,
    holds: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let mut runner = runner(Config { cases, ..Config::default() });
    runner.run(strategy, holds).unwrap_or_else(|error| panic!("{error}"));
}

fn runner(config: Config) -> TestRunner {
    let config = Config { failure_persistence: None, ..config };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    TestRunner::new_with_rng(config, rng)
}

/// Tells many stories; `rule` looks at the world after each deed, with the orders that came of it,
/// and says how often it had something to judge.
pub(crate) fn many_stories_keep(rule: impl Fn(&World, &[Ordered]) -> Result<usize, String>) {
    let judged = Cell::new(0);
    always(100, &stories(), |story| {
        let count = tell(&story, Planted::NONE, &rule).map_err(TestCaseError::fail)?;
        judged.set(judged.get() + count);
        Ok(())
    });
    assert!(judged.get() > 200, "the stories must lead there: {} times", judged.get());
}

/// The rule can be broken: with the fault planted the same stories find it.
#[cfg(feature = "planted")]
pub(crate) fn some_story_breaks(
    fault: stead_core::planted::Fault,
    rule: impl Fn(&World, &[Ordered]) -> Result<usize, String>,
) {
    let config = Config { cases: 100, max_shrink_iters: 0, ..Config::default() };
    let found = runner(config).run(&stories(), |story| {
        tell(&story, Planted::only(fault), &rule).map_err(TestCaseError::fail)?;
        Ok(())
    });
    assert!(found.is_err(), "{fault:?} was not found");
}

/// An order that was just given.
#[derive(Clone, Debug)]
pub(crate) struct Ordered {
    pub(crate) node: NodeId,
    pub(crate) order: ResourceOrder,
}

fn tell(
    story: &Story,
    planted: Planted,
    rule: impl Fn(&World, &[Ordered]) -> Result<usize, String>,
) -> Result<usize, String> {
    let mut world = world_of(&story.shape, planted);
    match story.begins {
        Begins::New => {}
        Begins::Online => world.run(),
    }
    let mut last: Vec<OrderId> = vec![OrderId(0); NODES];
    let mut judged = 0;
    for (at, deed) in story.deeds.iter().enumerate() {
        let mut steps = match deed {
            Deed::Settles(_) => 40,
            _ => 1,
        };
        while steps > 0 {
            steps = if perform(&mut world, deed) { steps - 1 } else { 0 };
            let new = new_orders(&world, &mut last);
            judged += rule(&world, &new).map_err(|why| format!("deed {at}, {deed:?}: {why}"))?;
        }
    }
    Ok(judged)
}

/// What each node ordered since the last look.
fn new_orders(world: &World, last: &mut [OrderId]) -> Vec<Ordered> {
    let mut new = Vec::new();
    for (at, (node, state)) in world.nodes.iter().enumerate() {
        let orders = state.orders.iter().filter(|o| o.order > last[at]);
        new.extend(orders.map(|order| Ordered { node: *node, order: order.clone() }));
        last[at] = state.orders.iter().map(|o| o.order).max().unwrap_or_default().max(last[at]);
    }
    new
}

/// A world of three nodes with a group of that shape and a second one.
pub(crate) fn world_of(shape: &[u16], planted: Planted) -> World {
    let mut world = World::new(NODES as u16, planted);
    let names: Vec<String> = (0..shape.len()).map(name).collect();
    let on: Vec<Vec<&str>> = shape
        .iter()
        .map(|bits| chosen(*bits, names.len()).map(|i| names[i].as_str()).collect())
        .collect();
    let resources: Vec<(&str, &[&str])> =
        names.iter().zip(&on).map(|(name, on)| (name.as_str(), on.as_slice())).collect();
    world.group(GROUP, &resources);
    world.group(OTHER, &[("spool", &[]), ("smtp", &["spool"])]);
    world
}

/// Name of resource `i`.
pub(crate) fn name(i: usize) -> String {
    format!("r{i}")
}

fn chosen(bits: u16, of: usize) -> impl Iterator<Item = usize> {
    (0..of.min(16)).filter(move |i| bits & (1 << i) != 0)
}

/// Whether it may be followed by another step of its kind.
fn perform(world: &mut World, deed: &Deed) -> bool {
    let id = |node: &usize| n(*node as u16 + 1);
    match deed {
        Deed::Plan => drop(world.plan()),
        Deed::Apply(node) => drop(world.apply_one(id(node))),
        Deed::CarryOut(node, which) => carry_out(world, id(node), |count| which.index(count)),
        Deed::Hear(node) => world.hear(id(node)),
        Deed::Report(node) => world.deliver_report(id(node)),
        Deed::Settles(node) => return goes_on(world, id(node)),
        Deed::Leads => {
            for node in world.ids() {
                (0..world.nodes[&node].reports.len()).for_each(|_| world.deliver_report(node));
            }
            drop(world.plan());
        }
        Deed::Pass(ms) => world.pass_time(Span::from_millis(u64::from(*ms))),
        Deed::Dies(which) => dies(world, which),
        Deed::Unwell(which) => unwell(world, which),
        Deed::StartFails(node, which) => {
            let resource = resource(world, which);
            world.node(id(node)).broken.insert(resource);
        }
        Deed::StopFails(node, which) => {
            let resource = resource(world, which);
            world.node(id(node)).unstoppable.insert(resource);
        }
        Deed::AllWorks(node) => {
            let node = world.node(id(node));
            node.broken.clear();
            node.unstoppable.clear();
        }
        Deed::Move(_) | Deed::GroupWanted(_) | Deed::Wanted(..) | Deed::Depend(..) => {
            administer(world, deed)
        }
        Deed::MonitorDies(_)
        | Deed::ServiceRestarts(..)
        | Deed::LeaseEnds(_)
        | Deed::LeaseBegins(_)
        | Deed::Crash(_)
        | Deed::KnownStopped(_) => strike(world, deed),
    }
    false
}

/// One step of what is under way on a node; whether there was one.
fn goes_on(world: &mut World, node: NodeId) -> bool {
    let state = &world.nodes[&node];
    if state.holdings.is_none() {
        return false;
    }
    let (orders, answers) = (!state.orders.is_empty(), !state.answers.is_empty());
    if world.apply_one(node) {
        return true;
    }
    if answers {
        world.hear(node);
    } else if orders {
        carry_out(world, node, |_| 0);
    }
    answers || orders
}

/// The oldest order of some resource: a monitor takes those of one resource in their order.
fn carry_out(world: &mut World, node: NodeId, which: impl Fn(usize) -> usize) {
    let orders = &world.nodes[&node].orders;
    if orders.is_empty() || world.nodes[&node].holdings.is_none() {
        return;
    }
    let some = &orders[which(orders.len())].resource;
    let first = orders.iter().position(|order| order.resource == *some).unwrap();
    world.carry_out(node, first);
}

fn resource(world: &World, which: &Index) -> ResourceId {
    let all: Vec<&ResourceId> = world.group_of(GROUP).resources.keys().collect();
    all[which.index(all.len())].clone()
}

fn dies(world: &mut World, which: &Index) {
    let resource = resource(world, which);
    if let Some(node) = world.running(resource.as_str()).first().copied() {
        world.die(node, resource.as_str());
    }
}

/// A check of something that runs says that it does not work.
fn unwell(world: &mut World, which: &Index) {
    let resource = resource(world, which);
    let Some(node) = world.running(resource.as_str()).first().copied() else { return };
    let state = world.node(node);
    let found = state.guard.admitted.values().find(|(a, _)| a.resource == resource);
    let Some((admitted, order)) = found.cloned() else { return };
    let outcome =
        Outcome::Health(stead_model::resource::Health::Bad, "it does not answer".to_owned());
    state.answers.push_back(stead_model::order::ResourceReport {
        order,
        group: admitted.group,
        resource,
        epoch: admitted.epoch,
        outcome,
    });
}

/// Refusals are fine: many of these make no sense at this moment.
fn administer(world: &mut World, deed: &Deed) {
    let desired = |on: bool| if on { Desired::Online } else { Desired::Offline };
    let request = match deed {
        Deed::Move(node) => {
            Request::MoveGroup { group: GROUP.into(), to: Some(n(*node as u16 + 1)) }
        }
        Deed::GroupWanted(on) => {
            Request::SetGroupDesired { group: GROUP.into(), desired: desired(*on) }
        }
        Deed::Wanted(which, on) => {
            let resource = resource(world, which);
            Request::SetResourceDesired { resource, desired: desired(*on) }
        }
        Deed::Depend(which, bits) => {
            let resource = resource(world, which);
            let count = world.group_of(GROUP).resources.len();
            let depends_on: BTreeSet<ResourceId> =
                chosen(*bits, count).map(|i| name(i).as_str().into()).collect();
            Request::SetDependencies { resource, depends_on }
        }
        other => panic!("nobody asks for {other:?}"),
    };
    drop(world.try_ask(request));
}

fn strike(world: &mut World, deed: &Deed) {
    let (Deed::MonitorDies(node)
    | Deed::ServiceRestarts(node, _)
    | Deed::LeaseEnds(node)
    | Deed::LeaseBegins(node)
    | Deed::Crash(node)
    | Deed::KnownStopped(node)) = deed
    else {
        panic!("{deed:?} strikes no node")
    };
    let id = n(*node as u16 + 1);
    let state = &world.nodes[&id];
    let (up, leased, guarded) =
        (state.holdings.is_some(), state.lease.is_some(), state.guard.lease.is_some());
    match deed {
        Deed::KnownStopped(_) if !guarded => world.declare_stopped(id),
        Deed::LeaseBegins(_) if !up => world.boot(id),
        Deed::LeaseBegins(_) if !leased => world.lease(id),
        Deed::MonitorDies(_) if up => world.monitor_dies(id),
        Deed::ServiceRestarts(_, lost) if up => world.start_service(id, *lost),
        Deed::LeaseEnds(_) if up && guarded => world.expire(id),
        Deed::Crash(_) if up => world.crash(id),
        _ => {}
    }
}

/// What a node's database says a resource depends on.
pub(crate) fn depends_on(world: &World, node: NodeId, resource: &ResourceId) -> Vec<ResourceId> {
    let found = world.nodes[&node].db.resource(resource);
    found.map(|(_, config)| config.depends_on.iter().cloned().collect()).unwrap_or_default()
}

/// What depends directly on a resource, by a node's database.
pub(crate) fn dependents(world: &World, node: NodeId, of: &ResourceId) -> Vec<ResourceId> {
    let groups = world.nodes[&node].db.groups().values().flat_map(|group| group.resources.values());
    groups.filter(|r| r.depends_on.contains(of)).map(|r| r.id.clone()).collect()
}

/// Whether the guard of a node holds it.
pub(crate) fn runs(world: &World, node: NodeId, resource: &ResourceId) -> bool {
    world.nodes[&node].guard.admitted.keys().any(|(_, r)| r == resource)
}

/// Whether its end is on the way to a service that has not heard of it yet.
pub(crate) fn died_unheard(world: &World, node: NodeId, resource: &ResourceId) -> bool {
    let unheard = |report: &stead_model::order::ResourceReport| {
        report.resource == *resource && matches!(report.outcome, Outcome::Failed(_))
    };
    world.nodes[&node].answers.iter().any(unheard)
}

/// Whether it was ordered to start and the monitor has not come to it.
pub(crate) fn is_coming(world: &World, node: NodeId, resource: &ResourceId) -> bool {
    let online =
        |o: &ResourceOrder| o.resource == *resource && matches!(o.action, Action::Online(_));
    world.nodes[&node].orders.iter().any(online)
}

/// The world comes to rest: everybody is up, has a lease and can start and stop everything.
pub(crate) fn heal(world: &mut World) {
    for id in world.ids() {
        let node = world.node(id);
        node.broken.clear();
        node.unstoppable.clear();
        if world.nodes[&id].holdings.is_none() {
            world.boot(id);
        }
        if world.nodes[&id].lease.is_none() || !world.nodes[&id].eligible {
            world.lease(id);
        }
    }
    world.run();
}
