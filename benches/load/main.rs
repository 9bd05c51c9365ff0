//! The load script: `cargo bench --bench load`.
//!
//! Starts the release server on a private Postgres in a temporary directory, and measures one after the other, with the
//! same generator and the same number of connections: a bare axum answer, issuance, introspection; and what they are made
//! of: a signature, its verification, the grouped statements on the same Postgres. One run, one table: this machine's
//! figures compare with each other, not with those of another day. `CHANCERY_LOAD_SECONDS` is the length of a step (5),
//! `CHANCERY_LOAD_CONNECTIONS` the number of connections (64).
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

mod bare;
mod cpu;
mod crypto;
#[path = "../../tests/support/program.rs"]
mod program;
mod raw;
#[path = "../../tests/support/traffic.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod traffic;

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use cpu::Meter;
use program::{Folder, Program, chancery, free_address};
use traffic::{Connection, Request, Run, drive_for};

/// Agents whose keys and tokens are used in turn.
const AGENTS: usize = 200;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, command, address] = arguments.as_slice()
        && command == "bare"
    {
        return bare::serve(address.parse()?).await;
    }
    let seconds = setting("CHANCERY_LOAD_SECONDS", 5.0)?;
    let folder = Folder::new("load")?;
    let mut table = Table { seconds, connections: setting("CHANCERY_LOAD_CONNECTIONS", 64)?, bare: None };
    println!("{} connections, {seconds} s a step\n", table.connections);
    println!(
        "{:<34}{:>9}{:>7}{:>9}{:>9}   {:>6}{:>6}{:>6}   {:>9}",
        "", "a second", "x bare", "p50 ms", "p99 ms", "server", "pg", "load", "RSS (max)"
    );
    println!("{:<34}{:>9}{:>7}{:>9}{:>9}   {:>18}   {:>9}", "", "", "", "", "", "CPU us a request", "MiB");
    measure_bare(&mut table, &folder).await?;
    measure_server(&mut table, &folder).await?;
    let sign = tokio::task::spawn_blocking(move || crypto::measure(seconds)).await??;
    println!();
    println!("{:<34}{:>9.0}", "ES256 signatures, one core", sign.signatures);
    println!("{:<34}{:>9.0}", "ES256 verifications, one core", sign.verifications);
    Ok(())
}

async fn measure_bare(table: &mut Table, folder: &Folder) -> Result<()> {
    let address = free_address()?;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args(["bare", &address.to_string()]);
    let mut program = Program::start(&mut command, &folder.path().join("bare.log"))?;
    let get = Request::new("GET", "/", &[], "");
    program.wait_for(address, &get).await?;
    table.step("bare axum, 200 bytes of JSON", address, &Meter::new(program.pid(), None), vec![get]).await?;
    program.stop().await?;
    Ok(())
}

async fn measure_server(table: &mut Table, folder: &Folder) -> Result<()> {
    let (address, data) = (free_address()?, folder.path().join("data"));
    let mut command = chancery();
    command.args(["serve", "--dev", "--listen", &address.to_string(), "--data-dir"]).arg(&data);
    let mut server = Program::start(&mut command, &folder.path().join("server.log"))?;
    server.wait_for(address, &Request::new("GET", "/ready", &[], "")).await?;
    let postmaster = std::fs::read_to_string(data.join("postgres/postmaster.pid"))?;
    let postmaster: i32 = postmaster.lines().next().context("an empty postmaster.pid")?.parse()?;
    let meter = Meter::new(server.pid(), Some(postmaster));

    let issue = agents(address).await?;
    let mut connection = Connection::new(address);
    let mut introspect = Vec::new();
    for request in &issue {
        let answer: serde_json::Value = serde_json::from_str(&connection.send(request).await?)?;
        let token = answer["access_token"].as_str().context("no token")?;
        introspect.push(Request::form("/oauth2/token/introspect", &[("token", token)]));
    }
    table.step("issuance (api_key)", address, &meter, issue).await?;
    table.step("introspection", address, &meter, introspect).await?;
    for step in raw::measure(&data, table.seconds).await? {
        println!("{:<34}{:>9.0}", step.name, step.per_second);
    }
    server.stop().await?;
    Ok(())
}

/// Registers the agents and answers a token request for each.
async fn agents(address: SocketAddr) -> Result<Vec<Request>> {
    let headers = ["X-Account-ID: acme", "X-Project-ID: load", "Content-Type: application/json"];
    let mut connection = Connection::new(address);
    let mut requests = Vec::new();
    for number in 0..AGENTS {
        let body = format!(
            r#"{{"name": "Agent {number}", "external_id": "load-{number}", "created_by": "load@example.com"}}"#
        );
        let register = Request::new("POST", "/agents/register", &headers, &body).expecting(201);
        let answer: serde_json::Value = serde_json::from_str(&connection.send(&register).await?)?;
        let api_key = answer["api_key"].as_str().context("no API key")?;
        requests.push(Request::form("/oauth2/token", &[("grant_type", "api_key"), ("api_key", api_key)]));
    }
    Ok(requests)
}

fn setting<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    name: &str,
    default: T,
) -> Result<T> {
    match std::env::var(name) {
        Ok(text) => text.parse().context(name.to_owned()),
        Err(_) => Ok(default),
    }
}

struct Table {
    seconds: f64,
    connections: usize,
    /// Bare answers a second, with which the others are compared.
    bare: Option<f64>,
}

impl Table {
    async fn step(
        &mut self,
        name: &str,
        address: SocketAddr,
        meter: &Meter,
        requests: Vec<Request>,
    ) -> Result<()> {
        // Connections, caches and plans first.
        drive_for(1.0, address, self.connections, requests.clone()).await;
        let before = meter.read()?;
        let run: Run = drive_for(self.seconds, address, self.connections, requests).await;
        let used = meter.read()?.since(&before);
        ensure!(run.failures.is_empty(), "{name}: {:#?}", &run.failures[..run.failures.len().min(5)]);
        let bare = *self.bare.get_or_insert(run.per_second());
        let each = |seconds: f64| seconds * 1e6 / traffic::count(run.times.len());
        let (now, most) = meter.memory()?;
        println!(
            "{name:<34}{:>9.0}{:>7.3}{:>9.2}{:>9.2}   {:>6.0}{:>6.0}{:>6.0}   {now:>4} ({most})",
            run.per_second(),
            run.per_second() / bare,
            run.percentile(0.5),
            run.percentile(0.99),
            each(used.server),
            each(used.postgres),
            each(used.generator),
        );
        Ok(())
    }
}
