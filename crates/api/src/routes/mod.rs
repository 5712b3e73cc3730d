//! The routes under `/v1`: each handler translates and nothing more.

mod alerts;
mod asked;
mod audit;
mod cluster_ip;
mod read;
mod write;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use stead_model::reason::{Code, Reason};

use crate::backend::Backend;
use crate::caller::known;
use crate::server::ANSWER_TIMEOUT;
use crate::status::Refusal;

pub(crate) use alerts::paths as alert_paths;
pub(crate) use audit::paths as audit_paths;
pub(crate) use cluster_ip::paths as cluster_ip_paths;
pub(crate) use read::paths as read_paths;
pub(crate) use write::paths as write_paths;

/// The backend as handlers see it.
pub(crate) type Shared = Arc<dyn Backend>;

/// Largest request body: a registry value of 1 MiB with every byte of it escaped once.
pub(crate) const BODY_BYTES_MAX: usize = (2 << 20) + 4096;

/// All routes over a backend.
pub fn router(backend: Arc<dyn Backend>) -> Router {
    Router::new()
        .merge(reads())
        .merge(writes())
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(contain))
        .layer(middleware::from_fn(known))
        .with_state(backend)
}

fn reads() -> Router<Shared> {
    Router::new()
        .route("/v1/status", get(read::status))
        .route("/v1/quorum", get(read::quorum))
        .route("/v1/networks", get(read::networks))
        .route("/v1/links", get(read::links))
        .route("/v1/resource-types", get(read::resource_types))
        .route("/v1/resource-types/{type}", get(read::resource_type))
        .route("/v1/resources/{resource}/logs", get(read::logs))
        .route("/v1/events", get(read::events))
        .route("/v1/cluster-events", get(read::cluster_events))
        .route("/v1/audit", get(audit::audit))
        .route("/v1/explain/groups/{group}", get(read::explain_group))
        .route("/v1/explain/timeouts", get(read::explain_timeouts))
        .route("/v1/attention", get(read::attention))
        .route("/v1/export", get(read::export))
        .route("/v1/metrics", get(read::metrics))
        .route("/v1/openapi.json", get(read::openapi))
}

fn writes() -> Router<Shared> {
    let group = get(read::group).patch(write::set_group).delete(write::delete_group);
    let resource = get(read::resource).patch(write::set_resource).delete(write::delete_resource);
    Router::new()
        .route("/v1/nodes", get(read::nodes).post(write::add_node))
        .route("/v1/tokens", post(write::make_token))
        .route("/v1/level", post(write::raise_level))
        .route("/v1/keys/rotation", post(write::rotate_keys).delete(write::abandon_keys))
        .route(
            "/v1/nodes/{node}",
            get(read::node).patch(write::change_node).delete(write::evict_node),
        )
        .route("/v1/networks/{network}", get(read::network).patch(write::set_network))
        .route("/v1/quorum/force", post(write::force_quorum))
        .route("/v1/groups", get(read::groups).post(write::create_group))
        .route("/v1/groups/{group}", group)
        .route("/v1/groups/{group}/online", post(write::group_online))
        .route("/v1/groups/{group}/offline", post(write::group_offline))
        .route("/v1/groups/{group}/move", post(write::move_group))
        .route("/v1/groups/{group}/clear-failures", post(write::clear_failures))
        .route("/v1/resources", get(read::resources).post(write::create_resource))
        .route("/v1/resources/{resource}", resource)
        .route("/v1/resources/{resource}/online", post(write::resource_online))
        .route("/v1/resources/{resource}/offline", post(write::resource_offline))
        .route("/v1/resources/{resource}/fail", post(write::fail_resource))
        .route("/v1/resources/{resource}/control", post(write::control_resource))
        .route("/v1/resources/{resource}/dependencies", put(write::set_dependencies))
        .route("/v1/alerts", get(alerts::alerts).post(alerts::add_alert))
        .route("/v1/alerts/{alert}", get(alerts::alert).delete(alerts::remove_alert))
        .route("/v1/alerts/{alert}/test", post(alerts::test_alert))
        .route(
            "/v1/cluster-ip",
            put(cluster_ip::set_cluster_ip).delete(cluster_ip::remove_cluster_ip),
        )
        .route("/v1/apply", post(write::apply))
        .route("/v1/upkeep", post(write::upkeep))
        .route("/v1/plan", post(write::plan))
        .route("/v1/registry/{*key}", put(write::set_key).delete(write::delete_key))
}

/// Runs a handler in a task of its own: a panic there, or a handler that does not end, costs
/// this one answer and nothing else.
async fn contain(request: Request, next: Next) -> Response {
    let what = format!("{} {}", request.method(), request.uri().path());
    let handler = tokio::spawn(next.run(request));
    let stop = handler.abort_handle();
    match tokio::time::timeout(ANSWER_TIMEOUT, handler).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            Refusal(Reason::new(Code::Bug, format!("{what} ended in a panic"))).into_response()
        }
        Err(_) => {
            stop.abort();
            let text = format!("{what} had no answer within {} s", ANSWER_TIMEOUT.as_secs());
            Refusal(
                Reason::new(Code::Timeout, text)
                    .hint("it may still take effect; repeat it with the same request id"),
            )
            .into_response()
        }
    }
}

async fn unknown_path(request: Request) -> Refusal {
    let text = format!("there is no `{}`", request.uri().path());
    Refusal(Reason::new(Code::NotFound, text).hint("`/v1/openapi.json` lists all paths"))
}

async fn unknown_method(request: Request) -> Refusal {
    let text = format!("`{}` cannot be asked of `{}`", request.method(), request.uri().path());
    Refusal(Reason::new(Code::Invalid, text).hint("`/v1/openapi.json` lists all methods"))
}
