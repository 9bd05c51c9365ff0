//! Registration: an identity and its first API key in one transaction.

use serde::Deserialize;
use serde_json::{Map, Value};
use time::UtcOffset;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::types::{Agent, IdentityType, Status, TrustLevel};
use super::{get, public_key, store};
use crate::access::scope::{self, Ceiling, Scopes};
use crate::api_keys::{self, NewApiKey};
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::config::Limits;
use crate::kit::cx::{Caller, Cx};
use crate::kit::error::{Error, Kind, Result, refuse_at};
use crate::kit::http::limits::check_text;
use crate::kit::ids;
use crate::kit::secret::Secret;
use crate::policies::Policy;
use crate::{policies, tenancy};

/// An agent to be registered. Members it does not know are ignored; a tenant in the body is too.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct NewAgent {
    /// What people call it; not empty.
    pub name: String,
    /// The tenant's own id for it: `[A-Za-z0-9._-]`.
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
    pub allowed_scopes: Vec<String>,
    /// The policy over everything issued to it.
    pub credential_policy_id: Option<String>,
    /// A narrower policy over its first key.
    pub api_key_credential_policy_id: Option<String>,
    /// When it ends, RFC 3339.
    pub expires_at: Option<String>,
}

/// The outcome of a registration.
#[derive(Debug)]
pub struct Registered {
    /// The new agent.
    pub agent: Agent,
    /// Its first key, shown once.
    pub api_key: Secret,
}

/// Registers an agent: all of it or nothing.
pub async fn register(app: &App, cx: &mut Cx, new: NewAgent) -> Result<Registered> {
    check(&new, &app.config.limits)?;
    let owner = owner(new.created_by.as_deref(), &cx.caller)?;
    let expires_at = new.expires_at.as_deref().map(|text| future(text, cx.now)).transpose()?.flatten();
    let key =
        new.public_key_pem.as_deref().filter(|pem| !pem.is_empty()).map(public_key::parse).transpose()?;
    let scopes = Scopes::of(new.allowed_scopes.iter().map(String::as_str), app.config.limits.scopes)?;
    let ceiling: Ceiling = Some(scopes).filter(|scopes| !scopes.is_empty());
    // The agent's own ceiling outlives the policy that may mask a part of it today, so it is checked by itself as well.
    check_ceiling(cx, ceiling.clone())?;
    let named = named_policy(cx, "body.credential_policy_id", new.credential_policy_id.as_deref()).await?;
    let key_policy_at = "body.api_key_credential_policy_id";
    let key_policy = named_policy(cx, key_policy_at, new.api_key_credential_policy_id.as_deref()).await?;
    // Only now is anything written: a refusal is committed, and must not leave a tenant behind.
    tenancy::ensure(cx).await?;
    let policy = match named {
        Some(policy) => policy,
        None => policies::default(cx).await?,
    };
    if let Some(key_policy) = &key_policy {
        policies::check_subset(key_policy, &policy)?;
    }
    check_ceiling(cx, scope::intersect([ceiling.clone(), policy.ceiling()]))?;
    let row = store::Row {
        id: ids::new(cx.now)?,
        wimse_uri: wimse_uri(&app.config.trust_domain, cx, new.identity_type, &new.external_id),
        allowed_scopes: ceiling.map(|scopes| scopes.as_slice().to_vec()),
        owner: owner.clone(),
        policy_id: policy.id,
        expires_at,
        key,
        new,
    };
    if !store::insert(cx, &row).await? {
        return Err(taken(cx, &row.new.external_id).await?);
    }
    let key = NewApiKey {
        identity_id: Some(row.id),
        name: format!("Agent: {}", row.new.name),
        scopes: None,
        credential_policy_id: key_policy.map_or(policy.id, |policy| policy.id),
        expires_at,
        created_by: owner,
    };
    let (_, api_key) = api_keys::create(app, cx, key).await?;
    Ok(Registered { agent: get(cx, row.id).await?, api_key })
}

fn check(new: &NewAgent, limits: &Limits) -> Result<()> {
    if new.name.trim().is_empty() {
        return Err(refuse_at(Kind::Invalid, "name must not be empty", "body.name", ""));
    }
    if new.external_id.is_empty() {
        return Err(refuse_at(Kind::Invalid, "external_id must not be empty", "body.external_id", ""));
    }
    tenancy::check_segment("body.external_id", &new.external_id)?;
    if let Some(sub_type) = &new.sub_type {
        check_sub_type(new.identity_type, sub_type)?;
    }
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

/// Refuses a ceiling by which the caller would hand out a reserved scope that he does not hold himself.
fn check_ceiling(cx: &Cx, ceiling: Ceiling) -> Result<()> {
    scope::check_grantable(&ceiling.unwrap_or_default(), "body.allowed_scopes", |scope| {
        cx.caller.holds(scope)
    })
}

/// Whether a caller may go by this name: one that looks like the server's own, or like nothing, is dropped.
pub(super) fn is_person(name: &str) -> bool {
    !name.trim().is_empty() && !name.trim_start().to_ascii_lowercase().starts_with("system:")
}

/// Who answers for the agent.
fn owner(named: Option<&str>, caller: &Caller) -> Result<String> {
    let owner = named.filter(|name| is_person(name)).or(caller.user.as_deref()).ok_or_else(|| {
        refuse_at(
            Kind::InvalidRequest,
            "created_by is missing: name the person who answers for the agent",
            "body.created_by",
            "",
        )
    })?;
    if owner.trim() != owner || owner.len() > 255 {
        let why = "created_by has at most 255 bytes and no space at either end";
        return Err(refuse_at(Kind::InvalidRequest, why, "body.created_by", ""));
    }
    Ok(owner.to_owned())
}

/// A moment that lies ahead, as RFC 3339; the empty text means none.
fn future(text: &str, now: Time) -> Result<Option<Time>> {
    if text.is_empty() {
        return Ok(None);
    }
    // A moment of the last year may have none in UTC.
    let utc = |at: Time| at.checked_to_offset(UtcOffset::UTC);
    let at = Time::parse(text, &Rfc3339).ok().and_then(utc).ok_or_else(|| {
        let why = "expires_at is a time of RFC 3339, as 2030-01-31T00:00:00Z";
        refuse_at(Kind::Invalid, why, "body.expires_at", "")
    })?;
    if at <= now {
        return Err(refuse_at(Kind::InvalidRequest, "expires_at lies in the past", "body.expires_at", text));
    }
    Ok(Some(at))
}

/// A policy of the tenant that the member at `at` names; "" names none.
async fn named_policy(cx: &mut Cx, at: &'static str, text: Option<&str>) -> Result<Option<Policy>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let malformed = |_| refuse_at(Kind::Invalid, format!("{at} is not a UUID"), at, "");
    let id = Uuid::try_parse(text).map_err(malformed)?;
    Ok(Some(policies::by_id(cx, id, at).await?))
}

/// `spiffe://{trust domain}/{account}/{project}/{type}/{external id}`; every part was checked to be a path segment.
fn wimse_uri(trust_domain: &str, cx: &Cx, identity_type: IdentityType, external_id: &str) -> String {
    let (account, project) = (&cx.tenant.account_id, &cx.tenant.project_id);
    format!("spiffe://{trust_domain}/{account}/{project}/{}/{external_id}", identity_type.as_str())
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
