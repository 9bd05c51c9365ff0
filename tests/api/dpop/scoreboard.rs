//! What a thief does with a token that is bound to another's key, and how far he comes. The test prints the table.

use serde_json::json;

use super::TOKEN;
use crate::people::{Ask, redemption};
use crate::server::{Answer, Call, Server};
use crate::signer::Signer;

const REGISTRY: &str = "/agents/registry";

/// An attempt: what was tried, the answer, and what it must be refused with.
struct Attempt {
    what: &'static str,
    answer: Answer,
    refusal: &'static str,
}

impl Attempt {
    fn line(&self) -> String {
        let told = [self.answer.text_of("error"), self.answer.header("www-authenticate")].join(" ");
        let refused = self.answer.status.is_client_error() && told.contains(self.refusal);
        let verdict = if refused { "refused" } else { "PASSED" };
        format!("{:<58} {verdict:<8} {} {}", self.what, self.answer.status.as_u16(), self.refusal)
    }
}

/// A line for each attempt.
fn table(what: &str, attempts: &[Attempt]) -> String {
    let head = format!("\n{what:<67} answer");
    let lines: Vec<_> = [head].into_iter().chain(attempts.iter().map(Attempt::line)).collect();
    lines.join("\n")
}

/// A request with the token and a proof.
fn at<'a>(server: &'a Server, path: &str, token: &str, proof: &str) -> Call<'a> {
    server.get(path).with("Authorization", &format!("DPoP {token}")).with("DPoP", proof)
}

