//! What resources leave elsewhere when they go: a network name its records in DNS.
//!
//! A name that goes offline keeps its records, for its next owner to change (by property it does
//! not). One that is deleted, renamed or no longer published leaves them to nobody, so its owner is
//! ordered to remove them; without an owner every node is, for whoever comes second finds nothing.
//! Nothing waits for that, and an order that is lost with its monitor is given again.

use std::collections::BTreeMap;

use stead_model::order::{Action, OnlineSpec, Outcome, ResourceOrder, ResourceReport};
use stead_model::record::Level;
use stead_model::resource::ResourceConfig;
use stead_model::resource_type::{NETWORK_NAME, REMOVE_OFFLINE};
use stead_model::server::{DNS_SERVERS, NAME, ZONE};
use stead_model::{Epoch, GroupId, LeaseNumber, NodeId, OrderId, ResourceId};

use super::{Note, Output, machine};
use crate::db::{Db, servers};

/// More than so many are forgotten, the oldest first.
const LEFT_MAX: usize = 64;

/// What was published, and what of it is to be removed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Leftovers {
    /// All published names of the database; `None` before it is known.
    published: Option<BTreeMap<ResourceId, Published>>,
    left: Vec<Left>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Published {
    group: GroupId,
    owner: Option<NodeId>,
    epoch: Epoch,
    spec: OnlineSpec,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Left {
    resource: ResourceId,
    published: Published,
    /// The order under way.
    order: Option<OrderId>,
}

impl Leftovers {
    /// The database may have changed.
    pub fn sync(&mut self, db: &Db, node: NodeId) {
        let now = published(db);
        let before = self.published.replace(now);
        let Some(now) = &self.published else { return };
        for (id, was) in before.into_iter().flatten() {
            let stays = now.get(&id).is_some_and(|is| place(is) == place(&was));
            if !stays && was.owner.is_none_or(|owner| owner == node) {
                self.left.push(Left { resource: id, published: was, order: None });
            }
        }
        let beyond = self.left.len().saturating_sub(LEFT_MAX);
        self.left.drain(..beyond);
    }

    /// A resource went offline here as it was ordered to.
    pub fn went_offline(&mut self, id: &ResourceId) {
        let published = self.published.as_ref().and_then(|all| all.get(id));
        let removes = |p: &&Published| flag(&p.spec, REMOVE_OFFLINE);
        if let Some(published) = published.filter(removes).cloned() {
            self.left.push(Left { resource: id.clone(), published, order: None });
        }
    }

    /// The monitor died, and its orders with it.
    pub fn monitor_died(&mut self) {
        self.left.iter_mut().for_each(|left| left.order = None);
    }

    /// A resource's own monitor died, and its orders with it.
    pub fn own_monitor_died(&mut self, resource: &ResourceId) {
        let of_it = self.left.iter_mut().filter(|left| left.resource == *resource);
        of_it.for_each(|left| left.order = None);
    }

    /// Orders what is not under way.
    pub fn give(&mut self, lease: LeaseNumber, order_last: &mut OrderId, out: &mut Vec<Output>) {
        for left in self.left.iter_mut().filter(|left| left.order.is_none()) {
            *order_last = order_last.next();
            left.order = Some(*order_last);
            let Published { group, epoch, spec, .. } = left.published.clone();
            out.push(Output::Order(ResourceOrder {
                order: *order_last,
                group,
                resource: left.resource.clone(),
                epoch,
                lease,
                action: Action::Forget(spec),
            }));
        }
    }

    /// The monitor answered an order; what is worth a record.
    pub fn reported(&mut self, report: ResourceReport) -> Option<Note> {
        let at = self.left.iter().position(|left| left.order == Some(report.order))?;
        self.left.remove(at);
        let (level, text) = match report.outcome {
            Outcome::Forgotten(text) if text.is_empty() => return None,
            Outcome::Forgotten(text) => (Level::Info, text),
            Outcome::Remains(why) => (Level::Warning, format!("{why}; remove it by hand")),
            Outcome::Online
            | Outcome::Offline
            | Outcome::Failed(_)
            | Outcome::StopFailed(_)
            | Outcome::Refused(_)
            | Outcome::Health(..)
            | Outcome::Notice(_)
            | Outcome::Used(_)
            | Outcome::Free
            | Outcome::Taken(_)
            | Outcome::Fitness(_) => return None,
        };
        let text = format!("resource {} of group {}: {text}", report.resource, report.group);
        let (group, resource) = (report.group, Some(report.resource));
        Some(Note { level, code: "resource-notice", group, resource, text })
    }
}

/// All names that are published.
fn published(db: &Db) -> BTreeMap<ResourceId, Published> {
    let groups = db.groups().values();
    let names = groups.flat_map(|group| {
        let is_published = |config: &&ResourceConfig| {
            config.kind == NETWORK_NAME && config.properties.contains_key(DNS_SERVERS)
        };
        let names = group.resources.values().filter(is_published);
        names.map(move |config| {
            let server = servers::of(&group.resources, &config.id);
            let published = Published {
                group: group.id.clone(),
                owner: group.ownership.as_ref().map(|owned| owned.node),
                epoch: group.epoch_last,
                spec: OnlineSpec { server, ..machine::spec(config) },
            };
            (config.id.clone(), published)
        })
    });
    names.collect()
}

/// Under which name, whoever is told: another server is told of the same.
fn place(published: &Published) -> [Option<&String>; 2] {
    [NAME, ZONE].map(|name| published.spec.properties.get(name))
}

fn flag(spec: &OnlineSpec, name: &str) -> bool {
    spec.properties.get(name).is_some_and(|value| value == "true")
}
