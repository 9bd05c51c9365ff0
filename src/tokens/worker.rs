//! Background work on tokens: events of what was revoked, partitions of the credentials table, and what may be forgotten.

use serde::Serialize;
use sqlx::{Connection, PgConnection};
use time::Duration;
use uuid::Uuid;

use super::revoke::{Anchor, Revocation};
use super::tree::{Node, Walk};
use super::{refresh, store};
use crate::kit::app::App;
use crate::kit::clock::{Stopwatch, Time};
use crate::kit::cx::Tenant;
use crate::kit::error::Result;
use crate::kit::ids;
use crate::outbox;

/// The span of one partition.
const SPAN_SECONDS: i64 = 30 * 86_400;

/// How many months stand ready beyond the present one.
const AHEAD: i64 = 2;

/// How many marks one step announces at the most.
const MARKS: i64 = 1000;

/// How many events are written one after the other without a rest.
const AT_ONCE: usize = 10_000;

/// How long the database is left to others after a page beyond those, for the time that the page took. What is written at full
/// speed fills a segment of the write-ahead log every second, and all commits wait while the next one is made.
const REST: u32 = 2;

/// How many rows one statement deletes at the most.
const ROWS: u64 = 5000;

/// What was used once is remembered for this much longer than it could be used: clocks differ a little.
const GRACE: Duration = Duration::MINUTE;

/// One replica at a time: writes an event for each credential that a mark ended, mark by mark in their order. A mark is
/// announced when the walk below it is complete; until then the walk begins anew, and the table of events keeps each
/// credential's from being written twice.
pub async fn announce(app: &App) -> Result<()> {
    if !store::is_any_unannounced(&app.db).await? {
        return Ok(());
    }
    // Taken out of the pool, so that it closes however this ends, and gives the lock free.
    let mut db = app.db.acquire().await?.detach();
    if store::lock_announcing(&mut db).await? {
        let mut told = 0;
        for mark in store::unannounced(&mut db, MARKS).await? {
            let Some(anchor) = mark.anchor() else { continue };
            if !tell(app, &mut db, &mark, anchor, &mut told).await? {
                break;
            }
            store::set_announced(&mut db, &mark, app.clock.now()).await?;
        }
    }
    Ok(db.close().await?)
}

/// Writes the events of one mark, a page at a time and each page by itself, and counts them. Whether it came to the end
/// before the server was told to stop.
async fn tell(
    app: &App,
    db: &mut PgConnection,
    mark: &Revocation,
    anchor: Anchor,
    told: &mut usize,
) -> Result<bool> {
    let mut walk = Walk::as_of(db, &mark.tenant, anchor, mark.marked_at).await?;
    let mut watch = Stopwatch::start();
    while let Some(nodes) = walk.next(db).await? {
        if app.draining.is_cancelled() {
            return Ok(false);
        }
        let ended = nodes.iter().filter(|node| node.expires_at > mark.marked_at);
        let events = ended.map(|node| event(mark, node)).collect::<Result<Vec<_>>>()?;
        if !events.is_empty() {
            outbox::write(db, app.clock.now(), &events).await?;
        }
        *told += events.len();
        if *told >= AT_ONCE {
            tokio::time::sleep(watch.elapsed() * REST).await;
        }
        watch = Stopwatch::start();
    }
    Ok(true)
}

/// The facts of `credential.revoked`.
#[derive(Debug, Serialize)]
struct Facts<'a> {
    jti: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity_id: Option<Uuid>,
    #[serde(flatten)]
    tenant: &'a Tenant,
    reason: &'a str,
    #[serde(with = "time::serde::rfc3339")]
    revoked_at: Time,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: Time,
}

fn event(mark: &Revocation, node: &Node) -> Result<outbox::Event> {
    let facts = Facts {
        jti: node.jti,
        identity_id: node.identity_id,
        tenant: &mark.tenant,
        reason: &mark.reason,
        revoked_at: mark.marked_at,
        expires_at: node.expires_at,
    };
    Ok(outbox::Event {
        tenant: mark.tenant.clone(),
        event_type: "credential.revoked",
        subject_id: node.jti,
        payload: serde_json::to_value(facts)?,
        occurred_at: mark.marked_at,
    })
}

/// Any replica: deletes what can no longer be asked for, in bounded statements. A mark stays until the last partition
/// with a credential that it ended was dropped, as reports take its time and reason from there.
pub async fn forget(app: &App) -> Result<()> {
    let now = app.clock.now();
    let most = i64::try_from(ROWS)?;
    let kept = kept(app);
    let marks = ids::lower_bound(now - kept - Duration::seconds(SPAN_SECONDS));
    while store::forget_used(&app.db, now - GRACE, most).await? == ROWS {}
    while store::forget_revocations(&app.db, marks, most).await? == ROWS {}
    while outbox::forget(&app.db, now - kept, most).await? == ROWS {}
    refresh::worker::forget(app, now - GRACE, now - kept).await
}

/// How long rows are of use after a token was issued.
fn kept(app: &App) -> Duration {
    let tokens = &app.config.tokens;
    Duration::seconds(tokens.max_ttl_seconds.into()) + Duration::days(tokens.retention_days.into())
}

/// One replica at a time: makes the partitions of this month and the next, drops those that are over. Touches the table
/// only when there is something to do, and then waits for it briefly: a dump may hold it for long.
pub async fn maintain(app: &App) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    store::lock_partitions(&mut tx).await?;
    let known = store::partitions(&mut tx).await?;
    let present = number_of(now);
    for number in present..=present + AHEAD {
        if !known.contains(&name_of(number)) {
            let (lower, upper) = bounds(number)?;
            store::make_partition(&mut tx, &name_of(number), lower, upper).await?;
        }
    }
    let oldest = number_of(now - kept(app));
    for name in known {
        if number_in(&name).is_some_and(|number| number < oldest) {
            store::drop_partition(&mut tx, &name).await?;
            tracing::info!(partition = name, "credentials past their retention were dropped");
        }
    }
    tx.commit().await?;
    Ok(())
}

/// The running number of the month in which `at` lies.
fn number_of(at: Time) -> i64 {
    at.unix_timestamp().div_euclid(SPAN_SECONDS)
}

fn name_of(number: i64) -> String {
    format!("credentials_p{number}")
}

fn number_in(name: &str) -> Option<i64> {
    name.strip_prefix("credentials_p")?.parse().ok()
}

/// The smallest id of the month and that of the next one.
fn bounds(number: i64) -> Result<(Uuid, Uuid)> {
    let start = |number: i64| Time::from_unix_timestamp(number * SPAN_SECONDS).map(ids::lower_bound);
    Ok((start(number)?, start(number + 1)?))
}
