use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use chancery::kit::db::embedded::{Embedded, Settings};
use nix::unistd::User;

use crate::support::{Home, rows, stop, write_row};

const DATA: &str = "CHANCERY_TEST_HELPER_DATA";

/// A process of its own that holds an `Embedded` until its standard input ends; killed when dropped.
pub(crate) struct Helper {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Helper {
    pub(crate) fn spawn(home: &Home, user: Option<&User>) -> Self {
        let mut command = Command::new(program(home, user.is_some()));
        command.args(["--exact", "helper::hold", "--ignored", "--nocapture"]).env(DATA, home.data());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).current_dir("/");
        if let Some(user) = user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let mut child = command.spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    /// Waits for the line that begins with `word` and gives the rest of it. The helper's own waits are bounded.
    pub(crate) fn answer(&mut self, word: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            assert!(
                self.answers.read_line(&mut line).unwrap() > 0,
                "the helper ended without {word}: {seen}"
            );
            // The test harness writes "test helper::hold ... " before the first line.
            if let Some((_, rest)) = line.split_once(&format!("{word}: ")) {
                return rest.trim_end().replace("\\n", "\n");
            }
            seen.push_str(&line);
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets the helper stop its Postgres and end.
    pub(crate) fn finish(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This test binary; another user gets a copy, as the original may lie where only we can read.
fn program(home: &Home, for_other: bool) -> PathBuf {
    let original = std::env::current_exe().unwrap();
    if !for_other {
        return original;
    }
    let copy = home.path.join("helper");
    // Copied by another process: a file that any thread holds open for writing cannot be executed.
    assert!(Command::new("cp").arg(&original).arg(&copy).status().unwrap().success());
    assert!(Command::new("chmod").arg("755").arg(&copy).status().unwrap().success());
    copy
}

#[tokio::test]
#[ignore = "a process that other tests start"]
async fn hold() {
    let Some(data) = std::env::var_os(DATA) else { return };
    let settings = Settings { data_dir: PathBuf::from(data), bin_dir: None };
    let embedded = match Embedded::start(settings).await {
        Ok(embedded) => embedded,
        Err(error) => {
            println!("refused: {}", error.to_string().replace('\n', "\\n"));
            return;
        }
    };
    write_row(&embedded).await;
    println!("rows: {}", rows(&embedded).await);
    println!("ready: {}", embedded.pid());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
    stop(embedded).await;
}
