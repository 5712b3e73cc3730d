//! "A resource goes offline before any it depends on."

use stead_core::planted::Planted;
use stead_model::ResourceId;
use stead_model::order::Action;
use stead_model::request::Request;

use crate::story::{Ordered, dependents, is_coming, many_stories_keep, runs};
use crate::world::{World, n};

/// What the first node stops, in order, when `files` moves to the second.
fn moved_away(world: &mut World) -> Vec<String> {
    world.ask(Request::MoveGroup { group: "files".into(), to: Some(n(2)) });
    world.run();
    let history = world.nodes[&n(1)].history.iter();
    let offline = history.filter_map(|line| line.split("offline files/").nth(1));
    offline.map(|rest| rest.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn a_115_a_resource_goes_offline_before_any_it_depends_on() {
    let mut world = World::new(2, Planted::NONE);
    world.group(
        "files",
        &[("share", &["name"]), ("name", &["ip"]), ("ip", &["disk"]), ("disk", &[])],
    );
    world.run();
    assert_eq!(moved_away(&mut world), ["share", "name", "ip", "disk"]);
}

/// The tree was turned over while it ran: each would wait for the other if what they were started
/// on counted as before.
#[test]
fn a_115_a_tree_that_was_turned_over_is_stopped_in_the_order_of_now() {
    let mut world = World::new(2, Planted::NONE);
    world.group("files", &[("share", &["name"]), ("name", &["disk"]), ("disk", &[])]);
    world.run();
    let order: [(&str, &[&str]); 3] = [("share", &[]), ("name", &["share"]), ("disk", &["name"])];
    for (resource, on) in order {
        let depends_on = on.iter().map(|on| (*on).into()).collect();
        world.ask(Request::SetDependencies { resource: resource.into(), depends_on });
        world.run();
    }
    assert_eq!(moved_away(&mut world), ["disk", "name", "share"]);
}

/// In any story: when a stop is ordered nothing that depends on it runs or is still coming.
#[test]
fn a_115_whatever_happens_offline_comes_before_any_it_depends_on() {
    many_stories_keep(before_any);
}

/// A stop is ordered when nothing that depends on it runs or is still coming.
fn before_any(world: &World, new: &[Ordered]) -> Result<usize, String> {
    let mut judged = 0;
    for Ordered { node, order } in new {
        match order.action {
            Action::Offline | Action::Terminate => {}
            Action::Online(_)
            | Action::Adopt(_)
            | Action::Probe(_)
            | Action::Fit(_)
            | Action::Forget(_) => continue,
        }
        let above = dependents(world, *node, &order.resource);
        let up = |d: &ResourceId| runs(world, *node, d) || is_coming(world, *node, d);
        if let Some(left) = above.iter().find(|d| up(d)) {
            return Err(format!("{node}: {order} before {left}\n{}", world.trace()));
        }
        judged += above.len();
    }
    Ok(judged)
}

#[cfg(feature = "planted")]
#[test]
fn a_115_the_stories_can_fail() {
    crate::story::some_story_breaks(
        stead_core::planted::Fault::StoppedBeforeDependents,
        before_any,
    );
}
