//! The document as a page for people: plain HTML without scripts and without anything from elsewhere.

use std::fmt::Write;

use serde_json::{Map, Value};

/// The methods in the order in which a page shows them.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}\
    h3,code,td:first-child{font-family:ui-monospace,monospace}h2{border-bottom:1px solid}h3{margin:2rem 0 .25rem}\
    table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.25rem .5rem;\
    border-top:1px solid #8888}:root{color-scheme:light dark}nav a{margin-right:1rem}";

/// The whole page.
pub(super) fn page(document: &Value) -> String {
    let mut page = Page { text: String::new() };
    page.add(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>API of Chancery</title>",
    );
    page.add("<meta name=\"viewport\" content=\"width=device-width\"><style>");
    page.add(STYLE);
    page.add("</style></head><body><main><h1>API of Chancery</h1>");
    for paragraph in text(&document["info"]["description"]).split("\n\n") {
        page.element("p", paragraph);
    }
    page.add("<p>Programs read <a href=\"/openapi.json\"><code>/openapi.json</code></a>.</p><nav>");
    let tags: Vec<&str> = list(&document["tags"]).iter().map(|tag| text(&tag["name"])).collect();
    for tag in tags.iter().chain(&["Schemas"]) {
        let _ = write!(page.text, "<a href=\"#{}\">{tag}</a>", anchor(tag));
    }
    page.add("</nav>");
    for tag in list(&document["tags"]) {
        page.heading("h2", text(&tag["name"]));
        page.element("p", text(&tag["description"]));
        for (path, item) in object(&document["paths"]) {
            for method in METHODS.iter().filter(|method| item.get(method).is_some()) {
                if item[method]["tags"][0] == tag["name"] {
                    page.operation(document, method, path, &item[method]);
                }
            }
        }
    }
    page.heading("h2", "Schemas");
    for (name, schema) in object(&document["components"]["schemas"]) {
        page.schema(name, schema);
    }
    page.add("</main></body></html>\n");
    page.text
}

struct Page {
    text: String,
}

impl Page {
    fn add(&mut self, html: &str) {
        self.text.push_str(html);
    }

    fn element(&mut self, name: &str, text: &str) {
        let _ = write!(self.text, "<{name}>{}</{name}>", escape(text));
    }

    fn heading(&mut self, name: &str, text: &str) {
        let _ = write!(self.text, "\n<{name} id=\"{}\">{}</{name}>", anchor(text), escape(text));
    }

    fn operation(&mut self, document: &Value, method: &str, path: &str, operation: &Value) {
        self.heading("h3", &format!("{} {path}", method.to_uppercase()));
        self.element("p", text(&operation["summary"]));
        if let Some(more) = operation["description"].as_str() {
            self.element("p", more);
        }
        let admin = list(&operation["security"]).iter().filter_map(|one| one["admin"].as_array());
        let scopes: Vec<&str> = admin.clone().flatten().filter_map(Value::as_str).collect();
        match (scopes.as_slice(), admin.count()) {
            ([], 0) => {}
            ([], _) => self.element("p", "Needs a credential; any scope will do."),
            (scopes, _) => self.element("p", &format!("Needs {}.", scopes.join(" or "))),
        }
        self.add("<table><tr><th scope=\"col\">Part</th><th scope=\"col\">What</th></tr>");
        for parameter in list(&operation["parameters"]) {
            let parameter = resolve(document, parameter);
            let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
            let need = if parameter["required"] == true { ", required" } else { "" };
            let about = text(&parameter["description"]);
            self.row(&format!("{name} ({place}{need})"), &kind(&parameter["schema"]), about);
        }
        for (media, content) in object(&operation["requestBody"]["content"]) {
            self.row("body", &kind(&content["schema"]), media);
        }
        for (status, answer) in object(&operation["responses"]) {
            let answer = resolve(document, answer);
            let contents = object(&answer["content"]);
            let kinds: Vec<String> = contents.map(|(_, content)| kind(&content["schema"])).collect();
            self.row(status, &kinds.join(", "), text(&answer["description"]));
        }
        self.add("</table>");
    }

    fn schema(&mut self, name: &str, schema: &Value) {
        self.heading("h3", name);
        self.element("p", text(&schema["description"]));
        self.add("<table><tr><th scope=\"col\">Member</th><th scope=\"col\">What</th></tr>");
        self.members(schema);
        self.add("</table>");
    }

    /// The members of an object, or what a schema is instead of one.
    fn members(&mut self, schema: &Value) {
        let parts = list(&schema["allOf"]);
        for part in parts {
            match part.get("$ref") {
                Some(_) => self.row("all of", &kind(part), ""),
                None => self.members(part),
            }
        }
        let required = list(&schema["required"]);
        for (member, about) in object(&schema["properties"]) {
            let need = if required.iter().any(|name| name == member) { ", required" } else { "" };
            self.row(&format!("{member}{need}"), &kind(about), text(&about["description"]));
        }
        if parts.is_empty() && schema.get("properties").is_none() {
            self.row("", &kind(schema), "");
        }
    }

    fn row(&mut self, name: &str, kind: &str, about: &str) {
        let _ = write!(self.text, "<tr><td>{}</td><td>{kind} {}</td></tr>", escape(name), escape(about));
    }
}

/// What a schema allows, as HTML.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        return format!("<a href=\"#{}\">{}</a>", anchor(name), escape(name));
    }
    let choices = list(&schema["oneOf"]);
    if !choices.is_empty() {
        return choices.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    let words = list(&schema["enum"]);
    if !words.is_empty() {
        let word = |word: &Value| format!("<code>{}</code>", escape(text(word)));
        return words.iter().map(word).collect::<Vec<_>>().join(", ");
    }
    let names = match &schema["type"] {
        Value::String(one) => one.clone(),
        Value::Array(several) => several.iter().map(text).collect::<Vec<_>>().join(" or "),
        _ => "anything".to_owned(),
    };
    match (schema.get("items"), schema["format"].as_str()) {
        (Some(items), _) => format!("<code>{}</code> of {}", escape(&names), kind(items)),
        (None, Some(format)) => format!("<code>{}</code> ({})", escape(&names), escape(format)),
        (None, None) => format!("<code>{}</code>", escape(&names)),
    }
}

/// What a reference into the document stands for.
fn resolve<'a>(document: &'a Value, part: &'a Value) -> &'a Value {
    let pointer = part["$ref"].as_str().and_then(|name| name.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(part)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// A name as the target of a link.
fn anchor(text: &str) -> String {
    text.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' }).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
