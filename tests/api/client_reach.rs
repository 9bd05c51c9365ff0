//! Who may do what to clients: tenants, reserved scopes, agents that a client stands for; and what the log says.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::clients::new_client;
use crate::server::{Answer, Server};
use crate::world::{client_changes, routes};

const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";

async fn create(server: &Server, key: &str, client_id: &str, more: Value) -> Answer {
    server.call("POST", "/oauth/clients").bearer(key).json(new_client(client_id, &more)).send().await
}

#[tokio::test]
async fn a_foreign_client_is_answered_exactly_as_an_unknown_one() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let (foreign, secret) = server.confidential("worker").await;
    let token = server.token_of_client(&key, "worker").await;
    let evil = server.admin_key(Some(("evil", "demo")), &["nhi:manage"]).await;
    let before = server.everything().await;
    for ((method, path, body), (_, unknown, _)) in routes(&foreign).iter().zip(routes(UNKNOWN)) {
        if !path.contains("/clients/") {
            continue;
        }
        for tenant in [("evil", "demo"), ("acme", "other")] {
            let ask = |path: &str| server.call(method, path).tenant(tenant.0, tenant.1).body(body).send();
            let (one, two) = (ask(path).await.problem(404), ask(&unknown).await.problem(404));
            assert_eq!(one.text, two.text, "{method} {path}");
        }
        server.call(method, path).bearer(&evil).body(body).send().await.problem(404);
    }
    let list = server.call("GET", "/oauth/clients").bearer(&evil).send().await.expect(200);
    assert_eq!(list.body, json!({ "clients": [], "total": 0 }));
    assert_eq!(server.everything().await, before);
    assert!(server.is_active(&token).await && server.secret_works("worker", &secret).await);
}

#[tokio::test]
async fn a_name_is_taken_among_all_tenants_and_the_answer_says_no_more() {
    let server = Server::new().await;
    let (id, _) = server.confidential("worker").await;
    let before = server.everything().await;
    let own = server.register_client("worker", json!({ "confidential": true })).await.problem(409);
    let call = server.call("POST", "/oauth/clients").tenant("evil", "demo");
    let foreign = call.json(new_client("worker", &json!({ "confidential": true }))).send().await.problem(409);
    assert_eq!(own.text, foreign.text);
    for told in [id.as_str(), "acme", "demo", "Client worker"] {
        assert!(!foreign.text.contains(told), "{}", foreign.text);
    }
    assert_eq!(server.everything().await, before, "not even the tenant");
    // Names are told apart to the letter.
    server.confidential("Worker").await;
}

#[tokio::test]
async fn nobody_hands_out_a_reserved_scope_that_he_does_not_hold() {
    let server = Server::new().await;
    let weak = server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await;
    server.agent("any").await;
    create(&server, &weak, "fine", json!({ "confidential": true, "scopes": ["a", "nhi:manage"] }))
        .await
        .expect(201);
    let rich = json!({ "confidential": true, "scopes": ["a", "credentials:manage"] });
    let before = server.everything().await;
    let refused = create(&server, &weak, "rich", rich.clone()).await.problem(403);
    assert_eq!(refused.body["errors"][0]["location"], "body.scopes");
    assert_eq!(server.everything().await, before);
    // One that an operator made stays out of the weak caller's hands, whichever way he tries to get hold of it.
    let made = server.register_client("rich", rich).await.expect(201);
    let path = format!("/oauth/clients/{}", made.body["client"]["id"].as_str().unwrap());
    server.call("PATCH", &path).bearer(&weak).json(json!({ "is_active": false })).send().await.expect(200);
    let before = server.everything().await;
    for body in [
        json!({ "scopes": ["credentials:manage"] }),
        json!({ "grant_types": ["client_credentials", "token_exchange"] }),
        json!({ "redirect_uris": ["https://evil.example/"] }),
        json!({ "is_active": true }),
    ] {
        server.call("PATCH", &path).bearer(&weak).json(&body).send().await.problem(403);
        assert_eq!(server.everything().await, before, "{body}");
    }
    server.call("POST", &format!("{path}/rotate-secret")).bearer(&weak).send().await.problem(403);
    assert_eq!(server.everything().await, before);
    for harmless in [json!({ "name": "Other", "metadata": {} }), json!({ "scopes": ["a"] })] {
        server.call("PATCH", &path).bearer(&weak).json(harmless).send().await.expect(200);
    }
    server.call("POST", &format!("{path}/rotate-secret")).bearer(&weak).send().await.expect(200);
    // To end is not to take over.
    server.call("POST", &format!("{path}/revoke-tokens")).bearer(&weak).send().await.expect(200);
    server.call("DELETE", &path).bearer(&weak).send().await.expect(200);
}

