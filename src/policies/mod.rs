//! Credential policies: the ceilings a tenant sets over what may be issued. One place says no, and it says why.
mod change;
mod grant_types;
mod store;

pub mod routes;

pub use change::{CredentialPolicy, Members, NewPolicy, create, delete, ending, get, list, update};
pub use grant_types::{GrantTypeName, grant_type};

use std::str::FromStr;

use serde::{Serialize, Serializer};
use sqlx::Row;
use sqlx::postgres::PgRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::access::scope::{Ceiling, Scopes};
use crate::agents::TrustLevel;
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::error::{Error, Kind, Result, refuse, refuse_at};
use crate::kit::http::members;
use crate::kit::ids;

/// The policy that applies where no other is named. It can be changed, but neither renamed nor deleted.
pub const DEFAULT: &str = "default";

/// A policy, as every issuance under it reads it.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
#[schema(as = CredentialPolicyRules)]
pub struct Policy {
    /// Its id.
    pub id: Uuid,
    /// Longest life of a credential, in seconds. Longer requests are clamped.
    pub max_ttl_seconds: i32,
    /// Short names of grants; an empty list allows none.
    pub allowed_grant_types: Vec<String>,
    /// `None` does not restrict; the API shows that as an empty list.
    #[serde(serialize_with = "or_empty")]
    #[schema(value_type = Vec<String>)]
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
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<OffsetDateTime>)]
    pub expires_at: Option<Time>,
}

#[expect(clippy::ref_option, reason = "serde hands over the member as it is")]
fn or_empty<S: Serializer>(scopes: &Option<Vec<String>>, to: S) -> Result<S::Ok, S::Error> {
    scopes.as_deref().unwrap_or_default().serialize(to)
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

/// The policy that the member at `at` names; "" names none.
pub async fn named(cx: &mut Cx, at: &'static str, text: Option<&str>) -> Result<Option<Policy>> {
    match members::id(at, text)? {
        Some(id) => Ok(Some(by_id(cx, id, at).await?)),
        None => Ok(None),
    }
}

/// A policy of the tenant by id; `at` names the member of the request that holds it. It is neither changed nor deleted
/// before the transaction ends, so that what is decided by it, and refers to it, holds.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::error::Refused;

    const NOW: Time = time::macros::datetime!(2026-12-01 12:00 UTC);

    fn policy() -> Policy {
        Policy {
            id: Uuid::nil(),
            max_ttl_seconds: 60,
            allowed_grant_types: vec!["api_key".to_owned()],
            allowed_scopes: None,
            required_trust_level: "verified_third_party".to_owned(),
            required_attestation: String::new(),
            max_delegation_depth: 2,
            is_active: true,
            expires_at: Some(NOW + time::Duration::SECOND),
        }
    }

    fn denial(policy: &Policy, depth: i32, now: Time) -> String {
        let trust_level = TrustLevel::VerifiedThirdParty;
        match check(policy, &Question { grant_type: "api_key", trust_level, depth, now }) {
            Ok(()) => String::new(),
            Err(Error::Refused(Refused { kind: Kind::PolicyViolation, why, .. })) => why.into_owned(),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_rule_holds_up_to_its_edge_and_denies_beyond_it() {
        assert_eq!(denial(&policy(), 2, NOW), "");
        let deep = denial(&policy(), 3, NOW);
        assert_eq!(deep, "the credential policy does not allow delegation this deep");
        let late = denial(&policy(), 0, NOW + time::Duration::SECOND);
        assert_eq!(late, "the credential policy has expired");
        let strict = Policy { required_trust_level: "first_party".to_owned(), ..policy() };
        assert_eq!(denial(&strict, 0, NOW), "the credential policy requires a higher trust level");
    }

    #[test]
    fn a_policy_is_within_itself_and_an_open_one_only_within_an_open_one() {
        let limited = |scopes: &[&str]| Policy {
            allowed_scopes: Some(scopes.iter().map(ToString::to_string).collect()),
            ..policy()
        };
        for same in [policy(), limited(&["a"]), limited(&[])] {
            assert!(check_subset(&same, &same).is_ok());
        }
        assert!(check_subset(&limited(&["a"]), &policy()).is_ok());
        for open in [policy(), limited(&[])] {
            assert!(check_subset(&open, &limited(&["a"])).is_err());
        }
    }
}
