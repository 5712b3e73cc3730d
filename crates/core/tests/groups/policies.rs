//! Failover, failback and restart policies, the planner and the owners together (A-091, A-142 to
//! A-146, A16).

use std::collections::BTreeMap;

use stead_core::groups::{Answering, explain, group_views};
use stead_core::planted::Planted;
use stead_model::change::Change;
use stead_model::group::GroupState;
use stead_model::request::Request;
use stead_model::resource::ResourceState;
use stead_model::upkeep::LOST_SOON_S;
use stead_model::view::GroupView;
use stead_model::{NodeId, Span, UtcMillis};

use crate::world::{World, n};

const WEB: &[(&str, &[&str])] = &[("ip", &[]), ("httpd", &["ip"])];

fn world(nodes: u16, settings: &[(&str, &str)]) -> World {
    let mut world = World::new(nodes, Planted::NONE);
    world.group("web", WEB);
    set(&mut world, settings);
    world.run();
    world
}

fn owned(settings: &[(&str, &str)]) -> BTreeMap<String, Option<String>> {
    settings.iter().map(|(k, v)| ((*k).to_owned(), Some((*v).to_owned()))).collect()
}

fn set(world: &mut World, settings: &[(&str, &str)]) {
    world.ask(Request::SetGroup { group: "web".into(), properties: owned(settings) });
}

fn set_resource(world: &mut World, resource: &str, settings: &[(&str, &str)]) {
    let properties = owned(settings);
    world.ask(Request::SetResource { resource: resource.into(), properties });
}

fn breaks_everywhere(world: &mut World, resource: &str) {
    for node in world.nodes.values_mut() {
        node.broken.insert(resource.into());
    }
}

fn hours(world: &mut World, hours: u64) {
    world.pass_time(Span::from_secs(hours * 3_600));
    world.run();
}

/// Power cut and back, with the takeover in between.
fn lose(world: &mut World, id: NodeId) {
    world.pass_time(Span::from_secs(LOST_SOON_S));
    world.crash(id);
    world.declare_stopped(id);
    world.run();
}

fn back(world: &mut World, id: NodeId) {
    world.boot(id);
    world.lease(id);
    world.run();
}

fn last_release(world: &World) -> String {
    let changes = world.log.iter().flat_map(|e| &e.changes);
    let releases = changes.filter_map(|c| match c {
        Change::Release { why, .. } => Some(why.clone()),
        _ => None,
    });
    releases.collect::<Vec<_>>().pop().unwrap_or_default()
}

fn view(world: &World) -> GroupView {
    let of = |node: &crate::world::Node| node.seen.clone().map(|r| r.groups).unwrap_or_default();
    let reports: BTreeMap<_, _> = world.nodes.iter().map(|(id, node)| (*id, of(node))).collect();
    let nodes = reports.iter().map(|(id, groups)| (*id, Answering::Yes(groups.as_slice())));
    group_views(&world.leader, &nodes.collect(), world.at, world.nodes.len()).remove(0)
}

#[test]
fn a144_failback_is_prevented_by_default() {
    let mut world = world(2, &[("preferred-owners", "n1")]);
    lose(&mut world, n(1));
    back(&mut world, n(1));
    assert_eq!(world.running("httpd"), [n(2)]);
}

#[test]
fn a144_a_group_goes_back_at_once_when_its_policy_says_so() {
    let mut world = world(3, &[("preferred-owners", "n1,n2"), ("failback", "immediate")]);
    lose(&mut world, n(1));
    assert_eq!(world.running("httpd"), [n(2)], "a designated survivor (A-148)");
    lose(&mut world, n(2));
    assert_eq!(world.running("httpd"), [n(3)]);
    back(&mut world, n(2));
    assert_eq!(world.running("httpd"), [n(2)], "the best preferred owner that is there");
    back(&mut world, n(1));
    assert_eq!(world.running("httpd"), [n(1)]);
    let why = "failback: n1 is preferred owner number 1 and is available";
    assert_eq!(last_release(&world), why);
    assert!(world.group_of("web").failovers.is_empty(), "a failback is no failover");
}

