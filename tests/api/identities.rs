//! Identities by themselves: made without a key, changed in all that a tenant says of them, looked up and counted.

use insta::assert_json_snapshot;
use serde_json::{Value, json};
use time::Duration;
use time::format_description::well_known::Rfc3339;

use crate::server::{Answer, START, Server};
use crate::world::PEM;

impl Server {
    pub async fn identity(&self, body: Value) -> Answer {
        self.admin("POST", "/identities").json(body).send().await
    }

    pub async fn identify(&self, id: &str) -> Value {
        self.admin("GET", &format!("/identities/{id}")).send().await.expect(200).body
    }

    pub async fn amend(&self, id: &str, body: Value) -> Answer {
        self.admin("PATCH", &format!("/identities/{id}")).json(body).send().await
    }
}

fn after(time: Duration) -> String {
    (START + time).format(&Rfc3339).unwrap()
}

#[tokio::test]
async fn an_identity_is_made_without_a_key_and_shown_in_full() {
    let server = Server::new().await;
    let body = json!({
        "external_id": "billing", "owner_user_id": "ops@company.example", "name": "Billing", "identity_type": "service",
        "sub_type": "llm_provider", "trust_level": "first_party", "allowed_scopes": ["a"], "public_key_pem": PEM,
        "framework": "f", "version": "1", "publisher": "p", "description": "d", "capabilities": ["x"],
        "labels": { "team": "data" }, "metadata": { "k": 1 }, "capability_tier": "high", "risk_tier": "low", "ial": "ial2",
        "expires_at": after(Duration::hours(1)),
    });
    let made = server.identity(body).await.expect(201).body;
    assert_json_snapshot!("in_full", made, { ".id" => "[id]", ".credential_policy_id" => "[policy]" });
    let id = made["id"].as_str().unwrap();
    assert_eq!(server.identify(id).await, made);
    assert_eq!(server.count("select count(*) from api_keys").await, 0);
    let least = json!({ "external_id": "least", "owner_user_id": "ops@company.example" });
    let least = server.identity(least).await.expect(201).body;
    assert_eq!((least["name"].as_str(), least["sub_type"].as_str()), (Some(""), Some("tool_agent")));
    let list = server.admin("GET", "/identities?identity_type=service").send().await.expect(200).body;
    assert_eq!(list, json!({ "identities": [made], "total": 1, "limit": 20, "offset": 0 }));
    let owned = server.admin("GET", "/identities?owner_user_id=ops%40company.example&limit=1").send().await;
    assert_eq!(owned.expect(200).body["total"], 2);
    server.call("GET", &format!("/identities/{id}")).tenant("evil", "demo").send().await.problem(404);
}

