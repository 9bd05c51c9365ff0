//! Rotation of secrets, deletion, and the end of a client's tokens.

use serde_json::{Value, json};
use time::Duration;

use crate::clients::{assert_without_null, jwk};
use crate::server::Server;

#[tokio::test]
async fn the_old_secret_works_until_the_overlap_ends() {
    let server = Server::new().await;
    let (id, old) = server.confidential("worker").await;
    server.app.clock.advance(Duration::seconds(5));
    let rotated = server.act_on_client(&id, "rotate-secret", Value::Null).await.expect(200);
    assert_without_null(&rotated.body);
    let new = rotated.text_of("client_secret");
    assert!(new.len() == 64 && new != old);
    let client = &rotated.body["client"];
    assert_eq!(client["old_secret_until"], "2026-12-01T13:00:05.123456Z");
    assert_eq!(client["updated_at"], "2026-12-01T12:00:05.123456Z");
    assert_eq!(server.read_client(&id).await, *client);
    server.app.clock.advance(Duration::seconds(3599));
    assert!(server.secret_works("worker", &old).await && server.secret_works("worker", new).await);
    server.app.clock.advance(Duration::seconds(1));
    assert!(!server.secret_works("worker", &old).await && server.secret_works("worker", new).await);
}

#[tokio::test]
async fn two_rotations_within_the_overlap_leave_the_last_two_secrets() {
    let server = Server::new().await;
    let (id, first) = server.confidential("worker").await;
    let mut rotate = Vec::new();
    for _ in 0..2 {
        let answer = server.act_on_client(&id, "rotate-secret", json!({})).await.expect(200);
        rotate.push(answer.text_of("client_secret").to_owned());
    }
    assert!(!server.secret_works("worker", &first).await);
    assert!(
        server.secret_works("worker", &rotate[0]).await && server.secret_works("worker", &rotate[1]).await
    );
}

#[tokio::test]
async fn a_caller_may_shorten_the_overlap_and_not_lengthen_it() {
    let server = Server::with(|config| config.clients.secret_overlap_seconds = 60).await;
    let (id, first) = server.confidential("worker").await;
    for (overlap, status) in [
        (json!(61), 400),
        (json!(u32::MAX), 400),
        (json!(-1), 422),
        (json!(4_294_967_296_u64), 422),
        (json!("60"), 422),
        (json!(0.5), 422),
    ] {
        let before = server.everything().await;
        server
            .act_on_client(&id, "rotate-secret", json!({ "overlap_seconds": overlap }))
            .await
            .problem(status);
        assert_eq!(server.everything().await, before, "{overlap}");
    }
    let second =
        server.act_on_client(&id, "rotate-secret", json!({ "overlap_seconds": 10 })).await.expect(200);
    server.app.clock.advance(Duration::seconds(9));
    assert!(server.secret_works("worker", &first).await);
    server.app.clock.advance(Duration::seconds(1));
    assert!(!server.secret_works("worker", &first).await);
    // A secret that leaked is ended at once, with the one before it.
    let third = server.act_on_client(&id, "rotate-secret", json!({ "overlap_seconds": 0 })).await.expect(200);
    assert!(!server.secret_works("worker", second.text_of("client_secret")).await);
    assert!(server.secret_works("worker", third.text_of("client_secret")).await);
    assert!(third.body["client"].get("old_secret_until").is_none());
}

#[tokio::test]
async fn a_server_without_overlap_ends_the_old_secret_at_once() {
    let server = Server::with(|config| config.clients.secret_overlap_seconds = 0).await;
    let (id, old) = server.confidential("worker").await;
    let new = server.act_on_client(&id, "rotate-secret", Value::Null).await.expect(200);
    assert!(!server.secret_works("worker", &old).await);
    assert!(server.secret_works("worker", new.text_of("client_secret")).await);
}

#[tokio::test]
async fn a_client_without_a_secret_has_none_to_rotate() {
    let server = Server::new().await;
    let keyed = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [jwk()] } });
    for (name, more) in [("public", Value::Null), ("keyed", keyed)] {
        let answer = server.register_client(name, more).await.expect(201);
        let id = answer.body["client"]["id"].as_str().unwrap();
        let before = server.everything().await;
        let refused = server.act_on_client(id, "rotate-secret", Value::Null).await.problem(400);
        assert!(refused.text_of("detail").contains("no secret"), "{}", refused.text);
        assert_eq!(server.everything().await, before);
    }
}

