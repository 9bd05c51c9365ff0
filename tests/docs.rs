//! The documentation against the sources: what a page names must be there, and what it must name is named. The tour of the
//! README is run against the built server.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "docs/actions.rs"]
mod actions;
#[path = "docs/names.rs"]
mod names;
#[path = "docs/parameters.rs"]
mod parameters;
#[path = "support/routes.rs"]
mod route_table;
#[path = "docs/routes.rs"]
mod routes;
#[path = "docs/tour.rs"]
mod tour;
#[path = "docs/words.rs"]
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Path and text of every file below `folder` with this extension.
fn files(folder: &str, extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a readable folder");
            open.extend(entries.map(|entry| entry.expect("a readable entry").path()));
        } else if path.extension().is_some_and(|own| own == extension) {
            let text = fs::read_to_string(&path).expect("a readable file");
            found.push((path, text));
        }
    }
    found.sort();
    found
}

/// Every page: its path from the root and its text.
fn pages() -> Vec<(String, String)> {
    let mut pages: Vec<_> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|page| (page.to_owned(), read(page))).into();
    let below = |(path, text): (PathBuf, String)| {
        let path = path.strip_prefix(root()).expect("a path below the root").to_string_lossy().into_owned();
        (path, text)
    };
    pages.extend(files("docs", "md").into_iter().map(below));
    pages
}

/// The cells of every table row below `heading`, without the backticks around a cell.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let text = read(page);
    let (_, section) = text.split_once(heading).unwrap_or_else(|| panic!("{page} has no {heading:?}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let cell = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let row = |line: &str| line.trim_matches('|').split('|').map(cell).collect();
    section.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

#[track_caller]
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n\n{}\n", faults.join("\n"));
}

/// Both sets hold the same, or the message says what only one of them has.
#[track_caller]
fn assert_same(page: &str, named: &BTreeSet<String>, sources: &BTreeSet<String>) {
    let missing = sources.difference(named).map(|name| format!("{page} does not name {name}"));
    let unknown = named.difference(sources).map(|name| format!("{page} names {name}, which is not there"));
    assert_none(&missing.chain(unknown).collect::<Vec<_>>());
}

#[test]
fn every_path_a_page_names_exists() {
    let faults = |(page, text): (String, String)| names::check(&page, &text);
    assert_none(&pages().into_iter().flat_map(faults).collect::<Vec<_>>());
}

#[test]
fn every_dependency_has_its_line() {
    let named = read("docs/decisions.md");
    let named = named.lines().filter_map(|line| line.strip_prefix("- `")?.split_once("`: "));
    let named = named.map(|(name, _)| name.to_owned()).collect();
    assert_same("docs/decisions.md", &named, &names::dependencies(&read("Cargo.toml")));
}

#[test]
fn the_table_of_admin_routes_is_that_of_the_sources() {
    let rows = table("docs/access.md", "## Scopes and routes");
    let named = rows.iter().map(|row| format!("{} for {}", row[0], row[1].replace('`', ""))).collect();
    assert_same("docs/access.md", &named, &routes::admin());
}

#[test]
fn the_document_of_the_api_has_every_route_and_no_other() {
    let document = chancery::openapi::document();
    let (mut named, mut permissions) = (BTreeSet::new(), BTreeSet::new());
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let route = format!("{} {path}", method.to_uppercase());
            let asked = operation["security"].as_array().into_iter().flatten();
            let scopes: Vec<_> = asked.filter_map(|one| one["admin"].as_array()).flatten().collect();
            let scopes: Vec<_> = scopes.into_iter().filter_map(|scope| scope.as_str()).collect();
            let scopes = if scopes.is_empty() { "any credential".to_owned() } else { scopes.join(" ") };
            let admin = operation["security"].to_string().contains("\"admin\"");
            permissions.extend(admin.then(|| format!("{route} for {scopes}")));
            named.insert(route);
        }
    }
    let how = "the document of the API (put #[utoipa::path(…)] on the handler, name it in `Api` of its routes.rs and \
               that in src/openapi/mod.rs)";
    assert_same(how, &named, &routes::all());
    assert_same("the document of the API, under `security`,", &permissions, &routes::admin());
}

#[test]
fn the_document_of_the_api_has_the_parameters_that_the_sources_know() {
    let document = chancery::openapi::document();
    let known = parameters::known();
    assert_same("the document of the API, under /oauth2/,", &parameters::of_endpoints(&document), &known);
    let request = &document["components"]["schemas"]["TokenRequest"];
    assert_same("TokenRequest", &parameters::described(&document, request), &parameters::of_tokens());
}

