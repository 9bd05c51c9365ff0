//! What the server says of itself: RFC 8414 and RFC 9728. Only what works is named.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::token::GRANTS;
use crate::kit::app::App;
use crate::kit::jwk::ALGORITHMS;

/// Authorization server metadata (RFC 8414 section 2).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuthorizationServerMetadata)]
pub struct ServerMetadata {
    /// As it stands in `iss` of every token.
    issuer: String,
    /// Where a person agrees that a client acts in their name.
    authorization_endpoint: String,
    /// Where clients push such requests beforehand (RFC 9126).
    pushed_authorization_request_endpoint: String,
    /// Every answer there says whose it is (RFC 9207).
    authorization_response_iss_parameter_supported: bool,
    /// How a code is bound to who asked for it (RFC 7636).
    code_challenge_methods_supported: [&'static str; 1],
    /// Where tokens are had.
    token_endpoint: String,
    /// Where the public keys are.
    jwks_uri: String,
    /// The grants that work.
    grant_types_supported: Vec<&'static str>,
    /// What is answered at the authorization endpoint.
    response_types_supported: [&'static str; 1],
    /// How it is.
    response_modes_supported: [&'static str; 1],
    /// How clients authenticate.
    token_endpoint_auth_methods_supported: [&'static str; 4],
    /// How they may sign assertions.
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 5],
    /// Where tokens are looked at.
    introspection_endpoint: String,
    /// How clients authenticate there.
    introspection_endpoint_auth_methods_supported: [&'static str; 4],
    /// How they may sign assertions there.
    introspection_endpoint_auth_signing_alg_values_supported: [&'static str; 5],
    /// How a signed answer of introspection is signed.
    introspection_signing_alg_values_supported: [&'static str; 1],
    /// Where tokens are revoked.
    revocation_endpoint: String,
    /// How clients authenticate there.
    revocation_endpoint_auth_methods_supported: [&'static str; 4],
    /// How they may sign assertions there.
    revocation_endpoint_auth_signing_alg_values_supported: [&'static str; 5],
    /// What tokens are for by themselves.
    protected_resources: [String; 1],
    /// RFC 9449 section 5.1.
    dpop_signing_alg_values_supported: [&'static str; 5],
    /// Whether the URL of a document may be a `client_id`; absent where it may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id_metadata_document_supported: Option<bool>,
}

/// How clients authenticate; a public one names itself only.
const METHODS: [&str; 4] = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"];

/// How we sign.
const SIGNED: &str = "ES256";

/// Describes the authorization server (RFC 8414).
#[utoipa::path(get, path = "/.well-known/oauth-authorization-server",
    responses((status = 200, body = ServerMetadata)), security(()))]
pub async fn authorization_server(State(app): State<Arc<App>>) -> Json<ServerMetadata> {
    let issuer = app.config.issuer();
    Json(ServerMetadata {
        issuer: issuer.to_owned(),
        authorization_endpoint: format!("{issuer}/oauth2/authorize"),
        pushed_authorization_request_endpoint: format!("{issuer}/oauth2/par"),
        authorization_response_iss_parameter_supported: true,
        code_challenge_methods_supported: ["S256"],
        token_endpoint: format!("{issuer}/oauth2/token"),
        jwks_uri: format!("{issuer}/.well-known/jwks.json"),
        grant_types_supported: GRANTS.iter().map(|(wire, _)| *wire).collect(),
        response_types_supported: ["code"],
        response_modes_supported: ["query"],
        token_endpoint_auth_methods_supported: METHODS,
        token_endpoint_auth_signing_alg_values_supported: ALGORITHMS,
        introspection_endpoint: format!("{issuer}/oauth2/token/introspect"),
        introspection_endpoint_auth_methods_supported: METHODS,
        introspection_endpoint_auth_signing_alg_values_supported: ALGORITHMS,
        introspection_signing_alg_values_supported: [SIGNED],
        revocation_endpoint: format!("{issuer}/oauth2/token/revoke"),
        revocation_endpoint_auth_methods_supported: METHODS,
        revocation_endpoint_auth_signing_alg_values_supported: ALGORITHMS,
        protected_resources: [issuer.to_owned()],
        dpop_signing_alg_values_supported: ALGORITHMS,
        client_id_metadata_document_supported: app.config.clients.metadata_documents.then_some(true),
    })
}

/// The same where clients of OpenID Connect look for it.
#[utoipa::path(get, path = "/.well-known/openid-configuration",
    responses((status = 200, body = ServerMetadata)), security(()))]
pub async fn openid_configuration(app: State<Arc<App>>) -> Json<ServerMetadata> {
    authorization_server(app).await
}

/// Protected resource metadata (RFC 9728 section 2).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProtectedResourceMetadata)]
pub struct ResourceMetadata {
    /// The resource: this server.
    resource: String,
    /// What people call it.
    resource_name: String,
    /// Who issues tokens for it.
    authorization_servers: [String; 1],
    /// Where the public keys are.
    jwks_uri: String,
    /// How tokens are presented.
    bearer_methods_supported: [&'static str; 1],
    /// How proofs of possession may be signed (RFC 9449).
    dpop_signing_alg_values_supported: [&'static str; 5],
    /// Whether tokens must be bound to a key.
    dpop_bound_access_tokens_required: bool,
}

/// Describes the admin API as a protected resource (RFC 9728).
///
/// Our own admin API is a resource of our own tokens.
#[utoipa::path(get, path = "/.well-known/oauth-protected-resource",
    responses((status = 200, body = ResourceMetadata)), security(()))]
pub async fn protected_resource(State(app): State<Arc<App>>) -> Json<ResourceMetadata> {
    let issuer = app.config.issuer();
    Json(ResourceMetadata {
        resource: issuer.to_owned(),
        resource_name: app.config.service_name.clone(),
        authorization_servers: [issuer.to_owned()],
        jwks_uri: format!("{issuer}/.well-known/jwks.json"),
        bearer_methods_supported: ["header"],
        dpop_signing_alg_values_supported: ALGORITHMS,
        dpop_bound_access_tokens_required: false,
    })
}
