//! The authorization endpoint: from a link to a code and a token, and what the person sees.

use insta::assert_snapshot;
use serde_json::json;

use crate::people::{Ask, CALLBACK};
use crate::server::{ISSUER, Server};
use crate::tools::claims;

#[tokio::test]
async fn a_person_comes_by_a_link_agrees_and_the_client_gets_a_token() {
    let server = Server::new().await;
    server.program_of_people("diary", json!({})).await;
    let ada = server.person("u-ada").await;
    let ask = Ask::of("diary");
    let link = server.link(&ada, &ask.path()).await;
    let opened = server.get(&link).send().await.expect(303);
    assert_eq!(opened.header("location"), ask.path());
    let cookie = opened.header("set-cookie").split(';').next().unwrap().to_owned();
    let page = server.ask(&ask, &cookie).await.expect(200);
    let answer = server.press(&page, &cookie, "allow").await.expect(303);
    let told = answer.told();
    assert!(answer.header("location").starts_with("https://app.example/cb?code="));
    assert_eq!((told["state"].as_str(), told["iss"].as_str()), ("s t&a=te", ISSUER));
    assert_eq!(answer.header("cache-control"), "no-store");
    let token = server.redeem("diary", &told["code"], &[]).await.expect(200);
    assert_eq!((token.text_of("scope"), token.text_of("user_id")), ("a", "u-ada"));
    assert!(token.body.get("external_id").is_none() && !token.text.contains("null"));
    assert_eq!(token.body["expires_in"], 24 * 3600);
    let found = claims(token.text_of("access_token"));
    for (claim, value) in [
        ("sub", "u-ada"),
        ("user_id", "u-ada"),
        ("application_id", "diary"),
        ("client_id", "diary"),
        ("user_email", "u-ada@x.example"),
        ("user_name", "Ada <b>"),
        ("name", "Ada <b>"),
        ("grant_type", "authorization_code"),
        ("identity_type", ""),
    ] {
        assert_eq!(found[claim], value, "{claim}");
    }
    assert!(found.get("act").is_none());
    let seen = server.introspect(token.text_of("access_token")).await;
    assert_eq!((&seen["active"], &seen["sub"]), (&json!(true), &json!("u-ada")));
    assert!(seen.get("agent_id").is_none());
    let rows = server.audit().await.into_iter().map(|(action, outcome, actor, _)| (action, outcome, actor));
    let of_person: Vec<_> = rows.filter(|(_, _, actor)| actor == "person" || actor == "client").collect();
    let expected = [
        ("user.link_opened", "person"),
        ("consent.granted", "person"),
        ("code.issued", "person"),
        ("token.issued", "client"),
    ];
    let row = |(action, actor): (&str, &str)| (action.to_owned(), "success".to_owned(), actor.to_owned());
    assert_eq!(of_person, expected.map(row));
}

#[tokio::test]
async fn the_page_says_who_asks_for_what_and_runs_no_script() {
    let server = Server::new().await;
    server.program_of_people("diary", json!({})).await;
    let ada = server.person("u-ada").await;
    let cookie = server.cookie(&ada).await;
    let ask = Ask::of("diary").with("scope", "a b").with("resource", "https://api.example/x?<y>=1");
    let page = server.ask(&ask, &cookie).await.expect(200);
    let csrf = page.field("csrf");
    assert_snapshot!(page.text.replace(&csrf, "CSRF"));
    for (name, part) in [
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", "default-src 'none'; style-src 'sha256-"),
        (
            "content-security-policy",
            "form-action 'self' https://app.example; base-uri 'none'; frame-ancestors 'none'",
        ),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert!(page.header(name).contains(part), "{name}: {}", page.header(name));
    }
    assert!(!page.text.contains("<script") && !page.text.contains("<i>") && !page.text.contains("<b>"));
}

