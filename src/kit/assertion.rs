//! JWTs from outside: assertions and proofs that agents and clients sign themselves. Only a compact JWS with the
//! algorithm of its key passes (RFC 8725 section 3.1), and every claim must be there with its right type.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use p256::PublicKey;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::pkcs8::DecodePublicKey;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use time::Duration;

use super::clock::Time;
use super::secret;

/// How far another clock may be off. The same for every time in every assertion.
pub const SKEW: Duration = Duration::seconds(30);

/// The algorithms of assertions: all with a public key, none that a text in a token could turn into another.
pub const ALGORITHMS: [&str; 4] = ["ES256", "EdDSA", "RS256", "PS256"];

/// What is wrong with an assertion, in words for whoever made it. Never holds a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Flaw(pub &'static str);

/// It was signed by somebody else, or there is nobody of whom it speaks: one answer, so that nobody can ask who exists.
pub const NOT_SIGNED: Flaw =
    Flaw("it is not signed by a registered key of its issuer with that key's algorithm");

/// The algorithms that a key of some kind may sign with.
#[derive(Clone, Debug)]
pub struct Key {
    key: DecodingKey,
    algorithms: &'static [Algorithm],
}

/// A compact JWS that was taken apart. Nothing of it is believed yet.
#[derive(Debug)]
pub struct Assertion<'a> {
    signed: &'a str,
    signature: &'a str,
    header: Header,
    claims: Claims,
    /// The claims as they came.
    text: String,
}

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    #[serde(default, deserialize_with = "present")]
    typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    b64: Option<Value>,
}

/// The claims that are read; others are ignored. A number in the place of a text, or the like, does not parse.
#[derive(Clone, Debug, Deserialize)]
pub struct Claims {
    /// Who signed.
    #[serde(default, deserialize_with = "present")]
    pub iss: Option<String>,
    /// Of whom it speaks.
    #[serde(default, deserialize_with = "present")]
    pub sub: Option<String>,
    #[serde(default, deserialize_with = "present")]
    aud: Option<Audience>,
    #[serde(default, deserialize_with = "present")]
    exp: Option<i64>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<i64>,
    #[serde(default, deserialize_with = "present")]
    iat: Option<i64>,
    #[serde(default, deserialize_with = "present")]
    jti: Option<String>,
    /// The thumbprint of a new key, in a proof of the current one.
    #[serde(default, deserialize_with = "present")]
    pub nkt: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// A member that is there has its type: null is a value of the wrong one, not the absence of a value (CVE-2026-25537).
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// What must be true of an assertion beside its signature.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Who it must be meant for.
    pub audience: &'a str,
    /// The longest time from issue to end.
    pub longest: Duration,
    /// Now.
    pub now: Time,
}

