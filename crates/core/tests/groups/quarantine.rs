//! Nodes that are lost again and again: counted where it hurts, then put aside for a while.

use std::collections::BTreeMap;

use stead_core::groups::explain;
use stead_core::planted::Planted;
use stead_model::change::Change;
use stead_model::group::Desired;
use stead_model::reason::Code;
use stead_model::request::Request;
use stead_model::upkeep::{Drain, LOST_SOON_S, QUARANTINE_S, Upkeep};
use stead_model::{Span, UtcMillis};

use crate::world::{World, n};

/// `web` belongs on n1 and goes back there.
fn world(nodes: u16) -> World {
    let mut world = World::new(nodes, Planted::NONE);
    world.group("web", &[("ip", &[])]);
    let back = [("preferred-owners", "n1"), ("failback", "immediate")];
    let back = back.map(|(k, v)| (k.to_owned(), Some(v.to_owned())));
    world.ask(Request::SetGroup { group: "web".into(), properties: back.into() });
    world.run();
    assert_eq!(world.owner("web"), Some(n(1)));
    world
}

/// A node that had its groups for long is lost.
fn lose(world: &mut World, node: u16) {
    world.pass_time(Span::from_secs(LOST_SOON_S));
    lose_soon(world, node);
}

fn lose_soon(world: &mut World, node: u16) {
    world.crash(n(node));
    world.declare_stopped(n(node));
    world.run();
}

fn returns(world: &mut World, node: u16) {
    world.boot(n(node));
    world.lease(n(node));
    world.run();
}

/// The node is lost and comes back.
fn flap(world: &mut World, node: u16) {
    lose(world, node);
    returns(world, node);
}

fn quarantined(world: &World) -> Vec<u16> {
    world.leader.upkeep().quarantined().keys().map(|node| node.0).collect()
}

#[test]
fn a_node_lost_three_times_within_an_hour_is_given_nothing_that_another_one_may_take() {
    let mut world = world(3);
    for _ in 0..2 {
        flap(&mut world, 1);
        assert_eq!((world.owner("web"), quarantined(&world)), (Some(n(1)), vec![]));
    }
    let entries = world.log.len();
    lose(&mut world, 1);
    assert_eq!(world.log.len(), entries + 1, "the take-over's entry says all of it");
    let until = UtcMillis(world.at.0 + QUARANTINE_S * 1_000);
    assert_eq!(
        world.log.last().unwrap().changes[1..],
        [
            Change::NodeLost { node: n(1) },
            Change::Upkeep { upkeep: Upkeep::Quarantine { node: n(1), until } }
        ]
    );
    returns(&mut world, 1);
    assert_eq!(world.owner("web"), Some(n(2)), "it does not fail back");
    let web = explain(&world.input(), &"web".into()).unwrap();
    let last = web.nodes.last().unwrap();
    assert_eq!(
        last.why,
        "preferred owner number 1, owns no group, is in quarantine and comes last"
    );
    lose(&mut world, 2);
    assert_eq!(world.owner("web"), Some(n(3)), "the others come first");
    lose(&mut world, 3);
    assert_eq!(world.running("ip"), [n(1)], "it keeps no group offline");
}

#[test]
fn a_quarantine_ends_by_itself_or_when_an_administrator_resumes_the_node() {
    let flapped = || {
        let mut world = world(2);
        (0..3).for_each(|_| flap(&mut world, 1));
        assert_eq!((world.owner("web"), quarantined(&world)), (Some(n(2)), vec![1]));
        world
    };
    let (mut left_alone, mut resumed) = (flapped(), flapped());
    left_alone.pass_time(Span::from_secs(QUARANTINE_S + 1));
    resumed.ask(Request::Upkeep { upkeep: Upkeep::Resume { node: n(1) } });
    for mut world in [left_alone, resumed] {
        world.run();
        assert_eq!((world.owner("web"), quarantined(&world)), (Some(n(1)), vec![]));
        flap(&mut world, 1);
        assert_eq!(quarantined(&world), [] as [u16; 0], "its losses are counted anew");
    }
}

#[test]
fn only_the_cluster_brings_a_node_into_quarantine() {
    let mut world = world(2);
    let until = UtcMillis(world.at.0 + 1);
    for upkeep in [Upkeep::Quarantine { node: n(1), until }, Upkeep::EndQuarantine { node: n(1) }] {
        let refused = world.try_ask(Request::Upkeep { upkeep }).unwrap_err();
        assert_eq!(refused.code, Code::Invalid);
        assert_eq!(
            refused.to_string(),
            "cannot change quarantine of n1: only the cluster itself \
                                         decides about that"
        );
    }
}

