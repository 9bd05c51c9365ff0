//! `GET /openapi.json` and `GET /docs`.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa::OpenApi;

use super::{document, page};
use crate::kit::app::App;

/// Made once: it is the same for every server of the process.
static TEXT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().to_string()));

static PAGE: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(page::page(&document())));

/// The page has a style of its own and nothing else: no script, no frame, nothing from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// The document. It needs neither a credential nor the database.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/openapi.json", get(openapi)).route("/docs", get(docs))
}

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(openapi, docs))]
pub struct Api;

/// Shows this document.
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, body = Value)), security(()))]
async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], TEXT.clone())
}

/// Shows this document as a page for people.
#[utoipa::path(get, path = "/docs", responses((status = 200, body = String, content_type = "text/html")), security(()))]
async fn docs() -> impl IntoResponse {
    let head =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (head, PAGE.clone())
}
