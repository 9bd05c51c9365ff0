//! Whole trees around an identity, and what happened lately, tree by tree.

use insta::assert_json_snapshot;
use serde_json::{Value, json};
use time::Duration;

use crate::people::Ask;
use crate::server::Server;
use crate::tools::claims;
use crate::trees::{column, named, revoked};
use crate::world::MOUNTS;

const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";

impl Server {
    async fn graph(&self, id: &str, more: &str) -> Value {
        let answer = self.look(&format!("/delegations/graph?identity_id={id}{more}")).await.expect(200);
        assert!(!answer.text.contains("null"), "{}", answer.text);
        answer.body
    }

    async fn chains(&self, query: &str) -> Value {
        let answer = self.look(&format!("/delegations/chains?{query}")).await.expect(200);
        assert!(!answer.text.contains("null"), "{}", answer.text);
        answer.body["chains"].clone()
    }

    /// Credentials below a parent, a second apart, all of its holder.
    async fn children(&self, parent: &str, count: usize) {
        let done = self.run_sql(format!(
            "insert into credentials (jti, account_id, project_id, token_sha256, kid, identity_id, agent_epoch,
                 parent_jti, ancestors, mission_id, delegation_depth, grant_type, subject, scopes, audience, issued_at,
                 expires_at)
             select gen_random_uuid(), account_id, project_id, token_sha256, kid, identity_id, agent_epoch, jti,
                 ancestors || jti, mission_id, delegation_depth + 1, 'token_exchange', subject, scopes, audience,
                 issued_at, expires_at
             from credentials, generate_series(1, {count}) where jti = '{parent}'"
        ));
        assert_eq!(done.await, count as u64);
    }
}

#[tokio::test]
async fn a_graph_has_the_whole_trees_that_touch_the_identity() {
    let server = Server::new().await;
    let (planner, key) = server.agent("planner").await;
    let (fetcher, _) = server.agent("fetcher").await;
    let (writer, _) = server.agent("writer").await;
    let (_, root) = server.root_row(&key, "a b").await;
    let left = server.child_row(&root, &fetcher, &["a"]).await;
    server.app.clock.advance(Duration::seconds(1));
    let right = server.child_row(&root, &writer, &["b"]).await;
    let leaf = server.child_row(&left, &writer, &["a"]).await;
    server.app.clock.advance(Duration::seconds(1));
    let (_, alone) = server.root_row(&key, "").await;
    let names =
        [(&planner, "planner"), (&fetcher, "fetcher"), (&writer, "writer"), (&root, "root"), (&left, "left")];
    let names = names.into_iter().chain([(&right, "right"), (&leaf, "leaf")]);
    let names: Vec<(&str, &str)> = names.map(|(id, name)| (id.as_str(), name)).collect();
    // The tree is shown up to its root and with the branch that the fetcher has no part in.
    assert_json_snapshot!(named(&server.graph(&fetcher, "").await, &names));
    let both = server.graph(&planner, "").await;
    assert_eq!(column(&both["edges"], "jti"), [&alone, &root, &left, &right, &leaf], "the newest tree first");
    for mount in MOUNTS {
        let path = format!("{mount}/delegations/graph?identity_id={planner}&depth=10");
        assert_eq!(server.look(&path).await.expect(200).body, both);
    }
}

#[tokio::test]
async fn depth_counts_the_generations_below_the_root() {
    let server = Server::new().await;
    let jtis = server.chain_of(12).await;
    let id = server.credential(&jtis[0]).await["identity_id"].as_str().unwrap().to_owned();
    for (more, shown) in [("&depth=1", 2), ("&depth=3", 4), ("&depth=10", 11), ("", 11), ("&depth=", 11)] {
        let graph = server.graph(&id, more).await;
        assert_eq!(column(&graph["edges"], "jti"), jtis[..shown], "{more}");
    }
    for bad in ["0", "11", "-1", "x", "1.5"] {
        server.look(&format!("/delegations/graph?identity_id={id}&depth={bad}")).await.problem(422);
    }
}

#[tokio::test]
async fn nobody_s_graph_is_empty() {
    let server = Server::new().await;
    let (id, key) = server.agent("planner").await;
    let empty = |id: &str| json!({ "focal_id": id, "nodes": [], "edges": [], "truncated": false });
    assert_eq!(server.graph(&id, "").await, empty(&id));
    assert_eq!(server.graph(UNKNOWN, "").await, empty(UNKNOWN));
    server.root_row(&key, "").await;
    for (account, project) in [("evil", "demo"), ("acme", "other")] {
        let path = format!("/delegations/graph?identity_id={id}");
        let answer = server.call("GET", &path).tenant(account, project).send().await.expect(200);
        assert_eq!(answer.body, empty(&id));
    }
    for bad in ["", "identity_id=", "identity_id=x", "identity_id=%27", "focal_id=x"] {
        server.look(&format!("/delegations/graph?{bad}")).await.problem(422);
    }
}

#[tokio::test]
async fn a_graph_shows_500_edges_and_says_when_there_are_more() {
    let server = Server::new().await;
    let (id, key) = server.agent("planner").await;
    let (_, root) = server.root_row(&key, "").await;
    server.children(&root, 499).await;
    let graph = server.graph(&id, "").await;
    assert_eq!((column(&graph["edges"], "jti").len(), &graph["truncated"]), (500, &json!(false)));
    server.children(&root, 1).await;
    let graph = server.graph(&id, "").await;
    let shown = column(&graph["edges"], "jti");
    assert_eq!((shown.len(), shown[0], &graph["truncated"]), (500, root.as_str(), &json!(true)));
    assert!(column(&graph["edges"], "from")[1..].iter().all(|from| *from == id), "no parent is left out");
    // A newer tree comes first and whole.
    server.app.clock.advance(Duration::seconds(1));
    let (_, newer) = server.root_row(&key, "").await;
    let below = server.child_row(&newer, &id, &[]).await;
    let graph = server.graph(&id, "").await;
    assert_eq!(column(&graph["edges"], "jti")[..3], [newer.as_str(), &below, &root]);
}

