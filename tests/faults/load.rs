//! Clients at all servers: they issue, present assertions, look at tokens and revoke them, and note what they were told.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use chancery::kit::clock::local;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::http::{Answer, Client};
use crate::signer::Signer;
use crate::site::Site;

const CLIENTS: usize = 6;
const PATIENCE: Duration = Duration::from_secs(30);
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// What clients were told, and what they were not told.
#[derive(Default)]
pub struct Told {
    pub issued: Vec<String>,
    /// The answer was that it is revoked.
    pub revoked: Vec<String>,
    pub longest: Duration,
    pub answers: usize,
    pub unavailable: usize,
    pub unanswered: usize,
}

/// A load that goes on until it is ended.
pub struct Load {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<Result<Told>>>,
}

struct Shared {
    urls: Mutex<Vec<String>>,
    over: AtomicBool,
    good: AtomicUsize,
    answers: AtomicUsize,
    /// A token that is left alone.
    token: String,
    /// What a client was told and should not have been.
    broken: Mutex<Option<String>>,
}

/// An agent, and the one who works for it.
struct Worker {
    shared: Arc<Shared>,
    uri: String,
    api_key: String,
    issuer: String,
    signer: Signer,
    told: Told,
}

impl Load {
    /// `number` tells it from the others of the site.
    pub async fn start(site: &Site, number: usize) -> Result<Self> {
        let urls = urls(site);
        let mut client = Client::connect(&urls[0]).await?;
        let metadata = client.get("/.well-known/oauth-authorization-server").await?;
        let issuer = metadata.text("/issuer")?;
        let mut made = Vec::new();
        for worker in 0..CLIENTS {
            let signer = Signer::new();
            let name = format!("worker-{number}-{worker}");
            let body = json!({
                "name": name, "external_id": name, "created_by": "dev@example.com", "public_key_pem": signer.pem(),
            });
            let agent = client.post("/agents/register", &body).await?;
            made.push((agent.text("/identity/wimse_uri")?, agent.text("/api_key")?, signer));
        }
        let token = client.exchange(&made[0].1).await?.text("/access_token")?;
        let shared = Arc::new(Shared {
            urls: Mutex::new(urls),
            over: AtomicBool::new(false),
            good: AtomicUsize::new(0),
            answers: AtomicUsize::new(0),
            token,
            broken: Mutex::default(),
        });
        let start = |(uri, api_key, signer)| {
            let (shared, issuer) = (shared.clone(), issuer.clone());
            let worker = Worker { shared, uri, api_key, issuer, signer, told: Told::default() };
            tokio::spawn(worker.work())
        };
        Ok(Self { workers: made.into_iter().map(start).collect(), shared })
    }

    /// Tells the clients where the servers are, once one of them was started anew.
    pub fn moves_to(&self, site: &Site) {
        *self.shared.urls.lock().unwrap() = urls(site);
    }

    /// A token that nobody revokes.
    pub fn token(&self) -> String {
        self.shared.token.clone()
    }

    /// Waits for so many more good answers.
    pub async fn reaches(&self, more: usize) -> Result<()> {
        self.counts(&self.shared.good, more).await
    }

    /// Waits for so many more answers or failures of whatever kind.
    pub async fn answers(&self, more: usize) -> Result<()> {
        self.counts(&self.shared.answers, more).await
    }

