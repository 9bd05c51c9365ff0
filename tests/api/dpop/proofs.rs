//! What a proof must be like, and what it binds.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::TOKEN;
use crate::proof::proof_claims;
use crate::server::{Answer, ISSUER, Server};
use crate::signer::{Signer, with};
use crate::tools::{assert_error, claims, credentials};

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[track_caller]
fn refused(answer: &Answer, what: &str) {
    assert_eq!(answer.refusal(), (400, "invalid_dpop_proof"), "{what}: {}", answer.text);
    assert_error(answer, 400, "invalid_dpop_proof");
}

#[tokio::test]
async fn rfc9449_s5_a_proof_binds_the_token_of_every_grant() {
    let server = Server::new().await;
    let (agent, key) = (server.party("planner", Value::Null).await, Signer::new());
    let program = server.program("planner-app", &agent.id, Value::Null).await;
    let secret = [("client_id", program.client_id.as_str()), ("client_secret", &program.secret)];
    let subject = server.exchange(&agent.api_key, "a").await.token();
    let (assertion, actor) = (server.assertion(&agent), server.assertion(&agent));
    for form in [
        vec![("grant_type", "api_key"), ("api_key", &agent.api_key)],
        vec![("grant_type", crate::party::JWT_BEARER), ("assertion", &assertion)],
        [&[("grant_type", "client_credentials")], &secret[..]].concat(),
        vec![
            ("grant_type", crate::party::TOKEN_EXCHANGE),
            ("subject_token", &subject),
            ("actor_token", &actor),
        ],
    ] {
        let form = [&form[..], &[("scope", "a")]].concat();
        let call = server.post(TOKEN).form(&form).with("DPoP", &server.proof(&key));
        // RFC 9449 sections 5 and 6.1.
        let answer = call.send().await.expect(200);
        let cnf = json!({ "jkt": key.jkt() });
        assert_eq!((answer.text_of("token_type"), &answer.body["cnf"]), ("DPoP", &cnf));
        let token = answer.token();
        assert_eq!(claims(&token)["cnf"], cnf);
        let found = server.introspect(&token).await;
        // RFC 9449 section 6.2.
        assert_eq!(
            (&found["token_type"], &found["cnf"], &found["active"]),
            (&json!("DPoP"), &cnf, &json!(true))
        );
        let row = server.credential(claims(&token)["jti"].as_str().unwrap()).await;
        assert_eq!(row["dpop_key_thumbprint"], json!(key.jkt()));
    }
    let list = server.admin("GET", &format!("/agents/{}/tokens", agent.id)).send().await.expect(200);
    // All of one moment, in no order that is known: those of the four grants, and the subject that was not bound.
    let tokens = list.body["data"].as_array().unwrap();
    let bound = tokens.iter().filter(|token| token["jkt"] == key.jkt()).count();
    assert_eq!((bound, tokens.len()), (4, 5));
    let plain = server.exchange(&agent.api_key, "a").await.expect(200);
    assert_eq!((plain.text_of("token_type"), &plain.body["cnf"]), ("Bearer", &Value::Null));
    let plain = plain.token();
    assert_eq!(server.introspect(&plain).await["token_type"], "Bearer");
}

#[tokio::test]
async fn rfc9449_s6_1_every_hop_of_a_chain_names_its_key() {
    let server = Server::with(|config| config.tokens.profile = chancery::kit::config::Profile::Rfc8693).await;
    let (planner, fetcher) =
        (server.party("planner", json!({})).await, server.party("fetcher", json!({})).await);
    let (first, second) = (Signer::new(), Signer::new());
    let root = server.exchange(&planner.api_key, "a").await.token();
    let child = server.exchange_by(&root, &fetcher, "a", Some(&server.proof(&first))).await.token();
    let deeper = server.exchange_by(&child, &planner, "a", Some(&server.proof(&second))).await;
    refused(&deeper, "a bound subject with another key");
    let deeper = server.exchange_by(&child, &planner, "a", Some(&server.proof(&first))).await.token();
    let claims = claims(&deeper);
    let cnf = json!({ "jkt": first.jkt() });
    assert_eq!((&claims["cnf"], &claims["act"]["cnf"], &claims["act"]["act"]["cnf"]), (&cnf, &cnf, &cnf));
}

