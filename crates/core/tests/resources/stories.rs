//! Stories of one owner: order, restart in place, timeouts, stops that fail, hard stops.

use std::collections::{BTreeMap, BTreeSet};

use stead_model::change::Change;
use stead_model::group::Desired;
use stead_model::order::Outcome;
use stead_model::resource::{Health, ResourcePolicy, ResourceState};
use stead_model::wire::peer::Standing;
use stead_model::{LeaseNumber, NodeId, Span};

use crate::bench::{Bench, GROUP, broke, config};

pub(crate) fn vertical() -> Bench {
    Bench::new(vec![config("ip", &[]), config("name", &["ip"]), config("share", &["name"])])
}

pub(crate) fn running() -> Bench {
    let mut bench = vertical();
    bench.run();
    bench
}

#[test]
fn a_vertical_tree_comes_online_from_the_bottom() {
    let mut bench = vertical();
    for resource in ["ip", "name", "share"] {
        assert_eq!(bench.waiting(), [format!("online {resource}")]);
        assert_eq!(bench.state(resource), ResourceState::OnlinePending);
        bench.answers(resource, Outcome::Online);
    }
    assert!(bench.waiting().is_empty());
    assert_eq!(bench.online().len(), 3);
    assert_eq!(bench.codes(), ["resource-online"; 3]);
}

#[test]
fn it_goes_offline_from_the_top() {
    let mut bench = running();
    bench.desire(Desired::Offline);
    for resource in ["share", "name", "ip"] {
        assert_eq!(bench.waiting(), [format!("offline {resource}")]);
        bench.answers(resource, Outcome::Offline);
    }
    assert!(bench.waiting().is_empty());
    assert_eq!(bench.standing(), Standing::Held, "an offline group stays owned");
}

#[test]
fn siblings_go_in_parallel() {
    let mut bench = Bench::new(vec![config("a", &[]), config("b", &[]), config("c", &["a", "b"])]);
    assert_eq!(bench.waiting(), ["online a", "online b"]);
    bench.answers("b", Outcome::Online);
    assert_eq!(bench.waiting(), ["online a"], "c waits for both");
    bench.answers("a", Outcome::Online);
    assert_eq!(bench.waiting(), ["online c"]);
}

#[test]
fn one_resource_offline_takes_those_above_it_along() {
    let mut bench = running();
    bench.desire_resource("name", Desired::Offline);
    assert_eq!(bench.waiting(), ["offline share"]);
    bench.run();
    assert_eq!(bench.online(), BTreeSet::from(["ip".to_owned()]));
    bench.desire_resource("name", Desired::Online);
    bench.run();
    assert_eq!(bench.online().len(), 3);
}

/// the dependents of a failed resource are cycled in order.
#[test]
fn a_failed_resource_is_restarted_and_its_dependents_follow() {
    let mut bench = vertical();
    let ip = bench.order("ip");
    bench.answer(&ip, Outcome::Online);
    bench.run();
    bench.answer(&ip, broke());
    for expected in ["offline share", "offline name", "online ip", "online name", "online share"] {
        assert_eq!(bench.waiting(), [expected]);
        let order = bench.orders[0].clone();
        bench.orders.clear();
        bench.answer(&order, crate::bench::done(&order.action));
    }
    assert_eq!(bench.online().len(), 3);
    assert_eq!(bench.standing(), Standing::Held);
}

#[test]
fn beyond_its_policy_the_owner_gives_up_and_says_why() {
    let mut bench = vertical();
    for _ in 0..4 {
        bench.answers("ip", broke());
    }
    assert!(bench.waiting().is_empty(), "three restarts and no fourth");
    assert_eq!(bench.state("ip"), ResourceState::Failed);
    assert_eq!(bench.standing(), Standing::GaveUp("resource ip: it broke".into()));
    let codes = ["resource-failed", "resource-failed", "resource-failed", "resource-gave-up"];
    assert_eq!(bench.codes(), codes);
}

