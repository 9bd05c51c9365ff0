//! Public keys as JWKs (RFC 7517): which kinds there are, whether one is sound, and its thumbprint (RFC 7638).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, EcdsaVerificationAlgorithm, ParsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::jws::{Flaw, Key};
use super::secret;

/// A signature algorithm.
#[derive(ToSchema)]
#[schema(pattern = "^(ES256|ES384|EdDSA|RS256|PS256)$")]
pub struct AlgorithmName(pub String);

/// The algorithms of all kinds.
pub const ALGORITHMS: [&str; 5] = ["ES256", "ES384", "EdDSA", "RS256", "PS256"];

/// Members of private and symmetric keys.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Bits of an RSA modulus: what is shorter is weak, what is longer is not verified by every library.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The key is not for others to see.
pub const PRIVATE_KEY: Flaw =
    Flaw("it holds a private key: send the public key only, and make that key anew");

/// The members of a key of an elliptic curve with two coordinates.
const EC: &[&str] = &["crv", "kty", "x", "y"];

/// A kind of key.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The members that make up a key, in lexical order.
    pub members: &'static [&'static str],
    /// What it can sign with.
    pub algorithms: &'static [&'static str],
}

/// The kind of a public key whose members are sound.
pub fn kind(key: &Map<String, Value>) -> Result<Kind, Flaw> {
    if PRIVATE.iter().any(|member| key.contains_key(*member)) {
        return Err(PRIVATE_KEY);
    }
    let text = |member: &str| key.get(member).and_then(Value::as_str).unwrap_or_default();
    let (members, algorithms): (&[&str], &[&str]) = match (text("kty"), text("crv")) {
        ("EC", "P-256") if is_point(&ECDSA_P256_SHA256_FIXED, 32, [text("x"), text("y")]) => (EC, &["ES256"]),
        ("EC", "P-384") if is_point(&ECDSA_P384_SHA384_FIXED, 48, [text("x"), text("y")]) => (EC, &["ES384"]),
        ("OKP", "Ed25519") if bytes(text("x")).is_some_and(|x| x.len() == 32) => {
            (&["crv", "kty", "x"], &["EdDSA"])
        }
        ("RSA", _) if is_rsa(text("n"), text("e")) => (&["e", "kty", "n"], &["RS256", "PS256"]),
        _ => {
            return Err(Flaw(
                "it is no point of P-256 or P-384 (kty EC), no Ed25519 key (kty OKP), and no RSA key of 2048 to 8192 bits with \
                 an odd exponent of at least 65537",
            ));
        }
    };
    Ok(Kind { members, algorithms })
}

/// A public key, and by what it is known.
#[derive(Clone, Debug)]
pub struct PublicJwk {
    /// For verifying what it signed.
    pub key: Key,
    /// RFC 7638 with SHA-256, base64url.
    pub thumbprint: String,
}

impl PublicJwk {
    /// A key as somebody sends it. Members that say what it is for are ignored: here it proves possession of itself.
    pub fn parse(sent: &Value) -> Result<Self, Flaw> {
        let sent = sent.as_object().ok_or(Flaw("it is no JSON object"))?;
        let kept = |name: &&str| sent.get_key_value(*name).map(|(name, value)| (name.clone(), value.clone()));
        // A map is written in the order of its members' names, and without spaces (RFC 7638 section 3.3).
        let bare = Value::Object(kind(sent)?.members.iter().filter_map(kept).collect());
        let key = Key::from_jwk(&bare).ok_or(Flaw("it is of no kind that is known here"))?;
        let thumbprint = URL_SAFE_NO_PAD.encode(secret::sha256(bare.to_string().as_bytes()));
        Ok(Self { key, thumbprint })
    }
}

fn is_point(curve: &'static EcdsaVerificationAlgorithm, length: usize, coordinates: [&str; 2]) -> bool {
    let [Some(x), Some(y)] = coordinates.map(bytes) else { return false };
    let point = [&[4], &x[..], &y[..]].concat();
    x.len() == length && y.len() == length && ParsedPublicKey::new(curve, point).is_ok()
}

/// With an exponent of 1 a signature is the message itself; small ones help forgers against careless verifiers.
fn is_rsa(n: &str, e: &str) -> bool {
    let (Some(n), Some(e)) = (bytes(n), bytes(e)) else { return false };
    let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    let bits = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        number.get(zeros).map_or(0, |first| (number.len() - zeros) * 8 - first.leading_zeros() as usize)
    };
    odd(&n) && odd(&e) && RSA_BITS.contains(&bits(&n)) && (17..=33).contains(&bits(&e))
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rfc7638_s3_1_the_thumbprint_of_the_example() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRX\
                 jBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqz\
                 s8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-\
                 G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let key = json!({ "kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29" });
        let key = PublicJwk::parse(&key).unwrap();
        assert_eq!(key.thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}
