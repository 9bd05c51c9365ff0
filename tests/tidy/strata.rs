//! Who may name whom: the order of the strata, and the one way into a capability.
use crate::support::sources::{Source, is_word};

/// Each stratum may name itself and those above it.
const STRATA: [&[&str]; 5] = [
    &["kit"],
    CAPABILITIES,
    &["oauth"],
    &["compat"],
    &["main", "lib", "router", "openapi", "workers", "cli"],
];

pub(crate) const CAPABILITIES: &[&str] = &[
    "access",
    "tenancy",
    "idempotency",
    "users",
    "authorizations",
    "agents",
    "clients",
    "issuers",
    "api_keys",
    "policies",
    "delegations",
    "approvals",
    "keys",
    "tokens",
    "signals",
    "webhooks",
    "audit",
    "outbox",
    "vault",
    "trust",
];

/// The value that every stratum may name may itself name what it holds: capabilities and the protocol.
const APP: (&str, usize) = ("src/kit/app.rs", 2);

/// The part of the program that a file belongs to: `agents` for `src/agents/store.rs`, `router` for `src/router.rs`.
pub(crate) fn home(path: &str) -> &str {
    let below = path.strip_prefix("src/").unwrap_or(path);
    below.split(['/', '.']).next().unwrap_or(below)
}

pub(crate) fn check(source: &Source) -> Vec<String> {
    let home = home(&source.path);
    let Some(own) = stratum(home) else {
        return vec![format!(
            "{}:1: `{home}` is in no stratum; add it to STRATA in tests/tidy/strata.rs",
            source.path
        )];
    };
    let reach = if source.path == APP.0 { APP.1 } else { own };
    let mut faults = Vec::new();
    for Named { line, path, from_root } in named(source) {
        let shown = path.join("::");
        let mut fault = |what: &str| faults.push(format!("{}:{line}: `{shown}` {what}", source.path));
        match stratum(&path[0]) {
            Some(other) if from_root && other > reach => fault(
                "stands in a stratum below this file's; move what is shared up, or the code that needs it down",
            ),
            None if from_root => {
                fault("is in no stratum; name a module, or add it to STRATA in tests/tidy/strata.rs");
            }
            _ => {}
        }
        if path[0] != home && CAPABILITIES.contains(&path[0].as_str()) {
            for inner in &path[1..] {
                match inner.as_str() {
                    "store" => fault("reaches past the capability's mod.rs; call a verb of it instead"),
                    "routes" if !["router", "openapi"].contains(&home) => {
                        fault("is named by src/router.rs and openapi only");
                    }
                    "worker" if !["workers", "cli"].contains(&home) => {
                        fault("is named by src/workers.rs and cli only");
                    }
                    _ => {}
                }
            }
        }
    }
    faults
}

fn stratum(module: &str) -> Option<usize> {
    STRATA.iter().position(|modules| modules.contains(&module))
}

/// A path in the code. From the root, it is absolute; else it begins with a name that was imported or lies here.
pub(crate) struct Named {
    pub(crate) line: usize,
    pub(crate) path: Vec<String>,
    pub(crate) from_root: bool,
}

