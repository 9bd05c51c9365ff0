//! A production deployment on this machine, as docker-compose.yml describes one: `init` as the schema's owner, two
//! servers as the application's role, HAProxy before them.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use sqlx::{Connection as _, PgConnection};
use tokio::task::block_in_place;

use crate::cluster;
use crate::process::{Home, Server, chancery, free_address};
use crate::traffic::{Connection, Request};

/// Shorter than in production, and longer than HAProxy takes to see it: a second and a quarter.
const DRAIN: &str = "3";

pub struct Site {
    /// Where clients come in.
    pub clients: SocketAddr,
    pub admin_key: String,
    state: SocketAddr,
    haproxy: Server,
    servers: Vec<Server>,
    settings: Vec<(&'static str, String)>,
    // Last, so that it goes when nothing runs in it any more.
    home: Home,
}

impl Site {
    pub async fn open() -> Result<Self> {
        let home = Home::new("rolling")?;
        let (owner, application) = databases().await?;
        let settings = vec![
            ("DATABASE_URL", application),
            ("CHANCERY_ISSUER", "http://id.example.test".to_owned()),
            ("CHANCERY_ALLOW_HTTP_ISSUER", "true".to_owned()),
            ("CHANCERY_TRUSTED_PROXIES", "127.0.0.1".to_owned()),
            ("CHANCERY_DATA_DIR", home.data().display().to_string()),
            ("CHANCERY_KEYS_MASTER_KEY_FILE", home.path().join("master.key").display().to_string()),
            ("CHANCERY_SHUTDOWN_DRAIN_SECONDS", DRAIN.to_owned()),
            ("CHANCERY_DATABASE_MAX_CONNECTIONS", "12".to_owned()),
        ];
        output(chancery().arg("init").envs(settings.clone()).env("CHANCERY_DATABASE_OWNER_URL", owner))?;
        let admin_key =
            output(chancery().args(["admin", "create-key", "--name", "rolling"]).envs(settings.clone()))?;
        let addresses = [free_address()?, free_address()?];
        let servers =
            addresses.iter().map(|address| serve(&home, &settings, *address)).collect::<Result<_>>()?;
        let (clients, state) = (free_address()?, free_address()?);
        let mut command = Command::new("/usr/sbin/haproxy");
        command
            .args(["-f", concat!(env!("CARGO_MANIFEST_DIR"), "/config/haproxy.cfg")])
            .env("BIND", clients.to_string())
            .env("STATS", state.to_string())
            .env("SERVER_1", addresses[0].to_string())
            .env("SERVER_2", addresses[1].to_string());
        let haproxy = block_in_place(|| Server::at(&home, command, clients, "/ready"))?;
        let site = Self { clients, admin_key, state, haproxy, servers, settings, home };
        site.wait_until_up().await?;
        Ok(site)
    }

    /// Stops each server and starts it again; the next one only when HAProxy uses this one again.
    pub async fn restart_in_turn(&mut self) -> Result<()> {
        for number in 0..self.servers.len() {
            let server = &mut self.servers[number];
            let status =
                block_in_place(|| server.end(Signal::SIGTERM))?.context("the server does not stop")?;
            ensure!(status.success(), "the server ended badly: {status}\n{}", server.last_lines());
            *server = serve(&self.home, &self.settings, server.address())?;
            self.wait_until_up().await?;
        }
        Ok(())
    }

    /// Waits until HAProxy sends requests to both servers.
    async fn wait_until_up(&self) -> Result<()> {
        let ask = Request::new("GET", "/;csv", &["Connection: close"], "");
        for _ in 0..600 {
            let table = Connection::new(self.state).send_until_close(&ask).await?;
            if all_up(&table).context("HAProxy's table")? {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("HAProxy does not see both servers\n{}", self.haproxy.last_lines())
    }
}

/// Whether every server in HAProxy's table is up and checked.
fn all_up(table: &str) -> Option<bool> {
    let (_, table) = table.split_once("# ")?;
    let mut lines = table.lines();
    let columns: Vec<&str> = lines.next()?.split(',').collect();
    let column = |name: &str| columns.iter().position(|column| *column == name);
    let (proxy, server, status) = (column("pxname")?, column("svname")?, column("status")?);
    let mut servers = lines.map(|line| line.split(',').collect::<Vec<_>>()).filter(|cells| {
        matches!(cells.get(proxy), Some(&("servers" | "published")))
            && !matches!(cells.get(server), Some(&"BACKEND"))
    });
    Some(servers.all(|cells| cells.get(status) == Some(&"UP")))
}

fn serve(home: &Home, settings: &[(&'static str, String)], address: SocketAddr) -> Result<Server> {
    let mut command = chancery();
    command.args(["serve", "--listen", &address.to_string()]).envs(settings.iter().cloned());
    block_in_place(|| Server::launch(home, command))
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// A new database, as URLs of the schema's owner and of the application, whom the cluster's map must let in.
async fn databases() -> Result<(String, String)> {
    let options = cluster::database().await;
    let socket = options.get_socket().context("a socket")?.display().to_string();
    let database = options.get_database().context("a database")?;
    let map = format!("/tmp/chancery-test-{}/pg_ident.conf", std::process::id());
    let owner = options.get_username();
    let text = fs::read_to_string(&map)?;
    let line = text.trim_end().strip_suffix(owner).context("the owner's line")?;
    fs::write(&map, format!("{text}{line}application\n"))?;
    let mut db = PgConnection::connect_with(&options).await?;
    sqlx::query("select pg_reload_conf()").execute(&mut db).await?;
    db.close().await?;
    let url = |role: &str| format!("postgres:///{database}?host={socket}&port=5432&user={role}");
    Ok((url(owner), url("application")))
}
