//! `kill -9` in the middle of the work: what got its answer is there afterwards, with its audit row.

use std::collections::HashSet;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::sys::signal::Signal;
use sqlx::{Connection, PgConnection};

use crate::http::Client;
use crate::load::{self, Kept, State, Strike};
use crate::process::{Home, Server, chancery};
use crate::support::{connect, postmaster};

/// Enough for two of each kind of kill; `make crash` sets more.
const ROUNDS: u64 = 6;

#[derive(Clone, Copy, Debug)]
enum Victim {
    Server,
    Postmaster,
    Both,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_outlives_every_kill() -> Result<()> {
    let rounds = std::env::var("CHANCERY_TEST_ROUNDS").ok().map(|rounds| rounds.parse()).transpose()?;
    let home = Home::new("crash")?;
    let mut server = Server::start(&home, &[])?;
    let mut answered = (0, 0);
    for round in 0..rounds.unwrap_or(ROUNDS) {
        let victim = [Victim::Server, Victim::Postmaster, Victim::Both][usize::try_from(round % 3)?];
        let strike = strike(round, victim, &server, &home);
        let described = format!("round {round}, {victim:?}, {strike:?}");
        let kept = load::run(&server.url(), &format!("r{round}"), strike)
            .await
            .with_context(|| format!("{described}\n{}", server.last_lines()))?;
        server = again(server, victim, &home).with_context(|| described.clone())?;
        check_http(&server, &kept).await.with_context(|| described.clone())?;
        check_audit(&home, &kept).await.with_context(|| described.clone())?;
        answered = (answered.0 + kept.agents.len(), answered.1 + kept.tokens.len());
    }
    println!("{} agents and {} tokens outlived their kills", answered.0, answered.1);
    server.end(Signal::SIGTERM)?;
    Ok(())
}

/// A first start is killed the moment one of these appears; the next start finds what is left and goes on.
#[test]
fn a_first_start_that_was_killed_is_made_good() -> Result<()> {
    for (number, made) in ["chancery.lock", "postgres.new.1/PG_VERSION", "postgres", "run", "master.key"]
        .into_iter()
        .enumerate()
    {
        let home = Home::new(&format!("half{number}"))?;
        let mut command = chancery();
        command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir"]).arg(home.data());
        let mut killed = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let waited = (0..60_000).find(|_| {
            sleep(Duration::from_millis(1));
            home.data().join(made).exists()
        });
        killed.kill()?;
        killed.wait()?;
        ensure!(waited.is_some(), "{made} never appeared");
        let mut server = Server::start(&home, &[]).with_context(|| format!("killed at {made}"))?;
        let status = server.end(Signal::SIGTERM)?.context("it had to be killed")?;
        ensure!(status.success(), "killed at {made}: {status}\n{}", server.last_lines());
        let left = |entry: &str| entry.starts_with("postgres.new") || entry.contains(".key.");
        for entry in std::fs::read_dir(home.data())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            ensure!(!left(&name), "killed at {made}: {name} is left");
        }
    }
    Ok(())
}

/// The kill of a round: its moment and order follow from the round's number.
fn strike(round: u64, victim: Victim, server: &Server, home: &Home) -> Strike {
    let random = scrambled(round);
    let mut victims = match victim {
        Victim::Server => vec![server.pid()],
        Victim::Postmaster => vec![postmaster(home)],
        Victim::Both => vec![server.pid(), postmaster(home)],
    };
    if random & 1 == 1 {
        victims.reverse();
    }
    let final_blow = !matches!(victim, Victim::Postmaster);
    Strike { after: 5 + (random >> 8) % 120, victims, final_blow }
}

/// Starts a server on the same directory. One that outlived the kill of its database is stopped first, cleanly.
fn again(mut server: Server, victim: Victim, home: &Home) -> Result<Server> {
    let status = server.end(Signal::SIGTERM)?.context("the server didn't end by itself")?;
    ensure!(status.success() == matches!(victim, Victim::Postmaster), "{status}\n{}", server.last_lines());
    drop(server);
    Server::start(home, &[])
}

async fn check_http(server: &Server, kept: &Kept) -> Result<()> {
    let mut client = Client::connect(&server.url()).await?;
    for id in &kept.agents {
        let answer = client.get(&format!("/agents/registry/{id}")).await?;
        ensure!(answer.status == 200 && answer.body["id"] == **id, "agent {id} is gone: {answer:?}");
    }
    for token in &kept.tokens {
        let active = client.is_active(&token.text).await?;
        let as_answered = match token.state {
            State::Issued => active,
            State::Unknown => true,
            State::Revoked => !active,
        };
        ensure!(as_answered, "active is {active} for {token:?}");
    }
    Ok(())
}

/// Every answer has its row; and without an answer there is still either a change with its row or neither.
async fn check_audit(home: &Home, kept: &Kept) -> Result<()> {
    let mut db = connect(home).await?;
    let registered = kept.agents.iter().cloned().collect();
    ensure_rows(&mut db, "agent.registered", &registered).await?;
    let jtis = |wanted: &dyn Fn(&State) -> bool| -> Result<HashSet<String>> {
        kept.tokens.iter().filter(|token| wanted(&token.state)).map(|token| jti(&token.text)).collect()
    };
    ensure_rows(&mut db, "token.issued", &jtis(&|_| true)?).await?;
    ensure_rows(&mut db, "token.revoked", &jtis(&|state| *state == State::Revoked)?).await?;
    let unequal: Vec<String> = sqlx::query_scalar(
        "with changes as (
             select 'agent.registered' as action, id::text as target from identities
             union all select 'token.issued', jti::text from credentials
             union all select 'token.revoked', jti::text from credentials where revoked_at is not null)
         select concat_ws(' ', c.action, a.action, c.target, a.target_id) from changes c
         full join (
             select * from audit_events where action in ('agent.registered', 'token.issued', 'token.revoked')
         ) a on a.action = c.action and a.target_id = c.target
         where c.target is null or a.id is null",
    )
    .fetch_all(&mut db)
    .await?;
    ensure!(unequal.is_empty(), "a change without its row, or a row without its change: {unequal:?}");
    db.close().await?;
    Ok(())
}

async fn ensure_rows(db: &mut PgConnection, action: &str, wanted: &HashSet<String>) -> Result<()> {
    let rows: Vec<String> = sqlx::query_scalar(
        "select target_id from audit_events where action = $1 and outcome = 'success' and target_id = any($2)",
    )
    .bind(action)
    .bind(wanted.iter().cloned().collect::<Vec<_>>())
    .fetch_all(&mut *db)
    .await?;
    let found: HashSet<String> = rows.iter().cloned().collect();
    ensure!(found == *wanted, "no row {action} for {:?}", wanted.difference(&found));
    ensure!(rows.len() == found.len(), "a change has two rows {action}");
    Ok(())
}

fn jti(token: &str) -> Result<String> {
    let claims = token.split('.').nth(1).context("no claims")?;
    let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    Ok(claims["jti"].as_str().context("no jti")?.to_owned())
}

/// The finaliser of `SplitMix64`: neighbouring rounds get unlike numbers.
fn scrambled(round: u64) -> u64 {
    let mixed = round.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}
