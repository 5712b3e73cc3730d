//! Stories of the planner and the owners together: who gets a group, when, and why.

use std::collections::BTreeMap;

use stead_core::groups::{Fit, explain, see};
use stead_core::planted::Planted;
use stead_model::change::Change;
use stead_model::group::Desired;
use stead_model::reason::Code;
use stead_model::request::Request;
use stead_model::resource::ResourceState;
use stead_model::upkeep::LOST_SOON_S;
use stead_model::{Epoch, Span};

use crate::world::{World, n};

const WEB: &[(&str, &[&str])] = &[("ip", &[]), ("httpd", &["ip"])];

fn world(nodes: u16) -> World {
    let mut world = World::new(nodes, Planted::NONE);
    world.group("web", WEB);
    world.run();
    world
}

fn whys(world: &World) -> Vec<String> {
    let changes = world.log.iter().flat_map(|e| &e.changes);
    let whys = changes.filter_map(|c| match c {
        Change::Grant { why, .. } | Change::Release { why, .. } => Some(why.clone()),
        Change::Disown { why, .. } | Change::FailGroup { why, .. } => Some(why.clone()),
        _ => None,
    });
    whys.collect()
}

fn set_group(world: &mut World, name: &str, value: &str) {
    let properties = BTreeMap::from([(name.to_owned(), Some(value.to_owned()))]);
    world.ask(Request::SetGroup { group: "web".into(), properties });
}

fn move_to(world: &mut World, to: Option<u16>) {
    world.ask(Request::MoveGroup { group: "web".into(), to: to.map(n) });
}

#[test]
fn a_new_group_starts_on_the_first_node() {
    let world = world(2);
    assert_eq!(world.running("ip"), [n(1)]);
    assert_eq!(world.running("httpd"), [n(1)]);
    assert_eq!(whys(&world), ["nobody owned it and it shall be online"]);
}

#[test]
fn groups_spread_within_one_round() {
    let mut world = World::new(3, Planted::NONE);
    for group in ["a", "b", "c", "d"] {
        world.group(group, &[]);
    }
    world.run();
    let owners = ["a", "b", "c", "d"].map(|g| world.owner(g).unwrap().0);
    assert_eq!(owners, [1, 2, 3, 1]);
}

#[test]
fn the_preferred_order_is_used_when_the_owner_dies() {
    let mut world = world(3);
    set_group(&mut world, "preferred-owners", "n1,n3,n2");
    world.crash(n(1));
    world.run();
    assert_eq!(world.owner("web"), Some(n(1)), "nothing happens before the lease is over");
    world.declare_stopped(n(1));
    world.run();
    assert_eq!(world.running("httpd"), [n(3)]);
    assert_eq!(whys(&world).last().unwrap(), "lease of n1 ended");
}

#[test]
fn the_loss_of_a_node_that_had_it_for_long_is_not_counted_as_a_failover() {
    let mut world = world(2);
    world.pass_time(Span::from_secs(LOST_SOON_S));
    world.crash(n(1));
    world.declare_stopped(n(1));
    world.run();
    assert_eq!(world.running("ip"), [n(2)]);
    assert!(world.group_of("web").failovers.is_empty());
}

#[test]
fn a_node_that_reboots_in_time_keeps_its_group() {
    let mut world = world(2);
    world.crash(n(1));
    world.boot(n(1));
    world.lease(n(1));
    world.run();
    assert_eq!(world.running("httpd"), [n(1)]);
    assert_eq!(whys(&world).last().unwrap(), "n1 reported it stopped");
    assert_eq!(world.group_of("web").epoch_last, Epoch(2));
}

#[test]
fn a_group_nobody_can_take_waits_for_somebody() {
    let mut world = world(2);
    world.crash(n(2));
    world.declare_stopped(n(2));
    world.crash(n(1));
    world.declare_stopped(n(1));
    world.run();
    assert_eq!(world.owner("web"), Some(n(1)));
    world.boot(n(2));
    world.lease(n(2));
    world.run();
    assert_eq!(world.running("httpd"), [n(2)]);
}

#[test]
fn a_planned_move_stops_here_before_it_starts_there() {
    let mut world = world(2);
    move_to(&mut world, Some(2));
    world.apply_one(n(1));
    assert!(world.plan().is_empty(), "nothing is granted before n1 has stopped it");
    world.run();
    assert_eq!(world.running("httpd"), [n(2)]);
    let story = "an administrator moved it; n1 reported it stopped";
    assert_eq!(whys(&world).last().unwrap(), story);
    assert!(world.group_of("web").failovers.is_empty(), "a move is no failover");
}

#[test]
fn a_move_whose_target_dies_ends_elsewhere() {
    let mut world = world(3);
    move_to(&mut world, Some(2));
    world.crash(n(2));
    world.run();
    assert_eq!(world.running("httpd"), [n(3)]);
}

