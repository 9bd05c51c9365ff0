//! Signals of the server's own: what happens to an identity in its life is told in the transaction in which it happens.
//! They have no further effect: what they tell of has had it.

use serde_json::{Value, json};
use uuid::Uuid;

use super::store;
use super::{Severity, SignalType};
use crate::kit::cx::Cx;
use crate::kit::error::Result;
use crate::kit::ids;

/// The source of these signals.
const SOURCE: &str = "identity_lifecycle";

/// What happened to an identity.
#[derive(Clone, Copy, Debug)]
pub enum Lifecycle<'a> {
    /// It was deactivated, for this reason.
    Retired(&'a str),
    /// Its end came.
    Expired,
    /// Its tokens were ended, for this reason.
    TokensRevoked(&'a str),
    /// A key was replaced or set: which.
    KeyChanged(&'a str),
    /// Somebody else answers for it: from whom, to whom.
    OwnerChanged(&'a str, &'a str),
}

impl Lifecycle<'_> {
    fn parts(self) -> (SignalType, Severity, Value) {
        match self {
            Self::Retired(reason) => (SignalType::Retirement, Severity::High, json!({ "reason": reason })),
            Self::Expired => (SignalType::IdentityExpired, Severity::High, json!({ "reason": "expired" })),
            Self::TokensRevoked(reason) => {
                (SignalType::SessionRevoked, Severity::Medium, json!({ "reason": reason }))
            }
            Self::KeyChanged(which) => {
                (SignalType::CredentialChange, Severity::Low, json!({ "changed": which }))
            }
            Self::OwnerChanged(from, to) => {
                (SignalType::OwnerChange, Severity::Medium, json!({ "from": from, "to": to }))
            }
        }
    }
}

/// Tells of one identity.
pub async fn tell(cx: &mut Cx, identity: Uuid, what: Lifecycle<'_>) -> Result<()> {
    tell_all(cx, &[identity], what).await
}

/// Tells the same of many.
pub async fn tell_all(cx: &mut Cx, identities: &[Uuid], what: Lifecycle<'_>) -> Result<()> {
    if identities.is_empty() {
        return Ok(());
    }
    let (signal_type, severity, payload) = what.parts();
    let row = |identity: &Uuid| {
        Ok(store::Row {
            id: ids::new(cx.now)?,
            identity_id: Some(*identity),
            mission_id: None,
            signal_type,
            severity,
            source: SOURCE.to_owned(),
            payload: payload.clone(),
            processed_at: Some(cx.now),
        })
    };
    let rows = identities.iter().map(row).collect::<Result<Vec<_>>>()?;
    Ok(store::insert(cx, &rows).await?)
}
