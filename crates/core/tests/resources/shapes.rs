//! Trees of all shapes on their owner: deep, wide, diamonds; what happens in the middle of them
//! and while something of them is pending.

use std::collections::BTreeSet;

use stead_model::change::Change;
use stead_model::group::Desired;
use stead_model::order::Outcome;
use stead_model::resource::{ResourceConfig, ResourcePolicy, ResourceState};
use stead_model::wire::peer::Standing;

use crate::bench::{Bench, broke, config, done};

/// A chain: each resource depends on the one before it.
fn chain(levels: usize) -> Vec<ResourceConfig> {
    let name = |i: usize| format!("l{i:03}");
    (0..levels)
        .map(|i| match i {
            0 => config(&name(0), &[]),
            _ => config(&name(i), &[&name(i - 1)]),
        })
        .collect()
}

/// Answers the waiting orders one by one, and tells them in their order.
fn carried_out(bench: &mut Bench) -> Vec<String> {
    let mut told = Vec::new();
    while !bench.orders.is_empty() {
        told.push(bench.waiting().remove(0));
        let order = bench.orders.remove(0);
        bench.answer(&order, done(&order.action));
    }
    told
}

#[test]
fn a_tree_of_200_levels_comes_and_goes_level_by_level() {
    let mut bench = Bench::new(chain(200));
    let up: Vec<String> = (0..200).map(|i| format!("online l{i:03}")).collect();
    assert_eq!(carried_out(&mut bench), up);
    bench.release(1);
    let down: Vec<String> = (0..200).rev().map(|i| format!("offline l{i:03}")).collect();
    assert_eq!(carried_out(&mut bench), down);
    assert_eq!(bench.standing(), Standing::Stopped);
}

#[test]
fn a_tree_of_500_leaves_is_ordered_at_once() {
    let leaves: Vec<String> = (0..500).map(|i| format!("leaf{i:03}")).collect();
    let mut resources = vec![config("root", &[])];
    resources.extend(leaves.iter().map(|leaf| config(leaf, &["root"])));
    let mut bench = Bench::new(resources);
    assert_eq!(bench.waiting(), ["online root"]);
    bench.answers("root", Outcome::Online);
    assert_eq!(bench.orders.len(), 500, "as parallel as the tree allows");
    for order in std::mem::take(&mut bench.orders).into_iter().take(3) {
        bench.answer(&order, Outcome::Online);
    }
    bench.desire(Desired::Offline);
    // A start is waited for: the root stays until every leaf is down.
    assert_eq!(bench.waiting(), ["offline leaf000", "offline leaf001", "offline leaf002"]);
}

/// A diamond: a top on two sides on one bottom.
fn diamond() -> Vec<ResourceConfig> {
    let (left, right) = (config("left", &["bottom"]), config("right", &["bottom"]));
    vec![config("bottom", &[]), left, right, config("top", &["left", "right"])]
}

#[test]
fn a_diamond_waits_for_its_slower_side_both_ways() {
    let mut bench = Bench::new(diamond());
    bench.answers("bottom", Outcome::Online);
    assert_eq!(bench.waiting(), ["online left", "online right"]);
    bench.answers("right", Outcome::Online);
    assert_eq!(bench.waiting(), ["online left"], "the top waits for both");
    bench.answers("left", Outcome::Online);
    bench.answers("top", Outcome::Online);
    bench.desire(Desired::Offline);
    bench.answers("top", Outcome::Offline);
    bench.answers("left", Outcome::Offline);
    assert_eq!(bench.waiting(), ["offline right"], "the bottom waits for both");
}

/// one side of a diamond fails; the top goes with it, the other side and the bottom stay.
#[test]
fn a_side_of_a_diamond_that_fails_takes_only_the_top_along() {
    let mut bench = Bench::new(diamond());
    bench.answers("bottom", Outcome::Online);
    let left = bench.order("left");
    bench.answer(&left, Outcome::Online);
    bench.run();
    bench.answer(&left, broke());
    let told = carried_out(&mut bench);
    assert_eq!(told, ["offline top", "online left", "online top"]);
}

/// the middle of a long chain is cycled with what stands on it, from the top.
#[test]
fn a_failure_in_the_middle_of_a_chain_cycles_what_stands_on_it_in_order() {
    let mut bench = Bench::new(chain(200));
    let mut middle = None;
    while let Some(order) = bench.orders.first().cloned() {
        bench.orders.remove(0);
        bench.answer(&order, Outcome::Online);
        middle = if order.resource.as_str() == "l100" { Some(order) } else { middle };
    }
    bench.answer(&middle.unwrap(), broke());
    let down = (101..200).rev().map(|i| format!("offline l{i:03}"));
    let up = (100..200).map(|i| format!("online l{i:03}"));
    assert_eq!(carried_out(&mut bench), down.chain(up).collect::<Vec<_>>());
}

#[test]
fn what_fails_while_something_above_it_is_coming_waits_for_that_start() {
    let mut bench = Bench::new(chain(3));
    let bottom = bench.order("l000");
    bench.answer(&bottom, Outcome::Online);
    bench.answers("l001", Outcome::Online);
    bench.answer(&bottom, broke());
    assert_eq!(bench.waiting(), ["online l002"], "a stop could overtake the start");
    bench.answers("l002", Outcome::Online);
    let told = carried_out(&mut bench);
    let (down, up) = (["offline l002", "offline l001"], ["online l000", "online l001"]);
    assert_eq!(told[..4], [down, up].concat());
    assert_eq!(bench.online().len(), 3);
}

