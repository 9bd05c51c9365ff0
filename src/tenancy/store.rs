//! SQL of tenants.

use sqlx::PgConnection;

use crate::kit::clock::Time;
use crate::kit::cx::Tenant;

pub async fn insert(db: &mut PgConnection, tenant: &Tenant, now: Time) -> sqlx::Result<()> {
    sqlx::query(
        "insert into tenants (account_id, project_id, created_at) values ($1, $2, $3) on conflict do nothing",
    )
    .bind(&tenant.account_id)
    .bind(&tenant.project_id)
    .bind(now)
    .execute(db)
    .await?;
    Ok(())
}

pub async fn state(db: &mut PgConnection, tenant: &Tenant) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("select state from tenants where account_id = $1 and project_id = $2")
        .bind(&tenant.account_id)
        .bind(&tenant.project_id)
        .fetch_optional(db)
        .await
}
