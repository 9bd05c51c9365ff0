//! What the server says of itself: RFC 8414 and RFC 9728. Only what works is named.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::grants::api_key;
use crate::kit::app::App;

/// Authorization server metadata (RFC 8414 section 2). Needs no database.
pub async fn authorization_server(State(app): State<Arc<App>>) -> Json<Value> {
    let issuer = app.config.issuer();
    // Anonymous callers are the only ones there are until clients can be registered.
    let inspectors: &[&str] = if app.config.introspection_open() { &["none"] } else { &[] };
    Json(json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/oauth2/token"),
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "introspection_endpoint": format!("{issuer}/oauth2/token/introspect"),
        "revocation_endpoint": format!("{issuer}/oauth2/token/revoke"),
        "grant_types_supported": [api_key::NAME],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["none"],
        "introspection_endpoint_auth_methods_supported": inspectors,
        "revocation_endpoint_auth_methods_supported": inspectors,
    }))
}

/// Protected resource metadata (RFC 9728 section 2): our own admin API is a resource of our own tokens.
pub async fn protected_resource(State(app): State<Arc<App>>) -> Json<Value> {
    let issuer = app.config.issuer();
    Json(json!({
        "resource": issuer,
        "resource_name": app.config.service_name,
        "authorization_servers": [issuer],
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "bearer_methods_supported": ["header"],
        "dpop_bound_access_tokens_required": false,
    }))
}
