//! Grants by which one may act for another: made, listed and taken back by an administrator.

use chancery::kit::config::AdminAuth;
use insta::assert_json_snapshot;
use serde_json::{Value, json};
use time::Duration;

use crate::server::{Answer, Server};
use crate::trees::column;
use crate::world::MOUNTS;

const GRANTS: &str = "/admin/may-act";
const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";

impl Server {
    async fn grant(&self, body: Value) -> Answer {
        self.admin("POST", GRANTS).json(body).send().await
    }

    /// A grant from one to the other: its id.
    async fn granted(&self, from_id: &str, to_id: &str) -> String {
        let answer = self.grant(json!({ "from_id": from_id, "to_id": to_id })).await.expect(201);
        answer.text_of("id").to_owned()
    }

    async fn grants(&self, query: &str) -> Value {
        let answer = self.look(&format!("{GRANTS}?{query}")).await.expect(200);
        assert!(!answer.text.contains("null"), "{}", answer.text);
        answer.body
    }

    async fn take_back(&self, id: &str) -> Answer {
        self.admin("DELETE", &format!("{GRANTS}/{id}")).send().await
    }

    /// The audit rows of grants: action, outcome, target and metadata, oldest first.
    async fn told_grants(&self) -> Vec<(String, String, String, Value)> {
        sqlx::query_as(
            "select action, outcome, target_id, metadata from audit_events where action like 'may_act.%' order by ctid",
        )
        .fetch_all(&self.app.db)
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn a_grant_is_made_listed_and_taken_back() {
    let server = Server::new().await;
    let whole = json!({
        "from_id": "shark_agent_1", "to_id": "spiffe://x/acme/demo/agent/p", "max_hops": 3, "scopes": ["b", "a", "b"],
        "expires_at": "2027-01-01T00:00:00Z", "more": 1,
    });
    let least = server.grant(json!({ "from_id": "a", "to_id": "b" })).await.expect(201);
    server.app.clock.advance(Duration::seconds(1));
    let whole = server.grant(whole).await.expect(201);
    assert_json_snapshot!(json!([least.body, whole.body]), { "[].id" => "[id]" });
    assert_eq!(server.grants("").await, json!({ "grants": [whole.body, least.body], "total": 2 }));
    let mut revoked = whole.body.clone();
    revoked["revoked_at"] = json!("2026-12-01T12:00:01.123456Z");
    for _ in 0..2 {
        let answer = server.take_back(whole.text_of("id")).await.expect(200);
        assert_eq!(answer.body, revoked, "the first mark stays");
        server.app.clock.advance(Duration::seconds(1));
    }
    assert_eq!(server.grants("").await, json!({ "grants": [least.body], "total": 1 }));
    let all = server.grants("include_revoked=true").await;
    assert_eq!(all, json!({ "grants": [revoked, least.body], "total": 2 }));
}

#[tokio::test]
async fn each_change_is_told_in_the_audit_log() {
    let server = Server::new().await;
    let id = server.granted("actor", "principal").await;
    server.take_back(&id).await.expect(200);
    server.grant(json!({ "from_id": "actor", "to_id": "p", "max_hops": 65 })).await.problem(400);
    server.take_back(UNKNOWN).await.problem(404);
    server.admin("POST", GRANTS).raw("application/json", "{").send().await.problem(400);
    let parties = |from: &str, to: &str| json!({ "from_id": from, "to_id": to });
    let row = |action: &str, outcome: &str, id: &str, facts: Value| {
        (action.to_owned(), outcome.to_owned(), id.to_owned(), facts)
    };
    let expected = [
        row("may_act.created", "success", &id, parties("actor", "principal")),
        row("may_act.revoked", "success", &id, json!({})),
        row("may_act.created", "refused", "", parties("actor", "p")),
        row("may_act.revoked", "refused", UNKNOWN, json!({})),
        row("may_act.created", "refused", "", json!({})),
    ];
    assert_eq!(server.told_grants().await, expected);
}

#[tokio::test]
async fn what_is_left_out_or_too_small_has_its_default() {
    let server = Server::new().await;
    for more in [
        json!({}),
        json!({ "max_hops": 0 }),
        json!({ "max_hops": -7, "scopes": [] }),
        json!({ "max_hops": null, "scopes": null, "expires_at": null }),
        json!({ "expires_at": "", "id": UNKNOWN, "revoked_at": "2020-01-01T00:00:00Z", "created_by": "somebody" }),
    ] {
        let mut body = json!({ "from_id": "a", "to_id": "b" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = server.grant(body).await.expect(201);
        let (hops, scopes) = (&answer.body["max_hops"], &answer.body["scopes"]);
        assert_eq!((hops, scopes), (&json!(1), &json!([])), "{more}");
        let shown: Vec<&String> = answer.body.as_object().unwrap().keys().collect();
        assert_eq!(shown, ["created_at", "from_id", "id", "max_hops", "scopes", "to_id"], "{more}");
        assert_ne!(answer.text_of("id"), UNKNOWN);
    }
    assert_eq!(
        server.grant(json!({ "from_id": "a", "to_id": "b", "max_hops": 64 })).await.expect(201).body["max_hops"],
        64
    );
}

#[tokio::test]
async fn an_end_is_read_in_every_usual_form_and_must_lie_ahead() {
    let server = Server::new().await;
    let grant = |end: &str| server.grant(json!({ "from_id": "a", "to_id": "b", "expires_at": end }));
    for (end, shown) in [
        ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("2027-01-01T02:00:00+02:00", "2027-01-01T00:00:00Z"),
        ("2027-01-01T00:00:00.123456", "2027-01-01T00:00:00.123456Z"),
        ("2027-01-01", "2027-01-01T00:00:00Z"),
    ] {
        assert_eq!(grant(end).await.expect(201).text_of("expires_at"), shown);
    }
    let before = server.grants("").await;
    for end in
        ["2026-12-01T12:00:00.123456Z", "2026-12-01", "1970-01-01", "tomorrow", "1900000000", "\u{1F552}"]
    {
        let answer = grant(end).await.problem(400);
        assert_eq!(answer.body["errors"][0]["location"], "body.expires_at", "{end}");
    }
    assert_eq!(server.grants("").await, before);
}

#[tokio::test]
async fn bad_members_are_refused_and_nothing_is_kept() {
    let server = Server::new().await;
    let long = "x".repeat(4097);
    for (body, status) in [
        (json!({}), 400),
        (json!({ "from_id": "a" }), 400),
        (json!({ "from_id": "", "to_id": "b" }), 400),
        (json!({ "from_id": "a", "to_id": " " }), 400),
        (json!({ "from_id": "a b", "to_id": "b" }), 400),
        (json!({ "from_id": "a\n", "to_id": "b" }), 400),
        (json!({ "from_id": "a\u{0}", "to_id": "b" }), 400),
        (json!({ "from_id": long, "to_id": "b" }), 400),
        (json!({ "from_id": "a", "to_id": "b", "max_hops": 65 }), 400),
        (json!({ "from_id": "a", "to_id": "b", "max_hops": i64::MAX }), 400),
        (json!({ "from_id": "a", "to_id": "b", "scopes": ["a b"] }), 400),
        (json!({ "from_id": "a", "to_id": "b", "scopes": [""] }), 400),
        (json!({ "from_id": "a", "to_id": "b", "scopes": vec!["s"; 101] }), 400),
        (json!({ "from_id": 1, "to_id": "b" }), 422),
        (json!({ "from_id": null, "to_id": "b" }), 422),
        (json!({ "from_id": "a", "to_id": "b", "max_hops": "1" }), 422),
        (json!({ "from_id": "a", "to_id": "b", "max_hops": 1.5 }), 422),
        (json!({ "from_id": "a", "to_id": "b", "scopes": "a" }), 422),
        (json!({ "from_id": "a", "to_id": "b", "scopes": [1] }), 422),
        (json!({ "from_id": "a", "to_id": "b", "expires_at": 1 }), 422),
        (json!([]), 422),
    ] {
        server.grant(body).await.problem(status);
    }
    assert_eq!(server.count("select count(*) from may_act_grants").await, 0);
    assert_eq!(server.count("select count(*) from tenants").await, 0, "a refusal makes no tenant");
}

#[tokio::test]
async fn a_list_is_filtered_paged_and_newest_first() {
    let server = Server::new().await;
    assert_eq!(server.grants("").await, json!({ "grants": [], "total": 0 }));
    let mut ids = Vec::new();
    for (from, to) in [("a", "p"), ("b", "p"), ("a", "q"), ("a", "p")] {
        ids.insert(0, server.granted(from, to).await);
        server.app.clock.advance(Duration::seconds(1));
    }
    let ends = json!({ "from_id": "e", "to_id": "e", "expires_at": "2026-12-01T13:00:00Z" });
    ids.insert(0, server.grant(ends).await.expect(201).text_of("id").to_owned());
    server.app.clock.advance(Duration::hours(2));
    server.take_back(&ids[4]).await.expect(200);
    for (query, shown, total) in [
        ("", vec![0, 1, 2, 3], 4),
        ("include_revoked=false", vec![0, 1, 2, 3], 4),
        ("from_id=a", vec![1, 2], 2),
        ("to_id=p", vec![1, 3], 2),
        ("from_id=a&to_id=p&include_revoked=true", vec![1, 4], 2),
        ("from_id=A", vec![], 0),
        ("from_id=&to_id=", vec![0, 1, 2, 3], 4),
        ("limit=2", vec![0, 1], 4),
        ("limit=2&offset=3", vec![3], 4),
        ("offset=9", vec![], 4),
    ] {
        let list = server.grants(query).await;
        let expected: Vec<&str> = shown.into_iter().map(|at: usize| ids[at].as_str()).collect();
        assert_eq!((column(&list["grants"], "id"), &list["total"]), (expected, &json!(total)), "{query}");
    }
    for (bad, status) in
        [("include_revoked=yes", 400), ("limit=0", 422), ("limit=1001", 422), ("from_id=%00", 400)]
    {
        server.look(&format!("{GRANTS}?{bad}")).await.problem(status);
    }
}

#[tokio::test]
async fn another_tenant_sees_and_takes_back_nothing() {
    let server = Server::new().await;
    let id = server.granted("a", "b").await;
    for (account, project) in [("evil", "demo"), ("acme", "other")] {
        let as_other = |method: &str, path: &str| server.call(method, path).tenant(account, project).send();
        assert_eq!(as_other("GET", GRANTS).await.expect(200).body["total"], 0);
        let foreign = as_other("DELETE", &format!("{GRANTS}/{id}")).await.problem(404);
        let unknown = as_other("DELETE", &format!("{GRANTS}/{UNKNOWN}")).await.problem(404);
        assert_eq!(foreign.text, unknown.text);
    }
    assert_eq!(server.grants("").await["total"], 1);
    for bad in ["x", "mag_1", "%00"] {
        server.take_back(bad).await.problem(422);
    }
}

#[tokio::test]
async fn who_made_it_is_named_and_passes_on_only_what_he_holds() {
    let server = Server::with(|config| config.admin_auth = AdminAuth::Required).await;
    let operator = server.admin_key(None, &["nhi:manage", "vault:read"]).await;
    let call = server.call("POST", "/agents/register").bearer(&operator).tenant("acme", "demo");
    let body =
        json!({ "name": "R", "external_id": "r", "created_by": "u-9", "allowed_scopes": ["nhi:manage"] });
    let (token, _) =
        server.root_row(call.json(body).send().await.expect(201).text_of("api_key"), "nhi:manage").await;
    for mount in MOUNTS {
        let grant = |credential: &str, scopes: Value| {
            let body = json!({ "from_id": "a", "to_id": "b", "scopes": scopes });
            let call = server.call("POST", &format!("{mount}{GRANTS}")).bearer(credential);
            call.tenant("acme", "demo").json(body)
        };
        let made = grant(&token, json!(["read", "nhi:manage"])).send().await.expect(201);
        assert_eq!(made.text_of("created_by"), "u-9");
        let made = grant(&operator, json!(["vault:read"])).send().await.expect(201);
        assert!(made.text_of("created_by").len() == 36, "the key's id: {}", made.text);
        let refused = grant(&token, json!(["read", "vault:read"])).send().await.problem(403);
        assert!(refused.text_of("detail").contains("vault:read"));
    }
    server.run_sql("update tenants set state = 'suspended'").await;
    let body = json!({ "from_id": "a", "to_id": "b" });
    let call = server.call("POST", GRANTS).bearer(&operator).tenant("acme", "demo");
    call.json(body).send().await.problem(403);
}
