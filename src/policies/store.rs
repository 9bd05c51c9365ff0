//! SQL of credential policies.

use sqlx::Connection;
use uuid::Uuid;

use super::{CredentialPolicy, Policy};
use crate::kit::clock::Time;
use crate::kit::cx::Cx;

/// Like every policy that is about to be referred to, it is locked against changes, but not against others that refer
/// to it.
pub async fn default(cx: &mut Cx) -> sqlx::Result<Option<Policy>> {
    sqlx::query_as(
        "select id, max_ttl_seconds, allowed_grant_types, allowed_scopes, required_trust_level, required_attestation,
             max_delegation_depth, is_active, expires_at
         from credential_policies where account_id = $1 and project_id = $2 and name = 'default' for share",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .fetch_optional(&mut *cx.tx)
    .await
}

pub async fn insert_default(cx: &mut Cx, id: Uuid) -> sqlx::Result<()> {
    sqlx::query(
        "insert into credential_policies (id, account_id, project_id, name, description, max_ttl_seconds,
             allowed_grant_types, max_delegation_depth, created_at, updated_at)
         values ($1, $2, $3, 'default', 'Applies where no other policy is named', 3600,
             array['client_credentials', 'api_key', 'jwt_bearer', 'token_exchange'], 5, $4, $4)
         on conflict (account_id, project_id, name) do nothing",
    )
    .bind(id)
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

pub async fn by_id(cx: &mut Cx, id: Uuid) -> sqlx::Result<Option<Policy>> {
    sqlx::query_as(
        "select id, max_ttl_seconds, allowed_grant_types, allowed_scopes, required_trust_level, required_attestation,
             max_delegation_depth, is_active, expires_at
         from credential_policies where account_id = $1 and project_id = $2 and id = $3 for share",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .fetch_optional(&mut *cx.tx)
    .await
}

/// Whether the row was new: false when the tenant has the name already, or the pair of source and source key.
pub async fn insert(cx: &mut Cx, policy: &CredentialPolicy) -> sqlx::Result<bool> {
    let rules = &policy.rules;
    let done = sqlx::query(
        "insert into credential_policies (id, account_id, project_id, name, description, max_ttl_seconds,
             allowed_grant_types, allowed_scopes, required_trust_level, required_attestation, max_delegation_depth,
             is_active, source, source_key, expires_at, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16)
         on conflict do nothing",
    )
    .bind(rules.id)
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(&policy.name)
    .bind(&policy.description)
    .bind(rules.max_ttl_seconds)
    .bind(&rules.allowed_grant_types)
    .bind(&rules.allowed_scopes)
    .bind(&rules.required_trust_level)
    .bind(&rules.required_attestation)
    .bind(rules.max_delegation_depth)
    .bind(rules.is_active)
    .bind(&policy.source)
    .bind(&policy.source_key)
    .bind(rules.expires_at)
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes every member but those that never change. False when another policy of the tenant has the name: the database
/// decides, and an error that it raises would end the whole transaction, so this is tried in one of its own.
pub async fn update(cx: &mut Cx, policy: &CredentialPolicy) -> sqlx::Result<bool> {
    let rules = &policy.rules;
    let mut attempt = cx.tx.begin().await?;
    let done = sqlx::query(
        "update credential_policies set name = $4, description = $5, max_ttl_seconds = $6, allowed_grant_types = $7,
             allowed_scopes = $8, required_trust_level = $9, required_attestation = $10, max_delegation_depth = $11,
             is_active = $12, expires_at = $13, updated_at = $14
         where account_id = $1 and project_id = $2 and id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(rules.id)
    .bind(&policy.name)
    .bind(&policy.description)
    .bind(rules.max_ttl_seconds)
    .bind(&rules.allowed_grant_types)
    .bind(&rules.allowed_scopes)
    .bind(&rules.required_trust_level)
    .bind(&rules.required_attestation)
    .bind(rules.max_delegation_depth)
    .bind(rules.is_active)
    .bind(rules.expires_at)
    .bind(cx.now)
    .execute(&mut *attempt)
    .await;
    match done {
        Ok(_) => attempt.commit().await.map(|()| true),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            attempt.rollback().await.map(|()| false)
        }
        Err(error) => Err(error),
    }
}

pub async fn get(cx: &mut Cx, id: Uuid) -> sqlx::Result<Option<CredentialPolicy>> {
    let found = all(cx, Some(id)).await?;
    Ok(found.into_iter().next())
}

/// Every policy of the tenant, newest first, or the one with this id.
pub async fn all(cx: &mut Cx, id: Option<Uuid>) -> sqlx::Result<Vec<CredentialPolicy>> {
    sqlx::query_as(
        "select id, account_id, project_id, name, description, max_ttl_seconds, allowed_grant_types, allowed_scopes,
             required_trust_level, required_attestation, max_delegation_depth, is_active, source, source_key,
             expires_at, created_at, updated_at
         from credential_policies where account_id = $1 and project_id = $2 and ($3::uuid is null or id = $3)
         order by created_at desc, id desc",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .fetch_all(&mut *cx.tx)
    .await
}

/// Waits until nobody else changes the policy or is about to refer to it.
pub async fn lock(cx: &mut Cx, id: Uuid) -> sqlx::Result<Option<CredentialPolicy>> {
    sqlx::query(
        "select id from credential_policies where account_id = $1 and project_id = $2 and id = $3 for update",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .execute(&mut *cx.tx)
    .await?;
    get(cx, id).await
}

pub async fn id_by_name(cx: &mut Cx, name: &str) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar(
        "select id from credential_policies where account_id = $1 and project_id = $2 and name = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(name)
    .fetch_optional(&mut *cx.tx)
    .await
}

pub async fn id_by_source(cx: &mut Cx, source: &str, key: &str) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar(
        "select id from credential_policies
         where account_id = $1 and project_id = $2 and source = $3 and source_key = $4 and source_key <> ''",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(source)
    .bind(key)
    .fetch_optional(&mut *cx.tx)
    .await
}

/// Whether an identity or API key refers to the policy, be it alive or not: a dead key's settings may come back with a
/// rotation.
pub async fn is_referenced(cx: &mut Cx, id: Uuid) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from identities
                 where account_id = $1 and project_id = $2 and credential_policy_id = $3)
             or exists (select from api_keys
                 where account_id = $1 and project_id = $2 and credential_policy_id = $3)",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .fetch_one(&mut *cx.tx)
    .await
}

/// Every scope that another layer names beside this policy: an identity under it, a live key, a client or another
/// policy of such an identity.
pub async fn scopes_beside(cx: &mut Cx, id: Uuid) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "with under as (
             select i.id, i.allowed_scopes, i.credential_policy_id from identities i
             where i.account_id = $1 and i.project_id = $2
               and (i.credential_policy_id = $3
                    or i.id in (select identity_id from api_keys where credential_policy_id = $3))
         ), keys as (
             select scopes, credential_policy_id from api_keys
             where identity_id in (select id from under) and revoked_at is null and replaced_at is null
         )
         select unnest(allowed_scopes) from under
         union select unnest(scopes) from keys
         union select unnest(scopes) from oauth_clients
             where identity_id in (select id from under) and deleted_at is null
         union select unnest(allowed_scopes) from credential_policies
             where id <> $3 and (id in (select credential_policy_id from under)
                                 or id in (select credential_policy_id from keys))",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .fetch_all(&mut *cx.tx)
    .await
}

pub async fn delete(cx: &mut Cx, id: Uuid) -> sqlx::Result<()> {
    sqlx::query("delete from credential_policies where account_id = $1 and project_id = $2 and id = $3")
        .bind(&cx.tenant.account_id)
        .bind(&cx.tenant.project_id)
        .bind(id)
        .execute(&mut *cx.tx)
        .await?;
    Ok(())
}

pub async fn ending(cx: &mut Cx, until: Time, most: i64) -> sqlx::Result<Vec<CredentialPolicy>> {
    sqlx::query_as(
        "select id, account_id, project_id, name, description, max_ttl_seconds, allowed_grant_types, allowed_scopes,
             required_trust_level, required_attestation, max_delegation_depth, is_active, source, source_key,
             expires_at, created_at, updated_at
         from credential_policies
         where account_id = $1 and project_id = $2 and is_active and expires_at > $3 and expires_at <= $4
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
