//! `chancery keys list`.

use super::database::Database;
use super::say;
use crate::keys;
use crate::kit::clock::Clock;
use crate::kit::config::Config;
use crate::kit::error::Result;

pub(super) async fn list(config: &Config) -> Result<()> {
    let database = Database::join(config).await?;
    let pool = database.pool(config);
    let listed = keys::list(&pool, Clock::system().now()).await;
    database.close(pool).await;
    for key in listed? {
        let state = serde_json::to_value(key.state)?;
        say(format!(
            "{}  {:<10} active from {}",
            key.kid,
            state.as_str().unwrap_or_default(),
            key.activate_at
        ))?;
    }
    Ok(())
}
