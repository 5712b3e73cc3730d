//! A declaration of the whole cluster: what it does not name goes, and what there is besides
//! groups and alerts is as it says. A backup is restored by one.

use std::collections::BTreeSet;

use stead_model::change::Change;
use stead_model::core_group::is_core;
use stead_model::declaration::{Declaration, Whole};
use stead_model::group::GroupPolicy;
use stead_model::reason::{Code, Reason};
use stead_model::remote::{ADMIN_KEYS, RemoteAdmin};
use stead_model::room::Room;
use stead_model::{AlertId, GroupId, NodeId, ResourceId};

use super::declared::Draft;
use super::requests::deletable;
use super::{PlanInput, core_group};
use crate::db::validate as check;
use crate::db::{alerts, tree};

impl Draft {
    /// Deletes groups and alerts that are not named. A resource that runs refuses all of it; only
    /// the cluster's own group goes by itself, when it is offline.
    pub(super) fn undeclared(
        &mut self,
        wanted: &Declaration,
        input: &PlanInput<'_>,
    ) -> Result<(), Reason> {
        let named: BTreeSet<&GroupId> = wanted.groups.iter().map(|group| &group.group).collect();
        let gone = self.db.groups().keys().filter(|id| !named.contains(id));
        let (own, gone): (Vec<GroupId>, Vec<GroupId>) = gone.cloned().partition(is_core);
        let own = own.iter().filter_map(|id| self.db.group(id));
        let going: Vec<Change> = own.filter_map(core_group::undeclared).collect();
        going.into_iter().try_for_each(|change| self.push(change))?;
        for id in &gone {
            // They may name each other, which would keep the one that is named.
            let policy = GroupPolicy::default();
            self.push(Change::SetGroupPolicy { group: id.clone(), policy })?;
        }
        for id in &gone {
            self.delete(id, input).map_err(|why| Reason {
                text: format!("group `{id}` is not declared, so it would go: {}", why.text),
                ..why
            })?;
        }
        let named: BTreeSet<&AlertId> = wanted.alerts.iter().map(|alert| &alert.alert).collect();
        let gone = self.db.alerts().keys().filter(|id| !named.contains(id));
        for id in gone.cloned().collect::<Vec<_>>() {
            self.push(alerts::remove(&self.db, &id)?)?;
        }
        Ok(())
    }

    fn delete(&mut self, id: &GroupId, input: &PlanInput<'_>) -> Result<(), Reason> {
        let order = tree::online_order(&check::group(&self.db, id)?.resources);
        let order: Vec<ResourceId> = order.into_iter().rev().map(|r| r.id.clone()).collect();
        for resource in &order {
            deletable(input, resource)?;
            self.push(check::delete_resource(&self.db, resource)?)?;
        }
        self.push(check::delete_group(&self.db, id)?)
    }

    /// Rooms of nodes and admins from other machines.
    pub(super) fn rest(&mut self, whole: &Whole, input: &PlanInput<'_>) -> Result<(), Reason> {
        let mut unsaid: BTreeSet<NodeId> = self.db.rooms().keys().copied().collect();
        for declared in &whole.rooms {
            let node = declared.node;
            if !input.nodes.contains_key(&node) {
                let text = format!("{node} cannot have a capacity: it is not in the cluster");
                return Err(Reason::new(Code::NotFound, text).hint("let it join first"));
            }
            unsaid.remove(&node);
            let present = self.db.rooms().get(&node).cloned().unwrap_or_default();
            if present != declared.room {
                self.push(check::set_room(node, &declared.room)?)?;
            }
        }
        for node in unsaid {
            self.push(Change::SetRoom { node, room: Room::default() })?;
        }
        self.admins(&whole.admins)
    }

    fn admins(&mut self, wanted: &[RemoteAdmin]) -> Result<(), Reason> {
        let present = self.db.keys().keys().filter(|key| key.starts_with(ADMIN_KEYS));
        let mut unsaid: BTreeSet<String> = present.cloned().collect();
        for admin in wanted {
            let (key, value) = admin.entry();
            if RemoteAdmin::read(&key, &value).as_ref() != Some(admin) {
                let name = admin.admin.as_str().escape_debug();
                let text = format!("admin `{name}` is declared with what is none");
                return Err(Reason::new(Code::Invalid, text)
                    .because("it has a name, a role and the SHA-256 of its certificate"));
            }
            unsaid.remove(&key);
            if self.db.keys().get(&key) != Some(&value) {
                self.push(check::set_key(&key, Some(&value))?)?;
            }
        }
        unsaid.into_iter().try_for_each(|key| self.push(Change::SetKey { key, value: None }))
    }
}
