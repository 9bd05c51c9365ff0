//! The links of subjects to agents and people. What a subject obtains rests on its link.

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
use crate::tokens::{self, Anchor};
use crate::users;

/// A subject of an issuer and the agent as which it acts, or the person it is.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct LinkedSubject {
    /// The row's id.
    pub id: Uuid,
    /// The trusted issuer.
    pub issuer_id: Uuid,
    /// What its tokens say in `sub`, character by character.
    pub subject: String,
    /// The agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_id: Option<Uuid>,
    /// The person's row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Uuid>,
    /// Who linked them.
    pub created_by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub created_at: Time,
    #[serde(skip)]
    epoch: i32,
}

impl LinkedSubject {
    /// What a mark on it stands on.
    fn anchor(&self) -> Anchor {
        Anchor::LinkedSubject(self.id, self.epoch)
    }
}

/// A link to be made, to an agent or to a person.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = NewLinkedSubject)]
pub struct NewSubject {
    /// What tokens say in `sub`.
    #[schema(min_length = 1)]
    pub subject: String,
    /// An agent of the tenant.
    pub identity_id: Option<Uuid>,
    /// A user of the tenant, by the row's id.
    pub user_id: Option<Uuid>,
}

impl NewSubject {
    /// What the audit log keeps, within bounds: the value is the caller's.
    pub fn facts(&self) -> Value {
        let subject = self.subject.chars().take(255).collect::<String>();
        json!({ "subject": subject, "identity_id": self.identity_id, "user_id": self.user_id })
    }
}

/// Links a subject to an agent or a person. Whoever holds its tokens can then act as the agent, or let a client act in the
/// person's name.
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
    match (new.identity_id, new.user_id) {
        (Some(agent), None) => check_agent(cx, agent).await?,
        (None, Some(person)) => drop(users::get(cx, person).await?),
        _ => {
            let why = "send either identity_id, for a workload, or user_id, for a person";
            return Err(refuse_at(Kind::InvalidRequest, why, "body.identity_id", ""));
        }
    }
    let linked = LinkedSubject {
        id: ids::new(cx.now)?,
        issuer_id,
        subject: new.subject,
        identity_id: new.identity_id,
        user_id: new.user_id,
        created_by: cx.caller.name().to_owned(),
        created_at: cx.now,
        epoch: 0,
    };
    if !store::insert_subject(cx, &linked).await? {
        let why = "the subject is linked already; unlink it first";
        return Err(refuse_at(Kind::Conflict, why, "body.subject", ""));
    }
    Ok(linked)
}

/// Whoever makes the link can act as the agent. That must not give him a reserved scope he does not hold.
async fn check_agent(cx: &mut Cx, id: Uuid) -> Result<()> {
    let at = "body.identity_id";
    let unknown = || refuse_at(Kind::InvalidRequest, "there is no identity with this id", at, id.to_string());
    let agent = agents::find(cx, id).await?.ok_or_else(unknown)?;
    let own = agents::ceiling(cx, &agent).await?;
    agents::check_takeover(cx, at, own, None)
}

/// The links of an issuer, newest first.
pub async fn subjects(cx: &mut Cx, issuer_id: Uuid) -> Result<Vec<LinkedSubject>> {
    get(cx, issuer_id).await?;
    Ok(store::subjects(cx, issuer_id).await?)
}

/// Ends a link, and with it what its subject obtained.
pub async fn unlink(cx: &mut Cx, issuer_id: Uuid, id: Uuid) -> Result<LinkedSubject> {
    lock(cx, issuer_id).await?;
    let gone = store::delete_subject(cx, issuer_id, id).await?;
    let gone = gone.ok_or_else(|| refuse(Kind::NotFound, "there is no linked subject with this id"))?;
    tokens::note(cx, gone.anchor(), "subject_unlinked").await?;
    Ok(gone)
}

/// Notes of every link of a locked issuer that what it obtained so far ends: the caller makes the mark.
pub(super) async fn note_all(cx: &mut Cx, issuer_id: Uuid, reason: &str) -> Result<()> {
    let links = store::links(cx, issuer_id).await?;
    let anchors: Vec<Anchor> =
        links.into_iter().map(|(id, epoch)| Anchor::LinkedSubject(id, epoch)).collect();
    tokens::note_all(cx, &anchors, reason).await
}
