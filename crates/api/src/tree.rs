//! What the dependencies of a group mean to people: where they fork, in which row they could stand
//! instead, and what goes offline with a resource.
//!
//! Pure functions of a view or a declaration. A tree that forks is as lawful as a vertical one
//! the hint is about people, who have one way to follow in a row and several in a fork.
//!
//! Not here: which dependencies are allowed and the order they are carried out in (crate `core`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use stead_model::declaration::Declaration;
use stead_model::group_policy::written_time;
use stead_model::resource_type::{IP_ADDRESS, NETWORK_NAME, PHYSICAL_DISK};
use stead_model::view::{GroupView, ResourceView};
use stead_model::{GroupId, ResourceId};

/// The dependencies of one group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tree {
    group: GroupId,
    members: BTreeMap<ResourceId, Member>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Member {
    kind: String,
    on: BTreeSet<ResourceId>,
}

/// A resource where a tree forks: more than one way leads down from it, or up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fork {
    /// It depends on several.
    Below(ResourceId, Vec<ResourceId>),
    /// Several depend on it.
    Above(ResourceId, Vec<ResourceId>),
}

/// A change of one dependency.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// The first shall depend on the second.
    Depend(ResourceId, ResourceId),
    /// It shall no longer.
    Undepend(ResourceId, ResourceId),
}

impl Tree {
    /// Of a group as it is.
    #[must_use]
    pub fn of_group(group: &GroupView) -> Self {
        let member = |r: &ResourceView| {
            let on = r.depends_on.iter().cloned().collect();
            (r.resource.clone(), Member { kind: r.kind.clone(), on })
        };
        let members = group.resources.iter().map(member).collect();
        Self { group: group.group.clone(), members }
    }

    /// Of every group of a declaration.
    #[must_use]
    pub fn of_declaration(declared: &Declaration) -> Vec<Self> {
        let of = |group: &GroupId| {
            let own = declared.resources.iter().filter(|r| r.group == *group);
            let member = own.map(|r| {
                let (kind, on) = (r.kind.clone(), r.depends_on.clone());
                (r.resource.clone(), Member { kind, on })
            });
            Self { group: group.clone(), members: member.collect() }
        };
        declared.groups.iter().map(|group| of(&group.group)).collect()
    }

    /// The same with other dependencies of one resource.
    #[must_use]
    pub fn with(mut self, resource: &ResourceId, on: &BTreeSet<ResourceId>) -> Self {
        if let Some(member) = self.members.get_mut(resource) {
            member.on.clone_from(on);
        }
        self
    }

    /// The group.
    #[must_use]
    pub const fn group(&self) -> &GroupId {
        &self.group
    }

    /// Where it forks, by name of resource.
    #[must_use]
    pub fn forks(&self) -> Vec<Fork> {
        let mut forks = Vec::new();
        for (id, member) in &self.members {
            if member.on.len() > 1 {
                forks.push(Fork::Below(id.clone(), member.on.iter().cloned().collect()));
            }
            let above: Vec<ResourceId> = self.above(id).cloned().collect();
            if above.len() > 1 {
                forks.push(Fork::Above(id.clone(), above));
            }
        }
        forks
    }

    /// Whether it forks at one of the two ends of a dependency.
    #[must_use]
    pub fn forks_at(&self, resource: &ResourceId, on: &ResourceId) -> bool {
        self.forks().iter().any(|fork| match fork {
            Fork::Below(id, _) => id == resource,
            Fork::Above(id, _) => id == on,
        })
    }

    fn above<'a>(&'a self, id: &'a ResourceId) -> impl Iterator<Item = &'a ResourceId> {
        self.members.iter().filter(|(_, m)| m.on.contains(id)).map(|(above, _)| above)
    }

    /// All that hangs together with a resource.
    fn together(&self, with: &ResourceId) -> BTreeSet<&ResourceId> {
        let (mut found, mut open) = (BTreeSet::new(), vec![with]);
        while let Some(next) = open.pop() {
            let Some((id, member)) = self.members.get_key_value(next) else { continue };
            if found.insert(id) {
                open.extend(&member.on);
                open.extend(self.above(id));
            }
        }
        found
    }

    /// The parts that fork, each in a row in which every resource could depend on the one before
    /// it: disks first, then addresses, names and programs, where the tree leaves it open.
    #[must_use]
    pub fn rows(&self) -> Vec<Vec<ResourceId>> {
        let (mut rows, mut seen) = (Vec::new(), BTreeSet::new());
        for fork in self.forks() {
            let (Fork::Below(id, _) | Fork::Above(id, _)) = &fork;
            if seen.contains(id) {
                continue;
            }
            let part = self.together(id);
            seen.extend(part.iter().map(|id| (*id).clone()));
            rows.push(self.row(part));
        }
        rows
    }

