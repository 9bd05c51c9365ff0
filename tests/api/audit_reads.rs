//! Reading the audit log over HTTP: rows, filters, pages and files.

use insta::assert_json_snapshot;
use serde_json::{Value, json};
use time::Duration;

use crate::server::Server;
use crate::world::MOUNTS;

impl Server {
    /// The actions of the rows that the query finds, newest first.
    async fn found(&self, query: &str) -> Vec<String> {
        let page = self.admin("GET", &format!("/audit-logs?{query}")).send().await.expect(200).body;
        let action = |row: &Value| row["action"].as_str().unwrap().to_owned();
        page["data"].as_array().unwrap().iter().map(action).collect()
    }

    async fn export(&self, body: Value) -> crate::server::Answer {
        self.admin("POST", "/audit-logs/export").json(body).send().await
    }
}

#[tokio::test]
async fn a_row_says_what_the_log_knows_in_the_words_of_its_clients() {
    let server = Server::new().await;
    let key = server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await;
    server.app.clock.advance(Duration::SECOND);
    let call = server.call("POST", "/agents/register").bearer(&key).with("X-Request-ID", "trace-7");
    let new = json!({ "name": "A", "external_id": "fetcher", "created_by": "dev@company.example" });
    call.json(&new).send().await.expect(201);
    server.app.clock.advance(Duration::SECOND);
    server.admin("POST", "/agents/register").json(new).send().await.expect(409);
    for mount in MOUNTS {
        let page = server.admin("GET", &format!("{mount}/audit-logs?limit=2")).send().await.expect(200).body;
        assert_json_snapshot!("page", page, {
            ".data[].id" => "[id]", ".data[].actor_id" => "[actor]", ".data[].target_id" => "[agent]",
            ".data[0].request_id" => "[request]", ".next_cursor" => "[cursor]",
        });
        for row in page["data"].as_array().unwrap() {
            let path = format!("{mount}/audit-logs/{}", row["id"].as_str().unwrap());
            assert_eq!(server.admin("GET", &path).send().await.expect(200).body, *row);
            server.call("GET", &path).tenant("evil", "demo").send().await.problem(404);
        }
    }
    server.admin("GET", "/audit-logs/01890000-0000-7000-8000-000000000000").send().await.problem(404);
    server.admin("GET", "/audit-logs/nonsense").send().await.problem(422);
}

#[tokio::test]
async fn each_filter_keeps_what_it_says_and_no_more() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    server.app.clock.advance(Duration::SECOND);
    server.act(&id, "deactivate").await.expect(200);
    server.app.clock.advance(Duration::SECOND);
    server.patch(&id, json!({ "status": "suspended" })).await.expect(400);
    let grant = json!({ "from_id": "a", "to_id": "b" });
    server.app.clock.advance(Duration::SECOND);
    server.admin("POST", "/admin/may-act").json(grant).send().await.expect(201);
    let (made, off, up, may) = ("agent.registered", "agent.deactivated", "agent.updated", "may_act.created");
    for (query, expected) in [
        ("", vec![may, up, off, made]),
        ("action=agent.updated", vec![up]),
        ("action=agent.updated,%20may_act.created", vec![may, up]),
        ("action=nothing", vec![]),
        (&format!("target_id={id}"), vec![up, off, made]),
        (&format!("resource_id={id}&limit=1"), vec![up]),
        ("target_type=may_act_grant", vec![may]),
        ("resource_type=agent", vec![up, off, made]),
        ("status=failure", vec![up]),
        ("status=success", vec![may, off, made]),
        ("actor_type=open", vec![may, up, off, made]),
        ("actor_type=agent", vec![]),
        ("actor_id=nobody", vec![]),
        ("ip=127.0.0.1", vec![may, up, off, made]),
        ("ip=10.0.0.1", vec![]),
        ("org_id=x", vec![]),
        ("session_id=x", vec![]),
        ("grant_id=x", vec![]),
        ("since=2026-12-01T12:00:01.123456Z", vec![may, up, off]),
        ("since=2026-12-01T12:00:01.123457", vec![may, up]),
        ("from=2026-12-01T14:00:02%2B02:00", vec![may, up]),
        ("until=2026-12-01T12:00:01.123456", vec![off, made]),
        ("to=2026-12-01T12:00:01.123455Z", vec![made]),
        ("since=2026-12-01&until=2026-12-02", vec![may, up, off, made]),
        ("since=2026-12-02", vec![]),
        ("until=2026-12-01", vec![]),
    ] {
        assert_eq!(server.found(query).await, expected, "{query}");
    }
    for query in ["since=yesterday", "until=1", "status=maybe", "ip=here", "action=a&action=b", "cursor=x"] {
        server.admin("GET", &format!("/audit-logs?{query}")).send().await.problem(400);
    }
    for query in ["limit=0", "limit=201", "limit=ten"] {
        server.admin("GET", &format!("/audit-logs?{query}")).send().await.problem(422);
    }
}

