//! A server in this process: the real router over a database of its own, with a clock that the test moves.

#[path = "described.rs"]
mod described;

use std::borrow::Borrow;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode, header};
use chancery::access::{self, NewAdminKey};
use chancery::kit::app::App;
use chancery::kit::clock::{Clock, Time};
use chancery::kit::config::{Config, Mode, Networks};
use chancery::kit::cx::Tenant;
use chancery::kit::db;
use chancery::kit::seal::MasterKeys;
use chancery::router::router;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use time::macros::datetime;
use tower::ServiceExt;

use crate::cluster::database;

/// When every test begins.
pub const START: Time = datetime!(2026-12-01 12:00:00.123456 UTC);

/// The issuer of every test server.
pub const ISSUER: &str = "http://127.0.0.1:8899";

/// A server of one test.
pub struct Server {
    /// The server's insides, to look at its database and move its clock.
    pub app: Arc<App>,
    router: Router,
    options: PgConnectOptions,
    master: String,
}

/// An answer, its body parsed where it is JSON.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
    pub body: Value,
}

impl Answer {
    /// A string member of the body, "" where there is none.
    pub fn text_of(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_default()
    }

    /// A header as text, "" where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Requires a status, and shows the body when it is another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }
}

/// The configuration of a development server as tests run it.
pub fn config() -> Config {
    let mut config = Config { mode: Mode::Development, issuer: ISSUER.to_owned(), ..Config::default() };
    config.listening_on("127.0.0.1:8899".parse().unwrap());
    config
}

impl Server {
    /// A development server: open admin API, anonymous introspection.
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// A development server whose configuration differs.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        change(&mut config);
        let master = MasterKeys::generate().unwrap().expose().to_owned();
        Self::on(database().await, config, Clock::fixed(START), master).await.unwrap()
    }

    /// Another server on the same database, with the same clock: a second replica.
    pub async fn replica(&self) -> Self {
        self.replica_with(|_| ()).await
    }

    /// A second replica whose configuration differs.
    pub async fn replica_with(&self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.app.config.clone();
        change(&mut config);
        Self::on(self.options.clone(), config, self.app.clock.clone(), self.master.clone()).await.unwrap()
    }

    /// The text of the master key file.
    pub fn master(&self) -> &str {
        &self.master
    }

    /// Another server on the same database with another master key file, if it starts.
    pub async fn replica_under(&self, master: &str) -> Result<Self, chancery::kit::error::Error> {
        let config = self.app.config.clone();
        Self::on(self.options.clone(), config, self.app.clock.clone(), master.to_owned()).await
    }

    async fn on(
        options: PgConnectOptions,
        config: Config,
        clock: Clock,
        master: String,
    ) -> Result<Self, chancery::kit::error::Error> {
        let pool = db::pool(options.clone(), &config.database);
        let app = App::open(config, clock, pool, MasterKeys::parse(&master).unwrap()).await?;
        Ok(Self { router: router(&app), app, options, master })
    }

    /// A GET without a body.
    pub fn get(&self, path: &str) -> Call<'_> {
        self.call("GET", path)
    }

    /// A POST; give it a body with `json`, `form` or `raw`.
    pub fn post(&self, path: &str) -> Call<'_> {
        self.call("POST", path)
    }

    /// Any method.
    pub fn call(&self, method: &str, path: &str) -> Call<'_> {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "127.0.0.1:8899");
        Call { server: self, request, body: Body::empty(), peer: "127.0.0.1:50000".parse().unwrap() }
    }

    /// The same with the headers of the tenant acme/demo.
    pub fn admin(&self, method: &str, path: &str) -> Call<'_> {
        self.call(method, path).tenant("acme", "demo")
    }

    /// Registers an agent of acme/demo under this external id; `more` is added to the body.
    pub async fn register(&self, external_id: &str, more: Value) -> Answer {
        let mut body = serde_json::json!({
            "name": format!("Agent {external_id}"), "external_id": external_id, "created_by": "dev@company.example",
        });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.admin("POST", "/agents/register").json(body).send().await
    }

    /// A new agent of acme/demo: its id and its API key.
    pub async fn agent(&self, external_id: &str) -> (String, String) {
        let answer = self.register(external_id, Value::Null).await.expect(201);
        (answer.body["identity"]["id"].as_str().unwrap().to_owned(), answer.text_of("api_key").to_owned())
    }

    /// Exchanges an API key.
    pub async fn exchange(&self, api_key: &str, scope: &str) -> Answer {
        let form = [("grant_type", "api_key"), ("api_key", api_key), ("scope", scope)];
        self.post("/oauth2/token").form(&form).send().await
    }

    /// A token for an API key.
    pub async fn token(&self, api_key: &str) -> String {
        self.exchange(api_key, "").await.expect(200).text_of("access_token").to_owned()
    }

    /// Introspects without a client.
    pub async fn introspect(&self, token: &str) -> Value {
        self.post("/oauth2/token/introspect").form(&[("token", token)]).send().await.expect(200).body
    }

    /// Whether introspection says that the token stands.
    pub async fn is_active(&self, token: &str) -> bool {
        self.introspect(token).await["active"].as_bool().unwrap()
    }

    /// An admin key; without a tenant an operator's.
    pub async fn admin_key(&self, tenant: Option<(&str, &str)>, scopes: &[&str]) -> String {
        let new = NewAdminKey {
            name: "test".to_owned(),
            tenant: tenant
                .map(|(account, project)| Tenant { account_id: account.into(), project_id: project.into() }),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            lifetime: None,
            allowed_networks: Networks::default(),
        };
        access::create(&self.app, new).await.unwrap().expose().to_owned()
    }

    /// An operator's key that may be used from these networks only.
    pub async fn admin_key_from(&self, networks: &str) -> String {
        let new = NewAdminKey {
            name: "test".to_owned(),
            tenant: None,
            scopes: Vec::new(),
            lifetime: None,
            allowed_networks: networks.parse().unwrap(),
        };
        access::create(&self.app, new).await.unwrap().expose().to_owned()
    }

    /// The audit rows as (action, outcome, actor type, target id), oldest first. By the transaction that wrote them: a
    /// short row may be put into a page before the last one.
    pub async fn audit(&self) -> Vec<(String, String, String, String)> {
        sqlx::query_as(
            "select action, outcome, actor_type, target_id from audit_events order by xmin::text::bigint, ctid",
        )
        .fetch_all(&self.app.db)
        .await
        .unwrap()
    }

    /// The number of rows that the query counts.
    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.app.db).await.unwrap()
    }
}

