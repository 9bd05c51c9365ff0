//! The first five minutes: `make`, and the program without a word.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use crate::http::Client;
use crate::process::{Home, Server, chancery};

fn make(home: &Home, target: &str) -> Result<String> {
    let mut make = Command::new("make");
    make.args(["-n", "--no-print-directory", "-C", env!("CARGO_MANIFEST_DIR"), target]);
    // As if a person had typed it, not a make above us.
    make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    let shown = home.finish(make);
    ensure!(shown.status.success(), "{}", shown.text());
    Ok(shown.out)
}

#[test]
fn make_prepares_the_machine_first() -> Result<()> {
    let home = Home::new("make")?;
    for (target, last) in [("run", "cargo run"), ("test", "cargo test")] {
        let shown = make(&home, target)?;
        let setup = shown.find("scripts/setup");
        ensure!(setup.is_some() && setup < shown.find(last), "{target}: {shown}");
        assert_eq!(shown.trim_end().lines().last(), Some(last));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/setup");
    let mut syntax = Command::new("bash");
    syntax.arg("-n").arg(script);
    ensure!(home.finish(syntax).status.success());
    Ok(())
}

/// What `cargo run` starts. The variables only keep it out of the real data directory and off the real port.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_without_a_word_serves_in_development() -> Result<()> {
    let home = Home::new("bare")?;
    let mut command = chancery();
    command.env("CHANCERY_DATA_DIR", home.data()).env("HOME", home.path());
    let mut server = Server::launch(&home, command)?;
    for part in ["for development, on this machine only", "admin key", "private Postgres", "curl -s http"] {
        ensure!(server.out().contains(part), "no {part} in {}", server.out());
    }
    let mut client = Client::connect(&server.url()).await?;
    let agent = client.register("first").await?;
    assert_eq!(agent.status, 201);
    let token = client.exchange(&agent.text("/api_key")?).await?.text("/access_token")?;
    ensure!(client.is_active(&token).await?, "the token doesn't stand");
    ensure!(server.end(Signal::SIGTERM)?.is_some_and(|status| status.success()), "{}", server.last_lines());
    // With the flag spelt out it is the same server on the same database.
    let again = Server::start(&home, &[])?;
    ensure!(Client::connect(&again.url()).await?.is_active(&token).await?, "another server");
    Ok(())
}
