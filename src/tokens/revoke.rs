//! Revocation is a mark on a row. Everything below it in the tree is inactive at the mark's commit.

use uuid::Uuid;

use super::store;
use crate::audit::{self, Event};
use crate::kit::clock::Time;
use crate::kit::cx::{Cx, Tenant};
use crate::kit::error::{Kind, Result, refuse};
use crate::kit::ids;

/// The reason of a revocation that names none.
pub(super) const BY_HAND: &str = "manual_revocation";

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
    /// What was issued in a person's name in the epoch that ended.
    Person(Uuid, i32),
    /// What was obtained with the refresh tokens of a family.
    Family(Uuid),
    /// What rests on a person's consent.
    Consent(Uuid),
    /// What a linked subject of a trusted issuer obtained in the epoch that ended.
    LinkedSubject(Uuid, i32),
}

impl Anchor {
    /// Kind, id and epoch as they stand in the row.
    pub(super) fn columns(self) -> (&'static str, Uuid, Option<i32>) {
        match self {
            Self::Credential(id) => ("credential", id, None),
            Self::ApiKey(id) => ("api_key", id, None),
            Self::Identity(id, epoch) => ("identity", id, Some(epoch)),
            Self::Client(id, epoch) => ("client", id, Some(epoch)),
            Self::Person(id, epoch) => ("person", id, Some(epoch)),
            Self::Family(id) => ("family", id, None),
            Self::Consent(id) => ("consent", id, None),
            Self::LinkedSubject(id, epoch) => ("linked_subject", id, Some(epoch)),
        }
    }
}

/// A mark as it was written down.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Revocation {
    /// UUIDs of version 7, in the order of the marks.
    pub id: Uuid,
    /// Whose.
    #[sqlx(flatten)]
    pub tenant: Tenant,
    /// Kind of the anchor.
    pub anchor: String,
    /// Its id.
    pub anchor_id: Uuid,
    /// The epoch that ended.
    pub epoch: Option<i32>,
    /// Why.
    pub reason: String,
    /// When.
    pub marked_at: Time,
}

impl Revocation {
    /// What was marked; `None` for a kind that a newer server knows.
    pub fn anchor(&self) -> Option<Anchor> {
        match (self.anchor.as_str(), self.epoch) {
            ("credential", None) => Some(Anchor::Credential(self.anchor_id)),
            ("api_key", None) => Some(Anchor::ApiKey(self.anchor_id)),
            ("identity", Some(epoch)) => Some(Anchor::Identity(self.anchor_id, epoch)),
            ("client", Some(epoch)) => Some(Anchor::Client(self.anchor_id, epoch)),
            ("person", Some(epoch)) => Some(Anchor::Person(self.anchor_id, epoch)),
            ("family", None) => Some(Anchor::Family(self.anchor_id)),
            ("consent", None) => Some(Anchor::Consent(self.anchor_id)),
            ("linked_subject", Some(epoch)) => Some(Anchor::LinkedSubject(self.anchor_id, epoch)),
            _ => None,
        }
    }
}

/// Writes down that something was marked, in the transaction of the mark itself. The worker of revocations later tells
/// of every credential that ended by it.
pub async fn note(cx: &mut Cx, anchor: Anchor, reason: &str) -> Result<()> {
    note_all(cx, &[anchor], reason).await
}

/// The same for many marks of one reason.
pub async fn note_all(cx: &mut Cx, anchors: &[Anchor], reason: &str) -> Result<()> {
    let ids = anchors.iter().map(|_| ids::new(cx.now)).collect::<Result<Vec<_>>>()?;
    Ok(store::note(cx, &ids, anchors, reason).await?)
}

/// Marks one credential, also one that has expired: what hangs below it may still live. Doing it again changes nothing.
pub async fn revoke(cx: &mut Cx, jti: Uuid, reason: &str) -> Result<()> {
    if mark(cx, jti, reason).await? {
        let facts = serde_json::json!({ "reason": reason });
        audit::record(cx, Event::new("token.revoked", "credential", jti).with(facts)).await?;
    }
    Ok(())
}

/// Marks a credential that an administrator names. One that is unknown, another tenant's, ended or expired is not
/// found. The caller writes the audit row, as of every admin request.
pub async fn revoke_by_id(cx: &mut Cx, jti: Uuid, reason: Option<&str>) -> Result<()> {
    let reason = reason.filter(|reason| !reason.trim().is_empty()).unwrap_or(BY_HAND);
    // The mark itself decides between two requests that both find it standing.
    if store::is_over(cx, jti).await? == Some(false) && mark(cx, jti, reason).await? {
        return Ok(());
    }
    Err(refuse(Kind::NotFound, "there is no credential with this id that could be revoked"))
}

pub(super) async fn mark(cx: &mut Cx, jti: Uuid, reason: &str) -> Result<bool> {
    let is_new = store::revoke(cx, jti, reason).await?;
    if is_new {
        note(cx, Anchor::Credential(jti), reason).await?;
    }
    Ok(is_new)
}
