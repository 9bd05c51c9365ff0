//! What ends a family, and what only lets it sleep.

use serde_json::{Value, json};
use time::Duration;

use super::{assert_dead, assert_family_ended};
use crate::refresher::Refresher;
use crate::server::Server;
use crate::tools::{assert_error, claims};

#[tokio::test]
async fn rfc7009_s2_1_revoking_a_refresh_token_ends_its_family() {
    let server = Server::new().await;
    let who = server.public_refresher("app").await;
    let other = server.public_refresher("other").await;
    for spent in [false, true] {
        let first = server.begin(&who).await;
        let second = server.refresh(&who, &first.refresh).await.tokens();
        let token = if spent { &first.refresh } else { &second.refresh };
        let revoke = |client: &'static str, dry_run: &'static str| {
            let form = [("token", token.clone()), ("client_id", client.into()), ("dry_run", dry_run.into())];
            let server = &server;
            async move {
                let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
                server.post("/oauth2/token/revoke").form(&form).send().await.expect(200).body
            }
        };
        assert_eq!(revoke("other", "false").await, json!({ "revoked": true }));
        assert_eq!(revoke("app", "true").await["revoked_count"], 2);
        assert!(server.is_active(&second.access).await);
        assert_eq!(revoke("app", "false").await, json!({ "revoked": true }));
        assert_eq!(revoke("app", "false").await, json!({ "revoked": true }));
        assert_family_ended(&server, &who, &[&first, &second], "oauth2_revocation").await;
    }
    assert!(server.refreshes(&other, &server.begin(&other).await.refresh).await);
}

#[tokio::test]
async fn revoking_an_access_token_leaves_its_family() {
    let server = Server::new().await;
    let who = server.public_refresher("app").await;
    let first = server.begin(&who).await;
    let form = [("token", first.access.as_str()), ("client_id", "app")];
    server.post("/oauth2/token/revoke").form(&form).send().await.expect(200);
    assert!(!server.is_active(&first.access).await);
    let second = server.refresh(&who, &first.refresh).await.tokens();
    assert!(server.is_active(&second.access).await);
}

/// What an administrator does, whether it is for good, and what a client is told meanwhile.
struct End {
    name: &'static str,
    method: &'static str,
    path: String,
    body: Value,
    undo: Option<Value>,
    status: u16,
    error: &'static str,
}

fn ends(who: &Refresher, agent: &str) -> Vec<End> {
    let client = format!("/oauth/clients/{}", who.id);
    let registry = format!("/agents/registry/{agent}");
    let end = |name, method, path, body, undo, (status, error)| End {
        name,
        method,
        path,
        body,
        undo,
        status,
        error,
    };
    let grant = (400, "invalid_grant");
    let revoked = end("client revoked", "POST", format!("{client}/revoke-tokens"), json!({}), None, grant);
    let off = json!({ "is_active": false });
    let inactive = end("client off", "PATCH", client.clone(), off, None, (401, "invalid_client"));
    let deleted = end("client deleted", "DELETE", client, Value::Null, None, (401, "invalid_client"));
    let person = end("person off", "DELETE", format!("/users/{}", who.user), Value::Null, None, grant);
    let asleep = json!({ "status": "suspended" });
    let awake = Some(json!({ "status": "active" }));
    let suspended = end("agent asleep", "PATCH", registry.clone(), asleep, awake, grant);
    let gone = end("agent off", "POST", format!("{registry}/deactivate"), json!({}), None, grant);
    let tokens =
        end("agent revoked", "POST", format!("/agents/{agent}/tokens/revoke-all"), Value::Null, None, grant);
    vec![revoked, inactive, deleted, person, suspended, gone, tokens]
}

