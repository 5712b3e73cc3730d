//! Rules of placement: which groups a group wants near, far and before it, what it needs, and who
//! comes first when there is not enough for all.
//!
//! Each rule comes in two strengths. *Preferred* rules choose among the nodes that may run the
//! group, and never keep it down. *Required* ones forbid: with no node left the group waits.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::amounts::Amounts;
use crate::ids::GroupId;
use crate::reason::{Code, Reason};

/// Rules of one group.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Rules {
    /// Who is placed first.
    pub priority: Priority,
    /// Groups it shall share a node with.
    pub affinity: Relation,
    /// Groups it shall share no node with.
    pub anti_affinity: Relation,
    /// Groups that are online before it starts.
    pub start_after: Relation,
    /// What it needs, where there is so much.
    pub demand: Amounts,
    /// What a node must have left for it.
    pub demand_required: Amounts,
    /// Whether it needs what its programs are seen to use, of processors and memory that neither
    /// of the two names.
    pub measured: bool,
}

/// Other groups, by how strong the rule is.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Relation {
    /// As far as possible.
    pub preferred: BTreeSet<GroupId>,
    /// Or it does not run.
    pub required: BTreeSet<GroupId>,
}

/// Who is placed first, and so has its choice of nodes: the higher number. From 1 to 9999.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct Priority(pub u16);

/// The word for a demand that is measured.
pub const MEASURED: &str = "measured";
/// Most groups that one rule may name.
pub const NAMED_MAX: usize = 64;

impl Priority {
    /// The named priorities, with the numbers that WSFC gives them.
    const NAMED: [(&'static str, Self); 3] =
        [("low", Self(1_000)), ("medium", Self(2_000)), ("high", Self(3_000))];

    /// The priority of that name or number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let named = Self::NAMED.iter().find(|(name, _)| *name == text).map(|(_, p)| *p);
        let number = || text.parse().ok().filter(|n| (1..=9_999).contains(n)).map(Self);
        named.or_else(number)
    }

    /// As it is written.
    #[must_use]
    pub fn text(self) -> String {
        let named = Self::NAMED.iter().find(|(_, priority)| *priority == self);
        named.map_or_else(|| self.0.to_string(), |(name, _)| (*name).to_owned())
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(2_000)
    }
}

impl Relation {
    /// Whether no group is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.preferred.is_empty() && self.required.is_empty()
    }

    /// All groups named.
    pub fn all(&self) -> impl Iterator<Item = &GroupId> {
        self.preferred.iter().chain(&self.required)
    }

    fn of_strength(&mut self, strength: Strength) -> &mut BTreeSet<GroupId> {
        match strength {
            Strength::Preferred => &mut self.preferred,
            Strength::Required => &mut self.required,
        }
    }
}

#[derive(Clone, Copy)]
enum Strength {
    Preferred,
    Required,
}

impl Rules {
    /// What the group needs of each unit, whatever the strength.
    pub fn demands(&self) -> impl Iterator<Item = (&str, u64)> {
        self.demand.iter().chain(self.demand_required.iter())
    }

    /// Whether a need of that unit is declared.
    #[must_use]
    pub fn declares(&self, unit: &str) -> bool {
        self.demand.get(unit).is_some() || self.demand_required.get(unit).is_some()
    }

    /// The property `demand`; empty if nothing is said.
    fn demand_text(&self) -> String {
        let declared = self.demand.to_string();
        match (self.measured, declared.is_empty()) {
            (true, true) => MEASURED.to_owned(),
            (true, false) => format!("{MEASURED},{declared}"),
            (false, _) => declared,
        }
    }

    /// All rules as properties; what is empty is absent.
    #[must_use]
    pub fn properties(&self) -> Vec<(&'static str, String)> {
        let mut all = vec![("priority", self.priority.text())];
        let lists = [
            ("affinity", &self.affinity.preferred),
            ("affinity-required", &self.affinity.required),
            ("anti-affinity", &self.anti_affinity.preferred),
            ("anti-affinity-required", &self.anti_affinity.required),
            ("start-after", &self.start_after.preferred),
            ("start-after-required", &self.start_after.required),
        ];
        let amounts =
            [("demand", self.demand_text()), ("demand-required", self.demand_required.to_string())];
        all.extend(
            lists.iter().filter(|l| !l.1.is_empty()).map(|(name, list)| (*name, joined(list))),
        );
        all.extend(amounts.into_iter().filter(|(_, text)| !text.is_empty()));
        all
    }

