//! Signals: those from outside with their effect, and those of the server's own about the lives of identities.

use chancery::kit::config::Reaction;
use chancery::{agents, signals};
use insta::assert_json_snapshot;
use serde_json::{Value, json};
use time::Duration;
use time::format_description::well_known::Rfc3339;

use crate::server::{Answer, START, Server};
use crate::world::{OTHER_PEM, PEM};

impl Server {
    async fn ingest(&self, body: Value) -> Answer {
        self.admin("POST", "/signals/ingest").json(body).send().await
    }

    /// A signal of this severity about an identity.
    async fn signal(&self, identity: &str, severity: &str) -> Value {
        let body = json!({ "signal_type": "anomalous_behavior", "source": "siem", "identity_id": identity,
            "severity": severity });
        self.ingest(body).await.expect(201).body
    }

    /// Type, severity and payload of the signals about an identity, oldest first.
    async fn heard_of(&self, identity: &str) -> Vec<(String, String, Value)> {
        let path = format!("/signals?limit=500&identity_id={identity}");
        let list = self.admin("GET", &path).send().await.expect(200).body;
        let told = |signal: &Value| {
            let text = |member: &str| signal[member].as_str().unwrap().to_owned();
            (text("signal_type"), text("severity"), signal["payload"].clone())
        };
        list["signals"].as_array().unwrap().iter().rev().map(told).collect()
    }
}

#[tokio::test]
async fn a_signal_is_kept_and_listed_newest_first() {
    let server = Server::new().await;
    let (agent, _) = server.agent("fetcher").await;
    let mission = "01890000-0000-7000-8000-00000000000a";
    let full = json!({
        "signal_type": "ip_change", "source": "edge", "identity_id": agent, "severity": "medium",
        "payload": { "from": "10.0.0.1", "deep": [1, null] }, "mission_id": mission,
    });
    let full = server.ingest(full).await.expect(201).body;
    server.app.clock.advance(Duration::SECOND);
    let least =
        server.ingest(json!({ "signal_type": "policy_violation", "source": "x" })).await.expect(201).body;
    assert_json_snapshot!("with_everything_and_with_the_least", [&full, &least], {
        "[].id" => "[id]", "[0].identity_id" => "[agent]",
    });
    let list = server.admin("GET", "/signals").send().await.expect(200).body;
    assert_eq!(list, json!({ "signals": [least, full], "total": 2 }));
    for (query, expected) in [
        ("limit=1", json!([least])),
        (&format!("mission_id={mission}"), json!([full])),
        (&format!("identity_id={agent}"), json!([full])),
        ("mission_id=01890000-0000-7000-8000-00000000000b", json!([])),
    ] {
        let list = server.admin("GET", &format!("/signals?{query}")).send().await.expect(200).body;
        assert_eq!(list["signals"], expected, "{query}");
    }
    let other = server.call("GET", "/signals").tenant("acme", "other").send().await.expect(200);
    assert_eq!(other.body, json!({ "signals": [], "total": 0 }));
}

