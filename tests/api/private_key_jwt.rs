//! Clients that prove themselves with assertions of their own (RFC 7523 section 3).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use time::Duration;

use crate::server::{Answer, ISSUER, Server};
use crate::signer::{Signer, assertion_claims};
use crate::tools::{assert_error, claims};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

async fn ask(server: &Server, assertion: &str, more: &[(&str, &str)]) -> Answer {
    let own = [("client_assertion", assertion), ("client_assertion_type", TYPE)];
    let form = [&[("grant_type", "client_credentials")], &own[..], more].concat();
    server.post("/oauth2/token").form(&form).send().await
}

/// A client with these keys, bound to an agent of its own.
async fn with_keys(server: &Server, client_id: &str, keys: &[Value]) {
    let (agent, _) = server.agent(&format!("agent-of-{client_id}")).await;
    let more = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": keys } });
    server.program(client_id, &agent, more).await;
}

#[tokio::test]
async fn rfc7523_s3_an_assertion_works_once_on_every_server_and_endpoint() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let signer = Signer::new();
    with_keys(&server, "worker", &[signer.jwk()]).await;
    let fresh = || signer.assertion("worker", server.app.clock.now());
    let first = fresh();
    let token = ask(&server, &first, &[]).await.token();
    assert_eq!(claims(&token)["client_id"], "worker");
    assert_error(&ask(&server, &first, &[]).await, 401, "invalid_client");
    assert_error(&ask(&replica, &first, &[]).await, 401, "invalid_client");
    let look = async |server: &Server, assertion: &str| {
        let form =
            [("token", token.as_str()), ("client_assertion", assertion), ("client_assertion_type", TYPE)];
        server.post("/oauth2/token/introspect").form(&form).send().await
    };
    assert_error(&look(&replica, &first).await, 401, "invalid_client");
    let second = fresh();
    assert_eq!(look(&server, &second).await.expect(200).body["active"], true);
    assert_error(&look(&replica, &second).await, 401, "invalid_client");
    assert_error(&ask(&replica, &second, &[]).await, 401, "invalid_client");
    assert!(server.is_active(&token).await, "what the first use obtained stands");
}

#[tokio::test]
async fn of_many_that_present_one_assertion_at_once_one_obtains_a_token() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let signer = Signer::new();
    with_keys(&server, "worker", &[signer.jwk()]).await;
    let one = signer.assertion("worker", server.app.clock.now());
    let answers = tokio::join!(
        ask(&server, &one, &[]),
        ask(&replica, &one, &[]),
        ask(&server, &one, &[]),
        ask(&replica, &one, &[])
    );
    let answers = <[Answer; 4]>::from(answers);
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.refusal() == (401, "invalid_client")).count(), 3);
    assert_eq!(server.count("select count(*) from credentials").await, 1);
}

#[tokio::test]
async fn an_assertion_whose_request_was_refused_is_not_used_up() {
    let server = Server::new().await;
    let signer = Signer::new();
    with_keys(&server, "worker", &[signer.jwk()]).await;
    let one = signer.assertion("worker", server.app.clock.now());
    assert_error(&ask(&server, &one, &[("scope", "z")]).await, 400, "invalid_scope");
    ask(&server, &one, &[("scope", "a")]).await.expect(200);
}

