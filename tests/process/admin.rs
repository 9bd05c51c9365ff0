//! `admin` and `keys` beside a server that runs: keys work over HTTP at once, and end at once.

use anyhow::{Context, Result, ensure};

use crate::http::Client;
use crate::process::{Home, Server};

const DEV: [(&str, &str); 1] = [("CHANCERY_DEV", "true")];

/// Makes a key; nothing but the key stands on standard output, so that a script can take it.
fn create(home: &Home, options: &str) -> Result<String> {
    let made = home.chancery(&format!("admin create-key {options}"), &DEV);
    ensure!(made.status.success(), "{}", made.text());
    let key = made.out.trim_end().to_owned();
    ensure!(key.starts_with("sk_live_") && !key.contains(char::is_whitespace), "{:?}", made.out);
    Ok(key)
}

/// The line of `list-keys` about the key of this name.
fn listed(home: &Home, name: &str) -> Result<String> {
    let listed = home.chancery("admin list-keys", &DEV);
    ensure!(listed.status.success(), "{}", listed.text());
    let line = listed.out.lines().find(|line| line.contains(name));
    Ok(line.with_context(|| format!("no {name} in {}", listed.out))?.to_owned())
}

async fn status(server: &Server, key: &str) -> Result<u16> {
    Ok(Client::connect(&server.url()).await?.bearer(key).get("/agents/registry").await?.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_made_beside_the_server_works_and_ends_at_once() -> Result<()> {
    let home = Home::new("admin")?;
    let server = Server::start(&home, &[("CHANCERY_ADMIN_AUTH", "required")])?;
    let key = create(&home, "--name ci")?;
    let line = listed(&home, "  ci  ")?;
    for part in ["live ", "operator", "nhi:manage", "never used", &key[..16]] {
        ensure!(line.contains(part), "no {part} in {line}");
    }
    ensure!(!line.contains(&key), "the list shows the key: {line}");
    assert_eq!(status(&server, &key).await?, 200);
    ensure!(listed(&home, "  ci  ")?.contains("last used 20"), "{}", listed(&home, "  ci  ")?);
    assert_eq!(status(&server, "").await?, 401);

    let id = line.split_whitespace().next().context("an id")?;
    let revoked = home.chancery(&format!("admin revoke-key {id}"), &DEV);
    assert_eq!((revoked.status.code(), revoked.out.as_str()), (Some(0), "revoked\n"), "{}", revoked.err);
    assert_eq!(status(&server, &key).await?, 401);
    ensure!(listed(&home, "  ci  ")?.contains("  revoked  "));
    for wrong in [id, "no-uuid", "019ad2f4-0000-7000-8000-000000000000"] {
        let again = home.chancery(&format!("admin revoke-key {wrong}"), &DEV);
        assert_eq!(again.status.code(), Some(1));
        ensure!(again.err.contains("list-keys"), "{}", again.err);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_reaches_as_far_as_it_was_made_to() -> Result<()> {
    let home = Home::new("reach")?;
    let server = Server::start(&home, &[("CHANCERY_ADMIN_AUTH", "required")])?;
    let bound = create(&home, "--name bound --account acme --project demo")?;
    ensure!(listed(&home, "bound")?.contains("acme/demo"));
    let mut own = Client::connect(&server.url()).await?.bearer(&bound);
    assert_eq!(own.register("a").await?.status, 201);
    let mut foreign = own.tenant("other", "place");
    assert_eq!(foreign.register("b").await?.status, 403);

    let weak = create(&home, "--name weak --scope data:read")?;
    assert_eq!(status(&server, &weak).await?, 403);
    let brief = create(&home, "--name brief --expires-in-days 1")?;
    assert_eq!(status(&server, &brief).await?, 200);

    let bad = home.chancery("admin create-key --name half --account acme", &DEV);
    assert_eq!(bad.status.code(), Some(2));
    ensure!(bad.err.contains("--project"), "{}", bad.err);

    let keys = home.chancery("keys list", &DEV);
    ensure!(keys.status.success(), "{}", keys.text());
    let published = own_jwks(&server).await?;
    let active = keys
        .out
        .lines()
        .find(|line| line.split_whitespace().nth(1) == Some("active"))
        .context("no key is active")?;
    assert!(active.starts_with(&published), "{}", keys.out);
    Ok(())
}

async fn own_jwks(server: &Server) -> Result<String> {
    let answer = Client::connect(&server.url()).await?.get("/.well-known/jwks.json").await?;
    answer.text("/keys/0/kid")
}
