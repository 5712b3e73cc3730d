//! What becomes of an administrator's request on the leader: one change, or something else to do,
//! or a refusal. Requests that look at live nodes are judged here, the others by `db::validate`.

use stead_model::amounts::Amounts;
use stead_model::change::Change;
use stead_model::config::{NodeAddress, NodeWish};
use stead_model::declaration::{Declaration, Foreseen};
use stead_model::group::{Desired, Group, GroupPolicy};
use stead_model::program::ClusterLevel;
use stead_model::reason::{Code, Reason};
use stead_model::request::Request;
use stead_model::resource::ResourceState;
use stead_model::token::{Shown, TokenHash};
use stead_model::upkeep::Drain;
use stead_model::{Epoch, GroupId, NodeId, ResourceId};

use super::placement::{Fit, Layout};
use super::{PlanInput, core_group, draft, foresee, upkeep};
use crate::db::networks::NetworkWish;
use crate::db::properties::Settings;
use crate::db::validate::{self as check, Members, NewResource};
use crate::db::{Db, alerts, relations, rotation, shall_run, tokens};

/// What the leader does about a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Propose this change; the request is answered when it is applied.
    Propose(Change),
    /// Propose these changes as one entry, all or nothing.
    ProposeAll(Vec<Change>),
    /// Nothing is to be changed; what would be.
    Tell {
        /// In words for people.
        foreseen: Foreseen,
        /// The changes that [`Decision::ProposeAll`] would make.
        changes: Vec<Change>,
    },
    /// Ask the owner to rehearse a failure; the database does not change.
    Rehearse {
        /// The owner.
        node: NodeId,
        /// The group.
        group: GroupId,
        /// The resource.
        resource: ResourceId,
        /// The epoch it is meant for.
        epoch: Epoch,
    },
    /// Change the voters.
    Vote {
        /// The node.
        node: NodeId,
        /// Whether it votes.
        votes: bool,
    },
    /// Make a node a member.
    Join {
        /// Its number, if it was given one.
        number: Option<NodeId>,
        /// Its host name.
        name: String,
        /// Its address on each network.
        addresses: Vec<NodeAddress>,
        /// The token that is used up by it, if one.
        token: Option<Shown>,
    },
    /// Change name and addresses of a node.
    Readdress(NodeId, NodeWish),
    /// Begin a rotation of the keys.
    Rotate,
    /// Raise the level of the cluster.
    Raise(ClusterLevel),
}

impl Decision {
    /// The changes of the database that it makes, or tells of.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        match self {
            Self::Propose(change) => std::slice::from_ref(change),
            Self::ProposeAll(changes) | Self::Tell { changes, .. } => changes,
            Self::Rehearse { .. } | Self::Vote { .. } | Self::Join { .. } => &[],
            Self::Readdress(..) | Self::Rotate | Self::Raise(_) => &[],
        }
    }

    /// The same, to complete them.
    pub(crate) fn changes_mut(&mut self) -> &mut [Change] {
        match self {
            Self::Propose(change) => std::slice::from_mut(change),
            Self::ProposeAll(changes) | Self::Tell { changes, .. } => changes,
            Self::Rehearse { .. } | Self::Vote { .. } | Self::Join { .. } => &mut [],
            Self::Readdress(..) | Self::Rotate | Self::Raise(_) => &mut [],
        }
    }
}