/// It may hang as long as its pending timeout: then it is terminated, and what is below follows.
#[test]
fn a_start_that_hangs_above_a_failure_is_given_up_and_then_all_is_cycled() {
    let mut bench = Bench::new(chain(2));
    let bottom = bench.order("l000");
    bench.answer(&bottom, Outcome::Online);
    bench.answer(&bottom, broke());
    bench.next_deadline();
    bench.orders.retain(|order| order.action == stead_model::order::Action::Terminate);
    assert_eq!(bench.waiting(), ["terminate l001"]);
    let told = carried_out(&mut bench);
    assert_eq!(told, ["terminate l001", "online l000", "online l001"]);
}

#[test]
fn a_group_that_is_taken_offline_while_it_comes_online_goes_down_in_order() {
    let mut bench = Bench::new(chain(3));
    bench.answers("l000", Outcome::Online);
    bench.desire(Desired::Offline);
    assert_eq!(bench.waiting(), ["online l001"], "what is coming is waited for");
    let told = carried_out(&mut bench);
    assert_eq!(told, ["online l001", "offline l001", "offline l000"], "and l002 never comes");
    bench.desire(Desired::Online);
    assert_eq!(carried_out(&mut bench), ["online l000", "online l001", "online l002"]);
}

/// what does not affect the group stays failed with all that stands on it, whatever that
/// says of itself; the rest of the group runs on.
#[test]
fn a_failure_that_does_not_affect_the_group_leaves_only_what_stands_on_it_offline() {
    let quiet = ResourcePolicy { affects_group: false, restart_threshold: 0, ..Default::default() };
    let stats = ResourceConfig { policy: quiet, ..config("stats", &["ip"]) };
    let app = config("app", &["ip"]);
    let mut bench = Bench::new(vec![config("ip", &[]), app, stats, config("page", &["stats"])]);
    bench.answers("ip", Outcome::Online);
    let order = bench.order("stats");
    bench.answer(&order, Outcome::Online);
    bench.run();
    bench.answer(&order, broke());
    assert_eq!(carried_out(&mut bench), ["offline page"]);
    assert_eq!(bench.online(), BTreeSet::from(["app".to_owned(), "ip".to_owned()]));
    assert_eq!(bench.state("stats"), ResourceState::Failed);
    assert_eq!(bench.state("page"), ResourceState::Offline);
    assert_eq!(bench.standing(), Standing::Held, "no failover");
}

/// Found by the stories of `tests/dependencies`: it was terminated again while what was made to
/// depend on it meanwhile still ran.
#[test]
fn what_is_made_to_depend_on_something_that_cannot_be_stopped_goes_down_first() {
    let mut bench = Bench::new(vec![config("disk", &[]), config("app", &[])]);
    bench.run();
    bench.desire_resource("disk", Desired::Offline);
    bench.answers("disk", Outcome::StopFailed("it hangs in the kernel".into()));
    let depends_on = BTreeSet::from(["disk".into()]);
    bench.apply(vec![Change::SetDependencies { resource: "app".into(), depends_on }]);
    assert_eq!(bench.waiting(), ["offline app"]);
    let again = stead_model::Span::from_secs(3);
    bench.pass(again);
    assert_eq!(bench.waiting(), ["offline app"], "the disk waits for it");
    bench.answers("app", Outcome::Offline);
    assert_eq!(bench.waiting(), ["terminate disk"]);
}

/// The same with a stop whose order was lost with its monitor.
#[test]
fn a_lost_stop_is_given_again_after_what_was_made_to_depend_on_it_meanwhile() {
    let mut bench = Bench::new(vec![config("disk", &[]), config("app", &[])]);
    bench.run();
    bench.desire_resource("disk", Desired::Offline);
    bench.monitor_died();
    let depends_on = BTreeSet::from(["disk".into()]);
    bench.apply(vec![Change::SetDependencies { resource: "app".into(), depends_on }]);
    bench.monitor_ready();
    assert_eq!(bench.waiting(), ["offline app"]);
    assert_eq!(carried_out(&mut bench), ["offline app", "offline disk"]);
}

/// Found by the soak (seed 317): what no longer depends on it was waited for as long as it ran, and
/// nothing ever took it down.
#[test]
fn what_stays_online_without_it_is_not_waited_for() {
    let mut bench = Bench::new(vec![config("disk", &[]), config("app", &["disk"])]);
    bench.run();
    let depends_on = BTreeSet::new();
    bench.apply(vec![Change::SetDependencies { resource: "app".into(), depends_on }]);
    bench.desire_resource("disk", Desired::Offline);
    assert_eq!(carried_out(&mut bench), ["offline disk"]);
    assert_eq!(bench.online(), BTreeSet::from(["app".to_owned()]));
}

/// What goes down as well does so first: it was started on it.
#[test]
fn what_was_started_on_it_goes_down_before_it() {
    let mut bench = Bench::new(vec![config("disk", &[]), config("app", &["disk"])]);
    bench.run();
    let depends_on = BTreeSet::new();
    bench.apply(vec![Change::SetDependencies { resource: "app".into(), depends_on }]);
    bench.desire(Desired::Offline);
    assert_eq!(carried_out(&mut bench), ["offline app", "offline disk"]);
}
