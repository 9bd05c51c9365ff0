//! The URIs of identities, which are SPIFFE ids, and the segments of which they are made.

use chancery::agents::{IdentityType, is_wimse_uri, wimse_uri};
use chancery::tenancy;
use proptest::prelude::*;
use proptest::sample::select;

use crate::inputs::around;
use crate::run::fuzz;

const PIECES: &[&str] =
    &["spiffe://", "SPIFFE://", "spiffe:", "/agent/", "/./", "/../", ":8443", "a.example", "Ä", "%2F"];

const TYPES: [IdentityType; 4] =
    [IdentityType::Agent, IdentityType::Application, IdentityType::McpServer, IdentityType::Service];

/// A segment of a path, as the SPIFFE ID standard (section 2.2) allows it.
fn is_segment(text: &str) -> bool {
    let lawful = |char: char| matches!(char, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_');
    !text.is_empty() && text.chars().all(lawful) && text != "." && text != ".."
}

/// The rules of the standard (sections 2.1 to 2.4), and that there is a path, which every identity has.
fn is_id(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("spiffe://") else { return false };
    let mut parts = rest.split('/');
    let domain = parts.next().unwrap_or_default();
    let lawful = |char: char| matches!(char, 'a'..='z' | '0'..='9' | '.' | '-' | '_');
    let path: Vec<&str> = parts.collect();
    text.len() <= 2048
        && !domain.is_empty()
        && domain.chars().all(lawful)
        && !path.is_empty()
        && path.into_iter().all(is_segment)
}

fn segment() -> BoxedStrategy<String> {
    prop_oneof![
        6 => "[A-Za-z0-9._-]{1,24}",
        1 => "[A-Za-z0-9._-]{255}",
        1 => "[.]{1,3}",
    ]
    .prop_filter("not a dot segment", |text| text != "." && text != "..")
    .boxed()
}

/// A trust domain, and the parts of an id within it.
fn parts() -> impl Strategy<Value = (String, [String; 2], IdentityType, String)> {
    let domain = "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?){0,4}";
    (domain, [segment(), segment()], select(&TYPES[..]), segment())
}

fn build(
    (domain, [account, project], kind, external): &(String, [String; 2], IdentityType, String),
) -> String {
    wimse_uri(domain, &tenancy::tenant(account, project).unwrap(), *kind, external)
}

#[test]
fn an_id_reads_back_to_the_parts_it_was_made_of() {
    let other = proptest::option::of(("[a-z]{1,4}", "[/:?#@%~ ]"));
    fuzz(&(parts(), other), |(parts, other)| {
        let uri = build(&parts);
        let (domain, [account, project], kind, external) = &parts;
        let read: Vec<&str> = uri.split('/').collect();
        prop_assert_eq!(read, ["spiffe:", "", domain, account, project, kind.as_str(), external]);
        prop_assert!(is_wimse_uri(&uri) && is_id(&uri));
        // A sign that separates something else is not taken, wherever it stands.
        let spoilt = other.map(|(text, sign)| format!("{uri}{sign}{text}"));
        let Some(spoilt) = spoilt else { return Ok(true) };
        prop_assert_eq!(is_wimse_uri(&spoilt), is_id(&spoilt));
        Ok(is_wimse_uri(&spoilt))
    });
}

#[test]
fn ids_that_are_taken_keep_the_rules_and_no_others_are_refused() {
    fuzz(&around(&parts().prop_map(|parts| build(&parts)).boxed(), PIECES), |text| {
        let taken = is_wimse_uri(&text);
        prop_assert_eq!(taken, is_id(&text));
        Ok(taken)
    });
}

#[test]
fn segments_that_are_taken_keep_the_rules() {
    fuzz(&around(&segment(), PIECES), |text| {
        let taken = tenancy::check_segment("external_id", &text).is_ok();
        prop_assert_eq!(taken, is_segment(&text) && text.len() <= 255);
        Ok(taken)
    });
}
