//! The document of the API in the form of OpenAPI 3.1: what the handlers say of themselves, put together and completed.
//! The page for people and the collection for Postman are made from it.
mod complete;
mod page;
mod postman;
pub mod routes;

pub use postman::collection;

use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::kit::http::health;
use crate::{
    agents, api_keys, audit, authorizations, clients, delegations, issuers, keys, oauth, policies, signals,
    tokens, users,
};

/// What the capabilities say of their routes: the beginning of their operations' ids, the heading under which they
/// stand, what it is about, and the routes themselves.
fn parts() -> Vec<(&'static str, &'static str, &'static str, utoipa::openapi::OpenApi)> {
    let mut own = agents::routes::Api::openapi();
    own.merge(agents::routes::SelfApi::openapi());
    let mut people = users::routes::Api::openapi();
    people.merge(users::routes::LinkApi::openapi());
    let mut identities = agents::routes::IdentityApi::openapi();
    identities.merge(agents::routes::DiscoveryApi::openapi());
    vec![
        ("agents", "Agents", "The identities of a tenant.", own),
        ("identities", "Identities", "Identities by themselves, and those that sources report.", identities),
        ("api_keys", "API keys", "What agents obtain tokens with.", api_keys::routes::Api::openapi()),
        (
            "policies",
            "Credential policies",
            "Ceilings over what is issued.",
            policies::routes::Api::openapi(),
        ),
        ("clients", "OAuth clients", "Programs that ask for tokens.", clients::routes::Api::openapi()),
        ("trusted_issuers", "Trusted issuers", "Who vouches for workloads.", issuers::routes::Api::openapi()),
        ("credentials", "Credentials", "The records of issued tokens.", tokens::routes::Api::openapi()),
        (
            "delegations",
            "Delegation",
            "Who may act for whom, and who did.",
            delegations::routes::Api::openapi(),
        ),
        ("users", "Users", "The people in whose name tokens are issued.", people),
        ("consents", "Consents", "What people agreed to.", authorizations::routes::Api::openapi()),
        ("signals", "Signals", "What was noticed about identities.", signals::routes::Api::openapi()),
        ("audit", "Audit log", "Who changed what, and who was refused.", audit::routes::Api::openapi()),
        ("oauth", "OAuth", "Tokens: obtained, looked at, revoked.", oauth::Api::openapi()),
        ("keys", "Keys", "What tokens are verified with.", keys::routes::Api::openapi()),
        ("server", "Server", "Probes and metrics.", health::Api::openapi()),
        ("document", "Document", "This document.", routes::Api::openapi()),
    ]
}

/// The document.
pub fn document() -> Value {
    let (mut tags, mut paths, mut schemas) = (Vec::new(), Map::new(), Map::new());
    for (name, tag, about, api) in parts() {
        tags.push(json!({ "name": tag, "description": about }));
        let mut part = serde_json::to_value(&api).unwrap_or_default();
        for (path, item) in members(&mut part["paths"]) {
            for (method, mut operation) in members(&mut item.clone()) {
                let id = operation["operationId"].as_str().unwrap_or_default();
                operation["operationId"] = json!(format!("{name}_{id}"));
                operation["tags"] = json!([tag]);
                paths.entry(&path).or_insert_with(|| json!({}))[method] = operation;
            }
        }
        schemas.extend(members(&mut part["components"]["schemas"]));
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Chancery",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": tags,
        "paths": paths,
        "components": { "schemas": schemas },
    });
    complete::complete(&mut document);
    document
}

const DESCRIPTION: &str = "An identity server for AI agents.\n\n\
    Admin routes answer at the root and again under `/api/v1`. Every answer carries `X-Request-ID`: the caller's own, or a \
    new one. Errors of `/oauth2/` are those of RFC 6749, all others problem documents of RFC 9457. Members that a request \
    has beyond those described are ignored; answers may have more members one day. No member of an answer is null.";

/// Takes the members out of an object.
fn members(object: &mut Value) -> Map<String, Value> {
    object.as_object_mut().map(std::mem::take).unwrap_or_default()
}
