//! The canary: secrets that are known to the test go through every route, at several log levels, to success and to error.
//! None of them may stand anywhere afterwards but in the answer that shows it once.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, Response};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sqlx::Connection;
use tokio::task::block_in_place;

use crate::http::Client;
use crate::process::Server;
use crate::restore::finish;
use crate::scene::{Database, Site};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// A wrong credential of each kind, in the shape of a good one.
const WRONG: [(&str, &str); 5] = [
    ("password", "canaryP4sswordOfTheDatabase7261"),
    ("admin key", "sk_live_canaryADMINcanaryADMINcanaryADMINcanary17"),
    ("api key", "zid_sk_canaryAPIKEYcanaryAPIKEYcanaryAPIKEYcan42"),
    ("client secret", "canaryCLIENTSECRETcanaryCLIENTSECRETcanary99"),
    ("header", "canaryHEADERcanaryHEADERcanaryHEADERcanaryHEADER"),
];

const FORGED: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImNhbmFyeSIsInR5cCI6IkpXVCJ9.\
    eyJqdGkiOiIwMTlhZDJmNC0wMDAwLTcwMDAtODAwMC0wMDAwMDAwMDAwMDAiLCJzdWIiOiJjYW5hcnkifQ.\
    canarySIGNATUREcanarySIGNATUREcanarySIGNATUREcanarySIGNATUREcanarySIGNATUREcanary12345";

/// The secrets so far, each with its name and what of it must stand nowhere.
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn planted() -> Self {
        let mut secrets = Self(Vec::new());
        for (name, secret) in WRONG {
            secrets.add(&format!("wrong {name}"), secret);
        }
        secrets.add("forged token", FORGED);
        secrets
    }

    /// Of a key its first characters may be shown; of a token all but the signature is no secret.
    fn add(&mut self, name: &str, secret: &str) {
        let part = secret.rsplit('.').next().unwrap_or_default();
        let part = part.get(20..40.min(part.len())).filter(|part| part.len() > 8).unwrap_or(secret);
        self.0.push((name.to_owned(), part.to_owned()));
        self.0.push((format!("{name} in hexadecimal"), hex(part.as_bytes())));
        self.0.push((format!("{name} in base64"), STANDARD.encode(&part.as_bytes()[..part.len() / 3 * 3])));
    }

    /// What an answer shows once.
    fn add_shown(&mut self, body: &[u8]) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        for member in ["api_key", "access_token"] {
            if let Some(secret) = body[member].as_str() {
                self.add(&format!("shown {member}"), secret);
            }
        }
    }

    fn ensure_none(&self, place: &str, text: &str) -> Result<()> {
        for (name, part) in &self.0 {
            let around = text.find(part.as_str()).map(|at| {
                let (from, to) =
                    (text.floor_char_boundary(at.saturating_sub(200)), (at + 40).min(text.len()));
                &text[from..text.floor_char_boundary(to)]
            });
            ensure!(around.is_none(), "the {name} stands in {place}: {}", around.unwrap_or_default());
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

/// Every path that the sources route, and the admin paths once more under their second mount.
fn paths() -> Result<Vec<String>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new("src").to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path)?;
            for call in text.split(".route(").skip(1) {
                let route = call.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                let route =
                    route.with_context(|| format!("{}: a path that is no literal", path.display()))?;
                found.insert(route.to_owned());
                if route.starts_with("/agents/") {
                    found.insert(format!("/api/v1{route}"));
                }
            }
        }
    }
    for known in ["/oauth2/token", "/agents/registry/{id}/rotate-key", "/metrics", "/.well-known/jwks.json"] {
        ensure!(found.contains(known), "{known} is not found in the sources");
    }
    found.insert("/no/such/route".to_owned());
    found.insert("/oauth2/no-such-route".to_owned());
    Ok(found.into_iter().collect())
}

/// Errors only, and the line that tells the test where the server listens.
const ERRORS: &str = "error,chancery::cli::serve=info";

/// One server with what goes through it.
struct Run {
    url: String,
    client: Client,
    secrets: Secrets,
    requests: usize,
    statuses: HashSet<u16>,
}

