//! A dump of a running server's database, restored into a new cluster with the same master key: everything that stood
//! stands, and what was revoked stays revoked.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chancery::tokens::claims_of;
use serde_json::json;
use sqlx::Connection;
use tokio::task::block_in_place;

use crate::http::Client;
use crate::process::{Finished, Home, run};
use crate::scene::{Database, Site, kid, passes};
use crate::verifier::Verifier;

const ISSUER: &str = "https://id.example.com";

/// A program of Postgres, of the version that the tests' databases run with.
pub fn program(database: &Database, name: &str) -> Result<PathBuf> {
    let server = std::fs::read_link(format!("/proc/{}/exe", database.postgres.pid()))?;
    let path = server.parent().context("a directory")?.join(name);
    ensure!(path.exists(), "{} is missing", path.display());
    Ok(path)
}

/// Runs such a program on a database, as whom the database belongs to.
pub fn finish(database: &Database, name: &str, url: &str, arguments: &[&str]) -> Result<Finished> {
    let mut command = Command::new(program(database, name)?);
    command.arg(format!("--dbname={url}")).args(arguments);
    let log = database.home.next_log();
    let finished = block_in_place(|| run(command, &log, Duration::from_mins(1)))?;
    ensure!(finished.status.success(), "{name}: {}", finished.err);
    Ok(finished)
}

/// What was issued before the dump.
struct Issued {
    admin_key: String,
    api_key: String,
    good: Vec<String>,
    revoked_key: String,
    of_revoked_key: String,
    of_revoked_agent: String,
}

