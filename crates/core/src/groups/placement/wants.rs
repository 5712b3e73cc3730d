//! What groups need and which of them are tied, by number: gathered from their rules in one walk.

use std::collections::BTreeMap;

use stead_model::group::Group;
use stead_model::rules::Rules;

use super::super::PlanInput;
use super::names::Names;

/// What a group needs of one unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    pub(super) unit: u16,
    pub(super) amount: u64,
    pub(super) required: bool,
}

/// How two groups are tied to each other, whichever of them says so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in super::super) enum Tie {
    /// They only run on the same node.
    NearRequired,
    /// They are placed on the same node, if it can be.
    Near,
    /// They never run on the same node.
    AwayRequired,
    /// They are kept apart, if it can be.
    Away,
}

/// A list for each group, all in one.
#[derive(Debug)]
pub(super) struct Listed<T> {
    starts: Vec<u32>,
    all: Vec<T>,
}

impl<T> Listed<T> {
    fn with_room(groups: usize, all: usize) -> Self {
        let mut starts = Vec::with_capacity(groups + 1);
        starts.push(0);
        Self { starts, all: Vec::with_capacity(all) }
    }

    /// What was added since then is the list of the next group.
    fn close(&mut self) {
        self.starts.push(self.all.len() as u32);
    }

    pub(super) fn of(&self, group: usize) -> &[T] {
        &self.all[self.starts[group] as usize..self.starts[group + 1] as usize]
    }
}

/// What all groups need and how they are tied.
pub(super) struct Wants<'a> {
    /// Names of the units by number.
    pub(super) units: Vec<&'a str>,
    pub(super) needs: Listed<Need>,
    /// Both ways, each by number of the other.
    pub(super) ties: Listed<(u32, Tie)>,
}

impl<'a> Wants<'a> {
    pub(super) fn of(input: &'a PlanInput<'a>, groups: &[&'a Group], names: &Names<'_>) -> Self {
        let mut units = Units::default();
        for room in input.db.rooms().values() {
            for (unit, _) in room.capacity.iter() {
                units.number(unit);
            }
        }
        let demands = groups.iter().map(|group| group.demands().size_hint().0);
        let mut needs = Listed::with_room(groups.len(), demands.sum());
        let mut pairs: Vec<(u32, u32, Tie)> = Vec::new();
        for (from, group) in (0..).zip(groups) {
            let rules: &'a Rules = &group.policy.rules;
            let mut push = |(unit, amount), required| {
                needs.all.push(Need { unit: units.number(unit), amount, required });
            };
            rules.demand.iter().chain(group.measured()).for_each(|need| push(need, false));
            rules.demand_required.iter().for_each(|need| push(need, true));
            needs.close();
            let lists = [
                (&rules.affinity.required, Tie::NearRequired),
                (&rules.affinity.preferred, Tie::Near),
                (&rules.anti_affinity.required, Tie::AwayRequired),
                (&rules.anti_affinity.preferred, Tie::Away),
            ];
            for (list, tie) in lists {
                let others = list.iter().filter_map(|name| names.find(name));
                pairs.extend(others.map(|to| (from, to as u32, tie)));
            }
        }
        Self { units: units.names, needs, ties: both_ways(groups.len(), &pairs) }
    }
}

/// Units in the order in which they were met.
#[derive(Default)]
struct Units<'a> {
    names: Vec<&'a str>,
    numbers: BTreeMap<&'a str, u16>,
}

impl<'a> Units<'a> {
    fn number(&mut self, unit: &'a str) -> u16 {
        if let Some(number) = self.numbers.get(unit) {
            return *number;
        }
        let number = self.names.len() as u16;
        self.names.push(unit);
        self.numbers.insert(unit, number);
        number
    }
}

/// Each pair on both sides, sorted, and once if both groups name each other.
fn both_ways(groups: usize, pairs: &[(u32, u32, Tie)]) -> Listed<(u32, Tie)> {
    let sides =
        || pairs.iter().flat_map(|(one, two, tie)| [(*one, *two, *tie), (*two, *one, *tie)]);
    let mut next = vec![0_u32; groups + 1];
    for (from, ..) in sides() {
        next[from as usize + 1] += 1;
    }
    for group in 0..groups {
        next[group + 1] += next[group];
    }
    let mut all = vec![(0, Tie::Near); pairs.len() * 2];
    for (from, to, tie) in sides() {
        let at = &mut next[from as usize];
        all[*at as usize] = (to, tie);
        *at += 1;
    }
    // Where the next one of a group would go is where those of the group after it begin.
    let mut ties = Listed::with_room(groups, all.len());
    let mut start = 0;
    for end in next.into_iter().take(groups) {
        let own = &mut all[start..end as usize];
        own.sort_unstable();
        ties.all.extend(own.chunk_by(|a, b| a == b).map(|same| same[0]));
        ties.close();
        start = end as usize;
    }
    ties
}
