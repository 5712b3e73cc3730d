//! Where every group is and goes, what is left on each node, and which groups are tied: worked
//! out once per plan, kept up while groups are placed.
//!
//! Groups and nodes are numbered by their names, so that nothing is searched for and nothing is
//! copied while thousands of groups look for a node. A group that moves counts on both nodes: it
//! still runs on the one and will run on the other.

use std::collections::BTreeSet;

use stead_model::amounts::{Amounts, CPU, MEMORY};
use stead_model::group::Group;
use stead_model::wire::peer::{GroupReport, Standing};
use stead_model::{GroupId, NodeId};

use super::super::PlanInput;
use super::names::Names;
use crate::db::shall_run;
use crate::planted::Fault;

/// Where all groups are, and what is left.
#[derive(Debug)]
pub struct Layout<'a> {
    pub(super) input: &'a PlanInput<'a>,
    pub(super) groups: Vec<&'a Group>,
    pub(super) nodes: Vec<NodeId>,
    pub(super) spots: Vec<Spot>,
    pub(super) rooms: Vec<Room>,
    pub(super) units: Vec<&'a str>,
    reports: Vec<Option<&'a GroupReport>>,
    needs: Listed<Need>,
    ties: Listed<(u32, Tie)>,
    names: Names,
}

/// Where a group is.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Spot {
    /// The node on which it may run: its owner, unless it is known stopped.
    pub(super) at: Option<u16>,
    /// The node it goes to.
    pub(super) to: Option<u16>,
}

/// What is on a node, and how much of each unit it has.
#[derive(Clone, Debug)]
pub(super) struct Room {
    /// Groups it owns or will own.
    pub(super) owned: u32,
    /// By unit, what it has for groups; `None`: it is not limited.
    pub(super) limits: Vec<Option<u64>>,
    /// By unit, what groups need that are there or on their way.
    pub(super) used: Vec<u64>,
}

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
struct Listed<T> {
    starts: Vec<u32>,
    all: Vec<T>,
}

impl<T> Listed<T> {
    fn of(&self, group: usize) -> &[T] {
        &self.all[self.starts[group] as usize..self.starts[group + 1] as usize]
    }
}

impl<'a> Layout<'a> {
    /// Of the database and the reports of an input.
    #[must_use]
    pub fn new(input: &'a PlanInput<'a>) -> Self {
        let groups: Vec<&Group> = input.db.groups().values().collect();
        let nodes: Vec<NodeId> = input.nodes.keys().copied().collect();
        let names = Names::of(&groups);
        let units = units(input, &groups);
        let reports = reports(input, &groups, &nodes);
        let rooms = nodes.iter().map(|node| room(input, *node, &units)).collect();
        let mut layout = Self {
            needs: needs(&groups, &units),
            ties: ties(&groups, &names),
            spots: vec![Spot::default(); groups.len()],
            input,
            groups,
            nodes,
            rooms,
            units,
            reports,
            names,
        };
        layout.settle();
        layout
    }

    /// Puts every group where the database and its owner say that it is.
    fn settle(&mut self) {
        for group in 0..self.groups.len() {
            let Some(owned) = &self.groups[group].ownership else { continue };
            let Some(owner) = self.number(owned.node) else { continue };
            let live = self.input.nodes.get(&owned.node);
            let reported = self.reports[group].map(|report| &report.standing);
            let stopped = live.is_some_and(|live| live.stopped);
            let to = owned.release.as_ref().and_then(|release| self.number(release.to?));
            self.rooms[usize::from(owner)].owned += 1;
            if !stopped && reported != Some(&Standing::Stopped) {
                self.spots[group].at = Some(owner);
                self.fill(group, owner);
            }
            if let Some(to) = to {
                self.put(group, to);
            }
        }
    }

    /// Sends a group to a node: from now on it counts there.
    pub(super) fn put(&mut self, group: usize, node: u16) {
        self.lift(group);
        self.spots[group].to = Some(node);
        if self.spots[group].at != Some(node) {
            self.rooms[usize::from(node)].owned += 1;
            self.fill(group, node);
        }
    }