/// Decides about a request. `limit_bytes` is the largest database allowed.
///
/// # Errors
/// A refusal with code, cause and hint; nothing is to be proposed.
pub fn decide(
    request: &Request,
    input: &PlanInput<'_>,
    limit_bytes: u64,
) -> Result<Decision, Reason> {
    core_group::protect(request)?;
    let nodes: Vec<NodeId> = input.nodes.keys().copied().collect();
    let networks = input.networks();
    let members = Members { nodes: &nodes, host_names: input.host_names, networks: &networks };
    let db = input.db;
    let change = match request {
        Request::CreateGroup { group, policy } => create_group(db, (group, policy), &nodes)?,
        Request::SetGroup { group, properties } => set_group(input, group, properties, &nodes)?,
        Request::DeleteGroup { group } => check::delete_group(db, group)?,
        Request::SetGroupDesired { group, desired } => {
            check::set_group_desired(db, group, *desired)?
        }
        Request::ClearFailures { group } => check::clear_failures(db, group)?,
        Request::MoveGroup { group, to } => move_group(input, group, *to)?,
        Request::CreateResource { group, resource, kind, properties } => {
            let new = NewResource { group, id: resource, kind, properties };
            check::create_resource(db, new, members)?
        }
        Request::DeleteResource { resource } => delete_resource(input, resource)?,
        Request::SetResourceDesired { resource, desired } => {
            check::set_resource_desired(db, resource, *desired)?
        }
        Request::SetResource { resource, properties } => {
            check::set_resource(db, resource, properties, members)?
        }
        Request::SetDependencies { resource, depends_on } => {
            check::set_dependencies(db, resource, depends_on)?
        }
        Request::FailResource { resource } => return rehearse(input, resource),
        Request::SetKey { key, value } => set_key(db, key, value.as_deref())?,
        Request::SetVote { node, votes } => return vote(input, *node, *votes),
        Request::AddNode { number, name, addresses, token } => {
            let (name, addresses) = (name.clone(), addresses.clone());
            let join = Decision::Join { number: *number, name, addresses, token: *token };
            return admit(input, *token, join);
        }
        Request::MakeToken { token, minutes } => make_token(input, (*token, *minutes))?,
        Request::SetNode { node, wish } => return Ok(Decision::Readdress(*node, wish.clone())),
        Request::RotateKeys => return Ok(Decision::Rotate),
        Request::RaiseLevel { to } => return Ok(Decision::Raise(*to)),
        Request::AbandonKeys => rotation::abandon(db)?,
        Request::SetAbsence { node, absent } => absence(input, *node, *absent)?,
        Request::Leave { node } => member(input, *node, Change::NodeLeaves { node: *node })?,
        Request::Evict { node } => return evict(input, *node, Drain::Yes),
        Request::Return { node } => returns(input, *node)?,
        Request::Upkeep { upkeep } => upkeep::decide(input, upkeep)?,
        Request::SetCapacity { node, capacity } => {
            member(input, *node, check::set_capacity(db, *node, capacity))?
        }
        Request::MeasureCapacity { node } => measure_capacity(input, *node)?,
        Request::SetLocal { node, service, needs } => {
            let listed = check::set_local(db, *node, (service, needs.as_ref()))?;
            member(input, *node, listed)?
        }
        Request::AddAlert { alert, properties } => alerts::add(db, alert, properties)?,
        Request::RemoveAlert { alert } => alerts::remove(db, alert)?,
        Request::SetNetwork { network, name, role, priority } => {
            let wish = NetworkWish { name: name.as_deref(), role: *role, priority: *priority };
            return networks.set(db, network, wish).map(Decision::ProposeAll);
        }
        Request::Apply { wanted } => return declared(wanted, input, limit_bytes),
        Request::Force { .. } | Request::ForceQuorum { .. } => {
            return forced(request, input, limit_bytes);
        }
        Request::SetClusterIp { wanted } => return core_group::set(wanted, input, limit_bytes),
        Request::RemoveClusterIp => return core_group::remove(input),
        Request::Foresee { wanted } => return told(wanted, input, limit_bytes),
    };
    check::check_size(db, &change, limit_bytes)?;
    Ok(Decision::Propose(change))
}

fn create_group(
    db: &Db,
    (group, policy): (&GroupId, &GroupPolicy),
    nodes: &[NodeId],
) -> Result<Change, Reason> {
    relations::check(db, group, &policy.rules)?;
    check::create_group(db, group, policy, nodes)
}

