//! The replicated database: what all nodes agree on, as the log left it.
//!
//! Entries hold outcomes with reasons, never policy, so applying is a fixed set of rules: total,
//! deterministic, without a clock. A change that does not fit any more (its group is gone, its
//! epoch is old) is skipped and said so; it never stops the node. Resource states are not here:
//! owners report them.
//!
//! Reading order: `tree` (dependencies of a group), `apply` (one change), `answered` (repeated
//! requests), `barrier` (R7), `size`, `snapshot`, `upkeep`, `properties`, `disks`, `units`,
//! `servers`, `networks`, `relations`, `alerts`, `tokens`, `members`, `forced`, `rotation` and
//! `validate` (what an administrator may ask for).
//!
//! Invariants
//! - I-AGREE: equal applied index means equal digest.
//! - I-STOP-START: the epoch of a group only grows, also when the group is deleted and created
//!   again: a report about its former life never fits its new one.
//! - Cluster time never runs backward.
//!
//! Not here: who gets a group (`groups`), what an owner does with it (`resources`).

pub(crate) mod alerts;
pub mod answered;
pub mod apply;
pub mod barrier;
mod disks;
mod forced;
mod members;
pub(crate) mod networks;
pub mod properties;
pub(crate) mod relations;
pub mod rotation;
pub(crate) mod servers;
pub mod size;
pub mod snapshot;
pub(crate) mod tokens;
pub mod tree;
mod units;
pub mod upkeep;
pub mod validate;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stead_model::alert::Alert;
use stead_model::change::{Change, Entry};
use stead_model::config::{NetworkEntry, NodeEntry};
use stead_model::forced::Forced;
use stead_model::group::{Desired, Group};
use stead_model::keys::Rotation;
use stead_model::profile::LeaseLength;
use stead_model::program::{ClusterLevel, Mark, Program};
use stead_model::remote::{ADMIN_KEYS, RemoteAdmin};
use stead_model::request::Answer;
use stead_model::resource::ResourceConfig;
use stead_model::room::Room;
use stead_model::token::{Token, TokenHash};
use stead_model::{
    AlertId, Epoch, GroupId, LogIndex, NetworkId, NodeId, RequestId, ResourceId, UtcMillis,
};

pub use answered::Answered;
use apply::By;
pub use apply::{Applied, Skip};
pub use barrier::Proposed;
pub(crate) use forced::STEP;
pub use networks::Networks;

/// The replicated database of one node.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Db {
    applied: LogIndex,
    at: UtcMillis,
    digest: u64,
    groups: BTreeMap<GroupId, Group>,
    trails: BTreeMap<GroupId, Trail>,
    homes: BTreeMap<ResourceId, GroupId>,
    keys: BTreeMap<String, String>,
    lease_lengths: BTreeMap<NodeId, LeaseLength>,
    taken: BTreeMap<NodeId, LogIndex>,
    epoch_floor: Epoch,
    answered: Answered,
    groups_changed: LogIndex,
    size_bytes: u64,
    absent: BTreeMap<NodeId, UtcMillis>,
    left: BTreeSet<NodeId>,
    lent: BTreeSet<NodeId>,
    upkeep: upkeep::Standing,
    joined: BTreeMap<NodeId, NodeEntry>,
    rooms: BTreeMap<NodeId, Room>,
    alerts: BTreeMap<AlertId, Alert>,
    tokens: BTreeMap<TokenHash, Token>,
    going: BTreeSet<NodeId>,
    evicted: BTreeSet<NodeId>,
    members_changed: LogIndex,
    networks: BTreeMap<NetworkId, NetworkEntry>,
    networks_changed: LogIndex,
    forced: Option<Forced>,
    rotation: Option<Rotation>,
    rotations: u64,
    /// In front of the rest in a snapshot.
    #[serde(skip)]
    mark: Mark,
    /// Behind the rest, from [`ClusterLevel::PROGRAMS`] on.
    #[serde(skip)]
    programs: BTreeMap<NodeId, Program>,
}

