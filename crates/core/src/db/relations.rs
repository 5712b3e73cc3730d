//! Rules between groups as a whole: what one group's rules mean together with those of others.
//!
//! Checked when rules are set, against the database with the new rules in it: every group named
//! exists, orders of starting do not go in a circle, and groups that only run together are not
//! kept apart. A group that others name is not deleted. The cluster's own group is in no rule.

use std::collections::BTreeSet;

use stead_model::GroupId;
use stead_model::core_group::is_core;
use stead_model::reason::{Code, Reason};
use stead_model::rules::Rules;

use super::Db;

/// The database with the rules of one group replaced.
struct With<'a> {
    db: &'a Db,
    id: &'a GroupId,
    rules: &'a Rules,
}

/// Checks the rules of a group together with those of all others.
///
/// # Errors
/// Names the group that does not exist, the circle, or the two that contradict each other.
pub(crate) fn check(db: &Db, id: &GroupId, rules: &Rules) -> Result<(), Reason> {
    let lists = [
        ("affinity", &rules.affinity),
        ("anti-affinity", &rules.anti_affinity),
        ("start-after", &rules.start_after),
    ];
    for (name, relation) in lists {
        for other in relation.all() {
            if other == id {
                let text = format!("property `{name}` of group `{id}` names the group itself");
                return Err(Reason::new(Code::Invalid, text).hint("name other groups"));
            }
            if is_core(id) || is_core(other) {
                return Err(apart(name, (id, other)));
            }
            if db.group(other).is_none() {
                let text = format!("property `{name}` names group `{other}`, which does not exist");
                return Err(Reason::new(Code::NotFound, text)
                    .hint("`group list` shows all groups; create that one first"));
            }
        }
    }
    let with = With { db, id, rules };
    if let Some(way) = with.circle() {
        let way: Vec<String> = way.iter().map(|id| format!("`{id}`")).collect();
        let text = format!("group `{id}` cannot start after others so");
        return Err(Reason::new(Code::Invalid, text)
            .because(format!("the order would go in a circle: {}", way.join(" after ")))
            .hint("leave one of these out of `start-after`"));
    }
    match with.torn() {
        None => Ok(()),
        Some((one, other)) => {
            let text = format!("groups `{one}` and `{other}` cannot be together and apart");
            Err(Reason::new(Code::Invalid, text)
                .because(
                    "by `affinity-required`, theirs or of groups between them, they only run on \
                     one node, and by `anti-affinity-required` never on one",
                )
                .hint("prefer one of the two rules instead of requiring it"))
        }
    }
}

/// The cluster's own group has nothing to do with those of anybody else.
fn apart(property: &str, (id, other): (&GroupId, &GroupId)) -> Reason {
    let text = format!("property `{property}` of group `{id}` cannot name group `{other}`");
    Reason::new(Code::Invalid, text)
        .because(format!(
            "group `{}` has the cluster IP and is the cluster's own: it has nothing to do with \
             other groups",
            if is_core(id) { id } else { other }
        ))
        .hint("give your group an address of its own, and name other groups")
}

/// Refuses to delete a group that others name.
///
/// # Errors
/// Names one of them.
pub(crate) fn check_unnamed(db: &Db, id: &GroupId) -> Result<(), Reason> {
    let names = |rules: &Rules| {
        let relations = [
            ("affinity", &rules.affinity),
            ("anti-affinity", &rules.anti_affinity),
            ("start-after", &rules.start_after),
        ];
        relations.into_iter().find(|(_, r)| r.all().any(|o| o == id)).map(|(name, _)| name)
    };
    let mut others = db.groups().values().filter_map(|g| Some((&g.id, names(&g.policy.rules)?)));
    match others.next() {
        None => Ok(()),
        Some((by, property)) => {
            Err(Reason::new(Code::Conflict, format!("cannot delete group `{id}`"))
                .because(format!("group `{by}` names it in `{property}`"))
                .hint(format!("change that first: `group set {by} {property}=…`, `group unset`")))
        }
    }
}

impl With<'_> {
    fn rules(&self, id: &GroupId) -> Option<&Rules> {
        if id == self.id {
            return Some(self.rules);
        }
        self.db.group(id).map(|group| &*group.policy.rules)
    }

    /// The way of starting after one another that comes back to the group.
    fn circle(&self) -> Option<Vec<GroupId>> {
        let mut way = vec![self.id.clone()];
        self.goes_round(self.id, &mut way, &mut BTreeSet::new()).then_some(way)
    }

    fn goes_round(
        &self,
        at: &GroupId,
        way: &mut Vec<GroupId>,
        seen: &mut BTreeSet<GroupId>,
    ) -> bool {
        let Some(rules) = self.rules(at) else { return false };
        for next in rules.start_after.all() {
            way.push(next.clone());
            let round =
                next == self.id || (seen.insert(next.clone()) && self.goes_round(next, way, seen));
            if round {
                return true;
            }
            way.pop();
        }
        false
    }

    /// Two groups that must run together and apart, if the new rules make such.
    fn torn(&self) -> Option<(GroupId, GroupId)> {
        if self.rules.affinity.required.is_empty() && self.rules.anti_affinity.required.is_empty() {
            return None;
        }
        let mut together: Vec<GroupId> = vec![self.id.clone()];
        let mut next = 0;
        while let Some(member) = together.get(next).cloned() {
            let named = self.rules(&member).map(|r| r.affinity.required.clone());
            let naming =
                self.db.groups().keys().filter(|id| {
                    self.rules(id).is_some_and(|r| r.affinity.required.contains(&member))
                });
            let found: Vec<GroupId> = named.into_iter().flatten().chain(naming.cloned()).collect();
            for id in found {
                if !together.contains(&id) {
                    together.push(id);
                }
            }
            next += 1;
        }
        together.iter().find_map(|one| {
            let apart = &self.rules(one)?.anti_affinity.required;
            let other = together.iter().find(|other| apart.contains(*other))?;
            Some((one.clone(), other.clone()))
        })
    }
}