fn set_key(db: &Db, key: &str, value: Option<&str>) -> Result<Change, Reason> {
    if value.is_some() && rotation::names_admin(key) {
        let text = || "cannot let somebody ask from other machines now".to_owned();
        rotation::none_under_way(db, text)?;
    }
    check::set_key(key, value)
}

fn make_token(input: &PlanInput<'_>, new: (TokenHash, u32)) -> Result<Change, Reason> {
    rotation::none_under_way(input.db, || "cannot make a join token".to_owned())?;
    tokens::make(input.db, input.at, new)
}

/// What a declaration would change and cause.
fn told(wanted: &Declaration, input: &PlanInput<'_>, limit_bytes: u64) -> Result<Decision, Reason> {
    let draft = draft(wanted, input, limit_bytes)?;
    let foreseen = foresee(input, &draft.db);
    Ok(Decision::Tell { foreseen, changes: draft.changes })
}

fn set_group(
    input: &PlanInput<'_>,
    id: &GroupId,
    settings: &Settings,
    nodes: &[NodeId],
) -> Result<Change, Reason> {
    let change = check::set_group(input.db, id, settings, nodes)?;
    if let Change::SetGroupPolicy { policy, .. } = &change {
        relations::check(input.db, id, &policy.rules)?;
    }
    Ok(change)
}

fn declared(
    wanted: &Declaration,
    input: &PlanInput<'_>,
    limit_bytes: u64,
) -> Result<Decision, Reason> {
    draft(wanted, input, limit_bytes).map(|draft| Decision::ProposeAll(draft.changes))
}

/// What an administrator insists on; that nobody is asked is seen to in `leading/fitting`.
fn forced(request: &Request, input: &PlanInput<'_>, limit_bytes: u64) -> Result<Decision, Reason> {
    let Request::Force { request } = request else {
        return Err(Reason::new(Code::Conflict, "cannot force quorum")
            .because("a leader was asked, and it is forced where there is none"));
    };
    if let Request::Evict { node } = &**request {
        return evict(input, *node, Drain::ForceOffline);
    }
    decide(request, input, limit_bytes)
}

/// Lets a node in, unless its host was let in before by the token that it shows.
fn admit(input: &PlanInput<'_>, token: Option<Shown>, join: Decision) -> Result<Decision, Reason> {
    let before = match token {
        Some(shown) => tokens::admitted(input.db, input.at, shown)?,
        None => None,
    };
    if before.is_some() {
        return Ok(Decision::ProposeAll(Vec::new()));
    }
    rotation::none_under_way(input.db, || "cannot add a node".to_owned())?;
    Ok(join)
}

/// A node leaves for good; what that takes follows by itself (`leading/leaving`).
fn evict(input: &PlanInput<'_>, node: NodeId, drain: Drain) -> Result<Decision, Reason> {
    if input.db.going().contains(&node) {
        return Ok(Decision::ProposeAll(Vec::new()));
    }
    let refused = || Reason::new(Code::Conflict, format!("cannot evict `{node}`"));
    if input.nodes.len() == 1 {
        return Err(refused()
            .because("it is the only node of the cluster")
            .hint("`stead cluster destroy NAME` ends a cluster"));
    }
    // What a dead node owned runs nowhere: nothing is lost by letting it go.
    let runs = input.nodes.get(&node).is_some_and(|live| live.eligible);
    let stuck = if runs && drain == Drain::Yes { upkeep::stuck(input, node) } else { Vec::new() };
    if !stuck.is_empty() {
        return Err(refused()
            .because(format!("no other node may take {} now", stuck.join(", ")))
            .hint(format!(
                "`explain group` says why; `node evict {node} --force-offline` takes what can run \
                 nowhere else offline"
            )));
    }
    member(input, node, Decision::Propose(Change::NodeGoes { node }))
}

