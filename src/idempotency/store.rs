//! SQL of kept answers.

use sqlx::PgPool;

use super::{Fingerprint, KEPT, caller};
use crate::kit::clock::Time;
use crate::kit::cx::Cx;

/// A kept answer.
#[derive(Debug, sqlx::FromRow)]
pub struct Kept {
    pub body_sha256: Vec<u8>,
    pub status: i16,
    pub sealed_body: Vec<u8>,
}

/// Held until the transaction ends: requests with one key come one after the other.
pub async fn lock(cx: &mut Cx, route: &str, key: &str) -> sqlx::Result<()> {
    let name = format!("{}/{}/{}/{route}/{key}", cx.tenant.account_id, cx.tenant.project_id, caller(cx));
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 7163384504))")
        .bind(name)
        .execute(&mut *cx.tx)
        .await?;
    Ok(())
}

pub async fn by_key(cx: &mut Cx, route: &str, key: &str) -> sqlx::Result<Option<Kept>> {
    sqlx::query_as(
        "select body_sha256, status, sealed_body from idempotent_answers
         where account_id = $1 and project_id = $2 and caller = $3 and route = $4 and idempotency_key = $5
           and expires_at > $6
         order by expires_at desc limit 1",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(caller(cx))
    .bind(route)
    .bind(key)
    .bind(cx.now)
    .fetch_optional(&mut *cx.tx)
    .await
}

pub async fn by_body(cx: &mut Cx, route: &str, body_sha256: &[u8]) -> sqlx::Result<Option<Kept>> {
    sqlx::query_as(
        "select body_sha256, status, sealed_body from idempotent_answers
         where account_id = $1 and project_id = $2 and caller = $3 and route = $4 and body_sha256 = $5
           and expires_at > $6",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(caller(cx))
    .bind(route)
    .bind(body_sha256)
    .bind(cx.now)
    .fetch_optional(&mut *cx.tx)
    .await
}

pub async fn keep(cx: &mut Cx, route: &str, request: &Fingerprint, sealed: &[u8]) -> sqlx::Result<()> {
    sqlx::query(
        "insert into idempotent_answers (account_id, project_id, caller, route, body_sha256, idempotency_key, status,
             sealed_body, expires_at)
         values ($1, $2, $3, $4, $5, $6, 201, $7, $8)
         on conflict (account_id, project_id, caller, route, body_sha256) do update set
             idempotency_key = excluded.idempotency_key, status = excluded.status,
             sealed_body = excluded.sealed_body, expires_at = excluded.expires_at",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(caller(cx))
    .bind(route)
    .bind(&request.body_sha256[..])
    .bind(&request.key)
    .bind(sealed)
    .bind(cx.now + KEPT)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

/// Across tenants: what has expired is nobody's.
pub async fn forget(db: &PgPool, now: Time) -> sqlx::Result<()> {
    sqlx::query("delete from idempotent_answers where expires_at <= $1").bind(now).execute(db).await?;
    Ok(())
}
