//! `/identities/discovered`, and what becomes of what was discovered.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use serde::Serialize;
use serde_json::json;
use utoipa::{OpenApi, ToSchema};

use super::{Adoption, Batch, Pruning, Sighting, Source, Taken};
use crate::access::{Admin, ManageIdentities};
use crate::agents::discovery;
use crate::agents::identity::Identity;
use crate::audit::Event;
use crate::kit::app::App;
use crate::kit::error::Result;
use crate::kit::http::extract::{Id, Json};
use crate::kit::http::problem::Problem;

/// The routes of discovery, relative to a mount.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/identities/discovered", post(discover))
        .route("/identities/discovered/batch", post(discover_all))
        .route("/identities/discovered/prune", post(prune))
        .route("/identities/discovered/release-source", post(release))
        .route("/identities/{id}/adopt", post(adopt))
        .route("/identities/{id}/dismiss", post(dismiss))
        .route("/identities/{id}/expire", post(expire))
}

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(discover, discover_all, prune, release, adopt, dismiss, expire))]
pub struct Api;

/// What became of a sighting.
#[derive(Debug, Serialize, ToSchema)]
struct Discovered {
    /// The identity.
    identity: Identity,
    /// Whether it is new.
    created: bool,
}

/// What a pruning did.
#[derive(Debug, Serialize, ToSchema)]
struct Pruned {
    /// How many identities it deactivated.
    deactivated: usize,
}

/// What a release did.
#[derive(Debug, Serialize, ToSchema)]
struct Released {
    /// How many identities it released.
    released: u64,
}

/// Takes in what a source reports.
#[utoipa::path(post, path = "/identities/discovered",
    request_body = Sighting, responses((status = 200, body = Discovered)), security(("admin" = ["nhi:manage"])))]
async fn discover(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    body: Result<Json<Sighting>, Problem>,
) -> Result<axum::Json<Discovered>, Problem> {
    let mut work = admin.begin().await?;
    let result = match body {
        Ok(Json(sighting)) => discovery::discover(&app, &mut work.cx, sighting).await,
        Err(Problem(error)) => Err(error),
    };
    let id = result.as_ref().map(|(identity, _)| identity.agent.id.to_string()).unwrap_or_default();
    let facts = result.as_ref().map_or(
        json!({}),
        |(identity, created)| json!({ "external_id": identity.agent.external_id, "created": created }),
    );
    let event = Event::new("agent.discovered", "agent", id).with(facts);
    let (identity, created) = work.finish(event, result).await?;
    Ok(axum::Json(Discovered { identity, created }))
}

/// Takes in many; what is refused is named and spoils nothing else.
#[utoipa::path(post, path = "/identities/discovered/batch",
    request_body = Batch, responses((status = 200, body = Taken)), security(("admin" = ["nhi:manage"])))]
async fn discover_all(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    body: Result<Json<Batch>, Problem>,
) -> Result<axum::Json<Taken>, Problem> {
    let mut work = admin.begin().await?;
    let result = match body {
        Ok(Json(batch)) => discovery::discover_all(&app, &mut work.cx, batch).await,
        Err(Problem(error)) => Err(error),
    };
    let facts = result.as_ref().map_or(json!({}), |taken| {
        json!({ "created": taken.created, "reconciled": taken.reconciled, "failed": taken.failed.len() })
    });
    let event = Event::new("source.reported", "source", "").with(facts);
    Ok(axum::Json(work.finish(event, result).await?))
}

/// Deactivates what a source no longer reports and nobody adopted.
#[utoipa::path(post, path = "/identities/discovered/prune",
    request_body = Pruning, responses((status = 200, body = Pruned)), security(("admin" = ["nhi:manage"])))]
async fn prune(
    admin: Admin<ManageIdentities>,
    body: Result<Json<Pruning>, Problem>,
) -> Result<axum::Json<Pruned>, Problem> {
    let mut work = admin.begin().await?;
    let (name, result) = match body {
        Ok(Json(pruning)) => (name(&pruning.source), discovery::prune(&mut work.cx, &pruning).await),
        Err(Problem(error)) => (String::new(), Err(error)),
    };
    let facts = result.as_ref().map_or(json!({}), |count| json!({ "deactivated": count }));
    let event = Event::new("source.pruned", "source", name).with(facts);
    Ok(axum::Json(Pruned { deactivated: work.finish(event, result).await? }))
}

/// Forgets which source reported what, so that another may.
#[utoipa::path(post, path = "/identities/discovered/release-source",
    request_body = Source, responses((status = 200, body = Released)), security(("admin" = ["nhi:manage"])))]
async fn release(
    admin: Admin<ManageIdentities>,
    body: Result<Json<Source>, Problem>,
) -> Result<axum::Json<Released>, Problem> {
    let mut work = admin.begin().await?;
    let (name, result) = match body {
        Ok(Json(source)) => (name(&source), discovery::release(&mut work.cx, &source).await),
        Err(Problem(error)) => (String::new(), Err(error)),
    };
    let facts = result.as_ref().map_or(json!({}), |count| json!({ "released": count }));
    let event = Event::new("source.released", "source", name).with(facts);
    Ok(axum::Json(Released { released: work.finish(event, result).await? }))
}

/// Origin and source, as the log names them.
fn name(source: &Source) -> String {
    format!("{}/{}", source.origin, source.source_id).chars().take(255).collect()
}

/// Takes a discovered identity in.
#[utoipa::path(post, path = "/identities/{id}/adopt",
    request_body = Adoption, responses((status = 200, body = Identity)), security(("admin" = ["nhi:manage"])))]
async fn adopt(
    admin: Admin<ManageIdentities>,
    Id(id): Id,
    body: Result<Json<Adoption>, Problem>,
) -> Result<axum::Json<Identity>, Problem> {
    let mut work = admin.begin().await?;
    let event = Event::new("agent.adopted", "agent", id);
    let (event, result) = match body {
        Ok(Json(adoption)) => {
            let owner: String = adoption.owner_user_id.chars().take(255).collect();
            let facts = json!({ "owner_user_id": owner });
            (event.with(facts), discovery::adopt(&mut work.cx, id, adoption).await)
        }
        Err(Problem(error)) => (event, Err(error)),
    };
    Ok(axum::Json(work.finish(event, result).await?))
}

/// Sends an identity back a step.
#[utoipa::path(post, path = "/identities/{id}/dismiss",
    responses((status = 200, body = Identity)), security(("admin" = ["nhi:manage"])))]
async fn dismiss(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<Identity>, Problem> {
    let mut work = admin.begin().await?;
    let result = discovery::dismiss(&mut work.cx, id).await;
    Ok(axum::Json(work.finish(Event::new("agent.dismissed", "agent", id), result).await?))
}

/// Ends an identity as if its end had come.
#[utoipa::path(post, path = "/identities/{id}/expire",
    responses((status = 200, body = Identity)), security(("admin" = ["nhi:manage"])))]
async fn expire(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<Identity>, Problem> {
    let mut work = admin.begin().await?;
    let result = discovery::expire(&mut work.cx, id).await;
    Ok(axum::Json(work.finish(Event::new("agent.expired", "agent", id), result).await?))
}
