//! The JSON bodies of the API that are not already nouns of the model.
//!
//! Field names are stable; a body with an unknown field is refused, so that a misspelt option
//! never passes silently.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use stead_model::config::{NetworkRole, NodeAddress, NodeWish};
use stead_model::external::{Installed, OwnAction, OwnProperty};
use stead_model::group::{GroupPolicy, GroupState};
use stead_model::program::ClusterLevel;
use stead_model::reason::Reason;
use stead_model::record::Record;
use stead_model::resource_type::{Property, ResourceType, builtin};
use stead_model::role::Role;
use stead_model::server::VirtualServer;
use stead_model::token::{Shown, TokenHash};
use stead_model::view::{LinkView, ResourceView, SafetyLevel, View};
use stead_model::{AlertId, Epoch, GroupId, LogIndex, NodeId, ResourceId, UtcMillis, VoterId};
use utoipa::ToSchema;

/// Header that carries the identity of a request, `client.number`: client in hexadecimal, number
/// in decimal. A repeated request with the same identity gets the first answer.
pub const REQUEST_ID_HEADER: &str = "stead-request-id";

/// A group to create. What is absent takes its default.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGroup {
    /// Its name.
    pub group: GroupId,
    /// Owners in order of preference.
    #[serde(default)]
    pub preferred_owners: Vec<NodeId>,
    /// Failovers within the period before the group stays failed.
    #[serde(default)]
    pub failover_threshold: Option<u32>,
    /// The window of the threshold, in seconds.
    #[serde(default)]
    pub failover_period_s: Option<u64>,
    /// Any property of groups, by name.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

impl NewGroup {
    /// The policy with the defaults filled in.
    ///
    /// # Errors
    /// Names the property that is unknown or malformed.
    pub fn policy(&self) -> Result<GroupPolicy, Reason> {
        let mut settings: BTreeMap<String, Option<String>> =
            self.properties.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
        let threshold = self.failover_threshold.map(|n| n.to_string());
        let period = self.failover_period_s.map(|s| format!("{s}s"));
        for (name, value) in [("failover-threshold", threshold), ("failover-period", period)] {
            if value.is_some() {
                settings.entry(name.to_owned()).or_insert(value);
            }
        }
        let preferred_owners = self.preferred_owners.clone();
        let mut policy = GroupPolicy { preferred_owners, ..GroupPolicy::default() };
        policy.set_all(&settings)?;
        Ok(policy)
    }
}

/// New values of properties by name; `null` resets to the default.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PropertyChanges {
    /// The values.
    pub properties: BTreeMap<String, Option<String>>,
}

/// Where a group shall go.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveTo {
    /// The node; absent: the planner chooses.
    #[serde(default)]
    pub to: Option<NodeId>,
}

/// Go on without voters that are lost.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForceQuorum {
    /// The node that shall go on: the one that is asked.
    pub node: NodeId,
    /// The voters that are off or cut off and stay so: all that are silent, and the quorum disk
    /// where it is lost, too.
    pub lost: BTreeSet<VoterId>,
}

/// The level that the cluster shall be at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RaiseLevel {
    /// One above the present one.
    pub to: ClusterLevel,
}

/// A resource to create.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewResource {
    /// The group.
    pub group: GroupId,
    /// Its name.
    pub resource: ResourceId,
    /// Its type, as in `ip-address`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Properties of the type and common ones, by name.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

/// An alert to add.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAlert {
    /// Its name.
    pub alert: AlertId,
    /// Its properties by name.
    pub properties: BTreeMap<String, String>,
}

/// How the test of an alert went.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Tested {
    /// What the other side said, in words for people.
    pub text: String,
}

/// All dependencies of a resource.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Dependencies {
    /// What must be online before it.
    pub depends_on: BTreeSet<ResourceId>,
}

/// A value of the cluster registry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyValue {
    /// The value, at most 1 MiB.
    pub value: String,
}

/// A node to add.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewNode {
    /// Its number; absent: the one above all that there are.
    #[serde(default)]
    pub node: Option<NodeId>,
    /// Its host name.
    pub name: String,
    /// Its address on each network.
    pub addresses: Vec<NodeAddress>,
    /// The join token that its host showed, which is used up; absent: it is added without one.
    #[serde(default)]
    pub token: Option<Shown>,
}

/// A join token to make.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// SHA-256 of its secret.
    pub token: TokenHash,
    /// How long it is good for.
    pub minutes: u32,
}

