//! R9: what a restarted node service does with what the guard still runs.

use stead_model::group::Desired;
use stead_model::order::Outcome;
use stead_model::wire::peer::Standing;
use stead_model::{Epoch, NodeId};

use crate::bench::{Bench, ME, broke, config, database, guard};

fn resources() -> Vec<stead_model::resource::ResourceConfig> {
    vec![config("ip", &[]), config("httpd", &["ip"])]
}

/// A service that starts on a node where this runs, in epoch 1 of the group.
fn restarted(running: &[&str]) -> Bench {
    let admitted: Vec<_> = running.iter().map(|r| (*r, 1)).collect();
    let mut bench = Bench::starting(database(resources()), &guard(&admitted, 4));
    bench.sync();
    bench.monitor_ready();
    assert!(bench.waiting().is_empty(), "nothing is ordered without a lease of its own");
    bench
}

#[test]
fn all_that_runs_is_adopted_and_nothing_moves() {
    let mut bench = restarted(&["ip", "httpd"]);
    bench.lease(4);
    assert!(bench.waiting().is_empty(), "the lease of the earlier service does not count");
    bench.lease(5);
    assert_eq!(bench.waiting(), ["adopt httpd", "adopt ip"]);
    bench.run();
    assert_eq!((bench.online().len(), bench.standing()), (2, Standing::Held));
}

#[test]
fn with_something_to_start_while_part_runs_it_needs_an_epoch() {
    let mut bench = restarted(&["ip"]);
    bench.lease(5);
    assert_eq!(bench.waiting(), ["adopt ip"], "nothing is started on the old epoch");
    bench.run();
    assert_eq!(bench.standing(), Standing::NeedsEpoch);
    bench.grant(2);
    assert_eq!(bench.waiting(), ["online httpd", "adopt ip"]);
    assert!(bench.orders.iter().all(|o| o.epoch == Epoch(2)), "carried into the new epoch");
    bench.run();
    assert_eq!((bench.online().len(), bench.standing()), (2, Standing::Held));
}

#[test]
fn with_nothing_running_the_old_epoch_is_over() {
    let mut bench = restarted(&[]);
    assert_eq!(bench.standing(), Standing::Stopped, "known without any lease");
    bench.lease(5);
    assert!(bench.waiting().is_empty());
    bench.grant(2);
    bench.run();
    assert_eq!(bench.online().len(), 2);
}

#[test]
fn an_offline_group_is_simply_held() {
    let mut bench = restarted(&[]);
    let mut offline = restarted(&["ip", "httpd"]);
    offline.desire(Desired::Offline);
    offline.lease(5);
    offline.run();
    assert_eq!((offline.online().len(), offline.standing()), (0, Standing::Held));
    bench.desire(Desired::Offline);
    assert_eq!(bench.standing(), Standing::Stopped, "final once it was said");
}

#[test]
fn an_adopted_resource_that_fails_is_not_restarted_on_the_old_epoch() {
    let mut bench = restarted(&["ip", "httpd"]);
    bench.lease(5);
    let httpd = bench.order("httpd");
    bench.answer(&httpd, Outcome::Online);
    bench.run();
    bench.answer(&httpd, broke());
    assert_eq!((bench.standing(), bench.waiting().len()), (Standing::NeedsEpoch, 0));
}

#[test]
fn an_entry_the_earlier_service_may_have_seen_is_old_even_if_it_is_applied_later() {
    let mut full = database(resources());
    let mut bench = Bench::starting(full.clone(), &guard(&[], 4));
    // The commit index was forgotten: the database starts empty, the log does not.
    bench.db = stead_core::db::Db::default();
    bench.monitor_ready();
    bench.lease(5);
    std::mem::swap(&mut bench.db, &mut full);
    bench.sync();
    assert_eq!(bench.standing(), Standing::Stopped);
    assert!(bench.waiting().is_empty());
}

#[test]
fn what_belongs_to_nobody_here_is_taken_offline() {
    let mut db = database(resources());
    let why = String::new();
    let entry = |changes| stead_model::change::Entry {
        at: stead_model::UtcMillis(0),
        request: None,
        why: String::new(),
        changes,
    };
    let (group, node, epoch) = ("web".into(), NodeId(2), Epoch(2));
    let change = stead_model::change::Change::Grant { group, node, epoch, why };
    db.apply(db.applied().next(), &entry(vec![change]));
    let mut bench = Bench::starting(db, &guard(&[("ip", 1), ("httpd", 1)], 4));
    bench.monitor_ready();
    bench.lease(5);
    assert_eq!(bench.waiting(), ["offline httpd"]);
    bench.run();
    assert!(bench.holdings.groups().is_empty());
}

#[test]
fn what_runs_under_an_epoch_the_database_does_not_know_yet_is_left_alone() {
    let mut bench = Bench::starting(database(resources()), &guard(&[("ip", 2)], 4));
    bench.monitor_ready();
    bench.lease(5);
    assert!(bench.waiting().is_empty());
    assert_eq!(bench.report().epoch, Epoch(2));
    bench.grant_to(ME, 2);
    assert_eq!(bench.waiting(), ["adopt ip"]);
    bench.answers("ip", Outcome::Online);
    assert_eq!(bench.waiting(), ["online httpd"]);
}

/// What is being adopted may turn out to be gone.
#[test]
fn nothing_is_started_on_a_resource_before_its_adoption_is_confirmed() {
    let mut bench = restarted(&["ip"]);
    bench.lease(5);
    bench.grant(2);
    assert_eq!(bench.waiting(), ["adopt ip", "adopt ip"], "once for each epoch");
    bench.order("ip");
    bench.answers("ip", broke());
    assert_eq!(bench.waiting(), ["online ip"]);
    bench.answers("ip", Outcome::Online);
    assert_eq!(bench.waiting(), ["online httpd"]);
}
