//! Introspection: what an active answer says, and every reason for which a token no longer stands.

use insta::assert_json_snapshot;
use serde_json::json;
use time::Duration;

use crate::server::{ISSUER, Server};
use crate::tools::{claims, sql};

#[tokio::test]
async fn an_active_answer_says_all_that_the_token_and_its_row_know() {
    let server = Server::new().await;
    let agent = json!({
        "sub_type": "orchestrator", "trust_level": "first_party", "framework": "langgraph", "version": "1.2.3",
        "publisher": "Example", "capabilities": ["search"],
    });
    let registered = server.register("planner", agent).await.expect(201);
    let token = server.exchange(registered.text_of("api_key"), "b a").await.expect(200);
    let found = server.introspect(token.text_of("access_token")).await;
    assert_json_snapshot!(found, { ".jti" => "[uuid]", ".mission_id" => "[uuid]", ".agent_id" => "[uuid]" });
    assert_eq!(found["agent_id"], registered.body["identity"]["id"]);
    assert_eq!(found["jti"], token.body["jti"]);
    assert_eq!(found["aud"], json!([ISSUER]));
    assert!(!found.to_string().contains("null"));
}

#[tokio::test]
async fn an_answer_without_scopes_has_an_empty_scope() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    assert_eq!(server.introspect(&server.token(&key).await).await["scope"], "");
}

#[tokio::test]
async fn a_json_body_is_read_like_a_form() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    let body = json!({ "token": token, "token_type_hint": "refresh_token", "more": [1] });
    let answer = server.post("/oauth2/token/introspect").json(body).send().await.expect(200);
    assert_eq!(answer.body, server.introspect(&token).await);
}

#[tokio::test]
async fn whatever_is_no_token_of_ours_is_exactly_inactive() {
    let server = Server::new().await;
    for garbage in ["x", "a.b.c", "...", "eyJhbGciOiJub25lIn0.e30.", "zid_sk_x", "\u{1F512}", "null", "{}"] {
        assert_eq!(server.introspect(garbage).await, json!({ "active": false }), "{garbage}");
    }
}

/// Makes the change and requires that introspection then says exactly that the token is inactive.
async fn ends(change: &'static str) {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    assert!(server.is_active(&token).await);
    sql(&server, change).await;
    assert_eq!(server.introspect(&token).await, json!({ "active": false }), "{change}");
}

#[tokio::test]
async fn every_mark_on_what_a_token_rests_on_ends_it() {
    for change in [
        "update credentials set revoked_at = '2026-12-01 12:00:00Z'",
        "update credentials set expires_at = '2026-12-01 12:00:00Z'",
        "delete from credentials",
        "update identities set status = 'suspended'",
        "update identities set status = 'deactivated'",
        "update identities set status = 'expired'",
        "update identities set status = 'pending'",
        "update identities set expires_at = '2026-12-01 12:00:00Z'",
        "update identities set epoch = epoch + 1",
        "delete from identities",
        "update api_keys set revoked_at = '2026-12-01 12:00:00Z'",
        "delete from api_keys",
        "update signing_keys set revoked_at = '2026-12-01 12:00:00Z'",
        "delete from signing_keys",
        "update tenants set state = 'suspended'",
        "delete from tenants",
    ] {
        ends(change).await;
    }
}

#[tokio::test]
async fn a_replaced_key_an_expired_key_and_a_stricter_policy_do_not_end_a_token() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    for change in [
        "update api_keys set replaced_at = '2026-12-01 12:00:00Z'",
        "update credential_policies set is_active = false",
        "update identities set allowed_scopes = array['z']",
    ] {
        sql(&server, change).await;
        assert!(server.is_active(&token).await, "{change}");
    }
}

#[tokio::test]
async fn a_token_ends_at_its_exp_and_not_before() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    let left = claims(&token)["exp"].as_i64().unwrap() * 1_000_000
        - i64::try_from(server.app.clock.now().unix_timestamp_nanos() / 1_000).unwrap();
    server.app.clock.advance(Duration::microseconds(left - 1));
    assert!(server.is_active(&token).await);
    server.app.clock.advance(Duration::microseconds(1));
    assert_eq!(server.introspect(&token).await, json!({ "active": false }));
}

