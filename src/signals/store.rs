//! SQL of signals.

use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Filter, Severity, Signal, SignalType};
use crate::kit::clock::Time;
use crate::kit::cx::{Cx, Tenant};

/// What is written of a signal.
#[derive(Debug)]
pub struct Row {
    pub id: Uuid,
    pub identity_id: Option<Uuid>,
    pub mission_id: Option<Uuid>,
    pub signal_type: SignalType,
    pub severity: Severity,
    pub source: String,
    pub payload: Value,
    pub processed_at: Option<Time>,
}

/// A place in the stream: after this signal of this transaction. The number of a transaction has 64 bits without a sign,
/// so it travels as text.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Position {
    pub transaction_id: String,
    pub id: Uuid,
}

/// The signal and its place.
#[derive(Debug, sqlx::FromRow)]
pub struct Placed {
    #[sqlx(flatten)]
    pub signal: Signal,
    pub transaction_id: String,
}

/// Writes the rows and wakes the servers that listen, once this is committed.
pub async fn insert(cx: &mut Cx, rows: &[Row]) -> sqlx::Result<()> {
    fn each<V>(rows: &[Row], column: impl Fn(&Row) -> V) -> Vec<V> {
        rows.iter().map(column).collect()
    }
    sqlx::query(
        "with written as (
             insert into signals (id, account_id, project_id, identity_id, mission_id, signal_type, severity, source,
                 payload, created_at, processed_at)
             select r.id, $1, $2, r.identity_id, r.mission_id, r.signal_type, r.severity, r.source, r.payload, $3,
                 r.processed_at
             from unnest($4::uuid[], $5::uuid[], $6::uuid[], $7::text[], $8::text[], $9::text[], $10::jsonb[],
                 $11::timestamptz[])
                 as r (id, identity_id, mission_id, signal_type, severity, source, payload, processed_at)
             returning id
         )
         select pg_notify('chancery_signals', '') from (select from written limit 1) as any_row",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(cx.now)
    .bind(each(rows, |row| row.id))
    .bind(each(rows, |row| row.identity_id))
    .bind(each(rows, |row| row.mission_id))
    .bind(each(rows, |row| row.signal_type))
    .bind(each(rows, |row| row.severity))
    .bind(each(rows, |row| row.source.clone()))
    .bind(each(rows, |row| row.payload.clone()))
    .bind(each(rows, |row| row.processed_at))
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

pub async fn get(cx: &mut Cx, id: Uuid) -> sqlx::Result<Signal> {
    sqlx::query_as(
        "select id, account_id, project_id, coalesce(identity_id::text, '') as identity_id, mission_id, signal_type,
             severity, source, payload, created_at, processed_at
         from signals where account_id = $1 and project_id = $2 and id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .fetch_one(&mut *cx.tx)
    .await
}

pub async fn list(cx: &mut Cx, filter: Filter, limit: i64) -> sqlx::Result<Vec<Signal>> {
    sqlx::query_as(
        "select id, account_id, project_id, coalesce(identity_id::text, '') as identity_id, mission_id, signal_type,
             severity, source, payload, created_at, processed_at
         from signals
         where account_id = $1 and project_id = $2
           and ($3::uuid is null or mission_id = $3) and ($4::uuid is null or identity_id = $4)
         order by created_at desc, id desc limit $5",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(filter.mission_id)
    .bind(filter.identity_id)
    .bind(limit)
    .fetch_all(&mut *cx.tx)
    .await
}

/// The place of a signal that the tenant has.
pub async fn position(db: &mut PgConnection, tenant: &Tenant, id: Uuid) -> sqlx::Result<Option<Position>> {
    sqlx::query_as(
        "select transaction_id::text as transaction_id, id from signals
         where account_id = $1 and project_id = $2 and id = $3",
    )
    .bind(&tenant.account_id)
    .bind(&tenant.project_id)
    .bind(id)
    .fetch_optional(db)
    .await
}

/// The place before which everything is committed.
pub async fn now(db: &mut PgConnection) -> sqlx::Result<String> {
    sqlx::query_scalar("select pg_snapshot_xmin(pg_current_snapshot())::text").fetch_one(db).await
}

/// The signals after a place, in the order of their transactions; only of those older than every transaction that is
/// still running, as one of these may yet bring a row before them.
pub async fn after(
    db: &mut PgConnection,
    tenant: &Tenant,
    position: &Position,
    most: i64,
) -> sqlx::Result<Vec<Placed>> {
    sqlx::query_as(
        "select id, account_id, project_id, coalesce(identity_id::text, '') as identity_id, mission_id, signal_type,
             severity, source, payload, created_at, processed_at, transaction_id::text as transaction_id
         from signals
         where account_id = $1 and project_id = $2
           and (signals.transaction_id, id) > ($3::text::xid8, $4)
           and signals.transaction_id < pg_snapshot_xmin(pg_current_snapshot())
         order by signals.transaction_id, id limit $5",
    )
    .bind(&tenant.account_id)
    .bind(&tenant.project_id)
    .bind(&position.transaction_id)
    .bind(position.id)
    .bind(most)
    .fetch_all(db)
    .await
}

/// Across tenants: what is older than the retention is nobody's.
pub async fn forget(db: &PgPool, before: Uuid, most: i64) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "delete from signals where id in (select id from signals where id < $1 order by id limit $2)",
    )
    .bind(before)
    .bind(most)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
