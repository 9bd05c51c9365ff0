//! What the statements cost alone, each for sixteen at once over one connection set as a group's: processor time of both
//! sides for one item. The reads find what the server wrote; the writes go to a database of their own.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use chancery::access::scope::Scopes;
use chancery::audit::{Entry, Event};
use chancery::kit::clock::{Clock, Stopwatch, Time};
use chancery::kit::config::{Config, Profile};
use chancery::kit::cx::{Origin, Tenant};
use chancery::kit::db::{embedded, grouped, migrate};
use chancery::kit::error::Error;
use chancery::kit::{ids, secret};
use chancery::tokens::TokenId;
use chancery::tokens::exchange::{self, ActorNames, Asked};
use chancery::tokens::ledger::{self, Artefact, Credential, Once, Record};
use chancery::{api_keys, clients, tokens};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::cpu::Meter;
use crate::traffic::count;

/// About as many as travel together at 64 connections.
const GROUP: usize = 16;

/// What one item costs.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) micros: f64,
}

/// A connection, and who is looked at while it works.
struct Bench {
    db: PgConnection,
    meter: Meter,
    seconds: f64,
}

pub(crate) async fn measure(data_dir: &Path, seconds: f64) -> Result<Vec<Part>> {
    let settings = embedded::Settings { data_dir: data_dir.to_owned(), bin_dir: None };
    let running = embedded::Embedded::running(&settings).await;
    let options = running.context("the server's Postgres does not answer")?;
    let mut bench = Bench::open(data_dir, &options, seconds).await?;
    let mut parts = reads(&mut bench).await?;
    sqlx::query("create database raw").execute(&mut bench.db).await?;
    let options = options.database("raw");
    migrate(&options).await.map_err(explained)?;
    let mut bench = Bench::open(data_dir, &options, seconds).await?;
    parts.extend(writes(&mut bench).await?);
    Ok(parts)
}

impl Bench {
    async fn open(data_dir: &Path, options: &PgConnectOptions, seconds: f64) -> Result<Self> {
        let postmaster = std::fs::read_to_string(data_dir.join("postgres/postmaster.pid"))?;
        let postmaster = postmaster.lines().next().context("an empty postmaster.pid")?.parse()?;
        let own = i32::try_from(std::process::id())?;
        let options = grouped(options.clone(), &Config::default().database);
        let db = PgConnection::connect_with(&options).await?;
        Ok(Self { db, meter: Meter::new(own, Some(postmaster)), seconds })
    }

    /// Repeats a statement for as long as a step lasts, over other items each time.
    async fn part<T>(
        &mut self,
        name: &'static str,
        items: &[T],
        run: impl AsyncFn(&mut PgConnection, &[T]) -> Result<()>,
    ) -> Result<Part> {
        let mut batches = items.chunks(GROUP).cycle();
        let first = batches.next().with_context(|| format!("{name}: there is nothing to read"))?;
        run(&mut self.db, first).await?;
        let (watch, before, mut done) = (Stopwatch::start(), self.meter.read()?, 0);
        for batch in batches {
            if watch.seconds() >= self.seconds {
                break;
            }
            run(&mut self.db, batch).await?;
            done += batch.len();
        }
        let used = self.meter.read()?.since(&before);
        Ok(Part { name, micros: (used.generator + used.postgres) * 1e6 / count(done) })
    }
}

