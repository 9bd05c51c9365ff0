//! Two roles in production: the owner defines, the application works and can't change the audit log.

use std::io::Write;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use crate::http::Client;
use crate::process::{Home, Server};
use crate::support::{External, production, serve};

const DATABASE: &str = "roles";

/// Lets this user in as the application's role too: the private Postgres of the tests knows no passwords.
async fn admit(external: &External) -> Result<()> {
    let user = User::from_uid(geteuid())?.context("this user has no name")?.name;
    let path = external.data().join("pg_ident.conf");
    writeln!(std::fs::OpenOptions::new().append(true).open(path)?, "chancery {user} application")?;
    let mut owner = external.connect(DATABASE).await?;
    sqlx::query("select pg_reload_conf()").execute(&mut owner).await?;
    owner.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_can_not_change_the_audit_log() -> Result<()> {
    let external = External::start("roles-db").await?;
    let home = Home::new("roles")?;
    let key = home.master_key("master.key");
    let owner = external.database(DATABASE).await?;
    let application = owner.replace("user=chancery", "user=application");
    admit(&external).await?;

    // One role for everything is possible, and the doctor says so.
    let one = production(&owner, &key);
    ensure!(home.chancery("migrate", &one).status.success());
    let doctor = home.chancery("doctor", &one);
    ensure!(doctor.out.contains("note  database role: "), "{}", doctor.text());

    let mut two = production(&application, &key);
    let both = [two.clone(), vec![("CHANCERY_DATABASE_OWNER_URL", owner.as_str())]].concat();
    for _ in 0..2 {
        let migrated = home.chancery("migrate", &both);
        ensure!(migrated.status.success(), "{}", migrated.text());
    }

    let same = [two.clone(), vec![("CHANCERY_DATABASE_OWNER_URL", application.as_str())]].concat();
    let refused = home.chancery("migrate", &same);
    ensure!(refused.err.contains("name the same role"), "{}", refused.text());

    // The server itself runs with the application's role alone, on a schema that it may not define.
    let made = home.chancery("admin create-key --name operator", &two);
    let admin_key = made.out.trim();
    ensure!(admin_key.starts_with("sk_live_"), "{}", made.text());
    two.push(("CHANCERY_SHUTDOWN_DRAIN_SECONDS", "0"));
    let mut server = Server::launch(&home, serve(&home, &two))?;
    let mut client = Client::connect(&server.url()).await?.bearer(admin_key);
    assert_eq!(client.register("a").await?.status, 201);
    let doctor = home.chancery("doctor", &two);
    ensure!(doctor.out.ends_with("all is well\n") && !doctor.out.contains("note "), "{}", doctor.text());

    let options = PgConnectOptions::new_without_pgpass()
        .socket(external.socket()?)
        .username("application")
        .database(DATABASE);
    let mut db = PgConnection::connect_with(&options).await?;
    let rows: i64 = sqlx::query_scalar("select count(*) from audit_events").fetch_one(&mut db).await?;
    ensure!(rows >= 2, "the key and the agent");
    for forbidden in [
        "update audit_events set reason = 'nothing happened'",
        "delete from audit_events",
        "truncate audit_events",
        "drop table audit_events",
        "delete from _sqlx_migrations",
        "create table mine (id integer)",
        "select make_credentials_partition('audit_events', gen_random_uuid(), gen_random_uuid())",
        "select drop_credentials_partition('audit_events')",
    ] {
        ensure!(sqlx::query(forbidden).execute(&mut db).await.is_err(), "{forbidden}");
    }
    let kept: i64 = sqlx::query_scalar("select count(*) from audit_events").fetch_one(&mut db).await?;
    assert_eq!(kept, rows);
    db.close().await?;
    server.end(Signal::SIGTERM)?.context("it had to be killed")?;
    Ok(())
}
