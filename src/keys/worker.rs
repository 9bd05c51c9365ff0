//! The steps of the keys' workers.

use super::{rotation, store};
use crate::kit::app::App;
use crate::kit::db;
use crate::kit::error::Result;

/// Every replica: reads the ring again and brings the clock onto the database's.
pub async fn refresh(app: &App) -> Result<()> {
    db::follow(&app.clock, &app.db).await?;
    app.keys.refresh(&app.db, app.clock.now()).await
}

/// One replica at a time: publishes the next key in good time and notes when superseded ones retire.
pub async fn rotate(app: &App) -> Result<()> {
    let mut tx = app.db.begin().await?;
    if store::try_lock(&mut tx).await? {
        rotation::ensure(&mut tx, &app.config, &app.keys.master, app.clock.now()).await?;
        tx.commit().await?;
    }
    Ok(())
}
