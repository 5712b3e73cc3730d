//! Writes: each becomes one [`Request`] to the core, each answer one status.

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use stead_model::amounts::Amounts;
use stead_model::declaration::{Declaration, Foreseen};
use stead_model::group::Desired;
use stead_model::reason::{Code, Reason};
use stead_model::request::{Answer, Request};
use stead_model::resource_type::Form;
use stead_model::role::Role;
use stead_model::rules::{MEASURED, Priority};
use stead_model::upkeep::Upkeep;
use utoipa::OpenApi;

use super::Shared;
use super::asked::{Asker, Body, Options, group_id, node_id, resource_id};
use super::audit::{decided, done};
use crate::contract::{
    Control, Controlled, Dependencies, Done, ForceQuorum, KeyValue, LocalService, MoveTo,
    NetworkChange, NewGroup, NewNode, NewResource, NewToken, NodeChange, Problem, PropertyChanges,
    RaiseLevel,
};
use crate::status::Refusal;

pub(super) type Written = Result<Json<Done>, Refusal>;

/// The paths of this file for the document.
pub(crate) fn paths() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(paths(
        create_group,
        set_group,
        delete_group,
        group_online,
        group_offline,
        clear_failures,
        move_group,
        create_resource,
        set_resource,
        delete_resource,
        resource_online,
        resource_offline,
        fail_resource,
        control_resource,
        set_dependencies,
        set_key,
        delete_key,
        add_node,
        make_token,
        evict_node,
        force_quorum,
        rotate_keys,
        abandon_keys,
        raise_level,
        change_node,
        set_network,
        apply,
        plan,
        upkeep
    ))]
    struct Document;
    Document::openapi()
}

pub(super) async fn ask(backend: &Shared, asker: Asker, request: Request) -> Written {
    match decided(backend, asker, request).await {
        Answer::Done { index } => Ok(Json(Done { index, notices: Vec::new() })),
        Answer::Noted { index, notices } => Ok(Json(Done { index, notices })),
        Answer::Refused(reason) => Err(Refusal(reason)),
        Answer::Foreseen(_) => Err(misfit()),
    }
}

/// How a change is asked for that may be refused for what it would do.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Insisted {
    /// Do it although a possible owner lacks something that a resource needs (nobody is asked), or
    /// although what the node runs can run nowhere else.
    force: bool,
}

impl Insisted {
    pub(super) fn on(&self, request: Request) -> Request {
        match self.force {
            true => Request::Force { request: Box::new(request) },
            false => request,
        }
    }
}

fn misfit() -> Refusal {
    Refusal(Reason::new(Code::Bug, "the answer is that of another question"))
}

/// Makes groups as they are declared, all of them or nothing. A resource of such a group that is
/// not declared is deleted.
#[utoipa::path(post, path = "/v1/apply", request_body = Declaration,
    params(("force" = Option<bool>, Query, description = "ask no possible owner")),
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn apply(
    State(backend): State<Shared>,
    asker: Asker,
    Options(insisted): Options<Insisted>,
    Body(wanted): Body<Declaration>,
) -> Written {
    ask(&backend, asker, insisted.on(Request::Apply { wanted })).await
}

/// Pauses, drains or resumes a node, pins a group, puts a group or resource in maintenance, or
/// ends that.
#[utoipa::path(post, path = "/v1/upkeep", request_body = Upkeep,
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn upkeep(
    State(backend): State<Shared>,
    asker: Asker,
    Body(upkeep): Body<Upkeep>,
) -> Written {
    ask(&backend, asker, Request::Upkeep { upkeep }).await
}

/// What `apply` would change, and which starts, stops and moves it would cause; nothing changes.
#[utoipa::path(post, path = "/v1/plan", request_body = Declaration,
    params(("force" = Option<bool>, Query, description = "ask no possible owner")),
    responses((status = 200, body = Foreseen), (status = "default", body = Problem)))]
pub(super) async fn plan(
    State(backend): State<Shared>,
    asker: Asker,
    Options(insisted): Options<Insisted>,
    Body(wanted): Body<Declaration>,
) -> Result<Json<Foreseen>, Refusal> {
    let request = insisted.on(Request::Foresee { wanted });
    match decided(&backend, asker, request).await {
        Answer::Foreseen(foreseen) => Ok(Json(foreseen)),
        Answer::Refused(reason) => Err(Refusal(reason)),
        Answer::Done { .. } | Answer::Noted { .. } => Err(misfit()),
    }
}

