//! What the tests of the OAuth side share: changing rows directly, taking tokens apart, the shape of an OAuth error.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::routes::{Route, routes};
use crate::server::{Answer, Server};

/// Changes rows as nobody can through the API; at least one must change.
pub async fn sql(server: &Server, statement: &'static str) {
    let done = sqlx::query(statement).execute(&server.app.db).await.unwrap();
    assert!(done.rows_affected() > 0, "no row was changed by: {statement}");
}

/// A part of a compact JWS as JSON: 0 is the header, 1 the claims.
pub fn part(token: &str, index: usize) -> Value {
    let text = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

/// The claims of a token, believed without a check.
pub fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The names of an object's members.
pub fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Requires the answer of RFC 6749 section 5.2 with this status and code, and nothing beside it.
#[track_caller]
pub fn assert_error(answer: &Answer, status: u16, error: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
    assert_eq!(answer.body["error"], error, "{}", answer.text);
    assert_eq!(members(&answer.body), ["error", "error_description"]);
    assert!(!answer.text_of("error_description").is_empty());
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(!answer.header("x-request-id").is_empty());
}

/// Credentials written so far.
pub async fn credentials(server: &Server) -> i64 {
    server.count("select count(*) from credentials").await
}

/// Every route that the sources name, relative to its mount.
pub fn all_routes() -> Vec<Route> {
    let mut found = Vec::new();
    let mut open = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.extend(routes(&std::fs::read_to_string(path).unwrap()));
        }
    }
    found.sort();
    assert!(found.len() > 50, "the sources name more routes than these: {found:?}");
    found
}
