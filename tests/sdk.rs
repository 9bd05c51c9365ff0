//! The published Python SDK against the built server: makes the Python environment, starts an open server as in
//! development and a strict one as in production, runs the tests of `tests/sdk` with pytest and stops both servers.

#[path = "support/process.rs"]
mod process;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use process::{Finished, Home, Server, chancery, remove, run};

const INSTALL: Duration = Duration::from_mins(10);
const TESTS: Duration = Duration::from_mins(10);
const COMMAND: Duration = Duration::from_mins(1);

/// What a server in production must be told, beside its master key.
const PRODUCTION: [(&str, &str); 3] = [
    ("CHANCERY_ISSUER", "https://id.example.com"),
    ("CHANCERY_TRUST_DOMAIN", "agents.example.com"),
    ("CHANCERY_SHUTDOWN_DRAIN_SECONDS", "0"),
];

#[test]
fn the_published_sdk_works_against_the_built_server() -> Result<()> {
    let python = environment()?;
    let (open_home, strict_home) = (Home::new("open")?, Home::new("strict")?);
    let open = Server::start(&open_home, &[])?;
    let open_key = open.admin_key().context("the server printed no admin key")?;
    let (strict, strict_key) = production(&strict_home)?;

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

/// A server in production, where nothing is open, and an operator's key for it.
fn production(home: &Home) -> Result<(Server, String)> {
    let command = |line: &str| {
        let mut command = chancery();
        command.args(line.split(' ')).envs(PRODUCTION).current_dir(home.path());
        command.env("CHANCERY_KEYS_MASTER_KEY_FILE", home.path().join("master.key"));
        command.env("CHANCERY_DATA_DIR", home.data());
        command
    };
    must(command("init"), &home.next_log(), COMMAND)?;
    let key = must(command("admin create-key --name sdk"), &home.next_log(), COMMAND)?.out;
    Ok((Server::launch(home, command("serve"))?, key.trim().to_owned()))
}

/// The interpreter of an environment that holds exactly what `requirements.txt` asks for.
fn environment() -> Result<PathBuf> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/requirements.txt");
    let wanted = fs::read_to_string(&requirements)?;
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().context("target directory")?;
    let ready = target.join("sdk-venv");
    if usable(&ready, &wanted) {
        return Ok(interpreter(&ready));
    }
    let fresh = target.join(format!("sdk-venv.{}", std::process::id()));
    let home = Home::new("venv")?;
    let mut make = Command::new(system_python()?);
    make.args([OsStr::new("-m"), OsStr::new("venv"), fresh.as_os_str()]);
    must(make, &home.next_log(), INSTALL)?;
    let mut install = Command::new(interpreter(&fresh));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&requirements);
    must(install, &home.next_log(), INSTALL)?;
    fs::write(fresh.join("requirements.txt"), &wanted)?;
    remove(&ready)?;
    if fs::rename(&fresh, &ready).is_err() {
        // Another run put its own there first.
        remove(&fresh)?;
    }
    ensure!(usable(&ready, &wanted), "{} is not usable", ready.display());
    Ok(interpreter(&ready))
}

fn interpreter(environment: &Path) -> PathBuf {
    environment.join("bin/python")
}

/// Whether the environment was made from these requirements and still starts.
fn usable(environment: &Path, wanted: &str) -> bool {
    fs::read_to_string(environment.join("requirements.txt")).is_ok_and(|found| found == wanted)
        && succeeds(interpreter(environment), "import highflame.zeroid, pytest")
}

/// The first Python that is new enough for the SDK.
fn system_python() -> Result<PathBuf> {
    let check = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";
    ["python3.11", "python3"]
        .map(PathBuf::from)
        .into_iter()
        .find(|python| succeeds(python, check))
        .context("needs Python 3.10 or newer with venv (Debian: apt-get install python3-venv)")
}

fn succeeds(python: impl AsRef<OsStr>, code: &str) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", code]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Runs a command to its good end.
fn must(command: Command, log: &Path, limit: Duration) -> Result<Finished> {
    let program = command.get_program().display().to_string();
    let finished = run(command, log, limit)?;
    ensure!(finished.status.success(), "{program}: {}\n{}", finished.status, finished.text());
    Ok(finished)
}
