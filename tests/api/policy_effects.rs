//! What a policy does to issuance: every change of one is felt at the next exchange of a key that exists.

use serde_json::{Value, json};
use time::Duration;

use crate::server::Server;
use crate::tools::{assert_error, credentials};

/// A policy of acme/demo that allows the API key grant, an agent under it, and the agent's key.
async fn under_a_policy(server: &Server, more: Value) -> (String, String, String) {
    let mut body = json!({ "name": "field", "allowed_grant_types": ["api_key"] });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let policy = server.make_policy(body).await.expect(201).text_of("id").to_owned();
    let agent = server.register("fetcher", json!({ "credential_policy_id": policy })).await.expect(201);
    let id = agent.body["identity"]["id"].as_str().unwrap().to_owned();
    assert_eq!(server.read(&id).await["credential_policy_id"], policy);
    (policy, id, agent.text_of("api_key").to_owned())
}

#[tokio::test]
async fn every_rule_refuses_alone_with_its_own_reason_and_only_while_it_stands() {
    let server = Server::new().await;
    let (policy, _, key) = under_a_policy(&server, Value::Null).await;
    let later = json!({ "expires_at": "2026-12-01T12:00:20Z" });
    for (tight, loose, why) in [
        (json!({ "is_active": false }), json!({ "is_active": true }), "is not active"),
        (later, json!({ "expires_at": "" }), "has expired"),
        (
            json!({ "allowed_grant_types": ["jwt_bearer"] }),
            json!({ "allowed_grant_types": ["jwt_bearer", "api_key"] }),
            "does not allow this grant type",
        ),
        (
            json!({ "allowed_grant_types": [] }),
            json!({ "allowed_grant_types": ["api_key"] }),
            "does not allow this grant type",
        ),
        (
            json!({ "required_trust_level": "verified_third_party" }),
            json!({ "required_trust_level": "unverified" }),
            "requires a higher trust level",
        ),
        (
            json!({ "required_attestation": "software" }),
            json!({ "required_attestation": "" }),
            "requires an attestation",
        ),
    ] {
        let old = server.token(&key).await;
        server.change_policy(&policy, tight.clone()).await.expect(200);
        server.app.clock.advance(Duration::seconds(10));
        let before = (credentials(&server).await, server.audited().await);
        let refused = server.exchange(&key, "").await;
        assert_error(&refused, 400, "policy_violation");
        assert_eq!(refused.text_of("error_description"), format!("the credential policy {why}"), "{tight}");
        assert_eq!((credentials(&server).await, server.audited().await), (before.0, before.1 + 1));
        assert!(server.is_active(&old).await, "a policy is asked when a token is issued, not afterwards");
        server.change_policy(&policy, loose).await.expect(200);
        server.exchange(&key, "").await.expect(200);
    }
}

#[tokio::test]
async fn trust_that_is_high_enough_satisfies_the_policy() {
    let server = Server::new().await;
    let (policy, id, key) = under_a_policy(&server, json!({ "required_trust_level": "first_party" })).await;
    for (trust, works) in [("unverified", false), ("verified_third_party", false), ("first_party", true)] {
        server.patch(&id, json!({ "trust_level": trust })).await.expect(200);
        assert_eq!(server.key_works(&key).await, works, "{trust}");
    }
    server.patch(&id, json!({ "trust_level": "verified_third_party" })).await.expect(200);
    server
        .change_policy(&policy, json!({ "required_trust_level": "verified_third_party" }))
        .await
        .expect(200);
    assert!(server.key_works(&key).await);
}

#[tokio::test]
async fn the_lifetime_is_clamped_and_never_refused() {
    let server = Server::new().await;
    let (policy, _, key) = under_a_policy(&server, json!({ "max_ttl_seconds": 86_400 })).await;
    let lives = async || server.exchange(&key, "").await.expect(200).body["expires_in"].as_i64().unwrap();
    assert_eq!(lives().await, 3600, "the server's default is shorter");
    for seconds in [600, 1, 3599] {
        server.change_policy(&policy, json!({ "max_ttl_seconds": seconds })).await.expect(200);
        assert_eq!(lives().await, seconds);
    }
}

