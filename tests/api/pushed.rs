//! Pushed authorization requests (RFC 9126): who may push, what stands in them, that each is answered once.

use serde_json::json;
use time::Duration;

use crate::people::Ask;
use crate::server::{Answer, Server};
use crate::tools::assert_error;

const FORM: &str = "application/x-www-form-urlencoded";

async fn stage() -> (Server, String) {
    let server = Server::new().await;
    server.program_of_people("diary", json!({})).await;
    let cookie = server.cookie(&server.person("u-ada").await).await;
    (server, cookie)
}

async fn push(server: &Server, ask: &Ask) -> Answer {
    server.post("/oauth2/par").raw(FORM, ask.query()).send().await
}

fn named(client_id: &str, uri: &str) -> Ask {
    let empty = Ask::of(client_id);
    let names =
        ["response_type", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"];
    names.iter().fold(empty, |ask, name| ask.with(name, "")).with("request_uri", uri)
}

#[tokio::test]
async fn rfc9126_s2_a_pushed_request_is_answered_once_by_its_name() {
    let (server, cookie) = stage().await;
    let replica = server.replica().await;
    let pushed = push(&server, &Ask::of("diary").with("scope", "a b")).await.expect(201);
    let uri = pushed.text_of("request_uri").to_owned();
    assert!(uri.starts_with("urn:ietf:params:oauth:request_uri:") && uri.len() > 70);
    assert_eq!((&pushed.body["expires_in"], pushed.header("cache-control")), (&json!(600), "no-store"));
    // Nothing beside the name counts (section 4).
    let ask = named("diary", &uri).with("scope", "a").with("redirect_uri", "https://evil.example/");
    // Who looks at the page, or is not known yet, has not answered.
    replica.ask(&ask, "").await.expect(401);
    replica.ask(&ask, &cookie).await.expect(200);
    let page = replica.ask(&ask, &cookie).await.expect(200);
    let told = server.press(&page, &cookie, "allow").await.expect(303).told();
    assert_eq!(told["state"], "s t&a=te");
    let token = server.redeem("diary", &told["code"], &[]).await.expect(200);
    assert_eq!(token.text_of("scope"), "a b");
    for again in [server.ask(&ask, &cookie).await, server.press(&page, &cookie, "allow").await] {
        assert!(
            again.expect(400).text.contains("the request_uri is unknown, was used before, or has expired")
        );
    }
    let pushed = push(&server, &Ask::of("diary").with("scope", "a b")).await.expect(201);
    let ask = named("diary", pushed.text_of("request_uri"));
    assert!(server.ask(&ask, &cookie).await.expect(302).told().contains_key("code"), "consent is remembered");
    server.ask(&ask, &cookie).await.expect(400);
}

#[tokio::test]
async fn a_no_is_an_answer_too() {
    let (server, cookie) = stage().await;
    let pushed = push(&server, &Ask::of("diary")).await.expect(201);
    let ask = named("diary", pushed.text_of("request_uri"));
    let page = server.ask(&ask, &cookie).await.expect(200);
    assert_eq!(server.press(&page, &cookie, "deny").await.expect(303).told()["error"], "access_denied");
    server.press(&page, &cookie, "allow").await.expect(400);
}

#[tokio::test]
async fn a_pushed_request_is_its_clients_and_not_for_long() {
    let (server, cookie) = stage().await;
    server.program_of_people("other", json!({})).await;
    let uri = push(&server, &Ask::of("diary")).await.expect(201).text_of("request_uri").to_owned();
    server.ask(&named("other", &uri), &cookie).await.expect(400);
    server.ask(&named("diary", &uri).with("client_id", ""), &cookie).await.expect(400);
    server.ask(&named("diary", &format!("{uri}x")), &cookie).await.expect(400);
    server.app.clock.advance(Duration::milliseconds(599_999));
    server.ask(&named("diary", &uri), &cookie).await.expect(200);
    server.app.clock.advance(Duration::milliseconds(1));
    server.ask(&named("diary", &uri), &cookie).await.expect(400);
    chancery::authorizations::worker::forget(&server.app).await.unwrap();
    assert_eq!(server.count("select count(*) from pushed_requests").await, 0);
}

/// RFC 9126 section 2.1: as at the token endpoint. A public client names itself.
#[tokio::test]
async fn rfc9126_s2_1_a_confidential_client_authenticates() {
    let (server, _) = stage().await;
    let more = json!({ "confidential": true, "token_endpoint_auth_method": "client_secret_post" });
    let made = server.program_of_people("site", more).await;
    let secret = made.text_of("client_secret").to_owned();
    let ask = Ask::of("site");
    for bad in [
        ask.clone(),
        ask.clone().with("client_secret", "x"),
        Ask::of("unknown"),
        ask.clone().with("client_id", ""),
    ] {
        assert_error(&push(&server, &bad).await, 401, "invalid_client");
    }
    push(&server, &ask.clone().with("client_secret", &secret)).await.expect(201);
    let kept = "select count(*) from pushed_requests where parameters like '%secret%'";
    assert_eq!(
        (server.count(kept).await, server.count("select count(*) from pushed_requests").await),
        (0, 1)
    );
}

#[tokio::test]
async fn what_could_not_be_answered_is_refused_at_once() {
    let (server, _) = stage().await;
    let ask = Ask::of("diary");
    for (name, value, error) in [
        ("redirect_uri", "https://evil.example/cb", "invalid_request"),
        ("redirect_uri", "", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("scope", "ä", "invalid_scope"),
        ("resource", "x", "invalid_target"),
        ("request_uri", "urn:ietf:params:oauth:request_uri:x", "invalid_request"),
        ("request", "e30", "invalid_request"),
    ] {
        assert_error(&push(&server, &ask.clone().with(name, value)).await, 400, error);
    }
    let long = "x".repeat(4097);
    assert_error(&push(&server, &ask.with("state", &long)).await, 400, "invalid_request");
    assert_eq!(server.count("select count(*) from pushed_requests").await, 0);
}
