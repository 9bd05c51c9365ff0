//! Programs that serve, the built one first of all, as processes: started, waited for, read, and ended however their test
//! ends.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const STEP: Duration = Duration::from_millis(20);
const READY: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_mins(1);

/// A directory of one test. When it goes, every server and database that was started in it goes too.
pub struct Home {
    path: PathBuf,
    started: AtomicU32,
}

impl Home {
    /// Short, because the path of the database's socket has a small limit.
    pub fn new(name: &str) -> Result<Self> {
        let path = PathBuf::from(format!("/tmp/cp-{name}-{}", std::process::id()));
        remove(&path)?;
        fs::create_dir(&path)?;
        Ok(Self { path, started: AtomicU32::new(0) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Where the output of the next process goes, so that no two write into one file.
    pub fn next_log(&self) -> PathBuf {
        self.path.join(format!("log-{}", self.started.fetch_add(1, Ordering::SeqCst)))
    }

    /// The servers and postmasters that run on this directory: their arguments name it.
    pub fn processes(&self) -> Vec<i32> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        numbers.filter(|pid| self.is_ours(*pid)).collect()
    }

    fn is_ours(&self, pid: i32) -> bool {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let program = line.split('\0').next().and_then(|program| program.rsplit('/').next());
        matches!(program, Some("chancery" | "postgres" | "initdb"))
            && line.contains(&format!("{}/", self.path.display()))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // To Postgres the first is an immediate shutdown, which gives its shared memory back, as a kill does not.
        for signal in [Signal::SIGQUIT, Signal::SIGKILL] {
            for _ in 0..250 {
                let left = self.processes();
                if left.is_empty() {
                    break;
                }
                for pid in left {
                    let _ = kill(Pid::from_raw(pid), signal);
                }
                sleep(STEP);
            }
        }
        let _ = remove(&self.path);
    }
}

/// An address that nobody listens on at the moment.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The built program, with nothing in its environment that would configure it.
pub fn chancery() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
    for (variable, _) in std::env::vars_os() {
        if variable == "DATABASE_URL" || variable.as_encoded_bytes().starts_with(b"CHANCERY_") {
            command.env_remove(variable);
        }
    }
    command
}

/// What a command left behind.
pub struct Finished {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl Finished {
    /// Everything it wrote.
    pub fn text(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// Runs a command to its end, or ends it when it takes too long; files take its output, so it never blocks.
pub fn run(mut command: Command, log: &Path, limit: Duration) -> Result<Finished> {
    let mut child = spawn(&mut command, log)?;
    let status = wait(&mut child, limit)?;
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    let (out, err) = (read(&log.with_extension("out")), read(&log.with_extension("err")));
    let status = status.with_context(|| format!("took longer than {limit:?}\n{out}{err}"))?;
    Ok(Finished { status, out, err })
}

fn spawn(command: &mut Command, log: &Path) -> Result<Child> {
    let out = File::create(log.with_extension("out"))?;
    let err = File::create(log.with_extension("err"))?;
    command.stdin(Stdio::null()).stdout(out).stderr(err);
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

/// Removes a directory if it is there.
pub fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
}

/// A running server; dropping it stops it.
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// A development server with a database of its own in the home.
    pub fn start(home: &Home, settings: &[(&str, &str)]) -> Result<Self> {
        let mut command = chancery();
        command.args(["serve", "--dev", "--data-dir"]).arg(home.data()).envs(settings.iter().copied());
        Self::launch(home, command)
    }

    /// Any command of the built program that serves. The system chooses a free port, and the server's log tells which.
    pub fn launch(home: &Home, mut command: Command) -> Result<Self> {
        command.current_dir(home.path());
        if !command.get_envs().any(|(name, _)| name == "CHANCERY_LISTEN") {
            command.env("CHANCERY_LISTEN", "127.0.0.1:0");
        }
        let mut server = Self::spawn(home, command, ([127, 0, 0, 1], 0).into())?;
        server.wait_until("the server listens", |server| {
            server.address = listening(&server.err())?;
            Some(())
        })?;
        server.wait_until("the server is ready", |server| server.answers("/ready").then_some(()))?;
        Ok(server)
    }

    /// Any program that serves at this address, once it answers this path.
    pub fn at(home: &Home, command: Command, address: SocketAddr, path: &str) -> Result<Self> {
        let mut server = Self::spawn(home, command, address)?;
        server.wait_until("the server answers", |server| server.answers(path).then_some(()))?;
        Ok(server)
    }

    fn spawn(home: &Home, mut command: Command, address: SocketAddr) -> Result<Self> {
        let log = home.next_log();
        Ok(Self { child: spawn(&mut command, &log)?, address, log })
    }

    fn wait_until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> Result<T> {
        let mut waited = Duration::ZERO;
        loop {
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended: {status}\n{}", self.last_lines());
            }
            ensure!(waited < READY, "waited {READY:?} in vain until {what}\n{}", self.last_lines());
            sleep(STEP);
            waited += STEP;
        }
    }

    fn answers(&self, path: &str) -> bool {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(1))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process number.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The key that a development server prints at its first start, if it printed one.
    pub fn admin_key(&self) -> Option<String> {
        let out = self.out();
        let (_, rest) = out.split_once("admin key   sk_live_")?;
        let secret = rest.split_whitespace().next()?;
        Some(format!("sk_live_{secret}"))
    }

    /// What it wrote to standard output.
    pub fn out(&self) -> String {
        read(&self.log.with_extension("out"))
    }

    /// Its log.
    pub fn err(&self) -> String {
        read(&self.log.with_extension("err"))
    }

    pub fn last_lines(&self) -> String {
        let text = format!("{}{}", self.out(), self.err());
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Asks it to stop, and says how it ended; nothing when it had to be killed.
    pub fn end(&mut self, signal: Signal) -> Result<Option<ExitStatus>> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(Some(status));
        }
        kill(Pid::from_raw(self.pid()), signal)?;
        self.ended()
    }

    /// How it ended after it was asked to; nothing when it had to be killed.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let status = wait(&mut self.child, STOP)?;
        if status.is_none() {
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(status)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first, so that it stops its database; killed only when it doesn't listen.
        if self.end(Signal::SIGTERM).is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The address in the line "serving", as text or as JSON, once that line is complete.
fn listening(log: &str) -> Option<SocketAddr> {
    let line = log.split_inclusive('\n').find(|line| line.contains("serving") && line.ends_with('\n'))?;
    let (_, rest) = line.split_once("listen=").or_else(|| line.split_once("\"listen\":\""))?;
    rest.split([' ', '"', '\n']).next()?.parse().ok()
}
