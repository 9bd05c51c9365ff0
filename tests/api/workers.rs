//! What the background workers do, a step at a time.

use chancery::{agents, api_keys, tokens};
use serde_json::json;
use time::Duration;
use time::format_description::well_known::Rfc3339;

use crate::server::{START, Server};

#[tokio::test]
async fn an_agent_past_its_end_expires_once_with_its_keys() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let end = (START + Duration::hours(2)).format(&Rfc3339).unwrap();
    let registered = server.register("brief", json!({ "expires_at": end })).await.expect(201);
    let id = registered.body["identity"]["id"].as_str().unwrap();
    agents::worker::expire(&server.app).await.unwrap();
    let path = format!("/agents/registry/{id}");
    assert_eq!(server.admin("GET", &path).send().await.body["status"], "active");
    server.app.clock.advance(Duration::hours(2));
    let (one, two) = tokio::join!(agents::worker::expire(&server.app), agents::worker::expire(&replica.app));
    one.and(two).unwrap();
    let agent = server.admin("GET", &path).send().await.expect(200).body;
    assert_eq!((agent["status"].as_str(), agent["api_key_prefix"].as_str()), (Some("expired"), Some("")));
    let expired = server.audit().await.into_iter().filter(|row| row.0 == "agent.expired").count();
    assert_eq!(expired, 1, "two replicas expire an agent once");
}

#[tokio::test]
async fn uses_of_keys_are_counted_in_batches() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (_, api_key) = server.agent("busy").await;
    for server in [&server, &server, &replica] {
        server.token(&api_key).await;
    }
    assert_eq!(server.count("select usage_count from api_keys").await, 0);
    for server in [&server, &replica, &server] {
        api_keys::flush(&server.app).await.unwrap();
    }
    assert_eq!(server.count("select usage_count from api_keys where last_used_ip = '127.0.0.1'").await, 3);
}

#[tokio::test]
async fn partitions_stand_ready_and_go_when_their_time_is_over() {
    let server = Server::new().await;
    let (_, api_key) = server.agent("fetcher").await;
    tokens::worker::maintain(&server.app).await.unwrap();
    tokens::worker::maintain(&server.app).await.unwrap();
    let partitions = "select count(*) from pg_inherits where inhparent = 'credentials'::regclass";
    assert_eq!(server.count(partitions).await, 4, "this month, two ahead and the default");
    let token = server.token(&api_key).await;
    assert!(server.is_active(&token).await);
    assert_eq!(server.count("select count(*) from only credentials_default").await, 0);

    let kept = i64::from(server.app.config.tokens.max_ttl_seconds)
        + i64::from(server.app.config.tokens.retention_days) * 86_400;
    server.app.clock.advance(Duration::seconds(kept - 86_400));
    tokens::worker::maintain(&server.app).await.unwrap();
    assert_eq!(server.count("select count(*) from credentials").await, 1, "its retention is not over");
    server.app.clock.advance(Duration::days(31));
    tokens::worker::maintain(&server.app).await.unwrap();
    assert_eq!(server.count("select count(*) from credentials").await, 0);
    assert!(server.count(partitions).await <= 16);
}

#[tokio::test]
async fn what_was_used_once_is_forgotten_when_it_can_not_be_used_any_more() {
    let server = Server::new().await;
    let expiry = format!("'{}'::timestamptz + number * interval '1 minute'", server.app.clock.now());
    let insert = "insert into used_once (kind, key, used_by, expires_at) select 'proof', decode(md5(number::text), 'hex'),
        gen_random_uuid(), {} from generate_series(1, 2) number";
    server.run_sql(insert.replace("{}", &expiry)).await;
    for (minutes, left) in [(0, 2), (1, 2), (1, 1), (1, 0)] {
        server.app.clock.advance(Duration::minutes(minutes));
        tokens::worker::forget(&server.app).await.unwrap();
        assert_eq!(server.count("select count(*) from used_once").await, left);
    }
    let many =
        insert.replace("generate_series(1, 2)", "generate_series(1, 12000)").replace("{}", "'2026-01-01'");
    server.run_sql(many).await;
    tokens::worker::forget(&server.app).await.unwrap();
    assert_eq!(server.count("select count(*) from used_once").await, 0);
}

#[tokio::test]
async fn a_mark_stays_as_long_as_the_rows_of_what_it_ended() {
    let server = Server::new().await;
    tokens::worker::maintain(&server.app).await.unwrap();
    let (id, api_key) = server.agent("fetcher").await;
    server.token(&api_key).await;
    server.act(&id, "deactivate").await.expect(200);
    tokens::worker::announce(&server.app).await.unwrap();
    let reason =
        "select count(*) from credential_history where is_revoked and ended_reason = 'identity_deactivated'";
    let mut lasted = 0;
    for _ in 0..40 {
        server.app.clock.advance(Duration::days(5));
        tokens::worker::forget(&server.app).await.unwrap();
        tokens::worker::maintain(&server.app).await.unwrap();
        let credentials = server.count("select count(*) from credentials").await;
        assert_eq!(server.count(reason).await, credentials);
        lasted += credentials;
    }
    assert!((24..30).contains(&lasted), "the row is kept for its retention and then goes: {lasted}");
    assert_eq!(server.count("select count(*) from revocations").await, 0);
    assert_eq!(server.count("select count(*) from outbox").await, 0);
}

#[tokio::test]
async fn a_mark_that_waits_for_its_events_stays_whatever_its_age() {
    let server = Server::new().await;
    let (id, api_key) = server.agent("fetcher").await;
    server.token(&api_key).await;
    server.act(&id, "deactivate").await.expect(200);
    server.app.clock.advance(Duration::days(400));
    tokens::worker::forget(&server.app).await.unwrap();
    assert_eq!(server.count("select count(*) from revocations").await, 1);
    tokens::worker::announce(&server.app).await.unwrap();
    assert_eq!(server.count("select count(*) from outbox").await, 1);
    tokens::worker::forget(&server.app).await.unwrap();
    assert_eq!(server.count("select count(*) from revocations").await, 0);
}

#[tokio::test]
async fn the_lag_of_workers_is_shown() {
    let server = Server::new().await;
    let stop = tokio_util::sync::CancellationToken::new();
    let workers = chancery::workers::start(&server.app, stop.clone());
    stop.cancel();
    workers.wait().await;
    let metrics = server.get("/metrics").send().await.expect(200).text;
    for worker in [
        "keys_refresh",
        "keys_rotation",
        "agents_expiry",
        "api_keys_usage",
        "credentials_partitions",
        "revocations",
        "tokens_forgotten",
    ] {
        assert!(
            metrics.contains(&format!("chancery_worker_lag_seconds{{worker=\"{worker}\"}}")),
            "{metrics}"
        );
    }
}
