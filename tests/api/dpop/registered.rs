//! Registered keys: what an agent obtains is bound to its key and to no other.

use serde_json::{Value, json};

use super::TOKEN;
use crate::server::{Answer, Server};
use crate::signer::{Signer, with};
use crate::tools::{assert_error, claims};

impl Server {
    /// Registers a key for an agent's tokens.
    async fn rotate_dpop_key(&self, id: &str, body: Value) -> Answer {
        self.admin("POST", &format!("/agents/{id}/rotate-dpop-key")).json(body).send().await
    }
}

#[tokio::test]
async fn a_registered_key_ends_what_is_bound_to_another_or_to_none() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (agent, other) = (server.party("planner", json!({})).await, server.party("other", json!({})).await);
    let (first, second) = (Signer::new(), Signer::new());
    let plain = server.token(&agent.api_key).await;
    let bound = server.bound(&agent, "a", &second).await;
    let child = server.exchange_by(&plain, &other, "a", None).await;
    assert_error(&child, 400, "invalid_scope");
    let plain_a = server.exchange(&agent.api_key, "a").await.token();
    let child = server.exchange_by(&plain_a, &other, "a", None).await.token();
    let body = json!({ "new_public_jwk": first.jwk(), "reason": "a new machine" });
    let answer = server.rotate_dpop_key(&agent.id, body).await.expect(200);
    let row = answer.text_of("audit_event_id").to_owned();
    assert_eq!(
        answer.body,
        json!({ "old_jkt": "", "new_jkt": first.jkt(), "revoked_token_count": 4, "audit_event_id": row })
    );
    for token in [&plain, &bound, &plain_a, &child] {
        assert!(!replica.is_active(token).await);
    }
    let facts = format!("select action || metadata::text from audit_events where id = '{row}'");
    let text = server.text_from_sql(facts).await;
    let (action, metadata) = text.split_at("agent.dpop_key_rotated".len());
    assert_eq!(action, "agent.dpop_key_rotated");
    assert_eq!(
        serde_json::from_str::<Value>(metadata).unwrap(),
        json!({ "old_jkt": "", "new_jkt": first.jkt(), "revoked_token_count": 4, "reason": "a new machine" })
    );
    assert_eq!(server.read(&agent.id).await["dpop_jkt"], json!(first.jkt()));
    assert_eq!(server.read(&other.id).await["dpop_jkt"], Value::Null);
    let ended = "select string_agg(distinct payload ->> 'reason', ' ') from outbox where event_type = 'credential.revoked'";
    chancery::tokens::worker::announce(&server.app).await.unwrap();
    assert_eq!(server.text_from_sql(ended).await, "dpop_key_rotated");
}

#[tokio::test]
async fn tokens_come_with_a_proof_of_the_registered_key_only() {
    let server = Server::new().await;
    let (agent, key) = (server.party("planner", json!({})).await, Signer::new());
    let program = server.program("planner-app", &agent.id, json!({})).await;
    server.rotate_dpop_key(&agent.id, json!({ "new_public_jwk": key.jwk() })).await.expect(200);
    let subject = server.exchange(&server.party("other", json!({})).await.api_key, "a").await.token();
    let secret = [("client_id", program.client_id.as_str()), ("client_secret", &program.secret)];
    let ask = async |grant: usize, proof: Option<&str>| {
        let assertion = server.assertion(&agent);
        let form = match grant {
            0 => vec![("grant_type", "api_key"), ("api_key", &agent.api_key)],
            1 => vec![("grant_type", crate::party::JWT_BEARER), ("assertion", &assertion)],
            2 => [&[("grant_type", "client_credentials")], &secret[..]].concat(),
            _ => vec![
                ("grant_type", crate::party::TOKEN_EXCHANGE),
                ("subject_token", &subject),
                ("actor_token", &assertion),
            ],
        };
        let form = [&form[..], &[("scope", "a")]].concat();
        super::with_proof(server.post(TOKEN).form(&form), proof).send().await
    };
    for grant in 0..4 {
        assert_error(&ask(grant, None).await, 400, "invalid_dpop_proof");
        assert_error(&ask(grant, Some(&server.proof(&Signer::new()))).await, 400, "invalid_dpop_proof");
        let token = ask(grant, Some(&server.proof(&key))).await.token();
        assert_eq!(claims(&token)["cnf"], json!({ "jkt": key.jkt() }));
    }
}

#[tokio::test]
async fn a_rotation_replaces_the_key_and_the_former_one_stays_dead() {
    let server = Server::new().await;
    let agent = server.party("planner", json!({})).await;
    let (first, second) = (Signer::new(), Signer::new());
    let rotate = async |key: &Signer| {
        server.rotate_dpop_key(&agent.id, json!({ "new_public_jwk": key.jwk() })).await.expect(200).body
    };
    rotate(&first).await;
    let old = server.bound(&agent, "a", &first).await;
    let again = rotate(&first).await;
    assert_eq!((&again["old_jkt"], &again["revoked_token_count"]), (&json!(first.jkt()), &json!(0)));
    assert!(server.is_active(&old).await, "the same key again changes nothing");
    let done = rotate(&second).await;
    assert_eq!((&done["old_jkt"], &done["new_jkt"]), (&json!(first.jkt()), &json!(second.jkt())));
    assert_eq!(done["revoked_token_count"], 1);
    assert!(!server.is_active(&old).await);
    let refused = server.prove(&agent.api_key, "a", &server.proof(&first)).await;
    assert_error(&refused, 400, "invalid_dpop_proof");
    let new = server.bound(&agent, "a", &second).await;
    assert!(server.is_active(&new).await);
    // The key comes back, and what it held does not.
    rotate(&first).await;
    assert!(!server.is_active(&old).await && !server.is_active(&new).await);
    server.bound(&agent, "a", &first).await;
}

