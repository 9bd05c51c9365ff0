//! GLOB patterns, beside SQLite's own way of matching.

use chancery::kit::glob::Glob;
use proptest::prelude::*;

use crate::inputs::around;
use crate::run::fuzz;

const PIECES: &[&str] =
    &["*", "**", "?", "[", "]", "^", "-", "[^", "[]", "[]-", "[a-c]", "[z-a]", "a", "b", "c"];

/// Longest pattern and text of which the reference sees the end.
const SHORT: usize = 9;

/// SQLite's own way, over all that is left of pattern and text: plain, and exponential at worst.
fn reference(pattern: &[char], text: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return text.is_empty() };
    match first {
        '*' => (0..=text.len()).any(|skip| reference(rest, &text[skip..])),
        '?' => !text.is_empty() && reference(rest, &text[1..]),
        '[' => text.split_first().is_some_and(|(char, text)| {
            seen(rest, *char).is_some_and(|(seen, after)| seen && reference(after, text))
        }),
        own => text.split_first().is_some_and(|(char, text)| char == own && reference(rest, text)),
    }
}

/// Whether a class takes the character, and what follows it; `None` where it is not closed.
fn seen(mut class: &[char], char: char) -> Option<(bool, &[char])> {
    let mut take = || {
        let (first, rest) = class.split_first()?;
        class = rest;
        Some((*first, rest.first().copied()))
    };
    let (mut own, mut next) = take()?;
    let inverted = own == '^';
    if inverted {
        (own, next) = take()?;
    }
    let (mut seen, mut before) = (false, None);
    if own == ']' {
        seen = char == ']';
        (own, next) = take()?;
    }
    while own != ']' {
        match (own, before, next) {
            ('-', Some(begin), Some(end)) if end != ']' => {
                take()?;
                seen |= (begin..=end).contains(&char);
                before = None;
            }
            _ => {
                seen |= own == char;
                before = Some(own);
            }
        }
        (own, next) = take()?;
    }
    Some((seen != inverted, class))
}

#[test]
fn patterns_match_what_they_match_in_sqlite() {
    let pairs = prop_oneof![
        9 => (r"[abc*?\[\]^-]{0,9}", r"[abc\[\]^-]{0,7}"),
        1 => (around(&r"[a-z*?\[\]]{0,40}".boxed(), PIECES), around(&"[a-z]{0,40}".boxed(), PIECES)),
    ];
    fuzz(&pairs, |(pattern, text)| {
        let taken = Glob::new(&pattern).matches(&text);
        let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
        // The long ones show that every pattern ends.
        if pattern.len() <= SHORT && text.len() <= SHORT {
            prop_assert_eq!(taken, reference(&pattern, &text));
        }
        Ok(taken)
    });
}
