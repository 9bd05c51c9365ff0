//! Tenants who issue and introspect at a moderate rate, alone and beside somebody whose record is in the way of the grouped
//! writes: one that waits for a lock, one that spoils its batch, and a large tree that is revoked.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use chancery::access::possession::PROOF;
use chancery::kit::clock::Stopwatch;
use sqlx::{Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::seed;
use crate::stage::Stage;
use crate::steady::steady;
use crate::table::Bench;
use crate::traffic::{Connection, Request, Run};
use crate::tree::Tree;

/// How many hang below the root that is revoked.
const DESCENDANTS: usize = 100_000;

/// The request whose audit row the database refuses.
const POISONED: &str = "poisoned";

/// Keys a second that are none, from an address that is never locked out.
const WRONG_KEYS: f64 = 1000.0;

/// How often such a request comes.
const BETWEEN_POISONED: Duration = Duration::from_millis(100);

/// The neighbours, and how they are measured.
struct Street<'a> {
    bench: &'a Bench,
    stage: &'a Stage,
    /// Requests a second of each kind.
    rate: f64,
}

/// Issuance and introspection of one measurement.
struct Measured([Run; 2]);

/// Runs the step and prints its table.
pub(crate) async fn measure(bench: &Bench, stage: &Stage, data_dir: &Path) -> Result<()> {
    let street = Street { bench, stage, rate: crate::setting("CHANCERY_LOAD_RATE", 500.0)? };
    let mut db = seed::connect(data_dir).await?;
    let tree = Tree::grow(&mut db, bench.server.0, &stage.issue[0], DESCENDANTS).await?;
    // A database that has run for a while has segments of its log to use again; a new one makes each, which stalls all commits.
    sqlx::query("checkpoint").execute(&mut db).await?;
    println!(
        "\n| neighbours, {} a second of each | issuance p50 ms | p99 ms | x alone | introspection p50 ms | p99 ms | x alone | refused |\n\
         |---|---|---|---|---|---|---|---|",
        street.rate
    );
    // Connections, caches and plans first.
    street.alone().await?;
    let first = street.alone().await?;
    let slow = street.beside_slow(&mut db).await?;
    let second = street.alone().await?;
    let poisoned = street.beside_poisoned(&mut db).await?;
    let third = street.alone().await?;
    let (guessed, grown) = street.beside_wrong_keys().await?;
    let fourth = street.alone().await?;
    let (revoked, events, beside_tree) = street.beside_tree(&mut db, &tree).await?;
    let last = street.alone().await?;
    first.print("alone", None);
    slow.print("beside a record that waits for a lock", Some([&first, &second]));
    second.print("alone", None);
    poisoned.print("beside records that spoil their batch", Some([&second, &third]));
    third.print("alone", None);
    guessed.print(&format!("beside {WRONG_KEYS} wrong keys a second"), Some([&third, &fourth]));
    fourth.print("alone", None);
    beside_tree.print(&format!("while {DESCENDANTS} are revoked and announced"), Some([&fourth, &last]));
    last.print("alone", None);
    println!(
        "\nThe wrong keys took {grown} MiB. The tree was revoked in {:.1} ms and announced in {events:.1} s.",
        revoked * 1000.0
    );
    Ok(())
}

