//! A short soak is clean, and a planted fault is not.

use stead_core::Fault;
use stead_sim::mutants;
use stead_sim::run;
use stead_sim::soak::{self, Budget, Soak};

#[test]
fn a_short_soak_is_clean() {
    run::silence_panics();
    let first = soak::recorded();
    let budget = Budget::Seeds(40);
    let soak = Soak { from: 1, budget, planted: None, first, threads: 2, keep_going: true };
    let result = soak::soak(&soak, &|_, _| {});
    let broken: Vec<String> =
        result.broken.iter().map(|(seed, v)| format!("seed {seed} breaks {v}")).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(result.tally.acknowledged > 0 && result.tally.starts > 0);
}

#[test]
fn a_core_that_starts_before_the_stop_is_caught() {
    run::silence_panics();
    let hunt = mutants::hunt(Fault::StartBeforeStop, 400, 2);
    assert!(hunt.found.is_some(), "{hunt:?}");
}