#[test]
fn restarts_count_within_a_sliding_window() {
    let mut bench = vertical();
    bench.answers("ip", broke());
    bench.answers("ip", broke());
    bench.pass(Span::from_secs(899));
    bench.answers("ip", broke());
    bench.pass(Span::from_secs(2));
    bench.answers("ip", broke());
    assert_eq!(bench.waiting(), ["online ip"], "the first two left the window");
    for _ in 0..3 {
        bench.answers("ip", broke());
    }
    assert_eq!(bench.state("ip"), ResourceState::Failed, "three restarts within the window");
}

#[test]
fn a_threshold_of_zero_means_no_restart() {
    let policy = ResourcePolicy { restart_threshold: 0, ..ResourcePolicy::default() };
    let mut bench =
        Bench::new(vec![stead_model::resource::ResourceConfig { policy, ..config("ip", &[]) }]);
    bench.answers("ip", broke());
    assert_eq!(bench.state("ip"), ResourceState::Failed);
}

#[test]
fn an_administrator_who_acts_gives_a_new_chance() {
    let mut bench = vertical();
    for _ in 0..4 {
        bench.answers("ip", broke());
    }
    bench.desire(Desired::Online);
    assert_eq!(bench.standing(), Standing::Held);
    bench.run();
    assert_eq!(bench.online().len(), 3);
}

#[test]
fn a_check_that_says_unwell_restarts_the_resource_after_its_dependents() {
    let mut bench = vertical();
    let ip = bench.order("ip");
    bench.answer(&ip, Outcome::Online);
    bench.run();
    bench.answer(&ip, Outcome::Health(Health::Unknown, "the check hung".into()));
    assert!(bench.waiting().is_empty(), "unknown is not failed");
    bench.answer(&ip, Outcome::Health(Health::Bad, "it does not answer".into()));
    assert_eq!(bench.waiting(), ["offline share"]);
    bench.answers("share", Outcome::Offline);
    bench.answers("name", Outcome::Offline);
    assert_eq!(bench.waiting(), ["terminate ip"]);
    bench.answers("ip", Outcome::Offline);
    assert_eq!(bench.waiting(), ["online ip"]);
    assert!(bench.codes().contains(&"resource-unwell"));
}

#[test]
fn a_rehearsed_failure_runs_through_the_same_policy() {
    let mut bench = running();
    bench.fail("share", 9);
    assert!(bench.waiting().is_empty(), "another epoch is not meant");
    bench.fail("share", 1);
    assert_eq!(bench.waiting(), ["terminate share"]);
    bench.run();
    assert_eq!(bench.online().len(), 3);
    assert!(bench.codes().contains(&"resource-failed"));
}

#[test]
fn a_start_that_takes_too_long_is_terminated_and_counts_as_a_failure() {
    let mut bench = vertical();
    assert_eq!(bench.next_deadline(), Span::from_secs(180));
    assert_eq!(bench.waiting(), ["online ip", "terminate ip"]);
    let late = bench.order("ip");
    bench.answer(&late, Outcome::Online);
    assert_eq!(bench.state("ip"), ResourceState::OfflinePending, "the late answer says nothing");
    bench.answers("ip", Outcome::Offline);
    assert_eq!(bench.waiting(), ["online ip"]);
    assert!(bench.notes[0].text.contains("did not come online in time"));
}

#[test]
fn a_stop_that_takes_too_long_is_made_at_once() {
    let mut bench = running();
    bench.desire(Desired::Offline);
    assert_eq!(bench.next_deadline(), Span::from_secs(180));
    assert_eq!(bench.waiting(), ["offline share", "terminate share"]);
}

#[test]
fn a_start_is_waited_for_before_it_is_stopped() {
    let mut bench = vertical();
    bench.release(1);
    assert_eq!(bench.waiting(), ["online ip"], "a stop could overtake the start");
    bench.answers("ip", Outcome::Online);
    assert_eq!(bench.waiting(), ["offline ip"]);
    bench.run();
    assert_eq!(bench.standing(), Standing::Stopped);
}

