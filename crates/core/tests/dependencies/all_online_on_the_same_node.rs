//! "All of a tree is online on the same node."

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use stead_core::planted::Planted;
use stead_model::request::Request;
use stead_model::{GroupId, NodeId};

use crate::story::{GROUP, Ordered, always, heal, many_stories_keep, shapes, world_of};
use crate::world::{World, n};

const SHARE: &[(&str, &[&str])] =
    &[("disk", &[]), ("ip", &["disk"]), ("name", &["ip"]), ("share", &["name", "disk"])];

#[test]
fn a_115_all_of_a_tree_is_online_on_the_same_node() {
    let mut world = World::new(2, Planted::NONE);
    world.group("files", SHARE);
    world.run();
    for to in [2, 1] {
        world.ask(Request::MoveGroup { group: "files".into(), to: Some(n(to)) });
        world.run();
        for (resource, _) in SHARE {
            assert_eq!(world.running(resource), [n(to)], "{resource}");
        }
    }
}

/// In any story the guards of two nodes never hold parts of one tree.
#[test]
fn a_115_whatever_happens_all_of_a_tree_is_on_the_same_node() {
    many_stories_keep(trees_are_whole);
}

/// The guards of two nodes hold no parts of one tree.
fn trees_are_whole(world: &World, _: &[Ordered]) -> Result<usize, String> {
    let mut homes: BTreeMap<&GroupId, BTreeSet<NodeId>> = BTreeMap::new();
    for (node, state) in &world.nodes {
        for (group, _) in state.guard.admitted.keys() {
            homes.entry(group).or_default().insert(*node);
        }
    }
    match homes.iter().find(|(_, nodes)| nodes.len() > 1) {
        Some((group, nodes)) => Err(format!("{group} runs on {nodes:?}\n{}", world.trace())),
        None => Ok(homes.len()),
    }
}

/// A tree of any shape is moved whole, and comes online whole.
#[test]
fn a_115_a_tree_of_any_shape_is_online_on_the_same_node() {
    let to = prop::collection::vec(1_u16..=3, 1..5);
    always(60, &(shapes(12), to), |(shape, moves)| {
        let mut world = world_of(&shape, Planted::NONE);
        heal(&mut world);
        for to in moves {
            // Refused where it is there already.
            drop(world.try_ask(Request::MoveGroup { group: GROUP.into(), to: Some(n(to)) }));
            heal(&mut world);
            for resource in world.group_of(GROUP).resources.keys() {
                prop_assert_eq!(world.running(resource.as_str()), vec![n(to)], "{}", resource);
            }
        }
        Ok(())
    });
}

#[cfg(feature = "planted")]
#[test]
fn a_115_the_stories_can_fail() {
    crate::story::some_story_breaks(stead_core::planted::Fault::StartBeforeStop, trees_are_whole);
}
