//! SQL of the audit log. Rows are only ever added.

use sqlx::PgConnection;

use super::Entry;

pub async fn insert(db: &mut PgConnection, entry: &Entry) -> sqlx::Result<()> {
    sqlx::query(
        "insert into audit_events (id, account_id, project_id, occurred_at, actor_type, actor_id, action,
             target_type, target_id, outcome, reason, address, request_id, metadata)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, case when $10::text is null then 'success' else 'refused' end,
             coalesce($10, ''), $11, $12, $13)",
    )
    .bind(entry.id)
    .bind(&entry.tenant.account_id)
    .bind(&entry.tenant.project_id)
    .bind(entry.occurred_at)
    .bind(entry.actor.0)
    .bind(&entry.actor.1)
    .bind(entry.event.action)
    .bind(entry.event.target_type)
    .bind(&entry.event.target_id)
    .bind(&entry.refused)
    .bind(entry.origin.address.map(|address| address.to_string()).unwrap_or_default())
    .bind(&entry.origin.request_id)
    .bind(&entry.event.metadata)
    .execute(db)
    .await?;
    Ok(())
}
