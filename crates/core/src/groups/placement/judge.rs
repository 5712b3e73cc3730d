//! One group and one node: what bars the node, and how good it is.

use std::fmt::{self, Write};

use stead_model::amounts::written;
use stead_model::group::Group;
use stead_model::{GroupId, NodeId, ResourceId};

use super::layout::{Layout, Lost, Shut, Spot};
use super::wants::{Need, Tie};
use super::{Candidate, Fit, excluding, failures};

/// What keeps a group from a node now.
#[derive(Clone, Debug)]
pub(crate) enum Bar<'a> {
    /// The node is not a possible owner of a resource.
    NotOwner(NodeId, &'a ResourceId),
    /// It is not up.
    Down(NodeId),
    /// It is paused.
    Paused(NodeId),
    /// Its interface for an address of the group does not work.
    Unplugged(NodeId, Lost<'a>),
    /// A group is there that must not run beside it.
    Beside(&'a GroupId),
    /// A group is elsewhere that it must run beside.
    Without(&'a GroupId, NodeId),
    /// Too little of a unit is left.
    Full { unit: &'a str, needs: u64, left: u64 },
    /// A group that must run beside it cannot.
    Company(&'a GroupId, Box<Self>),
}

impl Bar<'_> {
    /// What kind of place this makes of the node.
    pub(super) const fn fit(&self) -> Fit {
        match self {
            Self::NotOwner(..) => Fit::Excluded,
            Self::Down(_) | Self::Paused(_) | Self::Unplugged(..) => Fit::Unavailable,
            Self::Beside(_) | Self::Without(..) | Self::Full { .. } | Self::Company(..) => {
                Fit::Barred
            }
        }
    }
}

impl fmt::Display for Bar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOwner(node, resource) => {
                write!(f, "`{node}` is not a possible owner of resource `{resource}`")
            }
            Self::Down(node) => write!(f, "{node} is not up or may not be given groups"),
            Self::Paused(node) => write!(f, "{node} is paused: it is given no groups"),
            Self::Unplugged(node, lost) => write!(f, "{lost} on {node}"),
            Self::Beside(other) => {
                write!(f, "required anti-affinity with `{other}`, which is there")
            }
            Self::Without(other, node) => {
                write!(f, "required affinity with `{other}`, which is on {node}")
            }
            Self::Full { unit, needs, left } => {
                let (needs, left) = (written(unit, *needs), written(unit, *left));
                write!(f, "not enough {unit}: it needs {needs}, {left} is left")
            }
            Self::Company(other, why) => write!(f, "`{other}` must come along: {why}"),
        }
    }
}

/// Groups that a group only runs beside.
#[derive(Clone, Default, Debug)]
pub(super) struct Party {
    /// Those that run already, with the node.
    anchors: Vec<(usize, u16)>,
    /// Those that will come along.
    members: Vec<usize>,
}

/// Smaller is better, from the first field on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Rank {
    but_for_balance: Suit,
    /// How full the node would be, in millionths, of what the group needs.
    fill: u64,
    owned: u32,
    node: u16,
}

/// All of a rank but how much else is on the node: smaller is better, from the first field on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Suit {
    /// The node is in quarantine.
    quarantined: bool,
    /// It is pinned to another node.
    elsewhere: bool,
    /// How late it failed there; 0: it did not.
    failed: usize,
    /// By how much the node would lack more than now, in millionths of what it has.
    lacks: u64,
    /// Groups there that it is kept away from.
    beside: usize,
    /// Groups elsewhere that it is kept beside.
    apart: usize,
    /// Position among the preferred owners.
    preference: usize,
}

impl Rank {
    pub(super) const fn node(&self) -> u16 {
        self.node
    }

    pub(super) const fn but_for_balance(&self) -> Suit {
        self.but_for_balance
    }
}

impl<'a> Layout<'a> {
    /// All nodes as places for a group, the best first.
    #[must_use]
    pub fn candidates(&self, id: &GroupId) -> Vec<Candidate> {
        let Some(group) = self.find(id) else { return Vec::new() };
        let party = self.party(group, self.spots[group].at);
        let judged = (0..).zip(&self.nodes).map(|(number, node)| {
            let (fit, why) = match self.bar_of(group, number, &party) {
                Some(bar) => (bar.fit(), bar.to_string()),
                None => (Fit::Possible, self.describe(group, number)),
            };
            (fit, self.rank(group, number), Candidate { node: *node, fit, why })
        });
        let mut judged: Vec<_> = judged.collect();
        judged.sort_by_key(|(fit, rank, _)| (*fit, *rank));
        judged.into_iter().map(|(_, _, candidate)| candidate).collect()
    }

