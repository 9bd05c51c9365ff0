//! ES384, wherever a key of somebody else signs: a client's assertion, a proof of possession, a token of a trusted issuer.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::federation::{GITHUB, Platform, TYPE, trusted};
use crate::proof::proof_claims;
use crate::server::{Answer, Server};
use crate::signer::{Signer, assertion_claims, with};
use crate::tools::{assert_error, claims};

/// A key pair of P-384.
pub struct P384(EcdsaKeyPair);

impl P384 {
    pub fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
    }

    pub fn jwk(&self) -> Value {
        let point = self.0.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..49]), URL_SAFE_NO_PAD.encode(&point[49..]));
        json!({ "kty": "EC", "crv": "P-384", "x": x, "y": y })
    }

    pub fn jws(&self, header: &Value, claims: &Value) -> String {
        signed(header, claims, |input| self.0.sign(&SystemRandom::new(), input).unwrap().as_ref().to_vec())
    }
}

fn signed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(input.as_bytes()));
    format!("{input}.{signature}")
}

/// What does not pass where only this P-384 key is known: each with what is wrong.
fn forged(key: &P384, header: &Value, claims: &Value) -> Vec<(&'static str, String)> {
    let alg = |alg: &str| with(header, &json!({ "alg": alg }));
    let public = key.jwk().to_string().into_bytes();
    let hmac =
        |input: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA384, &public), input).as_ref().to_vec();
    let (other, small) = (P384::new(), Signer::new());
    vec![
        ("a name of another curve", key.jws(&alg("ES256"), claims)),
        ("a name of a larger one", key.jws(&alg("ES512"), claims)),
        ("another family", key.jws(&alg("RS384"), claims)),
        ("no name", key.jws(&alg("none"), claims)),
        ("another spelling", key.jws(&alg("es384"), claims)),
        ("another key of the curve", other.jws(&alg("ES384"), claims)),
        ("a key of another curve", small.jws(&alg("ES384"), claims)),
        ("a key of another curve by its own name", small.jws(&alg("ES256"), claims)),
        ("the public key as a secret", signed(&alg("HS384"), claims, hmac)),
        ("the same under a good name", signed(&alg("ES384"), claims, hmac)),
        ("zeros", signed(&alg("ES384"), claims, |_| vec![0; 96])),
        ("too short a signature", signed(&alg("ES384"), claims, |_| vec![1; 64])),
    ]
}

#[tokio::test]
async fn a_clients_assertion() {
    let (server, key) = (Server::new().await, P384::new());
    let (agent, _) = server.agent("worker").await;
    let keys = json!({ "keys": [key.jwk()] });
    let more = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": keys });
    server.program("worker", &agent, more).await;
    let header = json!({ "alg": "ES384" });
    let fresh = || assertion_claims("worker", server.app.clock.now());
    let ask = async |assertion: &str| {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion", assertion),
            ("client_assertion_type", TYPE),
        ];
        server.post("/oauth2/token").form(&form).send().await
    };
    for (what, token) in forged(&key, &header, &fresh()) {
        assert_eq!(ask(&token).await.refusal(), (401, "invalid_client"), "{what}");
    }
    let good = key.jws(&header, &fresh());
    ask(&good).await.expect(200);
    assert_error(&ask(&good).await, 401, "invalid_client");
}

#[tokio::test]
async fn a_proof_of_possession() {
    let (server, key) = (Server::new().await, P384::new());
    let (_, api_key) = server.agent("worker").await;
    let header = json!({ "typ": "dpop+jwt", "alg": "ES384", "jwk": key.jwk() });
    let fresh = || proof_claims("POST", "/oauth2/token", server.app.clock.now());
    let ask = async |proof: &str| -> Answer {
        let form = [("grant_type", "api_key"), ("api_key", api_key.as_str())];
        server.post("/oauth2/token").with("DPoP", proof).form(&form).send().await
    };
    for (what, proof) in forged(&key, &header, &fresh()) {
        assert_eq!(ask(&proof).await.refusal(), (400, "invalid_dpop_proof"), "{what}");
    }
    let mixed = with(&key.jwk(), &json!({ "crv": "P-256" }));
    let mixed = key.jws(&with(&header, &json!({ "jwk": mixed })), &fresh());
    assert_error(&ask(&mixed).await, 400, "invalid_dpop_proof");
    let token = ask(&key.jws(&header, &fresh())).await.expect(200).token();
    let thumbprint = chancery::kit::secret::sha256(key.jwk().to_string().as_bytes());
    assert_eq!(claims(&token)["cnf"]["jkt"], URL_SAFE_NO_PAD.encode(thumbprint));
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer() {
    let (server, platform, key) = (Server::new().await, Platform::new(GITHUB), P384::new());
    let keys = json!({ "keys": [with(&key.jwk(), &json!({ "kid": "k1", "alg": "ES384" }))] });
    let (issuer, _) = trusted(&server, &platform, json!({ "jwks": keys, "algorithms": ["ES384"] })).await;
    let header = json!({ "alg": "ES384", "kid": "k1" });
    let fresh = || platform.claims(&server);
    for (what, token) in forged(&key, &header, &fresh()) {
        assert_eq!(server.federate(&token, "a").await.refusal(), (401, "invalid_client"), "{what}");
    }
    server.federate(&key.jws(&header, &fresh()), "a").await.expect(200);
    // What an entry takes unless it says more is ES256 and RS256.
    let path = format!("/trusted-issuers/{issuer}");
    server.admin("PATCH", &path).json(json!({ "algorithms": ["ES256", "RS256"] })).send().await.expect(200);
    assert_error(&server.federate(&key.jws(&header, &fresh()), "a").await, 401, "invalid_client");
    let bad = json!({ "jwks": { "keys": [with(&key.jwk(), &json!({ "y": key.jwk()["x"] }))] } });
    server.admin("PATCH", &path).json(bad).send().await.expect(400);
}
