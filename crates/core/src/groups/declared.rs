//! A declaration becomes changes: all that makes groups as somebody wants them, in one entry.
//!
//! Judged step by step on a copy of the database by the rules of single requests, so that what
//! each of them would refuse refuses the whole, with the place in the declaration; nothing is half
//! applied. The copy is what the cluster will have, for [`super::foreseen`].
//!
//! Order: what must be gone before something else fits comes first. Dependencies that end, then
//! deletions, changed properties, new resources, new dependencies, desired states. What the whole
//! cluster is declared with besides is in [`super::whole`].

use std::collections::{BTreeMap, BTreeSet};

use stead_model::alert::Alert;
use stead_model::change::Change;
use stead_model::core_group::{CLUSTER_NAME, is_core_resource};
use stead_model::declaration::{Declaration, DeclaredAlert, DeclaredGroup, DeclaredResource};
use stead_model::group::{Desired, GroupPolicy};
use stead_model::reason::{Code, Reason};
use stead_model::resource_type::COMMON;
use stead_model::server::NAME;
use stead_model::{AlertId, GroupId, NodeId, ResourceId, ocf};

use super::PlanInput;
use super::requests::deletable;
use crate::db::properties::{self, Settings};
use crate::db::validate::{self as check, Members, NewResource};
use crate::db::{Db, Networks, alerts, relations, size, tree};

/// What makes groups as they are declared.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The database as it would be.
    pub db: Db,
    /// The changes that lead there.
    pub changes: Vec<Change>,
}

/// Works out what makes groups as they are declared. `limit_bytes` is the largest database allowed.
///
/// # Errors
/// The first thing that does not fit, with its place in the declaration.
pub fn draft(
    wanted: &Declaration,
    input: &PlanInput<'_>,
    limit_bytes: u64,
) -> Result<Draft, Reason> {
    check_names(wanted)?;
    let nodes: Vec<NodeId> = input.nodes.keys().copied().collect();
    let draft = Draft { db: input.db.clone(), changes: Vec::new() };
    let networks = input.networks();
    let mut drawing = Drawing { wanted, input, nodes, networks, draft };
    for group in &wanted.groups {
        drawing.group(group).map_err(|why| of_group(group, why))?;
    }
    for group in &wanted.groups {
        drawing.relations(group).map_err(|why| of_group(group, why))?;
    }
    if wanted.whole.is_some() {
        drawing.draft.undeclared(wanted, input)?;
    }
    for group in &wanted.groups {
        drawing.end_of_old(group).map_err(|why| of_group(group, why))?;
    }
    for resource in &wanted.resources {
        drawing.resource(resource).map_err(|why| of_resource(resource, why))?;
    }
    for resource in &wanted.resources {
        drawing.depends(resource).map_err(|why| of_resource(resource, why))?;
    }
    for resource in &wanted.resources {
        drawing.resource_desired(resource).map_err(|why| of_resource(resource, why))?;
    }
    for resource in &wanted.resources {
        drawing.stands(resource).map_err(|why| of_resource(resource, why))?;
    }
    for group in &wanted.groups {
        drawing.group_desired(group).map_err(|why| of_group(group, why))?;
    }
    for alert in &wanted.alerts {
        drawing.alert(alert).map_err(|why| of_alert(alert, why))?;
    }
    if let Some(whole) = &wanted.whole {
        drawing.draft.rest(whole, input)?;
    }
    drawing.draft.check_size(input.db, limit_bytes)?;
    Ok(drawing.draft)
}

impl Draft {
    pub(super) fn push(&mut self, change: Change) -> Result<(), Reason> {
        self.db.rehearse(&change).map_err(|skip| {
            Reason::new(Code::Conflict, "it does not fit").because(skip.to_string())
        })?;
        self.changes.push(change);
        Ok(())
    }

    /// Refuses what makes the database larger than it may be.
    pub(super) fn check_size(&self, present: &Db, limit_bytes: u64) -> Result<(), Reason> {
        let limit = limit_bytes.min(size::DATABASE_BYTES_MAX);
        let (before, after) = (present.size_bytes(), self.db.size_bytes());
        if after <= limit || after <= before {
            return Ok(());
        }
        Err(Reason::new(Code::TooMuch, "the cluster database would be too large")
            .because(format!("it has {before} bytes, then it had {after}, the limit is {limit}"))
            .hint("declare less, or delete what is not needed any more"))
    }
}

struct Drawing<'a> {
    wanted: &'a Declaration,
    input: &'a PlanInput<'a>,
    nodes: Vec<NodeId>,
    networks: Networks<'a>,
    draft: Draft,
}

