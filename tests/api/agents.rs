//! Registration, reading and deletion of agents.

use std::collections::HashSet;
use std::sync::Arc;

use insta::assert_json_snapshot;
use serde_json::{Value, json};
use time::Duration;
use tokio::task::JoinSet;

use crate::server::Server;
use crate::world::{MOUNTS, PEM};

/// Requires that no member is null, however deep: a client refuses the whole answer then.
#[track_caller]
fn assert_without_null(value: &Value) {
    assert!(!value.is_null(), "a member is null");
    let items = value.as_array().into_iter().flatten();
    items
        .chain(value.as_object().into_iter().flat_map(|members| members.values()))
        .for_each(assert_without_null);
}

#[tokio::test]
async fn an_agent_with_the_least_said_of_it_has_its_defaults() {
    let server = Server::new().await;
    let answer = server.register("fetcher", Value::Null).await.expect(201);
    assert_json_snapshot!("registered_with_the_least", answer.body, {
        ".api_key" => "[key]", ".identity.id" => "[id]", ".identity.api_key_prefix" => "[prefix]",
        ".identity.credential_policy_id" => "[policy]",
    });
    let key = answer.text_of("api_key");
    assert_eq!((key.len(), &key[..7]), (39, "zid_sk_"));
    assert_eq!(answer.body["identity"]["api_key_prefix"], key[..16]);
    assert_eq!(server.read(answer.body["identity"]["id"].as_str().unwrap()).await, answer.body["identity"]);
}

#[tokio::test]
async fn an_agent_with_everything_said_of_it_keeps_it() {
    let server = Server::new().await;
    let policy = server.policy("narrow", "array['a', 'b']").await;
    let more = json!({
        "identity_type": "application", "sub_type": "chatbot", "trust_level": "first_party", "framework": "graph",
        "version": "1.2", "publisher": "Acme", "description": "Fetches ❤ things", "capabilities": ["web", { "x": 1 }],
        "labels": { "product": "search" }, "metadata": { "deep": { "list": [1, 2.5, true] } }, "public_key_pem": PEM,
        "allowed_scopes": ["a"], "credential_policy_id": policy, "expires_at": "2027-01-01T00:00:00+02:00",
        "account_id": "other", "project_id": "other", "unknown_member": ["ignored"],
    });
    let answer = server.register("full", more).await.expect(201);
    assert_json_snapshot!("registered_with_everything", answer.body, {
        ".api_key" => "[key]", ".identity.id" => "[id]", ".identity.api_key_prefix" => "[prefix]",
        ".identity.credential_policy_id" => "[policy]",
    });
    assert_eq!(answer.body["identity"]["credential_policy_id"], policy);
    assert_eq!(server.read(answer.body["identity"]["id"].as_str().unwrap()).await, answer.body["identity"]);
}

#[tokio::test]
async fn no_answer_about_an_agent_has_a_null_member() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    let mut answers = vec![server.register("second", json!({ "capabilities": [], "labels": {} })).await.body];
    answers.push(
        server.patch(&id, json!({ "name": null, "status": null, "labels": null })).await.expect(200).body,
    );
    answers.push(server.admin("GET", "/agents/registry?include_parents=true").send().await.expect(200).body);
    answers.push(server.act(&id, "rotate-key").await.expect(200).body);
    answers.push(server.act(&id, "deactivate").await.expect(200).body);
    answers.push(server.act(&id, "activate").await.expect(200).body);
    answers.push(server.admin("DELETE", &format!("/agents/registry/{id}")).send().await.expect(200).body);
    answers.push(server.read(&id).await);
    answers.iter().for_each(assert_without_null);
}

#[tokio::test]
async fn both_mounts_are_the_same_api() {
    let server = Server::new().await;
    for (mount, other) in [("", "/api/v1"), ("/api/v1", "")] {
        let name = format!("a{}", mount.len());
        let body = json!({ "name": "A", "external_id": name, "created_by": "dev@company.example" });
        let path = format!("{mount}/agents/register");
        let answer = server.admin("POST", &path).json(body).send().await.expect(201);
        let id = answer.body["identity"]["id"].as_str().unwrap();
        let found = server.admin("GET", &format!("{other}/agents/registry/{id}")).send().await.expect(200);
        assert_eq!(found.body, answer.body["identity"]);
    }
}

