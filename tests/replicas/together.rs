//! Servers that start at the same moment on an empty database make one schema, one set of keys and one pepper, and each
//! serves what the others issued.

use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use chancery::kit::db::MIGRATIONS;
use sqlx::{Connection, PgConnection};
use tokio::task::block_in_place;

use crate::http::Client;
use crate::process::{Home, Server};
use crate::scene::{Database, passes};
use crate::support::{production, serve};

const TOGETHER: usize = 2;
const ROUNDS: u64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_start_together_make_one_set_of_keys() -> Result<()> {
    let rounds = std::env::var("CHANCERY_TEST_ROUNDS").ok().map(|rounds| rounds.parse()).transpose()?;
    let database = Database::start("together-db").await?;
    for round in 0..rounds.unwrap_or(ROUNDS) {
        let home = Home::new(&format!("together{round}"))?;
        let name = format!("together_{round}");
        let url = database.create(&name).await?;
        let mut db = database.connect(&name).await?;
        together(&home, &url, &mut db, round % 2 == 1).await.with_context(|| format!("round {round}"))?;
        db.close().await?;
    }
    println!("{} rounds of {TOGETHER} servers", rounds.unwrap_or(ROUNDS));
    Ok(())
}

async fn together(home: &Home, url: &str, db: &mut PgConnection, in_production: bool) -> Result<()> {
    let settings = if in_production {
        production(url, Box::leak(home.master_key("master.key").into_boxed_path()))
    } else {
        // Nobody wrote the master key yet, so that they race for this file too.
        let key = home.path().join("master.key").display().to_string();
        vec![("CHANCERY_DEV", "true"), ("DATABASE_URL", url), ("CHANCERY_KEYS_MASTER_KEY_FILE", key.leak())]
    };
    let mut settings = settings;
    settings.push(("CHANCERY_SHUTDOWN_DRAIN_SECONDS", "0"));
    let servers = block_in_place(|| start(home, &settings))?;
    let migrated: Vec<(i64, bool)> =
        sqlx::query_as("select version, success from _sqlx_migrations order by version")
            .fetch_all(&mut *db)
            .await?;
    let wanted: Vec<(i64, bool)> = MIGRATIONS.iter().map(|migration| (migration.version, true)).collect();
    assert_eq!(migrated, wanted);
    let made: (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from signing_keys), (select count(*) from peppers),
                (select count(*) from server_state)",
    )
    .fetch_one(&mut *db)
    .await?;
    assert_eq!(made, (2, 1, 1), "signing keys, peppers and fingerprints");
    let listed = block_in_place(|| home.chancery("keys list", &settings));
    let states: Vec<&str> = listed.out.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(states, ["published", "active"], "{}", listed.text());
    let key = if in_production {
        let made = block_in_place(|| home.chancery("admin create-key --name test", &settings));
        ensure!(made.status.success(), "{}", made.text());
        Some(made.out.trim_end().to_owned())
    } else {
        None
    };
    each_serves_the_others_agents(&servers, key.as_deref()).await?;
    assert!(!home.data().join("postgres").exists(), "a private database beside the configured one");
    Ok(())
}

fn start(home: &Home, settings: &[(&str, &str)]) -> Result<Vec<Server>> {
    thread::scope(|scope| {
        let starts: Vec<_> =
            (0..TOGETHER).map(|_| scope.spawn(|| Server::launch(home, serve(home, settings)))).collect();
        starts.into_iter().map(|start| start.join().map_err(|_| anyhow!("a panic"))?).collect()
    })
}

/// An agent registered at one obtains its token at the next, and that token stands at all.
async fn each_serves_the_others_agents(servers: &[Server], key: Option<&str>) -> Result<()> {
    let mut clients = Vec::new();
    for server in servers {
        let client = Client::connect(&server.url()).await?;
        clients.push(if let Some(key) = key { client.bearer(key) } else { client });
    }
    let jwks = clients[0].get("/.well-known/jwks.json").await?.body;
    for number in 0..clients.len() {
        let next = (number + 1) % clients.len();
        let agent = clients[number].register(&format!("agent-{number}")).await?;
        let token = clients[next].exchange(&agent.text("/api_key")?).await?.text("/access_token")?;
        for (client, server) in clients.iter_mut().zip(servers) {
            ensure!(passes(&server.url(), &token).await?, "a token of one server is nothing to another");
            assert_eq!(client.get("/.well-known/jwks.json").await?.body, jwks);
        }
    }
    Ok(())
}
