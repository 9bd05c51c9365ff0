//! Any body at all on the routes of policies and API keys: never a fault, and a refusal changes nothing.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::hostile_admin::{anything, unreadable};
use crate::server::Server;

/// A server with a policy and an API key, and every route that reads a body there.
async fn scene() -> (Server, [(&'static str, String); 4]) {
    let server = Server::new().await;
    let policy = server.make_policy(json!({ "name": "p" })).await.expect(201);
    let key = server.make_key(json!({ "name": "k" })).await.expect(201);
    let routes = [
        ("POST", "/credential-policies".to_owned()),
        ("PATCH", format!("/credential-policies/{}", policy.text_of("id"))),
        ("POST", "/api-keys".to_owned()),
        ("POST", format!("/api-keys/{}/revoke", key.text_of("id"))),
    ];
    (server, routes)
}

#[tokio::test]
async fn a_body_that_can_not_be_read_changes_nothing() {
    let (server, routes) = scene().await;
    for (method, path) in &routes[..3] {
        for (what, body) in unreadable() {
            let before = server.everything().await;
            let answer = server.admin(method, path).raw("application/json", body).send().await;
            // What stands in a member that the route does not know is passed over unread.
            if !answer.status.is_success() {
                assert!(
                    [400, 422].contains(&answer.status.as_u16()),
                    "{method} {path} {what}: {}",
                    answer.text
                );
                assert!(!answer.text.contains("PLANTED"), "{what}");
                assert_eq!(server.everything().await, before, "{what}");
            }
        }
        let large = server.admin(method, path).raw("application/json", " ".repeat(1_048_577));
        large.send().await.problem(413);
        server.admin(method, path).raw("text/plain", "{}").send().await.problem(415);
    }
}

fn body() -> impl Strategy<Value = Value> {
    let member = prop::sample::select(vec![
        "name",
        "description",
        "max_ttl_seconds",
        "allowed_grant_types",
        "allowed_scopes",
        "required_trust_level",
        "required_attestation",
        "max_delegation_depth",
        "is_active",
        "expires_at",
        "source",
        "source_key",
        "identity_id",
        "scopes",
        "environment",
        "expires_in_days",
        "metadata",
        "credential_policy_id",
        "ip_allowlist",
        "product",
        "reason",
    ]);
    let value = prop_oneof![
        4 => anything(),
        1 => prop::collection::vec("(a|api_key|10.0.0.1|::/0|[ -~]{0,9})", 0..4).prop_map(|list| json!(list)),
        1 => prop::sample::select(vec![0, -1, 1, 64, 65, 3650, i64::from(i32::MAX), i64::MAX, i64::MIN])
            .prop_map(Value::from),
    ];
    prop_oneof![
        1 => anything(),
        6 => prop::collection::vec((member, value), 0..3).prop_map(|members| {
            let mut body = json!({ "name": "A" });
            for (name, value) in members {
                body[name] = value;
            }
            body
        }),
    ]
}

#[test]
fn no_body_whatever_makes_the_server_fail() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (server, routes) = runtime.block_on(scene());
    let mut config = ProptestConfig::with_cases(150);
    config.failure_persistence = None;
    proptest!(config, |(body in body())| {
        runtime.block_on(async {
            for (method, path) in &routes {
                let answer = server.admin(method, path).json(body.clone()).send().await;
                assert!(answer.status.as_u16() < 500, "{method} {path} {body}: {}", answer.text);
                if !answer.status.is_success() {
                    let status = answer.status.as_u16();
                    answer.problem(status);
                }
            }
        });
    });
}
