//! The public keys of others as a JWK set (RFC 7517): of a client or issuer, sent inline or fetched. What is kept is made
//! anew from the members we know.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::error::{Error, Kind, Result, refuse_at};
use super::jwk;

/// Most keys of one set: enough for several rotations at once, few enough to try each.
const MOST: usize = 16;

/// Most keys that are kept of a set that was fetched.
const MOST_FETCHED: usize = 100;

/// A set as it is sent (RFC 7517 section 5).
#[derive(ToSchema)]
pub struct JwkSet {
    /// Public keys.
    #[schema(value_type = Vec<Object>)]
    pub keys: Vec<Value>,
}

/// The set with its known members only; `None` for one without keys.
pub fn public(sent: &Value) -> Result<Option<Value>> {
    let keys = sent.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or_else(|| bad("jwks is an object with a list of keys: {\"keys\": […]}"))?;
    if keys.len() > MOST {
        return Err(bad(&format!("jwks has at most {MOST} keys")));
    }
    let keys = keys.iter().map(key).collect::<Result<Vec<_>>>()?;
    let named: Vec<&Value> = keys.iter().filter_map(|key| key.get("kid")).collect();
    if named.iter().map(ToString::to_string).collect::<BTreeSet<_>>().len() < named.len() {
        return Err(bad("two keys of jwks have the same kid"));
    }
    Ok(if keys.is_empty() { None } else { Some(json!({ "keys": keys })) })
}

/// Of a set that was fetched, the keys that could have been sent inline: others publish keys for further purposes beside
/// them. `None` if it is no set.
pub fn usable(fetched: &Value) -> Option<Value> {
    let keys = fetched.get("keys")?.as_array()?;
    let keys: Vec<Value> = keys.iter().filter_map(|one| key(one).ok()).take(MOST_FETCHED).collect();
    Some(json!({ "keys": keys }))
}

fn key(sent: &Value) -> Result<Value> {
    let sent = sent.as_object().ok_or_else(|| bad("a key of jwks is not an object"))?;
    let jwk::Kind { members, algorithms } =
        jwk::kind(sent).map_err(|flaw| bad(&format!("a key of jwks is not accepted: {flaw}")))?;
    let usable = sent.get("use").is_none_or(|usage| usage == "sig")
        && sent
            .get("key_ops")
            .is_none_or(|ops| ops.as_array().is_some_and(|ops| ops.contains(&json!("verify"))));
    if !usable {
        return Err(bad("a key of jwks is not for signatures, as its use or key_ops says"));
    }
    if sent.get("alg").is_some_and(|alg| algorithms.iter().all(|known| alg != known)) {
        return Err(bad(&format!("the alg of a key of jwks does not fit it: {}", algorithms.join(" or "))));
    }
    if sent.get("kid").is_some_and(|kid| kid.as_str().is_none_or(|kid| !(1..=255).contains(&kid.len()))) {
        return Err(bad("the kid of a key of jwks is a text of 1 to 255 bytes"));
    }
    let kept = members.iter().chain(&["kid", "alg", "use"]).filter_map(|name| sent.get_key_value(*name));
    Ok(Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>()))
}

