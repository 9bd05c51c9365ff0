//! The identity for which a token is issued, as one read finds it.

use serde_json::Value;
use sqlx::FromRow;
use uuid::Uuid;

use super::types::{IdentityType, Status, TrustLevel};
use crate::kit::clock::Time;

/// What issuing asks of an identity and writes into its claims.
#[derive(Clone, Debug, FromRow)]
pub struct Holder {
    /// The identity's id.
    pub identity_id: Uuid,
    /// Credentials of an earlier epoch are dead.
    pub epoch: i32,
    /// Only an active one obtains tokens.
    pub status: Status,
    /// When the identity ends, if ever.
    pub identity_expires_at: Option<Time>,
    /// The identity's own limit.
    pub allowed_scopes: Option<Vec<String>>,
    /// The `sub` of its tokens.
    pub wimse_uri: String,
    /// The tenant's id for it.
    pub external_id: String,
    /// What kind of thing it is.
    pub identity_type: IdentityType,
    /// A finer kind.
    pub sub_type: String,
    /// How far it is trusted.
    pub trust_level: TrustLevel,
    /// Who answers for it.
    pub owner_user_id: String,
    /// What people call it.
    pub identity_name: String,
    /// What it is built with.
    pub framework: String,
    /// Its version.
    pub version: String,
    /// Who publishes it.
    pub publisher: String,
    /// The tools it may use.
    pub capabilities: Value,
}