#[test]
fn losses_count_for_an_hour_and_once_each() {
    let mut world = world(3);
    world.group("mail", &[("spool", &[])]);
    world.run();
    world.ask(Request::MoveGroup { group: "mail".into(), to: Some(n(1)) });
    world.run();
    flap(&mut world, 1);
    assert_eq!(world.leader.upkeep().losses(n(1)).len(), 1, "one loss, whatever it had");
    // What it comes back with is what it may lose.
    world.ask(Request::Upkeep { upkeep: Upkeep::Pause { node: n(1), drain: Drain::Yes } });
    world.run();
    flap(&mut world, 1);
    flap(&mut world, 1);
    assert_eq!(world.leader.upkeep().losses(n(1)).len(), 1, "a node without groups hurt nobody");
    world.ask(Request::Upkeep { upkeep: Upkeep::Resume { node: n(1) } });
    world.run();
    for _ in 0..4 {
        flap(&mut world, 1);
        world.pass_time(Span::from_secs(1_801));
        world.run();
    }
    assert_eq!(quarantined(&world), [] as [u16; 0], "never three within an hour");
}

#[test]
fn a_group_that_waited_for_a_node_is_part_of_the_loss_it_came_from() {
    let mut world = world(2);
    world.group("mail", &[("spool", &[])]);
    let only = [("possible-owners".to_owned(), Some("n1".to_owned()))].into();
    world.ask(Request::SetResource { resource: "spool".into(), properties: only });
    world.run();
    assert_eq!(world.owner("mail"), Some(n(1)));
    lose(&mut world, 1);
    assert_eq!(world.owner("mail"), Some(n(1)), "no other node may take it yet");
    let all = [("possible-owners".to_owned(), None)].into();
    world.ask(Request::SetResource { resource: "spool".into(), properties: all });
    world.run();
    assert_eq!(world.owner("mail"), Some(n(2)));
    assert_eq!(world.leader.upkeep().losses(n(1)).len(), 1);
}

#[test]
fn at_most_a_fifth_of_the_nodes_and_at_least_one_is_in_quarantine() {
    for (nodes, at_most) in [(2, 1), (9, 1), (10, 2)] {
        let mut world = World::new(nodes, Planted::NONE);
        let groups = ["a", "b", "c"].map(|name| (name, format!("of-{name}")));
        for (name, resource) in &groups {
            world.group(name, &[(resource, &[])]);
        }
        world.run();
        let victims = [1, 2, 3].into_iter().filter(|node| *node < nodes);
        for victim in victims.chain([2]) {
            for _ in 0..3 {
                for (name, _) in &groups {
                    if world.owner(name) != Some(n(victim)) {
                        let to = Some(n(victim));
                        world.ask(Request::MoveGroup { group: (*name).into(), to });
                        world.run();
                    }
                }
                flap(&mut world, victim);
            }
        }
        assert_eq!(quarantined(&world).len(), at_most, "{nodes} nodes");
    }
}

#[test]
fn a_node_that_leaves_in_order_or_announced_its_absence_is_not_lost() {
    let mut world = world(2);
    world.ask(Request::SetAbsence { node: n(1), absent: true });
    flap(&mut world, 1);
    world.ask(Request::SetAbsence { node: n(1), absent: false });
    world.ask(Request::Leave { node: n(1) });
    lose(&mut world, 1);
    assert_eq!(world.owner("web"), Some(n(2)));
    assert_eq!(world.leader.upkeep().losses(n(1)), []);
}

/// So many nodes and `web`, which is left failed after two failovers.
fn poisonous(nodes: u16) -> World {
    let mut world = World::new(nodes, Planted::NONE);
    world.group("web", &[("ip", &[])]);
    let twice = BTreeMap::from([("failover-threshold".to_owned(), Some("2".to_owned()))]);
    world.ask(Request::SetGroup { group: "web".into(), properties: twice });
    world.run();
    world
}

fn failed(world: &World) -> Option<&str> {
    world.group_of("web").failed.as_deref()
}

/// D1: what takes its nodes down one after the other takes no more than the threshold allows.
#[test]
fn a_group_whose_nodes_are_lost_soon_is_left_failed_at_its_threshold() {
    let mut world = poisonous(5);
    for node in [1, 2] {
        assert_eq!((world.owner("web"), failed(&world)), (Some(n(node)), None));
        lose_soon(&mut world, node);
    }
    assert_eq!(world.owner("web"), Some(n(3)));
    world.pass_time(Span::from_secs(12));
    lose_soon(&mut world, 3);
    assert_eq!(
        failed(&world).unwrap(),
        "2 failovers within 10h (custom) did not help: n3 was lost 12s after it was given it; all \
         of the group stays offline until it is tried again in 1h"
    );
    assert_eq!((world.owner("web"), world.running("ip")), (None, vec![]));
    returns(&mut world, 1);
    assert_eq!(world.owner("web"), None, "a node that is back does not change that");
    // An administrator may try again at once, and what was counted is forgotten.
    world.ask(Request::SetGroupDesired { group: "web".into(), desired: Desired::Online });
    world.run();
    assert_eq!((world.running("ip"), failed(&world)), (vec![n(1)], None));
    lose_soon(&mut world, 1);
    assert_eq!(world.running("ip"), [n(4)]);
}

#[test]
fn a_node_that_had_a_group_for_long_or_left_is_not_counted_against_the_group() {
    let mut world = poisonous(3);
    for turn in 0..6 {
        let node = world.owner("web").unwrap();
        flap(&mut world, node.0);
        assert_eq!(failed(&world), None, "loss {turn}");
    }
    assert!(world.group_of("web").failovers.is_empty());
}
