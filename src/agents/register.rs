//! Registration: an identity and its first API key in one transaction.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::discovery::NATIVE;
use super::identity::{Tiers, wimse_uri};
use super::types::{Agent, IdentityType, Status, TrustLevel};
use super::update::check_takeover;
use super::{bound_key, get, public_key, store};
use crate::access::scope::ScopeName;
use crate::access::scope::{self, Ceiling, Scopes};
use crate::api_keys::{self, NewApiKey, Settings};
use crate::audit::{self, Event};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::config::Limits;
use crate::kit::cx::{Caller, Cx};
use crate::kit::error::{Error, Kind, Result, refuse_at};
use crate::kit::http::limits::check_text;
use crate::kit::http::members;
use crate::kit::http::members::{IdOrEmpty, TimeOrEmpty};
use crate::kit::ids;
use crate::kit::secret::Secret;
use crate::policies::Policy;
use crate::{policies, tenancy};

/// An agent to be registered. Members it does not know are ignored; a tenant in the body is too.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct NewAgent {
    /// What people call it; not empty where it is to get a key.
    #[serde(default)]
    pub name: String,
    /// The tenant's own id for it: `[A-Za-z0-9._-]`.
    #[schema(pattern = "^[A-Za-z0-9._-]+$", max_length = 255)]
    pub external_id: String,
    /// What kind of thing it is.
    #[serde(default)]
    pub identity_type: IdentityType,
    /// A finer kind that goes with the type.
    pub sub_type: Option<String>,
    /// How far it is trusted.
    #[serde(default)]
    pub trust_level: TrustLevel,
    /// What it is built with.
    #[serde(default)]
    pub framework: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// Who publishes it.
    #[serde(default)]
    pub publisher: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// The tools it may use.
    #[serde(default)]
    pub capabilities: Vec<Value>,
    /// For finding it.
    #[serde(default)]
    pub labels: Map<String, Value>,
    /// Anything else.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// Who answers for it; the creator of the caller's key when absent.
    pub created_by: Option<String>,
    /// A P-256 key as SPKI PEM.
    pub public_key_pem: Option<String>,
    /// Scopes it is limited to; empty means no limit but for reserved scopes.
    #[serde(default)]
    #[schema(value_type = Vec<ScopeName>)]
    pub allowed_scopes: Vec<String>,
    /// The policy over everything issued to it.
    #[schema(value_type = Option<IdOrEmpty>)]
    pub credential_policy_id: Option<String>,
    /// A narrower policy over its first key.
    #[schema(value_type = Option<IdOrEmpty>)]
    pub api_key_credential_policy_id: Option<String>,
    /// When it ends, RFC 3339.
    #[schema(value_type = Option<TimeOrEmpty>)]
    pub expires_at: Option<String>,
}

/// The same with the name that an agent with a key must have, for the document of the API.
#[derive(ToSchema)]
#[schema(as = AgentRegistration)]
pub struct Registration {
    /// All but the name.
    #[serde(flatten)]
    pub rest: NewAgent,
    /// What people call it.
    #[schema(pattern = r"\S")]
    pub name: String,
}

/// The outcome of a registration.
#[derive(Debug)]
pub struct Registered {
    /// The new agent.
    pub agent: Agent,
    /// Its first key, shown once.
    pub api_key: Secret,
}

/// An identity that was just written, with what its first key needs.
#[derive(Debug)]
pub(super) struct Entered {
    pub id: Uuid,
    name: String,
    owner: String,
    key_policy_id: Uuid,
    expires_at: Option<Time>,
}

/// Registers an agent: all of it or nothing.
pub async fn register(app: &App, cx: &mut Cx, new: NewAgent) -> Result<Registered> {
    if new.name.trim().is_empty() {
        return Err(refuse_at(Kind::Invalid, "name must not be empty", "body.name", ""));
    }
    check(&new, &app.config.limits)?;
    let owner = owner(new.created_by.as_deref(), &cx.caller)?;
    let entered = enter(app, cx, new, owner, |row| row).await?;
    let key = NewApiKey {
        id: ids::new(cx.now)?,
        identity_id: entered.id,
        name: format!("Agent: {}", entered.name),
        expires_at: entered.expires_at,
        settings: Settings::plain(entered.key_policy_id, entered.owner),
    };
    let api_key = api_keys::create(app, cx, key).await?;
    Ok(Registered { agent: get(cx, entered.id).await?, api_key })
}

