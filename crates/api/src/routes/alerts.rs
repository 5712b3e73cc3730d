//! Alerts: who is told of which records.

use axum::Json;
use axum::extract::{Path, State};
use stead_model::request::Request;
use stead_model::role::Role;
use stead_model::view::AlertView;
use utoipa::OpenApi;

use super::Shared;
use super::asked::{Asker, Body, alert_id};
use super::audit::done;
use super::read::{Read, missing};
use super::write::{Written, ask};
use crate::contract::{Done, NewAlert, Problem, Tested};

/// The paths of this file for the document.
pub(crate) fn paths() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(paths(alerts, alert, add_alert, remove_alert, test_alert))]
    struct Document;
    Document::openapi()
}

/// All alerts, and how they go on this node.
#[utoipa::path(get, path = "/v1/alerts", responses((status = 200, body = Vec<AlertView>)))]
pub(super) async fn alerts(State(backend): State<Shared>) -> Json<Vec<AlertView>> {
    Json(backend.view().alerts.clone())
}

/// One alert, and how it goes on this node.
#[utoipa::path(get, path = "/v1/alerts/{alert}", params(("alert" = String, Path)),
    responses((status = 200, body = AlertView), (status = "default", body = Problem)))]
pub(super) async fn alert(
    State(backend): State<Shared>,
    Path(alert): Path<String>,
) -> Read<AlertView> {
    let id = alert_id(&alert)?;
    let found = backend.view().alerts.iter().find(|a| a.alert == id).cloned();
    found.map(Json).ok_or_else(|| missing("alert", &alert))
}

/// Adds an alert.
#[utoipa::path(post, path = "/v1/alerts", request_body = NewAlert,
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn add_alert(
    State(backend): State<Shared>,
    asker: Asker,
    Body(NewAlert { alert, properties }): Body<NewAlert>,
) -> Written {
    let alert = alert_id(alert.as_str())?;
    ask(&backend, asker, Request::AddAlert { alert, properties }).await
}

/// Removes an alert.
#[utoipa::path(delete, path = "/v1/alerts/{alert}", params(("alert" = String, Path)),
    responses((status = 200, body = Done), (status = "default", body = Problem)))]
pub(super) async fn remove_alert(
    State(backend): State<Shared>,
    Path(alert): Path<String>,
    asker: Asker,
) -> Written {
    ask(&backend, asker, Request::RemoveAlert { alert: alert_id(&alert)? }).await
}

/// Tells a sample by an alert, from this node, at once and once.
#[utoipa::path(post, path = "/v1/alerts/{alert}/test", params(("alert" = String, Path)),
    responses((status = 200, body = Tested), (status = "default", body = Problem)))]
pub(super) async fn test_alert(
    State(backend): State<Shared>,
    Path(alert): Path<String>,
    asker: Asker,
) -> Read<Tested> {
    let alert = alert_id(&alert)?;
    let what = format!("test alert `{alert}`");
    let work = backend.test_alert(&asker.caller.who, &alert);
    Ok(Json(done(&backend, &asker, (Role::Operator, what), work).await?))
}
