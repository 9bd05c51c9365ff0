//! Forged tokens: one table, made from a real token, for every place that accepts one.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use p256::pkcs8::{EncodePublicKey, LineEnding};
use serde_json::{Value, json};

use crate::server::Server;
use crate::tools::part;

/// A forgery and what is wrong with it.
pub struct Forgery {
    pub what: String,
    pub token: String,
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// An object with some members set; `null` removes one.
fn with(base: &Value, changes: &Value) -> Value {
    let mut object = base.as_object().unwrap().clone();
    for (name, value) in changes.as_object().unwrap() {
        object.insert(name.clone(), value.clone());
    }
    object.retain(|_, value| !value.is_null());
    Value::Object(object)
}

/// A compact JWS signed with ES256 by a key that is not the server's.
fn foreign(header: &Value, claims: &Value) -> String {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let input = format!("{}.{}", encode(header), encode(claims));
    let signature = pair.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

fn hs256(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let input = format!("{}.{}", encode(header), encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

/// Signed by the server's own key, yet never issued.
fn ours(server: &Server, claims: &Value) -> String {
    let ring = server.app.keys.ring();
    ring.signer(server.app.clock.now(), 300).unwrap().sign(claims).unwrap()
}

/// Every forgery of the table. `real` and `other` are two live tokens.
pub async fn forgeries(server: &Server, real: &str, other: &str) -> Vec<Forgery> {
    let jwk = server.get("/.well-known/jwks.json").send().await.expect(200).body["keys"][0].clone();
    let mut all = Vec::new();
    let mut add = |what: &str, token: String| all.push(Forgery { what: what.to_owned(), token });
    algorithms(real, &jwk, &mut add);
    headers(real, &mut add);
    shapes(real, other, &mut add);
    never_issued(server, real, other, &mut add);
    signature_flips(real, &mut add);
    all
}

fn algorithms(real: &str, jwk: &Value, add: &mut impl FnMut(&str, String)) {
    let (header, claims) = (part(real, 0), part(real, 1));
    let signature = real.rsplit('.').next().unwrap();
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let header = with(&header, &json!({ "alg": none }));
        let input = format!("{}.{}", encode(&header), encode(&claims));
        add("alg none, no signature", format!("{input}."));
        add("alg none, the old signature", format!("{input}.{signature}"));
    }
    let hs = with(&header, &json!({ "alg": "HS256" }));
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let public = p256::PublicKey::from_sec1_bytes(&point).unwrap();
    let pem = public.to_public_key_pem(LineEnding::LF).unwrap();
    let der = public.to_public_key_der().unwrap();
    for (what, secret) in [
        ("HS256 over the point", point.as_slice()),
        ("HS256 over x and y", &point[1..]),
        ("HS256 over the JWK", jwk.to_string().as_bytes()),
        ("HS256 over the PEM", pem.as_bytes()),
        ("HS256 over the trimmed PEM", pem.trim().as_bytes()),
        ("HS256 over the DER", der.as_bytes()),
        ("HS256 over the kid", jwk["kid"].as_str().unwrap().as_bytes()),
        ("HS256 over nothing", b"".as_slice()),
    ] {
        add(what, hs256(&hs, &claims, secret));
    }
    for alg in ["ES384", "RS256", "PS256", "EdDSA", "es256", "HS512"] {
        add("another alg, the old signature", foreign(&with(&header, &json!({ "alg": alg })), &claims));
    }
}

fn headers(real: &str, add: &mut impl FnMut(&str, String)) {
    let (header, claims) = (part(real, 0), part(real, 1));
    let signature = real.rsplit('.').next().unwrap();
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" });
    for (what, changes) in [
        ("a foreign key under our kid", json!({})),
        ("a foreign kid", json!({ "kid": "elsewhere" })),
        ("no kid", json!({ "kid": null })),
        ("a kid that is a path", json!({ "kid": "../../../../dev/null" })),
        ("a kid that is SQL", json!({ "kid": "' or '1'='1" })),
        ("a kid that is a list", json!({ "kid": ["a"] })),
        ("jku", json!({ "jku": "https://evil.example/jwks.json" })),
        ("jwk", json!({ "jwk": jwk })),
        ("x5u", json!({ "x5u": "https://evil.example/cert.pem" })),
        ("x5c", json!({ "x5c": [STANDARD.encode("certificate")] })),
        ("crit", json!({ "crit": ["exp"] })),
        ("an unknown crit", json!({ "crit": ["https://evil.example/x"], "https://evil.example/x": true })),
        ("b64", json!({ "b64": false, "crit": ["b64"] })),
        ("another typ", json!({ "typ": "at+jwt" })),
        ("a JWE's header", json!({ "alg": "dir", "enc": "A256GCM" })),
    ] {
        let header = with(&header, &changes);
        add(what, foreign(&header, &claims));
        if header != part(real, 0) {
            add(what, format!("{}.{}.{signature}", encode(&header), real.split('.').nth(1).unwrap()));
        }
    }
}

fn shapes(real: &str, other: &str, add: &mut impl FnMut(&str, String)) {
    let parts: Vec<&str> = real.split('.').collect();
    let others: Vec<&str> = other.split('.').collect();
    let json = json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] });
    let general =
        json!({ "payload": parts[1], "signatures": [{ "protected": parts[0], "signature": parts[2] }] });
    add("flattened JSON serialization", json.to_string());
    add("general JSON serialization", general.to_string());
    add("a trailing dot", format!("{real}."));
    add("two trailing dots", format!("{real}.."));
    add("a leading dot", format!(".{real}"));
    add("five parts", format!("{real}.AAAA.AAAA"));
    add("no signature", format!("{}.{}.", parts[0], parts[1]));
    add("no signature and no dot", format!("{}.{}", parts[0], parts[1]));
    add("only the payload", format!(".{}.", parts[1]));
    for at in 0..3 {
        let mut padded: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        padded[at].push('=');
        add("padding", padded.join("."));
        padded[at].push('=');
        add("double padding", padded.join("."));
    }
    let standard = |part: &str| STANDARD.encode(URL_SAFE_NO_PAD.decode(part).unwrap());
    add("the other base64 alphabet", parts.iter().map(|part| standard(part)).collect::<Vec<_>>().join("."));
    add("another token's payload", [parts[0], others[1], parts[2]].join("."));
    add("another token's signature", [parts[0], parts[1], others[2]].join("."));
    add("a character inside", format!("{} {}", &real[..40], &real[40..]));
    for length in [1, 10, real.len() / 2, real.len() - 10, real.len() - 2, real.len() - 1] {
        add("truncated", real[..length].to_owned());
    }
    for tail in ["A", "AAAA", "\"", "%00", "%20", "?", "#", ".eyJ9"] {
        add("extended", format!("{real}{tail}"));
    }
    add("twice", format!("{real}{real}"));
    add("oversized", format!("{real}{}", "A".repeat(17_000)));
    add("in other case", real.to_lowercase());
}

