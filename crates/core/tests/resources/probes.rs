//! When a type is told to look for a stranger: at a first start, and before a planned move, never
//! in a failover.

use stead_core::resources::Found;
use stead_model::change::Change;
use stead_model::group::Desired;
use stead_model::order::Outcome;
use stead_model::{LeaseNumber, NodeId};

use crate::bench::{Bench, GROUP, broke, config};

fn bench() -> Bench {
    Bench::new(vec![config("ip", &[])])
}

fn give_another_address(bench: &mut Bench) {
    bench.apply(vec![Change::SetResource {
        resource: "ip".into(),
        properties: [("address".to_owned(), "10.0.0.9/24".to_owned())].into(),
        policy: config("ip", &[]).policy,
        possible_owners: None,
    }]);
}

#[test]
fn a_new_resource_is_started_for_the_first_time_once() {
    let mut bench = bench();
    assert!(bench.is_first("ip"));
    bench.answers("ip", broke());
    assert!(bench.is_first("ip"), "it never was online");
    let order = bench.order("ip");
    bench.answer(&order, Outcome::Online);
    bench.answer(&order, broke());
    assert!(!bench.is_first("ip"), "a restart in place is no first start");
}

#[test]
fn a_failover_asks_nobody() {
    let mut bench = Bench::starting(bench().db, &crate::bench::guard(&[], 0));
    bench.monitor_ready();
    bench.lease(1);
    bench.grant_to(NodeId(9), 2);
    bench.grant(3);
    assert!(!bench.is_first("ip"));
}

#[test]
fn what_is_made_or_changed_in_a_later_epoch_is_new_in_that_epoch() {
    let mut bench = bench();
    bench.run();
    bench.grant(2);
    bench.run();
    bench.apply(vec![Change::CreateResource { group: GROUP.into(), resource: config("web", &[]) }]);
    assert!(bench.is_first("web"));
    bench.run();
    give_another_address(&mut bench);
    bench.answers("ip", Outcome::Offline);
    assert!(bench.is_first("ip"), "another address was never online");
    bench.run();
    bench.grant(3);
    bench.run();
    bench.desire_resource("ip", Desired::Offline);
    bench.run();
    bench.desire_resource("ip", Desired::Online);
    assert!(!bench.is_first("ip"), "it was online here with this address");
}

#[test]
fn a_probe_is_answered_when_all_that_shall_run_was_looked_at() {
    let mut bench = Bench::new(vec![config("ip", &[]), config("web", &["ip"])]);
    bench.run();
    bench.grant_to(NodeId(9), 2);
    bench.run();
    let asked = bench.probe(1);
    assert_eq!(bench.waiting(), ["probe ip", "probe web"]);
    bench.answers("ip", Outcome::Free);
    assert!(bench.found.is_empty());
    bench.answers("web", Outcome::Free);
    assert_eq!(bench.found, [Found { asked, taken: None }]);
    let asked = bench.probe(2);
    bench.answers("ip", Outcome::Taken("a stranger has it".into()));
    let taken = Some("resource `ip`: a stranger has it".to_owned());
    assert_eq!(bench.found[1], Found { asked, taken });
}

#[test]
fn a_node_that_cannot_look_says_so_at_once() {
    let mut bench = bench();
    bench.run();
    bench.grant_to(NodeId(9), 2);
    bench.run();
    bench.monitor_died();
    let asked = bench.probe(1);
    assert_eq!(bench.found, [Found { asked, taken: None }]);
    bench.monitor_ready();
    bench.desire(Desired::Offline);
    let asked = bench.probe(2);
    assert_eq!(bench.found[1], Found { asked, taken: None }, "nothing shall run");
    assert_eq!(bench.lease, Some(LeaseNumber(1)));
    assert!(bench.waiting().is_empty());
}
