//! Offboarding: whoever leaves takes nothing along. All that the person answers for is deactivated at once.
mod store;

use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::types::Status;
use super::{lifecycle, store as rows};
use crate::audit::{self, Event};
use crate::kit::config::Limits;
use crate::kit::cx::{Caller, Cx, Tenant};
use crate::kit::error::{Kind, Result, refuse_at};
use crate::kit::http::limits::check_text;
use crate::signals::{self, Lifecycle};
use crate::tokens::{self, Anchor};

/// Who leaves.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = OwnerOffboarding)]
pub struct Leaver {
    /// The owner, exactly as the agents name him.
    #[schema(required = true, pattern = r"^\S([\s\S]*\S)?$")]
    pub owner_user_id: String,
    /// Why; becomes the reason of every revocation.
    pub reason: Option<String>,
}

impl Leaver {
    /// The reason, or what stands for it where none is given.
    pub fn reason(&self) -> &str {
        self.reason.as_deref().filter(|reason| !reason.trim().is_empty()).unwrap_or("owner_deactivated")
    }
}

/// What an offboarding did.
#[derive(Clone, Debug, Default)]
pub struct Offboarded {
    /// How many identities it deactivated.
    pub identities: usize,
    /// The credentials that it ended.
    pub credentials: Vec<Uuid>,
}

impl Offboarded {
    /// Why and how much, for the audit log.
    pub fn facts(&self, leaver: &Leaver) -> Value {
        json!({
            "reason": leaver.reason(),
            "identities_deactivated": self.identities,
            "credentials_revoked": self.credentials.len(),
        })
    }
}

/// Deactivates all that a person answers for: in the caller's project, and for an operator's key in all projects of the
/// account.
pub async fn offboard(cx: &mut Cx, leaver: &Leaver, limits: &Limits) -> Result<Offboarded> {
    let owner = &leaver.owner_user_id;
    if owner.trim().is_empty() || owner.trim() != owner {
        let why = "owner_user_id names a person, without space at either end";
        return Err(refuse_at(Kind::InvalidRequest, why, "body.owner_user_id", ""));
    }
    check_text("reason", leaver.reason(), limits)?;
    let own = cx.tenant.clone();
    let projects = if is_operator(&cx.caller) {
        store::projects_of_owner(cx, owner).await?
    } else {
        vec![own.project_id.clone()]
    };
    let mut done = Offboarded::default();
    // Everybody locks identities in the order of projects and ids.
    for project_id in projects {
        cx.tenant = Tenant { account_id: own.account_id.clone(), project_id };
        offboard_in_project(cx, leaver, &mut done).await?;
    }
    cx.tenant = own;
    Ok(done)
}

async fn offboard_in_project(cx: &mut Cx, leaver: &Leaver, done: &mut Offboarded) -> Result<()> {
    let found = store::lock_of_owner(cx, &leaver.owner_user_id).await?;
    if found.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = found.iter().map(|(id, _)| *id).collect();
    let epochs: Vec<Anchor> = found.iter().map(|(id, epoch)| Anchor::Identity(*id, *epoch)).collect();
    done.credentials.extend(tokens::changed_by(cx, &epochs).await?);
    done.identities += ids.len();
    rows::set_status(cx, &ids, Status::Deactivated).await?;
    lifecycle::end(cx, &epochs, &ids, leaver.reason()).await?;
    signals::tell_all(cx, &ids, Lifecycle::Retired(leaver.reason())).await?;
    let facts = json!({ "reason": leaver.reason(), "owner_user_id": leaver.owner_user_id });
    let events = ids.iter().map(|id| Event::new("agent.deactivated", "agent", id).with(facts.clone()));
    audit::record_all(cx, events.collect()).await
}

/// Whether the caller holds a key that works in every tenant. The open mode does too, and still stays in the project that
/// its request names.
fn is_operator(caller: &Caller) -> bool {
    caller.across_tenants && caller.kind == "admin_key"
}
