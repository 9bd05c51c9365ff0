//! The list of agents: every filter, paging, order.

use serde_json::{Value, json};
use time::Duration;

use crate::server::Server;

impl Server {
    /// The external ids that a query of acme/demo's list answers, in its order.
    async fn listed(&self, query: &str) -> Vec<String> {
        let body = self.admin("GET", &format!("/agents/registry?{query}")).send().await.expect(200).body;
        let names: Vec<_> = body["agents"].as_array().unwrap().iter().map(external_id).collect();
        if !query.contains("offset") && !query.contains("limit") {
            assert_eq!(body["total"], names.len(), "{query}");
        }
        names
    }
}

fn external_id(agent: &Value) -> String {
    agent["external_id"].as_str().unwrap().to_owned()
}

/// Six agents, the last registered last, and one that was only discovered.
async fn populated() -> Server {
    let server = Server::new().await;
    let agents = [
        ("plain", json!({})),
        ("app", json!({ "identity_type": "application", "trust_level": "first_party", "created_by": "u-2" })),
        ("tool", json!({ "identity_type": "mcp_server", "trust_level": "verified_third_party" })),
        ("svc", json!({ "identity_type": "service", "labels": { "product": "search", "env": "a:b" } })),
        ("coder", json!({ "metadata": { "created_via": "cli", "parent_external_id": "plain" } })),
        (
            "odd",
            json!({ "name": "100%_\\Sure", "labels": { "env": "prod" }, "metadata": { "team": "core" } }),
        ),
        ("found", json!({})),
    ];
    for (external_id, more) in agents {
        server.app.clock.advance(Duration::seconds(1));
        server.register(external_id, more).await.expect(201);
    }
    let sql = "update identities set status = 'discovered', origin = 'scan', owner_user_id = '' where external_id = 'found'";
    assert_eq!(server.run_sql(sql).await, 1);
    server
}

