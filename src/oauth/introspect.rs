//! Introspection (RFC 7662): whether a token stands at this moment, on every replica.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use serde_json::{Map, Value, json};

use super::client_auth::check_inspector;
use super::error::OauthError;
use super::params::Params;
use crate::kit::app::App;
use crate::tokens::{self, Found, claims_of};

/// Anything that does not stand is `{"active": false}` and nothing else (section 2.2).
pub async fn introspect(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    params: Params,
) -> Result<axum::Json<Value>, OauthError> {
    check_inspector(&app, &headers, &params)?;
    let token = params.required("token")?;
    let mut db = app.reserved_connection().await?;
    let found = tokens::verify(&mut db, token, app.clock.now(), &app.config.limits).await?;
    let answer = found.and_then(|found| answer(&found, claims_of(token)?));
    Ok(axum::Json(answer.unwrap_or_else(|| json!({ "active": false }))))
}

/// The token's own claims, with what is live or only the row knows.
fn answer(found: &Found, mut claims: Map<String, Value>) -> Option<Value> {
    claims.remove("scopes");
    claims.insert("active".to_owned(), Value::Bool(true));
    claims.insert("token_type".to_owned(), json!("Bearer"));
    claims.insert("scope".to_owned(), Value::String(found.scopes.join(" ")));
    claims.insert("status".to_owned(), json!(found.agent_status.as_deref().unwrap_or_default()));
    claims.insert("agent_id".to_owned(), json!(found.identity_id?));
    Some(Value::Object(claims))
}
