//! A resource whose own monitor dies (A-092, B2 SeparateMonitor).

use stead_model::order::Outcome;
use stead_model::resource::{Health, ResourceState};

use crate::bench::Bench;
use crate::stories::{running, vertical};

fn is_adopted(bench: &mut Bench, resource: &str) {
    assert_eq!(bench.waiting(), [format!("adopt {resource}")]);
    bench.answers(resource, Outcome::Online);
}

/// Unknown is not failed: what runs goes on, and nobody waits for the next monitor.
#[test]
fn what_runs_is_adopted_and_the_others_are_untouched() {
    let mut bench = running();
    for _ in 0..20 {
        bench.own_monitor_died("name");
        assert_eq!(bench.state("name"), ResourceState::Online);
        let healths: Vec<Health> = bench.report().resources.iter().map(|r| r.health).collect();
        assert!(healths.contains(&Health::Unknown), "{healths:?}");
        is_adopted(&mut bench, "name");
    }
    assert_eq!(bench.online().len(), 3);
    assert!(bench.waiting().is_empty());
}

/// A type that kills its monitor whenever it is started shall not do so for ever.
#[test]
fn a_start_that_kills_its_monitor_has_failed() {
    let mut bench = vertical();
    for number in 1..=4 {
        assert_eq!(bench.waiting(), ["online ip"], "start {number}");
        bench.own_monitor_died("ip");
        // Something of it may act already.
        assert_eq!(bench.waiting(), ["terminate ip"]);
        bench.answers("ip", Outcome::Offline);
    }
    assert_eq!(bench.state("ip"), ResourceState::Failed);
    let why = bench.report().resources.iter().find_map(|r| r.detail.clone()).unwrap_or_default();
    assert!(why.contains("its monitor died while it was being started"), "{why}");
}

#[test]
fn a_stop_that_kills_its_monitor_goes_on_without_its_type() {
    let mut bench = running();
    bench.desire_resource("share", stead_model::group::Desired::Offline);
    assert_eq!(bench.waiting(), ["offline share"]);
    bench.own_monitor_died("share");
    assert_eq!(bench.waiting(), ["terminate share"]);
    bench.own_monitor_died("share");
    assert_eq!(bench.waiting(), ["terminate share"]);
    bench.answers("share", Outcome::Offline);
    assert_eq!(bench.state("share"), ResourceState::Offline);
}

#[test]
fn what_is_down_has_nothing_to_lose() {
    let mut bench = vertical();
    bench.own_monitor_died("share");
    bench.own_monitor_died("no-such-resource");
    assert_eq!(bench.waiting(), ["online ip"]);
    bench.run();
    assert_eq!(bench.online().len(), 3);
}
