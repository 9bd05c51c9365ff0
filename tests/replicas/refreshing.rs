//! Refresh tokens while every server is restarted, and while an answer is lost on the wire: what was spent stays spent, and an
//! honest client that lost an answer ends with one working token.

use anyhow::{Context, Result, ensure};
use form_urlencoded::Serializer;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::block_in_place;

use crate::http::{Answer, Client};
use crate::process::Server;
use crate::scene::{Database, Site, passes};

const CALLBACK: &str = "https://app.example/cb";

/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Two servers, and a person in whose name clients act.
struct Stage {
    site: Site,
    servers: [Server; 2],
    admin_key: String,
    person: String,
    _database: Database,
}

/// What one answer gave.
struct Tokens {
    access: String,
    refresh: String,
}

impl Stage {
    async fn new(name: &str) -> Result<Self> {
        let database = Database::start(&format!("{name}-db")).await?;
        let site = Site::new(name, database.create("refreshing").await?, &[])?;
        let servers = [site.server()?, site.server()?];
        let admin_key = site.admin_key()?;
        let mut admin = Client::connect(&servers[0].url()).await?.bearer(&admin_key);
        let person =
            admin.post("/users", &json!({ "user_id": "u-ada", "name": "Ada" })).await?.text("/id")?;
        Ok(Self { site, servers, admin_key, person, _database: database })
    }

    /// Ends both servers before either begins anew: nothing of what they remembered is left.
    fn restart(&mut self, signal: Signal) -> Result<()> {
        for server in &mut self.servers {
            block_in_place(|| server.end(signal))?.context("it did not end")?;
        }
        self.servers = [self.site.server()?, self.site.server()?];
        Ok(())
    }

    /// A public client and the first tokens that a code brought it.
    async fn begin(&self, client_id: &str, reuse: &str) -> Result<Tokens> {
        let url = self.servers[0].url();
        let mut admin = Client::connect(&url).await?.bearer(&self.admin_key);
        let client = json!({
            "client_id": client_id, "name": client_id, "scopes": ["a"], "redirect_uris": [CALLBACK],
            "grant_types": ["authorization_code", "refresh_token"], "refresh_token_reuse": reuse,
        });
        let made = admin.post("/oauth/clients", &client).await?;
        ensure!(made.status == 201, "{made:?}");
        let agreed = json!({ "user_id": self.person, "client_id": client_id, "scopes": ["a"] });
        ensure!(admin.post("/admin/consents", &agreed).await?.status == 201);
        let link = json!({ "purpose": "authorize", "to": "/oauth2/authorize" });
        let link = admin.post(&format!("/users/{}/links", self.person), &link).await?.text("/url")?;
        let opened = get(&url, path(&link)?, "").await?;
        let cookie = opened.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
        let asked = Serializer::new(String::new())
            .extend_pairs([("response_type", "code"), ("client_id", client_id), ("redirect_uri", CALLBACK)])
            .extend_pairs([("scope", "a"), ("code_challenge", CHALLENGE), ("code_challenge_method", "S256")])
            .finish();
        let told = get(&url, &format!("/oauth2/authorize?{asked}"), &cookie).await?;
        let told = told.header("location").strip_prefix(CALLBACK).context("no code")?.to_owned();
        let (_, code) = form_urlencoded::parse(told.trim_start_matches('?').as_bytes())
            .find(|(name, _)| name == "code")
            .context("no code")?;
        let redemption = json!({
            "grant_type": "authorization_code", "client_id": client_id, "code": code,
            "redirect_uri": CALLBACK, "code_verifier": VERIFIER,
        });
        tokens(&Client::connect(&url).await?.post("/oauth2/token", &redemption).await?)
    }

    /// Presents a refresh token to one of the servers.
    async fn refresh(&self, server: usize, client_id: &str, token: &str) -> Result<Answer> {
        let mut client = Client::connect(&self.servers[server].url()).await?;
        client.post("/oauth2/token", &refreshing(client_id, token)).await
    }
}

