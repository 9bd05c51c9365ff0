//! `/credentials`: the records behind tokens, read, listed and revoked by an administrator.

use chancery::kit::config::AdminAuth;
use insta::assert_json_snapshot;
use serde_json::{Value, json};
use time::Duration;

use crate::server::{Answer, Server};
use crate::trees::{column, named, revoked};
use crate::world::MOUNTS;

const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";

impl Server {
    async fn end(&self, jti: &str, body: Value) -> Answer {
        self.admin("POST", &format!("/credentials/{jti}/revoke")).body(&body).send().await
    }

    async fn credentials(&self, query: &str) -> Value {
        let answer = self.look(&format!("/credentials?{query}")).await.expect(200);
        assert!(!answer.text.contains("null"), "{}", answer.text);
        answer.body
    }
}

#[tokio::test]
async fn a_credential_tells_all_but_the_token() {
    let server = Server::new().await;
    let (planner, key) = server.agent("planner").await;
    let (fetcher, _) = server.agent("fetcher").await;
    let (token, root) = server.root_row(&key, "a b").await;
    let child = server.child_row(&root, &fetcher, &["a"]).await;
    server.run_sql(format!("update credentials set jkt = 'thumb' where jti = '{child}'")).await;
    let names =
        [(planner.as_str(), "planner"), (fetcher.as_str(), "fetcher"), (&root, "root"), (&child, "child")];
    let both = json!([server.credential(&root).await, server.credential(&child).await]);
    assert_json_snapshot!(named(&both, &names));
    for mount in MOUNTS {
        let answer = server.look(&format!("{mount}/credentials/{root}")).await.expect(200);
        assert_eq!(answer.body, both[0]);
        assert!(!answer.text.contains(token.split('.').nth(2).unwrap()));
    }
    server.end(&root, json!({ "reason": "stolen" })).await.expect(200);
    let both = json!([server.credential(&root).await, server.credential(&child).await]);
    assert_json_snapshot!("after_a_revocation", named(&both, &names));
}

#[tokio::test]
async fn a_credential_of_a_client_without_an_identity_has_an_empty_one() {
    let server = Server::new().await;
    let (_, key) = server.agent("planner").await;
    let (_, jti) = server.root_row(&key, "").await;
    server.run_sql("update credentials set identity_id = null").await;
    let credential = server.credential(&jti).await;
    assert_eq!((&credential["identity_id"], &credential["scopes"]), (&json!(""), &json!([])));
}

#[tokio::test]
async fn an_identity_s_credentials_are_listed_newest_first() {
    let server = Server::new().await;
    let (id, key) = server.agent("planner").await;
    let (other, other_key) = server.agent("other").await;
    assert_eq!(
        server.credentials(&format!("identity_id={id}")).await,
        json!({ "credentials": [], "total": 0 })
    );
    let mut jtis = Vec::new();
    for _ in 0..5 {
        jtis.insert(0, server.root_row(&key, "").await.1);
        server.app.clock.advance(Duration::seconds(1));
    }
    let foreign = server.root_row(&other_key, "").await.1;
    let below = server.child_row(&foreign, &id, &[]).await;
    jtis.insert(0, below);
    let all = server.credentials(&format!("identity_id={id}")).await;
    assert_eq!(
        (column(&all["credentials"], "jti"), &all["total"]),
        (jtis.iter().map(String::as_str).collect(), &json!(6))
    );
    assert_eq!(all["credentials"][5], server.credential(&jtis[5]).await);
    for (window, expected) in
        [("limit=2", &jtis[..2]), ("limit=2&offset=3", &jtis[3..5]), ("offset=6", &[][..])]
    {
        let page = server.credentials(&format!("identity_id={id}&{window}")).await;
        assert_eq!((column(&page["credentials"], "jti").len(), &page["total"]), (expected.len(), &json!(6)));
        assert_eq!(column(&page["credentials"], "jti"), expected, "{window}");
    }
    assert_eq!(server.credentials(&format!("identity_id={other}")).await["total"], 1);
    // What ended an ancestor that is on no page shows all the same.
    server.end(&foreign, Value::Null).await.expect(200);
    let page = server.credentials(&format!("identity_id={id}&limit=1")).await;
    assert_eq!(page["credentials"][0]["revoke_reason"], "manual_revocation");
}

