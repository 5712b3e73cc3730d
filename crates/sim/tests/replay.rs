//! A seed is a whole history: it replays bit-identically, whatever is kept of it as text.

use stead_sim::run;
use stead_sim::trace::Detail;

#[test]
fn a_seed_replays_bit_identically() {
    run::silence_panics();
    let mut hashes = Vec::new();
    for seed in 1..=12 {
        let plain = run::seed(seed, None, Detail::Hash);
        let told = run::seed(seed, None, Detail::Full);
        assert_eq!(plain.hash, told.hash, "seed {seed}: reading it changed it");
        assert_eq!(plain.tally, told.tally, "seed {seed}");
        assert_eq!(plain.ended_at, told.ended_at, "seed {seed}");
        assert!(!told.lines.is_empty() && plain.lines.is_empty());
        hashes.push(plain.hash);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 12, "different seeds make different histories");
}

/// Its clients fill the database to the limit while logs are compacted and adopted.
#[test]
fn a_full_database_stops_nothing() {
    run::silence_panics();
    let outcome = run::seed(5578, None, Detail::Full);
    let refused = outcome.lines.iter().filter(|line| line.contains("the cluster database is full"));
    assert!(refused.count() > 10, "another world: find a seed whose database gets full");
    assert!(outcome.violation.is_none(), "{:?}", outcome.violation);
}
