//! A refresh token is spent for an access token and its successor, with what the grant decided and never more.

use insta::assert_json_snapshot;
use serde_json::{Value, json};
use time::Duration;

use super::assert_dead;
use crate::server::Server;
use crate::tools::{assert_error, claims, credentials};

const DAY: i64 = 86_400;

#[tokio::test]
async fn rfc6749_s6_a_refresh_token_obtains_an_access_token_and_its_successor() {
    let server = Server::new().await;
    let who = server.public_refresher("app").await;
    let first = server.begin(&who).await;
    server.app.clock.advance(Duration::minutes(20));
    let answer = server.refresh(&who, &first.refresh).await.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_json_snapshot!("answer", answer.body, {
        ".access_token" => "[token]", ".refresh_token" => "[token]", ".jti" => "[jti]",
    });
    let second = answer.tokens();
    assert!(
        second.refresh.starts_with("zid_rt_")
            && second.refresh.len() == 50
            && second.refresh != first.refresh
    );
    let (before, after) = (claims(&first.access), claims(&second.access));
    for member in
        ["sub", "aud", "scopes", "mission_id", "user_id", "client_id", "application_id", "account_id"]
    {
        assert_eq!(after[member], before[member], "{member}");
    }
    assert_eq!((&after["grant_type"], &after["sub"]), (&json!("refresh_token"), &json!("user-of-app")));
    assert_ne!(after["jti"], before["jti"]);
    assert!(server.is_active(&first.access).await && server.is_active(&second.access).await);
    let mut last = second;
    for _ in 0..5 {
        let next = server.refresh(&who, &last.refresh).await.tokens();
        assert_eq!(claims(&next.access)["mission_id"], before["mission_id"]);
        last = next;
    }
    let path = format!("/credentials?mission_id={}", before["mission_id"].as_str().unwrap());
    assert_eq!(server.admin("GET", &path).send().await.expect(200).body["total"], 7);
    let rows = server.audit().await.into_iter().filter(|row| row.0 == "token.issued").count();
    assert_eq!(rows, 7);
}

#[tokio::test]
async fn nothing_of_a_refresh_token_is_stored_in_clear() {
    let server = Server::new().await;
    let who = server.refresher("app", json!({ "refresh_token_reuse": "reissue" })).await;
    let first = server.begin(&who).await;
    let second = server.refresh(&who, &first.refresh).await.tokens();
    for token in [&first.refresh, &second.refresh] {
        let secret = token.strip_prefix("zid_rt_").unwrap();
        for table in
            ["refresh_tokens", "refresh_families", "credentials", "audit_events", "outbox", "used_once"]
        {
            let found = format!("select count(*)::text from {table} t where t::text like '%{secret}%'");
            assert_eq!(server.text_from_sql(found).await, "0", "{table}");
        }
    }
}

#[tokio::test]
async fn rfc6749_s6_scopes_only_narrow_and_what_was_left_out_may_be_asked_for_again() {
    let server = Server::new().await;
    let who = server.public_refresher("app").await;
    let first = server.begin(&who).await;
    for beyond in ["c", "a c", "nhi:manage"] {
        let answer = server.refresh_with(&who, &first.refresh, &[("scope", beyond)]).await;
        assert_error(&answer, 400, "invalid_scope");
    }
    let narrow = server.refresh_with(&who, &first.refresh, &[("scope", "b")]).await.tokens();
    assert_eq!(claims(&narrow.access)["scopes"], json!(["b"]));
    let answer = server.refresh_with(&who, &narrow.refresh, &[("scope", "b c")]).await;
    assert_error(&answer, 400, "invalid_scope");
    let whole = server.refresh(&who, &narrow.refresh).await.tokens();
    assert_eq!(claims(&whole.access)["scopes"], json!(["a", "b"]));
}

#[tokio::test]
async fn what_was_disabled_since_is_lost() {
    let server = Server::new().await;
    let who = server.public_refresher("app").await;
    let mut last = server.begin(&who).await;
    for (scopes, granted) in [(json!(["b", "c"]), json!(["b"])), (json!(["a", "b", "c"]), json!(["a", "b"]))]
    {
        server.patch_client(&who.id, json!({ "scopes": scopes })).await.expect(200);
        last = server.refresh(&who, &last.refresh).await.tokens();
        assert_eq!(claims(&last.access)["scopes"], granted);
    }
    server.patch_client(&who.id, json!({ "scopes": ["c"] })).await.expect(200);
    let before = credentials(&server).await;
    assert_error(&server.refresh(&who, &last.refresh).await, 400, "invalid_scope");
    assert_error(&server.refresh_with(&who, &last.refresh, &[("scope", "a")]).await, 400, "invalid_scope");
    server.patch_client(&who.id, json!({ "scopes": [] })).await.expect(200);
    assert_error(&server.refresh(&who, &last.refresh).await, 400, "invalid_scope");
    assert_eq!(credentials(&server).await, before);
    server.patch_client(&who.id, json!({ "scopes": ["a"] })).await.expect(200);
    assert_eq!(claims(&server.refresh(&who, &last.refresh).await.tokens().access)["scopes"], json!(["a"]));
}