/// What makes an assertion recognisable when it comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// The digest of who signed and its `jti`.
    pub key: [u8; 32],
    /// From when on it is refused anyway.
    pub until: Time,
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

    /// The keys of a JWK set that an assertion's `kid` may mean: the one of that name, or all where none is named.
    pub fn from_set(set: &Value, kid: Option<&str>) -> Vec<Self> {
        let keys = set.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let named = |key: &&Value| kid.is_none() || key.get("kid").and_then(Value::as_str) == kid;
        keys.iter().filter(named).filter_map(Self::from_jwk).collect()
    }

    fn from_jwk(key: &Value) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let algorithms: &[Algorithm] = match (text("kty")?, text("crv"), text("alg")) {
            ("EC", Some("P-256"), None | Some("ES256")) => &[Algorithm::ES256],
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

impl<'a> Assertion<'a> {
    /// Takes a compact JWS apart; `longest` bounds its size in bytes. Refuses every other serialization, every critical
    /// extension, and claims of the wrong type.
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
        let header: Header = serde_json::from_str(&decode(header)?).map_err(|_| MALFORMED)?;
        if header.crit.is_some() || header.b64.is_some() {
            return Err(Flaw("it names a critical extension, and none is supported"));
        }
        if header.typ.as_deref().is_some_and(|typ| !typ.eq_ignore_ascii_case("jwt")) {
            return Err(Flaw("its typ is not JWT"));
        }
        let text = decode(claims)?;
        let claims: Claims = serde_json::from_str(&text)
            .map_err(|_| Flaw("its claims are no JSON object, or a registered claim has the wrong type"))?;
        // Postgres, which is asked for the issuer before anything is verified, can't hold it.
        if [&claims.iss, &claims.sub].into_iter().flatten().any(|name| name.contains('\0')) {
            return Err(Flaw("its iss or sub holds the NUL character"));
        }
        Ok(Self { signed, signature, header, claims, text })
    }

    /// The claims, not to be believed before [`Assertion::verify`]: for finding the key.
    pub fn unverified(&self) -> &Claims {
        &self.claims
    }

    /// The name of the key in the header, not to be believed either.
    pub fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// The algorithm in the header, not to be believed either.
    pub fn algorithm(&self) -> &str {
        &self.header.alg
    }

    /// Any claim, not to be believed before it is verified.
    pub fn claim(&self, name: &str) -> Option<Value> {
        serde_json::from_str::<serde_json::Map<String, Value>>(&self.text).ok()?.remove(name)
    }

    /// Verifies signature, audience, times and presence of `sub`, `exp` and `jti`. Who signed and of whom it speaks is
    /// the caller's to compare. Answers by what a second use is recognised.
    pub fn verify(&self, keys: &[Key], expected: &Expected<'_>) -> Result<Once, Flaw> {
        let end = self.check(keys, expected)?;
        let claims = &self.claims;
        let jti = claims.jti.as_deref().filter(|jti| (1..=512).contains(&jti.len()));
        let jti = jti.ok_or(Flaw("it has no jti of 1 to 512 characters"))?;
        let signer = claims.iss.as_deref().or(claims.sub.as_deref()).unwrap_or_default();
        Ok(Once { key: once(signer, jti), until: end + SKEW })
    }

    /// The same for a token that an issuer signed for somebody else: it says when it was issued, which was at most `oldest`
    /// ago, and need not have a `jti`. Without one it is recognised by what was signed, since a signature can be written in
    /// more than one way. `place` keeps apart what issuers of the same name signed.
    pub fn verify_of_issuer(
        &self,
        keys: &[Key],
        expected: &Expected<'_>,
        (oldest, place): (Duration, &str),
    ) -> Result<Once, Flaw> {
        let end = self.check(keys, expected)?;
        let issued = self.claims.iat.and_then(|iat| Time::from_unix_timestamp(iat).ok());
        let issued = issued.ok_or(Flaw("it has no iat"))?;
        if expected.now - issued >= oldest + SKEW {
            return Err(Flaw("it was issued too long ago"));
        }
        let key = match self.claims.jti.as_deref() {
            Some(jti) => once(place, jti),
            None => once(place, &format!(" {}", self.signed)),
        };
        Ok(Once { key, until: end + SKEW })
    }

    /// Signature, audience, `sub` and times. Answers the end.
    fn check(&self, keys: &[Key], expected: &Expected<'_>) -> Result<Time, Flaw> {
        let signed_by = |key: &Key| {
            let algorithm = key.algorithms.iter().find(|known| name(**known) == self.header.alg);
            algorithm.is_some_and(|algorithm| {
                crypto::verify(self.signature, self.signed.as_bytes(), &key.key, *algorithm).unwrap_or(false)
            })
        };
        if !keys.iter().any(signed_by) {
            return Err(NOT_SIGNED);
        }
        let claims = &self.claims;
        if !claims.is_for(expected.audience) {
            return Err(Flaw("its aud is not this server"));
        }
        if claims.sub.as_deref().unwrap_or_default().is_empty() {
            return Err(Flaw("it has no sub"));
        }
        claims.check_times(expected)
    }
}

/// The digest of a name and what is unique under it.
fn once(signer: &str, unique: &str) -> [u8; 32] {
    secret::sha256(format!("{}:{signer}{unique}", signer.len()).as_bytes())
}

impl Claims {
    /// For whom it says that it is meant.
    pub fn audiences(&self) -> Vec<&str> {
        match &self.aud {
            Some(Audience::One(one)) => vec![one],
            Some(Audience::Many(many)) => many.iter().map(String::as_str).collect(),
            None => Vec::new(),
        }
    }

    fn is_for(&self, audience: &str) -> bool {
        self.audiences().contains(&audience)
    }

    /// The end, once it lies ahead and not too far.
    fn check_times(&self, expected: &Expected<'_>) -> Result<Time, Flaw> {
        let time = |seconds: i64| match Time::from_unix_timestamp(seconds) {
            Ok(time) if seconds >= 0 => Ok(time),
            _ => Err(Flaw("a time in it is no time")),
        };
        let now = expected.now;
        let end = time(self.exp.ok_or(Flaw("it has no exp"))?)?;
        // Never added to a time that comes from outside: beyond the last year there is none.
        if now - end >= SKEW {
            return Err(Flaw("it has expired"));
        }
        if let Some(start) = self.nbf
            && time(start)? > now + SKEW
        {
            return Err(Flaw("it is not valid yet"));
        }
        let issued = self.iat.map(time).transpose()?;
        if issued.is_some_and(|issued| issued > now + SKEW) {
            return Err(Flaw("its iat lies in the future"));
        }
        if issued.is_some_and(|issued| end < issued) {
            return Err(Flaw("its exp lies before its iat"));
        }
        if end - issued.unwrap_or(now) > expected.longest || end > now + expected.longest + SKEW {
            return Err(Flaw("it lives too long"));
        }
        Ok(end)
    }
}

fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::ES256 => "ES256",
        Algorithm::EdDSA => "EdDSA",
        Algorithm::RS256 => "RS256",
        Algorithm::PS256 => "PS256",
        _ => "",
    }
}
