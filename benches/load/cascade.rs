//! A root with ten thousand descendants is revoked: how long the answer takes, whether all of them are inactive once it is
//! there, and how long it takes to tell of each.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use chancery::kit::clock::Stopwatch;
use tokio_util::sync::CancellationToken;

use crate::seed;
use crate::stage::Stage;
use crate::table::Bench;
use crate::traffic::{Work, drive};
use crate::tree::Tree;

const DESCENDANTS: usize = 10_000;

/// How many of them are looked at before, and again as soon as the revocation is answered.
const LOOKS: usize = 1000;

const INACTIVE: &str = r#"{"active":false}"#;

/// Runs the step and prints its table.
pub(crate) async fn measure(bench: &Bench, stage: &Stage, data_dir: &Path) -> Result<()> {
    println!(
        "\n| a root with {DESCENDANTS} below it | revoked, ms | {LOOKS} of them seen inactive, ms | an event for each, ms |"
    );
    println!("|---|---|---|---|");
    let (address, _) = bench.server;
    let mut db = seed::connect(data_dir).await?;
    for number in 1..=bench.runs {
        let tree = Tree::grow(&mut db, address, &stage.issue[0], DESCENDANTS).await?;
        let looks = tree.looks(&mut db, LOOKS).await?;
        let look = async || {
            let work = Arc::new(Work::from(looks.clone()).once().keeping());
            let run = drive(address, bench.connections, work, CancellationToken::new()).await;
            ensure!(run.failures.is_empty(), "{:?}", run.failures.first());
            ensure!(run.bodies.len() == LOOKS, "{} answers", run.bodies.len());
            Ok(run.bodies.iter().filter(|body| *body == INACTIVE).count())
        };
        ensure!(look().await? == 0, "some are inactive before the revocation");
        let watch = Stopwatch::start();
        let revoked = tree.revoke().await?;
        let inactive = look().await?;
        ensure!(inactive == LOOKS, "{} are active after the revocation", LOOKS - inactive);
        let seen = watch.seconds();
        tree.announced(&mut db).await?;
        println!(
            "| run {number} | {:.1} | {:.0} | {:.0} |",
            revoked * 1000.0,
            seen * 1000.0,
            watch.seconds() * 1000.0
        );
    }
    Ok(())
}
