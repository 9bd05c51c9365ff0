//! Revocation is a mark on a row. Everything below it in the tree is inactive at the mark's commit.

use uuid::Uuid;

use super::store;
use crate::audit::{self, Event};
use crate::kit::cx::Cx;
use crate::kit::error::Result;

/// Marks one credential, also one that has expired: what hangs below it may still live. Doing it again changes nothing.
pub async fn revoke(cx: &mut Cx, jti: Uuid, reason: &str) -> Result<()> {
    if store::revoke(cx, jti, reason).await? {
        let facts = serde_json::json!({ "reason": reason });
        audit::record(cx, Event::new("token.revoked", "credential", jti).with(facts)).await?;
    }
    Ok(())
}