    /// Takes back where a group was sent.
    pub(super) fn lift(&mut self, group: usize) {
        let Spot { at, to } = self.spots[group];
        self.spots[group].to = None;
        let Some(node) = to.filter(|to| at != Some(*to)) else { return };
        self.rooms[usize::from(node)].owned -= 1;
        if shall_run(self.groups[group]) {
            for need in self.needs.of(group) {
                self.rooms[usize::from(node)].used[usize::from(need.unit)] -= need.amount;
            }
        }
    }

    fn fill(&mut self, group: usize, node: u16) {
        if shall_run(self.groups[group]) {
            for need in self.needs.of(group) {
                self.rooms[usize::from(node)].used[usize::from(need.unit)] += need.amount;
            }
        }
    }

    /// Sends a group to a node by its name.
    pub(in super::super) fn send(&mut self, group: usize, node: NodeId) {
        if let Some(node) = self.number(node) {
            self.put(group, node);
        }
    }

    /// What it is the layout of.
    pub(in super::super) const fn input(&self) -> &'a PlanInput<'a> {
        self.input
    }

    /// All groups, by name.
    pub(in super::super) fn groups(&self) -> &[&'a Group] {
        &self.groups
    }

    /// The number of a group.
    pub(in super::super) fn find(&self, name: &GroupId) -> Option<usize> {
        self.names.find(&self.groups, name)
    }

    /// What the owner of a group reports about its present epoch (R8).
    pub(in super::super) fn reported(&self, group: usize) -> Option<&'a GroupReport> {
        self.reports[group]
    }

    /// The node on which a group may run, and the one it goes to.
    pub(in super::super) fn places(&self, group: usize) -> (Option<NodeId>, Option<NodeId>) {
        let Spot { at, to } = self.spots[group];
        let node = |number: u16| self.nodes[usize::from(number)];
        (at.map(node), to.map(node))
    }

    /// Groups that a group is tied to.
    pub(in super::super) fn ties(&self, group: usize) -> impl Iterator<Item = (usize, Tie)> + '_ {
        self.ties.of(group).iter().map(|(other, tie)| (*other as usize, *tie))
    }

    /// Whether a required rule between groups is about this one.
    pub(in super::super) fn is_bound(&self, group: usize) -> bool {
        let bound = |(_, tie): &(u32, Tie)| match tie {
            Tie::NearRequired | Tie::AwayRequired => true,
            Tie::Near | Tie::Away => false,
        };
        self.ties.of(group).iter().any(bound)
    }

    /// Groups that only run where this one does, and those that only run where they do; without
    /// the group itself.
    pub(in super::super) fn company(&self, group: usize) -> Vec<usize> {
        let near = |of: usize| {
            let ties = self.ties.of(of).iter().filter(|(_, tie)| *tie == Tie::NearRequired);
            ties.map(|(other, _)| *other as usize)
        };
        let mut found: Vec<usize> = near(group).collect();
        let mut next = 0;
        while let Some(member) = found.get(next).copied() {
            let more: Vec<usize> =
                near(member).filter(|o| *o != group && !found.contains(o)).collect();
            found.extend(more);
            next += 1;
        }
        found
    }

    pub(super) fn needs(&self, group: usize) -> &[Need] {
        self.needs.of(group)
    }

    pub(in super::super) fn number(&self, node: NodeId) -> Option<u16> {
        self.nodes.binary_search(&node).ok().and_then(|at| u16::try_from(at).ok())
    }
}

