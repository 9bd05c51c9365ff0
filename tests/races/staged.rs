//! The orders of commits that matter, brought about with locks: what was decided before a mark and written after it, and
//! what was issued while a mark waited.

use std::future::Future;
use std::sync::Arc;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Postgres, Transaction};
use time::Duration;
use tokio::task::JoinHandle;

use crate::pair::Pair;
use crate::server::{Answer, Server};
use crate::standing::{Standing, settle, standing};
use crate::world::{End, Fate, WAYS, Way, World, jti};

/// Callers for each way to a token.
const CALLERS: usize = 2;

/// Holds what a statement locks until it is dropped or ended.
async fn hold(pair: &Pair, sql: impl Into<String>) -> Transaction<'static, Postgres> {
    let mut transaction = pair.one.app.db.begin().await.unwrap();
    sqlx::query(AssertSqlSafe(sql.into())).execute(&mut *transaction).await.unwrap();
    transaction
}

/// Waits until so many connections wait for a lock.
async fn until_waiting(pair: &Pair, many: i64) {
    let waiting = "select count(distinct pid) from pg_locks where not granted
                   and pid in (select pid from pg_stat_activity where datname = current_database())";
    let wait = async {
        while pair.one.count(waiting).await < many {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), wait).await.unwrap();
}

/// Starts a request in a task of its own.
fn start<C>(call: impl FnOnce() -> C) -> JoinHandle<Answer>
where
    C: Future<Output = Answer> + Send + 'static,
{
    tokio::spawn(call())
}

/// Lets every one of the ways decide, holds what they write by a lock on `table`, brings about the end, lets go.
async fn decided_before_written_after(pair: &Pair, end: End, table: &str, ways: &[usize]) {
    let world = Arc::new(World::new(pair, &format!("{end:?}").to_lowercase()).await);
    let held = hold(pair, format!("lock table {table} in share mode")).await;
    let issue = |number: usize| {
        let (world, server) = (world.clone(), pair.at(number / ways.len()));
        let way = WAYS[ways[number % ways.len()]];
        start(|| async move { world.issue(&server, way).await })
    };
    let tasks: Vec<_> = (0..CALLERS * ways.len()).map(issue).collect();
    until_waiting(pair, i64::try_from(tasks.len()).unwrap()).await;
    end.strike(&pair.two, &world).await;
    held.rollback().await.unwrap();
    let mut tokens = Vec::new();
    for task in tasks {
        tokens.push(task.await.unwrap().token());
    }
    settle(pair).await;
    for (number, Standing { active, told, .. }) in standing(pair, &tokens).await.into_iter().enumerate() {
        let way = ways[number % ways.len()];
        let stands = end.fates()[way] == Fate::Stands;
        assert_eq!(active, stands, "{end:?} {:?}", WAYS[way]);
        assert!(told <= i64::from(!active), "{end:?} {:?}", WAYS[way]);
    }
    for way in ways {
        let answer = world.issue(&pair.one, WAYS[*way]).await;
        if end.fates()[*way] == Fate::Ended {
            assert!(!answer.status.is_success(), "{end:?} {:?}", WAYS[*way]);
        } else {
            assert!(pair.is_active(&answer.token()).await, "{end:?} {:?}", WAYS[*way]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn what_was_decided_before_a_mark_and_written_after_it_is_born_inactive() {
    let pair = Pair::new().await;
    let all: Vec<usize> = (0..WAYS.len()).collect();
    for end in [
        End::Key,
        End::ClientTokens,
        End::Pattern,
        End::ClientInactive,
        End::ClientDeleted,
        End::Deactivated,
        End::Deleted,
        End::Offboarded,
        End::TokensOfAgent,
    ] {
        decided_before_written_after(&pair, end, "credentials", &all).await;
    }
    // A mark on a token is a write to the same table, so those wait that use up an assertion.
    let by_assertion = [Way::Assertion, Way::Delegated, Way::Deeper, Way::Acting].map(|way| way as usize);
    for end in [End::Token, End::Credential, End::Middle] {
        decided_before_written_after(&pair, end, "used_once", &by_assertion).await;
    }
}

/// The mark's request comes in and waits for its row; a second later tokens are issued; then the mark is committed.
async fn issued_while_the_mark_waits(pair: &Pair, end: End, row: &str) {
    let world = Arc::new(World::new(pair, &format!("late-{end:?}").to_lowercase()).await);
    let sql = row
        .replace("AGENT", &world.holder.id)
        .replace("CLIENT", &world.program.id)
        .replace("ROOT", &jti(&world.root));
    let held = hold(pair, sql).await;
    let (server, struck) = (pair.two.clone(), world.clone());
    let strike = tokio::spawn(async move { end.strike(&server, &struck).await });
    until_waiting(pair, 1).await;
    pair.one.app.clock.advance(Duration::seconds(1));
    let mut tokens = Vec::new();
    for way in WAYS {
        tokens.push(world.issue(&pair.one, way).await.token());
    }
    for Standing { active, .. } in standing(pair, &tokens).await {
        assert!(active, "{end:?}: the mark is not committed");
    }
    held.rollback().await.unwrap();
    strike.await.unwrap();
    settle(pair).await;
    for (way, Standing { active, told, .. }) in standing(pair, &tokens).await.into_iter().enumerate() {
        let ended = end.fates()[way] != Fate::Stands;
        assert_eq!((active, told), (!ended, i64::from(ended)), "{end:?} {:?}: active, events", WAYS[way]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn what_is_issued_while_a_mark_waits_ends_with_it_and_is_told_of() {
    let pair = Pair::new().await;
    let agent = "select from identities where id = 'AGENT' for update";
    let client = "select from oauth_clients where id = 'CLIENT' for update";
    let root = "select from credentials where jti = 'ROOT' for update";
    for (end, row) in [
        (End::Deactivated, agent),
        (End::Offboarded, agent),
        (End::TokensOfAgent, agent),
        (End::ClientTokens, client),
        (End::Pattern, client),
        (End::ClientDeleted, client),
        (End::Token, root),
        (End::Credential, root),
    ] {
        issued_while_the_mark_waits(&pair, end, row).await;
    }
}

/// A rotation that has found its credential standing and has yet to look at the agent.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_rotation_brings_nothing_over_the_end_of_an_agents_tokens() {
    let pair = Pair::new().await;
    for end in [End::TokensOfAgent, End::Deactivated] {
        let world = World::new(&pair, &format!("rotated-{end:?}").to_lowercase()).await;
        let held = hold(&pair, "lock table credential_policies in access exclusive mode").await;
        let path = format!("/credentials/{}/rotate", jti(&world.root));
        let server: Arc<Server> = pair.one.clone();
        let rotation = start(|| async move { server.change("POST", &path, &Value::Null).await });
        until_waiting(&pair, 1).await;
        end.strike(&pair.two, &world).await;
        if matches!(end, End::Deactivated) {
            let path = format!("/agents/registry/{}/activate", world.holder.id);
            pair.two.change("POST", &path, &Value::Null).await.expect(200);
        }
        held.rollback().await.unwrap();
        let answer = rotation.await.unwrap();
        if let Some(token) = answer.body["token"]["access_token"].as_str() {
            assert!(!pair.is_active(token).await, "{end:?}: a token of before came through it");
        }
        answer.expect(409);
    }
}
