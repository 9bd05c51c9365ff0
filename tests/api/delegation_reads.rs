//! The chain of one credential: whole, root first, with what has become of each step.

use chancery::kit::config::AdminAuth;
use insta::assert_json_snapshot;
use serde_json::{Value, json};
use time::Duration;

use crate::server::Server;
use crate::trees::{column, named, revoked};

const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";

#[tokio::test]
async fn a_root_is_one_edge_with_its_holder() {
    let server = Server::new().await;
    let (id, key) = server.agent("planner").await;
    let (_, jti) = server.root_row(&key, "tools:read tools:execute").await;
    assert_json_snapshot!(named(&server.by_jti(&jti).await, &[(&id, "planner"), (&jti, "root")]));
}

#[tokio::test]
async fn a_chain_goes_from_the_root_to_the_one_that_was_asked_for() {
    let server = Server::new().await;
    let (planner, key) = server.agent("planner").await;
    let (fetcher, _) = server.agent("fetcher").await;
    let (_, root) = server.root_row(&key, "a b c").await;
    server.app.clock.advance(Duration::seconds(7));
    let middle = server.child_row(&root, &fetcher, &["c", "a"]).await;
    let leaf = server.child_row(&middle, &planner, &["a"]).await;
    let names = [
        (planner.as_str(), "planner"),
        (fetcher.as_str(), "fetcher"),
        (root.as_str(), "root"),
        (middle.as_str(), "middle"),
        (leaf.as_str(), "leaf"),
    ];
    // The planner stands twice in the chain and once among the nodes.
    assert_json_snapshot!(named(&server.by_jti(&leaf).await, &names));
    // What hangs beside or below is not part of it.
    server.child_row(&root, &planner, &["b"]).await;
    let chain = server.by_jti(&middle).await;
    assert_eq!(column(&chain["edges"], "jti"), [&root, &middle]);
    assert_eq!(column(&server.by_jti(&root).await["edges"], "jti"), [&root]);
}

#[tokio::test]
async fn a_deep_chain_is_walked_to_its_root() {
    let server = Server::new().await;
    let jtis = server.chain_of(64).await;
    let chain = server.by_jti(&jtis[64]).await;
    assert_eq!(column(&chain["edges"], "jti"), jtis);
    assert_eq!(column(&chain["edges"], "parent_jti")[1..], jtis[..64]);
    assert_eq!(chain["nodes"].as_array().unwrap().len(), 1);
    assert!(!revoked(&chain).contains(&true));
    server.run_sql(format!("update credentials set revoked_at = issued_at where jti = '{}'", jtis[0])).await;
    let chain = server.by_jti(&jtis[64]).await;
    assert!(!revoked(&chain).contains(&false), "the root's mark is seen from any depth");
}

/// Three agents and a chain of three credentials, one of each.
struct Scene {
    server: Server,
    agents: Vec<String>,
    jtis: Vec<String>,
}

impl Scene {
    async fn new() -> Self {
        let server = Server::new().await;
        let (mut agents, mut keys) = (Vec::new(), Vec::new());
        for name in ["first", "second", "third"] {
            let (id, key) = server.agent(name).await;
            agents.push(id);
            keys.push(key);
        }
        let mut jtis = vec![server.root_row(&keys[0], "read").await.1];
        for at in 0..2 {
            jtis.push(server.child_row(&jtis[at], &agents[at + 1], &["read"]).await);
        }
        Self { server, agents, jtis }
    }

    /// Makes the change, reads the chain, and requires that it agrees with what the database says of each credential.
    async fn after(change: &str) -> Value {
        let scene = Self::new().await;
        scene.change(change).await;
        scene.read().await
    }

    /// In the text, `#0` to `#2` stand for the credentials and `@0` to `@2` for the agents.
    async fn change(&self, change: &str) {
        let mut sql = change.to_owned();
        for at in 0..3 {
            sql = sql.replace(&format!("#{at}"), &self.jtis[at]).replace(&format!("@{at}"), &self.agents[at]);
        }
        assert!(self.server.run_sql(sql).await > 0, "{change}");
    }

