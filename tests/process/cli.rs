//! Every command beside `serve`: what it answers, and what it says when something is wrong.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use sqlx::Connection;

use crate::process::{Home, Server};
use crate::support::{External, production};

#[test]
fn every_command_explains_itself() -> Result<()> {
    let home = Home::new("help")?;
    let version = home.chancery("--version", &[]);
    assert_eq!(version.out, format!("chancery {}\n", env!("CARGO_PKG_VERSION")));
    for (command, parts) in [
        (
            "",
            &["serve", "migrate", "doctor", "health", "admin", "keys", "--dev", "--data-dir", "--config"][..],
        ),
        ("serve", &["--listen", "CHANCERY_LISTEN", "8899"]),
        ("migrate", &["--data-dir"]),
        ("doctor", &["--config"]),
        ("health", &["--url"]),
        ("admin", &["create-key", "list-keys", "revoke-key"]),
        ("admin create-key", &["--name", "--account", "--project", "--scope", "--expires-in-days"]),
        ("admin list-keys", &["--dev"]),
        ("admin revoke-key", &["<ID>"]),
        ("keys", &["list"]),
        ("keys list", &["--dev"]),
    ] {
        let help = home.chancery(&format!("{command} --help"), &[]);
        ensure!(help.status.success(), "{command}: {}", help.text());
        for part in parts {
            ensure!(help.out.contains(part), "{command} --help names no {part}: {}", help.out);
        }
    }
    // One in 64 key ids begins with a hyphen; the configuration is what is missing then, not a flag.
    let hyphen = home.chancery("keys revoke -LviuBO4B-DKyBke29p8Kn6ldk1-T136IIrM_6TjMPM", &[]);
    assert_eq!(hyphen.status.code(), Some(1), "{}", hyphen.text());
    ensure!(hyphen.err.contains("keys.master_key_file"), "{}", hyphen.err);
    let unknown = home.chancery("fly", &[]);
    assert_eq!(unknown.status.code(), Some(2));
    ensure!(unknown.err.contains("fly") && unknown.err.contains("--help"), "{}", unknown.err);
    assert!(!home.data().exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrate_and_doctor_on_a_configured_database() -> Result<()> {
    let external = External::start("doctor-db").await?;
    let home = Home::new("doctor")?;
    let key = home.master_key("master.key");
    let url = external.database("doctored").await?;
    let settings = production(&url, &key);
    let doctor = || home.chancery("doctor", &settings);

    let found = doctor();
    assert_eq!(found.status.code(), Some(1));
    ensure!(
        found.out.contains("WRONG schema: it is not up to date; run `chancery migrate`"),
        "{}",
        found.text()
    );
    ensure!(found.out.contains("ok    database: answers"), "{}", found.out);
    ensure!(found.out.contains("ok    master key: "), "{}", found.out);
    ensure!(found.err.contains("one thing needs mending"), "{}", found.err);

    for _ in 0..2 {
        let migrated = home.chancery("migrate", &settings);
        ensure!(migrated.status.success(), "{}", migrated.text());
        assert_eq!(migrated.out, "the schema is up to date\n");
    }
    let found = doctor();
    ensure!(
        found.out.contains("WRONG signing keys: none is active; start the server once"),
        "{}",
        found.text()
    );
    Server::launch(&home, crate::support::serve(&home, &settings))?.end(Signal::SIGTERM)?;
    let found = doctor();
    ensure!(found.status.success(), "{}", found.text());
    ensure!(found.out.ends_with("all is well\n") && !found.out.contains("WRONG"), "{}", found.out);
    ensure!(found.out.contains("production mode, issuer https://id.example.com"), "{}", found.out);
    ensure!(found.out.contains("ok    clock: "), "{}", found.out);
    let listed = home.chancery("keys list", &settings);
    assert_eq!((listed.out.lines().count(), listed.out.contains(" active ")), (2, true), "{}", listed.text());

    let mut db = external.connect("doctored").await?;
    sqlx::query("drop table signing_keys cascade").execute(&mut db).await?;
    db.close().await?;
    ensure!(doctor().out.contains("WRONG schema: "), "{}", doctor().text());
    ensure!(!home.data().join("postgres").exists(), "a private database beside the configured one");
    Ok(())
}

#[test]
fn doctor_says_what_is_away_and_how_to_mend_it() -> Result<()> {
    let home = Home::new("away")?;
    let key = home.master_key("master.key");
    let nowhere = format!("postgres:///away?host={}&user=chancery", home.path().display());
    // Port 1 is nobody's: the connection is refused.
    let password = "postgres://chancery:swordfish@127.0.0.1:1/chancery";
    for url in [nowhere.as_str(), password] {
        let settings = production(url, &key);
        for command in ["doctor", "migrate", "serve --listen 127.0.0.1:0", "keys list", "admin list-keys"] {
            let found = home.chancery(command, &settings);
            assert_eq!(found.status.code(), Some(1), "{command}: {}", found.text());
            let said = "the database can't be reached";
            ensure!(found.text().contains(said), "{command}: {}", found.text());
            ensure!(
                found.text().contains("DATABASE_URL"),
                "{command} doesn't say how to mend it: {}",
                found.text()
            );
            ensure!(!found.text().contains("swordfish"), "{command} tells the password: {}", found.text());
        }
    }
    let absent = home.path().join("absent.key");
    let found = home.chancery("doctor", &production(&nowhere, &absent));
    ensure!(found.out.contains("WRONG database: "), "{}", found.out);
    ensure!(found.out.contains("WRONG master key: ") && found.out.contains("absent.key"), "{}", found.out);
    ensure!(found.out.contains("`chancery init` makes one"), "{}", found.out);
    ensure!(found.err.contains("2 things need mending"), "{}", found.err);
    // Without the setting the configuration itself is refused, by every command alike.
    let found = home.chancery("doctor", &[("DATABASE_URL", &nowhere)]);
    assert_eq!(found.status.code(), Some(1));
    ensure!(found.err.contains("keys.master_key_file is not set"), "{}", found.err);
    Ok(())
}

#[test]
fn doctor_and_health_look_at_a_development_server() -> Result<()> {
    let home = Home::new("health")?;
    let dev = ("CHANCERY_DEV", "true");
    let mut server = Server::start(&home, &[])?;
    let listen = server.url().replace("http://", "");
    let health = |line: &str| home.chancery(line, &[dev, ("CHANCERY_LISTEN", &listen)]);
    let ready = health("health");
    assert_eq!((ready.status.code(), ready.out), (Some(0), format!("http://{listen}/ready is ready\n")));
    ensure!(
        health(&format!("health --url http://localhost:{}", listen.rsplit(':').next().unwrap()))
            .status
            .success()
    );
    let found = home.chancery("doctor", &[dev]);
    ensure!(found.status.success() && found.out.contains("development mode"), "{}", found.text());
    // A look from outside must not end the server's database.
    assert_eq!(home.processes().len(), 2);
    server.end(Signal::SIGTERM)?;
    let gone = health("health");
    assert_eq!(gone.status.code(), Some(1));
    ensure!(gone.err.contains("can't be reached") && gone.err.lines().count() == 1, "{}", gone.err);
    // Without a server the commands start the private database for themselves, and stop it again.
    let found = home.chancery("doctor", &[dev]);
    ensure!(found.status.success(), "{}", found.text());
    assert_eq!(home.processes(), Vec::<i32>::new());
    Ok(())
}
