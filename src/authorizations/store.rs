//! SQL of consents, codes and pushed requests.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::codes::{Code, NewCode};
use super::consents::{Between, Consent, ConsentFilter};
use super::pushed::NewPushed;
use crate::kit::clock::Time;
use crate::kit::cx::{Cx, Tenant};

pub async fn live_consent(
    db: &mut PgConnection,
    tenant: &Tenant,
    between: Between<'_>,
) -> sqlx::Result<Option<Consent>> {
    sqlx::query_as(
        "select n.id, n.person_id as user_id, u.user_id as subject, n.client_id, coalesce(o.name, '') as client_name,
             array_to_string(n.scopes, ' ') as scope, n.scopes, n.resources, n.granted_at, n.updated_at, n.revoked_at
         from consents n
         join users u on u.id = n.person_id
         left join oauth_clients o on o.id = n.oauth_client_id
         where n.account_id = $1 and n.project_id = $2 and n.person_id = $3 and n.client_id = $4
           and n.oauth_client_id is not distinct from $5 and n.revoked_at is null",
    )
    .bind(&tenant.account_id)
    .bind(&tenant.project_id)
    .bind(between.person)
    .bind(between.client_id)
    .bind(between.oauth_client_id)
    .fetch_optional(db)
    .await
}

pub async fn consent(cx: &mut Cx, id: Uuid) -> sqlx::Result<Option<Consent>> {
    sqlx::query_as(
        "select n.id, n.person_id as user_id, u.user_id as subject, n.client_id, coalesce(o.name, '') as client_name,
             array_to_string(n.scopes, ' ') as scope, n.scopes, n.resources, n.granted_at, n.updated_at, n.revoked_at
         from consents n
         join users u on u.id = n.person_id
         left join oauth_clients o on o.id = n.oauth_client_id
         where n.account_id = $1 and n.project_id = $2 and n.id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .fetch_optional(&mut *cx.tx)
    .await
}

/// The id of the live consent, which now holds all of this too.
pub async fn agree(
    cx: &mut Cx,
    id: Uuid,
    between: Between<'_>,
    scopes: &[String],
    resources: &[String],
) -> sqlx::Result<Uuid> {
    sqlx::query_scalar(
        "insert into consents (id, account_id, project_id, person_id, oauth_client_id, client_id, scopes, resources,
             granted_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
         on conflict (account_id, project_id, person_id, client_id,
             coalesce(oauth_client_id, '00000000-0000-0000-0000-000000000000')) where revoked_at is null
         do update set updated_at = $9,
             scopes = consents.scopes || array(select s from unnest($7::text[]) s where s <> all(consents.scopes)),
             resources = consents.resources
                 || array(select r from unnest($8::text[]) r where r <> all(consents.resources))
         returning id",
    )
    .bind(id)
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(between.person)
    .bind(between.oauth_client_id)
    .bind(between.client_id)
    .bind(scopes)
    .bind(resources)
    .bind(cx.now)
    .fetch_one(&mut *cx.tx)
    .await
}

pub async fn consents(cx: &mut Cx, filter: &ConsentFilter) -> sqlx::Result<(Vec<Consent>, i64)> {
    let consents = sqlx::query_as(
        "select n.id, n.person_id as user_id, u.user_id as subject, n.client_id, coalesce(o.name, '') as client_name,
             array_to_string(n.scopes, ' ') as scope, n.scopes, n.resources, n.granted_at, n.updated_at, n.revoked_at
         from consents n
         join users u on u.id = n.person_id
         left join oauth_clients o on o.id = n.oauth_client_id
         where n.account_id = $1 and n.project_id = $2 and ($3::uuid is null or n.person_id = $3)
           and ($4::text is null or n.client_id = $4) and ($5 or n.revoked_at is null)
         order by n.granted_at desc, n.id desc limit $6 offset $7",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(filter.user_id)
    .bind(&filter.client_id)
    .bind(filter.include_revoked)
    .bind(filter.page.limit)
    .bind(filter.page.offset)
    .fetch_all(&mut *cx.tx)
    .await?;
    let total = sqlx::query_scalar(
        "select count(*) from consents n
         where n.account_id = $1 and n.project_id = $2 and ($3::uuid is null or n.person_id = $3)
           and ($4::text is null or n.client_id = $4) and ($5 or n.revoked_at is null)",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(filter.user_id)
    .bind(&filter.client_id)
    .bind(filter.include_revoked)
    .fetch_one(&mut *cx.tx)
    .await?;
    Ok((consents, total))
}

/// The unregistered clients for which there are live consents.
pub async fn unregistered(cx: &mut Cx) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select distinct client_id from consents
         where account_id = $1 and project_id = $2 and oauth_client_id is null and revoked_at is null",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .fetch_all(&mut *cx.tx)
    .await
}

/// Locks the live consents for these of them, always in the same order.
pub async fn lock_unregistered(cx: &mut Cx, client_ids: &[String]) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select id from consents
         where account_id = $1 and project_id = $2 and client_id = any($3) and oauth_client_id is null
           and revoked_at is null
         order by id for update",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(client_ids)
    .fetch_all(&mut *cx.tx)
    .await
}

/// How many of the marks are new.
pub async fn revoke_consents(cx: &mut Cx, ids: &[Uuid], reason: &str) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "update consents set revoked_at = $4, revoke_reason = $5
         where account_id = $1 and project_id = $2 and id = any($3) and revoked_at is null",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(ids)
    .bind(cx.now)
    .bind(reason)
    .execute(&mut *cx.tx)
    .await?;
    Ok(done.rows_affected())
}