#[tokio::test]
async fn a_family_without_scopes_goes_on_without() {
    let server = Server::new().await;
    let who = server.public_refresher("app").await;
    let first = server.begin_with(&who, "", None).await;
    let second = server.refresh(&who, &first.refresh).await.tokens();
    assert_eq!(claims(&second.access).get("scopes"), None);
    let answer = server.refresh_with(&who, &second.refresh, &[("scope", "a")]).await;
    assert_error(&answer, 400, "invalid_scope");
}

#[tokio::test]
async fn rfc8707_s2_2_the_audience_only_narrows() {
    let server = Server::new().await;
    let who = server.public_refresher("app").await;
    let first = server.begin(&who).await;
    for other in ["https://three.example", ""] {
        let answer = server.refresh_with(&who, &first.refresh, &[("resource", &format!("{other}/x"))]).await;
        assert_error(&answer, 400, "invalid_target");
    }
    let one =
        server.refresh_with(&who, &first.refresh, &[("resource", "https://two.example")]).await.tokens();
    assert_eq!(claims(&one.access)["aud"], json!(["https://two.example"]));
    let both = server.refresh(&who, &one.refresh).await.tokens();
    assert_eq!(claims(&both.access)["aud"], json!(["https://one.example", "https://two.example"]));
}

#[tokio::test]
async fn each_token_has_its_lifetime_and_the_family_has_one_beyond_all() {
    let server = Server::with(|config| {
        config.tokens.refresh_ttl_seconds = 10 * 86_400;
        config.tokens.refresh_family_ttl_seconds = 25 * 86_400;
    })
    .await;
    let who = server.public_refresher("app").await;
    let (early, late) = (server.begin(&who).await, server.begin(&who).await);
    server.app.clock.advance(Duration::seconds(10 * DAY) - Duration::MILLISECOND);
    let mut last = server.refresh(&who, &early.refresh).await.tokens();
    server.app.clock.advance(Duration::MILLISECOND);
    assert_dead(&server.refresh(&who, &late.refresh).await);
    server.app.clock.advance(Duration::seconds(9 * DAY));
    last = server.refresh(&who, &last.refresh).await.tokens();
    // Six days are left of the family.
    server.app.clock.advance(Duration::seconds(6 * DAY) - Duration::MILLISECOND);
    last = server.refresh(&who, &last.refresh).await.tokens();
    server.app.clock.advance(Duration::MILLISECOND);
    assert_dead(&server.refresh(&who, &last.refresh).await);
    assert!(server.is_active(&last.access).await, "an access token lives out its own short life");
}

#[tokio::test]
async fn the_lifetime_of_a_client_stands_over_the_servers() {
    let server = Server::new().await;
    let who = server.refresher("app", json!({ "refresh_token_ttl": 60 })).await;
    let (one, two) = (server.begin(&who).await, server.begin(&who).await);
    server.app.clock.advance(Duration::seconds(59));
    let next = server.refresh(&who, &one.refresh).await.tokens();
    server.app.clock.advance(Duration::seconds(1));
    assert_dead(&server.refresh(&who, &two.refresh).await);
    server.patch_client(&who.id, json!({ "refresh_token_ttl": 1000 })).await.expect(200);
    server.app.clock.advance(Duration::seconds(58));
    let next = server.refresh(&who, &next.refresh).await.tokens();
    server.app.clock.advance(Duration::seconds(999));
    assert!(server.refreshes(&who, &next.refresh).await);
}

#[tokio::test]
async fn a_profile_is_kept_and_follows_the_client() {
    let server = Server::new().await;
    let who = server.refresher("app", json!({ "token_profile": "rfc8693" })).await;
    let first = server.begin(&who).await;
    let second = server.refresh(&who, &first.refresh).await.tokens();
    assert_eq!(claims(&second.access)["principal_type"], "user");
    server.patch_client(&who.id, json!({ "token_profile": "" })).await.expect(200);
    let third = server.refresh(&who, &second.refresh).await.tokens();
    assert_eq!(claims(&third.access)["principal_type"], "user");
    server.patch_client(&who.id, json!({ "token_profile": "zeroid" })).await.expect(200);
    let fourth = server.refresh(&who, &third.refresh).await.tokens();
    assert_eq!(claims(&fourth.access)["principal_type"], Value::Null);
}
