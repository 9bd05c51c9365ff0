//! A page's fenced blocks with a mark, pasted into a shell beside a server of their own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{read, root};

/// Where pages expect the server.
const PAGES_SAY: &str = "http://127.0.0.1:8899";

/// A development server with a database of its own; dropping it stops both.
pub(crate) struct Server {
    child: Child,
    directory: PathBuf,
    url: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        // Short, because the path of the database's socket has a small limit.
        let directory = PathBuf::from(format!("/tmp/chancery-docs-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a new directory");
        let log = File::create(directory.join("log")).expect("a new file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
        for (variable, _) in std::env::vars_os() {
            if variable == "DATABASE_URL" || variable.as_encoded_bytes().starts_with(b"CHANCERY_") {
                command.env_remove(variable);
            }
        }
        command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir"]).arg(directory.join("data"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("the built server");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut server = Self { child, directory, url: String::new() };
        let address = lines.find_map(|line| Some(line.ok()?.split_once("listening ")?.1.trim().to_owned()));
        server.url = address.unwrap_or_else(|| {
            panic!("{}", fs::read_to_string(server.directory.join("log")).unwrap_or_default())
        });
        // The greeting has further lines, which somebody must take.
        std::thread::spawn(move || lines.for_each(drop));
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked, so that it stops its database too.
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Pastes all blocks of a page with this mark into one shell, with `path` before the search path, and gives back what they
/// print.
pub(crate) fn run(server: &Server, page: &str, mark: &str, path: Option<&Path>) -> String {
    let script = blocks(&read(page), mark).replace(PAGES_SAY, &server.url);
    assert!(!script.is_empty(), "{page} has no block marked {mark:?}");
    let mut search = std::env::var_os("PATH").unwrap_or_default();
    if let Some(path) = path {
        search = std::env::join_paths([path.to_owned()].into_iter().chain(std::env::split_paths(&search)))
            .expect("a search path");
    }
    let mut shell = Command::new("bash");
    shell.args(["-eu", "-o", "pipefail", "-c", &script]).current_dir(root()).stdin(Stdio::null());
    shell.env("PATH", search).env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    let output = shell.output().expect("bash");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}\n{errors}", output.status);
    text
}

/// The fenced blocks with exactly this mark, one after the other.
fn blocks(text: &str, mark: &str) -> String {
    let fence = format!("```{mark}\n");
    let bodies = text.split(&fence).skip(1).filter_map(|rest| rest.split("\n```").next());
    bodies.flat_map(|body| [body, "\n"]).collect()
}
