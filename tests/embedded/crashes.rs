use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use nix::sys::signal::Signal;
use sqlx::Connection;
use tokio_util::sync::CancellationToken;

use crate::helper::Helper;
use crate::support::{Home, as_postgres, connect, exists, rows, runs, send, stop, until, write_row};

/// Gives the stopped cluster a pid file that says "ready" about another process.
fn fake_pid_file(home: &Home, template: &str, pid: u32) {
    let rest = template.split_once('\n').unwrap().1;
    // Written as the user of Postgres, as the real one is.
    let status = as_postgres("sh")
        .args(["-c", "umask 077; printf %s \"$1\" > \"$2\"", "sh", &format!("{pid}\n{rest}")])
        .arg(home.pid_file())
        .status()
        .unwrap();
    assert!(status.success());
}

fn log(home: &Home) -> String {
    std::fs::read_to_string(home.data().join("postgres.log")).unwrap()
}

fn is_zombie(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

#[tokio::test]
async fn the_watch_starts_a_killed_postmaster_again() {
    let home = Home::new("watch");
    let embedded = Arc::new(home.start().await);
    write_row(&embedded).await;
    let token = CancellationToken::new();
    let (watched, watch_token) = (Arc::clone(&embedded), token.clone());
    let watch = tokio::spawn(async move { watched.supervise(watch_token).await });
    for _ in 0..2 {
        let first = embedded.pid();
        send(first, Signal::SIGKILL);
        until("another postmaster runs", async || embedded.pid() != first).await;
        assert_eq!(rows(&embedded).await, 1);
    }
    token.cancel();
    watch.await.unwrap();
    stop(Arc::into_inner(embedded).unwrap()).await;
}

#[tokio::test]
async fn the_watch_leaves_a_stopped_postmaster_alone() {
    let home = Home::new("stopped");
    let embedded = home.start().await;
    let pid = embedded.pid();
    let ((), ()) = tokio::join!(embedded.supervise(CancellationToken::new()), embedded.stop());
    assert_eq!(embedded.pid(), pid);
    assert!(!exists(pid));
    embedded.stop().await;
}

#[tokio::test]
async fn a_start_after_a_killed_server_adopts_its_postmaster() {
    let home = Home::new("adopt");
    let mut helper = Helper::spawn(&home, None);
    let pid: i32 = helper.answer("ready").parse().unwrap();
    helper.kill();
    let embedded = Arc::new(home.start().await);
    assert_eq!(embedded.pid(), pid);
    assert_eq!(rows(&embedded).await, 1);
    // An adopted one is watched as well, though it is no child of ours.
    let token = CancellationToken::new();
    let (watched, watch_token) = (Arc::clone(&embedded), token.clone());
    let watch = tokio::spawn(async move { watched.supervise(watch_token).await });
    send(pid, Signal::SIGKILL);
    until("another postmaster runs", async || embedded.pid() != pid).await;
    assert_eq!(rows(&embedded).await, 1);
    token.cancel();
    watch.await.unwrap();
    stop(Arc::into_inner(embedded).unwrap()).await;
}

#[tokio::test]
async fn an_adopted_postmaster_can_be_stopped() {
    let home = Home::new("adstop");
    let mut helper = Helper::spawn(&home, None);
    let pid: i32 = helper.answer("ready").parse().unwrap();
    helper.kill();
    let embedded = home.start().await;
    assert_eq!(embedded.pid(), pid);
    embedded.stop().await;
    assert!(!runs(pid));
}

#[tokio::test]
async fn a_stale_pid_file_is_not_taken_for_a_ready_postmaster() {
    let home = Home::new("stale");
    let embedded = home.start().await;
    write_row(&embedded).await;
    let killed = embedded.pid();
    send(killed, Signal::SIGKILL);
    drop(embedded);
    assert!(std::fs::read_to_string(home.pid_file()).unwrap().contains("ready"));
    let embedded = home.start().await;
    assert_ne!(embedded.pid(), killed);
    assert_eq!(rows(&embedded).await, 1);
    stop(embedded).await;
}

#[tokio::test]
async fn a_zombie_is_not_adopted() {
    let home = Home::new("zombie");
    let embedded = home.start().await;
    write_row(&embedded).await;
    let template = std::fs::read_to_string(home.pid_file()).unwrap();
    stop(embedded).await;
    let mut zombie = as_postgres("true").spawn().unwrap();
    until("the process is a zombie", async || is_zombie(zombie.id())).await;
    fake_pid_file(&home, &template, zombie.id());
    let embedded = home.start().await;
    assert_eq!(rows(&embedded).await, 1);
    stop(embedded).await;
    zombie.wait().unwrap();
}

#[tokio::test]
async fn a_stranger_with_the_same_number_is_not_adopted() {
    let home = Home::new("stranger");
    let embedded = home.start().await;
    write_row(&embedded).await;
    let template = std::fs::read_to_string(home.pid_file()).unwrap();
    stop(embedded).await;
    let mut stranger = as_postgres("sleep").arg("600").stdout(Stdio::null()).spawn().unwrap();
    fake_pid_file(&home, &template, stranger.id());
    let outcome = home.try_start().await;
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    let embedded = outcome.unwrap();
    assert_eq!(rows(&embedded).await, 1);
    stop(embedded).await;
}

#[tokio::test]
async fn a_postmaster_that_is_shutting_down_is_awaited() {
    let home = Home::new("shutting");
    let mut helper = Helper::spawn(&home, None);
    let pid: i32 = helper.answer("ready").parse().unwrap();
    helper.kill();
    let embedded = home.start().await;
    let mut guest = connect(&embedded).await;
    drop(embedded);
    // A smart shutdown waits for the guest and lets nobody else in.
    send(pid, Signal::SIGTERM);
    until("the shutdown has begun", async || log(&home).contains("received smart shutdown request")).await;
    let starting = home.start();
    tokio::pin!(starting);
    let refused =
        until("the start was refused", async || log(&home).contains("the database system is shutting down"));
    tokio::select! {
        _ = &mut starting => panic!("started beside a postmaster that still runs"),
        () = refused => {}
    }
    guest.ping().await.unwrap();
    guest.close().await.unwrap();
    let embedded = starting.await;
    assert_ne!(embedded.pid(), pid);
    assert_eq!(rows(&embedded).await, 1);
    stop(embedded).await;
}

#[tokio::test]
async fn orphaned_backends_of_a_killed_postmaster_are_awaited() {
    let home = Home::new("orphans");
    let embedded = home.start().await;
    write_row(&embedded).await;
    let mut guest = connect(&embedded).await;
    let backend: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut guest).await.unwrap();
    send(backend, Signal::SIGSTOP);
    send(embedded.pid(), Signal::SIGKILL);
    drop(embedded);
    let starting = home.start();
    tokio::pin!(starting);
    let refused = until("Postgres saw the orphan", async || log(&home).contains("is still in use"));
    tokio::select! {
        _ = &mut starting => panic!("started beside a backend that still runs"),
        () = refused => {}
    }
    send(backend, Signal::SIGKILL);
    let embedded = starting.await;
    assert_eq!(rows(&embedded).await, 1);
    stop(embedded).await;
}

#[tokio::test]
async fn a_death_at_start_shows_the_end_of_the_log() {
    let home = Home::new("death");
    stop(home.start().await).await;
    std::fs::remove_file(home.cluster().join("global/pg_control")).unwrap();
    let message = home.try_start().await.unwrap_err().to_string();
    assert!(message.starts_with("PostgreSQL stopped while starting (exit status: "), "{message}");
    assert!(message.contains("postgres.log:\n"), "{message}");
    assert!(message.contains("pg_control"), "{message}");
}

#[tokio::test]
async fn a_grown_log_starts_afresh() {
    let home = Home::new("log");
    stop(home.start().await).await;
    let path = home.data().join("postgres.log");
    let grow =
        |path: &Path| Command::new("truncate").args(["-s", "11M"]).arg(path).status().unwrap().success();
    assert!(grow(&path));
    let embedded = home.start().await;
    assert!(std::fs::metadata(&path).unwrap().len() < 1024 * 1024);
    stop(embedded).await;
}
