//! SQL of the audit log. Rows are only ever added.

use sqlx::PgConnection;
use time::Duration;
use uuid::Uuid;

use super::Entry;
use super::read::{Row, Wanted};
use crate::kit::cx::{Cx, Tenant};
use crate::kit::ids;

pub async fn insert(db: &mut PgConnection, entries: &[Entry]) -> sqlx::Result<()> {
    fn each<V>(entries: &[Entry], column: impl Fn(&Entry) -> V) -> Vec<V> {
        entries.iter().map(column).collect()
    }
    sqlx::query(
        "insert into audit_events (id, account_id, project_id, occurred_at, actor_type, actor_id, action,
             target_type, target_id, outcome, reason, address, request_id, metadata)
         select e.id, e.account_id, e.project_id, e.occurred_at, e.actor_type, e.actor_id, e.action, e.target_type,
             e.target_id, case when e.reason is null then 'success' else 'refused' end, coalesce(e.reason, ''),
             e.address, e.request_id, e.metadata
         from unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[],
             $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::jsonb[])
             as e (id, account_id, project_id, occurred_at, actor_type, actor_id, action, target_type, target_id,
                 reason, address, request_id, metadata)",
    )
    .bind(each(entries, |entry| entry.id))
    .bind(each(entries, |entry| entry.tenant.account_id.clone()))
    .bind(each(entries, |entry| entry.tenant.project_id.clone()))
    .bind(each(entries, |entry| entry.occurred_at))
    .bind(each(entries, |entry| entry.actor.0))
    .bind(each(entries, |entry| entry.actor.1.clone()))
    .bind(each(entries, |entry| entry.event.action))
    .bind(each(entries, |entry| entry.event.target_type))
    .bind(each(entries, |entry| entry.event.target_id.clone()))
    .bind(each(entries, |entry| entry.refused.clone()))
    .bind(each(entries, |entry| entry.origin.address.map(|address| address.to_string()).unwrap_or_default()))
    .bind(each(entries, |entry| entry.origin.request_id.clone()))
    .bind(each(entries, |entry| entry.event.metadata.clone()))
    .execute(db)
    .await?;
    Ok(())
}

/// The rows that are wanted, newest first, at the most `limit` of those before a row. Ids sort by time, to the
/// millisecond, and so bound what is looked at; the time itself decides.
pub async fn page(
    db: &mut PgConnection,
    tenant: &Tenant,
    wanted: &Wanted,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<Row>> {
    let filter = &wanted.filter;
    sqlx::query_as(
        "select id, action as event, action, actor_type, actor_id, target_type, target_id,
             case outcome when 'success' then 'success' else 'failure' end as status, reason, address as ip,
             request_id, metadata, occurred_at as created_at
         from audit_events
         where account_id = $1 and project_id = $2
           and id < $3 and id >= $4
           and ($5::timestamptz is null or occurred_at >= $5) and ($6::timestamptz is null or occurred_at <= $6)
           and ($7::text[] = '{}' or action = any($7))
           and ($8::text is null or actor_id = $8) and ($9::text is null or actor_type = $9)
           and ($10::text is null or target_id = $10) and ($11::text is null or target_type = $11)
           and ($12::text is null or outcome = $12) and ($13::text is null or address = $13)
           and ($14::text is null or metadata ->> 'grant_id' = $14)
           and not $15
         order by id desc limit $16",
    )
    .bind(&tenant.account_id)
    .bind(&tenant.project_id)
    .bind(newest(wanted, before))
    .bind(wanted.since.map_or(Uuid::nil(), ids::lower_bound))
    .bind(wanted.since)
    .bind(wanted.until)
    .bind(&wanted.actions)
    .bind(&filter.actor_id)
    .bind(&filter.actor_type)
    .bind(&filter.target_id)
    .bind(&filter.target_type)
    .bind(wanted.outcome)
    .bind(&filter.ip)
    .bind(&filter.grant_id)
    .bind(filter.org_id.is_some() || filter.session_id.is_some())
    .bind(limit)
    .fetch_all(db)
    .await
}

/// How many rows are wanted; counting ends at `most`.
pub async fn count(cx: &mut Cx, wanted: &Wanted, most: i64) -> sqlx::Result<i64> {
    let filter = &wanted.filter;
    sqlx::query_scalar(
        "select count(*) from (
             select from audit_events
             where account_id = $1 and project_id = $2
               and id < $3 and id >= $4
               and ($5::timestamptz is null or occurred_at >= $5) and ($6::timestamptz is null or occurred_at <= $6)
               and ($7::text[] = '{}' or action = any($7))
               and ($8::text is null or actor_id = $8) and ($9::text is null or actor_type = $9)
               and ($10::text is null or target_id = $10) and ($11::text is null or target_type = $11)
               and ($12::text is null or outcome = $12) and ($13::text is null or address = $13)
               and ($14::text is null or metadata ->> 'grant_id' = $14)
               and not $15
             limit $16) as found",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(newest(wanted, None))
    .bind(wanted.since.map_or(Uuid::nil(), ids::lower_bound))
    .bind(wanted.since)
    .bind(wanted.until)
    .bind(&wanted.actions)
    .bind(&filter.actor_id)
    .bind(&filter.actor_type)
    .bind(&filter.target_id)
    .bind(&filter.target_type)
    .bind(wanted.outcome)
    .bind(&filter.ip)
    .bind(&filter.grant_id)
    .bind(filter.org_id.is_some() || filter.session_id.is_some())
    .bind(most)
    .fetch_one(&mut *cx.tx)
    .await
}

/// The bound above which no wanted row's id lies.
fn newest(wanted: &Wanted, before: Option<Uuid>) -> Uuid {
    let until = wanted.until.and_then(|at| at.checked_add(Duration::milliseconds(1))).map(ids::lower_bound);
    before.into_iter().chain(until).min().unwrap_or(Uuid::max())
}

pub async fn get(cx: &mut Cx, id: Uuid) -> sqlx::Result<Option<Row>> {
    sqlx::query_as(
        "select id, action as event, action, actor_type, actor_id, target_type, target_id,
             case outcome when 'success' then 'success' else 'failure' end as status, reason, address as ip,
             request_id, metadata, occurred_at as created_at
         from audit_events where account_id = $1 and project_id = $2 and id = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .fetch_optional(&mut *cx.tx)
    .await
}
