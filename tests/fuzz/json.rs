//! JSON bodies, and the limits that stand before the parser.

use chancery::kit::config::Limits;
use chancery::kit::http::extract::parse;
use chancery::kit::http::limits::check_json;
use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::inputs::{around, value};
use crate::run::{Judged, fuzz};

const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\\"",
    "\\u0000",
    "\\\\u0000",
    "1e308",
    "-",
    "name",
    "[[[[[[",
];

fn limits() -> Limits {
    Limits { json_depth: 6, list_items: 5, token_bytes: 2000, ..Limits::default() }
}

/// How deep a value is, whether every list and object is short enough, and whether its texts and numbers can be stored.
fn fits(value: &Value, depth: usize, limits: &Limits) -> bool {
    let text = |text: &str| !text.contains('\0') && text.len() <= limits.token_bytes;
    match value {
        Value::Null | Value::Bool(_) => true,
        Value::Number(number) => number.as_f64().is_some_and(|number| number.abs() < 1e308),
        Value::String(own) => text(own),
        Value::Array(items) => {
            depth < limits.json_depth
                && items.len() <= limits.list_items
                && items.iter().all(|item| fits(item, depth + 1, limits))
        }
        Value::Object(members) => {
            depth < limits.json_depth
                && members.len() <= limits.list_items
                && members.iter().all(|(name, item)| text(name) && fits(item, depth + 1, limits))
        }
    }
}

fn judge(body: &[u8]) -> Judged {
    let limits = limits();
    let Ok(read) = parse::<Map<String, Value>>(body, &limits) else { return Ok(false) };
    let value = Value::Object(read);
    prop_assert_eq!(serde_json::from_slice::<Value>(body).ok(), Some(value.clone()));
    prop_assert!(fits(&value, 0, &limits), "beyond the limits");
    Ok(true)
}

#[test]
fn bodies_that_are_taken_are_json_objects_within_the_limits() {
    let lawful = value(PIECES).prop_map(|value| value.to_string()).boxed();
    fuzz(&around(&lawful, PIECES), |text| judge(text.as_bytes()));
}

#[test]
fn bodies_of_any_bytes_are_read_or_refused() {
    let bytes = proptest::collection::vec(any::<u8>(), 0..40);
    let framed = (bytes, any::<bool>()).prop_map(|(bytes, framed)| {
        if framed { [b"{\"a\":\"", &bytes[..bytes.len().min(3)], b"\"}"].concat() } else { bytes }
    });
    fuzz(&framed, |body| judge(&body));
}

#[test]
fn what_keeps_the_limits_passes() {
    fuzz(&value(&["name", "a"]), |value| {
        let limits = limits();
        let text = value.to_string();
        let taken = check_json(text.as_bytes(), &limits).is_ok();
        // Within a text an escape is longer than what it stands for.
        if !text.contains('\\') {
            prop_assert_eq!(taken, fits(&value, 0, &limits), "{}", text);
        }
        Ok(taken)
    });
}