#[tokio::test]
async fn rfc9449_s4_3_1_there_is_one_dpop_header() {
    let server = Server::new().await;
    let (agent, key) = (server.party("planner", json!({})).await, Signer::new());
    let (one, two) = (server.proof(&key), server.proof(&key));
    let form = [("grant_type", "api_key"), ("api_key", agent.api_key.as_str())];
    for second in [one.as_str(), &two, ""] {
        let call = server.post(TOKEN).form(&form).with("DPoP", &one).with("DPoP", second);
        refused(&call.send().await, "two headers");
    }
    refused(&server.prove(&agent.api_key, "", &format!("{one}, {two}")).await, "a list");
    refused(&server.prove(&agent.api_key, "", "").await, "an empty header");
    assert_eq!(credentials(&server).await, 0);
    server.prove(&agent.api_key, "", &one).await.expect(200);
}

/// Changes of a header by which it is no proof's: checks 4 to 7.
fn bad_headers(key: &Signer) -> Vec<Value> {
    vec![
        json!({ "typ": null }),
        json!({ "typ": "JWT" }),
        json!({ "typ": "DPOP+JWT" }),
        json!({ "typ": "application/dpop+jwt" }),
        json!({ "alg": null }),
        json!({ "alg": "none" }),
        json!({ "alg": "HS256" }),
        json!({ "alg": "RS256" }),
        json!({ "alg": "ES384" }),
        json!({ "crit": ["exp"] }),
        json!({ "b64": false }),
        json!({ "jwk": null }),
        json!({ "jwk": "x" }),
        json!({ "jwk": [] }),
        json!({ "jwk": {} }),
        json!({ "jwk": Signer::new().jwk() }),
        json!({ "jwk": with(&key.jwk(), &json!({ "d": "AAAA" })) }),
        json!({ "jwk": with(&key.jwk(), &json!({ "k": "AAAA" })) }),
        json!({ "jwk": with(&key.jwk(), &json!({ "oth": [] })) }),
        json!({ "jwk": with(&key.jwk(), &json!({ "crv": "P-384" })) }),
        json!({ "jwk": with(&key.jwk(), &json!({ "y": key.jwk()["x"] })) }),
        json!({ "jwk": with(&key.jwk(), &json!({ "x": null })) }),
        json!({ "jwk": with(&key.jwk(), &json!({ "x": 7 })) }),
        json!({ "jwk": { "kty": "oct", "k": "AAAA" } }),
        json!({ "jwk": null, "kid": key.jkt() }),
        json!({ "jwk": null, "jku": "https://evil.example/jwks.json" }),
    ]
}

