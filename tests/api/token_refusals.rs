//! What stands against a token: the key, its agent, the tenant, each rule of a policy. Each refusal issues nothing and,
//! where the key is known, leaves a row.

use serde_json::json;
use time::Duration;

use crate::server::{Answer, Server};
use crate::tools::{assert_error, credentials, sql};

/// Requires a refusal of a known key: the error, one row that says so, and no credential.
async fn assert_refused(server: &Server, key: &str, error: &str, why: &str) {
    let before = (credentials(server).await, server.audit().await.len());
    let answer = server.exchange(key, "").await;
    assert_error(&answer, 400, error);
    assert_eq!(answer.text_of("error_description"), why);
    let rows = server.audit().await;
    assert_eq!((credentials(server).await, rows.len()), (before.0, before.1 + 1), "{why}");
    let last = rows.last().unwrap();
    assert_eq!((last.0.as_str(), last.1.as_str(), last.2.as_str()), ("token.refused", "refused", "api_key"));
}

#[tokio::test]
async fn each_rule_of_a_policy_refuses_alone() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let rules = [
        ("update credential_policies set is_active = false", "the credential policy is not active"),
        (
            "update credential_policies set expires_at = '2026-12-01 12:00:00Z'",
            "the credential policy has expired",
        ),
        (
            "update credential_policies set allowed_grant_types = array['jwt_bearer']",
            "the credential policy does not allow this grant type",
        ),
        (
            "update credential_policies set allowed_grant_types = '{}'",
            "the credential policy does not allow this grant type",
        ),
        (
            "update credential_policies set required_trust_level = 'first_party'",
            "the credential policy requires a higher trust level",
        ),
        (
            "update credential_policies set required_trust_level = 'verified_third_party'",
            "the credential policy requires a higher trust level",
        ),
        (
            "update credential_policies set required_attestation = 'software'",
            "the credential policy requires an attestation",
        ),
    ];
    for (rule, why) in rules {
        sql(&server, rule).await;
        assert_refused(&server, &key, "policy_violation", why).await;
        sql(
            &server,
            "update credential_policies set is_active = true, expires_at = null, required_trust_level = '',
                 required_attestation = '', allowed_grant_types = array['api_key']",
        )
        .await;
        server.exchange(&key, "").await.expect(200);
    }
}

#[tokio::test]
async fn the_keys_policy_counts_beside_the_identitys() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    sql(
        &server,
        "insert into credential_policies (id, account_id, project_id, name, max_ttl_seconds, allowed_grant_types,
             created_at, updated_at)
         values ('00000000-0000-7000-8000-000000000001', 'acme', 'demo', 'none', 60, '{}', now(), now())",
    )
    .await;
    sql(&server, "update api_keys set credential_policy_id = '00000000-0000-7000-8000-000000000001'").await;
    let why = "the credential policy does not allow this grant type";
    assert_refused(&server, &key, "policy_violation", why).await;
}

#[tokio::test]
async fn a_policy_that_expires_later_does_not_refuse_yet() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    sql(&server, "update credential_policies set expires_at = '2026-12-01 12:00:10Z'").await;
    server.exchange(&key, "").await.expect(200);
    server.app.clock.advance(Duration::seconds(10));
    assert_refused(&server, &key, "policy_violation", "the credential policy has expired").await;
}

#[tokio::test]
async fn trust_that_is_high_enough_passes() {
    let server = Server::new().await;
    let agent = json!({ "trust_level": "verified_third_party" });
    let key = server.register("fetcher", agent).await.expect(201).text_of("api_key").to_owned();
    sql(&server, "update credential_policies set required_trust_level = 'verified_third_party'").await;
    server.exchange(&key, "").await.expect(200);
}

#[tokio::test]
async fn an_agent_that_is_not_active_obtains_nothing() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    for status in [
        "update identities set status = 'suspended'",
        "update identities set status = 'pending'",
        "update identities set status = 'discovered'",
        "update identities set status = 'deactivated'",
        "update identities set status = 'expired'",
    ] {
        sql(&server, status).await;
        let answer = server.exchange(&key, "").await;
        assert_error(&answer, 400, "invalid_grant");
    }
    assert_eq!(credentials(&server).await, 0);
    sql(&server, "update identities set status = 'active'").await;
    server.exchange(&key, "").await.expect(200);
}

