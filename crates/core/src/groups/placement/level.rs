//! The last touch to a placement: from the fullest node to others, as long as it becomes less full.
//!
//! Taking the node that would be filled least, one group after the other, is good for many small
//! groups and less so for a few large ones that need several things. Only places that are equal
//! in everything but how full they are are changed for one another, and only by groups that look
//! for a node. Most changes make some node too full, which a glance at the sums tells: only the
//! others are tried.

use std::cmp::Reverse;

use super::exchange::{Cost, Exchange};
use super::judge::share;
use super::layout::Layout;

/// Looks at a group on a node, at most, and glances at sums.
const LOOKS_MAX: usize = 60_000;
/// What is gained must be more than this part of how full a node is.
const GAIN: u64 = 10_000;

/// A group on the fullest node that was lifted.
#[derive(Clone, Copy)]
struct Lifted {
    mover: usize,
    group: usize,
    /// Where it was.
    here: u16,
    /// How full nodes may be afterwards.
    below: u64,
    /// What was wrong before.
    cost: Cost,
}

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
            if full == 0 || !here.into_iter().any(|mover| self.relieved(mover, node, below)) {
                return;
            }
        }
    }

    /// Whether a group went elsewhere, alone or for another, and the nodes are not as full then.
    fn relieved(&mut self, mover: usize, here: u16, below: u64) -> bool {
        let group = self.movers[mover].group;
        let lifted = Lifted { mover, group, here, below, cost: self.cost };
        self.set(mover, None);
        let enough = self.layout.fullness(here) <= below;
        let relieved = enough && (self.shift(lifted) || self.trade(lifted));
        if !relieved {
            self.set(mover, Some(here));
        }
        relieved
    }

    /// Whether a group went to another node.
    fn shift(&mut self, lifted: Lifted) -> bool {
        let Lifted { mover, group, here, below, cost } = lifted;
        let now = self.layout.suit(group, here);
        let levels = |layout: &Layout<'_>, node: u16| {
            node != here && layout.fullness_with(node, (None, Some(group))) <= below
        };
        self.looks = self.looks.saturating_sub(self.layout.nodes.len());
        if !(0..self.layout.nodes.len() as u16).any(|node| levels(self.layout, node)) {
            return false;
        }
        for rank in self.fitting(mover) {
            let node = rank.node();
            if rank.but_for_balance() != now || !levels(self.layout, node) {
                continue;
            }
            self.set(mover, Some(node));
            if self.layout.fullness(node) <= below && self.cost <= cost && self.holds() {
                return true;
            }
            self.set(mover, None);
        }
        false
    }

    /// Whether a group and one from another node changed places.
    fn trade(&mut self, lifted: Lifted) -> bool {
        let Lifted { mover, group, here, below, cost } = lifted;
        for other in 0..self.movers.len() {
            let Some(there) = self.node(other).filter(|there| *there != here) else { continue };
            if self.looks == 0 {
                return false;
            }
            self.looks -= 1;
            let comes = self.movers[other].group;
            if self.layout.fullness_with(here, (None, Some(comes))) > below
                || self.layout.fullness_with(there, (Some(comes), Some(group))) > below
            {
                continue;
            }
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
        self.fullness_with(node, (None, None))
    }

    /// The same without one group and with another.
    fn fullness_with(&self, node: u16, (goes, comes): (Option<usize>, Option<usize>)) -> u64 {
        let room = &self.rooms[usize::from(node)];
        let of = |group: Option<usize>, unit: usize| {
            // What runs there counts there, wherever it goes.
            let moves = |group: &usize| self.runs(*group) && self.spots[*group].at != Some(node);
            let needs = group.filter(moves).into_iter().flat_map(|group| self.needs(group));
            needs.filter(|n| usize::from(n.unit) == unit).map(|n| n.amount).sum::<u64>()
        };
        let units = (0..).zip(room.limits.iter().zip(&room.used));
        let shares = units.filter_map(|(unit, (limit, used))| {
            let limit = (*limit)?;
            Some(share((used + of(comes, unit)).saturating_sub(of(goes, unit)), limit))
        });
        shares.max().unwrap_or(0)
    }
}
