//! Partitions of the credentials table: a month of thirty days each, made ahead, dropped whole when no token in them can
//! live and their retention is over.

use time::Duration;
use uuid::Uuid;

use super::store;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::error::Result;
use crate::kit::ids;

/// The span of one partition.
const SPAN_SECONDS: i64 = 30 * 86_400;

/// How many months stand ready beyond the present one.
const AHEAD: i64 = 2;

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
    let kept =
        i64::from(app.config.tokens.max_ttl_seconds) + i64::from(app.config.tokens.retention_days) * 86_400;
    let oldest = number_of(now - Duration::seconds(kept));
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
