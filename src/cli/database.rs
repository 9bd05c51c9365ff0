//! Where the database is: the configured one, or a private Postgres in the data directory.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool};

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
            let options = parsed(config.database.url.expose(), "database.url")?;
            // The owner, where there is one, makes the application's role, which may not exist yet.
            let first = if config.database.owner_url.is_empty() { options.clone() } else { owner(config)? };
            reach(&first, config).await?;
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

    /// Brings the schema up to date, as its owner where one is configured, and gives the application's role its rights.
    pub async fn prepare(&self, config: &Config) -> Result<()> {
        if config.database.owner_url.is_empty() {
            return db::migrate(&self.options).await;
        }
        let owner = owner(config)?;
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

/// The schema's owner.
fn owner(config: &Config) -> Result<PgConnectOptions> {
    parsed(config.database.owner_url.expose(), "database.owner_url")
}

/// The parser's own error could repeat the password.
fn parsed(url: &str, setting: &str) -> Result<PgConnectOptions> {
    PgConnectOptions::from_str(url).map_err(|_| {
        anyhow::anyhow!("{setting} can't be read; its form is postgres://USER:PASSWORD@HOST:PORT/DATABASE")
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
    let outcome = database.prepare(config).await;
    database.stop().await;
    outcome?;
    say("the schema is up to date")
}
