//! SQL of trusted issuers and the subjects that are linked to agents.

use sqlx::PgConnection;
use uuid::Uuid;

use super::subjects::LinkedSubject;
use super::types::TrustedIssuer;
use super::vouched::Candidate;
use crate::kit::cx::Cx;

/// Across tenants: a token names none, and the pair of issuer and audience belongs to one.
pub async fn candidates(
    db: &mut PgConnection,
    issuer: &str,
    audiences: &[&str],
    subject: &str,
) -> sqlx::Result<Vec<Candidate>> {
    sqlx::query_as(
        "select to_jsonb(e) as trusted_issuer, l.id as link_id, l.epoch as link_epoch, u.id as person_id,
             u.account_id as person_account_id, u.project_id as person_project_id, u.user_id as person_user_id,
             u.email as person_email, u.name as person_name, u.is_active as person_is_active,
             u.epoch as person_epoch, coalesce(t.state = 'active', false) as person_tenant_active, h.*
         from trusted_issuers e
         left join linked_subjects l on l.issuer_id = e.id and l.account_id = e.account_id
           and l.project_id = e.project_id and l.subject = $3
         left join holders h on h.identity_id = l.identity_id and h.account_id = e.account_id
           and h.project_id = e.project_id
         left join users u on u.id = l.person_id and u.account_id = e.account_id and u.project_id = e.project_id
         left join tenants t on t.account_id = e.account_id and t.project_id = e.project_id
         where e.issuer = $1 and e.audience = any($2)",
    )
    .bind(issuer)
    .bind(audiences)
    .bind(subject)
    .fetch_all(db)
    .await
}

pub async fn get(cx: &mut Cx, id: Uuid) -> sqlx::Result<Option<TrustedIssuer>> {
    sqlx::query_as("select * from trusted_issuers where account_id = $1 and project_id = $2 and id = $3")
        .bind(&cx.tenant.account_id)
        .bind(&cx.tenant.project_id)
        .bind(id)
        .fetch_optional(&mut *cx.tx)
        .await
}

