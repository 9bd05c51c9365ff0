//! Our own tokens are recognised by digest: the row holds the SHA-256 of the token as issued, so equal bytes prove that
//! we issued them, and no signature has to be checked.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use uuid::Uuid;

use super::store;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::config::Limits;
use crate::kit::db::rows;
use crate::kit::error::Result;
use crate::kit::secret;

/// A credential row with what it rests on, found for a presented token.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Found {
    /// The token's id.
    pub jti: Uuid,
    /// With `project_id` the tenant.
    pub account_id: String,
    /// See `account_id`.
    pub project_id: String,
    /// The digest of the token as issued.
    pub token_sha256: Vec<u8>,
    /// Who holds it.
    pub identity_id: Option<Uuid>,
    /// The client that obtained it, if one did.
    pub oauth_client_id: Option<Uuid>,
    /// Its `sub`.
    pub subject: String,
    /// Who presents it: the newest actor, or the subject itself.
    pub presenter: String,
    /// The person behind it, "" if unknown.
    pub user_id: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// For whom it is meant.
    pub audience: Vec<String>,
    /// Short name of the grant that it came by.
    pub grant_type: String,
    /// How deep it stands; a root has 0.
    pub delegation_depth: i32,
    /// The thumbprint of the key it is bound to.
    pub jkt: Option<String>,
    /// The holder's state now.
    pub agent_status: Option<String>,
    /// "" while it and all it rests on stand, else why not.
    pub revocation: String,
    /// Its end, or that of something it rests on.
    pub active_until: Time,
}

impl Found {
    /// Whether it stands at `now`.
    pub fn is_active(&self, now: Time) -> bool {
        self.revocation.is_empty() && self.active_until > now
    }
}

/// The credential of a presented token, active or not; `None` for anything that is not byte for byte a token of ours.
pub async fn find(app: &App, token: &str) -> Result<Option<Found>> {
    let Some(payload) = payload(token) else { return Ok(None) };
    find_by(app, token, &payload).await
}

async fn find_by(app: &App, token: &str, payload: &[u8]) -> Result<Option<Found>> {
    let Some(id) = id_in(token, payload, &app.config.limits) else { return Ok(None) };
    let found = app.find_token(id).await?;
    Ok(found.filter(|found| digest_matches(&found.token_sha256, token)))
}

/// Credentials by their ids, each with everything it rests on. Those that say that they are roots are looked for among the
/// roots, for which no ancestors need be found; all others, and who is not found there, among all.
pub async fn find_all(db: &mut PgConnection, ids: &[TokenId]) -> sqlx::Result<Vec<Option<rows::Row>>> {
    let roots: Vec<Uuid> = ids.iter().filter(|id| id.is_root).map(|id| id.jti).collect();
    let found = if roots.is_empty() { Vec::new() } else { store::find_roots(db, &roots).await? };
    let mut found = rows::to_askers(found, "jti", ids, is_of)?;
    let missing: Vec<Uuid> =
        ids.iter().zip(&found).filter(|(_, row)| row.is_none()).map(|(id, _)| id.jti).collect();
    if !missing.is_empty() {
        let others = rows::to_askers(store::find(db, &missing).await?, "jti", ids, is_of)?;
        found = found.into_iter().zip(others).map(|(root, other)| root.or(other)).collect();
    }
    Ok(found)
}

fn is_of(jti: &Uuid, id: &TokenId) -> bool {
    *jti == id.jti
}

/// Whether a token is byte for byte the one that was issued with this digest, in constant time.
pub(super) fn digest_matches(digest: &[u8], token: &str) -> bool {
    secret::same(digest, &secret::sha256(token.as_bytes()))
}

/// The credential of a presented token if it stands.
pub async fn verify(app: &App, token: &str, now: Time) -> Result<Option<Found>> {
    Ok(find(app, token).await?.filter(|found| found.is_active(now)))
}

/// The same for whoever has the text of its claims already.
pub async fn verify_by(app: &App, token: &str, payload: &[u8], now: Time) -> Result<Option<Found>> {
    Ok(find_by(app, token, payload).await?.filter(|found| found.is_active(now)))
}

/// The claims of a token that was found to be ours.
pub fn claims_of(token: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&payload(token)?).ok()
}

/// The same without reading what they hold, for whoever passes them on. `None` also for a name that is written with an
/// escape, which none of ours is.
pub fn raw_claims(payload: &[u8]) -> Option<BTreeMap<&str, &RawValue>> {
    serde_json::from_slice(payload).ok()
}

/// What a token says of itself, not to be believed yet: it decides where is looked first, not what is found.
#[derive(Clone, Copy, Debug)]
pub struct TokenId {
    /// Its id.
    pub jti: Uuid,
    /// Whether it says that it was not delegated.
    pub is_root: bool,
}

pub(super) fn id_of(token: &str, limits: &Limits) -> Option<TokenId> {
    id_in(token, &payload(token)?, limits)
}

fn id_in(token: &str, payload: &[u8], limits: &Limits) -> Option<TokenId> {
    #[derive(Deserialize)]
    struct Id {
        jti: Uuid,
        #[serde(default)]
        delegation_depth: i32,
    }
    if token.len() > limits.token_bytes {
        return None;
    }
    let Id { jti, delegation_depth } = serde_json::from_slice(payload).ok()?;
    Some(TokenId { jti, is_root: delegation_depth == 0 })
}

/// The text of the claims; nothing of it is to be believed yet.
pub fn payload(token: &str) -> Option<Vec<u8>> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    URL_SAFE_NO_PAD.decode(payload).ok()
}
