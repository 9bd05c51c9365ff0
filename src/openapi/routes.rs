//! `GET /openapi.json`.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Bytes;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa::OpenApi;

use super::document;
use crate::kit::app::App;

/// Made once: it is the same for every server of the process.
static TEXT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().to_string()));

/// The document. It needs neither a credential nor the database.
pub fn routes() -> Router<Arc<App>> {
    Router::new().route("/openapi.json", get(openapi))
}

/// The same for the document of the API.
#[derive(OpenApi)]
#[openapi(paths(openapi))]
pub struct Api;

/// Shows this document.
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, body = Value)), security(()))]
async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], TEXT.clone())
}
