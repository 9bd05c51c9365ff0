//! The jwt-bearer grant (RFC 7523): an agent signs for itself.

use serde_json::json;
use time::Duration;

use crate::party::JWT_BEARER;
use crate::server::Server;
use crate::signer::Signer;
use crate::tools::{assert_error, claims};

#[tokio::test]
async fn an_agent_obtains_a_token_of_its_own_with_its_key() {
    let server = Server::new().await;
    let agent = server.party("planner", json!({ "allowed_scopes": ["a", "b"] })).await;
    let token = server.assert(&server.assertion(&agent), "a").await.token();
    let claims = claims(&token);
    assert_eq!((&claims["sub"], &claims["grant_type"]), (&json!(agent.uri), &json!("jwt_bearer")));
    assert_eq!((&claims["scopes"], &claims["mission_id"]), (&json!(["a"]), &claims["jti"]));
    assert!(claims.get("act").is_none() && claims.get("delegation_depth").is_none());
    assert_eq!(server.introspect(&token).await["grant_type"], "jwt_bearer");
    let all = server.assert(&server.assertion(&agent), "").await.expect(200);
    assert_eq!(all.text_of("scope"), "a b", "nothing asked for is all that the agent may");
    assert_error(&server.assert(&server.assertion(&agent), "c").await, 400, "invalid_scope");
    let old = [("grant_type", JWT_BEARER), ("subject", &server.assertion(&agent))];
    server.post("/oauth2/token").form(&old).send().await.expect(200);
}

#[tokio::test]
async fn rfc7523_s3_7_an_assertion_works_once_on_every_server_and_not_as_anything_else() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let agent = server.party("planner", json!({})).await;
    let assertion = server.assertion(&agent);
    let token = server.assert(&assertion, "a").await.token();
    assert_error(&server.assert(&assertion, "a").await, 400, "invalid_grant");
    assert_error(&replica.assert(&assertion, "a").await, 400, "invalid_grant");
    assert_error(&replica.delegate_by(&token, &assertion, "a").await, 400, "invalid_grant");
    assert!(server.is_active(&token).await, "the token of the first use stands");
    let refused = server.count("select count(*) from audit_events where action = 'token.refused'").await;
    assert_eq!(refused, 3, "each refusal leaves its row");
}

#[tokio::test]
async fn an_assertion_that_was_refused_for_its_scope_is_not_used_up() {
    let server = Server::new().await;
    let agent = server.party("planner", json!({ "allowed_scopes": ["a"] })).await;
    let assertion = server.assertion(&agent);
    assert_error(&server.assert(&assertion, "z").await, 400, "invalid_scope");
    server.assert(&assertion, "a").await.expect(200);
}

#[tokio::test]
async fn unknown_keyless_and_foreign_agents_are_one_answer() {
    let server = Server::new().await;
    let agent = server.party("planner", json!({})).await;
    server.agent("keyless").await;
    let now = server.app.clock.now();
    let keyless = agent.uri.replace("planner", "keyless");
    let nobody = agent.uri.replace("planner", "nobody");
    let elsewhere = agent.uri.replace("/acme/", "/other/");
    let other_key = Signer::new().assertion(&agent.uri, now);
    let mut answers = vec![server.assert(&other_key, "").await];
    for uri in [keyless, nobody, elsewhere] {
        answers.push(server.assert(&agent.signer.assertion(&uri, now), "").await);
    }
    for answer in &answers {
        assert_error(answer, 400, "invalid_grant");
        assert_eq!(answer.text, answers[0].text, "nobody can ask who exists");
    }
}

#[tokio::test]
async fn an_assertion_lives_five_minutes_at_the_most_and_clocks_may_be_half_a_minute_apart() {
    let server = Server::new().await;
    let agent = server.party("planner", json!({})).await;
    let now = server.app.clock.now();
    let at = now.unix_timestamp();
    for (good, changes) in [
        (true, json!({ "exp": at + 300 })),
        (false, json!({ "exp": at + 301 })),
        (true, json!({ "iat": at + 29, "exp": at + 300 })),
        (false, json!({ "iat": at + 31, "exp": at + 300 })),
        (true, json!({ "iat": at - 300, "exp": at - 29 })),
        (false, json!({ "iat": at - 300, "exp": at - 30 })),
        (true, json!({ "nbf": at + 29 })),
        (false, json!({ "nbf": at + 31 })),
        (true, json!({ "iat": null })),
        (false, json!({ "iat": null, "exp": at + 400 })),
        (false, json!({ "iat": at, "exp": at - 1 })),
        (true, json!({ "aud": ["https://elsewhere.example", crate::server::ISSUER] })),
        (false, json!({ "aud": "https://elsewhere.example" })),
        (false, json!({ "aud": format!("{}/", crate::server::ISSUER) })),
        (false, json!({ "sub": format!("{}x", agent.uri) })),
    ] {
        let answer = server.assert(&agent.signer.assertion_with(&agent.uri, now, &changes), "").await;
        if good {
            answer.expect(200);
        } else {
            assert_error(&answer, 400, "invalid_grant");
        }
    }
    let assertion = server.assertion(&agent);
    server.app.clock.advance(Duration::seconds(150));
    assert_error(&server.assert(&assertion, "").await, 400, "invalid_grant");
}