impl Drawing<'_> {
    fn members(&self) -> Members<'_> {
        let (nodes, host_names) = (&self.nodes[..], self.input.host_names);
        Members { nodes, host_names, networks: &self.networks }
    }

    fn push(&mut self, change: Change) -> Result<(), Reason> {
        self.draft.push(change)
    }

    fn group(&mut self, wanted: &DeclaredGroup) -> Result<(), Reason> {
        let mut policy = GroupPolicy::default();
        properties::set_group(&mut policy, &given(&wanted.properties), &self.nodes)?;
        let id = &wanted.group;
        match self.draft.db.group(id) {
            None => {
                let change = check::create_group(&self.draft.db, id, &policy, &self.nodes)?;
                self.push(change)
            }
            Some(present) if present.policy != policy => {
                self.push(Change::SetGroupPolicy { group: id.clone(), policy })
            }
            Some(_) => Ok(()),
        }
    }

    /// Groups of the same declaration may name each other, in any order.
    fn relations(&self, wanted: &DeclaredGroup) -> Result<(), Reason> {
        let present = check::group(&self.draft.db, &wanted.group)?;
        relations::check(&self.draft.db, &wanted.group, &present.policy.rules)
    }

    /// Dependencies that are no longer wanted, then resources that are no longer declared, those
    /// that depend on others first.
    fn end_of_old(&mut self, group: &DeclaredGroup) -> Result<(), Reason> {
        let Some(present) = self.draft.db.group(&group.group) else { return Ok(()) };
        let order: Vec<ResourceId> = tree::online_order(&present.resources)
            .into_iter()
            .rev()
            .map(|r| r.id.clone())
            .collect();
        let wanted = self.wanted.resources.iter().filter(|r| r.group == group.group);
        let wanted: BTreeMap<&ResourceId, &DeclaredResource> =
            wanted.map(|r| (&r.resource, r)).collect();
        for id in &order {
            let Some(declared) = wanted.get(id) else { continue };
            let Some((_, now)) = self.draft.db.resource(id) else { continue };
            let kept: BTreeSet<_> = now.depends_on.intersection(&declared.depends_on).collect();
            if kept.len() < now.depends_on.len() {
                let depends_on = kept.into_iter().cloned().collect();
                self.push(Change::SetDependencies { resource: id.clone(), depends_on })?;
            }
        }
        for id in order.iter().filter(|id| !wanted.contains_key(id)) {
            if is_core_resource(id) {
                self.draft.let_go(id, self.input)?;
                continue;
            }
            let change = check::delete_resource(&self.draft.db, id)?;
            deletable(self.input, id)?;
            self.push(change)?;
        }
        Ok(())
    }

    fn resource(&mut self, wanted: &DeclaredResource) -> Result<(), Reason> {
        let db = &self.draft.db;
        let Some((home, present)) = db.resource(&wanted.resource) else {
            let properties = &self.properties(wanted);
            let (group, id, kind) = (&wanted.group, &wanted.resource, &wanted.kind);
            let new = NewResource { group, id, kind, properties };
            let change = check::create_resource(db, new, self.members())?;
            return self.push(change);
        };
        if home.id != wanted.group {
            let text = format!("it is in group `{}` already", home.id);
            return Err(Reason::new(Code::Exists, text).hint("names are unique in the cluster"));
        }
        if present.kind != wanted.kind {
            let text = format!("it is of type `{}`, not `{}`", present.kind, wanted.kind);
            return Err(Reason::new(Code::Conflict, text)
                .because("a resource keeps its type")
                .hint("give the new one another name"));
        }
        let mut settings = given(&self.properties(wanted));
        let others = present.properties.keys().map(String::as_str);
        let names = others.chain(COMMON.iter().map(|p| p.name));
        // What its agent advised when it was made stays, or the same file would change it.
        for name in names.filter(|name| !ocf::is_advised(&wanted.kind, name)) {
            settings.entry(name.to_owned()).or_insert(None);
        }
        let change = check::set_resource(db, &wanted.resource, &settings, self.members())?;
        let Change::SetResource { properties, policy, possible_owners, .. } = &change else {
            return Ok(());
        };
        let same = *properties == present.properties
            && *policy == present.policy
            && *possible_owners == present.possible_owners;
        if same { Ok(()) } else { self.push(change) }
    }

    /// What it is declared with. The cluster has one name, whichever the backup is from.
    fn properties(&self, wanted: &DeclaredResource) -> BTreeMap<String, String> {
        let mut properties = wanted.properties.clone();
        if wanted.resource.as_str() == CLUSTER_NAME {
            properties.insert(NAME.to_owned(), self.input.cluster.to_owned());
        }
        properties
    }

    fn depends(&mut self, wanted: &DeclaredResource) -> Result<(), Reason> {
        let (_, present) = check::resource(&self.draft.db, &wanted.resource)?;
        if present.depends_on == wanted.depends_on {
            return Ok(());
        }
        let db = &self.draft.db;
        let change = check::set_dependencies(db, &wanted.resource, &wanted.depends_on)?;
        self.push(change)
    }

    /// What is new shall be online, and so shall all of a whole cluster; what is there stays as it
    /// is otherwise, unless it is said.
    fn resource_desired(&mut self, wanted: &DeclaredResource) -> Result<(), Reason> {
        let (_, present) = check::resource(&self.draft.db, &wanted.resource)?;
        let unsaid = if self.comes(wanted) { Desired::Online } else { present.desired };
        let desired = wanted.desired.unwrap_or(unsaid);
        if present.desired == desired {
            return Ok(());
        }
        self.push(Change::SetResourceDesired { resource: wanted.resource.clone(), desired })
    }

    /// Whether what is not said to be offline shall be online.
    fn comes(&self, wanted: &DeclaredResource) -> bool {
        self.wanted.whole.is_some() || self.input.db.resource(&wanted.resource).is_none()
    }

    /// What is said to be online stands on nothing that shall be offline.
    fn stands(&self, wanted: &DeclaredResource) -> Result<(), Reason> {
        let (home, present) = check::resource(&self.draft.db, &wanted.resource)?;
        let comes = wanted.desired.is_none() && self.comes(wanted);
        let said = wanted.desired == Some(Desired::Online) || comes;
        let offline =
            |d: &&ResourceId| home.resources.get(*d).is_some_and(|r| r.desired == Desired::Offline);
        if said {
            check::stands_on_address(home, &wanted.resource)?;
        }
        match present.depends_on.iter().find(offline).filter(|_| said) {
            None => Ok(()),
            Some(below) => Err(Reason::new(Code::Conflict, "it cannot be online")
                .because(format!("it depends on `{below}`, which shall be offline"))
                .hint(format!("let `{below}` be online, or both be offline"))),
        }
    }

    fn group_desired(&mut self, wanted: &DeclaredGroup) -> Result<(), Reason> {
        let present = check::group(&self.draft.db, &wanted.group)?.desired;
        let is_new = self.input.db.group(&wanted.group).is_none();
        let desired = wanted.desired.unwrap_or(if is_new { Desired::Online } else { present });
        if present == desired {
            return Ok(());
        }
        let change = check::set_group_desired(&self.draft.db, &wanted.group, desired)?;
        self.push(change)
    }

    fn alert(&mut self, wanted: &DeclaredAlert) -> Result<(), Reason> {
        let (db, id) = (&self.draft.db, &wanted.alert);
        let change = alerts::set(db, id, &wanted.properties)?;
        let is = |to: &Alert| db.alerts().get(id) == Some(to);
        match &change {
            Change::SetAlert { to, .. } if is(to) => Ok(()),
            _ => self.push(change),
        }
    }
}

