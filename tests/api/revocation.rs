//! Revocation: always 200 for an accepted caller, on every replica at once, told in the audit log once.

use serde_json::json;
use time::Duration;

use crate::server::{Answer, Server};
use crate::tools::{assert_error, claims, members};

async fn revoke(server: &Server, token: &str) -> Answer {
    server.post("/oauth2/token/revoke").form(&[("token", token)]).send().await.expect(200)
}

/// The audit rows of revocations: outcome, actor type, target, metadata, tenant.
async fn rows(server: &Server) -> Vec<(String, String, String, serde_json::Value, String)> {
    sqlx::query_as(
        "select outcome, actor_type, target_id, metadata, account_id || '/' || project_id
         from audit_events where action = 'token.revoked'",
    )
    .fetch_all(&server.app.db)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_revoked_token_is_inactive_at_once_on_every_replica() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    assert!(server.is_active(&token).await && replica.is_active(&token).await);
    assert_eq!(revoke(&replica, &token).await.body, json!({ "revoked": true }));
    for server in [&server, &replica] {
        assert_eq!(server.introspect(&token).await, json!({ "active": false }));
        server.get("/oauth2/token/verify").bearer(&token).send().await.expect(401);
        server.get("/agents/registry").bearer(&token).send().await.expect(401);
    }
}

#[tokio::test]
async fn revoking_again_changes_nothing_and_is_told_once() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    let marked = "select count(*) from credentials where revoked_at = '2026-12-01 12:00:00.123456Z'
                  and revoke_reason = 'oauth2_revocation'";
    for _ in 0..3 {
        assert_eq!(revoke(&server, &token).await.body, json!({ "revoked": true }));
        assert_eq!(server.count(marked).await, 1);
        server.app.clock.advance(Duration::seconds(5));
    }
    let jti = claims(&token)["jti"].as_str().unwrap().to_owned();
    let facts = json!({ "reason": "oauth2_revocation" });
    assert_eq!(rows(&server).await, [("success".into(), "open".into(), jti, facts, "acme/demo".into())]);
}

#[tokio::test]
async fn only_the_token_itself_is_revoked() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let (one, two) = (server.token(&key).await, server.token(&key).await);
    revoke(&server, &one).await;
    assert!(server.is_active(&two).await);
    server.exchange(&key, "").await.expect(200);
}

#[tokio::test]
async fn garbage_is_answered_like_success_and_leaves_no_trace() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    let altered = format!("{token}x");
    for garbage in ["x", "a.b.c", "...", "zid_rt_unknown", key.as_str(), altered.as_str(), "\u{1F512}"] {
        assert_eq!(revoke(&server, garbage).await.body, json!({ "revoked": true }), "{garbage}");
    }
    assert!(rows(&server).await.is_empty());
    assert!(server.is_active(&token).await);
    server.exchange(&key, "").await.expect(200);
}

#[tokio::test]
async fn an_expired_token_can_still_be_revoked_for_what_may_live_below_it() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    server.app.clock.advance(Duration::hours(2));
    revoke(&server, &token).await;
    assert_eq!(rows(&server).await.len(), 1);
}

#[tokio::test]
async fn a_json_body_and_a_hint_are_fine() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    let body = json!({ "token": token, "token_type_hint": "refresh_token" });
    let answer = server.post("/oauth2/token/revoke").json(body).send().await.expect(200);
    assert_eq!(members(&answer.body), ["revoked"]);
    assert!(!server.is_active(&token).await);
}

#[tokio::test]
async fn a_request_without_a_token_is_refused() {
    let server = Server::new().await;
    for form in [&[][..], &[("token", "")], &[("access_token", "x")]] {
        assert_error(&server.post("/oauth2/token/revoke").form(form).send().await, 400, "invalid_request");
        assert_error(
            &server.post("/oauth2/token/introspect").form(form).send().await,
            400,
            "invalid_request",
        );
    }
}

#[tokio::test]
async fn a_token_of_another_server_with_its_own_keys_is_neither_active_nor_revoked() {
    let (server, other) = (Server::new().await, Server::new().await);
    let (_, key) = other.agent("fetcher").await;
    let token = other.token(&key).await;
    assert_eq!(server.introspect(&token).await, json!({ "active": false }));
    revoke(&server, &token).await;
    assert!(other.is_active(&token).await);
}

#[tokio::test]
async fn a_revocation_that_two_replicas_make_at_once_is_told_once() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    tokio::join!(revoke(&server, &token), revoke(&replica, &token), revoke(&server, &token));
    assert_eq!(rows(&server).await.len(), 1);
    assert!(!server.is_active(&token).await);
}

#[tokio::test]
async fn a_dry_run_names_what_would_end_and_ends_nothing() {
    let server = Server::new().await;
    let agent = server.party("planner", serde_json::json!({})).await;
    let root = server.exchange(&agent.api_key, "a").await.token();
    let child = server.delegate(&root, &agent, "a").await.token();
    let jti = |token: &str| crate::tools::claims(token)["jti"].clone();
    let audited = server.audited().await;
    let form = [("token", root.as_str()), ("dry_run", "true")];
    let answer = server.post("/oauth2/token/revoke").form(&form).send().await.expect(200);
    assert_eq!((&answer.body["dry_run"], &answer.body["revoked_count"]), (&true.into(), &2.into()));
    assert_eq!(answer.body["jtis"], serde_json::json!([jti(&root), jti(&child)]));
    assert!(server.is_active(&root).await && server.is_active(&child).await);
    assert_eq!(server.audited().await, audited);
    let garbage = [("token", "x.y.z"), ("dry_run", "true")];
    let answer = server.post("/oauth2/token/revoke").form(&garbage).send().await.expect(200);
    assert_eq!(answer.body["revoked_count"], 0);
    server.post("/oauth2/token/revoke").form(&form[..1]).send().await.expect(200);
    assert!(!server.is_active(&child).await);
}