    /// Sets the rule of a property; `None` is its default. Whether there is such a rule.
    ///
    /// # Errors
    /// The value is malformed.
    pub fn set(&mut self, property: &str, value: Option<&str>) -> Result<bool, Reason> {
        let (relation, strength) = match property {
            "priority" => {
                self.priority = value.and_then(Priority::parse).unwrap_or_default();
                return Ok(true);
            }
            "demand" => {
                (self.demand, self.measured) = demand(value.unwrap_or_default())?;
                return Ok(true);
            }
            "demand-required" => {
                self.demand_required = Amounts::parse(value.unwrap_or_default())?;
                return Ok(true);
            }
            "affinity" => (&mut self.affinity, Strength::Preferred),
            "affinity-required" => (&mut self.affinity, Strength::Required),
            "anti-affinity" => (&mut self.anti_affinity, Strength::Preferred),
            "anti-affinity-required" => (&mut self.anti_affinity, Strength::Required),
            "start-after" => (&mut self.start_after, Strength::Preferred),
            "start-after-required" => (&mut self.start_after, Strength::Required),
            _ => return Ok(false),
        };
        *relation.of_strength(strength) = value.and_then(groups).unwrap_or_default();
        Ok(true)
    }

    /// Checks what one group's rules say about each other.
    ///
    /// # Errors
    /// Names two that contradict each other.
    pub fn check(&self) -> Result<(), Reason> {
        let twice = self.demand.iter().find(|(u, _)| self.demand_required.get(u).is_some());
        if let Some((unit, _)) = twice {
            let text = format!("properties `demand` and `demand-required` both name `{unit}`");
            return Err(Reason::new(Code::Invalid, text)
                .because("one need has one strength")
                .hint(format!("name `{unit}` in one of them")));
        }
        let both = [
            ("affinity", "anti-affinity", self.affinity.all().find(|g| self.is_kept_from(g))),
            ("affinity", "affinity-required", in_both(&self.affinity)),
            ("anti-affinity", "anti-affinity-required", in_both(&self.anti_affinity)),
            ("start-after", "start-after-required", in_both(&self.start_after)),
        ];
        match both.into_iter().find_map(|(a, b, group)| Some((a, b, group?))) {
            None => Ok(()),
            Some((a, b, group)) => {
                let text = format!("properties `{a}` and `{b}` contradict each other");
                Err(Reason::new(Code::Invalid, text)
                    .because(format!("both name group `{group}`"))
                    .hint(format!("name `{group}` in one of them")))
            }
        }
    }

    fn is_kept_from(&self, group: &GroupId) -> bool {
        self.anti_affinity.all().any(|other| other == group)
    }
}

fn in_both(relation: &Relation) -> Option<&GroupId> {
    relation.preferred.intersection(&relation.required).next()
}

/// Parses `measured,licence=1`: what is declared, and whether the rest is measured.
///
/// # Errors
/// Names the part that is no amount.
pub fn demand(text: &str) -> Result<(Amounts, bool), Reason> {
    let parts = || text.split(',').map(str::trim);
    let declared: Vec<&str> = parts().filter(|part| *part != MEASURED).collect();
    Ok((Amounts::parse(&declared.join(","))?, declared.len() < parts().count()))
}

/// Parses `db,cache`: names of groups with commas between them.
#[must_use]
pub fn groups(text: &str) -> Option<BTreeSet<GroupId>> {
    let names: Vec<&str> = text.split(',').map(str::trim).collect();
    let fine = names.len() <= NAMED_MAX && names.iter().all(|name| GroupId::is_valid(name));
    fine.then(|| names.into_iter().map(GroupId::from).collect())
}

fn joined(list: &BTreeSet<GroupId>) -> String {
    list.iter().map(GroupId::as_str).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_have_the_names_people_know() {
        for (text, number) in [("low", 1_000), ("medium", 2_000), ("high", 3_000), ("7", 7)] {
            let priority = Priority::parse(text).unwrap();
            assert_eq!((priority.0, priority.text().as_str()), (number, text));
        }
        assert_eq!(Priority::parse("3000").unwrap().text(), "high");
        for bad in ["", "0", "10000", "highest", "-1"] {
            assert_eq!(Priority::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn rules_that_contradict_each_other_are_refused() {
        let mut rules = Rules::default();
        rules.set("affinity", Some("db")).unwrap();
        assert_eq!(rules.check(), Ok(()));
        rules.set("anti-affinity-required", Some("web, db")).unwrap();
        assert!(rules.check().unwrap_err().to_string().contains("both name group `db`"));
        rules.set("affinity", None).unwrap();
        rules.set("demand", Some("cpu=1,memory=1G")).unwrap();
        assert_eq!(rules.check(), Ok(()));
        rules.set("demand-required", Some("memory=2G")).unwrap();
        assert!(rules.check().unwrap_err().text.contains("both name `memory`"));
        assert!(!rules.set("colour", Some("red")).unwrap());
        assert_eq!(groups("a b"), None);
        assert_eq!(groups(""), None);
    }
}
