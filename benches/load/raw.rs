//! What the database alone can do: the ledger's own statement and a look-up, each for 64 at once, over two connections
//! to a database of their own in the server's Postgres.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use chancery::access::scope::Scopes;
use chancery::audit::{Entry, Event};
use chancery::kit::clock::{Clock, Stopwatch, Time};
use chancery::kit::config::Profile;
use chancery::kit::cx::{Origin, Tenant};
use chancery::kit::db::{embedded, migrate};
use chancery::kit::error::Error;
use chancery::kit::ids;
use chancery::tokens::ledger::{self, Credential, Record};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

const GROUP: usize = 64;
const CONNECTIONS: usize = 2;

pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// Rows or keys.
    pub(crate) per_second: f64,
}

pub(crate) async fn measure(data_dir: &Path, seconds: f64) -> Result<Vec<Step>> {
    let settings = embedded::Settings { data_dir: data_dir.to_owned(), bin_dir: None };
    let options =
        embedded::Embedded::running(&settings).await.context("the server's Postgres does not answer")?;
    let mut db = PgConnection::connect_with(&options).await?;
    sqlx::query("create database raw").execute(&mut db).await?;
    db.close().await?;
    let options = options.database("raw");
    migrate(&options).await.map_err(explained)?;

    let (watch, mut tasks) = (Stopwatch::start(), Vec::new());
    for _ in 0..CONNECTIONS {
        tasks.push(tokio::spawn(insert(options.clone(), seconds)));
    }
    let mut written = Vec::new();
    for task in tasks {
        written.extend(task.await??);
    }
    let inserts = crate::traffic::count(written.len()) / watch.seconds();

    let mut db = PgConnection::connect_with(&options).await?;
    sqlx::query("analyze credentials").execute(&mut db).await?;
    db.close().await?;
    let (watch, mut tasks) = (Stopwatch::start(), Vec::new());
    for keys in written.chunks(written.len().div_ceil(CONNECTIONS)) {
        tasks.push(tokio::spawn(look_up(options.clone(), keys.to_vec(), seconds)));
    }
    let mut found = 0;
    for task in tasks {
        found += task.await??;
    }
    let lookups = crate::traffic::count(found) / watch.seconds();
    Ok(vec![
        Step { name: "grouped insert, 64 tokens at once", per_second: inserts },
        Step { name: "grouped look-up, 64 ids at once", per_second: lookups },
    ])
}

fn explained(error: Error) -> anyhow::Error {
    match error {
        Error::Fault(fault) => fault,
        Error::Refused(refused) => anyhow!("{}", refused.why),
    }
}

async fn insert(options: PgConnectOptions, seconds: f64) -> Result<Vec<Uuid>> {
    let (mut db, clock, mut written) =
        (PgConnection::connect_with(&options).await?, Clock::system(), Vec::new());
    let watch = Stopwatch::start();
    while watch.seconds() < seconds {
        let records: Vec<Record> =
            (0..GROUP).map(|_| record(clock.now())).collect::<Result<_, _>>().map_err(explained)?;
        ledger::write(&mut db, &records).await?;
        written.extend(records.iter().filter_map(|record| match record {
            Record::Issue(credential, _) | Record::IssueOnce(credential, ..) => Some(credential.jti),
            Record::Refusal(_) => None,
        }));
    }
    db.close().await?;
    Ok(written)
}

fn record(now: Time) -> Result<Record, Error> {
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
    Ok(Record::Issue(Box::new(credential), entry))
}

async fn look_up(options: PgConnectOptions, keys: Vec<Uuid>, seconds: f64) -> Result<usize> {
    let mut db = PgConnection::connect_with(&options).await?;
    let (watch, mut found) = (Stopwatch::start(), 0);
    for keys in keys.chunks(GROUP).cycle() {
        if watch.seconds() >= seconds {
            break;
        }
        let rows: Vec<(Uuid, Vec<u8>, Uuid, Time)> = sqlx::query_as(
            "select jti, token_sha256, identity_id, expires_at from credentials
             where jti = any($1) and jti between $2 and $3",
        )
        .bind(keys)
        .bind(keys.iter().min())
        .bind(keys.iter().max())
        .fetch_all(&mut db)
        .await?;
        found += rows.len();
    }
    db.close().await?;
    Ok(found)
}
