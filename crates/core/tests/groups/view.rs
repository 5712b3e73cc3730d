//! What people see of groups: the database merged with the reports of owners.

use std::collections::BTreeMap;

use stead_core::groups::{Answering, group_views};
use stead_core::planted::Planted;
use stead_model::group::{Desired, GroupState};
use stead_model::request::Request;
use stead_model::resource::ResourceState;
use stead_model::view::{GroupView, SafetyLevel};

use crate::world::{World, n};

fn world() -> World {
    let mut world = World::new(2, Planted::NONE);
    world.group("web", &[("httpd", &[]), ("ip", &[])]);
    world.ask(Request::SetDependencies {
        resource: "httpd".into(),
        depends_on: ["ip".into()].into(),
    });
    world
}

fn view(world: &World, answers: bool) -> GroupView {
    let seen = |node: &crate::world::Node| node.seen.clone().map(|r| r.groups).unwrap_or_default();
    let reports: BTreeMap<_, _> = world.nodes.iter().map(|(id, node)| (*id, seen(node))).collect();
    let nodes = reports.iter().map(|(id, groups)| match answers {
        true => (*id, Answering::Yes(groups.as_slice())),
        false => (*id, Answering::No(groups.as_slice())),
    });
    group_views(&world.leader, &nodes.collect(), world.at, world.nodes.len()).remove(0)
}

#[test]
fn a_group_that_runs_is_online_with_its_resources_in_the_order_they_come_online() {
    let mut world = world();
    world.run();
    let view = view(&world, true);
    assert_eq!((view.state, view.owner, view.epoch.0), (GroupState::Online, Some(n(1)), 1));
    let resources: Vec<_> = view.resources.iter().map(|r| (r.resource.as_str(), r.state)).collect();
    assert_eq!(resources, [("ip", ResourceState::Online), ("httpd", ResourceState::Online)]);
    assert_eq!(view.resources[1].depends_on, ["ip".into()]);
    assert_eq!(
        (view.safety, view.why.as_str()),
        (SafetyLevel::C, "n1 owns it because nobody owned it and it shall be online")
    );
}

#[test]
fn when_its_owner_does_not_answer_the_state_is_unknown_and_the_last_known_is_shown() {
    let mut world = world();
    world.run();
    let view = view(&world, false);
    assert_eq!(view.state, GroupState::Unknown);
    assert_eq!(view.resources[0].state, ResourceState::Online);
}

#[test]
fn on_its_way_it_is_pending() {
    let mut world = world();
    world.plan();
    assert_eq!(view(&world, true).state, GroupState::Pending, "granted, nothing heard yet");
    world.apply_until(n(1), world.leader.applied());
    world.deliver_report(n(1));
    assert_eq!(view(&world, true).state, GroupState::Pending);
    world.run();
    assert_eq!(view(&world, true).state, GroupState::Online);
}

#[test]
fn offline_when_wanted_and_online_when_all_that_shall_run_runs() {
    let mut world = world();
    world.run();
    let httpd = || "httpd".into();
    world.ask(Request::SetResourceDesired { resource: httpd(), desired: Desired::Offline });
    world.run();
    assert_eq!(view(&world, true).state, GroupState::Online, "httpd shall not run");
    world.ask(Request::SetGroupDesired { group: "web".into(), desired: Desired::Offline });
    world.run();
    assert_eq!(view(&world, true).state, GroupState::Offline);
}

#[test]
fn a_group_with_a_resource_beyond_its_policy_is_failed() {
    let mut world = world();
    world.node(n(2)).eligible = false;
    world.node(n(1)).broken.insert("httpd".into());
    world.run();
    let shown = view(&world, true);
    assert_eq!(shown.state, GroupState::Failed);
    assert_eq!(shown.failed.as_deref(), Some("resource httpd: it cannot start here"));
    assert_eq!(shown.resources[1].detail.as_deref(), Some("it cannot start here"));
    world.node(n(2)).eligible = true;
    world.node(n(2)).broken.insert("httpd".into());
    world.run();
    let shown = view(&world, true);
    assert_eq!((shown.state, shown.failovers, shown.owner), (GroupState::Failed, 6, None));
    assert!(shown.why.starts_with("it stays down: 6 failovers within 10h (course) did not help"));
}

#[test]
fn a_group_nobody_may_take_is_offline_and_says_so() {
    let mut world = world();
    for id in world.ids() {
        world.node(id).eligible = false;
    }
    world.run();
    let view = view(&world, true);
    assert_eq!((view.state, view.owner), (GroupState::Offline, None));
    assert_eq!(view.why, "nobody owns it: no node may take it now");
}