/// Creates a group.
#[utoipa::path(post, path = "/v1/groups", request_body = NewGroup,
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn create_group(
    State(backend): State<Shared>,
    asker: Asker,
    Body(new): Body<NewGroup>,
) -> Written {
    let group = group_id(new.group.as_str())?;
    let policy = new.policy().map_err(Refusal)?;
    ask(&backend, asker, Request::CreateGroup { group, policy }).await
}

/// Changes properties of a group.
#[utoipa::path(patch, path = "/v1/groups/{group}", params(("group" = String, Path)),
    request_body = PropertyChanges,
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn set_group(
    State(backend): State<Shared>,
    Path(group): Path<String>,
    asker: Asker,
    Body(PropertyChanges { properties }): Body<PropertyChanges>,
) -> Written {
    let group = group_id(&group)?;
    ask(&backend, asker, Request::SetGroup { group, properties }).await
}

/// Deletes a group without resources.
#[utoipa::path(delete, path = "/v1/groups/{group}", params(("group" = String, Path)),
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn delete_group(
    State(backend): State<Shared>,
    Path(group): Path<String>,
    asker: Asker,
) -> Written {
    ask(&backend, asker, Request::DeleteGroup { group: group_id(&group)? }).await
}

/// Brings a group online.
#[utoipa::path(post, path = "/v1/groups/{group}/online", params(("group" = String, Path)),
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn group_online(
    State(backend): State<Shared>,
    Path(group): Path<String>,
    asker: Asker,
) -> Written {
    let (group, desired) = (group_id(&group)?, Desired::Online);
    ask(&backend, asker, Request::SetGroupDesired { group, desired }).await
}

/// Takes a group offline.
#[utoipa::path(post, path = "/v1/groups/{group}/offline", params(("group" = String, Path)),
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn group_offline(
    State(backend): State<Shared>,
    Path(group): Path<String>,
    asker: Asker,
) -> Written {
    let (group, desired) = (group_id(&group)?, Desired::Offline);
    ask(&backend, asker, Request::SetGroupDesired { group, desired }).await
}

/// Forgets the failures of a group and its resources, and tries again what was given up.
#[utoipa::path(post, path = "/v1/groups/{group}/clear-failures", params(("group" = String, Path)),
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn clear_failures(
    State(backend): State<Shared>,
    Path(group): Path<String>,
    asker: Asker,
) -> Written {
    ask(&backend, asker, Request::ClearFailures { group: group_id(&group)? }).await
}

/// Moves a group to another node.
#[utoipa::path(post, path = "/v1/groups/{group}/move", params(("group" = String, Path)),
    request_body = MoveTo,
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn move_group(
    State(backend): State<Shared>,
    Path(group): Path<String>,
    asker: Asker,
    Body(MoveTo { to }): Body<MoveTo>,
) -> Written {
    ask(&backend, asker, Request::MoveGroup { group: group_id(&group)?, to }).await
}

/// Creates a resource in a group.
#[utoipa::path(post, path = "/v1/resources", request_body = NewResource,
    params(("force" = Option<bool>, Query, description = "ask no possible owner")),
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn create_resource(
    State(backend): State<Shared>,
    asker: Asker,
    Options(insisted): Options<Insisted>,
    Body(new): Body<NewResource>,
) -> Written {
    let request = Request::CreateResource {
        group: group_id(new.group.as_str())?,
        resource: resource_id(new.resource.as_str())?,
        kind: new.kind,
        properties: new.properties,
    };
    ask(&backend, asker, insisted.on(request)).await
}

/// Changes properties of a resource.
#[utoipa::path(patch, path = "/v1/resources/{resource}",
    params(("resource" = String, Path),
        ("force" = Option<bool>, Query, description = "ask no possible owner")),
    request_body = PropertyChanges,
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn set_resource(
    State(backend): State<Shared>,
    Path(resource): Path<String>,
    asker: Asker,
    Options(insisted): Options<Insisted>,
    Body(PropertyChanges { properties }): Body<PropertyChanges>,
) -> Written {
    let resource = resource_id(&resource)?;
    ask(&backend, asker, insisted.on(Request::SetResource { resource, properties })).await
}

/// Deletes a resource on which no other depends.
#[utoipa::path(delete, path = "/v1/resources/{resource}", params(("resource" = String, Path)),
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn delete_resource(
    State(backend): State<Shared>,
    Path(resource): Path<String>,
    asker: Asker,
) -> Written {
    ask(&backend, asker, Request::DeleteResource { resource: resource_id(&resource)? }).await
}

