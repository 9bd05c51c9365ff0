//! What holds for many operations and is said once: their errors, the tenant, ids in paths, and that no answer holds a
//! null.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

use super::members;
use crate::kit::http::problem::Document;
use crate::oauth::ErrorBody;

/// Statuses that every route may answer with: too many requests, a fault of ours, no database.
const ALWAYS: [u16; 3] = [429, 500, 503];

/// The statuses of errors in any surface.
const ERRORS: [u16; 12] = [400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 500, 503];

/// Completes the document.
pub(super) fn complete(document: &mut Value) {
    let mut paths = members(&mut document["paths"]);
    for (path, item) in &mut paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            parameters(path, operation);
            body(operation);
            responses(path, method, operation);
        }
    }
    document["paths"] = Value::Object(paths);
    let components = &mut document["components"];
    components["parameters"] = json!({
        "account": tenant("X-Account-ID", "The account of the tenant."),
        "project": tenant("X-Project-ID", "The project of the tenant."),
    });
    components["securitySchemes"] = json!({
        "admin": bearer("An admin key, or a token that carries one of the scopes named."),
        "token": bearer("A token."),
        "client": { "type": "http", "scheme": "basic", "description": "A client's id and secret; or as parameters." },
    });
    components["responses"] = errors();
    components["schemas"]["Problem"] = json!(Document::schema());
    components["schemas"]["OAuthError"] = json!(ErrorBody::schema());
    let mut schemas = Vec::new();
    Document::schemas(&mut schemas);
    for (name, schema) in schemas {
        components["schemas"][name] = json!(schema);
    }
    for schema in components["schemas"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        without_defaults(schema);
    }
    without_nulls(document);
    refer(&mut document["components"]["schemas"]);
}

/// The schema of a generic type repeats that of its argument, which has a name of its own.
fn refer(schemas: &mut Value) {
    for (name, schema) in schemas.as_object_mut().into_iter().flatten() {
        if let Some((_, argument)) = name.split_once('_') {
            schema["oneOf"][0] = json!({ "$ref": format!("#/components/schemas/{argument}") });
        }
    }
}

fn tenant(name: &str, about: &str) -> Value {
    let about = format!(
        "{about} An operator key needs it; with any other credential it only confirms the credential's own."
    );
    json!({ "name": name, "in": "header", "required": false, "description": about, "schema": { "type": "string" } })
}

fn bearer(about: &str) -> Value {
    json!({ "type": "http", "scheme": "bearer", "description": about })
}

/// Whether an operation asks for this credential.
fn asks_for(operation: &Value, scheme: &str) -> bool {
    let wanted = operation["security"].as_array().into_iter().flatten();
    wanted.into_iter().any(|one| one.get(scheme).is_some())
}

/// Ids in the path, the tenant, and where an admin route stands.
fn parameters(path: &str, operation: &mut Value) {
    let mut parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    if path.contains("{id}") {
        let id = json!({ "type": "string", "format": "uuid" });
        parameters.insert(0, json!({ "name": "id", "in": "path", "required": true, "schema": id }));
    }
    if asks_for(operation, "admin") {
        let reference = |name: &str| json!({ "$ref": format!("#/components/parameters/{name}") });
        parameters.extend([reference("account"), reference("project")]);
        operation["servers"] = json!([{ "url": "/" }, { "url": "/api/v1" }]);
    }
    for parameter in &mut parameters {
        // An empty value counts as absent.
        if parameter["in"] == "query" && parameter["required"] != true {
            parameter["allowEmptyValue"] = json!(true);
        }
    }
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
}

/// A body that may be left out is described as one that may be null. It is left out then, and not null.
fn body(operation: &mut Value) {
    let media = operation.pointer_mut("/requestBody/content").and_then(Value::as_object_mut);
    for media in media.into_iter().flat_map(Map::values_mut) {
        let schema = &mut media["schema"];
        if let Some(choices) =
            schema["oneOf"].as_array().filter(|choices| choices.contains(&json!({ "type": "null" })))
        {
            *schema = choices[0].clone();
        }
    }
}

