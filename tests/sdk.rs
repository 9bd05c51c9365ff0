//! The published Python SDK against the built server: makes the Python environment, starts an open server as in
//! development and a strict one as in production, runs the tests of `tests/sdk` with pytest and stops both servers.

#[path = "support/process.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod process;
#[path = "support/published.rs"]
mod published;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use process::{Home, Server, run};
use published::{environment, production};

const TESTS: Duration = Duration::from_mins(10);

#[test]
fn the_published_sdk_works_against_the_built_server() -> Result<()> {
    let python = environment("sdk-venv", "tests/sdk", "highflame.zeroid, pytest")?;
    let (open_home, strict_home) = (Home::new("open")?, Home::new("strict")?);
    let open = Server::start(&open_home, &[])?;
    let open_key = open.admin_key().context("the server printed no admin key")?;
    let (strict, strict_key) = production(&strict_home, &[("CHANCERY_ISSUER", "https://id.example.com")])?;

    let mut pytest = Command::new(&python);
    pytest
        .args(["-m", "pytest", "-q", "--color=no", "tests/sdk"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .env("CHANCERY_URL", open.url())
        .env("CHANCERY_ADMIN_KEY", open_key)
        .env("CHANCERY_STRICT_URL", strict.url())
        .env("CHANCERY_STRICT_ADMIN_KEY", strict_key);
    let tests = run(pytest, &open_home.next_log(), TESTS)?;
    let (status, output) = (tests.status, tests.text());
    println!("{output}");
    ensure!(status.success(), "pytest: {status}\n{}\n{}", open.last_lines(), strict.last_lines());
    ensure!(!output.contains(" skipped"), "tests were skipped");
    Ok(())
}