#[tokio::test]
async fn pages_have_each_row_once_also_within_one_moment() {
    let server = Server::new().await;
    for number in 0..23 {
        server.agent(&format!("a{number}")).await;
    }
    let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page =
            server.admin("GET", &format!("/audit-logs?limit=5&cursor={cursor}")).send().await.expect(200);
        seen.extend(page.body["data"].as_array().unwrap().iter().map(|row| row["id"].clone()));
        pages += 1;
        // What comes meanwhile is on no later page.
        server.app.clock.advance(Duration::MILLISECOND);
        server.agent(&format!("b{pages}")).await;
        let next = page.body.get("next_cursor").and_then(Value::as_str);
        assert_eq!(page.body["has_more"], next.is_some());
        let Some(next) = next else { break };
        next.clone_into(&mut cursor);
    }
    let mut sorted = seen.iter().map(|id| id.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    sorted.sort();
    sorted.dedup();
    assert_eq!((sorted.len(), seen.len(), pages), (23, 23, 5));
}

#[tokio::test]
async fn a_page_token_is_good_for_its_list_its_filter_and_its_day_only() {
    let server = Server::new().await;
    for name in ["a", "b", "c"] {
        server.agent(name).await;
        let body = json!({ "name": "A", "external_id": name, "created_by": "u" });
        server.call("POST", "/agents/register").tenant("evil", "demo").json(body).send().await.expect(201);
    }
    let page = server.admin("GET", "/audit-logs?limit=1&status=success").send().await.expect(200).body;
    let token = page["next_cursor"].as_str().unwrap();
    let at = |query: &str| format!("/audit-logs?limit=1&{query}");
    let good = at(&format!("status=success&cursor={token}"));
    let replica = server.replica().await;
    let next = replica.admin("GET", &good).send().await.expect(200).body;
    assert_ne!(next["data"], page["data"]);
    server.call("GET", &good).tenant("evil", "demo").send().await.problem(400);
    server.admin("GET", &at(&format!("cursor={token}"))).send().await.problem(400);
    server.admin("GET", &at(&format!("status=failure&cursor={token}"))).send().await.problem(400);
    for position in 0..token.len() {
        let other = if token.as_bytes()[position] == b'A' { "B" } else { "A" };
        let changed = format!("{}{other}{}", &token[..position], &token[position + 1..]);
        server.admin("GET", &at(&format!("status=success&cursor={changed}"))).send().await.problem(400);
    }
    server.app.clock.advance(Duration::hours(25));
    server.admin("GET", &good).send().await.problem(400);
}