/// What a trusted proxy adds to its question.
fn forwarded(call: Call<'_>) -> Call<'_> {
    let call = call.from("10.0.0.1:1").with("X-Forwarded-Method", "GET").with("X-Forwarded-Proto", "https");
    call.with("X-Forwarded-Host", "shop.example").with("X-Forwarded-Uri", "/")
}

#[tokio::test]
async fn a_stolen_bound_token_is_worth_nothing() {
    let server = Server::with(|config| config.trusted_proxies = "10.0.0.0/8".parse().unwrap()).await;
    let replica = server.replica().await;
    let (victim, key) = (server.administrator().await, Signer::new());
    // The thief is an agent of the same tenant with a client, and has a key.
    let (thief, own) = (server.party("thief", json!({})).await, Signer::new());
    let program = server.program("thief-app", &thief.id, json!({})).await;
    let now = server.app.clock.now();
    let token = server.bound(&victim, "nhi:manage a", &key).await;
    // He saw one request of the victim go by.
    let seen = key.proof_for(&token, "GET", REGISTRY, now);
    at(&server, REGISTRY, &token, &seen).send().await.expect(200);
    let seen_at_token_endpoint = server.proof(&key);
    server.prove(&victim.api_key, "a", &seen_at_token_endpoint).await.expect(200);
    let (proof, bearer) = ("invalid_dpop_proof", "DPoP error=\"invalid_dpop_proof\"");
    let mut attempts = Vec::new();
    let mut tried = |what, refusal, answer| attempts.push(Attempt { what, answer, refusal });
    tried("as a bearer", bearer, server.get(REGISTRY).bearer(&token).send().await);
    let call = server.get(REGISTRY).bearer(&token).with("DPoP", &seen);
    tried("as a bearer, with the proof he saw", bearer, call.send().await);
    let call = server.get(REGISTRY).with("Authorization", &format!("DPoP {token}"));
    tried("without a proof", bearer, call.send().await);
    tried("with the proof he saw", bearer, at(&server, REGISTRY, &token, &seen).send().await);
    tried(
        "with the proof he saw, at the other server",
        bearer,
        at(&replica, REGISTRY, &token, &seen).send().await,
    );
    tried(
        "with the proof he saw, at another path",
        bearer,
        at(&server, "/credential-policies", &token, &seen).send().await,
    );
    let forged = own.proof_for(&token, "GET", REGISTRY, now);
    tried("with a proof by his own key", bearer, at(&server, REGISTRY, &token, &forged).send().await);
    let claims = crate::signer::with(
        &crate::proof::proof_claims("GET", REGISTRY, now),
        &json!({ "ath": crate::proof::ath(&token) }),
    );
    let forged = own.jws(&key.proof_header(), &claims);
    tried(
        "with the victim's key in the header, signed by his",
        bearer,
        at(&server, REGISTRY, &token, &forged).send().await,
    );
    let call = server.post("/agents/self/public-key").bearer(&token).json(json!({}));
    tried("to enrol a key of his", bearer, call.send().await);
    let call = forwarded(server.get("/oauth2/token/verify").bearer(&token));
    tried("through a proxy, as a bearer", bearer, call.send().await);
    let made = own.proof_with(
        "GET",
        "",
        now,
        &json!({ "htu": "https://shop.example/", "ath": crate::proof::ath(&token) }),
    );
    tried(
        "through a proxy, with his own key",
        bearer,
        forwarded(at(&server, "/oauth2/token/verify", &token, &made)).send().await,
    );
    tried("exchanged without a proof", proof, server.exchange_by(&token, &thief, "a", None).await);
    let answer = server.exchange_by(&token, &thief, "a", Some(&server.proof(&own))).await;
    tried("exchanged with a proof by his own key", proof, answer);
    let answer = server.exchange_by(&token, &thief, "a", Some(&seen_at_token_endpoint)).await;
    tried("exchanged with a proof he saw", proof, answer);
    let answer = server.exchange_as(&token, &program, "a", Some(&server.proof(&own))).await;
    tried("exchanged by his client", "access_denied", answer);
    let form = [("grant_type", crate::party::JWT_BEARER), ("assertion", token.as_str())];
    tried("as an assertion", "invalid_grant", server.post(TOKEN).form(&form).send().await);
    let form = [("token", token.as_str()), ("client_id", "thief-app"), ("client_secret", &program.secret)];
    let told = server.post("/oauth2/token/introspect").form(&form).send().await.expect(200);
    println!("{}", table("a stolen DPoP-bound token", &attempts));
    let names_key = told.body["cnf"]["jkt"] == json!(key.jkt()) && told.body["token_type"] == "DPoP";
    println!(
        "{:<58} {}",
        "introspection names the key that must be proved",
        if names_key { "yes" } else { "NO" }
    );
    assert!(names_key);
    assert!(attempts.iter().all(|attempt| attempt.line().contains("refused")));
    assert_eq!(server.count("select count(*) from credentials where parent_jti is not null").await, 0);
    let unproven = server.count("select count(*) from audit_events where action = 'token.unproven'").await;
    assert_eq!(unproven, 11, "each try at our own endpoints left a row");
    // The victim goes on.
    server.possessed("GET", REGISTRY, &token, &key).send().await.expect(200);
}

/// RFC 9449 section 5: of a public client the key is the one thing that a thief of a refresh token lacks; of a confidential
/// one he may have the secret too.
#[tokio::test]
async fn a_stolen_bound_refresh_token_is_worth_nothing() {
    let confidential = json!({ "confidential": true, "token_endpoint_auth_method": "client_secret_post" });
    for (kind, more) in [("public", json!({})), ("confidential", confidential)] {
        let server = Server::new().await;
        let replica = server.replica().await;
        let (key, own) = (Signer::new(), Signer::new());
        let victim = server.refresher("app", more).await;
        let thief = server.public_refresher("thief").await;
        let (seen_first, seen) = (server.proof(&key), server.proof(&key));
        let post = |form: Vec<(&str, &str)>, proof: Option<&str>| {
            let call = server.post(TOKEN).form(&form);
            super::with_proof(call, proof).send()
        };
        let cookie = server.cookie(&victim.user).await;
        let code = server.code(&Ask::of("app").with("scope", "a b"), &cookie).await;
        let form = redemption("app", &code, &[("client_secret", &victim.secret)]);
        let form = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let first = post(form, Some(&seen_first)).await.tokens();
        let stolen = post(victim.form(&first.refresh, &[]), Some(&seen)).await.tokens().refresh;
        let before = server.count("select count(*) from credentials").await;
        let (proof, forged) = ("invalid_dpop_proof", server.proof(&own));
        let claims = crate::proof::proof_claims("POST", TOKEN, server.app.clock.now());
        let signed_by_his = own.jws(&key.proof_header(), &claims);
        let elsewhere = key.proof("POST", "/oauth2/par", server.app.clock.now());
        let mut attempts = Vec::new();
        let mut tried = |what, refusal, answer| attempts.push(Attempt { what, answer, refusal });
        let form = || victim.form(&stolen, &[]);
        tried("without a proof", proof, post(form(), None).await);
        tried("with a proof by his own key", proof, post(form(), Some(&forged)).await);
        tried(
            "with the victim's key in the header, signed by his",
            proof,
            post(form(), Some(&signed_by_his)).await,
        );
        tried("with the proof he saw", proof, post(form(), Some(&seen)).await);
        let call = replica.post(TOKEN).form(&form()).with("DPoP", &seen_first);
        tried("with the proof he saw, on another server", proof, call.send().await);
        tried(
            "with a proof that the victim made for another endpoint",
            proof,
            post(form(), Some(&elsewhere)).await,
        );
        let unnamed = vec![("grant_type", "refresh_token"), ("refresh_token", stolen.as_str())];
        let (alone, name) =
            if kind == "public" { (proof, proof) } else { ("invalid_client", "invalid_client") };
        tried("without the client's name", alone, post(unnamed.clone(), Some(&forged)).await);
        let named = [unnamed, vec![("client_id", "app")]].concat();
        tried("with the client's name alone", name, post(named, Some(&forged)).await);
        tried("as a client of his", "invalid_grant", post(thief.form(&stolen, &[]), Some(&forged)).await);
        tried("as an access token", "invalid_token", server.get(REGISTRY).bearer(&stolen).send().await);
        let form = vec![("grant_type", crate::party::JWT_BEARER), ("assertion", stolen.as_str())];
        tried("as an assertion", "invalid_grant", post(form, Some(&forged)).await);
        println!("{}", table(&format!("a stolen DPoP-bound refresh token of a {kind} client"), &attempts));
        assert!(attempts.iter().all(|attempt| attempt.line().contains("refused")));
        assert_eq!(server.count("select count(*) from credentials").await, before);
        // The victim goes on, also from what was presented wrongly.
        let next = post(victim.form(&stolen, &[]), Some(&server.proof(&key))).await.tokens();
        assert!(server.is_active(&next.access).await);
    }
}
