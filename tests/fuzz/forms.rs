//! Forms and queries: the parameters of an OAuth request, and the filters of a list.

use chancery::kit::config::Limits;
use chancery::kit::http::extract::Query;
use chancery::oauth::Params;
use proptest::prelude::*;

use crate::inputs::around;
use crate::run::fuzz;

const PIECES: &[&str] = &[
    "grant_type=",
    "&scope=",
    "&audience=",
    "&resource=",
    "&token=",
    "&a=1&a=2",
    "%00",
    "%C3%A4",
    "%E2%28",
    "%zz",
    "+",
    "&&",
    "=",
];

/// The form in which a text is sent, read by hand (the URL standard, section 5.1). What is no UTF-8 is told apart.
fn decoded(form: &str) -> Vec<(Option<String>, Option<String>)> {
    let text = |part: &str| {
        let (bytes, mut decoded, mut at) = (part.as_bytes(), Vec::new(), 0);
        while let Some(byte) = bytes.get(at) {
            let code =
                part.get(at + 1..at + 3).filter(|code| code.bytes().all(|one| one.is_ascii_hexdigit()));
            match (byte, code) {
                (b'%', Some(code)) => {
                    decoded.push(u8::from_str_radix(code, 16).unwrap());
                    at += 2;
                }
                (b'+', _) => decoded.push(b' '),
                _ => decoded.push(*byte),
            }
            at += 1;
        }
        String::from_utf8(decoded).ok()
    };
    let pairs = form.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

fn forms() -> BoxedStrategy<String> {
    let pair = "(a|b|scope|audience|resource|token)=[a-z%20+]{0,6}";
    proptest::collection::vec(pair, 0..5).prop_map(|pairs| pairs.join("&")).boxed()
}

#[test]
fn parameters_are_what_the_form_says_each_once() {
    let limits = Limits::default();
    fuzz(&around(&forms(), PIECES), |form| {
        let pairs = decoded(&form);
        let plain =
            |text: &Option<String>| text.as_ref().is_some_and(|text| !text.contains(['\0', '\u{fffd}']));
        let is_text = pairs.iter().all(|(name, value)| plain(name) && plain(value));
        let repeats = |name: &Option<String>| matches!(name.as_deref(), Some("audience" | "resource"));
        let times = |name: &Option<String>| pairs.iter().filter(|(other, _)| other == name).count();
        let once = pairs.iter().all(|(name, _)| repeats(name) || times(name) == 1);
        let fits =
            |value: &Option<String>| value.as_ref().is_none_or(|value| value.len() <= limits.token_bytes);
        let lawful = is_text && once && pairs.iter().all(|(_, value)| fits(value));
        let read = Params::from_query(&form, &limits);
        prop_assert_eq!(read.is_ok(), lawful);
        let Ok(params) = read else { return Ok(false) };
        for (name, _) in &pairs {
            let values =
                pairs.iter().filter(|(other, _)| other == name).filter_map(|(_, value)| value.as_deref());
            let read: Vec<&str> = params.all(name.as_deref().unwrap()).collect();
            prop_assert_eq!(read, values.filter(|value| !value.is_empty()).collect::<Vec<_>>());
        }
        Ok(true)
    });
}

#[test]
fn queries_never_hold_what_the_database_cannot() {
    fuzz(&around(&forms(), PIECES), |text| {
        let Ok(query) = Query::parse(&text) else {
            prop_assert!(text.contains(['%', '\0']), "refused without a reason");
            return Ok(false);
        };
        for name in ["a", "b", "scope", "token"] {
            let many = query.many(name);
            prop_assert!(many.iter().all(|value| !value.contains(['\0', ',']) && !value.is_empty()));
            if let Ok(one) = query.one(name) {
                prop_assert!(one.is_none_or(|value| !value.is_empty() && !value.contains('\0')));
            }
            let _ = (query.flag("a"), query.pair("b"));
        }
        Ok(true)
    });
}
