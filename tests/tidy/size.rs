//! Files and functions stay small, and each `mod.rs` says what its folder is for.
use crate::support::sources::{Source, is_word};

const FILE: usize = 400;
const FUNCTION: usize = 60;
const HEADER: usize = 5;

pub(crate) fn check_file(source: &Source) -> Option<String> {
    let lines = source.text.lines().count();
    (lines > FILE).then(|| format!("{}:{FILE}: {lines} lines, at most {FILE}; split the file", source.path))
}

pub(crate) fn check_functions(source: &Source) -> Vec<String> {
    let code = &source.code;
    let mut faults = Vec::new();
    let starts = (0..code.len()).filter(|at| {
        let apart = *at == 0 || !is_word(code[at - 1]);
        apart
            && code[*at..].starts_with(&['f', 'n'])
            && code.get(at + 2).is_some_and(|char| char.is_whitespace())
    });
    for start in starts {
        let Some(end) = end_of_function(code, start) else { continue };
        let line = 1 + code[..start].iter().filter(|char| **char == '\n').count();
        let lines = 1 + code[start..end].iter().filter(|char| **char == '\n').count();
        if lines > FUNCTION {
            let name: String = code[start + 2..]
                .iter()
                .skip_while(|char| !is_word(**char))
                .take_while(|char| is_word(**char))
                .collect();
            let limit = format!("at most {FUNCTION}; give its steps functions of their own");
            faults.push(format!("{}:{line}: `{name}` has {lines} lines, {limit}", source.path));
        }
    }
    faults
}

/// Where the body's last brace stands; `None` for a function without a body.
fn end_of_function(code: &[char], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut brackets = 0_usize;
    for (at, char) in code.iter().enumerate().skip(start) {
        match char {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            ';' if depth == 0 && brackets == 0 => return None,
            '{' => depth += 1,
            '}' if depth == 1 && brackets == 0 => return Some(at),
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

pub(crate) fn check_header(source: &Source) -> Option<String> {
    let lines = source.text.lines().take_while(|line| line.starts_with("//!")).count();
    if !source.path.ends_with("/mod.rs") || (1..=HEADER).contains(&lines) {
        return None;
    }
    let path = &source.path;
    Some(format!("{path}:1: {lines} lines of //!; open with one to {HEADER} that say what the folder is for"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, rust: &str) -> Source {
        Source::new(path, rust)
    }

    #[test]
    fn a_long_file_is_refused() {
        assert_eq!(check_file(&source("src/x.rs", &"\n".repeat(400))), None);
        let fault = check_file(&source("src/x.rs", &"\n".repeat(401))).unwrap();
        assert!(fault.starts_with("src/x.rs:400: 401 lines"), "{fault}");
    }

    #[test]
    fn a_long_function_is_refused() {
        let function =
            |lines: usize| format!("\npub fn long(a: [u8; 3]) {{{}}}\nfn b();", "\n".repeat(lines - 1));
        assert_eq!(check_functions(&source("src/x.rs", &function(60))), Vec::<String>::new());
        let faults = check_functions(&source("src/x.rs", &function(61)));
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("src/x.rs:2: `long` has 61 lines"), "{faults:?}");
    }

    #[test]
    fn braces_in_text_do_not_end_a_function() {
        let rust = format!("fn long() {{ g('}}', \"}}\"); // }}{}}}", "\n".repeat(70));
        assert_eq!(check_functions(&source("src/x.rs", &rust)).len(), 1);
        let two = format!("fn short() {{ g('{{') }}{}fn other() {{}}", "\n".repeat(70));
        assert_eq!(check_functions(&source("src/x.rs", &two)), Vec::<String>::new());
    }

    #[test]
    fn a_mod_without_a_short_header_is_refused() {
        assert_eq!(check_header(&source("src/x/mod.rs", "//! One.\n//! Two.\nuse y;")), None);
        assert_eq!(check_header(&source("src/x/store.rs", "use y;")), None);
        for rust in ["use y;\n//! Late.".to_owned(), "//! Long.\n".repeat(6)] {
            assert!(check_header(&source("src/x/mod.rs", &rust)).is_some());
        }
    }
}
