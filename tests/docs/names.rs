//! Paths, functions and dependencies that a page names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::root;

/// The folders whose files a page may name from the root.
const FOLDERS: [&str; 6] = ["src/", "docs/", "tests/", "config/", "migrations/", "scripts/"];

/// What a page names and what is not there.
pub(crate) fn check(page: &str, text: &str) -> Vec<String> {
    let prose = without_code(text);
    let folder = root().join(page).parent().map(PathBuf::from).unwrap_or_default();
    let mut faults = Vec::new();
    for link in links(&prose) {
        let file = link.split('#').next().unwrap_or_default();
        if !file.is_empty() && !folder.join(file).exists() {
            faults.push(format!("{page}: the link to {link} leads nowhere"));
        }
    }
    for name in quoted(&prose) {
        if let Some(fault) = fault(&name) {
            faults.push(format!("{page}: `{name}` {fault}"));
        }
    }
    faults
}

/// The text without its fenced blocks.
fn without_code(text: &str) -> String {
    let mut inside = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// The targets of relative links.
fn links(prose: &str) -> impl Iterator<Item = &str> {
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.starts_with('#'))
}

/// What stands between backticks.
fn quoted(prose: &str) -> Vec<String> {
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Why a name is not right, when it is a path from the root or from `src/`, with a function or without.
fn fault(name: &str) -> Option<&'static str> {
    let (path, function) = name.split_once("::").map_or((name, None), |(path, name)| (path, Some(name)));
    let plain = |char: char| char.is_ascii_alphanumeric() || "_./-".contains(char);
    // `x/store.rs` stands for any capability.
    if !path.contains('/') && function.is_none() || path.starts_with("x/") || !path.chars().all(plain) {
        return None;
    }
    let from_root = FOLDERS.iter().any(|folder| path.starts_with(folder));
    if !from_root && Path::new(path).extension().is_none_or(|extension| extension != "rs") {
        return None;
    }
    let found = [root().join(path), root().join("src").join(path)].into_iter().find(|path| path.exists());
    let Some(found) = found else { return Some("is not there") };
    let text = function.map(|name| (name, fs::read_to_string(found).unwrap_or_default()));
    let has = |(name, text): (&str, String)| {
        ["fn {name}(", "fn {name}<", "def {name}("]
            .iter()
            .any(|form| text.contains(&form.replace("{name}", name)))
    };
    (!text.is_none_or(has)).then_some("names a function that is not in the file")
}

/// The names of every dependency.
pub(crate) fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if let (true, Some((name, _))) = (inside, line.split_once('=')) {
            names.insert(name.trim().to_owned());
        }
    }
    names
}

#[test]
fn names_that_are_not_there_are_found() {
    for good in
        ["src/main.rs", "agents/store.rs", "keys/ring.rs::sign", "config/default.toml", "x/store.rs", "a/b"]
    {
        assert_eq!(fault(good), None, "{good}");
    }
    for bad in [
        "src/nothing.rs",
        "agents/nothing.rs",
        "keys/ring.rs::nothing",
        "docs/nothing.md",
        "router.rs::nothing",
    ] {
        assert!(fault(bad).is_some(), "{bad}");
    }
    assert_eq!(check("README.md", "[a](docs/nothing.md) [b](https://x.example) [c](LICENSE#d)").len(), 1);
    assert_eq!(
        dependencies(
            "[package]\nname = 1\n[dependencies]\na = 1\n[dev-dependencies]\nb = 2\n[lints]\nc = 3\n"
        )
        .len(),
        2
    );
}