#[tokio::test]
async fn audience_parties_and_life_are_checked() {
    let server = Server::new().await;
    let signer = Signer::new();
    with_keys(&server, "worker", &[signer.jwk()]).await;
    with_keys(&server, "other", &[Signer::new().jwk()]).await;
    let now = server.app.clock.now();
    let at = now.unix_timestamp();
    for (good, changes) in [
        (true, json!({})),
        (true, json!({ "exp": at + 300 })),
        (false, json!({ "exp": at + 301 })),
        (true, json!({ "iat": at - 60, "exp": at - 29 })),
        (false, json!({ "iat": at - 60, "exp": at - 30 })),
        (true, json!({ "aud": ["https://elsewhere.example", ISSUER] })),
        (false, json!({ "aud": "https://elsewhere.example" })),
        // The issuer is the one name of this server: the address of an endpoint is another's to claim.
        (false, json!({ "aud": format!("{ISSUER}/oauth2/token") })),
        (false, json!({ "aud": "worker" })),
        (false, json!({ "iss": "other" })),
        (false, json!({ "sub": "other" })),
        (false, json!({ "iss": "other", "sub": "other" })),
        (false, json!({ "iss": "nobody", "sub": "nobody" })),
        (false, json!({ "iss": null })),
        (false, json!({ "sub": null })),
        (false, json!({ "exp": null })),
        (false, json!({ "jti": null })),
    ] {
        let answer = ask(&server, &signer.assertion_with("worker", now, &changes), &[]).await;
        if good {
            answer.expect(200);
        } else {
            assert_error(&answer, 401, "invalid_client");
        }
    }
}

#[tokio::test]
async fn a_client_id_beside_an_assertion_names_its_issuer() {
    let server = Server::new().await;
    let signer = Signer::new();
    with_keys(&server, "worker", &[signer.jwk()]).await;
    with_keys(&server, "other", &[signer.jwk()]).await;
    let fresh = || signer.assertion("worker", server.app.clock.now());
    ask(&server, &fresh(), &[("client_id", "worker")]).await.expect(200);
    assert_error(&ask(&server, &fresh(), &[("client_id", "other")]).await, 401, "invalid_client");
    assert_error(&ask(&server, &fresh(), &[("client_id", "nobody")]).await, 401, "invalid_client");
}

#[tokio::test]
async fn each_client_has_one_method() {
    let server = Server::new().await;
    let agent = server.party("fetcher", json!({})).await;
    let by_secret = server.program("by-secret", &agent.id, json!({})).await;
    let method = json!({ "token_endpoint_auth_method": "private_key_jwt" });
    server.program("by-key", &agent.id, method).await;
    let sign = |name: &str| agent.signer.assertion(name, server.app.clock.now());
    ask(&server, &sign("by-key"), &[]).await.expect(200);
    assert_error(&ask(&server, &sign("by-secret"), &[]).await, 401, "invalid_client");
    server.client_credentials(&by_secret, "").await.expect(200);
    let form = [("grant_type", "client_credentials"), ("client_id", "by-key"), ("client_secret", "")];
    assert_error(&server.post("/oauth2/token").form(&form).send().await, 401, "invalid_client");
    // The agent's new key is the client's, too.
    let next = Signer::new();
    server.patch(&agent.id, json!({ "public_key_pem": next.pem() })).await.expect(200);
    assert_error(&ask(&server, &sign("by-key"), &[]).await, 401, "invalid_client");
    ask(&server, &next.assertion("by-key", server.app.clock.now()), &[]).await.expect(200);
}

#[tokio::test]
async fn keys_of_a_set_go_by_their_names_and_come_and_go_with_it() {
    let server = Server::new().await;
    let (one, two, bare) = (Signer::new(), Signer::new(), Signer::new());
    let named = |signer: &Signer, kid: &str| {
        let mut jwk = signer.jwk();
        jwk["kid"] = json!(kid);
        jwk
    };
    let keys = [named(&one, "one"), named(&two, "two"), bare.jwk()];
    with_keys(&server, "worker", &keys).await;
    let by = async |signer: &Signer, kid: Value| {
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": kid });
        let header = crate::signer::with(&header, &json!({}));
        let token = signer.jws(&header, &assertion_claims("worker", server.app.clock.now()));
        ask(&server, &token, &[]).await.status == 200
    };
    assert!(by(&one, json!("one")).await && by(&two, json!("two")).await);
    assert!(by(&one, Value::Null).await && by(&bare, Value::Null).await, "none named is any of them");
    assert!(!by(&one, json!("two")).await && !by(&bare, json!("one")).await && !by(&bare, json!("x")).await);
    let id = server.text_from_sql("select id::text from oauth_clients").await;
    let rest = json!({ "jwks": { "keys": [named(&two, "two")] } });
    server.patch_client(&id, rest).await.expect(200);
    assert!(!by(&one, json!("one")).await && !by(&one, Value::Null).await && by(&two, json!("two")).await);
}