/// Brings one resource online.
#[utoipa::path(post, path = "/v1/resources/{resource}/online",
    params(("resource" = String, Path)),
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn resource_online(
    State(backend): State<Shared>,
    Path(resource): Path<String>,
    asker: Asker,
) -> Written {
    let (resource, desired) = (resource_id(&resource)?, Desired::Online);
    ask(&backend, asker, Request::SetResourceDesired { resource, desired }).await
}

/// Takes one resource offline.
#[utoipa::path(post, path = "/v1/resources/{resource}/offline",
    params(("resource" = String, Path)),
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn resource_offline(
    State(backend): State<Shared>,
    Path(resource): Path<String>,
    asker: Asker,
) -> Written {
    let (resource, desired) = (resource_id(&resource)?, Desired::Offline);
    ask(&backend, asker, Request::SetResourceDesired { resource, desired }).await
}

/// Rehearses a failure of a resource.
#[utoipa::path(post, path = "/v1/resources/{resource}/fail",
    params(("resource" = String, Path)),
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn fail_resource(
    State(backend): State<Shared>,
    Path(resource): Path<String>,
    asker: Asker,
) -> Written {
    ask(&backend, asker, Request::FailResource { resource: resource_id(&resource)? }).await
}

/// Asks something of the type's own of a resource that is online on this node.
#[utoipa::path(post, path = "/v1/resources/{resource}/control",
    params(("resource" = String, Path)), request_body = Control,
    responses((status = 200, body = Controlled), (status = "default", body = Problem)))]
pub(super) async fn control_resource(
    State(backend): State<Shared>,
    Path(resource): Path<String>,
    asker: Asker,
    Body(control): Body<Control>,
) -> Result<Json<Controlled>, Refusal> {
    let resource = resource_id(&resource)?;
    let what = format!("ask `{}` of resource `{resource}`", control.code.escape_debug());
    let work = backend.control(&asker.caller.who, &resource, control);
    Ok(Json(done(&backend, &asker, (Role::Admin, what), work).await?))
}

/// Replaces the dependencies of a resource.
#[utoipa::path(put, path = "/v1/resources/{resource}/dependencies",
    params(("resource" = String, Path)), request_body = Dependencies,
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn set_dependencies(
    State(backend): State<Shared>,
    Path(resource): Path<String>,
    asker: Asker,
    Body(Dependencies { depends_on }): Body<Dependencies>,
) -> Written {
    let resource = resource_id(&resource)?;
    for other in &depends_on {
        resource_id(other.as_str())?;
    }
    ask(&backend, asker, Request::SetDependencies { resource, depends_on }).await
}

/// Sets a value of the cluster registry.
#[utoipa::path(put, path = "/v1/registry/{key}", params(("key" = String, Path)),
    request_body = KeyValue,
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn set_key(
    State(backend): State<Shared>,
    Path(key): Path<String>,
    asker: Asker,
    Body(KeyValue { value }): Body<KeyValue>,
) -> Written {
    ask(&backend, asker, Request::SetKey { key, value: Some(value) }).await
}

/// Deletes a value of the cluster registry.
#[utoipa::path(delete, path = "/v1/registry/{key}", params(("key" = String, Path)),
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn delete_key(
    State(backend): State<Shared>,
    Path(key): Path<String>,
    asker: Asker,
) -> Written {
    ask(&backend, asker, Request::SetKey { key, value: None }).await
}

/// Makes a node a member. It gets the whole log, then its vote; until it is there it is down.
#[utoipa::path(post, path = "/v1/nodes", request_body = NewNode,
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn add_node(
    State(backend): State<Shared>,
    asker: Asker,
    Body(NewNode { node: number, name, addresses, token }): Body<NewNode>,
) -> Written {
    ask(&backend, asker, Request::AddNode { number, name, addresses, token }).await
}

/// Makes a token that lets one host become a node: `stead cluster join`.
#[utoipa::path(post, path = "/v1/tokens", request_body = NewToken,
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn make_token(
    State(backend): State<Shared>,
    asker: Asker,
    Body(NewToken { token, minutes }): Body<NewToken>,
) -> Written {
    ask(&backend, asker, Request::MakeToken { token, minutes }).await
}

