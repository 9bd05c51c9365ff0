//! The load script: `make load`, or `cargo bench --bench load`.
//!
//! Starts the release server on a private Postgres in a temporary directory and measures, with one generator and over the
//! same number of connections, issuance, introspection and token exchange, each several times and each time between two
//! measurements of a bare axum answer; then what those are made of, alone. It prints tables in Markdown, as they stand in
//! docs/performance.md, which explains them. The machine's speed drifts: compare within one run only.
//!
//! `CHANCERY_LOAD_SECONDS` is the length of a step (10), `CHANCERY_LOAD_RUNS` how often it is repeated (3),
//! `CHANCERY_LOAD_CONNECTIONS` the number of connections (64), `CHANCERY_LOAD_ROWS` how many credentials of others the
//! database is filled with first (0), `CHANCERY_LOAD_RATE` the requests a second of the step `neighbours` (500),
//! `CHANCERY_LOAD_STEPS` which steps are run, by the beginnings of their names (all).
#![expect(clippy::print_stdout, reason = "the tables are what this program is for")]

mod bare;
mod cascade;
mod cpu;
mod crypto;
mod neighbours;
mod overload;
mod parts;
#[path = "../../tests/support/process.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod process;
mod seed;
mod stage;
mod steady;
mod table;
#[path = "../../tests/support/traffic.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod traffic;
mod tree;

use anyhow::{Context, Result};
use cpu::Meter;
use process::{Home, Server, free_address};
use stage::Stage;
use table::Bench;
use traffic::Work;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, command, address] = arguments.as_slice()
        && command == "bare"
    {
        return bare::serve(address.parse()?).await;
    }
    let seconds = setting("CHANCERY_LOAD_SECONDS", 10.0)?;
    let (runs, connections) = (setting("CHANCERY_LOAD_RUNS", 3)?, setting("CHANCERY_LOAD_CONNECTIONS", 64)?);
    let rows = setting("CHANCERY_LOAD_ROWS", 0)?;
    let home = Home::new("load")?;
    println!("{connections} connections, {runs} runs of {seconds} s, {rows} credentials of others\n");

    let bare = start_bare(&home)?;
    let data = home.data();
    let server = Server::start(&home, &[])?;
    let address = server.address();
    if rows > 0 {
        seed::fill(&data, rows).await?;
    }
    let postmaster = std::fs::read_to_string(data.join("postgres/postmaster.pid"))?;
    let postmaster: i32 = postmaster.lines().next().context("an empty postmaster.pid")?.parse()?;
    let mut bench = Bench {
        steps: setting("CHANCERY_LOAD_STEPS", String::new())?,
        seconds,
        runs,
        connections,
        bare: (bare.address(), Meter::new(bare.pid(), None)),
        server: (address, Meter::new(server.pid(), Some(postmaster))),
        rows: Vec::new(),
    };
    let stage = Stage::set(address).await?;
    measure(&mut bench, &stage).await?;
    let parts = parts::measure(&data, seconds.min(3.0)).await?;
    let costs = tokio::task::spawn_blocking(move || crypto::measure(seconds.min(3.0))).await??;
    table::print(&bench.rows, &parts, &costs);
    if bench.is_wanted("overload") {
        overload::measure(&bench, &stage).await?;
    }
    if bench.is_wanted("neighbours") {
        neighbours::measure(&bench, &stage, &data).await?;
    }
    if bench.is_wanted("cascade") {
        cascade::measure(&bench, &stage, &data).await?;
    }
    Ok(())
}

/// The bare answer first and last of all: what lies between them is how far the machine drifted.
async fn measure(bench: &mut Bench, stage: &Stage) -> Result<()> {
    let first = bench.bare().await?;
    bench.rows.push(first);
    // The tokens of this step are those that the next but one shows to the server for the first time.
    let mut kept = Vec::new();
    let issue = |_| Ok(Work::from(stage.issue.clone()).keeping());
    bench.step("issuance (api_key)", issue, &mut kept).await?;
    let seen = |_| Ok(Work::from(stage.introspect.clone()));
    bench.step("introspection of seen tokens", seen, &mut Vec::new()).await?;
    let mut tokens = stage::tokens(&kept)?;
    let share = tokens.len() / (bench.runs + 1).max(1);
    let unseen = |_| {
        let tokens = tokens.split_off(tokens.len().saturating_sub(share));
        Ok(Work::from(stage::introspections(&tokens)).once())
    };
    bench.step("introspection of unseen tokens", unseen, &mut Vec::new()).await?;
    let bound = stage.is_bound().await?;
    let name = if bound { "token exchange with DPoP" } else { "token exchange" };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of requests")]
    let most = (bench.seconds * 6000.0) as usize;
    let exchange = |_| Ok(Work::from(stage.exchanges(most)?).once());
    bench.step(name, exchange, &mut Vec::new()).await?;
    for depth in stage::DEPTHS {
        let name = format!("introspection at depth {depth}");
        if bench.is_wanted(&name) {
            let requests = stage.chains(depth).await?;
            bench.step(&name, |_| Ok(Work::from(requests.clone())), &mut Vec::new()).await?;
        }
    }
    if bench.is_wanted("tenants") {
        let [issue, introspect] = stage.in_tenants(stage::TENANTS).await?;
        for (name, requests) in [("tenants: issuance", issue), ("tenants: introspection", introspect)] {
            bench.step(name, |_| Ok(Work::from(requests.clone())), &mut Vec::new()).await?;
        }
    }
    let last = bench.bare().await?;
    bench.rows.push(last);
    Ok(())
}

fn start_bare(home: &Home) -> Result<Server> {
    let address = free_address()?;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args(["bare", &address.to_string()]);
    Server::at(home, command, address, "/")
}

fn setting<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    name: &str,
    default: T,
) -> Result<T> {
    match std::env::var(name) {
        Ok(text) => text.parse().context(name.to_owned()),
        Err(_) => Ok(default),
    }
}
