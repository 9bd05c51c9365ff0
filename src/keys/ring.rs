//! The signing keys of one issuer: which one signs now, and the JWKS that is published.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Value, json};

use super::store::StoredKey;
use crate::kit::clock::{Stopwatch, Time};
use crate::kit::error::{Kind, Result, refuse};
use crate::kit::seal::MasterKeys;
use crate::kit::secret;

/// Where a key is in its life. It follows from times in the database, so replicas agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// In the JWKS, not yet signing.
    Published,
    /// The one that signs.
    Active,
    /// No longer signing; its tokens still live.
    Retiring,
    /// Its last token has expired.
    Retired,
    /// Leaked: its tokens are dead.
    Revoked,
}

/// What a JWT that we sign says it is, so that none passes for another (RFC 8725 section 3.11).
#[derive(Clone, Copy, Debug)]
pub enum Typ {
    /// An access token as most clients know it.
    Jwt,
    /// An access token of RFC 9068.
    AccessToken,
    /// An answer of introspection (RFC 9701 section 5).
    Introspection,
}

impl Typ {
    /// Every type, in the order of declaration.
    const ALL: [Self; 3] = [Self::Jwt, Self::AccessToken, Self::Introspection];

    /// As it stands in the header.
    fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "JWT",
            Self::AccessToken => "at+jwt",
            Self::Introspection => "token-introspection+jwt",
        }
    }
}

/// A key that can sign, parsed once.
#[derive(Debug)]
pub struct SigningKey {
    kid: String,
    /// The encoded header of each type.
    headers: [String; 3],
    pair: EcdsaKeyPair,
    activate_at: Time,
}

impl SigningKey {
    /// The key's id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Signs claims as a compact JWS (RFC 7515 section 7.1) with ES256.
    pub fn sign(&self, typ: Typ, claims: &impl Serialize) -> Result<String> {
        let mut token = String::with_capacity(1536);
        token.push_str(&self.headers[typ as usize]);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut token);
        let signature = self
            .pair
            .sign(&SystemRandom::new(), token.as_bytes())
            .map_err(|_| anyhow::anyhow!("signing failed"))?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }
}

/// The keys of one issuer as last read.
#[derive(Debug)]
pub struct Ring {
    /// Oldest first, only those that may sign now or later.
    signing: Vec<SigningKey>,
    jwks: Bytes,
    etag: String,
    /// Measured on the machine itself: how old the ring is must not depend on anybody's idea of the time.
    read: Stopwatch,
}

impl Ring {
    /// Opens the keys and prepares the document.
    pub fn open(stored: Vec<StoredKey>, master: &MasterKeys, now: Time) -> Result<Self> {
        let starts = starts(&stored);
        let mut signing = Vec::new();
        let mut published = Vec::new();
        for key in stored {
            match state(&key, &starts, now) {
                State::Revoked | State::Retired => continue,
                State::Published | State::Active => signing.push(open(&key, master)?),
                State::Retiring => {}
            }
            published.push(key.public_jwk);
        }
        let jwks = Bytes::from(serde_json::to_vec(&json!({ "keys": published }))?);
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&secret::sha256(&jwks)[..12]));
        Ok(Self { signing, jwks, etag, read: Stopwatch::start() })
    }

    /// The key that signs at `now`: the newest whose time has come. A ring that is older than `lifetime` seconds does
    /// not sign: another key may have been published, or this one revoked, since it was read.
    pub fn signer(&self, now: Time, lifetime: u32) -> Result<&SigningKey> {
        if self.read.seconds() > f64::from(lifetime) {
            return Err(refuse(
                Kind::Unavailable,
                "the signing keys could not be read lately; try again shortly",
            ));
        }
        let active = self.signing.iter().rev().find(|key| key.activate_at <= now);
        active.ok_or_else(|| anyhow::anyhow!("no signing key is active; see `chancery keys list`").into())
    }

    /// The JWKS document and its entity tag.
    pub fn jwks(&self) -> (Bytes, &str) {
        (self.jwks.clone(), &self.etag)
    }
}

/// Whether a key ever signs: not if it was revoked before its time came.
pub fn ever_signs(key: &StoredKey) -> bool {
    key.revoked_at.is_none_or(|at| at >= key.activate_at)
}

/// When keys of an issuer took over or will. One that was revoked before its time supersedes nobody.
pub fn starts(keys: &[StoredKey]) -> Vec<Time> {
    keys.iter().filter(|key| ever_signs(key)).map(|key| key.activate_at).collect()
}

/// Derives a key's state; `starts` are those of all keys of the issuer.
pub fn state(key: &StoredKey, starts: &[Time], now: Time) -> State {
    let superseded = starts.iter().any(|start| *start > key.activate_at && *start <= now);
    if key.revoked_at.is_some() {
        State::Revoked
    } else if key.activate_at > now {
        State::Published
    } else if !superseded {
        State::Active
    } else if key.retire_at.is_some_and(|at| at <= now) {
        State::Retired
    } else {
        State::Retiring
    }
}

fn open(key: &StoredKey, master: &MasterKeys) -> Result<SigningKey> {
    let private = master.open(&context(&key.kid), &key.sealed_private)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private)
        .map_err(|_| anyhow::anyhow!("signing key {} can't be parsed", key.kid))?;
    let header = |typ: Typ| {
        let header = json!({ "alg": key.algorithm, "kid": key.kid, "typ": typ.as_str() }).to_string();
        URL_SAFE_NO_PAD.encode(header)
    };
    Ok(SigningKey { kid: key.kid.clone(), headers: Typ::ALL.map(header), pair, activate_at: key.activate_at })
}

/// Makes a new P-256 key that starts to sign at `activate_at`.
pub fn generate(master: &MasterKeys, issuer: &str, now: Time, activate_at: Time) -> Result<StoredKey> {
    loop {
        let key = draw(master, issuer, now, activate_at)?;
        // An operator will name the key on a command line, where it must not look like an option.
        if !key.kid.starts_with('-') {
            return Ok(key);
        }
    }
}

fn draw(master: &MasterKeys, issuer: &str, now: Time, activate_at: Time) -> Result<StoredKey> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
        .map_err(|_| anyhow::anyhow!("a signing key could not be made"))?;
    let private = pair.to_pkcs8v1().map_err(|_| anyhow::anyhow!("a signing key could not be written"))?;
    // An uncompressed point: 0x04, then x and y of 32 bytes each.
    let point = pair.public_key().as_ref();
    let (Some(x), Some(y)) = (point.get(1..33), point.get(33..65)) else {
        return Err(anyhow::anyhow!("a P-256 public key has 65 bytes, this one {}", point.len()).into());
    };
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let kid = thumbprint(&x, &y);
    let public_jwk: Value =
        json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "alg": "ES256", "use": "sig", "kid": kid });
    Ok(StoredKey {
        sealed_private: master.seal(&context(&kid), private.as_ref())?,
        kid,
        issuer: issuer.to_owned(),
        algorithm: "ES256".to_owned(),
        public_jwk,
        created_at: now,
        activate_at,
        retire_at: None,
        revoked_at: None,
    })
}

/// RFC 7638 thumbprint of a P-256 key: members in lexical order, no spaces.
pub fn thumbprint(x: &str, y: &str) -> String {
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    URL_SAFE_NO_PAD.encode(secret::sha256(members.as_bytes()))
}

/// What a private key is sealed for: it opens as nothing else.
pub fn context(kid: &str) -> String {
    format!("signing key {kid}")
}