#[tokio::test]
async fn what_is_no_signal_is_refused() {
    let server = Server::new().await;
    let with = |more: Value| {
        let mut body = json!({ "signal_type": "ip_change", "source": "x" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (body, status) in [
        (with(json!({ "signal_type": "sunshine" })), 400),
        (with(json!({ "signal_type": "" })), 400),
        (with(json!({ "source": " " })), 422),
        (with(json!({ "source": "x".repeat(4097) })), 400),
        (with(json!({ "severity": "extreme" })), 422),
        (with(json!({ "severity": 3 })), 422),
        (with(json!({ "identity_id": "nobody" })), 422),
        (with(json!({ "mission_id": "none" })), 422),
        (with(json!({ "payload": [] })), 422),
        (json!({ "source": "x" }), 422),
        (json!({ "signal_type": "ip_change" }), 422),
    ] {
        let before = server.audited().await;
        server.ingest(body).await.problem(status);
        assert_eq!(server.audited().await, before + 1);
    }
    for query in ["limit=0", "limit=501", "limit=x", "mission_id=x", "identity_id=x"] {
        server.admin("GET", &format!("/signals?{query}")).send().await.problem(422);
    }
    assert_eq!(server.count("select count(*) from signals").await, 0);
}

#[tokio::test]
async fn a_high_signal_ends_what_the_identity_holds_at_once_and_nothing_else() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (agent, key) = server.agent("fetcher").await;
    let (_, other_key) = server.agent("other").await;
    let (token, other) = (server.token(&key).await, server.token(&other_key).await);
    for severity in ["low", "medium"] {
        let signal = server.signal(&agent, severity).await;
        assert_eq!(signal.get("processed_at"), None);
        assert!(replica.is_active(&token).await);
    }
    let signal = server.signal(&agent, "high").await;
    assert_eq!(signal["processed_at"], signal["created_at"]);
    assert!(!replica.is_active(&token).await && replica.is_active(&other).await);
    let reason = format!("auto-revoked by CAE signal {} (severity: high)", signal["id"].as_str().unwrap());
    let tokens =
        server.admin("GET", &format!("/credentials?identity_id={agent}")).send().await.expect(200).body;
    assert_eq!(tokens["credentials"][0]["revoke_reason"], reason);
    assert_eq!(server.read(&agent).await["status"], "active");
    assert!(replica.is_active(&replica.token(&key).await).await, "a high signal leaves the key");
}

#[tokio::test]
async fn a_critical_signal_puts_the_identity_to_sleep_too() {
    let server = Server::new().await;
    let (agent, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    server.signal(&agent, "critical").await;
    assert!(!server.is_active(&token).await && !server.key_works(&key).await);
    assert_eq!(server.read(&agent).await["status"], "suspended");
    server.act(&agent, "activate").await.expect(200);
    assert!(!server.is_active(&token).await, "what was ended does not wake");
    assert!(server.key_works(&key).await);
    server.act(&agent, "deactivate").await.expect(200);
    server.signal(&agent, "critical").await;
    assert_eq!(server.read(&agent).await["status"], "deactivated", "nothing comes back to life");
}

#[tokio::test]
async fn what_a_severity_does_is_a_setting() {
    let server = Server::with(|config| {
        (config.signals.low, config.signals.high) = (Reaction::Suspend, Reaction::None);
        config.signals.critical = Reaction::Revoke;
    })
    .await;
    let (agent, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    server.signal(&agent, "high").await;
    assert!(server.is_active(&token).await);
    server.signal(&agent, "critical").await;
    assert!(!server.is_active(&token).await && server.key_works(&key).await);
    server.signal(&agent, "low").await;
    assert!(!server.key_works(&key).await);
}

#[tokio::test]
async fn a_signal_about_an_identity_of_another_tenant_is_kept_and_does_nothing() {
    let server = Server::new().await;
    let (agent, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    let body =
        json!({ "signal_type": "ip_change", "source": "x", "identity_id": agent, "severity": "critical" });
    let call = server.call("POST", "/signals/ingest").tenant("evil", "demo").json(&body);
    let stranger = call.send().await.expect(201).body;
    assert_eq!(
        (stranger["identity_id"].as_str(), stranger.get("processed_at")),
        (Some(agent.as_str()), None)
    );
    assert!(server.is_active(&token).await);
    assert_eq!(server.read(&agent).await["status"], "active");
    assert_eq!(server.heard_of(&agent).await, []);
}

#[tokio::test]
async fn a_repeated_signal_is_taken_once_and_each_leaves_one_row() {
    let server = Server::new().await;
    let (agent, key) = server.agent("fetcher").await;
    let first = server.signal(&agent, "high").await;
    let token = server.token(&key).await;
    let body = json!({ "signal_type": "anomalous_behavior", "source": "siem", "identity_id": agent, "severity": "high" });
    let call = server.admin("POST", "/signals/ingest").json(body).with("X-Idempotency-Key", "1");
    assert_eq!(call.send().await.expect(201).body, first);
    assert!(server.is_active(&token).await, "the repetition ended nothing");
    let rows: Vec<_> = server.audit().await.into_iter().filter(|row| row.0 == "signal.ingested").collect();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].1.as_str(), rows[0].3.as_str()), ("success", first["id"].as_str().unwrap()));
    let facts = server
        .text_from_sql("select metadata::text from audit_events where action = 'signal.ingested'")
        .await;
    assert!(facts.contains(r#""effect": "revoke""#) && facts.contains(&agent), "{facts}");
}

#[tokio::test]
async fn the_life_of_an_identity_is_told_once_for_each_change() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    assert_eq!(server.heard_of(&id).await, []);
    server.patch(&id, json!({ "public_key_pem": PEM })).await.expect(200);
    server.act(&id, "rotate-key").await.expect(200);
    server.admin("POST", &format!("/agents/{id}/tokens/revoke-all")).send().await.expect(200);
    server.admin("POST", &format!("/agents/{id}/tokens/revoke-all?dry_run=true")).send().await.expect(200);
    server.act(&id, "deactivate").await.expect(200);
    server.act(&id, "deactivate").await.expect(200);
    server.patch(&id, json!({ "status": "suspended", "public_key_pem": OTHER_PEM })).await.expect(400);
    server.act(&id, "activate").await.expect(200);
    let expected = [
        ("credential_change", "low", json!({ "changed": "public_key" })),
        ("credential_change", "low", json!({ "changed": "api_key" })),
        ("session_revoked", "medium", json!({ "reason": "agent_tokens_revoked" })),
        ("retirement", "high", json!({ "reason": "identity_deactivated" })),
    ];
    let mut told = server.heard_of(&id).await;
    told.sort_by_key(|one| expected.iter().position(|(kind, _, facts)| (*kind, facts) == (&one.0, &one.2)));
    assert_eq!(told, expected.map(|(kind, severity, facts)| (kind.to_owned(), severity.to_owned(), facts)));
}

#[tokio::test]
async fn the_end_of_an_identity_and_of_an_owner_are_told_once_by_two_replicas() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let end = (START + Duration::hours(1)).format(&Rfc3339).unwrap();
    let brief = server.register("brief", json!({ "expires_at": end })).await.expect(201);
    let brief = brief.body["identity"]["id"].as_str().unwrap();
    let (kept, key) = server.agent("kept").await;
    server.app.clock.advance(Duration::hours(2));
    let (one, two) = tokio::join!(agents::worker::expire(&server.app), agents::worker::expire(&replica.app));
    one.and(two).unwrap();
    let expired = ("identity_expired".to_owned(), "high".to_owned(), json!({ "reason": "expired" }));
    assert_eq!(server.heard_of(brief).await, [expired]);
    let leaver = json!({ "owner_user_id": "dev@company.example", "reason": "left" });
    server.admin("POST", "/identities/offboard-by-owner").json(leaver).send().await.expect(200);
    let retired = ("retirement".to_owned(), "high".to_owned(), json!({ "reason": "left" }));
    assert_eq!(server.heard_of(&kept).await, [retired]);
    server.act(&kept, "activate").await.expect(200);
    assert!(!server.key_works(&key).await, "the signal of the server's own ended nothing further");
}

#[tokio::test]
async fn signals_past_their_retention_are_forgotten() {
    let server = Server::new().await;
    server.ingest(json!({ "signal_type": "ip_change", "source": "old" })).await.expect(201);
    server.app.clock.advance(Duration::days(89));
    server.ingest(json!({ "signal_type": "ip_change", "source": "new" })).await.expect(201);
    signals::worker::forget(&server.app).await.unwrap();
    assert_eq!(server.count("select count(*) from signals").await, 2);
    server.app.clock.advance(Duration::days(2));
    signals::worker::forget(&server.app).await.unwrap();
    assert_eq!(server.text_from_sql("select string_agg(source, ' ') from signals").await, "new");
}