#[tokio::test]
async fn a_key_may_be_registered_with_the_agent() {
    let server = Server::new().await;
    let key = Signer::new();
    for (number, jwk) in [key.jwk(), json!(key.jwk().to_string())].into_iter().enumerate() {
        let more = json!({ "metadata": { "dpop_public_jwk": jwk } });
        let answer = server.register(&format!("agent-{number}"), more).await.expect(201);
        assert_eq!(answer.body["identity"]["dpop_jkt"], json!(key.jkt()));
        let api_key = answer.text_of("api_key");
        assert_error(&server.exchange(api_key, "a").await, 400, "invalid_dpop_proof");
        server.prove(api_key, "a", &server.proof(&key)).await.expect(200);
    }
    for bad in [json!("x"), json!({}), json!(7), with(&key.jwk(), &json!({ "d": "AAAA" }))] {
        let more = json!({ "metadata": { "dpop_public_jwk": bad } });
        let answer = server.register("agent-x", more).await.problem(400);
        assert!(!answer.text.contains("AAAA"));
    }
    let plain =
        server.register("agent-y", json!({ "metadata": { "dpop_public_jwk": null } })).await.expect(201);
    server.exchange(plain.text_of("api_key"), "a").await.expect(200);
}

#[tokio::test]
async fn a_key_that_is_none_or_private_is_refused_and_nothing_ends() {
    let server = Server::new().await;
    let (agent, key) = (server.party("planner", json!({})).await, Signer::new());
    let token = server.token(&agent.api_key).await;
    for body in [
        json!({}),
        json!({ "new_public_jwk": null }),
        json!({ "new_public_jwk": {} }),
        json!({ "new_public_jwk": "x" }),
        json!({ "new_public_jwk": [key.jwk()] }),
        json!({ "new_public_jwk": with(&key.jwk(), &json!({ "d": "c2VjcmV0" })) }),
        json!({ "new_public_jwk": with(&key.jwk(), &json!({ "y": key.jwk()["x"] })) }),
        json!({ "new_public_jwk": { "kty": "oct", "k": "c2VjcmV0" } }),
        json!({ "new_public_jwk": { "kty": "RSA", "n": "AQAB", "e": "AQAB" } }),
        json!({ "new_public_jwk": key.jwk(), "reason": "x".repeat(5000) }),
    ] {
        let answer = server.rotate_dpop_key(&agent.id, body.clone()).await;
        assert!([400, 422].contains(&answer.status.as_u16()), "{body}: {}", answer.text);
        assert!(!answer.text.contains("c2VjcmV0"), "{}", answer.text);
    }
    assert!(server.is_active(&token).await);
    server
        .rotate_dpop_key("00000000-0000-7000-8000-000000000000", json!({ "new_public_jwk": key.jwk() }))
        .await
        .problem(404);
    let foreign =
        server.call("POST", &format!("/agents/{}/rotate-dpop-key", agent.id)).tenant("other", "demo");
    foreign.json(json!({ "new_public_jwk": key.jwk() })).send().await.problem(404);
}

#[tokio::test]
async fn rfc9449_s5_2_a_client_may_be_registered_for_bound_tokens_only() {
    let server = Server::new().await;
    let (agent, key) = (server.party("planner", json!({})).await, Signer::new());
    let more = json!({ "dpop_bound_access_tokens": true });
    let program = server.program("planner-app", &agent.id, more).await;
    let shown = server.admin("GET", &format!("/oauth/clients/{}", program.id)).send().await.expect(200);
    assert_eq!(shown.body["dpop_bound_access_tokens"], true);
    assert_error(&server.client_credentials(&program, "a").await, 400, "invalid_dpop_proof");
    let subject = server.exchange(&agent.api_key, "a").await.token();
    assert_error(&server.exchange_as(&subject, &program, "a", None).await, 400, "invalid_dpop_proof");
    server.exchange_as(&subject, &program, "a", Some(&server.proof(&key))).await.expect(200);
    let off = json!({ "dpop_bound_access_tokens": false });
    server.patch_client(&program.id, off).await.expect(200);
    server.client_credentials(&program, "a").await.expect(200);
}

/// A token that is being issued while the key changes rests on what was seen before, and is dead.
#[tokio::test]
async fn what_is_issued_while_the_key_changes_is_dead() {
    let server = Server::new().await;
    let agent = server.party("planner", json!({})).await;
    for _ in 0..5 {
        let key = Signer::new();
        let body = json!({ "new_public_jwk": key.jwk() });
        server.run_sql("update identities set dpop_jkt = null").await;
        let (issued, rotated) =
            tokio::join!(server.exchange(&agent.api_key, "a"), server.rotate_dpop_key(&agent.id, body));
        rotated.expect(200);
        match issued.status.as_u16() {
            200 => assert!(!server.is_active(&issued.token()).await),
            _ => assert_error(&issued, 400, "invalid_dpop_proof"),
        }
    }
}
