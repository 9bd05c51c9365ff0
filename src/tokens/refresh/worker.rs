//! What may be forgotten of refresh tokens.

use super::{Reuse, store};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::error::Result;

/// How many rows one statement touches at the most.
const ROWS: u64 = 5000;

/// Any replica: takes away successors whose answer is not given again, tokens that expired before `tokens`, and families
/// that ended before `families`.
pub async fn forget(app: &App, tokens: Time, families: Time) -> Result<()> {
    let most = i64::try_from(ROWS)?;
    let sealed = app.clock.now() - Reuse::Reissue.window();
    while store::forget_sealed(&app.db, sealed, most).await? == ROWS {}
    while store::forget_tokens(&app.db, tokens, most).await? == ROWS {}
    while store::forget_families(&app.db, families, most).await? == ROWS {}
    Ok(())
}
