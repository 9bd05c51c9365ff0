//! Pushed authorization requests (RFC 9126): who may push, what stands in them, that each is answered once.

use serde_json::json;
use time::Duration;

use crate::dpop::TOKEN;
use crate::people::{Ask, redemption};
use crate::server::{Answer, Server};
use crate::signer::Signer;
use crate::tools::{assert_error, claims};

const FORM: &str = "application/x-www-form-urlencoded";

async fn stage() -> (Server, String) {
    let server = Server::new().await;
    server.program_of_people("diary", json!({})).await;
    let cookie = server.cookie(&server.person("u-ada").await).await;
    (server, cookie)
}

async fn push(server: &Server, ask: &Ask) -> Answer {
    server.post("/oauth2/par").raw(FORM, ask.query()).send().await
}

const PAR: &str = "/oauth2/par";

async fn push_with(server: &Server, ask: &Ask, proof: &str) -> Answer {
    server.post(PAR).raw(FORM, ask.query()).with("DPoP", proof).send().await
}

/// A code for a pushed request, for which the person says yes.
async fn answered(server: &Server, pushed: Answer, cookie: &str) -> String {
    let uri = pushed.expect(201).text_of("request_uri").to_owned();
    server.code(&named("diary", &uri), cookie).await
}

async fn redeem_by(server: &Server, code: &str, key: &Signer) -> Answer {
    let form = redemption("diary", code, &[]);
    let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    server.post(TOKEN).form(&form).with("DPoP", &server.proof(key)).send().await
}

