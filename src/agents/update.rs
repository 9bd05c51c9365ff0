//! Changes by an administrator. What is absent stays; an empty name or key stays too, other empty texts clear.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::register::{check_sub_type, is_person};
use super::types::{Agent, Status, TrustLevel};
use super::{get, lifecycle, lock, public_key, store};
use crate::access::scope::{self, Ceiling, Scopes};
use crate::kit::app::App;
use crate::kit::config::Limits;
use crate::kit::cx::Cx;
use crate::kit::error::{Kind, Result, refuse_at};
use crate::kit::http::limits::check_text;
use crate::policies;
use crate::signals::{self, Lifecycle};

/// The members of a PATCH.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct AgentPatch {
    /// What people call it.
    pub name: Option<String>,
    /// A finer kind that goes with the type.
    pub sub_type: Option<String>,
    /// How far it is trusted.
    pub trust_level: Option<TrustLevel>,
    /// What it is built with.
    pub framework: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Who publishes it.
    pub publisher: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The tools it may use.
    pub capabilities: Option<Vec<Value>>,
    /// For finding it.
    pub labels: Option<Map<String, Value>>,
    /// Anything else.
    pub metadata: Option<Map<String, Value>>,
    /// `active`, `suspended` or `deactivated`.
    pub status: Option<Status>,
    /// Who made the change, for the log.
    pub updated_by: Option<String>,
    /// Set without proof of possession, by an administrator's right.
    pub public_key_pem: Option<String>,
}

impl AgentPatch {
    /// The names of the members that are there, for the audit log.
    pub fn members(&self) -> Value {
        let present = [
            ("name", self.name.is_some()),
            ("sub_type", self.sub_type.is_some()),
            ("trust_level", self.trust_level.is_some()),
            ("framework", self.framework.is_some()),
            ("version", self.version.is_some()),
            ("publisher", self.publisher.is_some()),
            ("description", self.description.is_some()),
            ("capabilities", self.capabilities.is_some()),
            ("labels", self.labels.is_some()),
            ("metadata", self.metadata.is_some()),
            ("status", self.status.is_some()),
            ("public_key_pem", self.public_key_pem.is_some()),
        ];
        let members: Vec<_> = present.into_iter().filter_map(|(name, is)| is.then_some(name)).collect();
        json!({ "members": members, "status": self.status, "updated_by": self.updated_by() })
    }

    /// Who made the change, if it names a person.
    pub fn updated_by(&self) -> Option<&str> {
        self.updated_by.as_deref().filter(|name| is_person(name))
    }
}

/// Changes an agent. Everything is checked before anything is written.
pub async fn update(app: &App, cx: &mut Cx, id: Uuid, patch: AgentPatch) -> Result<Agent> {
    let agent = lock(cx, id).await?;
    check(&agent, &patch, &app.config.limits)?;
    let key =
        patch.public_key_pem.as_deref().filter(|pem| !pem.is_empty()).map(public_key::parse).transpose()?;
    if key.is_some() {
        let own = ceiling(cx, &agent).await?;
        check_takeover(cx, "body.public_key_pem", own, None)?;
    }
    if let Some(next) = patch.status {
        lifecycle::check_step(&agent, next)?;
    }
    store::update(cx, id, &patch, key.as_ref()).await?;
    if key.is_some() {
        signals::tell(cx, id, Lifecycle::KeyChanged("public_key")).await?;
    }
    if let Some(next) = patch.status {
        lifecycle::enter(cx, &agent, next).await?;
    }
    get(cx, id).await
}

fn check(agent: &Agent, patch: &AgentPatch, limits: &Limits) -> Result<()> {
    if let Some(sub_type) = &patch.sub_type {
        check_sub_type(agent.identity_type, sub_type)?;
    }
    if matches!(patch.status, Some(Status::Discovered | Status::Pending | Status::Expired)) {
        let why = "status can be set to active, suspended or deactivated";
        return Err(refuse_at(Kind::InvalidRequest, why, "body.status", ""));
    }
    if patch.name.as_deref().is_some_and(|name| !name.is_empty() && name.trim().is_empty()) {
        return Err(refuse_at(Kind::Invalid, "name must not be blank", "body.name", ""));
    }
    for (name, text) in [
        ("name", &patch.name),
        ("framework", &patch.framework),
        ("version", &patch.version),
        ("publisher", &patch.publisher),
        ("description", &patch.description),
        ("updated_by", &patch.updated_by),
    ] {
        check_text(name, text.as_deref().unwrap_or_default(), limits)?;
    }
    Ok(())
}

/// What an agent and its policy allow together.
pub async fn ceiling(cx: &mut Cx, agent: &Agent) -> Result<Ceiling> {
    let policy = policies::by_id(cx, agent.credential_policy_id, "credential_policy_id").await?;
    Ok(scope::intersect([Scopes::ceiling(agent.allowed_scopes.clone()), policy.ceiling()]))
}

/// Whoever sets an agent's key or gets an API key for it can act as the agent, under the agent's own ceiling or under
/// what the API key and its policy make of it. Neither must give him a reserved scope that he does not hold. `at` names
/// the member of the request by which he would.
pub fn check_takeover(cx: &Cx, at: &'static str, agent: Ceiling, key: Ceiling) -> Result<()> {
    scope::check_held(&cx.caller, agent.clone(), at)?;
    scope::check_held(&cx.caller, scope::intersect([agent, key]), at)
}
