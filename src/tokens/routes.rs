//! `/credentials`: the records behind issued tokens.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use super::revoke::BY_HAND;
use super::{AccessToken, Anchor, Grant, Issued, IssuedCredential, NewCredential, Of, Tried};
use crate::access::{Admin, ManageCredentials, ManageIdentities, Work};
use crate::audit::Event;
use crate::kit::app::App;
use crate::kit::error::{Kind, Result, refuse, refuse_at};
use crate::kit::http::extract::{Id, Json, MaybeJson, Query};
use crate::kit::http::limits::check_text;
use crate::kit::http::page::Page;
use crate::kit::http::problem::Problem;
use crate::tokens;

/// The most credentials of a page, and its size by default: clients of this wire know no pages.
const CREDENTIALS: i64 = 1000;

/// The routes of credentials, relative to a mount.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/credentials", get(list))
        .route("/credentials/issue", post(issue))
        .route("/credentials/{id}", get(read))
        .route("/credentials/{id}/revoke", post(revoke))
        .route("/credentials/{id}/rotate", post(rotate))
}

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(issue, rotate, list, read, revoke))]
pub struct Api;

/// A page of credentials.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IssuedCredentialList)]
struct CredentialList {
    /// Those of the page.
    credentials: Vec<IssuedCredential>,
    /// How many there are in all.
    total: i64,
}

/// The body of a revocation, all of which is optional.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = CredentialRevocation)]
struct Revocation {
    /// Why; stands with all that ends.
    reason: Option<String>,
}

/// That a credential ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CredentialRevoked)]
struct Revoked {
    /// Always true.
    revoked: bool,
    /// The credential.
    id: Uuid,
}

/// A token that is shown this once, and its record.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CredentialWithToken)]
struct WithToken {
    /// The token.
    token: AccessToken,
    /// Its record.
    credential: IssuedCredential,
}

/// Issues a token for an identity. It is shown this once.
#[utoipa::path(post, path = "/credentials/issue",
    request_body = NewCredential, responses((status = 201, body = WithToken)), security(("admin" = ["nhi:manage"])))]
async fn issue(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    body: Result<Json<NewCredential>, Problem>,
) -> Result<Response, Problem> {
    let mut work = admin.begin().await?;
    let result = match body {
        Ok(Json(new)) => tokens::issue_for(&app, &mut work.cx, new).await,
        Err(Problem(error)) => Err(error),
    };
    answer(work, Event::new("credential.issued", "credential", ""), result).await
}

/// Replaces a credential by a new one like it.
#[utoipa::path(post, path = "/credentials/{id}/rotate",
    responses((status = 201, body = WithToken)), security(("admin" = ["nhi:manage"])))]
async fn rotate(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    Id(id): Id,
) -> Result<Response, Problem> {
    let mut work = admin.begin().await?;
    let result = tokens::rotate(&app, &mut work.cx, id).await;
    answer(work, Event::new("credential.rotated", "credential", id), result).await
}

/// The ledger has written the audit row of a success; that of a refusal is `event`.
async fn answer(mut work: Work, event: Event, result: Result<(Grant, Issued)>) -> Result<Response, Problem> {
    let (grant, issued) = match result {
        Ok(done) => done,
        Err(error) => return work.finish(event, Err(error)).await,
    };
    let token = AccessToken::of(&grant, &issued);
    let credential = tokens::get(&mut work.cx, issued.credential.jti).await;
    let answer = WithToken { token, credential: work.read(credential).await? };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], axum::Json(answer)).into_response())
}

/// Lists the credentials of an identity, newest first, or of a tree: name one of both.
#[utoipa::path(get, path = "/credentials",
    params(
        ("identity_id" = Option<Uuid>, Query, description = "The identity."),
        ("mission_id" = Option<Uuid>, Query, description = "The tree."),
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 1000, description = "How many at the most; 1000 when absent."),
        ("offset" = Option<i32>, Query, minimum = 0, description = "How many to pass over."),
    ),
    responses((status = 200, body = CredentialList)),
    security(("admin" = ["nhi:manage"]), ("admin" = ["credentials:manage"])))]
async fn list(admin: Admin<ManageCredentials>, query: Query) -> Result<axum::Json<CredentialList>, Problem> {
    let of = match (one_id(&query, "identity_id")?, one_id(&query, "mission_id")?) {
        (Some(id), None) => Of::Identity(id),
        (None, Some(id)) => Of::Mission(id),
        _ => {
            let why = "name either identity_id or mission_id, and not both";
            return Err(refuse(Kind::InvalidRequest, why).into());
        }
    };
    let page = Page::up_to(&query, CREDENTIALS)?;
    let mut work = admin.begin().await?;
    let result = tokens::list(&mut work.cx, of, page).await;
    let (credentials, total) = work.read(result).await?;
    Ok(axum::Json(CredentialList { credentials, total }))
}

fn one_id(query: &Query, name: &'static str) -> Result<Option<Uuid>> {
    let malformed = || refuse_at(Kind::Invalid, format!("{name} is a UUID"), format!("query.{name}"), "");
    query.one(name)?.map(|text| Uuid::try_parse(text).map_err(|_| malformed())).transpose()
}

/// Shows the record of a credential, never the token.
#[utoipa::path(get, path = "/credentials/{id}",
    responses((status = 200, body = IssuedCredential)),
    security(("admin" = ["nhi:manage"]), ("admin" = ["credentials:manage"])))]
async fn read(admin: Admin<ManageCredentials>, Id(id): Id) -> Result<axum::Json<IssuedCredential>, Problem> {
    let mut work = admin.begin().await?;
    let result = tokens::get(&mut work.cx, id).await;
    Ok(axum::Json(work.read(result).await?))
}

/// Ends a credential with everything below it.
#[utoipa::path(post, path = "/credentials/{id}/revoke",
    params(("dry_run" = Option<bool>, Query, description = "Only tell what would end; nothing does.")),
    request_body = Option<Revocation>, responses((status = 200, body = Tried<Revoked>)),
    security(("admin" = ["nhi:manage"]), ("admin" = ["credentials:manage"])))]
async fn revoke(
    State(app): State<Arc<App>>,
    admin: Admin<ManageCredentials>,
    Id(id): Id,
    query: Query,
    body: Result<MaybeJson<Revocation>, Problem>,
) -> Result<axum::Json<Tried<Revoked>>, Problem> {
    let dry_run = query.flag("dry_run")?.unwrap_or(false);
    let mut work = admin.begin().await?;
    let reason = body.map_err(|Problem(error)| error).and_then(|MaybeJson(body)| {
        let named = body.reason.filter(|reason| !reason.trim().is_empty());
        let reason = named.unwrap_or_else(|| BY_HAND.to_owned());
        check_text("reason", &reason, &app.config.limits).map(|()| reason)
    });
    let event = Event::new("token.revoked", "credential", id);
    let (event, result) = match reason {
        Ok(reason) if dry_run => {
            let ended = tokens::changed_by(&mut work.cx, &[Anchor::Credential(id)]).await;
            let result = tokens::revoke_by_id(&mut work.cx, id, Some(&reason)).await.and(ended);
            return Ok(axum::Json(work.undo(result.map(Tried::not)).await?));
        }
        Ok(reason) => {
            let result = tokens::revoke_by_id(&mut work.cx, id, Some(&reason)).await;
            (event.with(json!({ "reason": reason })), result)
        }
        Err(error) => (event, Err(error)),
    };
    work.finish(event, result).await?;
    Ok(axum::Json(Tried::Done(Revoked { revoked: true, id })))
}
