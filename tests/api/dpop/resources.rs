//! Bound tokens at our own protected endpoints (RFC 9449 section 7).

use serde_json::{Value, json};

use crate::party::Party;
use crate::server::{Answer, Call, ISSUER, Server};
use crate::signer::Signer;
use crate::tools::{claims, sql};

const REGISTRY: &str = "/agents/registry";

fn challenge(answer: &Answer) -> &str {
    answer.header("www-authenticate")
}

#[track_caller]
fn unproven(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 401, "{what}: {}", answer.text);
    let expected = "DPoP error=\"invalid_dpop_proof\", error_description=\"";
    assert!(challenge(answer).starts_with(expected), "{what}: {}", challenge(answer));
}

/// An administering agent, a key, and a token of the agent that is bound to it.
async fn scene(server: &Server) -> (Party, Signer, String) {
    let (agent, key) = (server.administrator().await, Signer::new());
    let token = server.bound(&agent, "nhi:manage", &key).await;
    (agent, key, token)
}

/// A request with the token under the scheme DPoP, and this proof.
fn with<'a>(server: &'a Server, token: &str, proof: &str) -> Call<'a> {
    server.get(REGISTRY).with("Authorization", &format!("DPoP {token}")).with("DPoP", proof)
}

#[tokio::test]
async fn rfc9449_s7_a_bound_token_goes_with_the_scheme_and_a_proof() {
    let server = Server::new().await;
    let (_, key, token) = scene(&server).await;
    let answer = server.possessed("GET", REGISTRY, &token, &key).send().await.expect(200);
    assert_eq!(answer.body["total"], 1);
    for path in ["/api/v1/agents/registry", "/agents/registry?limit=1"] {
        server.possessed("GET", path, &token, &key).send().await.expect(200);
    }
    let now = server.app.clock.now();
    let call = with(&server, &token, &key.proof_for(&token, "GET", REGISTRY, now));
    call.instead("Authorization", &format!("dpop {token}")).send().await.expect(200);
    let body = json!({ "name": "New", "external_id": "new", "created_by": "dev@company.example" });
    let call = server.possessed("POST", "/agents/register", &token, &key);
    call.json(body).send().await.expect(201);
}

#[tokio::test]
async fn rfc9449_s7_1_the_proof_is_for_this_request_this_token_and_by_this_key() {
    let server = Server::new().await;
    let (_, key, token) = scene(&server).await;
    let now = server.app.clock.now();
    let other = server.token(&server.party("other", json!({})).await.api_key).await;
    let changed = |changes: Value| {
        let ath = crate::signer::with(&json!({ "ath": crate::proof::ath(&token) }), &changes);
        key.proof_with("GET", REGISTRY, now, &ath)
    };
    for (what, proof) in [
        ("another key", Signer::new().proof_for(&token, "GET", REGISTRY, now)),
        ("another method", key.proof_for(&token, "POST", REGISTRY, now)),
        ("another path", key.proof_for(&token, "GET", "/agents/register", now)),
        ("the path under the other mount", key.proof_for(&token, "GET", "/api/v1/agents/registry", now)),
        ("another origin", changed(json!({ "htu": format!("https://evil.example{REGISTRY}") }))),
        ("too old", changed(json!({ "iat": now.unix_timestamp() - 66 }))),
        ("to come", changed(json!({ "iat": now.unix_timestamp() + 6 }))),
        // RFC 9449 section 4.3, check 12.
        ("no ath", key.proof("GET", REGISTRY, now)),
        ("another token's ath", key.proof_for(&other, "GET", REGISTRY, now)),
        ("an empty ath", changed(json!({ "ath": "" }))),
        ("an ath of another type", key.proof_with("GET", REGISTRY, now, &json!({ "ath": 7 }))),
        ("a proof for the token endpoint", server.proof(&key)),
        ("garbage", "x".to_owned()),
        ("nothing in it", String::new()),
    ] {
        unproven(&with(&server, &token, &proof).send().await, what);
    }
    let twice = with(&server, &token, &key.proof_for(&token, "GET", REGISTRY, now));
    let twice = twice.with("DPoP", &key.proof_for(&token, "GET", REGISTRY, now));
    unproven(&twice.send().await, "two headers");
    unproven(&server.get(REGISTRY).with("Authorization", &format!("DPoP {token}")).send().await, "no proof");
    with(&server, &token, &key.proof_for(&token, "GET", REGISTRY, now)).send().await.expect(200);
}

#[tokio::test]
async fn rfc9449_s7_1_the_challenge_names_the_algorithms() {
    let server = Server::new().await;
    let (_, _, token) = scene(&server).await;
    let answer =
        server.get(REGISTRY).with("Authorization", &format!("DPoP {token}")).send().await.expect(401);
    assert_eq!(
        challenge(&answer),
        format!(
            "DPoP error=\"invalid_dpop_proof\", error_description=\"the token is bound to a key; send a proof in the \
             header DPoP\", algs=\"ES256 ES384 EdDSA RS256 PS256\", \
             resource_metadata=\"{ISSUER}/.well-known/oauth-protected-resource\""
        )
    );
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let metadata = server.get("/.well-known/oauth-protected-resource").send().await.expect(200);
    let named = &metadata.body["dpop_signing_alg_values_supported"];
    assert_eq!(named, &json!(["ES256", "ES384", "EdDSA", "RS256", "PS256"]));
}

