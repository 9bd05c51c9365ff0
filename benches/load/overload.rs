//! More than the server can serve: how much it still serves, what it says to the rest, and whether revocation gets through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chancery::kit::clock::Stopwatch;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::cpu::Used;
use crate::stage::{Stage, TENANT};
use crate::table::Bench;
use crate::traffic::{Connection, Request, Work, count, drive_for, percentile};

/// Connections that send at a fixed pace, whatever the server makes of it: more than it works on at the same time.
const CONNECTIONS: usize = 2048;

/// How many times as much is asked of the server as it can serve.
const TIMES: f64 = 4.0;

/// How often something is revoked meanwhile.
const BETWEEN_REVOCATIONS: Duration = Duration::from_millis(100);

/// The rates at which the sustainable one is looked for, as parts of what the server serves to those who wait for its answers.
const SHARES: [f64; 6] = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5];

/// Runs the step and prints its table.
pub(crate) async fn measure(bench: &Bench, stage: &Stage) -> Result<()> {
    let (address, _) = &bench.server;
    let work = Arc::new(Work::from(stage.issue.clone()).keeping());
    let closed = drive_for(bench.seconds, *address, bench.connections, work).await;
    ensure!(closed.failures.is_empty(), "before the overload: {:#?}", &closed.failures[..1]);
    let (rate, calm) = sustainable(bench, stage, closed.per_second()).await?;
    // Twice, so that what connections hold shows apart from what time adds.
    let first = flood(bench, stage, rate * TIMES).await?;
    let stop = CancellationToken::new();
    let revoking = tokio::spawn(revoke(*address, ids(&closed.bodies)?, stop.clone()));
    let second = flood(bench, stage, rate * TIMES).await?;
    stop.cancel();
    let revoked = revoking.await??;
    let slowest = revoked.iter().copied().fold(0.0, f64::max) * 1000.0;
    println!(
        "\n| issuance | asked a second | served | 503 | p99 ms of what was served | cores: server | Postgres | generator | RSS MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    calm.print("sustainable");
    first.print("overload");
    second.print("overload again");
    println!("\n{:.0} a second to those who wait for their answers", closed.per_second());
    println!("{} revocations meanwhile, in {slowest:.0} ms at the most\n", revoked.len());
    Ok(())
}

/// The highest rate at which nobody is refused when requests come at their own pace, and what came of it.
async fn sustainable(bench: &Bench, stage: &Stage, most: f64) -> Result<(f64, Flood)> {
    for share in SHARES {
        let run = flood(bench, stage, most * share).await?;
        if run.refused == 0 {
            return Ok((most * share, run));
        }
    }
    bail!("half the rate is not served either");
}

/// What came of a flood: the times of the right answers, ascending, and how many were refused.
struct Flood {
    seconds: f64,
    times: Vec<f64>,
    refused: usize,
    used: Used,
    /// What the server holds afterwards, in MiB.
    memory: u64,
}

impl Flood {
    fn print(&self, name: &str) {
        let each_second = |number: usize| count(number) / self.seconds;
        let (served, refused) = (each_second(self.times.len()), each_second(self.refused));
        let cores = |seconds: f64| seconds / self.seconds;
        println!(
            "| {name} | {:.0} | {served:.0} | {refused:.0} | {:.1} | {:.2} | {:.2} | {:.2} | {} |",
            served + refused,
            percentile(&self.times, 0.99),
            cores(self.used.server),
            cores(self.used.postgres),
            cores(self.used.generator),
            self.memory
        );
    }
}

async fn flood(bench: &Bench, stage: &Stage, rate: f64) -> Result<Flood> {
    let (address, meter) = &bench.server;
    let requests = Arc::new(stage.issue.clone());
    let pace = Duration::from_secs_f64(count(CONNECTIONS) / rate);
    let before = meter.read()?;
    let watch = Stopwatch::start();
    let senders: Vec<_> = (0..CONNECTIONS)
        .map(|number| tokio::spawn(send_at_pace(*address, requests.clone(), number, pace, bench.seconds)))
        .collect();
    let (mut times, mut refused) = (Vec::new(), 0);
    for sender in senders {
        let (own, others) = sender.await??;
        times.extend(own);
        refused += others;
    }
    let (seconds, used) = (watch.seconds(), meter.read()?.since(&before));
    times.sort_by(f64::total_cmp);
    Ok(Flood { seconds, times, refused, used, memory: meter.memory()?.0 })
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
    // Each at a moment of its own, not all in one burst.
    tokio::time::sleep(pace.mul_f64(count(number) / count(CONNECTIONS))).await;
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
