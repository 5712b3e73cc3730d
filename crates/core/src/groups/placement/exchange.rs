//! Groups that found no node, or one with too little, and what an exchange of places makes of it.
//!
//! Steps that each make the whole better come first; for few groups a search follows that finds
//! whatever there is to find. Both are bounded by a number of looks at a group on a node, so that
//! a plan never takes long. In the end the nodes are levelled (`level`). Only groups that look for
//! a node change places: what runs stays.

use stead_model::rules::Priority;

use super::judge::{Rank, lacking};
use super::layout::Layout;

/// What is wrong with an assignment: smaller is better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Cost {
    /// Groups without a node, the priorities like digits.
    waiting: u128,
    /// Groups on nodes in quarantine, where they failed lately, or away from where they are pinned.
    misplaced: u32,
    /// What nodes lack, in millionths.
    lacks: u64,
}

const NOTHING_WRONG: Cost = Cost { waiting: 0, misplaced: 0, lacks: 0 };

/// Looks at a group on a node, at most, of the steps and of each search.
const LOOKS_MAX: usize = 40_000;
/// Groups for which everything is tried.
const SEARCHED_MAX: usize = 12;

/// A group that may change its place.
pub(super) struct Mover {
    /// Its place in the answer.
    at: usize,
    pub(super) group: usize,
    /// The node it leaves.
    except: Option<u16>,
    /// What it counts for while it waits.
    weight: u128,
}

/// Makes an assignment better where it is bad.
pub(super) struct Exchange<'l, 'a, 'g> {
    pub(super) layout: &'l mut Layout<'a>,
    pub(super) movers: Vec<Mover>,
    given: &'g mut [Option<u16>],
    pub(super) cost: Cost,
    pub(super) looks: usize,
}

/// What a search is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aim {
    /// Every group on a node that has enough.
    Perfect,
    /// As little wrong as can be.
    Least,
}

impl<'l, 'a, 'g> Exchange<'l, 'a, 'g> {
    /// Of groups with their place in `given` and the node they leave, in the order of placing.
    pub(super) fn new(
        layout: &'l mut Layout<'a>,
        movers: &[(usize, usize, Option<u16>)],
        given: &'g mut [Option<u16>],
    ) -> Self {
        // Whoever has no node even in an empty cluster cannot be helped here.
        let helps =
            |m: &&(usize, usize, Option<u16>)| given[m.0].is_some() || layout.could_run(m.1, m.2);
        let movers: Vec<_> = movers.iter().filter(helps).copied().collect();
        let weights = weights(layout, &movers);
        let movers = movers.into_iter().zip(weights);
        let mover = |((at, group, except), weight)| Mover { at, group, except, weight };
        let movers: Vec<Mover> = movers.map(mover).collect();
        let mut cost = NOTHING_WRONG;
        for mover in &movers {
            match given[mover.at] {
                None => cost.waiting += mover.weight,
                Some(node) => cost.misplaced += layout.misplaces(mover.group, node),
            }
        }
        cost.lacks = (0..layout.nodes.len() as u16).map(|node| layout.lacks(node)).sum();
        Self { layout, movers, given, cost, looks: 0 }
    }

    /// Does what there is to do.
    pub(super) fn run(mut self) {
        if self.movers.is_empty() {
            return;
        }
        if self.cost != NOTHING_WRONG {
            self.mend();
        }
        self.level();
    }

    fn mend(&mut self) {
        self.looks = LOOKS_MAX;
        self.steps();
        let few = self.movers.len() <= SEARCHED_MAX;
        for aim in [Aim::Perfect, Aim::Least] {
            if few && self.cost != NOTHING_WRONG {
                self.looks = LOOKS_MAX;
                self.search(aim);
            }
        }
    }

    pub(super) fn node(&self, mover: usize) -> Option<u16> {
        self.given[self.movers[mover].at]
    }

    pub(super) fn set(&mut self, mover: usize, node: Option<u16>) {
        let Mover { at, group, weight, .. } = self.movers[mover];
        let before = self.given[at];
        if before == node {
            return;
        }
        match before {
            Some(before) => {
                let lacked = self.layout.lacks(before);
                self.cost.misplaced -= self.layout.misplaces(group, before);
                self.layout.lift(group);
                self.cost.lacks -= lacked - self.layout.lacks(before);
            }
            None => self.cost.waiting -= weight,
        }
        match node {
            Some(node) => {
                let lacked = self.layout.lacks(node);
                self.cost.misplaced += self.layout.misplaces(group, node);
                self.layout.put(group, node);
                self.cost.lacks += self.layout.lacks(node) - lacked;
            }
            None => self.cost.waiting += weight,
        }
        self.given[at] = node;
    }

    pub(super) fn fitting(&mut self, mover: usize) -> Vec<Rank> {
        self.looks = self.looks.saturating_sub(self.layout.nodes.len());
        self.layout.fitting(self.movers[mover].group, self.movers[mover].except)
    }

    pub(super) fn fits(&mut self, mover: usize, node: u16) -> bool {
        self.looks = self.looks.saturating_sub(1);
        let Mover { group, except, .. } = self.movers[mover];
        let party = self.layout.party(group, except);
        Some(node) != except && self.layout.bar_of(group, node, &party).is_none()
    }

    /// One group after the other: to a node where it is better, or in the place of another that
    /// finds a new one.
    fn steps(&mut self) {
        let mut again = true;
        while again {
            again = false;
            for mover in 0..self.movers.len() {
                let suffers = self.node(mover).is_none_or(|node| self.layout.lacks(node) > 0);
                if self.looks == 0 || self.cost == NOTHING_WRONG {
                    return;
                }
                again |= suffers && self.relieve(mover);
            }
        }
    }

