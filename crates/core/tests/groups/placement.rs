//! Where groups are placed among others: affinity, room, priority, order of starting (A-018, A-102,
//! A-105, A-148), the planner and the owners together.

use std::collections::BTreeMap;

use stead_core::groups::{Answering, Fit, explain, group_views, say_what_they_wait_for};
use stead_core::planted::Planted;
use stead_model::amounts::Amounts;
use stead_model::group::Desired;
use stead_model::reason::Reason;
use stead_model::request::Request;
use stead_model::view::GroupView;
use stead_model::{NodeId, Span};

use crate::world::{World, n};

/// A world with groups of one resource each, named like the group, all placed.
pub(crate) fn world(nodes: u16, groups: &[&str]) -> World {
    let mut world = World::new(nodes, Planted::NONE);
    for group in groups {
        world.group(group, &[(&format!("{group}-r"), &[])]);
    }
    world.run();
    world
}

fn try_set(world: &mut World, group: &str, rules: &[(&str, &str)]) -> Result<(), Reason> {
    let given = |(k, v): &(&str, &str)| ((*k).to_owned(), (!v.is_empty()).then(|| (*v).to_owned()));
    let properties: BTreeMap<String, Option<String>> = rules.iter().map(given).collect();
    world.try_ask(Request::SetGroup { group: group.into(), properties }).map(drop)
}

pub(crate) fn set(world: &mut World, group: &str, rules: &[(&str, &str)]) {
    try_set(world, group, rules).unwrap_or_else(|reason| panic!("{rules:?}: {reason}"));
}

pub(crate) fn has(world: &mut World, node: u16, amounts: &str) {
    let capacity = Amounts::parse(amounts).unwrap();
    world.ask(Request::SetCapacity { node: n(node), capacity });
}

fn desire(world: &mut World, group: &str, desired: Desired) {
    world.ask(Request::SetGroupDesired { group: group.into(), desired });
}

fn move_to(world: &mut World, group: &str, node: u16) {
    world.ask(Request::MoveGroup { group: group.into(), to: Some(n(node)) });
    world.run();
}

pub(crate) fn lose(world: &mut World, node: u16) {
    world.crash(n(node));
    world.declare_stopped(n(node));
    world.run();
}

fn back(world: &mut World, node: u16) {
    world.boot(n(node));
    world.lease(n(node));
    world.run();
}

fn owners(world: &World, groups: &[&str]) -> Vec<Option<NodeId>> {
    groups.iter().map(|group| world.owner(group)).collect()
}

fn view(world: &World, group: &str) -> GroupView {
    let reports = world.nodes.iter().filter_map(|(id, node)| {
        let report = node.seen.as_ref()?.groups.as_slice();
        let answers = node.holdings.is_some();
        Some((*id, if answers { Answering::Yes(report) } else { Answering::No(report) }))
    });
    let nodes = world.nodes.len();
    let mut views = group_views(&world.leader, &reports.collect(), world.at, nodes);
    say_what_they_wait_for(&mut views, &world.input());
    views.into_iter().find(|view| view.group.as_str() == group).unwrap()
}

/// What `explain` says of a node as a place for a group.
fn place(world: &World, group: &str, node: u16) -> (Fit, String) {
    let told = explain(&world.input(), &group.into()).unwrap();
    let place = told.nodes.into_iter().find(|place| place.node == n(node)).unwrap();
    (place.fit, place.why)
}