#[tokio::test]
async fn a_rotation_leaves_tokens_alone_and_a_revocation_ends_them() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let (id, secret) = server.confidential("worker").await;
    server.confidential("bystander").await;
    let (first, second) =
        (server.token_of_client(&key, "worker").await, server.token_of_client(&key, "worker").await);
    let others = server.token_of_client(&key, "bystander").await;
    server.act_on_client(&id, "rotate-secret", Value::Null).await.expect(200);
    assert!(server.is_active(&first).await);
    let answer = server.act_on_client(&id, "revoke-tokens", json!({ "reason": "drill" })).await.expect(200);
    assert_eq!(answer.body, json!({ "id": id, "revoked_count": 2 }));
    assert!(!server.is_active(&first).await && !server.is_active(&second).await);
    assert!(server.is_active(&others).await);
    let reasons = "select string_agg(distinct ended_reason, ',') from credential_history where is_revoked";
    assert_eq!(server.text_from_sql(reasons).await, "drill");
    // The client itself stands: it may obtain new ones, and its secret is good.
    let fresh = server.token_of_client(&key, "worker").await;
    assert!(server.secret_works("worker", &secret).await);
    let answer = server.act_on_client(&id, "revoke-tokens", Value::Null).await.expect(200);
    assert_eq!(answer.body["revoked_count"], 1);
    assert!(!server.is_active(&fresh).await);
    let reason = "select reason from revocations order by epoch desc limit 1";
    assert_eq!(server.text_from_sql(reason).await, "client_tokens_revoked");
    let again = server.act_on_client(&id, "revoke-tokens", json!({})).await.expect(200);
    assert_eq!(again.body["revoked_count"], 0);
    server.act_on_client(&id, "revoke-tokens", json!({ "reason": "x".repeat(4097) })).await.problem(400);
}

#[tokio::test]
async fn a_deleted_client_is_gone_with_its_tokens_and_its_name_is_free() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let (id, secret) = server.confidential("worker").await;
    let token = server.token_of_client(&key, "worker").await;
    let gone = server.admin("DELETE", &format!("/oauth/clients/{id}")).send().await.expect(200);
    assert_eq!(gone.body, json!({ "deleted": true, "id": id }));
    assert!(!server.is_active(&token).await);
    assert!(!server.secret_works("worker", &secret).await);
    assert!(server.client_evidence("worker").await.is_none());
    assert_eq!(server.listed_clients().await, Vec::<String>::new());
    let before = server.everything().await;
    for (method, action) in
        [("GET", ""), ("DELETE", ""), ("POST", "/rotate-secret"), ("POST", "/revoke-tokens")]
    {
        server.admin(method, &format!("/oauth/clients/{id}{action}")).send().await.problem(404);
    }
    server.patch_client(&id, json!({ "is_active": true })).await.problem(404);
    assert_eq!(server.everything().await, before);
    let history = "select ended_reason from credential_history where is_revoked";
    assert_eq!(server.text_from_sql(history).await, "client_deleted");
    let (next, other) = server.confidential("worker").await;
    assert_ne!(next, id);
    assert!(server.secret_works("worker", &other).await && !server.secret_works("worker", &secret).await);
    assert!(!server.is_active(&token).await, "the new client's row is another");
    // The same name again and again.
    server.admin("DELETE", &format!("/oauth/clients/{next}")).send().await.expect(200);
    server.confidential("worker").await;
}

#[tokio::test]
async fn a_deactivated_client_loses_its_tokens_for_good() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let (id, secret) = server.confidential("worker").await;
    let token = server.token_of_client(&key, "worker").await;
    let answer = server.patch_client(&id, json!({ "is_active": false })).await.expect(200);
    assert_eq!(answer.body["is_active"], false);
    assert!(!server.is_active(&token).await);
    assert!(!server.client_evidence("worker").await.unwrap().client.is_active);
    let marks = "select count(*) from revocations where reason = 'client_deactivated'";
    assert_eq!(server.count(marks).await, 1);
    // Again, it changes nothing more.
    server.patch_client(&id, json!({ "is_active": false })).await.expect(200);
    assert_eq!(server.count(marks).await, 1);
    let answer = server.patch_client(&id, json!({ "is_active": true })).await.expect(200);
    assert_eq!(answer.body["is_active"], true);
    assert!(server.client_evidence("worker").await.unwrap().client.is_active);
    assert!(server.secret_works("worker", &secret).await);
    assert!(!server.is_active(&token).await, "what was ended stays ended");
    assert!(server.is_active(&server.token_of_client(&key, "worker").await).await);
}
