//! SQL of peppers and signing keys.

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::fingerprint::Fingerprint;
use crate::kit::clock::Time;

/// A signing key's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct StoredKey {
    pub kid: String,
    pub issuer: String,
    pub algorithm: String,
    pub public_jwk: Value,
    pub sealed_private: Vec<u8>,
    pub created_at: Time,
    pub activate_at: Time,
    pub retire_at: Option<Time>,
    pub revoked_at: Option<Time>,
}

/// Held until the transaction ends; the number only has to differ from other advisory locks of ours.
pub async fn lock(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(7163384501)").execute(db).await?;
    Ok(())
}

/// Newest first.
pub async fn peppers(db: &mut PgConnection) -> sqlx::Result<Vec<(Uuid, Vec<u8>)>> {
    sqlx::query_as("select id, sealed from peppers order by id desc").fetch_all(db).await
}

pub async fn insert_pepper(db: &mut PgConnection, id: Uuid, sealed: &[u8], now: Time) -> sqlx::Result<()> {
    sqlx::query("insert into peppers (id, sealed, created_at) values ($1, $2, $3)")
        .bind(id)
        .bind(sealed)
        .bind(now)
        .execute(db)
        .await?;
    Ok(())
}

/// Oldest first.
pub async fn signing_keys(db: &mut PgConnection, issuer: &str) -> sqlx::Result<Vec<StoredKey>> {
    sqlx::query_as(
        "select kid, issuer, algorithm, public_jwk, sealed_private, created_at, activate_at, retire_at, revoked_at
         from signing_keys where issuer = $1 order by activate_at, kid",
    )
    .bind(issuer)
    .fetch_all(db)
    .await
}

pub async fn insert_signing_key(db: &mut PgConnection, key: &StoredKey) -> sqlx::Result<()> {
    sqlx::query(
        "insert into signing_keys (kid, issuer, algorithm, public_jwk, sealed_private, created_at, activate_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&key.kid)
    .bind(&key.issuer)
    .bind(&key.algorithm)
    .bind(&key.public_jwk)
    .bind(&key.sealed_private)
    .bind(key.created_at)
    .bind(key.activate_at)
    .execute(db)
    .await?;
    Ok(())
}

pub async fn fingerprint(db: &mut PgConnection) -> sqlx::Result<Option<Fingerprint>> {
    sqlx::query_as("select mode, issuer, master_key_id from server_state").fetch_optional(db).await
}

pub async fn insert_fingerprint(db: &mut PgConnection, own: &Fingerprint, now: Time) -> sqlx::Result<()> {
    sqlx::query("insert into server_state (mode, issuer, master_key_id, created_at) values ($1, $2, $3, $4)")
        .bind(&own.mode)
        .bind(&own.issuer)
        .bind(&own.master_key_id)
        .bind(now)
        .execute(db)
        .await?;
    Ok(())
}
