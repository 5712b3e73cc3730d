//! Groups by name, for thousands of look-ups within one plan.
//!
//! A table with open addressing over a fixed hash: the same in every run, and a look-up touches
//! one name where a search in a tree touches many.

use stead_model::GroupId;
use stead_model::group::Group;

/// Positions of groups by name.
#[derive(Debug)]
pub(super) struct Names {
    /// Position plus one; zero is free. Its length is a power of two.
    slots: Vec<u32>,
}

impl Names {
    /// Of groups, each at its position.
    pub(super) fn of(groups: &[&Group]) -> Self {
        let length = (groups.len() * 2).next_power_of_two();
        let mut names = Self { slots: vec![0; length] };
        for (position, group) in (1..).zip(groups) {
            let free = names.probe(&group.id).find(|slot| names.slots[*slot] == 0);
            if let Some(slot) = free {
                names.slots[slot] = position;
            }
        }
        names
    }

    /// The position of a name.
    pub(super) fn find(&self, groups: &[&Group], name: &GroupId) -> Option<usize> {
        for slot in self.probe(name) {
            let position = self.slots[slot].checked_sub(1)? as usize;
            if groups[position].id == *name {
                return Some(position);
            }
        }
        None
    }

    /// All slots, those where the name may be first.
    fn probe(&self, name: &GroupId) -> impl Iterator<Item = usize> + use<> {
        let mask = self.slots.len() - 1;
        let first = hash(name.as_str().as_bytes()) as usize;
        (0..=mask).map(move |step| first.wrapping_add(step) & mask)
    }
}

/// FNV-1a, folded: names that differ in the last letter only fall apart in the low bits.
fn hash(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let hash = bytes.iter().fold(OFFSET, |h, b| (h ^ u64::from(*b)).wrapping_mul(PRIME));
    hash ^ (hash >> 32)
}