#[tokio::test]
async fn every_filter_lets_through_what_it_names() {
    let server = populated().await;
    server.run_sql("update identities set status = 'suspended' where external_id = 'tool'").await;
    server.run_sql("update identities set status = 'deactivated' where external_id = 'svc'").await;
    let all = ["odd", "coder", "svc", "tool", "app", "plain"];
    for (query, expected) in [
        ("", &all[..]),
        ("identity_type=application", &["app"]),
        ("identity_type=application,service", &["svc", "app"]),
        ("identity_type=application&identity_type=mcp_server", &["tool", "app"]),
        ("identity_type=", &all),
        ("status=discovered", &["found"]),
        ("status=suspended,deactivated", &["svc", "tool"]),
        ("status=active&status=discovered", &["found", "odd", "coder", "app", "plain"]),
        ("is_active=true", &["odd", "coder", "app", "plain"]),
        ("is_active=false", &["svc", "tool"]),
        ("trust_level=first_party", &["app"]),
        ("trust_level=first_party,verified_third_party", &["tool", "app"]),
        ("product=search", &["svc"]),
        ("product=mail", &[]),
        ("label=env:prod", &["odd"]),
        ("label=env:a:b", &["svc"]),
        ("label=env:", &[]),
        ("metadata=team", &["odd"]),
        ("metadata=team:core", &["odd"]),
        ("metadata=team:other", &[]),
        ("identity_class=code_agent", &["coder"]),
        ("identity_class=custom", &["odd", "svc", "tool", "app", "plain"]),
        ("origin=native", &all),
        ("origin=external&status=discovered", &["found"]),
        ("origin=scan&status=discovered", &["found"]),
        ("origin=external", &[]),
        ("owner_user_id=u-2", &["app"]),
        ("ownerless=true&status=discovered", &["found"]),
        ("ownerless=true", &[]),
        ("ownerless=false", &all),
        ("identity_type=agent&label=env:prod&is_active=true", &["odd"]),
        ("identity_type=service&label=env:prod", &[]),
        ("unheard_of=1", &all),
    ] {
        assert_eq!(server.listed(query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_search_looks_for_the_text_itself() {
    let server = populated().await;
    for (query, expected) in [
        ("search=PLA", &["plain"][..]),
        ("search=agent%20co", &["coder"]),
        ("search=%25", &["odd"]),
        ("search=_", &["odd"]),
        ("search=0%25_", &["odd"]),
        ("search=%5C", &["odd"]),
        ("search=%5Csure", &["odd"]),
        ("search=a%25n", &[]),
        ("search=p_ain", &[]),
        ("search=%27", &[]),
        ("search=found", &[]),
    ] {
        assert_eq!(server.listed(query).await, expected, "{query}");
    }
    let body = server.admin("GET", "/agents/registry?search=plain").send().await.expect(200).body;
    let id = body["agents"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(server.listed(&format!("search={id}")).await, ["plain"]);
    assert_eq!(server.listed(&format!("search={}", id.to_uppercase())).await, ["plain"]);
    let body = json!({ "name": "twin", "external_id": id, "created_by": "dev@company.example" });
    server.admin("POST", "/agents/register").json(body).send().await.expect(201);
    assert_eq!(server.listed(&format!("search={id}")).await, [id.as_str(), "plain"]);
    assert!(server.listed("search=00000000-0000-7000-8000-000000000000").await.is_empty());
}

#[tokio::test]
async fn a_filter_with_a_value_that_is_none_is_refused() {
    let server = Server::new().await;
    for (query, at, status) in [
        ("status=asleep", "query.status", 400),
        ("status=active,asleep", "query.status", 400),
        ("trust_level=total", "query.trust_level", 400),
        ("identity_type=robot", "query.identity_type", 400),
        ("identity_class=other", "query.identity_class", 400),
        ("is_active=perhaps", "query.is_active", 400),
        ("ownerless=2", "query.ownerless", 400),
        ("include_parents=x", "query.include_parents", 400),
        ("label=novalue", "query.label", 400),
        ("label=:v", "query.label", 400),
        ("metadata=:v", "query.metadata", 400),
        ("search=a&search=b", "query.search", 400),
        ("limit=0", "query.limit", 422),
        ("limit=101", "query.limit", 422),
        ("limit=-1", "query.limit", 422),
        ("limit=ten", "query.limit", 422),
        ("limit=1.5", "query.limit", 422),
        ("limit=99999999999999999999", "query.limit", 422),
        ("offset=-1", "query.offset", 422),
        ("offset=99999999999999999999", "query.offset", 422),
    ] {
        let answer = server.admin("GET", &format!("/agents/registry?{query}")).send().await.problem(status);
        assert_eq!(answer.body["errors"][0]["location"], at, "{query}");
    }
    server.admin("GET", "/agents/registry?search=a%00b").send().await.problem(400);
    server.admin("GET", "/agents/registry?search=%ff%fe&label=%zz:1").send().await.expect(200);
}

#[tokio::test]
async fn pages_join_without_gap_or_overlap_though_all_were_made_at_once() {
    let server = Server::new().await;
    for number in 0..23 {
        server.register(&format!("agent-{number}"), Value::Null).await.expect(201);
    }
    server.app.clock.advance(Duration::seconds(1));
    server.register("newest", Value::Null).await.expect(201);
    let whole = server.listed("limit=100").await;
    assert_eq!((whole.len(), whole[0].as_str()), (24, "newest"));
    assert_eq!(server.listed("limit=100").await, whole);
    let mut walked = Vec::new();
    for offset in [0, 7, 14, 21, 28] {
        let path = format!("/agents/registry?limit=7&offset={offset}");
        let page = server.admin("GET", &path).send().await.expect(200).body;
        assert_eq!((&page["total"], &page["limit"]), (&json!(24), &json!(7)));
        assert_eq!(page["offset"], offset);
        walked.extend(page["agents"].as_array().unwrap().iter().map(external_id));
    }
    assert_eq!(walked, whole);
    let page = server.admin("GET", "/agents/registry").send().await.expect(200).body;
    assert_eq!((page["agents"].as_array().unwrap().len(), &page["limit"]), (20, &json!(20)));
    assert!(page.get("parents").is_none());
    let page = server.admin("GET", "/agents/registry?search=agent-1&limit=3").send().await.expect(200).body;
    assert_eq!((page["agents"].as_array().unwrap().len(), &page["total"]), (3, &json!(11)));
}

#[tokio::test]
async fn the_list_shows_an_agent_as_its_own_route_does() {
    let server = populated().await;
    let body = server.admin("GET", "/agents/registry").send().await.expect(200).body;
    for agent in body["agents"].as_array().unwrap() {
        assert_eq!(&server.read(agent["id"].as_str().unwrap()).await, agent);
    }
}

#[tokio::test]
async fn an_empty_tenant_has_an_empty_list() {
    let server = Server::new().await;
    let body = server.admin("GET", "/agents/registry").send().await.expect(200).body;
    assert_eq!(body, json!({ "agents": [], "total": 0, "limit": 20, "offset": 0 }));
}

#[tokio::test]
async fn parents_come_along_when_asked_for_and_do_not_count() {
    let server = Server::new().await;
    let child = |parent: &str| json!({ "metadata": { "parent_external_id": parent } });
    // A chain longer than the generations that are resolved, a cycle, a parent nobody knows, one that is no text.
    server.register("g-0", Value::Null).await.expect(201);
    for generation in 1..=10 {
        let more = child(&format!("g-{}", generation - 1));
        server.register(&format!("g-{generation}"), more).await.expect(201);
    }
    server.register("left", child("right")).await.expect(201);
    server.register("right", child("left")).await.expect(201);
    server.register("lost", child("nobody")).await.expect(201);
    server.register("odd", json!({ "metadata": { "parent_external_id": 7 } })).await.expect(201);
    for (search, expected) in [
        ("g-10", (2..10).rev().map(|number| format!("g-{number}")).collect()),
        ("left", vec!["right".to_owned()]),
        ("lost", vec![]),
        ("odd", vec![]),
    ] {
        let path = format!("/agents/registry?search={search}&include_parents=true");
        let body = server.admin("GET", &path).send().await.expect(200).body;
        let parents: Vec<_> = body["parents"].as_array().unwrap().iter().map(external_id).collect();
        assert_eq!((parents, &body["total"]), (expected, &json!(1)), "{search}");
    }
    // Who is in the list already does not come a second time, and another tenant's agent never does.
    let body =
        server.admin("GET", "/agents/registry?search=g-&include_parents=1").send().await.expect(200).body;
    assert_eq!((body["parents"].as_array().unwrap().len(), &body["total"]), (0, &json!(11)));
    let body = json!({ "name": "Spy", "external_id": "spy", "created_by": "u", "metadata": { "parent_external_id": "g-0" } });
    server.call("POST", "/agents/register").tenant("evil", "demo").json(body).send().await.expect(201);
    let list =
        server.call("GET", "/agents/registry?include_parents=true").tenant("evil", "demo").send().await;
    assert_eq!(list.expect(200).body["parents"], json!([]));
}
