//! Forward authentication of bound tokens: the proxy tells which request the proof was made for.

use serde_json::json;

use crate::server::{Answer, Call, Server};
use crate::signer::Signer;

const PATH: &str = "/oauth2/token/verify";

/// A proxy that is trusted, and somebody who is not.
const PROXY: &str = "10.0.0.1:50000";
const STRANGER: &str = "203.0.113.9:50000";

async fn server() -> Server {
    Server::with(|config| config.trusted_proxies = "10.0.0.0/8".parse().unwrap()).await
}

/// What a proxy asks about a request to `https://shop.example/orders?open=1`.
fn ask<'a>(server: &'a Server, token: &str, proof: &str) -> Call<'a> {
    let call = server.get(PATH).from(PROXY).with("Authorization", &format!("DPoP {token}"));
    let call = call.with("DPoP", proof).with("X-Forwarded-Method", "PUT").with("X-Forwarded-Proto", "https");
    call.with("X-Forwarded-Host", "shop.example").with("X-Forwarded-Uri", "/orders?open=1")
}

/// A proof for that request, some claims changed.
fn proof(server: &Server, key: &Signer, token: &str, htm: &str, htu: &str) -> String {
    let changes = json!({ "htu": htu, "ath": crate::proof::ath(token) });
    key.proof_with(htm, "", server.app.clock.now(), &changes)
}

#[track_caller]
fn unproven(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 401, "{what}");
    assert_eq!(answer.body, json!({ "error": "invalid_dpop_proof" }), "{what}");
    let challenge = answer.header("www-authenticate");
    assert!(challenge.starts_with("DPoP error=\"invalid_dpop_proof\""), "{what}: {challenge}");
    assert!(challenge.contains("algs=\"ES256 "), "{what}: {challenge}");
    assert_eq!(answer.header("x-forwarded-user"), "", "{what}");
}

const URL: &str = "https://shop.example/orders";

#[tokio::test]
async fn a_bound_token_passes_with_a_proof_for_the_request_that_the_proxy_holds() {
    let server = server().await;
    let (agent, key) = (server.party("fetcher", json!({})).await, Signer::new());
    let token = server.bound(&agent, "a", &key).await;
    let good = proof(&server, &key, &token, "PUT", URL);
    let answer = ask(&server, &token, &good).send().await.expect(200);
    assert_eq!((answer.header("x-forwarded-user"), &answer.body), (&*agent.uri, &json!({ "active": true })));
    unproven(&ask(&server, &token, &good).send().await, "a replay");
    let replica = server.replica().await;
    unproven(&ask(&replica, &token, &good).send().await, "a replay at another server");
    for (what, proof) in [
        ("another method", proof(&server, &key, &token, "GET", URL)),
        ("another path", proof(&server, &key, &token, "PUT", "https://shop.example/prices")),
        ("another host", proof(&server, &key, &token, "PUT", "https://other.example/orders")),
        ("this endpoint", key.proof_for(&token, "GET", PATH, server.app.clock.now())),
        ("another key", proof(&server, &Signer::new(), &token, "PUT", URL)),
        ("another token", proof(&server, &key, "x", "PUT", URL)),
    ] {
        unproven(&ask(&server, &token, &proof).send().await, what);
    }
}

#[tokio::test]
async fn a_bound_token_is_refused_where_nobody_trusted_tells_the_request() {
    let server = server().await;
    let (agent, key) = (server.party("fetcher", json!({})).await, Signer::new());
    let token = server.bound(&agent, "a", &key).await;
    let fresh = || proof(&server, &key, &token, "PUT", URL);
    unproven(&server.get(PATH).bearer(&token).from(PROXY).send().await, "as a bearer");
    unproven(&ask(&server, &token, &fresh()).from(STRANGER).send().await, "a stranger");
    for name in ["X-Forwarded-Method", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Uri"] {
        unproven(&ask(&server, &token, &fresh()).instead(name, "").send().await, name);
        unproven(&ask(&server, &token, &fresh()).with(name, "https").send().await, name);
    }
    for (name, value) in [
        ("X-Forwarded-Host", "shop.example/orders?x="),
        ("X-Forwarded-Host", "user@shop.example"),
        ("X-Forwarded-Uri", "orders"),
        ("X-Forwarded-Uri", "https://shop.example/orders"),
        ("X-Forwarded-Proto", "ftp"),
    ] {
        unproven(&ask(&server, &token, &fresh()).instead(name, value).send().await, value);
    }
    ask(&server, &token, &fresh()).send().await.expect(200);
}

#[tokio::test]
async fn a_token_without_a_key_passes_as_a_bearer_only() {
    let server = server().await;
    let (agent, key) = (server.party("fetcher", json!({})).await, Signer::new());
    let token = server.token(&agent.api_key).await;
    server.get(PATH).bearer(&token).from(STRANGER).send().await.expect(200);
    let answer = ask(&server, &token, &proof(&server, &key, &token, "PUT", URL)).send().await.expect(401);
    assert_eq!(answer.body, json!({ "error": "invalid_token" }));
}
