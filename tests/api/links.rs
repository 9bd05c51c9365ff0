//! Links for people, and the cookie of the browser that opened one: once, for one person, not for long, for no other page.

use chancery::kit::config::Mode;
use serde_json::json;
use time::Duration;

use crate::people::Ask;
use crate::server::{Answer, Server};

async fn stage() -> (Server, String) {
    let server = Server::new().await;
    server.program_of_people("diary", json!({})).await;
    let ada = server.person("u-ada").await;
    (server, ada)
}

fn closed(answer: &Answer) {
    assert_eq!(answer.status.as_u16(), 404, "{}", answer.text);
    assert!(answer.header("set-cookie").is_empty() && answer.header("location").is_empty());
}

#[tokio::test]
async fn a_link_opens_once_at_any_replica() {
    let (server, ada) = stage().await;
    let replica = server.replica().await;
    let link = server.link(&ada, "/oauth2/authorize").await;
    let opened = replica.get(&link).send().await.expect(303);
    let cookie = opened.header("set-cookie");
    assert!(
        cookie.starts_with("chancery-person=")
            && cookie.ends_with("; Path=/; Max-Age=900; HttpOnly; SameSite=Lax")
    );
    closed(&server.get(&link).send().await);
    closed(&replica.get(&link).send().await);
    closed(&server.get("/links/x").send().await);
    closed(&server.get("/links/%ff").send().await);
    let page = server.get(&link).with("Accept", "text/html").send().await.expect(404);
    assert!(page.text.contains("<h1>This link does not open</h1>"));
    let rows = server.audit().await;
    let of_links: Vec<_> = rows.iter().filter(|row| row.0.starts_with("user.link")).collect();
    assert_eq!(of_links.len(), 5, "made, opened, and three times refused: {of_links:?}");
    assert!(of_links.iter().all(|row| row.3 == ada));
    let secret = link.strip_prefix("/links/").unwrap();
    let kept = format!("select count(*) from audit_events where metadata::text like '%{secret}%'");
    assert_eq!(server.text_from_sql(format!("select ({kept})::text")).await, "0");
}

#[tokio::test]
async fn a_link_and_a_cookie_have_an_end() {
    let (server, ada) = stage().await;
    let make = async |seconds: i64| {
        let body = json!({ "purpose": "authorize", "to": "/oauth2/authorize", "expires_in": seconds });
        server.admin("POST", &format!("/users/{ada}/links")).json(body).send().await
    };
    for bad in [0, -1, 7 * 24 * 3600 + 1] {
        make(bad).await.expect(400);
    }
    let url = make(60).await.expect(201).text_of("url").to_owned();
    let path = url.split("8899").nth(1).unwrap();
    server.app.clock.advance(Duration::seconds(60));
    closed(&server.get(path).send().await);
    let cookie = server.cookie(&ada).await;
    server.app.clock.advance(Duration::milliseconds(15 * 60_000 - 1));
    server.ask(&Ask::of("diary"), &cookie).await.expect(200);
    server.app.clock.advance(Duration::milliseconds(1));
    server.ask(&Ask::of("diary"), &cookie).await.expect(401);
    server.app.clock.advance(Duration::hours(1));
    chancery::users::worker::forget(&server.app).await.unwrap();
    assert_eq!(server.count("select count(*) from person_links").await, 0);
}

#[tokio::test]
async fn a_link_leads_to_the_authorization_endpoint_only_and_for_people_only() {
    let (server, ada) = stage().await;
    let path = format!("/users/{ada}/links");
    for (purpose, to) in [
        ("", "/oauth2/authorize"),
        ("vault", "/oauth2/authorize"),
        ("authorize", ""),
        ("authorize", "//evil.example/oauth2/authorize"),
        ("authorize", "https://evil.example/"),
        ("authorize", "/oauth2/token"),
    ] {
        let body = json!({ "purpose": purpose, "to": to });
        server.admin("POST", &path).json(body).send().await.expect(400);
    }
    let good = json!({ "purpose": "authorize", "to": "/oauth2/authorize" });
    let foreign = server.call("POST", &path).tenant("other", "demo").json(&good).send().await;
    assert_eq!(foreign.expect(404).text_of("detail"), "there is no user with this id");
    server.admin("DELETE", &format!("/users/{ada}")).send().await.expect(204);
    server.admin("POST", &path).json(&good).send().await.expect(409);
}

