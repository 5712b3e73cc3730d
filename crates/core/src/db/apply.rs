//! One change applied to the database: the rules of every replica, of every version.
//!
//! What does not fit is skipped with the reason; leaders check before they propose, but entries
//! proposed at the same time can overtake each other.

use std::collections::{BTreeMap, BTreeSet};

use stead_model::change::Change;
use stead_model::group::{Desired, Group, GroupPolicy, Ownership, Release};
use stead_model::group_policy;
use stead_model::profile::LeaseLength;
use stead_model::program::{ClusterLevel, Mark};
use stead_model::resource::{ResourceConfig, ResourcePolicy};
use stead_model::upkeep::Upkeep;
use stead_model::{Epoch, GroupId, LogIndex, NodeId, RequestId, ResourceId, UtcMillis};
use thiserror::Error;

use super::{Db, Trail, size, tree};

/// Failovers remembered of a group at most, whatever its threshold.
pub const FAILOVERS_MAX: usize = group_policy::FAILOVERS_MAX as usize;

/// What became of a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Applied {
    /// It took effect.
    Done,
    /// It did not fit and changed nothing.
    Skipped(Skip),
}

impl Applied {
    /// Why it was skipped, if it was.
    #[must_use]
    pub const fn skipped(&self) -> Option<&Skip> {
        match self {
            Self::Done => None,
            Self::Skipped(skip) => Some(skip),
        }
    }
}

/// Whose decision an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    /// An administrator asked for it.
    Request,
    /// The leader decided it.
    Planner,
}

/// Why a change did not fit.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Skip {
    /// The request was answered before.
    #[error("request {0} was answered before")]
    Repeated(RequestId),
    /// There is no such group.
    #[error("there is no group `{0}`")]
    NoGroup(GroupId),
    /// There is no such resource.
    #[error("there is no resource `{0}`")]
    NoResource(ResourceId),
    /// The name is taken.
    #[error("the name `{0}` is taken")]
    Exists(String),
    /// The group still has resources.
    #[error("group `{0}` still has resources")]
    NotEmpty(GroupId),
    /// The epoch is not above all earlier ones.
    #[error("group `{group}` already had {last}, {given} is not newer")]
    StaleEpoch {
        /// The group.
        group: GroupId,
        /// The epoch of the change.
        given: Epoch,
        /// The highest one granted.
        last: Epoch,
    },
    /// The group is not owned in that epoch.
    #[error("group `{group}` is not owned in {epoch}")]
    NotOwned {
        /// The group.
        group: GroupId,
        /// The epoch of the change.
        epoch: Epoch,
    },
    /// Another resource depends on it.
    #[error("resource `{by}` depends on `{resource}`")]
    DependedOn {
        /// The resource.
        resource: ResourceId,
        /// Who depends on it.
        by: ResourceId,
    },
    /// A dependency leaves the group or goes in a circle.
    #[error("the dependencies of `{0}` leave its group or go in a circle")]
    BadDependency(ResourceId),
    /// The rotation is another one by now, or further.
    #[error("rotation {0} of the keys is over, or further")]
    Rotation(u64),
    /// The level is not the next one.
    #[error("the cluster is at {0}")]
    Level(ClusterLevel),
}

impl Db {
    pub(super) fn apply_change(&mut self, (index, by): (LogIndex, By), change: &Change) -> Applied {
        let group = self.group_touched(change);
        let before = self.weight(group.as_ref(), change);
        match self.change(index, change) {
            Err(skip) => Applied::Skipped(skip),
            Ok(()) => {
                if is_planned_by(change) {
                    self.groups_changed = index;
                }
                if let Some(group) = group {
                    self.touched(index, &group, change);
                    self.placed(&group, by, change);
                    let after = self.weight(Some(&group), change);
                    self.size_bytes = (self.size_bytes + after).saturating_sub(before);
                }
                Applied::Done
            }
        }
    }

