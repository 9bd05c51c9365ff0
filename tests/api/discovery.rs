//! Discovery: what a source reports, and what a person makes of it.

use serde_json::{Value, json};
use time::Duration;

use crate::server::{Answer, Server};

impl Server {
    async fn report(&self, more: Value) -> Answer {
        let mut body =
            json!({ "origin": "aws", "source_id": "one", "external_id": "found", "name": "Found" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.admin("POST", "/identities/discovered").json(body).send().await
    }

    /// A discovered identity's id.
    async fn discovered(&self, external_id: &str) -> String {
        let answer = self.report(json!({ "external_id": external_id })).await.expect(200);
        answer.body["identity"]["id"].as_str().unwrap().to_owned()
    }

    async fn decide(&self, id: &str, action: &str, body: Value) -> Answer {
        self.admin("POST", &format!("/identities/{id}/{action}")).json(body).send().await
    }

    async fn of_source(&self, action: &str, more: Value) -> Answer {
        let mut body = json!({ "origin": "aws", "source_id": "one" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.admin("POST", &format!("/identities/discovered/{action}")).json(body).send().await
    }
}

#[tokio::test]
async fn what_is_reported_is_discovered_and_refreshed_but_not_judged_again() {
    let server = Server::new().await;
    let first = server
        .report(json!({ "owner_user_id": "u", "trust_level": "verified_third_party" }))
        .await
        .expect(200)
        .body;
    assert_eq!(first["created"], true);
    let identity = &first["identity"];
    let id = identity["id"].as_str().unwrap();
    for (member, value) in [
        ("status", "discovered"),
        ("origin", "aws"),
        ("source_id", "one"),
        ("owner_user_id", "u"),
        ("name", "Found"),
    ] {
        assert_eq!(identity[member], value, "{member}");
    }
    let list = server.admin("GET", "/identities").send().await.expect(200).body;
    assert_eq!(list["total"], 0, "lists leave it out");
    let list =
        server.admin("GET", "/identities?status=discovered&origin=external").send().await.expect(200).body;
    assert_eq!(list["identities"], json!([identity]));
    server.app.clock.advance(Duration::SECOND);
    let more = json!({ "name": "Renamed", "labels": { "a": "b" }, "source_id": "two", "owner_user_id": "v",
        "trust_level": "unverified", "identity_type": "service", "allowed_scopes": ["nhi:manage"] });
    let second = server.report(more).await.expect(200).body;
    assert_eq!((&second["created"], &second["identity"]["id"]), (&json!(false), &json!(id)));
    for (member, value) in [
        ("name", json!("Renamed")),
        ("labels", json!({ "a": "b" })),
        ("source_id", json!("one")),
        ("owner_user_id", json!("u")),
        ("trust_level", json!("verified_third_party")),
        ("identity_type", json!("service")),
        ("wimse_uri", json!("spiffe://chancery.localhost/acme/demo/service/found")),
    ] {
        assert_eq!(second["identity"][member], value, "{member}");
    }
    assert_eq!(second["identity"].get("allowed_scopes"), None);
    let resolved = server.report(json!({ "owner_resolved": true })).await.expect(200).body;
    assert_eq!(resolved["identity"]["owner_user_id"], "", "declared, also where it is empty");
    assert_eq!(resolved["identity"]["trust_level"], "unverified");
}

#[tokio::test]
async fn what_a_source_may_not_say_is_refused() {
    let server = Server::new().await;
    server.agent("native").await;
    for (more, status) in [
        (json!({ "origin": "native" }), 400),
        (json!({ "origin": "AWS" }), 400),
        (json!({ "origin": "" }), 400),
        (json!({ "external_id": "a/b" }), 400),
        (json!({ "trust_level": "first_party" }), 400),
        (json!({ "sub_type": "chatbot" }), 400),
        (json!({ "owner_user_id": "system:x" }), 400),
        (json!({ "external_id": "native" }), 409),
        (json!({ "external_id": 1 }), 422),
    ] {
        let before = (server.everything().await, server.audited().await);
        server.report(more).await.problem(status);
        assert_eq!((server.everything().await, server.audited().await), (before.0, before.1 + 1));
    }
}

#[tokio::test]
async fn a_batch_takes_what_it_can_and_names_the_rest() {
    let server = Server::new().await;
    server.agent("native").await;
    server.discovered("known").await;
    let agent = |external_id: &str| json!({ "origin": "aws", "external_id": external_id });
    let agents = json!([agent("new"), agent("known"), agent("native"), agent("a/b"), { "external_id": "x" }, agent("new"), 7]);
    let batch = async |agents: Value| {
        server.admin("POST", "/identities/discovered/batch").json(json!({ "agents": agents })).send().await
    };
    let before = server.audited().await;
    let taken = batch(agents).await.expect(200).body;
    assert_eq!((&taken["created"], &taken["reconciled"]), (&json!(1), &json!(2)));
    let failed: Vec<_> = taken["failed"].as_array().unwrap().iter().map(|one| &one["external_id"]).collect();
    assert_eq!(failed, ["native", "a/b", "x", ""]);
    assert_eq!(server.audited().await, before + 1);
    batch(json!([])).await.problem(422);
    server
        .admin("POST", "/identities/discovered/batch")
        .json(json!({ "agents": {} }))
        .send()
        .await
        .problem(422);
}

#[tokio::test]
async fn an_adopted_identity_obtains_nothing_until_it_is_active() {
    let server = Server::new().await;
    let id = server.discovered("found").await;
    server.amend(&id, json!({ "status": "active" })).await.problem(400);
    server.decide(&id, "adopt", json!({})).await.problem(400);
    let policy = server.policy("narrow", "array['a']").await;
    let body = json!({ "owner_user_id": "u", "credential_policy_id": policy });
    let adopted = server.decide(&id, "adopt", body).await.expect(200).body;
    assert_eq!((&adopted["status"], &adopted["owner_user_id"]), (&json!("pending"), &json!("u")));
    assert_eq!(adopted["credential_policy_id"], policy);
    server.decide(&id, "adopt", json!({ "owner_user_id": "u" })).await.problem(400);
    let key = server
        .make_key(json!({ "name": "k", "identity_id": id }))
        .await
        .expect(201)
        .text_of("key")
        .to_owned();
    assert!(!server.key_works(&key).await);
    server.amend(&id, json!({ "status": "active" })).await.expect(200);
    assert!(server.key_works(&key).await);
    server.app.clock.advance(Duration::SECOND);
    let again = server
        .report(json!({ "owner_user_id": "thief", "owner_resolved": true, "identity_type": "service",
        "name": "Still refreshed" }))
        .await
        .expect(200)
        .body;
    for (member, value) in [
        ("owner_user_id", "u"),
        ("identity_type", "agent"),
        ("name", "Still refreshed"),
        ("status", "active"),
    ] {
        assert_eq!(again["identity"][member], value, "{member}");
    }
}

#[tokio::test]
async fn dismissing_goes_back_a_step_and_ends_there() {
    let server = Server::new().await;
    let id = server.discovered("found").await;
    let policy = server.policy("narrow", "array['a']").await;
    let body = json!({ "owner_user_id": "u", "credential_policy_id": policy });
    server.decide(&id, "adopt", body).await.expect(200);
    let back = server.decide(&id, "dismiss", json!({})).await.expect(200).body;
    assert_eq!((&back["status"], &back["owner_user_id"]), (&json!("discovered"), &json!("")));
    assert_eq!(back["credential_policy_id"], server.default_policy().await);
    for _ in 0..2 {
        let gone = server.decide(&id, "dismiss", json!({})).await.expect(200).body;
        assert_eq!(gone["status"], "deactivated");
    }
    let (native, _) = server.agent("native").await;
    server.decide(&native, "dismiss", json!({})).await.problem(400);
    server.decide(&native, "adopt", json!({ "owner_user_id": "u" })).await.problem(400);
}

#[tokio::test]
async fn expiring_by_hand_ends_keys_and_tokens() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    for _ in 0..2 {
        assert_eq!(server.decide(&id, "expire", json!({})).await.expect(200).body["status"], "expired");
    }
    assert!(!server.is_active(&token).await && !server.key_works(&key).await);
    let told = server.admin("GET", &format!("/signals?identity_id={id}")).send().await.expect(200).body;
    assert_eq!((&told["total"], &told["signals"][0]["signal_type"]), (&json!(1), &json!("identity_expired")));
    let found = server.discovered("found").await;
    server.decide(&found, "expire", json!({})).await.problem(400);
}

#[tokio::test]
async fn pruning_deactivates_what_its_source_no_longer_reports_and_nothing_else() {
    let server = Server::new().await;
    let stale = server.discovered("stale").await;
    let adopted = server.discovered("adopted").await;
    server.decide(&adopted, "adopt", json!({ "owner_user_id": "u" })).await.expect(200);
    let elsewhere =
        server.report(json!({ "external_id": "elsewhere", "source_id": "two" })).await.expect(200);
    let elsewhere = elsewhere.body["identity"]["id"].as_str().unwrap().to_owned();
    let (native, _) = server.agent("native").await;
    server.app.clock.advance(Duration::hours(1));
    let fresh = server.discovered("fresh").await;
    let since = json!({ "not_seen_since": "2026-12-01T12:30:00Z" });
    assert_eq!(server.of_source("prune", since.clone()).await.expect(200).body, json!({ "deactivated": 1 }));
    assert_eq!(server.of_source("prune", since).await.expect(200).body, json!({ "deactivated": 0 }));
    let mut statuses = Vec::new();
    for id in [&stale, &adopted, &elsewhere, &native, &fresh] {
        statuses.push(server.identify(id).await["status"].as_str().unwrap().to_owned());
    }
    assert_eq!(statuses, ["deactivated", "pending", "discovered", "active", "discovered"]);
    for bad in [
        json!({}),
        json!({ "not_seen_since": "2027-01-01" }),
        json!({ "origin": "native", "not_seen_since": "2020-01-01" }),
    ] {
        server.of_source("prune", bad).await.problem(400);
    }
}

#[tokio::test]
async fn a_released_source_lets_another_report() {
    let server = Server::new().await;
    server.discovered("found").await;
    server.report(json!({ "external_id": "other", "source_id": "two" })).await.expect(200);
    assert_eq!(
        server.of_source("release-source", json!({})).await.expect(200).body,
        json!({ "released": 1 })
    );
    assert_eq!(
        server.of_source("release-source", json!({})).await.expect(200).body,
        json!({ "released": 0 })
    );
    let taken = server.report(json!({ "source_id": "three" })).await.expect(200).body;
    assert_eq!(taken["identity"]["source_id"], "three");
    server.of_source("release-source", json!({ "origin": "native" })).await.problem(400);
}