#[test]
fn a_move_of_a_dying_owner_ends_at_the_target() {
    let mut world = world(3);
    move_to(&mut world, Some(3));
    world.crash(n(1));
    world.declare_stopped(n(1));
    world.run();
    assert_eq!(world.running("httpd"), [n(3)]);
}

#[test]
fn a_move_without_a_target_goes_to_the_best_other_node() {
    let mut world = world(3);
    world.group("other", &[]);
    world.run();
    assert_eq!(world.owner("other"), Some(n(2)));
    move_to(&mut world, None);
    world.run();
    assert_eq!(world.owner("web"), Some(n(3)));
}

#[test]
fn moves_that_make_no_sense_are_refused_with_a_hint() {
    let mut world = world(3);
    world.crash(n(3));
    let ask = |world: &mut World, to: u16| {
        world.try_ask(Request::MoveGroup { group: "web".into(), to: Some(n(to)) }).unwrap_err()
    };
    let here = ask(&mut world, 1);
    assert_eq!((here.code, here.cause.as_deref()), (Code::Conflict, Some("n1 owns it already")));
    let down = ask(&mut world, 3);
    assert_eq!(
        down.to_string(),
        "cannot move group `web` to n3: n3 is not up or may not be given groups"
    );
    assert_eq!(down.hint.as_deref(), Some("choose n2"));
    let unknown = ask(&mut world, 9);
    assert_eq!(unknown.cause.as_deref(), Some("n9 is not in the cluster"));
}

#[test]
fn an_offline_group_keeps_its_owner_and_comes_back_there() {
    let mut world = world(2);
    world.ask(Request::SetGroupDesired { group: "web".into(), desired: Desired::Offline });
    world.run();
    assert_eq!((world.running("ip"), world.owner("web")), (vec![], Some(n(1))));
    world.ask(Request::SetGroupDesired { group: "web".into(), desired: Desired::Online });
    world.run();
    assert_eq!(world.running("httpd"), [n(1)]);
    assert_eq!(world.group_of("web").epoch_last, Epoch(1), "no new epoch was needed");
}

#[test]
fn a_resource_that_fails_beyond_its_policy_moves_the_group() {
    let mut world = world(2);
    world.node(n(1)).broken.insert("httpd".into());
    world.die(n(1), "httpd");
    world.run();
    assert_eq!(world.running("httpd"), [n(2)]);
    assert_eq!(world.running("ip"), [n(2)], "dependencies move along");
    assert_eq!(world.group_of("web").failovers.len(), 1);
    let why = "it failed on n1: resource httpd: it cannot start here; n1 reported it stopped";
    assert_eq!(whys(&world).last().unwrap(), why);
}

/// restart, fail over, back and forth, six times within ten hours, then it stays down.
#[test]
fn an_always_failing_resource_moves_six_times_and_then_stays_failed() {
    let mut world = World::new(2, Planted::NONE);
    for node in world.nodes.values_mut() {
        node.broken.insert("httpd".into());
    }
    world.group("web", WEB);
    world.run();
    let group = world.group_of("web");
    assert_eq!(group.failovers.len(), 6);
    assert_eq!(group.epoch_last, Epoch(7), "the first start and six failovers");
    let failed = group.failed.as_ref().unwrap();
    assert!(failed.starts_with("6 failovers within 10h (course) did not help"), "{failed}");
    assert!(failed.ends_with("all of the group stays offline until it is tried again in 1h"));
    assert_eq!((group.ownership.as_ref(), world.running("ip")), (None, vec![]));
    let tries = |id| world.nodes[&n(id)].history.iter().filter(|h| h.contains("httpd")).count();
    assert_eq!((tries(1), tries(2)), (4 * 4, 3 * 4), "each time one start and three restarts");
}

#[test]
fn a_failed_group_comes_back_when_an_administrator_acts() {
    let mut world = World::new(2, Planted::NONE);
    for node in world.nodes.values_mut() {
        node.broken.insert("httpd".into());
    }
    world.group("web", WEB);
    world.run();
    let refused = world.try_ask(Request::MoveGroup { group: "web".into(), to: None });
    assert!(refused.unwrap_err().hint.unwrap().contains("group online web"));
    for node in world.nodes.values_mut() {
        node.broken.clear();
    }
    world.run();
    assert_eq!(world.owner("web"), None, "nothing happens by itself");
    world.ask(Request::SetGroupDesired { group: "web".into(), desired: Desired::Online });
    world.run();
    assert_eq!(world.running("httpd").len(), 1);
    assert!(world.group_of("web").failovers.is_empty());
}