    fn row(&self, mut part: BTreeSet<&ResourceId>) -> Vec<ResourceId> {
        let mut row = Vec::new();
        loop {
            let stands =
                |id: &&&ResourceId| self.members[**id].on.iter().any(|on| part.contains(on));
            let ready = part.iter().filter(|id| !stands(id));
            let Some(next) = ready.min_by_key(|id| (rank(&self.members[**id].kind), **id)).copied()
            else {
                return row;
            };
            part.remove(next);
            row.push(next.clone());
        }
    }

    /// The changes that make these rows, in an order in which each of them is allowed.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let (mut begin, mut end) = (Vec::new(), Vec::new());
        for row in self.rows() {
            for (at, id) in row.iter().enumerate() {
                let before = at.checked_sub(1).and_then(|at| row.get(at));
                let on = &self.members[id].on;
                begin.extend(
                    before
                        .filter(|b| !on.contains(*b))
                        .map(|b| Step::Depend(id.clone(), b.clone())),
                );
                let old = on.iter().filter(|on| Some(*on) != before);
                end.extend(old.map(|on| Step::Undepend(id.clone(), on.clone())));
            }
        }
        begin.into_iter().chain(end).collect()
    }

    /// The hint about its forks in one sentence; nothing, if it has none.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let forks = self.forks();
        let what = match forks.first()? {
            Fork::Below(id, on) => format!("`{id}` depends on {}", listed(on)),
            Fork::Above(id, by) => format!("{} depend on `{id}`", listed(by)),
        };
        let more = match forks.len() {
            1 => String::new(),
            n => format!(", and {} more", n - 1),
        };
        let rows: Vec<String> = self.rows().iter().map(|row| row_of(row)).collect();
        Some(format!(
            "forking dependency in group `{}`: {what}{more}; that is allowed, a vertical order is \
             easier to follow: {} (`stead group tree {} --fix`)",
            self.group,
            rows.join("; "),
            self.group
        ))
    }

    /// What goes offline with a resource, in the order it does: the resource last.
    #[must_use]
    pub fn offline_with(&self, id: &ResourceId) -> Vec<ResourceId> {
        let (mut goes, mut open) = (BTreeSet::new(), vec![id]);
        while let Some(next) = open.pop() {
            if goes.insert(next) {
                open.extend(self.above(next));
            }
        }
        let mut order = Vec::new();
        while !goes.is_empty() {
            let free = |id: &&&ResourceId| self.above(id).all(|above| !goes.contains(above));
            // The database has no circles.
            let Some(next) = goes.iter().find(free).copied() else { return order };
            goes.remove(next);
            order.push(next.clone());
        }
        order
    }
}

/// The order of the course: disk, address, name, service.
fn rank(kind: &str) -> u8 {
    match kind {
        PHYSICAL_DISK => 0,
        IP_ADDRESS => 1,
        NETWORK_NAME => 2,
        _ => 3,
    }
}

/// A row as people read it, from the bottom.
fn row_of(row: &[ResourceId]) -> String {
    row.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
}

fn listed(ids: &[ResourceId]) -> String {
    let all: Vec<String> = ids.iter().map(|id| format!("`{id}`")).collect();
    match all.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => all.join(", "),
    }
}

/// What it means to a group when one of its resources goes offline.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Impact {
    /// The resource.
    pub resource: ResourceId,
    /// Its group.
    pub group: GroupId,
    /// What goes offline, in this order; the resource itself last.
    pub offline: Vec<ResourceId>,
    /// What stays online of what runs now.
    pub stays: Vec<ResourceId>,
    /// What follows if it fails, in words for people.
    pub failure: String,
}

