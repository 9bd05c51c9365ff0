//! Refresh tokens: each is spent for the next, and all that came of one grant are a family, which lives and ends as one.
//! A family keeps what its grant decided, so that what is refreshed is never more.

mod found;
mod make;
mod reuse;
mod store;

pub mod worker;

pub use found::{Family, Found, find};
pub use make::{Made, NewFamily, NewToken, Refresh, Rotation};
pub use reuse::{Reuse, Verdict};
pub(super) use store::write;

use serde_json::json;
use uuid::Uuid;

use super::ledger::{self, Record};
use super::revoke::{Anchor, note};
use crate::audit::{self, Entry, Event};
use crate::kit::app::App;
use crate::kit::cx::{Authority, Caller, Cx};
use crate::kit::error::Result;
use crate::outbox;

/// How every refresh token begins.
pub const PREFIX: &str = "zid_rt_";

/// The kind under which refresh tokens are used up.
pub const REFRESH_TOKEN: &str = "refresh_token";

/// The reason of a family that ends because a spent token came again.
pub const REUSED: &str = "refresh_token_reuse";

/// Ends a family, and with it every token that came of it. Doing it again changes nothing.
pub async fn end_family(cx: &mut Cx, id: Uuid, reason: &str) -> Result<()> {
    if !store::revoke(cx, id, reason).await? {
        return Ok(());
    }
    note(cx, Anchor::Family(id), reason).await?;
    let facts = json!({ "reason": reason });
    audit::record(cx, Event::new("refresh_family.revoked", "refresh_family", id).with(facts.clone())).await?;
    let event = outbox::Event {
        tenant: cx.tenant.clone(),
        event_type: "refresh_family.revoked",
        subject_id: id,
        payload: json!({ "family_id": id, "reason": reason, "account_id": cx.tenant.account_id,
            "project_id": cx.tenant.project_id }),
        occurred_at: cx.now,
    };
    outbox::write(&mut cx.tx, cx.now, &[event]).await
}

/// Makes the refusal of a spent token durable and ends its family in the same transaction.
pub async fn refuse_reuse(app: &App, refusal: Entry, family_id: Uuid) -> Result<()> {
    let (kind, id) = refusal.actor.clone();
    let mut cx = Cx {
        tx: app.begin_reserved().await?,
        tenant: refusal.tenant.clone(),
        now: refusal.occurred_at,
        caller: Caller {
            kind,
            id,
            user: None,
            across_tenants: false,
            authority: Authority::Scopes(Vec::new()),
        },
        origin: refusal.origin.clone(),
    };
    ledger::write(&mut cx.tx, &[Record::Refusal(refusal)]).await?;
    end_family(&mut cx, family_id, REUSED).await?;
    Ok(cx.tx.commit().await?)
}