#[test]
fn what_cannot_be_stopped_is_never_reported_stopped() {
    let mut bench = running();
    bench.release(1);
    let stuck = || Outcome::StopFailed("it hangs in the kernel".into());
    bench.answers("share", stuck());
    assert_eq!((bench.standing(), bench.waiting().len()), (Standing::Held, 0));
    for _ in 0..2 {
        assert_eq!(bench.fences, 0);
        bench.next_deadline();
        assert_eq!(bench.waiting(), ["terminate share"]);
        bench.answers("share", stuck());
    }
    assert_eq!(bench.fences, 1, "it must leave: the node stops everything");
    bench.hard_stop();
    assert_eq!(bench.standing(), Standing::Stopped);
}

#[test]
fn what_failed_and_cannot_be_stopped_is_given_up_and_costs_the_node_when_it_must_leave() {
    let mut bench = running();
    bench.fail("share", 1);
    for _ in 0..3 {
        assert_eq!(bench.standing(), Standing::Held);
        bench.answers("share", Outcome::StopFailed("it hangs in the kernel".into()));
        bench.next_deadline();
    }
    let why = "resource share could not be stopped: it hangs in the kernel";
    assert_eq!((bench.standing(), bench.fences), (Standing::GaveUp(why.into()), 0));
    bench.release(1);
    assert_eq!(bench.fences, 1, "nothing gentle is left to try");
    bench.hard_stop();
    assert_eq!((bench.standing(), bench.fences), (Standing::Stopped, 1));
}

#[test]
fn what_only_the_administrator_wants_stopped_does_not_cost_the_node() {
    let mut bench = running();
    bench.desire_resource("share", Desired::Offline);
    for _ in 0..6 {
        let verb = bench.waiting()[0].clone();
        bench.answers("share", Outcome::StopFailed("it hangs".into()));
        assert!(verb.ends_with("share"));
        bench.next_deadline();
    }
    assert_eq!(bench.fences, 0);
    assert_eq!(bench.state("share"), ResourceState::OfflinePending);
    bench.answers("share", Outcome::Offline);
    assert_eq!(bench.state("share"), ResourceState::Offline);
}

#[test]
fn a_released_group_is_stopped_for_good_in_its_epoch() {
    let mut bench = running();
    bench.release(1);
    bench.run();
    assert_eq!(bench.standing(), Standing::Stopped);
    bench.desire(Desired::Online);
    bench.hard_stop();
    bench.lease(2);
    assert!(bench.waiting().is_empty(), "final for the epoch (R8)");
    bench.grant(2);
    assert_eq!(bench.waiting(), ["online ip"], "a new epoch is a new life");
}

#[test]
fn a_group_that_went_elsewhere_is_taken_offline_and_forgotten() {
    let mut bench = running();
    bench.grant_to(NodeId(2), 2);
    bench.run();
    assert!(bench.holdings.groups().is_empty());
    assert!(bench.codes().ends_with(&["group-stopped"]));
}

#[test]
fn without_a_lease_nothing_is_ordered() {
    let mut bench = vertical();
    bench.orders.clear();
    bench.hard_stop();
    bench.sync();
    assert!(bench.waiting().is_empty());
    assert_eq!(bench.holdings.next_deadline(), None);
    bench.lease(1);
    assert!(bench.waiting().is_empty(), "the lease of before the hard stop does not count");
    bench.lease(2);
    assert_eq!(bench.waiting(), ["online ip"], "the same epoch goes on under a new lease");
    assert_eq!(bench.orders[0].lease.0, 2);
}

#[test]
fn during_a_hard_stop_nothing_is_ordered_even_under_a_new_lease() {
    let mut bench = running();
    let (now, lease) = (bench.now, LeaseNumber(1));
    assert!(bench.holdings.hard_stop_began(now, lease).is_empty());
    bench.lease(2);
    assert!(bench.waiting().is_empty());
    assert_eq!(bench.online().len(), 3, "what runs is not known stopped before it is done");
    bench.holdings.hard_stop_done(now, lease);
    bench.lease(3);
    assert!(bench.waiting().is_empty(), "the old monitor is gone, the new one not there yet");
    bench.monitor_ready();
    assert_eq!(bench.waiting(), ["online ip"]);
}

