//! Making, reading, changing and deleting credential policies.

use serde_json::{Value, json};
use time::Duration;

use crate::server::Server;
use crate::tools::members;

const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";

const MEMBERS: [&str; 16] = [
    "account_id",
    "allowed_grant_types",
    "allowed_scopes",
    "created_at",
    "description",
    "id",
    "is_active",
    "max_delegation_depth",
    "max_ttl_seconds",
    "name",
    "project_id",
    "required_attestation",
    "required_trust_level",
    "source",
    "source_key",
    "updated_at",
];

/// A policy with every member.
pub fn full() -> Value {
    json!({
        "name": "strict", "description": "For the field.", "max_ttl_seconds": 600,
        "allowed_grant_types": ["api_key", "token_exchange"], "allowed_scopes": ["data:read", "data:write"],
        "required_trust_level": "first_party", "required_attestation": "hardware", "max_delegation_depth": 64,
        "source": "terraform", "source_key": "policies/strict", "expires_at": "2027-01-01T00:00:00Z",
    })
}

impl Server {
    /// The policy as acme/demo reads it.
    pub async fn read_policy(&self, id: &str) -> Value {
        self.admin("GET", &format!("/credential-policies/{id}")).send().await.expect(200).body
    }
}

#[tokio::test]
async fn a_policy_comes_back_as_it_was_made() {
    let server = Server::new().await;
    let made = server.make_policy(full()).await.expect(201).body;
    for (name, value) in full().as_object().unwrap() {
        assert_eq!(&made[name], value, "{name}");
    }
    let mut named = members(&made);
    named.retain(|name| *name != "expires_at");
    assert_eq!(named, MEMBERS);
    assert_eq!((&made["account_id"], &made["project_id"]), (&json!("acme"), &json!("demo")));
    assert_eq!((&made["is_active"], &made["created_at"]), (&json!(true), &made["updated_at"]));
    assert_eq!(server.read_policy(made["id"].as_str().unwrap()).await, made);
    let list = server.admin("GET", "/credential-policies").send().await.expect(200).body;
    assert_eq!(list, json!({ "credential_policies": [made], "total": 1 }));
}

#[tokio::test]
async fn a_policy_of_which_only_the_name_is_told_has_the_defaults() {
    let server = Server::new().await;
    let nulls = json!({
        "name": "b", "description": null, "max_ttl_seconds": null, "allowed_grant_types": null, "allowed_scopes": null,
        "required_trust_level": null, "required_attestation": null, "max_delegation_depth": null, "source": null,
        "source_key": null, "expires_at": null, "is_active": null,
    });
    let zeros = json!({ "name": "c", "max_ttl_seconds": 0, "max_delegation_depth": 0, "expires_at": "" });
    for body in [json!({ "name": "a" }), nulls, zeros] {
        let made = server.make_policy(body.clone()).await.expect(201).body;
        assert_eq!(members(&made), MEMBERS, "nothing is null, an end that is not there is absent");
        let expected = json!({
            "name": body["name"], "description": "", "max_ttl_seconds": 3600,
            "allowed_grant_types": ["client_credentials"], "allowed_scopes": [], "required_trust_level": "",
            "required_attestation": "", "max_delegation_depth": 0, "is_active": true, "source": "", "source_key": "",
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&made[name], value, "{name}");
        }
    }
    let none = json!({ "name": "d", "allowed_grant_types": [], "is_active": false });
    let made = server.make_policy(none).await.expect(201).body;
    assert_eq!((&made["allowed_grant_types"], &made["is_active"]), (&json!([]), &json!(false)));
}