    async fn counts(&self, counter: &AtomicUsize, more: usize) -> Result<()> {
        let (began, goal) = (Instant::now(), counter.load(Ordering::SeqCst) + more);
        while counter.load(Ordering::SeqCst) < goal {
            ensure!(began.elapsed() < 2 * PATIENCE, "the load stands still");
            if let Some(why) = self.shared.broken.lock().unwrap().clone() {
                anyhow::bail!(why);
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Waits until a change is answered with 503 at each server.
    pub async fn is_refused(&self, site: &Site) -> Result<()> {
        for server in &site.servers {
            let began = Instant::now();
            let mut client = Client::connect(&server.url()).await?;
            loop {
                let answer = client.register(&format!("one-more-{}", began.elapsed().as_nanos())).await?;
                if answer.status == 503 {
                    break;
                }
                ensure!(answer.status == 201, "{answer:?}");
                ensure!(began.elapsed() < PATIENCE, "the disk does not fill");
            }
        }
        Ok(())
    }

    /// Ends it, and answers what all clients were told.
    pub async fn end(self) -> Result<Told> {
        self.shared.over.store(true, Ordering::SeqCst);
        let mut all = Told::default();
        for worker in self.workers {
            let told = worker.await??;
            all.issued.extend(told.issued);
            all.revoked.extend(told.revoked);
            all.longest = all.longest.max(told.longest);
            all.answers += told.answers;
            all.unavailable += told.unavailable;
            all.unanswered += told.unanswered;
        }
        println!(
            "{} answers, {} of them 503, {} lost; {} tokens, {} revoked; longest wait {:?}",
            all.answers,
            all.unavailable,
            all.unanswered,
            all.issued.len(),
            all.revoked.len(),
            all.longest
        );
        Ok(all)
    }
}

impl Worker {
    async fn work(mut self) -> Result<Told> {
        for turn in 0.. {
            if self.shared.over.load(Ordering::SeqCst) {
                break;
            }
            if let Err(error) = self.turn(turn).await {
                let why = format!("turn {turn} of {}: {error:#}", self.uri);
                *self.shared.broken.lock().unwrap() = Some(why.clone());
                anyhow::bail!(why);
            }
        }
        Ok(self.told)
    }

    async fn turn(&mut self, turn: usize) -> Result<()> {
        let (one, other) = (self.url(turn), self.url(turn + 1));
        let key = json!({ "grant_type": "api_key", "api_key": self.api_key });
        if let Some(token) = self.issue(&one, &key).await? {
            let active = self.send(&other, "/oauth2/token/introspect", &json!({ "token": token })).await?;
            ensure!(
                active.is_none_or(|it| it.body["active"] == true),
                "a token that was just issued is no good"
            );
            self.revoke(turn, &token).await?;
        }
        self.issue(&other, &key).await?;
        self.present_twice(&one, &other).await
    }

    fn url(&self, turn: usize) -> String {
        let urls = self.shared.urls.lock().unwrap();
        urls[turn % urls.len()].clone()
    }

    async fn issue(&mut self, url: &str, body: &Value) -> Result<Option<String>> {
        let Some(answer) = self.send(url, "/oauth2/token", body).await? else { return Ok(None) };
        ensure!(answer.status == 200, "{answer:?}");
        let token = answer.text("/access_token")?;
        self.told.issued.push(token.clone());
        Ok(Some(token))
    }

    /// Until it is told that it is done (I5); from then on no server lets the token pass (I2).
    async fn revoke(&mut self, turn: usize, token: &str) -> Result<()> {
        let body = json!({ "token": token });
        let began = Instant::now();
        while began.elapsed() < 2 * PATIENCE {
            let (one, other) = (self.url(turn), self.url(turn + 1));
            if let Some(answer) = self.send(&one, "/oauth2/token/revoke", &body).await? {
                ensure!(answer.status == 200, "{answer:?}");
                self.told.revoked.push(token.to_owned());
                let active = self.send(&other, "/oauth2/token/introspect", &body).await?;
                ensure!(active.is_none_or(|it| it.body["active"] == false), "a revoked token passes");
                return Ok(());
            }
            if self.shared.over.load(Ordering::SeqCst) {
                return Ok(());
            }
        }
        anyhow::bail!("a revocation never succeeds")
    }

    /// One assertion at two servers at the same time: it is good for one token at the most (I3).
    async fn present_twice(&mut self, one: &str, other: &str) -> Result<()> {
        let changes = json!({ "aud": self.issuer });
        let assertion = self.signer.assertion_with(&self.uri, local(), &changes);
        let body = json!({ "grant_type": JWT_BEARER, "assertion": assertion });
        let (one, other) = tokio::join!(ask(one, "/oauth2/token", &body), ask(other, "/oauth2/token", &body));
        let mut won = 0;
        for outcome in [one, other] {
            let Some(answer) = self.noted(outcome)? else { continue };
            match answer.status {
                200 => {
                    won += 1;
                    self.told.issued.push(answer.text("/access_token")?);
                }
                _ => ensure!(answer.body["error"] == "invalid_grant", "{answer:?}"),
            }
        }
        ensure!(won <= 1, "an assertion was used twice");
        Ok(())
    }

    async fn send(&mut self, url: &str, path: &str, body: &Value) -> Result<Option<Answer>> {
        let outcome = ask(url, path, body).await;
        self.noted(outcome)
    }

    /// `None` where there was no answer, or one of 503; any other 5xx is a break.
    fn noted(&mut self, (outcome, time): (Option<Answer>, Duration)) -> Result<Option<Answer>> {
        self.told.longest = self.told.longest.max(time);
        self.shared.answers.fetch_add(1, Ordering::SeqCst);
        let Some(answer) = outcome else {
            self.told.unanswered += 1;
            return Ok(None);
        };
        self.told.answers += 1;
        if answer.status == 503 {
            ensure!(answer.header("retry-after") == "1", "{answer:?}");
            self.told.unavailable += 1;
            return Ok(None);
        }
        ensure!(answer.status < 500, "{answer:?}");
        self.shared.good.fetch_add(1, Ordering::SeqCst);
        Ok(Some(answer))
    }
}

fn urls(site: &Site) -> Vec<String> {
    site.servers.iter().map(crate::process::Server::url).collect()
}

/// One request on a connection of its own. A server that is being killed gives no answer; one that lives must.
async fn ask(url: &str, path: &str, body: &Value) -> (Option<Answer>, Duration) {
    let began = Instant::now();
    let request = async { Client::connect(url).await?.post(path, body).await };
    let outcome = timeout(PATIENCE, request).await.ok().and_then(Result::ok);
    if outcome.as_ref().is_none_or(|answer| answer.status == 503) {
        sleep(Duration::from_millis(10)).await;
    }
    (outcome, began.elapsed())
}
