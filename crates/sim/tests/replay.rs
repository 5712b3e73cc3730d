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