pub(crate) fn named(source: &Source) -> Vec<Named> {
    let words = words(&source.code);
    let program = source.path == "src/main.rs";
    let mut here = module_of(&source.path);
    let mut open = Vec::new();
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        match words[at].1.as_str() {
            "{" => {
                let inline = at >= 2 && words[at - 2].1 == "mod";
                here.extend(inline.then(|| words[at - 1].1.clone()));
                open.push(inline);
            }
            "}" if open.pop() == Some(true) => drop(here.pop()),
            word if word.starts_with(is_word)
                && is(&words, at + 1, "::")
                && (at == 0 || !is(&words, at - 1, "::")) =>
            {
                let mut paths = Vec::new();
                at = branches(&words, at, &[], &mut paths);
                for (line, path) in paths {
                    let (path, from_root) = resolve(&path, &here, program);
                    found.extend((!path.is_empty()).then_some(Named { line, path, from_root }));
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads the path or `use` tree that begins at `at` and returns where it ends.
fn branches(
    words: &[Word],
    mut at: usize,
    before: &[String],
    paths: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let mut path = before.to_vec();
    let line = words[at].0;
    loop {
        match words.get(at).map(|word| word.1.as_str()) {
            Some("{") => {
                at += 1;
                while at < words.len() && !is(words, at, "}") {
                    at = if is(words, at, ",") { at + 1 } else { branches(words, at, &path, paths) };
                }
                return at + 1;
            }
            Some(word) if word == "*" || word.starts_with(is_word) => path.push(word.into()),
            _ => break,
        }
        at += 1;
        if !is(words, at, "::") {
            break;
        }
        at += 1;
    }
    paths.push((line, path));
    // Inside a tree the name may go on with `as other`.
    while !before.is_empty() && at < words.len() && !is(words, at, ",") && !is(words, at, "}") {
        at += 1;
    }
    at
}

/// The path from the crate's root, and whether it is known to be one.
fn resolve(path: &[String], here: &[String], program: bool) -> (Vec<String>, bool) {
    let steps = path.iter().take_while(|word| matches!(word.as_str(), "self" | "super")).count();
    let ups = path[..steps].iter().filter(|word| *word == "super").count();
    match path[0].as_str() {
        "crate" => (path[1..].to_vec(), true),
        "chancery" if program => (path[1..].to_vec(), true),
        "self" | "super" => ([&here[..here.len().saturating_sub(ups)], &path[steps..]].concat(), true),
        _ => (path.to_vec(), false),
    }
}

fn module_of(path: &str) -> Vec<String> {
    let below = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    let root = matches!(below, "lib" | "main");
    below.split('/').filter(|part| !root && *part != "mod").map(str::to_owned).collect()
}

/// A word, `::` or a single symbol, and its line.
type Word = (usize, String);

fn words(code: &[char]) -> Vec<Word> {
    let mut words = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < code.len() {
        let length = match code[at] {
            char if is_word(char) => code[at..].iter().take_while(|char| is_word(**char)).count(),
            ':' if code.get(at + 1) == Some(&':') => 2,
            _ => 1,
        };
        if !code[at].is_whitespace() {
            words.push((line, code[at..at + length].iter().collect()));
        }
        line += usize::from(code[at] == '\n');
        at += length;
    }
    words
}

fn is(words: &[Word], at: usize, wanted: &str) -> bool {
    words.get(at).is_some_and(|word| word.1 == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(path: &str, rust: &str) -> Vec<String> {
        check(&Source::new(path, rust))
    }

    #[track_caller]
    fn refuses(path: &str, rust: &str, line: usize, name: &str) {
        let faults = faults(path, rust);
        assert_eq!(faults.len(), 1, "{rust}: {faults:?}");
        assert!(faults[0].starts_with(&format!("{path}:{line}: `{name}` ")), "{faults:?}");
    }

    #[test]
    fn a_stratum_names_itself_and_those_above() {
        for (path, rust) in [
            ("src/kit/cx.rs", "use crate::kit::clock::Time;"),
            ("src/keys/mod.rs", "use crate::{kit::ids, audit::{self, Event}};"),
            ("src/oauth/token.rs", "fn f() { crate::tokens::issue(crate::kit::ids::new()) }"),
            ("src/compat/zeroid/routes.rs", "use crate::oauth::error::Code;"),
            ("src/router.rs", "use crate::{cli, compat::zeroid, oauth, agents::routes};"),
            ("src/main.rs", "use chancery::cli;"),
            ("src/kit/app.rs", "use crate::{keys::Ring, oauth::Clients};"),
            ("src/keys/mod.rs", "use crate::kit::app::App; // crate::oauth is named in a comment only"),
        ] {
            assert_eq!(faults(path, rust), Vec::<String>::new());
        }
    }

    #[test]
    fn a_name_from_below_is_refused() {
        refuses("src/kit/cx.rs", "\nuse crate::audit::Entry;", 2, "audit::Entry");
        refuses("src/kit/app.rs", "use crate::router::routes;", 1, "router::routes");
        refuses(
            "src/keys/mod.rs",
            "use crate::{kit::ids,\n oauth::{error::Code as C}};",
            2,
            "oauth::error::Code",
        );
        refuses("src/keys/mod.rs", "fn f() -> Vec<crate::compat::X> {}", 1, "compat::X");
        refuses("src/oauth/mod.rs", "pub(in crate::compat) fn f() {}", 1, "compat");
        refuses("src/compat/mod.rs", "use crate::workers;", 1, "workers");
    }

    #[test]
    fn the_way_round_through_super_is_refused() {
        refuses("src/kit/cx.rs", "use super::super::oauth::token;", 1, "oauth::token");
        refuses("src/keys/mod.rs", "mod tests { use super::super::compat; }", 1, "compat");
        assert_eq!(faults("src/keys/mod.rs", "mod tests { use super::*; }"), Vec::<String>::new());
    }

    #[test]
    fn a_module_without_a_stratum_is_refused() {
        assert!(faults("src/helpers.rs", "")[0].starts_with("src/helpers.rs:1: `helpers` is in no stratum"));
        refuses("src/router.rs", "use crate::helpers::join;", 1, "helpers::join");
        refuses("src/router.rs", "use crate::*;", 1, "*");
    }

    #[test]
    fn a_capability_is_entered_through_its_mod() {
        refuses("src/tokens/issue.rs", "use crate::agents::store::find;", 1, "agents::store::find");
        refuses(
            "src/tokens/issue.rs",
            "use crate::agents;\nfn f() { agents::store::find() }",
            2,
            "agents::store::find",
        );
        refuses("src/router.rs", "use crate::agents::{routes, store};", 1, "agents::store");
        refuses("src/tokens/mod.rs", "use crate::agents::routes::Created;", 1, "agents::routes::Created");
        refuses("src/router.rs", "use crate::keys::worker;", 1, "keys::worker");
        for (path, rust) in [
            ("src/agents/mod.rs", "use crate::agents::store; fn f() { store::find() }"),
            ("src/router.rs", "use crate::agents::routes;"),
            ("src/workers.rs", "use crate::keys::worker;"),
            ("src/cli/keys.rs", "use crate::keys::worker;"),
        ] {
            assert_eq!(faults(path, rust), Vec::<String>::new());
        }
    }
}
