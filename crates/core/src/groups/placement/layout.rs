//! Where every group is and goes, what is left on each node, and which groups are tied: worked
//! out once per plan, kept up while groups are placed.
//!
//! Groups and nodes are numbered by their names, so that nothing is searched for and nothing is
//! copied while thousands of groups look for a node. A group that moves counts on both nodes: it
//! still runs on the one and will run on the other.

use std::collections::BTreeMap;
use std::fmt;

use stead_model::amounts::{CPU, MEMORY};
use stead_model::group::Group;
use stead_model::network::{Interface, Stand};
use stead_model::resource::ResourceConfig;
use stead_model::wire::peer::{GroupReport, Standing};
use stead_model::{Epoch, GroupId, NodeId, ResourceId};

use super::super::{NodeLive, PlanInput};
use super::names::Names;
use super::wants::{Listed, Need, Tie, Wants};
use crate::db::{networks, shall_run, tree};
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
    lives: Vec<NodeLive<'a>>,
    members: Vec<Member>,
    reports: Vec<Option<&'a GroupReport>>,
    needs: Listed<Need>,
    ties: Listed<(u32, Tie)>,
    names: Names<'a>,
    lost: BTreeMap<(usize, u16), Lost<'a>>,
}

/// An address of a group that no interface of a node works for.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Lost<'a> {
    pub(in super::super) resource: &'a ResourceId,
    pub(in super::super) interface: &'a Interface,
    pub(in super::super) stand: Stand,
}

/// What is looked at of every group, side by side: thousands of groups are far apart in memory.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// Whether it shall run.
    runs: bool,
    /// Its owner, if that is a node of the cluster.
    owner: Option<u16>,
    /// The node that its owner gives it to.
    to: Option<u16>,
    /// Of its ownership.
    epoch: Epoch,
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
    /// Why it is given no groups.
    pub(super) shut: Option<Shut>,
}

/// Why a node is given no groups, whichever they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shut {
    /// It is not up, or may not be given groups.
    Down,
    /// It is paused.
    Paused,
}

impl fmt::Display for Lost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, which address `{}` needs,", self.interface, self.resource)
    }
}

impl<'a> Layout<'a> {
    /// Of the database and the reports of an input.
    #[must_use]
    pub fn new(input: &'a PlanInput<'a>) -> Self {
        let groups: Vec<&Group> = input.db.groups().values().collect();
        let nodes: Vec<NodeId> = input.nodes.keys().copied().collect();
        let names = Names::of(input.db.groups().keys());
        let members: Vec<Member> = groups.iter().map(|group| Member::of(group, &nodes)).collect();
        let Wants { units, needs, ties } = Wants::of(input, &groups, &names);
        let rooms = nodes.iter().map(|node| room(input, *node, &units)).collect();
        let mut layout = Self {
            lost: lost(input, &groups),
            reports: reports(input, &members, &names),
            members,
            lives: input.nodes.values().copied().collect(),
            spots: vec![Spot::default(); groups.len()],
            input,
            groups,
            nodes,
            rooms,
            units,
            needs,
            ties,
            names,
        };
        layout.settle();
        layout
    }