#[test]
fn a145_it_goes_back_within_its_hours_only() {
    // The world begins at 00:16 UTC, that is 01:16 in Berlin.
    let mut world = world(2, &[("preferred-owners", "n1"), ("failback", "22-4@Europe/Berlin")]);
    hours(&mut world, 6);
    lose(&mut world, n(1));
    back(&mut world, n(1));
    assert_eq!(world.running("httpd"), [n(2)], "07:16 in Berlin");
    let told = explain(&world.input(), &"web".into()).unwrap().next.join("; ");
    assert!(told.contains("within 22-4@Europe/Berlin"), "{told}");
    hours(&mut world, 14);
    assert_eq!(world.running("httpd"), [n(2)], "21:16");
    hours(&mut world, 1);
    assert_eq!(world.running("httpd"), [n(1)], "22:16");
    assert!(last_release(&world).ends_with("and the window 22-4@Europe/Berlin is open"));
}

#[test]
fn it_does_not_go_back_to_where_it_failed_lately() {
    let mut world = world(2, &[("preferred-owners", "n1"), ("failback", "immediate")]);
    world.node(n(1)).broken.insert("httpd".into());
    world.die(n(1), "httpd");
    world.run();
    assert_eq!(world.running("httpd"), [n(2)], "no ping-pong");
    world.node(n(1)).broken.clear();
    hours(&mut world, 9);
    assert_eq!(world.running("httpd"), [n(2)]);
    hours(&mut world, 2);
    assert_eq!(world.running("httpd"), [n(1)], "the failure left the window");
}

#[test]
fn what_an_administrator_moved_stays_until_something_else_moves_it() {
    let mut world = world(3, &[("preferred-owners", "n1"), ("failback", "immediate")]);
    world.ask(Request::MoveGroup { group: "web".into(), to: Some(n(3)) });
    world.run();
    hours(&mut world, 1);
    assert_eq!(world.running("httpd"), [n(3)]);
    let told = explain(&world.input(), &"web".into()).unwrap().next.join("; ");
    assert!(told.contains("an administrator put the group on n3"), "{told}");
    lose(&mut world, n(3));
    assert_eq!(world.running("httpd"), [n(1)]);
}

#[test]
fn a142_the_limit_of_wsfc_follows_the_number_of_nodes() {
    let mut world = World::new(4, Planted::NONE);
    breaks_everywhere(&mut world, "httpd");
    world.group("web", WEB);
    set(&mut world, &[("failover-preset", "wsfc")]);
    world.run();
    assert_eq!(world.group_of("web").failovers.len(), 3);
    let failed = world.group_of("web").failed.clone().unwrap();
    assert!(failed.starts_with("3 failovers within 6h (wsfc) did not help"), "{failed}");
    let view = view(&world);
    assert_eq!((view.failovers, view.failover_limit), (3, 3));
    assert_eq!(view.failovers_until, Some(UtcMillis(world.at.0 + 6 * 3_600_000)));
}

#[test]
fn a_group_that_was_left_failed_is_tried_again_after_its_time() {
    let mut world = World::new(2, Planted::NONE);
    breaks_everywhere(&mut world, "httpd");
    world.group("web", WEB);
    world.run();
    let epochs = |world: &World| world.group_of("web").epoch_last.0;
    assert_eq!((epochs(&world), view(&world).state), (7, GroupState::Failed));
    assert_eq!(view(&world).retry_at, Some(UtcMillis(world.at.0 + 3_600_000)));
    hours(&mut world, 1);
    assert_eq!(epochs(&world), 8, "once, for its six failovers still count");
    assert!(world.group_of("web").failed.is_some());
    world.nodes.values_mut().for_each(|node| node.broken.clear());
    hours(&mut world, 1);
    assert_eq!((epochs(&world), world.running("httpd").len()), (9, 1));
    set(&mut world, &[("retry-after", "0s")]);
    assert_eq!(view(&world).retry_at, None);
}

