//! SQL of credentials, save their writing, which is the ledger's.

use sqlx::PgConnection;
use uuid::Uuid;

use super::credential::Record;
use super::ended::Standing;
use super::revoke::Anchor;
use super::verify::Found;
use crate::kit::cx::Cx;
use crate::kit::http::page::Page;

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

/// In the order given; one that is not there is left out. The bounds on the ids let the plan leave out partitions.
pub async fn records(cx: &mut Cx, ids: &[Uuid]) -> sqlx::Result<Vec<Record>> {
    sqlx::query_as(
        "select s.jti as id, s.account_id, s.project_id, s.jti, s.subject,
             coalesce(s.identity_id::text, '') as identity_id, s.issued_at, s.expires_at,
             extract(epoch from s.expires_at - s.issued_at)::bigint as ttl_seconds, s.scopes, s.grant_type,
             s.delegation_depth, s.parent_jti, nullif(s.delegated_by, '') as delegated_by_wimse_uri, s.mission_id,
             s.jkt as dpop_key_thumbprint, s.ancestors, s.standing, s.is_marked, s.mark_at, s.mark_reason
         from credential_standing s
         where s.account_id = $1 and s.project_id = $2 and s.jti = any($3) and s.jti between $4 and $5
         order by array_position($3, s.jti)",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(ids)
    .bind(ids.iter().min())
    .bind(ids.iter().max())
    .fetch_all(&mut *cx.tx)
    .await
}

pub async fn standings(cx: &mut Cx, ids: &[Uuid]) -> sqlx::Result<Vec<Standing>> {
    sqlx::query_as(
        "select jti, ancestors, standing, is_marked, mark_at, mark_reason from credential_standing
         where account_id = $1 and project_id = $2 and jti = any($3) and jti between $4 and $5",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(ids)
    .bind(ids.iter().min())
    .bind(ids.iter().max())
    .fetch_all(&mut *cx.tx)
    .await
}

/// The page of an identity's credentials, newest first, and the number of all.
pub async fn of_identity(cx: &mut Cx, identity_id: Uuid, page: Page) -> sqlx::Result<(Vec<Uuid>, i64)> {
    sqlx::query_as(
        "select array(select jti from credentials where account_id = $1 and project_id = $2 and identity_id = $3
                      order by jti desc limit $4 offset $5),
             (select count(*) from credentials where account_id = $1 and project_id = $2 and identity_id = $3)",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(identity_id)
    .bind(page.limit)
    .bind(page.offset)
    .fetch_one(&mut *cx.tx)
    .await
}

/// The page of a tree's credentials from the root downwards, and the number of all.
pub async fn of_mission(cx: &mut Cx, mission_id: Uuid, page: Page) -> sqlx::Result<(Vec<Uuid>, i64)> {
    sqlx::query_as(
        "with recursive tree as (
             select c.jti, c.delegation_depth, c.issued_at from credentials c
             where c.account_id = $1 and c.project_id = $2 and c.jti = $3 and c.mission_id = $3
             union all
             select c.jti, c.delegation_depth, c.issued_at from tree join credentials c on c.parent_jti = tree.jti
             where c.account_id = $1 and c.project_id = $2
         )
         select array(select jti from tree order by delegation_depth, issued_at, jti limit $4 offset $5),
             (select count(*) from tree)",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(mission_id)
    .bind(page.limit)
    .bind(page.offset)
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
