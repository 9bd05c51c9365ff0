//! The database: the pool, the migrations, and a private Postgres run as a child process when none is configured.

pub mod embedded;
mod gate;
pub mod group;
pub mod roles;
pub mod rows;

pub use gate::Gate;
pub use group::Group;

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};

use super::clock::{Clock, Time, local};
use super::config::Database;
use super::error::Result;

/// Every migration, in order, part of the binary.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The pool of ordinary connections. It connects when first used.
pub fn pool(options: PgConnectOptions, bounds: &Database) -> PgPool {
    bounded(options, bounds, bounds.max_connections.saturating_sub(bounds.reserved_connections))
}

/// The pool that only revocation uses, so that it answers when all others wait.
pub fn reserved_pool(options: PgConnectOptions, bounds: &Database) -> PgPool {
    bounded(options, bounds, bounds.reserved_connections)
}

fn bounded(options: PgConnectOptions, bounds: &Database, most: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(most.max(1))
        .acquire_timeout(Duration::from_secs(bounds.acquire_timeout_seconds))
        .connect_lazy_with(settings(options, bounds))
}

/// What every connection is told.
fn settings(options: PgConnectOptions, bounds: &Database) -> PgConnectOptions {
    let timeout = format!("{}s", bounds.statement_timeout_seconds);
    options.options([
        ("statement_timeout", timeout.as_str()),
        // Planning anew at every call costs more than the statement itself, above all on a partitioned table.
        ("plan_cache_mode", "force_generic_plan"),
        // Compiling a statement over many partitions takes a hundred times as long as running it.
        ("jit", "off"),
    ])
}

/// What a connection of a group is told. Its statements look up a handful of rows by their keys; a plan that was made
/// while a table was small would read all of it.
pub fn grouped(options: PgConnectOptions, bounds: &Database) -> PgConnectOptions {
    settings(options, bounds).options([
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        // The keys of one batch seldom repeat, so remembering what they found costs more than it saves.
        ("enable_memoize", "off"),
    ])
}

/// Brings the schema up to date. Several servers may call it at once: a lock lets one work, the others wait. A
/// connection of its own, as a migration may take longer than any request.
pub async fn migrate(options: &PgConnectOptions) -> Result<()> {
    let mut connection = PgConnection::connect_with(options).await?;
    let outcome = bring_up_to_date(&mut connection).await;
    connection.close().await?;
    outcome.map_err(|error| anyhow::anyhow!("the schema could not be brought up to date: {error}").into())
}

/// The application's role may look at the list of migrations but not define tables, and the migrator begins by defining
/// one. So a schema that has everything is left alone, also when a newer server brought more.
async fn bring_up_to_date(db: &mut PgConnection) -> Result<(), MigrateError> {
    if !has_every_migration(db).await? {
        MIGRATIONS.run(db).await?;
    }
    Ok(())
}

async fn has_every_migration(db: &mut PgConnection) -> sqlx::Result<bool> {
    let begun: bool =
        sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null").fetch_one(&mut *db).await?;
    if !begun {
        return Ok(false);
    }
    let applied: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("select version, checksum from _sqlx_migrations where success").fetch_all(db).await?;
    let is_applied = |version: i64, checksum: &[u8]| {
        applied.iter().any(|(found, sum)| *found == version && sum == checksum)
    };
    Ok(MIGRATIONS.iter().all(|migration| is_applied(migration.version, &migration.checksum)))
}

/// Brings a clock onto the database's; answers how far the machine's own is away.
pub async fn follow(clock: &Clock, pool: &PgPool) -> sqlx::Result<time::Duration> {
    let asked = local();
    let database = time(pool).await?;
    Ok(clock.follow(asked, database))
}

/// The database's own clock.
pub async fn time(pool: &PgPool) -> sqlx::Result<Time> {
    sqlx::query_scalar("select clock_timestamp()").fetch_one(pool).await
}
