//! How long a token lives: the default, or less where a policy, the identity's end or the key's end asks for it.

use time::Duration;

use crate::server::{Answer, START, Server};
use crate::tools::{assert_error, claims, sql};

/// Requires the lifetime in the answer, in the claims, and at introspection just before and at the end.
async fn assert_lives(server: &Server, answer: &Answer, seconds: i64) {
    let claims = claims(answer.text_of("access_token"));
    assert_eq!(answer.body["expires_in"], seconds);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), seconds);
    let end = time::OffsetDateTime::from_unix_timestamp(claims["exp"].as_i64().unwrap()).unwrap();
    server.app.clock.advance(end - server.app.clock.now() - Duration::microseconds(1));
    assert!(server.is_active(answer.text_of("access_token")).await);
    server.app.clock.advance(Duration::microseconds(1));
    assert!(!server.is_active(answer.text_of("access_token")).await);
}

#[tokio::test]
async fn a_token_lives_for_the_default_when_nothing_asks_for_less() {
    let server = Server::with(|config| config.tokens.default_ttl_seconds = 900).await;
    let (_, key) = server.agent("fetcher").await;
    let answer = server.exchange(&key, "").await.expect(200);
    assert_eq!(claims(answer.text_of("access_token"))["iat"], START.unix_timestamp());
    assert_lives(&server, &answer, 900).await;
}

#[tokio::test]
async fn the_servers_longest_lifetime_bounds_its_default() {
    let server = Server::with(|config| {
        config.tokens.default_ttl_seconds = 900;
        config.tokens.max_ttl_seconds = 300;
    })
    .await;
    let (_, key) = server.agent("fetcher").await;
    assert_eq!(server.exchange(&key, "").await.expect(200).body["expires_in"], 300);
}

#[tokio::test]
async fn a_policy_clamps_and_does_not_refuse() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    sql(&server, "update credential_policies set max_ttl_seconds = 600").await;
    let answer = server.exchange(&key, "").await.expect(200);
    assert_lives(&server, &answer, 600).await;
}

#[tokio::test]
async fn the_keys_policy_clamps_below_the_identitys() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    sql(
        &server,
        "insert into credential_policies (id, account_id, project_id, name, max_ttl_seconds, allowed_grant_types,
             created_at, updated_at)
         values ('00000000-0000-7000-8000-000000000001', 'acme', 'demo', 'short', 60, array['api_key'], now(), now())",
    )
    .await;
    sql(&server, "update api_keys set credential_policy_id = '00000000-0000-7000-8000-000000000001'").await;
    assert_eq!(server.exchange(&key, "").await.expect(200).body["expires_in"], 60);
}

#[tokio::test]
async fn a_token_does_not_outlive_its_agent() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    sql(&server, "update identities set expires_at = '2026-12-01 12:10:00.9Z'").await;
    let answer = server.exchange(&key, "").await.expect(200);
    assert_lives(&server, &answer, 600).await;
    let refused = server.exchange(&key, "").await;
    assert_error(&refused, 400, "invalid_grant");
    assert_eq!(refused.text_of("error_description"), "identity_expired");
}

#[tokio::test]
async fn a_token_does_not_outlive_its_key() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    sql(&server, "update api_keys set expires_at = '2026-12-01 12:05:00Z'").await;
    let answer = server.exchange(&key, "").await.expect(200);
    assert_lives(&server, &answer, 300).await;
    let refused = server.exchange(&key, "").await;
    assert_error(&refused, 400, "invalid_grant");
    assert_eq!(refused.text_of("error_description"), "invalid api key");
}

#[tokio::test]
async fn the_nearest_of_all_ends_counts() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    sql(&server, "update api_keys set expires_at = '2026-12-01 12:05:00Z'").await;
    sql(&server, "update identities set expires_at = '2026-12-01 12:03:00Z'").await;
    sql(&server, "update credential_policies set max_ttl_seconds = 240").await;
    assert_eq!(server.exchange(&key, "").await.expect(200).body["expires_in"], 180);
}
