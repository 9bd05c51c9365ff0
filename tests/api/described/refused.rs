//! What such a client is refused, and that it is told nothing by a redirect.

use serde_json::json;
use time::Duration;

use super::{Stage, document, refresh, told_here};
use crate::https::raw;
use crate::people::Ask;
use crate::tools::assert_error;

#[tokio::test]
async fn a_document_asks_for_no_right_to_administer() {
    let stage = Stage::new().await;
    for (asked, granted) in [("a nhi:manage", "a"), ("", "a b"), ("nhi:manage", "")] {
        let code = stage.server.code(&Ask::of(&stage.url).with("scope", asked), &stage.cookie).await;
        let answer = stage.server.redeem(&stage.url, &code, &[]).await.expect(200);
        assert_eq!(answer.text_of("scope"), granted, "{asked}");
    }
    let open = stage.site.url("/open.json");
    let mut unlimited = document(&open);
    unlimited.as_object_mut().unwrap().remove("scope");
    stage.site.json("/open.json", unlimited);
    for (asked, granted) in [("z nhi:manage admin:x vault:read", "z"), ("", "")] {
        let code = stage.server.code(&Ask::of(&open).with("scope", asked), &stage.cookie).await;
        assert_eq!(stage.server.redeem(&open, &code, &[]).await.expect(200).text_of("scope"), granted);
    }
}

/// Nobody vouches for such a client, so nobody is sent to it but with a code.
#[tokio::test]
async fn no_error_is_ever_told_by_a_redirect() {
    let stage = Stage::new().await;
    let Stage { server, url, .. } = &stage;
    let ask = Ask::of(url);
    for (name, value, told) in [
        ("redirect_uri", "https://evil.example/cb", "invalid_request"),
        ("redirect_uri", "https://app.example/cb/", "invalid_request"),
        ("redirect_uri", "http://127.0.0.1/other", "invalid_request"),
        ("redirect_uri", "", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("scope", "z", "invalid_scope"),
        ("scope", "ä", "invalid_scope"),
        ("resource", "x", "invalid_target"),
        ("request_uri", "urn:ietf:params:oauth:request_uri:x", "invalid_request"),
    ] {
        told_here(&stage.ask(&ask.clone().with(name, value)).await.expect(400), told);
    }
    let page = stage.ask(&ask).await.expect(200);
    told_here(&server.press(&page, &stage.cookie, "deny").await.expect(200), "The program gets nothing");
    assert_eq!(server.count("select count(*) from authorization_codes").await, 0);
    assert_eq!(server.count("select count(*) from consents").await, 0);
    let refused = "select count(*) from audit_events
                   where action in ('code.refused', 'consent.denied') and target_id like 'https://127.0.0.1:%'";
    assert_eq!(server.count(refused).await, 2);
}

#[tokio::test]
async fn whatever_is_wrong_with_the_document_there_is_no_such_client() {
    let stage = Stage::new().await;
    let site = &stage.site;
    let url = |path: &str| site.url(path);
    site.json("/other.json", document(&stage.url));
    site.json("/large.json", {
        let mut large = document(&url("/large.json"));
        large["description"] = json!("x".repeat(5120));
        large
    });
    site.set("/moved.json", raw(&format!("302 Found\r\nLocation: {}", stage.url), ""));
    site.set(
        "/page.json",
        raw("200 OK\r\nContent-Type: text/html", &document(&url("/page.json")).to_string()),
    );
    site.json("/secret.json", {
        let mut secret = document(&url("/secret.json"));
        secret["client_secret"] = json!("x");
        secret
    });
    for path in ["/other.json", "/large.json", "/moved.json", "/page.json", "/secret.json", "/none.json"] {
        told_here(&stage.ask(&Ask::of(&url(path))).await.expect(401), "invalid_client");
    }
    let before = site.hits();
    for id in [
        format!("{}?x", stage.url),
        format!("{}#x", stage.url),
        format!("{}/../app.json", url("/x")),
        stage.url.replace("https:", "http:"),
        stage.url.replace("https:", "HTTPS:"),
        stage.url.replace("https://", "https://user@"),
        "https://10.0.0.1/app.json".to_owned(),
        "https://169.254.169.254/latest".to_owned(),
        "https://[::ffff:10.0.0.1]/app.json".to_owned(),
        "https://2130706433/app.json".to_owned(),
    ] {
        told_here(&stage.ask(&Ask::of(&id)).await.expect(401), "invalid_client");
    }
    assert_eq!(site.hits(), before, "these are not even asked for");
}

#[tokio::test]
async fn a_stranger_makes_the_server_fetch_nothing() {
    let stage = Stage::new().await;
    let Stage { server, site, url, .. } = &stage;
    for cookie in ["", "chancery-person=x"] {
        told_here(&server.ask(&Ask::of(url), cookie).await.expect(401), "Ask your administrator for a link");
    }
    let asked = Ask::of(url).query();
    let pushed = server.post("/oauth2/par").raw("application/x-www-form-urlencoded", asked).send().await;
    assert_error(&pushed, 401, "invalid_client");
    assert_eq!(site.hits(), 0);
}

/// Security checklist: a code and a refresh token are bound to the client that obtained them.
#[tokio::test]
async fn what_one_url_obtained_is_nothing_to_another() {
    let stage = Stage::new().await;
    let Stage { server, url, .. } = &stage;
    let other = stage.beside("/other.json");
    server
        .program_of_people("diary", json!({ "grant_types": ["authorization_code", "refresh_token"] }))
        .await;
    let (_, token) = stage.tokens().await;
    let code = stage.code().await;
    for thief in [other.as_str(), "diary"] {
        assert_error(&server.redeem(thief, &code, &[]).await, 400, "invalid_grant");
        assert_error(&refresh(server, thief, &token).await, 400, "invalid_grant");
    }
    let own = server.code(&Ask::of("diary"), &stage.cookie).await;
    assert_error(&server.redeem(url, &own, &[]).await, 400, "invalid_grant");
    let refused = server.audit().await.into_iter().filter(|row| row.0 == "token.refused").count();
    assert_eq!(refused, 5, "each is told to the tenant of the person");
    server.redeem(url, &code, &[]).await.expect(200);
    refresh(server, url, &token).await.expect(200);
    // A second use of the code ends what the first one obtained.
    let (access, again) = stage.tokens().await;
    let code = stage.code().await;
    let first = server.redeem(url, &code, &[]).await.expect(200).text_of("access_token").to_owned();
    assert_error(&server.redeem(url, &code, &[]).await, 400, "invalid_grant");
    assert!(!server.is_active(&first).await && server.is_active(&access).await);
    refresh(server, url, &again).await.expect(200);
}

/// Who guesses is locked out, as with any other client's name.
#[tokio::test]
async fn a_guesser_at_the_token_endpoint_is_counted() {
    let stage = Stage::new().await;
    let server = stage.server.replica_with(|config| config.lockout.failures = 3).await;
    let unknown = stage.site.url("/none.json");
    let form = [("grant_type", "authorization_code"), ("client_id", unknown.as_str()), ("code", "x")];
    let guess = || server.post("/oauth2/token").from("203.0.113.9:1").form(&form).send();
    for _ in 0..3 {
        assert_error(&guess().await, 401, "invalid_client");
    }
    guess().await.expect(429);
    assert_eq!(stage.site.hits(), 1, "that there is none is remembered");
    server.app.clock.advance(Duration::minutes(1));
    assert_error(&guess().await, 401, "invalid_client");
}