#[test]
fn a_refused_start_is_tried_again_only_under_a_newer_lease() {
    let mut bench = vertical();
    bench.answers("ip", Outcome::Refused("lease over".into()));
    assert_eq!(bench.state("ip"), ResourceState::Offline);
    bench.sync();
    assert!(bench.waiting().is_empty());
    bench.lease(2);
    assert_eq!(bench.waiting(), ["online ip"]);
}

#[test]
fn a_monitor_that_dies_takes_nothing_along() {
    let mut bench = vertical();
    bench.answers("ip", Outcome::Online);
    bench.monitor_died();
    assert_eq!(bench.state("ip"), ResourceState::Online);
    assert_eq!(bench.report().resources[0].health, Health::Unknown);
    bench.monitor_ready();
    assert_eq!(bench.waiting(), ["adopt ip"]);
    bench.answers("ip", Outcome::Online);
    assert_eq!(bench.waiting(), ["online name"], "the lost order is given again");
    bench.run();
    assert_eq!(bench.online().len(), 3);
}

#[test]
fn changed_properties_cycle_the_resource_in_order() {
    let mut bench = running();
    let properties = BTreeMap::from([("online-delay".to_owned(), "5ms".to_owned())]);
    let policy = ResourcePolicy::default();
    let resource = "name".into();
    bench.apply(vec![Change::SetResource { resource, properties, policy, possible_owners: None }]);
    assert_eq!(bench.waiting(), ["offline share"]);
    bench.answers("share", Outcome::Offline);
    assert_eq!(bench.waiting(), ["offline name"]);
    bench.run();
    assert_eq!(bench.online().len(), 3);
}

#[test]
fn changed_intervals_are_told_to_the_monitor_without_a_stop() {
    let mut bench = running();
    let policy = ResourcePolicy { looks_alive_ms: 50, ..ResourcePolicy::default() };
    let (resource, properties) = ("name".into(), BTreeMap::new());
    bench.apply(vec![Change::SetResource { resource, properties, policy, possible_owners: None }]);
    assert_eq!(bench.waiting(), ["adopt name"]);
    bench.run();
    assert!(bench.waiting().is_empty());
}

/// A probe is attached to what runs: the monitor is told, and nothing stops.
#[test]
fn a_changed_probe_is_told_to_the_monitor_without_a_stop() {
    let mut bench = running();
    let policy = ResourcePolicy::default();
    for properties in [BTreeMap::from([("probe".to_owned(), "tcp:80".to_owned())]), BTreeMap::new()]
    {
        let (resource, policy) = ("name".into(), policy.clone());
        let change = Change::SetResource { resource, properties, policy, possible_owners: None };
        bench.apply(vec![change]);
        assert_eq!(bench.waiting(), ["adopt name"]);
        bench.run();
        assert_eq!(bench.online().len(), 3);
    }
}

#[test]
fn a_deleted_resource_is_taken_offline_and_forgotten() {
    let mut bench = running();
    bench.apply(vec![Change::DeleteResource { resource: "share".into() }]);
    assert_eq!(bench.waiting(), ["offline share"]);
    bench.run();
    assert_eq!(bench.report().resources.len(), 2);
}

#[test]
fn a_new_dependency_on_something_offline_cycles_what_stands_on_it() {
    let mut bench = running();
    bench.apply(vec![
        Change::CreateResource { group: GROUP.into(), resource: config("disk", &[]) },
        Change::SetDependencies { resource: "ip".into(), depends_on: ["disk".into()].into() },
    ]);
    assert_eq!(bench.waiting(), ["offline share"], "disk waits until nothing stands on it");
    bench.run();
    assert_eq!(bench.online().len(), 4);
}
