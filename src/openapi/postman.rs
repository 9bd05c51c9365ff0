//! The document as a collection of Postman (format 2.1): a folder for each heading, a request for each operation.

use serde_json::{Map, Value, json};

/// The collection. `{{base}}`, `{{key}}`, `{{account}}` and `{{project}}` are its variables.
pub fn collection(document: &Value) -> Value {
    let folder = |tag: &Value| {
        let paths = document["paths"].as_object().into_iter().flatten();
        let all = paths.flat_map(|(path, item)| {
            item.as_object().into_iter().flatten().map(move |(method, operation)| (path, method, operation))
        });
        let own = all.filter(|(_, _, operation)| operation["tags"][0] == tag["name"]);
        let items: Vec<Value> =
            own.map(|(path, method, operation)| request(path, method, operation)).collect();
        json!({ "name": tag["name"], "description": tag["description"], "item": items })
    };
    let folders: Vec<Value> = document["tags"].as_array().into_iter().flatten().map(folder).collect();
    let variable = |key: &str, value: &str| json!({ "key": key, "value": value });
    json!({
        "info": {
            "name": "Chancery",
            "description": document["info"]["description"],
            "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
        },
        "auth": { "type": "bearer", "bearer": [{ "key": "token", "value": "{{key}}", "type": "string" }] },
        "variable": [
            variable("base", "http://127.0.0.1:8899"),
            variable("key", ""),
            variable("account", "acme"),
            variable("project", "demo"),
        ],
        "item": folders,
    })
}

fn request(path: &str, method: &str, operation: &Value) -> Value {
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let at = |place: &'static str| parameters.iter().filter(move |parameter| parameter["in"] == place);
    let optional = |parameter: &Value| {
        json!({
            "key": parameter["name"], "value": "", "description": parameter["description"],
            "disabled": parameter["required"] != true,
        })
    };
    let segments: Vec<String> =
        path.trim_start_matches('/').split('/').map(|part| part.replace('{', ":").replace('}', "")).collect();
    let mut headers: Vec<Value> = at("header").map(optional).collect();
    if operation.get("servers").is_some() {
        headers.push(json!({ "key": "X-Account-ID", "value": "{{account}}" }));
        headers.push(json!({ "key": "X-Project-ID", "value": "{{project}}" }));
    }
    let mut request = json!({
        "method": method.to_uppercase(),
        "description": operation["summary"],
        "header": headers,
        "url": {
            "raw": format!("{{{{base}}}}/{}", segments.join("/")),
            "host": ["{{base}}"],
            "path": segments,
            "query": at("query").map(optional).collect::<Vec<_>>(),
            "variable": at("path").map(|one| json!({ "key": one["name"], "value": "" })).collect::<Vec<_>>(),
        },
    });
    let media = operation["requestBody"]["content"].as_object().map(Map::keys).into_iter().flatten();
    if media.into_iter().any(|media| media == "application/json") {
        request["body"] = json!({ "mode": "raw", "raw": "{}", "options": { "raw": { "language": "json" } } });
    }
    json!({ "name": operation["summary"], "request": request })
}