#[tokio::test]
async fn scopes_are_narrowed_at_once_for_keys_that_exist() {
    let server = Server::new().await;
    let (policy, _, key) = under_a_policy(&server, json!({ "allowed_scopes": ["a", "b", "c"] })).await;
    let granted =
        async |asked: &str| server.exchange(&key, asked).await.expect(200).text_of("scope").to_owned();
    assert_eq!(granted("").await, "a b c");
    server.change_policy(&policy, json!({ "allowed_scopes": ["c", "a"] })).await.expect(200);
    assert_eq!(granted("a b c").await, "a c");
    server.change_policy(&policy, json!({ "allowed_scopes": ["d"] })).await.expect(200);
    assert_error(&server.exchange(&key, "a").await, 400, "invalid_scope");
    server.change_policy(&policy, json!({ "allowed_scopes": [] })).await.expect(200);
    assert_eq!(granted("a z").await, "a z");
}

#[tokio::test]
async fn both_policies_of_a_key_count_whatever_became_of_them_since() {
    let server = Server::new().await;
    let (wide, id, _) = under_a_policy(&server, json!({ "max_ttl_seconds": 900 })).await;
    let narrow = json!({ "name": "narrow", "allowed_grant_types": ["api_key"], "max_ttl_seconds": 300,
        "allowed_scopes": ["a", "b"] });
    let narrow = server.make_policy(narrow).await.expect(201).text_of("id").to_owned();
    let made =
        server.make_key(json!({ "name": "k", "identity_id": id, "credential_policy_id": narrow })).await;
    let key = made.expect(201).text_of("key").to_owned();
    let issued = async || server.exchange(&key, "").await.expect(200).body;
    assert_eq!((&issued().await["expires_in"], &issued().await["scope"]), (&json!(300), &json!("a b")));
    // The identity's may become the narrower one, and the key's the wider one.
    server
        .change_policy(&wide, json!({ "max_ttl_seconds": 60, "allowed_scopes": ["b", "c"] }))
        .await
        .expect(200);
    assert_eq!((&issued().await["expires_in"], &issued().await["scope"]), (&json!(60), &json!("b")));
    for policy in [&wide, &narrow] {
        server.change_policy(policy, json!({ "allowed_grant_types": [] })).await.expect(200);
        assert_error(&server.exchange(&key, "").await, 400, "policy_violation");
        server.change_policy(policy, json!({ "allowed_grant_types": ["api_key"] })).await.expect(200);
    }
    assert_eq!(issued().await["scope"], "b");
}

#[tokio::test]
async fn the_default_policy_holds_for_all_who_name_none() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let policy = server.default_policy().await;
    server.change_policy(&policy, json!({ "is_active": false })).await.expect(200);
    assert_error(&server.exchange(&key, "").await, 400, "policy_violation");
    // It is still there, so a further agent is under it too.
    let (_, other) = server.agent("other").await;
    assert!(!server.key_works(&other).await);
    server.change_policy(&policy, json!({ "is_active": true })).await.expect(200);
    assert!(server.key_works(&key).await && server.key_works(&other).await);
}

#[tokio::test]
async fn a_policy_that_is_missing_is_a_fault_and_no_free_pass() {
    let server = Server::new().await;
    let (policy, id, _) = under_a_policy(&server, Value::Null).await;
    let narrow = json!({ "name": "narrow", "allowed_grant_types": ["api_key"] });
    let narrow = server.make_policy(narrow).await.expect(201).text_of("id").to_owned();
    let made =
        server.make_key(json!({ "name": "k", "identity_id": id, "credential_policy_id": narrow })).await;
    let key = made.expect(201).text_of("key").to_owned();
    for gone in [narrow, policy] {
        let row = format!(
            "update credential_policies set id = gen_random_uuid() where id = '{gone}' returning id::text"
        );
        let moved = server.text_from_sql(row).await;
        assert_eq!(server.exchange(&key, "").await.status, 500);
        server.run_sql(format!("update credential_policies set id = '{gone}' where id = '{moved}'")).await;
        server.exchange(&key, "").await.expect(200);
    }
}
