//! Revocation is a mark on a row. Everything below it in the tree is inactive at the mark's commit.

use uuid::Uuid;

use super::store;
use crate::audit::{self, Event};
use crate::kit::cx::Cx;
use crate::kit::error::Result;
use crate::kit::ids;

/// What a mark stands on. Everything that rests on it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// One credential, by its jti.
    Credential(Uuid),
    /// What an API key minted.
    ApiKey(Uuid),
    /// What an identity held in the epoch that ended.
    Identity(Uuid, i32),
    /// What a client obtained in the epoch that ended.
    Client(Uuid, i32),
}

impl Anchor {
    /// Kind, id and epoch as they stand in the row.
    pub(super) fn columns(self) -> (&'static str, Uuid, Option<i32>) {
        match self {
            Self::Credential(id) => ("credential", id, None),
            Self::ApiKey(id) => ("api_key", id, None),
            Self::Identity(id, epoch) => ("identity", id, Some(epoch)),
            Self::Client(id, epoch) => ("client", id, Some(epoch)),
        }
    }
}

/// Writes down that something was marked, in the transaction of the mark itself. The worker of revocations later tells
/// of every credential that ended by it.
pub async fn note(cx: &mut Cx, anchor: Anchor, reason: &str) -> Result<()> {
    let row = ids::new(cx.now)?;
    Ok(store::note(cx, row, anchor, reason).await?)
}

/// Marks one credential, also one that has expired: what hangs below it may still live. Doing it again changes nothing.
pub async fn revoke(cx: &mut Cx, jti: Uuid, reason: &str) -> Result<()> {
    if store::revoke(cx, jti, reason).await? {
        note(cx, Anchor::Credential(jti), reason).await?;
        let facts = serde_json::json!({ "reason": reason });
        audit::record(cx, Event::new("token.revoked", "credential", jti).with(facts)).await?;
    }
    Ok(())
}