fn named(client_id: &str, uri: &str) -> Ask {
    let empty = Ask::of(client_id);
    let names =
        ["response_type", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"];
    names.iter().fold(empty, |ask, name| ask.with(name, "")).with("request_uri", uri)
}

#[tokio::test]
async fn rfc9126_s2_a_pushed_request_is_answered_once_by_its_name() {
    let (server, cookie) = stage().await;
    let replica = server.replica().await;
    let pushed = push(&server, &Ask::of("diary").with("scope", "a b")).await.expect(201);
    let uri = pushed.text_of("request_uri").to_owned();
    assert!(uri.starts_with("urn:ietf:params:oauth:request_uri:") && uri.len() > 70);
    assert_eq!((&pushed.body["expires_in"], pushed.header("cache-control")), (&json!(600), "no-store"));
    // Nothing beside the name counts (section 4).
    let ask = named("diary", &uri).with("scope", "a").with("redirect_uri", "https://evil.example/");
    // Who looks at the page, or is not known yet, has not answered.
    replica.ask(&ask, "").await.expect(401);
    replica.ask(&ask, &cookie).await.expect(200);
    let page = replica.ask(&ask, &cookie).await.expect(200);
    let told = server.press(&page, &cookie, "allow").await.expect(303).told();
    assert_eq!(told["state"], "s t&a=te");
    let token = server.redeem("diary", &told["code"], &[]).await.expect(200);
    assert_eq!(token.text_of("scope"), "a b");
    for again in [server.ask(&ask, &cookie).await, server.press(&page, &cookie, "allow").await] {
        assert!(
            again.expect(400).text.contains("the request_uri is unknown, was used before, or has expired")
        );
    }
    let pushed = push(&server, &Ask::of("diary").with("scope", "a b")).await.expect(201);
    let ask = named("diary", pushed.text_of("request_uri"));
    assert!(server.ask(&ask, &cookie).await.expect(302).told().contains_key("code"), "consent is remembered");
    server.ask(&ask, &cookie).await.expect(400);
}

#[tokio::test]
async fn a_no_is_an_answer_too() {
    let (server, cookie) = stage().await;
    let pushed = push(&server, &Ask::of("diary")).await.expect(201);
    let ask = named("diary", pushed.text_of("request_uri"));
    let page = server.ask(&ask, &cookie).await.expect(200);
    assert_eq!(server.press(&page, &cookie, "deny").await.expect(303).told()["error"], "access_denied");
    server.press(&page, &cookie, "allow").await.expect(400);
}

#[tokio::test]
async fn a_pushed_request_is_its_clients_and_not_for_long() {
    let (server, cookie) = stage().await;
    server.program_of_people("other", json!({})).await;
    let uri = push(&server, &Ask::of("diary")).await.expect(201).text_of("request_uri").to_owned();
    server.ask(&named("other", &uri), &cookie).await.expect(400);
    server.ask(&named("diary", &uri).with("client_id", ""), &cookie).await.expect(400);
    server.ask(&named("diary", &format!("{uri}x")), &cookie).await.expect(400);
    server.app.clock.advance(Duration::milliseconds(599_999));
    server.ask(&named("diary", &uri), &cookie).await.expect(200);
    server.app.clock.advance(Duration::milliseconds(1));
    server.ask(&named("diary", &uri), &cookie).await.expect(400);
    chancery::authorizations::worker::forget(&server.app).await.unwrap();
    assert_eq!(server.count("select count(*) from pushed_requests").await, 0);
}

/// RFC 9126 section 2.1: as at the token endpoint. A public client names itself.
#[tokio::test]
async fn rfc9126_s2_1_a_confidential_client_authenticates() {
    let (server, _) = stage().await;
    let more = json!({ "confidential": true, "token_endpoint_auth_method": "client_secret_post" });
    let made = server.program_of_people("site", more).await;
    let secret = made.text_of("client_secret").to_owned();
    let ask = Ask::of("site");
    for bad in [
        ask.clone(),
        ask.clone().with("client_secret", "x"),
        Ask::of("unknown"),
        ask.clone().with("client_id", ""),
    ] {
        assert_error(&push(&server, &bad).await, 401, "invalid_client");
    }
    push(&server, &ask.clone().with("client_secret", &secret)).await.expect(201);
    let kept = "select count(*) from pushed_requests where parameters like '%secret%'";
    assert_eq!(
        (server.count(kept).await, server.count("select count(*) from pushed_requests").await),
        (0, 1)
    );
}

#[tokio::test]
async fn what_could_not_be_answered_is_refused_at_once() {
    let (server, _) = stage().await;
    let ask = Ask::of("diary");
    for (name, value, error) in [
        ("redirect_uri", "https://evil.example/cb", "invalid_request"),
        ("redirect_uri", "", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("scope", "ä", "invalid_scope"),
        ("resource", "x", "invalid_target"),
        ("request_uri", "urn:ietf:params:oauth:request_uri:x", "invalid_request"),
        ("request", "e30", "invalid_request"),
    ] {
        assert_error(&push(&server, &ask.clone().with(name, value)).await, 400, error);
    }
    let long = "x".repeat(4097);
    assert_error(&push(&server, &ask.with("state", &long)).await, 400, "invalid_request");
    assert_eq!(server.count("select count(*) from pushed_requests").await, 0);
}

/// RFC 9449 section 10.1: a proof at this endpoint binds the code as `dpop_jkt` does, and both name one key.
#[tokio::test]
async fn rfc9449_s10_1_a_proof_of_a_pushed_request_binds_its_code() {
    let (server, cookie) = stage().await;
    let (key, other) = (Signer::new(), Signer::new());
    let proof = || key.proof("POST", PAR, server.app.clock.now());
    let ask = Ask::of("diary");
    for asked in [ask.clone(), ask.clone().with("dpop_jkt", &key.jkt())] {
        let code = answered(&server, push_with(&server, &asked, &proof()).await, &cookie).await;
        assert_error(&server.redeem("diary", &code, &[]).await, 400, "invalid_dpop_proof");
        assert_error(&redeem_by(&server, &code, &other).await, 400, "invalid_dpop_proof");
        let token = redeem_by(&server, &code, &key).await.token();
        assert_eq!(claims(&token)["cnf"]["jkt"], json!(key.jkt()));
    }
    let before = server.count("select count(*) from pushed_requests").await;
    let mismatched = ask.clone().with("dpop_jkt", &other.jkt());
    assert_error(&push_with(&server, &mismatched, &proof()).await, 400, "invalid_dpop_proof");
    assert_eq!(server.count("select count(*) from pushed_requests").await, before);
    // The parameter alone is no proof, but binds too.
    let code = answered(&server, push(&server, &mismatched).await, &cookie).await;
    assert_error(&redeem_by(&server, &code, &key).await, 400, "invalid_dpop_proof");
    redeem_by(&server, &code, &other).await.expect(200);
}

/// RFC 9449 section 4.3: the proof is for this request, good, and works once on all servers.
#[tokio::test]
async fn rfc9449_s4_3_a_proof_of_a_pushed_request_is_checked_in_full() {
    let (server, _) = stage().await;
    let replica = server.replica().await;
    let (key, other) = (Signer::new(), Signer::new());
    let now = server.app.clock.now();
    let ask = Ask::of("diary");
    let forged = other.jws(&key.proof_header(), &crate::proof::proof_claims("POST", PAR, now));
    for bad in [
        key.proof("POST", TOKEN, now),
        key.proof("GET", PAR, now),
        key.proof("POST", PAR, now - Duration::seconds(66)),
        key.proof("POST", PAR, now + Duration::seconds(6)),
        key.proof_with("POST", PAR, now, &json!({ "jti": null })),
        forged,
        "x".to_owned(),
    ] {
        assert_error(&push_with(&server, &ask, &bad).await, 400, "invalid_dpop_proof");
    }
    let stale = key.proof_with("POST", PAR, now, &json!({ "nonce": "x" }));
    assert_error(&push_with(&server, &ask, &stale).await, 400, "use_dpop_nonce");
    assert_eq!(server.count("select count(*) from pushed_requests").await, 0);
    // What is refused leaves the proof unused.
    let proof = key.proof("POST", PAR, now);
    assert_error(&push_with(&server, &ask.clone().with("scope", "ä"), &proof).await, 400, "invalid_scope");
    push_with(&server, &ask, &proof).await.expect(201);
    assert_error(&push_with(&replica, &ask, &proof).await, 400, "invalid_dpop_proof");
    assert_eq!(server.count("select count(*) from pushed_requests").await, 1);
}

#[tokio::test]
async fn rfc9449_s8_a_client_that_wants_nonces_repeats_one_here_too() {
    let (server, _) = stage().await;
    server.program_of_people("careful", json!({ "dpop_nonce_required": true })).await;
    let (key, ask) = (Signer::new(), Ask::of("careful"));
    let proof = |changes| key.proof_with("POST", PAR, server.app.clock.now(), &changes);
    let asked = push_with(&server, &ask, &proof(json!({}))).await;
    assert_error(&asked, 400, "use_dpop_nonce");
    let nonce = asked.header("dpop-nonce").to_owned();
    let pushed = push_with(&server, &ask, &proof(json!({ "nonce": nonce }))).await.expect(201);
    assert_eq!(pushed.header("dpop-nonce"), nonce);
}

/// A replayed proof costs the client's assertion nothing.
#[tokio::test]
async fn a_replayed_proof_leaves_the_assertion_beside_it_unused() {
    let (server, _) = stage().await;
    let (key, signer) = (Signer::new(), Signer::new());
    let more = json!({ "confidential": true, "token_endpoint_auth_method": "private_key_jwt",
        "jwks": { "keys": [signer.jwk()] } });
    server.program_of_people("site", more).await;
    let assertion = signer.assertion("site", server.app.clock.now());
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let ask = Ask::of("site").with("client_assertion_type", kind).with("client_assertion", &assertion);
    let proof = key.proof("POST", PAR, server.app.clock.now());
    push_with(&server, &Ask::of("diary"), &proof).await.expect(201);
    assert_error(&push_with(&server, &ask, &proof).await, 400, "invalid_dpop_proof");
    push(&server, &ask).await.expect(201);
    assert_error(&push(&server, &ask).await, 401, "invalid_client");
}
