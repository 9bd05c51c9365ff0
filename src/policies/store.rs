//! SQL of credential policies.

use uuid::Uuid;

use super::Policy;
use crate::kit::cx::Cx;

pub async fn default(cx: &mut Cx) -> sqlx::Result<Option<Policy>> {
    sqlx::query_as(
        "select id, max_ttl_seconds, allowed_grant_types, allowed_scopes, required_trust_level, required_attestation,
             max_delegation_depth, is_active, expires_at
         from credential_policies where account_id = $1 and project_id = $2 and name = 'default'",
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
         from credential_policies where account_id = $1 and project_id = $2 and id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .fetch_optional(&mut *cx.tx)
    .await
}
