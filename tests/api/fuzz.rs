//! Arbitrary input at every parser that strangers reach: forms, JSON, scopes, keys, JWKS, redirect addresses, patterns,
//! URIs, headers. Whatever comes is answered, and never as a fault of ours. `CHANCERY_TEST_CASES` sets how many of each.

use axum::http::HeaderValue;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::server::Server;

/// How many inputs each place sees.
const CASES: usize = 12;

/// Pieces that parsers give a meaning to.
const PIECES: &[&str] = &[
    "spiffe://",
    "https://",
    "http://127.0.0.1:",
    "localhost",
    "[::1]",
    "://",
    "//",
    "/../",
    "%00",
    "%ff",
    "%2e",
    "@",
    "#",
    "?",
    "&",
    "=",
    "*",
    "**",
    "[!a-",
    "]",
    "\\",
    "\"",
    "'",
    "{",
    "}",
    ":",
    ";",
    "\u{0}",
    "\u{7f}",
    "\u{202e}",
    "\u{fffd}",
    "\u{10ffff}",
    "\r\n",
    "\t",
    " ",
    "e30",
    "eyJ",
    "..",
    ".",
    "-----BEGIN PUBLIC KEY-----\n",
    "AAAA",
    "null",
    "1e999",
    "-0",
    "99999999999999999999",
    "nhi:manage",
    "vault:",
    "urn:ietf:params:oauth:grant-type:",
    "Basic ",
    "Bearer ",
    "DPoP ",
];

fn text() -> BoxedStrategy<String> {
    let piece = prop_oneof![
        3 => (0..PIECES.len()).prop_map(|at| PIECES[at].to_owned()),
        2 => "[a-z0-9]{1,12}",
        1 => any::<char>().prop_map(String::from),
        1 => (1_usize..3000).prop_map(|length| "x".repeat(length)),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat()).boxed()
}

/// Any JSON, with members that mean something to somebody.
fn value() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    let name = prop_oneof![Just("kty".to_owned()), Just("keys".to_owned()), Just("crv".to_owned()), text()];
    leaf.prop_recursive(6, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
    .boxed()
}

/// So many inputs, the same at each run unless more are asked for.
fn some<T>(strategy: &BoxedStrategy<T>) -> Vec<T>
where
    T: std::fmt::Debug,
{
    let asked: Option<usize> = std::env::var("CHANCERY_TEST_CASES").ok().map(|text| text.parse().unwrap());
    let mut runner = match asked {
        None => TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
        Some(_) => TestRunner::default(),
    };
    (0..asked.unwrap_or(CASES)).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

impl Server {
    async fn takes(&self, method: &str, path: &str, content_type: &str, body: Vec<u8>) {
        let sent = String::from_utf8_lossy(&body).into_owned();
        let answer = self.admin(method, path).raw(content_type, body).send().await;
        assert!(answer.status.as_u16() < 500, "{method} {path} {sent:?}: {}", answer.text);
    }
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

#[tokio::test]
async fn no_body_is_a_fault_of_ours() {
    let server = Server::new().await;
    let bytes = proptest::collection::vec(any::<u8>(), 0..300).boxed();
    for path in ["/oauth2/token", "/oauth2/token/introspect", "/oauth2/token/revoke", "/agents/register"] {
        for body in some(&bytes) {
            server.takes("POST", path, FORM, body.clone()).await;
            server.takes("POST", path, JSON, body).await;
        }
        for text in some(&text()) {
            let form = format!("grant_type={text}&token={text}&api_key={text}&{text}");
            server.takes("POST", path, FORM, form.into_bytes()).await;
        }
        for value in some(&value()) {
            server.takes("POST", path, JSON, value.to_string().into_bytes()).await;
        }
    }
}

#[tokio::test]
async fn no_member_is_a_fault_of_ours() {
    let server = Server::new().await;
    for path in ["/agents/register", "/oauth/clients", "/credential-policies", "/admin/may-act", "/api-keys"]
    {
        let whole = json!({
            "name": "one", "external_id": "one", "created_by": "me@example.com", "client_id": "one", "max_ttl_seconds": 60,
            "confidential": true, "grant_types": ["client_credentials"], "allowed_grant_types": ["api_key"],
            "from_id": "one", "to_id": "other",
        });
        for member in [
            "name",
            "external_id",
            "public_key_pem",
            "redirect_uris",
            "jwks",
            "scopes",
            "allowed_scopes",
            "metadata",
            "labels",
            "expires_at",
            "ip_allowlist",
            "capabilities",
            "client_id",
            "from_id",
        ] {
            let values = some(&text()).into_iter().map(Value::from).chain(some(&value()));
            for (number, value) in values.enumerate() {
                let mut body = whole.clone();
                body["external_id"] = format!("one-{number}").into();
                body[member] = if number % 3 == 0 { json!([value]) } else { value };
                server.takes("POST", path, JSON, body.to_string().into_bytes()).await;
            }
        }
    }
}

#[tokio::test]
async fn no_parameter_and_no_header_is_a_fault_of_ours() {
    let server = Server::new().await;
    let (_, key) = server.agent("fetcher").await;
    for text in some(&text()) {
        for name in
            ["scope", "audience", "resource", "client_id", "client_assertion", "assertion", "subject_token"]
        {
            let form = [("grant_type", "api_key"), ("api_key", &key), (name, &text)];
            let answer = server.post("/oauth2/token").form(&form).send().await;
            assert!(answer.status.as_u16() < 500, "{name}={text:?}: {}", answer.text);
        }
        let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) else { continue };
        let Ok(value) = value.to_str() else { continue };
        for name in [
            "authorization",
            "dpop",
            "x-account-id",
            "x-project-id",
            "x-forwarded-for",
            "x-request-id",
            "origin",
            "cookie",
        ] {
            for path in ["/oauth2/token/verify", "/agents/registry"] {
                let answer = server.get(path).with(name, value).send().await;
                assert!(answer.status.as_u16() < 500, "{name}: {text:?}: {}", answer.text);
            }
        }
    }
    for text in some(&text()) {
        let query = form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        for path in [
            "/agents/registry?search=",
            "/credentials?identity_id=",
            "/api-keys?status=",
            "/agents/registry/",
        ] {
            let answer = server.admin("GET", &format!("{path}{query}")).send().await;
            assert!(answer.status.as_u16() < 500, "{path}{query}: {}", answer.text);
        }
        let body = json!({ "client_id_pattern": text, "pattern": text, "reason": text });
        server.takes("POST", "/admin/oauth/revoke-by-pattern", JSON, body.to_string().into_bytes()).await;
    }
}
