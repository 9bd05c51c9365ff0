//! What an API key is, as a row and on the wire.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::access::scope::{Ceiling, Scopes};
use crate::kit::clock::Time;

/// For what a key is meant. It is only told: nothing depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = ApiKeyEnvironment)]
pub enum Environment {
    /// The real thing.
    #[default]
    Live,
    /// Trials.
    Test,
}

/// Where a key is in its life, as SQL derives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = ApiKeyState)]
pub enum State {
    /// It obtains tokens.
    Active,
    /// It obtains none, and what it obtained is dead.
    Revoked,
    /// A rotation put another in its place: it obtains none, and what it obtained lives on.
    Replaced,
    /// It is past its end.
    Expired,
}

/// What a rotation keeps of a key.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Settings {
    /// Scopes it is limited to; `None` does not limit.
    pub scopes: Option<Vec<String>>,
    /// The policy over everything obtained with it.
    pub credential_policy_id: Uuid,
    /// Who made it; becomes `user_id` of what it obtains.
    pub created_by: String,
    /// What it is for.
    pub description: String,
    /// For what it is meant.
    pub environment: Environment,
    /// Anything else.
    pub metadata: Value,
    /// The networks it works from; `None` does not limit.
    pub ip_allowlist: Option<Vec<String>>,
}

impl Settings {
    /// Those of a key about which nothing but its policy and creator is known.
    pub fn plain(credential_policy_id: Uuid, created_by: String) -> Self {
        Self {
            scopes: None,
            credential_policy_id,
            created_by,
            description: String::new(),
            environment: Environment::Live,
            metadata: json!({}),
            ip_allowlist: None,
        }
    }

    /// The scopes it restricts to, if it does.
    pub fn ceiling(&self) -> Ceiling {
        Scopes::ceiling(self.scopes.clone())
    }
}

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// Its id.
    pub id: Uuid,
    /// Whose tokens it obtains.
    pub identity_id: Uuid,
    /// For whom or what.
    pub name: String,
    /// When it ends, if ever.
    pub expires_at: Option<Time>,
    /// What a rotation would keep.
    pub settings: Settings,
}

/// A key as the API shows it. No member is ever null: clients refuse that.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct ApiKey {
    /// A UUID of version 7.
    pub id: Uuid,
    /// With `project_id` the tenant.
    pub account_id: String,
    /// See `account_id`.
    pub project_id: String,
    /// Whose tokens it obtains.
    pub identity_id: String,
    /// For whom or what.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The first characters of the key.
    pub key_prefix: String,
    /// 1.
    pub key_version: i32,
    /// The scopes it is limited to; an empty list does not limit.
    pub scopes: Vec<String>,
    /// For what it is meant.
    pub environment: Environment,
    /// Where it is in its life.
    pub state: State,
    /// The policy over everything obtained with it.
    pub credential_policy_id: Uuid,
    /// The networks it works from; an empty list does not limit.
    pub ip_allowlist: Vec<String>,
    /// 0: keys have no rate of their own.
    pub rate_limit_rps: i32,
    /// Anything else.
    pub metadata: Value,
    /// The label `product` of its identity.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub product: String,
    /// When it ends, if ever.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<OffsetDateTime>)]
    pub expires_at: Option<Time>,
    /// When it was revoked, if it was.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<OffsetDateTime>)]
    pub revoked_at: Option<Time>,
    /// By whom.
    pub revoked_by: String,
    /// Why.
    pub revoke_reason: String,
    /// The key that took its place, "" if none did.
    pub replaced_by: String,
    /// When it last obtained a token.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<OffsetDateTime>)]
    pub last_used_at: Option<Time>,
    /// From where.
    pub last_used_ip: String,
    /// How often.
    pub usage_count: i64,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub created_at: Time,
    /// When it was last changed.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = OffsetDateTime)]
    pub updated_at: Time,
}
