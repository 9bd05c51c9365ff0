//! Possession in token exchange: a binding is never dropped, and nobody exchanges what is bound to another's key.

use serde_json::{Value, json};

use crate::server::{Answer, Server};
use crate::signer::Signer;
use crate::tools::{assert_error, claims};

#[track_caller]
fn unproven(answer: &Answer) {
    assert_error(answer, 400, "invalid_dpop_proof");
}

async fn may_act(server: &Server, from: &str, to: &str, more: Value) {
    let mut body = json!({ "from_id": from, "to_id": to });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.admin("POST", "/admin/may-act").json(body).send().await.expect(201);
}

#[tokio::test]
async fn a_bound_subject_is_exchanged_with_a_proof_of_its_key() {
    let server = Server::new().await;
    let (planner, fetcher) =
        (server.party("planner", json!({})).await, server.party("fetcher", json!({})).await);
    let (key, other) = (Signer::new(), Signer::new());
    let subject = server.bound(&planner, "a", &key).await;
    unproven(&server.exchange_by(&subject, &fetcher, "a", None).await);
    unproven(&server.exchange_by(&subject, &fetcher, "a", Some(&server.proof(&other))).await);
    let child = server.exchange_by(&subject, &fetcher, "a", Some(&server.proof(&key))).await.expect(200);
    assert_eq!(child.text_of("token_type"), "DPoP");
    assert_eq!(claims(&child.token())["cnf"], json!({ "jkt": key.jkt() }));
}

#[tokio::test]
async fn an_unbound_subject_may_be_bound_by_the_actor() {
    let server = Server::new().await;
    let (planner, fetcher) =
        (server.party("planner", json!({})).await, server.party("fetcher", json!({})).await);
    let key = Signer::new();
    let subject = server.exchange(&planner.api_key, "a").await.token();
    let child = server.exchange_by(&subject, &fetcher, "a", Some(&server.proof(&key))).await.token();
    assert_eq!(claims(&child)["cnf"], json!({ "jkt": key.jkt() }));
    unproven(&server.exchange_by(&child, &planner, "a", None).await);
}

#[tokio::test]
async fn under_a_may_act_grant_the_actor_proves_a_key_of_its_own() {
    let server = Server::new().await;
    let (planner, fetcher) =
        (server.party("planner", json!({})).await, server.party("fetcher", json!({})).await);
    let (key, own) = (Signer::new(), Signer::new());
    let subject = server.bound(&planner, "a b", &key).await;
    may_act(&server, &fetcher.id, &planner.id, json!({ "scopes": ["a"] })).await;
    unproven(&server.exchange_by(&subject, &fetcher, "a", None).await);
    let child = server.exchange_by(&subject, &fetcher, "a b", Some(&server.proof(&own))).await.token();
    assert_eq!(claims(&child)["cnf"], json!({ "jkt": own.jkt() }));
    assert_eq!(claims(&child)["scopes"], json!(["a"]), "the grant by which it holds is its ceiling");
    // Another agent that holds the token has no grant.
    let thief = server.party("thief", json!({})).await;
    unproven(&server.exchange_by(&subject, &thief, "a", Some(&server.proof(&own))).await);
    server.run_sql("update may_act_grants set revoked_at = now()").await;
    unproven(&server.exchange_by(&subject, &fetcher, "a", Some(&server.proof(&own))).await);
}

#[tokio::test]
async fn a_grant_with_no_hops_left_does_not_stand_in_for_the_key() {
    let server = Server::new().await;
    let (planner, fetcher) =
        (server.party("planner", json!({})).await, server.party("fetcher", json!({})).await);
    let (key, own) = (Signer::new(), Signer::new());
    let root = server.bound(&planner, "a", &key).await;
    let child = server.exchange_by(&root, &fetcher, "a", Some(&server.proof(&key))).await.token();
    let writer = server.party("writer", json!({})).await;
    may_act(&server, &writer.id, &fetcher.id, json!({ "max_hops": 1 })).await;
    unproven(&server.exchange_by(&child, &writer, "a", Some(&server.proof(&own))).await);
    may_act(&server, &writer.id, &fetcher.id, json!({ "max_hops": 2 })).await;
    server.exchange_by(&child, &writer, "a", Some(&server.proof(&own))).await.expect(200);
}