    /// Puts every group where the database and its owner say that it is.
    fn settle(&mut self) {
        for group in 0..self.groups.len() {
            let Member { owner: Some(owner), to, .. } = self.members[group] else { continue };
            let stopped = self.lives[usize::from(owner)].stopped;
            let reported = self.reports[group].map(|report| &report.standing);
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

    /// An address of a group that no interface of a node works for.
    pub(in super::super) fn lost(&self, group: usize, node: u16) -> Option<Lost<'a>> {
        self.lost.get(&(group, node)).copied()
    }

    /// Takes back where a group was sent.
    pub(super) fn lift(&mut self, group: usize) {
        let Spot { at, to } = self.spots[group];
        self.spots[group].to = None;
        let Some(node) = to.filter(|to| at != Some(*to)) else { return };
        let room = &mut self.rooms[usize::from(node)];
        room.owned -= 1;
        if self.members[group].runs {
            for need in self.needs.of(group) {
                room.used[usize::from(need.unit)] -= need.amount;
            }
        }
    }

    fn fill(&mut self, group: usize, node: u16) {
        if self.members[group].runs {
            let room = &mut self.rooms[usize::from(node)];
            for need in self.needs.of(group) {
                room.used[usize::from(need.unit)] += need.amount;
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

    /// Whether a group shall run.
    pub(in super::super) fn runs(&self, group: usize) -> bool {
        self.members[group].runs
    }

    /// What is known of the owner of a group, if that is a node of the cluster.
    pub(in super::super) fn owner(&self, group: usize) -> Option<NodeLive<'a>> {
        self.members[group].owner.map(|owner| self.lives[usize::from(owner)])
    }

    /// The number of a group.
    pub(in super::super) fn find(&self, name: &GroupId) -> Option<usize> {
        self.names.find(name)
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
        number(&self.nodes, node)
    }
}

impl Member {
    fn of(group: &Group, nodes: &[NodeId]) -> Self {
        let owned = group.ownership.as_ref();
        let owner = owned.and_then(|owned| number(nodes, owned.node));
        let to = owned.and_then(|owned| number(nodes, owned.release.as_ref()?.to?));
        let epoch = owned.map_or(group.epoch_last, |owned| owned.epoch);
        Self { runs: shall_run(group), owner, to, epoch }
    }
}

fn number(nodes: &[NodeId], node: NodeId) -> Option<u16> {
    nodes.binary_search(&node).ok().and_then(|at| u16::try_from(at).ok())
}

/// What owners report about the present epochs.
fn reports<'a>(
    input: &'a PlanInput<'a>,
    members: &[Member],
    names: &Names<'_>,
) -> Vec<Option<&'a GroupReport>> {
    let any_epoch = input.planted.has(Fault::OfflineWithoutEpoch);
    let mut reports = vec![None; members.len()];
    for (node, live) in (0..).zip(input.nodes.values()) {
        for report in live.report.iter().flat_map(|report| &report.groups) {
            let Some(group) = names.find(&report.group) else { continue };
            let Member { owner, epoch, .. } = members[group];
            let present = owner == Some(node) && (epoch == report.epoch || any_epoch);
            if present && reports[group].is_none() {
                reports[group] = Some(report);
            }
        }
    }
    reports
}

/// Where groups cannot be reached; nothing is looked at while all interfaces work.
fn lost<'a>(input: &'a PlanInput<'a>, groups: &[&'a Group]) -> BTreeMap<(usize, u16), Lost<'a>> {
    let mut all = BTreeMap::new();
    for (node, live) in (0..).zip(input.nodes.values()) {
        let told = live.report.map_or(&[][..], |report| &report.interfaces);
        if told.iter().all(|told| told.stand == Stand::Works) {
            continue;
        }
        for (number, group) in groups.iter().enumerate() {
            let wanted = tree::wanted(&group.resources);
            let of = |resource: &'a ResourceConfig| {
                let told = told.iter().map(|told| (&told.interface, told.stand));
                let counts = resource.policy.affects_group && wanted.contains(&resource.id);
                let (interface, stand) = networks::lost_on(resource, told).filter(|_| counts)?;
                Some(Lost { resource: &resource.id, interface, stand })
            };
            // One that is dead says more than one that wavers.
            let found = group.resources.values().filter_map(of);
            if let Some(lost) = found.max_by_key(|lost| lost.stand == Stand::Dead) {
                all.insert((number, node), lost);
            }
        }
    }
    all
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
    let shut = match input.db.upkeep().paused(node) {
        _ if !input.is_eligible(node) => Some(Shut::Down),
        Some(_) => Some(Shut::Paused),
        None => None,
    };
    Room { owned: 0, limits, used: vec![0; units.len()], shut }
}