#[tokio::test]
async fn who_says_no_is_told_so_and_asked_again() {
    let server = Server::new().await;
    server.program_of_people("diary", json!({})).await;
    let ada = server.person("u-ada").await;
    let cookie = server.cookie(&ada).await;
    for _ in 0..2 {
        let page = server.ask(&Ask::of("diary"), &cookie).await.expect(200);
        let told = server.press(&page, &cookie, "deny").await.expect(303).told();
        assert_eq!((told["error"].as_str(), told["state"].as_str()), ("access_denied", "s t&a=te"));
        assert_eq!((told["iss"].as_str(), told.get("code")), (ISSUER, None));
    }
    let denied = server.audit().await.into_iter().filter(|row| row.0 == "consent.denied").count();
    assert_eq!((denied, server.count("select count(*) from consents").await), (2, 0));
    let page = server.ask(&Ask::of("diary"), &cookie).await.expect(200);
    server.press(&page, &cookie, "").await.expect(400);
    server.press(&page, &cookie, "perhaps").await.expect(400);
    assert_eq!(server.count("select count(*) from authorization_codes").await, 0);
}

#[tokio::test]
async fn who_is_not_known_is_told_how_to_come() {
    let server = Server::new().await;
    server.program_of_people("diary", json!({})).await;
    let ask = Ask::of("diary").with("state", "<script>");
    let json = server.get(&ask.path()).send().await.expect(401);
    assert_eq!(json.text_of("error"), "login_required");
    for cookie in ["", "chancery-person=", "chancery-person=x", "other=1"] {
        let page = server.ask(&ask, cookie).await.expect(401);
        assert!(page.text.contains("Ask your administrator for a link"), "{cookie}");
        assert!(!page.text.contains("<script") && page.header("location").is_empty());
    }
}

/// Consent is per client and person, it is remembered, and more than was agreed to is asked for anew.
#[tokio::test]
async fn consent_is_remembered_and_widened_and_nobody_inherits_it() {
    let server = Server::new().await;
    server.program_of_people("diary", json!({})).await;
    server.program_of_people("other", json!({})).await;
    let (ada, bob) = (server.person("u-ada").await, server.person("u-bob").await);
    let (of_ada, of_bob) = (server.cookie(&ada).await, server.cookie(&bob).await);
    let ask = Ask::of("diary");
    server.code(&ask, &of_ada).await;
    assert!(server.ask(&ask, &of_ada).await.expect(302).told().contains_key("code"));
    for (ask, cookie) in [
        (ask.clone().with("scope", "a b"), &of_ada),
        (ask.clone().with("scope", ""), &of_ada),
        (ask.clone().with("resource", "https://api.example"), &of_ada),
        (ask.clone(), &of_bob),
        (Ask::of("other"), &of_ada),
    ] {
        server.ask(&ask, cookie).await.expect(200);
    }
    server.code(&ask.clone().with("scope", "b"), &of_ada).await;
    server.ask(&ask.clone().with("scope", "b a"), &of_ada).await.expect(302);
    let list = server.admin("GET", &format!("/admin/oauth/consents?user_id={ada}")).send().await.expect(200);
    assert_eq!((&list.body["total"], &list.body["data"][0]["scope"]), (&json!(1), &json!("a b")));
    // The name is taken again by another client.
    let id = server.admin("GET", "/oauth/clients").send().await.expect(200).body["clients"]
        .as_array()
        .unwrap()
        .iter()
        .find(|client| client["client_id"] == "diary")
        .unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    server.admin("DELETE", &format!("/oauth/clients/{id}")).send().await.expect(200);
    server.program_of_people("diary", json!({})).await;
    server.ask(&ask, &of_ada).await.expect(200);
}

/// RFC 8252 section 8.6: who answers at a port of the device is not known to be the client.
#[tokio::test]
async fn a_public_client_on_the_device_is_asked_for_each_time() {
    let server = Server::new().await;
    let uris = json!({ "redirect_uris": ["http://127.0.0.1/cb", "com.example.app:/cb", CALLBACK] });
    server.program_of_people("cli", uris).await;
    let cookie = server.cookie(&server.person("u-ada").await).await;
    for (uri, again) in [
        ("http://127.0.0.1:4711/cb", 200),
        ("http://localhost:99/cb", 200),
        ("com.example.app:/cb", 200),
        (CALLBACK, 302),
    ] {
        let ask = Ask::of("cli").with("redirect_uri", uri);
        let code = server.code(&ask, &cookie).await;
        let page = server.ask(&ask, &cookie).await.expect(again);
        if again == 200 {
            let source =
                if uri.starts_with("http:") { uri.strip_suffix("/cb").unwrap() } else { "com.example.app:" };
            assert!(
                page.header("content-security-policy").contains(&format!("form-action 'self' {source};"))
            );
        }
        server.redeem("cli", &code, &[("redirect_uri", uri)]).await.expect(200);
    }
}