/// Checks all that is said of a new identity and writes it, in the shape that `shape` gives the row.
pub(super) async fn enter(
    app: &App,
    cx: &mut Cx,
    new: NewAgent,
    owner: String,
    shape: impl FnOnce(store::Row) -> store::Row,
) -> Result<Entered> {
    check(&new, &app.config.limits)?;
    let ends = |text| members::expires_at(text, cx.now);
    let expires_at = new.expires_at.as_deref().map(ends).transpose()?.flatten();
    let key =
        new.public_key_pem.as_deref().filter(|pem| !pem.is_empty()).map(public_key::parse).transpose()?;
    let dpop_jkt = bound_key::of_metadata(&new.metadata)?;
    let scopes = Scopes::of(new.allowed_scopes.iter().map(String::as_str), app.config.limits.scopes)?;
    let ceiling: Ceiling = Some(scopes).filter(|scopes| !scopes.is_empty());
    // The agent's own ceiling outlives the policy that may mask a part of it today, so it is checked by itself as well.
    scope::check_held(&cx.caller, ceiling.clone(), "body.allowed_scopes")?;
    let (at, named) = ("body.credential_policy_id", new.credential_policy_id.as_deref());
    let named = policies::named(cx, at, named).await?;
    let (at, key_policy) = ("body.api_key_credential_policy_id", new.api_key_credential_policy_id.as_deref());
    let key_policy = policies::named(cx, at, key_policy).await?;
    // Only now is anything written: a refusal is committed, and must not leave a tenant behind.
    tenancy::ensure(cx).await?;
    let policy = match named {
        Some(policy) => policy,
        None => policies::default(cx).await?,
    };
    if let Some(key_policy) = &key_policy {
        policies::check_subset(key_policy, &policy)?;
    }
    let own = scope::intersect([ceiling.clone(), policy.ceiling()]);
    check_takeover(cx, "body.allowed_scopes", own, key_policy.as_ref().and_then(Policy::ceiling))?;
    let row = shape(store::Row {
        allowed_scopes: ceiling.map(|scopes| scopes.as_slice().to_vec()),
        expires_at,
        key,
        dpop_jkt,
        ..plain_row(app, cx, new, owner, policy.id)?
    });
    if !store::insert(cx, &row).await? {
        return Err(taken(cx, &row.new.external_id).await?);
    }
    Ok(Entered {
        id: row.id,
        name: row.new.name,
        owner: row.owner,
        key_policy_id: key_policy.map_or(policy.id, |policy| policy.id),
        expires_at,
    })
}

/// An active identity that was registered here, without a limit, a key or an end of its own.
fn plain_row(app: &App, cx: &Cx, new: NewAgent, owner: String, policy_id: Uuid) -> Result<store::Row> {
    Ok(store::Row {
        id: ids::new(cx.now)?,
        wimse_uri: wimse_uri(&app.config.trust_domain, &cx.tenant, new.identity_type, &new.external_id),
        status: Status::Active,
        origin: NATIVE.to_owned(),
        source_id: String::new(),
        seen_at: None,
        tiers: Tiers::default(),
        allowed_scopes: None,
        created_by: owner.clone(),
        owner,
        policy_id,
        expires_at: None,
        key: None,
        dpop_jkt: None,
        new,
    })
}

/// Makes the identity of an API key for which none was named, since a token needs a subject: a service of the key's name
/// under the key's id. A product becomes its label.
pub async fn register_for_key(
    app: &App,
    cx: &mut Cx,
    policy: &Policy,
    key: &NewApiKey,
    product: Option<&str>,
) -> Result<()> {
    let new = NewAgent {
        name: key.name.clone(),
        external_id: key.id.to_string(),
        identity_type: IdentityType::Service,
        labels: product.iter().map(|product| ("product".to_owned(), Value::from(*product))).collect(),
        ..NewAgent::default()
    };
    let owner = key.settings.created_by.clone();
    let row = store::Row { id: key.identity_id, ..plain_row(app, cx, new, owner, policy.id)? };
    if !store::insert(cx, &row).await? {
        return Err(taken(cx, &row.new.external_id).await?);
    }
    let facts = serde_json::json!({ "external_id": row.new.external_id });
    audit::record(cx, Event::new("agent.registered", "agent", row.id).with(facts)).await?;
    Ok(())
}

