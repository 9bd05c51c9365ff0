//! What the tests of the admin routes share: rows made by SQL, the whole state as one text, the shape of a refusal.

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::server::{Answer, Call, Server};

/// Two P-256 keys as SPKI PEM.
pub const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEJU3pMZKUYtj5tDI9WOmR5jHo41bN\n\
    WRm4W/K2wDVDtE2fLyN463vGc6jbF2WBcaS1G0FNcsHgLMvNx6Q1+Iwq9w==\n-----END PUBLIC KEY-----\n";
pub const OTHER_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEyHJIGzKBnRoZHaXmLozix5kNFFzj\n\
    fHW/Q5lpmlzEYKmLhPqz2orfN5G4LHfCkmcdwM4jrbRgMtuc0zAAsmdQjA==\n-----END PUBLIC KEY-----\n";

/// Where the admin routes are mounted.
pub const MOUNTS: [&str; 2] = ["", "/api/v1"];

/// Every admin route that changes something, for the agent with this id, with a body that it takes.
pub fn changes(id: &str) -> Vec<(&'static str, String, Value)> {
    let new = json!({ "name": "New", "external_id": "new", "created_by": "dev@company.example" });
    vec![
        ("POST", "/agents/register".to_owned(), new),
        ("PATCH", format!("/agents/registry/{id}"), json!({ "name": "Other", "public_key_pem": PEM })),
        ("POST", format!("/agents/registry/{id}/rotate-key"), json!({})),
        ("POST", format!("/agents/registry/{id}/deactivate"), json!({})),
        ("POST", format!("/agents/registry/{id}/activate"), json!({})),
        ("DELETE", format!("/agents/registry/{id}"), Value::Null),
        ("POST", format!("/agents/{id}/tokens/revoke-all"), Value::Null),
    ]
}

/// The same for the client with this id.
pub fn client_changes(id: &str) -> Vec<(&'static str, String, Value)> {
    let bulk = json!({ "client_id_pattern": "fetch*", "reason": "drill" });
    vec![
        ("POST", "/oauth/clients".to_owned(), json!({ "client_id": "new", "name": "New" })),
        ("PATCH", format!("/oauth/clients/{id}"), json!({ "name": "Other", "scopes": ["a"] })),
        ("POST", format!("/oauth/clients/{id}/rotate-secret"), Value::Null),
        ("POST", format!("/oauth/clients/{id}/revoke-tokens"), Value::Null),
        ("POST", "/admin/oauth/revoke-by-pattern".to_owned(), bulk),
        ("DELETE", format!("/oauth/clients/{id}"), Value::Null),
    ]
}

/// The routes of policies and API keys, for one with this id, with a body that they take.
fn other_routes(id: &str) -> Vec<(&'static str, String, Value)> {
    vec![
        ("POST", "/credential-policies".to_owned(), json!({ "name": "New" })),
        ("GET", "/credential-policies".to_owned(), Value::Null),
        ("GET", format!("/credential-policies/{id}"), Value::Null),
        ("PATCH", format!("/credential-policies/{id}"), json!({ "description": "Other" })),
        ("DELETE", format!("/credential-policies/{id}"), Value::Null),
        ("POST", "/api-keys".to_owned(), json!({ "name": "New" })),
        ("GET", "/api-keys".to_owned(), Value::Null),
        ("GET", format!("/api-keys/{id}"), Value::Null),
        ("POST", format!("/api-keys/{id}/revoke"), Value::Null),
    ]
}

/// A public key as a JWK.
fn dpop_jwk() -> Value {
    let x = "JU3pMZKUYtj5tDI9WOmR5jHo41bNWRm4W_K2wDVDtE0";
    json!({ "kty": "EC", "crv": "P-256", "x": x, "y": "ny8jeOt7xnOo2xdlgXGktRtBTXLB4CzLzcekNfiMKvc" })
}

/// Every admin route that wants `nhi:manage`, on both mounts.
pub fn routes(id: &str) -> Vec<(&'static str, String, Value)> {
    let mut all = changes(id);
    all.push(("GET", "/agents/registry".to_owned(), Value::Null));
    all.push(("GET", format!("/agents/registry/{id}"), Value::Null));
    all.push(("GET", format!("/agents/{id}/tokens"), Value::Null));
    all.push(("POST", format!("/agents/{id}/rotate-dpop-key"), json!({ "new_public_jwk": dpop_jwk() })));
    all.push(("POST", "/identities/offboard-by-owner".to_owned(), json!({ "owner_user_id": "nobody" })));
    all.extend(client_changes(id));
    all.push(("GET", "/oauth/clients".to_owned(), Value::Null));
    all.push(("GET", format!("/oauth/clients/{id}"), Value::Null));
    all.push(("GET", "/signals".to_owned(), Value::Null));
    all.push(("GET", "/audit-logs".to_owned(), Value::Null));
    all.push(("GET", format!("/audit-logs/{id}"), Value::Null));
    let signal =
        json!({ "signal_type": "ip_change", "source": "test", "identity_id": id, "severity": "high" });
    all.push(("POST", "/signals/ingest".to_owned(), signal));
    all.push(("GET", "/admin/may-act".to_owned(), Value::Null));
    all.push(("POST", "/admin/may-act".to_owned(), json!({ "from_id": "a", "to_id": "b" })));
    all.push(("DELETE", format!("/admin/may-act/{id}"), Value::Null));
    all.push(("GET", "/delegations/graph".to_owned(), Value::Null));
    all.push(("GET", "/delegations/chains".to_owned(), Value::Null));
    all.append(&mut other_routes(id));
    MOUNTS
        .iter()
        .flat_map(|mount| {
            all.iter().map(move |(method, path, body)| (*method, format!("{mount}{path}"), body.clone()))
        })
        .collect()
}

