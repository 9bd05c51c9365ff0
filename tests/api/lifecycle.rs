//! The status machine with its side effects, and what becomes of keys and tokens.

use serde_json::{Value, json};
use time::Duration;

use crate::server::Server;

const STATES: [&str; 6] = ["discovered", "pending", "active", "suspended", "deactivated", "expired"];

/// The steps of contract section 5.3 that a request can take; staying is always possible.
fn allowed(from: &str, to: &str) -> bool {
    from == to
        || match from {
            "discovered" | "pending" | "suspended" => ["active", "deactivated"].contains(&to),
            "active" => ["suspended", "deactivated"].contains(&to),
            "deactivated" => to == "active",
            _ => to == "deactivated",
        }
}

#[tokio::test]
async fn every_step_of_the_status_machine_is_allowed_or_refused_as_written() {
    let server = Server::new().await;
    let (id, _) = server.agent("walker").await;
    for from in STATES {
        for to in ["active", "suspended", "deactivated"] {
            server.force_status(&id, from).await;
            let before = server.everything().await;
            let answer = server.patch(&id, json!({ "status": to })).await;
            if allowed(from, to) {
                assert_eq!(answer.expect(200).text_of("status"), to);
                assert_eq!(server.read(&id).await["status"], to);
            } else {
                let answer = answer.problem(400);
                assert!(answer.text_of("detail").contains(from), "{}", answer.text);
                assert_eq!(server.everything().await, before, "{from} to {to}");
            }
        }
    }
}

#[tokio::test]
async fn activate_deactivate_and_delete_take_the_same_steps() {
    let server = Server::new().await;
    let (id, _) = server.agent("walker").await;
    let path = format!("/agents/registry/{id}");
    for (method, action, to) in [
        ("POST", "/activate", "active"),
        ("POST", "/deactivate", "deactivated"),
        ("DELETE", "", "deactivated"),
    ] {
        for from in STATES {
            server.force_status(&id, from).await;
            let answer = server.admin(method, &format!("{path}{action}")).send().await;
            let after = if allowed(from, to) {
                assert_eq!(answer.expect(200).text_of("status"), to, "{from}");
                to
            } else {
                answer.problem(400);
                from
            };
            assert_eq!(server.read(&id).await["status"], after);
        }
    }
}

#[test]
fn the_whole_table_of_steps_is_the_contracts() {
    use chancery::agents::Status;
    for from in STATES {
        for to in STATES {
            let internal = matches!(
                (from, to),
                ("discovered", "pending") | ("pending", "discovered") | ("active" | "suspended", "expired")
            );
            let [a, b] = [from, to].map(|text| text.parse::<Status>().unwrap());
            assert_eq!(a.may_become(b), allowed(from, to) || internal, "{from} to {to}");
        }
    }
}

#[tokio::test]
async fn only_an_active_agent_obtains_tokens() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    for status in STATES {
        server.force_status(&id, status).await;
        let answer = server.exchange(&key, "").await;
        if status == "active" {
            answer.expect(200);
        } else {
            assert_eq!(answer.expect(400).text_of("error"), "invalid_grant", "{status}");
        }
    }
}

#[tokio::test]
async fn nobody_who_answers_for_it_keeps_an_agent_from_becoming_active() {
    let server = Server::new().await;
    let (id, _) = server.agent("orphan").await;
    server.run_sql("update identities set owner_user_id = '', status = 'discovered'").await;
    server.act(&id, "activate").await.problem(400);
    server.patch(&id, json!({ "status": "active" })).await.problem(400);
    assert_eq!(server.read(&id).await["status"], "discovered");
}

#[tokio::test]
async fn deactivation_ends_keys_and_tokens_and_activation_restores_neither() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    let (_, other_key) = server.agent("bystander").await;
    let (token, other) = (server.token(&key).await, server.token(&other_key).await);
    assert_eq!(server.act(&id, "deactivate").await.expect(200).text_of("api_key_prefix"), "");
    assert_eq!(server.introspect(&token).await, json!({ "active": false }));
    assert!(!server.key_works(&key).await);
    let keys = "select string_agg(revoked_by || ' ' || revoke_reason, ',') from api_keys where revoked_at is not null";
    assert_eq!(server.text_from_sql(keys).await, "system:identity_revocation identity_deactivated");
    assert_eq!(server.act(&id, "activate").await.expect(200).text_of("status"), "active");
    assert_eq!(server.introspect(&token).await, json!({ "active": false }));
    assert!(!server.key_works(&key).await);
    let rotated = server.act(&id, "rotate-key").await.expect(200);
    assert!(server.is_active(&server.token(rotated.text_of("api_key")).await).await);
    assert!(!server.is_active(&token).await);
    assert!(server.is_active(&other).await && server.key_works(&other_key).await);
}

#[tokio::test]
async fn a_patch_to_deactivated_ends_as_much_as_the_route() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    server.patch(&id, json!({ "status": "deactivated" })).await.expect(200);
    assert!(!server.is_active(&token).await);
    server.patch(&id, json!({ "status": "active" })).await.expect(200);
    assert!(!server.is_active(&token).await && !server.key_works(&key).await);
}