/// What shall change about a node; one field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NodeChange {
    /// `true`: voter, `false`: learner.
    Votes(bool),
    /// Whether it announces an absence: leases of at least 30 s, until it is over or 30 s passed.
    Absent(bool),
    /// Whether it leaves in order. A node asks this for itself: one that is made to leave by
    /// others while its guard stays is back at once.
    Left(bool),
    /// All that it has for groups, as in `cpu=16,memory=64G`; `measured`: what its machine has
    /// of these now; empty: it is not limited.
    Capacity(String),
    /// A service of its own, which the cluster does not look after.
    Local(LocalService),
    /// What it is called and where it is.
    Entry(NodeWish),
}

/// A service of a node's own.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalService {
    /// Its name.
    pub service: String,
    /// What it needs, as in `cpu=1,memory=2G`; `null`: it is listed no more.
    pub needs: Option<String>,
}

/// What a network is to be from now on; what is left out stays as it is.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkChange {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<NetworkRole>,
    /// Streams between nodes go over the usable network with the highest one: `low`, `medium`,
    /// `high` or a number from 1 to 9999.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
}

/// A change was committed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// Index of the entry: a node whose `applied` is at least this has the change.
    pub index: LogIndex,
    /// What else whoever asked should know, such as possible owners that could not be asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
}

/// A request was refused or failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Why.
    pub error: Reason,
}

/// Records of the node's event log.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// In the order of their numbers.
    pub records: Vec<Record>,
    /// Ask with `since` at this number for what comes next.
    pub next: u64,
}

/// Records of all nodes as one list.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClusterEvents {
    /// Causes before effects, changes of the database in the order of its log; the rest by the
    /// clocks.
    pub events: Vec<ClusterEvent>,
    /// How many earlier ones are not in the list.
    pub left_out: usize,
    /// All nodes; the list is partial where one does not tell its records.
    pub nodes: Vec<NodeAsked>,
}

/// What happened, once: as one node recorded it, or as all record a change of the database.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ClusterEvent {
    /// The first record of `told`. Where it names a cause and `cause` is nothing, nobody keeps that
    /// any more.
    pub record: Record,
    /// All records of it. The first is that of the node that knows the cause.
    pub told: Vec<RecordName>,
    /// The first record of what caused it, on whichever node.
    pub cause: Option<RecordName>,
}

/// A record, of those of all nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ToSchema)]
pub struct RecordName {
    /// The node that wrote it.
    pub node: NodeId,
    /// Its number there.
    pub number: u64,
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.number)
    }
}

/// A node whose records were wanted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct NodeAsked {
    /// The node.
    pub node: NodeId,
    /// Its host name.
    pub name: String,
    /// How many records it told.
    pub kept: usize,
    /// Why it told none, if it did not.
    pub missing: Option<String>,
}

/// The records of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeRecords {
    /// The node.
    pub node: NodeId,
    /// Its host name.
    pub name: String,
    /// All that it keeps for readers, in the order of their numbers; or why it did not tell them.
    pub records: Result<Vec<Record>, String>,
}

/// Somebody asked for a change: a line of the audit log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Audited {
    /// Number on this node, growing by one.
    pub number: u64,
    /// Wall clock, when it was answered.
    pub at: UtcMillis,
    /// The node that was asked.
    pub node: NodeId,
    /// Who asked, and from where.
    pub who: String,
    /// The role of whoever asked.
    pub role: Option<Role>,
    /// The identity of the request, where it had one: `client.number`.
    pub request: Option<String>,
    /// What was asked. Values are left out.
    pub what: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The answer in words.
    pub answer: String,
    /// So many that were denied before this one are not told one by one: there were too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// How a request for a change ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused; nothing changed.
    Refused,
    /// Whoever asked may not; nothing changed.
    Denied,
    /// There was no answer in time; it may still have taken effect.
    Unknown,
}

impl Outcome {
    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Unknown => "unknown",
        }
    }
}

/// Lines of the node's audit log.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditLog {
    /// In the order of their numbers.
    pub entries: Vec<Audited>,
    /// Ask with `since` at this number for what comes next.
    pub next: u64,
}

/// A resource and where it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ResourceEntry {
    /// Its group.
    pub group: GroupId,
    /// The group's owner.
    pub owner: Option<NodeId>,
    /// The resource itself.
    #[serde(flatten)]
    pub resource: ResourceView,
}

/// A link of the asked node, and to whom.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkEntry {
    /// The node that was asked.
    pub from: NodeId,
    /// The other one.
    pub to: NodeId,
    /// The link itself.
    #[serde(flatten)]
    pub link: LinkView,
}

impl LinkEntry {
    /// All links of the node whose view it is, by network.
    #[must_use]
    pub fn of(view: &View) -> Vec<Self> {
        let entry = |to, link: &LinkView| Self { from: view.node, to, link: link.clone() };
        let links = view.nodes.iter().flat_map(|n| n.links.iter().map(move |l| (n.node, l)));
        let mut all: Vec<Self> = links.map(|(to, link)| entry(to, link)).collect();
        all.sort_by_key(|entry| (entry.link.network, entry.to));
        all
    }
}

