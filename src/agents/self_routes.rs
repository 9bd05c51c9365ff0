//! What an agent does for itself, with a token of its own.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use serde_json::json;
use utoipa::OpenApi;

use super::Agent;
use super::enrol::{self, Enrolment};
use crate::access::OwnToken;
use crate::audit::Event;
use crate::kit::app::App;
use crate::kit::error::Result;
use crate::kit::http::extract::Json;
use crate::kit::http::problem::Problem;

/// The routes; they stand at the root only.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/agents/self/public-key", post(enrol))
}

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(enrol))]
pub struct Api;

/// Registers the caller's own public key, by proof of possession.
#[utoipa::path(post, path = "/agents/self/public-key",
    request_body = Enrolment, responses((status = 200, body = Agent)), security(("token" = [])))]
async fn enrol(
    State(app): State<Arc<App>>,
    token: OwnToken,
    body: Result<Json<Enrolment>, Problem>,
) -> Result<axum::Json<Agent>, Problem> {
    let identity_id = token.identity_id;
    let mut work = token.begin().await?;
    let event = Event::new("agent.key_enrolled", "agent", identity_id);
    let result = match body {
        Ok(Json(new)) => enrol::enrol(&app, &mut work.cx, identity_id, new).await,
        Err(Problem(error)) => Err(error),
    };
    let thumbprint = result.as_ref().ok().and_then(|agent| agent.public_key_thumbprint.clone());
    let event = event.with(json!({ "public_key_thumbprint": thumbprint }));
    Ok(axum::Json(work.finish(event, result).await?))
}
