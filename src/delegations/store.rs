//! SQL of may-act grants, and the reads of credentials as chains and trees.

use sqlx::{FromRow, Row as _};
use time::Duration;
use uuid::Uuid;

use super::lineage::{Chain, Link};
use super::may_act::MayAct;
use crate::kit::clock::Time;
use crate::kit::cx::Cx;
use crate::kit::http::page::Page;
use crate::kit::ids;

/// Which grants a list shows. An absent filter lets all through.
#[derive(Clone, Debug)]
pub struct MayActFilter {
    /// Of this actor.
    pub from_id: Option<String>,
    /// For this principal.
    pub to_id: Option<String>,
    /// Also those that were taken back.
    pub include_revoked: bool,
    /// Which of them.
    pub page: Page,
}

pub async fn insert_may_act(cx: &mut Cx, grant: &MayAct) -> sqlx::Result<MayAct> {
    sqlx::query_as(
        "insert into may_act_grants (id, account_id, project_id, from_id, to_id, max_hops, scopes, expires_at,
             created_by, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         returning *",
    )
    .bind(grant.id)
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(&grant.from_id)
    .bind(&grant.to_id)
    .bind(grant.max_hops)
    .bind(&grant.scopes)
    .bind(grant.expires_at)
    .bind(&grant.created_by)
    .bind(grant.created_at)
    .fetch_one(&mut *cx.tx)
    .await
}

/// A page of the grants that match, newest first, and how many match.
pub async fn list_may_act(cx: &mut Cx, filter: &MayActFilter) -> sqlx::Result<(Vec<MayAct>, i64)> {
    let rows = sqlx::query(
        "with matching as (
             select * from may_act_grants
             where account_id = $1 and project_id = $2 and ($3::text is null or from_id = $3)
               and ($4::text is null or to_id = $4) and ($5 or revoked_at is null)
         )
         select (select count(*) from matching) as total, g.*
         from (select 1) as always
         left join (select * from matching order by created_at desc, id desc limit $6 offset $7) as g on true
         order by g.created_at desc, g.id desc",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(&filter.from_id)
    .bind(&filter.to_id)
    .bind(filter.include_revoked)
    .bind(filter.page.limit)
    .bind(filter.page.offset)
    .fetch_all(&mut *cx.tx)
    .await?;
    let total = rows.first().map(|row| row.try_get("total")).transpose()?.unwrap_or(0);
    // The row that carries the total of an empty page has no grant.
    let present = |row: &&sqlx::postgres::PgRow| matches!(row.try_get::<Option<Uuid>, _>("id"), Ok(Some(_)));
    let grants = rows.iter().filter(present).map(MayAct::from_row).collect::<sqlx::Result<_>>()?;
    Ok((grants, total))
}

/// The first mark stays.
pub async fn revoke_may_act(cx: &mut Cx, id: Uuid) -> sqlx::Result<Option<MayAct>> {
    sqlx::query_as(
        "update may_act_grants set revoked_at = coalesce(revoked_at, $4)
         where account_id = $1 and project_id = $2 and id = $3
         returning *",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(id)
    .bind(cx.now)
    .fetch_optional(&mut *cx.tx)
    .await
}

/// The credential's chain: the root first, itself last.
pub async fn chain_of(cx: &mut Cx, jti: Uuid) -> sqlx::Result<Option<Vec<Uuid>>> {
    sqlx::query_scalar(
        "select ancestors || jti from credentials where account_id = $1 and project_id = $2 and jti = $3",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(jti)
    .fetch_optional(&mut *cx.tx)
    .await
}

/// The trees in which the identity holds one of its newest credentials, each from its root downwards, the newest tree
/// first, `most` credentials in all. The walk stops there: the limits read a tree only as far as they let it grow.
pub async fn trees_of(cx: &mut Cx, identity_id: Uuid, depth: i64, most: usize) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select below.jti
         from (
             select distinct root
             from (
                 select coalesce(ancestors[1], jti) as root from credentials
                 where account_id = $1 and project_id = $2 and identity_id = $3 order by jti desc limit $5
             ) as held
             order by root desc
         ) as trees
         cross join lateral (
             with recursive tree as (
                 select c.jti, 0 as generation from credentials c
                 where c.account_id = $1 and c.project_id = $2 and c.jti = trees.root
                 union all
                 select c.jti, tree.generation + 1 from tree join credentials c on c.parent_jti = tree.jti
                 where c.account_id = $1 and c.project_id = $2 and tree.generation < $4::bigint
             )
             select jti from (select jti, generation from tree limit $5) as grown order by generation, jti
         ) as below
         limit $5",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(identity_id)
    .bind(depth)
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_all(&mut *cx.tx)
    .await
}

/// The credentials with their holders, in the order given; one that is not there is left out. The bounds on the ids let
/// the plan leave out partitions.
pub async fn links(cx: &mut Cx, jtis: &[Uuid]) -> sqlx::Result<Vec<Link>> {
    sqlx::query_as(
        "select s.jti, s.parent_jti, s.mission_id, s.identity_id, s.grant_type, s.delegation_depth, s.scopes,
             s.issued_at, s.expires_at, s.ancestors, s.standing, s.is_marked, s.mark_at, s.mark_reason,
             coalesce(i.id::text, '') as id, coalesce(i.wimse_uri, '') as wimse_uri, coalesce(i.name, '') as name,
             coalesce(i.identity_type, '') as identity_type, coalesce(i.trust_level, '') as trust_level,
             case when i.status in ('active', 'suspended') and i.expires_at <= $4 then 'expired'
                  else coalesce(i.status, '') end as status
         from credential_standing s
         left join identities i on i.id = s.identity_id
         where s.account_id = $1 and s.project_id = $2 and s.jti = any($3) and s.jti between $5 and $6
         order by array_position($3, s.jti)",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(jtis)
    .bind(cx.now)
    .bind(jtis.iter().min())
    .bind(jtis.iter().max())
    .fetch_all(&mut *cx.tx)
    .await
}

/// By holder or, where there is none, by person: the index of each leads to the tenant's own rows, and ids are by time.
pub async fn chains(cx: &mut Cx, since: Time, until: Time, limit: i64) -> sqlx::Result<Vec<Chain>> {
    sqlx::query_as(
        "with issued as (
             select c.mission_id, c.issued_at, c.delegation_depth
             from identities i join credentials c on c.identity_id = i.id
             where i.account_id = $1 and i.project_id = $2 and c.account_id = $1 and c.project_id = $2
               and c.jti >= $3 and c.jti < $4
             union all
             select c.mission_id, c.issued_at, c.delegation_depth
             from users u join credentials c on c.person_id = u.id and c.identity_id is null
             where u.account_id = $1 and u.project_id = $2 and c.account_id = $1 and c.project_id = $2
               and c.jti >= $3 and c.jti < $4
         )
         select mission_id as chain_id, min(issued_at) as started_at, max(issued_at) as last_activity_at,
             count(*) as credential_count, max(delegation_depth) as max_depth
         from issued group by mission_id order by last_activity_at desc, chain_id desc limit $5",
    )
    .bind(&cx.tenant.account_id)
    .bind(&cx.tenant.project_id)
    .bind(ids::lower_bound(since))
    .bind(ids::lower_bound(until.checked_add(Duration::MILLISECOND).unwrap_or(until)))
    .bind(limit)
    .fetch_all(&mut *cx.tx)
    .await
}
