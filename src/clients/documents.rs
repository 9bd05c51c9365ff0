//! Clients that no administrator registered: their `client_id` is the https URL of a document that describes them (OAuth
//! Client ID Metadata Document). Nothing of it is stored, and a row of that name always wins.

use serde::Deserialize;
use serde_json::{Value, json};
use time::Duration;
use uuid::Uuid;

use super::evidence::Evidence;
use super::grant_types::{AUTHORIZATION_CODE, REFRESH_TOKEN};
use super::types::{AuthMethod, Client, ClientType, DESCRIBED, Dpop, Secrets};
use super::{evidence, redirect_uris};
use crate::access::scope::Scopes;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::config::Limits;
use crate::kit::cx::Tenant;
use crate::kit::error::{Kind, Result, refuse};
use crate::kit::http::limits::{check_json, check_text};
use crate::kit::outbound::{Failed, Slots, Target};
use crate::tokens::Reuse;

/// Longest URL, in bytes.
const LONGEST_ID: usize = 255;

/// Largest document, in bytes.
const LARGEST: usize = 5120;

/// Most documents in memory.
const MOST: usize = 1000;

/// How long a document is believed when its owner does not say, and between what bounds he may.
const KEPT: u64 = 3600;
const KEPT_BETWEEN: (u64, u64) = (60, 86_400);

/// How long it is believed that there is no usable document, and that nobody answers.
const NONE_KEPT: Duration = Duration::seconds(60);
const SILENCE_KEPT: Duration = Duration::seconds(10);

/// What documents said lately.
#[derive(Debug)]
pub struct Documents(Slots<Option<(Found, Time)>>);

impl Default for Documents {
    fn default() -> Self {
        Self(Slots::new(MOST))
    }
}

/// What came of a fetch, until the time beside it.
#[derive(Clone, Debug)]
enum Found {
    Client(Box<Client>),
    Nothing,
    Silence,
}

/// A document, as far as it is read.
#[derive(Debug, Deserialize)]
struct Document {
    client_id: String,
    client_name: String,
    redirect_uris: Vec<String>,
    token_endpoint_auth_method: Option<String>,
    grant_types: Option<Vec<String>>,
    response_types: Option<Vec<String>>,
    scope: Option<String>,
    client_secret: Option<Value>,
    client_secret_expires_at: Option<Value>,
}

/// A client for authorization and what follows from it: one that is registered or, where none has that name, one that a
/// document describes. Nothing else takes the second kind. It has neither tenant nor row: the person who authorizes it
/// brings the tenant.
pub async fn for_authorization(app: &App, client_id: &str, now: Time) -> Result<Option<Evidence>> {
    match evidence(app, client_id).await? {
        Some(registered) => Ok(Some(registered)),
        None => described(app, client_id, now).await,
    }
}

/// The client that the document at this URL describes, if the server takes such clients.
async fn described(app: &App, client_id: &str, now: Time) -> Result<Option<Evidence>> {
    if !may_be_described(app, client_id) {
        return Ok(None);
    }
    let slot = app.documents.0.of(client_id);
    let (outbound, url, limits) = (app.outbound.clone(), client_id.to_owned(), app.config.limits.clone());
    let is_due = move |known: &Option<(Found, Time)>| known.as_ref().is_none_or(|(_, until)| *until <= now);
    let renew = move |_| async move {
        Some(match outbound.get(&url, LARGEST).await {
            Ok(fetched) => match client(&url, &fetched.body, &limits, now) {
                Ok(client) => (Found::Client(Box::new(client)), now + kept(fetched.max_age)),
                Err(why) => {
                    tracing::warn!(url, why, "a client's metadata document is not usable");
                    (Found::Nothing, now + NONE_KEPT)
                }
            },
            Err(Failed::Refused) => (Found::Nothing, now + NONE_KEPT),
            Err(Failed::Unreachable) => (Found::Silence, now + SILENCE_KEPT),
        })
    };
    match slot.renewed(is_due, renew).await {
        Some((Found::Client(client), _)) => Ok(Some(Evidence { client: *client, holding: None })),
        Some((Found::Silence, _)) | None => {
            let why = "the client's metadata document could not be fetched; try again shortly";
            Err(refuse(Kind::Unavailable, why))
        }
        Some((Found::Nothing, _)) => Ok(None),
    }
}

