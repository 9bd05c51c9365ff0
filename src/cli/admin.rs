//! `chancery admin`: admin keys are made and revoked on the machine, never over HTTP.

use sqlx::PgPool;
use time::Duration;
use uuid::Uuid;

use super::arguments::{AdminCommand, CreateKeyArgs};
use super::database::Database;
use super::say;
use crate::access::{self, AdminKey, NewAdminKey};
use crate::keys::load_master_key;
use crate::kit::app::App;
use crate::kit::clock::Clock;
use crate::kit::config::Config;
use crate::kit::cx::Tenant;
use crate::kit::error::{Kind, Result, refuse};

pub(super) async fn run(config: Config, command: AdminCommand) -> Result<()> {
    let database = Database::join(&config).await?;
    database.prepare(&config).await?;
    let pool = database.pool(&config);
    let outcome = match command {
        AdminCommand::CreateKey(arguments) => create(config, pool.clone(), arguments).await,
        AdminCommand::ListKeys => list(&pool).await,
        AdminCommand::RevokeKey { id } => revoke(&pool, &id).await,
    };
    database.close(pool).await;
    outcome
}

async fn create(config: Config, pool: PgPool, arguments: CreateKeyArgs) -> Result<()> {
    let master = load_master_key(&config)?;
    let app = App::open(config, Clock::system(), pool, master).await?;
    let tenant = arguments.account.zip(arguments.project);
    let new = NewAdminKey {
        name: arguments.name,
        tenant: tenant.map(|(account_id, project_id)| Tenant { account_id, project_id }),
        scopes: arguments.scopes,
        allowed_networks: arguments
            .allowed_networks
            .join(",")
            .parse()
            .map_err(|why: String| anyhow::anyhow!(why))?,
        lifetime: arguments.expires_in_days.map(|days| Duration::days(days.into())),
    };
    let secret = access::create(&app, new).await?;
    say(secret.expose())
}

async fn list(pool: &PgPool) -> Result<()> {
    for key in access::list(pool).await? {
        say(line(&key))?;
    }
    Ok(())
}

fn line(key: &AdminKey) -> String {
    let tenant = match (&key.account_id, &key.project_id) {
        (Some(account), Some(project)) => format!("{account}/{project}"),
        _ => "operator".to_owned(),
    };
    let state = if key.revoked_at.is_some() { "revoked" } else { "live" };
    let used = key.last_used_at.map_or_else(|| "never used".to_owned(), |at| format!("last used {at}"));
    let networks = if key.ip_allowlist.is_empty() { "any network" } else { &key.ip_allowlist };
    format!(
        "{}  {}…  {state:<7}  {tenant}  {}  {}  {networks}  {used}",
        key.id,
        key.key_prefix,
        key.scopes.join(" "),
        key.name
    )
}

async fn revoke(pool: &PgPool, id: &str) -> Result<()> {
    let unreadable = |_| refuse(Kind::Invalid, "the id is not a UUID; see `chancery admin list-keys`");
    access::revoke(pool, Uuid::try_parse(id).map_err(unreadable)?, Clock::system().now()).await?;
    say("revoked")
}
