//! What a server needs is not there: a free connection, the one that wakes it, room for its log.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chancery::kit::config::Database;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};

use crate::http::Client;
use crate::load::Load;
use crate::process::{Home, Server, free_address};
use crate::site::Site;
use crate::support::serve;

/// Within what a signal comes without being woken for: the time between two looks, and a machine that is busy.
const WITHIN: Duration = Duration::from_secs(5);

/// All ordinary connections of both servers wait for a lock. Tokens are issued, looked at and revoked, and everybody else is
/// soon told that there is no room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_every_connection_taken_tokens_are_issued_looked_at_and_revoked() -> Result<()> {
    let site = Site::open("taken", 2).await?;
    let load = Load::start(&site, 0).await?;
    load.reaches(100).await?;
    let mut db = site.db().await?;
    let mut tx = db.begin().await?;
    sqlx::query("lock table identities in share row exclusive mode").execute(&mut *tx).await?;
    let bounds = Database::default();
    let ordinary = bounds.max_connections - bounds.reserved_connections;
    let mut waiting = Vec::new();
    for (number, server) in site.servers.iter().enumerate() {
        for turn in 0..ordinary + 2 {
            let url = server.url();
            waiting.push(tokio::spawn(async move {
                Client::connect(&url).await?.register(&format!("waits-{number}-{turn}")).await
            }));
        }
    }
    while waiting_for_a_lock(&mut tx).await? == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    let [one, other] = [site.servers[0].url(), site.servers[1].url()];
    // Together, while the statements that wait are not yet given up.
    let (one, other, reached) = tokio::join!(is_told_soon(&one), is_told_soon(&other), load.reaches(100));
    one.and(other).and(reached)?;
    tx.rollback().await?;
    for request in waiting {
        let answer = request.await??;
        ensure!([201, 503].contains(&answer.status), "{answer:?}");
    }
    load.reaches(50).await?;
    let told = load.end().await?;
    ensure!(told.unavailable == 0, "{} of the token path's requests were refused", told.unavailable);
    site.check(told).await
}

/// A request that needs an ordinary connection is refused once it has waited for one as long as it may. Some may still
/// be free when the first asks.
async fn is_told_soon(url: &str) -> Result<()> {
    let mut client = Client::connect(url).await?;
    let most = 2 * Duration::from_secs(Database::default().acquire_timeout_seconds);
    let first = Instant::now();
    loop {
        let began = Instant::now();
        let answer = client.get("/agents/registry").await?;
        if answer.status == 503 {
            ensure!(answer.header("retry-after") == "1", "{answer:?}");
            ensure!(began.elapsed() < most, "told after {:?}", began.elapsed());
            return Ok(());
        }
        ensure!(answer.status == 200 && first.elapsed() < 2 * WITHIN, "{answer:?}");
    }
}

async fn waiting_for_a_lock(db: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")
        .fetch_one(db)
        .await
}

/// The connection on which the database wakes the streams is ended, again and again, just before a signal is sent. The signal
/// comes by the next look, and what it ends has ended at once, on both servers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_what_wakes_it_a_stream_looks_by_itself() -> Result<()> {
    let site = Site::open("unwoken", 2).await?;
    let [one, other] = [site.servers[0].url(), site.servers[1].url()];
    let mut db = site.db().await?;
    let mut client = Client::connect(&one).await?;
    let mut stream = Stream::open(&other).await?;
    for round in 0..3 * crate::rounds() {
        let agent = client.register(&format!("noticed-{round}")).await?;
        let token = client.exchange(&agent.text("/api_key")?).await?.text("/access_token")?;
        ensure!(Client::connect(&other).await?.is_active(&token).await?);
        let mut ended = 0;
        while ended < 2 {
            ended += sqlx::query(
                "select pg_terminate_backend(pid) from pg_stat_activity where query ilike 'listen %'",
            )
            .execute(&mut db)
            .await?
            .rows_affected();
        }
        let began = Instant::now();
        let signal = json!({
            "signal_type": "anomalous_behavior", "severity": "high", "source": "test",
            "identity_id": agent.text("/identity/id")?,
        });
        let sent = client.post("/signals/ingest", &signal).await?;
        ensure!(sent.status == 201, "{sent:?}");
        for url in [&one, &other] {
            ensure!(!Client::connect(url).await?.is_active(&token).await?, "a token outlived its signal");
        }
        stream.shows(&sent.text("/id")?).await?;
        ensure!(began.elapsed() < WITHIN, "the signal took {:?}", began.elapsed());
    }
    site.is_whole().await
}

/// What `GET /signals/stream` sends.
struct Stream {
    lines: tokio::io::Lines<BufReader<OwnedReadHalf>>,
    _open: tokio::net::tcp::OwnedWriteHalf,
}

impl Stream {
    async fn open(url: &str) -> Result<Self> {
        let address = url.strip_prefix("http://").context("no http")?;
        let (read, mut write) = TcpStream::connect(address).await?.into_split();
        let request = "GET /signals/stream HTTP/1.1\r\nHost: localhost\r\nX-Account-ID: acme\r\nX-Project-ID: demo\r\n\r\n";
        write.write_all(request.as_bytes()).await?;
        let mut stream = Self { lines: BufReader::new(read).lines(), _open: write };
        stream.shows("event: connected").await?;
        Ok(stream)
    }

    /// Waits for a line that holds this text.
    async fn shows(&mut self, text: &str) -> Result<()> {
        let shown = async {
            while let Some(line) = self.lines.next_line().await? {
                if line.contains(text) {
                    return anyhow::Ok(());
                }
            }
            anyhow::bail!("the stream ended before {text:?}")
        };
        timeout(2 * WITHIN, shown).await.with_context(|| format!("nothing shows {text:?}"))?
    }
}

/// The log can't be written, as on a full disk. The server starts, serves and refuses as ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_for_its_log_a_server_serves() -> Result<()> {
    let home = Home::new("full-log")?;
    let address = free_address()?;
    let listen = address.to_string();
    let server = serve(
        &home,
        &[("CHANCERY_DEV", "true"), ("CHANCERY_LISTEN", &listen), ("CHANCERY_LOG_LEVEL", "debug")],
    );
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "exec \"$0\" \"$@\" >/dev/null 2>/dev/full"])
        .arg(server.get_program())
        .args(server.get_args());
    for (name, value) in server.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(home.path());
    let server = block_in_place(|| Server::at(&home, command, address, "/ready"))?;
    let mut client = Client::connect(&server.url()).await?;
    let agent = client.register("unlogged").await?;
    let token = client.exchange(&agent.text("/api_key")?).await?.text("/access_token")?;
    ensure!(client.is_active(&token).await?);
    ensure!(client.exchange("zid_sk_none").await?.status == 400);
    ensure!(client.get("/ready").await?.status == 200);
    Ok(())
}
