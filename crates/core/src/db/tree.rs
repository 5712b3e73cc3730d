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
    let mut above: BTreeMap<&ResourceId, Vec<&ResourceConfig>> = BTreeMap::new();
    let mut missing: BTreeMap<&ResourceId, usize> = BTreeMap::new();
    for resource in resources.values().filter(|r| !r.depends_on.is_empty()) {
        missing.insert(&resource.id, resource.depends_on.len());
        resource.depends_on.iter().for_each(|d| above.entry(d).or_default().push(resource));
    }
    let mut order: Vec<&ResourceConfig> = Vec::with_capacity(resources.len());
    let mut wave: Vec<&ResourceConfig> =
        resources.values().filter(|r| r.depends_on.is_empty()).collect();
    while !wave.is_empty() {
        let mut next = Vec::new();
        for resource in wave.iter().flat_map(|r| above.remove(&r.id).unwrap_or_default()) {
            let left = missing.entry(&resource.id).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 {
                next.push(resource);
            }
        }
        next.sort_by(|a, b| a.id.cmp(&b.id));
        order.append(&mut wave);
        wave = next;
    }
    order
}

/// Whether some resource depends on itself by any path.
#[must_use]
pub fn has_cycle(resources: &Resources) -> bool {
    online_order(resources).len() < resources.len()
}

/// Whether a resource may depend on these: all are in the group, and no way leads from them back
/// to it.
#[must_use]
pub fn may_stand_on(resources: &Resources, id: &ResourceId, on: &BTreeSet<ResourceId>) -> bool {
    let none = BTreeSet::new();
    let below = reached(resources, &none, on.iter().collect());
    below.into_iter().all(|below| below != id && resources.contains_key(below))
}

/// All these with all that they depend on, directly or through others: by the resources, and by
/// more pairs of which the first depends on the second.
fn reached<'a>(
    resources: &'a Resources,
    more: &'a BTreeSet<(ResourceId, ResourceId)>,
    mut open: Vec<&'a ResourceId>,
) -> BTreeSet<&'a ResourceId> {
    let mut seen = BTreeSet::new();
    while let Some(next) = open.pop() {
        if seen.insert(next) {
            open.extend(resources.get(next).into_iter().flat_map(|r| &r.depends_on));
            open.extend(more.iter().filter(|(id, _)| id == next).map(|(_, on)| on));
        }
    }
    seen
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

/// Whether the first depends on the second, directly or through others: by the resources, and by
/// more pairs of which the first depends on the second.
#[must_use]
pub fn leads_to(
    resources: &Resources,
    more: &BTreeSet<(ResourceId, ResourceId)>,
    (from, to): (&ResourceId, &ResourceId),
) -> bool {
    reached(resources, more, vec![from]).contains(to)
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

    /// A tree may be as deep as a group is large; one that closes is named, all of it.
    #[test]
    fn a_tree_of_200_levels_has_an_order_and_its_circle_a_way() {
        let name = |i: usize| format!("l{i:03}");
        let mut deep: Resources = (0..200)
            .map(|i| match i {
                0 => (name(0).as_str().into(), resource(&name(0), &[])),
                _ => (name(i).as_str().into(), resource(&name(i), &[&name(i - 1)])),
            })
            .collect();
        assert_eq!(names(&online_order(&deep)), (0..200).map(name).collect::<Vec<_>>());
        let top = BTreeSet::from([name(199).as_str().into()]);
        let bottom: ResourceId = name(0).as_str().into();
        assert!(!may_stand_on(&deep, &bottom, &top));
        deep.insert(bottom.clone(), resource(bottom.as_str(), &[&name(199)]));
        let way = circle(&deep).unwrap();
        assert_eq!((way.len(), &way[0]), (201, &bottom));
        assert_eq!(way.last(), way.first());
    }

    #[test]
    fn a_cycle_and_all_above_it_have_no_place() {
        let tree = tree(&[("a", &["b"]), ("b", &["a"]), ("c", &["a"]), ("d", &[])]);
        assert_eq!(names(&online_order(&tree)), ["d"]);
        assert!(has_cycle(&tree));
    }

    #[test]
    fn a_dependency_that_would_close_a_circle_or_leave_the_group_is_seen() {
        let tree = tree(&[("fs", &["nn"]), ("nn", &["ip"]), ("ip", &[]), ("disk", &[])]);
        let may = |id: &str, on: &str| may_stand_on(&tree, &id.into(), &[on.into()].into());
        assert!(may("ip", "disk") && may("fs", "disk"));
        assert!(!may("ip", "fs") && !may("ip", "ip") && !may("ip", "gone"));
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
    fn one_leads_to_another_through_others_and_through_what_is_said_beside() {
        let tree = tree(&[("a", &["b"]), ("b", &["c"]), ("c", &[]), ("d", &["a"])]);
        let leads = |more: &[(&str, &str)], from: &str, to: &str| {
            let more = more.iter().map(|(id, on)| ((*id).into(), (*on).into())).collect();
            leads_to(&tree, &more, (&from.into(), &to.into()))
        };
        assert!(leads(&[], "d", "c"));
        assert!(!leads(&[], "c", "d"));
        assert!(leads(&[("c", "e"), ("e", "d")], "b", "d"));
    }

    #[test]
    fn what_stands_on_an_unwanted_resource_is_unwanted() {
        let mut tree = tree(&[("app", &["ip"]), ("ip", &[]), ("other", &[])]);
        tree.get_mut(&"ip".into()).unwrap().desired = Desired::Offline;
        assert_eq!(wanted(&tree), BTreeSet::from(["other".into()]));
    }
}