#[tokio::test]
async fn what_is_no_identity_is_refused() {
    let server = Server::new().await;
    let with = |more: Value| {
        let mut body = json!({ "external_id": "x", "owner_user_id": "u" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    server.identity(with(json!({ "external_id": "taken" }))).await.expect(201);
    for (body, status) in [
        (json!({ "external_id": "x" }), 422),
        (json!({ "owner_user_id": "u" }), 422),
        (with(json!({ "owner_user_id": "" })), 400),
        (with(json!({ "owner_user_id": " u" })), 400),
        (with(json!({ "owner_user_id": "system:x" })), 400),
        (with(json!({ "external_id": "a/b" })), 400),
        (with(json!({ "external_id": "taken" })), 409),
        (with(json!({ "risk_tier": "medium" })), 422),
        (with(json!({ "capability_tier": "none" })), 422),
        (with(json!({ "ial": "ial4" })), 422),
        (with(json!({ "sub_type": "chatbot" })), 400),
        (with(json!({ "public_key_pem": "x" })), 400),
        (with(json!({ "expires_at": "2020-01-01T00:00:00Z" })), 400),
        (with(json!({ "credential_policy_id": "01890000-0000-7000-8000-000000000000" })), 400),
    ] {
        let before = (server.everything().await, server.audited().await);
        let shown = body.to_string();
        server.identity(body).await.problem(status);
        assert_eq!((server.everything().await, server.audited().await), (before.0, before.1 + 1), "{shown}");
    }
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_an_empty_one_nothing() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    let before = server.identify(&id).await;
    assert_eq!(server.amend(&id, json!({})).await.expect(200).body, before);
    let policy = server.policy("narrow", "array['a', 'b']").await;
    let body = json!({
        "name": "Other", "owner_user_id": "new@company.example", "allowed_scopes": ["a", "c"], "risk_tier": "high",
        "credential_policy_id": policy, "capability_tier": "low", "ial": "ial1", "identity_type": "agent",
    });
    let changed = server.amend(&id, body).await.expect(200).body;
    for (member, value) in [
        ("name", json!("Other")),
        ("owner_user_id", json!("new@company.example")),
        ("allowed_scopes", json!(["a", "c"])),
        ("credential_policy_id", json!(policy)),
        ("risk_tier", json!("high")),
        ("capability_tier", json!("low")),
        ("ial", json!("ial1")),
    ] {
        assert_eq!(changed[member], value, "{member}");
    }
    assert_eq!(server.identify(&id).await, changed);
    assert_eq!(server.exchange(&key, "a b").await.expect(200).body["scope"], "a");
    let open = json!({ "allowed_scopes": [], "credential_policy_id": "", "risk_tier": "" });
    let opened = server.amend(&id, open).await.expect(200).body;
    assert_eq!(opened.get("allowed_scopes"), None);
    assert_eq!(
        (&opened["credential_policy_id"], &opened["risk_tier"]),
        (&json!(server.default_policy().await), &json!(""))
    );
    let told = server.admin("GET", &format!("/signals?identity_id={id}")).send().await.expect(200).body;
    assert_eq!(told["total"], 1);
    assert_eq!(told["signals"][0]["signal_type"], "owner_change");
    assert_eq!(
        told["signals"][0]["payload"],
        json!({ "from": "dev@company.example", "to": "new@company.example" })
    );
}

#[tokio::test]
async fn a_patch_that_may_not_be_changes_nothing() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    let manager = server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await;
    let reserved = server.policy("reserved", "array['vault:read', 'nhi:manage']").await;
    for (body, status) in [
        (json!({ "identity_type": "service" }), 400),
        (json!({ "owner_user_id": "" }), 400),
        (json!({ "owner_user_id": " u" }), 400),
        (json!({ "status": "pending" }), 400),
        (json!({ "status": "expired" }), 400),
        (json!({ "risk_tier": "x" }), 422),
        (json!({ "name": "New", "expires_at": "2026-12-01T12:00:00Z" }), 400),
        (json!({ "name": "New", "expires_at": "soon" }), 422),
        (json!({ "name": "New", "credential_policy_id": "x" }), 422),
        (json!({ "name": "New", "credential_policy_id": "01890000-0000-7000-8000-000000000000" }), 400),
        (json!({ "name": "New", "allowed_scopes": ["audit:read"] }), 403),
        (json!({ "name": "New", "credential_policy_id": reserved }), 403),
    ] {
        let before = (server.everything().await, server.audited().await);
        let call = server.call("PATCH", &format!("/identities/{id}")).bearer(&manager).json(&body);
        call.send().await.problem(status);
        assert_eq!((server.everything().await, server.audited().await), (before.0, before.1 + 1), "{body}");
    }
}

#[tokio::test]
async fn an_end_is_set_kept_moved_and_taken_away() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    let end = after(Duration::hours(1));
    assert_eq!(server.amend(&id, json!({ "expires_at": end })).await.expect(200).body["expires_at"], end);
    assert_eq!(server.amend(&id, json!({ "name": "Other" })).await.expect(200).body["expires_at"], end);
    let token = server.token(&key).await;
    assert_eq!(server.amend(&id, json!({ "expires_at": "" })).await.expect(200).body.get("expires_at"), None);
    server.app.clock.advance(Duration::minutes(59));
    assert!(server.key_works(&key).await && server.is_active(&token).await);
    server.amend(&id, json!({ "expires_at": after(Duration::minutes(90)) })).await.expect(200);
    server.app.clock.advance(Duration::minutes(31));
    assert!(!server.key_works(&key).await, "past its end, before any sweep");
    server.amend(&id, json!({ "expires_at": after(Duration::hours(1)) })).await.problem(400);
}

#[tokio::test]
async fn what_ends_soon_is_listed_by_its_end_and_only_while_it_works() {
    let server = Server::new().await;
    for (name, days) in [("late", 9), ("second", 6), ("first", 2)] {
        let end = after(Duration::days(days));
        server.register(name, json!({ "expires_at": end })).await.expect(201);
        server.make_policy(json!({ "name": name, "expires_at": end })).await.expect(201);
    }
    let gone = server.register("gone", json!({ "expires_at": after(Duration::days(1)) })).await.expect(201);
    server.act(gone.body["identity"]["id"].as_str().unwrap(), "deactivate").await.expect(200);
    server.agent("endless").await;
    let list = |within: &'static str| server.admin("GET", within).send();
    let soon = list("/expiring-soon").await.expect(200).body;
    let names = |list: &Value, member: &str| {
        let name = |item: &Value| item[member].as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(soon["within"], "7d");
    assert_eq!(names(&soon["identities"], "external_id"), ["first", "second"]);
    assert_eq!(names(&soon["credential_policies"], "name"), ["first", "second"]);
    assert_eq!(names(&soon["api_keys"], "name"), ["Agent: Agent first", "Agent: Agent second"]);
    let longer = list("/expiring-soon?within=1w2d").await.expect(200).body;
    assert_eq!(names(&longer["identities"], "external_id"), ["first", "second", "late"]);
    let exactly = list("/expiring-soon?within=48h").await.expect(200).body;
    assert_eq!(names(&exactly["identities"], "external_id"), ["first"]);
    for bad in ["0d", "366d", "-1d", "7", "week", "1y"] {
        server.admin("GET", &format!("/expiring-soon?within={bad}")).send().await.problem(400);
    }
    let other = server.call("GET", "/expiring-soon").tenant("evil", "demo").send().await.expect(200).body;
    assert_eq!(other, json!({ "within": "7d", "identities": [], "credential_policies": [], "api_keys": [] }));
}

#[tokio::test]
async fn an_identity_is_found_by_its_uri_in_its_tenant_only() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    let identity = server.identify(&id).await;
    let uri = identity["wimse_uri"].as_str().unwrap();
    let path = format!("/identities/by-wimse?uri={uri}");
    assert_eq!(server.admin("GET", &path).send().await.expect(200).body, identity);
    for (answer, status, detail) in [
        (server.call("GET", &path).tenant("evil", "demo").send().await, 404, "identity_not_found"),
        (server.admin("GET", &format!("{path}x")).send().await, 404, "identity_not_found"),
        (server.admin("GET", "/identities/by-wimse?uri=fetcher").send().await, 400, "invalid_wimse_uri"),
        (server.admin("GET", "/identities/by-wimse").send().await, 400, "invalid_wimse_uri"),
    ] {
        let answer = answer.problem(status);
        assert_eq!(answer.text_of("detail"), detail);
        assert!(answer.body["errors"][0]["value"].is_string());
    }
}

#[tokio::test]
async fn words_are_listed_and_identities_counted_by_them() {
    let server = Server::new().await;
    server.agent("a").await;
    let (gone, _) = server.agent("b").await;
    server.act(&gone, "deactivate").await.expect(200);
    server
        .register("c", json!({ "identity_type": "service", "metadata": { "created_via": "cli" } }))
        .await
        .expect(201);
    let found = json!({ "origin": "aws", "external_id": "found" });
    server.admin("POST", "/identities/discovered").json(found).send().await.expect(200);
    let facets = server.admin("GET", "/agents/registry/facets").send().await.expect(200).body;
    assert_json_snapshot!("facets", facets);
    let schema = server.admin("GET", "/identities/schema").send().await.expect(200).body;
    assert_json_snapshot!("schema", schema);
    let none =
        server.call("GET", "/agents/registry/facets").tenant("evil", "demo").send().await.expect(200).body;
    assert_eq!((&none["identity_types"], &none["ownerless"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn a_deletion_deactivates_and_answers_the_identity() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    for _ in 0..2 {
        let deleted = server.admin("DELETE", &format!("/identities/{id}")).send().await.expect(200).body;
        assert_eq!((&deleted["id"], &deleted["status"]), (&json!(id), &json!("deactivated")));
    }
    assert!(!server.key_works(&key).await);
}
