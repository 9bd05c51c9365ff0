//! How an administrator makes, changes and deletes policies. Whatever is written was checked as a whole.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{DEFAULT, Policy, grant_type, store};
use crate::access::scope::ScopeName;
use crate::access::scope::{self, Scopes};
use crate::agents::TrustLevel;
use crate::kit::app::App;
use crate::kit::clock::Time;
use crate::kit::config::Limits;
use crate::kit::cx::Cx;
use crate::kit::error::{Error, Kind, Result, refuse, refuse_at};
use crate::kit::http::limits::check_text;
use crate::kit::http::members;
use crate::kit::http::members::TimeOrEmpty;
use crate::kit::ids;
use crate::policies::GrantTypeName;
use crate::tenancy;

/// The life of a credential where a new policy names none.
const DEFAULT_TTL_SECONDS: i32 = 3600;
/// No policy allows a deeper delegation.
const DEEPEST: i32 = 64;
/// Names and keys stand in an index, whose rows have a limit.
const LONGEST_NAME: usize = 255;
/// Of attestations, "" for none; a verified one is of one of these levels.
const ATTESTATIONS: [&str; 4] = ["", "software", "platform", "hardware"];

/// A policy as the API shows it. No member is ever null: clients refuse that.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct CredentialPolicy {
    /// Its id and all that it allows.
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub rules: Policy,
    /// With `project_id` the tenant.
    pub account_id: String,
    /// See `account_id`.
    pub project_id: String,
    /// Unique in the tenant.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What made it, where a program did; fixed.
    pub source: String,
    /// What that program calls it; with `source` unique in the tenant, unless it is "".
    pub source_key: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub created_at: Time,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub updated_at: Time,
}

/// The members of a POST or PATCH. What is absent or null keeps its value; for a new policy that is the default.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = CredentialPolicyMembers)]
pub struct Members {
    /// Not empty for a new policy; an empty one keeps the name.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Above 0; for a new policy 0 means the default.
    #[schema(minimum = 0)]
    pub max_ttl_seconds: Option<i32>,
    /// Short names or URNs; an empty list allows nothing.
    #[schema(value_type = Option<Vec<GrantTypeName>>)]
    pub allowed_grant_types: Option<Vec<String>>,
    /// An empty list does not restrict.
    #[schema(value_type = Option<Vec<ScopeName>>)]
    pub allowed_scopes: Option<Vec<String>>,
    /// "" for any.
    #[schema(pattern = "^(unverified|verified_third_party|first_party)?$")]
    pub required_trust_level: Option<String>,
    /// "" for none.
    #[schema(pattern = "^(software|platform|hardware)?$")]
    pub required_attestation: Option<String>,
    /// From 0 to 64.
    #[schema(minimum = 0, maximum = 64)]
    pub max_delegation_depth: Option<i32>,
    /// Whether anything may be issued under it.
    pub is_active: Option<bool>,
    /// RFC 3339, in the future; "" for none.
    #[schema(value_type = Option<TimeOrEmpty>)]
    pub expires_at: Option<String>,
    /// What makes it; ignored in a PATCH.
    pub source: Option<String>,
    /// What that program calls it; ignored in a PATCH.
    pub source_key: Option<String>,
}

/// The same with the name that a new policy must have, for the document of the API.
#[derive(ToSchema)]
#[schema(as = NewCredentialPolicy)]
pub struct NewPolicy {
    /// All but the name.
    #[serde(flatten)]
    pub rest: Members,
    /// What people call it.
    #[schema(pattern = r"\S")]
    pub name: String,
}

impl Members {
    /// The names of the members that are there, for the audit log.
    pub fn names(&self) -> Value {
        let present = [
            ("name", self.name.is_some()),
            ("description", self.description.is_some()),
            ("max_ttl_seconds", self.max_ttl_seconds.is_some()),
            ("allowed_grant_types", self.allowed_grant_types.is_some()),
            ("allowed_scopes", self.allowed_scopes.is_some()),
            ("required_trust_level", self.required_trust_level.is_some()),
            ("required_attestation", self.required_attestation.is_some()),
            ("max_delegation_depth", self.max_delegation_depth.is_some()),
            ("is_active", self.is_active.is_some()),
            ("expires_at", self.expires_at.is_some()),
        ];
        json!(present.into_iter().filter_map(|(name, is)| is.then_some(name)).collect::<Vec<_>>())
    }
}

/// One policy of the tenant.
pub async fn get(cx: &mut Cx, id: Uuid) -> Result<CredentialPolicy> {
    store::get(cx, id).await?.ok_or_else(unknown)
}

