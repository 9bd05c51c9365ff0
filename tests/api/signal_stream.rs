//! The stream of signals: nothing is lost, whatever happens to reader, server or database, and nothing is seen that the
//! reader may not see.

use std::collections::BTreeMap;

use axum::body::Body;
use chancery::kit::config::Config;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::server::{Call, Server};

/// A reader of server-sent events.
pub struct Events {
    body: Body,
    text: String,
    /// Comments and events without an id that came so far.
    pub others: Vec<String>,
}

impl Events {
    async fn open(call: Call<'_>) -> Self {
        let response = call.open().await;
        assert_eq!(response.status(), 200);
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let head = ["content-type", "cache-control", "x-accel-buffering"].map(header);
        assert_eq!(head, ["text/event-stream", "no-cache", "no"]);
        let mut events = Self { body: response.into_body(), text: String::new(), others: Vec::new() };
        assert_eq!(events.frame().await.as_deref(), Some("event: connected\ndata: {}"));
        events
    }

    /// The next frame; `None` at the end of the stream.
    async fn frame(&mut self) -> Option<String> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(frame);
            }
            let data = self.body.frame().await?.ok()?.into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    /// The next signal.
    async fn next(&mut self) -> Option<Value> {
        loop {
            let frame = self.frame().await?;
            let Some(rest) = frame.strip_prefix("event: signal\nid: ") else {
                self.others.push(frame);
                continue;
            };
            let (id, data) = rest.split_once("\ndata: ").unwrap();
            let signal: Value = serde_json::from_str(data).unwrap();
            assert_eq!(signal["id"], id);
            return Some(signal);
        }
    }
}

fn quick(config: &mut Config) {
    config.signals.poll_milliseconds = 10;
}

impl Server {
    async fn follow(&self, after: Option<&str>) -> Events {
        let call = self.admin("GET", "/signals/stream");
        Events::open(match after {
            Some(id) => call.with("Last-Event-ID", id),
            None => call,
        })
        .await
    }

    /// Ingests the `number`th signal of a source.
    async fn emit(&self, account: &str, source: &str, number: u64) -> String {
        let body = json!({ "signal_type": "ip_change", "source": source, "payload": { "n": number } });
        let call = self.call("POST", "/signals/ingest").tenant(account, "demo").json(body);
        call.send().await.expect(201).text_of("id").to_owned()
    }
}

const EVERYTHING: &str = "00000000-0000-0000-0000-000000000000";

