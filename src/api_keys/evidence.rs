//! What one read finds of an API key: the key, its agent, both policies and the tenant.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use crate::agents::Holding;
use crate::kit::clock::Time;
use crate::kit::cx::Tenant;
use crate::kit::error::Result;
use crate::policies::Policy;

/// The facts on which an exchange of an API key rests.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The key's tenant.
    pub tenant: Tenant,
    /// The key's id.
    pub key_id: Uuid,
    /// Revoked or replaced: it mints no more.
    pub key_ended: bool,
    /// When the key ends, if ever.
    pub key_expires_at: Option<Time>,
    /// The key's own limit.
    pub key_scopes: Option<Vec<String>>,
    /// The networks it works from; `None` does not limit.
    pub ip_allowlist: Option<Vec<String>>,
    /// The person who made the key.
    pub created_by: String,
    /// Whose tokens it obtains; absent when the identity is not there.
    pub holding: Option<Holding>,
    /// The id of the key's policy.
    pub credential_policy_id: Uuid,
    /// The key's policy where it is another than the identity's.
    pub key_policy: Option<Policy>,
}

impl Evidence {
    /// A key's policy that is missing is a fault: to go on without it would allow more.
    pub fn check_policies(&self) -> Result<()> {
        let of_identity = self.holding.as_ref().and_then(|holding| holding.policy.as_ref());
        let is_own = of_identity.is_some_and(|own| own.id == self.credential_policy_id);
        if self.holding.is_none() || self.key_policy.is_some() || is_own {
            return Ok(());
        }
        Err(anyhow::anyhow!("a credential policy over API key {} is missing", self.key_id).into())
    }
}

impl FromRow<'_, PgRow> for Evidence {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            tenant: Tenant {
                account_id: row.try_get("key_account_id")?,
                project_id: row.try_get("key_project_id")?,
            },
            key_id: row.try_get("key_id")?,
            key_ended: row.try_get("key_ended")?,
            key_expires_at: row.try_get("key_expires_at")?,
            key_scopes: row.try_get("key_scopes")?,
            ip_allowlist: row.try_get("ip_allowlist")?,
            created_by: row.try_get("created_by")?,
            holding: Holding::joined(row)?,
            credential_policy_id: row.try_get("credential_policy_id")?,
            key_policy: Policy::from_columns(row, "key_policy")?,
        })
    }
}
