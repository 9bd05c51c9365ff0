//! SQL of people.

use sqlx::{FromRow, PgConnection, PgPool, Row as _};
use uuid::Uuid;

use super::links::Row;
use super::{Filter, Person, Session, User};
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::http::page::Page;

/// Whether the row was new: false when the tenant has the name or the address already.
pub async fn insert(cx: &mut Cx, user: &User) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "insert into users (id, account_id, project_id, user_id, email, email_verified, name, metadata, created_by,
             created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
         on conflict do nothing",
    )
    .bind(user.id)
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(&user.user_id)
    .bind(&user.email)
    .bind(user.email_verified)
    .bind(&user.name)
    .bind(&user.metadata)
    .bind(&user.created_by)
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn get(cx: &mut Cx, id: Uuid) -> sqlx::Result<Option<User>> {
    sqlx::query_as("select * from users where account_id = $1 and project_id = $2 and id = $3")
        .bind(&cx.tenant.account_id)
        .bind(&cx.tenant.project_id)
        .bind(id)
        .fetch_optional(&mut *cx.tx)
        .await
}

pub async fn lock(cx: &mut Cx, id: Uuid) -> sqlx::Result<Option<User>> {
    sqlx::query_as("select * from users where account_id = $1 and project_id = $2 and id = $3 for update")
        .bind(&cx.tenant.account_id)
        .bind(&cx.tenant.project_id)
        .bind(id)
        .fetch_optional(&mut *cx.tx)
        .await
}

