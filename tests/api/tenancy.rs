//! Tenants do not see each other: a foreign id is an unknown id, and names of tenants are plain.

use serde_json::{Value, json};

use crate::server::Server;
use crate::world::routes;

const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";

#[tokio::test]
async fn a_foreign_id_is_answered_exactly_as_an_unknown_one_on_every_route() {
    let server = Server::new().await;
    let (foreign, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    let tenants_key = server.admin_key(Some(("evil", "demo")), &["nhi:manage"]).await;
    let before = server.everything().await;
    let with_foreign = routes(&foreign);
    for ((method, path, body), (_, unknown, _)) in with_foreign.iter().zip(routes(UNKNOWN)) {
        if !path.contains(&foreign) {
            continue;
        }
        for tenant in [("evil", "demo"), ("acme", "other")] {
            let one =
                server.call(method, path).tenant(tenant.0, tenant.1).body(body).send().await.problem(404);
            let two =
                server.call(method, &unknown).tenant(tenant.0, tenant.1).body(body).send().await.problem(404);
            assert_eq!(one.text, two.text, "{method} {path}");
            assert_eq!(
                one.headers.keys().map(ToString::to_string).collect::<Vec<_>>(),
                two.headers.keys().map(ToString::to_string).collect::<Vec<_>>()
            );
            assert!(!one.text.contains(&foreign), "{}", one.text);
        }
        server.call(method, path).bearer(&tenants_key).body(body).send().await.problem(404);
    }
    assert_eq!(server.everything().await, before);
    assert!(server.is_active(&token).await && server.key_works(&key).await);
}

#[tokio::test]
async fn a_list_shows_its_own_tenant_only_and_search_finds_no_foreign_id() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    for query in ["", "?search=fetcher", &format!("?search={id}"), "?owner_user_id=dev@company.example"] {
        let path = format!("/agents/registry{query}");
        for (account, project, total) in [("acme", "demo", 1), ("acme", "other", 0), ("evil", "demo", 0)] {
            let list = server.call("GET", &path).tenant(account, project).send().await.expect(200);
            assert_eq!(list.body["total"], total, "{query}");
            assert_eq!(list.body["agents"].as_array().unwrap().len(), total);
        }
    }
}

#[tokio::test]
async fn the_log_of_a_refused_change_is_the_callers_not_the_owners() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    let path = format!("/agents/registry/{id}/deactivate");
    server.call("POST", &path).tenant("evil", "demo").send().await.problem(404);
    let row =
        "select concat_ws(' ', account_id, action, outcome) from audit_events order by ctid desc limit 1";
    assert_eq!(server.text_from_sql(row).await, "evil agent.deactivated refused");
    assert_eq!(server.count("select count(*) from audit_events where account_id = 'acme'").await, 1);
}

#[tokio::test]
async fn a_tenant_is_named_with_the_characters_of_a_path_segment() {
    let server = Server::new().await;
    let body = json!({ "name": "A", "external_id": "a", "created_by": "u-1" });
    for good in ["a", "A-b_c.9", &"x".repeat(255), "..."] {
        let call = server.call("POST", "/agents/register").tenant(good, "demo").json(body.clone());
        let answer = call.send().await.expect(201);
        let uri = format!("/{good}/demo/agent/a");
        assert!(answer.body["identity"]["wimse_uri"].as_str().unwrap().ends_with(&uri));
    }
    let before = server.everything().await;
    for bad in
        [".", "..", "a/b", "a b", "a%2fb", "ä", "a:b", "a@b", &"x".repeat(256), "a\tb", "'; drop table x"]
    {
        for (account, project) in [(bad, "demo"), ("acme", bad)] {
            let call = server.call("POST", "/agents/register").tenant(account, project);
            call.json(body.clone()).send().await.problem(400);
            server.call("GET", "/agents/registry").tenant(account, project).send().await.problem(400);
        }
    }
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn an_external_id_has_the_characters_of_a_path_segment() {
    let server = Server::new().await;
    for good in ["a", "A-b_c.9", "...", "-", &"x".repeat(255)] {
        let answer = server.register(good, Value::Null).await.expect(201);
        assert_eq!(answer.body["identity"]["external_id"], good);
    }
    let before = server.everything().await;
    for bad in [
        ".",
        "..",
        "a/b",
        "../x",
        "a b",
        " a",
        "a%2e",
        "ä",
        "a:b",
        "a@b",
        "a\\b",
        "a?b",
        "a#b",
        "a\nb",
        "\u{202e}a",
        "a\u{7f}",
        &"x".repeat(256),
    ] {
        let answer = server.register(bad, Value::Null).await.problem(400);
        assert_eq!(answer.body["errors"][0]["location"], "body.external_id", "{bad:?}");
    }
    server.register("", Value::Null).await.problem(422);
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn a_tenant_of_its_own_key_is_there_and_a_foreign_one_is_not_made_by_looking() {
    let server = Server::new().await;
    server.call("GET", "/agents/registry").tenant("seen", "once").send().await.expect(200);
    let path = format!("/agents/registry/{UNKNOWN}");
    server.call("PATCH", &path).tenant("seen", "once").json(json!({ "name": "x" })).send().await.problem(404);
    assert_eq!(server.count("select count(*) from tenants").await, 0);
    server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await;
    assert_eq!(server.count("select count(*) from tenants").await, 1);
    // A key whose tenant has gone can't bring it back.
    let key = server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await;
    server.run_sql("delete from tenants").await;
    let body = json!({ "name": "A", "external_id": "a", "created_by": "u-1" });
    server.call("POST", "/agents/register").bearer(&key).json(body).send().await.problem(403);
    assert_eq!(server.count("select count(*) from tenants").await, 0);
}

#[tokio::test]
async fn a_refused_registration_makes_no_tenant() {
    let server = Server::new().await;
    let operator = server.admin_key(None, &["nhi:manage"]).await;
    for (wrong, status) in [
        (json!({ "allowed_scopes": ["vault:read"] }), 403),
        (json!({ "credential_policy_id": UNKNOWN }), 400),
        (json!({ "credential_policy_id": "nonsense" }), 422),
        (json!({ "api_key_credential_policy_id": UNKNOWN }), 400),
        (json!({ "expires_at": "2020-01-01T00:00:00Z" }), 400),
        (json!({ "created_by": "" }), 400),
    ] {
        let mut body = json!({ "name": "A", "external_id": "a", "created_by": "u-1" });
        body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        server.admin("POST", "/agents/register").bearer(&operator).json(body).send().await.problem(status);
        assert_eq!(server.everything().await, "", "{wrong}");
    }
}
