//! SQL of OAuth clients.

use sqlx::PgConnection;

use super::Evidence;

/// Across tenants: a client names itself before any tenant is known, and its `client_id` is unique among all.
pub async fn evidence(db: &mut PgConnection, client_id: &str) -> sqlx::Result<Option<Evidence>> {
    sqlx::query_as(
        "select c.id, c.account_id as client_account_id, c.project_id as client_project_id, c.client_id, c.name,
             c.description, c.client_type, c.token_endpoint_auth_method, c.secret_hash, c.old_secret_hash,
             c.old_secret_until, c.jwks, c.grant_types, c.scopes, c.redirect_uris, c.access_token_ttl,
             c.refresh_token_ttl, c.token_profile, c.identity_id as client_identity_id, c.registration_source,
             c.software_id, c.software_version, c.contacts, c.metadata, c.is_active, c.epoch as client_epoch,
             c.created_by, c.created_at, c.updated_at, coalesce(t.state = 'active', false) as client_tenant_active, h.*
         from oauth_clients c
         left join tenants t on t.account_id = c.account_id and t.project_id = c.project_id
         left join holders h on h.account_id = c.account_id and h.project_id = c.project_id
           and h.identity_id = coalesce(c.identity_id, (
               select i.id from identities i
               where i.account_id = c.account_id and i.project_id = c.project_id and i.external_id = c.client_id))
         where c.client_id = $1 and c.deleted_at is null",
    )
    .bind(client_id)
    .fetch_optional(db)
    .await
}
