//! The key to which an agent's tokens are bound, once one is registered: the agent then obtains no others.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{lock, store};
use crate::kit::config::Limits;
use crate::kit::cx::Cx;
use crate::kit::error::{Kind, Result, refuse_at};
use crate::kit::http::limits::check_text;
use crate::kit::jwk::PublicJwk;
use crate::tokens;

/// A key to be registered. Members it does not know are ignored.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct NewDpopKey {
    /// The public half as a JWK.
    #[serde(default)]
    #[schema(value_type = Object, required = true)]
    pub new_public_jwk: Value,
    /// Why, for the audit log.
    #[serde(default)]
    pub reason: Option<String>,
}

/// The keys before and after, and what the change ended.
#[derive(Clone, Debug)]
pub struct DpopKeyRotated {
    /// The thumbprint of the key before, "" if there was none.
    pub old_jkt: String,
    /// The thumbprint of the key now.
    pub new_jkt: String,
    /// How many tokens ended.
    pub revoked: usize,
}

/// Registers the key or replaces the one before it, and ends the tokens that the agent holds with all below them: they are
/// bound to another key or to none. Registering the same key again changes nothing.
pub async fn rotate_dpop_key(
    cx: &mut Cx,
    id: Uuid,
    new: &NewDpopKey,
    limits: &Limits,
) -> Result<DpopKeyRotated> {
    check_text("reason", new.reason.as_deref().unwrap_or_default(), limits)?;
    let new_jkt = thumbprint(&new.new_public_jwk, "body.new_public_jwk")?;
    let agent = lock(cx, id).await?;
    if agent.dpop_jkt.as_deref() == Some(&new_jkt) {
        return Ok(DpopKeyRotated { old_jkt: new_jkt.clone(), new_jkt, revoked: 0 });
    }
    // By a new epoch, as everywhere: a token that is being issued on the former evidence is born dead, and none comes back
    // to life when the former key does.
    let ended = tokens::changed_by(cx, &[agent.anchor()]).await?;
    store::set_dpop_jkt(cx, id, &new_jkt).await?;
    tokens::note(cx, agent.anchor(), "dpop_key_rotated").await?;
    Ok(DpopKeyRotated { old_jkt: agent.dpop_jkt.unwrap_or_default(), new_jkt, revoked: ended.len() })
}

/// The thumbprint of the key that a registration names in `metadata.dpop_public_jwk`, as an object or as its text.
pub(super) fn of_metadata(metadata: &Map<String, Value>) -> Result<Option<String>> {
    let at = "body.metadata.dpop_public_jwk";
    match metadata.get("dpop_public_jwk") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            let parsed = serde_json::from_str(text).unwrap_or(Value::Null);
            thumbprint(&parsed, at).map(Some)
        }
        Some(value) => thumbprint(value, at).map(Some),
    }
}

/// The value is left out of a refusal: it may hold a private key.
fn thumbprint(jwk: &Value, at: &'static str) -> Result<String> {
    let name = at.rsplit('.').next().unwrap_or(at);
    if jwk.is_null() {
        let why = format!("{name} is missing: send the public key as a JWK object");
        return Err(refuse_at(Kind::InvalidRequest, why, at, ""));
    }
    let key = PublicJwk::parse(jwk);
    let flawed = |flaw| refuse_at(Kind::InvalidRequest, format!("{name} is not accepted: {flaw}"), at, "");
    key.map(|key| key.thumbprint).map_err(flawed)
}
