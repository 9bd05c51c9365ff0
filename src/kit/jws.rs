//! The compact serialization of a JWS (RFC 7515 section 3.1), and who may have signed one. The algorithm follows from
//! the key (RFC 8725 section 3.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use p256::PublicKey;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::pkcs8::DecodePublicKey;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// What is wrong with a signed text, in words for whoever made it. Never holds a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Flaw(pub &'static str);

/// The algorithms that a key of some kind may sign with.
#[derive(Clone, Debug)]
pub struct Key {
    key: DecodingKey,
    algorithms: &'static [Algorithm],
}

/// A compact JWS that was taken apart. Nothing of it is believed yet.
#[derive(Debug)]
pub struct Jws<'a> {
    signed: &'a str,
    signature: &'a str,
    header: Header,
    claims: String,
}

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    #[serde(default, deserialize_with = "present")]
    typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    kid: Option<String>,
    #[serde(default)]
    jwk: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    crit: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    b64: Option<Value>,
}

/// A member that is there has its type: null is a value of the wrong one, not the absence of a value (CVE-2026-25537).
pub fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl Key {
    /// A P-256 key from SPKI PEM.
    pub fn from_pem(pem: &str) -> Result<Self, Flaw> {
        const NO_KEY: Flaw = Flaw("the registered key is no P-256 key");
        let point = PublicKey::from_public_key_pem(pem.trim()).map_err(|_| NO_KEY)?.to_sec1_point(false);
        let (Some(x), Some(y)) = (point.x(), point.y()) else { return Err(NO_KEY) };
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let key = DecodingKey::from_ec_components(&x, &y).map_err(|_| NO_KEY)?;
        Ok(Self { key, algorithms: &[Algorithm::ES256] })
    }

    /// The keys of a JWK set that a signature's `kid` may mean: the one of that name, or all where none is named.
    pub fn from_set(set: &Value, kid: Option<&str>) -> Vec<Self> {
        let keys = set.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let named = |key: &&Value| kid.is_none() || key.get("kid").and_then(Value::as_str) == kid;
        keys.iter().filter(named).filter_map(Self::from_jwk).collect()
    }

    /// A single public key.
    pub fn from_jwk(key: &Value) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let algorithms: &[Algorithm] = match (text("kty")?, text("crv"), text("alg")) {
            ("EC", Some("P-256"), None | Some("ES256")) => &[Algorithm::ES256],
            ("EC", Some("P-384"), None | Some("ES384")) => &[Algorithm::ES384],
            ("OKP", Some("Ed25519"), None | Some("EdDSA" | "Ed25519")) => &[Algorithm::EdDSA],
            ("RSA", _, Some("RS256")) => &[Algorithm::RS256],
            ("RSA", _, Some("PS256")) => &[Algorithm::PS256],
            ("RSA", _, None) => &[Algorithm::RS256, Algorithm::PS256],
            _ => return None,
        };
        let jwk: Jwk = serde_json::from_value(key.clone()).ok()?;
        Some(Self { key: DecodingKey::from_jwk(&jwk).ok()?, algorithms })
    }
}

impl<'a> Jws<'a> {
    /// Takes a compact JWS apart; `longest` bounds its size in bytes. Refuses every other serialization and every
    /// critical extension.
    pub fn parse(token: &'a str, longest: usize) -> Result<Self, Flaw> {
        const MALFORMED: Flaw = Flaw("it is not a signed JWT in the compact serialization");
        if token.len() > longest {
            return Err(Flaw("it is too long"));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, claims) = signed.split_once('.').ok_or(MALFORMED)?;
        if claims.contains('.') || signature.is_empty() {
            return Err(MALFORMED);
        }
        // As text before anything parses it: a parser does not look into what it skips.
        let decode = |part: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| MALFORMED)?;
            String::from_utf8(bytes).map_err(|_| MALFORMED)
        };
        let header = decode(header)?;
        if !is_object(&header) {
            return Err(MALFORMED);
        }
        let header: Header = serde_json::from_str(&header).map_err(|_| MALFORMED)?;
        if header.crit.is_some() || header.b64.is_some() {
            return Err(Flaw("it names a critical extension, and none is supported"));
        }
        Ok(Self { signed, signature, header, claims: decode(claims)? })
    }

    /// What kind of token it says it is.
    pub fn typ(&self) -> Option<&str> {
        self.header.typ.as_deref()
    }

    /// The algorithm in the header, not to be believed.
    pub fn algorithm(&self) -> &str {
        &self.header.alg
    }

    /// What was signed: header and claims as they came.
    pub fn signed(&self) -> &str {
        self.signed
    }

    /// The name of the key in the header, not to be believed.
    pub fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// The key in the header, for those tokens that prove possession of it and nothing else.
    pub fn jwk(&self) -> Option<&Value> {
        self.header.jwk.as_ref()
    }

    /// The claims. A number in the place of a text, or the like, does not parse.
    pub fn claims<T: for<'de> Deserialize<'de>>(&self) -> Result<T, Flaw> {
        let flaw = Flaw("its claims are no JSON object, or a registered claim has the wrong type");
        if !is_object(&self.claims) {
            return Err(flaw);
        }
        serde_json::from_str(&self.claims).map_err(|_| flaw)
    }

    /// Whether one of the keys signed it, with an algorithm of that key.
    pub fn is_signed_by(&self, keys: &[Key]) -> bool {
        keys.iter().any(|key| {
            let algorithm = key.algorithms.iter().find(|known| name(**known) == self.header.alg);
            algorithm.is_some_and(|algorithm| {
                crypto::verify(self.signature, self.signed.as_bytes(), &key.key, *algorithm).unwrap_or(false)
            })
        })
    }
}

/// Whether it can be an object at all: a derived decoder would take a list for the members in their order.
fn is_object(json: &str) -> bool {
    json.trim_start().starts_with('{')
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::ES256 => "ES256",
        Algorithm::ES384 => "ES384",
        Algorithm::EdDSA => "EdDSA",
        Algorithm::RS256 => "RS256",
        Algorithm::PS256 => "PS256",
        _ => "",
    }
}
