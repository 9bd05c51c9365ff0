//! `/signals`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::json;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use super::{Filter, NewSignal, Signal, stream};
use crate::access::{Admin, ManageIdentities};
use crate::audit::Event;
use crate::idempotency::{self, Creation};
use crate::kit::app::App;
use crate::kit::error::{Kind, Result, refuse_at};
use crate::kit::http::extract::Query;
use crate::kit::http::members;
use crate::kit::http::page::number;
use crate::kit::http::problem::Problem;
use crate::signals;

/// The name under which answers of ingestion are kept.
const INGEST: &str = "POST /signals/ingest";

/// The routes of signals, relative to a mount.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/signals", get(list))
        .route("/signals/ingest", post(ingest))
        .route("/signals/stream", get(follow))
}

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(ingest, list, follow))]
pub struct Api;

/// The newest signals.
#[derive(Debug, Serialize, ToSchema)]
struct SignalList {
    /// The newest first.
    signals: Vec<Signal>,
    /// How many are shown.
    total: usize,
}

/// Takes a signal, which may end tokens at once.
#[utoipa::path(post, path = "/signals/ingest",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, description = "Repeats within a minute get the first answer.")),
    request_body = NewSignal, responses((status = 201, body = Signal)), security(("admin" = ["nhi:manage"])))]
async fn ingest(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    creation: Result<Creation<NewSignal>, Problem>,
) -> Result<Response, Problem> {
    let mut work = admin.begin().await?;
    let Creation { body: new, fingerprint } = match creation {
        Ok(creation) => creation,
        Err(Problem(error)) => {
            return work.finish(Event::new("signal.ingested", "signal", ""), Err(error)).await;
        }
    };
    let replayed = idempotency::replay(&app, &mut work.cx, INGEST, &fingerprint).await?;
    if let Some(answer) = replayed {
        return work.read(Ok(answer)).await;
    }
    let severity = new.severity;
    let (event, answer) = match signals::ingest(&app.config, &mut work.cx, new).await {
        Ok((signal, effect)) => {
            let facts = json!({
                "signal_type": signal.signal_type, "severity": severity, "identity_id": signal.identity_id,
                "effect": effect,
            });
            let answer = idempotency::created(&app, &mut work.cx, INGEST, &fingerprint, &signal).await;
            (Event::new("signal.ingested", "signal", signal.id).with(facts), answer)
        }
        Err(error) => (Event::new("signal.ingested", "signal", ""), Err(error)),
    };
    work.finish(event, answer).await
}

/// Lists signals, newest first.
#[utoipa::path(get, path = "/signals",
    params(
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 500, description = "How many at the most; 50 when absent."),
        ("mission_id" = Option<Uuid>, Query, description = "Only of this tree of credentials."),
        ("identity_id" = Option<Uuid>, Query, description = "Only about this identity."),
    ),
    responses((status = 200, body = SignalList)), security(("admin" = ["nhi:manage"])))]
async fn list(admin: Admin<ManageIdentities>, query: Query) -> Result<axum::Json<SignalList>, Problem> {
    let limit = number(&query, "limit", 50, 1..=500)?;
    let filter = Filter {
        mission_id: members::id("query.mission_id", query.one("mission_id")?)?,
        identity_id: members::id("query.identity_id", query.one("identity_id")?)?,
    };
    let mut work = admin.begin().await?;
    let result = signals::list(&mut work.cx, filter, limit).await;
    let signals = work.read(result).await?;
    Ok(axum::Json(SignalList { total: signals.len(), signals }))
}

/// What a browser sends of the last event that it saw.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Follows signals as server-sent events, without an end.
#[utoipa::path(get, path = "/signals/stream",
    params(("Last-Event-ID" = Option<Uuid>, Header, description = "The id of the signal after which to begin; now when absent.")),
    responses((status = 200, body = String, content_type = "text/event-stream")), security(("admin" = ["nhi:manage"])))]
async fn follow(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let body = stream::open(app, admin, last_event_id(&headers)?).await?;
    let head = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((head, body).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<Uuid>> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    let id = value.to_str().ok().and_then(|text| Uuid::try_parse(text).ok()).ok_or_else(|| {
        let why = "Last-Event-ID is the id of a signal; leave it out to begin now";
        refuse_at(Kind::InvalidRequest, why, "header.last-event-id", "")
    })?;
    Ok(Some(id))
}
