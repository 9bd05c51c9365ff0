//! SQL of people.

use uuid::Uuid;

use super::{Filter, User};
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
