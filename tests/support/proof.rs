//! DPoP proofs (RFC 9449 section 4.2) of an agent's or client's key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery::kit::clock::Time;
use chancery::kit::secret::sha256;
use serde_json::{Value, json};

use crate::server::ISSUER;
use crate::signer::{Signer, with};

impl Signer {
    /// The thumbprint of the key (RFC 7638): maps are written in the order of their members' names.
    pub fn jkt(&self) -> String {
        URL_SAFE_NO_PAD.encode(sha256(self.jwk().to_string().as_bytes()))
    }

    /// The header of a proof.
    pub fn proof_header(&self) -> Value {
        json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk() })
    }

    /// A fresh proof for a request to this path.
    pub fn proof(&self, method: &str, path: &str, now: Time) -> String {
        self.proof_with(method, path, now, &json!({}))
    }

    /// The same for a request that presents this access token.
    pub fn proof_for(&self, token: &str, method: &str, path: &str, now: Time) -> String {
        self.proof_with(method, path, now, &json!({ "ath": ath(token) }))
    }

    /// The same with some claims set; `null` removes one.
    pub fn proof_with(&self, method: &str, path: &str, now: Time, changes: &Value) -> String {
        self.jws(&self.proof_header(), &with(&proof_claims(method, path, now), changes))
    }
}

/// The claims of a proof.
pub fn proof_claims(method: &str, path: &str, now: Time) -> Value {
    let jti = chancery::kit::ids::new(now).unwrap().simple().to_string();
    json!({ "htm": method, "htu": format!("{ISSUER}{path}"), "iat": now.unix_timestamp(), "jti": jti })
}

/// What a proof says of the access token that it goes with.
pub fn ath(token: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(token.as_bytes()))
}
