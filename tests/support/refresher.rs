//! Clients that refresh, the people in whose name they act, and the first tokens of a family.

use chancery::access::scope::Scopes;
use chancery::audit::{Entry, Event};
use chancery::clients::Evidence;
use chancery::kit::config::Profile;
use chancery::kit::cx::{Origin, Tenant};
use chancery::kit::{ids, secret};
use chancery::tokens::ledger::{Artefact, Once, Outcome, Record};
use chancery::tokens::refresh::Refresh;
use chancery::tokens::{AccessToken, ClientStamp, Grant, issue};
use chancery::users::Person;
use serde_json::{Value, json};

use crate::server::{Answer, Server};

/// A client of acme/demo that may refresh, and a person who let it.
#[derive(Clone, Debug)]
pub struct Refresher {
    pub id: String,
    pub client_id: String,
    /// "" for a public one.
    pub secret: String,
    /// The person's row.
    pub user: String,
}

/// What one answer gave.
#[derive(Clone, Debug)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
}

/// Names the client's parameters of a request.
impl Refresher {
    pub fn form<'a>(&'a self, token: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", self.client_id.as_str()),
        ];
        form.extend(Some(("client_secret", self.secret.as_str())).filter(|(_, secret)| !secret.is_empty()));
        form.extend(more);
        form
    }
}

impl Server {
    /// A client that may refresh, and a person; `more` is added to the client's body.
    pub async fn refresher(&self, name: &str, more: Value) -> Refresher {
        let mut body = json!({
            "client_id": name, "name": name, "scopes": ["a", "b", "c"],
            "grant_types": ["authorization_code", "refresh_token"], "redirect_uris": ["https://app.example/cb"],
        });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let client = self.admin("POST", "/oauth/clients").json(body).send().await.expect(201);
        let user = json!({ "user_id": format!("user-of-{name}"), "name": "Ada" });
        let user = self.admin("POST", "/users").json(user).send().await.expect(201);
        Refresher {
            id: client.body["client"]["id"].as_str().unwrap().to_owned(),
            client_id: name.to_owned(),
            secret: client.text_of("client_secret").to_owned(),
            user: user.text_of("id").to_owned(),
        }
    }

    /// A public one, with the scopes `a`, `b` and `c`.
    pub async fn public_refresher(&self, name: &str) -> Refresher {
        self.refresher(name, Value::Null).await
    }

    /// The first tokens of a family, with the scopes `a` and `b`.
    pub async fn begin(&self, who: &Refresher) -> Tokens {
        self.begin_with(who, "a b", None).await
    }

    /// The same with other scopes, or bound to a key.
    pub async fn begin_with(&self, who: &Refresher, scope: &str, jkt: Option<&str>) -> Tokens {
        let now = self.app.clock.now();
        let found = chancery::clients::evidence(&self.app, &who.client_id).await.unwrap();
        let Evidence { client, holding } = found.unwrap();
        let person = self.admin("GET", &format!("/users/{}", who.user)).send().await.expect(200);
        let tenant = Tenant { account_id: "acme".into(), project_id: "demo".into() };
        let person = Person {
            id: who.user.parse().unwrap(),
            tenant: tenant.clone(),
            tenant_active: true,
            user_id: person.text_of("user_id").to_owned(),
            email: String::new(),
            name: person.text_of("name").to_owned(),
            is_active: true,
            epoch: i32::try_from(self.count("select max(epoch)::bigint from users").await).unwrap(),
        };
        let profile = client.token_profile.as_deref().and_then(Profile::of).unwrap_or_default();
        let scopes = Scopes::parse(scope, 10).unwrap();
        let audience = vec!["https://one.example".to_owned(), "https://two.example".to_owned()];
        let client_ttl = client.refresh_token_ttl;
        let grant = Grant {
            refresh: Some(Refresh::Begin { scopes: scopes.clone(), audience: audience.clone(), client_ttl }),
            scopes,
            audience,
            client: Some(ClientStamp { id: client.row(), client_id: client.client_id, epoch: client.epoch }),
            jkt: jkt.map(str::to_owned),
            profile,
            ..Grant::of_person(&self.app, "authorization_code", person, holding)
        };
        let issued = issue(&self.app, &grant, now).unwrap();
        let answer = serde_json::to_value(AccessToken::of(&grant, &issued)).unwrap();
        let entry = Entry {
            id: ids::new(now).unwrap(),
            tenant,
            occurred_at: now,
            event: Event::new("token.issued", "credential", issued.credential.jti),
            actor: ("client", who.client_id.clone()),
            refused: None,
            origin: Origin::default(),
        };
        let code = Artefact { kind: "test", key: secret::random::<32>().unwrap(), until: now };
        let refresh = issued.refresh.unwrap().row;
        let once = Once { artefacts: vec![code], refusals: Vec::new(), refresh };
        let record = Record::IssueOnce(issued.credential, entry, Box::new(once));
        assert_eq!(self.app.write(record).await.unwrap(), Outcome::Written);
        let text = |member: &str| answer[member].as_str().unwrap().to_owned();
        Tokens { access: text("access_token"), refresh: text("refresh_token") }
    }

    /// Presents a refresh token as its client, with further parameters.
    pub async fn refresh_with(&self, who: &Refresher, token: &str, more: &[(&str, &str)]) -> Answer {
        self.post("/oauth2/token").form(&who.form(token, more)).send().await
    }

    /// The same without any.
    pub async fn refresh(&self, who: &Refresher, token: &str) -> Answer {
        self.refresh_with(who, token, &[]).await
    }

    /// Whether a refresh token still obtains something. It is spent by that.
    pub async fn refreshes(&self, who: &Refresher, token: &str) -> bool {
        self.refresh(who, token).await.status.is_success()
    }
}

impl Answer {
    /// The tokens of an answer that must be good.
    #[track_caller]
    pub fn tokens(self) -> Tokens {
        let answer = self.expect(200);
        let text = |member: &str| answer.body[member].as_str().unwrap().to_owned();
        Tokens { access: text("access_token"), refresh: text("refresh_token") }
    }
}
