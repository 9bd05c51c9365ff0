//! Who makes the tokens of a table: a header and claims that are good, and the key that signs. The tables then make them
//! bad, one thing at a time.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery::keys::Typ;
use chancery::kit::app::App;
use serde_json::{Value, json};

use crate::signer::Signer;

/// A bad token and what is bad about it.
pub struct Bad {
    pub what: String,
    pub token: String,
    pub passes: Passes,
}

/// Where a token of the table is good after all, by design.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    Nowhere,
    /// Where the key is found by who signed, and not by its name.
    WithoutKeyNames,
    /// Where it does not matter who says it: proofs of keys.
    WithoutIssuer,
}

/// The key that signs.
#[derive(Clone)]
pub enum Key {
    Of(Signer),
    /// The server's own. What it signs here was never issued; it signs under its own header only.
    Ours(Arc<App>),
}

/// A maker of tokens for one place.
#[derive(Clone)]
pub struct Maker {
    pub header: Value,
    pub claims: Value,
    /// The longest life that the place allows, in seconds.
    pub longest: i64,
    pub key: Key,
    /// Two tokens that are good there.
    pub good: [String; 2],
    /// The public half of the key.
    pub jwk: Value,
}

/// Rows as they are collected.
pub struct Rows(pub Vec<Bad>);

impl Rows {
    pub fn add(&mut self, what: impl Into<String>, token: String) {
        self.add_but(what, token, Passes::Nowhere);
    }

    pub fn add_but(&mut self, what: impl Into<String>, token: String, passes: Passes) {
        self.0.push(Bad { what: what.into(), token, passes });
    }
}

impl Maker {
    /// A compact JWS by the right key.
    pub fn jws(&self, header: &Value, claims: &Value) -> String {
        match &self.key {
            Key::Ours(app) if *header == self.header => {
                app.keys.ring().signer(app.clock.now(), 300).unwrap().sign(Typ::Jwt, claims).unwrap()
            }
            _ => self.sign(&format!("{}.{}", encode(header), encode(claims))),
        }
    }

    /// The same of parts that are texts, which need not be JSON.
    pub fn jws_of(&self, header: &[u8], claims: &[u8]) -> String {
        self.sign(&format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims)))
    }

    /// Signs an input; what the server's own key has no way to sign, a foreign one does.
    fn sign(&self, input: &str) -> String {
        match &self.key {
            Key::Of(signer) => signer.sign(input),
            Key::Ours(_) => Signer::new().sign(input),
        }
    }

    /// The good header and claims, some members changed; here `null` stays.
    pub fn with_header(&self, changes: &Value) -> String {
        self.jws(&changed(&self.header, changes), &self.claims)
    }

    pub fn with_claims(&self, changes: &Value) -> String {
        self.jws(&self.header, &changed(&self.claims, changes))
    }

    /// Without one claim.
    pub fn without(&self, claim: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().unwrap().remove(claim);
        self.jws(&self.header, &claims)
    }

    /// One claim, as good as it is.
    pub fn claim(&self, name: &str) -> Value {
        self.claims[name].clone()
    }
}

/// An object with some members set, also to null.
pub fn changed(base: &Value, changes: &Value) -> Value {
    let mut object = base.clone();
    object.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    object
}

pub fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// The header of everything that agents and clients sign.
pub fn header() -> Value {
    json!({ "alg": "ES256", "typ": "JWT" })
}
