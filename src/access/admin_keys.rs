//! Admin keys: made on the command line, shown once, stored as keyed hashes.

use serde::Serialize;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use time::Duration;
use uuid::Uuid;

use super::scope::Scopes;
use super::{Authenticated, store};
use crate::audit::{self, Event};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::config::Networks;
use crate::kit::cx::{Authority, Caller, Cx, Tenant};
use crate::kit::error::{Kind, Result, refuse};
use crate::kit::ids;
use crate::kit::secret::Secret;
use crate::tenancy;

/// What tells an admin key from a token.
pub(super) const PREFIX: &str = "sk_live_";

/// The scopes of a key for which none were named.
const DEFAULT_SCOPES: [&str; 2] = ["nhi:manage", "credentials:manage"];

/// An admin key as stored.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct AdminKey {
    /// Its id, by which it is revoked.
    pub id: Uuid,
    /// With `project_id` the tenant; both absent for an operator's key.
    pub account_id: Option<String>,
    /// See `account_id`.
    pub project_id: Option<String>,
    /// For whom or what it was made.
    pub name: String,
    /// Its first characters.
    pub key_prefix: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: Time,
    /// When it ends, if ever.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<Time>,
    /// When it was revoked, if it was.
    #[serde(with = "time::serde::rfc3339::option")]
    pub revoked_at: Option<Time>,
    /// When it was last used, to the minute.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_used_at: Option<Time>,
    /// The networks it may be used from, separated by commas; "" for any.
    pub ip_allowlist: String,
}

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewAdminKey {
    /// For whom or what.
    pub name: String,
    /// The one tenant it works in; `None` makes an operator's key.
    pub tenant: Option<Tenant>,
    /// What it may do; empty means the ordinary administrative scopes.
    pub scopes: Vec<String>,
    /// How long it lives.
    pub lifetime: Option<Duration>,
    /// The networks it may be used from; none means any.
    pub allowed_networks: Networks,
}

/// Makes a key and answers its clear text, which nothing can show again.
pub async fn create(app: &App, new: NewAdminKey) -> Result<Secret> {
    let now = app.clock.now();
    if new.name.trim().is_empty() {
        return Err(refuse(Kind::InvalidRequest, "an admin key needs a name that says whose it is"));
    }
    if let Some(tenant) = &new.tenant {
        tenancy::tenant(&tenant.account_id, &tenant.project_id)?;
    }
    let named = Scopes::of(new.scopes.iter().map(String::as_str), app.config.limits.scopes)?;
    let scopes =
        if named.is_empty() { DEFAULT_SCOPES.map(str::to_owned).to_vec() } else { named.as_slice().to_vec() };
    let secret = Secret::generate::<32>(PREFIX)?;
    let key = AdminKey {
        id: ids::new(now)?,
        account_id: new.tenant.as_ref().map(|tenant| tenant.account_id.clone()),
        project_id: new.tenant.as_ref().map(|tenant| tenant.project_id.clone()),
        name: new.name,
        key_prefix: secret.prefix().to_owned(),
        scopes,
        created_at: now,
        expires_at: new.lifetime.map(|lifetime| now + lifetime),
        revoked_at: None,
        last_used_at: None,
        ip_allowlist: new.allowed_networks.into(),
    };
    let mut cx = Cx::command_line(app.db.begin().await?, new.tenant, now);
    if key.account_id.is_some() {
        tenancy::ensure(&mut cx).await?;
    }
    store::insert(&mut cx.tx, &key, &app.keys.hash(secret.expose())?).await?;
    let facts = json!({ "name": key.name, "scopes": key.scopes });
    audit::record(&mut cx, Event::new("admin_key.created", "admin_key", key.id).with(facts)).await?;
    cx.tx.commit().await?;
    Ok(secret)
}

/// Every key, newest first.
pub async fn list(db: &PgPool) -> Result<Vec<AdminKey>> {
    Ok(store::list(db).await?)
}

/// Ends a key at once.
pub async fn revoke(db: &PgPool, id: Uuid, now: Time) -> Result<()> {
    let mut cx = Cx::command_line(db.begin().await?, None, now);
    if store::revoke(&mut cx.tx, id, now).await? {
        audit::record(&mut cx, Event::new("admin_key.revoked", "admin_key", id)).await?;
        cx.tx.commit().await?;
        return Ok(());
    }
    Err(refuse(Kind::NotFound, "there is no live admin key with this id; see `chancery admin list-keys`"))
}

pub(super) async fn authenticate(
    app: &App,
    db: &mut PgConnection,
    presented: &str,
    now: Time,
) -> Result<Authenticated> {
    let found = store::by_hash(db, &app.keys.hashes(presented)).await?;
    let live = |key: &AdminKey| key.revoked_at.is_none() && key.expires_at.is_none_or(|at| at > now);
    let key = found
        .filter(live)
        .ok_or_else(|| refuse(Kind::InvalidToken, "the admin key is unknown, expired or revoked"))?;
    let networks = key.ip_allowlist.parse().map_err(|why: String| {
        anyhow::anyhow!("the allow list of admin key {} can't be read: {why}", key.id)
    })?;
    store::touch(db, key.id, now).await?;
    let tenant =
        key.account_id.zip(key.project_id).map(|(account_id, project_id)| Tenant { account_id, project_id });
    Ok(Authenticated {
        caller: Caller {
            kind: "admin_key",
            id: key.id.to_string(),
            user: None,
            across_tenants: tenant.is_none(),
            authority: Authority::Scopes(key.scopes),
        },
        tenant,
        networks,
    })
}
