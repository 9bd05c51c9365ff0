//! Forward authentication: who may pass, what a proxy is told of him, and what it is told otherwise.

use chancery::kit::config::Introspection;
use serde_json::json;
use time::Duration;

use crate::server::{Answer, ISSUER, Server};
use crate::tools::sql;

const PATH: &str = "/oauth2/token/verify";

fn hint() -> String {
    format!("resource_metadata=\"{ISSUER}/.well-known/oauth-protected-resource\"")
}

/// The headers that go out to the service behind the proxy.
fn forwarded(answer: &Answer) -> Vec<(String, String)> {
    let names = answer.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-"));
    let names =
        names.filter(|(name, _)| !["x-request-id", "x-content-type-options"].contains(&name.as_str()));
    let mut all: Vec<_> =
        names.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    all.sort();
    all
}

#[tokio::test]
async fn a_standing_token_passes_with_the_identity_in_headers() {
    let server = Server::new().await;
    let registered = server.register("fetcher", json!({ "trust_level": "first_party" })).await.expect(201);
    let token = server.token(registered.text_of("api_key")).await;
    let uri = registered.body["identity"]["wimse_uri"].as_str().unwrap();
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let call = server.get(PATH).with("Authorization", &format!("{scheme} {token}"));
        let answer = call.send().await.expect(200);
        assert_eq!(answer.body, json!({ "active": true }));
        let expected = [
            ("x-forwarded-user", uri),
            ("x-zeroid-account-id", "acme"),
            ("x-zeroid-act-sub", "dev@company.example"),
            ("x-zeroid-external-id", "fetcher"),
            ("x-zeroid-identity-type", "agent"),
            ("x-zeroid-project-id", "demo"),
            ("x-zeroid-trust-level", "first_party"),
        ];
        assert_eq!(forwarded(&answer), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn what_is_empty_is_not_forwarded() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    sql(&server, "update api_keys set created_by = ''").await;
    let token = server.token(&key).await;
    let answer = server.get(PATH).bearer(&token).send().await.expect(200);
    assert!(forwarded(&answer).iter().all(|(name, value)| name != "x-zeroid-act-sub" && !value.is_empty()));
}

#[tokio::test]
async fn without_a_credential_the_challenge_names_no_error() {
    let server = Server::new().await;
    let answer = server.get(PATH).send().await.expect(401);
    assert_eq!(answer.body, json!({ "error": "missing_token" }));
    assert_eq!(answer.header("www-authenticate"), format!("Bearer {}", hint()));
    assert!(forwarded(&answer).is_empty());
}

#[tokio::test]
async fn a_header_that_is_no_bearer_is_refused() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    for header in ["", "Bearer", "Bearer ", "Bearer   ", "Basic YTpi", "DPoP ", "Token x", &token] {
        let answer = server.get(PATH).with("Authorization", header).send().await.expect(401);
        assert_eq!(answer.body, json!({ "error": "invalid_authorization_header" }), "{header}");
        assert!(answer.header("www-authenticate").starts_with("Bearer error=\"invalid_request\""));
        assert!(answer.header("www-authenticate").ends_with(&hint()));
    }
    let twice = server.get(PATH).bearer(&token).bearer(&token).send().await.expect(401);
    assert_eq!(twice.body, json!({ "error": "invalid_authorization_header" }));
}

#[tokio::test]
async fn a_token_that_does_not_stand_does_not_pass() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let refuse = async |token: &str| {
        let answer = server.get(PATH).bearer(token).send().await.expect(401);
        assert_eq!(answer.body, json!({ "error": "invalid_token" }));
        assert!(
            answer
                .header("www-authenticate")
                .starts_with("Bearer error=\"invalid_token\", error_description=")
        );
        assert!(answer.header("www-authenticate").ends_with(&hint()));
        assert!(forwarded(&answer).is_empty());
    };
    let token = server.token(&key).await;
    refuse("x").await;
    refuse(&key).await;
    let under_dpop = server.get(PATH).with("Authorization", "DPoP x").send().await.expect(401);
    assert_eq!(under_dpop.body, json!({ "error": "invalid_token" }));
    sql(&server, "update identities set status = 'suspended'").await;
    refuse(&token).await;
    sql(&server, "update identities set status = 'active'").await;
    server.get(PATH).bearer(&token).send().await.expect(200);
    server.app.clock.advance(Duration::hours(2));
    refuse(&token).await;
}

#[tokio::test]
async fn a_token_in_the_query_or_the_body_is_not_looked_at() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    let answer = server.get(&format!("{PATH}?access_token={token}&token={token}")).send().await.expect(401);
    assert_eq!(answer.body, json!({ "error": "missing_token" }));
    let answer = server.get(PATH).form(&[("access_token", &token)]).send().await.expect(401);
    assert_eq!(answer.body, json!({ "error": "missing_token" }));
}

#[tokio::test]
async fn no_client_authentication_is_needed_in_the_strict_mode_either() {
    let server = Server::with(|config| config.introspection = Introspection::Strict).await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    server.get(PATH).bearer(&token).send().await.expect(200);
}

#[tokio::test]
async fn the_sdks_content_type_on_a_request_without_a_body_does_no_harm() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    let token = server.token(&key).await;
    server.get(PATH).bearer(&token).with("Content-Type", "application/json").send().await.expect(200);
}
