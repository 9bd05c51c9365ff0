//! Background work: each worker is a step of some capability and a loop here that repeats it until the stop.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::kit::app::App;
use crate::kit::db;
use crate::kit::error::Result;

/// How often the clock is brought onto the database's.
const CLOCK_EVERY: Duration = Duration::from_secs(30);

/// Starts every worker; they end at a step's end after `stop`.
pub fn start(app: &Arc<App>, stop: CancellationToken) -> TaskTracker {
    let tracker = TaskTracker::new();
    let clock = app.clone();
    tracker.spawn(async move {
        while pause(CLOCK_EVERY, &stop).await {
            if let Err(error) = follow_clock(&clock).await {
                tracing::warn!(?error, "the database's time could not be read");
            }
        }
    });
    tracker.close();
    tracker
}

/// Waits; false when it is time to stop.
async fn pause(period: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(period) => true,
    }
}

async fn follow_clock(app: &App) -> Result<()> {
    app.clock.follow(db::time(&app.db).await?);
    Ok(())
}
