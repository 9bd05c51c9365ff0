//! `/trusted-issuers`, and below each the subjects that are linked to agents.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use serde::Serialize;
use serde_json::json;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use super::{IssuerPatch, LinkedSubject, NewIssuer, NewSubject, TrustedIssuer};
use crate::access::{Admin, ManageIdentities};
use crate::audit::Event;
use crate::issuers;
use crate::kit::app::App;
use crate::kit::error::{Kind, Result, refuse_at};
use crate::kit::http::extract::{Id, Json};
use crate::kit::http::problem::Problem;

/// The routes of trusted issuers, relative to a mount.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/trusted-issuers", get(list).post(create))
        .route("/trusted-issuers/{id}", get(read).patch(update).delete(remove))
        .route("/trusted-issuers/{id}/subjects", get(subjects).post(link))
        .route("/trusted-issuers/{id}/subjects/{subject_id}", delete(unlink))
}

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(create, list, read, update, remove, link, subjects, unlink))]
pub struct Api;

/// Every trusted issuer of the tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TrustedIssuerList)]
struct IssuerList {
    /// The newest first.
    trusted_issuers: Vec<TrustedIssuer>,
    /// How many there are.
    total: usize,
}

/// The linked subjects of a trusted issuer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LinkedSubjectList)]
struct SubjectList {
    /// The newest first.
    subjects: Vec<LinkedSubject>,
    /// How many there are.
    total: usize,
}

/// Registers a trusted issuer: tokens that it signs for workloads are accepted.
#[utoipa::path(post, path = "/trusted-issuers",
    request_body = NewIssuer, responses((status = 201, body = TrustedIssuer)), security(("admin" = ["nhi:manage"])))]
async fn create(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    body: Result<Json<NewIssuer>, Problem>,
) -> Result<(StatusCode, axum::Json<TrustedIssuer>), Problem> {
    let mut work = admin.begin().await?;
    let (facts, result) = match body {
        Ok(Json(new)) => {
            let facts = json!({ "issuer": new.issuer.chars().take(255).collect::<String>() });
            (facts, issuers::create(&app, &mut work.cx, new).await)
        }
        Err(Problem(error)) => (json!({}), Err(error)),
    };
    let id = result.as_ref().map(|issuer| issuer.id.to_string()).unwrap_or_default();
    let event = Event::new("trusted_issuer.created", "trusted_issuer", id).with(facts);
    Ok((StatusCode::CREATED, axum::Json(work.finish(event, result).await?)))
}

/// Lists trusted issuers, newest first.
#[utoipa::path(get, path = "/trusted-issuers",
    responses((status = 200, body = IssuerList)), security(("admin" = ["nhi:manage"])))]
async fn list(admin: Admin<ManageIdentities>) -> Result<axum::Json<IssuerList>, Problem> {
    let mut work = admin.begin().await?;
    let result = issuers::list(&mut work.cx).await;
    let trusted_issuers = work.read(result).await?;
    Ok(axum::Json(IssuerList { total: trusted_issuers.len(), trusted_issuers }))
}

/// Shows a trusted issuer.
#[utoipa::path(get, path = "/trusted-issuers/{id}",
    responses((status = 200, body = TrustedIssuer)), security(("admin" = ["nhi:manage"])))]
async fn read(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<TrustedIssuer>, Problem> {
    let mut work = admin.begin().await?;
    let result = issuers::get(&mut work.cx, id).await;
    Ok(axum::Json(work.read(result).await?))
}

/// Changes a trusted issuer. Members that are absent stay as they are.
#[utoipa::path(patch, path = "/trusted-issuers/{id}",
    request_body = IssuerPatch, responses((status = 200, body = TrustedIssuer)), security(("admin" = ["nhi:manage"])))]
async fn update(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    Id(id): Id,
    body: Result<Json<IssuerPatch>, Problem>,
) -> Result<axum::Json<TrustedIssuer>, Problem> {
    let mut work = admin.begin().await?;
    let event = Event::new("trusted_issuer.updated", "trusted_issuer", id);
    let (event, result) = match body {
        Ok(Json(patch)) => {
            (event.with(patch.members()), issuers::update(&app, &mut work.cx, id, patch).await)
        }
        Err(Problem(error)) => (event, Err(error)),
    };
    Ok(axum::Json(work.finish(event, result).await?))
}

/// Forgets a trusted issuer with its linked subjects, which ends what they obtained.
#[utoipa::path(delete, path = "/trusted-issuers/{id}",
    responses((status = 200, body = TrustedIssuer)), security(("admin" = ["nhi:manage"])))]
async fn remove(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<TrustedIssuer>, Problem> {
    let mut work = admin.begin().await?;
    let result = issuers::delete(&mut work.cx, id).await;
    let event = Event::new("trusted_issuer.deleted", "trusted_issuer", id);
    Ok(axum::Json(work.finish(event, result).await?))
}

/// Links a subject of a trusted issuer to an agent or a person.
#[utoipa::path(post, path = "/trusted-issuers/{id}/subjects",
    request_body = NewSubject, responses((status = 201, body = LinkedSubject)), security(("admin" = ["nhi:manage"])))]
async fn link(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    Id(id): Id,
    body: Result<Json<NewSubject>, Problem>,
) -> Result<(StatusCode, axum::Json<LinkedSubject>), Problem> {
    let mut work = admin.begin().await?;
    let event = Event::new("trusted_issuer.subject_linked", "trusted_issuer", id);
    let (event, result) = match body {
        Ok(Json(new)) => (event.with(new.facts()), issuers::link(&app, &mut work.cx, id, new).await),
        Err(Problem(error)) => (event, Err(error)),
    };
    Ok((StatusCode::CREATED, axum::Json(work.finish(event, result).await?)))
}

/// Lists the linked subjects of a trusted issuer, newest first.
#[utoipa::path(get, path = "/trusted-issuers/{id}/subjects",
    responses((status = 200, body = SubjectList)), security(("admin" = ["nhi:manage"])))]
async fn subjects(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<SubjectList>, Problem> {
    let mut work = admin.begin().await?;
    let result = issuers::subjects(&mut work.cx, id).await;
    let subjects = work.read(result).await?;
    Ok(axum::Json(SubjectList { total: subjects.len(), subjects }))
}

/// Ends the link of a subject, and what that obtained.
#[utoipa::path(delete, path = "/trusted-issuers/{id}/subjects/{subject_id}",
    params(("subject_id" = Uuid, Path, description = "The linked subject.")),
    responses((status = 200, body = LinkedSubject)), security(("admin" = ["nhi:manage"])))]
async fn unlink(
    admin: Admin<ManageIdentities>,
    path: Result<Path<(Uuid, Uuid)>, PathRejection>,
) -> Result<axum::Json<LinkedSubject>, Problem> {
    let Path((id, subject_id)) =
        path.map_err(|_| refuse_at(Kind::Invalid, "an id in the path is not a UUID", "path.subject_id", ""))?;
    let mut work = admin.begin().await?;
    let result = issuers::unlink(&mut work.cx, id, subject_id).await;
    let event = Event::new("trusted_issuer.subject_unlinked", "trusted_issuer", id);
    let event = match &result {
        Ok(linked) => {
            let LinkedSubject { subject, identity_id, user_id, .. } = linked;
            event.with(json!({ "subject": subject, "identity_id": identity_id, "user_id": user_id }))
        }
        Err(_) => event,
    };
    Ok(axum::Json(work.finish(event, result).await?))
}
