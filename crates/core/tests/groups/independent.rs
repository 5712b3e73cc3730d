//! Each group recovers by itself: one that is stuck holds nobody up.

use stead_core::planted::Planted;
use stead_model::request::Request;
use stead_model::resource::ResourceState;
use stead_model::{NodeId, Span};

use crate::world::{World, n};

const OTHERS: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

/// Eleven groups on one node of three; one of them will never answer when it is told to stop.
fn one_of_eleven_is_stuck() -> World {
    let mut world = World::new(3, Planted::NONE);
    world.group("stuck", &[("disk", &[])]);
    for group in OTHERS {
        world.group(group, &[(group, &[])]);
    }
    world.run();
    move_all(&mut world, n(1));
    world.run();
    assert_eq!(world.running("disk"), [n(1)]);
    all_run_on(&world, n(1));
    world.node(n(1)).deaf.insert("disk".into());
    world
}

fn move_all(world: &mut World, to: NodeId) {
    for group in OTHERS.into_iter().chain(["stuck"]) {
        if world.owner(group) != Some(to) {
            world.ask(Request::MoveGroup { group: group.into(), to: Some(to) });
        }
    }
}

fn all_run_on(world: &World, node: NodeId) {
    for group in OTHERS {
        assert_eq!(world.running(group), [node], "group {group}\n{}", world.trace());
        assert_eq!(world.owner(group), Some(node));
    }
}

fn state_of_stuck(world: &mut World) -> ResourceState {
    let holdings = world.node(n(1)).holdings.as_ref().unwrap();
    holdings.groups()[&"stuck".into()].machines()[&"disk".into()].visible()
}

#[test]
fn ten_groups_move_at_once_while_one_never_stops() {
    let mut world = one_of_eleven_is_stuck();
    let began = world.now;
    move_all(&mut world, n(2));
    world.run_now();
    assert_eq!(world.now, began, "nothing was waited for");
    all_run_on(&world, n(2));
    assert_eq!(state_of_stuck(&mut world), ResourceState::OfflinePending);
    assert_eq!(world.running("disk"), [n(1)], "not known stopped, not started elsewhere");

    // It is still stuck, and they still move and fail over as if it were not there.
    for _ in 0..20 {
        world.pass_time(Span::from_secs(5));
        world.run_now();
    }
    assert_eq!(state_of_stuck(&mut world), ResourceState::OfflinePending);
    for (group, to) in OTHERS.into_iter().zip([1, 3].into_iter().cycle()) {
        world.ask(Request::MoveGroup { group: group.into(), to: Some(n(to)) });
    }
    world.run_now();
    let on = |node| OTHERS.iter().filter(|g| world.running(g) == [n(node)]).count();
    assert_eq!((on(1), on(2), on(3)), (5, 0, 5), "also to the node on which it is stuck");
}

#[test]
fn ten_groups_fail_over_while_one_never_stops() {
    let mut world = one_of_eleven_is_stuck();
    world.ask(Request::MoveGroup { group: "stuck".into(), to: Some(n(2)) });
    world.run_now();
    assert_eq!(state_of_stuck(&mut world), ResourceState::OfflinePending);
    // Their programs die and cannot be started again here.
    for group in OTHERS {
        world.node(n(1)).broken.insert(group.into());
        world.die(n(1), group);
    }
    world.run_now();
    for group in OTHERS {
        let on = world.running(group);
        assert!(on == [n(2)] || on == [n(3)], "group {group} on {on:?}\n{}", world.trace());
    }
    assert_eq!(world.running("disk"), [n(1)]);
    // A node dies: those that were there are taken over.
    world.crash(n(2));
    world.declare_stopped(n(2));
    world.run_now();
    all_run_on(&world, n(3));
    assert_eq!(state_of_stuck(&mut world), ResourceState::OfflinePending);
}
