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
    note_all(cx, &[anchor], reason).await
}

/// The same for marks that were made together.
pub async fn note_all(cx: &mut Cx, anchors: &[Anchor], reason: &str) -> Result<()> {
    let rows = anchors.iter().map(|_| ids::new(cx.now)).collect::<Result<Vec<_>>>()?;
    Ok(store::note(cx, &rows, anchors, reason).await?)
}

/// How many credentials that these clients obtained themselves are active. What was derived from them is not counted.
pub async fn count_of_clients(cx: &mut Cx, clients: &[Uuid]) -> Result<i64> {
    Ok(store::count_of_clients(cx, clients).await?)
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
