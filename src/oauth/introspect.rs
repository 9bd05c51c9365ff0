//! Introspection (RFC 7662): whether a token stands at this moment, on every replica.

use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::client_auth::inspector;
use super::error::OauthError;
use super::params::Params;
use super::requests::PresentedToken;
use crate::access::origin;
use crate::kit::app::App;
use crate::tokens::{self, Found, claims_of};

/// What is told of a token: nothing but `active` where it does not stand, else its claims too.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Introspection {
    /// Whether it stands at this moment.
    active: bool,
    #[serde(flatten)]
    claims: Map<String, Value>,
}

/// Tells what a token says, and whether it stands.
///
/// Anything that does not stand, or that the caller may not see, is `{"active": false}` and nothing else (section 2.2).
#[utoipa::path(post, path = "/oauth2/token/introspect",
    request_body(content(
        (PresentedToken = "application/x-www-form-urlencoded"),
        (PresentedToken = "application/json"),
    )),
    responses((status = 200, body = Introspection)), security((), ("client" = [])))]
pub async fn introspect(
    State(app): State<Arc<App>>,
    parts: Parts,
    params: Params,
) -> Result<axum::Json<Introspection>, OauthError> {
    let now = app.clock.now();
    let inspector = inspector(&app, &parts.headers, &params, &origin(&parts), now).await?;
    let token = params.required("token")?;
    let found = tokens::verify(&app, token, now).await?;
    let found = found.filter(|found| inspector.is_none_or(|known| known.sees(found, app.config.issuer())));
    let answer = found.and_then(|found| Some(answer(&found, claims_of(token)?)));
    Ok(axum::Json(answer.unwrap_or_default()))
}

/// The token's own claims, with what is live or only the row knows.
fn answer(found: &Found, mut claims: Map<String, Value>) -> Introspection {
    claims.remove("scopes");
    claims.insert("token_type".to_owned(), json!(if found.jkt.is_some() { "DPoP" } else { "Bearer" }));
    claims.insert("scope".to_owned(), Value::String(found.scopes.join(" ")));
    claims.insert("status".to_owned(), json!(found.agent_status.as_deref().unwrap_or_default()));
    if let Some(agent) = found.identity_id {
        claims.insert("agent_id".to_owned(), json!(agent));
    }
    Introspection { active: true, claims }
}
