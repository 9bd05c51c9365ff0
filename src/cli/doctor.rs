//! `chancery doctor`: looks at configuration, database, clock and keys, and says how to mend what is wrong.

use sqlx::PgPool;

use super::database::Database;
use super::{explain, say};
use crate::keys::{self, State, load_master_key};
use crate::kit::clock::Clock;
use crate::kit::config::Config;
use crate::kit::db;
use crate::kit::error::{Error, Result};

/// More drift than this between the machine's clock and the database's is worth a complaint.
const DRIFT_MILLISECONDS: i128 = 1_000;

pub(super) async fn doctor(config: Config) -> Result<()> {
    let mut findings = Findings::default();
    let mode = if config.is_development() { "development" } else { "production" };
    findings.good(format!(
        "configuration: {mode} mode, issuer {}, data in {}",
        config.issuer(),
        config.data_dir.display()
    ))?;
    match Database::join(&config).await {
        Err(error) => findings.bad("database", &error)?,
        Ok(database) => {
            let pool = database.pool(&config);
            let outcome = examine(&mut findings, &pool, !config.is_development()).await;
            database.close(pool).await;
            outcome?;
        }
    }
    match load_master_key(&config) {
        Ok(master) => findings.good(format!(
            "master key: {} from {}",
            master.id(),
            config.master_key_file().display()
        ))?,
        Err(error) => findings.bad("master key", &error)?,
    }
    match findings.bad {
        0 => say("all is well"),
        1 => Err(anyhow::anyhow!("one thing needs mending").into()),
        many => Err(anyhow::anyhow!("{many} things need mending").into()),
    }
}

async fn examine(findings: &mut Findings, pool: &PgPool, production: bool) -> Result<()> {
    let clock = Clock::system();
    let drift = match db::follow(&clock, pool).await {
        Ok(drift) => drift.whole_milliseconds(),
        Err(error) => return findings.bad("database", &error.into()),
    };
    findings.good("database: answers")?;
    if drift.abs() > DRIFT_MILLISECONDS {
        let why = anyhow::anyhow!(
            "it is {drift} ms away from the database's; let both follow the same time server"
        );
        findings.bad("clock", &why.into())?;
    } else {
        findings.good(format!("clock: within {} ms of the database's", drift.abs().max(1)))?;
    }
    if production && matches!(db::roles::may_change_audit(pool).await, Ok(true)) {
        say(
            "note  database role: one role does all, so the server itself could change the audit log; name the \
             schema's owner in database.owner_url and give database.url a role of its own",
        )?;
    }
    match keys::list(pool, clock.now()).await {
        Err(_) => {
            findings.bad("schema", &anyhow::anyhow!("it is not up to date; run `chancery migrate`").into())
        }
        Ok(keys) if keys.iter().any(|key| key.state == State::Active) => {
            findings.good(format!("signing keys: {}, one is active", keys.len()))
        }
        Ok(_) => {
            findings.bad("signing keys", &anyhow::anyhow!("none is active; start the server once").into())
        }
    }
}

#[derive(Default)]
struct Findings {
    bad: usize,
}

impl Findings {
    #[expect(clippy::unused_self, reason = "reads as a pair with `bad`")]
    fn good(&self, line: impl AsRef<str>) -> Result<()> {
        say(format!("ok    {}", line.as_ref()))
    }

    fn bad(&mut self, subject: &str, error: &Error) -> Result<()> {
        self.bad += 1;
        say(format!("WRONG {subject}: {}", explain(error)))
    }
}
