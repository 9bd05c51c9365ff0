//! What an agent is, as a row and on the wire.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::kit::clock::Time;
use crate::tokens::Anchor;

/// What kind of thing holds the identity. Part of its URI, so it never changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum IdentityType {
    /// Acts on its own or for somebody.
    #[default]
    Agent,
    /// Is used by people.
    Application,
    /// Offers tools to agents.
    McpServer,
    /// Anything else that holds credentials.
    Service,
}

impl IdentityType {
    /// As it stands in URIs and rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Application => "application",
            Self::McpServer => "mcp_server",
            Self::Service => "service",
        }
    }

    /// The sub types that go with it; none at all is always possible.
    pub fn sub_types(self) -> &'static [&'static str] {
        match self {
            Self::Agent => {
                &["orchestrator", "autonomous", "tool_agent", "human_proxy", "evaluator", "code_agent"]
            }
            Self::Application => &["chatbot", "assistant", "api_service", "custom", "code_agent"],
            Self::McpServer => &[],
            Self::Service => &["llm_provider"],
        }
    }

    /// The sub type of one that names none.
    pub fn default_sub_type(self) -> &'static str {
        match self {
            Self::Agent => "tool_agent",
            _ => "",
        }
    }
}

/// How far an identity is trusted, in ascending order.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema, sqlx::Type,
)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum TrustLevel {
    /// Nobody has vouched for it.
    #[default]
    Unverified,
    /// Another party has.
    VerifiedThirdParty,
    /// It is the tenant's own.
    FirstParty,
}

impl TrustLevel {
    /// As it stands in tokens and rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unverified => "unverified",
            Self::VerifiedThirdParty => "verified_third_party",
            Self::FirstParty => "first_party",
        }
    }
}

impl FromStr for TrustLevel {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Unverified, Self::VerifiedThirdParty, Self::FirstParty]
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or(())
    }
}

/// Where an identity is in its life. Only an active one obtains tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[schema(as = IdentityStatus)]
pub enum Status {
    /// Seen somewhere, not yet taken in.
    Discovered,
    /// Taken in, not yet released.
    Pending,
    /// Usable.
    Active,
    /// Asleep: its tokens wake with it.
    Suspended,
    /// Ended: its keys and tokens stay dead even when it is activated again.
    Deactivated,
    /// Past its end.
    Expired,
}

impl Status {
    /// As it stands in tokens and rows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discovered => "discovered",
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deactivated => "deactivated",
            Self::Expired => "expired",
        }
    }

    /// Whether the status machine knows the step. Staying is always possible.
    pub fn may_become(self, next: Self) -> bool {
        use Status::{Active, Deactivated, Discovered, Expired, Pending, Suspended};
        self == next
            || match self {
                Discovered => matches!(next, Pending | Active | Deactivated),
                Pending => matches!(next, Active | Discovered | Deactivated),
                Active => matches!(next, Suspended | Deactivated | Expired),
                Suspended => matches!(next, Active | Deactivated | Expired),
                Deactivated => matches!(next, Active),
                Expired => matches!(next, Deactivated),
            }
    }

    /// Whether entering it ends the identity's keys and every credential issued so far.
    pub fn ends_credentials(self) -> bool {
        matches!(self, Self::Deactivated | Self::Expired)
    }
}

impl FromStr for Status {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Discovered, Self::Pending, Self::Active, Self::Suspended, Self::Deactivated, Self::Expired]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(())
    }
}

/// An agent as the API shows it. No member is ever null: clients refuse that.
#[derive(Clone, Debug, Serialize, ToSchema, sqlx::FromRow)]
pub struct Agent {
    /// A UUID of version 7.
    pub id: Uuid,
    /// With `project_id` the tenant.
    pub account_id: String,
    /// See `account_id`.
    pub project_id: String,
    /// What people call it.
    pub name: String,
    /// The tenant's own id for it; never freed.
    pub external_id: String,
    /// Its SPIFFE-style URI, the `sub` of its tokens.
    pub wimse_uri: String,
    /// The first characters of a live API key, "" if there is none.
    pub api_key_prefix: String,
    /// What kind of thing it is.
    pub identity_type: IdentityType,
    /// A finer kind.
    pub sub_type: String,
    /// How far it is trusted.
    pub trust_level: TrustLevel,
    /// Where it is in its life.
    pub status: Status,
    /// Who answers for it.
    pub owner_user_id: String,
    /// The policy over everything issued to it.
    pub credential_policy_id: Uuid,
    /// The scopes it is limited to; absent when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_scopes: Option<Vec<String>>,
    /// RFC 7638 thumbprint of its registered key; absent when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key_thumbprint: Option<String>,
    /// RFC 7638 thumbprint of the key to which its tokens must be bound; absent when none is registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpop_jkt: Option<String>,
    /// What it is built with.
    pub framework: String,
    /// Its version.
    pub version: String,
    /// Who publishes it.
    pub publisher: String,
    /// What it is for.
    pub description: String,
    /// The tools it may use; copied into its tokens.
    #[schema(value_type = Vec<Value>)]
    pub capabilities: Value,
    /// For finding it.
    #[schema(value_type = Object)]
    pub labels: Value,
    /// Anything else; never in a token.
    #[schema(value_type = Object)]
    pub metadata: Value,
    /// How it came to be known.
    pub origin: String,
    /// When it ends, if ever.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<OffsetDateTime>)]
    pub expires_at: Option<Time>,
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
    /// The deepest delegation among its credentials.
    pub delegation_depth: i32,
    /// Credentials of an earlier epoch are dead.
    #[serde(skip)]
    pub epoch: i32,
}

impl Agent {
    /// What a mark stands on that ends all it holds.
    pub(super) fn anchor(&self) -> Anchor {
        Anchor::Identity(self.id, self.epoch)
    }
}
