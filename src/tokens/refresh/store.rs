//! SQL of refresh tokens and their families.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Found, NewFamily, NewToken};
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::tokens::ledger::Credential;

/// By the token's keyed hash, which no other tenant can know.
pub async fn find(db: &mut PgConnection, hashes: &[Vec<u8>]) -> sqlx::Result<Option<Found>> {
    sqlx::query_as(
        "select t.id, t.expires_at, s.issued_at as spent_at, s.sealed,
             exists (select from refresh_tokens n where n.predecessor_id = s.id) as successor_used,
             f.id as family_id, f.account_id, f.project_id, f.oauth_client_id, f.client_id, f.client_epoch,
             f.identity_id, f.agent_epoch, f.person_id is not null as has_person, f.person_epoch as family_person_epoch,
             f.consent_id, f.mission_id, f.token_profile, f.scopes, f.audience, f.jkt,
             f.expires_at as family_expires_at,
             f.revoked_at is not null or (f.consent_id is not null and (c.id is null or c.revoked_at is not null))
                 as is_revoked,
             u.id as person_id, u.account_id as person_account_id, u.project_id as person_project_id,
             coalesce(p.state = 'active', false) as person_tenant_active, u.user_id as person_user_id,
             u.email as person_email, u.name as person_name, u.is_active as person_is_active, u.epoch as person_epoch
         from refresh_tokens t
         join refresh_families f on f.id = t.family_id
         left join refresh_tokens s on s.predecessor_id = t.id
         left join consents c on c.id = f.consent_id
         left join users u on u.id = f.person_id
         left join tenants p on p.account_id = u.account_id and p.project_id = u.project_id
         where t.token_hash = any($1)",
    )
    .bind(hashes)
    .fetch_optional(db)
    .await
}

/// Writes tokens and the families that begin with them, each beside the credential it goes out with. One that is there
/// stays.
pub async fn write(db: &mut PgConnection, rows: &[(&Credential, &NewToken)]) -> sqlx::Result<()> {
    let begun: Vec<_> = rows
        .iter()
        .filter_map(|(credential, row)| Some((*credential, row.family_id, row.begins.as_ref()?)))
        .collect();
    if !begun.is_empty() {
        insert_families(db, &begun).await?;
    }
    sqlx::query(
        "insert into refresh_tokens (id, account_id, project_id, family_id, predecessor_id, pepper_id, token_hash, sealed,
             issued_at, expires_at)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::uuid[], $6::uuid[], $7::bytea[],
             $8::bytea[], $9::timestamptz[], $10::timestamptz[])
         on conflict do nothing",
    )
    .bind(each(rows, |(_, row)| row.id))
    .bind(each(rows, |(credential, _)| credential.tenant.account_id.clone()))
    .bind(each(rows, |(credential, _)| credential.tenant.project_id.clone()))
    .bind(each(rows, |(_, row)| row.family_id))
    .bind(each(rows, |(_, row)| row.predecessor_id))
    .bind(each(rows, |(_, row)| row.hash.pepper_id))
    .bind(each(rows, |(_, row)| row.hash.mac.clone()))
    .bind(each(rows, |(_, row)| row.sealed.clone()))
    .bind(each(rows, |(_, row)| row.issued_at))
    .bind(each(rows, |(_, row)| row.expires_at))
    .execute(db)
    .await?;
    Ok(())
}

