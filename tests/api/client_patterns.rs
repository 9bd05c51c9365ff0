//! Revocation of what clients obtained, by a pattern of their ids.

use serde_json::{Value, json};
use time::Duration;

use crate::server::{Answer, Server};

const PATH: &str = "/admin/oauth/revoke-by-pattern";

async fn revoke(server: &Server, pattern: &str) -> Answer {
    let body = json!({ "client_id_pattern": pattern, "reason": "drill" });
    server.admin("POST", PATH).json(body).send().await
}

/// Clients of acme/demo, each with a token.
async fn clients(server: &Server, names: &[&str]) -> Vec<String> {
    let (_, key) = server.agent("fetcher").await;
    let mut tokens = Vec::new();
    for name in names {
        server.confidential(name).await;
        tokens.push(server.token_of_client(&key, name).await);
    }
    tokens
}

#[tokio::test]
async fn what_matches_ends_and_the_rest_stands() {
    let names = ["fetch_v1", "fetch_v2", "fetch-v3", "Fetch_v1", "other"];
    for (pattern, matching) in [
        ("fetch_v1", &[0][..]),
        ("fetch_*", &[0, 1]),
        ("fetch?v[1-2]", &[0, 1]),
        ("fetch[^_]v?", &[2]),
        ("*v1", &[0, 3]),
        ("*", &[0, 1, 2, 3, 4]),
        ("fetch%", &[]),
        ("fetch[", &[]),
        ("f", &[]),
        ("' or true --", &[]),
    ] {
        let server = Server::new().await;
        let tokens = clients(&server, &names).await;
        let answer = revoke(&server, pattern).await.expect(200);
        assert_eq!(answer.body["revoked_count"], matching.len(), "{pattern}");
        assert_eq!(answer.body["pattern_matched"], pattern);
        for (number, token) in tokens.iter().enumerate() {
            assert_eq!(server.is_active(token).await, !matching.contains(&number), "{pattern} {number}");
        }
        let row = format!(
            "select concat_ws(' ', action, outcome, metadata->>'pattern', metadata->>'revoked_count',
                 metadata->>'reason') from audit_events where id = '{}'",
            answer.text_of("audit_event_id")
        );
        let expected = format!("oauth.bulk_revoke_pattern success {pattern} {} drill", matching.len());
        assert_eq!(server.text_from_sql(row).await, expected);
        let marks = "select count(*) from revocations where reason = 'drill' and anchor = 'client'";
        assert_eq!(server.count(marks).await, i64::try_from(matching.len()).unwrap());
    }
}

#[tokio::test]
async fn clients_stay_and_obtain_new_tokens_and_only_what_stood_is_counted() {
    let server = Server::new().await;
    let tokens = clients(&server, &["a1", "a2", "a3"]).await;
    let (_, key) = server.agent("second").await;
    server.token_of_client(&key, "a1").await;
    let revoked = server.post("/oauth2/token/revoke").form(&[("token", &tokens[1])]).send().await;
    revoked.expect(200);
    assert_eq!(revoke(&server, "a*").await.expect(200).body["revoked_count"], 3);
    assert_eq!(revoke(&server, "a*").await.expect(200).body["revoked_count"], 0);
    let fresh = server.token_of_client(&key, "a1").await;
    assert_eq!(revoke(&server, "a1").await.expect(200).body["revoked_count"], 1);
    assert!(!server.is_active(&fresh).await);
    server.token_of_client(&key, "a1").await;
    server.app.clock.advance(Duration::hours(2));
    assert_eq!(
        revoke(&server, "*").await.expect(200).body["revoked_count"],
        0,
        "an expired one stood no more"
    );
    assert_eq!(server.listed_clients().await.len(), 3);
}

#[tokio::test]
async fn a_deleted_client_is_not_met_again() {
    let server = Server::new().await;
    let (id, _) = server.confidential("worker").await;
    server.admin("DELETE", &format!("/oauth/clients/{id}")).send().await.expect(200);
    let before = server.everything().await;
    assert_eq!(revoke(&server, "*").await.expect(200).body["revoked_count"], 0);
    assert_eq!(server.everything().await, before);
}

