//! Pages of other origins get nothing: no answer of any route says that they may read it, and no preflight opens one.

use serde_json::json;

use axum::http::HeaderMap;

use crate::server::{ISSUER, Server};
use crate::tools::all_routes;

const ORIGINS: [&str; 4] = ["https://evil.example", "null", "http://127.0.0.1:8899.evil.example", ISSUER];

#[track_caller]
fn assert_closed(headers: &HeaderMap, what: &str) {
    let told: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with("access-control-")).collect();
    assert!(told.is_empty(), "{what}: {told:?}");
    let varies =
        headers.get_all("vary").iter().any(|value| value.to_str().unwrap().to_lowercase().contains("origin"));
    assert!(!varies, "{what}: the answer depends on who asks");
}

/// Method and path of every route, under each mount, with an id where one belongs.
fn places() -> Vec<(String, String)> {
    let id = "0193f8a0-0000-7000-8000-000000000000";
    let filled = |path: &str| {
        let parts = path.split('/').map(|part| if part.starts_with('{') { id } else { part });
        parts.collect::<Vec<_>>().join("/")
    };
    let mounts = |path: String| [path.clone(), format!("/api/v1{path}")];
    all_routes()
        .into_iter()
        .flat_map(|route| mounts(filled(&route.path)).map(|path| (route.method.clone(), path)))
        .collect()
}

#[tokio::test]
async fn no_answer_of_any_route_is_for_pages_of_other_origins() {
    let server = Server::with(|config| config.lockout.failures = 0).await;
    let key = server.admin_key(None, &[]).await;
    let mut statuses = std::collections::BTreeMap::new();
    for (method, path) in places() {
        let call = || server.admin(&method, &path);
        for origin in ORIGINS {
            for call in [
                call(),
                call().json(json!({})).bearer("wrong"),
                call().bearer(&key),
                call().json(json!({})).bearer(&key),
                call().form(&[("token", "x")]).bearer(&key),
            ] {
                // Opened and not read: a stream has no end.
                let answer = call.with("Origin", origin).open().await;
                assert_closed(answer.headers(), &format!("{method} {path} from {origin}"));
                *statuses.entry(answer.status().as_u16()).or_insert(0) += 1;
            }
        }
    }
    println!("{statuses:?}");
    for status in [200, 400, 401, 403, 404, 415, 422] {
        assert!(statuses.contains_key(&status), "{status} was among the answers: {statuses:?}");
    }
}

#[tokio::test]
async fn no_preflight_opens_a_route() {
    let server = Server::new().await;
    for (method, path) in places() {
        for origin in ORIGINS {
            let call = server.call("OPTIONS", &path).with("Origin", origin);
            let call = call.with("Access-Control-Request-Method", &method);
            let answer =
                call.with("Access-Control-Request-Headers", "authorization, content-type").send().await;
            assert!(answer.status.is_client_error(), "OPTIONS {path}: {}", answer.status);
            assert_closed(&answer.headers, &format!("OPTIONS {path} from {origin}"));
        }
    }
}

#[tokio::test]
async fn no_error_before_or_beside_the_routes_is_for_pages_of_other_origins() {
    let server = Server::with(|config| config.limits.body_bytes = 1000).await;
    let (_, key) = server.agent("fetcher").await;
    let long = "x".repeat(1001);
    for origin in ORIGINS {
        for (call, status) in [
            (server.get("/nowhere"), 404),
            (server.get("/oauth2/nowhere"), 404),
            (server.call("BREW", "/oauth2/token"), 405),
            (server.post("/oauth2/token").form(&[("token", &long)]), 413),
            (server.post("/oauth2/token").raw("text/plain", "x"), 415),
            (server.post("/oauth2/token").raw("application/json", "{"), 400),
            (server.post("/oauth2/token").form(&[("grant_type", "api_key"), ("api_key", "x")]), 400),
            (server.post("/oauth2/token/introspect").form(&[("client_id", "x"), ("token", "x")]), 401),
            (server.post("/oauth2/token").form(&[("grant_type", "api_key"), ("api_key", &key)]), 200),
        ] {
            let answer = call.with("Origin", origin).send().await.expect(status);
            assert_closed(&answer.headers, &format!("{status} for {origin}"));
        }
    }
    server.app.db.close().await;
    for origin in ORIGINS {
        let answer = server.get("/ready").with("Origin", origin).send().await.expect(503);
        assert_closed(&answer.headers, "503");
    }
}

#[tokio::test]
async fn the_open_admin_api_answers_no_page() {
    let server = Server::new().await;
    for origin in &ORIGINS[..3] {
        let answer = server.get("/agents/registry").with("Origin", origin).send().await.expect(403);
        assert!(answer.header("set-cookie").is_empty());
    }
}
