//! What axum alone can do: a route that answers 200 bytes of JSON.

use std::net::SocketAddr;

use anyhow::Result;
use axum::Router;
use axum::routing::get;

pub(crate) async fn serve(address: SocketAddr) -> Result<()> {
    let body = serde_json::json!({ "active": true, "text": "x".repeat(173) });
    let router = Router::new().route("/", get(move || std::future::ready(axum::Json(body.clone()))));
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(
        axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))),
        router,
    )
    .await?)
}