    async fn read(&self) -> Value {
        let chain = self.server.by_jti(&self.jtis[2]).await;
        for edge in chain["edges"].as_array().unwrap() {
            let jti = edge["jti"].as_str().unwrap();
            let (is_revoked, at, reason) = self.server.history(jti).await;
            let shown = self.server.credential(jti).await;
            assert_eq!(shown["is_revoked"], is_revoked);
            if is_revoked {
                assert_eq!(edge["is_revoked"], true);
                assert_eq!(edge["revoked_at"].as_str(), at.as_deref());
                assert!(!edge["revoke_reason"].as_str().unwrap().is_empty());
                assert!(reason.is_empty() || edge["revoke_reason"] == reason);
            }
            for member in ["revoked_at", "revoke_reason"] {
                assert!(edge["is_revoked"] == true || edge.get(member).is_none(), "{edge}");
                assert!(!is_revoked || edge.get(member) == shown.get(member), "{edge} {shown}");
            }
        }
        chain
    }
}

#[tokio::test]
async fn a_mark_ends_the_step_it_stands_on_and_all_below() {
    let mark = "revoked_at = '2026-12-01T12:00:01.5Z', revoke_reason = 'stolen'";
    for (at, expected) in
        [[true, true, true], [false, true, true], [false, false, true]].into_iter().enumerate()
    {
        let chain = Scene::after(&format!("update credentials set {mark} where jti = '#{at}'")).await;
        assert_eq!(revoked(&chain), expected, "{at}");
        for edge in &chain["edges"].as_array().unwrap()[at..] {
            assert_eq!(edge["revoked_at"], "2026-12-01T12:00:01.5Z");
            assert_eq!(edge["revoke_reason"], "stolen");
        }
        assert_eq!(column(&chain["nodes"], "status"), ["active"; 3]);
    }
}

#[tokio::test]
async fn what_a_step_rests_on_ends_it_too() {
    for (change, expected, reason) in [
        ("update identities set epoch = 7 where id = '@1'", [false, true, true], "identity_tokens_revoked"),
        ("delete from identities where id = '@0'", [true, true, true], "identity_unknown"),
        ("update signing_keys set revoked_at = '2026-12-01Z'", [true, true, true], "signing_key_revoked"),
        (
            "update api_keys set revoked_at = '2026-12-01Z', revoke_reason = 'leaked' where identity_id = '@0'",
            [true, true, true],
            "leaked",
        ),
    ] {
        let chain = Scene::after(change).await;
        assert_eq!(revoked(&chain), expected, "{change}");
        let first = expected.iter().position(|revoked| *revoked).unwrap();
        assert_eq!(chain["edges"][first]["revoke_reason"], reason, "{change}");
    }
}

#[tokio::test]
async fn a_missing_ancestor_makes_what_is_below_it_untrustworthy() {
    let chain = Scene::after("delete from credentials where jti = '#0'").await;
    assert_eq!((revoked(&chain), column(&chain["edges"], "from")[0]), (vec![true, true], ""));
    assert_eq!(chain["edges"][0]["revoke_reason"], "parent_unknown");
    let scene = Scene::new().await;
    scene.change("delete from credentials where jti = '#1'").await;
    let chain = scene.read().await;
    assert_eq!(column(&chain["edges"], "jti"), [&scene.jtis[0], &scene.jtis[2]]);
    assert_eq!(revoked(&chain), [false, true]);
    assert_eq!(chain["edges"][1]["attenuated"], json!([]));
}

#[tokio::test]
async fn what_sleeps_or_has_expired_shows_in_its_holder_and_is_not_revoked() {
    let scene = Scene::new().await;
    scene.change("update credentials set expires_at = '2026-12-01T12:00:00Z' where jti = '#1'").await;
    let chain = scene.read().await;
    assert_eq!(column(&chain["edges"], "jti"), scene.jtis, "an expired step is shown");
    assert_eq!(revoked(&chain), [false; 3]);
    for (change, status) in [
        ("status = 'suspended'", "suspended"),
        ("status = 'expired'", "expired"),
        ("expires_at = '2026-12-01T12:00:00Z'", "expired"),
        ("status = 'suspended', expires_at = '2026-12-01T12:00:00Z'", "expired"),
    ] {
        let chain = Scene::after(&format!("update identities set {change} where id = '@1'")).await;
        assert_eq!(column(&chain["nodes"], "status"), ["active", status, "active"]);
        assert_eq!(revoked(&chain), [false; 3], "{change}");
    }
}

