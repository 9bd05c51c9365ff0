//! What stands against an API key: wrong requests, identities that get none, reserved scopes, networks, ends, tenants.

use serde_json::{Value, json};
use time::Duration;

use crate::server::{Answer, Server};
use crate::tools::{assert_error, credentials};
use crate::world::PEM;

const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";

async fn make_as(server: &Server, key: &str, body: Value) -> Answer {
    server.call("POST", "/api-keys").bearer(key).json(body).send().await
}

/// An admin key of acme/demo that holds `nhi:manage` and nothing else.
async fn manager(server: &Server) -> String {
    server.admin_key(Some(("acme", "demo")), &["nhi:manage"]).await
}

#[tokio::test]
async fn a_wrong_member_is_refused_and_nothing_is_made() {
    let server = Server::new().await;
    let (agent, _) = server.agent("fetcher").await;
    let before = server.everything().await;
    for (wrong, status) in [
        (json!({ "name": "" }), 422),
        (json!({ "name": "  " }), 422),
        (json!({ "name": null }), 422),
        (json!({ "name": "n".repeat(4097) }), 400),
        (json!({ "description": "d".repeat(4097) }), 400),
        (json!({ "description": 1 }), 422),
        (json!({ "identity_id": "nonsense" }), 422),
        (json!({ "identity_id": UNKNOWN }), 400),
        (json!({ "credential_policy_id": "nonsense" }), 422),
        (json!({ "credential_policy_id": UNKNOWN }), 400),
        (json!({ "scopes": ["two words"] }), 400),
        (json!({ "scopes": [""] }), 400),
        (json!({ "scopes": "a" }), 422),
        (json!({ "scopes": (0..101).map(|n| format!("s{n}")).collect::<Vec<_>>() }), 400),
        (json!({ "environment": "prod" }), 400),
        (json!({ "environment": "LIVE" }), 400),
        (json!({ "expires_in_days": 0 }), 400),
        (json!({ "expires_in_days": -1 }), 400),
        (json!({ "expires_in_days": 3651 }), 400),
        (json!({ "expires_in_days": i64::MAX }), 400),
        (json!({ "expires_in_days": 1.5 }), 422),
        (json!({ "expires_in_days": "7" }), 422),
        (json!({ "ip_allowlist": ["10.0.0.0/33"] }), 400),
        (json!({ "ip_allowlist": ["10.0.0.1, 10.0.0.2"] }), 400),
        (json!({ "ip_allowlist": [""] }), 400),
        (json!({ "ip_allowlist": ["example.com"] }), 400),
        (json!({ "ip_allowlist": "10.0.0.0/8" }), 422),
        (json!({ "product": "p".repeat(4097) }), 400),
        (json!({ "product": "p", "identity_id": agent }), 400),
    ] {
        let mut body = json!({ "name": "k" });
        body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        server.make_key(body).await.problem(status);
        assert_eq!(server.everything().await, before, "{wrong}");
    }
    server.make_key(json!({})).await.problem(422);
    assert_eq!(server.everything().await, before);
    server.make_key(json!({ "name": "k", "expires_in_days": 3650 })).await.expect(201);
}

#[tokio::test]
async fn members_that_are_not_asked_for_choose_nothing() {
    let server = Server::new().await;
    let body = json!({
        "name": "k", "id": UNKNOWN, "account_id": "other", "project_id": "other", "key": "zid_sk_mine", "state": "revoked",
        "created_by": "somebody", "rate_limit_rps": 7, "replaced_by": UNKNOWN, "usage_count": 9, "key_version": 5,
    });
    let made = server.make_key(body.clone()).await.expect(201).body;
    for (name, value) in body.as_object().unwrap().iter().filter(|(name, _)| *name != "name") {
        assert_ne!(&made[name], value, "{name}");
    }
    assert_eq!(made["account_id"], "acme");
}