/// Whether the text may be such a client's id, before anything is read or fetched.
pub fn may_be_described(app: &App, client_id: &str) -> bool {
    let settings = &app.config.clients;
    settings.metadata_documents
        && is_url(client_id)
        && settings.may_describe(client_id)
        && app.outbound.check(client_id).is_ok()
}

/// Whether a `client_id` is an https URL with a path and without a query. No registered client has such a name.
fn is_url(client_id: &str) -> bool {
    client_id.len() <= LONGEST_ID
        && Target::parse(client_id)
            .is_ok_and(|target| target.url().path() != "/" && target.url().query().is_none())
}

fn kept(max_age: Option<u64>) -> Duration {
    let seconds = max_age.unwrap_or(KEPT).clamp(KEPT_BETWEEN.0, KEPT_BETWEEN.1);
    Duration::seconds(i64::try_from(seconds).unwrap_or(0))
}

/// The client of a document, or what is wrong with it.
fn client(url: &str, text: &[u8], limits: &Limits, now: Time) -> Result<Client, &'static str> {
    check_json(text, limits).map_err(|_| "it is no JSON within the limits")?;
    let document: Document = serde_json::from_slice(text)
        .map_err(|_| "client_id, client_name or redirect_uris is missing, or a member has the wrong type")?;
    check(&document, url, limits)?;
    let mut grant_types = vec![AUTHORIZATION_CODE.to_owned()];
    if document.grant_types.iter().flatten().any(|grant| grant == REFRESH_TOKEN) {
        grant_types.push(REFRESH_TOKEN.to_owned());
    }
    let scopes = Scopes::parse(document.scope.as_deref().unwrap_or_default(), limits.scopes);
    let scopes = scopes.map_err(|_| "its scope is malformed")?.without_reserved();
    Ok(Client {
        id: Uuid::nil(),
        tenant: Tenant { account_id: String::new(), project_id: String::new() },
        client_id: document.client_id,
        name: document.client_name,
        description: String::new(),
        client_type: ClientType::Public,
        auth_method: AuthMethod::None,
        secrets: Secrets::default(),
        jwks: None,
        jwks_uri: None,
        grant_types,
        scopes: scopes.as_slice().to_vec(),
        redirect_uris: document.redirect_uris,
        access_token_ttl: 0,
        refresh_token_ttl: 0,
        refresh_token_reuse: Reuse::default(),
        allowed_audiences: Vec::new(),
        resources: Vec::new(),
        token_profile: None,
        dpop: Dpop::default(),
        identity_id: None,
        registration_source: DESCRIBED.to_owned(),
        software_id: String::new(),
        software_version: String::new(),
        contacts: Vec::new(),
        metadata: json!({}),
        is_active: true,
        epoch: 0,
        tenant_active: true,
        created_by: String::new(),
        created_at: now,
        updated_at: now,
    })
}