#[tokio::test]
async fn a_selector_that_says_nothing_is_refused() {
    let server = Server::new().await;
    let tokens = clients(&server, &["a1"]).await;
    let before = server.everything().await;
    for (body, status) in [
        (json!({}), 400),
        (json!({ "reason": "drill" }), 400),
        (json!({ "client_id_pattern": "" }), 400),
        (json!({ "client_id_pattern": " \t" }), 400),
        (json!({ "client_id_pattern": "*".repeat(513) }), 400),
        (json!({ "client_id_pattern": "*", "reason": "x".repeat(4097) }), 400),
        (json!({ "client_id_pattern": null }), 422),
        (json!({ "client_id_pattern": ["*"] }), 422),
        (json!({ "client_id_pattern": 7 }), 422),
        (json!({ "pattern": "*" }), 400),
    ] {
        let answer = server.admin("POST", PATH).json(&body).send().await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
        answer.problem(status);
    }
    server.admin("POST", PATH).send().await.problem(415);
    assert_eq!(server.everything().await, before);
    assert!(server.is_active(&tokens[0]).await);
    let reason = json!({ "client_id_pattern": "a1" });
    server.admin("POST", PATH).json(reason).send().await.expect(200);
    assert_eq!(server.text_from_sql("select reason from revocations").await, "client_pattern_revoked");
}

#[tokio::test]
async fn another_tenants_clients_are_out_of_reach() {
    let server = Server::new().await;
    let tokens = clients(&server, &["a1", "a2"]).await;
    let before = server.everything().await;
    let key = server.admin_key(Some(("evil", "demo")), &["nhi:manage"]).await;
    let body = json!({ "client_id_pattern": "*" });
    for call in [
        server.call("POST", PATH).tenant("evil", "demo"),
        server.call("POST", PATH).tenant("acme", "other"),
        server.call("POST", PATH).bearer(&key),
    ] {
        assert_eq!(call.json(&body).send().await.expect(200).body["revoked_count"], 0);
    }
    let after = server.everything().await;
    let own =
        |text: &str| text.split('|').filter(|line| !line.contains("(evil,")).collect::<Vec<_>>().join("|");
    assert_eq!(own(&after), own(&before));
    assert!(server.is_active(&tokens[0]).await && server.is_active(&tokens[1]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_revocations_that_meet_neither_lock_up_nor_lose_a_mark() {
    let server = Server::new().await;
    for number in 0..12 {
        server.register_client(&format!("c{number}"), Value::Null).await.expect(201);
    }
    let replica = server.replica().await;
    let calls = [(&server, "c*"), (&replica, "*1*"), (&server, "*"), (&replica, "c?")];
    let (a, b, c, d) = tokio::join!(
        revoke(calls[0].0, calls[0].1),
        revoke(calls[1].0, calls[1].1),
        revoke(calls[2].0, calls[2].1),
        revoke(calls[3].0, calls[3].1),
    );
    for answer in [a, b, c, d] {
        answer.expect(200);
    }
    // c1, c10 and c11 match *1*; the first ten match c?.
    assert_eq!(server.count("select sum(epoch)::bigint from oauth_clients").await, 12 + 3 + 12 + 10);
    assert_eq!(server.count("select count(*) from revocations").await, 12 + 3 + 12 + 10);
}

#[tokio::test]
async fn a_dry_run_of_each_way_to_end_a_client_names_the_same_and_ends_nothing() {
    let server = Server::new().await;
    let agent = server.party("planner", json!({})).await;
    let program = server.program("planner-app", &agent.id, json!({})).await;
    let root = server.client_credentials(&program, "a").await.token();
    let child = server.delegate(&root, &agent, "a").await.token();
    let jti = |token: &str| crate::tools::claims(token)["jti"].clone();
    let before = (server.everything().await, server.audited().await);
    let path = format!("/oauth/clients/{}", program.id);
    let pattern = json!({ "client_id_pattern": "planner-*" });
    for (method, path, body) in [
        ("DELETE", path.clone(), Value::Null),
        ("POST", format!("{path}/revoke-tokens"), Value::Null),
        ("POST", "/admin/oauth/revoke-by-pattern".to_owned(), pattern.clone()),
    ] {
        let call = server.admin(method, &format!("{path}?dry_run=true")).body(&body);
        let answer = call.send().await.expect(200);
        assert_eq!(answer.body["jtis"], json!([jti(&root), jti(&child)]), "{path}");
        assert_eq!((server.everything().await, server.audited().await), before);
    }
    let done = server.admin("POST", "/admin/oauth/revoke-by-pattern").json(pattern).send().await.expect(200);
    assert_eq!(done.body["revoked_count"], 2, "what hangs below counts too");
    assert!(!server.is_active(&child).await);
}
