//! `/api-keys`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State as FromApp;
use axum::response::Response;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{OpenApi, ToSchema};

use super::issue::Shown;
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
use crate::tokens::{self, Anchor, Tried};

/// The name under which answers of creation are kept.
const CREATE: &str = "POST /api-keys";

/// The routes of API keys, relative to a mount.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api-keys", get(list).post(create))
        .route("/api-keys/{id}", get(read))
        .route("/api-keys/{id}/revoke", post(revoke))
}

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(create, list, read, revoke))]
pub struct Api;

/// A page of keys.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKeyList)]
struct KeyList {
    /// Those of the page.
    keys: Vec<ApiKey>,
    /// How many match in all.
    total: i64,
    /// Which page it is.
    page: i64,
    /// How many a page holds.
    limit: i64,
}

/// The body of a revocation, all of which is optional.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = ApiKeyRevocation)]
struct Revocation {
    /// Why; stands with the key and with what it obtained.
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

/// Makes an API key, which is shown this once, and an identity where none is named.
#[utoipa::path(post, path = "/api-keys",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, description = "Repeats within a minute get the first answer.")),
    request_body = KeyRequest, responses((status = 201, body = Shown)), security(("admin" = ["nhi:manage"])))]
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

/// Lists API keys, newest first.
#[utoipa::path(get, path = "/api-keys",
    params(
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 100, description = "How many at the most; 20 when absent."),
        ("page" = Option<i32>, Query, minimum = 1, description = "Which page; the first when absent."),
        ("state" = Option<Vec<State>>, Query, description = "Only in these states."),
        ("application_id" = Option<Uuid>, Query, description = "Only of this identity."),
        ("label" = Option<String>, Query, pattern = "^[^:]+:", description = "Only where the identity has this label, as key:value."),
        ("product" = Option<String>, Query, description = "Only where the identity has this label product."),
    ),
    responses((status = 200, body = KeyList)), security(("admin" = ["nhi:manage"])))]
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

/// Shows an API key, without the secret.
#[utoipa::path(get, path = "/api-keys/{id}",
    responses((status = 200, body = ApiKey)), security(("admin" = ["nhi:manage"])))]
async fn read(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<ApiKey>, Problem> {
    let mut work = admin.begin().await?;
    let result = api_keys::get(&mut work.cx, id).await;
    Ok(axum::Json(work.read(result).await?))
}

/// Ends an API key with all that it obtained.
#[utoipa::path(post, path = "/api-keys/{id}/revoke",
    params(("dry_run" = Option<bool>, Query, description = "Only tell what would end; nothing does.")),
    request_body = Option<Revocation>, responses((status = 200, body = Tried<ApiKey>)),
    security(("admin" = ["nhi:manage"])))]
async fn revoke(
    FromApp(app): FromApp<Arc<App>>,
    admin: Admin<ManageIdentities>,
    Id(id): Id,
    query: Query,
    body: Result<MaybeJson<Revocation>, Problem>,
) -> Result<axum::Json<Tried<ApiKey>>, Problem> {
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
        return Ok(axum::Json(work.undo(result.map(Tried::not)).await?));
    }
    let result = api_keys::revoke(&mut work.cx, id, &reason).await;
    let key = work.finish(event.with(json!({ "reason": reason })), result).await?;
    Ok(axum::Json(Tried::Done(key)))
}
