//! More than the server can serve: how much it still serves, what it says to the rest, and whether revocation gets through.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use chancery::kit::clock::Stopwatch;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::stage::{Stage, TENANT};
use crate::table::Bench;
use crate::traffic::{Connection, Request, Work, count, drive_for};

/// Connections that each ask again as soon as they are answered: more than can wait, however fast the server is.
const CONNECTIONS: usize = 4096;

/// How often something is revoked meanwhile.
const BETWEEN_REVOCATIONS: std::time::Duration = std::time::Duration::from_millis(100);

/// Runs the step and prints its line.
pub(crate) async fn measure(bench: &Bench, stage: &Stage) -> Result<()> {
    let (address, meter) = &bench.server;
    let issue = || Arc::new(Work::from(stage.issue.clone()).keeping());
    let calm = drive_for(bench.seconds, *address, bench.connections, issue()).await;
    ensure!(calm.failures.is_empty(), "before the overload: {:#?}", &calm.failures[..1]);
    let before = meter.memory()?;
    let stop = CancellationToken::new();
    let revoking = tokio::spawn(revoke(*address, ids(&calm.bodies)?, stop.clone()));
    let run = drive_for(bench.seconds, *address, CONNECTIONS, issue()).await;
    stop.cancel();
    let revoked = revoking.await??;
    let after = meter.memory()?;
    let other = run.failures.iter().find(|failure| !failure.contains("answered with 503"));
    ensure!(other.is_none(), "under overload: {other:?}");
    let slowest = revoked.iter().copied().fold(0.0, f64::max);
    println!(
        "| {} connections | {:.0} | | | |\n| {CONNECTIONS} connections | {:.0} | {:.0} | {} in {:.0} ms at the most | {} to {} ({}) |\n",
        bench.connections,
        calm.per_second(),
        run.per_second(),
        count(run.failures.len()) / run.seconds,
        revoked.len(),
        slowest * 1000.0,
        before.0,
        after.0,
        after.1,
    );
    Ok(())
}

/// The ids of issued tokens.
fn ids(answers: &[String]) -> Result<Vec<String>> {
    let id = |answer: &String| {
        let answer: Value = serde_json::from_str(answer)?;
        Ok(answer["jti"].as_str().context("no jti")?.to_owned())
    };
    answers.iter().map(id).collect()
}

/// Revokes one after the other until it is told to stop, and answers how long each took.
async fn revoke(
    address: std::net::SocketAddr,
    ids: Vec<String>,
    stop: CancellationToken,
) -> Result<Vec<f64>> {
    let mut connection = Connection::new(address);
    let mut times = Vec::new();
    for id in ids {
        if stop.is_cancelled() {
            break;
        }
        let path = format!("/credentials/{id}/revoke");
        let request = Request::new("POST", &path, &TENANT, &json!({ "reason": "load" }).to_string());
        let watch = Stopwatch::start();
        connection.send(&request).await?;
        times.push(watch.seconds());
        tokio::time::sleep(BETWEEN_REVOCATIONS).await;
    }
    Ok(times)
}
