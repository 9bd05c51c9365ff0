//! Steps between two measurements of the bare answer, and the tables of what came of them.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::cpu::Meter;
use crate::crypto::Speed;
use crate::parts::Part;
use crate::traffic::{self, Request, Run, Work, drive_for};

/// How steps are measured.
pub(crate) struct Bench {
    /// The beginnings of the names of the steps that are run, between commas; none means all.
    pub(crate) steps: String,
    pub(crate) seconds: f64,
    pub(crate) runs: usize,
    pub(crate) connections: usize,
    pub(crate) bare: (SocketAddr, Meter),
    pub(crate) server: (SocketAddr, Meter),
    /// What was measured.
    pub(crate) rows: Vec<Row>,
}

/// One measurement.
#[derive(Clone)]
pub(crate) struct Row {
    name: String,
    per_second: f64,
    /// Beside the mean of the bare answers before and after.
    ratio: f64,
    p50: f64,
    p99: f64,
    /// Microseconds of processor time for each request: the server's, the database's, the generator's.
    server: f64,
    postgres: f64,
    generator: f64,
    memory: (u64, u64),
}

impl Row {
    /// What the request costs without whoever sends it.
    fn cost(&self) -> f64 {
        self.server + self.postgres
    }
}

impl Bench {
    /// Whether the step is one of those that are run.
    pub(crate) fn is_wanted(&self, name: &str) -> bool {
        self.steps.is_empty() || self.steps.split(',').any(|start| name.starts_with(start.trim()))
    }

    /// Keeps the median of several runs by their ratio. `make` is given the number of the run, the first being a warm-up; the
    /// answers of works that keep them go to `kept`.
    pub(crate) async fn step(
        &mut self,
        name: &str,
        mut make: impl FnMut(usize) -> Result<Work>,
        kept: &mut Vec<String>,
    ) -> Result<()> {
        if !self.is_wanted(name) {
            return Ok(());
        }
        // Connections, caches and plans first.
        self.run(name, false, make(0)?, 1.0).await?;
        let mut rows = Vec::new();
        let mut before = self.bare().await?;
        for number in 1..=self.runs {
            let (mut row, run) = self.run(name, false, make(number)?, self.seconds).await?;
            kept.extend(run.bodies);
            let after = self.bare().await?;
            row.ratio = row.per_second / f64::midpoint(before.per_second, after.per_second);
            before = after;
            rows.push(row);
        }
        rows.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
        self.rows.push(rows.swap_remove(rows.len() / 2));
        Ok(())
    }

    /// The bare answer.
    pub(crate) async fn bare(&self) -> Result<Row> {
        let work = Work::from(vec![Request::new("GET", "/", &[], "")]);
        Ok(self.run("bare axum, 200 bytes of JSON", true, work, self.seconds).await?.0)
    }

    async fn run(&self, name: &str, bare: bool, work: Work, seconds: f64) -> Result<(Row, Run)> {
        let (address, meter) = if bare { &self.bare } else { &self.server };
        let before = meter.read()?;
        let run = drive_for(seconds, *address, self.connections, Arc::new(work)).await;
        let used = meter.read()?.since(&before);
        ensure!(run.failures.is_empty(), "{name}: {:#?}", &run.failures[..run.failures.len().min(5)]);
        ensure!(!run.times.is_empty(), "{name}: no request was answered");
        let each = |seconds: f64| seconds * 1e6 / traffic::count(run.times.len());
        let row = Row {
            name: name.to_owned(),
            per_second: run.per_second(),
            ratio: 1.0,
            p50: run.percentile(0.5),
            p99: run.percentile(0.99),
            server: each(used.server),
            postgres: each(used.postgres),
            generator: each(used.generator),
            memory: meter.memory()?,
        };
        Ok((row, run))
    }
}

/// What a request consists of, by the names of its parts; the first bare answer is part of each.
fn made_of(name: &str) -> &'static [&'static str] {
    match name.split(' ').next() {
        Some("issuance") => &["key read", "signature", "write"],
        Some("introspection") => &["token read"],
        Some("token") if name.ends_with("DPoP") => {
            &["client read", "exchange read", "verification", "signature", "write of what works once"]
        }
        Some("token") => &["client read", "exchange read", "signature", "write"],
        _ => &[],
    }
}

/// Prints the steps, each with the sum of its parts, and the parts.
pub(crate) fn print(rows: &[Row], parts: &[Part], speed: &Speed) {
    let bare = rows.first().map_or(0.0, Row::cost);
    let mut costs: Vec<(&str, f64)> = parts.iter().map(|part| (part.name, part.micros)).collect();
    costs.push(("signature", 1e6 / speed.signatures));
    costs.push(("verification", 1e6 / speed.verifications));
    println!(
        "| | a second | x bare | p50 ms | p99 ms | server µs | Postgres µs | generator µs | parts µs | cost / parts | \
         RSS (most) MiB |\n|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for row in rows {
        let names = made_of(&row.name);
        let of = |name: &&str| costs.iter().find(|(known, _)| known == name).map_or(0.0, |(_, cost)| *cost);
        let sum = bare + names.iter().map(of).sum::<f64>();
        let (sum, ratio) = match names {
            // A chain's ancestors are no part that is measured alone.
            [] => (String::new(), String::new()),
            _ if row.name.contains("depth") => (String::new(), String::new()),
            _ => (format!("{sum:.0}"), format!("{:.2}", row.cost() / sum)),
        };
        println!(
            "| {} | {:.0} | {:.3} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} | {sum} | {ratio} | {} ({}) |",
            row.name,
            row.per_second,
            row.ratio,
            row.p50,
            row.p99,
            row.server,
            row.postgres,
            row.generator,
            row.memory.0,
            row.memory.1,
        );
    }
    println!("\n| part, alone | µs |\n|---|---|\n| bare answer | {bare:.1} |");
    for (name, cost) in costs {
        println!("| {name} | {cost:.1} |");
    }
}
