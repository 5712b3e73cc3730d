//! The dependency tree of a group: which resource waits for which.
//!
//! Total on any input: a resource in a cycle, or above something that is not in the group, has no
//! place in the order and is never wanted.
//!
//! Invariants: I-DEP, the six rules of A-115.

use std::collections::{BTreeMap, BTreeSet};

use stead_model::ResourceId;
use stead_model::group::Desired;
use stead_model::resource::ResourceConfig;

/// The resources of a group by name.
pub type Resources = BTreeMap<ResourceId, ResourceConfig>;

/// The resources in an order in which they may come online: each after all it depends on, names
/// in alphabetical order where the tree leaves it open. Resources in or above a cycle are absent.
#[must_use]
pub fn online_order(resources: &Resources) -> Vec<&ResourceConfig> {
    let mut order: Vec<&ResourceConfig> = Vec::with_capacity(resources.len());
    let mut placed = BTreeSet::new();
    loop {
        let ready = |r: &&ResourceConfig| {
            !placed.contains(&r.id) && r.depends_on.iter().all(|d| placed.contains(d))
        };
        let wave: Vec<&ResourceConfig> = resources.values().filter(ready).collect();
        if wave.is_empty() {
            return order;
        }
        placed.extend(wave.iter().map(|r| r.id.clone()));
        order.extend(wave);
    }
}

/// Whether some resource depends on itself by any path.
#[must_use]
pub fn has_cycle(resources: &Resources) -> bool {
    online_order(resources).len() < resources.len()
}

/// A way from a resource back to itself, each depending on the next, if there is one.
#[must_use]
pub fn circle(resources: &Resources) -> Option<Vec<ResourceId>> {
    let placed: BTreeSet<&ResourceId> =
        online_order(resources).into_iter().map(|r| &r.id).collect();
    // Whatever has no place has something below it that has none either, or is not in the group.
    let below = |id: &ResourceId| {
        let on = &resources.get(id)?.depends_on;
        on.iter().find(|d| resources.contains_key(*d) && !placed.contains(d))
    };
    let first = resources.keys().find(|id| !placed.contains(id))?;
    let mut way: Vec<ResourceId> = vec![first.clone()];
    loop {
        let next = below(way.last()?)?.clone();
        if let Some(at) = way.iter().position(|id| *id == next) {
            way.drain(..at);
            way.push(next);
            return Some(way);
        }
        way.push(next);
    }
}

/// The resources that shall be online in a running group: wanted themselves, and all they depend
/// on wanted too.
#[must_use]
pub fn wanted(resources: &Resources) -> BTreeSet<ResourceId> {
    let mut wanted = BTreeSet::new();
    for resource in online_order(resources) {
        let below = resource.depends_on.iter().all(|d| wanted.contains(d));
        if below && resource.desired == Desired::Online {
            wanted.insert(resource.id.clone());
        }
    }
    wanted
}

/// The resources that depend directly on this one.
pub fn dependents<'a>(
    resources: &'a Resources,
    id: &'a ResourceId,
) -> impl Iterator<Item = &'a ResourceConfig> {
    resources.values().filter(move |r| r.depends_on.contains(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::validate::tests::resource;

    fn tree(edges: &[(&str, &[&str])]) -> Resources {
        edges.iter().map(|(id, on)| ((*id).into(), resource(id, on))).collect()
    }

    fn names(order: &[&ResourceConfig]) -> Vec<String> {
        order.iter().map(|r| r.id.to_string()).collect()
    }

    #[test]
    fn the_vertical_tree_of_the_course_comes_online_from_the_bottom() {
        let tree = tree(&[("fs", &["nn"]), ("nn", &["ip"]), ("ip", &["disk"]), ("disk", &[])]);
        assert_eq!(names(&online_order(&tree)), ["disk", "ip", "nn", "fs"]);
    }

    #[test]
    fn a_cycle_and_all_above_it_have_no_place() {
        let tree = tree(&[("a", &["b"]), ("b", &["a"]), ("c", &["a"]), ("d", &[])]);
        assert_eq!(names(&online_order(&tree)), ["d"]);
        assert!(has_cycle(&tree));
    }

    #[test]
    fn a_circle_is_named_without_what_only_leads_to_it() {
        let way = |edges: &[(&str, &[&str])]| {
            let way = circle(&tree(edges))?;
            Some(way.iter().map(ResourceId::as_str).collect::<Vec<_>>().join(" "))
        };
        let three: &[(&str, &[&str])] =
            &[("a", &["x", "b"]), ("b", &["c"]), ("c", &["b"]), ("x", &[])];
        assert_eq!(way(three).unwrap(), "b c b");
        assert_eq!(way(&[("a", &["a"])]).unwrap(), "a a");
        assert_eq!(way(&[("a", &["b"]), ("b", &[])]), None);
        assert_eq!(way(&[("a", &["gone"])]), None, "what is missing is no circle");
    }

    #[test]
    fn what_stands_on_an_unwanted_resource_is_unwanted() {
        let mut tree = tree(&[("app", &["ip"]), ("ip", &[]), ("other", &[])]);
        tree.get_mut(&"ip".into()).unwrap().desired = Desired::Offline;
        assert_eq!(wanted(&tree), BTreeSet::from(["other".into()]));
    }
}
