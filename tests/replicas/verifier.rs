//! A verifier that knows the servers by their JWKS only, and keeps it for as long as the servers allow.

use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

use crate::http::Client;

/// A JWKS as fetched.
#[derive(Clone)]
pub struct Cached {
    keys: JwkSet,
    until: Instant,
}

/// Verifies tokens with a cached JWKS. It never fetches early, not even for a key it does not know.
#[derive(Default)]
pub struct Verifier {
    cached: Mutex<Option<Cached>>,
    fetched: Mutex<usize>,
}

impl Verifier {
    /// The keys as this verifier knows them now; those that it may no longer keep it fetches from any of the servers.
    pub async fn keys(&self, urls: &[String]) -> Result<Cached> {
        let cached = self.cached.lock().unwrap().clone().filter(|cached| Instant::now() < cached.until);
        if let Some(cached) = cached {
            return Ok(cached);
        }
        let turn = {
            let mut fetched = self.fetched.lock().unwrap();
            *fetched += 1;
            *fetched
        };
        let mut outcome = Err(anyhow::anyhow!("no servers"));
        for number in 0..urls.len() {
            outcome = fetch(&urls[(turn + number) % urls.len()]).await;
            if outcome.is_ok() {
                break;
            }
        }
        let cached = outcome?;
        *self.cached.lock().unwrap() = Some(cached.clone());
        Ok(cached)
    }

    /// How often it fetched.
    pub fn fetched(&self) -> usize {
        *self.fetched.lock().unwrap()
    }
}

async fn fetch(url: &str) -> Result<Cached> {
    let asked = Instant::now();
    let answer = Client::connect(url).await?.get("/.well-known/jwks.json").await?;
    ensure!(answer.status == 200, "{answer:?}");
    let max_age = answer.header("cache-control").rsplit_once("max-age=").context("no max-age")?.1.parse()?;
    Ok(Cached { keys: serde_json::from_value(answer.body)?, until: asked + Duration::from_secs(max_age) })
}

impl Cached {
    /// Checks signature, issuer, audience and times as any relying party does.
    pub fn verify(&self, token: &str, issuer: &str) -> Result<Value> {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        });
        let kid = decode_header(token)?.kid.context("no kid")?;
        let key = self.keys.find(&kid).with_context(|| format!("the cached JWKS holds no key {kid}"))?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[issuer]);
        Ok(decode::<Value>(token, &DecodingKey::from_jwk(key)?, &validation)?.claims)
    }
}
