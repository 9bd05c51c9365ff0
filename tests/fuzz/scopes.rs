//! The scopes of a request.

use chancery::access::scope::Scopes;
use proptest::prelude::*;

use crate::inputs::around;
use crate::run::fuzz;

const PIECES: &[&str] = &[" ", "  ", "nhi:manage", "vault:*", "a b a", "\u{a0}", "a\"b"];

/// As many as are taken at once here.
const MOST: usize = 8;

/// `scope-token` of RFC 6749 section 3.3, within the length that is kept.
fn is_scope(text: &str) -> bool {
    text.len() <= 255 && text.chars().all(|char| matches!(char, '!' | '#'..='[' | ']'..='~'))
}

#[test]
fn scopes_that_are_taken_are_tokens_each_once_and_in_their_order() {
    let lawful = "([!#-\\[\\]-~]{1,9} {1,2}){0,8}[a-z:]{0,5}".boxed();
    fuzz(&around(&lawful, PIECES), |text| {
        let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
        let parsed = Scopes::parse(&text, MOST);
        prop_assert_eq!(parsed.is_ok(), words.len() <= MOST && words.iter().all(|word| is_scope(word)));
        let Ok(scopes) = parsed else { return Ok(false) };
        let first = |(place, word): (usize, &&str)| !words[..place].contains(word);
        let once: Vec<&str> =
            words.iter().enumerate().filter(|one| first(*one)).map(|(_, word)| *word).collect();
        prop_assert_eq!(scopes.iter().collect::<Vec<_>>(), once);
        prop_assert_eq!(Scopes::parse(&scopes.joined(), MOST).unwrap(), scopes);
        Ok(true)
    });
}