#[tokio::test]
async fn rfc9449_s7_2_scheme_and_token_agree() {
    let server = Server::new().await;
    let (agent, key, token) = scene(&server).await;
    let now = server.app.clock.now();
    unproven(&server.get(REGISTRY).bearer(&token).send().await, "bound, as a bearer");
    let proof = key.proof_for(&token, "GET", REGISTRY, now);
    unproven(&server.get(REGISTRY).bearer(&token).with("DPoP", &proof).send().await, "the same with a proof");
    let plain = server.exchange(&agent.api_key, "nhi:manage").await.token();
    let call = with(&server, &plain, &key.proof_for(&plain, "GET", REGISTRY, now));
    let answer = call.send().await.expect(401);
    assert!(challenge(&answer).starts_with("Bearer error=\"invalid_token\""), "{}", challenge(&answer));
    server.get(REGISTRY).bearer(&plain).with("DPoP", "x").send().await.expect(200);
    let admin = server.admin_key(None, &["nhi:manage"]).await;
    let call = with(&server, &admin, &key.proof_for(&admin, "GET", REGISTRY, now)).tenant("acme", "demo");
    assert!(challenge(&call.send().await.expect(401)).starts_with("Bearer error=\"invalid_token\""));
    let call = with(&server, "x.y.z", &key.proof_for("x.y.z", "GET", REGISTRY, now));
    assert!(challenge(&call.send().await.expect(401)).starts_with("Bearer error=\"invalid_token\""));
}

#[tokio::test]
async fn rfc9449_s11_1_a_proof_works_once_on_all_servers() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (_, key, token) = scene(&server).await;
    let now = server.app.clock.now();
    let proof = key.proof_for(&token, "GET", REGISTRY, now);
    with(&server, &token, &proof).send().await.expect(200);
    for server in [&server, &replica] {
        unproven(&with(server, &token, &proof).send().await, "a replay");
    }
    let proof = key.proof_for(&token, "GET", REGISTRY, now);
    let (one, two) =
        tokio::join!(with(&server, &token, &proof).send(), with(&replica, &token, &proof).send());
    assert_eq!([&one, &two].iter().filter(|answer| answer.status == 200).count(), 1);
}

#[tokio::test]
async fn an_agent_that_calls_for_itself_proves_its_key_too() {
    const PATH: &str = "/agents/self/public-key";
    let server = Server::new().await;
    let (agent, key) = (server.party("keyless", json!({ "public_key_pem": null })).await, Signer::new());
    let token = server.bound(&agent, "", &key).await;
    unproven(&server.post(PATH).bearer(&token).json(json!({})).send().await, "as a bearer");
    let answer = server.possessed("POST", PATH, &token, &Signer::new()).json(json!({})).send().await;
    unproven(&answer, "another key");
    // The body is looked at once the key is proved.
    server.possessed("POST", PATH, &token, &key).json(json!({})).send().await.expect(422);
}

#[tokio::test]
async fn a_bound_token_without_its_key_leaves_a_row_and_counts_as_a_wrong_credential() {
    let server = Server::with(|config| config.lockout.failures = 3).await;
    let (agent, key, token) = scene(&server).await;
    let before = server.audited().await;
    unproven(&server.get(REGISTRY).bearer(&token).from("203.0.113.9:1").send().await, "as a bearer");
    let row = "select action || ' ' || actor_id || ' ' || target_id || ' ' || outcome || ' ' || address
               from audit_events where action = 'token.unproven'";
    let jti = claims(&token)["jti"].as_str().unwrap().to_owned();
    let expected = format!("token.unproven {} {jti} refused 203.0.113.9", agent.uri);
    assert_eq!(server.text_from_sql(row).await, expected);
    for _ in 0..2 {
        unproven(&server.get(REGISTRY).bearer(&token).from("203.0.113.9:1").send().await, "as a bearer");
    }
    assert_eq!(server.audited().await, before + 3);
    server.possessed("GET", REGISTRY, &token, &key).from("203.0.113.9:1").send().await.expect(429);
    server.possessed("GET", REGISTRY, &token, &key).send().await.expect(200);
}

#[tokio::test]
async fn what_ended_is_dead_with_its_key_too() {
    let server = Server::new().await;
    let (_, key, token) = scene(&server).await;
    sql(&server, "update credentials set revoked_at = now()").await;
    let answer = server.possessed("GET", REGISTRY, &token, &key).send().await.expect(401);
    assert!(challenge(&answer).starts_with("Bearer error=\"invalid_token\""));
    assert_eq!(server.count("select count(*) from used_once").await, 1, "only the first proof was used up");
}
