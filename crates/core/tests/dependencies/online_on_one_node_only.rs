//! "A resource is online on one node only."

use std::collections::BTreeMap;

use stead_core::planted::Planted;
use stead_model::request::Request;
use stead_model::{NodeId, ResourceId};

use crate::story::{Ordered, many_stories_keep};
use crate::world::{World, n};

/// The new owner hurries, the old one takes its time.
#[test]
fn a_115_a_resource_is_online_on_one_node_only() {
    let mut world = World::new(2, Planted::NONE);
    world.group("files", &[("disk", &[]), ("ip", &["disk"]), ("share", &["ip"])]);
    world.run();
    world.ask(Request::MoveGroup { group: "files".into(), to: Some(n(2)) });
    for _ in 0..20 {
        world.plan();
        world.catch_up(n(2));
        assert!(world.running("share").len() <= 1);
        world.apply_one(n(1));
        if !world.nodes[&n(1)].orders.is_empty() {
            world.carry_out(n(1), 0);
        }
        world.hear(n(1));
        world.deliver_report(n(1));
    }
    assert_eq!(world.running("share"), [n(2)]);
}

/// In any story no resource is held by the guards of two nodes.
#[test]
fn a_115_whatever_happens_a_resource_is_on_one_node_only() {
    many_stories_keep(once_each);
}

/// The guards of two nodes do not hold the same resource.
fn once_each(world: &World, _: &[Ordered]) -> Result<usize, String> {
    let mut homes: BTreeMap<&ResourceId, NodeId> = BTreeMap::new();
    for (node, state) in &world.nodes {
        for (_, resource) in state.guard.admitted.keys() {
            if let Some(other) = homes.insert(resource, *node) {
                return Err(format!("{resource} on {other} and {node}\n{}", world.trace()));
            }
        }
    }
    Ok(homes.len())
}

#[cfg(feature = "planted")]
#[test]
fn a_115_the_stories_can_fail() {
    crate::story::some_story_breaks(stead_core::planted::Fault::StartBeforeStop, once_each);
}