/// The errors that follow from what an operation reads, beside those that its handler names.
fn responses(path: &str, method: &str, operation: &mut Value) {
    let (oauth, admin) = (path.starts_with("/oauth2/"), asks_for(operation, "admin"));
    let secured = admin || asks_for(operation, "token") || asks_for(operation, "client");
    let body = operation.get("requestBody").is_some();
    let mut statuses: BTreeSet<u16> = ALWAYS.into();
    if secured {
        statuses.extend([400, 401, 403]);
    }
    if body {
        statuses.extend([400, 408, 413, 415]);
    }
    if oauth {
        statuses.extend([400, 401, 403]);
    }
    if path.contains('{') {
        statuses.insert(404);
    }
    if !oauth && secured {
        statuses.insert(422);
        if method != "get" {
            statuses.extend([404, 409]);
        }
    }
    let shape = if oauth { "oauth" } else { "problem" };
    let answers = &mut operation["responses"];
    for status in statuses {
        let error = json!({ "$ref": format!("#/components/responses/{shape}_{status}") });
        if answers.get(status.to_string()).is_none() {
            answers[status.to_string()] = error;
        }
    }
    for (status, answer) in answers.as_object_mut().into_iter().flatten() {
        if answer["description"] == "" {
            answer["description"] = json!(reason(status));
        }
    }
}

fn reason(status: &str) -> &'static str {
    let status = StatusCode::from_bytes(status.as_bytes()).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or_default()
}

/// Every error in both shapes.
fn errors() -> Value {
    let mut responses = Map::new();
    let shapes =
        [("problem", "application/problem+json", "Problem"), ("oauth", "application/json", "OAuthError")];
    for (shape, media, schema) in shapes {
        for status in ERRORS {
            let text = |about: &str| json!({ "description": about, "schema": { "type": "string" } });
            let headers = match status {
                401 => json!({ "WWW-Authenticate": text("How to present a credential.") }),
                429 | 503 => {
                    json!({ "Retry-After": text("After how many seconds another try may succeed.") })
                }
                _ => json!({}),
            };
            let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
            let response = json!({
                "description": reason(&status.to_string()),
                "headers": headers,
                "content": { media: { "schema": schema } },
            });
            responses.insert(format!("{shape}_{status}"), response);
        }
    }
    Value::Object(responses)
}

/// What must be there has no default; the decoder's own is refused by a rule.
fn without_defaults(schema: &mut Value) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let members = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, member) in members.into_iter().flatten() {
        if required.contains(&json!(name)) {
            member.as_object_mut().map(|member| member.remove("default"));
        }
    }
}

/// No member of an answer is ever null: clients refuse that. What may be missing is not required instead.
fn without_nulls(document: &mut Value) {
    let mut open = Vec::new();
    for item in document["paths"].as_object().into_iter().flat_map(Map::values) {
        for operation in item.as_object().into_iter().flat_map(Map::values) {
            references(&operation["responses"], &mut open);
        }
    }
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop() {
        if seen.insert(name.clone()) {
            let schema = &mut document["components"]["schemas"][name];
            drop_null(schema);
            references(schema, &mut open);
        }
    }
}

/// The names of the schemas that a part of the document refers to.
fn references(part: &Value, to: &mut Vec<String>) {
    match part {
        Value::Object(members) => {
            let named = members.get("$ref").and_then(Value::as_str);
            to.extend(named.and_then(|name| name.strip_prefix("#/components/schemas/")).map(str::to_owned));
            members.values().for_each(|member| references(member, to));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, to)),
        _ => {}
    }
}

fn drop_null(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|one| one != "null");
                if let [one] = &types[..] {
                    let one = one.clone();
                    members.insert("type".to_owned(), one);
                }
            }
            let alone = members.len() == 1;
            if let Some(Value::Array(choices)) = members.get_mut("oneOf") {
                choices.retain(|one| one["type"] != "null");
                if let ([Value::Object(one)], true) = (&choices[..], alone) {
                    *members = one.clone();
                }
            }
            members.values_mut().for_each(drop_null);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_null),
        _ => {}
    }
}