/// Where in the log a group was last touched, and where it failed.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Trail {
    /// The entry of the last grant (R9: was it granted before the service started?).
    pub granted: LogIndex,
    /// The last entry in which an administrator acted on the group: owners try again after it.
    pub administered: LogIndex,
    /// The last entry that changed the group in any way.
    pub changed: LogIndex,
    /// Cluster time of the last grant: was its owner lost soon after it?
    pub granted_at: UtcMillis,
    /// Owners on which it failed, oldest first, one for each counted failover: none where the
    /// owner was lost.
    pub failed_on: Vec<Option<NodeId>>,
    /// Cluster time at which it was left failed the last time.
    pub failed_at: UtcMillis,
    /// Where an administrator put it, while it is there or on its way: it does not fail back.
    pub put_on: Option<NodeId>,
}

impl Db {
    /// Applies one entry and says for each of its changes whether it took effect.
    ///
    /// An entry at or below the applied index is ignored. The entry of a repeated request is
    /// skipped whole: the first answer stays.
    pub fn apply(&mut self, index: LogIndex, entry: &Entry) -> Vec<Applied> {
        if index <= self.applied {
            return Vec::new();
        }
        self.chain(index, entry);
        self.applied = index;
        self.at = self.at.max(entry.at);
        if let Some(id) = entry.request.filter(|id| self.answered.get(*id).is_some()) {
            return entry.changes.iter().map(|_| Applied::Skipped(Skip::Repeated(id))).collect();
        }
        // A request of several changes takes effect whole or not at all.
        let before = (entry.request.is_some() && entry.changes.len() > 1).then(|| self.clone());
        let by = if entry.request.is_some() { By::Request } else { By::Planner };
        let outcomes: Vec<Applied> =
            entry.changes.iter().map(|change| self.apply_change((index, by), change)).collect();
        if let Some(before) = before.filter(|_| outcomes.iter().any(|o| o.skipped().is_some())) {
            *self = before;
        }
        if let Some(id) = entry.request {
            let refused = outcomes.iter().find_map(Applied::skipped).map(ToString::to_string);
            self.answered.remember(id, index, refused);
        }
        outcomes
    }

    /// Makes one change on a copy, to see what would come of it.
    ///
    /// # Errors
    /// It does not fit; nothing changed.
    pub fn rehearse(&mut self, change: &Change) -> Result<(), Skip> {
        match self.apply_change((self.applied, By::Request), change) {
            Applied::Done => Ok(()),
            Applied::Skipped(skip) => Err(skip),
        }
    }

    /// Passes an index whose entry is not a database entry (an empty entry of a new leader, a
    /// change of voters).
    pub fn pass(&mut self, index: LogIndex) {
        self.applied = self.applied.max(index);
    }

    /// Index of the last applied entry.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// Hash over all applied entries in order: equal applied index, equal digest (I-AGREE).
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Cluster time: the latest stamp applied; never runs backward.
    #[must_use]
    pub fn at(&self) -> UtcMillis {
        self.at
    }

    /// All groups by name.
    #[must_use]
    pub fn groups(&self) -> &BTreeMap<GroupId, Group> {
        &self.groups
    }

    /// The group of that name.
    #[must_use]
    pub fn group(&self, id: &GroupId) -> Option<&Group> {
        self.groups.get(id)
    }

    /// The resource of that name and its group.
    #[must_use]
    pub fn resource(&self, id: &ResourceId) -> Option<(&Group, &ResourceConfig)> {
        let group = self.groups.get(self.homes.get(id)?)?;
        Some((group, group.resources.get(id)?))
    }

    /// Where in the log a group was last touched.
    #[must_use]
    pub fn trail(&self, id: &GroupId) -> Option<&Trail> {
        self.trails.get(id)
    }

    /// The last entry that changed any group, or what planning looks at besides groups: nothing to
    /// look at again while it stays.
    #[must_use]
    pub fn groups_changed(&self) -> LogIndex {
        self.groups_changed
    }

    /// The highest epoch ever granted of a group of that name; for a name that is not in use,
    /// the highest of all deleted groups.
    #[must_use]
    pub fn epoch_last(&self, id: &GroupId) -> Epoch {
        self.groups.get(id).map_or(self.epoch_floor, |g| g.epoch_last)
    }

    /// The cluster registry.
    #[must_use]
    pub fn keys(&self) -> &BTreeMap<String, String> {
        &self.keys
    }

