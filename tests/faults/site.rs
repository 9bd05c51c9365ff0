//! The servers of one test, their database, and the relay between them.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::http::Client;
use crate::process::{Home, Server};
use crate::relay::Relay;
use crate::scene::Database;
use crate::support::serve;

/// How long a server may take to be whole again after a fault (R of I6).
const RECOVERY: Duration = Duration::from_secs(5);

/// By how much a server may grow through a fault, in KiB, and how many files it may hold open beyond those before.
const GROWTH: u64 = 64 * 1024;
const MORE_FILES: usize = 64;

pub struct Site {
    pub servers: Vec<Server>,
    pub relay: Relay,
    // Before the database, whose home cannot be removed while something is mounted in it.
    disk: Option<Disk>,
    pub database: Database,
    settings: Vec<(&'static str, String)>,
    /// Memory in KiB and open files of each server, as it was when it had started.
    baseline: Vec<(u64, usize)>,
    home: Home,
}

/// A small disk in memory.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: PathBuf, owner: &fs::Metadata) -> Result<Self> {
        fs::create_dir(&path)?;
        let options = format!("size=64m,uid={},gid={},mode=700", owner.uid(), owner.gid());
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).status()?;
        ensure!(mounted.success(), "no small disk could be mounted");
        Ok(Self(path))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The database may still have files open on it; the mount goes when they are closed.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

impl Site {
    pub async fn open(name: &str, servers: usize) -> Result<Self> {
        let database = Database::start(&format!("{name}-db")).await?;
        database.create("faults").await?;
        Self::with(name, database, servers, None)
    }

    /// The same with its tables on a disk that can be filled.
    pub async fn on_small_disk(name: &str, servers: usize) -> Result<Self> {
        let database = Database::start(&format!("{name}-db")).await?;
        let owner = fs::metadata(format!("/proc/{}", database.postgres.pid()))?;
        let path = database.home.path().join("disk");
        let disk = Disk::mount(path.clone(), &owner)?;
        let mut db = database.connect("postgres").await?;
        for sql in [
            format!("create tablespace small location '{}'", path.display()),
            "create database faults tablespace small".to_owned(),
        ] {
            sqlx::query(AssertSqlSafe(sql)).execute(&mut db).await?;
        }
        Self::with(name, database, servers, Some(disk))
    }

    fn with(name: &str, database: Database, servers: usize, disk: Option<Disk>) -> Result<Self> {
        let home = Home::new(name)?;
        let options = database.postgres.options_for("faults");
        let relay = Relay::start(home.path(), options.get_socket().context("a socket")?)?;
        let key = home.master_key("master.key");
        let url = format!("postgres:///faults?host={}&user=chancery", relay.directory().display());
        let settings = vec![
            ("CHANCERY_DEV", "true".to_owned()),
            ("DATABASE_URL", url),
            ("CHANCERY_KEYS_MASTER_KEY_FILE", key.display().to_string()),
        ];
        let (running, baseline) = (Vec::new(), Vec::new());
        let mut site = Self { servers: running, relay, database, settings, baseline, home, disk };
        for _ in 0..servers {
            let command = site.command();
            block_in_place(|| site.launch(command))?;
        }
        Ok(site)
    }

    fn command(&self) -> Command {
        let settings: Vec<(&str, &str)> =
            self.settings.iter().map(|(name, value)| (*name, &**value)).collect();
        serve(&self.home, &settings)
    }

    fn launch(&mut self, command: Command) -> Result<()> {
        let server = Server::launch(&self.home, command)?;
        self.baseline.push(usage(server.pid())?);
        self.servers.push(server);
        Ok(())
    }

    /// A further server, run by this program.
    pub fn add(&mut self, mut runner: Command) -> Result<()> {
        let server = self.command();
        runner.arg(server.get_program()).args(server.get_args());
        for (name, value) in server.get_envs() {
            match value {
                Some(value) => runner.env(name, value),
                None => runner.env_remove(name),
            };
        }
        self.launch(runner)
    }

    pub fn kill_and_start_again(&mut self, number: usize) -> Result<()> {
        let server = &mut self.servers[number];
        kill(Pid::from_raw(server.pid()), Signal::SIGKILL)?;
        block_in_place(|| server.ended())?;
        let command = self.command();
        self.servers.remove(number);
        self.baseline.remove(number);
        block_in_place(|| self.launch(command))
    }

    /// Leaves no room on the small disk.
    pub fn fill_disk(&self) -> Result<PathBuf> {
        let disk = self.disk.as_ref().context("no small disk")?;
        let path = disk.0.join("filler");
        let mut file = File::create(&path)?;
        let block = vec![0; 65536];
        while file.write_all(&block).is_ok() {}
        Ok(path)
    }

    pub async fn db(&self) -> Result<PgConnection> {
        self.database.connect("faults").await
    }

    /// Every server serves within the time for recovery, without a 5xx (I6), and holds no more than before (I7).
    pub async fn is_whole(&self) -> Result<()> {
        for (server, before) in self.servers.iter().zip(&self.baseline) {
            let began = Instant::now();
            while Client::connect(&server.url()).await?.get("/ready").await?.status != 200 {
                ensure!(began.elapsed() < RECOVERY, "not ready {RECOVERY:?} after the fault");
                sleep(Duration::from_millis(20)).await;
            }
            let mut client = Client::connect(&server.url()).await?;
            for turn in 0..20 {
                let path = ["/agents/registry", "/.well-known/jwks.json"][turn % 2];
                let answer = client.get(path).await?;
                ensure!(answer.status == 200, "after recovery: {answer:?}");
            }
            let after = usage(server.pid())?;
            ensure!(after.0 < before.0 + GROWTH, "memory grew from {} to {} KiB", before.0, after.0);
            ensure!(after.1 < before.1 + MORE_FILES, "{} open files, {} before", after.1, before.1);
        }
        Ok(())
    }
}

/// Resident memory in KiB and the number of open files.
fn usage(pid: i32) -> Result<(u64, usize)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let memory = line.split_whitespace().nth(1).context("no figure")?.parse()?;
    Ok((memory, fs::read_dir(format!("/proc/{pid}/fd"))?.count()))
}
