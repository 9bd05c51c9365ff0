//! A person leaves: all that he answers for ends at once, and nothing of anybody else's.

use serde_json::{Value, json};

use crate::server::{Answer, Server};
use crate::world::MOUNTS;

const ROUTE: &str = "/identities/offboard-by-owner";

impl Server {
    /// An agent of a tenant, with its owner: id and key.
    async fn owned(&self, tenant: (&str, &str), external_id: &str, owner: &str) -> (String, String) {
        let body = json!({ "name": "A", "external_id": external_id, "created_by": owner });
        let call = self.call("POST", "/agents/register").tenant(tenant.0, tenant.1);
        let answer = call.json(body).send().await.expect(201);
        (answer.body["identity"]["id"].as_str().unwrap().to_owned(), answer.text_of("api_key").to_owned())
    }

    async fn offboard(&self, body: Value) -> Answer {
        self.admin("POST", ROUTE).json(body).send().await
    }

    async fn status_of(&self, id: &str) -> String {
        self.text_from_sql(format!("select status || ' ' || epoch from identities where id = '{id}'")).await
    }
}

fn done(identities: i64, credentials: i64) -> Value {
    json!({ "identities_deactivated": identities, "credentials_revoked": credentials })
}

#[tokio::test]
async fn all_agents_of_the_person_end_with_keys_and_tokens_and_all_below() {
    for mount in MOUNTS {
        let server = Server::new().await;
        let (a, key_a) = server.owned(("acme", "demo"), "a", "leaver@x").await;
        let (b, key_b) = server.owned(("acme", "demo"), "b", "leaver@x").await;
        let (c, key_c) = server.owned(("acme", "demo"), "c", "stayer@x").await;
        let (one, two, other) =
            (server.root(&key_a).await, server.root(&key_b).await, server.root(&key_c).await);
        let nodes =
            [one.clone(), two, server.child(&one, &c).await, other.clone(), server.child(&other, &a).await];
        assert_eq!(server.active(&nodes).await, [0, 1, 2, 3, 4]);
        let call = server.admin("POST", &format!("{mount}{ROUTE}"));
        let answer = call.json(json!({ "owner_user_id": "leaver@x" })).send().await.expect(200);
        assert_eq!(answer.body, done(2, 4));
        assert_eq!(server.active(&nodes).await, [3]);
        for (id, status) in [(&a, "deactivated 1"), (&b, "deactivated 1"), (&c, "active 0")] {
            assert_eq!(server.status_of(id).await, status);
        }
        assert!(
            !server.key_works(&key_a).await
                && !server.key_works(&key_b).await
                && server.key_works(&key_c).await
        );
        // Reactivated, neither keys nor tokens are back.
        server.act(&a, "activate").await.expect(200);
        assert!(!server.key_works(&key_a).await && !server.is_active(&one.token).await);
        assert_eq!(
            server.offboard(json!({ "owner_user_id": "leaver@x" })).await.expect(200).body,
            done(1, 0)
        );
        assert_eq!(
            server.offboard(json!({ "owner_user_id": "leaver@x" })).await.expect(200).body,
            done(0, 0)
        );
    }
}

#[tokio::test]
async fn each_state_but_deactivated_ends() {
    let server = Server::new().await;
    for status in ["discovered", "pending", "active", "suspended", "deactivated", "expired"] {
        let (id, _) = server.owned(("acme", "demo"), status, "leaver@x").await;
        server.force_status(&id, status).await;
    }
    assert_eq!(server.offboard(json!({ "owner_user_id": "leaver@x" })).await.expect(200).body, done(5, 0));
    let sql = "select count(*) from identities where status = 'deactivated'";
    assert_eq!(server.count(sql).await, 6);
    assert_eq!(
        server.count("select count(*) from identities where epoch = 0").await,
        1,
        "the one that was already"
    );
}

#[tokio::test]
async fn an_owner_that_names_nobody_is_refused_and_ends_nothing() {
    let server = Server::new().await;
    let (_, key) = server.owned(("acme", "demo"), "a", "leaver@x").await;
    let (orphan, orphans_key) = server.owned(("acme", "demo"), "b", "leaver@x").await;
    server.run_sql(format!("update identities set owner_user_id = '' where id = '{orphan}'")).await;
    let before = server.everything().await;
    let members =
        [json!(""), json!(" "), json!("\t\n"), json!(" leaver@x"), json!("leaver@x "), json!("\u{a0}")];
    for owner in members {
        let audited = server.audited().await;
        let answer = server.offboard(json!({ "owner_user_id": owner, "reason": "x" })).await.problem(400);
        assert_eq!(answer.body["errors"][0]["location"], "body.owner_user_id");
        assert_eq!(server.audited().await, audited + 1);
    }
    server.offboard(json!({})).await.problem(400);
    server.offboard(json!({ "owner_user_id": null })).await.problem(422);
    server.offboard(json!({ "owner_user_id": ["leaver@x"] })).await.problem(422);
    server.offboard(json!({ "owner_user_id": "leaver@x", "reason": "x".repeat(4097) })).await.problem(400);
    server.admin("POST", ROUTE).send().await.problem(415);
    server.admin("POST", ROUTE).raw("application/json", "{").send().await.problem(400);
    // What stands for a pattern elsewhere is a name here, and nobody bears it.
    for owner in ["%", "leaver@_", "*", "LEAVER@X", "leaver@x' or '1'='1"] {
        assert_eq!(server.offboard(json!({ "owner_user_id": owner })).await.expect(200).body, done(0, 0));
    }
    assert_eq!(server.everything().await, before);
    assert!(server.key_works(&key).await && server.key_works(&orphans_key).await);
}

