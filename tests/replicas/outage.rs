//! The database stops, hangs, comes back, or kills connections: whoever needs it is told so at once, the rest goes on, and
//! nothing that was answered is lost.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::Connection;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::http::{Answer, Client};
use crate::process::Server;
use crate::scene::{Database, Site, passes};

const PATIENCE: Duration = Duration::from_secs(30);
const PARALLEL: usize = 200;

/// By how much the server may grow through an outage, in KiB.
const GROWTH: u64 = 48 * 1024;

/// What works without the database.
const UNHARMED: [&str; 4] = [
    "/.well-known/jwks.json",
    "/health",
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-protected-resource",
];

/// One server with an agent, and a load that goes on whatever comes.
struct Scene {
    server: Server,
    admin_key: String,
    api_key: String,
    token: String,
    asked: AtomicUsize,
    /// Dropped last: it ends the server's processes.
    _site: Site,
}

impl Scene {
    async fn new(site: Site) -> Result<Self> {
        let server = site.server()?;
        let admin_key = site.admin_key()?;
        let mut admin = Client::connect(&server.url()).await?.bearer(&admin_key);
        let api_key = admin.register("first").await?.text("/api_key")?;
        let token = admin.exchange(&api_key).await?.text("/access_token")?;
        Ok(Self { server, admin_key, api_key, token, asked: AtomicUsize::new(0), _site: site })
    }

    /// A request of each kind that needs the database.
    async fn ask(&self, number: usize) -> Result<Answer> {
        let client = Client::connect(&self.server.url()).await?;
        match number % 4 {
            0 => client.bearer(&self.admin_key).register(&format!("in-the-dark-{number}")).await,
            1 => client.bearer(&self.admin_key).get("/agents/registry").await,
            2 => client.bearer(&self.token).get("/oauth2/token/verify").await,
            _ => {
                let mut client = client;
                client.exchange(&self.api_key).await
            }
        }
    }

    /// Polls until the server says so of itself.
    async fn wait_ready(&self, status: u16) -> Result<Duration> {
        let began = Instant::now();
        loop {
            let answer = Client::connect(&self.server.url()).await?.get("/ready").await?;
            if answer.status == status {
                return Ok(began.elapsed());
            }
            if began.elapsed() > PATIENCE {
                bail!("/ready never became {status}: {answer:?}");
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// While the database is away: many at once are all told so, and what needs no database goes on.
    async fn is_dark(&self) -> Result<()> {
        let asked = (0..PARALLEL).map(|number| async move {
            let answer = timeout(PATIENCE, self.ask(number)).await.context("no answer")??;
            ensure!(answer.status == 503, "{answer:?}");
            ensure!(answer.header("retry-after") == "1", "{answer:?}");
            anyhow::Ok(())
        });
        let began = Instant::now();
        for outcome in join(asked).await {
            outcome?;
        }
        println!("{PARALLEL} answers 503 within {:?}", began.elapsed());
        for path in UNHARMED {
            let answer = Client::connect(&self.server.url()).await?.get(path).await?;
            ensure!(answer.status == 200, "{path}: {answer:?}");
        }
        Ok(())
    }

    /// Everything succeeds again, in the same process.
    async fn is_light(&self) -> Result<()> {
        for _ in 0..8 {
            let answer = self.ask(1000 + self.asked.fetch_add(1, Ordering::SeqCst)).await?;
            ensure!((200..300).contains(&answer.status), "{answer:?}");
        }
        Ok(())
    }

    fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server.pid()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("no figure")?.parse()?)
    }
}

/// Runs them all at once, on this task.
async fn join<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut waits = false;
        for (one, outcome) in &mut all {
            if outcome.is_none() {
                match one.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *outcome = Some(value),
                    std::task::Poll::Pending => waits = true,
                }
            }
        }
        if waits { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    all.into_iter().filter_map(|(_, outcome)| outcome).collect()
}

/// Clients that register agents and obtain tokens; a 503 is fine, anything else than that and success is not.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    answers: AtomicUsize,
    unavailable: AtomicUsize,
    /// The longest that anybody waited, in milliseconds.
    longest: AtomicUsize,
}