    fn change(&mut self, index: LogIndex, change: &Change) -> Result<(), Skip> {
        match change {
            Change::CreateGroup { group, policy } => self.create_group(group, policy),
            Change::SetGroupPolicy { group, policy } => {
                self.group_mut(group).map(|g| g.policy = policy.clone())
            }
            Change::DeleteGroup { group } => self.delete_group(index, group),
            Change::SetGroupDesired { group, desired } => self.set_desired(group, *desired),
            Change::CreateResource { group, resource } => self.create_resource(group, resource),
            Change::DeleteResource { resource } => self.delete_resource(resource),
            Change::SetResourceDesired { resource, desired } => {
                let new_in = self.next_start(resource);
                self.resource_mut(resource).map(|r| {
                    if *desired == Desired::Online && r.desired != Desired::Online {
                        r.new_in = new_in;
                    }
                    r.desired = *desired;
                })
            }
            Change::SetResource { resource, properties, policy, possible_owners } => {
                self.set_resource(resource, (properties, policy), possible_owners.as_ref())
            }
            Change::SetDependencies { resource, depends_on } => {
                self.set_dependencies(resource, depends_on)
            }
            Change::Grant { group, node, epoch, why } => {
                let granted =
                    Ownership { node: *node, epoch: *epoch, why: why.clone(), release: None };
                self.grant(index, group, granted)
            }
            Change::Release { group, epoch, to, why } => {
                let release = Release { to: *to, why: why.clone() };
                self.release(index, (group, *epoch), release)
            }
            Change::Disown { group, epoch, .. } => self.disown(index, group, *epoch),
            Change::CountFailover { group } => self.count_failover(group, true),
            Change::CountLoss { group } => self.count_failover(group, false),
            Change::FailGroup { group, why } => self.fail_group(group, why),
            Change::ClearFailures { group } => self.clear_failures(group),
            Change::Retry { group, .. } => self.group_mut(group).map(|g| g.failed = None),
            Change::Upkeep { upkeep } => self.change_upkeep(upkeep),
            Change::LeaseLength { node, length } => {
                self.set_lease_length(index, *node, *length);
                Ok(())
            }
            Change::SetKey { key, value } => done(self.set_key(key, value.as_deref())),
            Change::Absence { node, absent: true } => done(self.absent.insert(*node, self.at)),
            Change::Absence { node, absent: false } => done(self.absent.remove(node)),
            Change::NodeLeaves { node } => done(self.left.insert(*node)),
            Change::NodeGoes { node } => done(self.go(*node)),
            Change::NodeEvicted { node } => done(self.evict(index, *node)),
            Change::QuorumForced { forced } => done(self.force(forced)),
            Change::NodeReturns { node } => done(self.left.remove(node)),
            Change::VoteLent { node } => done(self.lent.insert(*node)),
            Change::VoteReturned { node } => done(self.lent.remove(node)),
            Change::NodeJoined { entry, vote } => done(self.join(index, entry, *vote)),
            Change::TokenMade { token, until } => done(self.make_token(*token, *until)),
            Change::TokenUsed { token, used } => done(self.use_token(token, *used)),
            Change::SetRoom { node, room } if room.is_empty() => done(self.rooms.remove(node)),
            Change::SetRoom { node, room } => done(self.rooms.insert(*node, room.clone())),
            Change::SetAlert { alert, to } => done(self.alerts.insert(alert.clone(), to.clone())),
            Change::RemoveAlert { alert } => done(self.alerts.remove(alert)),
            Change::SetNetwork { network } => done(self.set_network(index, network)),
            Change::SetUsage { group, used } => self.group_mut(group).map(|g| g.used = Some(*used)),
            Change::NodeLost { node } => done(self.upkeep.count_loss(*node, (index, self.at))),
            Change::Rotate { to } => self.rotate(*to),
            Change::RotationAbandoned { number } => self.abandon_rotation(*number),
            Change::Level { to } => self.raise(*to),
            Change::NodeProgram { node, program } => done(self.programs.insert(*node, *program)),
            Change::SetNode { node } => done(self.set_node(index, node)),
        }
    }

    fn raise(&mut self, to: Mark) -> Result<(), Skip> {
        if to.level != self.level().next() {
            return Err(Skip::Level(self.level()));
        }
        self.mark = to;
        Ok(())
    }

