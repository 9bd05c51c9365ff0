//! The keys of the server itself: the master key that seals, the pepper that hashes, the ring that signs tokens and is
//! published as a JWKS.
mod fingerprint;
mod master;
mod rewrap;
mod ring;
mod rotation;
mod store;

pub mod routes;
pub mod worker;

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;
use zeroize::Zeroizing;

pub use master::{add as add_master_key, create as create_master_key, load as load_master_key};
pub use rewrap::rewrap;
pub use ring::{Ring, SigningKey, State, Typ, thumbprint};
pub use rotation::{revoke, rotate};

use crate::kit::clock::Time;
use crate::kit::config::Config;
use crate::kit::error::Result;
use crate::kit::ids;
use crate::kit::seal::MasterKeys;
use crate::kit::secret::{self, Pepper, SecretHash};

/// The issuer whose JWKS serves the native API. Other surfaces will have rings of their own.
pub const NATIVE: &str = "native";

/// What a running server holds of its keys.
#[derive(Debug)]
pub struct Keys {
    master: MasterKeys,
    peppers: Vec<Pepper>,
    ring: RwLock<Arc<Ring>>,
}

/// A signing key as an operator sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// Its id in JWKS and token headers.
    pub kid: String,
    /// Where it is in its life.
    pub state: State,
    /// When it was or will be the one that signs.
    #[serde(with = "time::serde::rfc3339")]
    pub activate_at: Time,
}

impl Keys {
    /// Loads the keys, and makes the first ones when there are none. Servers that start together make one set: a lock
    /// of the database lets the first work while the others wait.
    pub async fn open(db: &PgPool, config: &Config, master: MasterKeys, now: Time) -> Result<Self> {
        let mut tx = db.begin().await?;
        store::lock(&mut tx).await?;
        fingerprint::check(&mut tx, config, &master, now).await?;
        if store::peppers(&mut tx).await?.is_empty() {
            let id = ids::new(now)?;
            let sealed = master.seal(&pepper_context(id), &secret::random::<32>()?)?;
            store::insert_pepper(&mut tx, id, &sealed, now).await?;
        }
        let peppers = open_peppers(store::peppers(&mut tx).await?, &master)?;
        rotation::ensure(&mut tx, config, &master, now).await?;
        let ring = Ring::open(store::signing_keys(&mut tx, NATIVE).await?, &master, now)?;
        tx.commit().await?;
        Ok(Self { master, peppers, ring: RwLock::new(Arc::new(ring)) })
    }

    /// Reads the ring again. Every replica does so every few seconds, and what another one decided takes effect here.
    pub async fn refresh(&self, db: &PgPool, now: Time) -> Result<()> {
        let stored = store::signing_keys(&mut *db.acquire().await?, NATIVE).await?;
        let ring = Arc::new(Ring::open(stored, &self.master, now)?);
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
        Ok(())
    }

    /// The ring as last read from the database.
    pub fn ring(&self) -> Arc<Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Seals what may not stand in a row in clear, for one place.
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>> {
        self.master.seal(context, plain)
    }

    /// Opens what was sealed for the same place.
    pub fn open_sealed(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.master.open(context, sealed)
    }

    /// The hash under which a new secret is stored.
    pub fn hash(&self, secret: &str) -> Result<SecretHash> {
        let newest = self.peppers.first().ok_or_else(|| anyhow::anyhow!("no pepper is loaded"))?;
        Ok(newest.hash(secret))
    }

    /// The nonce that clients may repeat in their proofs now (RFC 9449 section 8). It stands in no row: any server can tell
    /// its own from another's invention.
    pub fn nonce(&self, now: Time) -> Result<String> {
        let mac = self.hash(&nonce_text(now.unix_timestamp() / NONCE_SECONDS))?.mac;
        Ok(URL_SAFE_NO_PAD.encode(mac))
    }

    /// Whether a nonce is one of ours and not too old. A server whose clock is ahead may have given it out.
    pub fn knows_nonce(&self, nonce: &str, now: Time) -> bool {
        let slot = now.unix_timestamp() / NONCE_SECONDS;
        let known = |mac: Vec<u8>| secret::same(URL_SAFE_NO_PAD.encode(mac).as_bytes(), nonce.as_bytes());
        (slot - 1..=slot + 1).any(|slot| self.hashes(&nonce_text(slot)).into_iter().any(known))
    }

    /// Every hash under which a presented secret may be stored: one for each pepper.
    pub fn hashes(&self, secret: &str) -> Vec<Vec<u8>> {
        self.peppers.iter().map(|pepper| pepper.hash(secret).mac).collect()
    }
}

/// For how long one nonce is given out, in seconds. It is accepted as long again, so that a client has time to use it.
const NONCE_SECONDS: i64 = 150;

/// What a nonce is made of: the time, which every server knows, under a pepper, which only they have.
fn nonce_text(slot: i64) -> String {
    format!("dpop nonce {slot}")
}

/// The signing keys, newest first, for `chancery keys list`. Needs no master key.
pub async fn list(db: &PgPool, now: Time) -> Result<Vec<Listed>> {
    let mut connection = db.acquire().await?;
    let mut keys = store::signing_keys(&mut connection, NATIVE).await?;
    keys.reverse();
    let starts = ring::starts(&keys);
    let listed = |key: store::StoredKey| Listed {
        state: ring::state(&key, &starts, now),
        kid: key.kid,
        activate_at: key.activate_at,
    };
    Ok(keys.into_iter().map(listed).collect())
}

fn open_peppers(stored: Vec<(Uuid, Vec<u8>)>, master: &MasterKeys) -> Result<Vec<Pepper>> {
    let open =
        |(id, sealed): (Uuid, Vec<u8>)| Ok(Pepper::new(id, &master.open(&pepper_context(id), &sealed)?));
    stored.into_iter().map(open).collect()
}

/// What a pepper is sealed for: it opens as nothing else.
fn pepper_context(id: Uuid) -> String {
    format!("pepper {id}")
}