#[tokio::test]
async fn a_family_rests_on_client_person_and_agent() {
    let count = ends(
        &Refresher {
            id: String::new(),
            client_id: String::new(),
            secret: String::new(),
            user: String::new(),
        },
        "",
    )
    .len();
    for number in 0..count {
        let server = Server::new().await;
        let (agent, _) = server.agent("acting").await;
        let who = server.refresher("app", json!({ "identity_id": agent })).await;
        let policy = server.full_policy("all").await;
        server.run_sql(format!(
            "update credential_policies set allowed_grant_types = allowed_grant_types || array['refresh_token', 'authorization_code']
             where id = '{policy}'"
        )).await;
        server
            .run_sql(format!("update identities set credential_policy_id = '{policy}' where id = '{agent}'"))
            .await;
        let first = server.begin(&who).await;
        let second = server.refresh(&who, &first.refresh).await.tokens();
        assert_eq!(claims(&second.access)["scopes"], json!(["a", "b"]));
        let End { name, method, path, body, undo, status, error } = ends(&who, &agent).remove(number);
        let call = server.admin(method, &path);
        let done = if body.is_null() { call.send().await } else { call.json(&body).send().await };
        assert!(done.status.is_success(), "{name}: {}", done.text);
        assert!(!server.is_active(&second.access).await, "{name}");
        // A spent one too: what is refused for another reason than reuse ends nothing.
        server.app.clock.advance(Duration::minutes(1));
        for token in [&second.refresh, &first.refresh] {
            assert_error(&server.replica().await.refresh(&who, token).await, status, error);
        }
        assert_eq!(
            server.count("select count(*) from refresh_families where revoked_at is not null").await,
            0
        );
        let Some(undo) = undo else { continue };
        server.admin(method, &path).json(undo).send().await.expect(200);
        assert!(server.is_active(&second.access).await, "{name}");
        assert!(server.refreshes(&who, &second.refresh).await, "{name}");
    }
}

#[tokio::test]
async fn what_ended_does_not_come_back() {
    let server = Server::new().await;
    let who = server.public_refresher("app").await;
    let first = server.begin(&who).await;
    server.patch_client(&who.id, json!({ "is_active": false })).await.expect(200);
    server.patch_client(&who.id, json!({ "is_active": true })).await.expect(200);
    assert_dead(&server.refresh(&who, &first.refresh).await);
    let second = server.begin(&who).await;
    server.admin("DELETE", &format!("/users/{}", who.user)).send().await.expect(204);
    server.admin("POST", &format!("/users/{}/activate", who.user)).send().await.expect(200);
    assert_dead(&server.refresh(&who, &second.refresh).await);
}

#[tokio::test]
async fn a_suspended_tenant_refreshes_nothing_and_spends_nothing() {
    let server = Server::new().await;
    let who = server.public_refresher("app").await;
    let first = server.begin(&who).await;
    let state = |state: &str| format!("update tenants set state = '{state}' where account_id = 'acme'");
    server.run_sql(state("suspended")).await;
    assert_error(&server.refresh(&who, &first.refresh).await, 401, "invalid_client");
    server.run_sql(state("active")).await;
    assert!(server.refreshes(&who, &first.refresh).await);
}

#[tokio::test]
async fn a_policy_of_the_agent_that_names_other_grants_stands_against_it() {
    let server = Server::new().await;
    let (agent, _) = server.agent("acting").await;
    let who = server.refresher("app", json!({ "identity_id": agent })).await;
    let policy = server.full_policy("narrow").await;
    server
        .run_sql(format!("update identities set credential_policy_id = '{policy}' where id = '{agent}'"))
        .await;
    let grants = |grants: &str| {
        format!("update credential_policies set allowed_grant_types = array[{grants}] where id = '{policy}'")
    };
    server.run_sql(grants("'authorization_code'")).await;
    let first = server.begin(&who).await;
    assert_error(&server.refresh(&who, &first.refresh).await, 400, "policy_violation");
    server.run_sql(grants("'refresh_token'")).await;
    assert!(server.refreshes(&who, &first.refresh).await);
}

#[tokio::test]
async fn rows_are_forgotten_after_their_end() {
    let server = Server::with(|config| {
        config.tokens.refresh_ttl_seconds = 100;
        config.tokens.refresh_family_ttl_seconds = 150;
    })
    .await;
    let who = server.public_refresher("app").await;
    let first = server.begin(&who).await;
    server.app.clock.advance(Duration::seconds(50));
    server.refresh(&who, &first.refresh).await.expect(200);
    let kept = i64::from(server.app.config.tokens.max_ttl_seconds)
        + i64::from(server.app.config.tokens.retention_days) * 86_400;
    for (wait, tokens, families) in [(109, 2, 1), (1, 1, 1), (50, 0, 1), (kept - 61, 0, 1), (1, 0, 0)] {
        server.app.clock.advance(Duration::seconds(wait));
        chancery::tokens::worker::forget(&server.app).await.unwrap();
        let left = [
            server.count("select count(*) from refresh_tokens").await,
            server.count("select count(*) from refresh_families").await,
        ];
        assert_eq!(left, [tokens, families], "after {wait} s more");
    }
}
