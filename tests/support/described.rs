//! An answer against the document of the API: its status is named there, and every member of its body is described.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

static DOCUMENT: LazyLock<Value> = LazyLock::new(chancery::openapi::document);

/// Who else answers: the router, where a path or a method is not there.
const OF_THE_ROUTER: [&str; 2] = ["404", "405"];

/// Fails for an answer that the document does not describe.
#[track_caller]
pub fn check(method: &str, path: &str, status: u16, media: &str, body: &Value) {
    let status = status.to_string();
    let Some((named, operation)) = operation(method, path) else { return };
    let answer = follow(&operation["responses"][&status]);
    if answer.is_null() && OF_THE_ROUTER.contains(&status.as_str()) {
        return;
    }
    let place = format!("{method} {named} {status}");
    assert!(!answer.is_null(), "{place} is not in the document of the API");
    let media = media.split(';').next().unwrap_or_default();
    let described = &answer["content"][media]["schema"];
    if body.is_null() || media.is_empty() {
        return;
    }
    assert!(!described.is_null(), "{place}: {media} is not in the document of the API");
    let found = fits(described, body).err();
    assert_eq!(found, None, "{place} is not what the document of the API describes: {body}");
}

/// The operation that serves this path, and how the document writes the path.
fn operation(method: &str, path: &str) -> Option<(&'static str, &'static Value)> {
    let path = path.split('?').next()?;
    let path = path.strip_prefix("/api/v1").unwrap_or(path);
    let mut paths: Vec<_> = DOCUMENT["paths"].as_object()?.iter().collect();
    // A name in a path goes before a placeholder.
    paths.sort_by_key(|(template, _)| template.matches('{').count());
    let (template, item) = paths.into_iter().find(|(template, _)| serves(template, path))?;
    Some((template, item.get(method.to_ascii_lowercase())?))
}

fn serves(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template.zip(path).all(|(expected, found)| expected.starts_with('{') || expected == found)
}

fn follow(part: &'static Value) -> &'static Value {
    match part["$ref"].as_str() {
        Some(reference) => follow(DOCUMENT.pointer(&reference[1..]).unwrap_or(&Value::Null)),
        None => part,
    }
}

/// One of the shapes that a schema allows: everything that it and its parts say, put together.
#[derive(Clone, Default)]
struct Shape {
    types: Vec<&'static str>,
    values: Option<&'static Vec<Value>>,
    items: Option<&'static Value>,
    members: BTreeMap<&'static str, &'static Value>,
    required: Vec<&'static str>,
    others: Option<&'static Value>,
}

/// Every shape that a schema allows.
fn shapes(schema: &'static Value) -> Vec<Shape> {
    let schema = follow(schema);
    let mut shapes = vec![own_shape(schema)];
    for part in schema["allOf"].as_array().into_iter().flatten() {
        shapes = both(&shapes, &self::shapes(part));
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        shapes = both(&shapes, &choices.iter().flat_map(self::shapes).collect::<Vec<_>>());
    }
    shapes
}

fn own_shape(schema: &'static Value) -> Shape {
    let text = |value: &'static Value| value.as_str();
    let types = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(text).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let members = schema["properties"].as_object().into_iter().flatten();
    Shape {
        types,
        values: schema["enum"].as_array(),
        items: schema.get("items"),
        members: members.map(|(name, member)| (name.as_str(), member)).collect(),
        required: schema["required"].as_array().into_iter().flatten().filter_map(text).collect(),
        others: schema.get("additionalProperties"),
    }
}

/// Each of the first together with each of the second.
fn both(first: &[Shape], second: &[Shape]) -> Vec<Shape> {
    let pairs = first.iter().flat_map(|one| second.iter().map(move |other| (one.clone(), other.clone())));
    let join = |(mut one, other): (Shape, Shape)| {
        one.types.extend(other.types);
        one.members.extend(other.members);
        one.required.extend(other.required);
        one.values = one.values.or(other.values);
        one.items = one.items.or(other.items);
        one.others = one.others.or(other.others);
        one
    };
    pairs.map(join).collect()
}

/// Whether one of the shapes takes the value; else why the last did not.
fn fits(schema: &'static Value, value: &Value) -> Result<(), String> {
    let mut why = String::new();
    for shape in shapes(schema) {
        match takes(&shape, value) {
            Ok(()) => return Ok(()),
            Err(reason) => why = reason,
        }
    }
    Err(why)
}

fn takes(shape: &Shape, value: &Value) -> Result<(), String> {
    if !shape.types.is_empty() && !kinds(value).iter().any(|kind| shape.types.contains(kind)) {
        return Err(format!("{value} is none of {:?}", shape.types));
    }
    if shape.values.is_some_and(|values| !values.contains(value)) {
        return Err(format!("{value} is not one of the values"));
    }
    match value {
        Value::Array(items) => {
            items.iter().try_for_each(|item| shape.items.map_or(Ok(()), |schema| fits(schema, item)))
        }
        // Where no member is described, any may be there; tests/api/openapi.rs has the list of these.
        Value::Object(members) if !shape.members.is_empty() => object(shape, members),
        _ => Ok(()),
    }
}

fn object(shape: &Shape, members: &Map<String, Value>) -> Result<(), String> {
    if let Some(missing) = shape.required.iter().find(|name| !members.contains_key(**name)) {
        return Err(format!("{missing} is missing"));
    }
    for (name, member) in members {
        let schema = shape.members.get(name.as_str()).copied().or(shape.others);
        let schema = schema.ok_or_else(|| format!("{name} is not described"))?;
        fits(schema, member).map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(())
}

fn kinds(value: &Value) -> &'static [&'static str] {
    match value {
        Value::Null => &["null"],
        Value::Bool(_) => &["boolean"],
        Value::Number(number) if number.is_f64() => &["number"],
        Value::Number(_) => &["integer", "number"],
        Value::String(_) => &["string"],
        Value::Array(_) => &["array"],
        Value::Object(_) => &["object"],
    }
}
