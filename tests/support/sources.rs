//! Reads Rust sources into code and string literals. Not a parser: enough of a lexer to keep comments, strings and
//! code apart.
use std::fs;
use std::path::Path;

/// A string literal with its escapes resolved, and the line it begins on.
#[derive(Debug, PartialEq)]
pub(crate) struct Literal {
    pub(crate) line: usize,
    pub(crate) text: String,
}

pub(crate) struct Source {
    /// Relative to the crate: `src/agents/store.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments and literals blanked out: as many characters on as many lines.
    pub(crate) code: Vec<char>,
    pub(crate) literals: Vec<Literal>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut lexer =
            Lexer { chars: text.chars().collect(), at: 0, line: 1, code: vec![], literals: vec![] };
        lexer.run();
        Self { path: path.into(), text: text.into(), code: lexer.code, literals: lexer.literals }
    }
}

/// Every Rust file below `folder` of this crate.
pub(crate) fn rust_files(folder: &str) -> Vec<Source> {
    let files = files(folder, "rs");
    assert!(!files.is_empty(), "no Rust file below {folder}");
    files.iter().map(|(path, text)| Source::new(path, text)).collect()
}

/// Path and text of every file below `folder` with this extension, in the order of the paths.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let mut open = vec![root.join(folder)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a readable folder");
            open.extend(entries.map(|entry| entry.expect("a readable entry").path()));
        } else if path.extension().is_some_and(|found| found == extension) {
            let name = path.strip_prefix(root).expect("a path below the root").to_string_lossy().into_owned();
            files.push((name, fs::read_to_string(&path).expect("a readable file")));
        }
    }
    files.sort();
    files
}

pub(crate) fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    code: Vec<char>,
    literals: Vec<Literal>,
}

impl Lexer {
    fn run(&mut self) {
        while let Some(char) = self.peek(0) {
            match char {
                '/' if self.peek(1) == Some('/') => self.line_comment(),
                '/' if self.peek(1) == Some('*') => self.block_comment(),
                '"' => self.string(),
                '\'' => self.quote(),
                'r' | 'b' | 'c' if self.raw_string() => {}
                _ if is_word(char) => self.word(),
                _ => self.keep(),
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn keep(&mut self) {
        let char = self.chars[self.at];
        self.code.push(char);
        self.line += usize::from(char == '\n');
        self.at += 1;
    }

    fn blank(&mut self) -> Option<char> {
        let char = self.peek(0)?;
        self.code.push(if char == '\n' { '\n' } else { ' ' });
        self.line += usize::from(char == '\n');
        self.at += 1;
        Some(char)
    }

    fn skip(&mut self, count: usize) -> String {
        (0..count).filter_map(|_| self.blank()).collect()
    }

    fn word(&mut self) {
        while self.peek(0).is_some_and(is_word) {
            self.keep();
        }
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|char| char != '\n') {
            self.blank();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(char) = self.blank() {
            match (char, self.peek(0)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => continue,
            }
            self.blank();
            if depth == 0 {
                break;
            }
        }
    }

    /// A lifetime is kept; a character is blanked.
    fn quote(&mut self) {
        if self.peek(1) == Some('\\') {
            self.blank();
            self.escape();
            while self.blank().is_some_and(|char| char != '\'') {}
        } else if self.peek(2) == Some('\'') {
            self.skip(3);
        } else {
            self.keep();
        }
    }

    fn string(&mut self) {
        let line = self.line;
        let mut text = String::new();
        self.blank();
        loop {
            match self.peek(0) {
                Some('\\') => text.extend(self.escape()),
                Some('"') | None => break,
                Some(char) => {
                    text.push(char);
                    self.blank();
                }
            }
        }
        self.blank();
        self.literals.push(Literal { line, text });
    }

    /// Reads `r"…"`, `br#"…"#` and the like; `false`, with nothing read, when something else stands here.
    fn raw_string(&mut self) -> bool {
        let prefix = if self.peek(0) == Some('r') { 1 } else { 2 };
        let hashes = self.chars[self.at..].iter().skip(prefix).take_while(|char| **char == '#').count();
        if self.peek(prefix - 1) != Some('r') || self.peek(prefix + hashes) != Some('"') {
            return false;
        }
        let line = self.line;
        self.skip(prefix + hashes + 1);
        let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
        let mut text = String::new();
        while self.at < self.chars.len() && !self.chars[self.at..].starts_with(&end) {
            text.extend(self.blank());
        }
        self.skip(end.len());
        self.literals.push(Literal { line, text });
        true
    }

    /// Reads one escape; `None` for a line continuation, which swallows the white space that follows.
    fn escape(&mut self) -> Option<char> {
        self.blank();
        match self.blank()? {
            'n' => Some('\n'),
            't' => Some('\t'),
            'r' => Some('\r'),
            '0' => Some('\0'),
            'x' => u8::from_str_radix(&self.skip(2), 16).ok().map(char::from),
            'u' => {
                let mut digits = String::new();
                while let Some(char) = self.blank().filter(|char| *char != '}') {
                    digits.extend(char.is_ascii_hexdigit().then_some(char));
                }
                u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
            }
            '\n' => {
                while self.peek(0).is_some_and(char::is_whitespace) {
                    self.blank();
                }
                None
            }
            other => Some(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(rust: &str) -> Vec<(usize, String)> {
        Source::new("src/x.rs", rust)
            .literals
            .into_iter()
            .map(|literal| (literal.line, literal.text))
            .collect()
    }

    #[test]
    fn reads_every_kind_of_string() {
        let rust = "let a = \"one\";\nlet b = r#\"t\"wo\"#;\nlet c = (br\"three\", b\"four\", c\"five\", r\"six\\\");";
        let found = texts(rust);
        let expected = [(1, "one"), (2, "t\"wo"), (3, "three"), (3, "four"), (3, "five"), (3, "six\\")];
        assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn resolves_escapes_and_line_continuations() {
        let found = texts("f(\"a \\\n      b\\n\\\"c\\\" \\x41\\u{e9}\\\\\");\ng(\"next\");");
        assert_eq!(found, [(1, "a b\n\"c\" A\u{e9}\\".to_owned()), (3, "next".to_owned())]);
    }

    #[test]
    fn a_quote_in_a_comment_a_character_or_a_lifetime_opens_no_string() {
        let rust = "// \"no\n/* \"no /* \" */ \" */ fn f<'a>(x: &'a str) { let y = ['\"', '\\'', '\\u{22}']; r#type(\"yes\") }";
        assert_eq!(texts(rust), [(2, "yes".to_owned())]);
    }

    #[test]
    fn the_code_keeps_its_lines_and_loses_comments_and_literals() {
        let rust = "a(\"{\n{\"); // }\nb('}');";
        let source = Source::new("src/x.rs", rust);
        assert_eq!(source.code.len(), source.text.chars().count());
        let code: String = source.code.into_iter().collect();
        assert_eq!(code.split_whitespace().collect::<String>(), "a();b();");
        assert_eq!(code.lines().nth(2).map(str::trim), Some("b(   );"));
    }
}
