//! Glob patterns as SQLite's GLOB reads them, over whole texts and case-sensitive: `*` any run, `?` one character, `[abc]`,
//! `[a-z]`, `[^x]`. There is no escape: a literal `*` is `[*]`. A class that is not closed matches nothing.

/// A pattern that was taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Option<Vec<Piece>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// `*`
    Run,
    /// `?`
    One,
    /// A character that means itself.
    Char(char),
    /// A class: whether it is negated, and its ranges.
    Class(bool, Vec<(char, char)>),
}

impl Piece {
    /// Whether a single character fits; a run is no single character.
    fn fits(&self, char: char) -> bool {
        match self {
            Self::Run => false,
            Self::One => true,
            Self::Char(own) => *own == char,
            Self::Class(negated, ranges) => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&char)) != *negated
            }
        }
    }
}

impl Glob {
    /// Takes a pattern apart.
    pub fn new(pattern: &str) -> Self {
        let chars: Vec<char> = pattern.chars().collect();
        let mut pieces = Vec::new();
        let mut at = 0;
        while let Some(&char) = chars.get(at) {
            at += 1;
            match char {
                '*' if pieces.last() == Some(&Piece::Run) => {}
                '*' => pieces.push(Piece::Run),
                '?' => pieces.push(Piece::One),
                '[' => {
                    let Some((class, end)) = class(&chars, at) else { return Self(None) };
                    pieces.push(class);
                    at = end;
                }
                _ => pieces.push(Piece::Char(char)),
            }
        }
        Self(Some(pieces))
    }

    /// Whether the whole text matches. After a mismatch only the last run is tried longer, so the time is at most the
    /// product of both lengths.
    pub fn matches(&self, text: &str) -> bool {
        let Some(pieces) = &self.0 else { return false };
        let chars: Vec<char> = text.chars().collect();
        let (mut piece, mut at) = (0, 0);
        // Where the last run stands, and up to where of the text it was tried.
        let mut run: Option<(usize, usize)> = None;
        while let Some(&char) = chars.get(at) {
            match (pieces.get(piece), run) {
                (Some(Piece::Run), _) => {
                    run = Some((piece, at));
                    piece += 1;
                }
                (Some(own), _) if own.fits(char) => {
                    piece += 1;
                    at += 1;
                }
                (_, Some((start, tried))) => {
                    run = Some((start, tried + 1));
                    piece = start + 1;
                    at = tried + 1;
                }
                (_, None) => return false,
            }
        }
        pieces.iter().skip(piece).all(|rest| *rest == Piece::Run)
    }
}

/// Reads the class whose first character after `[` stands at `at`, and says where the pattern goes on. `]` means itself
/// where it comes first, `-` where it comes first, last or after a range.
fn class(chars: &[char], mut at: usize) -> Option<(Piece, usize)> {
    let negated = chars.get(at) == Some(&'^');
    at += usize::from(negated);
    let mut ranges: Vec<(char, char)> = Vec::new();
    // The character that a range could begin with.
    let mut first = None;
    if chars.get(at) == Some(&']') {
        ranges.push((']', ']'));
        at += 1;
    }
    loop {
        let char = *chars.get(at)?;
        let next = chars.get(at + 1).filter(|next| **next != ']');
        match (char, first, next) {
            (']', ..) => return Some((Piece::Class(negated, ranges), at + 1)),
            ('-', Some(begin), Some(&end)) => {
                ranges.push((begin, end));
                first = None;
                at += 2;
            }
            _ => {
                ranges.push((char, char));
                first = Some(char);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::new(pattern).matches(text)
    }

    #[test]
    fn patterns_read_as_sqlite_reads_them() {
        for (pattern, good, bad) in [
            ("abc", &["abc"][..], &["ABC", "abcd", "ab", ""][..]),
            ("*", &["", "a", "a_b"], &[]),
            ("a*c", &["ac", "abc", "abcbc"], &["abcb", "bac"]),
            ("a?c", &["abc", "a*c"], &["ac", "abbc"]),
            ("a_c", &["a_c"], &["abc"]),
            ("a%", &["a%"], &["ab"]),
            ("[abc]x", &["ax", "cx"], &["dx", "x", "abcx"]),
            ("v[0-9]", &["v0", "v9"], &["va", "v", "v-"]),
            ("[^x]", &["a", "^"], &["x", "", "ab"]),
            ("[x^]", &["x", "^"], &["a"]),
            ("[]]", &["]"], &["[", ""]),
            ("[^]]", &["["], &["]"]),
            ("[]-]", &["]", "-"], &["x"]),
            ("[a-]", &["a", "-"], &["b"]),
            ("[-a]", &["a", "-"], &["b"]),
            ("[a-c-e]", &["b", "-", "e"], &["d"]),
            ("[z-a]", &["z"], &["a", "m", "-"]),
            ("[*]", &["*"], &["a"]),
            ("[!a]", &["!", "a"], &["b"]),
            ("\\*", &["\\", "\\x"], &["*"]),
            ("", &[""], &["a"]),
        ] {
            for text in good {
                assert!(matches(pattern, text), "{pattern} {text}");
            }
            for text in bad {
                assert!(!matches(pattern, text), "{pattern} {text}");
            }
        }
        for open in ["[", "[a", "[^", "[]", "a*[b", "[a-", "[^]"] {
            for text in ["", "a", "[", "]", "b", open] {
                assert!(!matches(open, text), "{open} {text}");
            }
        }
    }

    #[test]
    fn a_hostile_pattern_ends() {
        assert!(!matches(&"*a".repeat(255), &"a".repeat(254)));
        assert!(matches(&"*a".repeat(254), &"a".repeat(254)));
        assert!(!matches(&format!("{}b", "a*".repeat(200)), &"a".repeat(255)));
    }
}
