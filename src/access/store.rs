//! SQL of admin keys.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::AdminKey;
use crate::kit::clock::Time;
use crate::kit::secret::SecretHash;

pub async fn insert(db: &mut PgConnection, key: &AdminKey, hash: &SecretHash) -> sqlx::Result<()> {
    sqlx::query(
        "insert into admin_keys (id, account_id, project_id, name, key_prefix, pepper_id, key_hash, scopes, created_at,
             expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(key.id)
    .bind(&key.account_id)
    .bind(&key.project_id)
    .bind(&key.name)
    .bind(&key.key_prefix)
    .bind(hash.pepper_id)
    .bind(&hash.mac)
    .bind(&key.scopes)
    .bind(key.created_at)
    .bind(key.expires_at)
    .execute(db)
    .await?;
    Ok(())
}

pub async fn list(db: &PgPool) -> sqlx::Result<Vec<AdminKey>> {
    sqlx::query_as(
        "select id, account_id, project_id, name, key_prefix, scopes, created_at, expires_at, revoked_at, last_used_at
         from admin_keys order by id desc",
    )
    .fetch_all(db)
    .await
}

pub async fn by_hash(db: &mut PgConnection, hashes: &[Vec<u8>]) -> sqlx::Result<Option<AdminKey>> {
    sqlx::query_as(
        "select id, account_id, project_id, name, key_prefix, scopes, created_at, expires_at, revoked_at, last_used_at
         from admin_keys where key_hash = any($1)",
    )
    .bind(hashes)
    .fetch_optional(db)
    .await
}

/// Once a minute is enough to know that a key is in use, and spares a write per request.
pub async fn touch(db: &mut PgConnection, id: Uuid, now: Time) -> sqlx::Result<()> {
    sqlx::query(
        "update admin_keys set last_used_at = $2
         where id = $1 and (last_used_at is null or last_used_at < $2::timestamptz - interval '1 minute')",
    )
    .bind(id)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

/// Whether a live key was there to revoke.
pub async fn revoke(db: &mut PgConnection, id: Uuid, now: Time) -> sqlx::Result<bool> {
    let done = sqlx::query("update admin_keys set revoked_at = $2 where id = $1 and revoked_at is null")
        .bind(id)
        .bind(now)
        .execute(db)
        .await?;
    Ok(done.rows_affected() == 1)
}
