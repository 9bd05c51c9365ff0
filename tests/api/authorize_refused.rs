//! What the authorization endpoint refuses, and whom it tells: RFC 9700 section 4.1 and the checklist of single faults.

use chancery::kit::config::Config;
use serde_json::json;

use crate::people::{Ask, CALLBACK};
use crate::server::{Answer, ISSUER, Server};

async fn stage() -> (Server, String) {
    let elsewhere =
        |config: &mut Config| "app.example".clone_into(&mut config.clients.metadata_document_hosts);
    let server = Server::with(elsewhere).await;
    server
        .program_of_people("diary", json!({ "redirect_uris": [CALLBACK, "http://127.0.0.1:3000/cb"] }))
        .await;
    let cookie = server.cookie(&server.person("u-ada").await).await;
    (server, cookie)
}

async fn nothing_came_of_it(server: &Server) {
    assert_eq!(server.count("select count(*) from authorization_codes").await, 0);
    assert_eq!(server.count("select count(*) from consents").await, 0);
}

fn told_here(answer: &Answer, code: &str) {
    assert!(answer.status.is_client_error() && answer.header("location").is_empty(), "{}", answer.text);
    assert!(answer.text.contains(code), "{code}: {}", answer.text);
}

/// RFC 6749 section 4.1.2.1: nobody is sent to an address that is not the client's.
#[tokio::test]
async fn a_wrong_client_or_redirect_uri_never_redirects() {
    let (server, cookie) = stage().await;
    let ask = Ask::of("diary");
    let mut cases = vec![(ask.clone().with("client_id", ""), "invalid_request")];
    for client in ["unknown", "diary ", "DIARY", "https://evil.example/client.json"] {
        cases.push((ask.clone().with("client_id", client), "invalid_client"));
    }
    for uri in [
        "",
        "https://app.example/cb/",
        "https://app.example/cb?x",
        "https://app.example/cb#x",
        "https://app.example/cb%00",
        "https://app.example/CB",
        "https://app.example:443/cb",
        "https://app.example/cb/..;/evil",
        "https://app.example/cb/../cb",
        "https://app.example@evil.example/cb",
        "https://app.example.evil.example/cb",
        "https://evil.example/cb",
        "http://app.example/cb",
        "//app.example/cb",
        "http://localhost.evil.example:3000/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://127.0.0.1:3000/other",
        "https://127.0.0.1:3000/cb",
        "JavaScript:alert(1)",
        "javascript:alert(1)",
        "data:text/html,x",
    ] {
        cases.push((ask.clone().with("redirect_uri", uri), "invalid_request"));
    }
    cases.push((ask.clone().and("redirect_uri", "https://evil.example/cb"), "invalid_request"));
    cases.push((ask.clone().and("client_id", "other"), "invalid_request"));
    for (ask, code) in &cases {
        for cookie in ["", cookie.as_str()] {
            told_here(&server.ask(ask, cookie).await, code);
        }
    }
    println!("{} requests were answered here and nowhere else", 2 * cases.len());
    nothing_came_of_it(&server).await;
}

/// Whatever else is wrong goes to the client, with its state and with who says so (RFC 9207 section 2).
#[tokio::test]
async fn rfc9207_s2_other_errors_are_told_to_the_client_with_iss_and_state() {
    let (server, cookie) = stage().await;
    let ask = Ask::of("diary");
    let long = "x".repeat(5000);
    let cases = [
        ("response_type", "", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "code token", "unsupported_response_type"),
        ("response_mode", "fragment", "invalid_request"),
        ("response_mode", "form_post", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-c=", "invalid_request"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cMM", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "s256", "invalid_request"),
        ("dpop_jkt", "x", "invalid_request"),
        ("scope", "ä", "invalid_scope"),
        ("scope", "z", "invalid_scope"),
        ("scope", "nhi:manage z", "invalid_scope"),
        ("resource", "relative", "invalid_target"),
        ("resource", "https://api.example/#x", "invalid_target"),
        ("state", &long, "invalid_request"),
    ];
    for (name, value, code) in cases {
        let answer = server.ask(&ask.clone().with(name, value), &cookie).await.expect(302);
        let told = answer.told();
        assert_eq!((told["error"].as_str(), told["iss"].as_str()), (code, ISSUER), "{name}={value}");
        assert!(answer.header("location").starts_with("https://app.example/cb?error="));
        if name != "state" {
            assert_eq!(told["state"], "s t&a=te");
        }
    }
    let stateless = server.ask(&ask.clone().with("state", "").with("scope", "z"), &cookie).await.expect(302);
    assert!(!stateless.told().contains_key("state"));
    nothing_came_of_it(&server).await;
}