/// A family keeps what its first credential has.
async fn insert_families(
    db: &mut PgConnection,
    rows: &[(&Credential, Uuid, &NewFamily)],
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into refresh_families (id, account_id, project_id, oauth_client_id, client_id, client_epoch, identity_id,
             agent_epoch, person_id, person_epoch, consent_id, mission_id, token_profile, scopes, audience, jkt,
             created_at, expires_at)
         select f.id, f.account_id, f.project_id, f.oauth_client_id, f.client_id, f.client_epoch, f.identity_id,
             f.agent_epoch, f.person_id, f.person_epoch, f.consent_id, f.mission_id, f.token_profile,
             string_to_array(f.scopes, ' '), string_to_array(f.audience, ' '), f.jkt, f.created_at, f.expires_at
         from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::integer[], $7::uuid[],
             $8::integer[], $9::uuid[], $10::integer[], $11::uuid[], $12::uuid[], $13::text[], $14::text[], $15::text[],
             $16::text[], $17::timestamptz[], $18::timestamptz[])
             as f (id, account_id, project_id, oauth_client_id, client_id, client_epoch, identity_id, agent_epoch,
                 person_id, person_epoch, consent_id, mission_id, token_profile, scopes, audience, jkt, created_at,
                 expires_at)
         on conflict do nothing",
    )
    .bind(each(rows, |(_, id, _)| id))
    .bind(each(rows, |(credential, ..)| credential.tenant.account_id.clone()))
    .bind(each(rows, |(credential, ..)| credential.tenant.project_id.clone()))
    .bind(each(rows, |(credential, ..)| credential.client.as_ref().and_then(|client| client.id)))
    .bind(each(rows, |(credential, ..)| {
        credential.client.as_ref().map(|client| client.client_id.clone()).unwrap_or_default()
    }))
    .bind(each(rows, |(credential, ..)| credential.client.as_ref().map_or(0, |client| client.epoch)))
    .bind(each(rows, |(credential, ..)| credential.identity_id))
    .bind(each(rows, |(credential, ..)| credential.agent_epoch))
    .bind(each(rows, |(credential, ..)| credential.person.map(|(id, _)| id)))
    .bind(each(rows, |(credential, ..)| credential.person.map_or(0, |(_, epoch)| epoch)))
    .bind(each(rows, |(credential, ..)| credential.consent_id))
    .bind(each(rows, |(credential, ..)| credential.mission_id))
    .bind(each(rows, |(credential, ..)| credential.profile.as_str()))
    .bind(each(rows, |(.., family)| family.scopes.joined()))
    .bind(each(rows, |(.., family)| family.audience.join(" ")))
    .bind(each(rows, |(credential, ..)| credential.jkt.clone()))
    .bind(each(rows, |(credential, ..)| credential.issued_at))
    .bind(each(rows, |(.., family)| family.expires_at))
    .execute(db)
    .await?;
    Ok(())
}

fn each<T: Copy, V>(rows: &[T], column: impl Fn(T) -> V) -> Vec<V> {
    rows.iter().map(|row| column(*row)).collect()
}

/// Whether the mark is new.
pub async fn revoke(cx: &mut Cx, id: Uuid, reason: &str) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "update refresh_families set revoked_at = $4, revoke_reason = $5
         where account_id = $1 and project_id = $2 and id = $3 and revoked_at is null",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .bind(cx.now)
    .bind(reason)
    .execute(&mut *cx.tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Across tenants: successors whose answer is not given again.
pub async fn forget_sealed(db: &PgPool, before: Time, most: i64) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "update refresh_tokens set sealed = null where id in (
             select id from refresh_tokens where sealed is not null and issued_at <= $1 limit $2
             for update skip locked)",
    )
    .bind(before)
    .bind(most)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Across tenants: tokens that have expired, which are refused in any case.
pub async fn forget_tokens(db: &PgPool, before: Time, most: i64) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "delete from refresh_tokens where id in (
             select id from refresh_tokens where expires_at <= $1 order by expires_at limit $2
             for update skip locked)",
    )
    .bind(before)
    .bind(most)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Across tenants: families so old that no row of a credential that came of them is left.
pub async fn forget_families(db: &PgPool, before: Time, most: i64) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "delete from refresh_families where id in (
             select id from refresh_families where expires_at <= $1 order by expires_at limit $2
             for update skip locked)",
    )
    .bind(before)
    .bind(most)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
