//! Rates, lock-outs, allow lists and the client's address behind proxies.

use chancery::access::refresh_lockouts;
use chancery::kit::config::Rate;
use time::Duration;

use crate::server::{Answer, Server};

const STRANGER: &str = "203.0.113.9:4000";

async fn ask(server: &Server, key: &str, from: &str) -> Answer {
    let form = [("grant_type", "api_key"), ("api_key", key)];
    server.post("/oauth2/token").form(&form).from(from).send().await
}

#[tokio::test]
async fn too_many_wrong_keys_lock_an_address_out_on_every_replica() {
    let server = Server::with(|config| config.lockout.failures = 3).await;
    let replica = server.replica().await;
    let (_, api_key) = server.agent("fetcher").await;
    for _ in 0..3 {
        ask(&server, "zid_sk_wrong", STRANGER).await.expect(400);
    }
    let refused = ask(&server, &api_key, STRANGER).await.expect(429);
    assert_eq!(refused.text_of("error"), "slow_down");
    assert_eq!(refused.header("retry-after"), "61");
    ask(&server, &api_key, "203.0.113.10:4000").await.expect(200);

    refresh_lockouts(&replica.app).await.unwrap();
    ask(&replica, &api_key, STRANGER).await.expect(429);
    server.app.clock.advance(Duration::seconds(60));
    ask(&replica, &api_key, STRANGER).await.expect(200);
    refresh_lockouts(&replica.app).await.unwrap();
    assert_eq!(server.count("select count(*) from lockouts").await, 0);
}

#[tokio::test]
async fn wrong_admin_keys_count_and_loopback_never_does() {
    let server = Server::with(|config| config.lockout.failures = 2).await;
    let key = server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await;
    let ask = |key: &str, from: &str| server.get("/agents/registry").bearer(key).from(from);
    for _ in 0..2 {
        ask("sk_live_wrong", STRANGER).send().await.expect(401);
        ask("sk_live_wrong", "127.0.0.1:1").send().await.expect(401);
    }
    ask(&key, STRANGER).send().await.expect(429);
    ask(&key, "127.0.0.1:1").send().await.expect(200);
}

#[tokio::test]
async fn failures_of_different_windows_do_not_add_up() {
    let server = Server::with(|config| config.lockout.failures = 2).await;
    let ask = || server.get("/agents/registry").bearer("sk_live_wrong").from(STRANGER);
    for _ in 0..4 {
        ask().send().await.expect(401);
        server.app.clock.advance(Duration::seconds(61));
    }
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_when_to_come_back() {
    let server = Server::with(|config| config.rate = Rate { per_address: 2, per_key: 0 }).await;
    let ask = |from: &str| server.get("/health").from(from);
    let first = ask(STRANGER).send().await.expect(200);
    assert_eq!((first.header("ratelimit-limit"), first.header("ratelimit-remaining")), ("4", "3"));
    let mut refused = None;
    for _ in 0..200 {
        let answer = ask(STRANGER).send().await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.text_of("title"), "Too Many Requests");
    ask("203.0.113.10:1").send().await.expect(200);
    let answer = Server::new().await.get("/health").send().await.expect(200);
    assert_eq!(answer.header("ratelimit-limit"), "", "no limit is set by default");
}

#[tokio::test]
async fn a_key_that_is_used_too_often_is_refused_wherever_it_comes_from() {
    let server = Server::with(|config| config.rate = Rate { per_address: 0, per_key: 1 }).await;
    let (_, busy) = server.agent("busy").await;
    let (_, calm) = server.agent("calm").await;
    let mut last = 200;
    for _ in 0..20 {
        last = server.exchange(&busy, "").await.status.as_u16();
        if last == 429 {
            break;
        }
    }
    assert_eq!(last, 429);
    server.exchange(&calm, "").await.expect(200);
}

#[tokio::test]
async fn only_trusted_proxies_are_believed_about_the_client() {
    let networks = "10.0.0.0/8".parse().unwrap();
    let server = Server::with(|config| config.trusted_proxies = networks).await;
    let key = server.admin_key_from("192.0.2.0/24").await;
    let ask = |from: &str, forwarded: &str| {
        let call = server.get("/agents/registry").bearer(&key).tenant("acme", "demo").from(from);
        if forwarded.is_empty() { call } else { call.with("X-Forwarded-For", forwarded) }
    };
    ask("192.0.2.7:1", "").send().await.expect(200);
    ask("198.51.100.1:1", "").send().await.expect(403);
    let refusals =
        "select count(*) from audit_events where action = 'admin.denied' and address = '198.51.100.1'";
    assert_eq!(server.count(refusals).await, 1, "whose key it is is known");
    ask("198.51.100.1:1", "192.0.2.7").send().await.expect(403);
    ask("10.0.0.1:1", "192.0.2.7").send().await.expect(200);
    ask("10.0.0.1:1", "198.51.100.1, 192.0.2.7, 10.1.1.1").send().await.expect(200);
    ask("10.0.0.1:1", "192.0.2.7, 198.51.100.1").send().await.expect(403);
    ask("10.0.0.1:1", "192.0.2.7, nonsense").send().await.expect(403);
}