/// The value is left out: it may hold a private key.
fn bad(why: &str) -> Error {
    refuse_at(Kind::InvalidRequest, why.to_owned(), "body.jwks", "")
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    const X: &str = "JU3pMZKUYtj5tDI9WOmR5jHo41bNWRm4W_K2wDVDtE0";

    fn ec() -> Value {
        let point = "ny8jeOt7xnOo2xdlgXGktRtBTXLB4CzLzcekNfiMKvc";
        json!({ "kty": "EC", "crv": "P-256", "x": X, "y": point })
    }

    fn rsa(bytes: usize, e: &[u8]) -> Value {
        let n = URL_SAFE_NO_PAD.encode(vec![0xc1; bytes]);
        json!({ "kty": "RSA", "n": n, "e": URL_SAFE_NO_PAD.encode(e) })
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    fn set(keys: &[Value]) -> Result<Option<Value>> {
        public(&json!({ "keys": keys }))
    }

    const F4: [u8; 3] = [1, 0, 1];

    #[test]
    fn a_set_keeps_known_members_only() {
        let ed = json!({ "kty": "OKP", "crv": "Ed25519", "x": X, "alg": "EdDSA", "kid": "e" });
        let sent = with(with(ec(), "kid", json!("a")), "x5u", json!("https://evil.example"));
        let kept = set(&[sent, rsa(256, &F4), ed.clone()]).unwrap().unwrap();
        assert_eq!(kept, json!({ "keys": [with(ec(), "kid", json!("a")), rsa(256, &F4), ed] }));
        assert_eq!(public(&kept).unwrap(), Some(kept));
        assert_eq!(set(&[]).unwrap(), None);
        set(&[with(with(rsa(512, &F4), "alg", json!("PS256")), "key_ops", json!(["verify"]))]).unwrap();
    }

    #[test]
    fn a_key_of_p384_signs_with_es384_and_is_a_point_of_that_curve() {
        // RFC 7515 has no example; the generator of the curve (FIPS 186-4 D.1.2.4) is a public key too.
        let x = "qofKIr6LBTeOscce8yCtdG4dO2KLp5uYWfdB4IJUKjhVAvJdv1UpbDpUXjhydgq3";
        let y = "NhfeSpYmLG9dnpi_kpLcKfj0Hb0omhR86doxE7XwuMAKYLHOHX6BnXpDHXyQ6g5f";
        let key = json!({ "kty": "EC", "crv": "P-384", "x": x, "y": y });
        assert_eq!(set(std::slice::from_ref(&key)).unwrap(), Some(json!({ "keys": [key] })));
        set(&[with(key.clone(), "alg", json!("ES384"))]).unwrap();
        for bad in [
            with(key.clone(), "alg", json!("ES256")),
            with(key.clone(), "alg", json!("ES512")),
            with(key.clone(), "crv", json!("P-256")),
            with(key.clone(), "crv", json!("P-521")),
            with(key.clone(), "y", json!(x)),
            with(key.clone(), "x", json!(&x[..62])),
            with(key.clone(), "y", json!(format!("AA{y}"))),
            with(key.clone(), "d", json!(x)),
            with(key, "y", Value::Null),
        ] {
            assert!(set(std::slice::from_ref(&bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn of_a_fetched_set_what_is_not_understood_is_left_out() {
        let other = json!({ "kty": "EC", "crv": "P-521", "x": X, "y": X });
        let fetched =
            json!({ "keys": [other, with(ec(), "d", json!(X)), with(ec(), "use", json!("enc")), ec(), 1] });
        assert_eq!(usable(&fetched), Some(json!({ "keys": [ec()] })));
        assert_eq!(usable(&json!({ "keys": [] })), Some(json!({ "keys": [] })));
        for no_set in [json!({}), json!([]), json!({ "keys": {} }), json!("x")] {
            assert_eq!(usable(&no_set), None, "{no_set}");
        }
    }

    #[test]
    fn a_key_that_may_be_weak_private_or_for_something_else_is_refused() {
        for bad in [
            json!(1),
            json!({ "kty": "oct", "k": "AAAA" }),
            with(ec(), "d", json!(X)),
            with(ec(), "y", json!(X)),
            with(ec(), "x", json!(format!("{X}="))),
            with(ec(), "x", Value::Null),
            with(ec(), "crv", json!("P-384")),
            with(ec(), "alg", json!("HS256")),
            with(ec(), "alg", json!("RS256")),
            with(ec(), "alg", json!(["ES256"])),
            with(ec(), "use", json!("enc")),
            with(ec(), "key_ops", json!(["sign"])),
            with(ec(), "key_ops", json!("verify")),
            with(ec(), "kid", json!(7)),
            with(ec(), "kid", json!("")),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" }),
            json!({ "kty": "OKP", "crv": "X25519", "x": X }),
            rsa(255, &F4),
            rsa(1025, &F4),
            rsa(256, &[1]),
            rsa(256, &[3]),
            rsa(256, &[1, 0, 0]),
            with(rsa(256, &F4), "alg", json!("RS1")),
            with(rsa(256, &F4), "n", json!(URL_SAFE_NO_PAD.encode([&[0; 200][..], &[0xc1; 56]].concat()))),
        ] {
            assert!(set(std::slice::from_ref(&bad)).is_err(), "{bad}");
        }
        let twice = with(ec(), "kid", json!("a"));
        assert!(set(&[twice.clone(), twice]).is_err());
        assert!(set(&vec![ec(); MOST + 1]).is_err());
        for bad in [json!([]), json!({}), json!("x"), json!({ "keys": {} })] {
            assert!(public(&bad).is_err(), "{bad}");
        }
    }
}
