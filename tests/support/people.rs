//! People, and clients that act in their name: the way from a link to a token.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use url::Url;

use crate::server::{Answer, ISSUER, Server};

/// RFC 7636 appendix B.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Where the clients of tests are told.
pub const CALLBACK: &str = "https://app.example/cb";

/// An authorization request that is being put together.
#[derive(Clone, Debug)]
pub struct Ask(Vec<(String, String)>);

impl Ask {
    /// A good one of this client for the scope `a`.
    pub fn of(client_id: &str) -> Self {
        let pairs = [
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", CALLBACK),
            ("scope", "a"),
            ("state", "s t&a=te"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
    }

    /// The same with another value; the empty one takes the parameter away.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.retain(|(known, _)| known != name);
        self.and(name, value)
    }

    /// The same with a further value.
    pub fn and(mut self, name: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.0.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub fn query(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    pub fn path(&self) -> String {
        format!("/oauth2/authorize?{}", self.query())
    }
}

impl Server {
    /// A user of acme/demo: the row's id.
    pub async fn person(&self, user_id: &str) -> String {
        let body = json!({ "user_id": user_id, "email": format!("{user_id}@x.example"), "name": "Ada <b>" });
        self.admin("POST", "/users").json(body).send().await.expect(201).text_of("id").to_owned()
    }

    /// A public client of acme/demo that takes codes; `more` is added to the body.
    pub async fn program_of_people(&self, client_id: &str, more: Value) -> Answer {
        let mut body = json!({
            "client_id": client_id, "name": "Diary & <i>Co</i>", "grant_types": ["authorization_code"],
            "scopes": ["a", "b"], "redirect_uris": [CALLBACK],
        });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.admin("POST", "/oauth/clients").json(body).send().await.expect(201)
    }

    /// The path of a link for a person.
    pub async fn link(&self, person: &str, to: &str) -> String {
        let body = json!({ "purpose": "authorize", "to": to });
        let made = self.admin("POST", &format!("/users/{person}/links")).json(body).send().await.expect(201);
        made.text_of("url").strip_prefix(ISSUER).unwrap().to_owned()
    }

    /// The cookie of a browser that opened a link of this person's.
    pub async fn cookie(&self, person: &str) -> String {
        let link = self.link(person, "/oauth2/authorize").await;
        let opened = self.get(&link).send().await.expect(303);
        opened.header("set-cookie").split(';').next().unwrap().to_owned()
    }

    /// Asks as a browser does.
    pub async fn ask(&self, ask: &Ask, cookie: &str) -> Answer {
        self.get(&ask.path()).with("Accept", "text/html").with("Cookie", cookie).send().await
    }

    /// Presses a button of a consent page.
    pub async fn press(&self, page: &Answer, cookie: &str, decision: &str) -> Answer {
        let form =
            [("request", &*page.field("request")), ("csrf", &page.field("csrf")), ("decision", decision)];
        self.post("/oauth2/consent")
            .with("Accept", "text/html")
            .with("Cookie", cookie)
            .form(&form)
            .send()
            .await
    }

    /// A code for which the person said yes, now or before.
    pub async fn code(&self, ask: &Ask, cookie: &str) -> String {
        let answer = self.ask(ask, cookie).await;
        let answer = match answer.status.as_u16() {
            302 => answer,
            _ => self.press(&answer.expect(200), cookie, "allow").await.expect(303),
        };
        answer.told()["code"].clone()
    }

    /// Redeems a code as the public client; `more` is added, and an empty value takes away.
    pub async fn redeem(&self, client_id: &str, code: &str, more: &[(&str, &str)]) -> Answer {
        let form = redemption(client_id, code, more);
        let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.post("/oauth2/token").form(&form).send().await
    }
}

/// The parameters of a redemption.
pub fn redemption(client_id: &str, code: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = [
        ("grant_type", "authorization_code"),
        ("client_id", client_id),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    let kept = own.iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name));
    let all = kept.chain(more).filter(|(_, value)| !value.is_empty());
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl Answer {
    /// The value of a hidden field.
    pub fn field(&self, name: &str) -> String {
        let (_, rest) = self.text.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_default();
        let value = rest.split('"').next().unwrap_or_default();
        value
            .replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&")
    }

    /// What the client is told by a redirect.
    pub fn told(&self) -> BTreeMap<String, String> {
        let url = Url::parse(self.header("location")).unwrap();
        url.query_pairs().into_owned().collect()
    }
}
