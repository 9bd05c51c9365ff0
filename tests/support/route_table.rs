//! The table of routes as the sources have it: what stands in a `.route(…)`, with what the handler asks of its caller.

use std::fs;
use std::path::Path;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// A route of some capability or of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub method: String,
    pub path: String,
    /// The permission in the handler's `Admin<…>`; `None` when it takes none.
    pub permission: Option<String>,
}

/// Every route below `src`.
pub(crate) fn all() -> Vec<Route> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut routes = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else if path.extension().is_some_and(|own| own == "rs") {
            routes.extend(of(&fs::read_to_string(&path).unwrap_or_default()));
        }
    }
    routes.sort_by(|a, b| (&a.path, &a.method).cmp(&(&b.path, &b.method)));
    routes
}

/// The routes of one file.
pub(crate) fn of(rust: &str) -> Vec<Route> {
    let mut found = Vec::new();
    for call in rust.split(".route(").skip(1) {
        let Some(path) = call.split('"').nth(1).filter(|path| path.starts_with('/')) else { continue };
        let call = &call[..closing(call)];
        for method in METHODS {
            let before = format!("{method}(");
            for (at, _) in call.match_indices(&before) {
                let inside_a_word = call[..at].ends_with(|char: char| char.is_alphanumeric() || char == '_');
                let handler = call[at + before.len()..].split(')').next().unwrap_or_default();
                if !inside_a_word {
                    let permission = permission(rust, handler);
                    found.push(Route { method: method.to_uppercase(), path: path.to_owned(), permission });
                }
            }
        }
    }
    found
}

/// Where the parenthesis closes that was open before the text.
fn closing(text: &str) -> usize {
    let mut depth = 1;
    for (at, char) in text.char_indices() {
        depth += match char {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// What the handler's signature asks of its caller.
fn permission(rust: &str, handler: &str) -> Option<String> {
    let (_, after) = rust.split_once(&format!("fn {handler}("))?;
    let signature = after.split('{').next()?;
    let (_, admin) = signature.split_once("Admin<")?;
    Some(admin.split('>').next()?.to_owned())
}
