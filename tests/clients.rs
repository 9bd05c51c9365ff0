//! Strict clients that others wrote, unmodified, against the built server: installs what `tests/clients` asks for, starts an
//! open server as in development and a strict one as in production, and runs the clients' scripts against both. And
//! schemathesis, which reads the document of the API and tries everything.

#[path = "support/https.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "written for tests of another kind, which use all of it")]
mod https;
#[path = "support/process.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod process;
#[path = "support/published.rs"]
mod published;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use https::{Site, ca_file};
use process::{Finished, Home, Server, free_address, run};
use published::{INSTALL, environment, must, production, target};

const TESTS: Duration = Duration::from_mins(10);

/// Where a browser may be; only one that is there is used.
const BROWSERS: [&str; 2] = ["/usr/bin/chromium", "/usr/bin/google-chrome"];

#[test]
fn published_clients_work_against_the_built_server() -> Result<()> {
    let (open_home, strict_home) = (Home::new("c-open")?, Home::new("c-strict")?);
    let runtime = tokio::runtime::Runtime::new()?;
    let site = runtime.block_on(Site::start());
    let document = describe_client(&site);
    let authority = ca_file();
    let fetches = [
        ("CHANCERY_OUTBOUND_ALLOW_PRIVATE", "127.0.0.0/8"),
        ("CHANCERY_OUTBOUND_CA_FILE", authority.to_str().context("a path")?),
    ];
    let open = Server::start(&open_home, &fetches)?;
    let open_key = open.admin_key().context("the server printed no admin key")?;
    let (strict, strict_key) = on_loopback(&strict_home, &fetches)?;
    let servers = serde_json::json!([
        { "name": "open", "url": open.url(), "key": open_key, "document": document },
        { "name": "strict", "url": strict.url(), "key": strict_key, "document": document },
    ]);
    let browser = browser()?;
    if browser.is_empty() {
        println!("SKIPPED: the consent page in a browser; Chromium is missing");
    }
    for mut scripts in [python()?, node(&open_home, browser)?] {
        scripts
            .env("CHANCERY_SERVERS", servers.to_string())
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1");
        let Finished { status, out, err } = run(scripts, &open_home.next_log(), TESTS)?;
        println!("{out}{err}");
        ensure!(status.success(), "{status}\n{}\n{}", open.last_lines(), strict.last_lines());
    }
    Ok(())
}

/// The server against its own document: schemathesis sends what the document allows and what it does not.
#[test]
fn the_server_does_what_its_document_says() -> Result<()> {
    let python = environment("schemathesis-venv", "tests/schemathesis", "schemathesis")?;
    let home = Home::new("schema")?;
    // Wrong credentials are part of what is sent.
    let settings = [("CHANCERY_ISSUER", "https://id.example.com"), ("CHANCERY_LOCKOUT_FAILURES", "0")];
    let (server, key) = production(&home, &settings)?;
    let mut tests = Command::new(&python);
    tests
        .arg("tests/schemathesis/run.py")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .env("NO_COLOR", "1")
        .env("CHANCERY_URL", server.url())
        .env("CHANCERY_ADMIN_KEY", key);
    let Finished { status, out, err } = run(tests, &home.next_log(), TESTS)?;
    println!("{out}{err}");
    ensure!(status.success(), "schemathesis: {status}\n{}", server.last_lines());
    Ok(())
}

/// Puts a client's document there, and says where.
fn describe_client(site: &Site) -> String {
    let url = site.url("/client.json");
    let document = serde_json::json!({
        "client_id": url, "client_name": "Assistant", "redirect_uris": ["http://127.0.0.1/callback"],
        "grant_types": ["authorization_code", "refresh_token"], "token_endpoint_auth_method": "none",
        "scope": "data:read data:write",
    });
    site.json("/client.json", document);
    url
}

/// A server in production whose issuer is its address: the clients compare the two, and loopback has no certificate.
fn on_loopback(home: &Home, more: &[(&str, &str)]) -> Result<(Server, String)> {
    let address = free_address()?.to_string();
    let issuer = format!("http://{address}");
    let settings = [
        ("CHANCERY_LISTEN", address.as_str()),
        ("CHANCERY_ISSUER", &issuer),
        ("CHANCERY_ALLOW_HTTP_ISSUER", "true"),
    ];
    production(home, &[&settings[..], more].concat())
}

/// The Python clients under pytest.
fn python() -> Result<Command> {
    let modules = "authlib, mcp, pytest, requests_oauth2client";
    let mut pytest = Command::new(environment("clients-venv", "tests/clients/python", modules)?);
    pytest
        .args(["-m", "pytest", "-q", "--color=no", "tests/clients/python"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(pytest)
}

/// The JavaScript clients under Node's own test runner. It looks for packages beside the scripts, so these are copied to
/// where the packages are.
fn node(home: &Home, browser: &str) -> Result<Command> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/node");
    let place = target()?.join("clients-node");
    fs::create_dir_all(&place)?;
    let wanted = fs::read_to_string(sources.join("package.json"))?;
    let installed = place.join("installed.json");
    if fs::read_to_string(&installed).ok().as_ref() != Some(&wanted) {
        fs::write(place.join("package.json"), &wanted)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"])
            .current_dir(&place);
        must(npm, &home.next_log(), INSTALL)?;
        fs::write(&installed, &wanted)?;
    }
    let mut node = Command::new("node");
    node.args(["--test", "--test-reporter=spec"]).current_dir(&place).env("CHROMIUM", browser);
    for script in scripts(&sources)? {
        let name = script.file_name().context("a file's name")?;
        fs::copy(&script, place.join(name))?;
        if name.to_string_lossy().ends_with(".test.mjs") {
            node.arg(name);
        }
    }
    Ok(node)
}

fn scripts(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries: Vec<_> = fs::read_dir(folder)?.collect::<std::io::Result<_>>()?;
    let mut scripts: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "mjs"));
    scripts.sort();
    Ok(scripts)
}

/// The browser for the consent page; "" leaves its test out, where nobody could install one.
fn browser() -> Result<&'static str> {
    let found = BROWSERS.into_iter().find(|path| Path::new(path).exists());
    let may_install = cfg!(target_os = "linux") && nix::unistd::Uid::effective().is_root();
    ensure!(found.is_some() || !may_install, "Chromium is missing; scripts/setup installs it");
    Ok(found.unwrap_or_default())
}
