//! Credentials that an administrator issues and rotates.

use serde_json::{Value, json};

use crate::server::{Answer, Server};
use crate::tools::{claims, credentials};

async fn issue(server: &Server, body: Value) -> Answer {
    server.admin("POST", "/credentials/issue").json(body).send().await
}

async fn rotate(server: &Server, jti: &str) -> Answer {
    server.admin("POST", &format!("/credentials/{jti}/rotate")).json(json!({})).send().await
}

fn token(answer: &Answer) -> &str {
    answer.body["token"]["access_token"].as_str().unwrap()
}

fn jti(answer: &Answer) -> &str {
    answer.body["credential"]["jti"].as_str().unwrap()
}

#[tokio::test]
async fn an_administrator_issues_a_credential_for_an_agent() {
    let server = Server::new().await;
    let (id, _) = server.agent_with_scopes("worker", &["a", "b"]).await;
    let body = json!({ "identity_id": id, "scopes": ["a"], "ttl_seconds": 600, "grant_type": "api_key" });
    let answer = issue(&server, body).await.expect(201);
    assert_eq!(answer.header("cache-control"), "no-store");
    let claims = claims(token(&answer));
    assert_eq!((&claims["scopes"], &claims["grant_type"]), (&json!(["a"]), &json!("api_key")));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    assert_eq!(answer.body["credential"]["identity_id"], id);
    assert_eq!(answer.body["credential"]["ttl_seconds"], 600);
    assert!(server.is_active(token(&answer)).await);
    let plain = issue(&server, json!({ "identity_id": id })).await.expect(201);
    assert_eq!(plain.body["credential"]["grant_type"], "client_credentials");
    assert_eq!(plain.body["credential"]["scopes"], json!(["a", "b"]), "none named is all that it may");
    let rows = server.audit().await;
    let told =
        rows.iter().filter(|(action, outcome, ..)| action == "credential.issued" && outcome == "success");
    assert_eq!(told.count(), 2, "one row each");
}

#[tokio::test]
async fn what_may_not_be_issued_is_refused_and_leaves_its_row() {
    let server = Server::new().await;
    let (id, _) = server.agent_with_scopes("worker", &["a"]).await;
    let (other, _) = server.agent("sleeper").await;
    server.force_status(&other, "suspended").await;
    let tenant = server.call("POST", "/agents/register").tenant("other", "demo");
    let new = json!({ "name": "Foreign", "external_id": "foreign", "created_by": "x" });
    let foreign = tenant.json(new).send().await.expect(201);
    let foreign = foreign.body["identity"]["id"].as_str().unwrap().to_owned();
    let before = (credentials(&server).await, server.audited().await);
    for (status, body) in [
        (404, json!({ "identity_id": foreign })),
        (404, json!({ "identity_id": "01890000-0000-7000-8000-000000000000" })),
        (422, json!({ "identity_id": "x" })),
        (422, json!({})),
        (400, json!({ "identity_id": other })),
        (400, json!({ "identity_id": id, "scopes": ["z"] })),
        (400, json!({ "identity_id": id, "grant_type": "password" })),
        (403, json!({ "identity_id": id, "grant_type": "authorization_code" })),
        (400, json!({ "identity_id": id, "ttl_seconds": -1 })),
        (400, json!({ "identity_id": id, "audience": ["with space"] })),
        (400, json!({ "identity_id": id, "audience": [""] })),
    ] {
        issue(&server, body).await.problem(status);
    }
    let after = (credentials(&server).await, server.audited().await);
    assert_eq!((after.0 - before.0, after.1 - before.1), (0, 11));
    let long =
        issue(&server, json!({ "identity_id": id, "ttl_seconds": 99_999_999_999_i64 })).await.expect(201);
    assert_eq!(long.body["credential"]["ttl_seconds"], 3600, "the policy clamps it");
}

#[tokio::test]
async fn nobody_issues_or_rotates_a_reserved_scope_that_he_does_not_hold() {
    let server = Server::new().await;
    let (id, _) = server.agent_with_scopes("worker", &["vault:read", "a"]).await;
    let held = issue(&server, json!({ "identity_id": id })).await.expect(201);
    let key = server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await;
    let call = |path: String, body: Value| server.post(&path).bearer(&key).json(body);
    call("/credentials/issue".into(), json!({ "identity_id": id })).send().await.problem(403);
    call("/credentials/issue".into(), json!({ "identity_id": id, "scopes": ["a"] })).send().await.expect(201);
    call(format!("/credentials/{}/rotate", jti(&held)), json!({})).send().await.problem(403);
    assert!(server.is_active(token(&held)).await, "a refused rotation ends nothing");
}

#[tokio::test]
async fn rotation_ends_the_old_credential_with_what_hangs_below_and_keeps_what_it_was() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let agent = server.party("worker", json!({ "allowed_scopes": ["a", "b"] })).await;
    let old = server.exchange(&agent.api_key, "a").await.token();
    let child = server.delegate(&old, &agent, "a").await.token();
    let id = claims(&old)["jti"].as_str().unwrap().to_owned();
    let new = rotate(&server, &id).await.expect(201);
    let claims = claims(token(&new));
    assert_eq!((&claims["scopes"], &claims["grant_type"]), (&json!(["a"]), &json!("api_key")));
    assert_eq!(claims["mission_id"], claims["jti"], "it is a root of its own");
    for (token, stands) in [(old.as_str(), false), (&child, false), (token(&new), true)] {
        assert_eq!(replica.is_active(token).await, stands);
    }
    let shown = server.admin("GET", &format!("/credentials/{id}")).send().await.expect(200);
    assert_eq!((&shown.body["is_revoked"], &shown.body["revoke_reason"]), (&json!(true), &json!("rotated")));
    rotate(&server, &id).await.problem(409);
    server
        .run_sql(format!("update api_keys set revoked_at = now() where identity_id = '{}'", agent.id))
        .await;
    assert!(!server.is_active(token(&new)).await, "it rests on the same key");
}

#[tokio::test]
async fn what_was_delegated_has_ended_or_is_unknown_cannot_be_rotated() {
    let server = Server::new().await;
    let agent = server.party("worker", json!({})).await;
    let root = server.exchange(&agent.api_key, "a").await.token();
    let child = server.delegate(&root, &agent, "a").await.token();
    let of = |token: &str| claims(token)["jti"].as_str().unwrap().to_owned();
    rotate(&server, &of(&child)).await.problem(409);
    rotate(&server, "01890000-0000-7000-8000-000000000000").await.problem(404);
    let path = format!("/credentials/{}/rotate", of(&root));
    server.post(&path).tenant("other", "demo").json(json!({})).send().await.problem(404);
    assert!(server.is_active(&child).await);
    server.app.clock.advance(time::Duration::hours(2));
    rotate(&server, &of(&root)).await.problem(409);
}

#[tokio::test]
async fn a_policy_that_forbids_the_new_one_leaves_the_old_one_alone() {
    let server = Server::new().await;
    let (id, _) = server.agent_with_scopes("worker", &["a"]).await;
    let old = issue(&server, json!({ "identity_id": id, "grant_type": "api_key" })).await.expect(201);
    server.run_sql("update credential_policies set allowed_grant_types = '{jwt_bearer}'").await;
    rotate(&server, jti(&old)).await.problem(403);
    assert!(server.is_active(token(&old)).await);
}
