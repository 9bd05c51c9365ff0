//! Introspection (RFC 7662): whether a token stands at this moment, on every replica.

use std::sync::Arc;

use axum::extract::State;
use axum::http::request::Parts;
use serde_json::{Map, Value, json};

use super::client_auth::inspector;
use super::error::OauthError;
use super::params::Params;
use crate::access::origin;
use crate::kit::app::App;
use crate::tokens::{self, Found, claims_of};

/// Anything that does not stand, or that the caller may not see, is `{"active": false}` and nothing else (section 2.2).
pub async fn introspect(
    State(app): State<Arc<App>>,
    parts: Parts,
    params: Params,
) -> Result<axum::Json<Value>, OauthError> {
    let now = app.clock.now();
    let inspector = inspector(&app, &parts.headers, &params, &origin(&parts), now).await?;
    let token = params.required("token")?;
    let found = tokens::verify(&app, token, now).await?;
    let found = found.filter(|found| inspector.is_none_or(|known| known.sees(found, app.config.issuer())));
    let answer = found.and_then(|found| Some(answer(&found, claims_of(token)?)));
    Ok(axum::Json(answer.unwrap_or_else(|| json!({ "active": false }))))
}

/// The token's own claims, with what is live or only the row knows.
fn answer(found: &Found, mut claims: Map<String, Value>) -> Value {
    claims.remove("scopes");
    claims.insert("active".to_owned(), Value::Bool(true));
    claims.insert("token_type".to_owned(), json!(if found.jkt.is_some() { "DPoP" } else { "Bearer" }));
    claims.insert("scope".to_owned(), Value::String(found.scopes.join(" ")));
    claims.insert("status".to_owned(), json!(found.agent_status.as_deref().unwrap_or_default()));
    if let Some(agent) = found.identity_id {
        claims.insert("agent_id".to_owned(), json!(agent));
    }
    Value::Object(claims)
}