#[tokio::test]
async fn a_second_deactivation_has_no_effect_of_its_own() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    server.act(&id, "deactivate").await.expect(200);
    let before = server.everything().await;
    server.app.clock.advance(Duration::seconds(5));
    server.act(&id, "deactivate").await.expect(200);
    server.admin("DELETE", &format!("/agents/registry/{id}")).send().await.expect(200);
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn a_suspended_agents_tokens_and_keys_sleep_and_wake_with_it() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    server.patch(&id, json!({ "status": "suspended" })).await.expect(200);
    assert_eq!(server.introspect(&token).await, json!({ "active": false }));
    assert!(!server.key_works(&key).await);
    server.patch(&id, json!({ "status": "active" })).await.expect(200);
    assert!(server.is_active(&token).await && server.key_works(&key).await);
    // Through suspension into deactivation nothing comes back either.
    server.patch(&id, json!({ "status": "suspended" })).await.expect(200);
    server.act(&id, "deactivate").await.expect(200);
    server.act(&id, "activate").await.expect(200);
    assert!(!server.is_active(&token).await && !server.key_works(&key).await);
}

#[tokio::test]
async fn on_the_other_replica_all_of_it_holds_at_once() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (id, key) = server.agent("fetcher").await;
    let token = replica.token(&key).await;
    assert!(replica.is_active(&token).await);
    server.act(&id, "deactivate").await.expect(200);
    assert!(!replica.is_active(&token).await && !replica.key_works(&key).await);
}

#[tokio::test]
async fn rotation_replaces_the_key_and_leaves_its_tokens_alive() {
    let server = Server::new().await;
    let (id, old) = server.agent("fetcher").await;
    let token = server.token(&old).await;
    server.app.clock.advance(Duration::seconds(1));
    let answer = server.act(&id, "rotate-key").await.expect(200);
    let new = answer.text_of("api_key");
    assert_eq!((new.len(), &new[..7]), (39, "zid_sk_"));
    assert_ne!(new, old);
    assert_eq!(answer.body["identity"]["api_key_prefix"], new[..16]);
    assert_eq!(server.read(&id).await, answer.body["identity"]);
    assert_eq!(server.exchange(&old, "").await.expect(400).text_of("error"), "invalid_grant");
    assert!(server.is_active(&token).await, "what the old key minted lives on");
    assert!(server.key_works(new).await);
    // And so again: each rotation leaves exactly one.
    let newest = server.act(&id, "rotate-key").await.expect(200);
    assert!(!server.key_works(new).await && server.key_works(newest.text_of("api_key")).await);
    assert_eq!(server.count("select count(*) from api_keys where replaced_at is null").await, 1);
}

#[tokio::test]
async fn a_rotated_key_keeps_scopes_policy_and_creator() {
    let server = Server::new().await;
    let policy = server.policy("key", "array['a', 'b']").await;
    let more = json!({ "api_key_credential_policy_id": policy, "created_by": "u-1" });
    let answer = server.register("fetcher", more).await.expect(201);
    server.run_sql("update api_keys set scopes = array['a'], created_by = 'u-2'").await;
    let id = answer.body["identity"]["id"].as_str().unwrap();
    for step in ["rotate-key", "deactivate", "activate", "rotate-key"] {
        server.act(id, step).await.expect(200);
    }
    server.app.clock.advance(Duration::seconds(1));
    let key = server.act(id, "rotate-key").await.expect(200);
    let issued = server.exchange(key.text_of("api_key"), "").await.expect(200);
    assert_eq!((issued.text_of("scope"), issued.text_of("user_id")), ("a", "u-2"));
    let kept =
        "select credential_policy_id::text from api_keys where replaced_at is null and revoked_at is null";
    assert_eq!(server.text_from_sql(kept).await, policy);
}

#[tokio::test]
async fn an_agent_that_is_not_active_gets_no_new_key() {
    let server = Server::new().await;
    let (id, _) = server.agent("fetcher").await;
    for status in STATES.into_iter().filter(|status| *status != "active") {
        server.force_status(&id, status).await;
        let before = server.everything().await;
        let answer = server.act(&id, "rotate-key").await.problem(400);
        assert!(answer.text_of("detail").contains(status), "{}", answer.text);
        assert_eq!(server.everything().await, before);
    }
}

#[tokio::test]
async fn a_key_of_a_suspended_tenant_and_its_tokens_are_dead_while_it_lasts() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    server.run_sql("update tenants set state = 'suspended'").await;
    assert!(!server.is_active(&token).await && !server.key_works(&key).await);
    server.register("second", Value::Null).await.problem(403);
    server.run_sql("update tenants set state = 'active'").await;
    assert!(server.is_active(&token).await && server.key_works(&key).await);
    assert_eq!(server.count("select count(*) from identities").await, 1);
}
