//! SQL of API keys.

use std::collections::HashMap;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Evidence, NewApiKey, Use};
use crate::kit::cx::Cx;
use crate::kit::secret::SecretHash;

pub async fn insert(cx: &mut Cx, id: Uuid, new: &NewApiKey, key: (&str, &SecretHash)) -> sqlx::Result<()> {
    let (prefix, hash) = key;
    sqlx::query(
        "insert into api_keys (id, account_id, project_id, identity_id, name, key_prefix, pepper_id, key_hash, scopes,
             credential_policy_id, expires_at, created_by, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)",
    )
    .bind(id)
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(new.identity_id)
    .bind(&new.name)
    .bind(prefix)
    .bind(hash.pepper_id)
    .bind(&hash.mac)
    .bind(&new.scopes)
    .bind(new.credential_policy_id)
    .bind(new.expires_at)
    .bind(&new.created_by)
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

/// Scopes, policy and creator of the identity's newest key, a live one before a dead one.
pub async fn newest(
    cx: &mut Cx,
    identity_id: Uuid,
) -> sqlx::Result<Option<(Option<Vec<String>>, Uuid, String)>> {
    sqlx::query_as(
        "select scopes, credential_policy_id, created_by from api_keys
         where account_id = $1 and project_id = $2 and identity_id = $3
         order by (revoked_at is null and replaced_at is null) desc, created_at desc, id desc limit 1",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(identity_id)
    .fetch_optional(&mut *cx.tx)
    .await
}

pub async fn replace_others(cx: &mut Cx, identity_id: Uuid, by: Uuid) -> sqlx::Result<()> {
    sqlx::query(
        "update api_keys set replaced_at = $5, replaced_by = $4, updated_at = $5
         where account_id = $1 and project_id = $2 and identity_id = $3 and id <> $4
           and replaced_at is null and revoked_at is null",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(identity_id)
    .bind(by)
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

/// In the order of the ids, as everybody locks who changes several.
pub async fn revoke_all(cx: &mut Cx, identity_ids: &[Uuid], by: &str, reason: &str) -> sqlx::Result<()> {
    sqlx::query(
        "update api_keys k set revoked_at = $4, revoked_by = $5, revoke_reason = $6, updated_at = $4
         from (select id from api_keys
               where account_id = $1 and project_id = $2 and identity_id = any($3) and revoked_at is null
               order by id for update) live
         where k.id = live.id",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(identity_ids)
    .bind(cx.now)
    .bind(by)
    .bind(reason)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

/// The key by its keyed hash: the one way in that names no tenant, since the secret does.
pub async fn evidence(db: &mut PgConnection, hashes: &[Vec<u8>]) -> sqlx::Result<Option<Evidence>> {
    sqlx::query_as(
        "select k.account_id as key_account_id, k.project_id as key_project_id, k.id as key_id,
             k.revoked_at is not null or k.replaced_at is not null as key_ended, k.expires_at as key_expires_at,
             k.scopes as key_scopes, k.created_by, h.*,
             p.id as key_policy_id, p.max_ttl_seconds as key_policy_ttl, p.allowed_grant_types as key_policy_grants,
             p.allowed_scopes as key_policy_scopes, p.required_trust_level as key_policy_trust,
             p.required_attestation as key_policy_attestation, p.max_delegation_depth as key_policy_depth,
             p.is_active as key_policy_active, p.expires_at as key_policy_expires
         from api_keys k
         left join holders h on h.identity_id = k.identity_id
         left join credential_policies p
           on p.id = k.credential_policy_id and k.credential_policy_id is distinct from h.policy_id
         where k.key_hash = any($1)",
    )
    .bind(hashes)
    .fetch_optional(db)
    .await
}

/// Across tenants: the ids come from rows that were found by their secret. The rows are locked in the order of the ids, as
/// by everybody who changes several; an update by itself takes them in the order of its plan.
pub async fn add_uses(db: &PgPool, uses: &HashMap<Uuid, Use>) -> sqlx::Result<()> {
    let (mut keys, mut counts, mut times, mut addresses) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (key, known) in uses {
        keys.push(*key);
        counts.push(known.count);
        times.push(known.at);
        addresses.push(known.address.clone());
    }
    sqlx::query(
        "update api_keys k set usage_count = k.usage_count + u.count, last_used_ip = u.address,
             last_used_at = greatest(k.last_used_at, u.at)
         from (select u.id, u.count, u.at, u.address
               from unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::text[]) as u (id, count, at, address)
               join api_keys locked on locked.id = u.id
               order by locked.id for update of locked) u
         where k.id = u.id",
    )
    .bind(keys)
    .bind(counts)
    .bind(times)
    .bind(addresses)
    .execute(db)
    .await?;
    Ok(())
}