#[tokio::test]
async fn suspension_lets_tokens_sleep_and_deactivation_ends_them() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    sql(&server, "update identities set status = 'suspended'").await;
    assert!(!server.is_active(&token).await);
    sql(&server, "update identities set status = 'active'").await;
    assert!(server.is_active(&token).await);
    server.admin("POST", &format!("/agents/registry/{id}/deactivate")).send().await.expect(200);
    assert!(!server.is_active(&token).await);
    server.admin("POST", &format!("/agents/registry/{id}/activate")).send().await.expect(200);
    assert_eq!(server.introspect(&token).await, json!({ "active": false }));
}

#[tokio::test]
async fn a_changed_agent_leaves_what_an_issued_token_says_of_it() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    let patch = json!({ "trust_level": "first_party", "name": "Another" });
    server.admin("PATCH", &format!("/agents/registry/{id}")).json(patch).send().await.expect(200);
    let found = server.introspect(&token).await;
    assert_eq!((&found["status"], &found["trust_level"]), (&json!("active"), &json!("unverified")));
}

#[tokio::test]
async fn a_deleted_agents_token_is_inactive_on_every_replica() {
    let server = Server::new().await;
    let replica = server.replica().await;
    let (id, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    assert!(replica.is_active(&token).await);
    server.admin("DELETE", &format!("/agents/registry/{id}")).send().await.expect(200);
    assert_eq!(replica.introspect(&token).await, json!({ "active": false }));
}

/// Three agents, each with a token; the rows then say that each stands below the one before.
async fn lineage(server: &Server) -> [String; 3] {
    let mut tokens = Vec::new();
    for name in ["root", "middle", "leaf"] {
        let (_, key) = server.agent(name).await;
        tokens.push(server.token(&key).await);
        // The order of the ids, which are made from the time, is then that of the names.
        server.app.clock.advance(Duration::seconds(1));
    }
    sql(
        server,
        "update credentials c set parent_jti = above.ids[cardinality(above.ids)], ancestors = above.ids,
             delegation_depth = cardinality(above.ids), mission_id = above.ids[1]
         from (select jti, array_agg(jti) over (order by jti rows between unbounded preceding and 1 preceding) as ids
               from credentials) above
         where above.jti = c.jti and above.ids is not null",
    )
    .await;
    tokens.try_into().unwrap()
}

async fn standing(server: &Server, tokens: &[String; 3]) -> [bool; 3] {
    let [root, middle, leaf] = tokens;
    [server.is_active(root).await, server.is_active(middle).await, server.is_active(leaf).await]
}

#[tokio::test]
async fn a_token_falls_with_any_of_its_ancestors_and_takes_none_with_it() {
    let server = Server::new().await;
    let tokens = lineage(&server).await;
    assert_eq!(standing(&server, &tokens).await, [true; 3]);
    server.post("/oauth2/token/revoke").form(&[("token", &tokens[1])]).send().await.expect(200);
    assert_eq!(standing(&server, &tokens).await, [true, false, false]);
    server.post("/oauth2/token/revoke").form(&[("token", &tokens[0])]).send().await.expect(200);
    assert_eq!(standing(&server, &tokens).await, [false; 3]);
    assert_eq!(server.introspect(&tokens[2]).await, json!({ "active": false }));
}

#[tokio::test]
async fn whatever_ends_an_ancestor_ends_what_is_below() {
    for change in [
        "update identities set status = 'suspended' where external_id = 'root'",
        "update identities set epoch = epoch + 1 where external_id = 'root'",
        "update identities set expires_at = '2026-12-01 12:00:03Z' where external_id = 'root'",
        "delete from identities where external_id = 'root'",
        "update api_keys set revoked_at = '2026-12-01 12:00:00Z'
         where identity_id = (select id from identities where external_id = 'root')",
        "update credentials set expires_at = '2026-12-01 12:00:00Z' where parent_jti is null",
        "update credentials set revoked_at = '2026-12-01 12:00:00Z' where parent_jti is null",
        "delete from credentials where parent_jti is null",
    ] {
        let server = Server::new().await;
        let tokens = lineage(&server).await;
        sql(&server, change).await;
        assert_eq!(standing(&server, &tokens).await, [false; 3], "{change}");
    }
}

#[tokio::test]
async fn a_dead_link_in_the_middle_does_not_shield_what_is_below() {
    let server = Server::new().await;
    let tokens = lineage(&server).await;
    sql(&server, "update credentials set expires_at = '2026-12-01 12:00:00Z' where delegation_depth = 1")
        .await;
    assert_eq!(standing(&server, &tokens).await, [true, false, false]);
}
