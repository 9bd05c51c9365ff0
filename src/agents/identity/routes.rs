//! `/identities`, and what is asked of all of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{OpenApi, ToSchema};

use super::{Ending, Facets, Identity, IdentityPatch, NewIdentity};
use crate::access::{Admin, ManageIdentities};
use crate::agents::{self, IdentityType, Status, TrustLevel, filter, identity};
use crate::audit::Event;
use crate::idempotency::{self, Creation};
use crate::kit::app::App;
use crate::kit::error::Result;
use crate::kit::http::extract::{Id, Json, Query};
use crate::kit::http::page::Page;
use crate::kit::http::problem::Problem;

/// The name under which answers of creation are kept.
const CREATE: &str = "POST /identities";

/// The routes of identities, relative to a mount.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/identities", get(list).post(create))
        .route("/identities/schema", get(schema))
        .route("/identities/by-wimse", get(by_uri))
        .route("/identities/{id}", get(read).patch(update).delete(delete))
        .route("/agents/registry/facets", get(facets))
        .route("/expiring-soon", get(ending))
}

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(create, list, read, update, delete, schema, by_uri, facets, ending))]
pub struct Api;

/// A page of identities.
#[derive(Debug, Serialize, ToSchema)]
struct IdentityList {
    /// Those of the page.
    identities: Vec<Identity>,
    /// How many match in all.
    total: i64,
    /// How many a page holds.
    limit: i64,
    /// How many came before.
    offset: i64,
}

/// Makes an identity without an API key.
#[utoipa::path(post, path = "/identities",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, description = "Repeats within a minute get the first answer.")),
    request_body = NewIdentity, responses((status = 201, body = Identity)), security(("admin" = ["nhi:manage"])))]
async fn create(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    creation: Result<Creation<NewIdentity>, Problem>,
) -> Result<Response, Problem> {
    let mut work = admin.begin().await?;
    let Creation { body: new, fingerprint } = match creation {
        Ok(creation) => creation,
        Err(Problem(error)) => {
            return work.finish(Event::new("agent.registered", "agent", ""), Err(error)).await;
        }
    };
    let replayed = idempotency::replay(&app, &mut work.cx, CREATE, &fingerprint).await?;
    if let Some(answer) = replayed {
        return work.read(Ok(answer)).await;
    }
    let facts = json!({ "external_id": new.rest.external_id.chars().take(255).collect::<String>() });
    let result = identity::create(&app, &mut work.cx, new).await;
    let id = result.as_ref().map(|identity| identity.agent.id.to_string()).unwrap_or_default();
    let event = Event::new("agent.registered", "agent", id).with(facts);
    let answer = match result {
        Ok(identity) => idempotency::created(&app, &mut work.cx, CREATE, &fingerprint, &identity).await,
        Err(error) => Err(error),
    };
    work.finish(event, answer).await
}

/// Lists identities, newest first.
#[utoipa::path(get, path = "/identities",
    params(
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 100, description = "How many at the most; 20 when absent."),
        ("offset" = Option<i32>, Query, minimum = 0, description = "How many to pass over."),
        ("identity_type" = Option<Vec<IdentityType>>, Query, description = "Only of these types."),
        ("status" = Option<Vec<Status>>, Query, description = "Only of these statuses."),
        ("trust_level" = Option<Vec<TrustLevel>>, Query, description = "Only of these trust levels."),
        ("label" = Option<String>, Query, pattern = "^[^:]+:", description = "Only with this label, as key:value."),
        ("product" = Option<String>, Query, description = "Only with this label product."),
        ("metadata" = Option<String>, Query, pattern = "^[^:]", description = "Only with this member of metadata, as key or as key:value."),
        ("is_active" = Option<bool>, Query, description = "Only those that are active, or only those that are not."),
        ("search" = Option<String>, Query, description = "Only where a name or an id holds this text."),
        ("identity_class" = Option<String>, Query, pattern = "^(custom|code_agent)$", description = "Only code agents, or only others."),
        ("origin" = Option<String>, Query, description = "Only those that came to be known in this way."),
        ("owner_user_id" = Option<String>, Query, description = "Only those for whom this person answers."),
        ("ownerless" = Option<bool>, Query, description = "Only those for whom nobody answers."),
    ),
    responses((status = 200, body = IdentityList)), security(("admin" = ["nhi:manage"])))]
