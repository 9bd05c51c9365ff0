//! The database: the pool, the migrations, and a private Postgres run as a child process when none is configured.

pub mod embedded;

use std::time::Duration;

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::clock::Time;
use super::config::Database;
use super::error::Result;

/// Every migration, in order, part of the binary.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// A pool within the configured bounds. It connects when first used.
pub fn pool(options: PgConnectOptions, bounds: &Database) -> PgPool {
    PgPoolOptions::new()
        .max_connections(bounds.max_connections)
        .acquire_timeout(Duration::from_secs(bounds.acquire_timeout_seconds))
        .connect_lazy_with(options)
}

/// Brings the schema up to date. Several servers may call it at once: a lock lets one work, the others wait.
pub async fn migrate(pool: &PgPool) -> Result<()> {
    MIGRATIONS
        .run(pool)
        .await
        .map_err(|error| anyhow::anyhow!("the schema could not be brought up to date: {error}"))?;
    Ok(())
}

/// The database's own clock.
pub async fn time(pool: &PgPool) -> sqlx::Result<Time> {
    sqlx::query_scalar("select clock_timestamp()").fetch_one(pool).await
}
