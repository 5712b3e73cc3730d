//! A group of a thousand resources costs per event what the event changes: counted, not timed.

use stead_model::Span;
use stead_model::order::Outcome;

use crate::bench::{Bench, config};

const MANY: usize = 1000;

fn name(number: usize) -> String {
    format!("r{number:04}")
}

/// A thousand resources that depend on nothing; all are ordered online at once.
fn many() -> Bench {
    Bench::new((0..MANY).map(|number| config(&name(number), &[])).collect())
}

/// How many resources were looked at since.
fn looks(bench: &Bench, before: u64) -> u64 {
    bench.holdings.looks() - before
}

#[test]
fn each_answer_is_one_look() {
    let mut bench = many();
    assert_eq!(bench.orders.len(), MANY);
    for number in 0..MANY {
        let before = bench.holdings.looks();
        bench.answers(&name(number), Outcome::Online);
        assert!(looks(&bench, before) <= 2, "{number}: {}", looks(&bench, before));
    }
    assert_eq!(bench.online().len(), MANY);
}

#[test]
fn renewed_leases_and_passing_time_look_at_nothing() {
    let mut bench = many();
    bench.run();
    let before = bench.holdings.looks();
    for number in 2..100 {
        bench.pass(Span::from_millis(200));
        bench.lease(number);
    }
    assert_eq!(looks(&bench, before), 0);
    assert_eq!(bench.holdings.next_deadline(), None);
}

#[test]
fn a_failure_is_looked_at_with_what_stands_on_it_and_no_further() {
    // A hundred towers of ten.
    let tower = |number: usize| match number % 10 {
        0 => config(&name(number), &[]),
        _ => config(&name(number), &[&name(number - 1)]),
    };
    let mut bench = Bench::new((0..MANY).map(tower).collect());
    bench.run();
    assert_eq!(bench.online().len(), MANY);
    let before = bench.holdings.looks();
    bench.fail(&name(500), 1);
    bench.run();
    assert_eq!(bench.online().len(), MANY, "all of the tower is up again");
    // Ten stops and ten starts, each with what is next to it.
    assert!(looks(&bench, before) <= 200, "{}", looks(&bench, before));
}

#[test]
fn a_changed_property_of_one_group_costs_nothing_in_another() {
    let mut bench = many();
    bench.run();
    let before = bench.holdings.looks();
    bench.apply(vec![stead_model::change::Change::CreateGroup {
        group: "other".into(),
        policy: stead_model::group::GroupPolicy::default(),
    }]);
    assert_eq!(looks(&bench, before), 0);
}
