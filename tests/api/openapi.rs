//! The document of the API, and the page made from it.

use insta::assert_json_snapshot;
use serde_json::Value;

use crate::server::Server;

const DOCUMENT: &str = "/openapi.json";

/// Every schema that an answer of some operation leads to, by its name.
fn answered(document: &Value) -> Vec<(String, Value)> {
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut open: Vec<String> = Vec::new();
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            open.extend(named(&operation["responses"]));
        }
    }
    let mut found: Vec<(String, Value)> = Vec::new();
    while let Some(name) = open.pop() {
        if found.iter().all(|(known, _)| *known != name) {
            open.extend(named(&schemas[&name]));
            found.push((name.clone(), schemas[&name].clone()));
        }
    }
    found
}

fn named(part: &Value) -> Vec<String> {
    let text = part.to_string();
    let names = text.split("#/components/schemas/").skip(1);
    names.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_document_is_locked() {
    let server = Server::new().await;
    let answer = server.get(DOCUMENT).send().await.expect(200);
    assert_eq!(answer.header("content-type"), "application/json");
    // After a change of routes or types `make openapi` writes it anew.
    assert_json_snapshot!("openapi", answer.body);
}

#[tokio::test]
async fn the_document_needs_no_credential_and_looks_at_none() {
    let server = Server::with(|config| config.admin_auth = chancery::kit::config::AdminAuth::Required).await;
    let answer = server.get(DOCUMENT).bearer("sk_live_unknown").send().await.expect(200);
    assert_eq!(answer.body["openapi"], "3.1.0");
    server.get("/docs").bearer("sk_live_unknown").send().await.expect(200);
}

#[tokio::test]
async fn operation_ids_are_unique_and_references_lead_somewhere() {
    let server = Server::new().await;
    let document = server.get(DOCUMENT).send().await.expect(200).body;
    let mut ids = Vec::new();
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
            assert_ne!(operation["summary"].as_str().unwrap_or_default(), "", "{operation}");
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

#[tokio::test]
async fn no_answer_is_described_with_a_null() {
    let server = Server::new().await;
    let document = server.get(DOCUMENT).send().await.expect(200).body;
    let answered = answered(&document);
    assert!(answered.len() > 30);
    for (name, schema) in answered {
        assert!(!schema.to_string().contains("\"null\""), "{name}: {schema}");
    }
}

/// The members of answers of which the document says nothing but their name: what callers put there, the facts of rows
/// and signals, and what RFCs let be of several forms.
const FREE: [&str; 13] = [
    "Agent.capabilities",
    "Agent.labels",
    "Agent.metadata",
    "ApiKey.metadata",
    "AuditRow.metadata",
    "OAuthClientMembers.jwks",
    "OAuthClientMembers.metadata",
    "Signal.payload",
    "TokenClaims.capabilities",
    "TokenClaims.may_act",
    "TrustedIssuer.jwks",
    "TrustedIssuer.required_claims",
    "User.metadata",
];

#[tokio::test]
async fn every_member_of_an_answer_is_described_or_free_for_a_reason() {
    let server = Server::new().await;
    let document = server.get(DOCUMENT).send().await.expect(200).body;
    let free = |member: &Value| {
        let schema = member.get("items").unwrap_or(member);
        let described = ["$ref", "properties", "allOf", "oneOf"].iter().any(|word| !schema[word].is_null());
        !described && (schema["type"].is_null() || schema["type"] == "object")
    };
    let mut found = Vec::new();
    for (name, schema) in answered(&document) {
        let parts = schema["allOf"].as_array().cloned().unwrap_or_default();
        for part in parts.iter().chain([&schema]) {
            let members = part["properties"].as_object().into_iter().flatten();
            found.extend(
                members.filter(|(_, member)| free(member)).map(|(member, _)| format!("{name}.{member}")),
            );
        }
    }
    found.sort();
    assert_eq!(found, FREE);
}

#[tokio::test]
async fn the_page_shows_every_operation_and_loads_nothing() {
    let server = Server::new().await;
    let page = server.get("/docs").send().await.expect(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    for forbidden in ["<script", "<iframe", "<link", "src=", "http://", "https://"] {
        assert!(!page.text.contains(forbidden), "{forbidden}");
    }
    let document = server.get(DOCUMENT).send().await.expect(200).body;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let heading = format!(">{} {path}</h3>", method.to_uppercase());
            assert!(page.text.contains(&heading), "{heading}");
        }
    }
    for target in page.text.split("href=\"#").skip(1) {
        let target = target.split('"').next().unwrap();
        assert!(page.text.contains(&format!("id=\"{target}\"")), "{target}");
    }
}