#[test]
fn a_resource_with_nowhere_to_go_is_tried_again_in_place() {
    let mut world = world(1, &[]);
    world.node(n(1)).broken.insert("httpd".into());
    world.die(n(1), "httpd");
    world.run();
    assert_eq!(world.nodes[&n(1)].state("web", "httpd"), ResourceState::Failed);
    world.node(n(1)).broken.clear();
    world.pass_time(Span::from_secs(3_599));
    world.catch_up(n(1));
    assert_eq!(world.running("httpd"), []);
    world.pass_time(Span::from_secs(1));
    world.run();
    assert_eq!(world.running("httpd"), [n(1)]);
    assert!(world.nodes[&n(1)].codes().contains(&"resource-retried"));
}

/// A-091, A16: with "affect the group" off the failed resource and what depends on it are down,
/// the others stay online.
#[test]
fn a091_a_failure_that_does_not_affect_the_group_leaves_the_rest_online() {
    let mut world = world(2, &[]);
    world.ask(Request::CreateResource {
        group: "web".into(),
        resource: "stats".into(),
        kind: "dummy".into(),
        properties: BTreeMap::new(),
    });
    let depends_on = ["httpd".into()].into();
    world.ask(Request::SetDependencies { resource: "stats".into(), depends_on });
    let (resource, desired) = ("stats".into(), stead_model::group::Desired::Online);
    world.ask(Request::SetResourceDesired { resource, desired });
    set_resource(&mut world, "httpd", &[("affects-group", "false"), ("restart-threshold", "1")]);
    world.run();
    breaks_everywhere(&mut world, "httpd");
    world.die(n(1), "httpd");
    world.run();
    assert_eq!((world.running("ip"), world.running("stats")), (vec![n(1)], vec![]));
    assert_eq!(world.nodes[&n(1)].state("web", "httpd"), ResourceState::Failed);
    assert_eq!(world.group_of("web").failovers.len(), 0);
    assert_eq!(view(&world).state, GroupState::PartialOnline);
    set_resource(&mut world, "httpd", &[("affects-group", "true")]);
    world.run();
    assert_eq!(world.group_of("web").failovers.len(), 6, "and with it on the group moves");
}

#[test]
fn without_restarts_a_failure_moves_the_group_at_once() {
    let mut world = world(2, &[]);
    set_resource(&mut world, "httpd", &[("restart-action", "none")]);
    world.run();
    world.die(n(1), "httpd");
    world.run();
    assert_eq!(world.running("httpd"), [n(2)]);
}

/// D25: one command clears everything that counts.
#[test]
fn one_command_clears_what_was_counted_and_tries_again() {
    let mut world = World::new(2, Planted::NONE);
    breaks_everywhere(&mut world, "httpd");
    world.group("web", WEB);
    world.run();
    world.nodes.values_mut().for_each(|node| node.broken.clear());
    world.ask(Request::ClearFailures { group: "web".into() });
    world.run();
    assert_eq!(world.running("httpd").len(), 1);
    assert_eq!((view(&world).failovers, view(&world).failed), (0, None));
    let owner = world.owner("web").unwrap();
    world.die(owner, "httpd");
    world.run();
    assert_eq!(view(&world).resources[1].restarts, 1);
    world.ask(Request::ClearFailures { group: "web".into() });
    world.run();
    assert_eq!(view(&world).resources[1].restarts, 0);
    assert_eq!(world.running("httpd"), [owner], "what runs goes on");
}

#[test]
fn restarts_are_forgotten_when_they_leave_their_period() {
    let mut world = world(1, &[]);
    world.die(n(1), "httpd");
    world.run();
    let restarts = |world: &World| {
        let reports = world.nodes[&n(1)].holdings.as_ref().unwrap().report(world.now);
        reports[0].resources.iter().map(|r| r.restarts).sum::<u32>()
    };
    assert_eq!(restarts(&world), 1);
    world.pass_time(Span::from_secs(900));
    assert_eq!(restarts(&world), 0);
}
