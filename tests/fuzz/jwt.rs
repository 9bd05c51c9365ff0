//! Signed texts from outside: their form, and the claims of an assertion.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery::kit::assertion::{Assertion, Expected, Key};
use chancery::kit::clock::Time;
use chancery::kit::jws::Jws;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};
use time::Duration;

use crate::inputs::{around, value};
use crate::run::{Judged, fuzz};
use crate::server::ISSUER;
use crate::signer::{Signer, assertion_claims, header, with};

const PIECES: &[&str] =
    &["alg", "typ", "kid", "crit", "b64", "jwk", "ES256", "none", "iss", "sub", "aud", "exp", "nbf", "iat"];

const LONGEST: usize = 16_384;

/// The second at which everything here happens.
const NOW: i64 = 1_900_000_000;

fn now() -> Time {
    Time::from_unix_timestamp(NOW).unwrap()
}

fn text(part: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Header and claims of a compact JWS (RFC 7515 section 3.1), read as plain JSON.
fn apart(token: &str) -> Option<(Map<String, Value>, String)> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { return None };
    let header = serde_json::from_str(&text(header)?).ok()?;
    (!signature.is_empty() && token.len() <= LONGEST).then_some((header, text(claims)?))
}

fn judge_form(token: &str) -> Judged {
    let Ok(jws) = Jws::parse(token, LONGEST) else { return Ok(false) };
    let Some((header, claims)) = apart(token) else {
        return Err(TestCaseError::fail("taken, and no compact JWS"));
    };
    prop_assert!(!header.contains_key("crit") && !header.contains_key("b64"), "a critical extension");
    prop_assert_eq!(header.get("alg").and_then(Value::as_str), Some(jws.algorithm()));
    prop_assert_eq!(header.get("kid").and_then(Value::as_str), jws.kid());
    prop_assert_eq!(header.get("typ").and_then(Value::as_str), jws.typ());
    let read = jws.claims::<Map<String, Value>>().ok();
    prop_assert_eq!(read, serde_json::from_str(&claims).ok());
    Ok(true)
}

/// The base64url of some JSON and of what is nearly some.
fn part(base: Value) -> BoxedStrategy<String> {
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let members = proptest::collection::vec((select(PIECES), value(PIECES)), 0..3);
    let object = members.prop_map(move |members| {
        let mut object = base.clone();
        object
            .as_object_mut()
            .unwrap()
            .extend(members.into_iter().map(|(name, value)| (name.to_owned(), value)));
        object.to_string()
    });
    let list =
        proptest::collection::vec(prop_oneof![Just(json!("ES256")), Just(json!("JWT")), value(PIECES)], 0..4)
            .prop_map(|list| Value::from(list).to_string());
    prop_oneof![
        5 => object.prop_map(encode),
        2 => list.prop_map(encode),
        2 => around(&Just(header().to_string()).boxed(), PIECES).prop_map(encode),
        1 => "[A-Za-z0-9_=-]{0,40}",
    ]
    .boxed()
}

#[test]
fn texts_that_are_taken_are_compact_and_say_what_was_read() {
    let parts = (part(header()), part(json!({ "sub": "fetcher" })))
        .prop_map(|(header, claims)| format!("{header}.{claims}.AAAA"))
        .boxed();
    fuzz(&around(&parts, &[".", "..", "e30", "=", "eyJhbGciOiJub25lIn0"]), |token| judge_form(&token));
}

/// Claims of an assertion around those that are lawful.
fn claims() -> BoxedStrategy<Value> {
    let time = || {
        prop_oneof![
            3 => (-200..200_i64).prop_map(|step| json!(NOW + step)),
            1 => any::<i64>().prop_map(Value::from),
            1 => value(PIECES),
        ]
    };
    let changes = (
        proptest::option::weighted(0.5, time()),
        proptest::option::weighted(0.2, time()),
        proptest::option::weighted(0.3, time()),
        proptest::option::weighted(0.2, (select(vec!["iss", "sub", "aud", "jti"]), value(PIECES))),
        proptest::option::weighted(0.3, proptest::collection::vec("[a-z]{1,3}", 0..3)),
    );
    changes
        .prop_map(|(exp, nbf, iat, other, audience)| {
            let mut changes = Map::new();
            let times = [("exp", exp), ("nbf", nbf), ("iat", iat)];
            changes.extend(times.into_iter().filter_map(|(name, time)| Some((name.to_owned(), time?))));
            if let Some(mut names) = audience {
                names.push(ISSUER.to_owned());
                changes.insert("aud".into(), names.into());
            }
            changes.extend(other.map(|(name, value)| (name.to_owned(), value)));
            with(&assertion_claims("fetcher", now()), &Value::Object(changes))
        })
        .boxed()
}

/// Whether an assertion with these claims holds: of its right types, for this server, now and for a short while.
fn holds(claims: &Value) -> bool {
    let text = |name: &str| claims[name].as_str().filter(|text| !text.is_empty());
    let number = |name: &str| match claims.get(name) {
        None => Some(None),
        Some(value) => value.as_i64().filter(|number| *number >= 0).map(Some),
    };
    let is_for = |aud: &Value| match aud {
        Value::String(one) => one == ISSUER,
        Value::Array(many) => many.iter().all(Value::is_string) && many.contains(&json!(ISSUER)),
        _ => false,
    };
    let (Some(Some(end)), Some(start), Some(issued)) = (number("exp"), number("nbf"), number("iat")) else {
        return false;
    };
    let lives = i128::from(end) - i128::from(issued.unwrap_or(NOW));
    text("sub").is_some()
        && text("jti").is_some_and(|jti| jti.len() <= 512)
        && claims.get("iss").is_none_or(Value::is_string)
        && is_for(&claims["aud"])
        && end > NOW - 30
        && start.is_none_or(|start| start <= NOW + 30)
        && issued.is_none_or(|issued| issued <= NOW + 30)
        && (0..=300).contains(&lives)
        && end <= NOW + 330
        && !["iss", "sub"].iter().any(|name| claims[*name].as_str().is_some_and(|text| text.contains('\0')))
}

#[test]
fn assertions_hold_where_their_claims_do() {
    let signer = Signer::new();
    let keys = [Key::from_pem(&signer.pem()).unwrap()];
    let expected = Expected { audience: ISSUER, longest: Duration::seconds(300), now: now() };
    fuzz(&claims(), |claims| {
        let token = signer.jws(&header(), &claims);
        let verified = Assertion::parse(&token, LONGEST).and_then(|one| one.verify(&keys, &expected));
        let holds = holds(&claims) && token.len() <= LONGEST;
        prop_assert_eq!(verified.is_ok(), holds, "{:?}", verified);
        Ok(verified.is_ok())
    });
}

#[test]
fn a_signed_text_that_was_changed_is_signed_by_nobody() {
    let signer = Signer::new();
    let keys = [Key::from_pem(&signer.pem()).unwrap(), Key::from_jwk(&Signer::new().jwk()).unwrap()];
    let good = signer.assertion("fetcher", now());
    let expected = Expected { audience: ISSUER, longest: Duration::seconds(300), now: now() };
    fuzz(&around(&Just(good.clone()).boxed(), &[".", "..", "e30", "=", "A"]), |token| {
        let verified = Assertion::parse(&token, LONGEST).and_then(|one| one.verify(&keys, &expected));
        prop_assert_eq!(verified.is_ok(), token == good);
        Ok(verified.is_ok())
    });
}