    /// The best node that is not `except`. Groups on that node that only run beside this one are
    /// taken to come along.
    #[must_use]
    pub fn best(&self, id: &GroupId, except: Option<NodeId>) -> Option<NodeId> {
        let except = except.and_then(|node| self.number(node));
        let found = self.best_of(self.find(id)?, except)?;
        Some(self.nodes[usize::from(found)])
    }

    /// What keeps a group from a node now, if it leaves its present one.
    pub(in super::super) fn bar(&self, group: usize, node: NodeId) -> Option<Bar<'a>> {
        let Some(number) = self.number(node) else { return Some(Bar::Down(node)) };
        let party = self.party(group, self.spots[group].at);
        self.bar_of(group, number, &party)
    }

    pub(super) fn best_of(&self, group: usize, except: Option<u16>) -> Option<u16> {
        let party = self.party(group, except);
        let numbers = (0..self.nodes.len() as u16).filter(|node| Some(*node) != except);
        let fitting = numbers.filter(|node| self.bar_of(group, *node, &party).is_none());
        fitting.map(|node| self.rank(group, node)).min().map(|rank| rank.node)
    }

    /// Nodes that bar nothing, the best first.
    pub(super) fn fitting(&self, group: usize, except: Option<u16>) -> Vec<Rank> {
        let party = self.party(group, except);
        let numbers = (0..self.nodes.len() as u16).filter(|node| Some(*node) != except);
        let fitting = numbers.filter(|node| self.bar_of(group, *node, &party).is_none());
        let mut ranks: Vec<Rank> = fitting.map(|node| self.rank(group, node)).collect();
        ranks.sort_unstable();
        ranks
    }

    pub(super) fn party(&self, group: usize, except: Option<u16>) -> Party {
        let mut party = Party::default();
        for member in self.company(group) {
            let Spot { at, to } = self.spots[member];
            match to.or(at).filter(|node| Some(*node) != except) {
                _ if !self.runs(member) => {}
                Some(node) => party.anchors.push((member, node)),
                None => party.members.push(member),
            }
        }
        party
    }

    pub(super) fn bar_of(&self, group: usize, node: u16, party: &Party) -> Option<Bar<'a>> {
        self.rules_bar(group, node, party).or_else(|| self.full(group, node, party))
    }

    /// What bars a node whatever is left there.
    pub(super) fn rules_bar(&self, group: usize, node: u16, party: &Party) -> Option<Bar<'a>> {
        let id = self.nodes[usize::from(node)];
        let whole = self.groups[group];
        if let Some(resource) = excluding(whole, id) {
            return Some(Bar::NotOwner(id, resource));
        }
        match self.rooms[usize::from(node)].shut {
            Some(Shut::Down) => return Some(Bar::Down(id)),
            Some(Shut::Paused) => return Some(Bar::Paused(id)),
            None => {}
        }
        if let Some(lost) = self.lost(group, node) {
            return Some(Bar::Unplugged(id, lost));
        }
        let name = |other: usize| &self.groups[other].id;
        let elsewhere = party.anchors.iter().find(|(_, at)| *at != node);
        if let Some((other, at)) = elsewhere {
            return Some(Bar::Without(name(*other), self.nodes[usize::from(*at)]));
        }
        if let Some(other) = self.kept_away(group, node) {
            return Some(Bar::Beside(name(other)));
        }
        for &member in &party.members {
            let resource = excluding(self.groups[member], id).map(|r| Bar::NotOwner(id, r));
            let unplugged = || self.lost(member, node).map(|lost| Bar::Unplugged(id, lost));
            let beside = || self.kept_away(member, node).map(|other| Bar::Beside(name(other)));
            if let Some(why) = resource.or_else(unplugged).or_else(beside) {
                return Some(Bar::Company(name(member), Box::new(why)));
            }
        }
        None
    }

    /// A group on the node that must not run beside this one.
    fn kept_away(&self, group: usize, node: u16) -> Option<usize> {
        let mut away = self.ties(group).filter(|(_, tie)| *tie == Tie::AwayRequired);
        away.find(|(other, _)| self.is_there(*other, node)).map(|(other, _)| other)
    }

    fn is_there(&self, group: usize, node: u16) -> bool {
        let Spot { at, to } = self.spots[group];
        at == Some(node) || to == Some(node)
    }

    fn full(&self, group: usize, node: u16, party: &Party) -> Option<Bar<'a>> {
        for need in self.needs(group).iter().filter(|need| need.required) {
            let of = |member: &usize| {
                // What is there already is in what is used.
                if self.is_there(*member, node) {
                    return 0;
                }
                let needs = self.needs(*member).iter().filter(|n| n.unit == need.unit);
                needs.map(|n| n.amount).sum::<u64>()
            };
            let needs = need.amount + party.members.iter().map(of).sum::<u64>();
            let Some(left) = self.left(group, node, need) else { continue };
            if needs > left {
                let unit = self.units[usize::from(need.unit)];
                return Some(Bar::Full { unit, needs, left });
            }
        }
        None
    }

    /// What is left of a unit on a node without the group itself; `None`: it is not limited.
    fn left(&self, group: usize, node: u16, need: &Need) -> Option<u64> {
        let room = &self.rooms[usize::from(node)];
        let limit = room.limits[usize::from(need.unit)]?;
        Some(limit.saturating_sub(self.used_by_others(group, node, need)))
    }

    fn used_by_others(&self, group: usize, node: u16, need: &Need) -> u64 {
        let used = self.rooms[usize::from(node)].used[usize::from(need.unit)];
        let own = self.is_there(group, node) && self.runs(group);
        if own { used - need.amount } else { used }
    }

    pub(super) fn rank(&self, group: usize, node: u16) -> Rank {
        Rank {
            but_for_balance: self.suit(group, node),
            fill: self.filled(group, node),
            owned: self.rooms[usize::from(node)].owned,
            node,
        }
    }

    pub(super) fn suit(&self, group: usize, node: u16) -> Suit {
        let whole = self.groups[group];
        let id = self.nodes[usize::from(node)];
        let pin = self.input.db.upkeep().pin(&whole.id);
        let preferred = &whole.policy.preferred_owners;
        let (mut beside, mut apart) = (0, 0);
        for (other, tie) in self.ties(group).filter(|(other, _)| self.runs(*other)) {
            match tie {
                Tie::Away => beside += usize::from(self.is_there(other, node)),
                Tie::Near => {
                    let Spot { at, to } = self.spots[other];
                    apart += usize::from(to.or(at).is_some_and(|there| there != node));
                }
                Tie::NearRequired | Tie::AwayRequired => {}
            }
        }
        Suit {
            quarantined: self.input.db.upkeep().quarantined().contains_key(&id),
            elsewhere: pin.is_some_and(|pinned| pinned != id),
            failed: failures(self.input, whole, id).map_or(0, |last| last + 1),
            lacks: self.lacking_more(group, node),
            beside,
            apart,
            preference: preferred.iter().position(|n| *n == id).unwrap_or(preferred.len()),
        }
    }

    /// Groups on the node that this one is kept away from, if it can be.
    fn avoided(&self, group: usize, node: u16) -> impl Iterator<Item = usize> + '_ {
        let there = move |other: &usize| self.runs(*other) && self.is_there(*other, node);
        self.ties(group).filter(|(_, tie)| *tie == Tie::Away).map(|(o, _)| o).filter(there)
    }

    /// What a node has of what a group needs, and what of it is used with the group.
    fn with(&self, group: usize, node: u16) -> impl Iterator<Item = (u64, u64, &Need)> {
        self.needs(group).iter().filter_map(move |need| {
            let limit = self.rooms[usize::from(node)].limits[usize::from(need.unit)]?;
            Some((limit, self.used_by_others(group, node, need) + need.amount, need))
        })
    }

    /// How full a node would be with the group.
    fn filled(&self, group: usize, node: u16) -> u64 {
        let shares = self.with(group, node).map(|(limit, used, _)| share(used, limit));
        shares.max().unwrap_or(0)
    }

    /// By how much more a node would lack something with the group.
    fn lacking_more(&self, group: usize, node: u16) -> u64 {
        let more = |(limit, used, need): (u64, u64, &Need)| {
            lacking(used, limit) - lacking(used - need.amount, limit)
        };
        self.with(group, node).map(more).sum()
    }

    fn describe(&self, group: usize, node: u16) -> String {
        let (whole, id) = (self.groups[group], self.nodes[usize::from(node)]);
        let preference = whole.policy.preferred_owners.iter().position(|n| *n == id);
        let mut words = match preference {
            Some(at) => format!("preferred owner number {}", at + 1),
            None => "possible owner".to_owned(),
        };
        words.push_str(&match self.rooms[usize::from(node)].owned {
            0 => ", owns no group".to_owned(),
            1 => ", owns 1 group".to_owned(),
            more => format!(", owns {more} groups"),
        });
        if failures(self.input, whole, id).is_some() {
            words.push_str(", the group failed there lately");
        }
        if self.input.db.upkeep().pin(&whole.id) == Some(id) {
            words.push_str(", the group is pinned to it");
        }
        if self.input.db.upkeep().quarantined().contains_key(&id) {
            words.push_str(", is in quarantine and comes last");
        }
        let remarks = self.remarks(group, node);
        if !remarks.is_empty() {
            words.push_str(", ");
            words.push_str(&remarks);
        }
        words
    }

    /// What needs and rules say for and against a node that bars nothing.
    fn remarks(&self, group: usize, node: u16) -> String {
        let mut text = String::new();
        let mut say = |remark: fmt::Arguments<'_>| {
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a text does not fail.
            let _ = write!(text, "{comma}{remark}");
        };
        for (limit, used, need) in self.with(group, node) {
            let unit = self.units[usize::from(need.unit)];
            let left = limit.saturating_sub(used - need.amount);
            if need.amount > left {
                let (needs, left) = (written(unit, need.amount), written(unit, left));
                say(format_args!("too little {unit}: it needs {needs}, {left} is left"));
            } else {
                let (left, has) = (written(unit, left - need.amount), written(unit, limit));
                say(format_args!("{unit} {left} of {has} left with it"));
            }
        }
        let name = |other: usize| &self.groups[other].id;
        for other in self.avoided(group, node) {
            say(format_args!("beside `{}` (anti-affinity)", name(other)));
        }
        for (other, tie) in self.ties(group) {
            let there = self.runs(other) && self.is_there(other, node);
            if there && matches!(tie, Tie::Near | Tie::NearRequired) {
                say(format_args!("beside `{}` (affinity)", name(other)));
            }
        }
        text
    }

    /// Why a node was chosen, where needs or rules had a say: for the reason of a grant (I-WHY).
    pub(in super::super) fn chosen(&self, group: usize, node: NodeId) -> Option<String> {
        let said = self.remarks(group, self.number(node)?);
        (!said.is_empty()).then(|| format!("{node} is the best place: {said}"))
    }

    /// Whether going to the node would leave it with less than it needs.
    pub(in super::super) fn overfills(&self, group: usize, node: NodeId) -> bool {
        self.number(node).is_some_and(|number| self.lacking_more(group, number) > 0)
    }

    /// A group of the layout.
    pub(in super::super) fn group(&self, group: usize) -> &'a Group {
        self.groups[group]
    }
}

/// Millionths, at most.
const LACKING_MAX: u64 = 1_000_000_000;

/// A part of what there is, in millionths.
pub(super) fn share(used: u64, limit: u64) -> u64 {
    if limit == 0 {
        return if used == 0 { 0 } else { LACKING_MAX };
    }
    let millionths = match used.checked_mul(1_000_000) {
        Some(millionths) => millionths / limit,
        None => {
            let millionths = u128::from(used) * 1_000_000 / u128::from(limit);
            u64::try_from(millionths).unwrap_or(LACKING_MAX)
        }
    };
    millionths.min(LACKING_MAX)
}

/// By how much there is too little, in millionths of what there is.
pub(super) fn lacking(used: u64, limit: u64) -> u64 {
    if used <= limit { 0 } else { share(used - limit, limit).max(1) }
}