    /// Those that the registry lets ask from other machines.
    #[must_use]
    pub fn admins(&self) -> Vec<RemoteAdmin> {
        let keys = self.keys.range(ADMIN_KEYS.to_owned()..);
        let named = keys.take_while(|(key, _)| key.starts_with(ADMIN_KEYS));
        named.filter_map(|(key, value)| RemoteAdmin::read(key, value)).collect()
    }

    /// For which length leases of the node are granted.
    #[must_use]
    pub fn lease_length(&self, node: NodeId) -> LeaseLength {
        self.lease_lengths.get(&node).copied().unwrap_or_default()
    }

    /// The longest length for which leases of any node are granted.
    #[must_use]
    pub fn longest_lease(&self) -> LeaseLength {
        self.lease_lengths.values().max().copied().unwrap_or_default()
    }

    /// Nodes that announced an absence, with the cluster time of it.
    #[must_use]
    pub fn absent(&self) -> &BTreeMap<NodeId, UtcMillis> {
        &self.absent
    }

    /// Nodes that leave or left in order and are not back.
    #[must_use]
    pub fn left(&self) -> &BTreeSet<NodeId> {
        &self.left
    }

    /// Nodes that became members after the cluster was formed.
    #[must_use]
    pub fn joined(&self) -> &BTreeMap<NodeId, NodeEntry> {
        &self.joined
    }

    /// Nodes that leave for good, until they are no members any more.
    #[must_use]
    pub fn going(&self) -> &BTreeSet<NodeId> {
        &self.going
    }

    /// Numbers of nodes that are no members any more.
    #[must_use]
    pub fn evicted(&self) -> &BTreeSet<NodeId> {
        &self.evicted
    }

    /// The last entry that made a node a member, or took it out.
    #[must_use]
    pub fn members_changed(&self) -> LogIndex {
        self.members_changed
    }

    /// Nodes without a vote that get one as soon as they have the whole log: they handed it over
    /// when they left, or joined and never had one.
    #[must_use]
    pub fn lent(&self) -> &BTreeSet<NodeId> {
        &self.lent
    }

    /// Whether the node owns a group.
    #[must_use]
    pub fn owns_any(&self, node: NodeId) -> bool {
        let owns = |g: &Group| g.ownership.as_ref().is_some_and(|o| o.node == node);
        self.groups.values().any(owns)
    }

    /// The last applied entry that took a group from the node or changed its lease length (R7).
    /// Entries proposed and not applied yet count too: see [`Proposed::barrier`].
    #[must_use]
    pub fn taken(&self, node: NodeId) -> LogIndex {
        self.taken.get(&node).copied().unwrap_or_default()
    }

    /// The answer to a request that was applied before, if it is remembered.
    #[must_use]
    pub fn answer(&self, id: RequestId) -> Option<Answer> {
        self.answered.get(id)
    }

    /// Size of the database for its limit, in bytes; an estimate from above.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// What nodes have for groups, and what they do besides.
    #[must_use]
    pub fn rooms(&self) -> &BTreeMap<NodeId, Room> {
        &self.rooms
    }

    /// Who is told of which records.
    #[must_use]
    pub fn alerts(&self) -> &BTreeMap<AlertId, Alert> {
        &self.alerts
    }

    /// Join tokens, those that ran out since the last one was made included.
    #[must_use]
    pub fn tokens(&self) -> &BTreeMap<TokenHash, Token> {
        &self.tokens
    }

    /// The level of the cluster, and who raised it to that.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// The level of the cluster.
    #[must_use]
    pub fn level(&self) -> ClusterLevel {
        self.mark.level
    }

    /// What the nodes run, as it was told last; nothing below [`ClusterLevel::PROGRAMS`].
    #[must_use]
    pub fn programs(&self) -> &BTreeMap<NodeId, Program> {
        &self.programs
    }

    fn chain(&mut self, index: LogIndex, entry: &Entry) {
        let bytes = postcard::to_stdvec(&(index, entry)).expect("own entries encode");
        self.digest = snapshot::fold(self.digest, &bytes);
    }
}

/// Whether a group shall run: wanted by the administrator and not given up by the cluster.
#[must_use]
pub fn shall_run(group: &Group) -> bool {
    group.desired == Desired::Online && group.failed.is_none()
}
