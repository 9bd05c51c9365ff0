//! Reserved scopes and policies: nobody hands out through a policy what he does not hold, neither by naming it nor by
//! lifting what masks it.

use serde_json::{Value, json};

use crate::server::{Answer, Server};

/// An admin key of acme/demo that holds `nhi:manage` and nothing else.
async fn manager(server: &Server) -> String {
    server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await
}

async fn create(server: &Server, key: &str, body: Value) -> Answer {
    server.call("POST", "/credential-policies").bearer(key).json(body).send().await
}

async fn change(server: &Server, key: &str, id: &str, body: Value) -> Answer {
    server.call("PATCH", &format!("/credential-policies/{id}")).bearer(key).json(body).send().await
}

/// A policy that the open mode makes, which holds every scope.
async fn made(server: &Server, name: &str, scopes: &[&str]) -> String {
    let body = json!({ "name": name, "allowed_grant_types": ["api_key"], "allowed_scopes": scopes });
    server.make_policy(body).await.expect(201).text_of("id").to_owned()
}

#[track_caller]
fn assert_reserved(answer: Answer, scope: &str) {
    let answer = answer.problem(403);
    let error = &answer.body["errors"][0];
    assert_eq!((&error["location"], &error["value"]), (&json!("body.allowed_scopes"), &json!(scope)));
}

async fn granted(server: &Server, key: &str, request: &str) -> String {
    server.exchange(key, request).await.expect(200).text_of("scope").to_owned()
}

#[tokio::test]
async fn a_policy_names_only_reserved_scopes_that_its_maker_holds() {
    let server = Server::new().await;
    let key = manager(&server).await;
    let before = server.everything().await;
    for scope in ["credentials:manage", "client:register", "admin", "vault:read", "audit:read", "admin:users"]
    {
        let body = json!({ "name": "rich", "allowed_scopes": ["a", scope] });
        assert_reserved(create(&server, &key, body).await, scope);
        assert_eq!(server.everything().await, before);
    }
    create(&server, &key, json!({ "name": "own", "allowed_scopes": ["a", "nhi:manage"] })).await.expect(201);
}

#[tokio::test]
async fn a_reserved_scope_is_added_only_by_who_holds_it() {
    let server = Server::new().await;
    let key = manager(&server).await;
    for scopes in [&["a"][..], &[]] {
        let id = made(&server, &format!("of {}", scopes.len()), scopes).await;
        let before = server.everything().await;
        let body = json!({ "allowed_scopes": ["a", "vault:read"], "description": "x" });
        assert_reserved(change(&server, &key, &id, body.clone()).await, "vault:read");
        assert_eq!(server.everything().await, before);
        change(&server, &key, &id, json!({ "allowed_scopes": ["b", "nhi:manage"] })).await.expect(200);
        server.change_policy(&id, body).await.expect(200);
    }
}

#[tokio::test]
async fn what_a_policy_names_already_stays_whoever_changes_the_rest() {
    let server = Server::new().await;
    let key = manager(&server).await;
    let id = made(&server, "rich", &["a", "vault:read"]).await;
    for body in [
        json!({ "description": "x", "max_ttl_seconds": 60, "is_active": false }),
        json!({ "allowed_scopes": ["a", "b", "vault:read"] }),
        json!({ "allowed_scopes": ["vault:read"] }),
        json!({ "allowed_scopes": ["a"] }),
    ] {
        change(&server, &key, &id, body).await.expect(200);
    }
    // What was taken away is not put back.
    assert_reserved(
        change(&server, &key, &id, json!({ "allowed_scopes": ["vault:read"] })).await,
        "vault:read",
    );
}

#[tokio::test]
async fn a_policy_that_masks_an_agents_reserved_scope_is_opened_only_by_who_holds_it() {
    let server = Server::new().await;
    let key = manager(&server).await;
    let id = made(&server, "poor", &["a"]).await;
    let more = json!({ "credential_policy_id": id, "allowed_scopes": ["a", "vault:read"] });
    let agent = server.register("sleeper", more).await.expect(201);
    let api_key = agent.text_of("api_key");
    assert_eq!(granted(&server, api_key, "a vault:read").await, "a");
    let before = server.everything().await;
    for opening in [json!({ "allowed_scopes": [] }), json!({ "allowed_scopes": ["a", "vault:read"] })] {
        assert_reserved(change(&server, &key, &id, opening).await, "vault:read");
    }
    assert_eq!(server.everything().await, before);
    let holder = server.admin_key(Some(("acme", "demo")), &["nhi:manage", "vault:read"]).await;
    change(&server, &holder, &id, json!({ "allowed_scopes": [] })).await.expect(200);
    assert_eq!(granted(&server, api_key, "a vault:read").await, "a vault:read");
}