/// Held until the transaction ends, so that two requests that meet do not both find an address free.
pub async fn lock_email(cx: &mut Cx, email: &str) -> sqlx::Result<()> {
    sqlx::query(
        "select pg_advisory_xact_lock(hashtextextended($1 || '/' || $2 || '/' || lower($3), 7163384506))",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(email)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

/// Whether it was written: false when another of the tenant has the address.
pub async fn save(cx: &mut Cx, user: &User) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "update users set email = $4, email_verified = $5, name = $6, metadata = $7, is_active = $8, epoch = $9,
             updated_at = $10
         where account_id = $1 and project_id = $2 and id = $3
           and not exists (
               select from users o
               where o.account_id = $1 and o.project_id = $2 and o.id <> $3 and o.email <> ''
                 and lower(o.email) = lower($4))",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(user.id)
    .bind(&user.email)
    .bind(user.email_verified)
    .bind(&user.name)
    .bind(&user.metadata)
    .bind(user.is_active)
    .bind(user.epoch)
    .bind(cx.now)
    .execute(&mut *cx.tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

pub async fn list(cx: &mut Cx, filter: &Filter, page: Page) -> sqlx::Result<(Vec<User>, i64)> {
    let users = sqlx::query_as(
        "select * from users
         where account_id = $1 and project_id = $2 and ($3::text is null or lower(email) = lower($3))
           and ($4::text is null or user_id = $4) and ($5::boolean is null or is_active = $5)
         order by created_at desc, id desc limit $6 offset $7",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(&filter.email)
    .bind(&filter.user_id)
    .bind(filter.is_active)
    .bind(page.limit)
    .bind(page.offset)
    .fetch_all(&mut *cx.tx)
    .await?;
    let total = sqlx::query_scalar(
        "select count(*) from users
         where account_id = $1 and project_id = $2 and ($3::text is null or lower(email) = lower($3))
           and ($4::text is null or user_id = $4) and ($5::boolean is null or is_active = $5)",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(&filter.email)
    .bind(&filter.user_id)
    .bind(filter.is_active)
    .fetch_one(&mut *cx.tx)
    .await?;
    Ok((users, total))
}

pub async fn insert_link(cx: &mut Cx, link: &Row) -> sqlx::Result<()> {
    sqlx::query(
        "insert into person_links (id, account_id, project_id, person_id, person_epoch, purpose, target, pepper_id,
             link_hash, created_by, created_at, expires_at)
         values ($1, $2, $3, $4, $5, 'authorize', $6, $7, $8, $9, $10, $11)",
    )
    .bind(link.id)
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(link.person_id)
    .bind(link.person_epoch)
    .bind(&link.target)
    .bind(link.hash.pepper_id)
    .bind(&link.hash.mac)
    .bind(cx.caller.name())
    .bind(cx.now)
    .bind(link.expires_at)
    .execute(&mut *cx.tx)
    .await?;
    Ok(())
}

/// By its secret: whose a link is, opened or not.
pub async fn link_owner(db: &mut PgConnection, hashes: &[Vec<u8>]) -> sqlx::Result<Option<Person>> {
    sqlx::query_as(
        "select u.id as person_id, u.account_id as person_account_id, u.project_id as person_project_id,
             u.user_id as person_user_id, u.email as person_email, u.name as person_name,
             u.is_active as person_is_active, u.epoch as person_epoch,
             coalesce(t.state = 'active', false) as person_tenant_active
         from person_links l
         join users u on u.id = l.person_id and u.account_id = l.account_id and u.project_id = l.project_id
         left join tenants t on t.account_id = u.account_id and t.project_id = u.project_id
         where l.link_hash = any($1)",
    )
    .bind(hashes)
    .fetch_optional(db)
    .await
}

/// Opens it if nobody did and the person is of the same epoch.
pub async fn open_link(
    cx: &mut Cx,
    hashes: &[Vec<u8>],
    cookie_hash: &[u8],
    until: Time,
) -> sqlx::Result<Option<(Uuid, String, Person)>> {
    let row = sqlx::query(
        "update person_links l set opened_at = $4, cookie_hash = $5, cookie_until = $6
         from users u
         join tenants t on t.account_id = u.account_id and t.project_id = u.project_id
         where l.account_id = $1 and l.project_id = $2 and l.link_hash = any($3) and l.opened_at is null
           and l.expires_at > $4 and u.id = l.person_id and u.account_id = $1 and u.project_id = $2
           and u.epoch = l.person_epoch and t.state = 'active'
         returning l.id, l.target, u.id as person_id, u.account_id as person_account_id,
             u.project_id as person_project_id, u.user_id as person_user_id, u.email as person_email,
             u.name as person_name, u.is_active as person_is_active, u.epoch as person_epoch,
             true as person_tenant_active",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(hashes)
    .bind(cx.now)
    .bind(cookie_hash)
    .bind(until)
    .fetch_optional(&mut *cx.tx)
    .await?;
    row.map(|row| Ok((row.try_get("id")?, row.try_get("target")?, Person::from_row(&row)?))).transpose()
}

/// By the cookie's secret.
pub async fn session(db: &mut PgConnection, hashes: &[Vec<u8>], now: Time) -> sqlx::Result<Option<Session>> {
    let row = sqlx::query(
        "select l.id, u.id as person_id, u.account_id as person_account_id, u.project_id as person_project_id,
             u.user_id as person_user_id, u.email as person_email, u.name as person_name,
             u.is_active as person_is_active, u.epoch as person_epoch,
             coalesce(t.state = 'active', false) as person_tenant_active
         from person_links l
         join users u on u.id = l.person_id and u.account_id = l.account_id and u.project_id = l.project_id
           and u.epoch = l.person_epoch
         left join tenants t on t.account_id = u.account_id and t.project_id = u.project_id
         where l.cookie_hash = any($1) and l.cookie_until > $2",
    )
    .bind(hashes)
    .bind(now)
    .fetch_optional(db)
    .await?;
    row.map(|row| Ok(Session { link_id: row.try_get("id")?, person: Person::from_row(&row)? })).transpose()
}

/// Across tenants: links that neither open any more nor have a cookie that counts.
pub async fn forget_links(db: &PgPool, before: Time, most: i64) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "delete from person_links where id in (
             select id from person_links where expires_at <= $1 and coalesce(cookie_until <= $1, true)
             order by expires_at limit $2 for update skip locked)",
    )
    .bind(before)
    .bind(most)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
