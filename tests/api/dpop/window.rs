//! How long a proof is good, and that it is good once within that time, on every server.

use serde_json::json;
use time::Duration;

use crate::server::{Answer, Server};
use crate::signer::Signer;

#[track_caller]
fn refused(answer: &Answer, why: &str) {
    assert_eq!(answer.refusal(), (400, "invalid_dpop_proof"), "{}", answer.text);
    assert!(answer.text_of("error_description").contains(why), "{}", answer.text);
}

#[tokio::test]
async fn rfc9449_s4_3_11_the_window_is_exact_at_both_edges() {
    let server = Server::new().await;
    let (agent, key) = (server.party("planner", json!({})).await, Signer::new());
    // At the beginning, in the middle and at the end of a second: a proof names whole ones.
    for microseconds in [0, 123_456, 999_999] {
        let at = server.app.clock.now().replace_microsecond(microseconds).unwrap() + Duration::seconds(1);
        server.app.clock.advance(at - server.app.clock.now());
        let ask = async |offset: i64| {
            let proof = server.proof_with(&key, &json!({ "iat": at.unix_timestamp() + offset }));
            server.prove(&agent.api_key, "", &proof).await
        };
        ask(-65).await.expect(200);
        ask(5).await.expect(200);
        refused(&ask(-66).await, "too old");
        refused(&ask(6).await, "in the future");
    }
}

#[tokio::test]
async fn rfc9449_s11_1_a_proof_of_either_edge_is_remembered_as_long_as_it_could_come_again() {
    for offset in [-65, 0, 5] {
        let server = Server::new().await;
        let replica = server.replica().await;
        let (agent, key) = (server.party("planner", json!({})).await, Signer::new());
        let iat = server.app.clock.now().unix_timestamp() + offset;
        let proof = server.proof_with(&key, &json!({ "iat": iat }));
        server.prove(&agent.api_key, "", &proof).await.expect(200);
        for moment in 0..=65 + offset {
            chancery::tokens::worker::forget(&server.app).await.unwrap();
            if moment % 7 == 0 || moment >= 64 + offset {
                let at = if moment % 2 == 0 { &server } else { &replica };
                refused(&at.prove(&agent.api_key, "", &proof).await, "used before");
            }
            server.app.clock.advance(Duration::seconds(1));
        }
        refused(&replica.prove(&agent.api_key, "", &proof).await, "too old");
        // Beyond its window too, for servers whose clocks are behind.
        server.app.clock.advance(Duration::seconds(50));
        chancery::tokens::worker::forget(&server.app).await.unwrap();
        assert_eq!(server.count("select count(*) from used_once").await, 1);
        server.app.clock.advance(Duration::hours(1));
        chancery::tokens::worker::forget(&server.app).await.unwrap();
        assert_eq!(server.count("select count(*) from used_once").await, 0);
        assert_eq!(server.count("select count(*) from credentials").await, 1);
    }
}

#[tokio::test]
async fn a_proof_is_remembered_on_the_other_server_and_after_a_restart() {
    let server = Server::new().await;
    let (agent, key) = (server.party("planner", json!({})).await, Signer::new());
    let proof = server.proof(&key);
    server.prove(&agent.api_key, "", &proof).await.expect(200);
    let replica = server.replica().await;
    refused(&replica.prove(&agent.api_key, "", &proof).await, "used before");
    drop(replica);
    let again = server.replica().await;
    drop(server);
    refused(&again.prove(&agent.api_key, "", &proof).await, "used before");
    again.prove(&agent.api_key, "", &again.proof(&key)).await.expect(200);
}

/// Nobody burns another's proofs: what is remembered is the jti of one key.
#[tokio::test]
async fn the_same_jti_under_two_keys_passes_twice() {
    let server = Server::new().await;
    let agent = server.party("planner", json!({})).await;
    let (one, two) = (Signer::new(), Signer::new());
    let jti = json!({ "jti": "the same" });
    for key in [&one, &two] {
        server.prove(&agent.api_key, "", &server.proof_with(key, &jti)).await.expect(200);
    }
    for key in [&one, &two] {
        refused(&server.prove(&agent.api_key, "", &server.proof_with(key, &jti)).await, "used before");
    }
}

#[tokio::test]
async fn of_many_that_send_one_proof_at_once_one_obtains_a_token() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (agent, key) = (server.party("planner", json!({})).await, Signer::new());
    let proof = server.proof(&key);
    let answers = tokio::join!(
        server.prove(&agent.api_key, "", &proof),
        replica.prove(&agent.api_key, "", &proof),
        server.prove(&agent.api_key, "", &proof),
        replica.prove(&agent.api_key, "", &proof),
    );
    let answers = <[Answer; 4]>::from(answers);
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(server.count("select count(*) from credentials").await, 1);
}
