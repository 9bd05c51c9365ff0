//! A private, durable Postgres of our own, run as a child process when no database is configured.
//! `start` walks: who we are, the directory and its lock, the programs, the cluster, the socket, the postmaster.
//! A postmaster outlives a killed server on purpose; the next start adopts it.
mod account;
mod cluster;
mod directory;
mod discover;
mod error;
mod postmaster;
mod process;
mod socket;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

pub use error::StartError;
use postmaster::{Launcher, Postmaster};

/// How often the watch looks whether the postmaster lives.
const WATCH: Duration = Duration::from_millis(200);

/// The longest pause between two attempts to start a dead postmaster again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Where the private Postgres keeps its data, and where its programs are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory that holds the cluster, the lock, the log and the socket.
    pub data_dir: PathBuf,
    /// The setting `database.postgres_bin_dir`: the only place to look for the programs when it is set.
    pub bin_dir: Option<PathBuf>,
}

/// A running private Postgres. Dropping it lets Postgres run on; `stop` ends it.
#[derive(Debug)]
pub struct Embedded {
    launcher: Launcher,
    running: Mutex<Running>,
    /// The postmaster's number, readable while a restart holds the mutex.
    pid: AtomicI32,
    /// Held for our whole life, so that no other Chancery uses the directory.
    _lock: File,
}

#[derive(Debug)]
struct Running {
    postmaster: Postmaster,
    /// Set by `stop`, so that the watch does not start again what was meant to end.
    stopped: bool,
}

impl Embedded {
    /// Brings up the private Postgres of this data directory: makes the cluster on first use, adopts a live
    /// postmaster or starts one, and waits until a connection to the `chancery` database works.
    pub async fn start(settings: Settings) -> Result<Embedded, StartError> {
        let own = account::own()?;
        let data_directory = directory::prepare(&settings.data_dir, &own)?;
        let lock = directory::lock(&data_directory, &own).await?;
        let cluster = data_directory.join("postgres");
        let run_as = account::for_postgres(&own, &cluster)?;
        directory::check_reachable(&data_directory, &run_as)?;
        let major = cluster::major_of(&cluster)?;
        let programs = discover::find(settings.bin_dir.as_deref(), &cluster, major).await?;
        cluster::write_access_files(&data_directory, &own)?;
        if major.is_none() {
            cluster::create(&data_directory, &cluster, &programs, &run_as).await?;
        }
        cluster::remove_leftovers(&data_directory).await?;
        let socket_directory = match postmaster::live_socket_directory(&cluster) {
            Some(directory) => directory,
            None => socket::choose(&data_directory, &run_as)?,
        };
        let launcher = Launcher { data_directory, cluster, socket_directory, programs, run_as };
        let mut postmaster = Postmaster::default();
        launcher.bring_up(&mut postmaster).await?;
        make_database(&launcher).await.map_err(StartError::Refused)?;
        tracing::info!(
            directory = %launcher.data_directory.display(),
            pid = postmaster.pid,
            "using a private Postgres on this machine",
        );
        let pid = AtomicI32::new(postmaster.pid);
        let running = Mutex::new(Running { postmaster, stopped: false });
        Ok(Embedded { launcher, running, pid, _lock: lock })
    }

    /// How to connect to a private Postgres that a running server looks after, if there is one. Takes no lock: for
    /// commands that work beside the server.
    pub async fn running(settings: &Settings) -> Option<PgConnectOptions> {
        let socket_directory = postmaster::live_socket_directory(&settings.data_dir.join("postgres"))?;
        let options = socket::options(&socket_directory, cluster::ROLE);
        PgConnection::connect_with(&options).await.ok()?.close().await.ok()?;
        Some(options)
    }

    /// How to connect to the server's own database.
    pub fn connect_options(&self) -> PgConnectOptions {
        self.options_for(cluster::ROLE)
    }

    /// How to connect to another database of the same cluster.
    pub fn options_for(&self, database: &str) -> PgConnectOptions {
        self.launcher.options_for(database)
    }

    /// The process number of the postmaster; another one after a restart.
    pub fn pid(&self) -> i32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// The data directory, as an absolute path without links.
    pub fn directory(&self) -> &Path {
        &self.launcher.data_directory
    }

    /// Watches the postmaster and starts it again when it dies, until `stop` is cancelled.
    pub async fn supervise(&self, stop: CancellationToken) {
        // A cancelled restart loses nothing: the new process is noted the moment it exists.
        let _ = stop.run_until_cancelled(self.watch()).await;
    }

    /// Shuts Postgres down: open transactions are rolled back, and force is used only after a bounded wait.
    pub async fn stop(&self) {
        let mut running = self.running.lock().await;
        running.stopped = true;
        self.launcher.shut_down(&mut running.postmaster).await;
    }

    async fn watch(&self) {
        let mut pause = WATCH;
        loop {
            tokio::time::sleep(pause).await;
            let mut running = self.running.lock().await;
            if running.stopped {
                return;
            }
            if self.launcher.is_alive(&mut running.postmaster) {
                continue;
            }
            tracing::error!(pid = running.postmaster.pid, "the private Postgres died; starting it again");
            let outcome = self.launcher.bring_up(&mut running.postmaster).await;
            self.pid.store(running.postmaster.pid, Ordering::Relaxed);
            pause = match outcome {
                Ok(()) => WATCH,
                Err(error) => {
                    tracing::error!(%error, "the private Postgres could not be started again");
                    (pause * 2).min(LONGEST_PAUSE)
                }
            };
        }
    }
}

/// Makes the server's database in a new cluster.
async fn make_database(launcher: &Launcher) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect_with(&launcher.options_for("postgres")).await?;
    let exists: bool =
        sqlx::query_scalar("select exists (select from pg_database where datname = 'chancery')")
            .fetch_one(&mut connection)
            .await?;
    if !exists {
        sqlx::query("create database chancery").execute(&mut connection).await?;
    }
    connection.close().await
}
