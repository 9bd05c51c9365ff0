//! The links of subjects to agents.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{get, lock, store};
use crate::agents;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::error::{Kind, Result, refuse, refuse_at};
use crate::kit::glob::Glob;
use crate::kit::http::limits::check_text;
use crate::kit::ids;

/// A subject of an issuer and the agent as which it acts.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct LinkedSubject {
    /// The row's id.
    pub id: Uuid,
    /// The trusted issuer.
    pub issuer_id: Uuid,
    /// What its tokens say in `sub`, character by character.
    pub subject: String,
    /// The agent.
    pub identity_id: Uuid,
    /// Who linked them.
    pub created_by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub created_at: Time,
}

/// A link to be made.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = NewLinkedSubject)]
pub struct NewSubject {
    /// What tokens say in `sub`.
    #[schema(min_length = 1)]
    pub subject: String,
    /// An agent of the tenant.
    pub identity_id: Uuid,
}

impl NewSubject {
    /// What the audit log keeps, within bounds: the value is the caller's.
    pub fn facts(&self) -> Value {
        let subject = self.subject.chars().take(255).collect::<String>();
        json!({ "subject": subject, "identity_id": self.identity_id })
    }
}

/// Links a subject to an agent. Whoever holds its tokens can then act as the agent.
pub async fn link(app: &App, cx: &mut Cx, issuer_id: Uuid, new: NewSubject) -> Result<LinkedSubject> {
    let issuer = lock(cx, issuer_id).await?;
    check_text("subject", &new.subject, &app.config.limits)?;
    if new.subject.is_empty() || new.subject.contains('\0') {
        return Err(refuse_at(Kind::InvalidRequest, "subject is what tokens say in sub", "body.subject", ""));
    }
    if !issuer.subject_pattern.is_empty() && !Glob::new(&issuer.subject_pattern).matches(&new.subject) {
        let why = "the subject does not match the issuer's subject_pattern";
        return Err(refuse_at(Kind::InvalidRequest, why, "body.subject", ""));
    }
    let at = "body.identity_id";
    let unknown = || {
        refuse_at(Kind::InvalidRequest, "there is no identity with this id", at, new.identity_id.to_string())
    };
    let agent = agents::find(cx, new.identity_id).await?.ok_or_else(unknown)?;
    let own = agents::ceiling(cx, &agent).await?;
    agents::check_takeover(cx, at, own, None)?;
    let linked = LinkedSubject {
        id: ids::new(cx.now)?,
        issuer_id,
        subject: new.subject,
        identity_id: agent.id,
        created_by: cx.caller.name().to_owned(),
        created_at: cx.now,
    };
    if !store::insert_subject(cx, &linked).await? {
        let why = "the subject is linked to an agent already; unlink it first";
        return Err(refuse_at(Kind::Conflict, why, "body.subject", ""));
    }
    Ok(linked)
}

/// The links of an issuer, newest first.
pub async fn subjects(cx: &mut Cx, issuer_id: Uuid) -> Result<Vec<LinkedSubject>> {
    get(cx, issuer_id).await?;
    Ok(store::subjects(cx, issuer_id).await?)
}

/// Ends a link.
pub async fn unlink(cx: &mut Cx, issuer_id: Uuid, id: Uuid) -> Result<LinkedSubject> {
    lock(cx, issuer_id).await?;
    let gone = store::delete_subject(cx, issuer_id, id).await?;
    gone.ok_or_else(|| refuse(Kind::NotFound, "there is no linked subject with this id"))
}
