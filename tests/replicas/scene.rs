//! What these tests share: a database that can be stopped, production servers on it, and the state of tokens.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery::kit::db::embedded::{Embedded, Settings};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::task::block_in_place;

use crate::http::Client;
use crate::process::{Finished, Home, Server};
use crate::support::{production, serve};

/// A Postgres that belongs to no server; its home ends it.
pub struct Database {
    pub postgres: Embedded,
    pub home: Home,
}

impl Database {
    pub async fn start(name: &str) -> Result<Self> {
        let home = Home::new(name)?;
        let postgres = Embedded::start(settings(&home)).await?;
        Ok(Self { postgres, home })
    }

    /// The same cluster once more, after it was stopped.
    pub async fn again(self) -> Result<Self> {
        let Self { postgres, home } = self;
        // It holds the lock of the directory.
        drop(postgres);
        let postgres = Embedded::start(settings(&home)).await?;
        Ok(Self { postgres, home })
    }

    /// The URL of a new, empty database.
    pub async fn create(&self, name: &str) -> Result<String> {
        let mut connection = self.connect("postgres").await?;
        sqlx::query(AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await?;
        connection.close().await?;
        let options = self.postgres.options_for(name);
        let socket = options.get_socket().context("a socket")?;
        Ok(format!("postgres:///{name}?host={}&user=chancery", socket.display()))
    }

    pub async fn connect(&self, name: &str) -> Result<PgConnection> {
        Ok(PgConnection::connect_with(&self.postgres.options_for(name)).await?)
    }
}

fn settings(home: &Home) -> Settings {
    Settings { data_dir: home.data(), bin_dir: None }
}

/// What production servers on one database have in common.
pub struct Site {
    pub home: Home,
    pub url: String,
    pub master_key: PathBuf,
    pub more: Vec<(&'static str, &'static str)>,
}

impl Site {
    pub fn new(name: &str, url: String, more: &[(&'static str, &'static str)]) -> Result<Self> {
        let home = Home::new(name)?;
        let master_key = home.master_key("master.key");
        Ok(Self { home, url, master_key, more: more.to_vec() })
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        let mut settings = production(&self.url, &self.master_key);
        settings.push(("CHANCERY_SHUTDOWN_DRAIN_SECONDS", "0"));
        settings.extend(self.more.iter().copied());
        settings
    }

    pub fn server(&self) -> Result<Server> {
        block_in_place(|| Server::launch(&self.home, serve(&self.home, &self.settings())))
    }

    /// Runs a command of the program to its good end.
    pub fn command(&self, line: &str) -> Result<Finished> {
        let finished = block_in_place(|| self.home.chancery(line, &self.settings()));
        ensure!(finished.status.success(), "{line}: {}", finished.text());
        Ok(finished)
    }

    /// A new operator's key.
    pub fn admin_key(&self) -> Result<String> {
        Ok(self.command("admin create-key --name test")?.out.trim_end().to_owned())
    }
}

/// Whether forward authentication lets the token pass, which looks at all that introspection looks at.
pub async fn passes(url: &str, token: &str) -> Result<bool> {
    let answer = Client::connect(url).await?.bearer(token).get("/oauth2/token/verify").await?;
    ensure!(matches!(answer.status, 200 | 401), "{answer:?}");
    Ok(answer.status == 200)
}

/// The id of the key in a token's header.
pub fn kid(token: &str) -> Result<String> {
    let header = token.split('.').next().context("no header")?;
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header)?)?;
    Ok(header["kid"].as_str().context("no kid")?.to_owned())
}