#[test]
fn a018_groups_of_a_dead_node_spread_over_the_survivors_by_what_is_left_there() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut world = World::new(4, Planted::NONE);
    for (node, memory) in [(1, "memory=12G"), (2, "memory=8G"), (3, "memory=8G"), (4, "memory=2G")]
    {
        has(&mut world, node, memory);
    }
    for group in names {
        world.group(group, &[(&format!("{group}-r"), &[])]);
        set(&mut world, group, &[("demand", "memory=2G"), ("preferred-owners", "n1")]);
    }
    world.run();
    assert_eq!(owners(&world, &names), [Some(n(1)); 6]);
    lose(&mut world, 1);
    let on = |node| owners(&world, &names).iter().filter(|o| **o == Some(n(node))).count();
    assert_eq!([on(2), on(3), on(4)], [3, 3, 0], "n4 would be full with one");
    let why = &world.group_of("a").ownership.as_ref().unwrap().why;
    assert!(
        why.starts_with("lease of n1 ended; n2 is the best place: memory 2G of 8G left"),
        "{why}"
    );
}

#[test]
fn a105_without_capacities_groups_spread_by_their_number() {
    let names = ["a", "b", "c", "d"];
    let mut world = world(2, &names);
    assert_eq!(owners(&world, &names), [1, 2, 1, 2].map(|node| Some(n(node))));
    lose(&mut world, 1);
    assert_eq!(owners(&world, &names), [Some(n(2)); 4]);
}

#[test]
fn a148_the_designated_survivor_takes_it_unless_it_is_full() {
    let mut world = world(3, &["db"]);
    set(&mut world, "db", &[("preferred-owners", "n1,n3"), ("demand", "memory=4G")]);
    has(&mut world, 3, "memory=8G");
    lose(&mut world, 1);
    assert_eq!(world.owner("db"), Some(n(3)));
    back(&mut world, 1);
    move_to(&mut world, "db", 1);
    has(&mut world, 3, "memory=3G");
    lose(&mut world, 1);
    assert_eq!(world.owner("db"), Some(n(2)));
    let (fit, why) = place(&world, "db", 3);
    assert_eq!(fit, Fit::Possible);
    assert!(why.contains("too little memory: it needs 4G, 3G is left"), "{why}");
}

#[test]
fn required_anti_affinity_leaves_a_group_waiting_until_a_node_may_take_it() {
    let mut world = world(2, &["db", "db2"]);
    set(&mut world, "db2", &[("anti-affinity-required", "db")]);
    world.run();
    assert_eq!(owners(&world, &["db", "db2"]), [Some(n(1)), Some(n(2))]);
    lose(&mut world, 1);
    assert_eq!(world.running("db-r"), [], "it says so itself, and it holds both ways");
    assert_eq!(world.running("db2-r"), [n(2)]);
    assert!(world.plan().is_empty(), "I-CONVERGE: who waits causes nothing");
    let said = "required anti-affinity with `db2`, which is there";
    assert_eq!(place(&world, "db", 2), (Fit::Barred, said.to_owned()));
    let waits = view(&world, "db").waits.unwrap();
    assert!(waits.starts_with("no node may take it now: n2: required anti"), "{waits}");
    let move_here = Request::MoveGroup { group: "db".into(), to: Some(n(2)) };
    assert!(world.try_ask(move_here).unwrap_err().to_string().contains(said));
    back(&mut world, 1);
    assert_eq!(world.running("db-r"), [n(1)]);
    assert_eq!(view(&world, "db").waits, None);
}

#[test]
fn preferred_rules_choose_and_never_keep_a_group_down() {
    let mut world = world(3, &["a", "b", "c"]);
    set(&mut world, "c", &[("anti-affinity", "a")]);
    set(&mut world, "b", &[("affinity", "a")]);
    lose(&mut world, 2);
    assert_eq!(world.owner("b"), Some(n(1)), "beside `a`, though it owns as many");
    lose(&mut world, 3);
    assert_eq!(world.running("c-r"), [n(1)], "there is no other node");
    back(&mut world, 2);
    assert!(world.plan().is_empty(), "nothing moves without need");
}