    fn set_resource(
        &mut self,
        id: &ResourceId,
        (properties, policy): (&BTreeMap<String, String>, &ResourcePolicy),
        possible_owners: Option<&BTreeSet<NodeId>>,
    ) -> Result<(), Skip> {
        let new_in = self.next_start(id);
        self.resource_mut(id).map(|r| {
            if r.properties != *properties {
                r.new_in = new_in;
            }
            r.properties.clone_from(properties);
            r.policy = policy.clone();
            r.possible_owners = possible_owners.cloned();
        })
    }

    fn create_group(&mut self, id: &GroupId, policy: &GroupPolicy) -> Result<(), Skip> {
        if self.groups.contains_key(id) {
            return Err(Skip::Exists(id.to_string()));
        }
        let group = Group {
            id: id.clone(),
            policy: policy.clone(),
            desired: Desired::Offline,
            ownership: None,
            epoch_last: self.epoch_floor,
            failed: None,
            failovers: Vec::new(),
            used: None,
            resources: tree::Resources::new(),
        };
        self.groups.insert(id.clone(), group);
        self.trails.insert(id.clone(), Trail::default());
        Ok(())
    }

    fn delete_group(&mut self, index: LogIndex, id: &GroupId) -> Result<(), Skip> {
        let group = self.group_mut(id)?;
        if !group.resources.is_empty() {
            return Err(Skip::NotEmpty(id.clone()));
        }
        let (owner, last) = (group.ownership.take().map(|o| o.node), group.epoch_last);
        self.take_from(index, owner);
        self.epoch_floor = self.epoch_floor.max(last);
        self.groups.remove(id);
        self.upkeep.forget_group(id);
        self.trails.remove(id);
        Ok(())
    }

    fn set_desired(&mut self, id: &GroupId, desired: Desired) -> Result<(), Skip> {
        self.clear_failures(id)?;
        self.group_mut(id)?.desired = desired;
        Ok(())
    }

    fn clear_failures(&mut self, id: &GroupId) -> Result<(), Skip> {
        let group = self.group_mut(id)?;
        group.failed = None;
        group.failovers.clear();
        if let Some(trail) = self.trails.get_mut(id) {
            trail.failed_on.clear();
        }
        Ok(())
    }

    fn fail_group(&mut self, id: &GroupId, why: &str) -> Result<(), Skip> {
        self.group_mut(id)?.failed = Some(why.to_owned());
        let at = self.at;
        if let Some(trail) = self.trails.get_mut(id) {
            trail.failed_at = at;
        }
        Ok(())
    }

    fn create_resource(&mut self, id: &GroupId, resource: &ResourceConfig) -> Result<(), Skip> {
        if self.homes.contains_key(&resource.id) {
            return Err(Skip::Exists(resource.id.to_string()));
        }
        let group = self.group_mut(id)?;
        if !resource.depends_on.iter().all(|d| group.resources.contains_key(d)) {
            return Err(Skip::BadDependency(resource.id.clone()));
        }
        let new_in = epoch_of_next_start(group);
        group.resources.insert(resource.id.clone(), ResourceConfig { new_in, ..resource.clone() });
        self.homes.insert(resource.id.clone(), id.clone());
        Ok(())
    }

    fn delete_resource(&mut self, id: &ResourceId) -> Result<(), Skip> {
        let (group, _) = self.resource(id).ok_or_else(|| Skip::NoResource(id.clone()))?;
        if let Some(by) = tree::dependents(&group.resources, id).next() {
            return Err(Skip::DependedOn { resource: id.clone(), by: by.id.clone() });
        }
        let group = group.id.clone();
        self.group_mut(&group)?.resources.remove(id);
        self.homes.remove(id);
        self.upkeep.forget_resource(id);
        Ok(())
    }

    fn set_dependencies(&mut self, id: &ResourceId, on: &BTreeSet<ResourceId>) -> Result<(), Skip> {
        let (group, _) = self.resource(id).ok_or_else(|| Skip::NoResource(id.clone()))?;
        if !tree::may_stand_on(&group.resources, id, on) {
            return Err(Skip::BadDependency(id.clone()));
        }
        self.resource_mut(id)?.depends_on.clone_from(on);
        Ok(())
    }

