//! The wrong algorithm, or the right one with the wrong key.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::pkcs8::{EncodePublicKey, LineEnding};
use serde_json::json;

use super::maker::{Maker, Rows, changed, encode};
use crate::signer::Signer;

/// Every row.
pub fn rows(maker: &Maker, rows: &mut Rows) {
    unsigned(maker, rows);
    swapped(maker, rows);
    symmetric(maker, rows);
    foreign(maker, rows);
    signatures(maker, rows);
}

fn unsigned(maker: &Maker, rows: &mut Rows) {
    let signature = signature(&maker.good[0]);
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let header = changed(&maker.header, &json!({ "alg": none }));
        let input = format!("{}.{}", encode(&header), encode(&maker.claims));
        rows.add(format!("alg {none:?}, no signature"), format!("{input}."));
        rows.add(format!("alg {none:?}, an old signature"), format!("{input}.{signature}"));
        rows.add(format!("alg {none:?}, our signature"), maker.with_header(&json!({ "alg": none })));
    }
}

/// The right key signs, and the header says otherwise.
fn swapped(maker: &Maker, rows: &mut Rows) {
    for alg in [
        "es256", "Es256", "ES256 ", " ES256", "ES256K", "ES384", "ES512", "RS256", "RS512", "PS256", "EdDSA",
        "Ed25519", "HS256", "HS512", "ECDH-ES", "ES256\0",
    ] {
        rows.add(
            format!("alg {alg:?}, the right key's signature"),
            maker.with_header(&json!({ "alg": alg })),
        );
    }
    for alg in [json!(null), json!(256), json!(["ES256"]), json!({ "ES256": true }), json!(true)] {
        rows.add(format!("alg is {alg}"), maker.with_header(&json!({ "alg": alg })));
    }
    let mut header = maker.header.clone();
    header.as_object_mut().unwrap().remove("alg");
    rows.add("no alg", maker.jws(&header, &maker.claims));
}

/// What is public is the secret.
fn symmetric(maker: &Maker, rows: &mut Rows) {
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(maker.jwk[name].as_str().unwrap()).unwrap();
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    let public = p256::PublicKey::from_sec1_bytes(&point).unwrap();
    let pem = public.to_public_key_pem(LineEnding::LF).unwrap();
    let der = public.to_public_key_der().unwrap();
    let kid = maker.jwk["kid"].as_str().unwrap_or("kid");
    for (what, secret) in [
        ("the point", point.as_slice()),
        ("x and y", &point[1..]),
        ("the JWK", maker.jwk.to_string().as_bytes()),
        ("the PEM", pem.as_bytes()),
        ("the trimmed PEM", pem.trim().as_bytes()),
        ("the DER", der.as_bytes()),
        ("the kid", kid.as_bytes()),
        ("nothing", b"".as_slice()),
    ] {
        for alg in ["HS256", "ES256"] {
            let header = changed(&maker.header, &json!({ "alg": alg }));
            let input = format!("{}.{}", encode(&header), encode(&maker.claims));
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
            let token = format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()));
            rows.add(format!("an HMAC over {what} as {alg}"), token);
        }
    }
}

/// Good signatures of keys that nobody registered.
fn foreign(maker: &Maker, rows: &mut Rows) {
    let random = SystemRandom::new();
    let by = |alg: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        let header = changed(&maker.header, &json!({ "alg": alg }));
        let input = format!("{}.{}", encode(&header), encode(&maker.claims));
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(sign(input.as_bytes())))
    };
    let other = Signer::new();
    rows.add("another P-256 key", other.jws(&maker.header, &maker.claims));
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    rows.add("a P-384 key", by("ES384", &|input| p384.sign(&random, input).unwrap().as_ref().to_vec()));
    let ed = Ed25519KeyPair::generate().unwrap();
    rows.add("an Ed25519 key", by("EdDSA", &|input| ed.sign(input).as_ref().to_vec()));
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let signed = |input: &[u8]| {
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, input, &mut signature).unwrap();
        signature
    };
    rows.add("an RSA key", by("RS256", &signed));
    attackers_key_in_the_header(maker, rows, &other, ed.public_key().as_ref());
}

/// The attacker signs, and his header says where his key is.
fn attackers_key_in_the_header(maker: &Maker, rows: &mut Rows, attacker: &Signer, ed: &[u8]) {
    let jwk = attacker.jwk();
    let set = json!({ "keys": [jwk] });
    let data = format!("data:application/json;base64,{}", URL_SAFE_NO_PAD.encode(set.to_string()));
    let ed = json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(ed) });
    for (what, changes) in [
        ("jwk", json!({ "jwk": jwk })),
        ("jwk of another kind", json!({ "jwk": ed })),
        ("jwk with our kid", json!({ "jwk": changed(&jwk, &json!({ "kid": maker.jwk["kid"] })) })),
        ("jku", json!({ "jku": "https://evil.example/jwks.json" })),
        ("jku with data", json!({ "jku": data })),
        ("jku to a file", json!({ "jku": "file:///etc/passwd" })),
        ("jku within this machine", json!({ "jku": "http://169.254.169.254/" })),
        ("x5u", json!({ "x5u": "https://evil.example/cert.pem" })),
        ("x5c", json!({ "x5c": [URL_SAFE_NO_PAD.encode("certificate")] })),
        ("x5t", json!({ "x5t": "AAAA", "x5t#S256": "AAAA" })),
        ("jwk and jku and x5c", json!({ "jwk": jwk, "jku": "https://evil.example", "x5c": ["AAAA"] })),
    ] {
        let header = changed(&maker.header, &changes);
        rows.add(format!("the attacker's key, in {what}"), attacker.jws(&header, &maker.claims));
    }
}

/// No signature at all, or another form of the right one.
fn signatures(maker: &Maker, rows: &mut Rows) {
    let input = maker.good[0].rsplit_once('.').unwrap().0;
    let raw = URL_SAFE_NO_PAD.decode(signature(&maker.good[0])).unwrap();
    let (r, s) = raw.split_at(32);
    let (zero, one) = ([0; 32], [vec![0; 31], vec![1]].concat());
    for (what, bytes) in [
        ("zeros", vec![0; 64]),
        ("r and s of one", [one.clone(), one].concat()),
        ("ones", vec![0xff; 64]),
        ("r alone", [r, &zero].concat()),
        ("s alone", [&zero, s].concat()),
        ("s before r", [s, r].concat()),
        ("the DER form", der(r, s)),
        ("one byte", vec![0]),
        ("a byte less", raw[..63].to_vec()),
        ("a byte more", [&raw[..], &[0]].concat()),
        ("twice", [&raw[..], &raw].concat()),
    ] {
        rows.add(format!("a signature of {what}"), format!("{input}.{}", URL_SAFE_NO_PAD.encode(bytes)));
    }
}

fn signature(token: &str) -> &str {
    token.rsplit('.').next().unwrap()
}

/// The ASN.1 form of a signature.
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let start = number.iter().position(|byte| *byte != 0).unwrap_or(31);
        let mut bytes = number[start..].to_vec();
        if bytes[0] >= 0x80 {
            bytes.insert(0, 0);
        }
        [vec![2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    };
    let both = [integer(r), integer(s)].concat();
    [vec![0x30, u8::try_from(both.len()).unwrap()], both].concat()
}
