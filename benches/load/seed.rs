//! Fills the server's database with the credentials of others, by the statements that tests/sql/plans.rs looks at too.

use std::path::Path;

use anyhow::{Context, Result};
use chancery::kit::db::embedded::{Embedded, Settings};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Credentials for each agent.
const EACH: usize = 100;

/// A connection to the server's database.
pub(crate) async fn connect(data_dir: &Path) -> Result<PgConnection> {
    let settings = Settings { data_dir: data_dir.to_owned(), bin_dir: None };
    let options = Embedded::running(&settings).await.context("the server's Postgres does not answer")?;
    Ok(PgConnection::connect_with(&options).await?)
}

pub(crate) async fn fill(data_dir: &Path, credentials: usize) -> Result<()> {
    let mut db = connect(data_dir).await?;
    let agents = credentials.div_ceil(EACH);
    let values = [
        (":agents", agents),
        (":tenants", agents.div_ceil(1000)),
        (":credentials", credentials),
        (":days", 90),
    ];
    let seed = include_str!("../../tests/support/seed.sql").to_owned();
    let seed = values.iter().fold(seed, |sql, (name, value)| sql.replace(name, &value.to_string()));
    sqlx::raw_sql(AssertSqlSafe(seed)).execute(&mut db).await?;
    db.close().await?;
    Ok(())
}