fn check(new: &NewAgent, limits: &Limits) -> Result<()> {
    if new.external_id.is_empty() {
        return Err(refuse_at(Kind::Invalid, "external_id must not be empty", "body.external_id", ""));
    }
    tenancy::check_segment("body.external_id", &new.external_id)?;
    check_type(new)?;
    check_texts(new, limits)
}

/// Refuses a sub type that does not go with the type.
pub(super) fn check_type(new: &NewAgent) -> Result<()> {
    new.sub_type.as_deref().map_or(Ok(()), |sub_type| check_sub_type(new.identity_type, sub_type))
}

/// Refuses texts that are too long.
pub(super) fn check_texts(new: &NewAgent, limits: &Limits) -> Result<()> {
    for (name, text) in [
        ("name", &new.name),
        ("framework", &new.framework),
        ("version", &new.version),
        ("publisher", &new.publisher),
        ("description", &new.description),
    ] {
        check_text(name, text, limits)?;
    }
    Ok(())
}

/// Refuses a sub type that does not go with the type. None at all is always possible.
pub(super) fn check_sub_type(identity_type: IdentityType, sub_type: &str) -> Result<()> {
    if sub_type.is_empty() || identity_type.sub_types().contains(&sub_type) {
        return Ok(());
    }
    let known = identity_type.sub_types().join(", ");
    let why = match known.as_str() {
        "" => format!("an identity of type {} has no sub_type", identity_type.as_str()),
        _ => format!("sub_type of an identity of type {} is one of: {known}", identity_type.as_str()),
    };
    Err(refuse_at(Kind::InvalidRequest, why, "body.sub_type", sub_type))
}

/// Whether a caller may go by this name: one that looks like the server's own, or like nothing, is dropped.
pub(super) fn is_person(name: &str) -> bool {
    !name.trim().is_empty() && !name.trim_start().to_ascii_lowercase().starts_with("system:")
}

/// Who answers for the agent.
fn owner(named: Option<&str>, caller: &Caller) -> Result<String> {
    let person = named.filter(|name| is_person(name)).or(caller.user.as_deref());
    check_owner("body.created_by", person.unwrap_or_default())
}

/// Takes a person's name as the one who answers for an identity; `at` is the member of the request that holds it.
pub(super) fn check_owner(at: &'static str, named: &str) -> Result<String> {
    let name = at.trim_start_matches("body.");
    if !is_person(named) {
        let why = format!("{name} is missing: name the person who answers for the agent");
        return Err(refuse_at(Kind::InvalidRequest, why, at, ""));
    }
    if named.trim() != named || named.len() > 255 {
        let why = format!("{name} has at most 255 bytes and no space at either end");
        return Err(refuse_at(Kind::InvalidRequest, why, at, ""));
    }
    Ok(named.to_owned())
}

async fn taken(cx: &mut Cx, external_id: &str) -> Result<Error> {
    let (id, status) = store::by_external_id(cx, external_id).await?;
    let why = match status {
        Status::Deactivated => {
            "external_id is taken by an agent that is deactivated: activate it and rotate its key"
        }
        Status::Expired => {
            "external_id is taken by an agent that is expired: deactivate it, activate it and rotate its key"
        }
        _ => "external_id already registered",
    };
    Ok(refuse_at(Kind::Conflict, why, "body.external_id", id.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::cx::Authority;

    #[test]
    fn an_owner_is_a_person_that_somebody_named() {
        let nobody = Caller {
            kind: "open",
            id: String::new(),
            user: None,
            across_tenants: true,
            authority: Authority::Everything,
        };
        let somebody = Caller { user: Some("u-1".to_owned()), ..nobody.clone() };
        assert_eq!(owner(Some("dev@company.example"), &nobody).unwrap(), "dev@company.example");
        assert_eq!(owner(Some("System:root"), &somebody).unwrap(), "u-1");
        for blank in [None, Some(""), Some("  "), Some("system:x")] {
            assert!(owner(blank, &nobody).is_err(), "{blank:?}");
        }
        assert!(owner(Some(" padded"), &nobody).is_err());
    }
}