#[tokio::test]
async fn a_client_is_no_way_to_take_over_an_agent() {
    let server = Server::new().await;
    let weak = server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await;
    let (strong, _) = server.agent_with_scopes("strong", &["credentials:manage", "a"]).await;
    let (plain, _) = server.agent_with_scopes("plain", &["a"]).await;
    let secret = json!({ "confidential": true });
    let bound = |agent: &str| json!({ "confidential": true, "identity_id": agent });
    let before = server.everything().await;
    for (client_id, more) in [("fresh", bound(&strong)), ("strong", secret.clone()), ("strong", Value::Null)]
    {
        let refused = create(&server, &weak, client_id, more).await.problem(403);
        assert_eq!(refused.body["errors"][0]["location"], "body.identity_id");
        assert_eq!(server.everything().await, before);
    }
    create(&server, &weak, "fresh", bound(&plain)).await.expect(201);
    create(&server, &weak, "plain", secret.clone()).await.expect(201);
    // Bound to another, the name says nothing.
    create(&server, &weak, "strong", bound(&plain)).await.expect(201);
    let made = server.register_client("ours", bound(&strong)).await.expect(201);
    let path = format!("/oauth/clients/{}", made.body["client"]["id"].as_str().unwrap());
    server.call("POST", &format!("{path}/rotate-secret")).bearer(&weak).send().await.problem(403);
    server.call("PATCH", &path).bearer(&weak).json(json!({ "name": "Other" })).send().await.expect(200);
}

#[tokio::test]
async fn the_identity_is_the_tenants_own() {
    let server = Server::new().await;
    let (agent, _) = server.agent("fetcher").await;
    let body = new_client("worker", &json!({ "confidential": true, "identity_id": agent }));
    server.admin("POST", "/oauth/clients").json(&body).send().await.expect(201);
    for (tenant, id) in
        [(("evil", "demo"), &*agent), (("acme", "other"), &agent), (("acme", "demo"), UNKNOWN)]
    {
        let before = server.everything().await;
        let body = new_client("fresh", &json!({ "confidential": true, "identity_id": id }));
        let call = server.call("POST", "/oauth/clients").tenant(tenant.0, tenant.1);
        let refused = call.json(body).send().await.problem(400);
        assert_eq!(refused.body["errors"][0]["location"], "body.identity_id");
        assert_eq!(server.everything().await, before);
    }
}

#[tokio::test]
async fn nothing_is_registered_in_a_suspended_tenant() {
    let server = Server::new().await;
    server.confidential("worker").await;
    server.run_sql("update tenants set state = 'suspended'").await;
    let before = server.everything().await;
    server.register_client("fresh", Value::Null).await.problem(403);
    assert_eq!(server.everything().await, before);
    assert_eq!(server.listed_clients().await, ["worker"]);
    assert!(!server.client_evidence("worker").await.unwrap().client.tenant_active);
}

