//! SQL of OAuth clients.

use sqlx::PgConnection;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::types::Client;
use crate::kit::cx::Cx;

/// Across tenants: a client names itself before any tenant is known, and its `client_id` is unique among all.
/// Tenants are compared in a way that no index helps with: else a plan that was made while the tables were small reads all
/// agents of one.
pub async fn evidence(db: &mut PgConnection, client_ids: &[String]) -> sqlx::Result<Vec<PgRow>> {
    sqlx::query(
        "select c.id, c.account_id as client_account_id, c.project_id as client_project_id, c.client_id, c.name,
             c.description, c.client_type, c.token_endpoint_auth_method, c.pepper_id, c.secret_hash, c.old_secret_hash,
             c.old_secret_until, c.jwks, c.jwks_uri, c.grant_types, c.scopes, c.redirect_uris, c.access_token_ttl,
             c.refresh_token_ttl, c.refresh_token_reuse, c.token_profile, c.allowed_audiences, c.resources,
             c.dpop_bound_access_tokens, c.dpop_nonce_required, c.identity_id as client_identity_id,
             c.registration_source, c.software_id, c.software_version, c.contacts, c.metadata, c.is_active,
             c.epoch as client_epoch,
             c.created_by, c.created_at, c.updated_at, coalesce(t.state = 'active', false) as client_tenant_active, h.*
         from oauth_clients c
         left join tenants t on t.account_id = c.account_id and t.project_id = c.project_id
         left join holders h on (h.account_id, h.project_id) is not distinct from (c.account_id, c.project_id)
           and h.identity_id = coalesce(c.identity_id, (
               select i.id from identities i
               where i.account_id = c.account_id and i.project_id = c.project_id and i.external_id = c.client_id))
         where c.client_id = any($1) and c.deleted_at is null",
    )
    .bind(client_ids)
    .fetch_all(db)
    .await
}

