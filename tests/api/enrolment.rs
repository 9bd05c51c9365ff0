//! An agent registers and replaces its own key at `/agents/self/public-key`.

use serde_json::{Value, json};

use crate::server::{Answer, ISSUER, Server};
use crate::signer::Signer;
use crate::tools::{assert_error, claims};

const PATH: &str = "/agents/self/public-key";

fn proof(signer: &Signer, uri: &str, server: &Server, changes: &Value) -> String {
    let at = server.app.clock.now().unix_timestamp();
    let mut base = json!({ "iss": null, "aud": format!("{ISSUER}{PATH}"), "exp": at + 60 });
    base.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    signer.assertion_with(uri, server.app.clock.now(), &base)
}

async fn enrol(server: &Server, token: &str, body: &Value) -> Answer {
    server.post(PATH).bearer(token).json(body).send().await
}

async fn keyless(server: &Server) -> (String, String, String) {
    let answer = server.register("worker", json!({})).await.expect(201);
    let text = |name: &str| answer.body["identity"][name].as_str().unwrap().to_owned();
    (text("id"), text("wimse_uri"), server.token(answer.text_of("api_key")).await)
}

#[tokio::test]
async fn an_agent_registers_its_first_key_and_then_signs_for_itself() {
    let server = Server::new().await;
    let (id, uri, token) = keyless(&server).await;
    let signer = Signer::new();
    let body = json!({ "new_public_key_pem": signer.pem(), "new_key_proof": proof(&signer, &uri, &server, &json!({})) });
    let answer = enrol(&server, &token, &body).await.expect(200);
    assert_eq!(answer.body["id"], id);
    assert!(!answer.text_of("public_key_thumbprint").is_empty());
    server.assert(&signer.assertion(&uri, server.app.clock.now()), "").await.expect(200);
    enrol(&server, &token, &body).await.problem(403);
    let rows = server.audit().await;
    let row =
        rows.iter().find(|(action, outcome, ..)| action == "agent.key_enrolled" && outcome == "success");
    assert_eq!(row.unwrap().2, "agent");
}

#[tokio::test]
async fn a_key_is_replaced_with_a_proof_of_the_current_one_that_names_the_new() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let agent = server.party("worker", json!({})).await;
    let token = server.token(&agent.api_key).await;
    let (new, other) = (Signer::new(), Signer::new());
    let fresh = || proof(&new, &agent.uri, &server, &json!({}));
    let current = |signer: &Signer, nkt: &Signer| {
        proof(signer, &agent.uri, &server, &json!({ "nkt": nkt.spki_digest() }))
    };
    let body = |new_proof: String, current: Option<String>| json!({ "new_public_key_pem": new.pem(), "new_key_proof": new_proof, "current_key_proof": current });
    for bad in [
        body(fresh(), None),
        body(fresh(), Some(String::new())),
        body(fresh(), Some(current(&agent.signer, &other))),
        body(fresh(), Some(current(&other, &new))),
        body(fresh(), Some(proof(&agent.signer, &agent.uri, &server, &json!({})))),
        body(proof(&other, &agent.uri, &server, &json!({})), Some(current(&agent.signer, &new))),
    ] {
        enrol(&server, &token, &bad).await.problem(403);
    }
    let good = body(fresh(), Some(current(&agent.signer, &new)));
    enrol(&replica, &token, &good).await.expect(200);
    enrol(&server, &token, &good).await.problem(403);
    assert_error(&server.assert(&server.assertion(&agent), "").await, 400, "invalid_grant");
    server.assert(&new.assertion(&agent.uri, server.app.clock.now()), "").await.expect(200);
    assert!(server.is_active(&token).await, "tokens live on");
}

