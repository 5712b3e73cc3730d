//! "A resource comes online after all it depends on."

use stead_core::planted::Planted;
use stead_model::ResourceId;
use stead_model::order::Action;

use crate::story::{Ordered, depends_on, died_unheard, is_coming, many_stories_keep, runs};
use crate::world::{World, n};

/// the vertical tree of the course, from the bottom.
#[test]
fn a_115_a_resource_comes_online_after_all_it_depends_on() {
    let mut world = World::new(2, Planted::NONE);
    let share = ["disk", "ip", "name", "share"];
    world.group(
        "files",
        &[("share", &["name"]), ("name", &["ip"]), ("ip", &["disk"]), ("disk", &[])],
    );
    world.run();
    let history = world.nodes[&n(1)].history.iter();
    let online = history.filter_map(|line| line.split("online files/").nth(1));
    let names: Vec<&str> = online.map(|rest| rest.split(' ').next().unwrap()).collect();
    assert_eq!(names, share);
}

/// In any story: when a start is ordered all it depends on runs, and nothing of that is still
/// coming.
#[test]
fn a_115_whatever_happens_online_comes_after_all_it_depends_on() {
    many_stories_keep(after_all);
}

/// A start is ordered when all it depends on runs and nothing of that is still coming.
fn after_all(world: &World, new: &[Ordered]) -> Result<usize, String> {
    let mut judged = 0;
    for Ordered { node, order } in new {
        let Action::Online(_) = order.action else { continue };
        let there = |d: &ResourceId| {
            (runs(world, *node, d) && !is_coming(world, *node, d)) || died_unheard(world, *node, d)
        };
        let below = depends_on(world, *node, &order.resource);
        if let Some(missing) = below.iter().find(|d| !there(d)) {
            return Err(format!("{node}: {order} before {missing}\n{}", world.trace()));
        }
        judged += below.len();
    }
    Ok(judged)
}

#[cfg(feature = "planted")]
#[test]
fn a_115_the_stories_can_fail() {
    crate::story::some_story_breaks(stead_core::planted::Fault::DependenciesIgnored, after_all);
}
