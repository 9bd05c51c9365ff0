//! `/metrics`: what was done is counted, and nothing that a caller makes up becomes a label.

use std::collections::BTreeSet;

use crate::server::Server;

async fn series(server: &Server) -> Vec<String> {
    let text = server.get("/metrics").send().await.expect(200).text;
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// The value of the series whose line begins like this.
async fn value(server: &Server, series_name: &str) -> String {
    let all = series(server).await;
    let line = all.iter().find(|line| line.starts_with(series_name)).map_or("absent 0", String::as_str);
    line.rsplit(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn requests_and_tokens_are_counted_by_route_and_outcome() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    server.exchange(&key, "").await.expect(200);
    server.exchange(&key, "").await.expect(200);
    server.exchange("zid_sk_unknown", "").await.expect(400);
    server.post("/oauth2/token").form(&[]).send().await.expect(400);
    server.post("/oauth2/token").form(&[("grant_type", "made-up")]).send().await.expect(400);
    let issued = "chancery_token_requests_total{grant=\"api_key\",outcome=\"issued\"}";
    assert_eq!(value(&server, issued).await, "2");
    let refused = "chancery_token_requests_total{grant=\"api_key\",outcome=\"invalid_grant\"}";
    assert_eq!(value(&server, refused).await, "1");
    let other = "chancery_token_requests_total{grant=\"other\",outcome=\"unsupported_grant_type\"}";
    assert_eq!(value(&server, other).await, "1");
    let route = "chancery_http_requests_total{method=\"POST\",route=\"/oauth2/token\",status=\"200\"}";
    assert_eq!(value(&server, route).await, "2");
    assert_eq!(value(&server, "chancery_http_request_seconds_count{route=\"/oauth2/token\"}").await, "5");
    for state in ["idle", "busy"] {
        let connections = format!("chancery_database_connections{{pool=\"ordinary\",state=\"{state}\"}}");
        assert!(series(&server).await.iter().any(|line| line.starts_with(&connections)), "{state}");
    }
}

#[tokio::test]
async fn the_text_is_openmetrics() {
    let server = Server::new().await;
    let answer = server.get("/metrics").send().await.expect(200);
    assert!(answer.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(answer.text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn made_up_paths_methods_grants_and_ids_make_no_series() {
    let server = Server::new().await;
    let strange = async |n: u32| {
        for path in [
            format!("/made-up-{n}"),
            format!("/oauth2/made-up-{n}"),
            format!("/agents/registry/made-up-{n}"),
            format!("/api/v1/agents/registry/00000000-0000-7000-8000-{n:012}"),
            format!("/.well-known/made-up-{n}"),
        ] {
            for method in ["GET", "POST", "BREW", &format!("MADEUP{n}")] {
                server.admin(method, &path).send().await;
            }
        }
        for method in [format!("MADEUP{n}"), "PUT".to_owned()] {
            server.call(&method, "/oauth2/token").send().await.expect(405);
        }
        let grant = format!("made-up-{n}");
        server.post("/oauth2/token").form(&[("grant_type", &grant)]).send().await.expect(400);
        server.get("/health").with("Authorization", &grant).with("X-Request-ID", &grant).send().await;
    };
    server.get("/metrics").send().await.expect(200);
    strange(0).await;
    let names = |lines: Vec<String>| -> BTreeSet<String> {
        lines.into_iter().map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    let before = names(series(&server).await);
    for n in 1..5 {
        strange(n).await;
    }
    let after = names(series(&server).await);
    assert_eq!(before, after);
    let all = series(&server).await.join("\n").to_lowercase();
    assert!(!all.contains("made-up") && !all.contains("madeup") && !all.contains("brew"));
    for label in
        ["method=\"OTHER\"", "route=\"unmatched\"", "route=\"/agents/registry/{id}\"", "grant=\"other\""]
    {
        assert!(series(&server).await.iter().any(|line| line.contains(label)), "{label}");
    }
}

#[tokio::test]
async fn no_secret_reaches_a_label() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    server.get(&format!("/oauth2/token/verify?token={token}")).bearer(&token).send().await;
    server.get(&format!("/{key}")).send().await;
    let text = series(&server).await.join("\n");
    assert!(!text.contains(&key) && !text.contains(&token[..40]));
}