pub async fn get(cx: &mut Cx, id: Uuid) -> sqlx::Result<Option<Client>> {
    sqlx::query_as(
        "select c.id, c.account_id as client_account_id, c.project_id as client_project_id, c.client_id, c.name,
             c.description, c.client_type, c.token_endpoint_auth_method, c.pepper_id, c.secret_hash, c.old_secret_hash,
             c.old_secret_until, c.jwks, c.jwks_uri, c.grant_types, c.scopes, c.redirect_uris, c.access_token_ttl,
             c.refresh_token_ttl, c.refresh_token_reuse, c.token_profile, c.allowed_audiences, c.resources,
             c.dpop_bound_access_tokens, c.dpop_nonce_required, c.identity_id as client_identity_id,
             c.registration_source, c.software_id, c.software_version, c.contacts, c.metadata, c.is_active,
             c.epoch as client_epoch,
             c.created_by, c.created_at, c.updated_at, coalesce(t.state = 'active', false) as client_tenant_active
         from oauth_clients c
         left join tenants t on t.account_id = c.account_id and t.project_id = c.project_id
         where c.account_id = $1 and c.project_id = $2 and c.id = $3 and c.deleted_at is null",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .fetch_optional(&mut *cx.tx)
    .await
}

pub async fn lock(cx: &mut Cx, id: Uuid) -> sqlx::Result<Option<Client>> {
    lock_all(cx, &[id]).await?;
    get(cx, id).await
}

pub async fn list(cx: &mut Cx) -> sqlx::Result<Vec<Client>> {
    sqlx::query_as(
        "select c.id, c.account_id as client_account_id, c.project_id as client_project_id, c.client_id, c.name,
             c.description, c.client_type, c.token_endpoint_auth_method, c.pepper_id, c.secret_hash, c.old_secret_hash,
             c.old_secret_until, c.jwks, c.jwks_uri, c.grant_types, c.scopes, c.redirect_uris, c.access_token_ttl,
             c.refresh_token_ttl, c.refresh_token_reuse, c.token_profile, c.allowed_audiences, c.resources,
             c.dpop_bound_access_tokens, c.dpop_nonce_required, c.identity_id as client_identity_id,
             c.registration_source, c.software_id, c.software_version, c.contacts, c.metadata, c.is_active,
             c.epoch as client_epoch,
             c.created_by, c.created_at, c.updated_at, coalesce(t.state = 'active', false) as client_tenant_active
         from oauth_clients c
         left join tenants t on t.account_id = c.account_id and t.project_id = c.project_id
         where c.account_id = $1 and c.project_id = $2 and c.deleted_at is null
         order by c.created_at desc, c.id desc",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .fetch_all(&mut *cx.tx)
    .await
}

/// Whether the row was new: false when some tenant has the `client_id`.
pub async fn insert(cx: &mut Cx, client: &Client) -> sqlx::Result<bool> {
    let secret = client.secrets.current.as_ref();
    let done = sqlx::query(
        "insert into oauth_clients (id, account_id, project_id, client_id, name, description, client_type,
             token_endpoint_auth_method, pepper_id, secret_hash, jwks, grant_types, scopes, redirect_uris,
             access_token_ttl, refresh_token_ttl, token_profile, identity_id, registration_source, software_id,
             software_version, contacts, metadata, refresh_token_reuse, created_by, created_at, updated_at,
             allowed_audiences, resources, dpop_bound_access_tokens, dpop_nonce_required, jwks_uri)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
             $23, $24, $25, $26, $26, $27, $28, $29, $30, $31)
         on conflict do nothing",
    )
    .bind(client.id)
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(&client.client_id)
    .bind(&client.name)
    .bind(&client.description)
    .bind(client.client_type)
    .bind(client.auth_method)
    .bind(secret.map(|secret| secret.pepper_id))
    .bind(secret.map(|secret| &secret.mac))
    .bind(&client.jwks)
    .bind(&client.grant_types)
    .bind(&client.scopes)
    .bind(&client.redirect_uris)
    .bind(client.access_token_ttl)
    .bind(client.refresh_token_ttl)
    .bind(&client.token_profile)
    .bind(client.identity_id)
    .bind(&client.registration_source)
    .bind(&client.software_id)
    .bind(&client.software_version)
    .bind(&client.contacts)
    .bind(&client.metadata)
    .bind(client.refresh_token_reuse)
    .bind(&client.created_by)
    .bind(client.created_at)
    .bind(&client.allowed_audiences)
    .bind(&client.resources)
    .bind(client.dpop.dpop_bound_access_tokens)
    .bind(client.dpop.dpop_nonce_required)
    .bind(&client.jwks_uri)
    .execute(&mut *cx.tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes back what can change of a client whose row is locked.
pub async fn save(cx: &mut Cx, client: &Client) -> sqlx::Result<()> {
    let (current, old) = (client.secrets.current.as_ref(), client.secrets.old.as_ref());
    sqlx::query(
        "update oauth_clients set name = $4, description = $5, pepper_id = $6, secret_hash = $7, old_secret_hash = $8,
             old_secret_until = $9, jwks = $10, grant_types = $11, scopes = $12, redirect_uris = $13,
             access_token_ttl = $14, refresh_token_ttl = $15, token_profile = $16, metadata = $17, is_active = $18,
             epoch = $19, refresh_token_reuse = $20, updated_at = $21, allowed_audiences = $22, resources = $23,
             dpop_bound_access_tokens = $24, dpop_nonce_required = $25,
             jwks_uri = $26
         where account_id = $1 and project_id = $2 and id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(client.id)
    .bind(&client.name)
    .bind(&client.description)
    .bind(current.map(|secret| secret.pepper_id))
    .bind(current.map(|secret| &secret.mac))
    .bind(old.map(|(mac, _)| mac))
    .bind(old.map(|(_, until)| until))
    .bind(&client.jwks)
    .bind(&client.grant_types)
    .bind(&client.scopes)
    .bind(&client.redirect_uris)
    .bind(client.access_token_ttl)
    .bind(client.refresh_token_ttl)
    .bind(&client.token_profile)
    .bind(&client.metadata)
    .bind(client.is_active)
    .bind(client.epoch)
    .bind(client.refresh_token_reuse)
    .bind(client.updated_at)
    .bind(&client.allowed_audiences)
    .bind(&client.resources)
    .bind(client.dpop.dpop_bound_access_tokens)
    .bind(client.dpop.dpop_nonce_required)
    .bind(&client.jwks_uri)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

pub async fn delete(cx: &mut Cx, id: Uuid) -> sqlx::Result<()> {
    sqlx::query(
        "update oauth_clients set deleted_at = $4 where account_id = $1 and project_id = $2 and id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

/// Row and `client_id` of every client of the tenant.
pub async fn client_ids(cx: &mut Cx) -> sqlx::Result<Vec<(Uuid, String)>> {
    sqlx::query_as(
        "select id, client_id from oauth_clients
         where account_id = $1 and project_id = $2 and deleted_at is null",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .fetch_all(&mut *cx.tx)
    .await
}

/// Locks those of the clients that are there, always in the same order, and answers their ids and epochs.
pub async fn lock_all(cx: &mut Cx, ids: &[Uuid]) -> sqlx::Result<Vec<(Uuid, i32)>> {
    sqlx::query_as(
        "select id, epoch from oauth_clients
         where account_id = $1 and project_id = $2 and id = any($3) and deleted_at is null
         order by id for update",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(ids)
    .fetch_all(&mut *cx.tx)
    .await
}

/// A new epoch of each of these clients.
pub async fn end_epochs(cx: &mut Cx, ids: &[Uuid]) -> sqlx::Result<()> {
    sqlx::query(
        "update oauth_clients set epoch = epoch + 1, updated_at = $4
         where account_id = $1 and project_id = $2 and id = any($3)",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(ids)
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}