#[test]
fn groups_that_belong_together_go_together() {
    let mut world = world(3, &["db", "web", "x", "y"]);
    set(&mut world, "web", &[("affinity-required", "db")]);
    world.run();
    assert_eq!(owners(&world, &["db", "web"]), [Some(n(1)); 2], "one of two equals goes");
    move_to(&mut world, "db", 3);
    assert_eq!(owners(&world, &["db", "web"]), [Some(n(3)); 2]);
    // Room for one of them is not enough.
    for (group, memory) in [("db", "memory=4G"), ("web", "memory=2G")] {
        set(&mut world, group, &[("demand-required", memory)]);
    }
    has(&mut world, 1, "memory=5G");
    has(&mut world, 2, "memory=6G");
    lose(&mut world, 3);
    assert_eq!(owners(&world, &["db", "web"]), [Some(n(2)); 2]);
    let (fit, why) = place(&world, "db", 1);
    assert_eq!((fit, why.as_str()), (Fit::Barred, "not enough memory: it needs 6G, 5G is left"));
    world.node(n(2)).broken.insert("web-r".into());
    world.die(n(2), "web-r");
    world.run();
    assert_eq!(owners(&world, &["db", "web"]), [Some(n(2)); 2], "nowhere has room for both");
    has(&mut world, 1, "memory=6G");
    world.run();
    assert_eq!(owners(&world, &["db", "web"]), [Some(n(1)); 2], "the one follows the other");
}

#[test]
fn groups_that_belong_together_do_not_chase_each_other_home() {
    let mut world = world(2, &["a", "b"]);
    set(&mut world, "a", &[("affinity-required", "b")]);
    set(&mut world, "a", &[("preferred-owners", "n1"), ("failback", "immediate")]);
    set(&mut world, "b", &[("preferred-owners", "n2"), ("failback", "immediate")]);
    world.run();
    let together = world.owner("a");
    assert_eq!(world.owner("b"), together);
    assert!(world.plan().is_empty());
}

#[test]
fn a102_what_is_required_and_not_there_leaves_a_group_waiting_with_the_reason() {
    let mut world = world(2, &["big"]);
    desire(&mut world, "big", Desired::Offline);
    set(&mut world, "big", &[("demand-required", "memory=4G,licence=1")]);
    has(&mut world, 1, "memory=2G,licence=1");
    has(&mut world, 2, "memory=8G");
    world.run();
    assert_eq!(world.owner("big"), None, "what is offline and has required rules is given back");
    desire(&mut world, "big", Desired::Online);
    world.run();
    assert_eq!(world.owner("big"), None);
    assert_eq!(place(&world, "big", 1).1, "not enough memory: it needs 4G, 2G is left");
    assert_eq!(place(&world, "big", 2).1, "not enough licence: it needs 1, 0 is left");
    // A service of the node's own takes its part (A-156).
    let needs = Some(Amounts::parse("memory=5G").unwrap());
    world.ask(Request::SetLocal { node: n(2), service: "dns".into(), needs });
    has(&mut world, 2, "memory=8G,licence=1");
    world.run();
    assert_eq!(place(&world, "big", 2).1, "not enough memory: it needs 4G, 3G is left");
    world.ask(Request::SetLocal { node: n(2), service: "dns".into(), needs: None });
    world.run();
    assert_eq!(world.running("big-r"), [n(2)]);
    has(&mut world, 2, "memory=1G");
    world.run();
    assert_eq!(world.running("big-r"), [n(2)], "what runs is not stopped for a setting");
}

#[test]
fn the_higher_priority_gets_the_room() {
    let mut world = world(2, &["a", "b", "c"]);
    for group in ["a", "b", "c"] {
        set(&mut world, group, &[("preferred-owners", "n1"), ("demand-required", "cpu=1")]);
        move_if_away(&mut world, group, 1);
    }
    set(&mut world, "c", &[("priority", "high")]);
    set(&mut world, "a", &[("priority", "low")]);
    has(&mut world, 2, "cpu=2");
    lose(&mut world, 1);
    assert_eq!(owners(&world, &["b", "c"]), [Some(n(2)); 2]);
    assert_eq!(world.running("a-r"), []);
    assert!(world.plan().is_empty());
}

