//! Reserved scopes: nobody passes on what he does not hold, neither openly nor by taking over an agent.

use serde_json::{Value, json};

use crate::server::{Answer, Server};
use crate::world::{OTHER_PEM, PEM};

const RESERVED: [&str; 7] = [
    "nhi:manage",
    "credentials:manage",
    "client:register",
    "admin",
    "vault:read",
    "audit:read",
    "admin:users",
];

/// An admin key of acme/demo that holds `nhi:manage` and nothing else.
async fn manager(server: &Server) -> String {
    server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await
}

async fn register(server: &Server, key: &str, external_id: &str, more: Value) -> Answer {
    let mut body = json!({ "name": "New", "external_id": external_id, "created_by": "dev@company.example" });
    body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    server.call("POST", "/agents/register").bearer(key).json(body).send().await
}

#[tokio::test]
async fn a_caller_passes_on_the_reserved_scopes_that_he_holds_and_no_other() {
    let server = Server::new().await;
    let key = manager(&server).await;
    for scope in RESERVED {
        let name = scope.replace(':', ".");
        let more = json!({ "allowed_scopes": ["ordinary", scope] });
        let before = server.everything().await;
        let answer = register(&server, &key, &name, more.clone()).await;
        if scope == "nhi:manage" {
            assert_eq!(answer.expect(201).body["identity"]["allowed_scopes"], more["allowed_scopes"]);
            continue;
        }
        let answer = answer.problem(403);
        let error = &answer.body["errors"][0];
        assert_eq!((&error["location"], &error["value"]), (&json!("body.allowed_scopes"), &json!(scope)));
        assert_eq!(server.everything().await, before, "{scope}");
        // The open mode of development counts as holding them all.
        server.register(&name, more).await.expect(201);
    }
}

#[tokio::test]
async fn a_policy_can_not_hand_out_what_the_caller_does_not_hold() {
    let server = Server::new().await;
    let key = manager(&server).await;
    let rich = server.policy("rich", "array['credentials:manage', 'a']").await;
    let before = server.everything().await;
    let more = json!({ "credential_policy_id": rich });
    register(&server, &key, "fetcher", more).await.problem(403);
    assert_eq!(server.everything().await, before);
    // What the agent's own ceiling leaves out is not handed out.
    let more = json!({ "credential_policy_id": rich, "allowed_scopes": ["a"] });
    let answer = register(&server, &key, "fetcher", more).await.expect(201);
    assert_eq!(server.exchange(answer.text_of("api_key"), "").await.expect(200).text_of("scope"), "a");
}

