//! Reads what the tests ask of a Dockerfile.

use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Dockerfile {
    /// With every instruction on one line.
    pub(crate) text: String,
    /// Sources that come from outside.
    pub(crate) copied: Vec<String>,
    /// Sources that come from another stage.
    pub(crate) taken: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) user: String,
    pub(crate) port: u16,
    pub(crate) program: Vec<String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) health: Vec<String>,
}

impl Dockerfile {
    pub(crate) fn parse(text: &str) -> Self {
        let mut read = Self { text: text.replace("\\\n", ""), ..Self::default() };
        for line in read.text.clone().lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (instruction, rest) = line.split_once(' ').unwrap();
            read.take(instruction, rest.trim());
        }
        read
    }

    fn take(&mut self, instruction: &str, rest: &str) {
        match instruction {
            "COPY" => {
                let words: Vec<&str> = rest.split_whitespace().collect();
                let (_, sources) = words.split_last().unwrap();
                let list = if sources[0].starts_with("--from=") { &mut self.taken } else { &mut self.copied };
                list.extend(
                    sources.iter().filter(|word| !word.starts_with("--")).map(|&word| word.to_owned()),
                );
            }
            "ENV" => {
                let pairs = rest.split_whitespace().map(|pair| pair.split_once('=').unwrap());
                self.environment.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
            }
            "USER" => rest.clone_into(&mut self.user),
            "EXPOSE" => self.port = rest.parse().unwrap(),
            "ENTRYPOINT" => self.program = words(rest),
            "CMD" => self.arguments = words(rest),
            "HEALTHCHECK" => self.health = words(rest.split_once("CMD ").unwrap().1),
            "FROM" | "WORKDIR" | "RUN" | "STOPSIGNAL" => {}
            other => panic!("the test does not know the instruction {other}"),
        }
    }
}

/// The form of a command that needs no shell.
fn words(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap()
}
