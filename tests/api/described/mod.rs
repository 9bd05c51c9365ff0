//! Clients whose `client_id` is the URL of a document, from the authorization endpoint to their last token (OAuth Client ID
//! Metadata Document, RFC 9700 section 4.1).

mod ending;
mod refused;
mod states;

use serde_json::{Value, json};

use crate::client_documents::fetching;
use crate::https::Site;
use crate::people::{Ask, CALLBACK};
use crate::server::{Answer, Server};
use crate::tools::claims;

const APP: &str = "/app.json";

/// A server, a site with a document at `APP`, the URL of that, and the cookie of a person of acme/demo.
struct Stage {
    server: Server,
    site: Site,
    url: String,
    cookie: String,
    person: String,
}

impl Stage {
    async fn new() -> Self {
        let (server, site) = (fetching().await, Site::start().await);
        let url = site.url(APP);
        site.json(APP, document(&url));
        let person = server.person("u-ada").await;
        let cookie = server.cookie(&person).await;
        Self { server, site, url, cookie, person }
    }

    /// Another client on the same host.
    fn beside(&self, path: &str) -> String {
        let url = self.site.url(path);
        self.site.json(path, document(&url));
        url
    }

    async fn ask(&self, ask: &Ask) -> Answer {
        self.server.ask(ask, &self.cookie).await
    }

    async fn code(&self) -> String {
        self.server.code(&Ask::of(&self.url), &self.cookie).await
    }

    /// Access token and refresh token.
    async fn tokens(&self) -> (String, String) {
        let answer = self.server.redeem(&self.url, &self.code().await, &[]).await.expect(200);
        (answer.text_of("access_token").to_owned(), answer.text_of("refresh_token").to_owned())
    }
}

async fn refresh(server: &Server, client_id: &str, token: &str) -> Answer {
    let form = [("grant_type", "refresh_token"), ("client_id", client_id), ("refresh_token", token)];
    let named = if client_id.is_empty() { vec![form[0], form[2]] } else { form.to_vec() };
    server.post("/oauth2/token").form(&named).send().await
}

fn document(url: &str) -> Value {
    json!({
        "client_id": url, "client_name": "Inspector <b>", "redirect_uris": [CALLBACK, "http://127.0.0.1/cb"],
        "grant_types": ["authorization_code", "refresh_token"], "scope": "a b nhi:manage",
    })
}

fn told_here(answer: &Answer, text: &str) {
    assert!(answer.header("location").is_empty(), "{}", answer.header("location"));
    assert!(answer.text.contains(text), "{text}: {}", answer.text);
}

#[tokio::test]
async fn a_person_lets_a_client_act_that_nobody_registered() {
    let stage = Stage::new().await;
    let Stage { server, url, .. } = &stage;
    let page = stage.ask(&Ask::of(url)).await.expect(200);
    for shown in [
        "Nobody registered it here",
        "<strong>127.0.0.1</strong>",
        &format!("<code>{url}</code>"),
        "<strong>app.example</strong>",
        "Inspector &lt;b&gt;",
    ] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    let told = server.press(&page, &stage.cookie, "allow").await.expect(303).told();
    let token = server.redeem(url, &told["code"], &[]).await.expect(200);
    assert_eq!((token.text_of("scope"), token.text_of("user_id")), ("a", "u-ada"));
    let found = claims(token.text_of("access_token"));
    assert_eq!((&found["client_id"], &found["sub"]), (&json!(url), &json!("u-ada")));
    assert_eq!((&found["account_id"], &found["project_id"]), (&json!("acme"), &json!("demo")));
    assert!(server.is_active(token.text_of("access_token")).await);
    // The consent is remembered, and the refresh token goes round with and without the client's name.
    assert!(stage.ask(&Ask::of(url)).await.expect(302).told().contains_key("code"));
    let next = refresh(server, url, token.text_of("refresh_token")).await.expect(200);
    let last = refresh(server, "", next.text_of("refresh_token")).await.expect(200);
    assert_eq!(claims(last.text_of("access_token"))["client_id"], json!(url));
    let consents = server.admin("GET", "/admin/oauth/consents").send().await.expect(200).body;
    assert_eq!((&consents["total"], &consents["data"][0]["client_id"]), (&json!(1), &json!(url)));
    let chains = server.admin("GET", "/delegations/chains").send().await.expect(200).body;
    assert_eq!(chains["chains"][0]["chain_id"], found["mission_id"]);
    // Of the document itself nothing was kept.
    assert_eq!(server.count("select count(*) from oauth_clients").await, 0);
    let rows =
        server.count("select count(*) from audit_events where account_id = '' or project_id = ''").await;
    assert_eq!(rows, 0);
}

/// Security checklist: consent is per client, and a new client never inherits it.
#[tokio::test]
async fn a_consent_is_for_one_url_and_one_person() {
    let stage = Stage::new().await;
    let Stage { server, url, .. } = &stage;
    stage.code().await;
    for other in [stage.beside("/other.json"), stage.beside("/app.json/")] {
        stage.ask(&Ask::of(&other)).await.expect(200);
    }
    let bob = server.person("u-bob").await;
    server.ask(&Ask::of(url), &server.cookie(&bob).await).await.expect(200);
    // A person of another tenant brings that tenant.
    let body = json!({ "user_id": "u-eve", "name": "Eve" });
    let eve = server.call("POST", "/users").tenant("other", "live").json(body).send().await.expect(201);
    let link = json!({ "purpose": "authorize", "to": "/oauth2/authorize" });
    let path = format!("/users/{}/links", eve.text_of("id"));
    let link = server.call("POST", &path).tenant("other", "live").json(link).send().await.expect(201);
    let link = link.text_of("url").strip_prefix(crate::server::ISSUER).unwrap().to_owned();
    let opened = server.get(&link).send().await.expect(303);
    let cookie = opened.header("set-cookie").split(';').next().unwrap().to_owned();
    server.ask(&Ask::of(url), &cookie).await.expect(200);
    let code = server.code(&Ask::of(url), &cookie).await;
    let token = server.redeem(url, &code, &[]).await.token();
    assert_eq!((&claims(&token)["account_id"], &claims(&token)["sub"]), (&json!("other"), &json!("u-eve")));
    let of_acme = server.admin("GET", "/admin/oauth/consents").send().await.expect(200).body;
    assert_eq!((&of_acme["total"], &of_acme["data"][0]["subject"]), (&json!(1), &json!("u-ada")));
}

#[tokio::test]
async fn a_program_on_the_device_is_asked_for_each_time_with_a_warning() {
    let stage = Stage::new().await;
    let device = "http://localhost:4711/cb";
    let ask = Ask::of(&stage.url).with("redirect_uri", device);
    let code = stage.server.code(&ask, &stage.cookie).await;
    let page = stage.ask(&ask).await.expect(200);
    assert!(page.text.contains("Any program on this device can say that it is this one"));
    assert!(!stage.ask(&Ask::of(&stage.url)).await.text.contains("Any program"));
    stage.server.redeem(&stage.url, &code, &[("redirect_uri", device)]).await.expect(200);
}