/// A deactivation voids links and cookies for good.
#[tokio::test]
async fn a_deactivated_person_comes_no_more() {
    let (server, ada) = stage().await;
    let (link, cookie) = (server.link(&ada, "/oauth2/authorize").await, server.cookie(&ada).await);
    let code = server.code(&Ask::of("diary"), &cookie).await;
    server.admin("DELETE", &format!("/users/{ada}")).send().await.expect(204);
    closed(&server.get(&link).send().await);
    server.ask(&Ask::of("diary"), &cookie).await.expect(401);
    server.redeem("diary", &code, &[]).await.expect(400);
    server.admin("POST", &format!("/users/{ada}/activate")).send().await.expect(200);
    closed(&server.get(&link).send().await);
    server.ask(&Ask::of("diary"), &cookie).await.expect(401);
    server.redeem("diary", &code, &[]).await.expect(400);
    let anew = server.cookie(&ada).await;
    server.ask(&Ask::of("diary"), &anew).await.expect(302);
}

/// What stands on the page is for the browser and the request for which it was made.
#[tokio::test]
async fn a_form_of_another_browser_or_request_says_nothing() {
    let (server, ada) = stage().await;
    server.program_of_people("other", json!({})).await;
    let bob = server.person("u-bob").await;
    let (of_ada, of_bob) = (server.cookie(&ada).await, server.cookie(&bob).await);
    let again = server.cookie(&ada).await;
    let page = server.ask(&Ask::of("diary"), &of_ada).await.expect(200);
    let elsewhere = server.ask(&Ask::of("other"), &of_ada).await.expect(200);
    let (request, csrf) = (page.field("request"), page.field("csrf"));
    let flipped = format!("{}{}", if csrf.starts_with('A') { "B" } else { "A" }, &csrf[1..]);
    let wider = request.replace("scope=a", "scope=a+b");
    assert_ne!(request, wider);
    for (cookie, request, csrf, status) in [
        (&of_bob, &request, &csrf, 403),
        (&again, &request, &csrf, 403),
        (&of_ada, &request, &flipped, 403),
        (&of_ada, &request, &String::new(), 400),
        (&of_ada, &wider, &csrf, 403),
        (&of_ada, &elsewhere.field("request"), &csrf, 403),
        (&of_ada, &format!("{request}&x=1"), &csrf, 403),
        (&String::new(), &request, &csrf, 401),
    ] {
        let form = [("request", request.as_str()), ("csrf", csrf), ("decision", "allow")];
        let call = server.post("/oauth2/consent").with("Cookie", cookie).form(&form);
        call.send().await.expect(status);
    }
    assert_eq!(server.count("select count(*) from authorization_codes").await, 0);
    let refused = server.audit().await.into_iter().filter(|row| row.0 == "code.refused").count();
    assert_eq!(refused, 6);
    server.press(&page, &of_ada, "allow").await.expect(303);
}

#[tokio::test]
async fn a_person_of_another_tenant_is_nobody_here() {
    let (server, _) = stage().await;
    let call = |path: &str, body| server.call("POST", path).tenant("other", "demo").json(body).send();
    let eve = call("/users", json!({ "user_id": "u-ada" })).await.expect(201).text_of("id").to_owned();
    let body = json!({ "purpose": "authorize", "to": Ask::of("diary").path() });
    let made = call(&format!("/users/{eve}/links"), body).await.expect(201);
    let link = made.text_of("url").split("8899").nth(1).unwrap().to_owned();
    let opened = server.get(&link).send().await.expect(303);
    let cookie = opened.header("set-cookie").split(';').next().unwrap().to_owned();
    server.ask(&Ask::of("diary"), &cookie).await.expect(401);
    assert_eq!(server.count("select count(*) from authorization_codes").await, 0);
}

/// RFC 6265bis section 4.1.3.2: over https no other host can set it.
#[tokio::test]
async fn over_https_the_cookie_is_secure_and_of_this_host() {
    let server = Server::with(|config| {
        config.mode = Mode::Production;
        config.issuer = "https://id.example".to_owned();
    })
    .await;
    let key = server.admin_key(None, &["nhi:manage"]).await;
    let user = server.admin("POST", "/users").bearer(&key).json(json!({})).send().await.expect(201);
    let body = json!({ "purpose": "authorize", "to": "/oauth2/authorize" });
    let path = format!("/users/{}/links", user.text_of("id"));
    let made = server.admin("POST", &path).bearer(&key).json(body).send().await.expect(201);
    let link = made.text_of("url").strip_prefix("https://id.example").unwrap().to_owned();
    let opened = server.get(&link).send().await.expect(303);
    let cookie = opened.header("set-cookie");
    assert!(
        cookie.starts_with("__Host-chancery-person=") && cookie.ends_with("; HttpOnly; SameSite=Lax; Secure")
    );
}