#[tokio::test]
async fn only_identities_that_may_live_again_get_keys_and_only_active_ones_use_them() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    for (status, gets) in [
        ("active", true),
        ("suspended", true),
        ("pending", true),
        ("discovered", false),
        ("deactivated", false),
        ("expired", false),
    ] {
        server.force_status(&id, status).await;
        let before = server.everything().await;
        let answer = server.make_key(json!({ "name": "k", "identity_id": id })).await;
        if gets {
            let key = answer.expect(201).text_of("key").to_owned();
            assert_eq!(server.key_works(&key).await, status == "active", "{status}");
            server.force_status(&id, "active").await;
            assert!(server.key_works(&key).await);
        } else {
            let answer = answer.problem(400);
            assert!(answer.text_of("detail").contains(status), "{}", answer.text);
            assert_eq!(server.everything().await, before);
        }
    }
    // Past its end it gets none, before any worker has looked at it.
    server.force_status(&id, "active").await;
    server.run_sql("update identities set expires_at = '2026-12-01 12:00:00Z'").await;
    server.make_key(json!({ "name": "k", "identity_id": id })).await.problem(400);
}

#[tokio::test]
async fn a_key_ends_with_its_identity_at_the_latest() {
    let server = Server::new().await;
    let more = json!({ "expires_at": "2026-12-08T00:00:00Z" });
    let agent = server.register("brief", more).await.expect(201).body["identity"]["id"].clone();
    let end = async |days: Value| {
        let body = json!({ "name": "k", "identity_id": agent, "expires_in_days": days });
        server.make_key(body).await.expect(201).text_of("expires_at").to_owned()
    };
    assert_eq!(end(json!(null)).await, "2026-12-08T00:00:00Z");
    assert_eq!(end(json!(3650)).await, "2026-12-08T00:00:00Z");
    assert_eq!(end(json!(1)).await, "2026-12-02T12:00:00.123456Z");
    let made = server.make_key(json!({ "name": "k", "expires_in_days": 1 })).await.expect(201);
    assert!(server.key_works(made.text_of("key")).await);
    server.app.clock.advance(Duration::days(1));
    assert_error(&server.exchange(made.text_of("key"), "").await, 400, "invalid_grant");
    assert_eq!(server.read_key(made.text_of("id")).await["state"], "expired");
}

#[tokio::test]
async fn a_key_names_only_reserved_scopes_that_its_maker_holds() {
    let server = Server::new().await;
    let key = manager(&server).await;
    let poor = server.policy("poor", "array['a']").await;
    let agent = server.register("fetcher", json!({ "credential_policy_id": poor })).await.expect(201);
    let id = agent.body["identity"]["id"].as_str().unwrap();
    let before = server.everything().await;
    for scope in ["credentials:manage", "client:register", "admin", "vault:read", "audit:read", "admin:users"]
    {
        // Not even where the policy masks it today.
        for identity in ["", id] {
            let body = json!({ "name": "k", "identity_id": identity, "scopes": ["a", scope] });
            let answer = make_as(&server, &key, body).await.problem(403);
            let error = &answer.body["errors"][0];
            assert_eq!((&error["location"], &error["value"]), (&json!("body.scopes"), &json!(scope)));
            assert_eq!(server.everything().await, before);
        }
    }
    let made = make_as(&server, &key, json!({ "name": "k", "scopes": ["nhi:manage"] })).await.expect(201);
    let token = server.token(made.text_of("key")).await;
    server.call("GET", "/api-keys").bearer(&token).send().await.expect(200);
    make_as(&server, &token, json!({ "name": "k", "scopes": ["vault:read"] })).await.problem(403);
}

#[tokio::test]
async fn a_key_for_a_mightier_agent_is_refused_as_a_takeover() {
    let server = Server::new().await;
    let key = manager(&server).await;
    let rich = server.policy("rich", "array['vault:read', 'a']").await;
    let by_scope = json!({ "allowed_scopes": ["credentials:manage", "a"] });
    let by_policy = json!({ "credential_policy_id": rich });
    for (name, more) in [("by-scope", by_scope), ("by-policy", by_policy)] {
        let agent = server.register(name, more).await.expect(201);
        let id = agent.body["identity"]["id"].as_str().unwrap();
        let before = server.everything().await;
        // A key of few scopes would do: with its token the agent's public key can be set.
        for scopes in [json!([]), json!(["a"])] {
            let body = json!({ "name": "k", "identity_id": id, "scopes": scopes });
            let answer = make_as(&server, &key, body).await.problem(403);
            assert!(!answer.text.contains("zid_sk_"));
        }
        assert_eq!(server.everything().await, before);
        let all = ["nhi:manage", "credentials:manage", "vault:read"];
        let holder = server.admin_key(Some(("acme", "demo")), &all).await;
        make_as(&server, &holder, json!({ "name": "k", "identity_id": id })).await.expect(201);
    }
}

