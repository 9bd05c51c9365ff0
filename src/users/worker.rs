//! Links past their time are forgotten, in bounded statements, by any replica.

use super::store;
use crate::kit::app::App;
use crate::kit::error::Result;

/// How many rows one statement deletes.
const ROWS: u64 = 1000;

/// One step.
pub async fn forget(app: &App) -> Result<()> {
    let most = i64::try_from(ROWS)?;
    while store::forget_links(&app.db, app.clock.now(), most).await? == ROWS {}
    Ok(())
}