    fn grant(&mut self, index: LogIndex, id: &GroupId, granted: Ownership) -> Result<(), Skip> {
        let at = self.at;
        let group = self.group_mut(id)?;
        let (given, last) = (granted.epoch, group.epoch_last);
        if given <= last {
            return Err(Skip::StaleEpoch { group: id.clone(), given, last });
        }
        let to = granted.node;
        group.epoch_last = given;
        let before = group.ownership.replace(granted).map(|o| o.node);
        self.take_from(index, before.filter(|owner| *owner != to));
        if let Some(trail) = self.trails.get_mut(id) {
            (trail.granted, trail.granted_at) = (index, at);
        }
        Ok(())
    }

    fn release(
        &mut self,
        index: LogIndex,
        (id, epoch): (&GroupId, Epoch),
        release: Release,
    ) -> Result<(), Skip> {
        let owned = self.owned_mut(id, epoch)?;
        owned.release = Some(release);
        let owner = owned.node;
        self.take_from(index, Some(owner));
        Ok(())
    }

    fn disown(&mut self, index: LogIndex, id: &GroupId, epoch: Epoch) -> Result<(), Skip> {
        let owner = self.owned_mut(id, epoch)?.node;
        self.group_mut(id)?.ownership = None;
        self.take_from(index, Some(owner));
        Ok(())
    }

    /// Counts at the present cluster time, against the owner if the group failed there; what left
    /// the window is forgotten.
    fn count_failover(&mut self, id: &GroupId, failed: bool) -> Result<(), Skip> {
        let at = self.at;
        let group = self.group_mut(id)?;
        let Some(owner) = group.ownership.as_ref().map(|o| o.node) else {
            return Err(Skip::NotOwned { group: id.clone(), epoch: group.epoch_last });
        };
        let kept = within_window(group, at).len();
        let kept = kept.min(FAILOVERS_MAX - 1);
        group.failovers.drain(..group.failovers.len() - kept);
        group.failovers.push(at);
        if let Some(trail) = self.trails.get_mut(id) {
            let gone = trail.failed_on.len().saturating_sub(kept);
            trail.failed_on.drain(..gone);
            trail.failed_on.push(failed.then_some(owner));
        }
        Ok(())
    }

    fn set_lease_length(&mut self, index: LogIndex, node: NodeId, length: LeaseLength) {
        match length {
            LeaseLength::Short => drop(self.lease_lengths.remove(&node)),
            LeaseLength::Longer | LeaseLength::Absence => {
                self.lease_lengths.insert(node, length);
            }
        }
        self.take_from(index, Some(node));
    }

    /// Gives the value that it had.
    pub(super) fn set_key(&mut self, key: &str, value: Option<&str>) -> Option<String> {
        let new = value.map_or(0, |v| size::of_key(key, v));
        let old = match value {
            Some(value) => self.keys.insert(key.to_owned(), value.to_owned()),
            None => self.keys.remove(key),
        };
        let gone = old.as_ref().map_or(0, |v| size::of_key(key, v));
        self.size_bytes = (self.size_bytes + new).saturating_sub(gone);
        old
    }

    fn take_from(&mut self, index: LogIndex, node: Option<NodeId>) {
        if let Some(node) = node {
            self.taken.insert(node, index);
        }
    }

    fn touched(&mut self, index: LogIndex, group: &GroupId, change: &Change) {
        self.groups_changed = index;
        if let Some(trail) = self.trails.get_mut(group) {
            trail.changed = index;
            if is_administration(change) {
                trail.administered = index;
            }
        }
    }

    /// Keeps whether an administrator put the group where it is: then it does not fail back.
    fn placed(&mut self, group: &GroupId, by: By, change: &Change) {
        let Some(trail) = self.trails.get_mut(group) else { return };
        if let Change::Release { to, .. } = change {
            trail.put_on = match by {
                By::Request => to.or(trail.put_on),
                By::Planner => None,
            };
        }
        if let Change::Grant { node, .. } = change {
            trail.put_on = match by {
                By::Request => Some(*node),
                By::Planner => trail.put_on.filter(|put| put == node),
            };
        }
    }

