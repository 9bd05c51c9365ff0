//! What is written to the log: text for people, JSON for collectors, one line for a fault.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use sqlx::{Connection, PgConnection};

use crate::http::Client;
use crate::process::{Home, Server};
use crate::support::{External, connect, production, serve};

/// Makes the server fail at a registration, and gives the id of the request.
async fn fault(server: &Server, key: &str, mut db: PgConnection) -> Result<String> {
    sqlx::query("drop table audit_events").execute(&mut db).await?;
    db.close().await?;
    let mut client = Client::connect(&server.url()).await?.bearer(key);
    let answer = client.register("unlucky").await?;
    assert_eq!(answer.status, 500);
    let text = answer.body.to_string();
    ensure!(!text.contains("audit_events") && !text.contains("relation"), "the answer tells of us: {text}");
    let id = answer.header("x-request-id").to_owned();
    ensure!(!id.is_empty(), "no request id");
    // Nothing of the change stays either.
    assert_eq!(client.get("/agents/registry").await?.body["total"], 0);
    // A caller's mistake is no fault.
    assert_eq!(client.get("/agents/registry?limit=x").await?.status, 422);
    Ok(id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn development_logs_text_and_one_line_per_fault() -> Result<()> {
    let home = Home::new("text")?;
    let mut server = Server::start(&home, &[])?;
    let key = server.admin_key().context("a key")?;
    let id = fault(&server, &key, connect(&home).await?).await?;
    server.end(Signal::SIGTERM)?;
    let log = server.err();
    let faults: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(faults.len(), 1, "{log}");
    for part in [id.as_str(), "audit_events", "/agents/register", "POST"] {
        ensure!(faults[0].contains(part), "no {part} in {}", faults[0]);
    }
    ensure!(!log.contains('\u{1b}'), "colours in a file: {log}");
    ensure!(!log.contains("sk_live_") && !log.contains("zid_sk_"), "a secret in the log: {log}");
    ensure!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_err()), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn production_logs_json_and_one_line_per_fault() -> Result<()> {
    let external = External::start("json-db").await?;
    let home = Home::new("json")?;
    let key = home.master_key("master.key");
    let url = external.database("logged").await?;
    let settings = production(&url, &key);
    let mut server = Server::launch(&home, serve(&home, &settings))?;
    assert_eq!(server.out(), "", "production greets nobody");
    let made = home.chancery("admin create-key --name ops", &settings);
    let admin = made.out.trim_end();
    assert_eq!(Client::connect(&server.url()).await?.register("anonymous").await?.status, 401);
    let id = fault(&server, admin, external.connect("logged").await?).await?;
    server.end(Signal::SIGTERM)?;
    let log = server.err();
    let parse = |line: &str| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"));
    let lines: Vec<Value> = log.lines().map(parse).collect::<Result<_>>()?;
    for line in &lines {
        for member in ["timestamp", "level"] {
            ensure!(line[member].is_string(), "no {member} in {line}");
        }
    }
    let faults: Vec<&Value> = lines.iter().filter(|line| line["level"] == "ERROR").collect();
    assert_eq!(faults.len(), 1, "{log}");
    assert_eq!(faults[0]["request_id"], id);
    assert_eq!(faults[0]["route"], "/agents/register");
    ensure!(faults[0]["error"].as_str().is_some_and(|error| error.contains("audit_events")), "{}", faults[0]);
    ensure!(!log.contains("sk_live_") && !log.contains("zid_sk_"), "a secret in the log: {log}");
    Ok(())
}
