//! Arbitrary texts and mutated tokens, at every place: never accepted, never a fault.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::at_every_place;
use super::place::Place;
use super::stage::Stage;

/// How many texts each place sees.
const CASES: usize = 64;

/// What is done to a token.
#[derive(Clone, Debug)]
enum Change {
    Replace(usize, u8),
    Insert(usize, String),
    Remove(usize, usize),
    Copy(usize, usize),
    Cut(usize),
}

impl Change {
    /// Places are taken modulo the length.
    fn onto(&self, token: &str) -> String {
        let at = |place: usize| place % token.len();
        match self {
            Self::Replace(place, byte) => {
                let mut bytes = token.as_bytes().to_vec();
                bytes[at(*place)] = *byte;
                String::from_utf8_lossy(&bytes).into_owned()
            }
            Self::Insert(place, text) => {
                let (before, after) = token.split_at(at(*place));
                format!("{before}{text}{after}")
            }
            Self::Remove(place, length) => {
                let start = at(*place);
                let end = (start + 1 + length % 40).min(token.len());
                format!("{}{}", &token[..start], &token[end..])
            }
            Self::Copy(from, to) => {
                let piece = &token[at(*from)..];
                let piece = &piece[..piece.len().min(20)];
                let (before, after) = token.split_at(at(*to));
                format!("{before}{piece}{after}")
            }
            Self::Cut(place) => token[..at(*place)].to_owned(),
        }
    }
}

fn changes() -> impl Strategy<Value = Change> {
    let place = 0..4096_usize;
    prop_oneof![
        (place.clone(), 0x20..0x7f_u8).prop_map(|(place, byte)| Change::Replace(place, byte)),
        (place.clone(), "[ -~]{1,4}").prop_map(|(place, text)| Change::Insert(place, text)),
        (place.clone(), 0..40_usize).prop_map(|(place, length)| Change::Remove(place, length)),
        (place.clone(), place.clone()).prop_map(|(from, to)| Change::Copy(from, to)),
        place.prop_map(Change::Cut),
    ]
}

/// Any text, texts in the alphabet of tokens, and JSON in the form of a token.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{1,200}",
        "[A-Za-z0-9_.=-]{1,300}",
        "[A-Za-z0-9_-]{0,80}(\\.[A-Za-z0-9_-]{0,80}){1,5}",
        proptest::collection::vec(any::<u8>(), 1..200)
            .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_place_accepts_or_fails_on_what_is_no_token() {
    let presented: usize = at_every_place(run).await.into_iter().map(|(_, presented)| presented).sum();
    println!("fuzz: {presented} texts at {} places", Place::ALL.len());
    assert!(presented > Place::ALL.len() * CASES);
}

/// The same texts at every run, so that what fails once can be looked at.
fn draw(good: &str) -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    let (texts, changes) = (texts(), changes());
    let mut all = Vec::new();
    for _ in 0..CASES {
        all.push(texts.new_tree(&mut runner).unwrap().current());
        all.push(changes.new_tree(&mut runner).unwrap().current().onto(good));
    }
    all
}

async fn run(place: Place) -> usize {
    let stage = Stage::new().await;
    let good = stage.maker(place).good[0].clone();
    let before = stage.state().await;
    let mut presented = 0;
    for text in draw(&good) {
        let sendable = !place.is_header() || text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        // An empty text counts as absent, and a good one between spaces is itself.
        if !sendable || text.trim() == good || text.trim().is_empty() {
            continue;
        }
        let answer = stage.present(place, &text).await;
        assert!(place.refuses(&answer), "{place:?}: {text:?}: {} {}", answer.status, answer.text);
        presented += 1;
    }
    assert_eq!(stage.state().await, before, "{place:?}");
    presented
}
