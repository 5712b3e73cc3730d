//! Reads: all from the last published view and the node's own records.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use stead_model::declaration::Declaration;
use stead_model::ocf;
use stead_model::reason::{Code, Reason};
use stead_model::record::Record;
use stead_model::resource_type::{BUILTIN, builtin};
use stead_model::view::{GroupView, NetworkView, NodeView, QuorumView, View};
use utoipa::OpenApi;

use super::Shared;
use super::asked::{Options, group_id, node_id, resource_id};
use crate::contract::{
    Attention, ClusterEvents, Events, Explanation, KnownType, LinkEntry, Logs, Problem,
    ResourceEntry, Timeouts,
};
use crate::status::Refusal;
use crate::{events, stream};

pub(super) type Read<T> = Result<Json<T>, Refusal>;

/// The paths of this file for the document.
pub(crate) fn paths() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(paths(
        status,
        nodes,
        node,
        networks,
        network,
        links,
        groups,
        group,
        resources,
        resource,
        logs,
        quorum,
        resource_types,
        resource_type,
        events,
        cluster_events,
        explain_group,
        explain_timeouts,
        attention,
        export,
        metrics
    ))]
    struct Document;
    Document::openapi()
}

/// What this node knows of the cluster. Without quorum: as last known.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = View)))]
pub(super) async fn status(State(backend): State<Shared>) -> Json<Arc<View>> {
    Json(backend.view())
}

/// All nodes.
#[utoipa::path(get, path = "/v1/nodes", responses((status = 200, body = Vec<NodeView>)))]
pub(super) async fn nodes(State(backend): State<Shared>) -> Json<Vec<NodeView>> {
    Json(backend.view().nodes.clone())
}

/// One node, by number (`n1` or `1`) or host name.
#[utoipa::path(get, path = "/v1/nodes/{node}", params(("node" = String, Path)),
    responses((status = 200, body = NodeView), (status = "default", body = Problem)))]
pub(super) async fn node(
    State(backend): State<Shared>,
    Path(node): Path<String>,
) -> Read<NodeView> {
    let id = node_id(&backend, &node)?;
    let view = backend.view();
    let found = view.nodes.iter().find(|n| n.node == id).cloned();
    found.map(Json).ok_or_else(|| missing("node", &node))
}

/// All networks, with the interface of every node on them.
#[utoipa::path(get, path = "/v1/networks", responses((status = 200, body = Vec<NetworkView>)))]
pub(super) async fn networks(State(backend): State<Shared>) -> Json<Vec<NetworkView>> {
    Json(backend.view().networks.clone())
}

/// One network, by name.
#[utoipa::path(get, path = "/v1/networks/{network}", params(("network" = String, Path)),
    responses((status = 200, body = NetworkView), (status = "default", body = Problem)))]
pub(super) async fn network(
    State(backend): State<Shared>,
    Path(network): Path<String>,
) -> Read<NetworkView> {
    let view = backend.view();
    let found = view.networks.iter().find(|n| n.name == network).cloned();
    found.map(Json).ok_or_else(|| missing("network", &network))
}

/// The links of the asked node to all others, with their figures.
#[utoipa::path(get, path = "/v1/links", responses((status = 200, body = Vec<LinkEntry>)))]
pub(super) async fn links(State(backend): State<Shared>) -> Json<Vec<LinkEntry>> {
    Json(LinkEntry::of(&backend.view()))
}

/// All groups.
#[utoipa::path(get, path = "/v1/groups", responses((status = 200, body = Vec<GroupView>)))]
pub(super) async fn groups(State(backend): State<Shared>) -> Json<Vec<GroupView>> {
    Json(backend.view().groups.clone())
}

/// One group with its resources.
#[utoipa::path(get, path = "/v1/groups/{group}", params(("group" = String, Path)),
    responses((status = 200, body = GroupView), (status = "default", body = Problem)))]
pub(super) async fn group(
    State(backend): State<Shared>,
    Path(group): Path<String>,
) -> Read<GroupView> {
    let id = group_id(&group)?;
    let found = backend.view().groups.iter().find(|g| g.group == id).cloned();
    found.map(Json).ok_or_else(|| missing("group", &group))
}

