//! The actions of the audit log that the sources name.

use std::collections::BTreeSet;

use super::files;

/// Every action that an event of the sources can have.
pub(crate) fn recorded() -> BTreeSet<String> {
    files("src", "rs").iter().flat_map(|(_, text)| actions(text)).collect()
}

/// The literals in the first argument of `Event::new`, of which a choice may have several.
fn actions(rust: &str) -> Vec<String> {
    let calls = rust.split("Event::new(").skip(1);
    let first = calls.map(|call| call.split([',', ';']).next().unwrap_or_default());
    first.flat_map(|argument| argument.split('"').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn actions_are_found_in_every_form() {
    let rust = r#"Event::new("a.b", "x", 1); Event::new( if y { "c.d" } else { "e.f" }, "z", 2)"#;
    assert_eq!(actions(rust), ["a.b", "c.d", "e.f"]);
}
