//! Words that the glossary keeps out of pages and sources.

use super::{files, pages, table};

const GLOSSARY: &str = "docs/glossary.md";

/// Where a word stands that should not.
pub(crate) fn strangers() -> Vec<String> {
    let rows = table(GLOSSARY, "## Words that we do not use");
    assert!(rows.len() > 10, "the table is gone");
    let mut texts: Vec<(String, String)> = pages().into_iter().filter(|(page, _)| page != GLOSSARY).collect();
    for (folder, extension) in [("src", "rs"), ("migrations", "sql"), ("config", "toml")] {
        let named = files(folder, extension).into_iter();
        texts.extend(named.map(|(path, text)| (path.display().to_string(), text)));
    }
    let mut found = Vec::new();
    for (path, text) in &texts {
        for row in &rows {
            if holds(text, &row[0]) {
                found.push(format!("{path} says {:?}; {GLOSSARY} says: {}", row[0], row[1]));
            }
        }
    }
    found
}

/// Whether the text has the word, in any case and by itself, its parts parted by a space, a line or an underscore.
fn holds(text: &str, word: &str) -> bool {
    let plain =
        |text: &str| text.to_lowercase().replace('_', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    let (text, word) = (plain(text), plain(word));
    text.match_indices(&word).any(|(at, _)| {
        let is_letter = |char: Option<char>| char.is_some_and(char::is_alphanumeric);
        !is_letter(text[..at].chars().next_back()) && !is_letter(text[at + word.len()..].chars().next())
    })
}

#[test]
fn a_word_is_found_by_itself_only() {
    assert!(holds("An Api\n  token", "api token") && holds("parent_token: x", "parent token"));
    assert!(!holds("a robot", "bot") && !holds("both", "bot"));
}
