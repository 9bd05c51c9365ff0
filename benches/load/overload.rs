//! More than the server can serve: how much it still serves, what it says to the rest, and whether revocation gets through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chancery::kit::clock::Stopwatch;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::stage::{Stage, TENANT};
use crate::table::Bench;
use crate::traffic::{Connection, Request, Work, count, drive_for, percentile};

/// Connections that send at a fixed pace, whatever the server makes of it: more than it works on at the same time.
const CONNECTIONS: usize = 2048;

/// How many times as much is asked of the server as it can serve.
const TIMES: f64 = 4.0;

/// How often something is revoked meanwhile.
const BETWEEN_REVOCATIONS: Duration = Duration::from_millis(100);

/// Runs the step and prints its table.
pub(crate) async fn measure(bench: &Bench, stage: &Stage) -> Result<()> {
    let (address, meter) = &bench.server;
    let work = Arc::new(Work::from(stage.issue.clone()).keeping());
    let calm = drive_for(bench.seconds, *address, bench.connections, work).await;
    ensure!(calm.failures.is_empty(), "before the overload: {:#?}", &calm.failures[..1]);
    let rate = calm.per_second() * TIMES;
    let before = meter.memory()?;
    // Twice, so that what connections hold shows apart from what time adds.
    let first = flood(*address, stage, rate, bench.seconds).await?;
    let between = meter.memory()?;
    let stop = CancellationToken::new();
    let revoking = tokio::spawn(revoke(*address, ids(&calm.bodies)?, stop.clone()));
    let second = flood(*address, stage, rate, bench.seconds).await?;
    stop.cancel();
    let revoked = revoking.await??;
    let after = meter.memory()?;
    let slowest = revoked.iter().copied().fold(0.0, f64::max) * 1000.0;
    println!(
        "\n| issuance | asked a second | served | 503 | p99 ms of what was served | RSS afterwards MiB |"
    );
    println!("|---|---|---|---|---|---|");
    let row = |name: &str, run: &Flood, memory: u64| {
        let (served, refused) = (count(run.times.len()) / run.seconds, count(run.refused) / run.seconds);
        let p99 = percentile(&run.times, 0.99);
        println!("| {name} | {:.0} | {served:.0} | {refused:.0} | {p99:.1} | {memory} |", served + refused);
    };
    let calm = Flood { seconds: calm.seconds, times: calm.times, refused: 0 };
    row("calm", &calm, before.0);
    row("overload", &first, between.0);
    row("overload again", &second, after.0);
    println!("\n{} revocations meanwhile, in {slowest:.0} ms at the most\n", revoked.len());
    Ok(())
}

/// What came of a flood: the times of the right answers, ascending, and how many were refused.
struct Flood {
    seconds: f64,
    times: Vec<f64>,
    refused: usize,
}

async fn flood(address: SocketAddr, stage: &Stage, rate: f64, seconds: f64) -> Result<Flood> {
    let requests = Arc::new(stage.issue.clone());
    let pace = Duration::from_secs_f64(count(CONNECTIONS) / rate);
    let watch = Stopwatch::start();
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|number| tokio::spawn(send_at_pace(address, requests.clone(), number, pace, seconds)))
        .collect();
    let mut flood = Flood { seconds: 0.0, times: Vec::new(), refused: 0 };
    for sender in senders {
        let (times, refused) = sender.await??;
        flood.times.extend(times);
        flood.refused += refused;
    }
    flood.seconds = watch.seconds();
    flood.times.sort_by(f64::total_cmp);
    Ok(flood)
}

/// Sends one request after the other, each at its time or as soon as the one before it was answered. Anything but a token
/// and an honest refusal is an error.
async fn send_at_pace(
    address: SocketAddr,
    requests: Arc<Vec<Request>>,
    number: usize,
    pace: Duration,
    seconds: f64,
) -> Result<(Vec<f64>, usize)> {
    let mut connection = Connection::new(address);
    let mut timer = tokio::time::interval(pace);
    timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (watch, mut times, mut refused) = (Stopwatch::start(), Vec::new(), 0);
    for request in requests.iter().cycle().skip(number % requests.len()) {
        timer.tick().await;
        if watch.seconds() > seconds {
            break;
        }
        let asked = Stopwatch::start();
        match connection.ask(request).await.context("under overload")? {
            (200, _) => times.push(asked.seconds()),
            (503, _) => refused += 1,
            (status, body) => bail!("answered with {status} under overload: {body}"),
        }
    }
    Ok((times, refused))
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
async fn revoke(address: SocketAddr, ids: Vec<String>, stop: CancellationToken) -> Result<Vec<f64>> {
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
