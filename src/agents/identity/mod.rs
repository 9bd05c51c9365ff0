//! Identities by themselves: made without an API key, and changed in all that a tenant says of them.

mod ending;
mod facets;
mod store;
mod uri;

pub mod routes;

pub use ending::{Ending, ending};
pub use facets::{Facets, facets, schema};
pub use uri::{by_uri, is_wimse_uri, wimse_uri};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::register::{self, NewAgent, check_owner};
use super::types::{Agent, IdentityType, Status};
use super::update::{self, AgentPatch, check_takeover};
use super::{Filter, lifecycle, lock, store as rows, unknown};
use crate::access::scope::ScopeName;
use crate::access::scope::{self, Scopes};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::error::{Kind, Result, refuse_at};
use crate::kit::http::members;
use crate::kit::http::members::{IdOrEmpty, TimeOrEmpty};
use crate::kit::http::page::Page;
use crate::policies;
use crate::signals::{self, Lifecycle};

/// An identity as the API shows it: an agent with what a list of agents leaves out.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct Identity {
    /// The agent.
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub agent: Agent,
    /// Its registered key as SPKI PEM; absent when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key_pem: Option<String>,
    /// Which source of its origin reported it; "" for none.
    pub source_id: String,
    /// What the tenant says of it.
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub tiers: Tiers,
    /// Who changed it last, if that was said.
    #[sqlx(rename = "updated_by")]
    pub modified_by: String,
}

/// What a tenant says of an identity; nothing here depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::FromRow)]
#[serde(default)]
pub struct Tiers {
    /// "", `low` or `high`.
    #[schema(pattern = "^(low|high)?$")]
    pub capability_tier: String,
    /// "", `low` or `high`.
    #[schema(pattern = "^(low|high)?$")]
    pub risk_tier: String,
    /// The assurance of the identity: "", `ial1`, `ial2` or `ial3`.
    #[schema(pattern = "^(ial[123])?$")]
    pub ial: String,
}

impl Tiers {
    pub(super) fn check(&self) -> Result<()> {
        const LEVELS: [&str; 3] = ["", "low", "high"];
        for (name, value, known) in [
            ("capability_tier", &self.capability_tier, &LEVELS[..]),
            ("risk_tier", &self.risk_tier, &LEVELS[..]),
            ("ial", &self.ial, &["", "ial1", "ial2", "ial3"][..]),
        ] {
            if !known.contains(&value.as_str()) {
                let why = format!("{name} is one of: {}", known[1..].join(", "));
                return Err(refuse_at(Kind::Invalid, why, format!("body.{name}"), ""));
            }
        }
        Ok(())
    }
}

/// An identity to be made. Members it does not know are ignored.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub struct NewIdentity {
    /// Who answers for it.
    #[schema(min_length = 1, max_length = 255, pattern = r"^\S([\s\S]*\S)?$")]
    pub owner_user_id: String,
    /// The rest, as of an agent; a name is not needed.
    #[serde(flatten)]
    pub rest: NewAgent,
    /// What the tenant says of it.
    #[serde(flatten)]
    pub tiers: Tiers,
}

/// The members of a PATCH. What is absent stays.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct IdentityPatch {
    /// Those that a PATCH of an agent has too.
    #[serde(flatten)]
    pub rest: AgentPatch,
    /// Only the one that it has: the type is a part of the URI.
    pub identity_type: Option<IdentityType>,
    /// Who answers for it.
    #[schema(min_length = 1, max_length = 255, pattern = r"^\S([\s\S]*\S)?$")]
    pub owner_user_id: Option<String>,
    /// An empty list does not limit.
    #[schema(value_type = Option<Vec<ScopeName>>)]
    pub allowed_scopes: Option<Vec<String>>,
    /// "" is the tenant's default policy.
    #[schema(value_type = Option<IdOrEmpty>)]
    pub credential_policy_id: Option<String>,
    /// "" is no end.
    #[schema(value_type = Option<TimeOrEmpty>)]
    pub expires_at: Option<String>,
    /// See [`Tiers`].
    #[schema(pattern = "^(low|high)?$")]
    pub capability_tier: Option<String>,
    /// See [`Tiers`].
    #[schema(pattern = "^(low|high)?$")]
    pub risk_tier: Option<String>,
    /// See [`Tiers`].
    #[schema(pattern = "^(ial[123])?$")]
    pub ial: Option<String>,
}

impl IdentityPatch {
    /// The names of the members that are there, for the audit log.
    pub fn members(&self) -> Value {
        let mut facts = self.rest.members();
        let present = [
            ("owner_user_id", self.owner_user_id.is_some()),
            ("allowed_scopes", self.allowed_scopes.is_some()),
            ("credential_policy_id", self.credential_policy_id.is_some()),
            ("expires_at", self.expires_at.is_some()),
            ("capability_tier", self.capability_tier.is_some()),
            ("risk_tier", self.risk_tier.is_some()),
            ("ial", self.ial.is_some()),
        ];
        if let Some(members) = facts["members"].as_array_mut() {
            members.extend(present.into_iter().filter_map(|(name, is)| is.then_some(json!(name))));
        }
        facts
    }
}