#[tokio::test]
async fn a_policy_of_the_key_hands_out_nothing_that_its_maker_does_not_hold() {
    let server = Server::new().await;
    let key = manager(&server).await;
    let rich = server.policy("rich", "array['vault:read', 'a']").await;
    let open = server.policy("open", "null").await;
    let agent = server.register("fetcher", json!({ "credential_policy_id": open })).await.expect(201);
    let id = agent.body["identity"]["id"].as_str().unwrap();
    server
        .run_sql("update credential_policies set allowed_scopes = array['vault:x'] where name = 'default'")
        .await;
    let before = server.everything().await;
    let body = |scopes: Value| json!({ "name": "k", "identity_id": id, "credential_policy_id": rich, "scopes": scopes });
    make_as(&server, &key, body(json!([]))).await.problem(403);
    assert_eq!(server.everything().await, before);
    let made = make_as(&server, &key, body(json!(["a"]))).await.expect(201);
    assert_eq!(server.exchange(made.text_of("key"), "").await.expect(200).text_of("scope"), "a");
    // So does the default policy, under which a key's own identity is made.
    server.register("other", Value::Null).await.expect(201);
    server
        .run_sql("update credential_policies set allowed_scopes = array['vault:x'] where name = 'default'")
        .await;
    let before = server.everything().await;
    make_as(&server, &key, json!({ "name": "k" })).await.problem(403);
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn a_key_bound_to_networks_works_from_nowhere_else() {
    let server = Server::new().await;
    let body = json!({ "name": "k", "ip_allowlist": ["10.0.0.0/8", "2001:db8::7"] });
    let made = server.make_key(body).await.expect(201);
    let exchange = |from: &'static str| {
        let form = [("grant_type", "api_key"), ("api_key", made.text_of("key"))];
        server.post("/oauth2/token").form(&form).from(from).send()
    };
    for good in ["10.9.8.7:1", "[2001:db8::7]:1", "[::ffff:10.1.2.3]:1"] {
        exchange(good).await.expect(200);
    }
    let before = (credentials(&server).await, server.audited().await);
    for bad in ["127.0.0.1:1", "11.0.0.1:1", "[2001:db8::8]:1", "[::1]:1"] {
        let refused = exchange(bad).await;
        assert_error(&refused, 400, "invalid_grant");
        assert_eq!(refused.text_of("error_description"), "the api key may not be used from this address");
    }
    assert_eq!((credentials(&server).await, server.audited().await), (before.0, before.1 + 4));
    let last = server.audit().await.pop().unwrap();
    assert_eq!((last.0.as_str(), last.1.as_str(), last.2.as_str()), ("token.refused", "refused", "api_key"));
    // A refused use is none.
    chancery::api_keys::flush(&server.app).await.unwrap();
    assert_eq!(server.read_key(made.text_of("id")).await["usage_count"], 3);
    // A dead key's networks are nobody's business.
    server.admin("POST", &format!("/api-keys/{}/revoke", made.text_of("id"))).send().await.expect(200);
    assert_eq!(exchange("127.0.0.1:1").await.text_of("error_description"), "invalid api key");
    server.run_sql("update api_keys set ip_allowlist = array['nonsense'], revoked_at = null").await;
    assert_eq!(exchange("10.0.0.1:1").await.status, 500, "what can't be read lets nobody in");
}

