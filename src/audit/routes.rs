//! `/audit-logs`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use utoipa::OpenApi;

use super::Event;
use super::export::{self, Order};
use super::read::{self, Filter, Page, Row};
use crate::access::{Admin, ReadAudit};
use crate::kit::app::App;
use crate::kit::error::Result;
use crate::kit::http::extract::{Id, Json, Query};
use crate::kit::http::page::number;
use crate::kit::http::problem::Problem;

/// The routes of the audit log, relative to a mount.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/audit-logs", get(list))
        .route("/audit-logs/export", post(export))
        .route("/audit-logs/{id}", get(show))
}

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(list, export, show))]
pub struct Api;

/// Reads the audit log, newest first.
#[utoipa::path(get, path = "/audit-logs",
    params(
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 200, description = "How many at the most; 50 when absent."),
        ("cursor" = Option<String>, Query, description = "The next_cursor of the page before."),
        ("actor_id" = Option<String>, Query, description = "Only by this caller."),
        ("actor_type" = Option<String>, Query, description = "Only by this kind of caller."),
        ("action" = Option<String>, Query, description = "Only these actions, separated by commas."),
        ("target_id" = Option<String>, Query, description = "Only to this thing; also as resource_id."),
        ("target_type" = Option<String>, Query, description = "Only to this kind of thing; also as resource_type."),
        ("status" = Option<String>, Query, pattern = "^(success|failure|refused)$", description = "Only what succeeded, or only what was refused."),
        ("ip" = Option<String>, Query, description = "Only from this address."),
        ("grant_id" = Option<String>, Query, description = "Only of this may-act grant."),
        ("org_id" = Option<String>, Query, description = "No row has one."),
        ("session_id" = Option<String>, Query, description = "No row has one."),
        ("since" = Option<OffsetDateTime>, Query, description = "Not before this moment; also as from."),
        ("until" = Option<OffsetDateTime>, Query, description = "Not after this moment; also as to."),
    ),
    responses((status = 200, body = Page)), security(("admin" = ["nhi:manage"]), ("admin" = ["audit:read"])))]
async fn list(
    State(app): State<Arc<App>>,
    admin: Admin<ReadAudit>,
    query: Query,
) -> Result<axum::Json<Page>, Problem> {
    let limit = number(&query, "limit", 50, 1..=200)?;
    let wanted = filter(&query)?.read()?;
    let cursor = query.one("cursor")?;
    let mut work = admin.begin().await?;
    let result = read::list(&app, &mut work.cx, &wanted, cursor, limit).await;
    Ok(axum::Json(work.read(result).await?))
}

/// Shows a row of the audit log.
#[utoipa::path(get, path = "/audit-logs/{id}", responses((status = 200, body = Row)), security(("admin" = ["nhi:manage"]), ("admin" = ["audit:read"])))]
async fn show(admin: Admin<ReadAudit>, Id(id): Id) -> Result<axum::Json<Row>, Problem> {
    let mut work = admin.begin().await?;
    let result = read::get(&mut work.cx, id).await;
    Ok(axum::Json(work.read(result).await?))
}

/// Answers a part of the audit log as a file.
///
/// Taking the log away is a thing to know of, so it leaves a row.
#[utoipa::path(post, path = "/audit-logs/export",
    request_body = Order,
    responses((status = 200, content(
        (String = "application/x-ndjson"),
        (Vec<Row> = "application/json"),
        (String = "text/csv"),
    ))), security(("admin" = ["nhi:manage"]), ("admin" = ["audit:read"])))]
async fn export(
    State(app): State<Arc<App>>,
    admin: Admin<ReadAudit>,
    body: Result<Json<Order>, Problem>,
) -> Result<Response, Problem> {
    let mut work = admin.begin().await?;
    let result = match body {
        Ok(Json(order)) => export::prepare(&mut work.cx, order).await,
        Err(Problem(error)) => Err(error),
    };
    let facts = result.as_ref().map_or(json!({}), |file| json!({ "format": file.format, "rows": file.rows }));
    let event = Event::new("audit.exported", "audit_log", "").with(facts);
    let (file, own) = work.finish_recorded(event, result).await?;
    let (media, name) = file.head();
    let head = [
        (header::CONTENT_TYPE, media.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((head, file.send(app, own)).into_response())
}

fn filter(query: &Query) -> Result<Filter> {
    Ok(Filter {
        actor_id: one(query, "actor_id")?,
        actor_type: one(query, "actor_type")?,
        action: one(query, "action")?,
        target_id: either(query, "target_id", "resource_id")?,
        target_type: either(query, "target_type", "resource_type")?,
        status: one(query, "status")?,
        ip: one(query, "ip")?,
        grant_id: one(query, "grant_id")?,
        org_id: one(query, "org_id")?,
        session_id: one(query, "session_id")?,
        since: either(query, "since", "from")?,
        until: either(query, "until", "to")?,
    })
}

fn one(query: &Query, name: &'static str) -> Result<Option<String>> {
    Ok(query.one(name)?.map(str::to_owned))
}

fn either(query: &Query, name: &'static str, other: &'static str) -> Result<Option<String>> {
    Ok(one(query, name)?.or(one(query, other)?))
}
