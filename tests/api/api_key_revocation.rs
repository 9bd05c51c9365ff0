//! Revoking API keys: what they minted dies at once and everywhere, and the log says by whom and why.

use serde_json::{Value, json};
use time::Duration;

use crate::server::{Answer, Server};
use crate::tools::assert_error;

async fn revoke(server: &Server, id: &str, body: Value) -> Answer {
    server.admin("POST", &format!("/api-keys/{id}/revoke")).body(&body).send().await
}

/// A new key of acme/demo: its id and its secret.
async fn key(server: &Server, body: Value) -> (String, String) {
    let made = server.make_key(body).await.expect(201);
    (made.text_of("id").to_owned(), made.text_of("key").to_owned())
}

#[tokio::test]
async fn a_revoked_key_and_what_it_minted_die_at_once_on_every_replica() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (agent, first) = server.agent("fetcher").await;
    let (id, second) = key(&server, json!({ "name": "k", "identity_id": agent })).await;
    let (kept, minted) = (server.token(&first).await, replica.token(&second).await);
    assert!(replica.is_active(&minted).await);
    server.app.clock.advance(Duration::seconds(3));
    let answer = revoke(&server, &id, Value::Null).await.expect(200);
    for server in [&server, &replica] {
        assert_eq!(server.introspect(&minted).await, json!({ "active": false }));
        server.get("/oauth2/token/verify").bearer(&minted).send().await.expect(401);
        let refused = server.exchange(&second, "").await;
        assert_error(&refused, 400, "invalid_grant");
        assert_eq!(refused.text_of("error_description"), "invalid api key");
        assert!(
            server.is_active(&kept).await && server.key_works(&first).await,
            "the agent's other key stands"
        );
    }
    let read = server.read_key(&id).await;
    assert_eq!(read, answer.body);
    assert_eq!((&read["state"], &read["revoke_reason"]), (&json!("revoked"), &json!("api_key_revoked")));
    assert_eq!(
        (&read["revoked_at"], &read["updated_at"]),
        (&json!("2026-12-01T12:00:03.123456Z"), &read["revoked_at"])
    );
    assert_eq!(server.read(&agent).await["api_key_prefix"], first[..16]);
}

#[tokio::test]
async fn an_admin_token_dies_with_the_key_it_came_from() {
    let server = Server::new().await;
    let (id, secret) = key(&server, json!({ "name": "k", "scopes": ["nhi:manage"] })).await;
    let token = server.token(&secret).await;
    let path = format!("/api-keys/{id}/revoke");
    server.call("POST", &path).bearer(&token).send().await.expect(200);
    server.call("GET", "/api-keys").bearer(&token).send().await.problem(401);
    server.call("POST", &path).bearer(&token).send().await.problem(401);
}

#[tokio::test]
async fn a_reason_and_who_gave_it_are_kept() {
    let server = Server::new().await;
    let admin = server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await;
    let admin_id = server.text_from_sql("select id::text from admin_keys").await;
    let (_, agent) = server.agent_with_scopes("boss", &["nhi:manage"]).await;
    let cases = [
        (Some(&admin), json!({ "reason": "leaked ✓" }), "leaked ✓", admin_id.as_str()),
        (Some(&agent), json!({ "reason": "" }), "api_key_revoked", "dev@company.example"),
        (None, json!({ "reason": null, "other": 1 }), "api_key_revoked", ""),
        (None, json!({}), "api_key_revoked", ""),
        (None, Value::Null, "api_key_revoked", ""),
    ];
    for (credential, body, reason, by) in cases {
        let (id, secret) = key(&server, json!({ "name": "k" })).await;
        let token = server.token(&secret).await;
        let call = server.admin("POST", &format!("/api-keys/{id}/revoke")).body(&body);
        let call = if let Some(credential) = credential { call.bearer(credential) } else { call };
        let read = call.send().await.expect(200).body;
        assert_eq!((&read["revoke_reason"], &read["revoked_by"]), (&json!(reason), &json!(by)));
        assert_eq!(server.read_key(&id).await, read);
        let history = format!(
            "select ended_reason || ' ' || (select m.anchor || ' ' || m.reason from revocations m where m.anchor_id = '{id}')
             from credential_history where api_key_id = '{id}'"
        );
        assert_eq!(server.text_from_sql(history).await, format!("{reason} api_key {reason}"));
        let row = "select concat_ws(' ', action, outcome, target_id, metadata ->> 'reason') from audit_events
            order by ctid desc limit 1";
        assert_eq!(server.text_from_sql(row).await, format!("api_key.revoked success {id} {reason}"));
        assert!(!server.is_active(&token).await);
    }
}

#[tokio::test]
async fn a_key_is_revoked_once() {
    let server = Server::new().await;
    let other = server.replica().await;
    let (id, _) = key(&server, json!({ "name": "k" })).await;
    let (a, b) = tokio::join!(
        revoke(&server, &id, json!({ "reason": "a" })),
        revoke(&other, &id, json!({ "reason": "b" }))
    );
    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 404]);
    let before = server.everything().await;
    revoke(&server, &id, json!({ "reason": "again" })).await.problem(404);
    assert_eq!(server.everything().await, before);
    assert_eq!(server.count("select count(*) from revocations").await, 1);
    let (action, outcome, ..) = server.audit().await.pop().unwrap();
    assert_eq!((action.as_str(), outcome.as_str()), ("api_key.revoked", "refused"));
}

