//! SQL of events.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::Event;

/// One row for each event, under the id at the same place.
pub async fn insert(db: &mut PgConnection, ids: &[Uuid], events: &[Event]) -> sqlx::Result<()> {
    sqlx::query(
        "insert into outbox (id, account_id, project_id, event_type, subject_id, payload, occurred_at)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::jsonb[], $7::timestamptz[])
         on conflict do nothing",
    )
    .bind(ids)
    .bind(events.iter().map(|event| event.tenant.account_id.clone()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.tenant.project_id.clone()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.event_type).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.subject_id).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.payload.clone()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.occurred_at).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// Across tenants: what is older than the retention is nobody's.
pub async fn forget(db: &PgPool, before: Uuid, most: i64) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "delete from outbox where id in (select id from outbox where id < $1 order by id limit $2)",
    )
    .bind(before)
    .bind(most)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