/// What goes offline if a resource goes, and what follows if it fails.
#[must_use]
pub fn impact(group: &GroupView, resource: &ResourceView) -> Impact {
    let offline = Tree::of_group(group).offline_with(&resource.resource);
    let stays = group.resources.iter().map(|r| &r.resource).filter(|id| !offline.contains(id));
    let stays = stays.cloned().collect();
    let policy = &resource.policy;
    let period = written_time(policy.restart_period_s);
    let along = if offline.len() > 1 { ", each time with what stands on it" } else { "" };
    let restarts = match policy.restarts() {
        0 => "it is not restarted in place".to_owned(),
        1 => {
            format!("it is restarted in place once in {period}{}", along.replace(", each time", ""))
        }
        n => format!("it is restarted in place up to {n} times in {period}{along}"),
    };
    let rest = match policy.affects_group {
        true => format!("all of group `{}` goes to another node", group.group),
        false => {
            "it stays failed, what stands on it stays offline, and the rest runs on".to_owned()
        }
    };
    Impact {
        resource: resource.resource.clone(),
        group: group.group.clone(),
        offline,
        stays,
        failure: format!("{restarts}; beyond that {rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(resources: &[(&str, &str, &[&str])]) -> Tree {
        let member = |(id, kind, on): &(&str, &str, &[&str])| {
            let on = on.iter().map(|on| (*on).into()).collect();
            ((*id).into(), Member { kind: (*kind).to_owned(), on })
        };
        Tree { group: "files".into(), members: resources.iter().map(member).collect() }
    }

    /// The forking tree of the course.
    fn forking() -> Tree {
        tree(&[
            ("FS-1", "dummy", &["NN-1", "PD-1"]),
            ("NN-1", NETWORK_NAME, &["IP-1"]),
            ("IP-1", IP_ADDRESS, &[]),
            ("PD-1", PHYSICAL_DISK, &[]),
            ("alone", "dummy", &[]),
        ])
    }

    #[test]
    fn a_112_a_forking_tree_is_told_with_the_vertical_order() {
        let hint = forking().hint().unwrap();
        assert_eq!(
            hint,
            "forking dependency in group `files`: `FS-1` depends on `NN-1` and `PD-1`; that is \
             allowed, a vertical order is easier to follow: `PD-1`, `IP-1`, `NN-1`, `FS-1` (`stead \
             group tree files --fix`)"
        );
        let depend = |a: &str, b: &str| Step::Depend(a.into(), b.into());
        let end = Step::Undepend("FS-1".into(), "PD-1".into());
        assert_eq!(forking().steps(), [depend("IP-1", "PD-1"), end]);
    }

    #[test]
    fn a_112_a_vertical_tree_has_nothing_to_tell() {
        let row: &[(&str, &str, &[&str])] =
            &[("a", "dummy", &["b"]), ("b", "dummy", &["c"]), ("c", "dummy", &[])];
        assert_eq!((tree(row).hint(), tree(row).rows().len()), (None, 0));
        assert!(tree(&[("a", "dummy", &[]), ("b", "dummy", &[])]).hint().is_none());
    }

    #[test]
    fn a_112_what_several_depend_on_forks_too() {
        let two =
            tree(&[("a", "dummy", &["ip"]), ("b", "dummy", &["ip"]), ("ip", IP_ADDRESS, &[])]);
        let both = vec!["a".into(), "b".into()];
        assert_eq!(two.forks(), [Fork::Above("ip".into(), both)]);
        let depend = Step::Depend("b".into(), "a".into());
        assert_eq!(two.steps(), [depend, Step::Undepend("b".into(), "ip".into())]);
    }

    /// The proposed steps make a vertical tree of any tree, and none of them closes a circle.
    #[test]
    fn a_112_the_steps_lead_to_rows() {
        for bits in 0..1_u32 << 10 {
            let mut tree = of_bits(bits);
            let before = tree.clone();
            for step in tree.clone().steps() {
                match step {
                    Step::Depend(id, on) => {
                        assert!(!before_of(&tree, &on).contains(&id), "{before:?}");
                        tree.members.get_mut(&id).unwrap().on.insert(on);
                    }
                    Step::Undepend(id, on) => {
                        assert!(tree.members.get_mut(&id).unwrap().on.remove(&on));
                    }
                }
            }
            assert!(tree.forks().is_empty(), "{before:?} became {tree:?}");
            for (id, member) in &before.members {
                let below = before_of(&tree, id);
                assert!(member.on.iter().all(|on| below.contains(on)), "{before:?}");
            }
        }
    }

    /// A tree of five: each depends on the earlier ones whose bits are set.
    fn of_bits(bits: u32) -> Tree {
        const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
        let mut bit = 0;
        let mut members = BTreeMap::new();
        for (at, name) in NAMES.iter().enumerate() {
            let mut on = BTreeSet::new();
            for below in &NAMES[..at] {
                if bits & (1 << bit) != 0 {
                    on.insert((*below).into());
                }
                bit += 1;
            }
            members.insert((*name).into(), Member { kind: "dummy".to_owned(), on });
        }
        Tree { group: "g".into(), members }
    }

    /// All that a resource stands on.
    fn before_of(tree: &Tree, id: &ResourceId) -> BTreeSet<ResourceId> {
        let (mut found, mut open) = (BTreeSet::new(), vec![id.clone()]);
        while let Some(next) = open.pop() {
            if found.insert(next.clone()) {
                open.extend(tree.members[&next].on.iter().cloned());
            }
        }
        found
    }

    #[test]
    fn a_114_what_goes_offline_goes_from_the_top() {
        let offline = |id: &str| forking().offline_with(&id.into());
        assert_eq!(offline("IP-1"), ["FS-1", "NN-1", "IP-1"].map(ResourceId::from));
        assert_eq!(offline("PD-1"), ["FS-1", "PD-1"].map(ResourceId::from));
        assert_eq!(offline("alone"), ["alone"].map(ResourceId::from));
    }
}
