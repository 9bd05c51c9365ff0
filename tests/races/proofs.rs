//! A proof of possession works once, however many callers bring it to however many servers at the same moment.

use std::sync::Arc;

use serde_json::json;
use time::Duration;

use crate::pair::{Pair, at_once, rounds};
use crate::server::{Answer, Server};
use crate::signer::Signer;

const CALLERS: usize = 50;

const ROUNDS: usize = 7;

/// Splits the answers into those that won and those that lost.
fn outcome(answers: Vec<Answer>) -> (Vec<Answer>, Vec<Answer>) {
    answers.into_iter().partition(|answer| answer.status.is_success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_proof_obtains_one_token() {
    let pair = Pair::new().await;
    let party = pair.one.party("proving", json!({ "allowed_scopes": ["a"] })).await;
    let key = Signer::new();
    for round in 1..=rounds(ROUNDS) {
        let proof = key.proof("POST", "/oauth2/token", pair.one.app.clock.now());
        let call = |server: Arc<Server>| {
            let (proof, api_key) = (proof.clone(), party.api_key.clone());
            async move {
                let form = [("grant_type", "api_key"), ("api_key", api_key.as_str()), ("scope", "a")];
                server.post("/oauth2/token").form(&form).with("DPoP", &proof).send().await
            }
        };
        let (won, lost) = outcome(at_once((0..CALLERS).map(|number| call(pair.at(number)))).await);
        assert_eq!((won.len(), lost.len()), (1, CALLERS - 1));
        assert!(lost.iter().all(|answer| answer.refusal() == (400, "invalid_dpop_proof")));
        let token = won.into_iter().next().unwrap().token();
        assert!(pair.is_active(&token).await);
        let credentials = pair.one.count("select count(*) from credentials").await;
        assert_eq!(credentials, i64::try_from(round).unwrap());
        pair.one.app.clock.advance(Duration::seconds(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_proof_opens_one_request() {
    const PATH: &str = "/agents/registry";
    let pair = Pair::new().await;
    let scopes = json!({ "allowed_scopes": ["nhi:manage"] });
    let (party, key) = (pair.one.party("proving", scopes).await, Signer::new());
    for _ in 0..rounds(ROUNDS) {
        let now = pair.one.app.clock.now();
        let form = [("grant_type", "api_key"), ("api_key", party.api_key.as_str()), ("scope", "nhi:manage")];
        let call = pair.two.post("/oauth2/token").form(&form);
        let token = call.with("DPoP", &key.proof("POST", "/oauth2/token", now)).send().await.token();
        let proof = key.proof_for(&token, "GET", PATH, now);
        let call = |server: Arc<Server>| {
            let (token, proof) = (token.clone(), proof.clone());
            async move {
                let call = server.get(PATH).with("Authorization", &format!("DPoP {token}"));
                call.with("DPoP", &proof).send().await
            }
        };
        let (won, lost) = outcome(at_once((0..CALLERS).map(|number| call(pair.at(number)))).await);
        assert_eq!((won.len(), lost.len()), (1, CALLERS - 1));
        assert!(lost.iter().all(|answer| answer.status == 401));
        pair.one.app.clock.advance(Duration::seconds(1));
    }
}
