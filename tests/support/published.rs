//! What the tests with published programs share: a Python environment with exactly the packages asked for, a server as in
//! production, and commands that must end well.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::{Finished, Home, Server, chancery, remove, run};

pub const INSTALL: Duration = Duration::from_mins(10);
const COMMAND: Duration = Duration::from_mins(1);

/// A server in production, where nothing is open, and an operator's key for it.
pub fn production(home: &Home, settings: &[(&str, &str)]) -> Result<(Server, String)> {
    let command = |line: &str| {
        let mut command = chancery();
        command.args(line.split(' ')).envs(settings.iter().copied()).current_dir(home.path());
        command
            .env("CHANCERY_TRUST_DOMAIN", "agents.example.com")
            .env("CHANCERY_SHUTDOWN_DRAIN_SECONDS", "0");
        command.env("CHANCERY_KEYS_MASTER_KEY_FILE", home.path().join("master.key"));
        command.env("CHANCERY_DATA_DIR", home.data());
        command
    };
    must(command("init"), &home.next_log(), COMMAND)?;
    let key = must(command("admin create-key --name tests"), &home.next_log(), COMMAND)?.out;
    Ok((Server::launch(home, command("serve"))?, key.trim().to_owned()))
}

/// Where what was installed stays for the next run.
pub fn target() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_TARGET_TMPDIR")).parent().context("target directory")?.to_owned())
}

/// The interpreter of the environment of this name, which holds exactly what `requirements.txt` in the folder asks for and
/// can import these modules.
pub fn environment(name: &str, folder: &str, modules: &str) -> Result<PathBuf> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("requirements.txt");
    let wanted = fs::read_to_string(&requirements)?;
    let target = target()?;
    let ready = target.join(name);
    let usable = |environment: &Path| {
        fs::read_to_string(environment.join("requirements.txt")).is_ok_and(|found| found == wanted)
            && succeeds(interpreter(environment), &format!("import {modules}"))
    };
    if usable(&ready) {
        return Ok(interpreter(&ready));
    }
    let fresh = target.join(format!("{name}.{}", std::process::id()));
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
    ensure!(usable(&ready), "{} is not usable", ready.display());
    Ok(interpreter(&ready))
}

fn interpreter(environment: &Path) -> PathBuf {
    environment.join("bin/python")
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
pub fn must(command: Command, log: &Path, limit: Duration) -> Result<Finished> {
    let program = command.get_program().display().to_string();
    let finished = run(command, log, limit)?;
    ensure!(finished.status.success(), "{program}: {}\n{}", finished.status, finished.text());
    Ok(finished)
}
