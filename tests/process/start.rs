//! Starts and stops on a machine of one's own: what is printed, what is left, who is refused.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, User};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::http::Client;
use crate::process::{Home, Server, chancery};
use crate::support::{is_root, say_skipped, serve};

/// The command that the greeting offers, as somebody would copy it.
fn curl(out: &str) -> String {
    let start = out.find("curl ").unwrap();
    let end = out[start..].find("\n\n").map_or(out.len(), |length| start + length);
    out[start..end].to_owned()
}

/// Runs it as a shell does when somebody pastes it, and reads the answer.
fn paste(home: &Home, command: &str) -> Result<serde_json::Value> {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    let pasted = home.finish(shell);
    serde_json::from_str(&pasted.out).with_context(|| format!("{command}\n{}", pasted.text()))
}

#[tokio::test]
async fn the_first_start_shows_a_key_once_and_a_command_that_works() -> Result<()> {
    let home = Home::new("greet")?;
    let mut server = Server::start(&home, &[])?;
    let key = server.admin_key().context("a key")?;
    assert_eq!(server.out().matches("(shown this once)").count(), 1);
    ensure!(!server.err().contains("sk_live_"), "the key reached the log");
    let mut client = Client::connect(&server.url()).await?.bearer(&key);
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok() {
        let answer = paste(&home, &curl(&server.out()))?;
        assert_eq!(answer["identity"]["external_id"], "data-fetcher");
        let api_key = answer["api_key"].as_str().context("a key of the agent")?;
        assert_eq!(client.exchange(api_key).await?.status, 200);
    } else {
        say_skipped("the greeting's command needs curl");
        client.register("data-fetcher").await?;
    }
    // The key is an operator's: it works in every tenant.
    assert_eq!(client.tenant("other", "place").register("a").await?.status, 201);
    ensure!(server.end(Signal::SIGTERM)?.is_some_and(|status| status.success()), "{}", server.last_lines());

    let again = Server::start(&home, &[])?;
    ensure!(!again.out().contains("sk_live_"), "the second start shows a key: {}", again.out());
    ensure!(again.out().contains("admin create-key"), "no word of how to make another: {}", again.out());
    let mut client = Client::connect(&again.url()).await?.bearer(&key);
    assert_eq!(client.get("/agents/registry").await?.body["total"], 1);
    Ok(())
}

#[test]
fn a_port_in_use_is_one_line_and_leaves_nothing() -> Result<()> {
    let home = Home::new("port")?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let listen = taken.local_addr()?.to_string();
    for arguments in ["serve --dev", ""] {
        let refused = home.chancery(arguments, &[("CHANCERY_LISTEN", &listen)]);
        assert_eq!(refused.status.code(), Some(1));
        assert_eq!(refused.text().lines().count(), 1, "{}", refused.text());
        for part in [&listen, "Address already in use", "--listen", "CHANCERY_LISTEN"] {
            assert!(refused.err.contains(part), "no {part} in: {}", refused.err);
        }
    }
    assert_eq!(home.processes(), Vec::<i32>::new());
    assert!(!home.data().exists(), "data was made before the port was known to be free");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_signals_stop_it_cleanly_with_its_database() -> Result<()> {
    let home = Home::new("stop")?;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGTERM] {
        let mut server = Server::start(&home, &[("CHANCERY_SHUTDOWN_GRACE_SECONDS", "1")])?;
        // A backend that is just being forked still looks like the postmaster.
        assert!(home.processes().len() >= 2, "a server and a postmaster");
        // One connection that was used, one that never said a word, one in the middle of a
        // request, which gets its grace and no more.
        let mut used = Client::connect(&server.url()).await?;
        assert_eq!(used.get("/health").await?.status, 200);
        let address = server.url().replace("http://", "");
        let _silent = TcpStream::connect(&address).await?;
        let mut slow = TcpStream::connect(&address).await?;
        slow.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n").await?;
        let status = server.end(signal)?.context("it had to be killed")?;
        assert_eq!(status.code(), Some(0), "{}", server.last_lines());
        assert_eq!(home.processes(), Vec::<i32>::new(), "after {signal}");
        assert!(!home.data().join("postgres/postmaster.pid").exists());
        drop(used);
    }
    Ok(())
}