#[test]
fn failovers_that_left_the_window_do_not_count() {
    let mut world = world(2);
    set_group(&mut world, "failover-threshold", "1");
    set_group(&mut world, "failover-period", "1h");
    world.node(n(1)).broken.insert("httpd".into());
    world.die(n(1), "httpd");
    world.run();
    assert_eq!(world.running("httpd"), [n(2)]);
    world.node(n(1)).broken.clear();
    world.node(n(2)).broken.insert("httpd".into());
    world.pass_time(Span::from_secs(3_601));
    world.die(n(2), "httpd");
    world.run();
    assert_eq!(world.running("httpd"), [n(1)], "an hour later it may fail over again");
    assert_eq!(world.group_of("web").failovers.len(), 1);
}

#[test]
fn a_group_that_failed_on_one_node_goes_to_the_one_where_it_did_not() {
    let mut world = world(3);
    for node in [1, 2] {
        world.node(n(node)).broken.insert("httpd".into());
    }
    world.die(n(1), "httpd");
    world.run();
    assert_eq!(world.running("httpd"), [n(3)]);
    let owners: Vec<_> = world
        .log
        .iter()
        .flat_map(|e| &e.changes)
        .filter_map(|c| if let Change::Grant { node, .. } = c { Some(node.0) } else { None })
        .collect();
    assert_eq!(owners, [1, 2, 3]);
}

#[test]
fn with_nobody_else_it_stays_failed_here_until_another_node_is_there() {
    let mut world = world(2);
    world.crash(n(2));
    world.declare_stopped(n(2));
    world.node(n(1)).broken.insert("httpd".into());
    world.die(n(1), "httpd");
    world.run();
    assert_eq!(world.nodes[&n(1)].state("web", "httpd"), ResourceState::Failed);
    assert_eq!(world.running("ip"), [n(1)], "what does not depend on it goes on");
    world.boot(n(2));
    world.lease(n(2));
    world.run();
    assert_eq!(world.running("httpd"), [n(2)]);
}

#[test]
fn possible_owners_bind_the_group() {
    let mut world = world(3);
    let properties = BTreeMap::from([("possible-owners".to_owned(), Some("n1,n3".to_owned()))]);
    world.ask(Request::SetResource { resource: "ip".into(), properties });
    let refused = world.try_ask(Request::MoveGroup { group: "web".into(), to: Some(n(2)) });
    let refused = refused.unwrap_err();
    let cause = "`n2` is not a possible owner of resource `ip`";
    assert_eq!(
        (refused.cause.as_deref(), refused.hint.as_deref()),
        (Some(cause), Some("choose n3"))
    );
    world.crash(n(1));
    world.declare_stopped(n(1));
    world.run();
    assert_eq!(world.running("httpd"), [n(3)]);
}

#[test]
fn a_service_restart_moves_nothing() {
    let mut world = world(2);
    world.start_service(n(1), 0);
    world.lease(n(1));
    world.run();
    assert_eq!(world.running("httpd"), [n(1)]);
    assert_eq!(world.group_of("web").epoch_last, Epoch(1), "what runs is adopted as it is");
    assert!(world.nodes[&n(1)].codes().contains(&"resource-adopted"));
}

#[test]
fn a_restarted_service_gets_a_new_epoch_before_it_starts_anything() {
    let mut world = world(2);
    world.start_service(n(1), 0);
    world.die(n(1), "httpd");
    world.lease(n(1));
    world.run();
    assert_eq!((world.running("ip"), world.running("httpd")), (vec![n(1)], vec![n(1)]));
    assert_eq!(world.group_of("web").epoch_last, Epoch(2));
    assert_eq!(whys(&world).last().unwrap(), "the node service of n1 was restarted");
}

#[test]
fn the_explanation_says_why_here_and_why_not_there() {
    let mut world = world(3);
    world.crash(n(3));
    let explained = explain(&world.input(), &"web".into()).unwrap();
    assert_eq!(explained.why, "n1 owns it because nobody owned it and it shall be online");
    assert!(explained.next.is_empty());
    let fits: Vec<_> = explained.nodes.iter().map(|c| (c.node, c.fit)).collect();
    assert_eq!(fits, [(n(2), Fit::Possible), (n(1), Fit::Possible), (n(3), Fit::Unavailable)]);
    world.declare_stopped(n(3));
    move_to(&mut world, Some(2));
    let explained = explain(&world.input(), &"web".into()).unwrap();
    assert_eq!(explained.next, ["n1 is to stop it, because an administrator moved it"]);
    assert!(explain(&world.input(), &"none".into()).is_none());
    // Who does not lead plans nothing, and says so.
    let seen = see(&world.input(), &"web".into()).unwrap();
    assert!(explained.decides && !seen.decides);
    assert_eq!((seen.nodes, seen.why), (explained.nodes, explained.why));
}
