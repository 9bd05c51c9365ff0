//! `GET /.well-known/jwks.json` (RFC 7517 section 5).

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::kit::app::App;

/// The public keys. Needs no database.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/.well-known/jwks.json", get(jwks))
}

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