    /// Whether moving it, or it and one other, made the whole better.
    fn relieve(&mut self, mover: usize) -> bool {
        let (before, best) = (self.node(mover), self.cost);
        self.set(mover, None);
        for rank in self.fitting(mover) {
            self.set(mover, Some(rank.node()));
            if self.cost < best && self.holds() {
                return true;
            }
        }
        self.set(mover, None);
        for other in (0..self.movers.len()).filter(|other| *other != mover) {
            if self.looks == 0 {
                break;
            }
            let there = self.node(other).filter(|there| Some(*there) != before);
            if there.is_some_and(|there| self.swap((mover, other), there, best)) {
                return true;
            }
        }
        self.set(mover, before);
        false
    }

    /// Whether it is better in the place of another that finds a new one.
    fn swap(&mut self, (mover, other): (usize, usize), there: u16, best: Cost) -> bool {
        self.set(other, None);
        if self.fits(mover, there) {
            self.set(mover, Some(there));
            for rank in self.fitting(other) {
                self.set(other, Some(rank.node()));
                if self.cost < best && self.holds() {
                    return true;
                }
            }
            self.set(other, None);
            self.set(mover, None);
        }
        self.set(other, Some(there));
        false
    }

    /// Whether no required rule between groups is broken: what was placed first may have relied on
    /// another place of what was moved.
    pub(super) fn holds(&mut self) -> bool {
        self.looks = self.looks.saturating_sub(self.movers.len());
        self.movers.iter().all(|mover| {
            let party = self.layout.party(mover.group, mover.except);
            let barred = |node| self.layout.rules_bar(mover.group, node, &party).is_some();
            !self.given[mover.at].is_some_and(barred)
        })
    }

    /// Tries everything, the best looking first, and leaves a way that cannot become better.
    fn search(&mut self, aim: Aim) {
        let found = |this: &Self| (0..this.movers.len()).map(|m| this.node(m)).collect::<Vec<_>>();
        let mut kept = (self.cost, found(self));
        for mover in 0..self.movers.len() {
            self.set(mover, None);
        }
        self.descend(0, aim, &mut kept);
        for (mover, node) in kept.1.into_iter().enumerate() {
            self.set(mover, node);
        }
    }

    fn descend(&mut self, mover: usize, aim: Aim, kept: &mut (Cost, Vec<Option<u16>>)) {
        let later: u128 = self.movers[mover..].iter().map(|m| m.weight).sum();
        let least = Cost { waiting: self.cost.waiting - later, ..self.cost };
        let hopeless = match aim {
            Aim::Perfect => least.waiting > 0 || least.lacks > 0,
            Aim::Least => false,
        };
        if self.looks == 0 || hopeless || least >= kept.0 {
            return;
        }
        if mover == self.movers.len() {
            if self.holds() {
                *kept = (self.cost, (0..mover).map(|m| self.node(m)).collect());
            }
            return;
        }
        for rank in self.fitting(mover) {
            self.set(mover, Some(rank.node()));
            self.descend(mover + 1, aim, kept);
        }
        self.set(mover, None);
        self.descend(mover + 1, aim, kept);
    }
}

/// One of a higher priority counts for more than all of the lower ones; where there are more
/// priorities than digits the lowest share one.
fn weights(layout: &Layout<'_>, movers: &[(usize, usize, Option<u16>)]) -> Vec<u128> {
    let priority = |group: usize| layout.groups[group].policy.rules.priority;
    let mut levels: Vec<Priority> = movers.iter().map(|(_, group, _)| priority(*group)).collect();
    levels.sort_unstable();
    levels.dedup();
    let bits = usize::BITS - movers.len().leading_zeros();
    let digits = (u128::BITS / bits.max(1)) as usize - 1;
    let shared = levels.len().saturating_sub(digits);
    let weight = |(_, group, _): &(usize, usize, Option<u16>)| {
        let level = levels.partition_point(|level| *level < priority(*group));
        1_u128 << (level.saturating_sub(shared) as u32 * bits)
    };
    movers.iter().map(weight).collect()
}

impl Layout<'_> {
    /// What a node lacks.
    fn lacks(&self, node: u16) -> u64 {
        let room = &self.rooms[usize::from(node)];
        let units = room.limits.iter().zip(&room.used);
        units.filter_map(|(limit, used)| Some(lacking(*used, (*limit)?))).sum()
    }

    fn misplaces(&self, group: usize, node: u16) -> u32 {
        let (whole, id) = (self.groups[group], self.nodes[usize::from(node)]);
        let pinned = self.input.db.upkeep().pin(&whole.id);
        let failed = super::failures(self.input, whole, id);
        let calm = !self.input.db.upkeep().quarantined().contains_key(&id);
        let other =
            u32::from(pinned.is_some_and(|pinned| pinned != id)) + u32::from(failed.is_some());
        // Worse than both others together.
        if calm { other } else { other + 3 }
    }

    /// Whether a node may own the group and takes groups now, whatever else is there.
    fn could_run(&self, group: usize, except: Option<u16>) -> bool {
        let whole = self.groups[group];
        let takes = |(number, node): (u16, &stead_model::NodeId)| {
            Some(number) != except
                && self.rooms[usize::from(number)].shut.is_none()
                && super::excluding(whole, *node).is_none()
        };
        self.runs(group) && (0..).zip(&self.nodes).any(takes)
    }
}