#[tokio::test]
async fn the_log_needs_a_scope_of_its_own_and_reading_it_leaves_no_row() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    let reader = server.admin_key(Some(("acme", "demo")), &["audit:read"]).await;
    let keeper = server.admin_key(Some(("acme", "demo")), &["credentials:manage"]).await;
    let before = server.audited().await;
    server.call("GET", "/audit-logs").bearer(&reader).send().await.expect(200);
    server.found("").await;
    server.admin("GET", "/audit-logs?limit=x").send().await.problem(422);
    assert_eq!(server.audited().await, before);
    server.call("GET", "/audit-logs").bearer(&keeper).send().await.problem(403);
    server.call("GET", &format!("/agents/registry/{id}")).bearer(&reader).send().await.problem(403);
    let call = server.call("GET", "/audit-logs").bearer(&reader).tenant("evil", "demo");
    call.send().await.problem(403);
}

#[tokio::test]
async fn the_log_is_exported_in_three_shapes_and_that_is_logged() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    server.app.clock.advance(Duration::SECOND);
    server.patch(&id, json!({ "updated_by": "=cmd(\"x\"),y" })).await.expect(200);
    let evil = json!({ "name": "A", "external_id": "b", "created_by": "u" });
    server.call("POST", "/agents/register").tenant("evil", "demo").json(evil).send().await.expect(201);
    let day = json!({ "since": "2026-12-01", "until": "2026-12-02T00:00:00" });
    let with = |more: Value| {
        let mut body = day.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let rows = server.admin("GET", "/audit-logs").send().await.expect(200).body["data"].clone();
    let lines = server.export(day.clone()).await.expect(200);
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    assert_eq!(
        lines.header("content-disposition"),
        "attachment; filename=\"audit-2026-12-01-2026-12-02.ndjson\""
    );
    let parsed: Vec<Value> = lines.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(Value::from(parsed), rows);
    let list =
        server.export(with(json!({ "format": "json", "action": "agent.registered" }))).await.expect(200);
    assert_eq!(list.body, json!([rows[1]]));
    let none = server.export(with(json!({ "format": "json", "action": "none" }))).await.expect(200);
    assert_eq!(none.text, "[]");
    let file = server.export(with(json!({ "format": "csv", "target_id": id }))).await.expect(200);
    assert_eq!(file.header("content-type"), "text/csv; charset=utf-8");
    let (names, cells) = file.text.split_once("\r\n").unwrap();
    assert!(names.starts_with("id,created_at,actor_id,") && cells.matches("\r\n").count() == 2, "{cells}");
    assert!(cells.contains(r#""{""#) && cells.contains("=cmd("), "{cells}");
    let exported = "select count(*) from audit_events where action = 'audit.exported'";
    assert_eq!(server.count(exported).await, 4);
    for (body, status) in [
        (json!({}), 400),
        (json!({ "since": "2026-12-01" }), 400),
        (json!({ "from": "x", "to": "2026-12-02" }), 400),
        (with(json!({ "format": "pdf" })), 422),
    ] {
        server.export(body).await.problem(status);
    }
    assert_eq!(server.count(exported).await, 8);
}

#[tokio::test]
async fn a_long_export_comes_a_page_at_a_time_and_one_that_is_too_long_not_at_all() {
    let server = Server::new().await;
    let fill = |count: u32| {
        format!(
            "insert into audit_events (id, account_id, project_id, occurred_at, actor_type, actor_id, action,
                 target_type, target_id, outcome)
             select ('019ad9d7-6800-7' || lpad(to_hex(n % 4096), 3, '0') || '-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
                 'acme', 'demo', '2025-12-01 12:00:00Z', 'system', 'x', 'filled', 'x', n::text, 'success'
             from generate_series(1, {count}) n on conflict do nothing"
        )
    };
    server.run_sql(fill(2500)).await;
    let body = json!({ "since": "2025-11-01", "until": "2025-12-31", "action": "filled" });
    let answer = server.export(body.clone()).await.expect(200);
    let ids: std::collections::BTreeSet<&str> = answer.text.lines().map(|line| &line[..44]).collect();
    assert_eq!((ids.len(), answer.text.lines().count()), (2500, 2500));
    server.run_sql(fill(100_001)).await;
    let refused = server.export(body).await.problem(400);
    assert!(refused.text_of("detail").contains("100000"));
}
