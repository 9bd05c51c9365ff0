//! `chancery keys`: signing keys and master keys.

use sqlx::PgPool;

use super::arguments::KeysCommand;
use super::database::Database;
use super::say;
use crate::keys::{self, Keys, load_master_key};
use crate::kit::clock::{Clock, Time};
use crate::kit::config::Config;
use crate::kit::db;
use crate::kit::error::Result;

pub(super) async fn run(config: Config, command: KeysCommand) -> Result<()> {
    if matches!(command, KeysCommand::AddMasterKey) {
        let master = keys::add_master_key(&config)?;
        return say(format!("master key {} now seals; the former ones still open", master.id()));
    }
    let database = Database::join(&config).await?;
    let pool = database.pool(&config);
    let outcome = execute(&config, &pool, command).await;
    database.close(pool).await;
    outcome
}

async fn execute(config: &Config, pool: &PgPool, command: KeysCommand) -> Result<()> {
    let clock = Clock::system();
    db::follow(&clock, pool).await?;
    let now = clock.now();
    match command {
        KeysCommand::List => list(pool, now).await,
        KeysCommand::Rotate => {
            let keys = Keys::open(pool, config, load_master_key(config)?, now).await?;
            let (kid, at) = keys::rotate(pool, config, &keys, now).await?;
            say(format!("{kid} signs from {at}"))
        }
        KeysCommand::Revoke { kid } => {
            let keys = Keys::open(pool, config, load_master_key(config)?, now).await?;
            keys::revoke(pool, config, &keys, &kid, now).await?;
            say(format!("{kid} is revoked; its tokens are refused from now on"))
        }
        KeysCommand::Rewrap => {
            let master = load_master_key(config)?;
            let done = keys::rewrap(pool, &master, now).await?;
            say(format!("{done} values were sealed again under master key {}", master.id()))
        }
        KeysCommand::AddMasterKey => Ok(()),
    }
}

async fn list(pool: &PgPool, now: Time) -> Result<()> {
    for key in keys::list(pool, now).await? {
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
