//! Public keys as JWKs and as PEM.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery::kit::jwk::PublicJwk;
use chancery::kit::jws::Key;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use crate::inputs::{around, value};
use crate::run::fuzz;
use crate::signer::Signer;

const PIECES: &[&str] =
    &["kty", "crv", "x", "y", "n", "e", "d", "k", "alg", "use", "EC", "RSA", "OKP", "P-256", "P-384"];

/// The numbers of a 2048-bit RSA key and of points of Ed25519 (RFC 8037, appendix A.2) and P-384.
fn keys() -> [Value; 4] {
    let modulus = URL_SAFE_NO_PAD.encode([&[0xb5_u8; 255][..], &[0x01]].concat());
    [
        Signer::new().jwk(),
        json!({ "kty": "RSA", "n": modulus, "e": "AQAB" }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }),
        json!({ "kty": "EC", "crv": "P-384",
            "x": "qofKIr6LBTeOscce8yCtdG4dO2KLp5uYWfdB4IJUKjhVAvJdv1UpbDpUXjhydgq3",
            "y": "NhfeSpYmLG9dnpi_kpLcKfj0Hb0omhR86doxE7XwuMAKYLHOHX6BnXpDHXyQ6g5f" }),
    ]
}

/// A key with some members set, taken away or changed.
fn key() -> BoxedStrategy<Value> {
    let members = proptest::collection::vec((select(PIECES), 0..4_u8, value(PIECES), ".{0,3}"), 0..3);
    let changed = (select(keys().to_vec()), members).prop_map(|(mut key, members)| {
        let object = key.as_object_mut().unwrap();
        for (name, what, value, text) in members {
            match (what, object.get(name)) {
                (0, _) => object.remove(name),
                (1, Some(Value::String(old))) => object.insert(name.into(), format!("{old}{text}").into()),
                (2, Some(Value::String(old))) => {
                    let cut = old.char_indices().nth(old.chars().count() / 2).map_or(0, |(place, _)| place);
                    object.insert(name.into(), old[..cut].into())
                }
                _ => object.insert(name.into(), value),
            };
        }
        key
    });
    prop_oneof![4 => changed, 1 => value(PIECES)].boxed()
}

fn bytes(key: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(key.get(name)?.as_str()?).ok()
}

/// The members of which the thumbprint is made, where a key is one that may be taken (RFC 7638 section 3.2).
fn members(key: &Map<String, Value>) -> Option<&'static [&'static str]> {
    if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|secret| key.contains_key(*secret)) {
        return None;
    }
    let text = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default();
    let length = |name: &str| bytes(key, name).map_or(0, |bytes| bytes.len());
    match (text("kty"), text("crv")) {
        ("EC", "P-256") if length("x") == 32 && length("y") == 32 => Some(&["crv", "kty", "x", "y"]),
        ("EC", "P-384") if length("x") == 48 && length("y") == 48 => Some(&["crv", "kty", "x", "y"]),
        ("OKP", "Ed25519") if length("x") == 32 => Some(&["crv", "kty", "x"]),
        ("RSA", _) if length("n") >= 256 && length("e") >= 3 => Some(&["e", "kty", "n"]),
        _ => None,
    }
}

#[test]
fn keys_that_are_taken_are_public_and_known_by_their_own_members() {
    fuzz(&key(), |sent| {
        let Ok(parsed) = PublicJwk::parse(&sent) else { return Ok(false) };
        let key = sent.as_object().unwrap();
        let members = members(key);
        prop_assert!(members.is_some(), "no key that may be taken");
        let bare: Map<String, Value> =
            members.unwrap_or_default().iter().map(|name| ((*name).to_owned(), key[*name].clone())).collect();
        let again = PublicJwk::parse(&Value::Object(bare.clone()));
        prop_assert_eq!(again.map(|key| key.thumbprint), Ok(parsed.thumbprint.clone()));
        let digest = chancery::kit::secret::sha256(Value::Object(bare).to_string().as_bytes());
        prop_assert_eq!(parsed.thumbprint, URL_SAFE_NO_PAD.encode(digest));
        Ok(true)
    });
}

#[test]
fn sets_give_only_keys_that_are_named() {
    let sets = (
        proptest::collection::vec((key(), proptest::option::of("[ab]")), 0..4),
        proptest::option::of("[ab]"),
    );
    fuzz(&sets, |(keys, asked)| {
        let named: Vec<Value> = keys
            .into_iter()
            .map(|(mut key, kid)| {
                if let (Some(object), Some(kid)) = (key.as_object_mut(), kid) {
                    object.insert("kid".into(), kid.into());
                }
                key
            })
            .collect();
        let is_asked =
            |key: &&Value| asked.is_none() || key.get("kid").and_then(Value::as_str) == asked.as_deref();
        let most = named.iter().filter(is_asked).count();
        let found = Key::from_set(&json!({ "keys": named }), asked.as_deref()).len();
        prop_assert!(found <= most);
        Ok(found > 0)
    });
}

#[test]
fn pem_that_is_taken_is_a_public_key() {
    const FRAME: &[&str] =
        &["-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----", "\n", "PRIVATE", "AAAA", "="];
    let good = Signer::new().pem();
    let lawful = Just(good).boxed();
    fuzz(&around(&lawful, FRAME), |text| {
        let taken = Key::from_pem(&text).is_ok();
        // Text before it is explanatory (RFC 7468 section 2).
        let framed = text.lines().any(|line| line.trim_end() == "-----BEGIN PUBLIC KEY-----");
        prop_assert!(!taken || framed, "taken without its frame");
        Ok(taken)
    });
}
