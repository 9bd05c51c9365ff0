//! `/users`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::json;
use utoipa::{OpenApi, ToSchema};

use super::{Filter, NewUser, User, UserPatch};
use crate::access::{Admin, ManageIdentities};
use crate::audit::Event;
use crate::idempotency::{self, Creation};
use crate::kit::app::App;
use crate::kit::error::Result;
use crate::kit::http::extract::{Id, Json, Query};
use crate::kit::http::page::Page;
use crate::kit::http::problem::Problem;
use crate::users;

/// The name under which answers of creation are kept.
const CREATE: &str = "POST /users";

/// The routes of people, relative to a mount.
pub fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/users", get(list).post(create))
        .route("/users/{id}", get(read).patch(update).delete(deactivate))
        .route("/users/{id}/activate", post(activate))
        .merge(super::link_routes::routes())
}

pub use super::link_routes::{Api as LinkApi, open_routes};

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(create, list, read, update, deactivate, activate))]
pub struct Api;

/// A page of people.
#[derive(Debug, Serialize, ToSchema)]
struct UserList {
    /// Those of the page.
    data: Vec<User>,
    /// How many match in all.
    total: i64,
    /// How many a page holds.
    limit: i64,
    /// How many came before.
    offset: i64,
}

/// Makes a user.
#[utoipa::path(post, path = "/users",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, description = "Repeats within a minute get the first answer.")),
    request_body = NewUser, responses((status = 201, body = User)), security(("admin" = ["nhi:manage"])))]
async fn create(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    creation: Result<Creation<NewUser>, Problem>,
) -> Result<Response, Problem> {
    let mut work = admin.begin().await?;
    let Creation { body: new, fingerprint } = match creation {
        Ok(creation) => creation,
        Err(Problem(error)) => return work.finish(Event::new("user.created", "user", ""), Err(error)).await,
    };
    let replayed = idempotency::replay(&app, &mut work.cx, CREATE, &fingerprint).await?;
    if let Some(answer) = replayed {
        return work.read(Ok(answer)).await;
    }
    let result = users::create(&mut work.cx, new, &app.config.limits).await;
    let id = result.as_ref().map(|user| user.id.to_string()).unwrap_or_default();
    let facts = result.as_ref().map_or(json!({}), |user| json!({ "user_id": user.user_id }));
    let event = Event::new("user.created", "user", id).with(facts);
    let answer = match result {
        Ok(user) => idempotency::created(&app, &mut work.cx, CREATE, &fingerprint, &user).await,
        Err(error) => Err(error),
    };
    work.finish(event, answer).await
}

/// Lists users, newest first.
#[utoipa::path(get, path = "/users",
    params(
        ("limit" = Option<i64>, Query, minimum = 1, maximum = 100, description = "How many at the most; 20 when absent."),
        ("offset" = Option<i32>, Query, minimum = 0, description = "How many to pass over."),
        ("email" = Option<String>, Query, description = "Only with this address, in any case."),
        ("user_id" = Option<String>, Query, description = "Only with this user_id."),
        ("is_active" = Option<bool>, Query, description = "Only those that are active, or only those that are not."),
    ),
    responses((status = 200, body = UserList)), security(("admin" = ["nhi:manage"])))]
async fn list(admin: Admin<ManageIdentities>, query: Query) -> Result<axum::Json<UserList>, Problem> {
    let page = Page::of(&query)?;
    let filter = Filter {
        email: query.one("email")?.map(str::to_owned),
        user_id: query.one("user_id")?.map(str::to_owned),
        is_active: query.flag("is_active")?,
    };
    let mut work = admin.begin().await?;
    let result = users::list(&mut work.cx, &filter, page).await;
    let (data, total) = work.read(result).await?;
    Ok(axum::Json(UserList { data, total, limit: page.limit, offset: page.offset }))
}

/// Shows a user.
#[utoipa::path(get, path = "/users/{id}", responses((status = 200, body = User)), security(("admin" = ["nhi:manage"])))]
async fn read(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<User>, Problem> {
    let mut work = admin.begin().await?;
    let result = users::get(&mut work.cx, id).await;
    Ok(axum::Json(work.read(result).await?))
}

/// Changes a user. Members that are absent stay as they are.
#[utoipa::path(patch, path = "/users/{id}",
    request_body = UserPatch, responses((status = 200, body = User)), security(("admin" = ["nhi:manage"])))]
async fn update(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    Id(id): Id,
    body: Result<Json<UserPatch>, Problem>,
) -> Result<axum::Json<User>, Problem> {
    let mut work = admin.begin().await?;
    let event = Event::new("user.updated", "user", id);
    let (event, result) = match body {
        Ok(Json(patch)) => {
            let facts = patch.members();
            (event.with(facts), users::update(&mut work.cx, id, patch, &app.config.limits).await)
        }
        Err(Problem(error)) => (event, Err(error)),
    };
    Ok(axum::Json(work.finish(event, result).await?))
}

/// Deactivates a user: what was issued in their name ends for good.
#[utoipa::path(delete, path = "/users/{id}", responses((status = 204)), security(("admin" = ["nhi:manage"])))]
async fn deactivate(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<StatusCode, Problem> {
    let mut work = admin.begin().await?;
    let result = users::deactivate(&mut work.cx, id).await;
    work.finish(Event::new("user.deactivated", "user", id), result).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Activates a user. Tokens that ended stay dead.
#[utoipa::path(post, path = "/users/{id}/activate", responses((status = 200, body = User)), security(("admin" = ["nhi:manage"])))]
async fn activate(admin: Admin<ManageIdentities>, Id(id): Id) -> Result<axum::Json<User>, Problem> {
    let mut work = admin.begin().await?;
    let result = users::activate(&mut work.cx, id).await;
    Ok(axum::Json(work.finish(Event::new("user.activated", "user", id), result).await?))
}
