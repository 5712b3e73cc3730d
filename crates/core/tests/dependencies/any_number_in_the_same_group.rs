//! "A resource may have any number of dependencies in the same group."

use std::collections::BTreeSet;

use proptest::prelude::*;
use stead_core::planted::Planted;
use stead_model::ResourceId;
use stead_model::request::Request;

use crate::story::{Ordered, always, depends_on, died_unheard, many_stories_keep, name, runs};
use crate::world::{World, n};

/// One resource on `count` others, none of which depends on anything.
fn wide(count: usize) -> World {
    let mut world = World::new(2, Planted::NONE);
    let names: Vec<String> = (0..count).map(name).collect();
    let below: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut resources: Vec<(&str, &[&str])> =
        below.iter().map(|name| (*name, [].as_slice())).collect();
    resources.push(("top", &below));
    world.group("wide", &resources);
    world
}

#[test]
fn a_115_a_resource_has_any_number_of_dependencies_in_the_same_group() {
    for count in [0, 1, 2, 7, 60] {
        let mut world = wide(count);
        world.run();
        assert_eq!(world.running("top"), [n(1)]);
        let history = &world.nodes[&n(1)].history;
        let top = history.iter().position(|line| line.contains("wide/top")).unwrap();
        assert_eq!(top, count, "all of them were there before it");
    }
}

/// Each of them counts: with any one away the resource does not come.
#[test]
fn a_115_each_of_any_number_of_dependencies_counts() {
    for missing in 0..7 {
        let mut world = wide(7);
        for node in world.ids() {
            world.node(node).broken.insert(name(missing).as_str().into());
        }
        world.run();
        let tried = |name: &str| {
            let online = format!("online wide/{name} ");
            let mut lines = world.nodes.values().flat_map(|node| &node.history);
            lines.any(|line| line.contains(&online))
        };
        assert!((0..7).all(|i| tried(&name(i))), "all others came");
        assert!(!tried("top"), "r{missing} does not start");
    }
}

/// Any set of resources of its group that makes no circle is accepted.
#[test]
fn a_115_any_set_of_dependencies_in_the_same_group_is_accepted() {
    let sets = prop::collection::vec(any::<u32>(), 1..24);
    always(60, &sets, |sets| {
        let mut world = World::new(1, Planted::NONE);
        let names: Vec<String> = (0..sets.len()).map(name).collect();
        let resources: Vec<(&str, &[&str])> =
            names.iter().map(|name| (name.as_str(), [].as_slice())).collect();
        world.group("any", &resources);
        for (i, bits) in sets.iter().enumerate() {
            let depends_on: BTreeSet<ResourceId> = (0..i)
                .filter(|below| bits & (1 << below) != 0)
                .map(|below| ResourceId::from(names[below].as_str()))
                .collect();
            let resource = ResourceId::from(names[i].as_str());
            let answer = world.try_ask(Request::SetDependencies { resource, depends_on });
            prop_assert!(answer.is_ok(), "{:?}", answer);
        }
        world.run();
        prop_assert!(names.iter().all(|name| world.running(name) == [n(1)]));
        Ok(())
    });
}

/// In any story a resource is started on the whole of its dependencies, however many.
#[test]
fn a_115_whatever_happens_any_number_of_dependencies_are_waited_for() {
    many_stories_keep(all_are_there);
}

/// Every resource that is started finds all of its dependencies there.
fn all_are_there(world: &World, new: &[Ordered]) -> Result<usize, String> {
    let mut judged = 0;
    for Ordered { node, order } in new {
        let stead_model::order::Action::Online(_) = order.action else { continue };
        let below = depends_on(world, *node, &order.resource);
        let there = |d: &&ResourceId| runs(world, *node, d) || died_unheard(world, *node, d);
        let count = below.iter().filter(there).count();
        if count < below.len() {
            return Err(format!("{node}: {order} on {count} of {below:?}"));
        }
        judged += usize::from(below.len() >= 2);
    }
    Ok(judged)
}

#[cfg(feature = "planted")]
#[test]
fn a_115_the_stories_can_fail() {
    crate::story::some_story_breaks(stead_core::planted::Fault::OneDependencyCounts, all_are_there);
}