impl Run {
    async fn send(
        &mut self,
        (method, path): (&str, &str),
        credential: Option<&str>,
        (kind, body): (&str, &str),
    ) -> Result<Response<Bytes>> {
        let request = || {
            let host = self.url.trim_start_matches("http://");
            let mut request = Request::builder().method(method).uri(path).header("Host", host);
            for (name, value) in [("X-Account-ID", "acme"), ("X-Project-ID", "demo"), ("Content-Type", kind)]
            {
                request = request.header(name, value);
            }
            if let Some(credential) = credential {
                request = request.header("Authorization", credential);
            }
            request.body(Full::from(body.to_owned()))
        };
        let first = request()?;
        let answer = match self.client.raw(first).await {
            Ok(answer) => answer,
            // The server may end a connection after an error.
            Err(_) => {
                let again = request()?;
                self.client = Client::connect(&self.url).await?;
                self.client.raw(again).await?
            }
        };
        self.requests += 1;
        self.statuses.insert(answer.status().as_u16());
        let place = format!("the answer {} to {method} {path}", answer.status());
        self.secrets.ensure_none(&format!("{place}, headers"), &format!("{:?}", answer.headers()))?;
        self.secrets.ensure_none(&place, &String::from_utf8_lossy(answer.body()))?;
        self.secrets.add_shown(answer.body());
        Ok(answer)
    }

    /// A request as it should be; the answer's JSON.
    async fn good(&mut self, call: (&str, &str), key: &str, body: &Value) -> Result<Value> {
        let bearer = format!("Bearer {key}");
        let credential = Some(bearer.as_str()).filter(|_| !key.is_empty());
        let answer = self.send(call, credential, ("application/json", &body.to_string())).await?;
        ensure!(answer.status().is_success(), "{call:?}: {} {:?}", answer.status(), answer.body());
        Ok(serde_json::from_slice(answer.body()).unwrap_or_default())
    }

    /// What happens in a good life; its API key, token and agent are left.
    async fn succeed(&mut self, admin: &str, dev: bool) -> Result<(String, String, String)> {
        let agent = json!({ "name": "x", "external_id": "first", "created_by": "dev@example.com" });
        let first = self.good(("POST", "/agents/register"), admin, &agent).await?;
        let id = first["identity"]["id"].as_str().context("an id")?.to_owned();
        let base = format!("/agents/registry/{id}");
        self.good(("PATCH", &base), admin, &json!({ "name": "y" })).await?;
        for step in ["deactivate", "activate"] {
            self.good(("POST", &format!("{base}/{step}")), admin, &json!({})).await?;
        }
        let rotated = self.good(("POST", &format!("{base}/rotate-key")), admin, &json!({})).await?;
        let key = rotated["api_key"].as_str().context("a key")?.to_owned();
        let grant = json!({ "grant_type": "api_key", "api_key": key });
        let mut token = String::new();
        for _ in 0..2 {
            let answer = self.good(("POST", "/oauth2/token"), "", &grant).await?;
            answer["access_token"].as_str().context("a token")?.clone_into(&mut token);
            self.good(("GET", "/oauth2/token/verify"), &token, &json!({})).await?;
            if dev {
                self.good(("POST", "/oauth2/token/introspect"), "", &json!({ "token": token })).await?;
                self.good(("POST", "/oauth2/token/revoke"), "", &json!({ "token": token })).await?;
            }
        }
        if dev {
            let answer = self.good(("POST", "/oauth2/token"), "", &grant).await?;
            answer["access_token"].as_str().context("a token")?.clone_into(&mut token);
        }
        Ok((key, token, id))
    }

