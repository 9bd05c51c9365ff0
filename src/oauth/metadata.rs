//! What the server says of itself: RFC 8414 and RFC 9728. Only what works is named.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};

use super::token::GRANTS;
use crate::kit::app::App;
use crate::kit::jwk::ALGORITHMS;

/// Authorization server metadata (RFC 8414 section 2).
#[derive(Debug, Serialize)]
pub struct ServerMetadata {
    issuer: String,
    token_endpoint: String,
    jwks_uri: String,
    grant_types_supported: Vec<&'static str>,
    /// Required, also while there is no authorization endpoint.
    response_types_supported: [&'static str; 0],
    token_endpoint_auth_methods_supported: [&'static str; 4],
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: [&'static str; 4],
    introspection_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: [&'static str; 4],
    revocation_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    /// RFC 9449 section 5.1.
    dpop_signing_alg_values_supported: [&'static str; 4],
}

/// How clients authenticate; a public one names itself only.
const METHODS: [&str; 4] = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];

/// Needs no database.
pub async fn authorization_server(State(app): State<Arc<App>>) -> Json<ServerMetadata> {
    let issuer = app.config.issuer();
    Json(ServerMetadata {
        issuer: issuer.to_owned(),
        token_endpoint: format!("{issuer}/oauth2/token"),
        jwks_uri: format!("{issuer}/.well-known/jwks.json"),
        grant_types_supported: GRANTS.iter().map(|(wire, _)| *wire).collect(),
        response_types_supported: [],
        token_endpoint_auth_methods_supported: METHODS,
        token_endpoint_auth_signing_alg_values_supported: ALGORITHMS,
        introspection_endpoint: format!("{issuer}/oauth2/token/introspect"),
        introspection_endpoint_auth_methods_supported: METHODS,
        introspection_endpoint_auth_signing_alg_values_supported: ALGORITHMS,
        revocation_endpoint: format!("{issuer}/oauth2/token/revoke"),
        revocation_endpoint_auth_methods_supported: METHODS,
        revocation_endpoint_auth_signing_alg_values_supported: ALGORITHMS,
        dpop_signing_alg_values_supported: ALGORITHMS,
    })
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
        "dpop_signing_alg_values_supported": ALGORITHMS,
        "dpop_bound_access_tokens_required": false,
    }))
}
