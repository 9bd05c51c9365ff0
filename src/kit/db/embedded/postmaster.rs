use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::process::Child;

use super::account::Account;
use super::error::{StartError, file_error, last_lines};
use super::{cluster, process, socket};

/// How long a start may take: a shutdown that is going on, recovery after a crash, orphans that still hold memory.
const START_PATIENCE: Duration = Duration::from_mins(1);

/// How often a state is looked at while waiting for it.
const GLANCE: Duration = Duration::from_millis(10);

/// A log longer than this starts afresh with the next postmaster.
const LOG_LIMIT: u64 = 10 * 1024 * 1024;

/// The settings, on the command line so that nothing stored in the cluster weakens them.
const SETTINGS: [&str; 14] = [
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "fsync=on",
    "full_page_writes=on",
    "synchronous_commit=on",
    "max_connections=100",
    "shared_buffers=128MB",
    "max_wal_size=1GB",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_destination=stderr",
    "logging_collector=off",
    "log_checkpoints=off",
    "log_min_messages=warning",
];

/// Everything that is needed to start this cluster's postmaster, or to find the one that runs.
#[derive(Debug)]
pub(super) struct Launcher {
    pub(super) data_directory: PathBuf,
    pub(super) cluster: PathBuf,
    pub(super) socket_directory: PathBuf,
    pub(super) programs: PathBuf,
    pub(super) run_as: Account,
}

/// The postmaster that serves the cluster; `child` is missing when it was adopted.
#[derive(Debug, Default)]
pub(super) struct Postmaster {
    pub(super) pid: i32,
    child: Option<Child>,
    /// Why it takes no connection yet, for the message when the wait ends.
    problem: String,
}

/// What a live postmaster writes about itself.
struct PidFile {
    pid: i32,
    socket_directory: Option<PathBuf>,
}

/// The socket directory of the live postmaster, which may be another than a new one would get.
pub(super) fn live_socket_directory(cluster: &Path) -> Option<PathBuf> {
    let file = PidFile::read(cluster)?;
    file.socket_directory.filter(|_| process::is_postmaster(file.pid, cluster))
}

impl Launcher {
    /// How to connect to `database`.
    pub(super) fn options_for(&self, database: &str) -> PgConnectOptions {
        socket::options(&self.socket_directory, database)
    }