/// A compact JWS with this algorithm.
fn signed(alg: &str, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", part(&json!({ "alg": alg })), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(input.as_bytes()));
    format!("{input}.{signature}")
}

#[tokio::test]
async fn rfc8725_s3_1_each_kind_of_key_signs_with_its_own_algorithms() {
    let server = Server::new().await;
    let ed = Ed25519KeyPair::generate().unwrap();
    let x = URL_SAFE_NO_PAD.encode(ed.public_key().as_ref());
    with_keys(&server, "ed", &[json!({ "kty": "OKP", "crv": "Ed25519", "x": x })]).await;
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let public = PublicKeyComponents::<Vec<u8>>::from(rsa.public_key());
    let (n, e) = (URL_SAFE_NO_PAD.encode(&public.n), URL_SAFE_NO_PAD.encode(&public.e));
    with_keys(&server, "rsa", &[json!({ "kty": "RSA", "n": n, "e": e })]).await;
    with_keys(&server, "pss", &[json!({ "kty": "RSA", "n": n, "e": e, "alg": "PS256" })]).await;
    let claims = |name: &str| assertion_claims(name, server.app.clock.now());
    let by_rsa = |padding: &'static dyn RsaEncoding| {
        let rsa = &rsa;
        move |input: &[u8]| {
            let mut signature = vec![0; rsa.public_modulus_len()];
            rsa.sign(padding, &SystemRandom::new(), input, &mut signature).unwrap();
            signature
        }
    };
    let by_ed = |input: &[u8]| ed.sign(input).as_ref().to_vec();
    for (good, token) in [
        (true, signed("EdDSA", &claims("ed"), by_ed)),
        (false, signed("ES256", &claims("ed"), by_ed)),
        (false, signed("RS256", &claims("ed"), by_ed)),
        (true, signed("RS256", &claims("rsa"), by_rsa(&RSA_PKCS1_SHA256))),
        (true, signed("PS256", &claims("rsa"), by_rsa(&RSA_PSS_SHA256))),
        (false, signed("RS256", &claims("rsa"), by_rsa(&RSA_PSS_SHA256))),
        (false, signed("RS512", &claims("rsa"), by_rsa(&RSA_PKCS1_SHA512))),
        (false, signed("RS256", &claims("rsa"), by_rsa(&RSA_PKCS1_SHA512))),
        (false, signed("ES256", &claims("rsa"), by_rsa(&RSA_PKCS1_SHA256))),
        (true, signed("PS256", &claims("pss"), by_rsa(&RSA_PSS_SHA256))),
        (false, signed("RS256", &claims("pss"), by_rsa(&RSA_PKCS1_SHA256))),
        (false, signed("EdDSA", &claims("pss"), by_ed)),
    ] {
        let answer = ask(&server, &token, &[]).await;
        assert_eq!(answer.status == 200, good, "{token}: {}", answer.text);
    }
}

#[tokio::test]
async fn what_is_remembered_of_an_assertion_lasts_as_long_as_it_could_come_again() {
    let server = Server::new().await;
    let signer = Signer::new();
    with_keys(&server, "worker", &[signer.jwk()]).await;
    let one = signer.assertion("worker", server.app.clock.now());
    ask(&server, &one, &[]).await.expect(200);
    for seconds in [60, 60, 29] {
        server.app.clock.advance(Duration::seconds(seconds));
        chancery::tokens::worker::forget(&server.app).await.unwrap();
        assert_error(&ask(&server, &one, &[]).await, 401, "invalid_client");
        assert_eq!(server.count("select count(*) from used_once").await, 1);
    }
    server.app.clock.advance(Duration::seconds(300));
    chancery::tokens::worker::forget(&server.app).await.unwrap();
    assert_eq!(server.count("select count(*) from used_once").await, 0);
    assert_error(&ask(&server, &one, &[]).await, 401, "invalid_client");
}
