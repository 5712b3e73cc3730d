//! Which datagrams of a peer were seen already: the same one arrives once per network.

use stead_model::Incarnation;

/// A window of the last 128 sequence numbers of one life of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Window {
    life: Incarnation,
    highest: u64,
    /// Bit `n` stands for `highest - n`.
    seen: u128,
}

impl Window {
    /// Whether a datagram is new; it is marked as seen. Numbers below the window count as seen.
    pub(crate) fn is_new(&mut self, life: Incarnation, sequence: u64) -> bool {
        if self.life != life || self.seen == 0 {
            *self = Self { life, highest: sequence, seen: 1 };
            return true;
        }
        if sequence > self.highest {
            let ahead = sequence - self.highest;
            self.seen = if ahead < 128 { self.seen << ahead | 1 } else { 1 };
            self.highest = sequence;
            return true;
        }
        let behind = self.highest - sequence;
        let bit = if behind < 128 { 1u128 << behind } else { return false };
        let new = self.seen & bit == 0;
        self.seen |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_seen_once_in_any_order() {
        let mut window = Window::default();
        let life = Incarnation(7);
        let order = [5, 5, 7, 6, 6, 7, 400, 399, 7, 273, 272];
        let new: Vec<_> = order.iter().map(|n| window.is_new(life, *n)).collect();
        let expected = [true, false, true, true, false, false, true, true, false, true, false];
        assert_eq!(new, expected);
    }

    #[test]
    fn a_new_life_starts_over() {
        let mut window = Window::default();
        assert!(window.is_new(Incarnation(1), 900));
        assert!(window.is_new(Incarnation(2), 1));
        assert!(!window.is_new(Incarnation(2), 1));
    }
}
