//! `/api-keys`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State as FromApp;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{ApiKey, Filter, KeyRequest, State};
use crate::access::{Admin, ManageIdentities};
use crate::api_keys;
use crate::audit::Event;
use crate::idempotency::{self, Creation};
use crate::kit::app::App;
use crate::kit::config::Limits;
use crate::kit::error::Result;
use crate::kit::http::extract::{Id, MaybeJson, Query};
use crate::kit::http::limits::check_text;
use crate::kit::http::members;
use crate::kit::http::page::number;
use crate::kit::http::problem::Problem;
use crate::tokens::{self, Anchor, DryRun};

/// The name under which answers of creation are kept.
const CREATE: &str = "POST /api-keys";

/// The routes of API keys, relative to a mount.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api-keys", get(list).post(create))
        .route("/api-keys/{id}", get(read))
        .route("/api-keys/{id}/revoke", post(revoke))
}

#[derive(Debug, Serialize)]
struct KeyList {
    keys: Vec<ApiKey>,
    total: i64,
    page: i64,
    limit: i64,
}

/// The body of a revocation, all of which is optional.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Revocation {
    reason: Option<String>,
}

impl Revocation {
    fn reason(self, limits: &Limits) -> Result<String> {
        let reason = self.reason.filter(|reason| !reason.is_empty());
        let reason = reason.unwrap_or_else(|| "api_key_revoked".to_owned());
        check_text("reason", &reason, limits)?;
        Ok(reason)
    }
}

async fn create(
    FromApp(app): FromApp<Arc<App>>,
    admin: Admin<ManageIdentities>,
    creation: Result<Creation<KeyRequest>, Problem>,
) -> Result<Response, Problem> {
    let mut work = admin.begin().await?;
    let Creation { body: request, fingerprint } = match creation {
        Ok(creation) => creation,
        Err(Problem(error)) => {
            return work.finish(Event::new("api_key.created", "api_key", ""), Err(error)).await;
        }
    };
    if let Some(answer) = idempotency::replay(&app, &mut work.cx, CREATE, &fingerprint).await? {
        return work.read(Ok(answer)).await;
    }
    let name: String = request.name.chars().take(255).collect();
    let result = api_keys::issue(&app, &mut work.cx, request).await;
    let made = result.as_ref().ok().map(|shown| (shown.api_key.id, shown.api_key.identity_id.clone()));
    let (id, identity) = made.map(|(id, identity)| (id.to_string(), identity)).unwrap_or_default();
    let event = Event::new("api_key.created", "api_key", id);
    let event = event.with(json!({ "name": name, "identity_id": identity }));
    let answer = match result {
        Ok(shown) => idempotency::created(&app, &mut work.cx, CREATE, &fingerprint, &shown).await,
        Err(error) => Err(error),
    };
    work.finish(event, answer).await
}

async fn list(admin: Admin<ManageIdentities>, query: Query) -> Result<axum::Json<KeyList>, Problem> {
    let limit = number(&query, "limit", 20, 1..=100)?;
    let page = number(&query, "page", 1, 1..=i64::from(i32::MAX))?;
    let filter = Filter {
        states: query.words::<State>("state")?,
        identity_id: members::id("query.application_id", query.one("application_id")?)?,
        label: query.pair("label")?,
        product: query.one("product")?.map(|product| json!({ "product": product })),
    };
    let mut work = admin.begin().await?;
    let (keys, total) = api_keys::list(&mut work.cx, &filter, limit, (page - 1) * limit).await?;
    Ok(axum::Json(work.read(Ok(KeyList { keys, total, page, limit })).await?))
}

async fn read(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<ApiKey>, Problem> {
    let mut work = admin.begin().await?;
    let result = api_keys::get(&mut work.cx, id).await;
    Ok(axum::Json(work.read(result).await?))
}

async fn revoke(
    FromApp(app): FromApp<Arc<App>>,
    admin: Admin<ManageIdentities>,
    Id(id): Id,
    query: Query,
    body: Result<MaybeJson<Revocation>, Problem>,
) -> Result<Response, Problem> {
    let dry_run = query.flag("dry_run")?.unwrap_or(false);
    let mut work = admin.begin().await?;
    let event = Event::new("api_key.revoked", "api_key", id);
    let reason = match body.and_then(|MaybeJson(body)| Ok(body.reason(&app.config.limits)?)) {
        Ok(reason) => reason,
        Err(Problem(error)) => return work.finish(event, Err(error)).await,
    };
    if dry_run {
        let ended = tokens::changed_by(&mut work.cx, &[Anchor::ApiKey(id)]).await;
        let result = api_keys::revoke(&mut work.cx, id, &reason).await.and(ended);
        return Ok(axum::Json(work.undo(result.map(DryRun::of)).await?).into_response());
    }
    let result = api_keys::revoke(&mut work.cx, id, &reason).await;
    let key = work.finish(event.with(json!({ "reason": reason })), result).await?;
    Ok(axum::Json(key).into_response())
}