#[tokio::test]
async fn rfc9449_s4_3_a_proof_that_lacks_anything_is_refused() {
    let server = Server::new().await;
    let (agent, key) = (server.party("planner", json!({})).await, Signer::new());
    let now = server.app.clock.now().unix_timestamp();
    let mut bad: Vec<(String, String)> = Vec::new();
    for changes in [
        // Checks 3 and 12: what must be there, and its type.
        json!({ "jti": null }),
        json!({ "jti": "" }),
        json!({ "jti": 7 }),
        json!({ "jti": ["x"] }),
        json!({ "jti": "x".repeat(513) }),
        json!({ "htm": null }),
        json!({ "htu": null }),
        json!({ "htu": [format!("{ISSUER}{TOKEN}")] }),
        json!({ "iat": null }),
        json!({ "iat": now.to_string() }),
        json!({ "iat": 1_796_126_400.5 }),
        json!({ "iat": -1 }),
        json!({ "iat": i64::MIN }),
        json!({ "iat": i64::MAX }),
        json!({ "iat": u64::MAX }),
        json!({ "iat": true }),
        json!({ "exp": now }),
        json!({ "exp": now.to_string() }),
        json!({ "nbf": now + 6 }),
        json!({ "nbf": i64::MAX }),
        json!({ "ath": 7 }),
        json!({ "nonce": 7 }),
        // Check 8.
        json!({ "htm": "GET" }),
        json!({ "htm": "post" }),
        json!({ "htm": "" }),
        // Check 9.
        json!({ "htu": ISSUER }),
        json!({ "htu": format!("{ISSUER}{TOKEN}/") }),
        json!({ "htu": format!("{ISSUER}/oauth2/token/introspect") }),
        json!({ "htu": format!("{ISSUER}/OAUTH2/token") }),
        json!({ "htu": "http://127.0.0.1:8898/oauth2/token" }),
        json!({ "htu": "https://127.0.0.1:8899/oauth2/token" }),
        json!({ "htu": "https://evil.example/oauth2/token" }),
        json!({ "htu": "http://127.0.0.1:8899@evil.example/oauth2/token" }),
        json!({ "htu": "http://user@127.0.0.1:8899/oauth2/token" }),
        json!({ "htu": "/oauth2/token" }),
        json!({ "htu": "" }),
    ] {
        bad.push((changes.to_string().chars().take(100).collect(), server.proof_with(&key, &changes)));
    }
    let claims = proof_claims("POST", TOKEN, server.app.clock.now());
    for header in bad_headers(&key) {
        let token = key.jws(&with(&key.proof_header(), &header), &claims);
        bad.push((header.to_string(), token));
    }
    let good = server.proof(&key);
    let parts: Vec<&str> = good.split('.').collect();
    let (input, signature) = good.rsplit_once('.').unwrap();
    for (what, token) in [
        ("garbage", "x".to_owned()),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.x")),
        ("no signature", format!("{input}.")),
        ("another's signature", format!("{input}.{}", server.proof(&key).rsplit_once('.').unwrap().1)),
        ("a cut signature", format!("{input}.{}", &signature[..80])),
        ("changed claims", format!("{}.{}.{signature}", parts[0], encode(&claims))),
        ("a list of claims", key.sign(&format!("{}.{}", parts[0], encode(&json!([claims]))))),
        ("an access token", server.token(&agent.api_key).await),
        ("an assertion", server.assertion(&agent)),
        ("one that is too long", server.proof_with(&key, &json!({ "x": "x".repeat(20_000) }))),
    ] {
        bad.push((what.to_owned(), token));
    }
    let before = credentials(&server).await;
    for (what, token) in &bad {
        refused(&server.prove(&agent.api_key, "", token).await, what);
    }
    assert_eq!(credentials(&server).await, before);
    assert_eq!(server.count("select count(*) from used_once").await, 0);
    server.prove(&agent.api_key, "", &good).await.expect(200);
}

#[tokio::test]
async fn rfc9449_s4_3_what_is_allowed_passes() {
    let server = Server::new().await;
    let (agent, key) = (server.party("planner", json!({})).await, Signer::new());
    let now = server.app.clock.now().unix_timestamp();
    for changes in [
        json!({ "jti": "x".repeat(512) }),
        json!({ "htu": format!("{ISSUER}{TOKEN}?query=1#fragment") }),
        json!({ "htu": "HTTP://127.0.0.1:8899/oauth2/%74oken" }),
        json!({ "htu": "http://127.0.0.1:8899/x/../oauth2/token" }),
        json!({ "exp": now + 1 }),
        json!({ "nbf": now + 5 }),
        // There is no access token here, so its hash says nothing.
        json!({ "ath": "x" }),
        json!({ "sub": 7, "scope": ["x"] }),
    ] {
        let proof = server.proof_with(&key, &changes);
        server.prove(&agent.api_key, "", &proof).await.expect(200);
    }
    let more = json!({ "alg": "ES256", "use": "enc", "kid": "x", "x5u": "https://evil.example" });
    let header = with(&key.proof_header(), &json!({ "jwk": with(&key.jwk(), &more), "kid": "y" }));
    let proof = key.jws(&header, &proof_claims("POST", TOKEN, server.app.clock.now()));
    let answer = server.prove(&agent.api_key, "", &proof).await.expect(200);
    assert_eq!(answer.body["cnf"]["jkt"], json!(key.jkt()), "members beside the key's own do not change it");
}

