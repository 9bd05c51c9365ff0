//! The two roles of a production database: the owner of the schema, and the application, which can't change the audit
//! log.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use url::Url;

use crate::kit::error::Result;

/// Tables in which the application may only add and read.
const APPEND_ONLY: &str = "audit_events";

/// Makes the application's role if it is not there, and sets its rights anew.
pub async fn grant(owner: &PgConnectOptions, application: &PgConnectOptions, url: &str) -> Result<()> {
    let role = application.get_username();
    if role == owner.get_username() {
        return Err(anyhow::anyhow!(
            "database.url and database.owner_url name the same role, {role}; give the application a role of its own"
        )
        .into());
    }
    let mut db = PgConnection::connect_with(owner).await?;
    let outcome = set(&mut db, role, password(url)).await;
    db.close().await?;
    outcome
}

/// Whether the role of these connections could change the audit log: then one role does all.
pub async fn may_change_audit(pool: &PgPool) -> sqlx::Result<bool> {
    sqlx::query_scalar("select has_table_privilege('audit_events', 'update') or has_table_privilege('audit_events', 'delete')")
        .fetch_one(pool)
        .await
}

async fn set(db: &mut PgConnection, role: &str, password: Option<String>) -> Result<()> {
    let mut tx = db.begin().await?;
    // Several migrators may come at once.
    sqlx::query("select pg_advisory_xact_lock(7163384502)").execute(&mut *tx).await?;
    let exists: bool = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
        .bind(role)
        .fetch_one(&mut *tx)
        .await?;
    if !exists {
        let statement: String = sqlx::query_scalar(
            "select format('create role %I login', $1::text) || coalesce(format(' password %L', $2::text), '')",
        )
        .bind(role)
        .bind(password)
        .fetch_one(&mut *tx)
        .await?;
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
    }
    let quoted: String =
        sqlx::query_scalar("select quote_ident($1::text)").bind(role).fetch_one(&mut *tx).await?;
    for statement in [
        format!("grant usage on schema public to {quoted}"),
        format!("grant select, insert, update, delete on all tables in schema public to {quoted}"),
        format!("grant execute on all functions in schema public to {quoted}"),
        format!("revoke update, delete, truncate on {APPEND_ONLY} from {quoted}"),
        format!("revoke insert, update, delete on _sqlx_migrations from {quoted}"),
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// The password of a URL, decoded.
fn password(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let form = format!("p={}", url.password()?.replace('+', "%2B"));
    form_urlencoded::parse(form.as_bytes()).next().map(|(_, value)| value.into_owned())
}
