//! SQL of credentials, save their writing, which is the ledger's.

use sqlx::PgConnection;
use uuid::Uuid;

use super::revoke::Anchor;
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

/// Whether a mark or its own end ended the credential; `None` when the tenant has none with this id.
pub async fn is_over(cx: &mut Cx, jti: Uuid) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar(
        "select is_revoked or expires_at <= $4 from credential_history
         where account_id = $1 and project_id = $2 and jti = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(jti)
    .bind(cx.now)
    .fetch_optional(&mut *cx.tx)
    .await
}

/// One row for each anchor, under the id at the same place.
pub async fn note(cx: &mut Cx, ids: &[Uuid], anchors: &[Anchor], reason: &str) -> sqlx::Result<()> {
    let (mut kinds, mut rows, mut epochs) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, row, epoch) in anchors.iter().map(|anchor| anchor.columns()) {
        kinds.push(kind);
        rows.push(row);
        epochs.push(epoch);
    }
    sqlx::query(
        "insert into revocations (id, account_id, project_id, anchor, anchor_id, epoch, reason, marked_by, marked_at)
         select m.id, $1, $2, m.anchor, m.anchor_id, m.epoch, $7, $8, $9
         from unnest($3::uuid[], $4::text[], $5::uuid[], $6::integer[]) as m (id, anchor, anchor_id, epoch)",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(ids)
    .bind(kinds)
    .bind(rows)
    .bind(epochs)
    .bind(reason)
    .bind(&cx.caller.id)
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

/// Held until the transaction ends: one replica at a time. What follows does not wait long for the table itself.
pub async fn lock_partitions(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(7163384503), set_config('lock_timeout', '2s', true)")
        .execute(db)
        .await?;
    Ok(())
}

pub async fn make_partition(db: &mut PgConnection, name: &str, lower: Uuid, upper: Uuid) -> sqlx::Result<()> {
    sqlx::query("select make_credentials_partition($1, $2, $3)")
        .bind(name)
        .bind(lower)
        .bind(upper)
        .execute(db)
        .await?;
    Ok(())
}

pub async fn drop_partition(db: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    sqlx::query("select drop_credentials_partition($1)").bind(name).execute(db).await?;
    Ok(())
}

/// The names of the partitions that there are.
pub async fn partitions(db: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = to_regclass('credentials') order by 1",
    )
    .fetch_all(db)
    .await
}
