//! Faults under load: servers on one database reach it through a relay that cuts and slows connections; servers are killed,
//! the disk fills, a clock is wrong. Meanwhile clients issue, exchange assertions, look and revoke, and note what they were
//! told; afterwards a checker compares that with the rows. docs/reliability.md has the list.
//!
//! `CHANCERY_TEST_ROUNDS` is the number of rounds of each fault (1); `make faults` sets more.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#![expect(clippy::disallowed_methods, reason = "the bounds of waiting have a clock of their own")]
#![expect(clippy::print_stdout, reason = "the figures are part of what is shown")]

#[expect(dead_code, reason = "the tests of the process use more of it")]
#[path = "../process/http.rs"]
mod http;
#[expect(dead_code, reason = "the tests of the process use more of it")]
#[path = "../support/process.rs"]
mod process;
#[expect(dead_code, reason = "the tests of replicas use more of it")]
#[path = "../replicas/scene.rs"]
mod scene;
#[expect(dead_code, reason = "the tests of the API use more of it")]
#[path = "../support/signer.rs"]
mod signer;
#[expect(dead_code, reason = "the tests of the process use more of it")]
#[path = "../process/support.rs"]
mod support;

mod check;
mod load;
mod relay;
mod scarce;
mod site;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::unistd::geteuid;
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::load::Load;
use crate::site::Site;
use crate::support::say_skipped;

/// What the signer's assertions are meant for unless a test says otherwise.
mod server {
    pub const ISSUER: &str = "http://127.0.0.1:8899";
}

fn rounds() -> usize {
    std::env::var("CHANCERY_TEST_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap())
}

/// The server dies between two statements, or between the commit and its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_killed_lose_nothing_they_answered() -> Result<()> {
    let mut site = Site::open("kills", 2).await?;
    for round in 0..rounds() * 3 {
        let load = Load::start(&site, round).await?;
        load.reaches(60 + 23 * (round % 5)).await?;
        site.kill_and_start_again(round % 2)?;
        load.moves_to(&site);
        load.reaches(60).await?;
        site.check(load.end().await?).await?;
    }
    Ok(())
}

/// Connections break before a statement arrives, or after it did and before its outcome comes back: nobody knows then
/// whether it was committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_at_random_statements_lose_nothing_and_nothing_happens_twice() -> Result<()> {
    let site = Site::open("cuts", 2).await?;
    let mut cut = 0;
    for round in 0..rounds() {
        let load = Load::start(&site, round).await?;
        load.reaches(100).await?;
        site.relay.cut_one_in(40);
        for _ in 0..10 {
            load.answers(40).await?;
        }
        site.relay.cut_one_in(0);
        cut += site.relay.cuts();
        load.reaches(50).await?;
        site.check(load.end().await?).await?;
    }
    println!("{cut} connections cut in the middle");
    ensure!(cut > 10 * rounds(), "only {cut} connections were cut");
    Ok(())
}

/// Every statement takes two seconds more. Whoever can't be served in time is told so, and nothing piles up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_database_sheds_what_it_cannot_serve() -> Result<()> {
    let site = Site::open("slow", 2).await?;
    for round in 0..rounds() {
        let load = Load::start(&site, round).await?;
        load.reaches(100).await?;
        site.relay.delay(Duration::from_secs(2));
        sleep(Duration::from_secs(8)).await;
        site.relay.delay(Duration::ZERO);
        load.reaches(100).await?;
        let told = load.end().await?;
        println!("slow: the longest wait was {:?}", told.longest);
        ensure!(told.longest < Duration::from_secs(20), "somebody waited {:?}", told.longest);
        site.check(told).await?;
    }
    Ok(())
}

/// The disk of the tables is full: nothing is issued, what was issued is still answered for, and when there is room again
/// all goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_issuance_and_not_introspection() -> Result<()> {
    if !geteuid().is_root() {
        say_skipped("a full disk needs root to mount a small one");
        return Ok(());
    }
    let site = Site::on_small_disk("full", 2).await?;
    let load = Load::start(&site, 0).await?;
    load.reaches(100).await?;
    let filler = site.fill_disk()?;
    // Rows go into pages that are there until none has room.
    load.is_refused(&site).await?;
    let token = load.token();
    for server in &site.servers {
        let mut client = http::Client::connect(&server.url()).await?;
        ensure!(client.is_active(&token).await?, "introspection needs no room");
    }
    std::fs::remove_file(filler)?;
    load.reaches(100).await?;
    site.check(load.end().await?).await
}

/// One server's clock is five minutes off. It follows the database's, so its tokens are as good as the others'.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_wrong_clock_follows_the_database() -> Result<()> {
    let mut libraries = faketime_libraries().filter(|path| path.exists());
    let Some(library) = libraries.next() else {
        say_skipped("a wrong clock needs faketime: apt-get install faketime");
        return Ok(());
    };
    for offset in ["+300s", "-300s"] {
        let mut site = Site::open("clock", 1).await?;
        // Not by the program of that name: it stays as the parent, and the server would outlive it.
        let mut command = Command::new("/usr/bin/env");
        command.args([format!("LD_PRELOAD={}", library.display()), format!("FAKETIME={offset}")]);
        // The clocks that only measure go on as they are, or the runtime would wait for nothing.
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        block_in_place(|| site.add(command))?;
        let load = Load::start(&site, 0).await?;
        load.reaches(200).await?;
        site.check(load.end().await?).await?;
    }
    Ok(())
}

/// Where faketime's library may be: below the folder of the machine's architecture.
fn faketime_libraries() -> impl Iterator<Item = PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"))
}