fn check(document: &Document, url: &str, limits: &Limits) -> Result<(), &'static str> {
    if document.client_id != url {
        return Err("its client_id is not its URL, byte for byte");
    }
    let name = &document.client_name;
    if name.trim().is_empty() || check_text("client_name", name, limits).is_err() {
        return Err("its client_name is blank or too long");
    }
    let uris = &document.redirect_uris;
    if uris.is_empty() || uris.len() > limits.list_items || redirect_uris::check(uris, limits).is_err() {
        return Err("its redirect_uris are none or not fit");
    }
    if document.client_secret.is_some() || document.client_secret_expires_at.is_some() {
        return Err("it holds a secret, which everybody can read");
    }
    let method = document.token_endpoint_auth_method.as_deref();
    if method.is_some_and(|method| method != AuthMethod::None.as_str()) {
        return Err("its token_endpoint_auth_method is not none");
    }
    let lacks = |list: &Option<Vec<String>>, name: &str| {
        list.as_ref().is_some_and(|list| !list.iter().any(|one| one == name))
    };
    if lacks(&document.grant_types, AUTHORIZATION_CODE) || lacks(&document.response_types, "code") {
        return Err("its grant_types or response_types leave out the authorization code");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://app.example/client.json";
    const NOW: Time = time::macros::datetime!(2026-12-01 12:00:00 UTC);

    fn document() -> Value {
        json!({
            "client_id": URL, "client_name": "App", "redirect_uris": ["http://127.0.0.1:3000/cb"],
            "token_endpoint_auth_method": "none", "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"], "scope": "data:read nhi:manage", "logo_uri": "https://app.example/l.png",
        })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut document = document();
        match value {
            Value::Null => drop(document.as_object_mut().unwrap().remove(name)),
            value => document[name] = value,
        }
        document
    }

    fn read(document: &Value) -> Result<Client, &'static str> {
        client(URL, document.to_string().as_bytes(), &Limits::default(), NOW)
    }

    #[test]
    fn a_document_makes_a_public_client_without_reserved_scopes() {
        let client = read(&document()).unwrap();
        assert_eq!(client.client_id, URL);
        assert!(client.is_public() && client.is_described() && client.is_active);
        assert_eq!(client.scopes, ["data:read"]);
        assert_eq!(client.grant_types, ["authorization_code", "refresh_token"]);
        for name in ["token_endpoint_auth_method", "response_types", "scope"] {
            read(&with(name, Value::Null)).unwrap();
        }
        assert_eq!(read(&with("grant_types", Value::Null)).unwrap().grant_types, ["authorization_code"]);
        let all = json!(["authorization_code", "client_credentials", "api_key"]);
        assert_eq!(read(&with("grant_types", all)).unwrap().grant_types, ["authorization_code"]);
    }

    #[test]
    fn a_document_that_could_mean_somebody_else_or_something_else_is_refused() {
        for (name, value) in [
            ("client_id", Value::Null),
            ("client_id", json!("https://app.example/client.json/")),
            ("client_id", json!("https://APP.example/client.json")),
            ("client_id", json!("https://app.example/client%2Ejson")),
            ("client_id", json!([URL])),
            ("client_name", Value::Null),
            ("client_name", json!(" ")),
            ("client_name", json!(7)),
            ("redirect_uris", Value::Null),
            ("redirect_uris", json!([])),
            ("redirect_uris", json!(["http://app.example/cb"])),
            ("redirect_uris", json!(["javascript:alert(1)"])),
            ("redirect_uris", json!("https://app.example/cb")),
            ("token_endpoint_auth_method", json!("private_key_jwt")),
            ("token_endpoint_auth_method", json!("client_secret_basic")),
            ("client_secret", json!("x")),
            ("client_secret_expires_at", json!(0)),
            ("grant_types", json!([])),
            ("grant_types", json!(["client_credentials"])),
            ("response_types", json!(["token"])),
            ("scope", json!("a\u{7f}")),
        ] {
            assert!(read(&with(name, value.clone())).is_err(), "{name} {value}");
        }
        for text in ["", "[]", "null", "{", "<html>"] {
            assert!(client(URL, text.as_bytes(), &Limits::default(), NOW).is_err(), "{text}");
        }
    }

    #[test]
    fn only_urls_with_a_path_are_ids() {
        for good in [URL, "https://app.example/x/", "https://app.example:8443/x"] {
            assert!(is_url(good), "{good}");
        }
        for bad in [
            "app",
            "https://app.example",
            "https://app.example/",
            "https://app.example/x?y",
            "https://app.example/x#y",
            "https://user@app.example/x",
            "https://app.example/x/../y",
            "https://app.example/./y",
            "http://app.example/x",
            "https://App.example/x",
        ] {
            assert!(!is_url(bad), "{bad}");
        }
        assert!(!is_url(&format!("https://app.example/{}", "x".repeat(255))));
    }

    #[test]
    fn how_long_it_is_kept_has_bounds() {
        let seconds = |age| kept(age).whole_seconds();
        assert_eq!([None, Some(0), Some(600), Some(u64::MAX)].map(seconds), [3600, 60, 600, 86_400]);
    }
}