/// What a resource wrote to its outputs on this node.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, ToSchema)]
pub struct Logs {
    /// The last lines, oldest first.
    pub lines: Vec<String>,
}

/// A resource type that a node knows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ResourceType)]
pub struct KnownType {
    /// Its name, as in `ip-address`, `ext:counter` or `ocf:heartbeat:nginx`.
    pub name: String,
    /// One sentence; of an external type that cannot be used, why.
    pub about: String,
    /// Its properties.
    pub properties: Vec<OwnProperty>,
    /// Control codes, with what they do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<(String, String)>,
    /// Of an OCF agent that was asked for: its actions, with the time that it wants for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<OwnAction>,
}

/// Something of a type's own that is asked of a resource.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// One of the codes of its type.
    pub code: String,
    /// What goes with it. Default: nothing.
    #[serde(default)]
    pub text: String,
}

/// What a control code answered.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, ToSchema)]
pub struct Controlled {
    /// The text.
    pub text: String,
}

impl From<&ResourceType> for KnownType {
    fn from(kind: &ResourceType) -> Self {
        let own = |property: &Property| OwnProperty {
            name: property.name.to_owned(),
            about: property.about.to_owned(),
            form: property.form,
            required: property.required,
            default: property.default.map(str::to_owned),
        };
        Self {
            name: kind.name.to_owned(),
            about: kind.about.to_owned(),
            properties: kind.properties.iter().map(own).collect(),
            controls: Vec::new(),
            actions: Vec::new(),
        }
    }
}

impl From<Installed> for KnownType {
    /// With the properties that stead gives every external type, and every agent.
    fn from(Installed { name, about, properties, controls, actions }: Installed) -> Self {
        let common = builtin(&name).map(|kind| Self::from(kind).properties).unwrap_or_default();
        Self { name, about, properties: [properties, common].concat(), controls, actions }
    }
}

/// Why a group is where it is and in its state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// The group.
    pub group: GroupId,
    /// Its state.
    pub state: GroupState,
    /// Its owner.
    pub owner: Option<NodeId>,
    /// Epoch of the ownership.
    pub epoch: Epoch,
    /// Why it is there.
    pub why: String,
    /// The virtual servers that it is.
    #[serde(default)]
    pub servers: Vec<VirtualServer>,
    /// Safety level: A, B or C.
    pub safety: SafetyLevel,
    /// Why it is that level.
    pub safety_why: String,
    /// Where else it may run.
    pub placement: Placement,
    /// What the nodes recorded about the group, and what caused it, oldest first (I-WHY).
    pub chain: Vec<ClusterEvent>,
    /// Who was asked for it.
    pub nodes: Vec<NodeAsked>,
}

/// Something that an administrator should know or do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Attention {
    /// Whether something is not as it should be; else it is a reminder.
    pub urgent: bool,
    /// What it is, one sentence.
    pub text: String,
    /// The command to begin with.
    pub command: String,
    /// When it ends by itself, cluster time.
    pub until: Option<UtcMillis>,
}

/// Where a group may run, and what happens to it next.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, ToSchema)]
pub struct Placement {
    /// Whether the node that was asked leads: then this is how it decides. Another node says what
    /// it sees itself.
    pub decides: bool,
    /// What is awaited or will be done next, one sentence each.
    pub next: Vec<String>,
    /// All nodes as places for the group, the best first; empty while the node reads its log.
    pub places: Vec<Place>,
}

/// A node as a place for a group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Place {
    /// The node.
    pub node: NodeId,
    /// Whether the group may go there now.
    pub fit: Fit,
    /// Why, or why not.
    pub why: String,
}

/// Whether a group may go to a node now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// It may.
    Possible,
    /// A required rule of a group keeps it away now.
    Barred,
    /// The node may own it, but is not available now.
    Unavailable,
    /// The node is not a possible owner.
    Excluded,
}

impl Fit {
    /// The word people read.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Barred => "barred",
            Self::Unavailable => "unavailable",
            Self::Excluded => "excluded",
        }
    }
}

/// All timeouts of a node and where they come from.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Timeouts {
    /// The profile they are derived from.
    pub profile: String,
    /// Real-time priority and memory lock of this node service, or why it runs without.
    pub priority: String,
    /// The timeouts.
    pub timeouts: Vec<Timeout>,
}

/// One timeout.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Timeout {
    /// Its name.
    pub name: String,
    /// Its value in milliseconds.
    pub ms: f64,
    /// How it is derived.
    pub from: String,
    /// What it is for.
    pub meaning: String,
}