#[tokio::test]
async fn a_tree_is_listed_from_its_root_downwards() {
    let server = Server::new().await;
    let (id, key) = server.agent("planner").await;
    let (_, root) = server.root_row(&key, "a").await;
    let later = server.root_row(&key, "a").await.1;
    let mut jtis = vec![root.clone()];
    for parent in [0, 0, 1] {
        server.app.clock.advance(Duration::seconds(1));
        jtis.push(server.child_row(&jtis[parent], &id, &["a"]).await);
    }
    server.child_row(&later, &id, &["a"]).await;
    server.run_sql(format!("update credentials set expires_at = issued_at where jti = '{}'", jtis[1])).await;
    let tree = server.credentials(&format!("mission_id={root}")).await;
    assert_eq!(column(&tree["credentials"], "jti"), jtis, "also below what has expired");
    assert_eq!(tree["total"], 4);
    let page = server.credentials(&format!("mission_id={root}&limit=2&offset=1")).await;
    assert_eq!(
        (column(&page["credentials"], "jti"), &page["total"]),
        (vec![jtis[1].as_str(), &jtis[2]], &json!(4))
    );
    // A credential within a tree is no mission.
    for nothing in [jtis[1].as_str(), UNKNOWN] {
        assert_eq!(
            server.credentials(&format!("mission_id={nothing}")).await,
            json!({ "credentials": [], "total": 0 })
        );
    }
}

#[tokio::test]
async fn a_list_is_of_one_identity_or_of_one_mission() {
    let server = Server::new().await;
    for query in ["", "identity_id=&mission_id=", &format!("identity_id={UNKNOWN}&mission_id={UNKNOWN}")] {
        server.look(&format!("/credentials?{query}")).await.problem(400);
    }
    let twice = format!("identity_id={UNKNOWN}&identity_id={UNKNOWN}");
    server.look(&format!("/credentials?{twice}")).await.problem(400);
    for bad in ["identity_id=x", "mission_id=x", "identity_id=%27", "mission_id=spiffe://x"] {
        server.look(&format!("/credentials?{bad}")).await.problem(422);
    }
    for bad in ["limit=0", "limit=1001", "offset=-1", "limit=x"] {
        server.look(&format!("/credentials?identity_id={UNKNOWN}&{bad}")).await.problem(422);
    }
}

#[tokio::test]
async fn other_tenants_see_and_end_nothing() {
    let server = Server::new().await;
    let (id, key) = server.agent("planner").await;
    let (token, jti) = server.root_row(&key, "").await;
    let before = server.everything().await;
    for tenant in [("evil", "demo"), ("acme", "other")] {
        for query in [format!("identity_id={id}"), format!("mission_id={jti}")] {
            let call = server.call("GET", &format!("/credentials?{query}")).tenant(tenant.0, tenant.1);
            assert_eq!(call.send().await.expect(200).body, json!({ "credentials": [], "total": 0 }));
        }
        for (method, action) in [("GET", ""), ("POST", "/revoke")] {
            let path = |id: &str| format!("/credentials/{id}{action}");
            let call = server.call(method, &path(&jti)).tenant(tenant.0, tenant.1);
            let unknown = server.call(method, &path(UNKNOWN)).tenant(tenant.0, tenant.1);
            assert_eq!(call.send().await.problem(404).text, unknown.send().await.problem(404).text);
        }
    }
    assert_eq!(server.everything().await, before);
    assert!(server.is_active(&token).await);
    server.look("/credentials/x").await.problem(422);
    server.end("x", Value::Null).await.problem(422);
}

#[tokio::test]
async fn a_revocation_ends_the_credential_and_what_hangs_below_it() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (id, key) = server.agent("planner").await;
    let (token, root) = server.root_row(&key, "").await;
    let (sibling, _) = server.root_row(&key, "").await;
    let child = server.child_row(&root, &id, &[]).await;
    server.app.clock.advance(Duration::seconds(5));
    let answer = server.end(&root, json!({ "reason": "left the company" })).await.expect(200);
    assert_eq!(answer.body, json!({ "revoked": true, "id": root }));
    for server in [&server, &replica] {
        assert!(!server.is_active(&token).await && server.is_active(&sibling).await);
        for jti in [&root, &child] {
            let shown = server.credential(jti).await;
            assert_eq!(shown["is_revoked"], true);
            assert_eq!(shown["revoked_at"], "2026-12-01T12:00:05.123456Z");
            assert_eq!(shown["revoke_reason"], "left the company");
        }
        assert_eq!(revoked(&server.by_jti(&child).await), [true, true]);
    }
    let row: Value = sqlx::query_scalar(
        "select to_jsonb(a) from audit_events a where action = 'token.revoked' and target_id = $1",
    )
    .bind(&root)
    .fetch_one(&server.app.db)
    .await
    .unwrap();
    assert_eq!((&row["outcome"], &row["target_type"]), (&json!("success"), &json!("credential")));
    assert_eq!(row["metadata"], json!({ "reason": "left the company" }));
    assert_eq!(server.count("select count(*) from revocations where anchor = 'credential'").await, 1);
}

