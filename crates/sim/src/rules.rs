//! Rules between groups and what nodes have: in some worlds only, whose other chances are those of
//! a world without.
//!
//! Also whether rules keep a group down, judged from outside: by the rules as the database has
//! them and by where groups are, not by the planner.

use std::collections::BTreeMap;

use stead_core::db::{Db, shall_run};
use stead_model::amounts::Amounts;
use stead_model::group::Group;
use stead_model::request::Request;
use stead_model::{GroupId, NodeId};

use crate::checkers::converge::Place;
use crate::rng::Rng;
use crate::world::World;

/// What administrators say of groups and nodes when they set the cluster up.
#[derive(Clone, Default, Debug)]
pub struct RuleHabits {
    /// By group, its rules as properties.
    pub groups: Vec<BTreeMap<String, Option<String>>>,
    /// By node, how much memory it has, in bytes.
    pub memory: Vec<u64>,
}

impl RuleHabits {
    /// Draws rules for so many groups; each names earlier ones only, so that most make sense.
    #[must_use]
    pub fn draw(rng: &mut Rng, nodes: u16, groups: usize) -> Self {
        let kinds = [
            ("anti-affinity-required", 40),
            ("anti-affinity", 15),
            ("affinity-required", 20),
            ("affinity", 15),
            ("start-after-required", 25),
            ("start-after", 25),
        ];
        let mut all = Vec::new();
        for group in 0..groups {
            let mut rules = BTreeMap::new();
            for (kind, weight) in kinds {
                if group > 0 && rng.chance(weight * 10) {
                    let other = rng.below(group as u64) + 1;
                    rules.insert(kind.to_owned(), Some(format!("g{other}")));
                }
            }
            let needs = ["demand", "demand-required"][usize::from(rng.chance(500))];
            if rng.chance(600) {
                rules.insert(needs.to_owned(), Some(format!("memory={}", rng.between(1, 4))));
            }
            let priority = ["low", "medium", "high"][rng.below(3) as usize];
            rules.insert("priority".to_owned(), Some(priority.to_owned()));
            all.push(rules);
        }
        let memory = (0..nodes).map(|_| rng.between(2, 8)).collect();
        Self { groups: all, memory }
    }

    /// What nodes have.
    pub fn of_nodes(&self) -> impl Iterator<Item = Request> + '_ {
        (1..).zip(&self.memory).map(|(node, memory)| {
            let mut capacity = Amounts::default();
            capacity.add("memory", *memory);
            Request::SetCapacity { node: NodeId(node), capacity }
        })
    }

    /// The rules of a group, before it is first brought online.
    #[must_use]
    pub fn of_group(&self, index: usize, group: &GroupId) -> Vec<Request> {
        let rules = self.groups.get(index).into_iter().flatten();
        // One by one: what contradicts another rule is refused alone.
        let set = |(name, value): (&String, &Option<String>)| Request::SetGroup {
            group: group.clone(),
            properties: BTreeMap::from([(name.clone(), value.clone())]),
        };
        rules.map(set).collect()
    }
}

impl World {
    /// Groups that wait because of their rules need not run.
    pub(crate) fn excuse_ruled(&self, db: &Db, places: &mut BTreeMap<GroupId, Place>) {
        let waits = |(id, place): (&GroupId, &Place)| {
            matches!(place, Place::NotYet(_)).then(|| db.group(id)).flatten()
        };
        let waiting: Vec<&Group> = places.iter().filter_map(waits).collect();
        let excused: Vec<GroupId> = waiting
            .into_iter()
            .filter(|group| self.acts.iter().all(|act| act.group != group.id))
            .filter(|group| self.is_kept_down(db, group, places))
            .map(|group| group.id.clone())
            .collect();
        for id in excused {
            places.insert(id, Place::Excused);
        }
    }

    fn is_kept_down(&self, db: &Db, group: &Group, places: &BTreeMap<GroupId, Place>) -> bool {
        // A group of which everything is switched off is where it shall be, and not online.
        let runs = |id: &GroupId| {
            let is_empty = db.group(id).is_some_and(|other| other.resources.is_empty());
            is_empty || self.acts.iter().any(|act| act.group == *id)
        };
        let is_online =
            |id: &GroupId| matches!(places.get(id), Some(Place::Online(..))) && runs(id);
        if group.policy.rules.start_after.required.iter().any(|id| !is_online(id)) {
            return true;
        }
        let party = party(db, group);
        // Who stays isolated may be the one that leads on, with the quorum disk: then all others
        // are away.
        let term = |node: &NodeId| {
            let service = self.node(*node).service.as_ref();
            service.and_then(|service| service.seen.leading.iter().map(|(_, term)| *term).max())
        };
        let Some(leader) = self.node_ids().filter(|n| term(n).is_some()).max_by_key(term) else {
            return false;
        };
        let up = |node: &NodeId| {
            let reached = *node == leader || self.net.connected(leader, *node);
            reached && self.node(*node).service.is_some()
        };
        self.node_ids().filter(up).all(|node| is_barred(db, (group, &party), node, places))
    }
}

/// The group with all that only run on one node with it and shall run.
fn party<'a>(db: &'a Db, group: &'a Group) -> Vec<&'a Group> {
    let tied = |one: &Group, other: &Group| {
        one.policy.rules.affinity.required.contains(&other.id)
            || other.policy.rules.affinity.required.contains(&one.id)
    };
    let mut party = vec![group];
    let mut next = 0;
    while let Some(member) = party.get(next).copied() {
        for other in db.groups().values().filter(|other| tied(member, other)) {
            if shall_run(other) && party.iter().all(|known| known.id != other.id) {
                party.push(other);
            }
        }
        next += 1;
    }
    party
}

fn is_barred(
    db: &Db,
    (group, party): (&Group, &[&Group]),
    node: NodeId,
    places: &BTreeMap<GroupId, Place>,
) -> bool {
    let at = |other: &Group| match places.get(&other.id) {
        Some(Place::Online(node, _)) => Some(*node),
        Some(Place::Excused | Place::NotYet(_)) | None => None,
    };
    if party.iter().any(|member| at(member).is_some_and(|there| there != node)) {
        return true;
    }
    let owned = |other: &Group| {
        shall_run(other) && other.ownership.as_ref().is_some_and(|owned| owned.node == node)
    };
    let in_party = |other: &Group| party.iter().any(|member| member.id == other.id);
    let there: Vec<&Group> =
        db.groups().values().filter(|other| owned(other) && !in_party(other)).collect();
    let apart = |one: &Group, other: &Group| {
        one.policy.rules.anti_affinity.required.contains(&other.id)
            || other.policy.rules.anti_affinity.required.contains(&one.id)
    };
    if party.iter().any(|member| there.iter().any(|other| apart(member, other))) {
        return true;
    }
    let required = group.policy.rules.demand_required.iter();
    let too_much = |(unit, _): (&str, u64)| {
        let of = |group: &&Group| {
            let needs = group.demands().filter(|(named, _)| *named == unit);
            needs.map(|(_, amount)| amount).sum::<u64>()
        };
        let has = db.rooms().get(&node).and_then(|room| room.capacity.get(unit));
        let needs = party.iter().map(of).sum::<u64>() + there.iter().map(of).sum::<u64>();
        has.is_some_and(|has| needs > has)
    };
    required.into_iter().any(too_much)
}
