//! A rolling restart: HAProxy, as config/haproxy.cfg sets it up, before two production servers on one database. Each is
//! stopped and started in turn while clients send requests, and no request may fail.
//!
//! `CHANCERY_TEST_ROUNDS` says how often every server is restarted; each round sends at least 5,000 requests.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/process.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod process;
#[path = "rolling/site.rs"]
mod site;
#[path = "support/traffic.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod traffic;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use site::Site;
use tokio_util::sync::CancellationToken;
use traffic::{Connection, Request, Work, drive};

/// Requests that every round sends at least.
const REQUESTS: usize = 5_000;

/// Clients that send at the same time.
const CLIENTS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn servers_restart_in_turn_and_no_request_fails() -> Result<()> {
    if !Path::new("/usr/sbin/haproxy").exists() {
        assert!(!nix::unistd::Uid::effective().is_root(), "HAProxy is missing; scripts/setup installs it");
        println!("SKIPPED: HAProxy is missing; scripts/setup installs it");
        return Ok(());
    }
    let rounds = std::env::var("CHANCERY_TEST_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    let mut site = Site::open().await?;
    let requests = requests(&site).await?;
    let (mut sent, mut seconds, mut slowest) = (0, 0.0_f64, 0.0_f64);
    for round in 0..rounds {
        let stop = CancellationToken::new();
        let load = tokio::spawn(drive(site.clients, CLIENTS, work(&requests), stop.clone()));
        let restarted = site.restart_in_turn().await;
        stop.cancel();
        let mut run = load.await?;
        restarted?;
        ensure!(run.failures.is_empty(), "round {round}: {} failed\n{:#?}", run.failures.len(), run.failures);
        while run.times.len() < REQUESTS {
            let more = traffic::drive_for(1.0, site.clients, CLIENTS, work(&requests)).await;
            ensure!(more.failures.is_empty(), "round {round}, after the restarts: {:#?}", more.failures);
            run.times.extend(more.times);
            run.seconds += more.seconds;
        }
        sent += run.times.len();
        seconds += run.seconds;
        slowest = run.times.iter().copied().fold(slowest, f64::max);
    }
    println!(
        "{sent} requests in {seconds:.0} s over {} restarts, none failed; the slowest took {:.0} ms",
        2 * rounds,
        slowest * 1000.0
    );
    Ok(())
}

fn work(requests: &[Request]) -> Arc<Work> {
    Arc::new(Work::from(requests.to_vec()))
}

/// What the clients send: issuance, verification, an admin's list, and what needs no database.
async fn requests(site: &Site) -> Result<Vec<Request>> {
    let mut connection = Connection::new(site.clients);
    let admin = format!("Authorization: Bearer {}", site.admin_key);
    let headers = [&admin, "X-Account-ID: acme", "X-Project-ID: demo", "Content-Type: application/json"];
    let agent = r#"{"name": "Roller", "external_id": "roller", "created_by": "dev@company.example"}"#;
    let register = Request::new("POST", "/agents/register", &headers, agent).expecting(201);
    let registered: serde_json::Value = serde_json::from_str(&connection.send(&register).await?)?;
    let api_key = registered["api_key"].as_str().unwrap();
    let issue = Request::form("/oauth2/token", &[("grant_type", "api_key"), ("api_key", api_key)]);
    let issued: serde_json::Value = serde_json::from_str(&connection.send(&issue).await?)?;
    let bearer = format!("Authorization: Bearer {}", issued["access_token"].as_str().unwrap());
    Ok(vec![
        issue,
        Request::new("GET", "/oauth2/token/verify", &[&bearer], ""),
        Request::new("GET", "/agents/registry", &headers[..3], ""),
        Request::new("GET", "/.well-known/jwks.json", &[], ""),
        Request::new("GET", "/oauth2/token/verify", &[&bearer], ""),
    ])
}
