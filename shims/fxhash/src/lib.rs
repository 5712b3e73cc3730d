//! The one hasher that `raft` 0.7 takes from the crate `fxhash`.
//!
//! Why: `fxhash` is unmaintained (RUSTSEC-2025-0057), and `raft` needs no more of it than a
//! default hasher for maps keyed by node id. The hash has no random start, so the order in which
//! `raft` walks its maps, and with it the order of its messages, is the same in every run of the
//! simulator.
//!
//! Refuses: it does not resist keys chosen to collide. Keys here are node ids and read contexts
//! that the cluster makes itself.

use std::hash::Hasher;

/// Start value and odd factor: the fractional bits of the golden ratio.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A hasher without random state: equal input gives equal output in every process.
#[derive(Debug, Clone, Default)]
pub struct FxHasher {
    state: u64,
}

impl FxHasher {
    fn mix(&mut self, word: u64) {
        let sum = (self.state ^ word).wrapping_add(GOLDEN);
        let product = sum.wrapping_mul(GOLDEN | 1);
        self.state = product ^ (product >> 29);
    }
}

impl Hasher for FxHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
        self.mix(bytes.len() as u64);
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn finish(&self) -> u64 {
        self.state.wrapping_mul(GOLDEN | 1) ^ (self.state >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::FxHasher;
    use std::collections::BTreeSet;
    use std::hash::{BuildHasher, BuildHasherDefault};

    fn hash(value: impl std::hash::Hash) -> u64 {
        BuildHasherDefault::<FxHasher>::default().hash_one(value)
    }

    #[test]
    fn node_ids_spread_over_low_and_high_bits() {
        let hashes: Vec<u64> = (0..1024_u64).map(hash).collect();
        let low: BTreeSet<u64> = hashes.iter().map(|h| h & 0xFF).collect();
        let high: BTreeSet<u64> = hashes.iter().map(|h| h >> 57).collect();
        assert!(low.len() > 200, "{}", low.len());
        assert!(high.len() > 100, "{}", high.len());
        assert_eq!(hashes.iter().collect::<BTreeSet<_>>().len(), 1024);
    }

    #[test]
    fn zero_padding_and_splits_do_not_collide() {
        assert_ne!(hash([1_u8, 0].as_slice()), hash([1_u8].as_slice()));
        assert_ne!(hash(("ab", "c")), hash(("a", "bc")));
    }

    #[test]
    fn the_hash_is_the_same_in_every_process() {
        assert_eq!(hash(1_u64), PINNED_HASH_OF_ONE);
    }

    /// Taken from a run; a change reorders messages in recorded simulator runs.
    const PINNED_HASH_OF_ONE: u64 = 0x48AF_B07D_A835_5443;
}