/// The same person's agents in two projects of an account and in another account.
async fn scattered(server: &Server) -> Vec<String> {
    let mut ids = Vec::new();
    for tenant in [("acme", "demo"), ("acme", "other"), ("evil", "demo")] {
        let (id, key) = server.owned(tenant, "a", "leaver@x").await;
        server.root(&key).await;
        ids.push(id);
    }
    ids
}

#[tokio::test]
async fn a_projects_own_caller_reaches_his_project_only() {
    let server = Server::new().await;
    let ids = scattered(&server).await;
    let key = server.admin_key(Some(("acme", "other")), &["nhi:manage"]).await;
    let call = server.call("POST", ROUTE).bearer(&key);
    assert_eq!(call.json(json!({ "owner_user_id": "leaver@x" })).send().await.expect(200).body, done(1, 1));
    let states = async || {
        [server.status_of(&ids[0]).await, server.status_of(&ids[1]).await, server.status_of(&ids[2]).await]
    };
    assert_eq!(states().await, ["active 0", "deactivated 1", "active 0"]);
    // Who needs no credential stays in the project that he names.
    assert_eq!(server.offboard(json!({ "owner_user_id": "leaver@x" })).await.expect(200).body, done(1, 1));
    assert_eq!(states().await, ["deactivated 1", "deactivated 1", "active 0"]);
}

#[tokio::test]
async fn an_operator_reaches_every_project_of_the_account_and_no_other_account() {
    let server = Server::new().await;
    let ids = scattered(&server).await;
    let key = server.admin_key(None, &["nhi:manage"]).await;
    // Also from a project of the account in which there is nothing.
    let call = server.call("POST", ROUTE).bearer(&key).tenant("acme", "empty");
    let body = json!({ "owner_user_id": "leaver@x", "reason": "left the company" });
    assert_eq!(call.json(body).send().await.expect(200).body, done(2, 2));
    for (id, status) in ids.iter().zip(["deactivated 1", "deactivated 1", "active 0"]) {
        assert_eq!(server.status_of(id).await, status);
    }
    let log = "select string_agg(concat_ws(' ', account_id, project_id, action, target_id, metadata), e'\\n' order by project_id)
        from audit_events where action in ('agent.deactivated', 'owner.offboarded')";
    let facts = r#"{"reason": "left the company", "owner_user_id": "leaver@x"}"#;
    let expected = [
        format!("acme demo agent.deactivated {} {facts}", ids[0]),
        r#"acme empty owner.offboarded leaver@x {"reason": "left the company", "credentials_revoked": 2, "identities_deactivated": 2}"#.to_owned(),
        format!("acme other agent.deactivated {} {facts}", ids[1]),
    ];
    assert_eq!(server.text_from_sql(log).await, expected.join("\n"));
    let path = format!("/agents/{}/tokens?include_revoked=true", ids[1]);
    let list = server.call("GET", &path).tenant("acme", "other").send().await.expect(200);
    assert_eq!(list.body["data"][0]["revoke_reason"], "left the company");
}

#[tokio::test]
async fn a_reason_is_given_where_none_was() {
    for reason in [Value::Null, json!(""), json!("  ")] {
        let server = Server::new().await;
        let (id, key) = server.owned(("acme", "demo"), "a", "leaver@x").await;
        server.root(&key).await;
        server.offboard(json!({ "owner_user_id": "leaver@x", "reason": reason })).await.expect(200);
        let path = format!("/agents/{id}/tokens?include_revoked=true");
        let list = server.admin("GET", &path).send().await.expect(200);
        assert_eq!(list.body["data"][0]["revoke_reason"], "owner_deactivated");
    }
}

#[tokio::test]
async fn several_who_end_the_same_agents_at_once_end_each_once() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let mut ids = Vec::new();
    for number in 0..12 {
        let (id, key) = server.owned(("acme", "demo"), &format!("a{number}"), "leaver@x").await;
        server.root(&key).await;
        ids.push(id);
    }
    let body = json!({ "owner_user_id": "leaver@x" });
    let one_by_one = async || {
        for id in ids.iter().rev() {
            server.act(id, "deactivate").await.expect(200);
        }
    };
    let (one, two, ()) = tokio::join!(server.offboard(body.clone()), replica.offboard(body), one_by_one());
    let ended = |answer: Answer| answer.expect(200).body["identities_deactivated"].as_i64().unwrap();
    assert!(ended(one) + ended(two) <= 12);
    assert_eq!(
        server.count("select count(*) from identities where status = 'deactivated' and epoch = 1").await,
        12
    );
    assert_eq!(server.count("select count(*) from revocations").await, 12);
}