    /// Adopts the live postmaster or starts one, and returns when a connection works.
    ///
    /// `postmaster` is kept up to date, so that a cancelled call never loses a process.
    pub(super) async fn bring_up(&self, postmaster: &mut Postmaster) -> Result<(), StartError> {
        let started_at = log_length(&self.log());
        match tokio::time::timeout(START_PATIENCE, self.adopt_or_start(postmaster)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StartError::NotReady {
                seconds: START_PATIENCE.as_secs(),
                problem: std::mem::take(&mut postmaster.problem),
                log: self.log(),
                tail: self.log_tail(started_at),
            }),
        }
    }

    /// Whether the postmaster lives; also collects our own child once it is dead.
    pub(super) fn is_alive(&self, postmaster: &mut Postmaster) -> bool {
        match postmaster.child.as_mut() {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => process::is_postmaster(postmaster.pid, &self.cluster),
        }
    }

    /// Ends the postmaster: first politely, and by force only when that takes too long.
    pub(super) async fn shut_down(&self, postmaster: &mut Postmaster) {
        let steps = [
            (Signal::SIGINT, Duration::from_secs(30)),
            (Signal::SIGQUIT, Duration::from_secs(10)),
            (Signal::SIGKILL, Duration::from_secs(10)),
        ];
        for (signal, patience) in steps {
            if !self.is_alive(postmaster) {
                return;
            }
            process::signal(postmaster.pid, signal);
            if tokio::time::timeout(patience, self.gone(postmaster)).await.is_ok() {
                return;
            }
            tracing::warn!(pid = postmaster.pid, %signal, "the private Postgres did not stop in time");
        }
    }

    async fn gone(&self, postmaster: &mut Postmaster) {
        while self.is_alive(postmaster) {
            tokio::time::sleep(GLANCE).await;
        }
    }

    async fn adopt_or_start(&self, postmaster: &mut Postmaster) -> Result<(), StartError> {
        loop {
            if let Some(file) = PidFile::read(&self.cluster)
                && process::is_postmaster(file.pid, &self.cluster)
            {
                *postmaster = Postmaster { pid: file.pid, ..Postmaster::default() };
                if self.becomes_ready(postmaster).await? {
                    tracing::info!(pid = file.pid, "adopted the private Postgres that was still running");
                    return Ok(());
                }
                // It was shutting down, and is gone now.
                continue;
            }
            let started_at = self.start(postmaster)?;
            if self.becomes_ready(postmaster).await? {
                return Ok(());
            }
            let log = self.log_since(started_at);
            if !held_by_orphans(&log) {
                return Err(self.died(postmaster, &log));
            }
            "the processes of a killed PostgreSQL are still ending".clone_into(&mut postmaster.problem);
            tokio::time::sleep(10 * GLANCE).await;
        }
    }

    /// Starts a postmaster and returns the length of the log before it.
    fn start(&self, postmaster: &mut Postmaster) -> Result<u64, StartError> {
        self.clear_leftovers();
        socket::claim(&self.socket_directory, &self.run_as).map_err(|problem| {
            StartError::NoSocketDirectory {
                limit: socket::LIMIT,
                tried: format!("{} ({problem})", self.socket_directory.display()),
            }
        })?;
        let log = open_log(&self.log())?;
        let started_at = log_length(&self.log());
        let errors = log.try_clone().map_err(file_error("open", self.log()))?;
        let program = self.programs.join("postgres");
        let mut command = self.run_as.command(&program);
        command.arg("-D").arg(&self.cluster).args(["-p", &socket::PORT.to_string()]);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        for (name, path) in [
            ("hba_file", cluster::hba_file(&self.data_directory)),
            ("ident_file", cluster::ident_file(&self.data_directory)),
        ] {
            command.arg("-c").arg(format!("{name}={}", path.display()));
        }
        // A list in which a comma separates, so the one directory is quoted.
        let socket_directory = self.socket_directory.display().to_string().replace('"', "\"\"");
        command.arg("-c").arg(format!("unix_socket_directories=\"{socket_directory}\""));
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let user = self.run_as.name.clone();
        let child = command.spawn().map_err(|source| StartError::Spawn { program, user, source })?;
        // A child that nobody waited for still has its number.
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        *postmaster = Postmaster { pid, child: Some(child), problem: String::new() };
        Ok(started_at)
    }

    /// Waits for a real connection. False when the postmaster ended instead.
    ///
    /// The pid file alone proves nothing: after a crash it still says "ready" about a process that is gone.
    async fn becomes_ready(&self, postmaster: &mut Postmaster) -> Result<bool, StartError> {
        while self.is_alive(postmaster) {
            if PidFile::read(&self.cluster).is_some_and(|file| file.pid == postmaster.pid) {
                match self.connect().await {
                    Ok(()) => return Ok(true),
                    Err(error) if is_refusal(&error) => return Err(StartError::Refused(error)),
                    Err(error) => postmaster.problem = error.to_string(),
                }
            }
            tokio::time::sleep(GLANCE).await;
        }
        Ok(false)
    }

    async fn connect(&self) -> Result<(), sqlx::Error> {
        let options = self.options_for("postgres");
        let connecting = PgConnection::connect_with(&options);
        match tokio::time::timeout(Duration::from_secs(5), connecting).await {
            Ok(connection) => connection?.close().await,
            Err(_) => Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Removes the lock files of a dead postmaster where they would stop a new one.
    ///
    /// Postgres does so itself when their process number is free, but not when a zombie or a stranger bears it. It
    /// still finds orphaned backends without the pid file, by the directory's own shared memory. A file whose process
    /// is a postmaster of ours stays: one that was just started writes it before it can be adopted.
    fn clear_leftovers(&self) {
        for path in [PidFile::path(&self.cluster), socket::lock_file(&self.socket_directory)] {
            let stale = PidFile::parse(&path).is_some_and(|file| {
                process::exists(file.pid) && !process::is_postmaster(file.pid, &self.cluster)
            });
            if stale && let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove a stale lock file");
            }
        }
    }

    fn died(&self, postmaster: &mut Postmaster, log: &str) -> StartError {
        let status = postmaster.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        StartError::Died {
            status: status.map_or_else(|| "status unknown".to_owned(), |status| status.to_string()),
            log: self.log(),
            tail: last_lines(log, 20),
        }
    }

    fn log(&self) -> PathBuf {
        self.data_directory.join("postgres.log")
    }

    fn log_tail(&self, from: u64) -> String {
        last_lines(&self.log_since(from), 20)
    }

    fn log_since(&self, from: u64) -> String {
        let mut bytes = Vec::new();
        let read = File::open(self.log())
            .and_then(|mut log| log.seek(SeekFrom::Start(from)).and_then(|_| log.read_to_end(&mut bytes)));
        if let Err(error) = read {
            return format!("(the log cannot be read: {error})");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl PidFile {
    fn path(cluster: &Path) -> PathBuf {
        cluster.join("postmaster.pid")
    }

    fn read(cluster: &Path) -> Option<Self> {
        Self::parse(&Self::path(cluster))
    }

    /// Line 1 is the process number, line 5 the socket's directory.
    fn parse(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let mut lines = text.lines();
        // Zero and below would mean whole groups of processes to kill(2).
        let pid = lines.next()?.trim().parse().ok().filter(|pid| *pid > 1)?;
        let socket_directory = lines.nth(3).filter(|line| !line.is_empty()).map(PathBuf::from);
        Some(Self { pid, socket_directory })
    }
}

/// Whether Postgres answered and does not want us; anything else may pass with time.
fn is_refusal(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code.starts_with("28"))
}

/// Whether a start failed because backends of a killed postmaster still hold its memory or its lock file.
fn held_by_orphans(log: &str) -> bool {
    log.contains("is still in use") || (log.contains("lock file") && log.contains("already exists"))
}

fn open_log(path: &Path) -> Result<File, StartError> {
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(file_error("open", path))?;
    if log_length(path) > LOG_LIMIT {
        log.set_len(0).map_err(file_error("truncate", path))?;
    }
    Ok(log)
}

fn log_length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}
