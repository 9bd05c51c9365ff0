//! The published Python SDK against the built server: makes the Python environment, starts an open and a
//! strict server, runs the tests of `tests/sdk` with pytest and stops both servers.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const STEP: Duration = Duration::from_millis(100);
const READY: Duration = Duration::from_mins(1);
const INSTALL: Duration = Duration::from_mins(10);
const TESTS: Duration = Duration::from_mins(10);
const STOP: Duration = Duration::from_secs(20);

#[test]
fn the_published_sdk_works_against_the_built_server() -> Result<()> {
    let python = environment()?;
    let open = Server::start("open", &[])?;
    let settings = [("CHANCERY_ADMIN_AUTH", "required"), ("CHANCERY_INTROSPECTION", "strict")];
    let strict = Server::start("strict", &settings)?;

    let mut pytest = Command::new(&python);
    pytest
        .args(["-m", "pytest", "-q", "--color=no", "tests/sdk"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .env("CHANCERY_URL", open.url())
        .env("CHANCERY_ADMIN_KEY", open.admin_key()?)
        .env("CHANCERY_STRICT_URL", strict.url())
        .env("CHANCERY_STRICT_ADMIN_KEY", strict.admin_key()?);
    let (status, output) = run(pytest, &open.directory.join("pytest.log"), TESTS)?;
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
    let log = target.join(format!("sdk-venv.{}.log", std::process::id()));
    must(&system_python()?, [OsStr::new("-m"), OsStr::new("venv"), fresh.as_os_str()], &log)?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"].map(OsStr::new);
    must(&interpreter(&fresh), install.into_iter().chain([requirements.as_os_str()]), &log)?;
    fs::write(fresh.join("requirements.txt"), &wanted)?;
    fs::remove_file(&log)?;
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
    let (status, output) = run(command, log, INSTALL)?;
    ensure!(status.success(), "{}: {status}\n{output}", program.display());
    Ok(())
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Runs a command to its end, or ends it when it takes too long; a file takes its output, so it never blocks.
fn run(mut command: Command, log: &Path, limit: Duration) -> Result<(ExitStatus, String)> {
    let mut child = spawn(&mut command, log)?;
    let status = wait(&mut child, limit)?;
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    let output = fs::read_to_string(log)?;
    let status = status.with_context(|| format!("took longer than {limit:?}\n{output}"))?;
    Ok((status, output))
}

fn spawn(command: &mut Command, log: &Path) -> Result<Child> {
    let output = File::create(log)?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    command.spawn().with_context(|| format!("{}", command.get_program().display()))
}

/// The child's exit status, or nothing when it still runs after `limit`.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if waited >= limit {
            return Ok(None);
        }
        sleep(STEP);
        waited += STEP;
    }
}

/// A running development server with a database of its own; dropping it stops both.
struct Server {
    child: Child,
    address: SocketAddr,
    directory: PathBuf,
}

impl Server {
    fn start(name: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        // Short, because the path of the database's socket has a small limit.
        let directory = PathBuf::from(format!("/tmp/chancery-sdk-{}-{name}", std::process::id()));
        remove(&directory)?;
        fs::create_dir(&directory)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
        for (variable, _) in std::env::vars_os() {
            if variable == "DATABASE_URL" || variable.as_encoded_bytes().starts_with(b"CHANCERY_") {
                command.env_remove(variable);
            }
        }
        command
            .args(["serve", "--dev", "--listen", &address.to_string(), "--data-dir"])
            .arg(directory.join("data"))
            .current_dir(&directory)
            .envs(settings.iter().copied());
        let child = spawn(&mut command, &directory.join("log"))?;
        let mut server = Self { child, address, directory };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let mut waited = Duration::ZERO;
        while !self.is_ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended: {status}\n{}", self.last_lines());
            }
            ensure!(waited < READY, "the server is not ready after {READY:?}\n{}", self.last_lines());
            sleep(STEP);
            waited += STEP;
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&self.address, STEP)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(stream, "GET /ready HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The key that a development server prints at its first start.
    fn admin_key(&self) -> Result<String> {
        for _ in 0..50 {
            let log = self.log();
            let key = log.find("sk_live_").and_then(|start| {
                let rest = &log[start..];
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))?;
                Some(rest[..end].to_owned())
            });
            if let Some(key) = key {
                return Ok(key);
            }
            sleep(STEP);
        }
        bail!("the server printed no admin key\n{}", self.last_lines())
    }

    fn log(&self) -> String {
        fs::read(self.directory.join("log"))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first, so that it stops its database; killed only when it doesn't listen.
        let asked =
            i32::try_from(self.child.id()).is_ok_and(|id| kill(Pid::from_raw(id), Signal::SIGTERM).is_ok());
        if !asked || !matches!(wait(&mut self.child, STOP), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}