#[tokio::test]
async fn a_request_id_is_echoed_when_it_is_plain_and_made_when_it_is_not() {
    let server = Server::new().await;
    let call = |id: &'static str| server.admin("GET", "/agents/registry").with("X-Request-ID", id).send();
    assert_eq!(call("trace-1.a_B").await.header("x-request-id"), "trace-1.a_B");
    let long = "x".repeat(129);
    let answer = server.admin("GET", "/agents/registry").with("X-Request-ID", &long).send().await;
    assert!(uuid::Uuid::try_parse(answer.header("x-request-id")).is_ok());
    for bad in ["a b", "<script>", ""] {
        assert!(uuid::Uuid::try_parse(call(bad).await.header("x-request-id")).is_ok(), "{bad}");
    }
    let refused = server.admin("GET", "/agents/registry/nonsense").with("X-Request-ID", "mine").send().await;
    assert_eq!(refused.problem(422).header("x-request-id"), "mine");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_registrations_at_once_on_two_replicas_one_wins() {
    let server = Arc::new(Server::new().await);
    let replica = Arc::new(server.replica().await);
    // The first use of a tenant would make them queue for its row; here they meet at the agent.
    server.agent("first").await;
    let mut calls = JoinSet::new();
    for number in 0..20 {
        let server = if number % 2 == 0 { server.clone() } else { replica.clone() };
        calls.spawn(async move { server.register("contested", json!({ "name": number.to_string() })).await });
    }
    let answers = calls.join_all().await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!((won.len(), lost.len()), (1, 19), "{:?}", lost.first().map(|answer| &answer.text));
    let id = won[0].body["identity"]["id"].as_str().unwrap();
    for answer in lost {
        assert_eq!(answer.problem(409).body["errors"][0]["value"], id);
    }
    assert_eq!(server.count("select count(*) from identities").await, 2);
    assert_eq!(server.count("select count(*) from api_keys").await, 2);
    assert_eq!(server.count("select count(*) from credential_policies").await, 1);
    assert_eq!(server.count("select count(*) from audit_events where outcome = 'success'").await, 2);
    assert!(server.key_works(won[0].text_of("api_key")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_first_registrations_of_a_tenant_all_succeed_under_one_policy() {
    let server = Arc::new(Server::new().await);
    let mut calls = JoinSet::new();
    for number in 0..20 {
        let server = server.clone();
        calls.spawn(async move { server.register(&format!("agent-{number}"), Value::Null).await });
    }
    let answers = calls.join_all().await;
    let policies: HashSet<_> = answers
        .iter()
        .map(|answer| (answer.status.as_u16(), answer.body["identity"]["credential_policy_id"].to_string()))
        .collect();
    assert_eq!(policies.len(), 1, "{policies:?}");
    assert_eq!(server.count("select count(*) from identities").await, 20);
}

#[tokio::test]
async fn an_external_id_is_taken_for_good() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    let answer = server.register("fetcher", json!({ "identity_type": "service" })).await.problem(409);
    assert_eq!(answer.text_of("detail"), "external_id already registered");
    let error =
        json!([{ "message": "external_id already registered", "location": "body.external_id", "value": id }]);
    assert_eq!(answer.body["errors"], error);
    server.admin("DELETE", &format!("/agents/registry/{id}")).send().await.expect(200);
    let answer = server.register("fetcher", Value::Null).await.problem(409);
    assert!(answer.text_of("detail").contains("deactivated"), "{}", answer.text);
    assert_eq!(answer.body["errors"][0]["value"], id);
    assert_eq!(server.read(&id).await["status"], "deactivated");
    // External ids are told apart to the letter, and belong to one tenant.
    server.register("Fetcher", Value::Null).await.expect(201);
    let body = json!({ "name": "A", "external_id": "fetcher", "created_by": "dev@company.example" });
    server.call("POST", "/agents/register").tenant("acme", "two").json(body).send().await.expect(201);
}

#[tokio::test]
async fn deletion_answers_the_agent_as_often_as_it_is_asked() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    let first = server.admin("DELETE", &format!("/agents/registry/{id}")).send().await.expect(200);
    assert_eq!((first.text_of("status"), first.text_of("api_key_prefix")), ("deactivated", ""));
    server.app.clock.advance(Duration::minutes(1));
    let again = server.admin("DELETE", &format!("/agents/registry/{id}")).send().await.expect(200);
    assert_eq!(again.body, first.body);
    assert_eq!(server.read(&id).await, first.body);
    assert!(!server.key_works(&key).await);
}

#[tokio::test]
async fn an_end_that_lies_ahead_is_kept_and_enforced() {
    let server = Server::new().await;
    let more = json!({ "expires_at": "2026-12-01T12:10:00Z" });
    let answer = server.register("brief", more).await.expect(201);
    let id = answer.body["identity"]["id"].as_str().unwrap();
    let key = answer.text_of("api_key");
    assert_eq!(server.read(id).await["expires_at"], "2026-12-01T12:10:00Z");
    let issued = server.exchange(key, "").await.expect(200);
    assert_eq!(issued.body["expires_in"], 600, "a token ends with its agent");
    let token = issued.text_of("access_token");
    server.app.clock.advance(Duration::minutes(9));
    assert!(server.is_active(token).await);
    server.app.clock.advance(Duration::minutes(1));
    assert!(!server.is_active(token).await);
    assert_eq!(server.exchange(key, "").await.expect(400).text_of("error"), "invalid_grant");
    let refused = server.act(id, "rotate-key").await.problem(400);
    assert!(refused.text_of("detail").contains("expired"), "{}", refused.text);
}

#[tokio::test]
async fn an_end_in_the_past_or_out_of_this_world_is_refused() {
    let server = Server::new().await;
    let before = server.everything().await;
    for (end, status) in [
        ("2026-12-01T12:00:00Z", 400),
        ("2020-01-01T00:00:00Z", 400),
        ("0000-01-01T00:00:00+10:00", 400),
        ("9999-12-31T23:59:59-01:00", 422),
        ("2027-01-01", 422),
        ("2027-13-01T00:00:00Z", 422),
        ("tomorrow", 422),
        ("1798761600", 422),
    ] {
        let answer = server.register("brief", json!({ "expires_at": end })).await;
        assert_eq!(answer.status, status, "{end}: {}", answer.text);
        assert_eq!(answer.problem(status).body["errors"][0]["location"], "body.expires_at", "{end}");
    }
    assert_eq!(server.everything().await, before);
    server.register("brief", json!({ "expires_at": "9999-12-31T23:59:59Z" })).await.expect(201);
    let endless = server.register("endless", json!({ "expires_at": "" })).await.expect(201);
    assert!(endless.body["identity"].get("expires_at").is_none());
}

#[tokio::test]
async fn an_agent_needs_a_person_who_answers_for_it() {
    let server = Server::new().await;
    for nobody in
        [Value::Null, json!(""), json!("   "), json!("system:root"), json!("SYSTEM:x"), json!(" padded")]
    {
        let answer = server.register("orphan", json!({ "created_by": nobody })).await.problem(400);
        assert_eq!(answer.body["errors"][0]["location"], "body.created_by", "{nobody}");
    }
    assert_eq!(server.count("select count(*) from identities").await, 0);
    let answer = server.register("owned", json!({ "created_by": "u-1" })).await.expect(201);
    let agent = &answer.body["identity"];
    assert_eq!((&agent["created_by"], &agent["owner_user_id"]), (&json!("u-1"), &json!("u-1")));
    let issued = server.exchange(answer.text_of("api_key"), "").await.expect(200);
    assert_eq!(issued.text_of("user_id"), "u-1");
}

#[tokio::test]
async fn a_sub_type_goes_with_its_type() {
    let server = Server::new().await;
    let types = [
        ("agent", vec!["orchestrator", "autonomous", "tool_agent", "human_proxy", "evaluator", "code_agent"]),
        ("application", vec!["chatbot", "assistant", "api_service", "custom", "code_agent"]),
        ("mcp_server", vec![]),
        ("service", vec!["llm_provider"]),
    ];
    let all: HashSet<&str> = types.iter().flat_map(|(_, subs)| subs.clone()).chain(["", "bogus"]).collect();
    for (identity_type, known) in &types {
        for sub_type in &all {
            let id = format!("{identity_type}.{sub_type}");
            let more = json!({ "identity_type": identity_type, "sub_type": sub_type });
            let answer = server.register(&id, more).await;
            if sub_type.is_empty() || known.contains(sub_type) {
                assert_eq!(answer.expect(201).body["identity"]["sub_type"], *sub_type);
            } else {
                assert_eq!(answer.problem(400).body["errors"][0]["location"], "body.sub_type");
            }
        }
    }
}

#[tokio::test]
async fn unknown_things_below_a_mount_are_not_found() {
    let server = Server::new().await;
    for mount in MOUNTS {
        for path in ["/agents", "/agents/", "/agents/registry/", "/agents/registry/a/b/c", "/nothing"] {
            server.admin("GET", &format!("{mount}{path}")).send().await.problem(404);
        }
        let answer = server.admin("PUT", &format!("{mount}/agents/register")).send().await.problem(405);
        assert_eq!(answer.header("allow"), "POST");
        server.admin("POST", &format!("{mount}/agents/registry")).send().await.problem(405);
        server.admin("GET", &format!("{mount}/agents/register")).send().await.problem(405);
    }
}
