//! The step of the worker that forgets kept answers.

use super::store;
use crate::kit::app::App;
use crate::kit::error::Result;

/// Any replica: deletes what has expired.
pub async fn forget(app: &App) -> Result<()> {
    Ok(store::forget(&app.db, app.clock.now()).await?)
}
