//! Background work on signals: old ones are forgotten, and streams are woken when the database tells of new ones.

use sqlx::postgres::PgListener;
use time::Duration;
use tokio_util::sync::CancellationToken;

use super::store;
use crate::kit::app::App;
use crate::kit::error::Result;
use crate::kit::ids;

/// How many rows one statement deletes at the most.
const ROWS: u64 = 5000;

/// Any replica: deletes signals past their retention, in bounded statements.
pub async fn forget(app: &App) -> Result<()> {
    let kept = Duration::days(app.config.signals.retention_days.into());
    let before = ids::lower_bound(app.clock.now() - kept);
    while store::forget(&app.db, before, i64::try_from(ROWS)?).await? == ROWS {}
    Ok(())
}

/// Listens until the stop. Only a hint: streams look by themselves too, so what is missed here comes a little later.
pub async fn listen(app: &App, stop: &CancellationToken) -> Result<()> {
    let listen = async {
        let mut listener = PgListener::connect_with(&app.db).await?;
        listener.listen("chancery_signals").await?;
        while listener.try_recv().await?.is_some() {
            app.signals.wake();
        }
        Ok(())
    };
    stop.run_until_cancelled(listen).await.unwrap_or(Ok(()))
}