#[tokio::test]
async fn a_rotation_keeps_what_limits_and_describes_the_key() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    server.app.clock.advance(Duration::seconds(1));
    let body = json!({ "name": "k", "identity_id": id, "scopes": ["a"], "ip_allowlist": ["127.0.0.1"], "environment": "test",
        "metadata": { "team": "core" }, "description": "d", "expires_in_days": 1 });
    let made = server.make_key(body).await.expect(201);
    server.app.clock.advance(Duration::seconds(1));
    let rotated = server.act(&id, "rotate-key").await.expect(200);
    let list = server.admin("GET", &format!("/api-keys?application_id={id}&state=active")).send().await;
    let new = list.expect(200).body["keys"][0].clone();
    let old = server.read_key(made.text_of("id")).await;
    for member in [
        "scopes",
        "ip_allowlist",
        "environment",
        "metadata",
        "description",
        "credential_policy_id",
        "created_by",
    ] {
        assert_eq!(new[member], old[member], "{member}");
    }
    assert_eq!((&old["state"], &old["replaced_by"]), (&json!("replaced"), &new["id"]));
    assert!(server.key_works(rotated.text_of("api_key")).await);
    let form = [("grant_type", "api_key"), ("api_key", rotated.text_of("api_key"))];
    server.post("/oauth2/token").form(&form).from("127.0.0.2:1").send().await.expect(400);
}

#[tokio::test]
async fn another_tenants_identity_policy_or_key_is_an_unknown_one() {
    let server = Server::new().await;
    let call = server.call("POST", "/api-keys").tenant("other", "demo").json(json!({ "name": "theirs" }));
    let theirs = call.send().await.expect(201).body;
    server.agent("fetcher").await;
    let before = server.everything().await;
    let text = async |body: Value| server.make_key(body).await.problem(400).text;
    for member in ["identity_id", "credential_policy_id"] {
        let foreign = theirs[member].as_str().unwrap();
        let one = text(json!({ "name": "k", member: foreign })).await.replace(foreign, "ID");
        assert_eq!(
            one,
            text(json!({ "name": "k", member: UNKNOWN })).await.replace(UNKNOWN, "ID"),
            "{member}"
        );
    }
    for (method, action) in [("GET", ""), ("POST", "/revoke")] {
        let answer = async |id: &str| {
            let call = server.admin(method, &format!("/api-keys/{id}{action}"));
            call.send().await.problem(404).text
        };
        assert_eq!(answer(theirs["id"].as_str().unwrap()).await, answer(UNKNOWN).await, "{method}");
        let malformed = server.admin(method, &format!("/api-keys/nonsense{action}")).send().await;
        assert_eq!(malformed.problem(422).body["errors"][0]["location"], "path.id");
    }
    let list = server.admin("GET", "/api-keys").send().await.expect(200).body;
    assert_eq!(list["total"], 1);
    let filter = format!("/api-keys?application_id={}", theirs["identity_id"].as_str().unwrap());
    assert_eq!(server.admin("GET", &filter).send().await.expect(200).body["total"], 0);
    assert_eq!(server.everything().await, before);
    assert!(server.key_works(theirs["key"].as_str().unwrap()).await);
}

#[tokio::test]
async fn a_refused_key_makes_no_tenant_and_a_suspended_one_gets_none() {
    let server = Server::new().await;
    for wrong in [json!({ "name": "" }), json!({ "name": "k", "identity_id": UNKNOWN })] {
        server.make_key(wrong).await;
        assert_eq!(server.everything().await, "");
    }
    let (id, _) = server.agent("fetcher").await;
    server.run_sql("update tenants set state = 'suspended'").await;
    let before = server.everything().await;
    for body in [json!({ "name": "k" }), json!({ "name": "k", "identity_id": id })] {
        server.make_key(body).await.problem(403);
    }
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn a_key_that_is_made_while_its_agent_is_deactivated_is_never_alive_afterwards() {
    let server = Server::new().await;
    let other = server.replica().await;
    for round in 0..8 {
        let (id, _) = server.agent(&format!("agent-{round}")).await;
        let (made, gone) = tokio::join!(
            other.make_key(json!({ "name": "k", "identity_id": id })),
            server.act(&id, "deactivate")
        );
        gone.expect(200);
        server.patch(&id, json!({ "public_key_pem": PEM })).await.expect(200);
        server.act(&id, "activate").await.expect(200);
        match made.status.as_u16() {
            201 => assert!(!server.key_works(made.text_of("key")).await),
            400 => {}
            status => panic!("{status}: {}", made.text),
        }
        let alive = format!("/api-keys?application_id={id}&state=active");
        assert_eq!(server.admin("GET", &alive).send().await.expect(200).body["total"], 0);
    }
}
