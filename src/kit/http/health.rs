//! `/health`, `/ready` and `/metrics`: for probes and for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use crate::kit::app::App;
use crate::kit::db;

/// How long readiness waits for the database.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// More than this between the machine's clock and the database's is told.
const MOST_DRIFT: time::Duration = time::Duration::seconds(1);

/// The routes of operation. None needs a credential, and a credential that comes is not looked at.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/health", get(health)).route("/ready", get(ready)).route("/metrics", get(metrics))
}

/// Alive: answers without the database.
async fn health(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({
        "status": "healthy",
        "service": app.config.service_name,
        "timestamp": app.clock.now().format(&Rfc3339).unwrap_or_default(),
        "uptime_ms": app.started.milliseconds(),
    }))
}

/// Fit for traffic: not about to stop, the database answers, and its clock is close to ours.
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
        return Json(
            json!({ "status": "ready", "warning": "the clock is more than a second off the database's" }),
        )
        .into_response();
    }
    Json(json!({ "status": "ready" })).into_response()
}

fn unavailable(reason: &'static str) -> Response {
    let body = Json(json!({ "status": "unavailable", "reason": reason }));
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], body).into_response()
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.render(app.pools())).into_response()
}
