//! Who used the processor, and how much memory the server holds, as the kernel counts it.

use std::fs;

use anyhow::{Context, Result};

/// The unit of the kernel's counters; every Linux that Rust runs on has this one.
const TICKS_PER_SECOND: f64 = 100.0;

/// The processes that are looked at.
pub(crate) struct Meter {
    server: i32,
    postmaster: Option<i32>,
}

/// Seconds of processor time.
pub(crate) struct Used {
    pub(crate) server: f64,
    pub(crate) postgres: f64,
    pub(crate) generator: f64,
}

impl Used {
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            server: self.server - before.server,
            postgres: self.postgres - before.postgres,
            generator: self.generator - before.generator,
        }
    }
}

impl Meter {
    pub(crate) fn new(server: i32, postmaster: Option<i32>) -> Self {
        Self { server, postmaster }
    }

    pub(crate) fn read(&self) -> Result<Used> {
        let own = i32::try_from(std::process::id())?;
        Ok(Used {
            server: stat(self.server)?.seconds(0..2),
            postgres: self.postmaster.map_or(Ok(0.0), family)?,
            generator: stat(own)?.seconds(0..2),
        })
    }

    /// Resident memory of the server and the most it ever was, in MiB.
    pub(crate) fn memory(&self) -> Result<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server))?;
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context(name.to_owned())?;
            anyhow::Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
        };
        Ok((value("VmRSS:")?, value("VmHWM:")?))
    }
}

struct Stat {
    parent: i32,
    /// User and system time of the process, then of its children that ended.
    ticks: Vec<f64>,
}

impl Stat {
    fn seconds(&self, which: std::ops::Range<usize>) -> f64 {
        self.ticks[which].iter().sum::<f64>() / TICKS_PER_SECOND
    }
}

/// Postgres with all its backends, those that ended included.
fn family(postmaster: i32) -> Result<f64> {
    let mut sum = stat(postmaster)?.seconds(0..4);
    for entry in fs::read_dir("/proc")?.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        // A process may end while it is looked at.
        if let Some(stat) = pid.and_then(|pid| stat(pid).ok()).filter(|stat| stat.parent == postmaster) {
            sum += stat.seconds(0..2);
        }
    }
    Ok(sum)
}

fn stat(pid: i32) -> Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may hold spaces and parentheses; the fields after it don't.
    let fields: Vec<&str> = text.rsplit_once(')').context("no name")?.1.split_whitespace().collect();
    let ticks = fields
        .get(11..15)
        .context("too few fields")?
        .iter()
        .map(|field| field.parse())
        .collect::<Result<_, _>>();
    Ok(Stat { parent: fields[1].parse()?, ticks: ticks? })
}
