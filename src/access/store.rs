//! SQL of admin keys.

use std::net::IpAddr;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::AdminKey;
use crate::kit::clock::Time;
use crate::kit::config::Lockout;
use crate::kit::secret::SecretHash;

pub async fn insert(db: &mut PgConnection, key: &AdminKey, hash: &SecretHash) -> sqlx::Result<()> {
    sqlx::query(
        "insert into admin_keys (id, account_id, project_id, name, key_prefix, pepper_id, key_hash, scopes, created_at,
             expires_at, ip_allowlist)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
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
    .bind(&key.ip_allowlist)
    .execute(db)
    .await?;
    Ok(())
}

pub async fn list(db: &PgPool) -> sqlx::Result<Vec<AdminKey>> {
    sqlx::query_as(
        "select id, account_id, project_id, name, key_prefix, scopes, created_at, expires_at, revoked_at, last_used_at,
             ip_allowlist
         from admin_keys order by id desc",
    )
    .fetch_all(db)
    .await
}

pub async fn by_hash(db: &mut PgConnection, hashes: &[Vec<u8>]) -> sqlx::Result<Option<AdminKey>> {
    sqlx::query_as(
        "select id, account_id, project_id, name, key_prefix, scopes, created_at, expires_at, revoked_at, last_used_at,
             ip_allowlist
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

/// Counts a failure of an address; answers until when it is locked out, if it is.
pub async fn count_failure(
    db: &mut PgConnection,
    address: IpAddr,
    settings: &Lockout,
    now: Time,
) -> sqlx::Result<Option<Time>> {
    sqlx::query_scalar(
        "insert into lockouts as l (address, window_began, failures, locked_until)
         values ($1, $2, 1, case when $4 <= 1 then $5::timestamptz end)
         on conflict (address) do update set
             failures = case when l.window_began <= $3 then 1 else l.failures + 1 end,
             window_began = case when l.window_began <= $3 then $2 else l.window_began end,
             locked_until = case
                 when (case when l.window_began <= $3 then 1 else l.failures + 1 end) >= $4
                     then greatest(l.locked_until, $5)
                 else l.locked_until end
         returning locked_until",
    )
    .bind(address.to_string())
    .bind(now)
    .bind(now - time::Duration::seconds(settings.window_seconds.into()))
    .bind(i64::from(settings.failures))
    .bind(now + time::Duration::seconds(settings.lock_seconds.into()))
    .fetch_one(db)
    .await
}

pub async fn forget_failures(db: &mut PgConnection, settings: &Lockout, now: Time) -> sqlx::Result<()> {
    sqlx::query("delete from lockouts where window_began <= $1 and coalesce(locked_until, $2) <= $2")
        .bind(now - time::Duration::seconds(settings.window_seconds.into()))
        .bind(now)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn locked(db: &mut PgConnection, now: Time) -> sqlx::Result<Vec<(String, Time)>> {
    sqlx::query_as("select address, locked_until from lockouts where locked_until > $1")
        .bind(now)
        .fetch_all(db)
        .await
}