#[tokio::test]
async fn each_change_and_each_refusal_leaves_one_row() {
    let server = Server::new().await;
    let (id, secret) = server.confidential("worker").await;
    let key = server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await;
    let mut actions = Vec::new();
    for (method, path, body) in client_changes(&id) {
        let before = server.audited().await;
        let status = server.call(method, &path).bearer(&key).body(&body).send().await.status.as_u16();
        assert!((200..300).contains(&status), "{method} {path}: {status}");
        assert_eq!(server.audited().await, before + 1, "{method} {path}");
        let (action, outcome, actor, target) = server.audit().await.pop().unwrap();
        assert_eq!((outcome.as_str(), actor.as_str()), ("success", "admin_key"));
        assert!(!path.contains(&id) || target == id);
        actions.push(action);
    }
    let expected = [
        "client.created",
        "client.updated",
        "client.secret_rotated",
        "client.tokens_revoked",
        "oauth.bulk_revoke_pattern",
        "client.deleted",
    ];
    assert_eq!(actions, expected);
    for (method, path, body) in client_changes(UNKNOWN) {
        if !path.contains(UNKNOWN) {
            continue;
        }
        let before = (server.everything().await, server.audited().await);
        server.call(method, &path).bearer(&key).body(&body).send().await.problem(404);
        assert_eq!((server.everything().await, server.audited().await), (before.0, before.1 + 1), "{path}");
        assert_eq!(server.audit().await.pop().unwrap().1, "refused");
    }
    let log = "select string_agg(a::text, '') from audit_events a";
    let log = server.text_from_sql(log).await;
    assert!(!log.contains(&secret) && log.contains("drill"));
}

#[tokio::test]
async fn a_change_that_can_not_be_logged_does_not_happen() {
    let server = Server::new().await;
    let (id, secret) = server.confidential("worker").await;
    server.run_sql("alter table audit_events rename to audit_events_away").await;
    let before = server.everything().await;
    for (method, path, body) in client_changes(&id) {
        server.admin(method, &path).body(&body).send().await.problem(500);
        assert_eq!(server.everything().await, before, "{method} {path}");
    }
    assert!(server.secret_works("worker", &secret).await);
}

#[tokio::test]
async fn a_lost_registration_is_repeated_and_gets_its_secret() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let body = new_client("worker", &json!({ "confidential": true }));
    let first = server.admin("POST", "/oauth/clients").json(&body).send().await.expect(201);
    let repeat = replica.admin("POST", "/api/v1/oauth/clients").json(&body);
    let again = repeat.with("X-Idempotency-Key", "1c7e").send().await.expect(201);
    assert_eq!(again.body, first.body);
    assert_eq!(server.listed_clients().await, ["worker"]);
    let keyed = |name: &str| {
        let call = server.admin("POST", "/oauth/clients").json(new_client(name, &Value::Null));
        call.with("Idempotency-Key", "order-17").send()
    };
    let (one, two) = tokio::join!(keyed("other"), keyed("other"));
    assert_eq!(one.expect(201).body, two.expect(201).body);
    keyed("third").await.problem(422);
    let sealed = "select count(*) from idempotent_answers where position('client_secret' in encode(sealed_body, 'escape')) > 0";
    assert_eq!(server.count(sealed).await, 0);
    let other = server.call("POST", "/oauth/clients").tenant("evil", "demo").json(&body);
    other.with("X-Idempotency-Key", "1c7e").send().await.problem(409);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_registrations_at_once_one_wins() {
    let server = Arc::new(Server::new().await);
    let replica = Arc::new(server.replica().await);
    let mut calls = JoinSet::new();
    for number in 0..20 {
        let server = if number % 2 == 0 { server.clone() } else { replica.clone() };
        calls.spawn(async move {
            let tenant = format!("t{}", number % 5);
            let body = new_client("contested", &json!({ "confidential": true, "name": number.to_string() }));
            server.call("POST", "/oauth/clients").tenant("acme", &tenant).json(body).send().await
        });
    }
    let answers = calls.join_all().await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!((won.len(), lost.len()), (1, 19));
    let texts: HashSet<String> = lost.into_iter().map(|answer| answer.problem(409).text).collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(server.secret_works("contested", won[0].text_of("client_secret")).await);
    assert_eq!(server.count("select count(*) from oauth_clients").await, 1);
}
