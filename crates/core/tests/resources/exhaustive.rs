//! Every tree of up to four resources, every order in which the monitor may answer: the
//! resources come online and go offline by the rules of A-115, and as parallel as the tree allows.

use std::collections::BTreeSet;

use stead_model::ResourceId;
use stead_model::group::Desired;
use stead_model::order::{Action, ResourceOrder};
use stead_model::resource::{ResourceConfig, ResourceState};
use stead_model::wire::peer::Standing;

use crate::bench::{Bench, broke, config, done};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// All trees over `count` resources: each may depend on any set of earlier ones.
fn trees(count: usize) -> Vec<Vec<ResourceConfig>> {
    let pairs: Vec<(usize, usize)> =
        (0..count).flat_map(|above| (0..above).map(move |below| (above, below))).collect();
    let tree = |bits: u32| {
        let on = |above: usize| -> Vec<&str> {
            let edges = pairs.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
            edges.filter(|(_, p)| p.0 == above).map(|(_, p)| NAMES[p.1]).collect()
        };
        (0..count).map(|i| config(NAMES[i], &on(i))).collect()
    };
    (0..1 << pairs.len()).map(tree).collect()
}

/// Answers the waiting orders in every possible sequence; `each` sees every state on the way,
/// `end` every state in which nothing waits any more.
fn every_sequence(bench: &Bench, each: &mut dyn FnMut(&Bench), end: &mut dyn FnMut(&Bench)) {
    each(bench);
    if bench.orders.is_empty() {
        end(bench);
    }
    for at in 0..bench.orders.len() {
        let mut next = bench.clone();
        let order = next.orders.remove(at);
        next.answer(&order, done(&order.action));
        every_sequence(&next, each, end);
    }
}

fn of<'a>(tree: &'a [ResourceConfig], id: &ResourceId) -> &'a ResourceConfig {
    tree.iter().find(|r| r.id == *id).unwrap()
}

/// Rules 5 and 6 in every state: whatever is online or starting stands on online resources only,
/// unless it is about to be stopped for that reason.
fn orders_are_right(tree: &[ResourceConfig], bench: &Bench) {
    for order in &bench.orders {
        let state = |id: &ResourceId| bench.state(id.as_str());
        match order.action {
            Action::Online(_) => {
                let below = &of(tree, &order.resource).depends_on;
                let all = below.iter().all(|d| state(d) == ResourceState::Online);
                assert!(all, "{order} before all it depends on is online");
            }
            Action::Offline | Action::Terminate => {
                let above = tree.iter().filter(|r| r.depends_on.contains(&order.resource));
                let down = [ResourceState::Offline, ResourceState::Failed];
                let all = above.into_iter().all(|r| down.contains(&state(&r.id)));
                assert!(all, "{order} before all that depends on it is offline");
            }
            Action::Adopt(_) => panic!("nothing is to be adopted here"),
            Action::Probe(_) | Action::Fit(_) | Action::Forget(_) => panic!("nobody asked"),
        }
    }
}

fn names(orders: &[ResourceOrder]) -> BTreeSet<&str> {
    orders.iter().map(|o| o.resource.as_str()).collect()
}

#[test]
fn coming_online_every_tree_in_every_sequence() {
    let mut ends = 0;
    for tree in (1..=4).flat_map(trees) {
        let as_parallel_as_possible = |bench: &Bench| {
            let online = bench.online();
            let ready = |r: &&ResourceConfig| {
                let below = r.depends_on.iter().all(|d| online.contains(d.as_str()));
                below && !online.contains(r.id.as_str())
            };
            let ready: BTreeSet<&str> = tree.iter().filter(ready).map(|r| r.id.as_str()).collect();
            assert_eq!(names(&bench.orders), ready);
        };
        let mut each = |bench: &Bench| {
            orders_are_right(&tree, bench);
            as_parallel_as_possible(bench);
        };
        let mut end = |bench: &Bench| {
            assert_eq!(bench.online().len(), tree.len());
            ends += 1;
        };
        every_sequence(&Bench::new(tree.clone()), &mut each, &mut end);
    }
    assert!(ends > 300, "{ends}");
}

#[test]
fn going_offline_every_tree_in_every_sequence() {
    for tree in (1..=4).flat_map(trees) {
        let mut bench = Bench::new(tree.clone());
        bench.run();
        bench.release(1);
        let mut each = |bench: &Bench| {
            orders_are_right(&tree, bench);
            let online = bench.online();
            let free = |r: &&ResourceConfig| {
                let mut above = tree.iter().filter(|o| o.depends_on.contains(&r.id));
                above.all(|o| bench.state(o.id.as_str()) == ResourceState::Offline)
            };
            let running =
                tree.iter().filter(|r| bench.state(r.id.as_str()) != ResourceState::Offline);
            let free: BTreeSet<&str> = running.filter(free).map(|r| r.id.as_str()).collect();
            assert_eq!(names(&bench.orders), free, "as parallel as the tree allows");
            let stopped = bench.standing() == Standing::Stopped;
            assert_eq!(stopped, online.is_empty() && bench.orders.is_empty());
        };
        every_sequence(&bench, &mut each, &mut |bench| assert!(bench.online().is_empty()));
    }
}

#[test]
fn a_failure_anywhere_cycles_exactly_what_stands_on_it() {
    for tree in (1..=4).flat_map(trees) {
        for failing in &tree {
            let mut bench = Bench::new(tree.clone());
            let mut started = None;
            while let Some(order) = bench.orders.first().cloned() {
                bench.orders.remove(0);
                bench.answer(&order, done(&order.action));
                if order.resource == failing.id {
                    started = Some(order);
                }
            }
            bench.answer(&started.unwrap(), broke());
            let untouched = untouched_by(&tree, &failing.id);
            let mut each = |bench: &Bench| {
                orders_are_right(&tree, bench);
                assert!(untouched.is_subset(&bench.online()), "others go on");
            };
            let mut end = |bench: &Bench| assert_eq!(bench.online().len(), tree.len());
            every_sequence(&bench, &mut each, &mut end);
        }
    }
}

#[test]
fn one_resource_wanted_offline_every_tree_in_every_sequence() {
    for tree in (1..=4).flat_map(trees) {
        for unwanted in &tree {
            let mut bench = Bench::new(tree.clone());
            bench.run();
            bench.desire_resource(unwanted.id.as_str(), Desired::Offline);
            let untouched = untouched_by(&tree, &unwanted.id);
            let mut each = |bench: &Bench| orders_are_right(&tree, bench);
            let mut end = |bench: &Bench| assert_eq!(bench.online(), untouched);
            every_sequence(&bench, &mut each, &mut end);
        }
    }
}

/// The resources that do not stand on this one by any path, nor are it: the dumb way.
fn untouched_by(tree: &[ResourceConfig], id: &ResourceId) -> BTreeSet<String> {
    fn stands_on(tree: &[ResourceConfig], r: &ResourceConfig, id: &ResourceId) -> bool {
        r.id == *id || r.depends_on.iter().any(|d| stands_on(tree, of(tree, d), id))
    }
    let untouched = tree.iter().filter(|r| !stands_on(tree, r, id));
    untouched.map(|r| r.id.to_string()).collect()
}