    fn group_touched(&self, change: &Change) -> Option<GroupId> {
        match change {
            Change::DeleteResource { resource }
            | Change::SetResourceDesired { resource, .. }
            | Change::SetResource { resource, .. }
            | Change::SetDependencies { resource, .. } => self.homes.get(resource).cloned(),
            Change::CreateGroup { .. }
            | Change::SetGroupPolicy { .. }
            | Change::DeleteGroup { .. }
            | Change::SetGroupDesired { .. }
            | Change::CreateResource { .. }
            | Change::Grant { .. }
            | Change::Release { .. }
            | Change::Disown { .. }
            | Change::CountFailover { .. }
            | Change::CountLoss { .. }
            | Change::FailGroup { .. }
            | Change::ClearFailures { .. }
            | Change::Retry { .. }
            | Change::Upkeep { .. }
            | Change::LeaseLength { .. }
            | Change::Absence { .. }
            | Change::NodeLeaves { .. }
            | Change::NodeReturns { .. }
            | Change::NodeGoes { .. }
            | Change::NodeEvicted { .. }
            | Change::QuorumForced { .. }
            | Change::VoteLent { .. }
            | Change::VoteReturned { .. }
            | Change::NodeJoined { .. }
            | Change::TokenMade { .. }
            | Change::TokenUsed { .. }
            | Change::SetRoom { .. }
            | Change::SetUsage { .. }
            | Change::SetAlert { .. }
            | Change::RemoveAlert { .. }
            | Change::NodeLost { .. }
            | Change::SetNetwork { .. }
            | Change::SetNode { .. }
            | Change::Rotate { .. }
            | Change::Level { .. }
            | Change::NodeProgram { .. }
            | Change::RotationAbandoned { .. }
            | Change::SetKey { .. } => change.group().cloned(),
        }
    }

    /// How much of the size a change can have its hands on.
    fn weight(&self, group: Option<&GroupId>, change: &Change) -> u64 {
        let Some(group) = group.and_then(|g| self.groups.get(g)) else { return 0 };
        let resource = resource_touched(change).and_then(|id| group.resources.get(id));
        size::of_head(group) + resource.map_or(0, size::of_resource)
    }

    fn group_mut(&mut self, id: &GroupId) -> Result<&mut Group, Skip> {
        self.groups.get_mut(id).ok_or_else(|| Skip::NoGroup(id.clone()))
    }

    fn owned_mut(&mut self, id: &GroupId, epoch: Epoch) -> Result<&mut Ownership, Skip> {
        let owned = self.group_mut(id)?.ownership.as_mut().filter(|o| o.epoch == epoch);
        owned.ok_or_else(|| Skip::NotOwned { group: id.clone(), epoch })
    }

    fn next_start(&self, id: &ResourceId) -> Epoch {
        self.resource(id).map_or(Epoch(0), |(group, _)| epoch_of_next_start(group))
    }

    fn resource_mut(&mut self, id: &ResourceId) -> Result<&mut ResourceConfig, Skip> {
        let home = self.homes.get(id).and_then(|home| self.groups.get_mut(home));
        let resource = home.and_then(|g| g.resources.get_mut(id));
        resource.ok_or_else(|| Skip::NoResource(id.clone()))
    }
}

/// The epoch in which a resource that is put in service now is started, unless its node fails
/// first.
fn epoch_of_next_start(group: &Group) -> Epoch {
    match &group.ownership {
        Some(owned) if owned.release.is_none() => owned.epoch,
        Some(_) | None => group.epoch_last.next(),
    }
}

/// The failovers of a group that count at this cluster time (A-142: a sliding window).
#[must_use]
pub fn within_window(group: &Group, at: UtcMillis) -> &[UtcMillis] {
    let period_ms = group.policy.failover_period_s.saturating_mul(1_000);
    let first = at.0.saturating_sub(period_ms);
    let gone = group.failovers.iter().take_while(|f| f.0 < first).count();
    &group.failovers[gone..]
}

/// What cannot fail was carried out, whatever it gave.
fn done<T>(_was: T) -> Result<(), Skip> {
    Ok(())
}

