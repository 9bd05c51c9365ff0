//! Reads what the tests ask of a compose file, with its variables filled in.

use std::collections::BTreeMap;

use serde_json::Value;

pub(crate) struct Compose {
    pub(crate) raw: String,
    /// The variables without which nothing starts.
    pub(crate) required: Vec<String>,
    document: Value,
}

impl Compose {
    pub(crate) fn parse(raw: &str) -> Self {
        let mut required = Vec::new();
        let document = serde_saphyr::from_str(&filled(raw, &mut required)).unwrap();
        required.sort();
        required.dedup();
        Self { raw: raw.to_owned(), required, document }
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.document["services"].as_object().unwrap().iter().map(|(name, service)| (name.as_str(), service))
    }

    #[track_caller]
    pub(crate) fn service(&self, name: &str) -> &Value {
        self.document.pointer(&format!("/services/{name}")).unwrap_or_else(|| panic!("no service {name}"))
    }

    pub(crate) fn has(&self, pointer: &str) -> bool {
        self.document.pointer(pointer).is_some()
    }

    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.document.pointer(pointer).unwrap().as_str().unwrap()
    }
}

/// A service's environment as the container sees it.
pub(crate) fn environment(service: &Value) -> BTreeMap<String, String> {
    let value = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    service["environment"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, text)| (name.clone(), value(text)))
        .collect()
}

/// A list of texts, empty where there is none.
pub(crate) fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// The members of a list or the keys of a map.
pub(crate) fn names(value: &Value) -> Vec<String> {
    value.as_object().map_or_else(|| strings(value), |map| map.keys().cloned().collect())
}

/// Fills `${NAME:-default}` with the default and `${NAME:?why}` with a value made up for the test.
fn filled(raw: &str, required: &mut Vec<String>) -> String {
    let mut parts = raw.split("${");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').unwrap();
        if let Some((_, default)) = variable.split_once(":-") {
            text.push_str(default);
        } else {
            let name = variable.split_once(":?").unwrap_or_else(|| panic!("no default: {variable}")).0;
            text.push_str(if name == "ISSUER" { "https://id.example.com" } else { "0123456789abcdef" });
            required.push(name.to_owned());
        }
        text.push_str(rest);
    }
    text
}
