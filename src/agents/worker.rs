//! The step of the agents' worker: identities past their end become `expired`, with the side effects of that state.
//! Issuance refuses them without waiting for it.

use super::types::Status;
use super::{lifecycle, lock, store};
use crate::audit::{self, Event};
use crate::kit::app::App;
use crate::kit::cx::{Authority, Caller, Cx, Origin, Tenant};
use crate::kit::error::Result;

/// How many identities one step takes at the most.
const BATCH: i64 = 200;

/// Any replica: each identity is locked and looked at again, so two replicas do nothing twice.
pub async fn expire(app: &App) -> Result<()> {
    let now = app.clock.now();
    for (id, account_id, project_id) in store::past_their_end(&app.db, now, BATCH).await? {
        let caller = Caller {
            kind: "system",
            id: "expiry".to_owned(),
            user: None,
            across_tenants: true,
            authority: Authority::Everything,
        };
        let tenant = Tenant { account_id, project_id };
        let mut cx = Cx { tx: app.db.begin().await?, tenant, now, caller, origin: Origin::default() };
        let agent = lock(&mut cx, id).await?;
        let due = agent.expires_at.is_some_and(|at| at <= now);
        if due && matches!(agent.status, Status::Active | Status::Suspended) {
            lifecycle::enter(&mut cx, &agent, Status::Expired).await?;
            audit::record(&mut cx, Event::new("agent.expired", "agent", id)).await?;
            cx.tx.commit().await?;
        }
    }
    Ok(())
}
