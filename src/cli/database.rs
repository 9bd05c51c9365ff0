//! Where the database is: the configured one, or a private Postgres in the data directory.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool};

use super::say;
use crate::kit::config::Config;
use crate::kit::db::embedded::{Embedded, Settings};
use crate::kit::db::{self};
use crate::kit::error::Result;

/// A database to work on, for as long as the value lives.
pub(super) struct Database {
    pub options: PgConnectOptions,
    /// The private Postgres, when none is configured.
    pub embedded: Option<Embedded>,
}

impl Database {
    /// The configured database, or the private one, started if it does not run.
    pub async fn open(config: &Config) -> Result<Self> {
        if !config.database.url.is_empty() {
            let options = configured(config)?;
            reach(&options, config).await?;
            return Ok(Self { options, embedded: None });
        }
        let embedded = Embedded::start(settings(config)).await?;
        Ok(Self { options: embedded.connect_options(), embedded: Some(embedded) })
    }

    /// The same for a command that may run beside a server: a private Postgres that runs already is used as it is.
    pub async fn join(config: &Config) -> Result<Self> {
        if config.database.url.is_empty()
            && let Some(options) = Embedded::running(&settings(config)).await
        {
            return Ok(Self { options, embedded: None });
        }
        Self::open(config).await
    }

    /// A pool on it.
    pub fn pool(&self, config: &Config) -> PgPool {
        db::pool(self.options.clone(), &config.database)
    }

    /// Stops what was started.
    pub async fn close(self, pool: PgPool) {
        pool.close().await;
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

fn settings(config: &Config) -> Settings {
    let bin_dir = Some(config.database.postgres_bin_dir.clone()).filter(|dir| !dir.as_os_str().is_empty());
    Settings { data_dir: config.data_dir.clone(), bin_dir }
}

/// The parser's own error could repeat the password.
fn configured(config: &Config) -> Result<PgConnectOptions> {
    PgConnectOptions::from_str(config.database.url.expose()).map_err(|_| {
        anyhow::anyhow!("database.url can't be read; its form is postgres://USER:PASSWORD@HOST:PORT/DATABASE")
            .into()
    })
}

/// Connects once: a pool would hide why it can't, and a request's words for it are not those of an operator.
async fn reach(options: &PgConnectOptions, config: &Config) -> Result<()> {
    let away = |why: String| {
        anyhow::anyhow!(
            "the database can't be reached: {why}; check that it runs, takes connections from here, and that \
             database.url (DATABASE_URL) names it"
        )
    };
    let seconds = config.database.acquire_timeout_seconds;
    match tokio::time::timeout(Duration::from_secs(seconds), PgConnection::connect_with(options)).await {
        Err(_) => Err(away(format!("no answer within {seconds} seconds")).into()),
        Ok(Err(error)) => Err(away(error.to_string()).into()),
        Ok(Ok(connection)) => Ok(connection.close().await?),
    }
}

/// `chancery migrate`.
pub(super) async fn migrate(config: &Config) -> Result<()> {
    let database = Database::join(config).await?;
    let pool = database.pool(config);
    let outcome = db::migrate(&pool).await;
    database.close(pool).await;
    outcome?;
    say("the schema is up to date")
}
