//! The checker: what clients were told beside what the rows say. I1 to I7 are those of docs/reliability.md.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

use crate::http::Client;
use crate::load::Told;
use crate::site::Site;

/// How long the worker may take that tells of revocations.
const ANNOUNCED: Duration = Duration::from_secs(10);

/// Changes and audit rows that have no counterpart: I1 and I4, in both directions.
const UNEQUAL: &str = "
    with changes as (
        select 'agent.registered' as action, id::text as target from identities
        union all select 'token.issued', jti::text from credentials
        union all select 'token.revoked', jti::text from credentials where revoked_at is not null)
    select concat_ws(' ', c.action, a.action, c.target, a.target_id) from changes c
    full join (
        select * from audit_events
        where action in ('agent.registered', 'token.issued', 'token.revoked') and outcome = 'success'
    ) a on a.action = c.action and a.target_id = c.target
    where c.target is null or a.id is null";

/// Artefacts that were used up by a token that is not there: I3.
const USED_FOR_NOTHING: &str = "
    select u.used_by::text from used_once u left join credentials c on c.jti = u.used_by where c.jti is null";

/// Audit rows of one change: there must be one.
const TWICE: &str = "
    select action || ' ' || target_id from audit_events
    where action in ('agent.registered', 'token.issued', 'token.revoked') and outcome = 'success'
    group by action, target_id having count(*) > 1";

const REVOKED: &str = "
    select c.jti::text from credentials c join outbox o
      on o.subject_id = c.jti and o.event_type = 'credential.revoked' where c.revoked_at is not null";

impl Site {
    /// Everything at once; call it when the fault is over and the load has ended.
    pub async fn check(&self, told: Told) -> Result<()> {
        self.is_whole().await?;
        let mut db = self.db().await?;
        for (what, sql) in [
            ("a change without its audit row, or a row without its change", UNEQUAL),
            ("used up by a token that is not there", USED_FOR_NOTHING),
            ("a change with two audit rows", TWICE),
        ] {
            let found: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut db).await?;
            ensure!(found.is_empty(), "{what}: {found:?}");
        }
        let rows = column(&mut db, "select jti::text from credentials").await?;
        let issued = jtis(&told.issued)?;
        ensure!(issued.is_subset(&rows), "answered and gone: {:?}", issued.difference(&rows));
        ensure!(issued.len() == told.issued.len(), "a token was given to two");
        let revoked = jtis(&told.revoked)?;
        let began = Instant::now();
        loop {
            let announced = column(&mut db, REVOKED).await?;
            if revoked.is_subset(&announced) {
                break;
            }
            ensure!(began.elapsed() < ANNOUNCED, "no event for {:?}", revoked.difference(&announced));
            sleep(Duration::from_millis(100)).await;
        }
        db.close().await?;
        self.stands_as_told(&told, &revoked).await
    }

    /// What was revoked is dead at every server (I2), and whatever else was issued lives (I1).
    async fn stands_as_told(&self, told: &Told, revoked: &HashSet<String>) -> Result<()> {
        for server in &self.servers {
            let mut client = Client::connect(&server.url()).await?;
            for token in &told.revoked {
                ensure!(!client.is_active(token).await?, "a revoked token passes");
            }
            let left = told.issued.iter().rev().take(200);
            for token in left {
                if !revoked.contains(&jti(token)?) {
                    let active = client.is_active(token).await?;
                    ensure!(active || self.is_revoked(token).await?, "a token that was answered is no good");
                }
            }
        }
        Ok(())
    }

    /// Its revocation was asked for and never answered.
    async fn is_revoked(&self, token: &str) -> Result<bool> {
        let mut db = self.db().await?;
        let rows = column(&mut db, "select jti::text from credentials where revoked_at is not null").await?;
        db.close().await?;
        Ok(rows.contains(&jti(token)?))
    }
}

async fn column(db: &mut PgConnection, sql: &'static str) -> Result<HashSet<String>> {
    let rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(db).await?;
    Ok(rows.into_iter().collect())
}

fn jtis(tokens: &[String]) -> Result<HashSet<String>> {
    tokens.iter().map(|token| jti(token)).collect()
}

fn jti(token: &str) -> Result<String> {
    let claims = token.split('.').nth(1).context("no claims")?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    Ok(claims["jti"].as_str().context("no jti")?.to_owned())
}