#[tokio::test]
async fn a_client_that_narrows_its_own_token_proves_the_tokens_key() {
    let server = Server::new().await;
    let planner = server.party("planner", json!({})).await;
    let program = server.program("planner-app", &planner.id, json!({})).await;
    let (key, other) = (Signer::new(), Signer::new());
    let subject = server.bound(&planner, "a b", &key).await;
    unproven(&server.exchange_as(&subject, &program, "a", None).await);
    unproven(&server.exchange_as(&subject, &program, "a", Some(&server.proof(&other))).await);
    let child = server.exchange_as(&subject, &program, "a", Some(&server.proof(&key))).await.token();
    assert_eq!(claims(&child)["cnf"], json!({ "jkt": key.jkt() }));
}

#[tokio::test]
async fn a_client_under_a_grant_binds_to_its_own_key() {
    let server = Server::new().await;
    let (planner, fetcher) =
        (server.party("planner", json!({})).await, server.party("fetcher", json!({})).await);
    let program = server.program("fetcher-app", &fetcher.id, json!({})).await;
    let (key, own) = (Signer::new(), Signer::new());
    let subject = server.bound(&planner, "a", &key).await;
    assert_error(
        &server.exchange_as(&subject, &program, "a", Some(&server.proof(&key))).await,
        403,
        "access_denied",
    );
    may_act(&server, "fetcher-app", &planner.id, json!({})).await;
    unproven(&server.exchange_as(&subject, &program, "a", None).await);
    let child = server.exchange_as(&subject, &program, "a", Some(&server.proof(&own))).await.token();
    assert_eq!(claims(&child)["cnf"], json!({ "jkt": own.jkt() }));
}

/// The claim says who alone may act; it is no grant, and does not stand in for the key.
#[tokio::test]
async fn a_may_act_claim_does_not_stand_in_for_the_key() {
    let server = Server::new().await;
    let (planner, fetcher) =
        (server.party("planner", json!({})).await, server.party("fetcher", json!({})).await);
    let (key, own) = (Signer::new(), Signer::new());
    let jwk = json!({ "new_public_jwk": key.jwk() });
    server
        .admin("POST", &format!("/agents/{}/rotate-dpop-key", planner.id))
        .json(jwk)
        .send()
        .await
        .expect(200);
    let body = json!({ "identity_id": planner.id, "scopes": ["a"], "may_act": { "sub": fetcher.uri } });
    let issued = server.admin("POST", "/credentials/issue").json(body).send().await.expect(201);
    let subject = issued.body["token"]["access_token"].as_str().unwrap().to_owned();
    assert_eq!(claims(&subject)["cnf"], json!({ "jkt": key.jkt() }), "issued to the registered key");
    unproven(&server.exchange_by(&subject, &fetcher, "a", Some(&server.proof(&own))).await);
    server.exchange_by(&subject, &fetcher, "a", Some(&server.proof(&key))).await.expect(200);
}

#[tokio::test]
async fn a_rotated_credential_keeps_its_key() {
    let server = Server::new().await;
    let (planner, key) = (server.party("planner", json!({})).await, Signer::new());
    let token = server.bound(&planner, "a", &key).await;
    let jti = claims(&token)["jti"].as_str().unwrap().to_owned();
    let answer = server.admin("POST", &format!("/credentials/{jti}/rotate")).send().await.expect(201);
    let next = answer.body["token"]["access_token"].as_str().unwrap();
    assert_eq!(claims(next)["cnf"], json!({ "jkt": key.jkt() }));
    assert_eq!(server.introspect(next).await["token_type"], "DPoP");
}
