//! What a change of the database would cause: the leader's own planner, run ahead on a copy.
//!
//! Pure, and on the assumptions that nobody fails meanwhile, that every owner that is told to stop
//! stops and that what is given to a node comes online there. So it says what the cluster sets out
//! to do, not how long it takes.

use std::collections::{BTreeMap, BTreeSet};

use stead_model::declaration::{Consequence, Deed, Difference, Foreseen, Turn};
use stead_model::group::{Desired, Group};
use stead_model::remote::RemoteAdmin;
use stead_model::resource::{Health, ResourceConfig, ResourceState};
use stead_model::resource_type::builtin;
use stead_model::room::Room;
use stead_model::wire::peer::{GroupReport, Report, ResourceStatus, Standing};
use stead_model::{AdminId, AlertId, Epoch, GroupId, NodeId, ResourceId};

use super::placement::Layout;
use super::{NodeLive, PlanInput, order, plan};
use crate::db::{Db, shall_run, tree};
use crate::resources::orders::restarts;

/// Planning rounds run ahead at most: a move takes two, and groups that start one after the other
/// take one each.
const ROUNDS_MAX: usize = 32;

/// What `after`, made of the database of `input`, differs in and would cause.
#[must_use]
pub fn foresee(input: &PlanInput<'_>, after: &Db) -> Foreseen {
    let end = run_ahead(input, after.clone());
    let mut foreseen = Foreseen::default();
    let names: BTreeSet<&GroupId> = input.db.groups().keys().chain(after.groups().keys()).collect();
    for id in names {
        compare(id, (input.db.group(id), after.group(id)), &mut foreseen.differences);
        let course = Course { input, end: &end, before: input.db.group(id), after: end.group(id) };
        course.consequences(&mut foreseen.consequences);
    }
    compare_alerts((input.db, after), &mut foreseen.differences);
    compare_rooms((input.db, after), &mut foreseen.differences);
    compare_admins((input.db, after), &mut foreseen.differences);
    foreseen
}

/// The database after all that the planner does about it.
fn run_ahead(input: &PlanInput<'_>, mut db: Db) -> Db {
    for _ in 0..ROUNDS_MAX {
        let reports = obedient(input, &db);
        let nodes = input.nodes.iter().map(|(node, live)| {
            let report = reports.get(node).or(live.report);
            (*node, NodeLive { report, ..*live })
        });
        let seen = PlanInput { db: &db, nodes: nodes.collect(), ..input.clone() };
        let changes = plan(&seen).changes;
        let fits = changes.iter().filter(|change| db.rehearse(change).is_ok()).count();
        if fits == 0 {
            break;
        }
    }
    db
}

/// Reports of the owners as if each had stopped what it is told to stop, and brought online what
/// it was given meanwhile.
fn obedient(input: &PlanInput<'_>, db: &Db) -> BTreeMap<NodeId, Report> {
    let mut reports: BTreeMap<NodeId, Report> = BTreeMap::new();
    for group in db.groups().values() {
        let Some(owned) = &group.ownership else { continue };
        let Some(live) = input.nodes.get(&owned.node) else { continue };
        let Some(present) = live.report else { continue };
        let known = input.db.group(&group.id).and_then(|before| before.ownership.as_ref());
        let given = known.is_none_or(|before| before.epoch != owned.epoch) && live.eligible;
        let standing = match owned.release {
            Some(_) => Standing::Stopped,
            None if given => Standing::Held,
            None => continue,
        };
        let report = reports.entry(owned.node).or_insert_with(|| present.clone());
        report.groups.retain(|g| g.group != group.id);
        report.groups.push(in_order(group, owned.epoch, standing));
    }
    reports
}