/// The resource that a change makes, changes or deletes.
fn resource_touched(change: &Change) -> Option<&ResourceId> {
    match change {
        Change::CreateResource { resource, .. } => Some(&resource.id),
        Change::DeleteResource { resource }
        | Change::SetResourceDesired { resource, .. }
        | Change::SetResource { resource, .. }
        | Change::SetDependencies { resource, .. } => Some(resource),
        Change::CreateGroup { .. }
        | Change::SetGroupPolicy { .. }
        | Change::DeleteGroup { .. }
        | Change::SetGroupDesired { .. }
        | Change::Grant { .. }
        | Change::Release { .. }
        | Change::Disown { .. }
        | Change::CountFailover { .. }
        | Change::CountLoss { .. }
        | Change::FailGroup { .. }
        | Change::ClearFailures { .. }
        | Change::Retry { .. }
        | Change::Upkeep { .. }
        | Change::LeaseLength { .. }
        | Change::Absence { .. }
        | Change::NodeLeaves { .. }
        | Change::NodeReturns { .. }
        | Change::NodeGoes { .. }
        | Change::NodeEvicted { .. }
        | Change::QuorumForced { .. }
        | Change::VoteLent { .. }
        | Change::VoteReturned { .. }
        | Change::NodeJoined { .. }
        | Change::TokenMade { .. }
        | Change::TokenUsed { .. }
        | Change::SetRoom { .. }
        | Change::SetUsage { .. }
        | Change::SetAlert { .. }
        | Change::RemoveAlert { .. }
        | Change::NodeLost { .. }
        | Change::SetNetwork { .. }
        | Change::SetNode { .. }
        | Change::Rotate { .. }
        | Change::Level { .. }
        | Change::NodeProgram { .. }
        | Change::RotationAbandoned { .. }
        | Change::SetKey { .. } => None,
    }
}

/// Whether an administrator acted on the group: its owner tries again what it had given up.
fn is_administration(change: &Change) -> bool {
    match change {
        Change::CreateGroup { .. }
        | Change::SetGroupPolicy { .. }
        | Change::DeleteGroup { .. }
        | Change::SetGroupDesired { .. }
        | Change::CreateResource { .. }
        | Change::DeleteResource { .. }
        | Change::SetResourceDesired { .. }
        | Change::SetResource { .. }
        | Change::SetDependencies { .. }
        | Change::ClearFailures { .. }
        | Change::Upkeep { upkeep: Upkeep::EndMaintenance { .. } } => true,
        Change::Grant { .. }
        | Change::Release { .. }
        | Change::Disown { .. }
        | Change::CountFailover { .. }
        | Change::CountLoss { .. }
        | Change::FailGroup { .. }
        | Change::Retry { .. }
        | Change::Upkeep { .. }
        | Change::LeaseLength { .. }
        | Change::Absence { .. }
        | Change::NodeLeaves { .. }
        | Change::NodeReturns { .. }
        | Change::NodeGoes { .. }
        | Change::NodeEvicted { .. }
        | Change::QuorumForced { .. }
        | Change::VoteLent { .. }
        | Change::VoteReturned { .. }
        | Change::NodeJoined { .. }
        | Change::TokenMade { .. }
        | Change::TokenUsed { .. }
        | Change::SetRoom { .. }
        | Change::SetUsage { .. }
        | Change::SetAlert { .. }
        | Change::RemoveAlert { .. }
        | Change::NodeLost { .. }
        | Change::SetNetwork { .. }
        | Change::SetNode { .. }
        | Change::Rotate { .. }
        | Change::Level { .. }
        | Change::NodeProgram { .. }
        | Change::RotationAbandoned { .. }
        | Change::SetKey { .. } => false,
    }
}

/// Whether a change that touches no group is one that the planner looks at.
fn is_planned_by(change: &Change) -> bool {
    matches!(
        change,
        Change::Upkeep { .. }
            | Change::NodeLeaves { .. }
            | Change::NodeReturns { .. }
            | Change::NodeGoes { .. }
            | Change::NodeEvicted { .. }
            | Change::QuorumForced { .. }
            | Change::SetRoom { .. }
    )
}