#[tokio::test]
async fn what_has_ended_can_not_be_revoked_again() {
    let server = Server::new().await;
    let (id, key) = server.agent("planner").await;
    let (_, root) = server.root_row(&key, "").await;
    let child = server.child_row(&root, &id, &[]).await;
    server.end(&root, Value::Null).await.expect(200);
    server.app.clock.advance(Duration::seconds(5));
    for ended in [&root, &child] {
        let before = server.everything().await;
        server.end(ended, json!({ "reason": "again" })).await.problem(404);
        assert_eq!(server.everything().await, before);
        assert_eq!(server.audit().await.pop().unwrap().1, "refused");
    }
    assert_eq!(server.credential(&root).await["revoked_at"], "2026-12-01T12:00:00.123456Z");
    let (_, expired) = server.root_row(&key, "").await;
    server.app.clock.advance(Duration::hours(1));
    server.end(&expired, Value::Null).await.problem(404);
    assert_eq!(server.credential(&expired).await["is_revoked"], false);
    let (_, deactivated) = server.root_row(&key, "").await;
    server.act(&id, "deactivate").await.expect(200);
    server.end(&deactivated, Value::Null).await.problem(404);
}

#[tokio::test]
async fn what_only_sleeps_can_be_ended() {
    let server = Server::new().await;
    let (id, key) = server.agent("planner").await;
    let (token, jti) = server.root_row(&key, "").await;
    server.patch(&id, json!({ "status": "suspended" })).await.expect(200);
    assert_eq!(server.credential(&jti).await["is_revoked"], false);
    server.end(&jti, Value::Null).await.expect(200);
    server.patch(&id, json!({ "status": "active" })).await.expect(200);
    assert!(!server.is_active(&token).await);
    assert_eq!(server.credential(&jti).await["is_revoked"], true);
}

#[tokio::test]
async fn the_reason_may_be_left_out_in_every_way() {
    let server = Server::new().await;
    let (_, key) = server.agent("planner").await;
    for body in ["", "{}", r#"{"reason":null}"#, r#"{"reason":""}"#, r#"{"reason":"  "}"#, r#"{"more":1}"#] {
        let (_, jti) = server.root_row(&key, "").await;
        let call = server.admin("POST", &format!("/credentials/{jti}/revoke"));
        call.raw("application/json", body).send().await.expect(200);
        assert_eq!(server.credential(&jti).await["revoke_reason"], "manual_revocation", "{body}");
    }
    let (_, jti) = server.root_row(&key, "").await;
    server.end(&jti, Value::Null).await.expect(200);
    let (_, jti) = server.root_row(&key, "").await;
    let path = format!("/credentials/{jti}/revoke");
    for (kind, body, status) in [
        ("application/json", json!({ "reason": "x".repeat(4097) }).to_string(), 400),
        ("application/json", json!({ "reason": 1 }).to_string(), 422),
        ("application/json", "[]".to_owned(), 422),
        ("application/json", "{".to_owned(), 400),
        ("text/plain", "{}".to_owned(), 415),
    ] {
        let before = server.audited().await;
        server.admin("POST", &path).raw(kind, body).send().await.problem(status);
        assert_eq!(server.audited().await, before + 1);
    }
    assert_eq!(server.credential(&jti).await["is_revoked"], false);
}

#[tokio::test]
async fn of_two_who_revoke_at_once_one_is_told_that_he_did() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (_, key) = server.agent("planner").await;
    for _ in 0..5 {
        let (_, jti) = server.root_row(&key, "").await;
        let end = |server| Server::end(server, &jti, Value::Null);
        let (one, two, three) = tokio::join!(end(&server), end(&replica), end(&server));
        let mut statuses = [one, two, three].map(|answer| answer.status.as_u16());
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 404, 404]);
    }
    assert_eq!(server.count("select count(*) from revocations").await, 5);
}

#[tokio::test]
async fn either_admin_scope_is_enough_and_one_is_needed() {
    let server = Server::with(|config| config.admin_auth = AdminAuth::Required).await;
    let operator = server.admin_key(None, &["nhi:manage"]).await;
    let call = server.call("POST", "/agents/register").bearer(&operator).tenant("acme", "demo");
    let body = json!({ "name": "A", "external_id": "a", "created_by": "u-1" });
    let agent = call.json(body).send().await.expect(201);
    let id = agent.body["identity"]["id"].as_str().unwrap();
    let (token, jti) = server.root_row(agent.text_of("api_key"), "").await;
    let weak = server.admin_key(Some(("acme", "demo")), &["credentials:read"]).await;
    let routes = [
        ("GET", format!("/credentials?identity_id={id}")),
        ("GET", format!("/credentials/{jti}")),
        ("POST", format!("/credentials/{jti}/revoke")),
    ];
    for (method, path) in &routes {
        server.admin(method, path).send().await.problem(401);
        for credential in [&token, &weak] {
            server.call(method, path).bearer(credential).send().await.problem(403);
        }
    }
    for scope in ["nhi:manage", "credentials:manage"] {
        let manager = server.admin_key(Some(("acme", "demo")), &[scope]).await;
        let (_, fresh) = server.root_row(agent.text_of("api_key"), "").await;
        for (method, path) in &routes {
            server.call(method, &path.replace(&jti, &fresh)).bearer(&manager).send().await.expect(200);
        }
    }
}
