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

/// Fit for traffic: the database answers.
async fn ready(State(app): State<Arc<App>>) -> Response {
    let answer = tokio::time::timeout(READY_WITHIN, db::time(&app.db)).await;
    match answer {
        Ok(Ok(_)) => Json(json!({ "status": "ready" })).into_response(),
        _ => {
            let body = Json(json!({ "status": "unavailable", "reason": "the database does not answer" }));
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], body).into_response()
        }
    }
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], app.metrics.render(&app.db)).into_response()
}
