//! `/users/{id}/links` for administrators, and `/links/…` for the person who was given one.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use utoipa::OpenApi;

use super::{Link, NewLink, Opened, caller, cookie};
use crate::access::{Admin, ManageIdentities, Work, origin};
use crate::audit::Event;
use crate::kit::app::App;
use crate::kit::cx::Cx;
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::kit::http::extract::{Id, Json};
use crate::kit::http::html;
use crate::kit::http::problem::Problem;
use crate::users;

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(create, open))]
pub struct Api;

/// The admin's route, relative to a mount.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/users/{id}/links", post(create))
}

/// The person's route.
pub fn open_routes() -> Router<Arc<App>> {
    Router::new().route("/links/{secret}", get(open))
}

/// Makes a link by which a person comes. It opens once.
#[utoipa::path(post, path = "/users/{id}/links", operation_id = "create_link",
    request_body = NewLink, responses((status = 201, body = Link)), security(("admin" = ["nhi:manage"])))]
async fn create(
    State(app): State<Arc<App>>,
    admin: Admin<ManageIdentities>,
    Id(id): Id,
    body: Result<Json<NewLink>, Problem>,
) -> Result<(StatusCode, axum::Json<Link>), Problem> {
    let mut work = admin.begin().await?;
    let result = match body {
        Ok(Json(new)) => users::make_link(&app, &mut work.cx, id, &new).await,
        Err(Problem(error)) => Err(error),
    };
    let facts =
        result.as_ref().map_or(json!({}), |link| json!({ "link_id": link.id, "purpose": "authorize" }));
    let event = Event::new("user.link_created", "user", id).with(facts);
    Ok((StatusCode::CREATED, axum::Json(work.finish(event, result).await?)))
}

/// Opens a link, in the person's browser.
///
/// Sets a cookie that is the person's for 15 minutes, and leads to where the link is for.
#[utoipa::path(get, path = "/links/{secret}", operation_id = "open_link",
    params(("secret" = String, Path, description = "What the link was made with.")),
    responses((status = 303, description = "Goes on to the authorization endpoint.")), security(()))]
async fn open(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    parts: Parts,
) -> Response {
    let secret = path.map(|Path(secret)| secret).unwrap_or_default();
    match enter(&app, &secret, &parts).await {
        Ok(response) => response,
        Err(Problem(Error::Refused(refused)))
            if html::is_wanted(&parts.headers) && refused.kind == Kind::NotFound =>
        {
            let body = format!("<p>{}.</p>\n", html::escape(&refused.why));
            html::page(StatusCode::NOT_FOUND, "This link does not open", &body, "")
        }
        Err(problem) => problem.into_response(),
    }
}

async fn enter(app: &App, secret: &str, parts: &Parts) -> Result<Response, Problem> {
    let unknown =
        "the link is unknown, was opened before, or has expired; ask the administrator for a new one";
    let owner = users::link_owner(app, secret).await?.ok_or_else(|| refuse(Kind::NotFound, unknown))?;
    let cx = Cx {
        tx: app.begin().await?,
        tenant: owner.tenant.clone(),
        now: app.clock.now(),
        caller: caller(&owner),
        origin: origin(parts),
    };
    let mut work = Work { cx };
    let result = users::open_link(app, &mut work.cx, secret).await;
    let facts = result.as_ref().map_or(json!({}), |opened| json!({ "link_id": opened.id }));
    let event = Event::new("user.link_opened", "user", owner.id).with(facts);
    let Opened { target, cookie, .. } = work.finish(event, result).await?;
    let mut headers = HeaderMap::new();
    headers.insert(header::SET_COOKIE, cookie::set(app.config.issuer(), &cookie)?);
    headers.insert(header::LOCATION, HeaderValue::try_from(target).map_err(Error::from)?);
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}