fn returns(input: &PlanInput<'_>, node: NodeId) -> Result<Change, Reason> {
    if input.db.going().contains(&node) {
        return Err(Reason::new(Code::Conflict, format!("`{node}` cannot come back"))
            .because("it is being evicted")
            .hint("it joins anew: `stead cluster token`"));
    }
    member(input, node, Change::NodeReturns { node })
}

/// A planned move: the owner is told to stop the group, then the target gets it.
fn move_group(input: &PlanInput<'_>, id: &GroupId, to: Option<NodeId>) -> Result<Change, Reason> {
    let group = check::group(input.db, id)?;
    let refused = || {
        let target = to.map_or_else(|| "another node".to_owned(), |to| to.to_string());
        Reason::new(Code::Conflict, format!("cannot move group `{id}` to {target}"))
    };
    if let Some(why) = &group.failed {
        return Err(refused()
            .because(format!("it failed: {why}"))
            .hint(format!("bring it online again first: `group online {id}`")));
    }
    upkeep::may_move(input, id, to)?;
    let owner = group.ownership.as_ref().map(|o| o.node);
    if to.is_some() && to == owner {
        return Err(refused().because(format!("{} owns it already", owner.unwrap_or_default())));
    }
    let layout = Layout::new(input);
    let node = match to {
        Some(to) => judge_target(&layout, group, to)
            .map_err(|why| with_choices(&layout, group, refused().because(why)))?,
        None => layout.best(id, owner).ok_or_else(|| {
            refused().because("no other node may take it now").hint(places(&layout, group))
        })?,
    };
    let why = "an administrator moved it".to_owned();
    let group = id.clone();
    Ok(match input.db.group(id).and_then(|g| g.ownership.as_ref()) {
        Some(owned) => Change::Release { group, epoch: owned.epoch, to: Some(node), why },
        None => {
            let epoch = input.db.epoch_last(id).next();
            Change::Grant { group, node, epoch, why }
        }
    })
}

/// Preferred rules forbid nothing: who names a node knows why.
fn judge_target(layout: &Layout<'_>, group: &Group, to: NodeId) -> Result<NodeId, String> {
    if !layout.input().nodes.contains_key(&to) {
        return Err(format!("{to} is not in the cluster"));
    }
    match layout.find(&group.id).and_then(|number| layout.bar(number, to)) {
        None => Ok(to),
        Some(bar) => Err(bar.to_string()),
    }
}

fn with_choices(layout: &Layout<'_>, group: &Group, refused: Reason) -> Reason {
    let owner = group.ownership.as_ref().map(|o| o.node);
    let all = layout.candidates(&group.id);
    let possible = all.iter().filter(|c| c.fit == Fit::Possible && Some(c.node) != owner);
    let names: Vec<String> = possible.map(|c| c.node.to_string()).collect();
    if names.is_empty() {
        return refused;
    }
    refused.hint(format!("choose {}", names.join(" or ")))
}

fn places(layout: &Layout<'_>, group: &Group) -> String {
    let all = layout.candidates(&group.id);
    let why: Vec<String> = all.into_iter().map(|c| format!("{}: {}", c.node, c.why)).collect();
    why.join("; ")
}

fn delete_resource(input: &PlanInput<'_>, id: &ResourceId) -> Result<Change, Reason> {
    let change = check::delete_resource(input.db, id)?;
    deletable(input, id)?;
    Ok(change)
}

/// A resource may be deleted when nothing of it can run: nobody owns the group, or it shall be
/// offline and its owner says that it is. So a name or an address that is free in the database is
/// free in the world (I-OWN).
pub(super) fn deletable(input: &PlanInput<'_>, id: &ResourceId) -> Result<(), Reason> {
    let (group, resource) = check::resource(input.db, id)?;
    let Some(owned) = &group.ownership else { return Ok(()) };
    let refused = || Reason::new(Code::Conflict, format!("cannot delete resource `{id}`"));
    if shall_run(group) && resource.desired == Desired::Online {
        return Err(refused()
            .because("it shall be online")
            .hint(format!("take it offline first: `resource offline {id}`")));
    }
    let stopped = input.nodes.get(&owned.node).is_some_and(|n| n.stopped);
    match state(input, group, id) {
        Some(ResourceState::Offline | ResourceState::Failed) => Ok(()),
        _ if stopped => Ok(()),
        Some(state) => Err(refused()
            .because(format!("it is {} on {}", state.word(), owned.node))
            .hint("wait until it is offline")),
        None => Err(refused()
            .because(format!("{} does not say whether it is offline", owned.node))
            .hint("wait until its owner answers or the group has another owner")),
    }
}

