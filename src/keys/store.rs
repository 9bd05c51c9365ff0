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

/// The same lock if nobody holds it.
pub async fn try_lock(db: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("select pg_try_advisory_xact_lock(7163384501)").fetch_one(db).await
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

/// Moves a key's start to an earlier time.
pub async fn activate_at(db: &mut PgConnection, kid: &str, at: Time) -> sqlx::Result<()> {
    sqlx::query("update signing_keys set activate_at = least(activate_at, $2) where kid = $1")
        .bind(kid)
        .bind(at)
        .execute(db)
        .await?;
    Ok(())
}

/// Notes when the last token of a superseded key will have expired.
pub async fn retire_at(db: &mut PgConnection, kid: &str, at: Time) -> sqlx::Result<()> {
    sqlx::query("update signing_keys set retire_at = $2 where kid = $1 and retire_at is null")
        .bind(kid)
        .bind(at)
        .execute(db)
        .await?;
    Ok(())
}

/// Whether there was an unrevoked key of this id.
pub async fn revoke(db: &mut PgConnection, kid: &str, reason: &str, now: Time) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "update signing_keys set revoked_at = $2, revoke_reason = $3 where kid = $1 and revoked_at is null",
    )
    .bind(kid)
    .bind(now)
    .bind(reason)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn reseal_pepper(db: &mut PgConnection, id: Uuid, sealed: &[u8]) -> sqlx::Result<()> {
    sqlx::query("update peppers set sealed = $2 where id = $1").bind(id).bind(sealed).execute(db).await?;
    Ok(())
}

pub async fn reseal_signing_key(db: &mut PgConnection, kid: &str, sealed: &[u8]) -> sqlx::Result<()> {
    sqlx::query("update signing_keys set sealed_private = $2 where kid = $1")
        .bind(kid)
        .bind(sealed)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn set_master_key(db: &mut PgConnection, id: &str) -> sqlx::Result<()> {
    sqlx::query("update server_state set master_key_id = $1").bind(id).execute(db).await?;
    Ok(())
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
