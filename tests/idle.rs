//! Many connections that do nothing, and clients that are slow on purpose: the others must not notice.
//!
//! The short form asks only that requests go on succeeding. The long form (`make long`) compares the time of the slowest
//! hundredth of answers and needs a quiet machine and a release build.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

#[path = "support/process.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod process;
#[path = "support/traffic.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod traffic;

use std::fs::File;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use process::Home;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;
use traffic::{Connection, Request, Run, drive_for};

/// Clients whose answers are timed.
const CLIENTS: usize = 8;

/// Below this a difference is the machine's, not the server's, in milliseconds.
const NOISE: f64 = 2.0;

struct Server {
    address: SocketAddr,
    issue: Request,
    _process: process::Server,
    home: Home,
}

impl Server {
    async fn start(name: &str) -> Result<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        let home = Home::new(name)?;
        let process = block_in_place(|| process::Server::start(&home, &[]))?;
        let address = process.address();
        let headers = ["X-Account-ID: acme", "X-Project-ID: demo", "Content-Type: application/json"];
        let agent = r#"{"name": "Idler", "external_id": "idler", "created_by": "dev@company.example"}"#;
        let register = Request::new("POST", "/agents/register", &headers, agent).expecting(201);
        let registered = Connection::new(address).send(&register).await?;
        let registered: serde_json::Value = serde_json::from_str(&registered)?;
        let api_key = registered["api_key"].as_str().unwrap();
        let issue = Request::form("/oauth2/token", &[("grant_type", "api_key"), ("api_key", api_key)]);
        Ok(Self { address, issue, _process: process, home })
    }

    async fn measure(&self, seconds: f64) -> Result<Run> {
        let run = drive_for(seconds, self.address, CLIENTS, Arc::new(vec![self.issue.clone()].into())).await;
        ensure!(run.failures.is_empty() && !run.times.is_empty(), "{:#?}", run.failures);
        Ok(run)
    }
}

/// Holds so many idle connections until `stop`, and opens those again that the server gives up.
async fn hold(address: SocketAddr, connections: usize, stop: &CancellationToken) -> Result<()> {
    for opened in 0..connections {
        let mut stream = Some(TcpStream::connect(address).await?);
        let stop = stop.clone();
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            loop {
                if let Some(stream) = &mut stream {
                    let _ = stream.read(&mut [0; 64]).await;
                }
                stream = TcpStream::connect(address).await.ok();
            }
        }));
        // The kernel's queue of connections that wait to be accepted is short.
        if opened % 100 == 99 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_connections_stop_nobody() -> Result<()> {
    let server = Server::start("idle").await?;
    let stop = CancellationToken::new();
    hold(server.address, 1_000, &stop).await?;
    server.measure(1.0).await?;
    stop.cancel();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "compares times; make long runs it"]
async fn ten_thousand_idle_connections_leave_the_others_their_speed() -> Result<()> {
    let server = Server::start("idle10k").await?;
    server.measure(2.0).await?;
    let alone = server.measure(8.0).await?;
    let stop = CancellationToken::new();
    hold(server.address, 10_000, &stop).await?;
    let beside = server.measure(8.0).await?;
    stop.cancel();
    compare("10,000 idle connections", &alone, &beside)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "compares times; make long runs it"]
async fn slow_clients_leave_the_others_their_speed() -> Result<()> {
    if Command::new("slowhttptest").arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        println!("SKIPPED: slowhttptest is missing (Debian: apt-get install slowhttptest)");
        return Ok(());
    }
    let server = Server::start("slow").await?;
    let url = format!("http://{}/oauth2/token", server.address);
    for (mode, name) in [("-H", "slow headers"), ("-B", "slow bodies")] {
        server.measure(2.0).await?;
        let alone = server.measure(8.0).await?;
        let log = File::create(server.home.next_log())?;
        let mut attack = Command::new("slowhttptest");
        attack.args([mode, "-c", "4000", "-r", "1000", "-i", "5", "-l", "30", "-p", "3", "-u", &url]);
        attack.args(["-s", "8192", "-x", "16", "-t", if mode == "-B" { "POST" } else { "GET" }]);
        // It ends by itself after half a minute, whatever becomes of the test.
        let mut attack = attack.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let beside = server.measure(8.0).await?;
        attack.kill()?;
        attack.wait()?;
        compare(name, &alone, &beside)?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the figures are read by a person")]
fn compare(what: &str, alone: &Run, beside: &Run) -> Result<()> {
    let (before, after) = (alone.percentile(0.99), beside.percentile(0.99));
    println!(
        "{what}: p50 {:.2} ms after {:.2}, p99 {after:.2} ms after {before:.2}, {:.0} a second after {:.0}",
        beside.percentile(0.5),
        alone.percentile(0.5),
        beside.per_second(),
        alone.per_second(),
    );
    ensure!(after <= 2.0 * before.max(NOISE), "{what}: the p99 grew from {before:.2} to {after:.2} ms");
    Ok(())
}