/// What an owner says of a group about which all is as it shall be.
fn in_order(group: &Group, epoch: Epoch, standing: Standing) -> GroupReport {
    let online = |resource: ResourceId| ResourceStatus {
        resource,
        state: ResourceState::Online,
        health: Health::Good,
        detail: None,
        restarts: 0,
        used: None,
    };
    let resources = match standing {
        Standing::Held if shall_run(group) => tree::wanted(&group.resources),
        Standing::Held | Standing::GaveUp(_) | Standing::NeedsEpoch | Standing::Stopped => {
            BTreeSet::new()
        }
    };
    let resources = resources.into_iter().map(online).collect();
    GroupReport { group: group.id.clone(), epoch, standing, resources }
}

/// One group, now and in the end.
struct Course<'a> {
    input: &'a PlanInput<'a>,
    end: &'a Db,
    before: Option<&'a Group>,
    after: Option<&'a Group>,
}

impl Course<'_> {
    fn consequences(&self, out: &mut Vec<Consequence>) {
        let (from, was) = self.before.map_or((None, BTreeSet::new()), running);
        let (to, is) = self.after.map_or((None, BTreeSet::new()), running);
        if let Some(group) = self.after.filter(|g| shall_run(g) && to.is_none()) {
            out.push(self.nowhere(group));
        }
        let both = || was.intersection(&is).cloned().collect::<BTreeSet<_>>();
        if let (Some(from), Some(to)) = (from, to)
            && from != to
            && !was.is_empty()
        {
            let mut moved = self.told(Deed::Move, to, &both());
            moved.from = Some(from);
            out.push(moved);
        } else if let Some(node) = to {
            out.extend(self.some(Deed::Restart, node, &self.changed(&both())));
        }
        let ends: BTreeSet<_> = was.difference(&is).cloned().collect();
        let begins: BTreeSet<_> = is.difference(&was).cloned().collect();
        out.extend(from.and_then(|node| self.some(Deed::Stop, node, &ends)));
        out.extend(to.and_then(|node| self.some(Deed::Start, node, &begins)));
    }

    fn some(&self, deed: Deed, node: NodeId, which: &BTreeSet<ResourceId>) -> Option<Consequence> {
        (!which.is_empty()).then(|| self.told(deed, node, which))
    }

    fn told(&self, deed: Deed, node: NodeId, which: &BTreeSet<ResourceId>) -> Consequence {
        let group = self.after.or(self.before);
        let order = group.map(|g| tree::online_order(&g.resources)).unwrap_or_default();
        let mut resources: Vec<ResourceId> =
            order.iter().filter(|r| which.contains(&r.id)).map(|r| r.id.clone()).collect();
        let rest = which.iter().filter(|id| !order.iter().any(|r| r.id == **id));
        resources.extend(rest.cloned());
        let why = self.why(deed);
        let group = group.map_or_else(|| GroupId::from(""), |g| g.id.clone());
        Consequence { group, deed, resources, node: Some(node), from: None, why }
    }

    fn why(&self, deed: Deed) -> String {
        match deed {
            Deed::Stop => match self.after {
                None => "the group is deleted".to_owned(),
                Some(group) if group.desired == Desired::Offline => {
                    "the group shall be offline".to_owned()
                }
                Some(_) => "they shall be offline".to_owned(),
            },
            Deed::Restart => "their properties change, or those of what they stand on".to_owned(),
            Deed::Start | Deed::Move | Deed::Nowhere => {
                let owned = self.after.and_then(|g| g.ownership.as_ref());
                let granted_anew = owned.filter(|o| {
                    let before = self.before.and_then(|g| g.ownership.as_ref());
                    before.is_none_or(|b| b.epoch != o.epoch)
                });
                granted_anew.map_or_else(|| "they shall be online".to_owned(), |o| o.why.clone())
            }
        }
    }

    /// Resources that run on, but with other properties, and all that stands on them.
    fn changed(&self, which: &BTreeSet<ResourceId>) -> BTreeSet<ResourceId> {
        let (Some(before), Some(after)) = (self.before, self.after) else { return BTreeSet::new() };
        let mut changed = BTreeSet::new();
        for resource in tree::online_order(&after.resources) {
            let was = before.resources.get(&resource.id);
            let differs = was.is_some_and(|was| restarts(was, resource));
            let shaken = resource.depends_on.iter().any(|d| changed.contains(d));
            if which.contains(&resource.id) && (differs || shaken) {
                changed.insert(resource.id.clone());
            }
        }
        changed
    }

    fn nowhere(&self, group: &Group) -> Consequence {
        let input = PlanInput { db: self.end, ..self.input.clone() };
        let layout = Layout::new(&input);
        let places = || {
            let why: Vec<String> =
                layout.candidates(&group.id).into_iter().map(|c| c.why).collect();
            why.join("; ")
        };
        let why = order::awaited(&layout, group).unwrap_or_else(places);
        let deed = Deed::Nowhere;
        Consequence {
            group: group.id.clone(),
            deed,
            resources: Vec::new(),
            node: None,
            from: None,
            why,
        }
    }
}