/// All resources of all groups.
#[utoipa::path(get, path = "/v1/resources", responses((status = 200, body = Vec<ResourceEntry>)))]
pub(super) async fn resources(State(backend): State<Shared>) -> Json<Vec<ResourceEntry>> {
    Json(entries(&backend.view()).collect())
}

/// One resource.
#[utoipa::path(get, path = "/v1/resources/{resource}", params(("resource" = String, Path)),
    responses((status = 200, body = ResourceEntry), (status = "default", body = Problem)))]
pub(super) async fn resource(
    State(backend): State<Shared>,
    Path(resource): Path<String>,
) -> Read<ResourceEntry> {
    let id = resource_id(&resource)?;
    let found = entries(&backend.view()).find(|e| e.resource.resource == id);
    found.map(Json).ok_or_else(|| missing("resource", &resource))
}

fn entries(view: &View) -> impl Iterator<Item = ResourceEntry> {
    view.groups.iter().flat_map(|group| {
        group.resources.iter().map(|resource| ResourceEntry {
            group: group.group.clone(),
            owner: group.owner,
            resource: resource.clone(),
        })
    })
}

/// How many lines of output are wanted.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct LogOptions {
    /// At most this many lines. Default 100, at most 10 000.
    lines: Option<usize>,
}

/// The last lines that a resource wrote on this node.
#[utoipa::path(get, path = "/v1/resources/{resource}/logs",
    params(("resource" = String, Path),
        ("lines" = Option<usize>, Query, description = "at most this many, default 100")),
    responses((status = 200, body = Logs), (status = "default", body = Problem)))]
pub(super) async fn logs(
    State(backend): State<Shared>,
    Path(resource): Path<String>,
    Options(options): Options<LogOptions>,
) -> Read<Logs> {
    let resource = resource_id(&resource)?;
    let lines = options.lines.unwrap_or(100).min(10_000);
    Ok(Json(backend.logs(&resource, lines).await?))
}

/// Quorum as this node sees it.
#[utoipa::path(get, path = "/v1/quorum", responses((status = 200, body = QuorumView)))]
pub(super) async fn quorum(State(backend): State<Shared>) -> Json<QuorumView> {
    Json(backend.view().quorum.clone())
}

/// All resource types with their properties; external ones where they are installed on this node,
/// and the OCF agents that are, without theirs.
#[utoipa::path(get, path = "/v1/resource-types",
    responses((status = 200, body = Vec<KnownType>)))]
pub(super) async fn resource_types(State(backend): State<Shared>) -> Json<Vec<KnownType>> {
    // Where nobody can tell what is installed, the others are no less known.
    let installed = backend.installed_types().await.unwrap_or_default();
    let all = BUILTIN.iter().map(KnownType::from);
    Json(all.chain(installed.into_iter().map(KnownType::from)).collect())
}

/// One resource type; an OCF agent as it describes itself on this node.
#[utoipa::path(get, path = "/v1/resource-types/{type}", params(("type" = String, Path)),
    responses((status = 200, body = KnownType), (status = "default", body = Problem)))]
pub(super) async fn resource_type(
    State(backend): State<Shared>,
    Path(kind): Path<String>,
) -> Read<KnownType> {
    let table = builtin(&kind).ok_or_else(|| missing("resource type", &kind))?;
    if table.name == kind {
        return Ok(Json(table.into()));
    }
    if ocf::agent(&kind).is_some() {
        return Ok(Json(backend.agent(&kind).await?.into()));
    }
    let found = backend.installed_types().await?.into_iter().find(|one| one.name == kind);
    found.map(|one| Json(one.into())).ok_or_else(|| missing("resource type", &kind))
}

/// Which records are wanted.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct EventOptions {
    /// Records from this number on. Default 0: all that are kept.
    since: Option<u64>,
    /// At most this many in one answer. Default and most 1000.
    limit: Option<usize>,
    /// `true`: the answer does not end; every line is one record as JSON, an empty line every
    /// 15 s shows that the node still answers.
    pub(super) follow: Option<bool>,
}

impl EventOptions {
    pub(super) fn since(&self) -> u64 {
        self.since.unwrap_or(0)
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(stream::BATCH_MAX).min(stream::BATCH_MAX)
    }
}

