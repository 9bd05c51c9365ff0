//! Families that were begun with a proof of possession: only the key refreshes, and only the key ends them.

use time::Duration;

use super::assert_family_ended;
use crate::refresher::Refresher;
use crate::server::{Answer, Server};
use crate::signer::Signer;
use crate::tools::{assert_error, claims, credentials};

const TOKEN: &str = "/oauth2/token";

async fn refresh_by(server: &Server, who: &Refresher, token: &str, key: &Signer) -> Answer {
    let proof = key.proof("POST", TOKEN, server.app.clock.now());
    server.post(TOKEN).form(&who.form(token, &[])).with("DPoP", &proof).send().await
}

#[tokio::test]
async fn rfc9449_s5_a_bound_refresh_token_needs_its_key_and_is_not_spent_without() {
    let server = Server::new().await;
    let (key, other) = (Signer::new(), Signer::new());
    let who = server.public_refresher("app").await;
    let first = server.begin_with(&who, "a b", Some(&key.jkt())).await;
    let before = credentials(&server).await;
    assert_error(&server.refresh(&who, &first.refresh).await, 400, "invalid_dpop_proof");
    assert_error(&refresh_by(&server, &who, &first.refresh, &other).await, 400, "invalid_dpop_proof");
    assert_eq!(credentials(&server).await, before);
    let answer = refresh_by(&server, &who, &first.refresh, &key).await.expect(200);
    assert_eq!((answer.text_of("token_type"), &answer.body["cnf"]["jkt"]), ("DPoP", &key.jkt().into()));
    let second = answer.tokens();
    assert_eq!(claims(&second.access)["cnf"]["jkt"], key.jkt());
    // The binding is the family's, so it goes on.
    assert_error(&server.refresh(&who, &second.refresh).await, 400, "invalid_dpop_proof");
    assert_error(&refresh_by(&server, &who, &second.refresh, &other).await, 400, "invalid_dpop_proof");
    refresh_by(&server, &who, &second.refresh, &key).await.expect(200);
}

#[tokio::test]
async fn nobody_ends_a_bound_family_without_its_key() {
    let server = Server::new().await;
    let (key, other) = (Signer::new(), Signer::new());
    let who = server.public_refresher("app").await;
    let first = server.begin_with(&who, "a b", Some(&key.jkt())).await;
    let second = refresh_by(&server, &who, &first.refresh, &key).await.tokens();
    server.app.clock.advance(Duration::minutes(1));
    assert_error(&server.refresh(&who, &first.refresh).await, 400, "invalid_dpop_proof");
    assert_error(&refresh_by(&server, &who, &first.refresh, &other).await, 400, "invalid_dpop_proof");
    assert!(server.is_active(&second.access).await);
    assert_error(&refresh_by(&server, &who, &first.refresh, &key).await, 400, "invalid_grant");
    assert_family_ended(&server, &who, &[&first, &second], "refresh_token_reuse").await;
}

#[tokio::test]
async fn a_family_that_began_without_a_proof_is_not_bound_by_a_later_one() {
    let server = Server::new().await;
    let who = server.public_refresher("app").await;
    let first = server.begin(&who).await;
    let second = refresh_by(&server, &who, &first.refresh, &Signer::new()).await.tokens();
    assert!(claims(&second.access)["cnf"]["jkt"].is_string());
    let third = server.refresh(&who, &second.refresh).await.tokens();
    assert!(claims(&third.access).get("cnf").is_none());
}

#[tokio::test]
async fn a_lost_answer_is_given_again_to_the_key_only() {
    let server = Server::new().await;
    let key = Signer::new();
    let who = server.refresher("app", serde_json::json!({ "refresh_token_reuse": "reissue" })).await;
    let first = server.begin_with(&who, "a b", Some(&key.jkt())).await;
    let lost = refresh_by(&server, &who, &first.refresh, &key).await.tokens();
    assert_error(&server.refresh(&who, &first.refresh).await, 400, "invalid_dpop_proof");
    assert_error(&refresh_by(&server, &who, &first.refresh, &Signer::new()).await, 400, "invalid_dpop_proof");
    let again = refresh_by(&server, &who, &first.refresh, &key).await.tokens();
    assert_eq!(again.refresh, lost.refresh);
}

#[tokio::test]
async fn a_proof_works_once_and_a_replay_spends_nothing() {
    let server = Server::new().await;
    let key = Signer::new();
    let who = server.public_refresher("app").await;
    let first = server.begin_with(&who, "a b", Some(&key.jkt())).await;
    let proof = key.proof("POST", TOKEN, server.app.clock.now());
    let by =
        async |token: &str| server.post(TOKEN).form(&who.form(token, &[])).with("DPoP", &proof).send().await;
    let second = by(&first.refresh).await.tokens();
    assert_error(&by(&second.refresh).await, 400, "invalid_dpop_proof");
    refresh_by(&server, &who, &second.refresh, &key).await.expect(200);
}