/// Ctrl-C at a terminal goes to every process of the group; the database must outlive the server's last requests.
#[test]
fn ctrl_c_ends_the_server_and_then_its_database() -> Result<()> {
    let home = Home::new("ctrlc")?;
    let mut command = serve(&home, &[("CHANCERY_DEV", "true")]);
    command.process_group(0);
    let mut server = Server::launch(&home, command)?;
    killpg(Pid::from_raw(server.pid()), Signal::SIGINT)?;
    let status = server.ended()?.context("it had to be killed")?;
    assert_eq!(status.code(), Some(0), "{}", server.last_lines());
    let log = server.err();
    ensure!(!log.contains("ERROR") && !log.contains("WARN"), "the database went first: {log}");
    assert_eq!(home.processes(), Vec::<i32>::new());
    Ok(())
}

#[test]
fn a_second_server_on_the_directory_is_refused_by_name() -> Result<()> {
    let home = Home::new("second")?;
    let server = Server::start(&home, &[])?;
    let refused = home.chancery("serve --dev --listen 127.0.0.1:0", &[]);
    assert_eq!(refused.status.code(), Some(1));
    let holder = format!("in use by another Chancery (process {})", server.pid());
    assert!(refused.err.contains(&holder) && refused.err.contains("--data-dir"), "{}", refused.err);
    assert_eq!(refused.text().lines().count(), 1, "{}", refused.text());
    // The first one isn't disturbed.
    assert_eq!(home.processes().len(), 2);
    assert!(
        home.chancery("health", &[("CHANCERY_DEV", "true"), ("CHANCERY_LISTEN", &server.url()[7..])])
            .status
            .success()
    );
    Ok(())
}

#[test]
fn what_lies_in_the_data_directory_is_private() -> Result<()> {
    let home = Home::new("modes")?;
    let mut command = Command::new("sh");
    // Whatever the umask is.
    command.args(["-c", "umask 0; exec \"$0\" serve --dev"]).arg(chancery().get_program());
    command.env("CHANCERY_DATA_DIR", home.data());
    let server = Server::launch(&home, command)?;
    let data = std::fs::metadata(home.data())?;
    assert_eq!(data.mode() & 0o066, 0, "{:o}", data.mode());
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(home.data())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let mode = entry.metadata()?.mode() & 0o777;
        let expected = match name.as_str() {
            "postgres" | "run" => 0o700,
            // Read by Postgres, which runs as another user than root; they say who may connect, and no secret.
            "pg_hba.conf" | "pg_ident.conf" => 0o644,
            _ => 0o600,
        };
        assert_eq!(mode, expected, "{name} has mode {mode:o}");
        seen.push(name);
    }
    for name in ["master.key", "postgres", "chancery.lock", "postgres.log"] {
        assert!(seen.iter().any(|seen| seen == name), "no {name} in {seen:?}");
    }
    drop(server);
    Ok(())
}

#[tokio::test]
async fn an_ordinary_user_needs_nothing_but_the_program() -> Result<()> {
    if !is_root("an_ordinary_user_needs_nothing_but_the_program") {
        return Ok(());
    }
    let home = Home::new("user")?;
    let nobody = User::from_name("nobody")?.context("a user nobody")?;
    // Copied, as the original may lie where only root can read.
    let program = home.path().join("chancery");
    let copied = Command::new("cp").arg(chancery().get_program()).arg(&program).status()?;
    ensure!(copied.success(), "cp: {copied}");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let own = home.path().join("own");
    std::fs::create_dir(&own)?;
    std::os::unix::fs::chown(&own, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw()))?;
    for start in ["first", "second"] {
        let mut command = Command::new(&program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", &own);
        command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
        let mut server = Server::launch(&home, command)?;
        let data = own.join(".local/share/chancery");
        assert_eq!(std::fs::metadata(data.join("postgres"))?.uid(), nobody.uid.as_raw());
        assert_eq!(std::fs::metadata(&data)?.mode() & 0o777, 0o700);
        let mut client = Client::connect(&server.url()).await?;
        let agent = client.register(start).await?;
        assert_eq!(agent.status, 201, "{}", agent.body);
        let token = client.exchange(&agent.text("/api_key")?).await?.text("/access_token")?;
        ensure!(client.is_active(&token).await?, "the token doesn't stand");
        let status = server.end(Signal::SIGTERM)?.context("it had to be killed")?;
        assert_eq!(status.code(), Some(0), "{}", server.last_lines());
        assert_eq!(home.processes(), Vec::<i32>::new());
    }
    Ok(())
}
