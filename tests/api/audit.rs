//! The audit log: one row for each change and each refusal of a known principal, written with the change or not at all.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::server::Server;
use crate::world::{PEM, changes};

impl Server {
    /// The whole log as the database holds it, oldest first.
    async fn log(&self) -> Vec<Value> {
        sqlx::query_scalar("select to_jsonb(a) from audit_events a order by ctid")
            .fetch_all(&self.app.db)
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn each_change_leaves_one_row_that_says_who_did_what_to_which() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    let key = server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await;
    let admin = server.text_from_sql("select id::text from admin_keys").await;
    let mut rows = Vec::new();
    for (method, path, body) in changes(&id) {
        let before = server.audited().await;
        let call = server.call(method, &path).bearer(&key).with("X-Request-ID", "trace-7").body(&body);
        let status = call.send().await.status.as_u16();
        assert!((200..300).contains(&status), "{method} {path}: {status}");
        assert_eq!(server.audited().await, before + 1, "{method} {path}");
        let row = server.log().await.pop().unwrap();
        assert_eq!((&row["actor_type"], &row["actor_id"]), (&json!("admin_key"), &json!(admin)));
        if !path.ends_with("register") {
            assert_eq!(row["target_id"], id);
        }
        rows.push(row);
    }
    assert_json_snapshot!("rows_of_changes", rows, {
        "[].id" => "[id]", "[].actor_id" => "[key]", "[].target_id" => "[agent]",
    });
}

#[tokio::test]
async fn each_refusal_of_a_known_principal_leaves_one_row_with_the_reason() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    let (gone, _) = server.agent("gone").await;
    server.act(&gone, "deactivate").await.expect(200);
    let unknown = "01890000-0000-7000-8000-000000000000";
    let mut cases = vec![
        (
            "POST",
            "/agents/register".to_owned(),
            json!({ "name": "A", "external_id": "fetcher", "created_by": "u" }),
            409,
        ),
        (
            "POST",
            "/agents/register".to_owned(),
            json!({ "name": "A", "external_id": "a/b", "created_by": "u" }),
            400,
        ),
        ("POST", "/agents/register".to_owned(), json!({ "name": "A", "external_id": "x" }), 400),
        ("POST", "/agents/register".to_owned(), json!({ "name": "A" }), 422),
        ("PATCH", format!("/agents/registry/{id}"), json!({ "status": "pending" }), 400),
        ("PATCH", format!("/agents/registry/{id}"), json!({ "name": 1 }), 422),
        ("PATCH", format!("/agents/registry/{gone}"), json!({ "status": "suspended" }), 400),
        ("POST", format!("/agents/registry/{gone}/rotate-key"), Value::Null, 400),
    ];
    for (method, path, body) in changes(unknown).into_iter().skip(1) {
        cases.push((method, path, body, 404));
    }
    for (method, path, body, status) in cases {
        let before = (server.everything().await, server.audited().await);
        server.admin(method, &path).body(&body).send().await.problem(status);
        assert_eq!(
            (server.everything().await, server.audited().await),
            (before.0, before.1 + 1),
            "{method} {path} {body}"
        );
        let row = server.log().await.pop().unwrap();
        assert_eq!((&row["outcome"], &row["actor_type"]), (&json!("refused"), &json!("open")));
        assert!(!row["reason"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_body_that_can_not_be_read_leaves_a_row_too() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    for (method, path) in
        [("POST", "/agents/register".to_owned()), ("PATCH", format!("/agents/registry/{id}"))]
    {
        for (kind, body, status) in [
            ("application/json", "{", 400),
            ("text/plain", "{}", 415),
            ("application/json", &" ".repeat(1_048_577), 413),
        ] {
            let before = server.audited().await;
            server.admin(method, &path).raw(kind, body.to_owned()).send().await.problem(status);
            assert_eq!(server.audited().await, before + 1, "{method} {status}");
        }
    }
}

#[tokio::test]
async fn reading_leaves_no_row() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    let before = server.audited().await;
    for path in ["/agents/registry", "/agents/registry?status=nonsense", "/agents/registry/nonsense"] {
        server.admin("GET", path).send().await;
    }
    server.read(&id).await;
    server.call("GET", &format!("/agents/registry/{id}")).tenant("evil", "demo").send().await.problem(404);
    assert_eq!(server.audited().await, before);
}

#[tokio::test]
async fn a_change_that_can_not_be_logged_does_not_happen() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    server.run_sql("alter table audit_events rename to audit_events_away").await;
    let before = server.everything().await;
    for (method, path, body) in changes(&id) {
        let answer = server.admin(method, &path).body(&body).send().await.problem(500);
        for inside in ["audit", "relation", "sql", "zid_sk_"] {
            assert!(!answer.text.to_lowercase().contains(inside), "{}", answer.text);
        }
        assert_eq!(server.everything().await, before, "{method} {path}");
    }
    // A refusal that can't be logged is our fault as well, not the caller's.
    server.register("a/b", Value::Null).await.problem(500);
    server.run_sql("alter table audit_events_away rename to audit_events").await;
    assert!(server.is_active(&token).await && server.key_works(&key).await);
    server.act(&id, "deactivate").await.expect(200);
}

#[tokio::test]
async fn no_secret_stands_in_the_log_or_in_clear_anywhere_else() {
    let server = Server::new().await;
    let admin = server.admin_key(None, &["nhi:manage"]).await;
    let registered = server.register("fetcher", json!({ "public_key_pem": PEM })).await.expect(201);
    let id = registered.body["identity"]["id"].as_str().unwrap();
    let key = registered.text_of("api_key").to_owned();
    let token = server.token(&key).await;
    let rotated = server.act(id, "rotate-key").await.expect(200).text_of("api_key").to_owned();
    let call = server.admin("PATCH", &format!("/agents/registry/{id}")).bearer(&admin);
    call.json(json!({ "public_key_pem": "PLANTED-PEM", "updated_by": "u" })).send().await.problem(400);
    let planted = json!({ "name": "A", "external_id": "planted", "public_key_pem": "PLANTED-PEM", "api_key": "PLANTED-KEY",
        "capabilities": "PLANTED-LIST", "created_by": "u" });
    server.admin("POST", "/agents/register").json(planted).send().await.problem(422);
    server.admin("GET", "/agents/registry").bearer("sk_live_PLANTED-ADMIN").send().await.problem(401);
    server.exchange("zid_sk_PLANTED-EXCHANGE", "").await.expect(400);
    let log = serde_json::to_string(&server.log().await).unwrap();
    let rest = server.everything().await
        + &server.text_from_sql("select string_agg(k::text, ' ') from admin_keys k").await;
    for secret in [&admin, &key, &token, &rotated] {
        // The first characters may be shown; what follows may not.
        let hidden = &secret[20..];
        assert!(!log.contains(hidden) && !rest.contains(hidden));
    }
    assert!(!log.contains("PLANTED") && !log.contains("MFkwEwYHKoZIzj"), "{log}");
}

#[tokio::test]
async fn the_actor_is_the_key_the_agent_or_nobody_in_particular() {
    let server = Server::new().await;
    let (_, token) = server.agent_with_scopes("root", &["nhi:manage"]).await;
    let body = |name: &str| json!({ "name": "A", "external_id": name, "created_by": "u" });
    server.call("POST", "/agents/register").bearer(&token).json(body("by-token")).send().await.expect(201);
    let key = server.admin_key(None, &["nhi:manage"]).await;
    server.admin("POST", "/agents/register").bearer(&key).json(body("by-key")).send().await.expect(201);
    let log = server.log().await;
    let actors: Vec<_> = log
        .iter()
        .filter(|row| row["action"] == "agent.registered")
        .map(|row| (row["actor_type"].as_str().unwrap(), row["address"].as_str().unwrap()))
        .collect();
    assert_eq!(actors, [("open", "127.0.0.1"), ("agent", "127.0.0.1"), ("admin_key", "127.0.0.1")]);
}