#[tokio::test]
async fn replaced_and_expired_keys_can_still_be_revoked() {
    let server = Server::new().await;
    let (agent, first) = server.agent("fetcher").await;
    let token = server.token(&first).await;
    let id = server.text_from_sql("select id::text from api_keys").await;
    server.act(&agent, "rotate-key").await.expect(200);
    assert!(server.is_active(&token).await, "a replaced key's tokens live on");
    assert_eq!(server.read_key(&id).await["state"], "replaced");
    assert_eq!(revoke(&server, &id, Value::Null).await.expect(200).text_of("state"), "revoked");
    assert!(!server.is_active(&token).await);
    let (id, _) = key(&server, json!({ "name": "k", "expires_in_days": 1 })).await;
    server.app.clock.advance(Duration::days(2));
    assert_eq!(server.read_key(&id).await["state"], "expired");
    assert_eq!(revoke(&server, &id, Value::Null).await.expect(200).text_of("state"), "revoked");
}

#[tokio::test]
async fn keys_that_ended_with_their_agent_say_why_and_are_over() {
    let server = Server::new().await;
    let (agent, _) = server.agent("fetcher").await;
    let (before, _) = key(&server, json!({ "name": "k", "identity_id": agent })).await;
    revoke(&server, &before, json!({ "reason": "mine" })).await.expect(200);
    server.app.clock.advance(Duration::seconds(1));
    server.act(&agent, "deactivate").await.expect(200);
    let list = server.admin("GET", &format!("/api-keys?application_id={agent}&state=revoked")).send().await;
    let keys = list.expect(200).body["keys"].clone();
    let told = |at: usize| (keys[at]["revoke_reason"].clone(), keys[at]["revoked_by"].clone());
    assert_eq!(keys.as_array().unwrap().len(), 2);
    let ids: Vec<_> = keys.as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap()).collect();
    let mine = ids.iter().position(|id| *id == before).unwrap();
    assert_eq!(told(mine), (json!("mine"), json!("")), "the first reason stands");
    assert_eq!(told(1 - mine), (json!("identity_deactivated"), json!("system:identity_revocation")));
    revoke(&server, ids[1 - mine], Value::Null).await.problem(404);
    // One that reached its end says so.
    let more = json!({ "expires_at": "2026-12-02T00:00:00Z" });
    let brief = server.register("brief", more).await.expect(201);
    server.app.clock.advance(Duration::days(1));
    chancery::agents::worker::expire(&server.app).await.unwrap();
    let path = format!("/api-keys?application_id={}", brief.body["identity"]["id"].as_str().unwrap());
    let ended = server.admin("GET", &path).send().await.expect(200).body["keys"][0].clone();
    assert_eq!((&ended["state"], &ended["revoke_reason"]), (&json!("revoked"), &json!("expired")));
}

#[tokio::test]
async fn a_body_that_is_there_must_be_lawful() {
    let server = Server::new().await;
    let (id, secret) = key(&server, json!({ "name": "k" })).await;
    let path = format!("/api-keys/{id}/revoke");
    let before = server.everything().await;
    for (kind, body, status) in [
        ("application/json", "{", 400),
        ("application/json", " ", 400),
        ("application/json", "[]", 422),
        ("application/json", r#"{"reason":1}"#, 422),
        ("text/plain", "leaked", 415),
        ("application/x-www-form-urlencoded", "reason=x", 415),
        ("application/json", &format!(r#"{{"reason":"{}"}}"#, "r".repeat(4097)), 400),
        ("application/json", &" ".repeat(1_048_577), 413),
    ] {
        let audited = server.audited().await;
        server.admin("POST", &path).raw(kind, body.to_owned()).send().await.problem(status);
        assert_eq!(
            (server.everything().await, server.audited().await),
            (before.clone(), audited + 1),
            "{body:.20}"
        );
    }
    assert!(server.key_works(&secret).await);
    server.admin("POST", &path).with("Content-Type", "application/json").send().await.expect(200);
    assert!(!server.key_works(&secret).await);
}

#[tokio::test]
async fn making_and_revoking_leave_their_rows() {
    let server = Server::new().await;
    let (id, _) = key(&server, json!({ "name": "k" })).await;
    server.make_key(json!({ "name": "k", "environment": "x" })).await.problem(400);
    let identity = server.read_key(&id).await["identity_id"].as_str().unwrap().to_owned();
    let rows = "select string_agg(concat_ws(' ', action, outcome, nullif(target_id, ''), metadata), '|' order by ctid)
        from audit_events";
    let expected = [
        format!(r#"agent.registered success {identity} {{"external_id": "{id}"}}"#),
        format!(r#"api_key.created success {id} {{"name": "k", "identity_id": "{identity}"}}"#),
        r#"api_key.created refused {"name": "k", "identity_id": ""}"#.to_owned(),
    ];
    assert_eq!(server.text_from_sql(rows).await, expected.join("|"));
}

#[tokio::test]
async fn a_dry_run_names_what_the_key_obtained_and_ends_nothing() {
    let server = Server::new().await;
    let agent = server.party("planner", json!({})).await;
    let root = server.exchange(&agent.api_key, "a").await.token();
    let child = server.delegate(&root, &agent, "a").await.token();
    let listed = server.admin("GET", "/api-keys").send().await.expect(200);
    let path = format!("/api-keys/{}/revoke", listed.body["keys"][0]["id"].as_str().unwrap());
    let before = (server.everything().await, server.audited().await);
    let answer = server.admin("POST", &format!("{path}?dry_run=true")).send().await.expect(200);
    assert_eq!((&answer.body["dry_run"], &answer.body["revoked_count"]), (&true.into(), &2.into()));
    assert_eq!((server.everything().await, server.audited().await), before);
    server.admin("POST", &path).send().await.expect(200);
    assert!(!server.is_active(&root).await && !server.is_active(&child).await);
    server.admin("POST", &format!("{path}?dry_run=true")).send().await.problem(404);
}