    /// Every path, every method, every credential, every body.
    async fn sweep(&mut self, admin: &str, (key, token, id): &(String, String, String)) -> Result<()> {
        let basic = |secret: &str| format!("Basic {}", STANDARD.encode(format!("client:{secret}")));
        let credentials = [
            None,
            Some(format!("Bearer {admin}")),
            Some(format!("Bearer {}", WRONG[1].1)),
            Some(format!("Bearer {token}")),
            Some(format!("Bearer {FORGED}")),
            Some(basic(WRONG[3].1)),
            Some(WRONG[4].1.to_owned()),
        ];
        let client = json!({ "client_id": "c", "client_secret": WRONG[3].1 });
        let with = |members: Value| {
            let mut all = client.clone();
            all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            all.to_string()
        };
        let json = "application/json";
        let bodies = [
            (json, json!({ "grant_type": "api_key", "api_key": key, "token": token }).to_string()),
            (json, with(json!({ "grant_type": "api_key", "api_key": WRONG[2].1, "token": FORGED }))),
            (json, format!("{{\"client_secret\": \"{}\", \"api_key\": \"{key}\", {token}", WRONG[3].1)),
            (
                "application/x-www-form-urlencoded",
                format!(
                    "grant_type=api_key&api_key={}&client_secret={}&token={FORGED}",
                    WRONG[2].1, WRONG[3].1
                ),
            ),
        ];
        for path in paths()? {
            let path = path.replace("{id}", id);
            for method in METHODS {
                // It has no end to read to.
                if (method, path.as_str()) == ("GET", "/signals/stream") {
                    continue;
                }
                for credential in &credentials {
                    for (kind, body) in &bodies {
                        self.send((method, &path), credential.as_deref(), (kind, body)).await?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A site whose database URL has a password, which the socket does not ask for.
async fn site(database: &Database, name: &str, more: &[(&'static str, &'static str)]) -> Result<Site> {
    let url = format!("{}&password={}", database.create("canary").await?, WRONG[0].1);
    let mut more = more.to_vec();
    more.push(("CHANCERY_LOCKOUT_FAILURES", "1000000"));
    more.push(("CHANCERY_ADMIN_AUTH", "required"));
    Site::new(name, url, &more)
}

async fn sing(name: &str, level: &'static str, format: &'static str, dev: &'static str) -> Result<()> {
    let database = Database::start(&format!("{name}-db")).await?;
    let logged = [("CHANCERY_LOG_LEVEL", level), ("CHANCERY_LOG_FORMAT", format), ("CHANCERY_DEV", dev)];
    let site = site(&database, name, &logged).await?;
    let mut server = site.server()?;
    let made = site.command("admin create-key --name test")?;
    let admin = made.out.trim_end().to_owned();
    let mut secrets = Secrets::planted();
    secrets.add("admin key", &admin);
    let master = fs::read_to_string(&site.master_key)?.trim().to_owned();
    secrets.0.push(("master key's bytes".to_owned(), hex(&URL_SAFE_NO_PAD.decode(&master)?)));
    secrets.add("master key", &master);
    secrets.ensure_none("the log of a command", &made.err)?;
    // The first key of a development server stands on standard output, and nowhere else.
    let first = server.admin_key();
    let shown = first.as_deref().map_or_else(String::new, |key| server.out().replace(key, ""));
    if let Some(first) = &first {
        secrets.add("first admin key", first);
    }
    secrets.ensure_none("standard output", &shown)?;

    let client = Client::connect(&server.url()).await?;
    let mut run = Run { url: server.url(), client, secrets, requests: 0, statuses: HashSet::new() };
    let left = run.succeed(&admin, dev == "true").await?;
    run.sweep(&admin, &left).await?;
    let clear = dump(&database, &site)?;
    run.secrets.ensure_none("the database", &clear)?;
    ensure!(clear.contains("token.issued") && clear.contains("admin.denied"), "the dump holds no audit rows");
    // Now everything that writes is a fault.
    let mut db = database.connect("canary").await?;
    sqlx::query("drop table audit_events").execute(&mut db).await?;
    db.close().await?;
    let agent = json!({ "name": "x", "external_id": "last", "created_by": "dev@example.com" }).to_string();
    let bearer = format!("Bearer {admin}");
    let fault = run.send(("POST", "/agents/register"), Some(&bearer), ("application/json", &agent)).await?;
    ensure!(fault.status() == 500, "{fault:?}");
    run.sweep(&admin, &left).await?;

    let metrics = run.client_metrics().await?;
    run.secrets.ensure_none("the metrics", &metrics)?;
    silent(&mut server, &run, first.as_deref())?;
    let log = server.err();
    println!(
        "{name}: level {level}, {format}: {} requests, answers {:?}, {} needles, {} bytes of log, {} of dump",
        run.requests,
        run.statuses.iter().collect::<BTreeSet<_>>(),
        run.secrets.0.len(),
        log.len(),
        clear.len(),
    );
    ensure!(level != "trace" || log.len() > 100_000, "nothing was logged");
    Ok(())
}

impl Run {
    async fn client_metrics(&mut self) -> Result<String> {
        let answer = self.send(("GET", "/metrics"), None, ("text/plain", "")).await?;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        ensure!(text.contains("/oauth2/token"), "{text}");
        Ok(text)
    }
}

fn dump(database: &Database, site: &Site) -> Result<String> {
    let dump = site.home.path().join("canary.sql");
    let path = dump.to_str().context("a path")?;
    finish(database, "pg_dump", &site.url, &["--file", path])?;
    Ok(fs::read_to_string(path)?)
}

/// Nothing of it stands in what the server wrote.
fn silent(server: &mut Server, run: &Run, first: Option<&str>) -> Result<()> {
    let status = block_in_place(|| server.end(Signal::SIGTERM))?.context("it had to be killed")?;
    ensure!(status.success(), "{status}");
    run.secrets.ensure_none("the log", &server.err())?;
    let out = first.map_or_else(|| server.out(), |key| server.out().replace(key, ""));
    run.secrets.ensure_none("standard output", &out)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_stands_anywhere_in_production() -> Result<()> {
    sing("canary-a", "trace", "json", "").await?;
    sing("canary-b", "info", "text", "").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_stands_anywhere_in_development() -> Result<()> {
    sing("canary-c", "trace", "text", "true").await?;
    sing("canary-d", ERRORS, "json", "true").await
}
