//! Whose a refresh token is: the client it was issued to, and nobody else. What is refused for that spends nothing.

use serde_json::json;
use time::Duration;

use super::assert_dead;
use crate::server::Server;
use crate::tools::{assert_error, credentials};

#[tokio::test]
async fn a_public_client_need_not_name_itself() {
    let server = Server::new().await;
    let who = server.public_refresher("app").await;
    let first = server.begin(&who).await;
    // As the SDK sends it: JSON, the tenant's default, no client.
    let body = json!({ "grant_type": "refresh_token", "account_id": "default", "project_id": "default",
        "refresh_token": first.refresh, "scope": "a" });
    let second = server.post("/oauth2/token").json(body).send().await.tokens();
    assert!(server.is_active(&second.access).await);
    let row = server.text_from_sql(
        "select client_id from credentials where grant_type = 'refresh_token' and oauth_client_id is not null",
    );
    assert_eq!(row.await, "app");
    assert!(server.refreshes(&who, &second.refresh).await);
}

#[tokio::test]
async fn rfc6749_s6_a_confidential_client_must_authenticate() {
    let server = Server::new().await;
    let who = server.refresher("app", json!({ "confidential": true })).await;
    let first = server.begin(&who).await;
    let before = credentials(&server).await;
    let plain = [("grant_type", "refresh_token"), ("refresh_token", first.refresh.as_str())];
    let named = [plain[0], plain[1], ("client_id", "app")];
    let wrong = [plain[0], plain[1], ("client_id", "app"), ("client_secret", "wrong")];
    for form in [&plain[..], &named, &wrong] {
        let answer = server.post("/oauth2/token").form(form).send().await;
        assert_error(&answer, 401, "invalid_client");
    }
    assert_eq!(credentials(&server).await, before);
    assert!(server.refreshes(&who, &first.refresh).await);
}

#[tokio::test]
async fn rfc6749_s10_4_another_client_obtains_nothing_and_spends_nothing() {
    let server = Server::new().await;
    let owner = server.public_refresher("owner").await;
    let other = server.refresher("other", json!({ "confidential": true })).await;
    let public = server.public_refresher("public").await;
    let first = server.begin(&owner).await;
    let second = server.refresh(&owner, &first.refresh).await.tokens();
    server.app.clock.advance(Duration::minutes(1));
    for thief in [&other, &public] {
        // Also of a spent one: nobody but its client ends the family with it.
        for token in [&first.refresh, &second.refresh] {
            assert_dead(&server.refresh(thief, token).await);
        }
    }
    assert!(server.is_active(&second.access).await);
    assert!(server.refreshes(&owner, &second.refresh).await);
}

#[tokio::test]
async fn a_client_id_that_was_taken_again_is_another_client() {
    let server = Server::new().await;
    let who = server.public_refresher("app").await;
    let first = server.begin(&who).await;
    server.admin("DELETE", &format!("/oauth/clients/{}", who.id)).send().await.expect(200);
    assert_error(&server.refresh(&who, &first.refresh).await, 401, "invalid_client");
    let more = json!({ "grant_types": ["refresh_token", "authorization_code"], "scopes": ["a", "b"] });
    server.register_client("app", more).await.expect(201);
    assert_dead(&server.refresh(&who, &first.refresh).await);
}

#[tokio::test]
async fn a_client_that_may_not_refresh_any_more_does_not() {
    let server = Server::new().await;
    let who = server.public_refresher("app").await;
    let first = server.begin(&who).await;
    server.patch_client(&who.id, json!({ "grant_types": ["authorization_code"] })).await.expect(200);
    assert_error(&server.refresh(&who, &first.refresh).await, 400, "unauthorized_client");
    let both = json!({ "grant_types": ["authorization_code", "refresh_token"] });
    server.patch_client(&who.id, both).await.expect(200);
    assert!(server.refreshes(&who, &first.refresh).await);
}

#[tokio::test]
async fn a_new_secret_of_the_client_changes_nothing() {
    let server = Server::new().await;
    let mut who = server.refresher("app", json!({ "confidential": true })).await;
    let first = server.begin(&who).await;
    let now = json!({ "overlap_seconds": 0 });
    let rotated = server.act_on_client(&who.id, "rotate-secret", now).await.expect(200);
    assert_error(&server.refresh(&who, &first.refresh).await, 401, "invalid_client");
    who.secret = rotated.text_of("client_secret").to_owned();
    assert!(server.refreshes(&who, &first.refresh).await);
}

#[tokio::test]
async fn a_client_of_another_tenant_is_another_client() {
    let server = Server::new().await;
    let who = server.public_refresher("app").await;
    let first = server.begin(&who).await;
    let body = json!({ "client_id": "foreign", "name": "foreign", "scopes": ["a", "b"],
        "grant_types": ["refresh_token"] });
    server.call("POST", "/oauth/clients").tenant("other", "demo").json(body).send().await.expect(201);
    let form = [("grant_type", "refresh_token"), ("refresh_token", &first.refresh), ("client_id", "foreign")];
    assert_dead(&server.post("/oauth2/token").form(&form).send().await);
    let revoke = [("token", first.refresh.as_str()), ("client_id", "foreign")];
    server.post("/oauth2/token/revoke").form(&revoke).send().await.expect(200);
    assert!(server.refreshes(&who, &first.refresh).await);
}
