//! `/health`, `/ready` and `/metrics`: for probes and for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use utoipa::{OpenApi, ToSchema};

use crate::kit::app::App;
use crate::kit::db;
use crate::kit::http::problem::Document;

/// How long readiness waits for the database.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// More than this between the machine's clock and the database's is told.
const MOST_DRIFT: time::Duration = time::Duration::seconds(1);

/// The routes of operation. None needs a credential, and a credential that comes is not looked at.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/health", get(health)).route("/ready", get(ready)).route("/metrics", get(metrics))
}

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(health, ready, metrics))]
pub struct Api;

/// That the server lives.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// Always `healthy`.
    status: &'static str,
    /// What the server calls itself.
    service: String,
    /// Its clock.
    #[schema(format = DateTime)]
    timestamp: String,
    /// How long it has been running.
    uptime_ms: u64,
}

/// Whether the server is fit for traffic.
#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    /// `ready` or `unavailable`.
    status: &'static str,
    /// Something that should be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
    /// Why it is unavailable.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// Tells that the server lives. Needs no database.
#[utoipa::path(get, path = "/health", responses((status = 200, body = Health)), security(()))]
async fn health(State(app): State<Arc<App>>) -> Json<Health> {
    Json(Health {
        status: "healthy",
        service: app.config.service_name.clone(),
        timestamp: app.clock.now().format(&Rfc3339).unwrap_or_default(),
        uptime_ms: app.started.milliseconds(),
    })
}

/// Tells whether the server is fit for traffic.
///
/// It is when it is not about to stop, the database answers, and its clock is close to ours.
#[utoipa::path(get, path = "/ready",
    responses((status = 200, body = Readiness), (status = 503, content(
        (Readiness = "application/json"),
        (Document = "application/problem+json"),
    ))), security(()))]
async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.draining.is_cancelled() {
        return unavailable("the server is about to stop");
    }
    if app.gate.is_away() {
        return unavailable("the database does not answer");
    }
    let Ok(Ok(_)) = tokio::time::timeout(READY_WITHIN, db::time(&app.db)).await else {
        app.gate.suspect();
        return unavailable("the database does not answer");
    };
    let drift = app.clock.drift();
    if drift.abs() > MOST_DRIFT {
        // Times are taken from the database, so this is a warning and no reason to turn traffic away.
        let warning = Some("the clock is more than a second off the database's");
        return Json(Readiness { status: "ready", warning, reason: None }).into_response();
    }
    Json(Readiness { status: "ready", warning: None, reason: None }).into_response()
}

fn unavailable(reason: &'static str) -> Response {
    let body = Json(Readiness { status: "unavailable", warning: None, reason: Some(reason) });
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], body).into_response()
}

/// Shows the metrics in the format of OpenMetrics.
#[utoipa::path(get, path = "/metrics",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")), security(()))]
async fn metrics(State(app): State<Arc<App>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.render(app.pools())).into_response()
}