#[tokio::test]
async fn what_no_node_can_show_counts_as_revoked() {
    let client = "insert into oauth_clients (id, account_id, project_id, client_id, name, client_type,
            token_endpoint_auth_method, grant_types, is_active, created_at, updated_at)
        values ('@1', 'acme', 'demo', 'c', 'C', 'public', 'none', '{}', false, now(), now())";
    let scene = Scene::new().await;
    scene.change(client).await;
    scene.change("update credentials set oauth_client_id = '@1', identity_id = null where jti = '#1'").await;
    let chain = scene.read().await;
    assert_eq!(revoked(&chain), [false, true, false]);
    assert_eq!(chain["edges"][1]["revoke_reason"], "client_inactive");
    assert_eq!(column(&chain["edges"], "to"), [&scene.agents[0], "", &scene.agents[2]]);
    assert_eq!(chain["nodes"].as_array().unwrap().len(), 2, "a client without an identity is no node");
    for status in ["pending", "discovered"] {
        let chain = Scene::after(&format!("update identities set status = '{status}' where id = '@0'")).await;
        assert_eq!(revoked(&chain), [true, false, false]);
        assert_eq!(chain["edges"][0]["revoke_reason"], format!("identity_{status}"));
    }
}

#[tokio::test]
async fn a_deactivated_ancestor_ends_the_chain_for_good() {
    let scene = Scene::new().await;
    let server = &scene.server;
    server.act(&scene.agents[1], "deactivate").await.expect(200);
    let chain = scene.read().await;
    assert_eq!(revoked(&chain), [false, true, true]);
    assert_eq!(column(&chain["nodes"], "status"), ["active", "deactivated", "active"]);
    server.act(&scene.agents[1], "activate").await.expect(200);
    let chain = scene.read().await;
    assert_eq!(revoked(&chain), [false, true, true], "reactivation brings nothing back");
    assert_eq!(column(&chain["nodes"], "status"), ["active"; 3]);
}

#[tokio::test]
async fn an_unknown_jti_a_foreign_one_and_a_malformed_one() {
    let server = Server::new().await;
    let (_, key) = server.agent("planner").await;
    let (_, jti) = server.root_row(&key, "").await;
    let unknown = server.look(&format!("/delegations/by-jti/{UNKNOWN}")).await.problem(404);
    for (account, project) in [("evil", "demo"), ("acme", "other")] {
        let call = server.call("GET", &format!("/delegations/by-jti/{jti}")).tenant(account, project);
        assert_eq!(call.send().await.problem(404).text, unknown.text);
    }
    let plain = jti.replace('-', "");
    for bad in
        [jti.to_uppercase().as_str(), plain.as_str(), "x", "%7B%7D", "%ff", "%00", &format!("{jti}%20")]
    {
        let answer = server.look(&format!("/delegations/by-jti/{bad}")).await.problem(422);
        assert_eq!(answer.body["errors"][0]["location"], "path.jti", "{bad}");
    }
    server.look(&format!("/delegations/by-jti/%7B{jti}%7D")).await.problem(422);
}

#[tokio::test]
async fn every_live_credential_of_the_tenant_may_read_a_chain() {
    let server = Server::with(|config| config.admin_auth = AdminAuth::Required).await;
    let operator = server.admin_key(None, &["nhi:manage"]).await;
    let call = server.call("POST", "/agents/register").bearer(&operator).tenant("acme", "demo");
    let body = json!({ "name": "A", "external_id": "a", "created_by": "u-1" });
    let key = call.json(body).send().await.expect(201).text_of("api_key").to_owned();
    let (token, jti) = server.root_row(&key, "").await;
    let (other, _) = server.root_row(&key, "").await;
    let weak = server.admin_key(Some(("acme", "demo")), &["nothing"]).await;
    let foreign = server.admin_key(Some(("evil", "demo")), &["nhi:manage"]).await;
    for path in [format!("/delegations/by-jti/{jti}"), format!("/api/v1/delegations/by-jti/{jti}")] {
        server.admin("GET", &path).send().await.problem(401);
        for credential in [&token, &other, &weak] {
            let call = server.call("GET", &path).bearer(credential).tenant("default", "default");
            assert_eq!(call.send().await.expect(200).body["edges"][0]["jti"], jti);
        }
    }
    let path = format!("/delegations/by-jti/{jti}");
    server.call("GET", &path).bearer(&foreign).send().await.problem(404);
    server.call("GET", &path).bearer(&token).tenant("evil", "demo").send().await.problem(403);
    server.post("/oauth2/token/revoke").form(&[("token", &other)]).send().await.expect(200);
    server.call("GET", &path).bearer(&other).send().await.problem(401);
}
