//! What inputs are made of: pieces that parsers give a meaning to, lawful texts that were changed, JSON.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

/// Signs and spellings that mean something in one syntax or another.
const PIECES: &[&str] = &[
    "://",
    "//",
    "/../",
    "/./",
    "..",
    ".",
    ":",
    ":0",
    ":443",
    ":65536",
    "@",
    "#",
    "?",
    "&",
    "&&",
    "=",
    "+",
    "%",
    "%00",
    "%2e",
    "%2F",
    "%ff",
    "%EF%BF%BD",
    "%e2%82",
    "*",
    "[",
    "]",
    "[^",
    "[a-",
    "{",
    "}",
    "\\",
    "\"",
    "'",
    ",",
    ";",
    " ",
    "\t",
    "\r\n",
    "\u{0}",
    "\u{7f}",
    "\u{ad}",
    "\u{202e}",
    "\u{3002}",
    "\u{fffd}",
    "\u{10ffff}",
    "ä",
    "ß",
    "①",
    "xn--",
    "0x",
    "-",
    "_",
    "0",
    "A",
    "null",
    "\\u0000",
    "1e999",
    "e30",
];

/// One piece, a word, a character or a run of one.
fn piece(own: &'static [&'static str]) -> BoxedStrategy<String> {
    prop_oneof![
        4 => select(own).prop_map(str::to_owned),
        3 => select(PIECES).prop_map(str::to_owned),
        2 => "[a-z0-9]{1,12}",
        2 => "[ -~]{1,3}",
        1 => any::<char>().prop_map(String::from),
    ]
    .boxed()
}

/// Pieces one after the other, and now and then a very long text.
fn pieced(own: &'static [&'static str]) -> BoxedStrategy<String> {
    let short = proptest::collection::vec(piece(own), 0..10).prop_map(|pieces| pieces.concat());
    let long = (piece(own), piece(own), 1..5000_usize)
        .prop_map(|(start, repeated, times)| format!("{start}{}", repeated.repeat(times)));
    prop_oneof![15 => short, 1 => long].boxed()
}

/// What is done to a text. Places are counted in characters and from any number.
#[derive(Clone, Debug)]
enum Change {
    Insert(Index, String),
    Replace(Index, String),
    Remove(Index, usize),
    Copy(Index, Index, usize),
    Cut(Index),
}

impl Change {
    fn onto(&self, text: &str) -> String {
        let chars: Vec<char> = text.chars().collect();
        let at = |place: &Index| place.index(chars.len() + 1);
        let part = |from: usize, to: usize| -> String {
            chars[from.min(chars.len())..to.min(chars.len()).max(from.min(chars.len()))].iter().collect()
        };
        let all = chars.len();
        match self {
            Self::Insert(place, new) => format!("{}{new}{}", part(0, at(place)), part(at(place), all)),
            Self::Replace(place, new) => format!("{}{new}{}", part(0, at(place)), part(at(place) + 1, all)),
            Self::Remove(place, length) => {
                format!("{}{}", part(0, at(place)), part(at(place) + length, all))
            }
            Self::Copy(from, to, length) => {
                let copied = part(at(from), at(from) + length);
                format!("{}{copied}{}", part(0, at(to)), part(at(to), all))
            }
            Self::Cut(place) => part(0, at(place)),
        }
    }
}

fn change(own: &'static [&'static str]) -> BoxedStrategy<Change> {
    let place = any::<Index>;
    prop_oneof![
        3 => (place(), piece(own)).prop_map(|(place, new)| Change::Insert(place, new)),
        3 => (place(), piece(own)).prop_map(|(place, new)| Change::Replace(place, new)),
        2 => (place(), 1..12_usize).prop_map(|(place, length)| Change::Remove(place, length)),
        1 => (place(), place(), 1..30_usize).prop_map(|(from, to, length)| Change::Copy(from, to, length)),
        1 => place().prop_map(Change::Cut),
    ]
    .boxed()
}

/// The text, changed up to three times.
pub fn changed(texts: BoxedStrategy<String>, own: &'static [&'static str]) -> BoxedStrategy<String> {
    (texts, proptest::collection::vec(change(own), 0..4))
        .prop_map(|(text, changes)| changes.iter().fold(text, |text, change| change.onto(&text)))
        .boxed()
}

/// Lawful texts, changed ones, and texts made of pieces alone.
pub fn around(lawful: &BoxedStrategy<String>, own: &'static [&'static str]) -> BoxedStrategy<String> {
    prop_oneof![2 => lawful.clone(), 6 => changed(lawful.clone(), own), 2 => pieced(own)].boxed()
}

/// Any JSON; the members of its objects have these names, and others.
pub fn value(names: &'static [&'static str]) -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        pieced(names).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((piece(names), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
    .boxed()
}