#[test]
fn the_collection_for_postman_is_current() {
    let collection = chancery::openapi::collection(&chancery::openapi::document());
    let kept: serde_json::Value = serde_json::from_str(&read("docs/postman.json")).expect("JSON");
    assert!(kept == collection, "docs/postman.json is out of date: run `make openapi`");
}

#[test]
fn the_table_of_actions_is_that_of_the_sources() {
    let named = table("docs/audit.md", "## Actions").into_iter().map(|row| row[0].clone()).collect();
    assert_same("docs/audit.md", &named, &actions::recorded());
}

#[test]
fn pages_and_sources_use_the_words_of_the_glossary() {
    assert_none(&words::strangers());
}

#[test]
fn the_table_of_errors_has_every_kind() {
    let source = read("src/kit/error.rs");
    let kinds =
        source.split("pub enum Kind {").nth(1).and_then(|rest| rest.split('}').next()).unwrap_or_default();
    let kinds = kinds.lines().map(|line| line.trim().trim_end_matches(','));
    let kinds = kinds.filter(|line| !line.is_empty() && !line.starts_with("//")).map(str::to_owned).collect();
    let named = table("docs/errors.md", "## The table").into_iter().map(|row| row[0].clone()).collect();
    assert_same("docs/errors.md", &named, &kinds);
}

/// Each of the texts comes in the output, after the one before it.
#[track_caller]
fn assert_in_order(output: &str, order: &[&str]) {
    let mut rest = output;
    for expected in order {
        let Some((_, after)) = rest.split_once(expected) else { panic!("no {expected:?} in:\n{output}") };
        rest = after;
    }
}

#[test]
fn the_tours_work_when_pasted() {
    let server = tour::Server::start();
    let output = tour::run(&server, "README.md", "sh tour", None);
    let order = ["planner-", "\"data:read\"", "\"active\":true", "HTTP/1.1 200", "{\"revoked\":true}"];
    assert_in_order(&output, &order);
    assert_in_order(&output, &["{\"active\":false}", "deactivated", "invalid_grant"]);
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("sdk-venv/bin");
    if environment.join("python").exists() {
        let output = tour::run(&server, "README.md", "sh tour sdk", Some(&environment));
        assert_in_order(&output, &["spiffe://", "False"]);
    }
    quick_start(&server);
    let output = tour::run(&server, "docs/authorization.md", "sh tour", None);
    assert_in_order(
        &output,
        &["\"note\":\"this client has no secret\"", "\"access_token\":\"", "\"scope\":\"notes:read\""],
    );
    assert_in_order(&output, &["\"access_token\":\"", "\"user_id\":\"u-ada\""]);
    let output = tour::run(&server, "docs/delegation.md", "sh tour", None);
    let hops = [
        "\"access_denied\"",
        "\"max_hops\":1",
        "/planner-",
        "\"delegation_depth\":1",
        "\"scope\":\"data:read\"",
    ];
    let more =
        ["/fetcher-", "\"delegation_depth\":2", "\"nodes\":", "{\"revoked\":true}", "{\"active\":false}"];
    assert_in_order(&output, &[hops, more].concat());
}

/// Every step shows what its heading promises.
fn quick_start(server: &tour::Server) {
    let output = tour::run(server, "docs/quickstart.md", "sh tour", None);
    let obtained =
        ["/planner-", "\"api_key\": \"zid_sk_", "\"active\":true", "\"invalid_scope\"", "\"max_hops\":2"];
    // Who acts stands outermost, within it who acted before, and the planner is the subject still.
    let chain = [
        "\"act\": {",
        "/writer-",
        "\"act\": {",
        "/fetcher-",
        "\"delegation_depth\": 2",
        "\"sub\": \"spiffe://",
    ];
    let read = ["/planner-", "\"nodes\"", "/fetcher-", "/writer-", "\"attenuated\": [", "\"data:write\""];
    let ended = [
        "\"revoked_count\":3",
        "\"revoked\":true",
        "{\"active\":false}",
        "{\"active\":false}",
        "{\"active\":false}",
    ];
    let logged = [
        "\"invalid_grant\"",
        "\"token.refused\"",
        "\"token.revoked\"",
        "\"quick start\"",
        "\"token.issued\"",
    ];
    assert_in_order(&output, &[&obtained[..], &chain, &read, &ended, &logged].concat());
}