/// A small generator: which numbers it gives does not matter, only that they are not always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// How many signals the great test writes.
fn many() -> u64 {
    std::env::var("CHANCERY_TEST_SIGNALS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_reconnects_at_random_sees_each_signal_in_order_and_none_of_others() {
    let server = Server::with(quick).await;
    let replica = server.replica().await;
    let servers = [&server, &replica];
    let each = many() / 8;
    let write = async |number: usize| {
        for n in 0..each {
            let at = servers[(number + usize::try_from(n).unwrap()) % 2];
            at.emit("acme", &format!("agent-{number}"), n).await;
            if n % 16 == 0 {
                at.emit("evil", &format!("agent-{number}"), n).await;
            }
        }
    };
    let read = async {
        let mut dice = Dice(u64::from(std::process::id()));
        let mut last = EVERYTHING.to_owned();
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        let (mut count, mut connections) = (0, 0);
        while count < each * 8 {
            let at = servers[usize::try_from(dice.below(2)).unwrap()];
            let mut events = at.follow(Some(&last)).await;
            connections += 1;
            for _ in 0..=dice.below(500).min(each * 8 - count - 1) {
                let signal = events.next().await.expect("the stream goes on");
                assert_eq!(signal["account_id"], "acme");
                let next = seen.entry(signal["source"].as_str().unwrap().to_owned()).or_default();
                assert_eq!(signal["payload"]["n"], *next, "out of order");
                *next += 1;
                count += 1;
                signal["id"].as_str().unwrap().clone_into(&mut last);
            }
        }
        assert_eq!(seen.into_values().collect::<Vec<_>>(), vec![each; 8]);
        println!("{count} signals, {connections} connections");
    };
    let writers = async {
        tokio::join!(write(0), write(1), write(2), write(3), write(4), write(5), write(6), write(7))
    };
    tokio::join!(writers, read);
}

/// A transaction that began early and ends late: its signal has the earlier number and must not be passed over.
#[tokio::test]
async fn a_signal_that_is_committed_late_is_waited_for() {
    let server = Server::with(quick).await;
    let mut events = server.follow(None).await;
    let mut slow = server.app.db.begin().await.unwrap();
    sqlx::query(
        "insert into signals (id, account_id, project_id, signal_type, severity, source, created_at)
         values (gen_random_uuid(), 'acme', 'demo', 'ip_change', 'low', 'slow', now())",
    )
    .execute(&mut *slow)
    .await
    .unwrap();
    server.emit("acme", "quick", 0).await;
    // Thirty looks of the stream.
    let early = tokio::time::timeout(std::time::Duration::from_millis(300), events.next()).await;
    assert!(early.is_err(), "the later signal came before the earlier one was committed");
    slow.commit().await.unwrap();
    let order = [events.next().await.unwrap(), events.next().await.unwrap()];
    assert_eq!([&order[0]["source"], &order[1]["source"]], ["slow", "quick"]);
}

#[tokio::test]
async fn a_stream_begins_now_or_after_the_signal_that_is_named() {
    let server = Server::with(quick).await;
    let first = server.emit("acme", "a", 1).await;
    let foreign = server.emit("evil", "a", 7).await;
    server.emit("acme", "a", 2).await;
    let mut live = server.follow(None).await;
    server.emit("acme", "a", 3).await;
    // While some transaction of the cluster is still running, "now" lies before it.
    while live.next().await.unwrap()["payload"]["n"] != 3 {}
    assert_eq!(server.follow(Some(&first)).await.next().await.unwrap()["payload"]["n"], 2);
    for unknown in [EVERYTHING, &foreign] {
        let next = server.follow(Some(unknown)).await.next().await.unwrap();
        assert_eq!(next["payload"]["n"], 1, "an unknown id and a foreign one are the same");
    }
    for bad in ["x", "0", "'; drop table signals"] {
        let call = server.admin("GET", "/signals/stream").with("Last-Event-ID", bad);
        call.send().await.problem(400);
    }
}

#[tokio::test]
async fn what_the_lives_of_identities_tell_is_streamed_too() {
    let server = Server::with(quick).await;
    let (id, _) = server.agent("fetcher").await;
    let mut events = server.follow(None).await;
    server.act(&id, "deactivate").await.expect(200);
    let signal = events.next().await.unwrap();
    assert_eq!((&signal["signal_type"], &signal["identity_id"]), (&json!("retirement"), &json!(id)));
}

#[tokio::test]
async fn a_stream_needs_the_right_of_the_list_and_ends_when_that_is_taken_away() {
    let server = Server::with(|config| {
        quick(config);
        config.signals.heartbeat_seconds = 1;
    })
    .await;
    let weak = server.admin_key(Some(("acme", "demo")), &["credentials:manage"]).await;
    server.call("GET", "/signals/stream").bearer(&weak).send().await.problem(403);
    server.call("GET", "/signals/stream").bearer("nonsense").send().await.problem(401);
    let key = server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await;
    let (_, token) = server.agent_with_scopes("root", &["nhi:manage"]).await;
    let mut ended = Vec::new();
    for credential in [&key, &token] {
        let busy = Events::open(server.call("GET", "/signals/stream").bearer(credential)).await;
        let idle = Events::open(server.call("GET", "/signals/stream").bearer(credential)).await;
        ended.push((busy, idle));
    }
    server.emit("acme", "a", 1).await;
    for (busy, idle) in &mut ended {
        assert_eq!(busy.next().await.unwrap()["payload"]["n"], 1);
        assert_eq!(idle.next().await.unwrap()["payload"]["n"], 1);
    }
    server.run_sql("update admin_keys set revoked_at = now()").await;
    server.post("/oauth2/token/revoke").form(&[("token", &token)]).send().await.expect(200);
    server.emit("acme", "a", 2).await;
    for (mut busy, mut idle) in ended {
        assert_eq!(busy.next().await, None, "nothing that was committed after the revocation");
        assert_eq!(idle.next().await, None);
    }
}

#[tokio::test]
async fn a_quiet_stream_says_that_it_is_alive_and_ends_when_the_server_is_about_to_stop() {
    let server = Server::with(|config| {
        quick(config);
        config.signals.heartbeat_seconds = 1;
    })
    .await;
    let mut events = server.follow(None).await;
    assert_eq!(events.frame().await.as_deref(), Some(": heartbeat"));
    server.app.draining.cancel();
    assert_eq!(events.frame().await, None);
    while server.app.signals.free() < 100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_left_and_goes_on_later() {
    let server = Server::with(|config| {
        quick(config);
        (config.signals.stall_seconds, config.signals.streams) = (1, 1);
    })
    .await;
    server
        .run_sql(
            "insert into signals (id, account_id, project_id, signal_type, severity, source, payload, created_at)
             select gen_random_uuid(), 'acme', 'demo', 'ip_change', 'low', 'bulk', jsonb_build_object('n', n), now()
             from generate_series(1, 2000) n",
        )
        .await;
    let mut idle = server.follow(Some(EVERYTHING)).await;
    let refused = server.admin("GET", "/signals/stream").send().await.problem(429);
    assert!(!refused.header("retry-after").is_empty());
    while server.app.signals.free() == 0 {
        tokio::task::yield_now().await;
    }
    let (mut last, mut count) = (String::new(), 0);
    while let Some(signal) = idle.next().await {
        signal["id"].as_str().unwrap().clone_into(&mut last);
        count += 1;
    }
    assert!(count > 0 && count < 2000, "{count}");
    let mut again = server.follow(Some(&last)).await;
    for _ in count..2000 {
        again.next().await.unwrap();
    }
}