/// A compact JWS with this algorithm and key.
fn signed(alg: &str, jwk: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let header = json!({ "typ": "dpop+jwt", "alg": alg, "jwk": jwk });
    let input = format!("{}.{}", encode(&header), encode(claims));
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(sign(input.as_bytes())))
}

#[tokio::test]
async fn rfc9449_s4_3_5_only_asymmetric_algorithms_of_the_list_that_fit_the_key() {
    let server = Server::new().await;
    let agent = server.party("planner", json!({})).await;
    let ed = Ed25519KeyPair::generate().unwrap();
    let ed_jwk =
        json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(ed.public_key().as_ref()) });
    let by_ed = |input: &[u8]| ed.sign(input).as_ref().to_vec();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let public = PublicKeyComponents::<Vec<u8>>::from(rsa.public_key());
    let (n, e) = (URL_SAFE_NO_PAD.encode(&public.n), URL_SAFE_NO_PAD.encode(&public.e));
    let rsa_jwk = json!({ "kty": "RSA", "n": n, "e": e });
    let by_rsa = |padding: &'static dyn RsaEncoding| {
        let rsa = &rsa;
        move |input: &[u8]| {
            let mut signature = vec![0; rsa.public_modulus_len()];
            rsa.sign(padding, &SystemRandom::new(), input, &mut signature).unwrap();
            signature
        }
    };
    let es = Signer::new();
    let by_hmac = |secret: Vec<u8>| {
        move |input: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), input).as_ref().to_vec()
    };
    let fresh = || proof_claims("POST", TOKEN, server.app.clock.now());
    for (good, proof) in [
        (true, signed("EdDSA", &ed_jwk, &fresh(), by_ed)),
        (true, signed("RS256", &rsa_jwk, &fresh(), by_rsa(&RSA_PKCS1_SHA256))),
        (true, signed("PS256", &rsa_jwk, &fresh(), by_rsa(&RSA_PSS_SHA256))),
        (false, signed("ES256", &ed_jwk, &fresh(), by_ed)),
        (false, signed("EdDSA", &es.jwk(), &fresh(), by_ed)),
        (false, signed("PS256", &rsa_jwk, &fresh(), by_rsa(&RSA_PKCS1_SHA256))),
        (false, signed("RS512", &rsa_jwk, &fresh(), by_rsa(&RSA_PKCS1_SHA256))),
        (false, signed("none", &es.jwk(), &fresh(), |_| Vec::new())),
        (false, signed("HS256", &es.jwk(), &fresh(), by_hmac(es.jwk().to_string().into_bytes()))),
        (false, signed("HS256", &json!({ "kty": "oct", "k": "AAAA" }), &fresh(), by_hmac(vec![0; 3]))),
        (false, signed("ES256", &json!({ "kty": "oct", "k": "AAAA" }), &fresh(), by_hmac(vec![0; 3]))),
        (
            false,
            signed("RS256", &json!({ "kty": "RSA", "n": n, "e": "AQ" }), &fresh(), by_rsa(&RSA_PKCS1_SHA256)),
        ),
    ] {
        let answer = server.prove(&agent.api_key, "", &proof).await;
        if good {
            assert_eq!(answer.expect(200).text_of("token_type"), "DPoP");
        } else {
            refused(&answer, &proof);
        }
    }
    let metadata = server.get("/.well-known/oauth-authorization-server").send().await.expect(200);
    let named = &metadata.body["dpop_signing_alg_values_supported"];
    assert_eq!(named, &json!(["ES256", "ES384", "EdDSA", "RS256", "PS256"]));
}