#[tokio::test]
async fn a_deactivated_agents_key_stays_dead_after_reactivation() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    server.admin("POST", &format!("/agents/registry/{id}/deactivate")).send().await.expect(200);
    assert_refused(&server, &key, "invalid_grant", "invalid api key").await;
    server.admin("POST", &format!("/agents/registry/{id}/activate")).send().await.expect(200);
    assert_refused(&server, &key, "invalid_grant", "invalid api key").await;
}

#[tokio::test]
async fn an_agent_past_its_end_obtains_nothing_without_waiting_for_a_sweeper() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    sql(&server, "update identities set expires_at = '2026-12-01 12:00:10Z'").await;
    server.app.clock.advance(Duration::seconds(10));
    assert_refused(&server, &key, "invalid_grant", "identity_expired").await;
}

#[tokio::test]
async fn a_suspended_tenant_obtains_nothing() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    sql(&server, "update tenants set state = 'suspended'").await;
    assert_refused(&server, &key, "invalid_grant", "the tenant is suspended").await;
}

#[tokio::test]
async fn a_key_whose_agent_or_tenant_is_not_there_obtains_nothing() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    sql(&server, "delete from identities").await;
    assert_refused(&server, &key, "invalid_grant", "invalid api key").await;
    sql(&server, "delete from tenants").await;
    assert_error(&server.exchange(&key, "").await, 400, "invalid_grant");
}

/// A refusal without what differs from one request to the next.
fn shape(answer: &Answer) -> (u16, String, Vec<String>) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "x-request-id");
    let headers = headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    (answer.status.as_u16(), answer.text.clone(), headers)
}

#[tokio::test]
async fn every_key_that_is_no_live_key_gets_the_same_answer() {
    let server = Server::new().await;
    let (rotated, replaced) = server.agent("replaced").await;
    server.admin("POST", &format!("/agents/registry/{rotated}/rotate-key")).send().await.expect(200);
    let (gone, revoked) = server.agent("revoked").await;
    server.admin("POST", &format!("/agents/registry/{gone}/deactivate")).send().await.expect(200);
    let (_, expired) = server.agent("expired").await;
    sql(
        &server,
        "update api_keys set expires_at = '2026-12-01 12:00:00Z'
         where identity_id = (select id from identities where external_id = 'expired')",
    )
    .await;
    let (_, live) = server.agent("live").await;
    let unknown = format!("zid_sk_{}", "A".repeat(32));
    let expected = shape(&server.exchange(&unknown, "").await);
    assert_eq!(expected.0, 400);
    assert!(expected.1.contains("invalid_grant"));
    let mut dead = vec![replaced, revoked, expired];
    dead.extend((1..live.len()).map(|length| live[..length].to_owned()));
    dead.extend(["A", "=", " ", ".", "\u{1}", "ä", "%00"].map(|tail| format!("{live}{tail}")));
    dead.extend((0..live.len()).map(|at| flipped(&live, at)));
    dead.extend([format!(" {live}"), live.to_uppercase(), live.to_lowercase(), live.replace("zid_sk_", "")]);
    dead.extend([format!("sk_live_{}", "A".repeat(43)), "' or 1=1 --".to_owned(), "x".repeat(16_384)]);
    for key in dead {
        assert_eq!(shape(&server.exchange(&key, "").await), expected, "{key}");
    }
    server.exchange(&live, "").await.expect(200);
}

/// The text with another letter at one place.
fn flipped(text: &str, at: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn an_unknown_key_leaves_no_row_and_a_dead_one_does() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    server.exchange("zid_sk_unknown", "").await.expect(400);
    assert_eq!(server.audit().await.len(), 1);
    server.admin("POST", &format!("/agents/registry/{id}/rotate-key")).send().await.expect(200);
    assert_refused(&server, &key, "invalid_grant", "invalid api key").await;
}

#[tokio::test]
async fn a_replaced_key_ends_and_what_it_minted_lives_on() {
    let server = Server::new().await;
    let (id, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    let path = format!("/agents/registry/{id}/rotate-key");
    let answer = server.admin("POST", &path).send().await.expect(200);
    server.exchange(answer.text_of("api_key"), "").await.expect(200);
    assert!(server.is_active(&token).await);
}