fn refreshing(client_id: &str, token: &str) -> serde_json::Value {
    json!({ "grant_type": "refresh_token", "client_id": client_id, "refresh_token": token })
}

fn tokens(answer: &Answer) -> Result<Tokens> {
    ensure!(answer.status == 200, "{answer:?}");
    Ok(Tokens { access: answer.text("/access_token")?, refresh: answer.text("/refresh_token")? })
}

fn path(url: &str) -> Result<&str> {
    url.strip_prefix("https://id.example.com").context("an address of the issuer")
}

/// As a browser with this cookie.
async fn get(url: &str, path: &str, cookie: &str) -> Result<Answer> {
    let host = url.trim_start_matches("http://");
    let request = Request::get(path).header("Host", host).header("Cookie", cookie);
    let answer = Client::connect(url).await?.raw(request.body(Full::<Bytes>::default())?).await?;
    Ok(Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body: json!(null) })
}

/// Sends a refresh, waits until the answer begins, and is gone before it is read.
async fn refresh_and_lose(url: &str, client_id: &str, token: &str) -> Result<()> {
    let host = url.trim_start_matches("http://");
    let body = refreshing(client_id, token).to_string();
    let mut stream = TcpStream::connect(host).await?;
    let head = format!(
        "POST /oauth2/token HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    stream.read_u8().await?;
    Ok(())
}

/// Keycloak CVE-2026-9802: a spent token must not come back to life because servers forgot that it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spent_token_ends_its_family_also_after_every_server_was_restarted() -> Result<()> {
    let mut stage = Stage::new("rt-spent").await?;
    for (signal, client) in [(Signal::SIGTERM, "stopped"), (Signal::SIGKILL, "killed")] {
        let first = stage.begin(client, "refuse").await?;
        let second = tokens(&stage.refresh(0, client, &first.refresh).await?)?;
        let other = stage.begin(&format!("beside-{client}"), "refuse").await?;
        stage.restart(signal)?;
        ensure!(passes(&stage.servers[0].url(), &second.access).await?);
        let replayed = stage.refresh(1, client, &first.refresh).await?;
        ensure!(
            (replayed.status, replayed.text("/error")?.as_str()) == (400, "invalid_grant"),
            "{replayed:?}"
        );
        for (server, url) in stage.servers.iter().map(Server::url).enumerate() {
            for token in [&first.access, &second.access] {
                ensure!(!passes(&url, token).await?, "{signal}: a token of the family still passes");
            }
            ensure!(stage.refresh(server, client, &second.refresh).await?.status == 400, "{signal}");
        }
        let beside = stage.refresh(0, &format!("beside-{client}"), &other.refresh).await?;
        ensure!(beside.status == 200, "another family ended too: {beside:?}");
    }
    Ok(())
}

/// The client of `Reissue` repeats what it can't know to have worked, and gets the one successor, from any server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_on_the_wire_is_given_again_by_servers_that_did_not_make_it() -> Result<()> {
    let mut stage = Stage::new("rt-lost").await?;
    let first = stage.begin("app", "reissue").await?;
    refresh_and_lose(&stage.servers[0].url(), "app", &first.refresh).await?;
    let again = tokens(&stage.refresh(1, "app", &first.refresh).await?)?;
    let repeated = tokens(&stage.refresh(0, "app", &first.refresh).await?)?;
    ensure!(again.refresh == repeated.refresh, "one token has one successor");
    let second = tokens(&stage.refresh(0, "app", &again.refresh).await?)?;
    refresh_and_lose(&stage.servers[1].url(), "app", &second.refresh).await?;
    stage.restart(Signal::SIGKILL)?;
    let third = tokens(&stage.refresh(0, "app", &second.refresh).await?)?;
    let last = tokens(&stage.refresh(1, "app", &third.refresh).await?)?;
    ensure!(passes(&stage.servers[0].url(), &last.access).await?);
    Ok(())
}