async fn issue(site: &Site, url: &str) -> Result<Issued> {
    let admin_key = site.admin_key()?;
    let mut admin = Client::connect(url).await?.bearer(&admin_key);
    let api_key = admin.register("kept").await?.text("/api_key")?;
    let of_revoked_key = admin.exchange(&api_key).await?.text("/access_token")?;
    site.command(&format!("keys revoke {}", kid(&of_revoked_key)?))?;
    let mut good = Vec::new();
    // Until the server has read its ring again it signs with the dead key.
    while good.len() < 10 {
        let token = admin.exchange(&api_key).await?.text("/access_token")?;
        if kid(&token)? != kid(&of_revoked_key)? {
            good.push(token);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let gone = admin.register("gone").await?;
    let revoked_key = gone.text("/api_key")?;
    let of_revoked_agent = admin.exchange(&revoked_key).await?.text("/access_token")?;
    let path = format!("/agents/registry/{}/deactivate", gone.text("/identity/id")?);
    ensure!(admin.post(&path, &json!({})).await?.status == 200);
    Ok(Issued { admin_key, api_key, good, revoked_key, of_revoked_key, of_revoked_agent })
}

async fn check(issued: &Issued, url: &str, verifier: &Verifier) -> Result<()> {
    let jwks = verifier.keys(&[url.to_owned()]).await?;
    for token in &issued.good {
        ensure!(passes(url, token).await?, "an old token no longer stands");
        jwks.verify(token, ISSUER)?;
    }
    ensure!(!passes(url, &issued.of_revoked_agent).await?, "a deactivated agent's token stands");
    ensure!(!passes(url, &issued.of_revoked_key).await?, "a revoked key's token stands");
    ensure!(jwks.verify(&issued.of_revoked_key, ISSUER).is_err(), "the JWKS holds the revoked key");
    let mut admin = Client::connect(url).await?.bearer(&issued.admin_key);
    let refused = admin.exchange(&issued.revoked_key).await?;
    ensure!(refused.status == 400 && refused.body["error"] == "invalid_grant", "{refused:?}");
    let token = admin.exchange(&issued.api_key).await?.text("/access_token")?;
    ensure!(kid(&token)? == kid(&issued.good[0])?, "another key signs");
    jwks.verify(&token, ISSUER)?;
    ensure!(passes(url, &token).await?);
    let listed = admin.get("/agents/registry").await?;
    ensure!(listed.status == 200 && listed.body["total"] == 2, "{listed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stood_stands_after_a_restore_and_what_was_revoked_does_not() -> Result<()> {
    let refresh = [("CHANCERY_KEYS_REFRESH_SECONDS", "1")];
    let old = Database::start("dump-db").await?;
    let old_url = old.create("dumped").await?;
    let site = Site::new("dump", old_url.clone(), &refresh)?;
    let server = site.server()?;
    let issued = issue(&site, &server.url()).await?;
    let verifier = Verifier::default();
    check(&issued, &server.url(), &verifier).await?;
    let before = server_jwks(&server.url()).await?;

    // The server runs on while its database is dumped, as in a nightly backup.
    let dump = dump(&old, &old_url, &site)?;
    drop(server);
    old.postgres.stop().await;
    let (new, elsewhere) = restore(&dump, &site, "restore").await?;

    let server = elsewhere.server()?;
    assert_eq!(server_jwks(&server.url()).await?, before, "the same keys");
    check(&issued, &server.url(), &verifier).await?;
    // What was in the cache of the old one's JWKS verifies what the new one signs, and life goes on.
    let mut admin = Client::connect(&server.url()).await?.bearer(&issued.admin_key);
    ensure!(admin.register("new").await?.status == 201);
    let mut db = new.connect("restored").await?;
    let events: i64 =
        sqlx::query_scalar("select count(*) from audit_events where action = 'agent.registered'")
            .fetch_one(&mut db)
            .await?;
    assert_eq!(events, 3);
    db.close().await?;
    println!("{} tokens, 2 revoked ones, 2 API keys, 1 admin key outlived the restore", issued.good.len());
    Ok(())
}

/// The database is replaced by one that is behind, as after a failover to a standby that lagged. What was issued since is
/// unknown and so inactive; what was revoked since stands until it is revoked again, from an export of the audit log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_revoked_after_the_dump_is_revoked_again_from_the_audit_log() -> Result<()> {
    let old = Database::start("behind-db").await?;
    let old_url = old.create("dumped").await?;
    let site = Site::new("behind", old_url.clone(), &[])?;
    let server = site.server()?;
    let mut admin = Client::connect(&server.url()).await?.bearer(&site.admin_key()?);
    let api_key = admin.register("kept").await?.text("/api_key")?;
    let revoked = admin.exchange(&api_key).await?.text("/access_token")?;
    let stands = admin.exchange(&api_key).await?.text("/access_token")?;
    let dump = dump(&old, &old_url, &site)?;
    let jti = claims_of(&revoked).context("no claims")?["jti"].as_str().context("no jti")?.to_owned();
    ensure!(admin.post(&format!("/credentials/{jti}/revoke"), &json!({})).await?.status == 200);
    ensure!(!passes(&server.url(), &revoked).await?);
    let later = admin.exchange(&api_key).await?.text("/access_token")?;
    let days =
        json!({ "since": "2000-01-01", "until": "2100-01-01", "action": "token.revoked", "format": "json" });
    let export = admin.post("/audit-logs/export", &days).await?;
    ensure!(export.status == 200, "{export:?}");
    drop(server);
    old.postgres.stop().await;

    let (_new, elsewhere) = restore(&dump, &site, "behind-restore").await?;
    let server = elsewhere.server()?;
    let url = server.url();
    ensure!(passes(&url, &stands).await? && !passes(&url, &later).await?);
    ensure!(passes(&url, &revoked).await?, "the loss that the procedure is for did not happen");
    let mut admin = Client::connect(&url).await?.bearer(&elsewhere.admin_key()?);
    let rows = export.body.as_array().context("no rows")?;
    ensure!(rows.len() == 1, "{rows:?}");
    for row in rows {
        let jti = row["target_id"].as_str().context("no target")?;
        ensure!(admin.post(&format!("/credentials/{jti}/revoke"), &json!({})).await?.status == 200);
    }
    ensure!(passes(&url, &stands).await? && !passes(&url, &revoked).await?);
    Ok(())
}

fn dump(database: &Database, url: &str, site: &Site) -> Result<PathBuf> {
    let path = site.home.path().join("dump.sql");
    finish(database, "pg_dump", url, &["--no-owner", "--file", path.to_str().context("a path")?])?;
    Ok(path)
}

/// A new cluster from a dump, and a site on it with the same master key and settings.
async fn restore(dump: &Path, site: &Site, name: &str) -> Result<(Database, Site)> {
    let new = Database::start(&format!("{name}-db")).await?;
    let url = new.create("restored").await?;
    let file = dump.to_str().context("a path")?;
    finish(&new, "psql", &url, &["--quiet", "--set=ON_ERROR_STOP=1", "--file", file])?;
    let elsewhere = Site { home: Home::new(name)?, url, master_key: copy(site)?, more: site.more.clone() };
    Ok((new, elsewhere))
}

/// The master key is kept beside the backups, not in them.
fn copy(site: &Site) -> Result<PathBuf> {
    let path: &Path = &site.master_key;
    let copy = path.with_extension("copy");
    std::fs::copy(path, &copy)?;
    Ok(copy)
}

async fn server_jwks(url: &str) -> Result<serde_json::Value> {
    Ok(Client::connect(url).await?.get("/.well-known/jwks.json").await?.body)
}
