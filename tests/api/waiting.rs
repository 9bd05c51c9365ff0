//! One record that waits for a lock of another session, or that the database refuses, does not hold up the records that travel
//! with it.

use chancery::access::possession::PROOF;
use chancery::kit::clock::Stopwatch;
use chancery::kit::secret::sha256;
use serde_json::json;

use crate::server::Server;
use crate::signer::Signer;

#[tokio::test]
async fn others_are_served_while_one_waits_for_a_lock() {
    let server = Server::new().await;
    let ((_, slow), (_, other)) = (server.agent("slow").await, server.agent("other").await);
    let signer = Signer::new();
    let key = sha256(format!("{}held", signer.jkt()).as_bytes());
    let mut tx = server.app.db.begin().await.unwrap();
    sqlx::query(
        "insert into used_once (kind, key, used_by, expires_at)
         values ($1, $2, gen_random_uuid(), now() + interval '1 hour')",
    )
    .bind(PROOF)
    .bind(&key[..])
    .execute(&mut *tx)
    .await
    .unwrap();
    let form = [("grant_type", "api_key"), ("api_key", slow.as_str())];
    let proof = server.proof_with(&signer, &json!({ "jti": "held" }));
    let waits = server.post("/oauth2/token").form(&form).with("DPoP", &proof);
    let others = async {
        while !is_any_waiting(&server).await {}
        let watch = Stopwatch::start();
        for _ in 0..3 {
            server.token(&other).await;
        }
        let took = watch.seconds();
        assert!(is_any_waiting(&server).await, "nobody waits any more");
        tx.rollback().await.unwrap();
        took
    };
    let (answer, took) = tokio::join!(waits.send(), others);
    answer.expect(200);
    // A statement is given up after ten seconds; a batch does not wait that long for one of its records.
    assert!(took < 5.0, "the others took {took} s");
}

#[tokio::test]
async fn a_record_that_is_refused_costs_neither_others_nor_the_connection() {
    let server = Server::new().await;
    let (_, key) = server.agent("busy").await;
    server.token(&key).await;
    let writers = writers(&server).await;
    assert_eq!(writers.len(), 1, "one connection writes");
    sqlx::query("alter table audit_events add constraint refused check (request_id <> 'refused') not valid")
        .execute(&server.app.db)
        .await
        .unwrap();
    let form = [("grant_type", "api_key"), ("api_key", key.as_str())];
    let ask = |id: &str| server.post("/oauth2/token").form(&form).with("X-Request-ID", id).send();
    for _ in 0..5 {
        let (before, refused, after) = tokio::join!(ask("before"), ask("refused"), ask("after"));
        before.expect(200);
        refused.expect(500);
        after.expect(200);
    }
    assert!(self::writers(&server).await.contains(&writers[0]), "its connection was made anew");
}

/// The sessions on the database of this test whose last statement wrote a token.
async fn writers(server: &Server) -> Vec<i32> {
    sqlx::query_scalar(
        "select pid from pg_stat_activity where datname = current_database() and query like 'with issued as%'",
    )
    .fetch_all(&server.app.db)
    .await
    .unwrap()
}

/// Whether some session on the database of this test waits for a lock.
async fn is_any_waiting(server: &Server) -> bool {
    sqlx::query_scalar(
        "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')",
    )
    .fetch_one(&server.app.db)
    .await
    .unwrap()
}