/// Where a group runs, and which of its resources shall.
fn running(group: &Group) -> (Option<NodeId>, BTreeSet<ResourceId>) {
    let owner = group.ownership.as_ref().map(|o| o.node);
    match owner {
        Some(_) if shall_run(group) => (owner, tree::wanted(&group.resources)),
        Some(_) | None => (owner, BTreeSet::new()),
    }
}

fn compare(
    id: &GroupId,
    (before, after): (Option<&Group>, Option<&Group>),
    out: &mut Vec<Difference>,
) {
    let of = |resource: Option<&ResourceId>, turn| Difference {
        group: Some(id.clone()),
        resource: resource.cloned(),
        ..nothing(turn)
    };
    match (before, after) {
        (None, Some(_)) => out.push(of(None, Turn::Added)),
        (Some(_), None) => out.push(of(None, Turn::Removed)),
        (Some(_), Some(_)) | (None, None) => {}
    }
    let told = if before.is_some() { Told::All } else { Told::Set };
    let texts = |group: Option<&Group>| group.map(|g| group_texts(g, told)).unwrap_or_default();
    differ(&of(None, Turn::Changed), (texts(before), texts(after)), before.is_some(), out);
    let resources = |group: Option<&Group>| group.map(|g| g.resources.clone()).unwrap_or_default();
    let (was, is) = (resources(before), resources(after));
    let names: BTreeSet<&ResourceId> = was.keys().chain(is.keys()).collect();
    for name in names {
        let (was, is) = (was.get(name), is.get(name));
        match (was, is) {
            (None, Some(_)) => out.push(of(Some(name), Turn::Added)),
            (Some(_), None) => {
                out.push(of(Some(name), Turn::Removed));
                continue;
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        let present = was.is_some();
        let told = if present { Told::All } else { Told::Set };
        let texts =
            |r: Option<&ResourceConfig>| r.map(|r| resource_texts(r, told)).unwrap_or_default();
        differ(&of(Some(name), Turn::Changed), (texts(was), texts(is)), present, out);
    }
}

fn compare_alerts((before, after): (&Db, &Db), out: &mut Vec<Difference>) {
    let texts = |db: &Db| db.alerts().iter().map(|(id, a)| (id.clone(), a.properties())).collect();
    let about = |alert: &AlertId| Difference { alert: Some(alert.clone()), ..nothing(Turn::Added) };
    compare_named((texts(before), texts(after)), about, out);
}

fn compare_rooms((before, after): (&Db, &Db), out: &mut Vec<Difference>) {
    let texts = |db: &Db| db.rooms().iter().map(|(id, room)| (*id, room_texts(room))).collect();
    let about = |node: &NodeId| Difference { node: Some(*node), ..nothing(Turn::Added) };
    compare_named((texts(before), texts(after)), about, out);
}

fn compare_admins((before, after): (&Db, &Db), out: &mut Vec<Difference>) {
    let texts = |db: &Db| db.admins().into_iter().map(admin_texts).collect();
    let about = |admin: &AdminId| Difference { admin: Some(admin.clone()), ..nothing(Turn::Added) };
    compare_named((texts(before), texts(after)), about, out);
}

fn compare_named<Name: Ord>(
    (before, after): (BTreeMap<Name, Texts>, BTreeMap<Name, Texts>),
    about: impl Fn(&Name) -> Difference,
    out: &mut Vec<Difference>,
) {
    for (name, is) in &after {
        let was = before.get(name);
        if was.is_none() {
            out.push(about(name));
        }
        let texts = (was.cloned().unwrap_or_default(), is.clone());
        differ(&about(name), texts, was.is_some(), out);
    }
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    out.extend(gone.map(|name| Difference { turn: Turn::Removed, ..about(name) }));
}

fn nothing(turn: Turn) -> Difference {
    Difference {
        group: None,
        resource: None,
        alert: None,
        node: None,
        admin: None,
        turn,
        property: None,
        from: None,
        to: None,
    }
}

fn room_texts(room: &Room) -> Texts {
    let local = room.local.iter().map(|(name, needs)| (format!("local {name}"), needs.to_string()));
    let capacity = ("capacity".to_owned(), room.capacity.to_string());
    std::iter::once(capacity).filter(|(_, text)| !text.is_empty()).chain(local).collect()
}

fn admin_texts(admin: RemoteAdmin) -> (AdminId, Texts) {
    let texts = [("role", admin.role.to_string()), ("certificate", admin.certificate)];
    (admin.admin, texts.map(|(name, text)| (name.to_owned(), text)).into())
}

type Texts = BTreeMap<String, String>;

/// The properties that differ; of something new, those that are not the default.
fn differ(about: &Difference, (was, is): (Texts, Texts), present: bool, out: &mut Vec<Difference>) {
    let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    for name in names.into_iter().filter(|name| was.get(*name) != is.get(*name)) {
        let (from, to) = (was.get(name).cloned(), is.get(name).cloned());
        let turn = if present { Turn::Changed } else { Turn::Added };
        out.push(Difference { turn, property: Some(name.clone()), from, to, ..about.clone() });
    }
}

/// Which properties are told of something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// All.
    All,
    /// Those that do not have their defaults.
    Set,
}

/// What a group is declared with.
fn group_texts(group: &Group, told: Told) -> Texts {
    let mut texts: Texts = match told {
        Told::All => owned(group.policy.properties()),
        Told::Set => group.policy.settings(),
    };
    texts.insert("desired".to_owned(), group.desired.word().to_owned());
    texts
}

/// What a resource is declared with.
fn resource_texts(resource: &ResourceConfig, told: Told) -> Texts {
    let mut texts = owned(match told {
        Told::All => resource.policy.properties(),
        Told::Set => resource.policy.settings(),
    });
    let kind = builtin(&resource.kind);
    let default = |name: &str| kind?.properties.iter().find(|p| p.name == name)?.default;
    let shown = |(name, value): &(&String, &String)| {
        told == Told::All || default(name) != Some(value.as_str())
    };
    let own = resource.properties.iter().filter(shown);
    texts.extend(own.map(|(name, value)| (name.clone(), value.clone())));
    texts.insert("type".to_owned(), resource.kind.clone());
    texts.insert("desired".to_owned(), resource.desired.word().to_owned());
    if let Some(owners) = &resource.possible_owners {
        let owners: Vec<String> = owners.iter().map(ToString::to_string).collect();
        texts.insert("possible-owners".to_owned(), owners.join(","));
    }
    if !resource.depends_on.is_empty() {
        let names: Vec<&str> = resource.depends_on.iter().map(ResourceId::as_str).collect();
        texts.insert("depends-on".to_owned(), names.join(","));
    }
    texts
}

fn owned(texts: BTreeMap<&'static str, String>) -> Texts {
    texts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