fn move_if_away(world: &mut World, group: &str, node: u16) {
    if world.owner(group) != Some(n(node)) {
        move_to(world, group, node);
    }
}

#[test]
fn a_rule_that_is_set_later_moves_the_weaker_group_if_a_node_may_take_it() {
    let mut world = world(2, &["a", "b", "c"]);
    assert_eq!(owners(&world, &["a", "c"]), [Some(n(1)); 2]);
    set(&mut world, "c", &[("priority", "high")]);
    set(&mut world, "c", &[("anti-affinity-required", "a")]);
    world.run();
    assert_eq!(owners(&world, &["a", "c"]), [Some(n(2)), Some(n(1))]);
    lose(&mut world, 2);
    assert_eq!(world.running("a-r"), []);
    // Nobody stops what runs: the other way round it is told.
    set(&mut world, "c", &[("anti-affinity-required", "")]);
    world.run();
    assert_eq!(world.running("a-r"), [n(1)]);
    set(&mut world, "c", &[("anti-affinity-required", "a")]);
    world.run();
    assert_eq!((world.running("a-r"), world.running("c-r")), (vec![n(1)], vec![n(1)]));
    let against = view(&world, "c").against.unwrap();
    assert!(against.contains("runs beside `a` against its required anti-affinity"), "{against}");
    back(&mut world, 2);
    assert_eq!(owners(&world, &["a", "c"]), [Some(n(2)), Some(n(1))]);
    assert_eq!(view(&world, "c").against, None);
}

#[test]
fn a_group_starts_after_others_are_online_also_when_their_node_dies() {
    let mut world = world(2, &["db", "web"]);
    set(&mut world, "web", &[("start-after-required", "db"), ("preferred-owners", "n1")]);
    move_if_away(&mut world, "web", 1);
    world.crash(n(1));
    world.declare_stopped(n(1));
    world.node(n(2)).broken.insert("db-r".into());
    world.plan();
    assert_eq!(owners(&world, &["db", "web"]), [Some(n(2)), Some(n(1))], "it waits, unowned");
    let next = explain(&world.input(), &"web".into()).unwrap().next;
    assert_eq!(next, ["it only starts when group `db` is online"]);
    world.run();
    assert_eq!(world.running("web-r"), []);
    world.node(n(2)).broken.clear();
    world.ask(Request::ClearFailures { group: "db".into() });
    world.run();
    assert_eq!((world.running("db-r"), world.running("web-r")), (vec![n(2)], vec![n(2)]));
    let started = |r: &str| {
        world.nodes[&n(2)].history.iter().rposition(|line| {
            line.contains("online") && line.contains(r) && line.ends_with("Online")
        })
    };
    assert!(started("db-r") < started("web-r"), "{}", world.trace());
    // It is about starting only.
    desire(&mut world, "db", Desired::Offline);
    world.run();
    assert_eq!(world.running("web-r"), [n(2)]);
}

#[test]
fn a_preferred_order_waits_for_what_is_on_its_way_and_for_nothing_else() {
    let mut world = world(2, &["db", "web"]);
    for group in ["db", "web"] {
        desire(&mut world, group, Desired::Offline);
    }
    set(&mut world, "web", &[("start-after", "db")]);
    world.run();
    assert_eq!(world.owner("web"), None);
    desire(&mut world, "web", Desired::Online);
    world.run();
    assert_eq!(world.running("web-r").len(), 1, "`db` shall be offline");
    desire(&mut world, "web", Desired::Offline);
    world.run();
    desire(&mut world, "db", Desired::Online);
    desire(&mut world, "web", Desired::Online);
    world.plan();
    assert_eq!(world.owner("web"), None, "`db` is on its way");
    world.run();
    assert_eq!(world.running("web-r").len(), 1);
    // What failed everywhere is not waited for.
    desire(&mut world, "web", Desired::Offline);
    world.run();
    for id in world.ids() {
        world.node(id).broken.insert("db-r".into());
    }
    let owner = world.owner("db").unwrap();
    world.die(owner, "db-r");
    desire(&mut world, "web", Desired::Online);
    world.run();
    assert_eq!((world.running("db-r"), world.running("web-r").len()), (vec![], 1));
}