async fn list(admin: Admin<ManageIdentities>, query: Query) -> Result<axum::Json<IdentityList>, Problem> {
    let page = Page::of(&query)?;
    let filter = filter::of(&query)?;
    let mut work = admin.begin().await?;
    let result = identity::list(&mut work.cx, &filter, page).await;
    let (identities, total) = work.read(result).await?;
    Ok(axum::Json(IdentityList { identities, total, limit: page.limit, offset: page.offset }))
}

/// Shows an identity.
#[utoipa::path(get, path = "/identities/{id}",
    responses((status = 200, body = Identity)), security(("admin" = ["nhi:manage"])))]
async fn read(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<Identity>, Problem> {
    let mut work = admin.begin().await?;
    let result = identity::get(&mut work.cx, id).await;
    Ok(axum::Json(work.read(result).await?))
}

/// Changes an identity. Members that are absent stay as they are.
#[utoipa::path(patch, path = "/identities/{id}",
    request_body = IdentityPatch, responses((status = 200, body = Identity)), security(("admin" = ["nhi:manage"])))]
async fn update(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    Id(id): Id,
    body: Result<Json<IdentityPatch>, Problem>,
) -> Result<axum::Json<Identity>, Problem> {
    let mut work = admin.begin().await?;
    let event = Event::new("agent.updated", "agent", id);
    let (event, result) = match body {
        Ok(Json(patch)) => {
            (event.with(patch.members()), identity::change(&app, &mut work.cx, id, patch).await)
        }
        Err(Problem(error)) => (event, Err(error)),
    };
    Ok(axum::Json(work.finish(event, result).await?))
}

/// Deactivates an identity: its keys and tokens end for good.
#[utoipa::path(delete, path = "/identities/{id}",
    responses((status = 200, body = Identity)), security(("admin" = ["nhi:manage"])))]
async fn delete(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<Identity>, Problem> {
    let mut work = admin.begin().await?;
    let result = match agents::delete(&mut work.cx, id).await {
        Ok(_) => identity::get(&mut work.cx, id).await,
        Err(error) => Err(error),
    };
    Ok(axum::Json(work.finish(Event::new("agent.deleted", "agent", id), result).await?))
}

/// Shows the words that identities are described by.
#[utoipa::path(get, path = "/identities/schema",
    responses((status = 200, body = Value)), security(("admin" = ["nhi:manage"])))]
async fn schema(_: Admin<ManageIdentities>) -> axum::Json<Value> {
    axum::Json(identity::schema())
}

/// Shows the identity with a URI.
#[utoipa::path(get, path = "/identities/by-wimse",
    params(("uri" = String, Query, pattern = "^spiffe://", description = "The URI.")),
    responses((status = 200, body = Identity)), security(("admin" = ["nhi:manage"])))]
async fn by_uri(admin: Admin<ManageIdentities>, query: Query) -> Result<axum::Json<Identity>, Problem> {
    let uri = query.one("uri")?.unwrap_or_default();
    let mut work = admin.begin().await?;
    let result = identity::by_uri(&mut work.cx, uri).await;
    Ok(axum::Json(work.read(result).await?))
}

/// Counts the identities of the tenant by what they are.
#[utoipa::path(get, path = "/agents/registry/facets",
    responses((status = 200, body = Facets)), security(("admin" = ["nhi:manage"])))]
async fn facets(admin: Admin<ManageIdentities>) -> Result<axum::Json<Facets>, Problem> {
    let mut work = admin.begin().await?;
    let result = identity::facets(&mut work.cx).await;
    Ok(axum::Json(work.read(result).await?))
}

/// Lists what ends soon and still works.
#[utoipa::path(get, path = "/expiring-soon",
    params(("within" = Option<String>, Query, pattern = "^([1-9][0-9]{0,2}[wdhms])+$", description = "How soon, as 7d, 2w or 36h30m; 7d when absent.")),
    responses((status = 200, body = Ending)), security(("admin" = ["nhi:manage"])))]
async fn ending(admin: Admin<ManageIdentities>, query: Query) -> Result<axum::Json<Ending>, Problem> {
    let within = query.one("within")?.unwrap_or("7d");
    let mut work = admin.begin().await?;
    let result = identity::ending(&mut work.cx, within).await;
    Ok(axum::Json(work.read(result).await?))
}
