//! What these tests share: finished commands, databases from outside, configurations of production.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use chancery::kit::db::embedded::{Embedded, Settings};
use nix::unistd::geteuid;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::process::{Finished, Home, chancery, run};

const COMMAND: Duration = Duration::from_mins(1);

impl Home {
    fn settings(&self) -> Settings {
        Settings { data_dir: self.data(), bin_dir: None }
    }

    /// Runs a command of the program on this home to its end.
    pub fn chancery(&self, line: &str, settings: &[(&str, &str)]) -> Finished {
        let mut command = chancery();
        command.args(line.split_whitespace()).envs(settings.iter().copied());
        self.finish(command)
    }

    /// Runs any command to its end; the data lies in the home unless it says otherwise.
    pub fn finish(&self, mut command: Command) -> Finished {
        if command.get_envs().all(|(name, _)| name != "CHANCERY_DATA_DIR") {
            command.env("CHANCERY_DATA_DIR", self.data());
        }
        command.current_dir(self.path());
        run(command, &self.next_log(), COMMAND).unwrap()
    }

    /// Writes a master key into the home, as an operator does.
    pub fn master_key(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        let key = chancery::kit::seal::MasterKeys::generate().unwrap();
        std::fs::write(&path, key.expose()).unwrap();
        path
    }
}

/// The number of the postmaster that runs in this home.
pub fn postmaster(home: &Home) -> i32 {
    let path = home.data().join("postgres/postmaster.pid");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().next().unwrap().parse().unwrap()
}

/// A connection to the private database that a server runs in this home.
pub async fn connect(home: &Home) -> Result<PgConnection> {
    let options = Embedded::running(&home.settings()).await.context("no private Postgres runs")?;
    Ok(PgConnection::connect_with(&options).await?)
}

/// A Postgres that belongs to no server, as an operator's own.
pub struct External {
    embedded: Embedded,
    /// Ends the postmaster.
    _home: Home,
}

impl External {
    pub async fn start(name: &str) -> Result<Self> {
        let home = Home::new(name)?;
        Ok(Self { embedded: Embedded::start(home.settings()).await?, _home: home })
    }

    /// Where its files are.
    pub fn data(&self) -> &Path {
        self.embedded.directory()
    }

    /// Where it is reached.
    pub fn socket(&self) -> Result<PathBuf> {
        let options = self.embedded.connect_options();
        Ok(options.get_socket().context("a socket")?.clone())
    }

    /// The URL of a new, empty database.
    pub async fn database(&self, name: &str) -> Result<String> {
        let mut connection = PgConnection::connect_with(&self.embedded.options_for("postgres")).await?;
        sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await?;
        connection.close().await?;
        let options = self.embedded.options_for(name);
        let socket = options.get_socket().context("a socket")?;
        Ok(format!("postgres:///{name}?host={}&user=chancery", socket.display()))
    }

    pub async fn connect(&self, name: &str) -> Result<PgConnection> {
        Ok(PgConnection::connect_with(&self.embedded.options_for(name)).await?)
    }
}

/// What a production server is told, beside its database.
pub fn production<'a>(url: &'a str, master_key: &'a Path) -> Vec<(&'a str, &'a str)> {
    vec![
        ("DATABASE_URL", url),
        ("CHANCERY_KEYS_MASTER_KEY_FILE", master_key.to_str().unwrap()),
        ("CHANCERY_ISSUER", "https://id.example.com"),
    ]
}

/// A command that serves with these settings and nothing else.
pub fn serve(home: &Home, settings: &[(&str, &str)]) -> Command {
    let mut command = chancery();
    command.arg("serve").envs(settings.iter().copied()).env("CHANCERY_DATA_DIR", home.data());
    command
}

/// Whether this test may go on; says aloud when it may not.
pub fn is_root(test: &str) -> bool {
    let root = geteuid().is_root();
    if !root {
        say_skipped(&format!("{test} needs root to become another user"));
    }
    root
}

/// Past the capture of the test harness, which would keep it silent.
pub fn say_skipped(why: &str) {
    std::io::Write::write_all(&mut std::io::stderr(), format!("SKIPPED: {why}\n").as_bytes()).unwrap();
}