/// A request that is being put together.
pub struct Call<'a> {
    server: &'a Server,
    request: axum::http::request::Builder,
    body: Body,
    peer: SocketAddr,
}

impl Call<'_> {
    /// Adds a header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Sets a header that the harness set already.
    pub fn instead(mut self, name: &str, value: &str) -> Self {
        if let Some(headers) = self.request.headers_mut() {
            headers.insert(header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        self
    }

    /// Names the tenant.
    pub fn tenant(self, account: &str, project: &str) -> Self {
        self.with("X-Account-ID", account).with("X-Project-ID", project)
    }

    /// Presents a credential.
    pub fn bearer(self, credential: &str) -> Self {
        self.with("Authorization", &format!("Bearer {credential}"))
    }

    /// Comes from this address.
    pub fn from(mut self, peer: &str) -> Self {
        self.peer = peer.parse().unwrap();
        self
    }

    /// A JSON body.
    pub fn json(self, body: impl Borrow<Value>) -> Self {
        self.raw("application/json", body.borrow().to_string())
    }

    /// A form.
    pub fn form(self, pairs: &[(&str, &str)]) -> Self {
        let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.raw("application/x-www-form-urlencoded", text)
    }

    /// Any body.
    pub fn raw(mut self, content_type: &str, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self.with("Content-Type", content_type)
    }

    /// Sends it through the router; the body of the answer is left to be read bit by bit.
    pub async fn open(self) -> axum::response::Response {
        let mut request = self.request.body(self.body).unwrap();
        request.extensions_mut().insert(ConnectInfo(self.peer));
        self.server.router.clone().oneshot(request).await.unwrap()
    }

    /// Sends it through the router.
    pub async fn send(self) -> Answer {
        let asked = (self.request.method_ref().cloned(), self.request.uri_ref().cloned());
        let (parts, body) = self.open().await.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        let answer = Answer { status: parts.status, headers: parts.headers, text, body };
        if let (Some(method), Some(uri)) = asked {
            let (status, media) = (answer.status.as_u16(), answer.header("content-type"));
            described::check(method.as_str(), uri.path(), status, media, &answer.body);
        }
        answer
    }
}
