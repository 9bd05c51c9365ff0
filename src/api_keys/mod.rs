//! API keys (`zid_sk_…`): what an agent exchanges for tokens. Shown once, stored as keyed hashes.
mod evidence;
mod issue;
mod store;
mod types;
mod usage;

pub mod routes;

pub use evidence::Evidence;
pub use issue::{KeyRequest, Shown, issue};
pub use store::Filter;
pub use types::{ApiKey, Environment, NewApiKey, Settings, State};
pub use usage::{Usage, Use, flush};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::db::rows;
use crate::kit::error::{Error, Kind, Result, refuse};
use crate::kit::secret::Secret;
use crate::tokens::{self, Anchor};

/// What tells an API key from other secrets.
pub const PREFIX: &str = "zid_sk_";

/// Makes a key and answers its clear text, which nothing can show again.
pub async fn create(app: &App, cx: &mut Cx, new: NewApiKey) -> Result<Secret> {
    let secret = Secret::generate::<24>(PREFIX)?;
    store::insert(cx, &new, (secret.prefix(), &app.keys.hash(secret.expose())?)).await?;
    Ok(secret)
}

/// The settings of an identity's newest key, a live one before a dead one.
pub async fn newest(cx: &mut Cx, identity_id: Uuid) -> Result<Option<Settings>> {
    Ok(store::newest(cx, identity_id).await?)
}

/// Makes a key that replaces all live keys of its identity. What the old ones minted lives on.
pub async fn replace_all(app: &App, cx: &mut Cx, new: NewApiKey) -> Result<Secret> {
    let (id, identity_id) = (new.id, new.identity_id);
    let secret = create(app, cx, new).await?;
    store::replace_others(cx, identity_id, id).await?;
    Ok(secret)
}

/// One key of the tenant.
pub async fn get(cx: &mut Cx, id: Uuid) -> Result<ApiKey> {
    let found = store::by_ids(cx, &[id]).await?;
    found.into_iter().next().ok_or_else(|| refuse(Kind::NotFound, "there is no API key with this id"))
}

/// A page of the tenant's keys, newest first, and the number of all that match.
pub async fn list(cx: &mut Cx, filter: &Filter, limit: i64, offset: i64) -> Result<(Vec<ApiKey>, i64)> {
    let (ids, total) = store::page(cx, filter, limit, offset).await?;
    Ok((store::by_ids(cx, &ids).await?, total))
}

/// The live keys whose end comes until then, the nearest first.
pub async fn ending(cx: &mut Cx, until: Time, most: i64) -> Result<Vec<ApiKey>> {
    let ids = store::ending(cx, until, most).await?;
    let mut keys = store::by_ids(cx, &ids).await?;
    keys.sort_by_key(|key| (key.expires_at, key.id));
    Ok(keys)
}

/// Ends a key with all that it minted, at once and everywhere. A replaced or expired key can be revoked too.
pub async fn revoke(cx: &mut Cx, id: Uuid, reason: &str) -> Result<ApiKey> {
    if !store::revoke(cx, id, reason).await? {
        return Err(unknown());
    }
    tokens::note(cx, Anchor::ApiKey(id), reason).await?;
    get(cx, id).await
}

/// Revokes every key of identities that end. No mark is noted: those of the identities cover what they minted.
pub async fn revoke_all(cx: &mut Cx, identity_ids: &[Uuid], by: &str, reason: &str) -> Result<()> {
    Ok(store::revoke_all(cx, identity_ids, by, reason).await?)
}

/// Everything an exchange of this key rests on. `None`: no such key.
pub async fn evidence(app: &App, presented: &str) -> Result<Option<Evidence>> {
    app.find_key(app.keys.hashes(presented)).await
}

/// The same for many keys in one statement, each by its hashes under every pepper.
pub async fn find(db: &mut PgConnection, keys: &[Vec<Vec<u8>>]) -> sqlx::Result<Vec<Option<rows::Row>>> {
    let found = store::evidence(db, &keys.concat()).await?;
    rows::to_askers(found, "key_hash", keys, |hash: &Vec<u8>, hashes| hashes.contains(hash))
}

/// A key that was revoked before, another tenant's and none at all are the same answer.
fn unknown() -> Error {
    refuse(Kind::NotFound, "there is no API key with this id that could be revoked")
}