async fn reads(bench: &mut Bench) -> Result<Vec<Part>> {
    let hashes: Vec<Vec<u8>> =
        sqlx::query_scalar("select key_hash from api_keys limit 512").fetch_all(&mut bench.db).await?;
    let keys: Vec<Vec<Vec<u8>>> = hashes.into_iter().map(|hash| vec![hash]).collect();
    let jtis: Vec<Uuid> = sqlx::query_scalar(
        "select jti from credentials where parent_jti is null order by jti desc limit 1024",
    )
    .fetch_all(&mut bench.db)
    .await?;
    let now = Clock::system().now();
    let names = ActorNames { uri: String::new(), names: vec!["load".to_owned()] };
    let ids: Vec<TokenId> = jtis.into_iter().map(|jti| TokenId { jti, is_root: true }).collect();
    let asked: Vec<Asked> = ids.iter().map(|id| Asked { subject: *id, actor: names.clone(), now }).collect();
    let client = vec!["load".to_owned(); GROUP];
    let key_read = async |db: &mut PgConnection, keys: &[Vec<Vec<u8>>]| {
        api_keys::find(db, keys).await?;
        Ok(())
    };
    let token_read = async |db: &mut PgConnection, ids: &[TokenId]| {
        tokens::find_all(db, ids).await?;
        Ok(())
    };
    let client_read = async |db: &mut PgConnection, ids: &[String]| {
        clients::find(db, ids).await?;
        Ok(())
    };
    let exchange_read = async |db: &mut PgConnection, asked: &[Asked]| {
        exchange::find(db, asked).await?;
        Ok(())
    };
    Ok(vec![
        bench.part("key read", &keys, key_read).await?,
        bench.part("token read", &ids, token_read).await?,
        bench.part("client read", &client, client_read).await?,
        bench.part("exchange read", &asked, exchange_read).await?,
    ])
}

async fn writes(bench: &mut Bench) -> Result<Vec<Part>> {
    let clock = Clock::system();
    let write = async |db: &mut PgConnection, once: bool| {
        let records: Vec<Record> =
            (0..GROUP).map(|_| record(clock.now(), once)).collect::<Result<_, _>>().map_err(explained)?;
        ledger::write(db, &records).await?;
        anyhow::Ok(())
    };
    let items = [(); GROUP];
    Ok(vec![
        bench.part("write", &items, async |db, _| write(db, false).await).await?,
        bench.part("write of what works once", &items, async |db, _| write(db, true).await).await?,
    ])
}

fn explained(error: Error) -> anyhow::Error {
    match error {
        Error::Fault(fault) => fault,
        Error::Refused(refused) => anyhow!("{}", refused.why),
    }
}

/// A token of an API key, or of an exchange that uses a proof up, with its audit row.
fn record(now: Time, once: bool) -> Result<Record, Error> {
    let jti = ids::new(now)?;
    let tenant = Tenant { account_id: "acme".to_owned(), project_id: "load".to_owned() };
    let facts = serde_json::json!({ "grant_type": "api_key", "identity_id": jti, "scope": "" });
    let entry = Entry {
        id: ids::new(now)?,
        tenant: tenant.clone(),
        occurred_at: now,
        event: Event::new("token.issued", "credential", jti).with(facts),
        actor: ("api_key", jti.to_string()),
        refused: None,
        origin: Origin { request_id: jti.to_string(), address: None },
    };
    let credential = Credential {
        jti,
        tenant,
        token_sha256: [7; 32],
        kid: "1234567890123456789012345678901234567890123".to_owned(),
        identity_id: Some(ids::new(now)?),
        agent_epoch: 1,
        api_key_id: Some(ids::new(now)?),
        client: None,
        person: None,
        family_id: None,
        consent_id: None,
        linked_subject: None,
        jkt: None,
        parent_jti: None,
        ancestors: Vec::new(),
        mission_id: jti,
        depth: 0,
        delegated_by: String::new(),
        profile: Profile::default(),
        grant_type: "api_key",
        subject: "spiffe://chancery.localhost/acme/load/agent/load-100".to_owned(),
        user_id: "load@example.com".to_owned(),
        scopes: Scopes::parse("", 1)?,
        audience: vec!["http://127.0.0.1:8899".to_owned()],
        issued_at: now,
        expires_at: now + time::Duration::HOUR,
        principal: None,
        actors: Vec::new(),
    };
    let (credential, key) = (Box::new(credential), secret::sha256(jti.as_bytes()));
    if !once {
        return Ok(Record::Issue(credential, entry));
    }
    let artefacts = vec![Artefact { kind: "load", key, until: now + time::Duration::HOUR }];
    let refusals = artefacts.iter().map(|artefact| (artefact.kind, entry.clone())).collect();
    Ok(Record::IssueOnce(credential, entry, Box::new(Once { artefacts, refusals, refresh: None })))
}
