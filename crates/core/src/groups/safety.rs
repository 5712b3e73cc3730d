//! The safety level of a group: what keeps a former owner from doing harm, and why it is no more.
//!
//! The level is a fact of the configuration: a disk whose reservation is required comes online
//! only when the device refuses everyone else. Level B needs a hardware watchdog, which is not
//! built yet.

use stead_model::external;
use stead_model::group::Group;
use stead_model::ocf::{self, Reach};
use stead_model::resource::ResourceConfig;
use stead_model::resource_type::{GENERIC_SCRIPT, PHYSICAL_DISK, RESERVATION};
use stead_model::view::SafetyLevel;

/// The level and one sentence, with what the guard cannot undo.
#[must_use]
pub fn level(group: &Group) -> (SafetyLevel, String) {
    let (level, why) = level_of_disks(group);
    let beyond = group.resources.values().filter(|resource| acts_beyond(resource));
    let names: Vec<String> = beyond.map(|resource| format!("`{}`", resource.id)).collect();
    if names.is_empty() {
        return (level, why);
    }
    let (names, verb) = (names.join(", "), if names.len() == 1 { "changes" } else { "change" });
    let but = format!("what {names} {verb} besides processes only a stop undoes");
    (level, format!("{why}; {but}"))
}

/// Whether it may change more than processes, and the guard does not know what.
fn acts_beyond(resource: &ResourceConfig) -> bool {
    let given = |name: &str| resource.properties.contains_key(name);
    match ocf::agent(&resource.kind) {
        Some(agent) => ocf::reach(agent, &resource.properties) == Reach::Unknown,
        None if external::program(&resource.kind).is_some() => true,
        None => resource.kind == GENERIC_SCRIPT && (given("script") || given("terminate-command")),
    }
}

fn level_of_disks(group: &Group) -> (SafetyLevel, String) {
    let disks = || group.resources.values().filter(|r| r.kind == PHYSICAL_DISK);
    let free: Vec<&ResourceConfig> = disks().filter(|disk| !is_reserved(disk)).collect();
    if disks().next().is_none() {
        let why = "it has no reserved disk: lease and guard stop a former owner";
        return (SafetyLevel::C, why.to_owned());
    }
    if free.is_empty() {
        let listed = listed(disks());
        let why = format!("the device refuses the writes of a former owner: {listed} reserved");
        return (SafetyLevel::A, why);
    }
    let listed = listed(free.into_iter());
    (SafetyLevel::C, format!("{listed} not reserved: lease and guard stop a former owner"))
}

fn is_reserved(disk: &ResourceConfig) -> bool {
    disk.properties.get(RESERVATION).is_none_or(|how| how == "required")
}

fn listed<'a>(disks: impl Iterator<Item = &'a ResourceConfig>) -> String {
    let names: Vec<String> = disks.map(|disk| format!("`{}`", disk.id)).collect();
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::db::validate::tests::resource;
    use stead_model::Epoch;
    use stead_model::group::{Desired, GroupPolicy};

    fn group(disks: &[(&str, Option<&str>)]) -> Group {
        let mut group = Group {
            id: "db".into(),
            policy: GroupPolicy::default(),
            desired: Desired::Online,
            ownership: None,
            epoch_last: Epoch(0),
            failed: None,
            failovers: Vec::new(),
            used: None,
            resources: BTreeMap::new(),
        };
        let dummy = resource("other", &[]);
        group.resources.insert(dummy.id.clone(), dummy);
        for (id, reservation) in disks {
            let mut disk = resource(id, &[]);
            disk.kind = PHYSICAL_DISK.to_owned();
            let given = reservation.map(|how| (RESERVATION.to_owned(), how.to_owned()));
            disk.properties.extend(given);
            group.resources.insert(disk.id.clone(), disk);
        }
        group
    }

    #[test]
    fn one_disk_that_is_not_reserved_takes_the_level_away() {
        let said = |disks: &[(&str, Option<&str>)]| {
            let (level, why) = level(&group(disks));
            format!("{level:?}: {why}")
        };
        let none = "C: it has no reserved disk: lease and guard stop a former owner";
        assert_eq!(said(&[]), none);
        let reserved = said(&[("data", None), ("log", Some("required"))]);
        let refuses = "A: the device refuses the writes of a former owner";
        assert_eq!(reserved, format!("{refuses}: `data`, `log` are reserved"));
        let one = said(&[("data", Some("required")), ("log", Some("none"))]);
        assert_eq!(one, "C: `log` is not reserved: lease and guard stop a former owner");
    }

    #[test]
    fn what_an_agent_leaves_behind_is_told() {
        let mut group = group(&[]);
        for (id, kind) in [("share", "ocf:heartbeat:exportfs"), ("web", "ocf:heartbeat:nginx")] {
            let mut agent = resource(id, &[]);
            agent.kind = kind.to_owned();
            group.resources.insert(agent.id.clone(), agent);
        }
        let (level, why) = level(&group);
        assert_eq!(level, SafetyLevel::C);
        assert!(
            why.ends_with("; what `share` changes besides processes only a stop undoes"),
            "{why}"
        );
        // What an external type changes only its program knows.
        let mut counter = resource("visits", &[]);
        counter.kind = "ext:counter".to_owned();
        group.resources.insert(counter.id.clone(), counter);
        let (_, why) = super::level(&group);
        let both = "; what `share`, `visits` change besides processes only a stop undoes";
        assert!(why.ends_with(both), "{why}");
    }
}
