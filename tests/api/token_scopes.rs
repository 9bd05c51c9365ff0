//! Scope arithmetic of the token endpoint: every layer narrows, nothing left never grows back, reserved scopes must be
//! named by a ceiling.

use serde_json::{Value, json};

use crate::server::Server;
use crate::tools::{assert_error, claims, credentials, sql};

/// The scope of the answer, after checking that token, answer and introspection agree.
async fn granted(server: &Server, key: &str, request: &str) -> String {
    let answer = server.exchange(key, request).await.expect(200);
    let token = answer.text_of("access_token");
    let scope = answer.text_of("scope").to_owned();
    let list: Vec<&str> = scope.split_whitespace().collect();
    let claims = claims(token);
    if list.is_empty() {
        assert_eq!((claims.get("scopes"), claims.get("scope")), (None, None));
    } else {
        assert_eq!((&claims["scopes"], &claims["scope"]), (&json!(list), &json!(scope)));
    }
    assert_eq!(server.introspect(token).await["scope"], json!(scope));
    scope
}

async fn limited(server: &Server, scopes: Value) -> String {
    let answer = server.register("fetcher", json!({ "allowed_scopes": scopes })).await.expect(201);
    answer.text_of("api_key").to_owned()
}

#[tokio::test]
async fn an_open_ceiling_grants_what_is_asked_in_its_order_and_each_once() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    assert_eq!(granted(&server, &key, "b a b  c").await, "b a c");
    assert_eq!(granted(&server, &key, "").await, "");
}

#[tokio::test]
async fn an_open_ceiling_holds_no_reserved_scope() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    for reserved in
        ["nhi:manage", "credentials:manage", "client:register", "vault:read", "audit:read", "admin"]
    {
        assert_eq!(granted(&server, &key, reserved).await, "", "{reserved}");
        assert_eq!(granted(&server, &key, &format!("a {reserved} b")).await, "a b");
    }
}

#[tokio::test]
async fn asking_only_for_reserved_scopes_gives_a_token_that_opens_no_admin_route() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let answer = server.exchange(&key, "nhi:manage credentials:manage").await.expect(200);
    let token = answer.text_of("access_token");
    assert!(server.is_active(token).await);
    server.get("/agents/registry").bearer(token).send().await.expect(403);
}

#[tokio::test]
async fn a_reserved_scope_is_granted_where_the_ceiling_names_it() {
    let server = Server::new().await;
    let key = limited(&server, json!(["nhi:manage", "a"])).await;
    assert_eq!(granted(&server, &key, "nhi:manage credentials:manage").await, "nhi:manage");
    let token = server.token(&key).await;
    server.get("/agents/registry").bearer(&token).send().await.expect(200);
}

#[tokio::test]
async fn a_reserved_scope_needs_the_consent_of_every_layer() {
    let server = Server::new().await;
    let key = limited(&server, json!(["nhi:manage", "a"])).await;
    sql(&server, "update credential_policies set allowed_scopes = array['a', 'b']").await;
    assert_eq!(granted(&server, &key, "nhi:manage a b").await, "a");
    assert_eq!(granted(&server, &key, "nhi:manage").await, "");
}

#[tokio::test]
async fn no_wildcard_and_no_prefix_stands_for_another_scope() {
    let server = Server::new().await;
    let key = limited(&server, json!(["nhi:*", "data:", "*"])).await;
    for asked in ["data:read", "dat", "DATA:", "data"] {
        assert_error(&server.exchange(&key, asked).await, 400, "invalid_scope");
    }
    assert_eq!(granted(&server, &key, "nhi:manage").await, "");
    assert_eq!(granted(&server, &key, "nhi:* data:").await, "nhi:* data:");
}

#[tokio::test]
async fn asking_for_nothing_means_the_whole_of_a_restricting_ceiling() {
    let server = Server::new().await;
    let key = limited(&server, json!(["a", "b"])).await;
    assert_eq!(granted(&server, &key, "").await, "a b");
    assert_eq!(granted(&server, &key, "c b").await, "b");
}

#[tokio::test]
async fn the_keys_own_scopes_narrow() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    sql(&server, "update api_keys set scopes = array['a', 'b']").await;
    assert_eq!(granted(&server, &key, "").await, "a b");
    assert_eq!(granted(&server, &key, "b c nhi:manage").await, "b");
    sql(&server, "update api_keys set scopes = '{}'").await;
    assert_eq!(granted(&server, &key, "c").await, "c");
}

#[tokio::test]
async fn tightening_a_policy_holds_for_keys_that_exist() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    assert_eq!(granted(&server, &key, "a z").await, "a z");
    sql(&server, "update credential_policies set allowed_scopes = array['a', 'b']").await;
    assert_eq!(granted(&server, &key, "a z").await, "a");
}

#[tokio::test]
async fn all_layers_are_intersected_before_the_request_is_applied() {
    let server = Server::new().await;
    let key = limited(&server, json!(["a", "b", "c", "d"])).await;
    sql(&server, "update api_keys set scopes = array['a', 'b', 'c', 'x']").await;
    sql(&server, "update credential_policies set allowed_scopes = array['a', 'b', 'y']").await;
    sql(&server, KEY_POLICY).await;
    sql(&server, "update api_keys set credential_policy_id = '00000000-0000-7000-8000-000000000001'").await;
    assert_eq!(granted(&server, &key, "").await, "b");
    assert_eq!(granted(&server, &key, "a b c d x y z").await, "b");
}

const KEY_POLICY: &str = "insert into credential_policies (id, account_id, project_id, name, max_ttl_seconds,
        allowed_grant_types, allowed_scopes, created_at, updated_at)
    values ('00000000-0000-7000-8000-000000000001', 'acme', 'demo', 'narrow', 3600, array['api_key'],
        array['b', 'z'], now(), now())";

#[tokio::test]
async fn nothing_left_never_becomes_everything() {
    let server = Server::new().await;
    let key = limited(&server, json!(["a"])).await;
    sql(&server, "update api_keys set scopes = array['b']").await;
    sql(&server, "update credential_policies set allowed_scopes = array['a', 'b', 'c']").await;
    assert_eq!(granted(&server, &key, "").await, "");
    let before = credentials(&server).await;
    for asked in ["a", "b", "c", "bogus", "a nhi:manage"] {
        assert_error(&server.exchange(&key, asked).await, 400, "invalid_scope");
    }
    assert_eq!(credentials(&server).await, before);
}

#[tokio::test]
async fn scopes_that_are_none_are_refused() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let (long, many) = ("y".repeat(256), numbered(101));
    for asked in ["a\"b", "a\\b", "a\tb", "a\nb", "ä", "a\u{7f}", long.as_str(), many.as_str()] {
        assert_error(&server.exchange(&key, asked).await, 400, "invalid_scope");
    }
    let edge = numbered(100);
    assert_eq!(granted(&server, &key, &edge).await, edge);
    assert_eq!(granted(&server, &key, &"y".repeat(255)).await.len(), 255);
}

/// This many different scopes.
fn numbered(count: usize) -> String {
    (0..count).map(|number| format!("s{number}")).collect::<Vec<_>>().join(" ")
}
