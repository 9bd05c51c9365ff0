//! Credential policies: the ceilings a tenant sets over what may be issued. One place says no, and it says why.
mod grant_types;
mod store;

pub use grant_types::grant_type;

use std::str::FromStr;

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::access::scope::{Ceiling, Scopes};
use crate::agents::TrustLevel;
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::error::{Error, Kind, Result, refuse, refuse_at};
use crate::kit::ids;

/// A policy, as every issuance under it reads it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Policy {
    /// Its id.
    pub id: Uuid,
    /// Longest life of a credential, in seconds. Longer requests are clamped.
    pub max_ttl_seconds: i32,
    /// Short names of grants; an empty list allows none.
    pub allowed_grant_types: Vec<String>,
    /// `None` does not restrict.
    pub allowed_scopes: Option<Vec<String>>,
    /// The least trust, "" for any.
    pub required_trust_level: String,
    /// The least attestation, "" for none.
    pub required_attestation: String,
    /// The deepest delegation of a credential issued under it.
    pub max_delegation_depth: i32,
    /// An inactive policy denies everything under it.
    pub is_active: bool,
    /// An expired policy denies everything under it.
    pub expires_at: Option<Time>,
}

/// What a policy is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Short name of the grant.
    pub grant_type: &'static str,
    /// The trust level of the identity that will hold the credential.
    pub trust_level: TrustLevel,
    /// The delegation depth of the credential.
    pub depth: i32,
    /// When.
    pub now: Time,
}

impl Policy {
    /// A policy that was joined from the left, in columns that begin with `prefix`; `None` where none was found.
    pub fn from_columns(row: &PgRow, prefix: &str) -> sqlx::Result<Option<Self>> {
        let column = |name: &str| format!("{prefix}_{name}");
        let Some(id) = row.try_get(&*column("id"))? else { return Ok(None) };
        Ok(Some(Self {
            id,
            max_ttl_seconds: row.try_get(&*column("ttl"))?,
            allowed_grant_types: row.try_get(&*column("grants"))?,
            allowed_scopes: row.try_get(&*column("scopes"))?,
            required_trust_level: row.try_get(&*column("trust"))?,
            required_attestation: row.try_get(&*column("attestation"))?,
            max_delegation_depth: row.try_get(&*column("depth"))?,
            is_active: row.try_get(&*column("active"))?,
            expires_at: row.try_get(&*column("expires"))?,
        }))
    }

    /// The scopes it restricts to, if it does.
    pub fn ceiling(&self) -> Ceiling {
        Scopes::ceiling(self.allowed_scopes.clone())
    }
}

/// The only place that says no for policy. Scopes and lifetime are not asked here: they are narrowed and clamped.
pub fn check(policy: &Policy, question: &Question) -> Result<()> {
    let denied = |why: &'static str| Err(refuse(Kind::PolicyViolation, why));
    if !policy.is_active {
        return denied("the credential policy is not active");
    }
    if policy.expires_at.is_some_and(|at| at <= question.now) {
        return denied("the credential policy has expired");
    }
    if !policy.allowed_grant_types.iter().any(|grant| grant == question.grant_type) {
        return denied("the credential policy does not allow this grant type");
    }
    let required = TrustLevel::from_str(&policy.required_trust_level).ok();
    if required.is_some_and(|required| question.trust_level < required) {
        return denied("the credential policy requires a higher trust level");
    }
    // No attestation can be presented yet, so any that is required is missing.
    if !policy.required_attestation.is_empty() {
        return denied("the credential policy requires an attestation");
    }
    if question.depth > policy.max_delegation_depth {
        return denied("the credential policy does not allow delegation this deep");
    }
    Ok(())
}

/// The tenant's default policy, made on first use. Two requests that meet make one: the name is unique.
pub async fn default(cx: &mut Cx) -> Result<Policy> {
    if let Some(policy) = store::default(cx).await? {
        return Ok(policy);
    }
    let id = ids::new(cx.now)?;
    store::insert_default(cx, id).await?;
    store::default(cx).await?.ok_or_else(|| anyhow::anyhow!("the default policy vanished").into())
}

/// A policy of the tenant by id; `at` names the member of the request that holds it.
pub async fn by_id(cx: &mut Cx, id: Uuid, at: &'static str) -> Result<Policy> {
    let unknown =
        || refuse_at(Kind::InvalidRequest, "there is no credential policy with this id", at, id.to_string());
    store::by_id(cx, id).await?.ok_or_else(unknown)
}

/// Refuses a key's policy that allows more than the identity's: a key narrows, never widens.
pub fn check_subset(key: &Policy, identity: &Policy) -> Result<()> {
    let within_grants =
        key.allowed_grant_types.iter().all(|grant| identity.allowed_grant_types.contains(grant));
    let within_scopes = match (key.ceiling(), identity.ceiling()) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(key), Some(identity)) => key.iter().all(|scope| identity.contains(scope)),
    };
    let rank = |level: &str| TrustLevel::from_str(level).ok();
    let as_strict = rank(&key.required_trust_level) >= rank(&identity.required_trust_level)
        && attestation_rank(&key.required_attestation) >= attestation_rank(&identity.required_attestation);
    let within = within_grants
        && within_scopes
        && as_strict
        && key.max_ttl_seconds <= identity.max_ttl_seconds
        && key.max_delegation_depth <= identity.max_delegation_depth;
    if within { Ok(()) } else { Err(broader()) }
}

fn broader() -> Error {
    refuse(
        Kind::InvalidRequest,
        "the key's credential policy allows more than the identity's: a key's policy must be a subset of it",
    )
}

fn attestation_rank(level: &str) -> u8 {
    match level {
        "software" => 1,
        "platform" => 2,
        "hardware" => 3,
        _ => 0,
    }
}
