//! How large the database is, for its limit: an estimate from above that is cheap to keep.

use std::collections::BTreeMap;

use stead_model::amounts::Amounts;
use stead_model::change::Change;
use stead_model::group::{Failback, Group, GroupPolicy};
use stead_model::resource::ResourceConfig;

/// Largest database the product accepts, whatever the quorum disk could hold.
pub const DATABASE_BYTES_MAX: u64 = 64 << 20;
/// Largest value of the cluster registry.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Longest key of the cluster registry.
pub const KEY_BYTES_MAX: usize = 255;

/// Numbers, lengths and index entries of one object, generously.
const OBJECT_BYTES: u64 = 256;
/// One number in a list.
const ITEM_BYTES: u64 = 16;

/// Size of a group with all its resources.
#[must_use]
pub fn of_group(group: &Group) -> u64 {
    of_head(group) + group.resources.values().map(of_resource).sum::<u64>()
}

/// Size of a group without its resources.
pub(super) fn of_head(group: &Group) -> u64 {
    let reason = group.failed.as_ref().map_or(0, String::len)
        + group
            .ownership
            .as_ref()
            .map_or(0, |o| o.why.len() + o.release.as_ref().map_or(0, |r| r.why.len()));
    OBJECT_BYTES
        + group.id.as_str().len() as u64 * 2
        + of_policy(&group.policy)
        + reason as u64
        + group.failovers.len() as u64 * 2 * ITEM_BYTES
}

/// Size of a value of the registry with its key.
#[must_use]
pub fn of_key(key: &str, value: &str) -> u64 {
    (key.len() + value.len()) as u64 + ITEM_BYTES
}

/// How much a change can add at most.
#[must_use]
pub fn of_change(change: &Change) -> u64 {
    match change {
        Change::CreateGroup { group, policy } | Change::SetGroupPolicy { group, policy } => {
            OBJECT_BYTES + group.as_str().len() as u64 * 2 + of_policy(policy)
        }
        Change::CreateResource { resource, .. } => of_resource(resource),
        Change::SetResource { properties, possible_owners, .. } => {
            of_properties(properties)
                + possible_owners.as_ref().map_or(0, |o| o.len() as u64 * ITEM_BYTES)
        }
        Change::SetDependencies { depends_on, .. } => {
            depends_on.iter().map(|d| d.as_str().len() as u64 + ITEM_BYTES).sum()
        }
        Change::SetKey { key, value: Some(value) } => of_key(key, value),
        Change::NodeJoined { entry, .. } | Change::SetNode { node: entry } => {
            OBJECT_BYTES + entry.name.len() as u64 + entry.addresses.len() as u64 * 2 * ITEM_BYTES
        }
        Change::SetRoom { room, .. } => {
            let local = room.local.iter();
            let local = local.map(|(name, needs)| OBJECT_BYTES + name.len() as u64 + of(needs));
            OBJECT_BYTES + of(&room.capacity) + local.sum::<u64>()
        }
        Change::SetAlert { alert, to } => {
            let texts = to.properties();
            let listed = (to.codes.len() + to.groups.len()) as u64 * ITEM_BYTES;
            OBJECT_BYTES + alert.as_str().len() as u64 + of_properties(&texts) + listed
        }
        Change::Grant { why, .. }
        | Change::Release { why, .. }
        | Change::Disown { why, .. }
        | Change::Retry { why, .. }
        | Change::FailGroup { why, .. } => why.len() as u64 + ITEM_BYTES,
        Change::SetNetwork { network } => OBJECT_BYTES + network.name.len() as u64,
        Change::TokenMade { .. } => OBJECT_BYTES,
        Change::CountFailover { .. }
        | Change::CountLoss { .. }
        | Change::TokenUsed { .. }
        | Change::SetUsage { .. }
        | Change::LeaseLength { .. }
        | Change::Absence { .. }
        | Change::NodeLeaves { .. }
        | Change::NodeReturns { .. }
        | Change::NodeGoes { .. }
        | Change::NodeEvicted { .. }
        | Change::QuorumForced { .. }
        | Change::VoteLent { .. }
        | Change::VoteReturned { .. }
        | Change::NodeLost { .. }
        | Change::Rotate { .. }
        | Change::RotationAbandoned { .. }
        | Change::Level { .. }
        | Change::NodeProgram { .. }
        | Change::Upkeep { .. } => 2 * ITEM_BYTES,
        Change::DeleteGroup { .. }
        | Change::SetGroupDesired { .. }
        | Change::ClearFailures { .. }
        | Change::DeleteResource { .. }
        | Change::SetResourceDesired { .. }
        | Change::RemoveAlert { .. }
        | Change::SetKey { value: None, .. } => 0,
    }
}

fn of_policy(policy: &GroupPolicy) -> u64 {
    let zone = match &policy.failback {
        Failback::Prevent | Failback::Immediate => 0,
        Failback::Window(window) => window.zone.len() as u64,
    };
    let rules = &policy.rules;
    let relations = [&rules.affinity, &rules.anti_affinity, &rules.start_after];
    let named = relations.into_iter().flat_map(|relation| relation.all());
    let named: u64 = named.map(|id| id.as_str().len() as u64 + ITEM_BYTES).sum();
    policy.preferred_owners.len() as u64 * ITEM_BYTES
        + zone
        + named
        + of(&rules.demand)
        + of(&rules.demand_required)
}

fn of(amounts: &Amounts) -> u64 {
    amounts.iter().map(|(unit, _)| unit.len() as u64 + 2 * ITEM_BYTES).sum()
}

/// Size of a resource.
pub(super) fn of_resource(resource: &ResourceConfig) -> u64 {
    let names: u64 = resource.depends_on.iter().map(|d| d.as_str().len() as u64 + ITEM_BYTES).sum();
    OBJECT_BYTES
        + resource.id.as_str().len() as u64 * 2
        + resource.kind.len() as u64
        + of_properties(&resource.properties)
        + names
        + resource.possible_owners.as_ref().map_or(0, |o| o.len() as u64 * ITEM_BYTES)
}

fn of_properties(properties: &BTreeMap<String, String>) -> u64 {
    properties.iter().map(|(name, value)| of_key(name, value)).sum()
}