impl Call<'_> {
    /// The body, unless it is null.
    pub fn body(self, body: &Value) -> Self {
        if body.is_null() { self } else { self.json(body.clone()) }
    }
}

impl Answer {
    /// Requires a problem document of this status.
    #[track_caller]
    pub fn problem(self, status: u16) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{}", answer.text);
        assert_eq!(answer.body["status"], status, "{}", answer.text);
        assert!(
            !answer.text_of("title").is_empty() && !answer.text_of("detail").is_empty(),
            "{}",
            answer.text
        );
        assert!(!answer.header("x-request-id").is_empty());
        answer
    }
}

impl Server {
    /// Runs a statement that no route offers, and says how many rows it met.
    pub async fn run_sql(&self, sql: impl Into<String>) -> u64 {
        sqlx::query(AssertSqlSafe(sql.into())).execute(&self.app.db).await.unwrap().rows_affected()
    }

    /// The one text that a query answers.
    pub async fn text_from_sql(&self, sql: impl Into<String>) -> String {
        sqlx::query_scalar(AssertSqlSafe(sql.into())).fetch_one(&self.app.db).await.unwrap()
    }

    /// Everything that an admin request may change, as one text. The audit log is not part of it.
    pub async fn everything(&self) -> String {
        self.text_from_sql(
            "select coalesce(string_agg(line, '|' order by line), '') from (
                 select i::text as line from identities i union all select k::text from api_keys k
                 union all select p::text from credential_policies p union all select t::text from tenants t
                 union all select c::text from credentials c union all select r::text from revocations r
                 union all select o::text from oauth_clients o union all select e::text from outbox e
                 union all select s::text from signals s union all select m::text from may_act_grants m) as lines",
        )
        .await
    }

    /// How many audit rows there are.
    pub async fn audited(&self) -> i64 {
        self.count("select count(*) from audit_events").await
    }

    /// A credential policy of acme/demo that allows the API key grant, and the scopes named by an SQL array.
    pub async fn policy(&self, name: &str, scopes: &str) -> String {
        self.policy_of("acme", name, scopes).await
    }

    /// The same of another account's project demo.
    pub async fn policy_of(&self, account: &str, name: &str, scopes: &str) -> String {
        self.text_from_sql(format!(
            "insert into credential_policies (id, account_id, project_id, name, max_ttl_seconds,
                 allowed_grant_types, allowed_scopes, created_at, updated_at)
             values (gen_random_uuid(), '{account}', 'demo', '{name}', 3600, array['api_key'], {scopes}, now(), now())
             returning id::text"
        ))
        .await
    }

    /// Asks for a credential policy of acme/demo.
    pub async fn make_policy(&self, body: Value) -> Answer {
        self.admin("POST", "/credential-policies").json(body).send().await
    }

    /// Changes a credential policy of acme/demo.
    pub async fn change_policy(&self, id: &str, body: Value) -> Answer {
        self.admin("PATCH", &format!("/credential-policies/{id}")).json(body).send().await
    }

    /// The id of the policy `default` of acme/demo, which a registration makes.
    pub async fn default_policy(&self) -> String {
        self.text_from_sql(
            "select id::text from credential_policies where name = 'default' and account_id = 'acme'",
        )
        .await
    }

    /// Asks for an API key of acme/demo.
    pub async fn make_key(&self, body: Value) -> Answer {
        self.admin("POST", "/api-keys").json(body).send().await
    }

    /// The API key as acme/demo reads it.
    pub async fn read_key(&self, id: &str) -> Value {
        self.admin("GET", &format!("/api-keys/{id}")).send().await.expect(200).body
    }

    /// Puts an agent into a state, whatever the status machine says.
    pub async fn force_status(&self, id: &str, status: &str) {
        let sql = format!("update identities set status = '{status}' where id = '{id}'");
        assert_eq!(self.run_sql(sql).await, 1);
    }

    /// The agent as acme/demo reads it.
    pub async fn read(&self, id: &str) -> Value {
        self.admin("GET", &format!("/agents/registry/{id}")).send().await.expect(200).body
    }

    /// Changes an agent of acme/demo.
    pub async fn patch(&self, id: &str, body: Value) -> Answer {
        self.admin("PATCH", &format!("/agents/registry/{id}")).json(body).send().await
    }

    /// A POST without a body below an agent of acme/demo.
    pub async fn act(&self, id: &str, action: &str) -> Answer {
        self.admin("POST", &format!("/agents/registry/{id}/{action}")).send().await
    }

    /// Whether an API key still obtains tokens.
    pub async fn key_works(&self, key: &str) -> bool {
        self.exchange(key, "").await.status.is_success()
    }

    /// An agent of acme/demo that holds these scopes, and a token with all of them.
    pub async fn agent_with_scopes(&self, external_id: &str, scopes: &[&str]) -> (String, String) {
        let answer = self.register(external_id, json!({ "allowed_scopes": scopes })).await.expect(201);
        let token = self.token(answer.text_of("api_key")).await;
        (answer.body["identity"]["id"].as_str().unwrap().to_owned(), token)
    }
}