pub async fn lock(cx: &mut Cx, id: Uuid) -> sqlx::Result<Option<TrustedIssuer>> {
    sqlx::query_as(
        "select * from trusted_issuers where account_id = $1 and project_id = $2 and id = $3 for update",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .fetch_optional(&mut *cx.tx)
    .await
}

pub async fn list(cx: &mut Cx) -> sqlx::Result<Vec<TrustedIssuer>> {
    sqlx::query_as(
        "select * from trusted_issuers where account_id = $1 and project_id = $2 order by created_at desc, id desc",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .fetch_all(&mut *cx.tx)
    .await
}

/// Whether an entry stands in the way of a new one, and whether it is the tenant's own.
pub async fn taken(cx: &mut Cx, issuer: &TrustedIssuer) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar(
        "select account_id = $1 and project_id = $2 as is_own from trusted_issuers
         where issuer = $3 and (account_id = $1 and project_id = $2 or audience = $4)
         order by is_own desc limit 1",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(&issuer.issuer)
    .bind(&issuer.audience)
    .fetch_optional(&mut *cx.tx)
    .await
}

/// Whether the row was new.
pub async fn insert(cx: &mut Cx, issuer: &TrustedIssuer) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "insert into trusted_issuers (id, account_id, project_id, issuer, audience, name, jwks_uri, jwks, algorithms,
             max_lifetime_seconds, max_age_seconds, subject_pattern, required_claims, created_by, created_at,
             updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15)
         on conflict do nothing",
    )
    .bind(issuer.id)
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(&issuer.issuer)
    .bind(&issuer.audience)
    .bind(&issuer.name)
    .bind(&issuer.jwks_uri)
    .bind(&issuer.jwks)
    .bind(&issuer.algorithms)
    .bind(issuer.max_lifetime_seconds)
    .bind(issuer.max_age_seconds)
    .bind(&issuer.subject_pattern)
    .bind(&issuer.required_claims)
    .bind(&issuer.created_by)
    .bind(issuer.created_at)
    .execute(&mut *cx.tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes back what can change of an issuer whose row is locked.
pub async fn save(cx: &mut Cx, issuer: &TrustedIssuer) -> sqlx::Result<()> {
    sqlx::query(
        "update trusted_issuers set name = $4, jwks_uri = $5, jwks = $6, algorithms = $7, max_lifetime_seconds = $8,
             max_age_seconds = $9, subject_pattern = $10, required_claims = $11, is_active = $12, updated_at = $13
         where account_id = $1 and project_id = $2 and id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(issuer.id)
    .bind(&issuer.name)
    .bind(&issuer.jwks_uri)
    .bind(&issuer.jwks)
    .bind(&issuer.algorithms)
    .bind(issuer.max_lifetime_seconds)
    .bind(issuer.max_age_seconds)
    .bind(&issuer.subject_pattern)
    .bind(&issuer.required_claims)
    .bind(issuer.is_active)
    .bind(issuer.updated_at)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

pub async fn delete(cx: &mut Cx, id: Uuid) -> sqlx::Result<()> {
    sqlx::query("delete from trusted_issuers where account_id = $1 and project_id = $2 and id = $3")
        .bind(&cx.tenant.account_id)
        .bind(&cx.tenant.project_id)
        .bind(id)
        .execute(&mut *cx.tx)
        .await?;
    Ok(())
}

/// The identities to which an issuer's subjects are linked.
pub async fn identities(cx: &mut Cx, issuer_id: Uuid) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select distinct identity_id from linked_subjects
         where account_id = $1 and project_id = $2 and issuer_id = $3 and identity_id is not null",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(issuer_id)
    .fetch_all(&mut *cx.tx)
    .await
}

pub async fn subjects(cx: &mut Cx, issuer_id: Uuid) -> sqlx::Result<Vec<LinkedSubject>> {
    sqlx::query_as(
        "select id, issuer_id, subject, identity_id, person_id as user_id, created_by, created_at, epoch
         from linked_subjects where account_id = $1 and project_id = $2 and issuer_id = $3
         order by created_at desc, id desc",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(issuer_id)
    .fetch_all(&mut *cx.tx)
    .await
}

/// Whether the row was new: false when the issuer's subject is linked already.
pub async fn insert_subject(cx: &mut Cx, linked: &LinkedSubject) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "insert into linked_subjects (id, account_id, project_id, issuer_id, subject, identity_id, person_id, created_by,
             created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict do nothing",
    )
    .bind(linked.id)
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(linked.issuer_id)
    .bind(&linked.subject)
    .bind(linked.identity_id)
    .bind(linked.user_id)
    .bind(&linked.created_by)
    .bind(linked.created_at)
    .execute(&mut *cx.tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn delete_subject(cx: &mut Cx, issuer_id: Uuid, id: Uuid) -> sqlx::Result<Option<LinkedSubject>> {
    sqlx::query_as(
        "delete from linked_subjects where account_id = $1 and project_id = $2 and issuer_id = $3 and id = $4
         returning id, issuer_id, subject, identity_id, person_id as user_id, created_by, created_at, epoch",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(issuer_id)
    .bind(id)
    .fetch_optional(&mut *cx.tx)
    .await
}

/// The links of an issuer, each with its epoch.
pub async fn links(cx: &mut Cx, issuer_id: Uuid) -> sqlx::Result<Vec<(Uuid, i32)>> {
    sqlx::query_as(
        "select id, epoch from linked_subjects where account_id = $1 and project_id = $2 and issuer_id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(issuer_id)
    .fetch_all(&mut *cx.tx)
    .await
}

pub async fn end_epochs(cx: &mut Cx, issuer_id: Uuid) -> sqlx::Result<()> {
    sqlx::query(
        "update linked_subjects set epoch = epoch + 1 where account_id = $1 and project_id = $2 and issuer_id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(issuer_id)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}
