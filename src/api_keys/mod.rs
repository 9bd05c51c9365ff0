//! API keys (`zid_sk_…`): what an agent exchanges for tokens. Shown once, stored as keyed hashes.
mod evidence;
mod store;
mod usage;

pub use evidence::Evidence;
pub use usage::{Usage, Use, flush};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::error::Result;
use crate::kit::ids;
use crate::kit::secret::Secret;

/// What tells an API key from other secrets.
pub const PREFIX: &str = "zid_sk_";

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// Whose tokens it obtains.
    pub identity_id: Option<Uuid>,
    /// For whom or what.
    pub name: String,
    /// Scopes it is limited to; `None` does not limit.
    pub scopes: Option<Vec<String>>,
    /// The policy over everything obtained with it.
    pub credential_policy_id: Uuid,
    /// When it ends, if ever.
    pub expires_at: Option<Time>,
    /// The person who made it; becomes `user_id` of what it obtains.
    pub created_by: String,
}

/// What stands for an agent's keys where none is left whose settings the new one could keep.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// Whose keys.
    pub identity_id: Uuid,
    /// The new key's name.
    pub name: String,
    /// The identity's policy.
    pub credential_policy_id: Uuid,
    /// The identity's end.
    pub expires_at: Option<Time>,
    /// The identity's creator.
    pub created_by: String,
}

/// Makes a key and answers its id and its clear text, which nothing can show again.
pub async fn create(app: &App, cx: &mut Cx, new: NewApiKey) -> Result<(Uuid, Secret)> {
    let secret = Secret::generate::<24>(PREFIX)?;
    let id = ids::new(cx.now)?;
    store::insert(cx, id, &new, (secret.prefix(), &app.keys.hash(secret.expose())?)).await?;
    Ok((id, secret))
}

/// Replaces all live keys of an identity by one with the settings of the newest. What the old ones minted lives on.
pub async fn replace_all(app: &App, cx: &mut Cx, with: Replaced) -> Result<Secret> {
    let kept = store::newest(cx, with.identity_id).await?;
    let (scopes, policy, creator) = kept.unwrap_or((None, with.credential_policy_id, with.created_by));
    let new = NewApiKey {
        identity_id: Some(with.identity_id),
        name: with.name,
        scopes,
        credential_policy_id: policy,
        expires_at: with.expires_at,
        created_by: creator,
    };
    let (id, secret) = create(app, cx, new).await?;
    store::replace_others(cx, with.identity_id, id).await?;
    Ok(secret)
}

/// Revokes every key of these identities, with what they minted.
pub async fn revoke_all(cx: &mut Cx, identity_ids: &[Uuid], by: &str, reason: &str) -> Result<()> {
    Ok(store::revoke_all(cx, identity_ids, by, reason).await?)
}

/// Everything an exchange of this key rests on, in one statement. `None`: no such key.
pub async fn evidence(app: &App, db: &mut PgConnection, presented: &str) -> Result<Option<Evidence>> {
    Ok(store::evidence(db, &app.keys.hashes(presented)).await?)
}
