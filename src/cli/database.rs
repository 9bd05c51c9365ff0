//! Where the database is: the configured one, or a private Postgres in the data directory.

use std::str::FromStr;

use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use super::say;
use crate::kit::config::Config;
use crate::kit::db;
use crate::kit::db::embedded::{Embedded, Settings};
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
            return Ok(Self {
                options: parsed(config.database.url.expose(), "database.url")?,
                embedded: None,
            });
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

    /// Brings the schema up to date, as its owner where one is configured, and gives the application's role its rights.
    pub async fn prepare(&self, config: &Config) -> Result<()> {
        if config.database.owner_url.is_empty() {
            return db::migrate(&self.options).await;
        }
        let owner = parsed(config.database.owner_url.expose(), "database.owner_url")?;
        db::migrate(&owner).await?;
        db::roles::grant(&owner, &self.options, config.database.url.expose()).await
    }

    /// Closes the pool and stops what was started.
    pub async fn close(self, pool: PgPool) {
        pool.close().await;
        self.stop().await;
    }

    /// Stops what was started.
    pub async fn stop(self) {
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
fn parsed(url: &str, setting: &str) -> Result<PgConnectOptions> {
    PgConnectOptions::from_str(url).map_err(|_| {
        anyhow::anyhow!("{setting} can't be read; its form is postgres://USER:PASSWORD@HOST:PORT/DATABASE")
            .into()
    })
}

/// `chancery migrate`.
pub(super) async fn migrate(config: &Config) -> Result<()> {
    let database = Database::join(config).await?;
    let outcome = database.prepare(config).await;
    database.stop().await;
    outcome?;
    say("the schema is up to date")
}