/// A reserved scope is nobody's to give, also where the client is registered for it.
#[tokio::test]
async fn a_person_gives_no_right_to_administer() {
    let (server, cookie) = stage().await;
    server.program_of_people("console", json!({ "scopes": ["a", "nhi:manage", "vault:read"] })).await;
    for (asked, granted) in [("a nhi:manage", "a"), ("", "a"), ("nhi:manage", "")] {
        let ask = Ask::of("console").with("scope", asked);
        let code = server.code(&ask, &cookie).await;
        let answer = server.redeem("console", &code, &[]).await.expect(200);
        assert_eq!(answer.text_of("scope"), granted, "{asked}");
    }
}

#[tokio::test]
async fn credentials_and_request_objects_have_no_place_in_the_address() {
    let (server, cookie) = stage().await;
    for (name, value) in [
        ("client_secret", "x"),
        ("client_assertion", "x"),
        ("request", "e30"),
        ("request_uri", "https://evil.example/request"),
        ("request_uri", "urn:ietf:params:oauth:request_uri:x"),
    ] {
        told_here(&server.ask(&Ask::of("diary").with(name, value), &cookie).await, "invalid_request");
    }
    nothing_came_of_it(&server).await;
}

/// A POST reads its body only, and tells errors in its own answer.
#[tokio::test]
async fn a_posted_request_is_answered_without_a_redirect_of_errors() {
    let (server, cookie) = stage().await;
    let post = |ask: Ask, path: &'static str| {
        let kind = "application/x-www-form-urlencoded";
        server.post(path).with("Cookie", &cookie).raw(kind, ask.query()).send()
    };
    told_here(&post(Ask::of("diary").with("scope", "z"), "/oauth2/authorize").await, "invalid_scope");
    let in_query = "/oauth2/authorize?client_id=diary";
    told_here(&post(Ask::of("diary").with("client_id", ""), in_query).await, "invalid_request");
    let page = post(Ask::of("diary"), "/oauth2/authorize").await.expect(200);
    let told = server.press(&page, &cookie, "allow").await.expect(303).told();
    assert!(told.contains_key("code"));
}

#[tokio::test]
async fn a_client_without_the_grant_or_without_life_gets_no_code() {
    let (server, cookie) = stage().await;
    let made = server.program_of_people("keys", json!({ "grant_types": ["api_key"] })).await;
    let told = server.ask(&Ask::of("keys"), &cookie).await.expect(302).told();
    assert_eq!(told["error"], "unauthorized_client");
    let id = made.body["client"]["id"].as_str().unwrap().to_owned();
    server.patch_client(&id, json!({ "is_active": false })).await.expect(200);
    told_here(&server.ask(&Ask::of("keys"), &cookie).await, "invalid_client");
    let path = format!("/oauth/clients/{id}");
    server.admin("DELETE", &path).send().await.expect(200);
    told_here(&server.ask(&Ask::of("keys"), &cookie).await, "invalid_client");
}

/// No endpoint of people says anything to another origin.
#[tokio::test]
async fn no_answer_is_for_another_origin() {
    let (server, cookie) = stage().await;
    for origin in ["https://evil.example", "null", "https://app.example"] {
        for (method, path) in [
            ("GET", Ask::of("diary").path()),
            ("POST", "/oauth2/consent".to_owned()),
            ("POST", "/oauth2/par".to_owned()),
            ("OPTIONS", "/oauth2/authorize".to_owned()),
            ("GET", "/links/x".to_owned()),
        ] {
            let answer =
                server.call(method, &path).with("Origin", origin).with("Cookie", &cookie).send().await;
            let allowed = answer.headers.keys().any(|name| name.as_str().starts_with("access-control-"));
            assert!(!allowed, "{method} {path}");
        }
    }
}