#[tokio::test]
async fn in_development_the_address_may_be_any_loopback_name_that_was_asked() {
    let server = Server::new().await;
    let (agent, key) = (server.party("planner", json!({})).await, Signer::new());
    let ask = async |host: &str, htu: &str| {
        let proof = server.proof_with(&key, &json!({ "htu": htu }));
        let form = [("grant_type", "api_key"), ("api_key", agent.api_key.as_str())];
        server.post(TOKEN).form(&form).instead("Host", host).with("DPoP", &proof).send().await
    };
    ask("localhost:8899", "http://localhost:8899/oauth2/token").await.expect(200);
    ask("[::1]:8899", "http://[::1]:8899/oauth2/token").await.expect(200);
    ask("localhost:8899", "http://127.0.0.1:8899/oauth2/token").await.expect(200);
    refused(&ask("127.0.0.1:8899", "http://localhost:8899/oauth2/token").await, "not what was asked");
    refused(&ask("evil.example", "http://evil.example/oauth2/token").await, "a foreign name");
    refused(&ask("localhost:8899", "https://localhost:8899/oauth2/token").await, "TLS that is not there");
}

#[tokio::test]
async fn in_production_the_address_is_the_issuers_whatever_the_host_says() {
    let server = Server::with(|config| {
        config.mode = chancery::kit::config::Mode::Production;
        config.issuer = "https://id.example".to_owned();
        config.admin_auth = chancery::kit::config::AdminAuth::Open;
    });
    let server = server.await;
    let (agent, key) = (server.party("planner", json!({})).await, Signer::new());
    let ask = async |host: &str, htu: &str| {
        let proof = server.proof_with(&key, &json!({ "htu": htu }));
        let form = [("grant_type", "api_key"), ("api_key", agent.api_key.as_str())];
        let call = server.post(TOKEN).form(&form).instead("Host", host).with("DPoP", &proof);
        call.with("X-Forwarded-Host", "evil.example").with("X-Forwarded-Proto", "https").send().await
    };
    ask("10.0.0.7:8899", "https://id.example/oauth2/token").await.expect(200);
    ask("id.example", "https://ID.example:443/oauth2/token").await.expect(200);
    refused(&ask("localhost", "http://localhost/oauth2/token").await, "a loopback name");
    refused(&ask("evil.example", "https://evil.example/oauth2/token").await, "a foreign name");
    refused(&ask("id.example", "http://id.example/oauth2/token").await, "without TLS");
}

#[tokio::test]
async fn a_proof_of_a_refused_request_is_not_used_up_and_a_refused_proof_uses_nothing_up() {
    let server = Server::new().await;
    let (agent, key) = (server.party("planner", json!({ "allowed_scopes": ["a"] })).await, Signer::new());
    let proof = server.proof(&key);
    assert_error(&server.prove(&agent.api_key, "z", &proof).await, 400, "invalid_scope");
    assert_error(&server.prove("zid_sk_wrong", "a", &proof).await, 400, "invalid_grant");
    server.prove(&agent.api_key, "a", &proof).await.expect(200);
    let assertion = server.assertion(&agent);
    let ask = async |proof: &str| {
        let form =
            [("grant_type", crate::party::JWT_BEARER), ("assertion", assertion.as_str()), ("scope", "a")];
        server.post(TOKEN).form(&form).with("DPoP", proof).send().await
    };
    refused(&ask("x").await, "a bad proof");
    ask(&server.proof(&key)).await.expect(200);
}

#[tokio::test]
async fn the_audit_log_tells_what_was_wrong() {
    let server = Server::new().await;
    let (agent, key) = (server.party("planner", json!({})).await, Signer::new());
    let program = server.program("planner-app", &agent.id, json!({})).await;
    let proof = server.proof(&key);
    server.prove(&agent.api_key, "a", &proof).await.expect(200);
    refused(&server.prove(&agent.api_key, "a", &proof).await, "a replay");
    let row = "select metadata ->> 'error' || ': ' || reason from audit_events where outcome = 'refused'";
    let reason = "invalid_dpop_proof: the DPoP proof was used before; sign a new one for every request";
    assert_eq!(server.text_from_sql(row).await, reason);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", program.client_id.as_str()),
        ("client_secret", &program.secret),
    ];
    refused(&server.post(TOKEN).form(&form).with("DPoP", "x").send().await, "a bad proof");
    let row = "select reason from audit_events where outcome = 'refused' and actor_id = 'planner-app'";
    let reason = "the DPoP proof is not accepted: it is not a signed JWT in the compact serialization";
    assert_eq!(server.text_from_sql(row).await, reason);
}