/// Every policy of the tenant, newest first.
pub async fn list(cx: &mut Cx) -> Result<Vec<CredentialPolicy>> {
    Ok(store::all(cx, None).await?)
}

/// The active policies whose end comes until then, the nearest first.
pub async fn ending(cx: &mut Cx, until: Time, most: i64) -> Result<Vec<CredentialPolicy>> {
    Ok(store::ending(cx, until, most).await?)
}

/// Makes a policy and says that it is new; or finds the one that the same source made under the same key before.
pub async fn create(app: &App, cx: &mut Cx, members: Members) -> Result<(CredentialPolicy, bool)> {
    let members =
        Members { max_ttl_seconds: members.max_ttl_seconds.filter(|seconds| *seconds != 0), ..members };
    let policy = blank(cx)?.with(&members, &app.config.limits, cx.now)?.made_by(&members)?;
    if policy.name.is_empty() {
        return Err(refuse_at(Kind::Invalid, "name must not be empty", "body.name", ""));
    }
    scope::check_held(&cx.caller, policy.rules.ceiling(), "body.allowed_scopes")?;
    if let Some(id) = store::id_by_source(cx, &policy.source, &policy.source_key).await? {
        return Ok((get(cx, id).await?, false));
    }
    tenancy::ensure(cx).await?;
    if store::insert(cx, &policy).await? {
        return Ok((get(cx, policy.rules.id).await?, true));
    }
    // Another request may have been quicker with the same source and key, or the name is taken.
    match store::id_by_source(cx, &policy.source, &policy.source_key).await? {
        Some(id) => Ok((get(cx, id).await?, false)),
        None => Err(taken(cx, &policy.name).await?),
    }
}

/// Changes a policy. It is in force for what exists under it with the next issuance.
pub async fn update(app: &App, cx: &mut Cx, id: Uuid, members: &Members) -> Result<CredentialPolicy> {
    let before = store::lock(cx, id).await?.ok_or_else(unknown)?;
    let after = before.clone().with(members, &app.config.limits, cx.now)?;
    if before.name == DEFAULT && after.name != DEFAULT {
        let why = "the policy `default` applies where no other is named; it can't be renamed";
        return Err(refuse_at(Kind::Conflict, why, "body.name", id.to_string()));
    }
    check_widening(cx, &before.rules, &after.rules).await?;
    if !store::update(cx, &after).await? {
        return Err(taken(cx, &after.name).await?);
    }
    get(cx, id).await
}

/// Deletes a policy to which nothing refers.
pub async fn delete(cx: &mut Cx, id: Uuid) -> Result<()> {
    let policy = store::lock(cx, id).await?.ok_or_else(unknown)?;
    if policy.name == DEFAULT {
        let why = "the policy `default` applies where no other is named; it can be changed, not deleted";
        return Err(refuse(Kind::Conflict, why));
    }
    if store::is_referenced(cx, id).await? {
        let why = "an agent or an API key, dead ones included, is under this policy; set is_active to false instead";
        return Err(refuse(Kind::Conflict, why));
    }
    Ok(store::delete(cx, id).await?)
}

/// Whoever names a reserved scope in a policy hands it out to all that is under the policy; whoever opens a policy that
/// restricted hands out the reserved scopes that other layers name and this one masked.
async fn check_widening(cx: &mut Cx, before: &Policy, after: &Policy) -> Result<()> {
    let named = match (before.ceiling(), after.ceiling()) {
        (None, None) => return Ok(()),
        (_, Some(after)) => after,
        (Some(_), None) => {
            let beside = store::scopes_beside(cx, before.id).await?;
            Scopes::of(beside.iter().map(String::as_str), usize::MAX)?
        }
    };
    let known = before.ceiling().unwrap_or_default();
    let holds = |scope: &str| known.contains(scope) || cx.caller.holds(scope);
    scope::check_grantable(&named, "body.allowed_scopes", holds)
}

fn blank(cx: &Cx) -> Result<CredentialPolicy> {
    let rules = Policy {
        id: ids::new(cx.now)?,
        max_ttl_seconds: DEFAULT_TTL_SECONDS,
        allowed_grant_types: vec!["client_credentials".to_owned()],
        allowed_scopes: None,
        required_trust_level: String::new(),
        required_attestation: String::new(),
        max_delegation_depth: 0,
        is_active: true,
        expires_at: None,
    };
    Ok(CredentialPolicy {
        rules,
        account_id: cx.tenant.account_id.clone(),
        project_id: cx.tenant.project_id.clone(),
        name: String::new(),
        description: String::new(),
        source: String::new(),
        source_key: String::new(),
        created_at: cx.now,
        updated_at: cx.now,
    })
}

