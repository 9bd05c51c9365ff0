//! From a person's yes to a refresh token, and what a replay of the code does to it.

use serde_json::json;

use super::{assert_dead, family};
use crate::people::Ask;
use crate::server::Server;
use crate::tools::claims;

/// A server, a client that may refresh, and a browser in which a person opened a link.
async fn stage() -> (Server, String) {
    let server = Server::new().await;
    let more = json!({ "grant_types": ["authorization_code", "refresh_token"], "scopes": ["a", "b", "c"] });
    server.program_of_people("diary", more).await;
    let cookie = server.cookie(&server.person("u-ada").await).await;
    (server, cookie)
}

#[tokio::test]
async fn a_code_begins_a_family_with_all_that_was_agreed_to() {
    let (server, cookie) = stage().await;
    let ask = Ask::of("diary")
        .with("scope", "a b")
        .and("resource", "https://one.example")
        .and("resource", "https://two.example");
    let code = server.code(&ask, &cookie).await;
    let narrow = [("scope", "a"), ("resource", "https://one.example")];
    let first = server.redeem("diary", &code, &narrow).await.tokens();
    assert_eq!(claims(&first.access)["scopes"], json!(["a"]));
    assert_eq!(claims(&first.access)["aud"], json!(["https://one.example"]));
    let form = [("grant_type", "refresh_token"), ("refresh_token", first.refresh.as_str())];
    let second = server.post("/oauth2/token").form(&form).send().await.tokens();
    let after = claims(&second.access);
    assert_eq!((&after["sub"], &after["scopes"]), (&json!("u-ada"), &json!(["a", "b"])));
    assert_eq!(after["aud"], json!(["https://one.example", "https://two.example"]));
    assert_eq!(after["mission_id"], claims(&first.access)["mission_id"]);
    assert_eq!(family(&server, &first.access).await, family(&server, &second.access).await);
}

#[tokio::test]
async fn a_client_without_the_grant_gets_no_refresh_token() {
    let (server, cookie) = stage().await;
    server.program_of_people("plain", json!({ "scopes": ["a"] })).await;
    let code = server.code(&Ask::of("plain"), &cookie).await;
    let answer = server.redeem("plain", &code, &[]).await.expect(200);
    assert!(answer.body.get("refresh_token").is_none());
}

#[tokio::test]
async fn rfc6749_s4_1_2_a_code_that_comes_again_ends_the_family_it_began() {
    let (server, cookie) = stage().await;
    let code = server.code(&Ask::of("diary"), &cookie).await;
    let first = server.redeem("diary", &code, &[]).await.tokens();
    let form = [("grant_type", "refresh_token"), ("refresh_token", first.refresh.as_str())];
    let second = server.post("/oauth2/token").form(&form).send().await.tokens();
    server.redeem("diary", &code, &[]).await.expect(400);
    for access in [&first.access, &second.access] {
        assert!(!server.is_active(access).await);
    }
    let form = [("grant_type", "refresh_token"), ("refresh_token", second.refresh.as_str())];
    assert_dead(&server.post("/oauth2/token").form(&form).send().await);
}
