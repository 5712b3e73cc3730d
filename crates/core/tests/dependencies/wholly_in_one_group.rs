//! "A tree of dependencies lies wholly in one group."

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use stead_core::db::Db;
use stead_core::planted::Planted;
use stead_model::declaration::{Declaration, DeclaredGroup, DeclaredResource};
use stead_model::reason::Code;
use stead_model::request::Request;
use stead_model::{GroupId, ResourceId};

use crate::story::always;
use crate::world::World;

const SHARE: &[(&str, &[&str])] = &[("disk", &[]), ("ip", &["disk"]), ("share", &["ip"])];

fn depend(resource: &str, on: &[&str]) -> Request {
    let depends_on: BTreeSet<ResourceId> = on.iter().map(|d| (*d).into()).collect();
    Request::SetDependencies { resource: resource.into(), depends_on }
}

#[test]
fn a_115_a_tree_lies_wholly_in_one_group() {
    let mut world = World::new(2, Planted::NONE);
    world.group("files", SHARE);
    world.group("other", &[("spool", &[])]);
    let reason = world.try_ask(depend("share", &["ip", "spool"])).unwrap_err();
    assert_eq!(reason.code, Code::Invalid);
    assert_eq!(
        reason.to_string(),
        "cannot make `share` depend on others so: `spool` is in group `other`, `share` in group \
         `files`: a tree of dependencies lies wholly in one group"
    );
    assert_eq!(reason.hint.as_deref(), Some("create such a resource in group `files`"));
    let depends_on = &world.group_of("files").resources[&"share".into()].depends_on;
    assert_eq!(*depends_on, BTreeSet::from(["ip".into()]), "nothing is half applied");
}

/// A declared file is refused as a whole, with the place.
#[test]
fn a_115_a_declared_tree_lies_wholly_in_one_group() {
    let mut world = World::new(2, Planted::NONE);
    world.group("other", &[("spool", &[])]);
    let before = world.leader.clone();
    let wanted = declaration(&[("files", "share", &["spool"])]);
    let reason = world.try_ask(Request::Apply { wanted }).unwrap_err();
    assert!(reason.text.starts_with("resource `share`: cannot make `share` depend"), "{reason}");
    assert!(reason.to_string().contains("lies wholly in one group"), "{reason}");
    assert_eq!(before.groups(), world.leader.groups());
}

/// A circle is refused, too, and told as the way that leads back.
#[test]
fn a_110_a_circle_is_refused_and_named() {
    let mut world = World::new(2, Planted::NONE);
    world.group("files", SHARE);
    let reason = world.try_ask(depend("disk", &["share"])).unwrap_err();
    assert_eq!(
        reason.to_string(),
        "cannot make `disk` depend on others so: the dependencies would go in a circle: `disk` on \
         `share` on `ip` on `disk`"
    );
    assert_eq!(reason.hint.as_deref(), Some("`group tree files` shows what depends on what"));
    let reason = world.try_ask(depend("ip", &["ip"])).unwrap_err();
    assert!(reason.to_string().ends_with("in a circle: `ip` on `ip`"), "{reason}");
}

fn declaration(resources: &[(&str, &str, &[&str])]) -> Declaration {
    let names: BTreeSet<&str> = resources.iter().map(|(group, ..)| *group).collect();
    let group = |name: &&str| DeclaredGroup {
        group: (*name).into(),
        properties: BTreeMap::new(),
        desired: None,
        line: 0,
    };
    let resource = |(group, name, on): &(&str, &str, &[&str])| DeclaredResource {
        group: (*group).into(),
        resource: (*name).into(),
        kind: "dummy".into(),
        properties: BTreeMap::new(),
        depends_on: on.iter().map(|d| (*d).into()).collect(),
        desired: None,
        line: 0,
    };
    Declaration {
        groups: names.iter().map(group).collect(),
        resources: resources.iter().map(resource).collect(),
        ..Declaration::default()
    }
}

/// How the requests come: one by one, or as a declaration of all.
#[derive(Clone, Debug)]
struct Asked {
    resource: usize,
    on: Vec<usize>,
    declared: bool,
}

const GROUPS: [&str; 3] = ["a", "b", "c"];
const EACH: usize = 4;

fn name_of(i: usize) -> String {
    format!("{}{}", GROUPS[i / EACH], i % EACH)
}

