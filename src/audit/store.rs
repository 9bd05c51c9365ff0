//! SQL of the audit log. Rows are only ever added.

use sqlx::PgConnection;

use super::Entry;

pub async fn insert(db: &mut PgConnection, entries: &[Entry]) -> sqlx::Result<()> {
    fn each<V>(entries: &[Entry], column: impl Fn(&Entry) -> V) -> Vec<V> {
        entries.iter().map(column).collect()
    }
    sqlx::query(
        "insert into audit_events (id, account_id, project_id, occurred_at, actor_type, actor_id, action,
             target_type, target_id, outcome, reason, address, request_id, metadata)
         select e.id, e.account_id, e.project_id, e.occurred_at, e.actor_type, e.actor_id, e.action, e.target_type,
             e.target_id, case when e.reason is null then 'success' else 'refused' end, coalesce(e.reason, ''),
             e.address, e.request_id, e.metadata
         from unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[],
             $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::jsonb[])
             as e (id, account_id, project_id, occurred_at, actor_type, actor_id, action, target_type, target_id,
                 reason, address, request_id, metadata)",
    )
    .bind(each(entries, |entry| entry.id))
    .bind(each(entries, |entry| entry.tenant.account_id.clone()))
    .bind(each(entries, |entry| entry.tenant.project_id.clone()))
    .bind(each(entries, |entry| entry.occurred_at))
    .bind(each(entries, |entry| entry.actor.0))
    .bind(each(entries, |entry| entry.actor.1.clone()))
    .bind(each(entries, |entry| entry.event.action))
    .bind(each(entries, |entry| entry.event.target_type))
    .bind(each(entries, |entry| entry.event.target_id.clone()))
    .bind(each(entries, |entry| entry.refused.clone()))
    .bind(each(entries, |entry| entry.origin.address.map(|address| address.to_string()).unwrap_or_default()))
    .bind(each(entries, |entry| entry.origin.request_id.clone()))
    .bind(each(entries, |entry| entry.event.metadata.clone()))
    .execute(db)
    .await?;
    Ok(())
}