#[tokio::test]
async fn what_keys_clients_and_their_policies_name_is_masked_too() {
    let server = Server::new().await;
    let key = manager(&server).await;
    let (open, rich) = (made(&server, "open", &[]).await, made(&server, "rich", &["a", "vault:read"]).await);
    let over = made(&server, "over", &["a", "vault:read", "admin"]).await;
    let opened = async |id: &str| change(&server, &key, id, json!({ "allowed_scopes": [] })).await;
    // The policy of the agent masks what the policy of its key names, and the other way round.
    let more = json!({ "credential_policy_id": over, "api_key_credential_policy_id": rich });
    server.register("one", more).await.expect(201);
    server.change_policy(&over, json!({ "allowed_scopes": ["a"] })).await.expect(200);
    assert_reserved(opened(&over).await, "vault:read");
    server.change_policy(&over, json!({ "allowed_scopes": ["a", "admin"] })).await.expect(200);
    server.change_policy(&rich, json!({ "allowed_scopes": ["a"] })).await.expect(200);
    assert_reserved(opened(&rich).await, "admin");
    // A live key's own scopes count, a dead one's do not.
    server.run_sql("update credential_policies set allowed_scopes = array['a'] where name = 'over'").await;
    server.run_sql("update api_keys set scopes = array['audit:read']").await;
    assert_reserved(opened(&over).await, "audit:read");
    assert_reserved(opened(&rich).await, "audit:read");
    server.run_sql("update api_keys set revoked_at = now()").await;
    opened(&rich).await.expect(200);
    // A client's scopes count while it is there.
    server
        .run_sql(
            "insert into oauth_clients (id, account_id, project_id, client_id, name, client_type,
                 token_endpoint_auth_method, grant_types, scopes, identity_id, created_at, updated_at)
             select gen_random_uuid(), 'acme', 'demo', 'c', 'c', 'public', 'none', '{}', array['admin:x'], id, now(),
                 now() from identities",
        )
        .await;
    assert_reserved(opened(&over).await, "admin:x");
    server.run_sql("update oauth_clients set deleted_at = now()").await;
    opened(&over).await.expect(200);
    opened(&open).await.expect(200);
}

#[tokio::test]
async fn what_others_name_elsewhere_does_not_keep_a_policy_shut() {
    let server = Server::new().await;
    let key = manager(&server).await;
    let id = made(&server, "poor", &["a", "credentials:manage"]).await;
    // The scope that the policy let through before is no news.
    let more = json!({ "credential_policy_id": id, "allowed_scopes": ["a", "credentials:manage"] });
    server.register("one", more).await.expect(201);
    server.register("two", json!({ "allowed_scopes": ["vault:read"] })).await.expect(201);
    let foreign = server.call("POST", "/agents/register").tenant("other", "demo");
    let body =
        json!({ "name": "A", "external_id": "a", "created_by": "u", "allowed_scopes": ["vault:read"] });
    foreign.json(body).send().await.expect(201);
    change(&server, &key, &id, json!({ "allowed_scopes": [] })).await.expect(200);
}

#[tokio::test]
async fn the_policy_of_a_first_key_hands_nothing_out_either() {
    let server = Server::new().await;
    let key = manager(&server).await;
    let (open, rich) = (made(&server, "open", &[]).await, made(&server, "rich", &["a", "vault:read"]).await);
    let register = async |external_id: &str, scopes: Value| {
        let body = json!({ "name": "A", "external_id": external_id, "created_by": "u", "allowed_scopes": scopes,
            "credential_policy_id": open, "api_key_credential_policy_id": rich });
        server.call("POST", "/agents/register").bearer(&key).json(body).send().await
    };
    let before = server.everything().await;
    assert_reserved(register("thief", json!([])).await, "vault:read");
    assert_eq!(server.everything().await, before);
    // What the agent's own ceiling leaves out is not handed out.
    let agent = register("modest", json!(["a"])).await.expect(201);
    assert_eq!(granted(&server, agent.text_of("api_key"), "").await, "a");
}

#[tokio::test]
async fn a_key_whose_policy_names_a_reserved_scope_is_rotated_only_by_who_holds_it() {
    let server = Server::new().await;
    let key = manager(&server).await;
    let (open, rich) = (made(&server, "open", &[]).await, made(&server, "rich", &["a", "vault:read"]).await);
    let more = json!({ "credential_policy_id": open, "api_key_credential_policy_id": rich });
    let agent = server.register("rich", more).await.expect(201);
    let path = format!("/agents/registry/{}/rotate-key", agent.body["identity"]["id"].as_str().unwrap());
    let before = server.everything().await;
    server.call("POST", &path).bearer(&key).send().await.problem(403);
    assert_eq!(server.everything().await, before);
    let holder = server.admin_key(Some(("acme", "demo")), &["nhi:manage", "vault:read"]).await;
    let rotated = server.call("POST", &path).bearer(&holder).send().await.expect(200);
    assert_eq!(granted(&server, rotated.text_of("api_key"), "").await, "a vault:read");
}
