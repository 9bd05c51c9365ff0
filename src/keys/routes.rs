//! `GET /.well-known/jwks.json` (RFC 7517 section 5).

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa::{OpenApi, ToSchema};

use crate::kit::app::App;

/// The public keys. Needs no database.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/.well-known/jwks.json", get(jwks))
}

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(jwks))]
pub struct Api;

/// The keys that sign, or have signed, tokens that may still live (RFC 7517 section 5). The ring makes it as text.
#[derive(Debug, ToSchema)]
pub struct JwkSet {
    /// The keys.
    pub keys: Vec<Jwk>,
}

/// A public key of P-256.
#[derive(Debug, ToSchema)]
pub struct Jwk {
    /// `EC`.
    pub kty: String,
    /// `P-256`.
    pub crv: String,
    /// The one coordinate of its point.
    pub x: String,
    /// The other.
    pub y: String,
    /// `ES256`.
    pub alg: String,
    /// `sig`.
    #[schema(rename = "use")]
    pub usage: String,
    /// By which tokens name it.
    pub kid: String,
}

/// Shows the public keys.
#[utoipa::path(get, path = "/.well-known/jwks.json",
    params(("If-None-Match" = Option<String>, Header, description = "The ETag of a copy that the caller has.")),
    responses((status = 200, body = JwkSet), (status = 304, description = "The copy is current.")), security(()))]
async fn jwks(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let ring = app.keys.ring();
    let (body, etag) = ring.jwks();
    let lifetime = format!("public, max-age={}", app.config.keys.jwks_lifetime_seconds);
    let caching = [(header::ETAG, etag.to_owned()), (header::CACHE_CONTROL, lifetime)];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    // RFC 9110 section 13.1.2: a list of tags or `*`, compared weakly.
    let matches = |tag: &str| tag.trim().trim_start_matches("W/") == etag || tag.trim() == "*";
    if known.is_some_and(|known| known.split(',').any(matches)) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