/// Records of this node's event log.
#[utoipa::path(get, path = "/v1/events",
    params(
        ("since" = Option<u64>, Query, description = "records from this number on, default 0"),
        ("limit" = Option<usize>, Query, description = "at most this many, default and most 1000"),
        ("follow" = Option<bool>, Query, description = "true: the answer does not end; every line \
            is one record as JSON, an empty line now and then shows that the node still answers"),
    ),
    responses(
    (status = 200, body = Events, description = "with `follow`: application/x-ndjson"),
    (status = "default", body = Problem)))]
pub(super) async fn events(
    State(backend): State<Shared>,
    Options(options): Options<EventOptions>,
) -> Response {
    if options.follow == Some(true) {
        return stream::follow::<Record>(backend, options.since());
    }
    Json(backend.events(options.since(), options.limit())).into_response()
}

/// Which events are wanted.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct ClusterEventOptions {
    /// At most this many, the latest. Default 100, at most 10 000.
    last: Option<usize>,
    /// What is about this group, and what caused it. Default: everything.
    group: Option<String>,
}

/// Records of all nodes as one list, with causes across nodes. Whoever does not tell its records
/// within 2 s is named in it.
#[utoipa::path(get, path = "/v1/cluster-events",
    params(
        ("last" = Option<usize>, Query, description = "at most this many, the latest; default 100, \
            most 10 000"),
        ("group" = Option<String>, Query, description = "what is about this group, and what \
            caused it"),
    ),
    responses((status = 200, body = ClusterEvents), (status = "default", body = Problem)))]
pub(super) async fn cluster_events(
    State(backend): State<Shared>,
    Options(options): Options<ClusterEventOptions>,
) -> Read<ClusterEvents> {
    let group = options.group.as_deref().map(group_id).transpose()?;
    let all = events::joined(backend.events_of_all().await);
    let wanted = match group {
        Some(group) => events::about(all, &group),
        None => all,
    };
    Ok(Json(events::last(wanted, options.last.unwrap_or(100).min(10_000))))
}

/// Why a group is where it is and why not elsewhere, with the chain of causes.
#[utoipa::path(get, path = "/v1/explain/groups/{group}", params(("group" = String, Path)),
    responses((status = 200, body = Explanation), (status = "default", body = Problem)))]
pub(super) async fn explain_group(
    State(backend): State<Shared>,
    Path(group): Path<String>,
) -> Read<Explanation> {
    Ok(Json(backend.explain_group(&group_id(&group)?).await?))
}

/// What an administrator should do something about, what is urgent first.
#[utoipa::path(get, path = "/v1/attention",
    responses((status = 200, body = Vec<Attention>)))]
pub(super) async fn attention(State(backend): State<Shared>) -> Json<Vec<Attention>> {
    Json(crate::attention::list(&backend.view()))
}

/// Figures of this node's view in the text format of Prometheus.
#[utoipa::path(get, path = "/v1/metrics",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn metrics(State(backend): State<Shared>) -> Response {
    let text = crate::metrics::text(&backend.view());
    ([(CONTENT_TYPE, crate::metrics::CONTENT_TYPE)], text).into_response()
}

/// Groups and alerts as they are, as what `apply` takes; applied again it changes nothing.
#[utoipa::path(get, path = "/v1/export",
    params(("groups" = Option<String>, Query, description = "names, with commas; default: all")),
    responses((status = 200, body = Declaration), (status = "default", body = Problem)))]
pub(super) async fn export(
    State(backend): State<Shared>,
    Options(options): Options<ExportOptions>,
) -> Read<Declaration> {
    let names: Vec<String> =
        options.groups.iter().flat_map(|all| all.split(',')).map(str::to_owned).collect();
    Ok(Json(crate::export::declaration(&backend.view(), &names)?))
}

/// Which groups are exported.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportOptions {
    /// Names, with commas. Default: all.
    groups: Option<String>,
}

/// All timeouts and how each is derived.
#[utoipa::path(get, path = "/v1/explain/timeouts", responses((status = 200, body = Timeouts)))]
pub(super) async fn explain_timeouts(State(backend): State<Shared>) -> Json<Timeouts> {
    Json(backend.explain_timeouts())
}

/// This document.
pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], crate::document::PINNED).into_response()
}

pub(super) fn missing(noun: &str, name: &str) -> Refusal {
    let text = format!("there is no {noun} `{}`", name.escape_debug());
    let hint = format!("`stead {} list` shows all", noun.replace(' ', "-"));
    Refusal(Reason::new(Code::NotFound, text).hint(hint))
}
