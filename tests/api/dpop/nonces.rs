//! Nonces of the server (RFC 9449 section 8): any server knows them, and only clients that asked for them are asked.

use serde_json::{Value, json};
use time::Duration;

use super::TOKEN;
use crate::party::Program;
use crate::server::{Answer, Server};
use crate::signer::Signer;
use crate::tools::{assert_error, claims};

async fn ask(server: &Server, program: &Program, proof: &str) -> Answer {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", program.client_id.as_str()),
        ("client_secret", &program.secret),
        ("scope", "a"),
    ];
    server.post(TOKEN).form(&form).with("DPoP", proof).send().await
}

fn with_nonce(server: &Server, key: &Signer, nonce: &str) -> String {
    server.proof_with(key, &json!({ "nonce": nonce }))
}

#[track_caller]
fn asked(answer: &Answer) -> String {
    assert_error(answer, 400, "use_dpop_nonce");
    let nonce = answer.header("dpop-nonce");
    assert_eq!(nonce.len(), 43);
    nonce.to_owned()
}

/// A client that registered for nonces.
async fn program(server: &Server) -> Program {
    let agent = server.party("planner", Value::Null).await;
    server.program("planner-app", &agent.id, json!({ "dpop_nonce_required": true })).await
}

#[tokio::test]
async fn rfc9449_s8_a_client_that_wants_nonces_is_asked_and_tries_again() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (program, key) = (program(&server).await, Signer::new());
    let nonce = asked(&ask(&server, &program, &server.proof(&key)).await);
    let answer = ask(&replica, &program, &with_nonce(&server, &key, &nonce)).await.expect(200);
    assert_eq!(claims(answer.body["access_token"].as_str().unwrap())["cnf"]["jkt"], json!(key.jkt()));
    // RFC 9449 section 8.2: the next one comes with the answer.
    assert_eq!(answer.header("dpop-nonce"), nonce);
    server.app.clock.advance(Duration::seconds(150));
    let answer = ask(&server, &program, &with_nonce(&server, &key, &nonce)).await.expect(200);
    let next = answer.header("dpop-nonce").to_owned();
    assert_ne!(next, nonce);
    ask(&replica, &program, &with_nonce(&server, &key, &next)).await.expect(200);
    server.app.clock.advance(Duration::seconds(150));
    let fresh = asked(&ask(&server, &program, &with_nonce(&server, &key, &nonce)).await);
    ask(&server, &program, &with_nonce(&server, &key, &fresh)).await.expect(200);
}

#[tokio::test]
async fn an_invented_nonce_is_refused_and_a_proof_of_a_refused_request_may_come_again() {
    let server = Server::new().await;
    let (program, key) = (program(&server).await, Signer::new());
    for invented in ["", "x", &"A".repeat(43)] {
        asked(&ask(&server, &program, &with_nonce(&server, &key, invented)).await);
    }
    assert_eq!(server.count("select count(*) from used_once").await, 0);
    assert_eq!(server.count("select count(*) from credentials").await, 0);
    let other = Server::new().await;
    let foreign = other.app.keys.nonce(other.app.clock.now()).unwrap();
    asked(&ask(&server, &program, &with_nonce(&server, &key, &foreign)).await);
}

#[tokio::test]
async fn whoever_did_not_ask_is_never_asked() {
    let server = Server::new().await;
    let (agent, key) = (server.party("planner", json!({})).await, Signer::new());
    let program = server.program("planner-app", &agent.id, json!({})).await;
    let answer = ask(&server, &program, &server.proof(&key)).await.expect(200);
    assert_eq!(answer.header("dpop-nonce"), "");
    let answer = server.prove(&agent.api_key, "a", &server.proof(&key)).await.expect(200);
    assert_eq!(answer.header("dpop-nonce"), "");
    // Whoever sends one knows them: it has to be good, and the next one comes back.
    let nonce = asked(&server.prove(&agent.api_key, "a", &with_nonce(&server, &key, "x")).await);
    let answer = server.prove(&agent.api_key, "a", &with_nonce(&server, &key, &nonce)).await.expect(200);
    assert_eq!(answer.header("dpop-nonce"), nonce);
    // Without a proof there is nothing to repeat a nonce in.
    server.client_credentials(&program, "a").await.expect(200);
}

#[tokio::test]
async fn rfc9449_s9_a_nonce_in_a_proof_at_our_own_endpoints_is_checked_too() {
    const PATH: &str = "/agents/registry";
    let server = Server::new().await;
    let (agent, key) = (server.administrator().await, Signer::new());
    let token = server.bound(&agent, "nhi:manage", &key).await;
    let look = async |nonce: &str| {
        let changes = json!({ "ath": crate::proof::ath(&token), "nonce": nonce });
        let proof = key.proof_with("GET", PATH, server.app.clock.now(), &changes);
        server.get(PATH).with("Authorization", &format!("DPoP {token}")).with("DPoP", &proof).send().await
    };
    let before = server.audited().await;
    let answer = look("x").await.expect(401);
    assert!(answer.header("www-authenticate").starts_with("DPoP error=\"use_dpop_nonce\""));
    assert_eq!(server.audited().await, before, "that is no denial");
    look(answer.header("dpop-nonce")).await.expect(200);
}