/// Makes a node no member any more: its groups go elsewhere, then its vote is taken. It is gone
/// when `/v1/nodes` does not list it.
#[utoipa::path(delete, path = "/v1/nodes/{node}",
    params(("node" = String, Path), ("force" = Option<bool>, Query,
        description = "take what can run nowhere else offline")),
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn evict_node(
    State(backend): State<Shared>,
    Path(node): Path<String>,
    asker: Asker,
    Options(insisted): Options<Insisted>,
) -> Written {
    let node = node_id(&backend, &node)?;
    ask(&backend, asker, insisted.on(Request::Evict { node })).await
}

/// Has the node that is asked go on without voters that are lost: nothing that they alone had is
/// kept, and they must stay off until it has quorum. Answered at once, with how long it waits;
/// `/v1/quorum` shows how far it is.
#[utoipa::path(post, path = "/v1/quorum/force", request_body = ForceQuorum,
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn force_quorum(
    State(backend): State<Shared>,
    asker: Asker,
    Body(force): Body<ForceQuorum>,
) -> Written {
    let ForceQuorum { node, lost } = force;
    ask(&backend, asker, Request::ForceQuorum { node, lost }).await
}

/// Has new keys follow those of the cluster. How far that is, and which nodes are waited for, shows
/// `rotation` in `/v1/status`.
#[utoipa::path(post, path = "/v1/keys/rotation",
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn rotate_keys(State(backend): State<Shared>, asker: Asker) -> Written {
    ask(&backend, asker, Request::RotateKeys).await
}

/// Goes back to the keys of before, while nobody uses the new ones.
#[utoipa::path(delete, path = "/v1/keys/rotation",
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn abandon_keys(State(backend): State<Shared>, asker: Asker) -> Written {
    ask(&backend, asker, Request::AbandonKeys).await
}

/// Raises the level of the cluster by one; the program of every node must know it. There is no way
/// back. `level` and `nodes` in `/v1/status` show the present one and what each node runs.
#[utoipa::path(post, path = "/v1/level", request_body = RaiseLevel,
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn raise_level(
    State(backend): State<Shared>,
    asker: Asker,
    Body(RaiseLevel { to }): Body<RaiseLevel>,
) -> Written {
    ask(&backend, asker, Request::RaiseLevel { to }).await
}

/// Changes what a node is in the cluster.
#[utoipa::path(patch, path = "/v1/nodes/{node}", params(("node" = String, Path)),
    request_body = NodeChange,
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn change_node(
    State(backend): State<Shared>,
    Path(node): Path<String>,
    asker: Asker,
    Body(change): Body<NodeChange>,
) -> Written {
    let node = node_id(&backend, &node)?;
    let request = match change {
        NodeChange::Votes(votes) => Request::SetVote { node, votes },
        NodeChange::Absent(absent) => Request::SetAbsence { node, absent },
        NodeChange::Entry(wish) => Request::SetNode { node, wish },
        NodeChange::Left(true) => Request::Leave { node },
        NodeChange::Left(false) => Request::Return { node },
        NodeChange::Capacity(text) if text == MEASURED => Request::MeasureCapacity { node },
        NodeChange::Capacity(text) => {
            let capacity = Amounts::parse(&text).map_err(Refusal)?;
            Request::SetCapacity { node, capacity }
        }
        NodeChange::Local(LocalService { service, needs }) => {
            let needs = needs.as_deref().map(Amounts::parse).transpose().map_err(Refusal)?;
            Request::SetLocal { node, service, needs }
        }
    };
    ask(&backend, asker, request).await
}

/// Changes what a network is called, what may use it and how much streams prefer it.
#[utoipa::path(patch, path = "/v1/networks/{network}", params(("network" = String, Path)),
    request_body = NetworkChange,
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn set_network(
    State(backend): State<Shared>,
    Path(network): Path<String>,
    asker: Asker,
    Body(NetworkChange { name, role, priority }): Body<NetworkChange>,
) -> Written {
    let priority = priority.as_deref().map(network_priority).transpose()?;
    ask(&backend, asker, Request::SetNetwork { network, name, role, priority }).await
}

fn network_priority(text: &str) -> Result<Priority, Refusal> {
    Priority::parse(text).ok_or_else(|| {
        let wrong = format!("`{}` is no priority of a network", text.escape_debug());
        let known = format!("a priority is {}", Form::Priority.words());
        Refusal(Reason::new(Code::Invalid, wrong).because(known))
    })
}