/// What owners report about the present epochs. Groups and reports come in the order of names, so
/// each report is gone through once.
fn reports<'a>(
    input: &'a PlanInput<'a>,
    groups: &[&'a Group],
    nodes: &[NodeId],
) -> Vec<Option<&'a GroupReport>> {
    let any_epoch = input.planted.has(Fault::OfflineWithoutEpoch);
    let sorted = |node: &NodeId| {
        let report = input.nodes.get(node).and_then(|live| live.report);
        let mut all: Vec<&GroupReport> = report.iter().flat_map(|r| &r.groups).collect();
        all.sort_by(|a, b| a.group.cmp(&b.group));
        all
    };
    let sorted: Vec<Vec<&GroupReport>> = nodes.iter().map(sorted).collect();
    let mut next = vec![0_usize; nodes.len()];
    let find = |group: &&'a Group| {
        let owned = group.ownership.as_ref()?;
        let node = nodes.binary_search(&owned.node).ok()?;
        let (all, next) = (&sorted[node], &mut next[node]);
        while all.get(*next).is_some_and(|report| report.group < group.id) {
            *next += 1;
        }
        let own = all[*next..].iter().take_while(|report| report.group == group.id);
        own.copied().find(|report| report.epoch == owned.epoch || any_epoch)
    };
    groups.iter().map(find).collect()
}

fn units<'a>(input: &'a PlanInput<'a>, groups: &[&'a Group]) -> Vec<&'a str> {
    let mut units: BTreeSet<&str> = BTreeSet::new();
    for room in input.db.rooms().values() {
        units.extend(room.capacity.iter().map(|(unit, _)| unit));
    }
    for group in groups {
        units.extend(group.policy.rules.demands().map(|(unit, _)| unit));
    }
    units.into_iter().collect()
}

/// A node that does not say how much processor time or memory it has is not limited in it; of
/// any other unit it has none.
fn room(input: &PlanInput<'_>, node: NodeId, units: &[&str]) -> Room {
    let declared = input.db.rooms().get(&node);
    let left = |unit: &&str| {
        let has = declared.and_then(|room| room.capacity.get(unit));
        let local = declared.map_or(0, |room| room.local_use(unit));
        match *unit {
            CPU | MEMORY => has.map(|has| has.saturating_sub(local)),
            _ => Some(has.unwrap_or(0).saturating_sub(local)),
        }
    };
    let limits = units.iter().map(left).collect();
    Room { owned: 0, limits, used: vec![0; units.len()] }
}

fn needs(groups: &[&Group], units: &[&str]) -> Listed<Need> {
    let mut listed = Listed { starts: Vec::with_capacity(groups.len() + 1), all: Vec::new() };
    for group in groups {
        listed.starts.push(listed.all.len() as u32);
        let rules = &group.policy.rules;
        let mut push = |amounts: &Amounts, required| {
            let need = |(unit, amount): (&str, u64)| {
                let unit = units.binary_search(&unit).ok()? as u16;
                Some(Need { unit, amount, required })
            };
            listed.all.extend(amounts.iter().filter_map(need));
        };
        push(&rules.demand, false);
        push(&rules.demand_required, true);
    }
    listed.starts.push(listed.all.len() as u32);
    listed
}

fn ties(groups: &[&Group], names: &Names) -> Listed<(u32, Tie)> {
    let mut all: Vec<(u32, u32, Tie)> = Vec::new();
    for (from, group) in (0..).zip(groups) {
        let rules = &group.policy.rules;
        let lists = [
            (&rules.affinity.required, Tie::NearRequired),
            (&rules.affinity.preferred, Tie::Near),
            (&rules.anti_affinity.required, Tie::AwayRequired),
            (&rules.anti_affinity.preferred, Tie::Away),
        ];
        for (list, tie) in lists {
            for to in list.iter().filter_map(|name| names.find(groups, name)) {
                all.extend([(from, to as u32, tie), (to as u32, from, tie)]);
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    let mut starts = Vec::with_capacity(groups.len() + 1);
    let mut next = 0;
    for group in 0..groups.len() as u32 {
        starts.push(next as u32);
        while all.get(next).is_some_and(|(from, ..)| *from == group) {
            next += 1;
        }
    }
    starts.push(next as u32);
    Listed { starts, all: all.into_iter().map(|(_, to, tie)| (to, tie)).collect() }
}
