//! What one read finds of an API key: the key, its agent, both policies and the tenant.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use crate::agents::Holder;
use crate::kit::clock::Time;
use crate::kit::cx::Tenant;
use crate::policies::Policy;

/// The facts on which an exchange of an API key rests.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The key's tenant.
    pub tenant: Tenant,
    /// Whether the tenant is active.
    pub tenant_active: bool,
    /// The key's id.
    pub key_id: Uuid,
    /// Revoked or replaced: it mints no more.
    pub key_ended: bool,
    /// When the key ends, if ever.
    pub key_expires_at: Option<Time>,
    /// The key's own limit.
    pub key_scopes: Option<Vec<String>>,
    /// The person who made the key.
    pub created_by: String,
    /// Whose tokens it obtains; absent when the identity is not there.
    pub holder: Option<Holder>,
    /// The identity's policy and, where it is another, the key's.
    pub policies: Vec<Policy>,
}

impl FromRow<'_, PgRow> for Evidence {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let holder = match row.try_get::<Option<Uuid>, _>("identity_id")? {
            Some(_) => Some(Holder::from_row(row)?),
            None => None,
        };
        let policies = [policy(row, &IDENTITY_POLICY)?, policy(row, &KEY_POLICY)?];
        Ok(Self {
            tenant: Tenant { account_id: row.try_get("account_id")?, project_id: row.try_get("project_id")? },
            tenant_active: row.try_get("tenant_active")?,
            key_id: row.try_get("key_id")?,
            key_ended: row.try_get("key_ended")?,
            key_expires_at: row.try_get("key_expires_at")?,
            key_scopes: row.try_get("key_scopes")?,
            created_by: row.try_get("created_by")?,
            holder,
            policies: policies.into_iter().flatten().collect(),
        })
    }
}

/// The columns of a policy in the row, in the order of the struct's members.
type PolicyColumns = [&'static str; 9];

const IDENTITY_POLICY: PolicyColumns = [
    "ip_id",
    "ip_ttl",
    "ip_grants",
    "ip_scopes",
    "ip_trust",
    "ip_attestation",
    "ip_depth",
    "ip_active",
    "ip_expires",
];
const KEY_POLICY: PolicyColumns = [
    "kp_id",
    "kp_ttl",
    "kp_grants",
    "kp_scopes",
    "kp_trust",
    "kp_attestation",
    "kp_depth",
    "kp_active",
    "kp_expires",
];

fn policy(row: &PgRow, columns: &PolicyColumns) -> sqlx::Result<Option<Policy>> {
    let [id, ttl, grants, scopes, trust, attestation, depth, active, expires] = *columns;
    let Some(id) = row.try_get(id)? else { return Ok(None) };
    Ok(Some(Policy {
        id,
        max_ttl_seconds: row.try_get(ttl)?,
        allowed_grant_types: row.try_get(grants)?,
        allowed_scopes: row.try_get(scopes)?,
        required_trust_level: row.try_get(trust)?,
        required_attestation: row.try_get(attestation)?,
        max_delegation_depth: row.try_get(depth)?,
        is_active: row.try_get(active)?,
        expires_at: row.try_get(expires)?,
    }))
}
