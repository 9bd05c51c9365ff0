//! What holds for every route, whoever writes it: the table of routes is read from the sources, so a new one falls under
//! these rules by itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use chancery::kit::config::{AdminAuth, Introspection};
use serde_json::{Value, json};

use crate::routes::routes;
use crate::server::{Answer, Server};

const UNKNOWN: &str = "01890000-0000-7000-8000-000000000000";

/// Routes that ask for no credential, and why.
const OPEN: &[(&str, &str)] = &[
    ("GET /health", "says that the process answers"),
    ("GET /ready", "says that the database answers"),
    ("GET /metrics", "numbers without names; not to be published"),
    ("GET /openapi.json", "what the API is"),
    ("GET /docs", "the same as a page"),
    ("GET /.well-known/jwks.json", "public keys"),
    ("GET /.well-known/oauth-authorization-server", "what there is (RFC 8414)"),
    ("GET /.well-known/openid-configuration", "the same at the other name"),
    ("GET /.well-known/oauth-protected-resource", "where to get a credential (RFC 9728)"),
    ("POST /oauth2/token", "the grant is the credential"),
    ("POST /oauth2/par", "the client authenticates in the request"),
    ("GET /oauth2/authorize", "a person comes with the cookie of a link"),
    ("POST /oauth2/authorize", "the same"),
    ("POST /oauth2/consent", "the same"),
    ("GET /links/{secret}", "the secret is the credential"),
];

/// Routes outside the admin API that change something, and what they leave in the log instead of one row for each call.
const OF_THE_PROTOCOL: &[(&str, &str)] = &[
    ("POST /oauth2/token", "a row for each token and each refusal of a recognised principal"),
    ("POST /oauth2/token/introspect", "reads"),
    ("POST /oauth2/token/revoke", "a row for what was revoked for the first time"),
    ("POST /agents/self/public-key", "a row by the agent itself, once it is recognised"),
    ("POST /oauth2/par", "rows of recognised clients only"),
    ("POST /oauth2/authorize", "a row for what a recognised person was given or refused"),
    ("POST /oauth2/consent", "the same"),
];

/// Admin routes that leave other than one row for a call, and why.
const OTHER_ROWS: &[(&str, &str)] = &[
    (
        "POST /identities/offboard-by-owner",
        "one for the request and one for each agent that it deactivates, in the log of its project",
    ),
    ("POST /api-keys", "one for the key, and one for the identity that it makes where none is named"),
];