#[test]
fn what_waits_with_the_target_of_a_move_is_not_waited_for() {
    let mut world = world(2, &["base", "db", "web"]);
    set(&mut world, "db", &[("start-after-required", "base")]);
    set(&mut world, "web", &[("start-after", "db")]);
    desire(&mut world, "base", Desired::Offline);
    desire(&mut world, "web", Desired::Offline);
    world.run();
    let other = if world.owner("db") == Some(n(1)) { 2 } else { 1 };
    move_to(&mut world, "db", other);
    assert_eq!(world.running("db-r"), [], "`base` shall be offline");
    desire(&mut world, "web", Desired::Online);
    world.run();
    assert_eq!(world.running("web-r").len(), 1, "`db` waits for `base`");
    let next = explain(&world.input(), &"db".into()).unwrap().next;
    assert!(next.iter().any(|line| line.contains("group `base` is online")), "{next:?}");
    assert!(next.iter().any(|line| line.contains("has stopped it")), "{next:?}");
    desire(&mut world, "base", Desired::Online);
    world.run();
    assert_eq!(world.running("db-r"), [n(other)]);
}

#[test]
fn the_order_holds_after_everybody_was_down_and_after_a_lost_lease() {
    let mut world = world(1, &["app", "db"]);
    set(&mut world, "app", &[("start-after-required", "db")]);
    for round in 0..2 {
        let before = world.nodes[&n(1)].history.len();
        if round == 0 {
            world.crash(n(1));
            world.boot(n(1));
        } else {
            world.expire(n(1));
        }
        world.pass_time(Span::from_secs(1));
        world.lease(n(1));
        world.run();
        let starts = world.nodes[&n(1)].history[before..].iter();
        let starts: Vec<&String> = starts.filter(|line| line.contains(" online ")).collect();
        assert!(starts[0].contains("db-r") && starts[1].contains("app-r"), "{round}: {starts:?}");
    }
}

#[test]
fn rules_that_make_no_sense_are_refused_with_the_way() {
    let mut world = world(2, &["a", "b", "c"]);
    let mut refused = |group: &str, rules: &[(&str, &str)]| {
        try_set(&mut world, group, rules).unwrap_err().to_string()
    };
    assert!(refused("a", &[("affinity", "z")]).contains("`z`, which does not exist"));
    assert!(refused("a", &[("affinity", "a")]).contains("names the group itself"));
    assert!(refused("a", &[("demand", "memory=1X")]).contains("`memory=1X` is no amount"));
    assert!(refused("a", &[("priority", "0")]).contains("cannot be `0`"));
    set(&mut world, "a", &[("start-after", "b")]);
    set(&mut world, "b", &[("start-after-required", "c")]);
    let circle = try_set(&mut world, "c", &[("start-after", "a")]).unwrap_err();
    assert!(circle.to_string().contains("`c` after `a` after `b` after `c`"), "{circle}");
    set(&mut world, "a", &[("affinity-required", "b")]);
    set(&mut world, "c", &[("affinity-required", "b")]);
    let torn = try_set(&mut world, "a", &[("anti-affinity-required", "c")]).unwrap_err();
    assert!(torn.to_string().contains("`a` and `c` cannot be together and apart"), "{torn}");
    desire(&mut world, "b", Desired::Offline);
    world.run();
    world.ask(Request::DeleteResource { resource: "b-r".into() });
    let named = world.try_ask(Request::DeleteGroup { group: "b".into() }).unwrap_err();
    assert!(named.to_string().contains("group `a` names it in `affinity`"), "{named}");
}
