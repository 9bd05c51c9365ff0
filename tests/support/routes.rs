//! The routes that a source names: `.route("/path", get(read).post(write))`.

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// A method of a path, and the function that answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Route {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) handler: String,
}

/// Every route of a file.
pub(crate) fn routes(rust: &str) -> Vec<Route> {
    let mut found = Vec::new();
    for call in rust.split(".route(").skip(1) {
        let Some(path) = call.split('"').nth(1) else { continue };
        let call = &call[..closing(call)];
        for method in METHODS {
            let before = format!("{method}(");
            for (at, _) in call.match_indices(&before) {
                let inside_a_word = call[..at].ends_with(|char: char| char.is_alphanumeric() || char == '_');
                let handler = call[at + before.len()..].split(')').next().unwrap_or_default();
                if !inside_a_word {
                    let (method, path) = (method.to_uppercase(), path.to_owned());
                    found.push(Route { method, path, handler: handler.to_owned() });
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
