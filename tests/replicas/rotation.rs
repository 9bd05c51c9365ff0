//! Keys rotate and one is revoked while two servers issue tokens and are restarted: a verifier that keeps the JWKS for
//! as long as it may verifies every good token.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::http::Client;
use crate::process::{Home, Server};
use crate::scene::{Database, Site, kid, passes};
use crate::support::serve;
use crate::verifier::Verifier;

const ISSUER: &str = "https://id.example.com";
const ROTATIONS: usize = 4;
const CLIENTS_EACH: usize = 2;
const PATIENCE: Duration = Duration::from_secs(30);

/// What the load and the one who turns the keys know of each other.
#[derive(Default)]
struct Scene {
    urls: RwLock<Vec<String>>,
    verifier: Verifier,
    over: AtomicBool,
    /// Servers that are being restarted may not answer.
    restarting: AtomicUsize,
    revoked: RwLock<HashSet<String>>,
    tokens: Mutex<Vec<String>>,
    failures: Mutex<Vec<String>>,
    unavailable: AtomicUsize,
    unreached: AtomicUsize,
}

impl Scene {
    fn urls(&self) -> Vec<String> {
        self.urls.read().unwrap().clone()
    }

    /// Issues at one server and verifies at once, until it is over.
    async fn load(self: Arc<Self>, number: usize, api_key: String) -> Result<()> {
        while !self.over.load(Ordering::SeqCst) {
            let url = self.urls()[number].clone();
            let restarts = self.restarting.load(Ordering::SeqCst);
            let Err(error) = self.turns(&url, &api_key).await else { continue };
            let same = restarts == self.restarting.load(Ordering::SeqCst) && restarts.is_multiple_of(2);
            ensure!(!same, "no server was being restarted: {error:#}");
            self.unreached.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn turns(&self, url: &str, api_key: &str) -> Result<()> {
        let mut client = Client::connect(url).await?;
        while !self.over.load(Ordering::SeqCst) {
            let answer = client.exchange(api_key).await?;
            if answer.status == 503 {
                ensure!(answer.header("retry-after") == "1", "{answer:?}");
                self.unavailable.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(50)).await;
                continue;
            }
            ensure!(answer.status == 200, "{answer:?}");
            self.check(answer.text("/access_token")?).await?;
        }
        Ok(())
    }

    async fn check(&self, token: String) -> Result<()> {
        let keys = self.verifier.keys(&self.urls()).await?;
        if let Err(error) = keys.verify(&token, ISSUER)
            && !self.revoked.read().unwrap().contains(&kid(&token)?)
        {
            self.failures.lock().unwrap().push(format!("{error:#}"));
        }
        self.tokens.lock().unwrap().push(token);
        Ok(())
    }

    /// The key that signed the last token.
    fn signs(&self) -> Option<String> {
        self.tokens.lock().unwrap().last().and_then(|token| kid(token).ok())
    }

    /// Waits until the load sees this of the key that signs.
    async fn wait(&self, what: &str, holds: impl Fn(&str) -> bool) -> Result<()> {
        let began = Instant::now();
        while !self.signs().is_some_and(|kid| holds(&kid)) {
            if began.elapsed() > PATIENCE {
                bail!("waited in vain until {what}; {:?} signs", self.signs());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Some tokens of a key, or of all others.
    fn some(&self, key: &str, of_it: bool) -> Result<Vec<String>> {
        let tokens = self.tokens.lock().unwrap().clone();
        let mut found = Vec::new();
        for token in tokens {
            if (kid(&token)? == key) == of_it {
                found.push(token);
            }
        }
        let step = found.len().div_ceil(20).max(1);
        Ok(found.into_iter().step_by(step).collect())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_good_token_fails_while_keys_rotate_and_servers_restart() -> Result<()> {
    let database = Database::start("turn-db").await?;
    let url = database.create("turning").await?;
    let life = [("CHANCERY_KEYS_JWKS_LIFETIME_SECONDS", "2"), ("CHANCERY_KEYS_REFRESH_SECONDS", "1")];
    let site = Site::new("turn", url, &life)?;
    let mut servers = vec![site.server()?, site.server()?];
    let admin_key = site.admin_key()?;
    let scene = Arc::new(Scene::default());
    *scene.urls.write().unwrap() = servers.iter().map(Server::url).collect();
    let mut admin = Client::connect(&servers[0].url()).await?.bearer(&admin_key);
    let mut load = Vec::new();
    for number in 0..servers.len() * CLIENTS_EACH {
        let api_key = admin.register(&format!("agent-{number}")).await?.text("/api_key")?;
        load.push(tokio::spawn(Arc::clone(&scene).load(number % servers.len(), api_key)));
    }
    let outcome = turn_keys(&scene, &site, &mut servers).await;
    scene.over.store(true, Ordering::SeqCst);
    for client in load {
        client.await??;
    }
    let rotations = outcome?;
    judge(&scene, &servers, rotations).await
}

/// Rotates and restarts in turns, then revokes the key that signs. Answers how many rotations there were.
async fn turn_keys(scene: &Scene, site: &Site, servers: &mut [Server]) -> Result<usize> {
    scene.wait("a token is issued", |_| true).await?;
    for round in 0..ROTATIONS {
        let said = site.command("keys rotate")?.out;
        let next = said.split_whitespace().next().context("a kid")?.to_owned();
        scene.wait("the next key signs", |kid| kid == next).await?;
        restart(scene, site, servers, round % servers.len())?;
    }
    // The next key must be known to every verifier, as it is except right after a rotation.
    let before = scene.verifier.fetched();
    let began = Instant::now();
    while scene.verifier.fetched() < before + 3 {
        ensure!(began.elapsed() < PATIENCE, "the verifier doesn't fetch");
        sleep(Duration::from_millis(20)).await;
    }
    let leaked = scene.signs().context("a kid")?;
    scene.revoked.write().unwrap().insert(leaked.clone());
    site.command(&format!("keys revoke {leaked}"))?;
    for token in scene.some(&leaked, true)? {
        for server in servers.iter() {
            ensure!(!passes(&server.url(), &token).await?, "a token of the revoked key still passes");
        }
    }
    for token in scene.some(&leaked, false)? {
        for server in servers.iter() {
            ensure!(passes(&server.url(), &token).await?, "a token of another key no longer passes");
        }
    }
    scene.wait("the next key takes over", |kid| kid != leaked).await?;
    // Each server has read its ring once more by then.
    let at = scene.tokens.lock().unwrap().len();
    for number in 0..servers.len() {
        restart(scene, site, servers, number)?;
    }
    let began = Instant::now();
    while scene.tokens.lock().unwrap().len() < at + 50 {
        ensure!(began.elapsed() < PATIENCE, "no tokens after the revocation");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(ROTATIONS)
}

fn restart(scene: &Scene, site: &Site, servers: &mut [Server], number: usize) -> Result<()> {
    scene.restarting.fetch_add(1, Ordering::SeqCst);
    let status = block_in_place(|| servers[number].end(Signal::SIGTERM))?.context("it had to be killed")?;
    ensure!(status.success(), "{status}\n{}", servers[number].last_lines());
    servers[number] = site.server()?;
    scene.urls.write().unwrap()[number] = servers[number].url();
    scene.restarting.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

/// Every token once more, with the JWKS of each server.
async fn judge(scene: &Scene, servers: &[Server], rotations: usize) -> Result<()> {
    let (tokens, failures) = (scene.tokens.lock().unwrap().clone(), scene.failures.lock().unwrap().clone());
    let revoked = scene.revoked.read().unwrap().clone();
    let mut keys = HashSet::new();
    let mut good = 0;
    for server in servers {
        let jwks = Verifier::default().keys(&[server.url()]).await?;
        for token in &tokens {
            let kid = kid(token)?;
            let verified = jwks.verify(token, ISSUER);
            if revoked.contains(&kid) {
                ensure!(verified.is_err(), "the JWKS still holds the revoked key");
            } else {
                verified.context("later")?;
                good += 1;
            }
            keys.insert(kid);
        }
    }
    println!(
        "{} tokens of {} keys, {rotations} rotations, {} restarts, {} fetches of the JWKS, {} verified again, {} \
         answers 503, {} lost to restarts: {} failures",
        tokens.len(),
        keys.len(),
        scene.restarting.load(Ordering::SeqCst) / 2,
        scene.verifier.fetched(),
        good,
        scene.unavailable.load(Ordering::SeqCst),
        scene.unreached.load(Ordering::SeqCst),
        failures.len(),
    );
    ensure!(failures.is_empty(), "{failures:?}");
    ensure!(keys.len() == rotations + 2, "the first key, one for each rotation, one after the revocation");
    ensure!(tokens.len() > 200, "no load: {} tokens", tokens.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn introspection_refuses_the_tokens_of_a_revoked_key_at_once() -> Result<()> {
    let database = Database::start("leak-db").await?;
    let url = database.create("leaked").await?;
    let home = Home::new("leak")?;
    let key = home.master_key("master.key");
    let settings = [
        ("CHANCERY_DEV", "true"),
        ("DATABASE_URL", url.as_str()),
        ("CHANCERY_KEYS_MASTER_KEY_FILE", key.to_str().unwrap()),
    ];
    let launch = || block_in_place(|| Server::launch(&home, serve(&home, &settings)));
    let servers = [launch()?, launch()?];
    let (mut first, mut second) =
        (Client::connect(&servers[0].url()).await?, Client::connect(&servers[1].url()).await?);
    let api_key = first.register("fetcher").await?.text("/api_key")?;
    let mut tokens = Vec::new();
    for _ in 0..5 {
        tokens.push(first.exchange(&api_key).await?.text("/access_token")?);
        tokens.push(second.exchange(&api_key).await?.text("/access_token")?);
    }
    for token in &tokens {
        ensure!(first.is_active(token).await? && second.is_active(token).await?);
    }
    let line = format!("keys revoke {}", kid(&tokens[0])?);
    let revoked = block_in_place(|| home.chancery(&line, &settings));
    ensure!(revoked.status.success(), "{}", revoked.text());
    for token in &tokens {
        ensure!(!first.is_active(token).await? && !second.is_active(token).await?);
    }
    Ok(())
}
