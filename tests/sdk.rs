//! The published Python SDK against the built server: makes the Python environment, starts an open and a
//! strict server, runs the tests of `tests/sdk` with pytest and stops both servers.

#[path = "support/process.rs"]
mod process;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use process::{Home, Server, remove, run};

const INSTALL: Duration = Duration::from_mins(10);
const TESTS: Duration = Duration::from_mins(10);

#[test]
fn the_published_sdk_works_against_the_built_server() -> Result<()> {
    let python = environment()?;
    let (open_home, strict_home) = (Home::new("open")?, Home::new("strict")?);
    let open = Server::start(&open_home, &[])?;
    let settings = [("CHANCERY_ADMIN_AUTH", "required"), ("CHANCERY_INTROSPECTION", "strict")];
    let strict = Server::start(&strict_home, &settings)?;
    let key = |server: &Server| server.admin_key().context("the server printed no admin key");

    let mut pytest = Command::new(&python);
    pytest
        .args(["-m", "pytest", "-q", "--color=no", "tests/sdk"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .env("CHANCERY_URL", open.url())
        .env("CHANCERY_ADMIN_KEY", key(&open)?)
        .env("CHANCERY_STRICT_URL", strict.url())
        .env("CHANCERY_STRICT_ADMIN_KEY", key(&strict)?);
    let tests = run(pytest, &open_home.next_log(), TESTS)?;
    let (status, output) = (tests.status, tests.text());
    println!("{output}");
    ensure!(status.success(), "pytest: {status}\n{}\n{}", open.last_lines(), strict.last_lines());
    ensure!(!output.contains(" skipped"), "tests were skipped");
    Ok(())
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
    must(&system_python()?, [OsStr::new("-m"), OsStr::new("venv"), fresh.as_os_str()], &home.next_log())?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"].map(OsStr::new);
    must(&interpreter(&fresh), install.into_iter().chain([requirements.as_os_str()]), &home.next_log())?;
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

fn must(program: &Path, args: impl IntoIterator<Item: AsRef<OsStr>>, log: &Path) -> Result<()> {
    let mut command = Command::new(program);
    command.args(args);
    let finished = run(command, log, INSTALL)?;
    ensure!(finished.status.success(), "{}: {}\n{}", program.display(), finished.status, finished.text());
    Ok(())
}