/// Every name once, and every resource in a group that is declared.
fn check_names(wanted: &Declaration) -> Result<(), Reason> {
    let mut groups: BTreeMap<&GroupId, u32> = BTreeMap::new();
    for group in &wanted.groups {
        if let Some(line) = groups.insert(&group.group, group.line) {
            return Err(of_group(group, twice(line)));
        }
    }
    let mut alerts: BTreeMap<&AlertId, u32> = BTreeMap::new();
    for alert in &wanted.alerts {
        if let Some(line) = alerts.insert(&alert.alert, alert.line) {
            return Err(of_alert(alert, twice(line)));
        }
    }
    let mut resources: BTreeMap<&ResourceId, u32> = BTreeMap::new();
    for resource in &wanted.resources {
        if let Some(line) = resources.insert(&resource.resource, resource.line) {
            return Err(of_resource(resource, twice(line)));
        }
        if !groups.contains_key(&resource.group) {
            let text = format!("its group `{}` is not declared", resource.group);
            let hint = "declare the group beside its resources";
            return Err(of_resource(resource, Reason::new(Code::NotFound, text).hint(hint)));
        }
    }
    Ok(())
}

fn twice(line: u32) -> Reason {
    let text = match line {
        0 => "it is declared twice".to_owned(),
        line => format!("it is declared in line {line} already"),
    };
    Reason::new(Code::Exists, text).hint("give each a name of its own")
}

fn given(properties: &BTreeMap<String, String>) -> Settings {
    properties.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect()
}

fn of_group(group: &DeclaredGroup, why: Reason) -> Reason {
    placed(format!("group `{}`", group.group.as_str().escape_debug()), group.line, why)
}

fn of_alert(alert: &DeclaredAlert, why: Reason) -> Reason {
    placed(format!("alert `{}`", alert.alert.as_str().escape_debug()), alert.line, why)
}

fn of_resource(resource: &DeclaredResource, why: Reason) -> Reason {
    placed(format!("resource `{}`", resource.resource.as_str().escape_debug()), resource.line, why)
}

/// The refusal with its place before it.
fn placed(what: String, line: u32, why: Reason) -> Reason {
    let place = if line == 0 { what } else { format!("line {line}, {what}") };
    Reason { text: format!("{place}: {}", why.text), ..why }
}