type Worker = JoinHandle<Result<(Vec<String>, Vec<String>)>>;

impl Load {
    fn start(scene: &Scene, clients: usize, name: &'static str) -> (Arc<Self>, Vec<Worker>) {
        let load = Arc::new(Self::default());
        let workers = (0..clients).map(|number| {
            let (load, url, key) = (Arc::clone(&load), scene.server.url(), scene.admin_key.clone());
            tokio::spawn(async move { load.work(&url, &key, &format!("{name}-{number}")).await })
        });
        let workers = workers.collect();
        (load, workers)
    }

    async fn work(&self, url: &str, key: &str, name: &str) -> Result<(Vec<String>, Vec<String>)> {
        let mut client = Client::connect(url).await?.bearer(key);
        let (mut agents, mut tokens) = (Vec::new(), Vec::new());
        for turn in 0.. {
            if self.over.load(Ordering::SeqCst) {
                break;
            }
            let external_id = format!("{name}-{turn}");
            let Some(agent) = self.noted(client.register(&external_id)).await? else { continue };
            agents.push(agent.text("/identity/id")?);
            let api_key = agent.text("/api_key")?;
            if let Some(token) = self.noted(client.exchange(&api_key)).await? {
                tokens.push(token.text("/access_token")?);
            }
        }
        Ok((agents, tokens))
    }