fn never_issued(server: &Server, real: &str, other: &str, add: &mut impl FnMut(&str, String)) {
    let (claims, others) = (part(real, 1), part(other, 1));
    for (what, changes) in [
        ("our signature again", json!({})),
        ("our signature, exp is text", json!({ "exp": claims["exp"].to_string() })),
        ("our signature, exp is a float", json!({ "exp": 1.9e9 })),
        ("our signature, exp is huge", json!({ "exp": 1e300 })),
        ("our signature, exp is negative", json!({ "exp": -1 })),
        ("our signature, exp is a list", json!({ "exp": [claims["exp"]] })),
        ("our signature, no exp", json!({ "exp": null })),
        ("our signature, no aud", json!({ "aud": null })),
        ("our signature, no sub", json!({ "sub": null })),
        ("our signature, no jti", json!({ "jti": null })),
        ("our signature, jti is a number", json!({ "jti": 7 })),
        ("our signature, jti is a list", json!({ "jti": [claims["jti"]] })),
        ("our signature, jti is no UUID", json!({ "jti": "x" })),
        (
            "our signature, jti in braces",
            json!({ "jti": format!("{{{}}}", claims["jti"].as_str().unwrap()) }),
        ),
        ("our signature, an unknown jti", json!({ "jti": "01900000-0000-7000-8000-000000000000" })),
        ("our signature, the jti of another token", json!({ "jti": others["jti"] })),
        ("our signature, more scopes", json!({ "scopes": ["nhi:manage"], "scope": "nhi:manage" })),
        ("our signature, another tenant", json!({ "account_id": "other" })),
        ("our signature, a neighbour issuer", json!({ "iss": "https://neighbour.example" })),
        ("our signature, a neighbour audience", json!({ "aud": ["https://neighbour.example"] })),
    ] {
        add(what, ours(server, &with(&claims, &changes)));
    }
    for payload in [json!([]), json!("x"), json!(7), json!({})] {
        add("our signature, the payload is no set of claims", ours(server, &payload));
    }
    let neighbour = with(&claims, &json!({ "iss": "https://neighbour.example" }));
    add("a neighbour's token", foreign(&part(real, 0), &neighbour));
}

/// Another letter at each place of the signature, one at a time. It differs in its leading bit, so that the decoded bytes
/// differ as well.
fn signature_flips(real: &str, add: &mut impl FnMut(&str, String)) {
    let start = real.rfind('.').unwrap() + 1;
    for at in start..real.len() {
        let mut bytes = real.as_bytes().to_vec();
        bytes[at] = if bytes[at] < b'a' { b'z' } else { b'B' };
        add("a flipped letter of the signature", String::from_utf8(bytes).unwrap());
    }
}