impl CredentialPolicy {
    /// The policy with these members in place of its own, if every one of them is lawful.
    fn with(mut self, members: &Members, limits: &Limits, now: Time) -> Result<Self> {
        if let Some(name) = members.name.as_ref().filter(|name| !name.is_empty()) {
            if name.trim().is_empty() {
                return Err(refuse_at(Kind::Invalid, "name must not be blank", "body.name", ""));
            }
            self.name = short("body.name", name)?;
        }
        if let Some(description) = &members.description {
            check_text("description", description, limits)?;
            self.description.clone_from(description);
        }
        self.rules = self.rules.with(members, limits, now)?;
        Ok(self)
    }

    /// The same, made by the program that the members name.
    fn made_by(mut self, members: &Members) -> Result<Self> {
        self.source = short("body.source", members.source.as_deref().unwrap_or_default())?;
        self.source_key = short("body.source_key", members.source_key.as_deref().unwrap_or_default())?;
        Ok(self)
    }
}

impl Policy {
    fn with(mut self, members: &Members, limits: &Limits, now: Time) -> Result<Self> {
        if let Some(seconds) = members.max_ttl_seconds {
            self.max_ttl_seconds = within("body.max_ttl_seconds", seconds, 1..=i32::MAX)?;
        }
        if let Some(depth) = members.max_delegation_depth {
            self.max_delegation_depth = within("body.max_delegation_depth", depth, 0..=DEEPEST)?;
        }
        if let Some(grants) = &members.allowed_grant_types {
            self.allowed_grant_types = grant_types(grants)?;
        }
        if let Some(scopes) = &members.allowed_scopes {
            let scopes = Scopes::of(scopes.iter().map(String::as_str), limits.scopes)?;
            self.allowed_scopes = Some(scopes.as_slice().to_vec()).filter(|scopes| !scopes.is_empty());
        }
        if let Some(level) = &members.required_trust_level {
            if !level.is_empty() && TrustLevel::from_str(level).is_err() {
                let why = "required_trust_level is unverified, verified_third_party, first_party or empty";
                return Err(wrong("body.required_trust_level", why, level));
            }
            self.required_trust_level.clone_from(level);
        }
        if let Some(level) = &members.required_attestation {
            if !ATTESTATIONS.contains(&level.as_str()) {
                let why = "required_attestation is software, platform, hardware or empty";
                return Err(wrong("body.required_attestation", why, level));
            }
            self.required_attestation.clone_from(level);
        }
        self.is_active = members.is_active.unwrap_or(self.is_active);
        if let Some(at) = &members.expires_at {
            self.expires_at = members::expires_at(at, now)?;
        }
        Ok(self)
    }
}

fn grant_types(named: &[String]) -> Result<Vec<String>> {
    let mut known: Vec<String> = Vec::new();
    for name in named {
        let short = grant_type(name).ok_or_else(|| {
            let why = "a grant type is client_credentials, jwt_bearer, token_exchange, api_key, authorization_code, \
                 refresh_token or urn:openid:params:grant-type:ciba";
            wrong("body.allowed_grant_types", why, name)
        })?;
        if !known.iter().any(|known| known == short) {
            known.push(short.to_owned());
        }
    }
    Ok(known)
}

fn within(at: &'static str, number: i32, range: std::ops::RangeInclusive<i32>) -> Result<i32> {
    if range.contains(&number) {
        return Ok(number);
    }
    let name = at.trim_start_matches("body.");
    let why = format!("{name} is a whole number from {} to {}", range.start(), range.end());
    Err(refuse_at(Kind::InvalidRequest, why, at, number.to_string()))
}

fn short(at: &'static str, text: &str) -> Result<String> {
    if text.chars().count() <= LONGEST_NAME {
        return Ok(text.to_owned());
    }
    let why = format!("{} is longer than {LONGEST_NAME} characters", at.trim_start_matches("body."));
    Err(refuse_at(Kind::InvalidRequest, why, at, ""))
}

/// A refusal of a word that is none of ours. Only its beginning is shown.
fn wrong(at: &'static str, why: &'static str, value: &str) -> Error {
    refuse_at(Kind::InvalidRequest, why, at, value.chars().take(64).collect::<String>())
}

async fn taken(cx: &mut Cx, name: &str) -> Result<Error> {
    let id = store::id_by_name(cx, name).await?.map(|id| id.to_string()).unwrap_or_default();
    Ok(refuse_at(Kind::Conflict, "a credential policy of this name exists already", "body.name", id))
}

/// Another tenant's policy and no policy at all are the same answer.
fn unknown() -> Error {
    refuse(Kind::NotFound, "there is no credential policy with this id")
}
