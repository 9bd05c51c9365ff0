//! Repetition of creating requests.

use serde_json::{Value, json};
use time::Duration;

use crate::server::Server;

fn agent(external_id: &str) -> Value {
    json!({ "name": "Fetcher", "external_id": external_id, "created_by": "dev@company.example" })
}

#[tokio::test]
async fn the_sdk_repeats_a_lost_registration_and_gets_its_answer() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let first = server.admin("POST", "/agents/register").json(agent("a")).send().await.expect(201);
    let repeated = replica.admin("POST", "/agents/register").json(agent("a"));
    let repeated = repeated.with("X-Idempotency-Key", "1c7e").send().await.expect(201);
    assert_eq!(repeated.body, first.body, "the same agent and the same key, on the other replica");
    let key = repeated.text_of("api_key");
    assert!(replica.is_active(&replica.token(key).await).await);
    assert_eq!(server.count("select count(*) from identities").await, 1);
    assert_eq!(server.audit().await.len(), 2, "one registration and one token");
}

#[tokio::test]
async fn a_repetition_needs_the_header_the_body_the_caller_and_the_minute() {
    let server = Server::new().await;
    server.admin("POST", "/agents/register").json(agent("a")).send().await.expect(201);
    let post = || server.admin("POST", "/agents/register").json(agent("a"));
    post().send().await.expect(409);
    let admin_key = server.admin_key(None, &["nhi:manage"]).await;
    post().bearer(&admin_key).with("X-Idempotency-Key", "1").send().await.expect(409);
    let other = server.call("POST", "/agents/register").tenant("acme", "other").json(agent("a"));
    other.with("X-Idempotency-Key", "1").send().await.expect(201);
    server.app.clock.advance(Duration::seconds(61));
    post().with("X-Idempotency-Key", "1").send().await.expect(409);
}

#[tokio::test]
async fn parallel_requests_with_one_key_create_one_agent() {
    let server = Server::new().await;
    let send = || async {
        let call = server.admin("POST", "/agents/register").json(agent("a"));
        call.with("Idempotency-Key", "order-17").send().await.expect(201).body
    };
    let (a, b, c, d) = tokio::join!(send(), send(), send(), send());
    assert!(a == b && b == c && c == d);
    assert_eq!(server.count("select count(*) from api_keys").await, 1);
}

#[tokio::test]
async fn a_key_names_one_request() {
    let server = Server::new().await;
    let post = |body| server.admin("POST", "/agents/register").json(body).with("Idempotency-Key", "order-17");
    post(agent("a")).send().await.expect(201);
    post(agent("b")).send().await.expect(422);
    assert_eq!(server.count("select count(*) from identities").await, 1);
    let long = "k".repeat(256);
    server
        .admin("POST", "/agents/register")
        .json(agent("c"))
        .with("Idempotency-Key", &long)
        .send()
        .await
        .expect(400);
}

#[tokio::test]
async fn a_kept_answer_is_sealed_and_forgotten() {
    let server = Server::new().await;
    let answer = server.admin("POST", "/agents/register").json(agent("a")).send().await.expect(201);
    let sealed: Vec<u8> = sqlx::query_scalar("select sealed_body from idempotent_answers")
        .fetch_one(&server.app.db)
        .await
        .unwrap();
    let key = answer.text_of("api_key").as_bytes();
    assert!(!sealed.windows(key.len()).any(|window| window == key));
    chancery::idempotency::worker::forget(&server.app).await.unwrap();
    assert_eq!(server.count("select count(*) from idempotent_answers").await, 1);
    server.app.clock.advance(Duration::seconds(61));
    chancery::idempotency::worker::forget(&server.app).await.unwrap();
    assert_eq!(server.count("select count(*) from idempotent_answers").await, 0);
}
