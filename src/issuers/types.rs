//! What a trusted issuer is, as a row and on the wire.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::kit::clock::Time;

/// A trusted issuer of one tenant: a row, an answer, and what the token path reads as JSON. No member is ever null on the
/// wire.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema, sqlx::FromRow)]
pub struct TrustedIssuer {
    /// The row's id.
    pub id: Uuid,
    /// With `project_id` the tenant.
    pub account_id: String,
    /// See `account_id`.
    pub project_id: String,
    /// What its tokens say in `iss`, character by character.
    pub issuer: String,
    /// What they must say in `aud`. With the issuer it names the tenant.
    pub audience: String,
    /// What people call it.
    pub name: String,
    /// Where its keys are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// Its keys, where they are not fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub jwks: Option<Value>,
    /// With what they may sign.
    pub algorithms: Vec<String>,
    /// The longest life of a token, in seconds.
    pub max_lifetime_seconds: i32,
    /// How long ago it may have been issued, in seconds.
    pub max_age_seconds: i32,
    /// A glob that every subject must match; "" lets all pass.
    pub subject_pattern: String,
    /// Claims that every token must have, with exactly these texts.
    #[schema(value_type = Object)]
    pub required_claims: Value,
    /// Whether its tokens are accepted.
    pub is_active: bool,
    /// Who registered it.
    pub created_by: String,
    /// When it was registered.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub created_at: Time,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub updated_at: Time,
}