    async fn noted(&self, request: impl Future<Output = Result<Answer>>) -> Result<Option<Answer>> {
        let began = Instant::now();
        let answer = timeout(PATIENCE, request).await.context("no answer")??;
        self.longest.fetch_max(usize::try_from(began.elapsed().as_millis())?, Ordering::SeqCst);
        self.answers.fetch_add(1, Ordering::SeqCst);
        if answer.status == 503 {
            ensure!(answer.header("retry-after") == "1", "{answer:?}");
            self.unavailable.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(5)).await;
            return Ok(None);
        }
        ensure!((200..300).contains(&answer.status), "{answer:?}");
        Ok(Some(answer))
    }

    async fn reaches(&self, counter: &AtomicUsize, more: usize) -> Result<()> {
        let (began, goal) = (Instant::now(), counter.load(Ordering::SeqCst) + more);
        while counter.load(Ordering::SeqCst) < goal {
            ensure!(began.elapsed() < PATIENCE, "the load stands still");
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Ends it, and answers which agents and tokens must be there.
    async fn end(&self, workers: Vec<Worker>, what: &str) -> Result<(Vec<String>, Vec<String>)> {
        self.over.store(true, Ordering::SeqCst);
        let (mut agents, mut tokens) = (Vec::new(), Vec::new());
        for worker in workers {
            let (some, others) = worker.await??;
            agents.extend(some);
            tokens.extend(others);
        }
        println!(
            "{what}: {} requests, {} answers 503, {} agents and {} tokens kept, longest wait {} ms",
            self.answers.load(Ordering::SeqCst),
            self.unavailable.load(Ordering::SeqCst),
            agents.len(),
            tokens.len(),
            self.longest.load(Ordering::SeqCst),
        );
        Ok((agents, tokens))
    }
}

/// Every change that was answered is there.
async fn is_kept(
    database: &Database,
    scene: &Scene,
    (agents, tokens): (Vec<String>, Vec<String>),
) -> Result<()> {
    let mut db = database.connect("dark").await?;
    let rows: Vec<String> =
        sqlx::query_scalar("select target_id from audit_events where action = 'agent.registered'")
            .fetch_all(&mut db)
            .await?;
    let ids: Vec<String> = sqlx::query_scalar("select id::text from identities").fetch_all(&mut db).await?;
    db.close().await?;
    let (rows, ids): (HashSet<_>, HashSet<_>) = (rows.into_iter().collect(), ids.into_iter().collect());
    for agent in &agents {
        ensure!(rows.contains(agent) && ids.contains(agent), "agent {agent} was answered and is gone");
    }
    for token in &tokens {
        ensure!(passes(&scene.server.url(), token).await?, "a token that was answered is gone");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stops_is_told_at_once_and_comes_back() -> Result<()> {
    let mut database = Database::start("dark-db").await?;
    let scene = Scene::new(Site::new("dark", database.create("dark").await?, &[])?).await?;
    let (load, workers) = Load::start(&scene, 4, "load");
    load.reaches(&load.answers, 100).await?;
    let before = scene.memory()?;
    for _ in 0..2 {
        database.postgres.stop().await;
        let noticed = scene.wait_ready(503).await?;
        scene.is_dark().await?;
        load.reaches(&load.unavailable, 2000).await?;
        database = database.again().await?;
        println!("noticed after {noticed:?}, ready again after {:?}", scene.wait_ready(200).await?);
        scene.is_light().await?;
        load.reaches(&load.answers, 100).await?;
    }
    let kept = load.end(workers, "stopped").await?;
    is_kept(&database, &scene, kept).await?;
    let after = scene.memory()?;
    println!("memory before {before} KiB, after {after} KiB");
    ensure!(after < before + GROWTH, "it grew from {before} to {after} KiB");
    Ok(())
}

/// Stops a process and its children, as a disk that hangs does; they go on when it is dropped.
struct Frozen(Vec<i32>);

impl Frozen {
    fn freeze(postmaster: i32) -> Result<Self> {
        kill(Pid::from_raw(postmaster), Signal::SIGSTOP)?;
        let mut frozen = Self(vec![postmaster]);
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            // After the name in parentheses: the state, then the parent.
            let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
            if parent == Some(postmaster) && kill(Pid::from_raw(pid), Signal::SIGSTOP).is_ok() {
                frozen.0.push(pid);
            }
        }
        Ok(frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGCONT);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_is_told_as_soon() -> Result<()> {
    let database = Database::start("hung-db").await?;
    let scene = Scene::new(Site::new("hung", database.create("dark").await?, &[])?).await?;
    let (load, workers) = Load::start(&scene, 16, "load");
    load.reaches(&load.answers, 100).await?;
    let before = scene.memory()?;
    let frozen = Frozen::freeze(database.postgres.pid())?;
    let noticed = scene.wait_ready(503).await?;
    scene.is_dark().await?;
    load.reaches(&load.unavailable, 2000).await?;
    // Whoever waited for a statement when it froze has his answer too.
    let kept = load.end(workers, "hung").await?;
    drop(frozen);
    println!("noticed after {noticed:?}, ready again after {:?}", scene.wait_ready(200).await?);
    scene.is_light().await?;
    let (again, workers) = Load::start(&scene, 4, "again");
    again.reaches(&again.answers, 200).await?;
    let more = again.end(workers, "after it hung").await?;
    is_kept(&database, &scene, kept).await?;
    is_kept(&database, &scene, more).await?;
    let after = scene.memory()?;
    println!("memory before {before} KiB, after {after} KiB");
    ensure!(after < before + GROWTH, "it grew from {before} to {after} KiB");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_killed_at_random_cost_nothing_that_was_answered() -> Result<()> {
    let database = Database::start("kill-db").await?;
    let scene = Scene::new(Site::new("kill", database.create("dark").await?, &[])?).await?;
    let (load, workers) = Load::start(&scene, 8, "load");
    load.reaches(&load.answers, 200).await?;
    let before = scene.memory()?;
    let mut db = database.connect("postgres").await?;
    let mut killed = 0_i64;
    for _ in 0..60 {
        let some: i64 = sqlx::query_scalar(
            "select count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity
             where datname = 'dark' and random() < 0.5",
        )
        .fetch_one(&mut db)
        .await?;
        killed += some;
        load.reaches(&load.answers, 15).await?;
    }
    db.close().await?;
    println!("{killed} connections killed");
    let kept = load.end(workers, "killed").await?;
    ensure!(killed > 100, "only {killed} connections were killed");
    scene.wait_ready(200).await?;
    scene.is_light().await?;
    is_kept(&database, &scene, kept).await?;
    let after = scene.memory()?;
    println!("memory before {before} KiB, after {after} KiB");
    ensure!(after < before + GROWTH, "it grew from {before} to {after} KiB");
    Ok(())
}
