//! The value that every handler and worker is given. The one place of the kit that names the strata below it.

use std::sync::Arc;

use sqlx::PgPool;

use super::clock::Clock;
use super::config::Config;
use super::db;
use super::error::Result;
use super::metrics::Metrics;
use super::secret::MasterKey;
use crate::keys::Keys;

/// A running server without its socket.
#[derive(Debug)]
pub struct App {
    /// As loaded.
    pub config: Config,
    /// Where "now" comes from.
    pub clock: Clock,
    /// The pool of ordinary connections.
    pub db: PgPool,
    /// Peppers and signing keys.
    pub keys: Keys,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// When the server started, for `/health`.
    pub started: super::clock::Stopwatch,
}

impl App {
    /// Brings the schema up to date, makes or loads the keys, and answers a server that is ready to route requests.
    pub async fn start(config: Config, clock: Clock, db: PgPool, master: &MasterKey) -> Result<Arc<Self>> {
        db::migrate(&db).await?;
        Self::open(config, clock, db, master).await
    }

    /// The same on a schema that is up to date already.
    pub async fn open(config: Config, clock: Clock, db: PgPool, master: &MasterKey) -> Result<Arc<Self>> {
        clock.follow(db::time(&db).await?);
        let keys = Keys::open(&db, &config, master, clock.now()).await?;
        let started = super::clock::Stopwatch::start();
        Ok(Arc::new(Self { config, clock, db, keys, metrics: Metrics::default(), started }))
    }
}