#[tokio::test]
async fn grant_types_are_kept_by_their_short_names_each_once() {
    let server = Server::new().await;
    let named = json!([
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "jwt_bearer",
        "client_credentials",
        "api_key",
        "authorization_code",
        "refresh_token",
        "urn:openid:params:grant-type:ciba",
    ]);
    let made =
        server.make_policy(json!({ "name": "all", "allowed_grant_types": named })).await.expect(201).body;
    let short = json!([
        "jwt_bearer",
        "token_exchange",
        "client_credentials",
        "api_key",
        "authorization_code",
        "refresh_token",
        "urn:openid:params:grant-type:ciba",
    ]);
    assert_eq!(server.read_policy(made["id"].as_str().unwrap()).await["allowed_grant_types"], short);
}

#[tokio::test]
async fn a_list_is_newest_first_and_each_tenants_own() {
    let server = Server::new().await;
    let list = async |account: &str| {
        let call = server.call("GET", "/credential-policies").tenant(account, "demo");
        call.send().await.expect(200).body
    };
    assert_eq!(list("acme").await, json!({ "credential_policies": [], "total": 0 }));
    for name in ["first", "second", "third"] {
        server.app.clock.advance(Duration::seconds(1));
        server.make_policy(json!({ "name": name })).await.expect(201);
    }
    let all = list("acme").await;
    let all_of = all["credential_policies"].as_array().unwrap();
    let names: Vec<_> = all_of.iter().map(|policy| policy["name"].as_str().unwrap()).collect();
    assert_eq!((names, &all["total"]), (vec!["third", "second", "first"], &json!(3)));
    assert_eq!(list("other").await["total"], 0);
}

#[tokio::test]
async fn a_policy_is_deleted_only_when_nothing_refers_to_it() {
    let server = Server::new().await;
    let delete = async |id: &str| server.admin("DELETE", &format!("/credential-policies/{id}")).send().await;
    let grants = json!(["api_key"]);
    let make = async |name: &str| {
        let made =
            server.make_policy(json!({ "name": name, "allowed_grant_types": grants })).await.expect(201);
        made.text_of("id").to_owned()
    };
    let (unused, agents, keys) = (make("unused").await, make("agents").await, make("keys").await);
    assert_eq!(delete(&unused).await.expect(204).text, "");
    server.admin("GET", &format!("/credential-policies/{unused}")).send().await.problem(404);
    delete(&unused).await.problem(404);
    make("unused").await;

    let more = json!({ "credential_policy_id": agents, "api_key_credential_policy_id": keys });
    let agent = server.register("fetcher", more).await.expect(201);
    let id = agent.body["identity"]["id"].as_str().unwrap();
    for policy in [&agents, &keys] {
        delete(policy).await.problem(409);
    }
    // Nor when what refers to it is over: a rotation would bring the dead key's policy back.
    server.act(id, "deactivate").await.expect(200);
    for policy in [&agents, &keys] {
        delete(policy).await.problem(409);
    }
    server.act(id, "activate").await.expect(200);
    let rotated = server.act(id, "rotate-key").await.expect(200);
    assert!(server.key_works(rotated.text_of("api_key")).await);
}

#[tokio::test]
async fn the_same_source_and_key_find_the_policy_they_made() {
    let server = Server::new().await;
    let first = server.make_policy(full()).await.expect(201).body;
    let before = (server.everything().await, server.audited().await);
    let mut again = full();
    again["description"] = json!("another");
    assert_eq!(server.make_policy(again).await.expect(201).body, first);
    let renamed = json!({ "name": "other", "source": "terraform", "source_key": "policies/strict" });
    assert_eq!(server.make_policy(renamed.clone()).await.expect(201).body, first);
    assert_eq!((server.everything().await, server.audited().await), before);
    // A body that would not make one finds none.
    server.make_policy(json!({ "source": "terraform", "source_key": "policies/strict" })).await.problem(422);
    for (name, source, key) in [
        ("x", "terraform", "other"),
        ("y", "helm", "policies/strict"),
        ("z", "terraform", ""),
        ("w", "terraform", ""),
    ] {
        let body = json!({ "name": name, "source": source, "source_key": key });
        assert_ne!(server.make_policy(body).await.expect(201).body["id"], first["id"]);
    }
    let body = json!({ "name": "strict", "source": "terraform", "source_key": "new" });
    server.make_policy(body).await.problem(409);
    let elsewhere = server.call("POST", "/credential-policies").tenant("acme", "other").json(renamed);
    assert_ne!(elsewhere.send().await.expect(201).body["id"], first["id"]);
}

