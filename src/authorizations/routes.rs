//! `/admin/oauth/consents`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use serde::Serialize;
use serde_json::json;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use super::{Consent, ConsentFilter, NewConsent};
use crate::access::{Admin, ManageIdentities};
use crate::audit::Event;
use crate::authorizations;
use crate::kit::app::App;
use crate::kit::error::{Kind, Result, refuse_at};
use crate::kit::http::extract::{Id, Json, Query};
use crate::kit::http::page::Page;
use crate::kit::http::problem::Problem;

/// The most consents of a page, and its size by default: clients of this wire know no pages.
const CONSENTS: i64 = 1000;

/// The routes of consents, relative to a mount.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/admin/oauth/consents", get(list))
        .route("/admin/oauth/consents/{id}", delete(revoke))
        .route("/admin/consents", post(create))
}

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(list, create, revoke))]
pub struct Api;

/// A page of consents.
#[derive(Debug, Serialize, ToSchema)]
struct ConsentList {
    /// Those of the page.
    data: Vec<Consent>,
    /// How many match in all.
    total: i64,
}

/// Lists what people agreed to, newest first.
#[utoipa::path(get, path = "/admin/oauth/consents",
    params(
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 1000, description = "How many at the most; 1000 when absent."),
        ("offset" = Option<i32>, Query, minimum = 0, description = "How many to pass over."),
        ("user_id" = Option<Uuid>, Query, description = "Only this user's, by the id of the row."),
        ("client_id" = Option<String>, Query, description = "Only for this client."),
        ("include_revoked" = Option<bool>, Query, description = "Also those that were taken back."),
    ),
    responses((status = 200, body = ConsentList)), security(("admin" = ["nhi:manage"])))]
async fn list(admin: Admin<ManageIdentities>, query: Query) -> Result<axum::Json<ConsentList>, Problem> {
    let malformed = || refuse_at(Kind::Invalid, "user_id is the UUID of a user", "query.user_id", "");
    let user_id =
        query.one("user_id")?.map(|text| Uuid::try_parse(text).map_err(|_| malformed())).transpose()?;
    let filter = ConsentFilter {
        user_id,
        client_id: query.one("client_id")?.map(str::to_owned),
        include_revoked: query.flag("include_revoked")?.unwrap_or(false),
        page: Page::up_to(&query, CONSENTS)?,
    };
    let mut work = admin.begin().await?;
    let result = authorizations::list(&mut work.cx, &filter).await;
    let (data, total) = work.read(result).await?;
    Ok(axum::Json(ConsentList { data, total }))
}

/// Agrees in a person's stead, or widens what they agreed to.
#[utoipa::path(post, path = "/admin/consents", request_body = NewConsent,
    responses((status = 201, body = Consent), (status = 200, body = Consent)), security(("admin" = ["nhi:manage"])))]
async fn create(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    body: Result<Json<NewConsent>, Problem>,
) -> Result<(StatusCode, axum::Json<Consent>), Problem> {
    let mut work = admin.begin().await?;
    let result = match body {
        Ok(Json(new)) => authorizations::create(&app, &mut work.cx, &new).await,
        Err(Problem(error)) => Err(error),
    };
    let (id, facts) = result.as_ref().map_or((String::new(), json!({})), |(consent, _)| {
        (consent.id.to_string(), json!({ "client_id": consent.client_id, "scope": consent.scope }))
    });
    let event = Event::new("consent.granted", "consent", id).with(facts);
    let (consent, is_new) = work.finish(event, result).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(consent)))
}

/// Takes a consent back, with every token that came of it and all below.
#[utoipa::path(delete, path = "/admin/oauth/consents/{id}",
    responses((status = 200, body = Consent)), security(("admin" = ["nhi:manage"])))]
async fn revoke(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<Consent>, Problem> {
    let mut work = admin.begin().await?;
    let result = authorizations::revoke(&mut work.cx, id).await;
    Ok(axum::Json(work.finish(Event::new("consent.revoked", "consent", id), result).await?))
}
