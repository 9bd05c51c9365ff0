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

pub async fn note(cx: &mut Cx, rows: &[Uuid], anchors: &[Anchor], reason: &str) -> sqlx::Result<()> {
    let columns: Vec<_> = anchors.iter().map(|anchor| anchor.columns()).collect();
    sqlx::query(
        "insert into revocations (id, account_id, project_id, anchor, anchor_id, epoch, reason, marked_by, marked_at)
         select n.id, $1, $2, n.anchor, n.anchor_id, n.epoch, $3, $4, $5
         from unnest($6::uuid[], $7::text[], $8::uuid[], $9::integer[]) as n (id, anchor, anchor_id, epoch)",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(reason)
    .bind(&cx.caller.id)
    .bind(cx.now)
    .bind(rows)
    .bind(columns.iter().map(|(kind, ..)| *kind).collect::<Vec<_>>())
    .bind(columns.iter().map(|(_, id, _)| *id).collect::<Vec<_>>())
    .bind(columns.iter().map(|(.., epoch)| *epoch).collect::<Vec<_>>())
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

pub async fn count_of_clients(cx: &mut Cx, clients: &[Uuid]) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select count(*) from credential_activity
         where account_id = $1 and project_id = $2 and oauth_client_id = any($3)
           and revocation = '' and active_until > $4",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(clients)
    .bind(cx.now)
    .fetch_one(&mut *cx.tx)
    .await
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