#[tokio::test]
async fn a_creation_that_is_repeated_gets_the_first_answer() {
    let server = Server::new().await;
    let post = || server.admin("POST", "/credential-policies").json(json!({ "name": "one" }));
    let first = post().send().await.expect(201).body;
    post().send().await.problem(409);
    assert_eq!(post().with("X-Idempotency-Key", "1").send().await.expect(201).body, first);
    let keyed = |name: &str| {
        server
            .admin("POST", "/credential-policies")
            .json(json!({ "name": name }))
            .with("Idempotency-Key", "k")
    };
    let two = keyed("two").send().await.expect(201).body;
    assert_eq!(keyed("two").send().await.expect(201).body, two);
    keyed("three").send().await.problem(422);
    assert_eq!(server.count("select count(*) from credential_policies").await, 2);
}

#[tokio::test]
async fn another_tenants_policy_is_an_unknown_one() {
    let server = Server::new().await;
    let foreign = server.policy_of("other", "foreign", "array['a']").await;
    server.agent("fetcher").await;
    let before = server.everything().await;
    for (method, body) in [("GET", Value::Null), ("PATCH", json!({ "name": "x" })), ("DELETE", Value::Null)] {
        let answer = async |id: &str| {
            let call = server.admin(method, &format!("/credential-policies/{id}")).body(&body);
            call.send().await.problem(404).text
        };
        assert_eq!(answer(&foreign).await, answer(UNKNOWN).await, "{method}");
        let malformed = server.admin(method, "/credential-policies/nonsense").body(&body).send().await;
        assert_eq!(malformed.problem(422).body["errors"][0]["location"], "path.id");
    }
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn a_refused_creation_makes_no_tenant_and_a_suspended_one_gets_no_policy() {
    let server = Server::new().await;
    server.make_policy(json!({ "name": "x", "max_ttl_seconds": -1 })).await.problem(400);
    assert_eq!(server.everything().await, "");
    server.make_policy(json!({ "name": "x" })).await.expect(201);
    server.run_sql("update tenants set state = 'suspended'").await;
    let before = server.everything().await;
    server.make_policy(json!({ "name": "y" })).await.problem(403);
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn each_change_and_each_refusal_leaves_its_row() {
    let server = Server::new().await;
    let id = server.make_policy(full()).await.expect(201).text_of("id").to_owned();
    server.make_policy(full()).await.expect(201);
    server.make_policy(json!({ "name": "strict" })).await.problem(409);
    server.change_policy(&id, json!({ "is_active": false, "allowed_scopes": [] })).await.expect(200);
    server.change_policy(&id, json!({ "max_ttl_seconds": 0 })).await.problem(400);
    server.admin("DELETE", &format!("/credential-policies/{id}")).send().await.expect(204);
    server.admin("DELETE", &format!("/credential-policies/{id}")).send().await.problem(404);
    let rows = "select string_agg(concat_ws(' ', action, outcome, nullif(target_id, ''), metadata), '|' order by ctid)
        from audit_events";
    let expected = [
        r#"policy.created success ID {"name": "strict"}"#,
        r#"policy.created refused {"name": "strict"}"#,
        r#"policy.updated success ID {"members": ["allowed_scopes", "is_active"]}"#,
        r#"policy.updated refused ID {"members": ["max_ttl_seconds"]}"#,
        "policy.deleted success ID {}",
        "policy.deleted refused ID {}",
    ];
    assert_eq!(server.text_from_sql(rows).await.replace(&id, "ID"), expected.join("|"));
}