#[tokio::test]
async fn a_reserved_scope_does_not_hide_behind_a_policy_that_masks_it_today() {
    let server = Server::new().await;
    let key = manager(&server).await;
    let poor = server.policy("poor", "array['a']").await;
    let more = json!({ "credential_policy_id": poor, "allowed_scopes": ["a", "credentials:manage"] });
    let before = server.everything().await;
    register(&server, &key, "sleeper", more).await.problem(403);
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn an_open_ceiling_holds_no_reserved_scope() {
    let server = Server::new().await;
    let (_, key) = server.agent("open").await;
    for scope in RESERVED {
        let issued = server.exchange(&key, scope).await.expect(200);
        assert_eq!(issued.text_of("scope"), "", "{scope}");
        let issued = server.exchange(&key, &format!("{scope} data:read")).await.expect(200);
        assert_eq!(issued.text_of("scope"), "data:read");
    }
}

#[tokio::test]
async fn an_agent_with_a_reserved_ceiling_is_taken_over_only_by_who_holds_it() {
    let server = Server::new().await;
    let key = manager(&server).await;
    let rich = server.policy("rich", "array['vault:read', 'a']").await;
    let by_scope =
        server.register("by-scope", json!({ "allowed_scopes": ["credentials:manage"] })).await.expect(201);
    let by_policy = server.register("by-policy", json!({ "credential_policy_id": rich })).await.expect(201);
    for agent in [by_scope, by_policy] {
        let path = format!("/agents/registry/{}", agent.body["identity"]["id"].as_str().unwrap());
        let before = server.everything().await;
        let rotated =
            server.call("POST", &format!("{path}/rotate-key")).bearer(&key).send().await.problem(403);
        assert!(!rotated.text.contains("zid_sk_"));
        let change = |body: Value| server.call("PATCH", &path).bearer(&key).json(body).send();
        change(json!({ "public_key_pem": PEM, "name": "Taken" })).await.problem(403);
        assert_eq!(server.everything().await, before);
        assert!(server.key_works(agent.text_of("api_key")).await);
        // What gives him no way to act as the agent he may change.
        change(json!({ "name": "Renamed", "public_key_pem": "" })).await.expect(200);
        // Neither is there a way round through deactivation.
        server.call("POST", &format!("{path}/deactivate")).bearer(&key).send().await.expect(200);
        server.call("POST", &format!("{path}/activate")).bearer(&key).send().await.expect(200);
        server.call("POST", &format!("{path}/rotate-key")).bearer(&key).send().await.problem(403);
        // Who holds the scopes may.
        let all = server
            .admin_key(Some(("acme", "demo")), &["nhi:manage", "credentials:manage", "vault:read"])
            .await;
        server.call("POST", &format!("{path}/rotate-key")).bearer(&all).send().await.expect(200);
        let set = server
            .call("PATCH", &path)
            .bearer(&all)
            .json(json!({ "public_key_pem": OTHER_PEM }))
            .send()
            .await;
        set.expect(200);
    }
}

#[tokio::test]
async fn an_admin_agent_makes_another_of_its_kind_but_no_mightier_one() {
    let server = Server::new().await;
    let (_, token) = server.agent_with_scopes("root", &["nhi:manage"]).await;
    let child =
        register(&server, &token, "child", json!({ "allowed_scopes": ["nhi:manage"] })).await.expect(201);
    let issued = server.token(child.text_of("api_key")).await;
    server.call("GET", "/agents/registry").bearer(&issued).send().await.expect(200);
    register(&server, &token, "mighty", json!({ "allowed_scopes": ["nhi:manage", "vault:read"] }))
        .await
        .problem(403);
}

#[tokio::test]
async fn scopes_of_a_ceiling_are_plain_and_not_too_many() {
    let server = Server::new().await;
    let before = server.everything().await;
    let many: Vec<_> = (0..101).map(|number| format!("s{number}")).collect();
    for bad in
        [json!(["a b"]), json!([""]), json!(["a\"b"]), json!(["ä"]), json!(["x".repeat(256)]), json!(many)]
    {
        server.register("scoped", json!({ "allowed_scopes": bad })).await.problem(400);
    }
    for bad in [json!("a"), json!([1]), json!({}), json!(null)] {
        server.register("scoped", json!({ "allowed_scopes": bad })).await.problem(422);
    }
    assert_eq!(server.everything().await, before);
    let answer = server.register("scoped", json!({ "allowed_scopes": ["b", "a", "b"] })).await.expect(201);
    assert_eq!(answer.body["identity"]["allowed_scopes"], json!(["b", "a"]));
}

#[tokio::test]
async fn a_policy_must_be_there_and_a_keys_policy_within_the_agents() {
    let server = Server::new().await;
    server.agent("first").await;
    let poor = server.policy("poor", "array['a']").await;
    let rich = server.policy("rich", "array['a', 'b']").await;
    let open = server.policy("open", "null").await;
    let empty = server.policy("empty", "'{}'").await;
    let foreign = server.policy_of("other", "foreign", "array['a']").await;
    let unknown = "01890000-0000-7000-8000-000000000000".to_owned();
    let before = server.everything().await;
    let detail = async |policy: &str| {
        let answer = server.register("x", json!({ "credential_policy_id": policy })).await.problem(400);
        answer.text.replace(policy, "ID")
    };
    assert_eq!(detail(&foreign).await, detail(&unknown).await, "foreign and unknown are one answer");
    server.register("x", json!({ "api_key_credential_policy_id": foreign })).await.problem(400);
    server.register("x", json!({ "credential_policy_id": "nonsense" })).await.problem(422);
    for (agent, key) in [(&poor, &rich), (&poor, &open), (&poor, &empty)] {
        let more = json!({ "credential_policy_id": agent, "api_key_credential_policy_id": key });
        server.register("x", more).await.problem(400);
    }
    assert_eq!(server.everything().await, before);
    for (name, agent, key) in
        [("one", &rich, &poor), ("two", &open, &poor), ("three", &empty, &poor), ("four", &poor, &poor)]
    {
        let more = json!({ "credential_policy_id": agent, "api_key_credential_policy_id": key });
        let answer = server.register(name, more).await.expect(201);
        let issued = server.exchange(answer.text_of("api_key"), "a b").await.expect(200);
        assert_eq!(issued.text_of("scope"), "a", "{name}");
    }
}
