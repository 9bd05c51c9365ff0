//! `/credential-policies`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::json;
use utoipa::{OpenApi, ToSchema};

use super::{CredentialPolicy, Members, NewPolicy};
use crate::access::{Admin, ManageIdentities};
use crate::audit::Event;
use crate::idempotency::{self, Creation};
use crate::kit::app::App;
use crate::kit::error::Result;
use crate::kit::http::extract::{Id, Json};
use crate::kit::http::problem::Problem;
use crate::policies;

/// The name under which answers of creation are kept.
const CREATE: &str = "POST /credential-policies";

/// The routes of policies, relative to a mount.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/credential-policies", get(list).post(create))
        .route("/credential-policies/{id}", get(read).patch(update).delete(delete))
}

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(create, list, read, update, delete))]
pub struct Api;

/// Every policy of the tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CredentialPolicyList)]
struct PolicyList {
    /// The newest first.
    credential_policies: Vec<CredentialPolicy>,
    /// How many there are.
    total: usize,
}

/// Makes a policy, or finds the one that the same source made under the same key.
#[utoipa::path(post, path = "/credential-policies",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, description = "Repeats within a minute get the first answer.")),
    request_body = NewPolicy, responses((status = 201, body = CredentialPolicy)), security(("admin" = ["nhi:manage"])))]
async fn create(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    creation: Result<Creation<Members>, Problem>,
) -> Result<Response, Problem> {
    let mut work = admin.begin().await?;
    let Creation { body: members, fingerprint } = match creation {
        Ok(creation) => creation,
        Err(Problem(error)) => {
            return work.finish(Event::new("policy.created", "policy", ""), Err(error)).await;
        }
    };
    if let Some(answer) = idempotency::replay(&app, &mut work.cx, CREATE, &fingerprint).await? {
        return work.read(Ok(answer)).await;
    }
    let name: String = members.name.iter().flat_map(|name| name.chars()).take(255).collect();
    let (id, answer) = match policies::create(&app, &mut work.cx, members).await {
        Ok((known, false)) => {
            return work.read(Ok((StatusCode::CREATED, axum::Json(known)).into_response())).await;
        }
        Ok((new, true)) => {
            let answer = idempotency::created(&app, &mut work.cx, CREATE, &fingerprint, &new).await;
            (new.rules.id.to_string(), answer)
        }
        Err(error) => (String::new(), Err(error)),
    };
    let event = Event::new("policy.created", "policy", id).with(json!({ "name": name }));
    work.finish(event, answer).await
}

/// Lists policies, newest first.
#[utoipa::path(get, path = "/credential-policies",
    responses((status = 200, body = PolicyList)), security(("admin" = ["nhi:manage"])))]
async fn list(admin: Admin<ManageIdentities>) -> Result<axum::Json<PolicyList>, Problem> {
    let mut work = admin.begin().await?;
    let credential_policies = policies::list(&mut work.cx).await?;
    let total = credential_policies.len();
    Ok(axum::Json(work.read(Ok(PolicyList { credential_policies, total })).await?))
}

/// Shows a policy.
#[utoipa::path(get, path = "/credential-policies/{id}",
    responses((status = 200, body = CredentialPolicy)), security(("admin" = ["nhi:manage"])))]
async fn read(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<CredentialPolicy>, Problem> {
    let mut work = admin.begin().await?;
    let result = policies::get(&mut work.cx, id).await;
    Ok(axum::Json(work.read(result).await?))
}

/// Changes a policy, for all that is under it. Members that are absent stay as they are.
#[utoipa::path(patch, path = "/credential-policies/{id}",
    request_body = Members, responses((status = 200, body = CredentialPolicy)), security(("admin" = ["nhi:manage"])))]
async fn update(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    Id(id): Id,
    body: Result<Json<Members>, Problem>,
) -> Result<axum::Json<CredentialPolicy>, Problem> {
    let mut work = admin.begin().await?;
    let event = Event::new("policy.updated", "policy", id);
    let (event, result) = match body {
        Ok(Json(members)) => {
            let event = event.with(json!({ "members": members.names() }));
            (event, policies::update(&app, &mut work.cx, id, &members).await)
        }
        Err(Problem(error)) => (event, Err(error)),
    };
    Ok(axum::Json(work.finish(event, result).await?))
}

/// Deletes a policy, when nothing is under it.
#[utoipa::path(delete, path = "/credential-policies/{id}",
    responses((status = 204)), security(("admin" = ["nhi:manage"])))]
async fn delete(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<StatusCode, Problem> {
    let mut work = admin.begin().await?;
    let result = policies::delete(&mut work.cx, id).await;
    work.finish(Event::new("policy.deleted", "policy", id), result).await?;
    Ok(StatusCode::NO_CONTENT)
}