/// Admin routes that take no path id but one in the query or in the body.
const BESIDE: &[(&str, &str, &str)] = &[
    ("GET", "/credentials?identity_id={id}", ""),
    ("GET", "/credentials?mission_id={id}", ""),
    ("GET", "/signals?identity_id={id}", ""),
    ("GET", "/signals?mission_id={id}", ""),
    ("GET", "/api-keys?application_id={id}", ""),
    ("GET", "/delegations/graph?identity_id={id}", ""),
    ("GET", "/audit-logs?actor_id={id}", ""),
    ("GET", "/agents/registry?search={id}", ""),
    ("GET", "/identities?search={id}", ""),
    ("POST", "/api-keys", r#"{"name":"x","identity_id":"{id}"}"#),
    ("POST", "/api-keys", r#"{"name":"x","credential_policy_id":"{id}"}"#),
    ("POST", "/credentials/issue", r#"{"identity_id":"{id}"}"#),
    ("POST", "/oauth/clients", r#"{"client_id":"beside","name":"x","identity_id":"{id}"}"#),
    (
        "POST",
        "/agents/register",
        r#"{"name":"x","external_id":"beside","created_by":"u","credential_policy_id":"{id}"}"#,
    ),
    ("POST", "/identities", r#"{"external_id":"beside","owner_user_id":"u","credential_policy_id":"{id}"}"#),
];

/// A body that the route takes; most take an empty one.
fn body(route: &str) -> Value {
    match route {
        "POST /agents/register" => json!({ "name": "S", "external_id": "swept", "created_by": "u" }),
        "POST /identities" => json!({ "external_id": "swept-2", "owner_user_id": "u" }),
        "POST /identities/discovered" => json!({ "origin": "aws", "external_id": "swept-3" }),
        "POST /identities/discovered/batch" => {
            json!({ "agents": [{ "origin": "aws", "external_id": "swept-4" }] })
        }
        "POST /identities/discovered/prune" => {
            json!({ "origin": "none", "source_id": "", "not_seen_since": "2020-01-01" })
        }
        "POST /identities/discovered/release-source" => json!({ "origin": "none", "source_id": "x" }),
        "POST /identities/{id}/adopt" => json!({ "owner_user_id": "u" }),
        "POST /identities/offboard-by-owner" => json!({ "owner_user_id": "nobody" }),
        "POST /oauth/clients" => json!({ "client_id": "swept", "name": "S" }),
        "POST /admin/oauth/revoke-by-pattern" => json!({ "client_id_pattern": "swept*", "reason": "drill" }),
        "POST /credential-policies" | "POST /api-keys" => json!({ "name": "swept" }),
        "POST /admin/may-act" => json!({ "from_id": "a", "to_id": "b" }),
        "POST /signals/ingest" => json!({ "signal_type": "ip_change", "source": "sweep" }),
        "POST /audit-logs/export" => json!({ "since": "2026-12-01", "until": "2026-12-02" }),
        "POST /users/{id}/links" => json!({ "purpose": "authorize", "to": "/oauth2/authorize" }),
        // The example of RFC 7517 appendix A.1.
        "POST /agents/{id}/rotate-dpop-key" => json!({ "new_public_jwk": {
            "kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        } }),
        "PATCH /users/{id}" => json!({ "name": "S" }),
        "POST /trusted-issuers" => {
            json!({ "issuer": "https://swept.example", "jwks_uri": "https://swept.example/jwks" })
        }
        "POST /trusted-issuers/{id}/subjects" => json!({ "subject": "swept", "identity_id": UNKNOWN }),
        _ => json!({}),
    }
}

/// A route, and what the handler's signature asks of its caller; `None` outside the admin API.
struct Route {
    method: String,
    path: String,
    permission: Option<String>,
}

/// Every route below `src`.
fn all() -> Vec<Route> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|own| own == "rs") {
            let rust = fs::read_to_string(&path).unwrap();
            found.extend(routes(&rust).into_iter().map(|route| Route {
                permission: permission(&rust, &route.handler),
                method: route.method,
                path: route.path,
            }));
        }
    }
    found.sort_by(|a, b| (&a.path, &a.method).cmp(&(&b.path, &b.method)));
    found
}

fn permission(rust: &str, handler: &str) -> Option<String> {
    let (_, after) = rust.split_once(&format!("fn {handler}("))?;
    let (_, admin) = after.split('{').next()?.split_once("Admin<")?;
    Some(admin.split('>').next()?.to_owned())
}

impl Route {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn takes_an_id(&self) -> bool {
        self.path.contains('{')
    }

    fn changes(&self) -> bool {
        self.method != "GET"
    }

    /// The path with its placeholders filled.
    fn at(&self, id: &str) -> String {
        let fill = |part: &str| if part.starts_with('{') { id.to_owned() } else { part.to_owned() };
        self.path.split('/').map(fill).collect::<Vec<_>>().join("/")
    }
}

impl Server {
    /// One of everything in the project `demo` of an account. What a route takes the id of must be among it.
    async fn furnish(&self, account: &str) {
        let post = async |path: &str, body: Value| {
            self.call("POST", path).tenant(account, "demo").json(body).send().await.expect(201).body
        };
        let agent = json!({ "name": "A", "external_id": "agent", "created_by": "u" });
        let agent = post("/agents/register", agent).await;
        self.token(agent["api_key"].as_str().unwrap()).await;
        let client = json!({ "client_id": format!("{account}-client"), "name": "C", "confidential": true });
        post("/oauth/clients", client).await;
        post("/credential-policies", json!({ "name": "free" })).await;
        post("/api-keys", json!({ "name": "K", "identity_id": agent["identity"]["id"] })).await;
        post("/admin/may-act", json!({ "from_id": "agent", "to_id": "somebody" })).await;
        post("/signals/ingest", json!({ "signal_type": "ip_change", "source": "x" })).await;
        let user = post("/users", json!({ "user_id": "u" })).await;
        let client = format!("{account}-client");
        post("/admin/consents", json!({ "user_id": user["id"], "client_id": client, "scope": "a" })).await;
        let issuer = format!("https://{account}.example");
        let issuer = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/jwks") });
        let issuer = post("/trusted-issuers", issuer).await;
        let subjects = format!("/trusted-issuers/{}/subjects", issuer["id"].as_str().unwrap());
        post(&subjects, json!({ "subject": "s", "identity_id": agent["identity"]["id"] })).await;
        let found = json!({ "origin": "aws", "external_id": "found" });
        self.call("POST", "/identities/discovered")
            .tenant(account, "demo")
            .json(found)
            .send()
            .await
            .expect(200);
    }

    /// The id of every row that belongs to the account, whatever it is.
    async fn ids(&self, account: &str) -> Vec<String> {
        let tables: Vec<(String, String)> = sqlx::query_as(
            "select c.table_name::text, c.column_name::text from information_schema.columns c
             join information_schema.tables t on t.table_name = c.table_name and t.table_schema = c.table_schema
             join information_schema.columns a
               on a.table_name = c.table_name and a.table_schema = c.table_schema and a.column_name = 'account_id'
             where c.table_schema = 'public' and t.table_type = 'BASE TABLE' and c.column_name in ('id', 'jti')
               and c.data_type = 'uuid' and c.table_name not like 'credentials_%'
             order by 1",
        )
        .fetch_all(&self.app.db)
        .await
        .unwrap();
        assert!(tables.len() >= 10, "{tables:?}");
        let mut ids = Vec::new();
        for (table, column) in tables {
            let sql = format!(
                "select coalesce(string_agg({column}::text, ' '), '') from {table} where account_id = '{account}'"
            );
            ids.extend(self.text_from_sql(sql).await.split_whitespace().map(str::to_owned));
        }
        ids
    }

    /// Calls a route for acme/demo, with this id where it takes one.
    async fn sweep(&self, route: &Route, id: &str) -> Answer {
        let call = self.admin(&route.method, &route.at(id));
        if route.changes() { call.json(body(&route.name())).send().await } else { call.send().await }
    }
}

/// What an answer says, but for the id itself.
fn said(answer: &Answer, id: &str) -> (u16, String) {
    (answer.status.as_u16(), answer.text.replace(id, "ID"))
}

#[track_caller]
fn assert_listed(found: &BTreeSet<String>, written: &[(&str, &str)]) {
    let written: BTreeSet<String> = written.iter().map(|(route, _)| (*route).to_owned()).collect();
    let missing: Vec<_> = found.difference(&written).collect();
    assert!(missing.is_empty(), "not on the list: {missing:#?}");
    let known: BTreeSet<String> = all().iter().map(Route::name).collect();
    let gone: Vec<_> = written.difference(&known).collect();
    assert!(gone.is_empty(), "there are no such routes: {gone:#?}");
}

#[tokio::test]
async fn an_id_of_another_tenant_is_answered_like_an_unknown_one_on_every_route() {
    let server = Server::new().await;
    server.furnish("acme").await;
    server.furnish("evil").await;
    let foreign = server.ids("evil").await;
    let before = server.everything().await;
    let mut differences = Vec::new();
    for route in all().iter().filter(|route| route.permission.is_some() && route.takes_an_id()) {
        let unknown = said(&server.sweep(route, UNKNOWN).await, UNKNOWN);
        for id in &foreign {
            let answer = said(&server.sweep(route, id).await, id);
            if answer != unknown {
                differences.push(format!("{}: {answer:?}, not {unknown:?}", route.name()));
            }
        }
    }
    for (method, path, body) in BESIDE {
        let ask = async |id: &str| {
            let call = server.admin(method, &path.replace("{id}", id));
            let call =
                if body.is_empty() { call } else { call.raw("application/json", body.replace("{id}", id)) };
            said(&call.send().await, id)
        };
        let unknown = ask(UNKNOWN).await;
        for id in &foreign {
            let answer = ask(id).await;
            if answer != unknown {
                differences.push(format!("{method} {path} {body}: {answer:?}, not {unknown:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
    assert_eq!(server.everything().await, before, "a foreign id changed something");
}

/// The other half, without which the test above proves nothing: an id of the caller's own tenant is known. And on the way,
/// what each call leaves in the log.
#[tokio::test]
async fn every_route_knows_its_own_ids_and_every_change_leaves_one_row() {
    let server = Server::new().await;
    server.furnish("acme").await;
    let own = server.ids("acme").await;
    let mut routes: Vec<_> = all().into_iter().filter(|route| route.permission.is_some()).collect();
    let last = |route: &Route| match (route.method.as_str(), route.path.ends_with("/revoke")) {
        ("GET", _) => 0,
        ("PATCH", _) => 1,
        ("DELETE", _) => 4,
        // What a deactivation ends can't be revoked any more.
        (_, true) => 2,
        _ => 3,
    };
    // Backwards: API keys come after what they obtained.
    routes.reverse();
    routes.sort_by_key(last);
    let (mut faults, mut other_rows) = (Vec::new(), BTreeSet::new());
    for route in &routes {
        // A stream has no end to read to.
        if route.path == "/signals/stream" {
            continue;
        }
        let ids = if route.takes_an_id() { own.clone() } else { vec![UNKNOWN.to_owned()] };
        let unknown = said(&server.sweep(route, UNKNOWN).await, UNKNOWN);
        let mut is_known = !route.takes_an_id();
        for id in &ids {
            let rows = server.audited().await;
            let answer = server.sweep(route, id).await;
            is_known |= said(&answer, id) != unknown;
            let left = server.audited().await - rows;
            if answer.status.is_server_error() {
                faults.push(format!("{}: {}", route.name(), answer.text));
            }
            if left != i64::from(route.changes()) {
                let _ = other_rows.insert(route.name());
            }
        }
        if !is_known {
            faults.push(format!("{} knows no id of `furnish`: make there what it takes", route.name()));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    // Nobody answers for anything under that name, so the one that is listed leaves one row here.
    let listed = OTHER_ROWS.iter().map(|(route, _)| (*route).to_owned()).collect();
    let unlisted: Vec<_> = other_rows.difference(&listed).collect();
    assert!(unlisted.is_empty(), "{unlisted:#?}");
    let outside = all().into_iter().filter(|route| route.permission.is_none() && route.changes());
    assert_listed(&outside.map(|route| route.name()).collect(), OF_THE_PROTOCOL);
}

#[tokio::test]
async fn without_a_credential_every_route_is_refused_but_those_that_are_written_down() {
    let server = Server::with(|config| {
        (config.admin_auth, config.introspection) = (AdminAuth::Required, Introspection::Strict);
    })
    .await;
    let mut open = BTreeSet::new();
    for route in all() {
        for mount in if route.permission.is_some() { &["", "/api/v1"][..] } else { &[""] } {
            let call = server.admin(&route.method, &format!("{mount}{}", route.at(UNKNOWN)));
            let call = if route.changes() { call.json(json!({ "token": "x" })) } else { call };
            let answer = call.send().await;
            assert!(answer.status != 404 || route.takes_an_id(), "{}: {}", route.name(), answer.text);
            if answer.status != 401 {
                open.insert(route.name());
            }
        }
    }
    assert_listed(&open, OPEN);
    assert_eq!(server.audited().await, 0, "nobody is known");
}
