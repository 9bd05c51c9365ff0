//! A P-256 key of an agent or client, and the assertions that it signs.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery::kit::clock::Time;
use p256::pkcs8::{EncodePublicKey, LineEnding};
use serde_json::{Value, json};

use crate::server::ISSUER;

/// A key pair.
#[derive(Clone)]
pub struct Signer {
    pair: Arc<EcdsaKeyPair>,
}

impl Signer {
    /// A new key.
    pub fn new() -> Self {
        Self { pair: Arc::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()) }
    }

    fn public(&self) -> p256::PublicKey {
        p256::PublicKey::from_sec1_bytes(self.pair.public_key().as_ref()).unwrap()
    }

    /// The public half as SPKI PEM.
    pub fn pem(&self) -> String {
        self.public().to_public_key_pem(LineEnding::LF).unwrap()
    }

    /// SHA-256 of the public half's SPKI, as `nkt` holds it.
    pub fn spki_digest(&self) -> String {
        let der = self.public().to_public_key_der().unwrap();
        URL_SAFE_NO_PAD.encode(chancery::kit::secret::sha256(der.as_bytes()))
    }

    /// The public half as a JWK.
    pub fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
        json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })
    }

    /// A compact JWS with this header and these claims.
    pub fn jws(&self, header: &Value, claims: &Value) -> String {
        self.sign(&format!("{}.{}", encode(header), encode(claims)))
    }

    /// Signs a JWS input.
    pub fn sign(&self, input: &str) -> String {
        let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// An assertion as the SDK signs it: issuer and subject are `name`, it is meant for the server and lives two minutes.
    pub fn assertion(&self, name: &str, now: Time) -> String {
        self.assertion_with(name, now, &json!({}))
    }

    /// The same with some claims set; `null` removes one.
    pub fn assertion_with(&self, name: &str, now: Time, changes: &Value) -> String {
        self.jws(&header(), &with(&assertion_claims(name, now), changes))
    }
}

/// The header of every assertion of the SDK.
pub fn header() -> Value {
    json!({ "alg": "ES256", "typ": "JWT" })
}

/// The claims of an assertion of the SDK.
pub fn assertion_claims(name: &str, now: Time) -> Value {
    let iat = now.unix_timestamp();
    let jti = chancery::kit::ids::new(now).unwrap().simple().to_string();
    json!({ "iss": name, "sub": name, "aud": ISSUER, "iat": iat, "exp": iat + 120, "jti": jti })
}

/// An object with some members set; `null` removes one.
pub fn with(base: &Value, changes: &Value) -> Value {
    let mut object = base.as_object().unwrap().clone();
    for (name, value) in changes.as_object().unwrap() {
        object.insert(name.clone(), value.clone());
    }
    object.retain(|_, value| !value.is_null());
    Value::Object(object)
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
