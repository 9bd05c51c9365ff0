//! The parameters of the OAuth endpoints: those that the document of the API has, and those that the sources read.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{files, read};

/// The sources of the token endpoint, and what they share with others.
const OF_TOKENS: [&str; 4] =
    ["src/oauth/token.rs", "src/oauth/grants/", "src/oauth/client_auth.rs", "src/oauth/audience.rs"];

/// The names that `params.rs` knows.
pub(crate) fn known() -> BTreeSet<String> {
    let source = read("src/oauth/params.rs");
    let (_, list) = source.split_once("const KNOWN: ").expect("the list of known parameters");
    let (_, list) = list.split_once("= [").expect("its beginning");
    let list = list.split(']').next().unwrap_or_default();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Those of them that the token endpoint names.
pub(crate) fn of_tokens() -> BTreeSet<String> {
    let sources = files("src/oauth", "rs").into_iter();
    let sources =
        sources.filter(|(path, _)| OF_TOKENS.iter().any(|own| path.to_string_lossy().contains(own)));
    let sources: String = sources.map(|(_, text)| text).collect();
    // There "token" is what the audit log is about, and no parameter.
    let named = |name: &String| name != "token" && sources.contains(&format!("\"{name}\""));
    known().into_iter().filter(named).collect()
}

/// The members of a schema and of its parts.
pub(crate) fn described(document: &Value, schema: &Value) -> BTreeSet<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return described(document, document.pointer(&reference[1..]).unwrap_or(&Value::Null));
    }
    let mut names: BTreeSet<_> =
        schema["properties"].as_object().into_iter().flat_map(|own| own.keys().cloned()).collect();
    for part in schema["allOf"].as_array().into_iter().flatten() {
        names.extend(described(document, part));
    }
    names
}

/// The parameters of every OAuth endpoint, in a body or in the address.
pub(crate) fn of_endpoints(document: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let paths = document["paths"].as_object().into_iter().flatten();
    for (_, item) in paths.filter(|(path, _)| path.starts_with("/oauth2/")) {
        for operation in item.as_object().into_iter().flat_map(|item| item.values()) {
            let media =
                operation["requestBody"]["content"].as_object().into_iter().flat_map(|media| media.values());
            media.for_each(|media| names.extend(described(document, &media["schema"])));
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let queries = parameters.filter(|parameter| parameter["in"] == "query");
            names.extend(queries.filter_map(|parameter| parameter["name"].as_str()).map(str::to_owned));
        }
    }
    names
}
