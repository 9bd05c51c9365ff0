//! What one read finds of an API key: the key, its agent, both policies and the tenant.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use crate::agents::Holding;
use crate::kit::clock::Time;
use crate::kit::cx::Tenant;
use crate::policies::Policy;

/// The facts on which an exchange of an API key rests.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The key's tenant.
    pub tenant: Tenant,
    /// The key's id.
    pub key_id: Uuid,
    /// The hash by which it was found.
    pub key_hash: Vec<u8>,
    /// Revoked or replaced: it mints no more.
    pub key_ended: bool,
    /// When the key ends, if ever.
    pub key_expires_at: Option<Time>,
    /// The key's own limit.
    pub key_scopes: Option<Vec<String>>,
    /// The person who made the key.
    pub created_by: String,
    /// Whose tokens it obtains; absent when the identity is not there.
    pub holding: Option<Holding>,
    /// The key's policy where it is another than the identity's.
    pub key_policy: Option<Policy>,
}

impl FromRow<'_, PgRow> for Evidence {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            tenant: Tenant {
                account_id: row.try_get("key_account_id")?,
                project_id: row.try_get("key_project_id")?,
            },
            key_id: row.try_get("key_id")?,
            key_hash: row.try_get("key_hash")?,
            key_ended: row.try_get("key_ended")?,
            key_expires_at: row.try_get("key_expires_at")?,
            key_scopes: row.try_get("key_scopes")?,
            created_by: row.try_get("created_by")?,
            holding: Holding::joined(row)?,
            key_policy: Policy::from_columns(row, "key_policy")?,
        })
    }
}