/// What a PATCH changes beside the members of an agent. `None` leaves it; an end of `Some(None)` is none.
#[expect(clippy::option_option, reason = "left alone, taken away and set are three things")]
#[derive(Debug)]
pub struct Change {
    pub owner_user_id: Option<String>,
    pub allowed_scopes: Option<Option<Vec<String>>>,
    pub policy_id: Option<Uuid>,
    pub expires_at: Option<Option<Time>>,
    pub tiers: [Option<String>; 3],
}

/// Makes an identity. It gets no API key.
pub async fn create(app: &App, cx: &mut Cx, new: NewIdentity) -> Result<Identity> {
    new.tiers.check()?;
    let owner = check_owner("body.owner_user_id", &new.owner_user_id)?;
    let created_by = cx.caller.name().to_owned();
    let (rest, tiers) = (new.rest, new.tiers);
    let entered = register::enter(app, cx, rest, owner, |row| rows::Row { tiers, created_by, ..row }).await?;
    get(cx, entered.id).await
}

/// One identity of the tenant.
pub async fn get(cx: &mut Cx, id: Uuid) -> Result<Identity> {
    rows::find(cx, id).await?.ok_or_else(unknown)
}

/// A page of the tenant's identities, newest first, and the number of all that match.
pub async fn list(cx: &mut Cx, filter: &Filter, page: Page) -> Result<(Vec<Identity>, i64)> {
    Ok(rows::list(cx, filter, page).await?)
}

/// Changes an identity. Everything is checked before anything is written.
pub async fn change(app: &App, cx: &mut Cx, id: Uuid, mut patch: IdentityPatch) -> Result<Identity> {
    let agent = lock(cx, id).await?;
    let change = check(app, cx, &agent, &patch).await?;
    // An agent's PATCH does not know this state, which only comes after `discovered`.
    let pending = patch.rest.status.take_if(|status| *status == Status::Pending);
    if pending.is_some() {
        lifecycle::check_step(&agent, Status::Pending)?;
    }
    update::update(app, cx, id, patch.rest).await?;
    store::change(cx, id, &change).await?;
    if let Some(next) = pending {
        lifecycle::enter(cx, &agent, next).await?;
    }
    if let Some(owner) = change.owner_user_id.filter(|owner| *owner != agent.owner_user_id) {
        signals::tell(cx, id, Lifecycle::OwnerChanged(&agent.owner_user_id, &owner)).await?;
    }
    get(cx, id).await
}

async fn check(app: &App, cx: &mut Cx, agent: &Agent, patch: &IdentityPatch) -> Result<Change> {
    if patch.identity_type.is_some_and(|identity_type| identity_type != agent.identity_type) {
        let why = "identity_type is a part of the URI and does not change";
        return Err(refuse_at(Kind::InvalidRequest, why, "body.identity_type", ""));
    }
    let tiers = [&patch.capability_tier, &patch.risk_tier, &patch.ial];
    let [capability_tier, risk_tier, ial] = tiers.map(|tier| tier.clone().unwrap_or_default());
    Tiers { capability_tier, risk_tier, ial }.check()?;
    let owner = patch.owner_user_id.as_deref().map(|owner| check_owner("body.owner_user_id", owner));
    let scopes = match &patch.allowed_scopes {
        None => None,
        Some(scopes) => Some(Scopes::of(scopes.iter().map(String::as_str), app.config.limits.scopes)?),
    };
    let ceiling = match &scopes {
        Some(scopes) => Some(scopes.clone()).filter(|scopes| !scopes.is_empty()),
        None => Scopes::ceiling(agent.allowed_scopes.clone()),
    };
    let at = "body.credential_policy_id";
    let policy = match patch.credential_policy_id.as_deref() {
        None => policies::by_id(cx, agent.credential_policy_id, at).await?,
        Some("") => policies::default(cx).await?,
        Some(text) => policies::named(cx, at, Some(text)).await?.ok_or_else(unknown)?,
    };
    if scopes.is_some() || patch.credential_policy_id.is_some() {
        // Its keys live on and obtain what is now allowed.
        scope::check_held(&cx.caller, ceiling.clone(), "body.allowed_scopes")?;
        check_takeover(cx, "body.allowed_scopes", scope::intersect([ceiling, policy.ceiling()]), None)?;
    }
    let ends = |text: &str| members::expires_at(text, cx.now);
    Ok(Change {
        owner_user_id: owner.transpose()?,
        allowed_scopes: scopes
            .map(|scopes| Some(scopes.as_slice().to_vec()).filter(|scopes| !scopes.is_empty())),
        policy_id: patch.credential_policy_id.is_some().then_some(policy.id),
        expires_at: patch.expires_at.as_deref().map(ends).transpose()?,
        tiers: tiers.map(Clone::clone),
    })
}
