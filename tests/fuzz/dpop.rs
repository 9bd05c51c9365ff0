//! Proofs of possession, and the addresses for which they were made.

use chancery::kit::clock::Time;
use chancery::kit::dpop::{Expected, address, verify};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use crate::inputs::{around, value};
use crate::proof::ath;
use crate::run::fuzz;
use crate::server::ISSUER;
use crate::signer::{Signer, with};

const PIECES: &[&str] = &["htm", "htu", "iat", "exp", "nbf", "jti", "ath", "nonce", "POST", "GET", ISSUER];

/// Longer than any proof here.
const LONGEST: usize = 1 << 20;

/// The second at which everything here happens.
const NOW: i64 = 1_900_000_000;

const TOKEN: &str = "presented";

fn now() -> Time {
    Time::from_unix_timestamp(NOW).unwrap()
}

/// The same address as that of the request, and others.
fn addresses() -> BoxedStrategy<String> {
    let same = format!("{ISSUER}/oauth2/token");
    let lawful = select(vec![
        same.clone(),
        same.to_uppercase().replace("/OAUTH2/TOKEN", "/oauth2/token"),
        format!("{ISSUER}:443/oauth2/token?query#fragment"),
        format!("{ISSUER}/oauth2/./x/../%74oken"),
    ]);
    around(&lawful.boxed(), &["https://", "http://", ":443", "%74", "%2F", "/token", "user@", "?", "#", "\\"])
}

/// The claims of a proof for the request, some of them changed.
fn claims() -> BoxedStrategy<Value> {
    let member = prop_oneof![
        4 => (select(vec!["iat", "exp", "nbf"]), (-80..80_i64).prop_map(|step| json!(NOW + step))),
        3 => (Just("htu"), addresses().prop_map(Value::from)),
        1 => (select(vec!["iat", "exp", "nbf"]), any::<i64>().prop_map(Value::from)),
        1 => (Just("htm"), select(vec!["POST", "post", "GET"]).prop_map(Value::from)),
        2 => (select(PIECES), value(PIECES)),
    ];
    proptest::collection::vec(member, 0..3)
        .prop_map(|members| {
            let base = json!({ "htm": "POST", "htu": format!("{ISSUER}/oauth2/token"), "iat": NOW, "jti": "one", "ath": ath(TOKEN) });
            let changes: Map<String, Value> =
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            with(&base, &Value::Object(changes))
        })
        .boxed()
}

/// Whether a proof with these claims is one for the request (RFC 9449 section 4.3).
fn holds(claims: &Value) -> bool {
    let typed =
        |names: &[&str], is: fn(&Value) -> bool| names.iter().all(|name| claims.get(name).is_none_or(is));
    let time = |name: &str| claims.get(name).and_then(Value::as_i64);
    typed(&["htm", "htu", "jti", "ath", "nonce"], Value::is_string)
        && typed(&["iat", "exp", "nbf"], Value::is_i64)
        && claims["htm"] == "POST"
        && claims["htu"].as_str().and_then(address).as_deref() == Some(&format!("{ISSUER}/oauth2/token"))
        && claims["jti"].as_str().is_some_and(|jti| (1..=512).contains(&jti.len()))
        && claims["ath"] == ath(TOKEN)
        && time("iat").is_some_and(|time| (NOW - 65..=NOW + 5).contains(&time))
        && time("exp").is_none_or(|time| time > NOW)
        && time("nbf").is_none_or(|time| time <= NOW + 5)
}

fn check(proof: &str) -> Option<String> {
    let addresses = [format!("{ISSUER}/oauth2/token")];
    let expected = Expected { method: "POST", addresses: &addresses, access_token: Some(TOKEN), now: now() };
    verify(proof, LONGEST, &expected).ok().map(|proof| proof.jkt)
}

#[test]
fn proofs_hold_where_their_claims_do() {
    let signer = Signer::new();
    fuzz(&claims(), |claims| {
        let jkt = check(&signer.jws(&signer.proof_header(), &claims));
        prop_assert_eq!(jkt.is_some(), holds(&claims));
        prop_assert!(jkt.is_none_or(|jkt| jkt == signer.jkt()));
        Ok(holds(&claims))
    });
}

#[test]
fn a_proof_that_was_changed_proves_nothing() {
    let signer = Signer::new();
    let good = signer.proof_for(TOKEN, "POST", "/oauth2/token", now());
    fuzz(&around(&Just(good.clone()).boxed(), &[".", "..", "e30", "=", "A"]), |proof| {
        prop_assert_eq!(check(&proof).is_some(), proof == good);
        Ok(proof == good)
    });
}

#[test]
fn headers_with_other_members_prove_nothing_else() {
    let (signer, other) = (Signer::new(), Signer::new());
    let names = select(vec!["typ", "alg", "jwk", "kid", "crit", "b64", "x"]);
    let member = (names, prop_oneof![2 => value(PIECES), 1 => Just(other.jwk()), 1 => Just(json!("ES256"))]);
    fuzz(&proptest::collection::vec(member, 0..3), |members| {
        let changes: Map<String, Value> =
            members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let header = with(&signer.proof_header(), &Value::Object(changes));
        let claims = json!({ "htm": "POST", "htu": format!("{ISSUER}/oauth2/token"), "iat": NOW, "jti": "one", "ath": ath(TOKEN) });
        let jkt = check(&signer.jws(&header, &claims));
        let same = ["typ", "alg", "jwk"].iter().all(|name| header[*name] == signer.proof_header()[*name]);
        prop_assert!(jkt.is_none() || same);
        prop_assert!(jkt.is_none() || jkt == Some(signer.jkt()));
        Ok(jkt.is_some())
    });
}

#[test]
fn an_address_is_compared_in_one_form() {
    fuzz(&addresses(), |text| {
        let Some(form) = address(&text) else { return Ok(false) };
        prop_assert_eq!(address(&form), Some(form.clone()));
        let after = form.strip_prefix("https://").or_else(|| form.strip_prefix("http://"));
        prop_assert!(after.is_some() && !form.contains(['?', '#', '\\']) && form.is_ascii());
        let authority = after.unwrap_or_default().split('/').next().unwrap_or_default();
        prop_assert!(!authority.is_empty() && !authority.contains('@'));
        prop_assert!(!authority.contains(|char: char| char.is_ascii_uppercase()));
        Ok(true)
    });
}