fn asked() -> impl Strategy<Value = Asked> {
    let any_resource = || 0..GROUPS.len() * EACH;
    let near = prop::collection::vec(any_resource(), 0..4);
    (any_resource(), near, prop::bool::weighted(0.5), any::<bool>()).prop_map(
        |(resource, on, inside, declared)| {
            // Half of them stay in their group, so that trees grow at all.
            let own = resource - resource % EACH;
            let on = on.into_iter().map(|i| if inside { own + i % EACH } else { i }).collect();
            Asked { resource, on, declared }
        },
    )
}

/// All resources with their groups and what they depend on.
fn all(db: &Db) -> BTreeMap<ResourceId, (GroupId, BTreeSet<ResourceId>)> {
    let each = db.groups().values().flat_map(|group| {
        let of = |r: &stead_model::resource::ResourceConfig| {
            (r.id.clone(), (group.id.clone(), r.depends_on.clone()))
        };
        group.resources.values().map(of)
    });
    each.collect()
}

/// Whether a resource reaches itself, the dumb way.
fn goes_round(
    all: &BTreeMap<ResourceId, (GroupId, BTreeSet<ResourceId>)>,
    from: &ResourceId,
) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(next) = open.pop() {
        for on in &all[next].1 {
            if on == from {
                return true;
            }
            if seen.insert(on) {
                open.push(on);
            }
        }
    }
    false
}

fn request(world: &World, asked: &Asked) -> Request {
    let resource = ResourceId::from(name_of(asked.resource).as_str());
    let depends_on: BTreeSet<ResourceId> =
        asked.on.iter().map(|i| name_of(*i).as_str().into()).collect();
    if !asked.declared {
        return Request::SetDependencies { resource, depends_on };
    }
    let mut now = all(&world.leader);
    let home = now[&resource].0.clone();
    now.retain(|_, (group, _)| *group == home);
    now.insert(resource, (home.clone(), depends_on));
    let declared: Vec<(String, Vec<String>)> = now
        .iter()
        .map(|(id, (_, on))| (id.to_string(), on.iter().map(ToString::to_string).collect()))
        .collect();
    let on: Vec<Vec<&str>> =
        declared.iter().map(|(_, on)| on.iter().map(String::as_str).collect()).collect();
    let resources: Vec<(&str, &str, &[&str])> = declared
        .iter()
        .zip(&on)
        .map(|((id, _), on)| (home.as_str(), id.as_str(), on.as_slice()))
        .collect();
    Request::Apply { wanted: declaration(&resources) }
}

/// Whatever is asked for, no tree leaves its group and none goes round; and nothing else is
/// refused.
#[test]
fn a_115_whatever_is_asked_a_tree_lies_wholly_in_one_group() {
    let counts = [const { std::cell::Cell::new(0) }; 3];
    always(60, &prop::collection::vec(asked(), 1..40), |requests| {
        let mut world = World::new(1, Planted::NONE);
        for group in GROUPS {
            let names: Vec<String> = (0..EACH).map(|i| format!("{group}{i}")).collect();
            let resources: Vec<(&str, &[&str])> =
                names.iter().map(|name| (name.as_str(), [].as_slice())).collect();
            world.group(group, &resources);
        }
        for asked in &requests {
            let across = asked.on.iter().any(|i| i / EACH != asked.resource / EACH);
            let mut would = all(&world.leader);
            let own = ResourceId::from(name_of(asked.resource).as_str());
            would.get_mut(&own).unwrap().1 =
                asked.on.iter().map(|i| name_of(*i).as_str().into()).collect();
            let round = !across && would.keys().any(|id| goes_round(&would, id));
            let answer = world.try_ask(request(&world, asked));
            prop_assert_eq!(answer.is_err(), across || round, "{:?}: {:?}", asked, answer);
            let kind = if across { 0 } else { 1 + usize::from(round) };
            counts[kind].set(counts[kind].get() + 1);
            let now = all(&world.leader);
            for (id, (home, on)) in &now {
                prop_assert!(on.iter().all(|d| now[d].0 == *home), "{} leaves {}", id, home);
                prop_assert!(!goes_round(&now, id), "{} stands on itself", id);
            }
        }
        Ok(())
    });
    assert!(counts.iter().all(|count| count.get() > 50), "{counts:?}");
}
