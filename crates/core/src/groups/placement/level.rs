//! The last touch to a placement: from the fullest node to others, as long as it becomes less full.
//!
//! Taking the node that would be filled least, one group after the other, is good for many small
//! groups and less so for a few large ones that need several things. Only places that are equal
//! in everything but how full they are are changed for one another, and only by groups that look
//! for a node.

use std::cmp::Reverse;

use super::exchange::Exchange;
use super::judge::share;
use super::layout::Layout;

/// Looks at a group on a node, at most.
const LOOKS_MAX: usize = 12_000;
/// What is gained must be more than this part of how full a node is.
const GAIN: u64 = 10_000;

impl Exchange<'_, '_, '_> {
    /// Makes the fullest node less full, again and again.
    pub(super) fn level(&mut self) {
        self.looks = LOOKS_MAX;
        while self.looks > 0 {
            let all = (0..self.layout.nodes.len() as u16).map(|n| (self.layout.fullness(n), n));
            let Some((full, node)) = all.max_by_key(|(full, n)| (*full, Reverse(*n))) else {
                return;
            };
            let here: Vec<usize> =
                (0..self.movers.len()).filter(|m| self.node(*m) == Some(node)).collect();
            let below = full - full.div_ceil(GAIN);
            if full == 0 || !here.into_iter().any(|m| self.shift(m, below) || self.trade(m, below))
            {
                return;
            }
        }
    }

    /// Whether a group went to another node and neither is as full then.
    fn shift(&mut self, mover: usize, below: u64) -> bool {
        let Some(before) = self.node(mover) else { return false };
        let (group, cost) = (self.movers[mover].group, self.cost);
        self.set(mover, None);
        let now = self.layout.suit(group, before);
        for rank in self.fitting(mover) {
            let node = rank.node();
            if rank.but_for_balance() != now || node == before {
                continue;
            }
            self.set(mover, Some(node));
            let levels = [before, node].into_iter().all(|n| self.layout.fullness(n) <= below);
            if levels && self.cost <= cost && self.holds() {
                return true;
            }
        }
        self.set(mover, Some(before));
        false
    }

    /// Whether a group and one from another node changed places and neither is as full then.
    fn trade(&mut self, mover: usize, below: u64) -> bool {
        let Some(here) = self.node(mover) else { return false };
        let cost = self.cost;
        self.set(mover, None);
        for other in 0..self.movers.len() {
            let Some(there) = self.node(other).filter(|there| *there != here) else { continue };
            if self.looks == 0 {
                break;
            }
            self.looks = self.looks.saturating_sub(1);
            self.set(other, None);
            if self.suits_both((mover, here), (other, there)) {
                self.set(other, Some(here));
                let levels = [here, there].into_iter().all(|n| self.layout.fullness(n) <= below);
                if levels && self.cost <= cost && self.holds() {
                    return true;
                }
            }
            self.set(other, None);
            self.set(mover, None);
            self.set(other, Some(there));
        }
        self.set(mover, Some(here));
        false
    }

    /// Whether two groups that were lifted may each go to the place of the other, and are not
    /// worse there; the first one is there then.
    fn suits_both(&mut self, (mover, here): (usize, u16), (other, there): (usize, u16)) -> bool {
        let alike = |one: usize| {
            let group = self.movers[one].group;
            self.layout.suit(group, here) == self.layout.suit(group, there)
        };
        if !alike(mover) || !alike(other) || !self.fits(mover, there) {
            return false;
        }
        self.set(mover, Some(there));
        self.fits(other, here)
    }
}

impl Layout<'_> {
    /// How full a node is of the unit it is fullest of, in millionths.
    fn fullness(&self, node: u16) -> u64 {
        let room = &self.rooms[usize::from(node)];
        let units = room.limits.iter().zip(&room.used);
        let shares = units.filter_map(|(limit, used)| Some(share(*used, (*limit)?)));
        shares.max().unwrap_or(0)
    }
}
