//! Who disagrees with the database, or with production, is told how to mend it.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use crate::process::{Home, Server};
use crate::support::{External, production, serve};

/// Starts with settings that can't work, and requires these parts in the one line that says so.
#[track_caller]
fn refused(home: &Home, settings: &[(&str, &str)], parts: &[&str]) {
    let mut command = serve(home, settings);
    command.env("CHANCERY_LISTEN", "127.0.0.1:0");
    let refused = home.finish(command);
    assert_eq!(refused.status.code(), Some(1), "{}", refused.text());
    for part in parts {
        assert!(refused.err.contains(part), "no {part:?} in: {}", refused.text());
    }
    let said: Vec<&str> = refused.err.lines().filter(|line| line.starts_with("chancery: ")).collect();
    assert_eq!(said.len(), 1, "{}", refused.text());
    assert_eq!(home.processes(), Vec::<i32>::new());
}

fn with<'a>(settings: &[(&'a str, &'a str)], name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let others = settings.iter().copied().filter(|(known, _)| *known != name);
    others.chain([(name, value)]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_disagrees_with_its_database_does_not_start() -> Result<()> {
    let external = External::start("agree-db").await?;
    let home = Home::new("agree")?;
    let (key, other) = (home.master_key("one.key"), home.master_key("other.key"));
    let (key_text, other_text) = (key.to_str().unwrap(), other.to_str().unwrap());
    let (production_url, development_url) =
        (external.database("production").await?, external.database("development").await?);
    let good = production(&production_url, &key);
    let development = [
        ("CHANCERY_DEV", "true"),
        ("DATABASE_URL", development_url.as_str()),
        ("CHANCERY_KEYS_MASTER_KEY_FILE", key_text),
    ];
    for settings in [&good[..], &development[..]] {
        let mut server = Server::launch(&home, serve(&home, settings))?;
        let status = server.end(Signal::SIGTERM)?;
        ensure!(status.is_some_and(|status| status.success()), "{}", server.last_lines());
    }

    let wrong_key = |settings: &[(&str, &str)]| {
        let parts = ["set up with master key", "but the key given is", "set keys.master_key_file"];
        refused(&home, &with(settings, "CHANCERY_KEYS_MASTER_KEY_FILE", other_text), &parts);
    };
    wrong_key(&good);
    wrong_key(&development);
    refused(
        &home,
        &with(&good, "CHANCERY_DEV", "true"),
        &["set up in production mode", "starts in development mode", "use another database", "without --dev"],
    );
    refused(
        &home,
        &with(&good, "DATABASE_URL", &development_url),
        &["set up in development mode", "starts in production mode", "with --dev"],
    );
    refused(
        &home,
        &with(&good, "CHANCERY_ISSUER", "https://other.example.com"),
        &["issues tokens as https://id.example.com", "https://other.example.com", "set issuer to the first"],
    );
    // In development the issuer follows the port, so another one is no disagreement.
    let server =
        Server::launch(&home, serve(&home, &with(&development, "CHANCERY_ISSUER", "http://localhost")))?;
    drop(server);
    Ok(())
}

#[test]
fn production_says_what_it_needs() -> Result<()> {
    let home = Home::new("needs")?;
    let key = home.master_key("master.key");
    let away = format!("postgres:///away?host={}&user=chancery", home.path().display());
    let good = production(&away, &key);
    refused(
        &home,
        &[],
        &["issuer is not set", "keys.master_key_file is not set", "for a trial run with --dev"],
    );
    let http = "http://id.example.com";
    refused(
        &home,
        &with(&good, "CHANCERY_ISSUER", http),
        &["production wants https", "allow_http_issuer = true"],
    );
    let slash = with(&good, "CHANCERY_ISSUER", "https://id.example.com/");
    refused(&home, &slash, &["Write it as https://id.example.com."]);
    let open = with(&good, "CHANCERY_ADMIN_AUTH", "open");
    refused(&home, &open, &["admin_auth is \"open\", which production refuses", "\"required\""]);
    refused(&home, &good, &["the database can't be reached", "DATABASE_URL"]);
    let misspelt = with(&good, "CHANCERY_ISSUR", "x");
    refused(
        &home,
        &misspelt,
        &["CHANCERY_ISSUR (environment): there is no such setting", "CHANCERY_ISSUER?"],
    );
    assert!(!home.data().join("postgres").exists());
    // With a private database, which runs before the key is read: it must not stay behind.
    let short = home.path().join("short.key");
    std::fs::write(&short, "c2hvcnQ")?;
    for (file, why) in
        [(home.path().join("missing.key"), "`chancery init` makes one"), (short, "32 bytes in base64url")]
    {
        let mut settings = with(&good, "CHANCERY_KEYS_MASTER_KEY_FILE", file.to_str().unwrap());
        settings.retain(|(name, _)| *name != "DATABASE_URL");
        refused(&home, &settings, &[file.to_str().unwrap(), why]);
    }
    Ok(())
}
