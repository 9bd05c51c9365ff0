//! SQL of credentials, save their writing, which is the ledger's.

use sqlx::PgConnection;
use uuid::Uuid;

use super::verify::Found;
use crate::kit::cx::Cx;

/// By id alone: the caller compares the digest, which no other tenant can know.
pub async fn find(db: &mut PgConnection, jti: Uuid) -> sqlx::Result<Option<Found>> {
    sqlx::query_as(
        "select jti, account_id, project_id, token_sha256, identity_id, subject, user_id, scopes, agent_status,
             revocation, active_until
         from credential_activity where jti = $1",
    )
    .bind(jti)
    .fetch_optional(db)
    .await
}

/// Whether the mark is new.
pub async fn revoke(cx: &mut Cx, jti: Uuid, reason: &str) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "update credentials set revoked_at = $4, revoked_by = $5, revoke_reason = $6
         where account_id = $1 and project_id = $2 and jti = $3 and revoked_at is null",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(jti)
    .bind(cx.now)
    .bind(&cx.caller.id)
    .bind(reason)
    .execute(&mut *cx.tx)
    .await?;
    Ok(done.rows_affected() == 1)
}
