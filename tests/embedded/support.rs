use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use chancery::kit::db::embedded::{Embedded, Settings, StartError};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use sqlx::{Connection, PgConnection};

/// The bound of every wait in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A directory of the test's own; when it goes, its postmaster goes, also after a failed test.
pub(crate) struct Home {
    pub(crate) path: PathBuf,
    data: PathBuf,
}

impl Home {
    pub(crate) fn new(name: &str) -> Self {
        let path = PathBuf::from(format!("/tmp/ce-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self { data: path.join("data"), path }
    }

    /// The same, with the data in another place below the home.
    pub(crate) fn with_data(name: &str, below: &str) -> Self {
        let mut home = Self::new(name);
        home.data = home.path.join(below);
        home
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn cluster(&self) -> PathBuf {
        self.data.join("postgres")
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.cluster().join("postmaster.pid")
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings { data_dir: self.data.clone(), bin_dir: None }
    }

    pub(crate) async fn start(&self) -> Embedded {
        self.try_start().await.unwrap()
    }

    pub(crate) async fn try_start(&self) -> Result<Embedded, StartError> {
        Embedded::start(self.settings()).await
    }

    fn end_postmaster(&self) {
        let Ok(text) = std::fs::read_to_string(self.pid_file()) else { return };
        let Some(pid) = text.lines().next().and_then(|line| line.parse().ok()) else { return };
        let cluster = self.cluster();
        let ours = |pid: i32| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&*cluster.to_string_lossy()))
        };
        // An immediate shutdown also gives back the shared memory, which a kill does not.
        for signal in [Signal::SIGCONT, Signal::SIGQUIT, Signal::SIGKILL] {
            if !ours(pid) {
                return;
            }
            let _ = kill(Pid::from_raw(pid), signal);
            for _ in 0..if signal == Signal::SIGCONT { 0 } else { 500 } {
                if !ours(pid) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.end_postmaster();
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Stops Postgres and lets the lock go.
pub(crate) async fn stop(embedded: Embedded) {
    embedded.stop().await;
    assert!(!exists(embedded.pid()), "the postmaster outlived its stop");
}

pub(crate) async fn connect(embedded: &Embedded) -> PgConnection {
    PgConnection::connect_with(&embedded.connect_options()).await.unwrap()
}

pub(crate) async fn write_row(embedded: &Embedded) {
    let mut connection = connect(embedded).await;
    sqlx::query("create table if not exists kept (word text)").execute(&mut connection).await.unwrap();
    sqlx::query("insert into kept values ('kept')").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

pub(crate) async fn rows(embedded: &Embedded) -> i64 {
    let mut connection = connect(embedded).await;
    let count = sqlx::query_scalar("select count(*) from kept").fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    count
}

/// Asks again and again until the answer is yes, and fails when that takes too long.
pub(crate) async fn until<F, A>(what: &str, mut ask: F)
where
    F: FnMut() -> A,
    A: Future<Output = bool>,
{
    let asking = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, asking).await.is_ok(), "waited in vain until {what}");
}

pub(crate) fn exists(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// Whether the process runs: a zombie has no command line.
pub(crate) fn runs(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

pub(crate) fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// Whether this test may go on; says aloud when it may not.
pub(crate) fn is_root(test: &str) -> bool {
    let root = geteuid().is_root();
    if !root {
        // Past the capture of the test harness, which would keep it silent.
        let line = format!("SKIPPED: {test} needs root to become another user\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    root
}

/// The user that Postgres runs as when the tests run as root.
pub(crate) fn unprivileged() -> User {
    let named = |name| User::from_name(name).ok().flatten();
    named("postgres").or_else(|| named("nobody")).expect("a machine with a user postgres or nobody")
}

pub(crate) fn nobody() -> User {
    User::from_name("nobody").ok().flatten().expect("a machine with a user nobody")
}

/// A command that runs as the user of Postgres: an unprivileged one when the tests run as root.
pub(crate) fn as_postgres(program: &str) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    if geteuid().is_root() {
        let user = unprivileged();
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).current_dir("/");
    }
    command
}
