//! Several groups that look for a node at once.
//!
//! Each takes its best node, in the order of priority and, among equals, those first that must
//! find room, and then the one that needs most. That is near the best there is while there is
//! room; where there is too little of it, places are exchanged (`exchange`).

use std::cmp::Reverse;

use stead_model::NodeId;

use super::exchange::Exchange;
use super::judge::share;
use super::layout::Layout;
use super::wants::Need;

/// A group that looks for a node.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Seeker {
    /// The group.
    pub(in super::super) group: usize,
    /// A node that it leaves.
    pub(in super::super) except: Option<NodeId>,
    /// The node it takes if nothing bars it.
    pub(in super::super) first: Option<NodeId>,
}

impl Layout<'_> {
    /// A node for each, or none; they are sent there.
    pub(in super::super) fn assign(&mut self, seekers: &[Seeker]) -> Vec<Option<NodeId>> {
        let mut given: Vec<Option<u16>> = vec![None; seekers.len()];
        let mut open: Vec<usize> = Vec::new();
        for (at, seeker) in seekers.iter().enumerate() {
            let first = seeker.first.filter(|node| self.bar(seeker.group, *node).is_none());
            match first.and_then(|node| self.number(node)) {
                Some(node) => {
                    self.put(seeker.group, node);
                    given[at] = Some(node);
                }
                None => open.push(at),
            }
        }
        let averages = self.averages();
        let urgency = |at: &usize| {
            let group = seekers[*at].group;
            let rules = &self.groups[group].policy.rules;
            let size = self.size(group, &averages);
            (rules.priority, !rules.demand_required.is_empty(), size, Reverse(*at))
        };
        let mut order: Vec<_> = open.iter().map(urgency).collect();
        order.sort_unstable_by(|a, b| b.cmp(a));
        let order: Vec<usize> = order.into_iter().map(|(.., Reverse(at))| at).collect();
        for &at in &order {
            let Seeker { group, except, .. } = seekers[at];
            let except = except.and_then(|node| self.number(node));
            self.lift(group);
            given[at] = self.best_of(group, except);
            if let Some(node) = given[at] {
                self.put(group, node);
            }
        }
        let movers = order.iter().map(|at| (*at, seekers[*at].group, seekers[*at].except));
        let movers =
            movers.map(|(at, group, except)| (at, group, except.and_then(|n| self.number(n))));
        let movers: Vec<_> = movers.collect();
        Exchange::new(self, &movers, &mut given).run();
        given.into_iter().map(|node| Some(self.nodes[usize::from(node?)])).collect()
    }

    /// By unit, what a node that is limited has on average.
    fn averages(&self) -> Vec<Option<u64>> {
        let average = |unit: usize| {
            let limits = self.rooms.iter().filter_map(|room| room.limits[unit]);
            let (sum, count) =
                limits.fold((0_u64, 0_u64), |(s, c), l| (s.saturating_add(l), c + 1));
            sum.checked_div(count)
        };
        (0..self.units.len()).map(average).collect()
    }

    /// How much a group needs of what a node has on average, in millionths.
    fn size(&self, group: usize, averages: &[Option<u64>]) -> u64 {
        let of = |need: &Need| {
            let average = averages[usize::from(need.unit)];
            average.map_or(0, |average| share(need.amount, average.max(1)))
        };
        self.needs(group).iter().map(of).max().unwrap_or(0)
    }
}
