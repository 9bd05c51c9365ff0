//! What becomes of a client at the token endpoint when an administrator changes or ends it.

use serde_json::{Value, json};
use time::Duration;

use crate::party::Program;
use crate::server::Server;

/// An agent and a client bound to it.
async fn program(server: &Server) -> Program {
    let (agent, _) = server.agent("fetcher").await;
    server.program("worker", &agent, Value::Null).await
}

/// The same client with another secret.
fn with_secret(program: &Program, secret: &str) -> Program {
    Program { id: program.id.clone(), client_id: program.client_id.clone(), secret: secret.to_owned() }
}

const UNKNOWN: (u16, &str) = (401, "invalid_client");

#[tokio::test]
async fn both_secrets_obtain_tokens_until_the_overlap_ends() {
    let server = Server::new().await;
    let old = program(&server).await;
    let before = server.client_credentials(&old, "").await.token();
    let rotated = server.act_on_client(&old.id, "rotate-secret", Value::Null).await.expect(200);
    let new = with_secret(&old, rotated.text_of("client_secret"));
    let within = server.client_credentials(&old, "").await.token();
    server.client_credentials(&new, "").await.token();
    server.app.clock.advance(Duration::seconds(3599));
    server.client_credentials(&old, "").await.token();
    assert!(server.is_active(&before).await && server.is_active(&within).await, "tokens live on");
    server.app.clock.advance(Duration::seconds(1));
    assert_eq!(server.client_credentials(&old, "").await.refusal(), UNKNOWN);
    server.client_credentials(&new, "").await.token();
}

#[tokio::test]
async fn a_client_that_is_off_or_gone_obtains_nothing_and_is_told_no_more_than_a_stranger() {
    let server = Server::new().await;
    let program = program(&server).await;
    let stranger = with_secret(&program, "wrong");
    let told = server.client_credentials(&stranger, "").await;
    let token = server.client_credentials(&program, "").await.token();
    server.patch_client(&program.id, json!({ "is_active": false })).await.expect(200);
    let off = server.client_credentials(&program, "").await;
    assert_eq!((off.refusal(), &off.text), (UNKNOWN, &told.text));
    let form = [("token", &*token), ("client_id", "worker"), ("client_secret", &program.secret)];
    let looked = server.post("/oauth2/token/introspect").form(&form).send().await;
    assert_eq!(looked.refusal(), UNKNOWN);
    assert!(!server.is_active(&token).await);
    server.patch_client(&program.id, json!({ "is_active": true })).await.expect(200);
    let fresh = server.client_credentials(&program, "").await.token();
    assert!(server.is_active(&fresh).await && !server.is_active(&token).await);
    server.admin("DELETE", &format!("/oauth/clients/{}", program.id)).send().await.expect(200);
    let gone = server.client_credentials(&program, "").await;
    assert_eq!((gone.refusal(), &gone.text), (UNKNOWN, &told.text));
    assert!(!server.is_active(&fresh).await);
    // A new client of the name is another client.
    let (agent, _) = server.agent("second").await;
    let next = server.program("worker", &agent, Value::Null).await;
    assert_eq!(server.client_credentials(&program, "").await.refusal(), UNKNOWN);
    assert!(server.is_active(&server.client_credentials(&next, "").await.token()).await);
    assert!(!server.is_active(&fresh).await);
}

#[tokio::test]
async fn what_was_derived_ends_with_what_it_was_derived_from() {
    let server = Server::new().await;
    let program = program(&server).await;
    let actor = server.party("actor", Value::Null).await;
    for (number, path) in ["revoke-tokens", "pattern"].into_iter().enumerate() {
        let token = server.client_credentials(&program, "a b").await.token();
        let child = server.delegate(&token, &actor, "a").await.token();
        let own = server.token(&actor.api_key).await;
        assert!(server.is_active(&child).await);
        let answer = if path == "pattern" {
            let body = json!({ "client_id_pattern": "work[a-f]r" });
            server.admin("POST", "/admin/oauth/revoke-by-pattern").json(body).send().await
        } else {
            server.act_on_client(&program.id, path, Value::Null).await
        };
        assert_eq!(answer.expect(200).body["revoked_count"], 2, "with what hangs below: {path}");
        assert!(!server.is_active(&token).await && !server.is_active(&child).await, "{path}");
        assert_eq!(server.delegate(&token, &actor, "a").await.refusal(), (400, "invalid_grant"), "{path}");
        assert!(server.is_active(&own).await, "the actor's own is no part of it");
        let epoch = i64::try_from(number).unwrap() + 1;
        assert_eq!(server.count("select epoch::bigint from oauth_clients").await, epoch);
    }
    assert!(server.is_active(&server.client_credentials(&program, "").await.token()).await);
}

#[tokio::test]
async fn a_change_holds_for_the_next_token() {
    let server = Server::new().await;
    let program = program(&server).await;
    let scope = |answer: crate::server::Answer| answer.expect(200).text_of("scope").to_owned();
    assert_eq!(scope(server.client_credentials(&program, "").await), "a b c");
    server.patch_client(&program.id, json!({ "scopes": ["b"] })).await.expect(200);
    assert_eq!(scope(server.client_credentials(&program, "a b").await), "b");
    assert_eq!(server.client_credentials(&program, "a").await.refusal(), (400, "invalid_scope"));
    server.patch_client(&program.id, json!({ "scopes": [] })).await.expect(200);
    for asked in ["", "a", "nhi:manage"] {
        assert_eq!(
            server.client_credentials(&program, asked).await.refusal(),
            (400, "invalid_scope"),
            "{asked}"
        );
    }
    let without = json!({ "scopes": ["a"], "grant_types": ["token_exchange"] });
    server.patch_client(&program.id, without).await.expect(200);
    assert_eq!(server.client_credentials(&program, "").await.refusal(), (400, "unauthorized_client"));
    server.patch_client(&program.id, json!({ "grant_types": ["client_credentials"] })).await.expect(200);
    assert_eq!(scope(server.client_credentials(&program, "").await), "a");
}