#[tokio::test]
async fn a_proof_is_for_this_route_for_this_agent_and_short() {
    let server = Server::new().await;
    let (_, uri, token) = keyless(&server).await;
    let signer = Signer::new();
    let at = server.app.clock.now().unix_timestamp();
    for changes in [
        json!({ "aud": ISSUER }),
        json!({ "aud": format!("{ISSUER}{PATH}/") }),
        json!({ "sub": format!("{uri}x") }),
        json!({ "sub": null }),
        json!({ "exp": at + 121 }),
        json!({ "exp": at - 31, "iat": at - 60 }),
        json!({ "exp": null }),
        json!({ "jti": null }),
        json!({ "exp": at - 1, "iat": at }),
    ] {
        let proof = proof(&signer, &uri, &server, &changes);
        let body = json!({ "new_public_key_pem": signer.pem(), "new_key_proof": proof });
        enrol(&server, &token, &body).await.problem(403);
    }
    for pem in ["", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"] {
        let body =
            json!({ "new_public_key_pem": pem, "new_key_proof": proof(&signer, &uri, &server, &json!({})) });
        enrol(&server, &token, &body).await.problem(400);
    }
    enrol(&server, &token, &json!({})).await.problem(422);
    let edge = proof(&signer, &uri, &server, &json!({ "exp": at + 120 }));
    let body = json!({ "new_public_key_pem": signer.pem(), "new_key_proof": edge });
    enrol(&server, &token, &body).await.expect(200);
}

#[tokio::test]
async fn only_an_agents_own_live_token_lets_it_enrol() {
    let server = Server::new().await;
    let agent = server.party("worker", json!({})).await;
    let own = server.token(&agent.api_key).await;
    let root = server.exchange(&agent.api_key, "a").await.token();
    let delegated = server.delegate(&root, &agent, "a").await.token();
    let admin = server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await;
    let signer = Signer::new();
    let body = || {
        json!({
            "new_public_key_pem": signer.pem(),
            "new_key_proof": proof(&signer, &agent.uri, &server, &json!({})),
            "current_key_proof": proof(&agent.signer, &agent.uri, &server, &json!({ "nkt": signer.spki_digest() })),
        })
    };
    let bare = server.post(PATH).json(body()).send().await.problem(401);
    assert!(bare.header("www-authenticate").contains("resource_metadata="));
    assert!(!bare.header("www-authenticate").contains("error="));
    for token in [delegated.as_str(), &admin, "x.y.z", "nonsense"] {
        let answer = enrol(&server, token, &body()).await.problem(401);
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
    }
    server.patch(&agent.id, json!({ "status": "suspended" })).await.expect(200);
    enrol(&server, &own, &body()).await.problem(401);
    server.patch(&agent.id, json!({ "status": "active" })).await.expect(200);
    enrol(&server, &own, &body()).await.expect(200);
    assert_eq!(claims(&own)["sub"], agent.uri);
}

#[tokio::test]
async fn a_narrow_token_does_not_become_a_key_with_a_reserved_scope() {
    let server = Server::new().await;
    let body = json!({ "allowed_scopes": ["a", "nhi:manage"] });
    let answer = server.register("admin", body).await.expect(201);
    let (key, uri) = (answer.text_of("api_key"), answer.body["identity"]["wimse_uri"].as_str().unwrap());
    let narrow = server.exchange(key, "a").await.token();
    let whole = server.token(key).await;
    let (first, second) = (Signer::new(), Signer::new());
    let body = |signer: &Signer| json!({ "new_public_key_pem": signer.pem(), "new_key_proof": proof(signer, uri, &server, &json!({})) });
    enrol(&server, &narrow, &body(&first)).await.problem(403);
    assert_error(
        &server.assert(&first.assertion(uri, server.app.clock.now()), "").await,
        400,
        "invalid_grant",
    );
    enrol(&server, &whole, &body(&first)).await.expect(200);
    let mut next = body(&second);
    next["current_key_proof"] = json!(proof(&first, uri, &server, &json!({ "nkt": second.spki_digest() })));
    enrol(&server, &narrow, &next).await.expect(200);
}