fn rehearse(input: &PlanInput<'_>, id: &ResourceId) -> Result<Decision, Reason> {
    let (group, _) = check::resource(input.db, id)?;
    let owner = group.ownership.as_ref().filter(|o| o.release.is_none());
    if input.db.upkeep().left_alone(group).contains(id) {
        return Err(Reason::new(Code::Conflict, format!("cannot rehearse a failure of `{id}`"))
            .because("it is in maintenance: nothing would be done about it")
            .hint("`attention` lists what is in maintenance, and how it ends"));
    }
    match (owner, state(input, group, id)) {
        (Some(owned), Some(ResourceState::Online)) => Ok(Decision::Rehearse {
            node: owned.node,
            group: group.id.clone(),
            resource: id.clone(),
            epoch: owned.epoch,
        }),
        (_, state) => {
            let word = state.map_or("not running", ResourceState::word);
            Err(Reason::new(Code::Conflict, format!("cannot rehearse a failure of `{id}`"))
                .because(format!("it is {word}, not online"))
                .hint(format!("bring it online first: `resource online {id}`")))
        }
    }
}

/// State of a resource as its owner reports it for the present epoch.
fn state(input: &PlanInput<'_>, group: &Group, id: &ResourceId) -> Option<ResourceState> {
    let owned = group.ownership.as_ref()?;
    let report = input.reported(owned.node, &group.id, owned.epoch)?;
    report.resources.iter().find(|r| r.resource == *id).map(|r| r.state)
}

fn vote(input: &PlanInput<'_>, node: NodeId, votes: bool) -> Result<Decision, Reason> {
    member(input, node, Decision::Vote { node, votes })
}

/// An absence is announced once and ends once.
fn absence(input: &PlanInput<'_>, node: NodeId, absent: bool) -> Result<Change, Reason> {
    if input.db.absent().contains_key(&node) == absent {
        let now = if absent { "it is announced already" } else { "none is announced" };
        return Err(Reason::new(Code::Conflict, format!("cannot change the absence of `{node}`"))
            .because(now));
    }
    member(input, node, Change::Absence { node, absent })
}

/// A node has what its machine has, as it said itself.
fn measure_capacity(input: &PlanInput<'_>, node: NodeId) -> Result<Change, Reason> {
    let live = member(input, node, input.nodes.get(&node))?;
    let Some(report) = live.and_then(|live| live.report) else {
        return Err(Reason::new(Code::Conflict, format!("it is not known what {node} has"))
            .because("it was not heard since this cluster came up")
            .hint("say it: `stead node capacity NODE cpu=16 memory=64G`"));
    };
    let mut capacity = Amounts::from(report.machine);
    let present = input.db.rooms().get(&node).into_iter().flat_map(|room| room.capacity.iter());
    let others = present.filter(|(unit, _)| report.machine.get(unit).is_none());
    others.for_each(|(unit, amount)| capacity.add(unit, amount));
    Ok(check::set_capacity(input.db, node, &capacity))
}

/// What is only done to nodes of the cluster.
fn member<T>(input: &PlanInput<'_>, node: NodeId, what: T) -> Result<T, Reason> {
    if input.nodes.contains_key(&node) {
        return Ok(what);
    }
    Err(Reason::new(Code::NotFound, format!("{node} is not in the cluster"))
        .hint("`node list` shows all nodes"))
}
