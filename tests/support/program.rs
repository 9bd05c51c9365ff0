//! Programs that tests start: their folder, their log, and their end, however the test ends.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::traffic::{Connection, Request};

const STEP: Duration = Duration::from_millis(50);

/// How often an end or a readiness is looked for, a minute in all.
const STEPS: u32 = 1200;

/// A folder of one test, removed at its end. Short, because the path of the database's socket has a small limit.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Result<Self> {
        let path = PathBuf::from(format!("/tmp/ch-{name}-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An address that nobody listens on at the moment.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The built server, with nothing in its environment that would configure it.
pub fn chancery() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
    for (variable, _) in std::env::vars_os() {
        if variable == "DATABASE_URL" || variable.as_encoded_bytes().starts_with(b"CHANCERY_") {
            command.env_remove(variable);
        }
    }
    command
}

/// A running program. Dropping it asks it to stop, and ends it if it does not.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("{}", command.get_program().display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The end of its log.
    pub fn last_lines(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Waits until this request gets its right answer.
    pub async fn wait_for(&mut self, address: SocketAddr, request: &Request) -> Result<String> {
        for _ in 0..STEPS {
            if let Ok(body) = Connection::new(address).send(request).await {
                return Ok(body);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the program ended: {status}\n{}", self.last_lines());
            }
            tokio::time::sleep(STEP).await;
        }
        bail!("{address} does not answer as it should\n{}", self.last_lines())
    }

    /// Asks it to stop and waits for its end.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        kill(Pid::from_raw(self.pid()), Signal::SIGTERM)?;
        for _ in 0..STEPS {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(STEP).await;
        }
        bail!("the program does not stop\n{}", self.last_lines())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // Asked first, so that a server stops its database.
        let _ = kill(Pid::from_raw(self.pid()), Signal::SIGTERM);
        for _ in 0..STEPS / 3 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(STEP);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