pub async fn insert_code(cx: &mut Cx, code: &NewCode<'_>) -> sqlx::Result<()> {
    let NewCode { decided, .. } = code;
    sqlx::query(
        "insert into authorization_codes (id, account_id, project_id, pepper_id, code_hash, oauth_client_id, client_id,
             client_epoch, identity_id, agent_epoch, person_id, person_epoch, consent_id, redirect_uri, code_challenge,
             dpop_jkt, scopes, resources, issued_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)",
    )
    .bind(code.id)
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(code.hash.pepper_id)
    .bind(&code.hash.mac)
    .bind(decided.oauth_client_id)
    .bind(&decided.client_id)
    .bind(decided.client_epoch)
    .bind(decided.identity.map(|(id, _)| id))
    .bind(decided.identity.map_or(0, |(_, epoch)| epoch))
    .bind(code.person.id)
    .bind(code.person.epoch)
    .bind(code.consent_id)
    .bind(&decided.redirect_uri)
    .bind(&decided.code_challenge)
    .bind(&decided.dpop_jkt)
    .bind(decided.scopes.as_slice())
    .bind(&decided.resources)
    .bind(cx.now)
    .bind(code.expires_at)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

/// By its secret, with the person and the consent as they are now.
pub async fn code(db: &mut PgConnection, hashes: &[Vec<u8>]) -> sqlx::Result<Option<Code>> {
    sqlx::query_as(
        "select c.code_hash, c.oauth_client_id, c.client_id, c.client_epoch, c.identity_id, c.agent_epoch,
             c.person_epoch as agreed_epoch, c.consent_id, c.redirect_uri, c.code_challenge, c.dpop_jkt, c.scopes,
             c.resources, c.expires_at, coalesce(n.revoked_at is null, false) as consent_stands,
             exists (select from used_once o where o.kind = 'authorization_code' and o.key = c.code_hash) as is_used,
             u.id as person_id, u.account_id as person_account_id, u.project_id as person_project_id,
             u.user_id as person_user_id, u.email as person_email, u.name as person_name,
             u.is_active as person_is_active, u.epoch as person_epoch,
             coalesce(t.state = 'active', false) as person_tenant_active
         from authorization_codes c
         join users u on u.id = c.person_id and u.account_id = c.account_id and u.project_id = c.project_id
         left join consents n on n.id = c.consent_id
         left join tenants t on t.account_id = c.account_id and t.project_id = c.project_id
         where c.code_hash = any($1)",
    )
    .bind(hashes)
    .fetch_optional(db)
    .await
}

pub async fn insert_pushed(cx: &mut Cx, request: &NewPushed<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "insert into pushed_requests (id, account_id, project_id, pepper_id, uri_hash, client_id, parameters,
             created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(request.id)
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(request.hash.pepper_id)
    .bind(&request.hash.mac)
    .bind(request.client_id)
    .bind(request.parameters)
    .bind(cx.now)
    .bind(request.expires_at)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

/// By its secret, unless it was answered or has expired.
pub async fn pushed(
    db: &mut PgConnection,
    hashes: &[Vec<u8>],
    now: Time,
) -> sqlx::Result<Option<(String, String, Vec<u8>, Time)>> {
    sqlx::query_as(
        "select p.client_id, p.parameters, p.uri_hash, p.expires_at from pushed_requests p
         where p.uri_hash = any($1) and p.expires_at > $2
           and not exists (select from used_once o where o.kind = 'pushed_request' and o.key = p.uri_hash)",
    )
    .bind(hashes)
    .bind(now)
    .fetch_optional(db)
    .await
}

/// Across tenants: codes so old that a second use of one need not be told from an unknown one.
pub async fn forget_codes(db: &PgPool, before: Time, most: i64) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "delete from authorization_codes where id in (
             select id from authorization_codes where expires_at <= $1 order by expires_at limit $2
             for update skip locked)",
    )
    .bind(before)
    .bind(most)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Across tenants: requests that nobody answered in time, and those that were.
pub async fn forget_pushed(db: &PgPool, before: Time, most: i64) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "delete from pushed_requests where id in (
             select id from pushed_requests where expires_at <= $1 order by expires_at limit $2
             for update skip locked)",
    )
    .bind(before)
    .bind(most)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
