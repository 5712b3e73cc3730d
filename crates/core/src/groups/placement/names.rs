//! Groups by name, for thousands of look-ups within one plan.
//!
//! A table with open addressing over a fixed hash: the same in every run. The beginnings of all
//! names lie side by side, so that a look-up touches no group and, unless the name is long, not
//! the text of the one that is found.

use stead_model::GroupId;

/// Positions of groups by name.
#[derive(Debug)]
pub(super) struct Names<'a> {
    all: Vec<&'a GroupId>,
    heads: Vec<Head>,
    /// Position plus one; zero is free. Its length is a power of two.
    slots: Vec<u32>,
}

/// Bytes of a name that are compared first.
const HEAD_BYTES: usize = 24;

/// How a name begins, with zeros for what it has not, and how long it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Head([u64; HEAD_BYTES / 8], usize);

impl<'a> Names<'a> {
    /// Of groups, each at its position.
    pub(super) fn of(all: impl Iterator<Item = &'a GroupId>) -> Self {
        let all: Vec<&GroupId> = all.collect();
        let heads: Vec<Head> = all.iter().map(|name| Head::of(name)).collect();
        let length = (all.len() * 2).next_power_of_two();
        let mut slots = vec![0; length];
        for (position, head) in (1..).zip(&heads) {
            if let Some(slot) = head.probe(length).find(|slot| slots[*slot] == 0) {
                slots[slot] = position;
            }
        }
        Self { all, heads, slots }
    }

    /// The position of a name.
    pub(super) fn find(&self, name: &GroupId) -> Option<usize> {
        let head = Head::of(name);
        for slot in head.probe(self.slots.len()) {
            let position = self.slots[slot].checked_sub(1)? as usize;
            let alike = self.heads[position] == head;
            if alike && (head.is_all() || self.all[position] == name) {
                return Some(position);
            }
        }
        None
    }
}

impl Head {
    fn of(name: &GroupId) -> Self {
        let name = name.as_str().as_bytes();
        let mut bytes = [0; HEAD_BYTES];
        let length = name.len().min(HEAD_BYTES);
        bytes[..length].copy_from_slice(&name[..length]);
        let mut words = [0; HEAD_BYTES / 8];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self(words, name.len())
    }

    /// Whether it is the whole name.
    const fn is_all(self) -> bool {
        self.1 <= HEAD_BYTES
    }

    /// All slots of so many, a power of two, those where the name may be first.
    fn probe(self, slots: usize) -> impl Iterator<Item = usize> {
        let mask = slots - 1;
        let first = self.hash() as usize;
        (0..slots).map(move |step| first.wrapping_add(step) & mask)
    }

    /// Folded: names that differ in the last letter only fall apart in the low bits.
    fn hash(self) -> u64 {
        const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
        self.0.iter().fold(self.1 as u64, |hash, word| {
            let hash = (hash ^ word).wrapping_mul(PRIME);
            hash ^ (hash >> 32)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of all lengths around that of a head, many with the same head.
    fn name(number: usize) -> GroupId {
        format!("{}-{number}", "a-long-beginning-of-names".repeat(number % 3)).as_str().into()
    }

    #[test]
    fn every_name_is_found_where_it_is_and_no_other() {
        let all: Vec<GroupId> = (0..1_000).map(name).chain(["".into(), "x".into()]).collect();
        let names = Names::of(all.iter());
        for (position, name) in all.iter().enumerate() {
            assert_eq!(names.find(name), Some(position), "{name}");
        }
        for number in 1_000..2_000 {
            assert_eq!(names.find(&name(number)), None);
        }
        assert_eq!(Names::of(std::iter::empty()).find(&name(1)), None);
    }
}