#[tokio::test]
async fn a_graph_tells_what_has_ended() {
    let server = Server::new().await;
    let (planner, key) = server.agent("planner").await;
    let (fetcher, _) = server.agent("fetcher").await;
    let (_, root) = server.root_row(&key, "").await;
    let left = server.child_row(&root, &fetcher, &[]).await;
    server.app.clock.advance(Duration::seconds(1));
    server.child_row(&root, &planner, &[]).await;
    server.child_row(&left, &planner, &[]).await;
    server.admin("POST", &format!("/credentials/{left}/revoke")).send().await.expect(200);
    assert_eq!(revoked(&server.graph(&planner, "").await), [false, true, false, true]);
    server.act(&planner, "deactivate").await.expect(200);
    let graph = server.graph(&fetcher, "").await;
    assert_eq!(revoked(&graph), [true; 4]);
    assert_eq!(graph["edges"][1]["revoke_reason"], "manual_revocation", "the nearest mark is told");
    assert_eq!(column(&graph["nodes"], "status"), ["deactivated", "active"]);
}

#[tokio::test]
async fn chains_are_trees_by_their_latest_activity() {
    let server = Server::new().await;
    let (planner, key) = server.agent("planner").await;
    assert_eq!(server.chains("").await, json!([]));
    let (_, first) = server.root_row(&key, "").await;
    server.app.clock.advance(Duration::minutes(1));
    let (_, second) = server.root_row(&key, "").await;
    server.app.clock.advance(Duration::minutes(1));
    let child = server.child_row(&first, &planner, &[]).await;
    server.app.clock.advance(Duration::minutes(1));
    server.child_row(&child, &planner, &[]).await;
    let names = [(first.as_str(), "first"), (second.as_str(), "second")];
    let all = server.chains("").await;
    assert_json_snapshot!(named(&all, &names));
    assert_eq!(server.chains("limit=1").await, json!([all[0]]));
    assert_eq!(server.look("/api/v1/delegations/chains").await.expect(200).body["chains"], all);
    for (account, project) in [("evil", "demo"), ("acme", "other")] {
        let call = server.call("GET", "/delegations/chains").tenant(account, project);
        assert_eq!(call.send().await.expect(200).body, json!({ "chains": [] }));
    }
    for bad in ["limit=0", "limit=501", "limit=x"] {
        server.look(&format!("/delegations/chains?{bad}")).await.problem(422);
    }
}

#[tokio::test]
async fn chains_are_looked_for_within_a_window_of_time() {
    let server = Server::new().await;
    let (planner, key) = server.agent("planner").await;
    let (_, old) = server.root_row(&key, "").await;
    server.app.clock.advance(Duration::days(20));
    server.child_row(&old, &planner, &[]).await;
    server.app.clock.advance(Duration::hours(1));
    let (_, new) = server.root_row(&key, "").await;
    server.app.clock.advance(Duration::days(10));
    for (query, found) in [
        ("", vec![&new, &old]),
        ("until=2026-12-02", vec![&old]),
        ("since=2026-12-02&until=2026-12-20T00:00:00", vec![]),
        ("since=2026-12-21T12:00:00.123Z&until=2026-12-21T12:00:00.123%2B00:00", vec![&old]),
        ("since=2026-12-21T13:30:00+02:00", vec![&new, &old]),
        ("since=2026-12-21T14:30:00+02:00", vec![&new]),
        ("since=2027-01-01&until=2026-01-01", vec![]),
        ("until=1800-01-01", vec![]),
    ] {
        assert_eq!(column(&server.chains(query).await, "chain_id"), found, "{query}");
    }
    // What a tree did outside the window is not counted: by default the last 30 days.
    assert_eq!(server.chains("").await[1]["credential_count"], 1);
    let all = server.chains("since=0001-01-01&until=9999-12-31T23:59:59.999999999Z").await;
    let oldest = json!({
        "chain_id": old, "credential_count": 2, "last_activity_at": "2026-12-21T12:00:00.123456Z", "max_depth": 1,
        "started_at": "2026-12-01T12:00:00Z",
    });
    assert_eq!((all.as_array().unwrap().len(), &all[1]), (2, &oldest));
    for bad in ["since=yesterday", "until=1790000000", "since=2026-13-01", "until=-0001-01-01"] {
        server.look(&format!("/delegations/chains?{bad}")).await.problem(400);
    }
}

/// A person's token has an agent behind it, or none, and is counted once.
#[tokio::test]
async fn what_a_person_lets_a_client_do_is_a_chain_too() {
    let server = Server::new().await;
    let (agent, _) = server.agent("planner").await;
    server
        .run_sql("update credential_policies set allowed_grant_types = allowed_grant_types || '{authorization_code}'")
        .await;
    let cookie = server.cookie(&server.person("u-ada").await).await;
    for (client, more) in [("alone", json!({})), ("bound", json!({ "identity_id": agent }))] {
        server.program_of_people(client, more).await;
        let code = server.code(&Ask::of(client), &cookie).await;
        let token = server.redeem(client, &code, &[]).await.token();
        let newest = &server.chains("limit=1").await[0];
        assert_eq!((&newest["chain_id"], &newest["credential_count"]), (&claims(&token)["jti"], &json!(1)));
        server.app.clock.advance(Duration::SECOND);
    }
    assert_eq!(server.chains("").await.as_array().unwrap().len(), 2);
}
