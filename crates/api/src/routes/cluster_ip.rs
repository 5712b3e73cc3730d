//! The cluster IP: the address and the name by which the cluster is administered.

use axum::extract::State;
use stead_model::core_group::ClusterIp;
use stead_model::request::Request;
use utoipa::OpenApi;

use super::Shared;
use super::asked::{Asker, Body, Options};
use super::write::{Insisted, Written, ask};
use crate::contract::{Done, Problem};

/// The paths of this file for the document.
pub(crate) fn paths() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(paths(set_cluster_ip, remove_cluster_ip))]
    struct Document;
    Document::openapi()
}

/// Gives the cluster an IP address and publishes its name, or changes either: its own group
/// `cluster` has them. What is absent stays as it is.
#[utoipa::path(put, path = "/v1/cluster-ip", request_body = ClusterIp,
    params(("force" = Option<bool>, Query, description = "ask no possible owner")),
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn set_cluster_ip(
    State(backend): State<Shared>,
    asker: Asker,
    Options(insisted): Options<Insisted>,
    Body(wanted): Body<ClusterIp>,
) -> Written {
    ask(&backend, asker, insisted.on(Request::SetClusterIp { wanted })).await
}

/// Ends the cluster's own group: it goes offline, and is gone when `/v1/groups` does not list it.
#[utoipa::path(delete, path = "/v1/cluster-ip",
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn remove_cluster_ip(State(backend): State<Shared>, asker: Asker) -> Written {
    ask(&backend, asker, Request::RemoveClusterIp).await
}
