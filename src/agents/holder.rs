//! The identity for which a token is issued, as one read finds it.

use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use super::types::{IdentityType, Status, TrustLevel};
use crate::access::scope::{Ceiling, Scopes};
use crate::kit::clock::Time;
use crate::kit::cx::Tenant;
use crate::policies::Policy;

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
    /// The thumbprint of the key to which its tokens must be bound, if one is registered.
    pub dpop_jkt: Option<String>,
}

/// A row of the view `holders`: an identity with its tenant's state, its policy and its registered key.
#[derive(Clone, Debug)]
pub struct Holding {
    /// Whose identity it is.
    pub tenant: Tenant,
    /// Whether the tenant is active.
    pub tenant_active: bool,
    /// The identity.
    pub holder: Holder,
    /// The policy over everything issued to it; one that is missing is a fault.
    pub policy: Option<Policy>,
    /// SPKI PEM of its P-256 key, if it has one.
    pub public_key_pem: Option<String>,
}

impl FromRow<'_, PgRow> for Holding {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            tenant: Tenant { account_id: row.try_get("account_id")?, project_id: row.try_get("project_id")? },
            tenant_active: row.try_get("tenant_active")?,
            holder: Holder::from_row(row)?,
            policy: Policy::from_columns(row, "policy")?,
            public_key_pem: row.try_get("public_key_pem")?,
        })
    }
}

impl Holding {
    /// What the identity and its policy allow, each for itself.
    pub fn ceilings(&self) -> [Ceiling; 2] {
        [Scopes::ceiling(self.holder.allowed_scopes.clone()), self.policy.as_ref().and_then(Policy::ceiling)]
    }

    /// The holding of a row in which the view was joined from the left: `None` where no identity was found.
    pub fn joined(row: &PgRow) -> sqlx::Result<Option<Self>> {
        row.try_get::<Option<Uuid>, _>("identity_id")?.map(|_| Self::from_row(row)).transpose()
    }
}