impl Street<'_> {
    /// The neighbours, until `stop`.
    async fn run(&self, stop: &CancellationToken) -> Result<Measured> {
        let (address, _) = self.bench.server;
        let each = |requests: &[Request]| steady(address, self.rate, requests.to_vec(), stop.clone());
        let (issuance, introspection) = tokio::join!(each(&self.stage.issue), each(&self.stage.introspect));
        Ok(Measured([issuance?, introspection?]))
    }

    /// The same for as long as a step lasts.
    async fn run_for_a_step(&self, stop: &CancellationToken) -> Result<Measured> {
        let seconds = Duration::from_secs_f64(self.bench.seconds);
        let (measured, ()) = tokio::join!(self.run(stop), async {
            tokio::time::sleep(seconds).await;
            stop.cancel();
        });
        measured
    }

    async fn alone(&self) -> Result<Measured> {
        self.run_for_a_step(&CancellationToken::new()).await
    }

    /// A proof is presented that another session uses up and does not commit; who is told no presents it again.
    async fn beside_slow(&self, db: &mut PgConnection) -> Result<Measured> {
        let (request, key) = self.stage.exchange_once()?;
        let mut tx = db.begin().await?;
        sqlx::query(
            "insert into used_once (kind, key, used_by, expires_at)
             values ($1, $2, gen_random_uuid(), now() + interval '1 hour')",
        )
        .bind(PROOF)
        .bind(&key[..])
        .execute(&mut *tx)
        .await?;
        let stop = CancellationToken::new();
        let culprit = self.repeat(request, Duration::ZERO, &stop);
        while !is_any_waiting(&mut tx).await? {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let measured = self.run_for_a_step(&stop).await;
        tx.rollback().await?;
        culprit.await?;
        measured
    }

    /// Again and again a request comes whose audit row the database refuses.
    async fn beside_poisoned(&self, db: &mut PgConnection) -> Result<Measured> {
        sqlx::query(
            "alter table audit_events add constraint poisoned check (request_id <> 'poisoned') not valid",
        )
        .execute(&mut *db)
        .await?;
        let request = self.stage.issue[0].clone().with_header(&format!("X-Request-ID: {POISONED}"));
        let stop = CancellationToken::new();
        let culprit = self.repeat(request.expecting(500), BETWEEN_POISONED, &stop);
        let measured = self.run_for_a_step(&stop).await;
        let refused = culprit.await?;
        sqlx::query("alter table audit_events drop constraint poisoned").execute(db).await?;
        anyhow::ensure!(refused > 0, "no request was refused for its audit row");
        measured
    }

    /// Somebody tries keys. Answers also by how many MiB the server grew.
    async fn beside_wrong_keys(&self) -> Result<(Measured, u64)> {
        let (address, meter) = &self.bench.server;
        let guess = |number: usize| {
            let pairs = [("grant_type", "api_key"), ("api_key", &format!("zid_sk_{number:043}"))];
            Request::form("/oauth2/token", &pairs).expecting(400)
        };
        let before = meter.memory()?.0;
        let stop = CancellationToken::new();
        let guesses = steady(*address, WRONG_KEYS, (0..1000).map(guess).collect(), stop.clone());
        let (guesses, measured) = tokio::join!(guesses, self.run_for_a_step(&stop));
        let guesses = guesses?;
        anyhow::ensure!(guesses.failures.is_empty(), "a wrong key: {:?}", guesses.failures.first());
        Ok((measured?, meter.memory()?.0.saturating_sub(before)))
    }

    /// Until everything is told. Answers also the seconds of the revocation, and until its last event.
    async fn beside_tree(&self, db: &mut PgConnection, tree: &Tree) -> Result<(f64, f64, Measured)> {
        let stop = CancellationToken::new();
        let revocation = async {
            let watch = Stopwatch::start();
            let done = async {
                let revoked = tree.revoke().await?;
                tree.announced(db).await?;
                anyhow::Ok((revoked, watch.seconds()))
            };
            let done = done.await;
            stop.cancel();
            done
        };
        let (measured, done) = tokio::join!(self.run(&stop), revocation);
        let (revoked, announced) = done?;
        Ok((revoked, announced, measured?))
    }

    /// Sends a request again and again, and answers how often its answer was the right one.
    fn repeat(
        &self,
        request: Request,
        between: Duration,
        stop: &CancellationToken,
    ) -> impl Future<Output = Result<usize>> + use<> {
        let (mut connection, stop) = (Connection::new(self.bench.server.0), stop.clone());
        let task = tokio::spawn(async move {
            let mut right = 0;
            while !stop.is_cancelled() {
                right += usize::from(connection.send(&request).await.is_ok());
                tokio::time::sleep(between).await;
            }
            right
        });
        async move { task.await.context("the culprit") }
    }
}

/// Whether some session waits for a lock.
async fn is_any_waiting(db: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from pg_locks where not granted)").fetch_one(db).await
}

impl Measured {
    fn print(&self, name: &str, alone: Option<[&Self; 2]>) {
        let cells = |kind: usize| {
            let own = &self.0[kind];
            let ratio = alone.map_or(String::new(), |[before, after]| {
                let p99 = |measured: &Self| measured.0[kind].percentile(0.99);
                format!("{:.2}", own.percentile(0.99) / f64::midpoint(p99(before), p99(after)))
            });
            format!("{:.2} | {:.2} | {ratio}", own.percentile(0.5), own.percentile(0.99))
        };
        let refused: usize = self.0.iter().map(|run| run.failures.len()).sum();
        println!("| {name} | {} | {} | {refused} |", cells(0), cells(1));
    }
}
