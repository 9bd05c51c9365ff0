//! SQL of API keys.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{ApiKey, NewApiKey, Settings, Use};
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::secret::SecretHash;

/// Which keys a list shows. An absent filter lets all through.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Any of these states.
    pub states: Vec<String>,
    /// Keys of this identity.
    pub identity_id: Option<Uuid>,
    /// A label with its value, as a JSON object that the identity's labels must contain.
    pub label: Option<Value>,
    /// A product, which is the identity's label of that name.
    pub product: Option<Value>,
}

pub async fn insert(cx: &mut Cx, new: &NewApiKey, key: (&str, &SecretHash)) -> sqlx::Result<()> {
    let (prefix, hash) = key;
    let settings = &new.settings;
    sqlx::query(
        "insert into api_keys (id, account_id, project_id, identity_id, name, description, key_prefix, pepper_id,
             key_hash, environment, scopes, credential_policy_id, expires_at, metadata, ip_allowlist, created_by,
             created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $17)",
    )
    .bind(new.id)
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(new.identity_id)
    .bind(&new.name)
    .bind(&settings.description)
    .bind(prefix)
    .bind(hash.pepper_id)
    .bind(&hash.mac)
    .bind(settings.environment)
    .bind(&settings.scopes)
    .bind(settings.credential_policy_id)
    .bind(new.expires_at)
    .bind(&settings.metadata)
    .bind(&settings.ip_allowlist)
    .bind(&settings.created_by)
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

pub async fn newest(cx: &mut Cx, identity_id: Uuid) -> sqlx::Result<Option<Settings>> {
    sqlx::query_as(
        "select scopes, credential_policy_id, created_by, description, environment, metadata, ip_allowlist
         from api_keys where account_id = $1 and project_id = $2 and identity_id = $3
         order by (revoked_at is null and replaced_at is null) desc, created_at desc, id desc limit 1",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(identity_id)
    .fetch_optional(&mut *cx.tx)
    .await
}

/// The ids of a page of the keys that match, newest first, and how many match.
pub async fn page(cx: &mut Cx, filter: &Filter, limit: i64, offset: i64) -> sqlx::Result<(Vec<Uuid>, i64)> {
    sqlx::query_as(
        "with matching as (
             select k.id, k.created_at from api_keys k left join identities i on i.id = k.identity_id
             where k.account_id = $1 and k.project_id = $2
               and ($4::text[] = '{}' or case
                   when k.revoked_at is not null then 'revoked' when k.replaced_at is not null then 'replaced'
                   when k.expires_at <= $3 then 'expired' else 'active' end = any($4))
               and ($5::uuid is null or k.identity_id = $5)
               and ($6::jsonb is null or i.labels @> $6)
               and ($7::jsonb is null or i.labels @> $7)
         )
         select array(select id from matching order by created_at desc, id desc limit $8 offset $9),
             (select count(*) from matching)",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(cx.now)
    .bind(&filter.states)
    .bind(filter.identity_id)
    .bind(&filter.label)
    .bind(&filter.product)
    .bind(limit)
    .bind(offset)
    .fetch_one(&mut *cx.tx)
    .await
}

/// The ids of the live keys whose end comes until then, the nearest first.
pub async fn ending(cx: &mut Cx, until: Time, most: i64) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select id from api_keys
         where account_id = $1 and project_id = $2 and revoked_at is null and replaced_at is null
           and expires_at > $3 and expires_at <= $4
         order by expires_at, id limit $5",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(cx.now)
    .bind(until)
    .bind(most)
    .fetch_all(&mut *cx.tx)
    .await
}

/// The keys with these ids, newest first.
pub async fn by_ids(cx: &mut Cx, ids: &[Uuid]) -> sqlx::Result<Vec<ApiKey>> {
    sqlx::query_as(
        "select k.id, k.account_id, k.project_id, coalesce(k.identity_id::text, '') as identity_id, k.name,
             k.description, k.key_prefix, k.key_version, coalesce(k.scopes, '{}') as scopes, k.environment,
             case when k.revoked_at is not null then 'revoked' when k.replaced_at is not null then 'replaced'
                  when k.expires_at <= $4 then 'expired' else 'active' end as state,
             k.credential_policy_id, coalesce(k.ip_allowlist, '{}') as ip_allowlist, k.rate_limit_rps, k.metadata,
             coalesce(i.labels ->> 'product', '') as product, k.expires_at, k.revoked_at, k.revoked_by,
             k.revoke_reason, coalesce(k.replaced_by::text, '') as replaced_by, k.last_used_at, k.last_used_ip,
             k.usage_count, k.created_by, k.created_at, k.updated_at
         from api_keys k left join identities i on i.id = k.identity_id
         where k.account_id = $1 and k.project_id = $2 and k.id = any($3)
         order by k.created_at desc, k.id desc",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(ids)
    .bind(cx.now)
    .fetch_all(&mut *cx.tx)
    .await
}

/// Whether the mark is new.
pub async fn revoke(cx: &mut Cx, id: Uuid, reason: &str) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "update api_keys set revoked_at = $4, revoked_by = $5, revoke_reason = $6, updated_at = $4
         where account_id = $1 and project_id = $2 and id = $3 and revoked_at is null",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .bind(cx.now)
    .bind(cx.caller.name())
    .bind(reason)
    .execute(&mut *cx.tx)
    .await?;
    Ok(done.rows_affected() == 1)
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

/// Keys by their keyed hashes: the one way in that names no tenant, since the secret does.
pub async fn evidence(db: &mut PgConnection, hashes: &[Vec<u8>]) -> sqlx::Result<Vec<PgRow>> {
    sqlx::query(
        "select k.account_id as key_account_id, k.project_id as key_project_id, k.id as key_id, k.key_hash,
             k.revoked_at is not null or k.replaced_at is not null as key_ended, k.expires_at as key_expires_at,
             k.scopes as key_scopes, k.created_by, k.ip_allowlist, k.credential_policy_id, h.*,
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
    .fetch_all(db)
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
