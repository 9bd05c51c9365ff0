//! The value that every handler and worker is given. The one place of the kit that names the strata below it.

use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Postgres, Transaction};
use tokio_util::sync::CancellationToken;

use super::clock::{Clock, Stopwatch};
use super::config::Config;
use super::config::Database;
use super::db::{self, Gate, Group, rows};
use super::error::{Error, Kind, Result, refuse};
use super::metrics::Metrics;
use super::outbound::{KeySets, Outbound};
use super::seal::MasterKeys;
use crate::access::Lockouts;
use crate::agents::{self, Holding};
use crate::api_keys::{self, Usage};
use crate::clients::{self, Documents};
use crate::keys::Keys;
use crate::kit::http::admission::Admission;
use crate::kit::http::rate::Rates;
use crate::signals::Streams;
use crate::tokens::ledger::{self, Outcome, Record};
use crate::tokens::{self, Found, TokenId, exchange};

/// A running server without its socket.
#[derive(Debug)]
pub struct App {
    /// As loaded.
    pub config: Config,
    /// Where "now" comes from.
    pub clock: Clock,
    /// The pool of ordinary connections. Requests go through [`App::connection`] and its siblings.
    pub db: PgPool,
    reserved: PgPool,
    groups: Groups,
    /// Whether the database answers.
    pub gate: Gate,
    /// Peppers and signing keys.
    pub keys: Keys,
    /// Uses of API keys that are not yet written.
    pub usage: Usage,
    /// Addresses that are locked out.
    pub lockouts: Lockouts,
    /// How many requests addresses and keys sent lately.
    pub rates: Rates,
    /// The places for requests of the token path.
    pub admission: Admission,
    /// What fetches from other servers.
    pub outbound: Arc<Outbound>,
    /// The keys that others publish.
    pub key_sets: KeySets,
    /// The clients that describe themselves.
    pub documents: Documents,
    /// Who follows the signals.
    pub signals: Streams,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// When the server started, for `/health`.
    pub started: Stopwatch,
    /// Cancelled when the server is about to stop: readiness turns red, connections are not kept.
    pub draining: CancellationToken,
}

/// Where requests of many callers travel together.
#[derive(Debug)]
struct Groups {
    clients: Group<String, Option<rows::Row>>,
    keys: Group<Vec<Vec<u8>>, Option<rows::Row>>,
    tokens: Group<TokenId, Option<rows::Row>>,
    holdings: Group<String, Option<rows::Row>>,
    exchanges: Group<exchange::Asked, PgRow>,
    ledger: Group<Record, Outcome>,
}

impl Groups {
    fn start(pool: &PgPool, bounds: &Database) -> Self {
        Self {
            clients: Group::start(pool, bounds, 1, |db, ids| Box::pin(clients::find(db, ids))),
            keys: Group::start(pool, bounds, 1, |db, hashes| Box::pin(api_keys::find(db, hashes))),
            tokens: Group::start(pool, bounds, 1, |db, ids| Box::pin(tokens::find_all(db, ids))),
            holdings: Group::start(pool, bounds, 1, |db, uris| Box::pin(agents::by_uris(db, uris))),
            exchanges: Group::start(pool, bounds, 1, |db, asked| Box::pin(exchange::find(db, asked))),
            ledger: Group::start_writing(pool, bounds, 1, |db, records| Box::pin(ledger::write(db, records))),
        }
    }
}

impl App {
    /// What is known of a client, by its `client_id`.
    pub async fn find_client(&self, client_id: String) -> Result<Option<clients::Evidence>> {
        self.present()?;
        Ok(rows::read(self.groups.clients.run(client_id).await?)?)
    }

    /// What stands behind an API key, by its hashes under every pepper.
    pub async fn find_key(&self, hashes: Vec<Vec<u8>>) -> Result<Option<api_keys::Evidence>> {
        self.present()?;
        Ok(rows::read(self.groups.keys.run(hashes).await?)?)
    }

    /// A credential by what its token says, with what it rests on.
    pub async fn find_token(&self, id: TokenId) -> Result<Option<Found>> {
        self.present()?;
        Ok(rows::read(self.groups.tokens.run(id).await?)?)
    }

    /// An identity with what issuing asks of it, by its URI.
    pub async fn find_holding(&self, uri: String) -> Result<Option<Holding>> {
        self.present()?;
        Ok(rows::read(self.groups.holdings.run(uri).await?)?)
    }

    /// What a token exchange rests on.
    pub async fn find_exchange(&self, asked: exchange::Asked) -> Result<exchange::Evidence> {
        self.present()?;
        Ok(exchange::Evidence::from_row(&self.groups.exchanges.run(asked).await?)?)
    }

    /// Makes a record durable.
    pub async fn write(&self, record: Record) -> Result<Outcome> {
        self.present()?;
        self.groups.ledger.run(record).await
    }

    /// Loads the keys, or makes the first ones, on a schema that is up to date.
    pub async fn open(config: Config, clock: Clock, db: PgPool, master: MasterKeys) -> Result<Arc<Self>> {
        db::follow(&clock, &db).await?;
        let keys = Keys::open(&db, &config, master, clock.now()).await?;
        let options = (*db.connect_options()).clone();
        Ok(Arc::new(Self {
            reserved: db::reserved_pool(options.clone(), &config.database),
            groups: Groups::start(&db, &config.database),
            gate: Gate::new(options),
            usage: Usage::default(),
            lockouts: Lockouts::default(),
            rates: Rates::new(&config.rate),
            admission: Admission::new(config.limits.requests),
            outbound: Arc::new(Outbound::open(&config.outbound)?),
            key_sets: KeySets::default(),
            documents: Documents::default(),
            signals: Streams::new(&config.signals),
            metrics: Metrics::default(),
            started: Stopwatch::start(),
            draining: CancellationToken::new(),
            config,
            clock,
            db,
            keys,
        }))
    }

    /// A connection for statements that stand alone.
    pub async fn connection(&self) -> Result<PoolConnection<Postgres>> {
        self.present()?;
        self.db.acquire().await.map_err(|error| self.absent(error))
    }

    /// A transaction.
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>> {
        self.present()?;
        self.db.begin().await.map_err(|error| self.absent(error))
    }

    /// A transaction for revocation.
    pub async fn begin_reserved(&self) -> Result<Transaction<'static, Postgres>> {
        self.present()?;
        self.reserved.begin().await.map_err(|error| self.absent(error))
    }

    /// The pools by name, for metrics.
    pub fn pools(&self) -> [(&'static str, &PgPool); 2] {
        [("ordinary", &self.db), ("reserved", &self.reserved)]
    }

    fn present(&self) -> Result<()> {
        if self.gate.is_away() {
            return Err(refuse(
                Kind::Unavailable,
                "the database does not answer at the moment; try again shortly",
            ));
        }
        Ok(())
    }

    fn absent(&self, error: sqlx::Error) -> Error {
        self.gate.suspect();
        error.into()
    }
}
