//! Groups whose demand is what they are seen to use (A-102).

use stead_core::planted::Planted;
use stead_model::amounts::Amounts;
use stead_model::reason::Code;
use stead_model::request::Request;
use stead_model::usage::Usage;

use crate::placement::{has, lose, set, world};
use crate::world::{World, n};

const GIB: u64 = 1 << 30;

fn demand(world: &mut World, group: &str, text: &str) {
    set(world, group, &[("demand", text)]);
}

fn uses(world: &mut World, node: u16, group: &str, gib: u64) {
    world.uses(n(node), &format!("{group}-r"), Usage { cpu: 500, memory: gib * GIB });
    world.run();
}

fn needs(world: &World, group: &str) -> String {
    let mut needs = Amounts::default();
    world.group_of(group).demands().for_each(|(unit, amount)| needs.add(unit, amount));
    needs.to_string()
}

#[test]
fn a102_what_a_group_uses_decides_where_there_is_enough_for_it_after_its_owner_died() {
    let mut world = world(3, &["a"]);
    has(&mut world, 1, "memory=16G");
    has(&mut world, 2, "memory=4G");
    has(&mut world, 3, "memory=8G");
    assert_eq!(world.owner("a"), Some(n(1)));
    demand(&mut world, "a", "measured");
    uses(&mut world, 1, "a", 6);
    assert_eq!(needs(&world, "a"), "cpu=0.5,memory=6G");
    lose(&mut world, 1);
    let why = &world.group_of("a").ownership.as_ref().unwrap().why;
    assert_eq!(world.owner("a"), Some(n(3)), "{why}");
    assert!(why.contains("memory 2G of 8G left"), "{why}");
    assert_eq!(needs(&world, "a"), "cpu=0.5,memory=6G", "it is known before it is measured there");
}

#[test]
fn what_is_declared_counts_and_only_the_rest_is_measured() {
    let mut world = world(2, &["a", "b"]);
    demand(&mut world, "a", "measured,memory=1G,licence=2");
    uses(&mut world, 1, "a", 6);
    uses(&mut world, 2, "b", 6);
    assert_eq!(needs(&world, "a"), "cpu=0.5,licence=2,memory=1G");
    assert_eq!(world.owner("b"), Some(n(2)));
    assert_eq!((needs(&world, "b"), world.group_of("b").used), (String::new(), None));
}

#[test]
fn each_step_is_one_change_and_the_same_step_none() {
    let mut world = world(1, &["a"]);
    demand(&mut world, "a", "measured");
    let changes = |world: &World| world.leader.applied();
    uses(&mut world, 1, "a", 1);
    let first = changes(&world);
    uses(&mut world, 1, "a", 1);
    assert_eq!(changes(&world), first);
    uses(&mut world, 1, "a", 2);
    assert_eq!(changes(&world).0, first.0 + 1);
}

#[test]
fn nothing_is_learnt_before_all_that_is_online_was_measured() {
    let mut world = World::new(1, Planted::NONE);
    world.group("a", &[("one", &[]), ("two", &[])]);
    world.run();
    demand(&mut world, "a", "measured");
    let gib = |gib| Usage { cpu: 0, memory: gib * GIB };
    world.uses(n(1), "one", gib(1));
    world.run();
    assert_eq!(world.group_of("a").used, None);
    world.uses(n(1), "two", gib(2));
    world.run();
    assert_eq!(world.group_of("a").used, Some(gib(3)));
}

#[test]
fn a_node_has_what_its_machine_has_and_units_of_ones_own_stay() {
    let mut world = world(2, &["a"]);
    has(&mut world, 1, "memory=64G,licence=3");
    world.ask(Request::MeasureCapacity { node: n(1) });
    let room = &world.leader.rooms()[&n(1)];
    assert_eq!(room.capacity.to_string(), "cpu=4,licence=3,memory=8G");
    world.crash(n(2));
    let refused = world.try_ask(Request::MeasureCapacity { node: n(2) });
    assert_eq!(refused.unwrap_err().code, Code::Conflict);
    let stranger = world.try_ask(Request::MeasureCapacity { node: n(9) });
    assert_eq!(stranger.unwrap_err().code, Code::NotFound);
}
