//! Codes and pushed requests past their time are forgotten, in bounded statements, by any replica.

use super::codes::REMEMBERED;
use super::store;
use crate::kit::app::App;
use crate::kit::error::Result;

/// How many rows one statement deletes.
const ROWS: u64 = 1000;

/// One step.
pub async fn forget(app: &App) -> Result<()> {
    let now = app.clock.now();
    let most = i64::try_from(ROWS)?;
    while store::forget_codes(&app.db, now - REMEMBERED, most).await? == ROWS {}
    while store::forget_pushed(&app.db, now, most).await? == ROWS {}
    Ok(())
}
