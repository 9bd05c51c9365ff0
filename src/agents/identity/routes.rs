//! `/identities`, and what is asked of all of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Ending, Facets, Identity, IdentityPatch, NewIdentity};
use crate::access::{Admin, ManageIdentities};
use crate::agents::{self, identity};
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

#[derive(Debug, Serialize)]
struct IdentityList {
    identities: Vec<Identity>,
    total: i64,
    limit: i64,
    offset: i64,
}

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

async fn list(admin: Admin<ManageIdentities>, query: Query) -> Result<axum::Json<IdentityList>, Problem> {
    let page = Page::of(&query)?;
    let filter = agents::routes::filter(&query)?;
    let mut work = admin.begin().await?;
    let result = identity::list(&mut work.cx, &filter, page).await;
    let (identities, total) = work.read(result).await?;
    Ok(axum::Json(IdentityList { identities, total, limit: page.limit, offset: page.offset }))
}

async fn read(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<Identity>, Problem> {
    let mut work = admin.begin().await?;
    let result = identity::get(&mut work.cx, id).await;
    Ok(axum::Json(work.read(result).await?))
}

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

async fn delete(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<Identity>, Problem> {
    let mut work = admin.begin().await?;
    let result = match agents::delete(&mut work.cx, id).await {
        Ok(_) => identity::get(&mut work.cx, id).await,
        Err(error) => Err(error),
    };
    Ok(axum::Json(work.finish(Event::new("agent.deleted", "agent", id), result).await?))
}

/// The words that identities are described by are the same for everybody.
async fn schema(_: Admin<ManageIdentities>) -> axum::Json<Value> {
    axum::Json(identity::schema())
}

async fn by_uri(admin: Admin<ManageIdentities>, query: Query) -> Result<axum::Json<Identity>, Problem> {
    let uri = query.one("uri")?.unwrap_or_default();
    let mut work = admin.begin().await?;
    let result = identity::by_uri(&mut work.cx, uri).await;
    Ok(axum::Json(work.read(result).await?))
}

async fn facets(admin: Admin<ManageIdentities>) -> Result<axum::Json<Facets>, Problem> {
    let mut work = admin.begin().await?;
    let result = identity::facets(&mut work.cx).await;
    Ok(axum::Json(work.read(result).await?))
}

async fn ending(admin: Admin<ManageIdentities>, query: Query) -> Result<axum::Json<Ending>, Problem> {
    let within = query.one("within")?.unwrap_or("7d");
    let mut work = admin.begin().await?;
    let result = identity::ending(&mut work.cx, within).await;
    Ok(axum::Json(work.read(result).await?))
}
